"""Any arguments, suite files and damaged stored files give one sentence or the right result, never a traceback."""

import contextlib
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mmvae_bench import datasets, models, nets
from mmvae_bench.cli.app import main
from mmvae_bench.engine.checkpoint import Keeper, Position, Training
from mmvae_bench.engine.mode import Mode
from mmvae_bench.engine.share import RandomState
from mmvae_bench.engine.step import Plain, Step
from mmvae_bench.errors import BenchError
from mmvae_bench.presence import Missing
from mmvae_bench.registry import Registry
from mmvae_bench.spec import canonical_json
from mmvae_bench.store.run import StoredRun
from mmvae_bench.store.store import Store
from mmvae_bench.sweep.plan import make_plan
from mmvae_bench.sweep.suites import KINDS, load_suite
from tests import stored
from tests.engine.test_step import feed, made
from tests.helpers import invoke

MORE = int(os.environ.get("MMVAE_BENCH_FUZZ", "1"))  # times as many examples, to search longer by hand
COMMON = settings(deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))


@contextlib.contextmanager
def empty_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield Path(folder)


TEXT = st.text(st.characters(exclude_characters="\0"), max_size=12)
NUMBER = st.one_of(
    st.integers().map(str), st.floats().map(str), st.integers(0, 5000).map(lambda n: "1" + n * "0"),
    st.sampled_from([
        "-1", "0", "1", "2", "0.5", "1e-9", "1e400", "nan", "inf", "-inf", "1_0", "0x1", "\u0661", "1000000000",
        "-0", "+1", "1.", "9223372036854775808", "1/2",
    ]),
)  # fmt: skip
NAMES = st.sampled_from([
    "all", "mvae", "mmvae", "meme", "mopoe", "mvae[", "mvae]", "mvae[k", "mmvae[k=]", "[k=1]", "mvae:k:2",
    "linear_gaussian", "mnist_svhn", "captioned_shapes", "mnist_street", "cub", "mlp", "conv", "linear",
    "quick", "smoke", "split", "only:", "only:x0", "only:mnist", "independent:keep=x1", "none", "auto", "cpu",
    "cuda", "cuda:99", "tpu", "bf16", "tf32", "keep", "drop", "loky", "dask", "ray", "always", ".", "/", "..",
    "~", "a/b", ".toml", "x.toml", "1/1", "2/3", "3/2", "0/0", "--", ",", ",,", "[,]", "[]", "",
])  # fmt: skip
REGISTRIES = {"--models": models.registry, "--datasets": datasets.registry, "--nets": nets.registry}
WHOLE = st.sampled_from(
    [*map(str, range(10)), "64", "1000", "100000", "10" + "0" * 8, "10" + "0" * 17, "1" + "0" * 400]
)
FEW = st.sampled_from(["mixture", "iwae", "full", "pairwise", "true", "no", "none", "dm30", "2", "conv", "transformer"])


@st.composite
def named(draw: st.DrawFn, registry: Registry) -> str:
    """A name with options that it has, of values that may be anything."""
    name = draw(st.sampled_from(registry.names()))
    factory = registry.get(name)
    known = [p.name for p in inspect.signature(factory).parameters.values() if p.kind is p.KEYWORD_ONLY]
    keys = draw(st.lists(st.sampled_from(known), max_size=2)) if known else []
    return f"{name}[{','.join(f'{key}={draw(WHOLE | NUMBER | FEW | TEXT)}' for key in keys)}]"


LONG = st.builds(lambda text, n: text * n, st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=2),
                 st.sampled_from([300, 5000]))  # fmt: skip
JUNK = st.one_of(NAMES, NUMBER, TEXT, LONG)
LIKELY = {flag: named(registry) for flag, registry in REGISTRIES.items()}
COUNTS = "epochs batch-size latent-dim limit-train limit-test seeds seed-list jobs threads"
LIKELY |= {f"--{name}": WHOLE for name in COUNTS.split()}
LIKELY |= {
    "--missing": st.floats(0, 1).map(str),
    "--checkpoint-seconds": NUMBER,
    "--shard": st.builds("{}/{}".format, WHOLE, WHOLE),
}


def flags(command: Any) -> list[str]:
    return [
        p.opts[-1] for p in command.params if p.opts[-1].startswith("--") and p.opts[-1] not in ("--help", "--dry-run")
    ]


RUN = main.commands["run"]
SMALL = {"--models": ["mvae"], "--datasets": ["linear_gaussian"]}  # so that most commands get far


