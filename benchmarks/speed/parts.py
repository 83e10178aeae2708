"""The comparisons: one function per part, from (rounds, threads) to rows."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turns import Row, Side, Thing, compared, say

if TYPE_CHECKING:
    import pandas as pd

MODELS = ("mvae", "mopoe", "mmvae-k10", "mmvaeplus")
COMPARED = (*MODELS, "mmvaeplus-k10", "mvtcae", "jmvae", "crmvae", "dmvae")  # with multivae
SWITCHED = ("mopoe", "mmvae-k10")
PRECISIONS = {"fp32": "", "bf16": "+bf16"}
AUTHORS_PACE = 40  # samples per second of MEME's code, measured elsewhere
SWITCHES = {"plain": [], "bf16": ["--precision", "bf16"], "compile": ["--compile"]}
GRID = [
    *("--models", "mopoe", "mmvm", "mvae", "--datasets", "mnist_street", "--missing", "0.5"),
    *("--epochs", "12", "--seeds", "12"),
]
SCORES = {"cross_coherence": "micro", "linear_probe": "mean"}  # metric -> variant
FOLDER = Path(os.environ.get("AGREEMENT", "results/agreement"))
WITHIN = 0.02


def shrink() -> None:
    """Leave one task per part and fp32 only, which is enough to try the code."""
    global MODELS, SWITCHED, COMPARED
    MODELS, SWITCHED, COMPARED = ("mopoe",), ("mopoe",), ("mopoe", "mmvaeplus")
    PRECISIONS.pop("bf16", None)


def multivae(rounds: int, threads: int) -> list[Row]:
    """Compare our step with the step of PyPI's multivae on the same nets, with all threads and with one."""
    each = [_against_multivae("multivae", COMPARED, rounds, own) for own in sorted({threads, 1}, reverse=True)]
    return [row for rows in each for row in rows]


def subsets(rounds: int, threads: int) -> list[Row]:
    """Compare the two on MoPoE of eight modalities (255 subsets) with tiny nets."""
    each = [_against_multivae("subsets", ("mopoe-m8",), rounds, own, ("fp32",)) for own in sorted({1, threads})]
    return [row for rows in each for row in rows]


def _against_multivae(
    part: str, tasks: tuple[str, ...], rounds: int, threads: int, precisions: tuple[str, ...] | None = None
) -> list[Row]:
    if find_spec("multivae") is None:
        sys.exit("multivae is not installed. Run `pip install -e '.[speed]'`, or name other parts.")
    rows = []
    with Side("ours", threads) as ours, Side("multivae", threads) as theirs:
        for task in tasks:
            facts = {"ours": Thing(ours, task).facts(), "multivae": Thing(theirs, task).facts()}
            same(facts, "parameters", "decodes")  # multivae may encode an entry more often
            base = f"{task}: multivae"
            things = {base: Thing(theirs, task)}
            things |= {
                f"{task}: ours {name}": Thing(ours, task + PRECISIONS[name]) for name in precisions or PRECISIONS
            }
            notes = dict.fromkeys(things, work(facts["ours"])) | {base: work(facts["multivae"])}
            rows += compared(part, threads, things, rounds, notes)
    return rows


def bare(rounds: int, threads: int) -> list[Row]:
    """Compare our step with forward and backward of the same nets alone."""
    rows = []
    with Side("ours", threads) as ours, Side("bare", threads) as alone:
        for name in (task + end for task in MODELS for end in PRECISIONS.values()):
            things = {f"{name}: bare nets": Thing(alone, name), f"{name}: ours": Thing(ours, name)}
            facts = {key: thing.facts() for key, thing in things.items()}
            same(facts, "parameters", "encodes", "decodes")
            rows += compared("bare", threads, things, rounds, {key: work(own) for key, own in facts.items()})
    return rows


def meme(rounds: int, threads: int) -> list[Row]:
    """Compare our MEME, on the authors' nets and on conv nets, with the published training's step in plain style."""
    with Side("ours", threads) as ours, Side("meme", threads) as theirs:
        things = {"published step": Thing(theirs, "meme-published-nets")}
        for nets, name in (("published nets", "meme-published-nets"), ("conv nets", "meme-conv")):
            things |= {f"ours, {nets}, {key}": Thing(ours, name + end) for key, end in PRECISIONS.items()}
        facts = {key: thing.facts() for key, thing in things.items()}
        same({key: own for key, own in facts.items() if "conv" not in key}, "parameters", "decodes")
        rows = compared("meme", threads, things, rounds, {key: work(own) for key, own in facts.items()})
    pace = rows[0].samples_per_s or 0.0
    note = f"against {AUTHORS_PACE} samples/s of their code on another machine with 2 cores (issue 4)"
    return [
        *rows,
        Row("meme", "ours, published nets, fp32 / the authors' code", threads, pace, pace / AUTHORS_PACE, note=note),
    ]


