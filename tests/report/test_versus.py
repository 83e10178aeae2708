"""``mmvae-bench compare`` on a made-up store."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from scipy import stats

from mmvae_bench.store.run import RunResult
from mmvae_bench.store.store import Store
from tests.helpers import invoke


def compare(root: Path, *args: str) -> Result:
    return invoke("compare", *args, "--results-dir", str(root))


@pytest.fixture(scope="module")
def stored(factory: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made = factory.make(tmp_path_factory.mktemp("results"), data=("mnist_street", "captioned_shapes"))
    made.store.write_plan("demo", made.plan)
    return made


def line(text: str, *words: str) -> list[str]:
    """The numbers of the one line that begins with these words."""
    (found,) = [line for line in text.splitlines() if line.split()[: len(words)] == list(words)]
    return found.split()[len(words) :]


def test_a_line_without_outcomes_of_rows_is_scipys_paired_t_test(stored: Any) -> None:
    done = compare(stored.store.root, "mvae", "meme", "--suite", "demo", "--metric", "cross_coherence")
    assert done.exit_code == 0, done.output
    frame = stored.store.scores()
    own = frame[(frame["dataset"] == "mnist_street") & (frame["variant"] == "macro") & (frame["given"] == "mnist")]
    own = own[(own["metric"] == "cross_coherence") & (own["missing_ratio"] == 0.5)]
    x = {model: part.sort_values("seed")["value"].to_numpy() for model, part in own.groupby("label")}
    test = stats.ttest_rel(x["mvae"], x["meme"])
    low, high = test.confidence_interval()
    words = ("Cross-coherence", "(macro)", "mnist", "→", "street", "split", "0.5")
    n, rows, a, b, difference, _, half, p, adjusted, better = line(done.output, *words)
    assert (n, rows, a, b) == ("3", "-", f"{x['mvae'].mean():.3f}", f"{x['meme'].mean():.3f}")
    assert (difference, half) == (f"{(x['mvae'] - x['meme']).mean():+.3f}", f"{(high - low) / 2:.3f}")
    assert p == f"{test.pvalue:.2g}"
    others = [stats.ttest_rel(x[u], x[v]).pvalue for u, v in (("mvae", "mmvae"), ("meme", "mmvae"))]
    ps = sorted([test.pvalue, *others])
    steps = [(3 - i) * q for i, q in enumerate(ps)]
    assert float(adjusted) == pytest.approx(min(1, max(steps[: ps.index(test.pvalue) + 1])), rel=0.06)
    assert test.pvalue < 0.05
    assert better == "-"  # of seeds alone, no order is claimed
    covered = line(done.output, "Cross-coherence", "(micro)", *words[2:])
    assert (covered[0], covered[1], covered[-1]) == ("3", "200", "B")  # meme is the more skilled of the two


def test_the_default_is_the_summary_in_120_columns(stored: Any) -> None:
    done = compare(stored.store.root, "mmvae", "mvae")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 120
    for word in ("mnist_street", "captioned_shapes", "joint strict", "Holm", "rows"):
        assert word in done.output


def test_a_chance_control_is_in_no_line(stored: Any) -> None:
    root = stored.store.root
    done = compare(root, "meme", "unimodal", "--metric", "attributes_strict")
    shown = [line for line in done.output.splitlines() if line.startswith("Attributes, strict")]
    assert shown
    assert not [line for line in shown if "image → caption" in line and "(self)" not in line]
    alone = compare(root, "meme", "unimodal", "--metric", "cross_coherence")
    assert alone.exit_code == 2
    assert "'meme' and 'unimodal' are ranked together in no column" in alone.output
    assert "one is a chance control" in alone.output


def test_the_other_way_round_is_the_negative(stored: Any) -> None:
    words = ("linear", "probe", "street", "complete")
    one, other = (
        line(compare(stored.store.root, *names).output, *words) for names in (("mvae", "meme"), ("meme", "mvae"))
    )
    assert (one[2], one[3]) == (other[3], other[2])
    assert float(one[4]) == -float(other[4])
    assert {one[-1], other[-1]} in ({"A", "B"}, {"-"})
    assert one[5:9] == other[5:9]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("mvea", "meme"), "No model in this plan 'mvea'; did you mean mvae"),
        (("mvae", "mvae"), "Cannot compare 'mvae' with itself"),
        (("mvae", "meme", "--metric", "cross_coherense"), "did you mean cross_coherence"),
        (("mvae", "meme", "--suite", "other"), "no plan 'other'"),
    ],
)
def test_bad_names_are_sentences(stored: Any, args: tuple[str, ...], says: str) -> None:
    done = compare(stored.store.root, *args)
    assert done.exit_code == 2
    assert says in done.output


def publish(factory: Any, root: Path, seeds: dict[str, range]) -> Path:
    store = Store(root)
    runs = [factory.spec(model, seed=seed) for model, of in seeds.items() for seed in of]
    for run in runs:
        value = 0.5 + 0.01 * run.seed + 0.1 * (run.model.name == "mmvae") * (run.seed + 1)
        factory.publish(
            store, run, [factory.row(run, "linear_probe", value, variant="mean", given="mnist", chance=0.1)]
        )
    store.write_plan("demo", factory.make_plan(runs))
    return root


def test_nothing_shared_is_a_sentence(factory: Any, tmp_path: Path) -> None:
    done = compare(publish(factory, tmp_path, {"mvae": range(2), "mmvae": range(2, 4)}), "mvae", "mmvae")
    assert done.exit_code == 2
    assert "share no seed" in done.output
    assert "--seeds 3" in done.output


def test_a_model_that_failed_or_was_not_scored_is_a_sentence(factory: Any, tmp_path: Path) -> None:
    root = publish(factory, tmp_path, {"mvae": range(2), "mmvae": range(2), "mopoe": range(2)})
    store, failed = Store(root), factory.spec("meme")
    store.publish(RunResult(failed, [factory.row(failed, status="failed", reason="boom")], error="boom"))
    plan = store.read_plan("demo")
    store.write_plan("demo", {**plan, "run_ids": [*plan["run_ids"], failed.run_id]})
    assert (
        "All runs of 'meme' in this plan failed. For the reasons: mmvae-bench status"
        in compare(root, "meme", "mvae").output
    )
    run = factory.spec("mmvae", seed=5)
    factory.publish(store, run, [factory.row(run, "frechet", 1.0, given="mnist", target="street")])
    store.write_plan("demo", {**plan, "run_ids": [*plan["run_ids"], run.run_id]})
    done = compare(root, "mmvae", "mopoe", "--metric", "frechet")
    assert done.exit_code == 2
    assert "'mopoe' has no such score. For the reason" in done.output


def test_two_seeds_have_a_difference_without_an_interval(factory: Any, tmp_path: Path) -> None:
    done = compare(publish(factory, tmp_path, {"mvae": range(4), "mmvae": range(2, 4)}), "mvae", "mmvae")
    shown = line(done.output, "linear", "probe", "mnist", "complete")
    assert shown == ["2", "-", "0.525", "0.875", "-0.350", "-", "-", "-"]