@st.composite
def run_arguments(draw: st.DrawFn) -> list[str]:
    given = dict(SMALL)
    for flag in draw(st.lists(st.sampled_from(flags(RUN)), max_size=4, unique=True)):
        given[flag] = (
            [] if flag == "--compile" else draw(st.lists(LIKELY.get(flag, JUNK) | JUNK, min_size=1, max_size=3))
        )
        if flag not in ("--models", "--datasets", "--missing", "--scheme", "--seed-list"):
            given[flag] = given[flag][:1]
    return [part for flag, values in given.items() for part in (flag, *values)]


def call(*args: str) -> None:
    """Whatever was typed, it is done or one sentence says why not."""
    result = invoke(*args)
    assert result.exit_code in (0, 1, 2)
    assert "Traceback" not in result.output
    if result.exit_code == 2 and not (args[:2] == ("data", "check") and ": incomplete\n" in result.stdout):
        assert result.stderr.count("Error: ") == 1, result.stderr


@given(run_arguments())
@settings(COMMON, max_examples=400 * MORE)
def test_any_arguments_of_a_dry_run_are_a_plan_or_a_sentence(args):
    with empty_folder() as folder:
        call("run", "--dry-run", *args)
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "typed",
    [
        "--seeds 1000000000", "--seeds 20000 --models all", "--seed-list 1" + "0" * 30, "--epochs 1" + "0" * 400,
        "--latent-dim 1" + "0" * 18, "--jobs 1" + "0" * 5000, "--threads 1" + "0" * 30, "--device cuda:1" + "0" * 5000,
        "--models mmvae[k=1" + "0" * 30 + "]", "--datasets linear_gaussian[rows=1000000000000]",
        "--datasets linear_gaussian[dim=20000]", "--datasets mnist_svhn[pairing=dm1" + "0" * 5000 + "]",
        "--nets mlp[hidden=-5]", "--nets mlp[hidden=1" + "0" * 18 + "]", "--nets mlp[layers=1000000000]",
        "--datasets captioned_shapes --nets conv[text=transformer,embedding=0]", "--results-dir 1" + "0" * 300,
    ],
    ids=lambda typed: typed[:40],
)  # fmt: skip
def test_a_number_that_nothing_can_have_is_a_sentence(typed):
    with empty_folder() as folder:
        given = [part for flag, values in SMALL.items() if flag not in typed for part in (flag, *values)]
        result = invoke("run", "--dry-run", *given, *typed.split())
        assert result.exit_code == 2 and result.stderr.count("Error: ") == 1
        assert list(folder.iterdir()) == []


OTHERS = ["report", "env", "list", "data check", "data fetch", "status", "merge", "check-results"]


@st.composite
def other_arguments(draw: st.DrawFn) -> list[str]:
    words = draw(st.sampled_from(OTHERS)).split()
    command = main
    for word in words:
        command = command.commands[word]
    typed = draw(st.lists(JUNK, max_size=2)) if words[0] in ("list", "data", "merge") else []
    if words[0] == "data" and draw(st.booleans()):
        typed = [draw(st.just("linear_gaussian[rows=10]") | st.sampled_from(datasets.registry.names()[-1:]))]
    given = {"--results-dir"} if words[0] == "report" else set()  # a whole report takes its time
    for flag in given | set(draw(st.lists(st.sampled_from([*flags(command), "--nonsense"]), max_size=2))):
        typed += [flag, draw(JUNK)]
    return [*words, *typed]


@given(other_arguments())
@settings(COMMON, max_examples=200 * MORE)
def test_any_arguments_of_the_other_commands_are_answered_or_a_sentence(args):
    with empty_folder() as folder:
        shutil.copytree(a_store(), folder / "results")
        before = stored.snapshot(folder / "results")
        call(*args)
        changed = {path for path in folder.iterdir() if path.name != "results"}
        if args[0] in ("list", "env", "status", "check-results") or args[:2] == ["data", "check"]:
            assert not changed
            assert stored.snapshot(folder / "results") == before


SCALAR = st.one_of(st.text(max_size=8), st.integers(-3, 10**6), st.integers(), st.floats(), st.booleans(), JUNK)
TREE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