def switches(rounds: int, threads: int) -> list[Row]:
    """Compare the plain fp32 step with each switch, and leaving absent entries out with computing them."""
    rows = []
    with Side("ours", threads) as ours, Side("ours", threads, SPEED_PLAIN_MALLOC="1") as plain:
        for task in SWITCHED:
            things = {
                f"{task}: fp32": Thing(ours, task),
                f"{task}: fp32, torch's own layers": Thing(ours, f"{task}+torch-layers"),
                f"{task}: fp32, glibc's own settings": Thing(plain, task),
                f"{task}: fp32, neither": Thing(plain, f"{task}+torch-layers"),
            }
            things |= {f"{task}: {key}": Thing(ours, task + end) for key, end in PRECISIONS.items()}
            rows += compared("switches", threads, things, rounds)
            for key, end in PRECISIONS.items():
                half = f"{task}: {key}, half of the rows incomplete"
                things = {f"{half}, all computed": Thing(ours, f"{task}{end}+half+dense")}
                things |= {f"{half}, present alone": Thing(ours, f"{task}{end}+half")}
                notes = {key: work(thing.facts()) for key, thing in things.items()}
                rows += compared("switches", threads, things, rounds, notes)
    return rows


def compiled(rounds: int, threads: int) -> list[Row]:
    """Compare the plain step with one fused by torch.compile, if there is a compiler."""
    rows = []
    with Side("ours", threads) as ours:
        for name in (*(task + end for task in SWITCHED for end in PRECISIONS.values()), "mopoe-m8"):
            say(f"compiling {name}")
            fused = Thing(ours, f"{name}+compiled")
            answer = ours.ask(fused.name, 1)
            if isinstance(answer, dict):
                return [Row("compiled", "torch.compile", threads, note=f"left out: {answer['unavailable']}")]
            things = {f"{name}: plain": Thing(ours, name), f"{name}: compiled": fused}
            rows += compared("compiled", threads, things, rounds)
    return rows


def agreement(_rounds: int, _threads: int) -> list[Row]:
    """Compare the scores of whole runs under each switch with plain fp32 (protocol 27).

    The real command runs the same models and seeds once under each switch, into one results folder per switch
    (``AGREEMENT`` names their parent). That takes a quarter of an hour; stored runs are not repeated. A row has the
    mean difference, paired by model and seed, and its 95 % interval.
    """
    for switch, flags in SWITCHES.items():
        command = [sys.executable, "-m", "mmvae_bench", "run", *GRID, *flags]
        subprocess.run([*command, "--results-dir", str(FOLDER / switch)], check=True)
    plain = _scores("plain")
    return [row for switch in list(SWITCHES)[1:] for row in _differences(switch, _scores(switch), plain)]


def _scores(switch: str) -> "pd.Series[float]":
    """Return values by (metric, given, target, model, seed)."""
    from mmvae_bench.store.store import Store

    frame = Store(FOLDER / switch).scores()
    frame = frame[(frame.status == "ok") & (frame.metric.map(SCORES) == frame.variant)]
    return frame.set_index(["metric", "given", "target", "model", "seed"]).value.astype(float)


def _differences(switch: str, found: "pd.Series[float]", plain: "pd.Series[float]") -> list[Row]:
    """Return a row for the mean over a run's scores, and one per score."""
    from scipy import stats

    difference, rows = (found - plain).dropna(), []
    whole = difference.groupby(["model", "seed"]).mean()
    each = {" ".join(filter(None, key)): pairs for key, pairs in difference.groupby(["metric", "given", "target"])}
    for what, pairs in {"mean over a run's scores": whole, **each}.items():
        half = pairs.sem() * stats.t.ppf(0.975, len(pairs) - 1)
        low, high = pairs.mean() - half, pairs.mean() + half
        verdict = "within" if max(-low, high) <= WITHIN else "beyond" if low > 0 or high < 0 else "undecided:"
        note = f"{len(pairs)} pairs, 95 % interval; {verdict} +-{WITHIN}"
        note += f"; plain {plain[pairs.index].mean():.3f}" if what in each else ""
        rows.append(Row("agreement", f"{switch}: {what}", ratio=pairs.mean(), low=low, high=high, note=note))
    return rows


def same(facts: dict[str, dict[str, Any]], *keys: str) -> None:
    """Stop unless all sides do the same work with the same nets."""
    for key in keys:
        values = {side: own[key] for side, own in facts.items()}
        assert len({str(value) for value in values.values()}) == 1, f"not the same {key}: {values}"


def work(facts: dict[str, Any]) -> str:
    """Return what was counted, in words."""
    each = {kind: " and ".join(f"{n:g}" for n in sorted(set(facts[kind]))) for kind in ("encodes", "decodes")}
    what = f"{each['encodes']} encodes, {each['decodes']} decodes a row"
    return f"{facts['parameters']:,} parameters; of each modality {what}; {facts['flops'] / 1e9:.3g} GFLOP a step"