def toml(value: object) -> str:
    """As TOML, which JSON is near enough; what differs is one more fault."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {toml(inner)}' for key, inner in value.items())}}}"
    return json.dumps(value) if isinstance(value, str | bool) else str(value)


MEANT = {
    key: {"text": st.text(max_size=8), "a whole number": st.integers(-1, 3)}.get(kind, st.lists(SCALAR, max_size=3))
    for key, (kind, _) in KINDS.items()
}
MEANT |= {"models": named(models.registry), "datasets": named(datasets.registry), "nets": named(nets.registry)}
MEANT |= {"missing": st.lists(st.floats(0, 0.99), min_size=1, max_size=3)}
SUITES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(str.encode),
    st.lists(st.sampled_from(sorted(KINDS)), max_size=4, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries({key: MEANT[key] | TREE for key in keys})
    ).map(lambda values: "".join(f"{key} = {toml(value)}\n" for key, value in values.items()).encode(errors="replace")),
)  # fmt: skip


@given(SUITES)
@settings(COMMON, max_examples=400 * MORE)
def test_any_file_is_a_suite_or_a_sentence(content):
    with empty_folder() as folder:
        Path("own.toml").write_bytes(content)
        with contextlib.suppress(BenchError):
            request = load_suite("own.toml")
            assert request.name == "own"
            make_plan(request, Store(folder / "results"), folder)


FILES = ["run.json", "scores.jsonl", "history.csv", "log.txt", "model.safetensors", "artifacts.npz"]


@cache
def a_store() -> Path:
    """Two runs and their plan; read only, copied for each example."""
    root = Path(tempfile.mkdtemp()) / "results"
    store = Store(root)
    store.check_writable()
    for seed in range(2):
        run = stored.spec(seed)
        stored.publish(store, run, stored.rows(run, 0.25 + seed / 2), log=f"seed {seed}\n")
    stored.plan(store, stored.spec(0), stored.spec(1))
    store.collate()
    return root


def contents(store: Store) -> dict[str, Any]:
    """All that can be read of the first run, each reader by itself: what it gives, or that it says no."""
    folder, found = store.folder(stored.spec(0)), {}

    def arrays(name: str) -> Any:
        return {key: (a.dtype.str, a.tolist()) for key, a in StoredRun.read(folder).arrays(name).items()}

    readers: dict[str, Callable[[], Any]] = {
        "record": lambda: canonical_json(StoredRun.read(folder).record),
        "scores": lambda: store.scores([folder.name]).to_csv(),
        "history": lambda: StoredRun.read(folder).history(),
        "log": lambda: StoredRun.read(folder).log,
        "weights": lambda: arrays("model.safetensors"),
        "artifacts": lambda: arrays("artifacts.npz"),
    }
    for name, read in readers.items():
        with contextlib.suppress(BenchError):
            found[name] = read()
    return found


@contextlib.contextmanager
def copied() -> Iterator[tuple[Store, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(a_store(), Path(folder) / "results")
        store = Store(Path(folder) / "results")
        yield store, store.folder(stored.spec(0))


@st.composite
def damaged(draw: st.DrawFn, content: bytes, other: bytes) -> bytes:
    """Cut off, with bits flipped, with a part inserted, replaced or left out, another's, or empty."""
    kind = draw(st.sampled_from(["cut", "flip", "flip", "splice", "zeros", "other"]))
    at = draw(st.integers(0, max(0, len(content) - 1)))
    if kind == "flip":
        changed = bytearray(content)
        for bit in draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=4, unique=True)):
            changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)
    if kind == "splice":
        return content[:at] + draw(st.binary(max_size=20)) + content[at + draw(st.integers(0, 20)) :]
    return {"cut": content[:at], "zeros": content[:at] + bytes(len(content) - at), "other": other}[kind]


@pytest.mark.parametrize("name", FILES)
@given(st.data())
@settings(COMMON, max_examples=50 * MORE)
def test_a_damaged_file_of_a_run_reads_as_it_was_or_not_at_all(name, data):
    with copied() as (store, folder):
        whole = contents(store)
        assert len(whole) == len(FILES)
        other = store.folder(stored.spec(1)) / name
        content = data.draw(damaged((folder / name).read_bytes(), other.read_bytes()))
        (folder / name).write_bytes(content)
        for key, value in contents(store).items():
            assert value == whole[key]
        # A bit of the schema's own number may flip: such a record is a newer version's, as far as anyone can tell,
        # and is neither read nor replaced.
        assert store.status(stored.spec(0)) in ("done", "broken", "newer")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=6,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


@st.composite
def mutated(draw: st.DrawFn, record: Any) -> Any:
    """One value at any depth is dropped, replaced or joined by another; or all of it is another."""
    record = json.loads(json.dumps(record))
    *way, last = draw(st.sampled_from([path for path in places(record) if path])) if draw(st.integers(0, 9)) else ("",)
    if not (way or last):
        return draw(JSON)
    inside = record
    for key in way:
        inside = inside[key]
    kind = draw(st.sampled_from(["drop", "replace", "replace", "add"]))
    if kind == "drop":
        del inside[last]
    elif kind == "add" and isinstance(inside, dict):
        inside[draw(st.text(max_size=5))] = draw(JSON)
    else:
        inside[last] = draw(JSON | st.just({"deep": [inside[last]]}))
    return record


def signed(record: dict[str, Any]) -> dict[str, Any]:
    """With a checksum that fits: what one who knows the format would write."""
    from mmvae_bench.store.run import _checksum

    return {**record, "checksum": _checksum(record)}


def answers(store: Store, *commands: str) -> None:
    """Each command answers or says a sentence."""
    for command in commands:
        call(*command.split(), "--results-dir", str(store.root))


@given(st.data())
@settings(COMMON, max_examples=100 * MORE)
def test_an_edited_record_of_a_run_is_the_same_or_refused(data):
    with copied() as (store, folder), empty_folder():
        whole = contents(store)
        record = json.loads((folder / "run.json").read_text())
        changed = data.draw(mutated(record))
        (folder / "run.json").write_text(json.dumps(changed))
        found = contents(store)
        same = json.dumps(changed, sort_keys=True) == json.dumps(record, sort_keys=True)
        assert found == (whole if same else {})
        assert store.status(stored.spec(0)) == ("done" if same else "broken") or changed.get("schema", 0) > 2
        if data.draw(st.integers(0, 19)) == 0:
            answers(
                store, "report", "status", "check-results", "run --dry-run --models mvae --datasets linear_gaussian"
            )


@given(st.data())
@settings(COMMON, max_examples=100 * MORE)
def test_an_edited_record_whose_checksum_fits_is_read_or_refused_in_a_sentence(data):
    with copied() as (store, folder), empty_folder():
        record = json.loads((folder / "run.json").read_text())
        changed = data.draw(mutated(record))
        assume(isinstance(changed, dict))
        with contextlib.suppress(ValueError):
            changed = signed(changed)
        (folder / "run.json").write_text(json.dumps(changed))
        contents(store)
        answers(store, "status", "check-results")


@given(st.data())
@settings(COMMON, max_examples=60 * MORE)
def test_an_edited_or_damaged_plan_is_read_or_refused_in_a_sentence(data):
    with copied() as (store, _), empty_folder():
        path = store.root / "plans" / "custom.json"
        content = path.read_bytes()
        text = st.builds(lambda plan: json.dumps(plan).encode(), mutated(json.loads(content)))
        path.write_bytes(data.draw(text | damaged(content, b"[]")))
        with contextlib.suppress(BenchError):
            plan = store.read_plan()
            assert all(isinstance(run_id, str) for run_id in plan["run_ids"])
        answers(store, "status", "check-results")
        if data.draw(st.integers(0, 29)) == 0:
            answers(store, f"report --out {store.root.parent / 'reports'}")  # its workers may be in another folder


def training() -> Training:
    model, random = made("mvae"), RandomState(torch.device("cpu"))
    with random():
        step = Step(model, 1e-2, Mode())
    return Training(model, step, random)


@cache
def a_checkpoint() -> bytes:
    """After an epoch."""
    own, path = training(), Path(tempfile.mkdtemp()) / "checkpoint"
    with own.random():
        for _ in Plain(own.step, feed(Missing(0.5)), 1).epoch(0):
            pass
    Keeper(path).save(own, Position(1, 0, [{"epoch": 1.0, "loss": 2.0}], 3.0))
    return path.read_bytes()


@given(st.data())
@settings(COMMON, max_examples=150 * MORE)
def test_a_damaged_checkpoint_starts_afresh_and_touches_nothing(data):
    content = data.draw(damaged(a_checkpoint(), (a_store() / "scores.csv").read_bytes()))
    with empty_folder() as folder:
        (folder / "checkpoint").write_bytes(content)
        said: list[str] = []
        own = training()
        before = own.arrays()
        at = Keeper(folder / "checkpoint", say=said.append).restore(own)
        if content == a_checkpoint():
            assert said == ["resumed after 1 epochs and 0 steps"]
            return
        (line,) = said
        assert line.endswith("started afresh")
        assert at == Position()
        after = own.arrays()
        assert before.keys() == after.keys() and all(np.array_equal(before[key], after[key]) for key in before)
