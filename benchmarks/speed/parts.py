"""What is compared with what: one function a part, from (rounds, threads) to rows."""

import sys
from importlib.util import find_spec
from statistics import median
from typing import Any

from rows import Row
from turns import Side, Thing, compared, paces, ratios, say

MODELS = ("mvae", "mopoe", "mmvae-k10")
SWITCHED = ("mopoe", "mmvae-k10")
PRECISIONS = {"fp32": "", "bf16": "+bf16"}
AUTHORS_PACE = 40


def multivae(rounds: int, threads: int) -> list[Row]:
    """Our step against PyPI multivae's, same nets, with all threads and with one."""
    each = [_against_multivae("multivae", MODELS, rounds, own) for own in sorted({threads, 1}, reverse=True)]
    return [row for rows in each for row in rows]


def subsets(rounds: int, threads: int) -> list[Row]:
    """MoPoE of eight modalities, 255 subsets, tiny nets."""
    each = [_against_multivae("subsets", ("mopoe-m8",), rounds, own, ("fp32",)) for own in sorted({1, threads})]
    return [row for rows in each for row in rows]


def _against_multivae(
    part: str, tasks: tuple[str, ...], rounds: int, threads: int, precisions: tuple[str, ...] = tuple(PRECISIONS)
) -> list[Row]:
    if find_spec("multivae") is None:
        sys.exit("multivae is not installed: run `pip install -e '.[speed]'`, or leave this part out with --only")
    rows = []
    with Side("ours", threads) as ours, Side("multivae", threads) as theirs:
        for task in tasks:
            facts = {"ours": Thing(ours, task).facts(), "multivae": Thing(theirs, task).facts()}
            same(facts, "parameters", "decodes")  # multivae may encode an entry more often
            base = f"{task}: multivae"
            things = {base: Thing(theirs, task)}
            things |= {f"{task}: ours {name}": Thing(ours, task + PRECISIONS[name]) for name in precisions}
            notes = dict.fromkeys(things, work(facts["ours"])) | {base: work(facts["multivae"])}
            rows += compared(part, threads, things, rounds, notes)
    return rows


def bare(rounds: int, threads: int) -> list[Row]:
    """Our step against the same nets' forward and backward alone."""
    rows = []
    with Side("ours", threads) as ours, Side("bare", threads) as alone:
        for name in (task + end for task in MODELS for end in PRECISIONS.values()):
            things = {f"{name}: bare nets": Thing(alone, name), f"{name}: ours": Thing(ours, name)}
            facts = {key: thing.facts() for key, thing in things.items()}
            same(facts, "parameters", "encodes", "decodes")
            rows += compared("bare", threads, things, rounds, {key: work(own) for key, own in facts.items()})
    return rows


def limits(rounds: int, threads: int) -> list[Row]:
    """The share of the machine's pace in matrix products, and in copying memory, that our step comes to."""
    rows = []
    with Side("ours", threads) as ours, Side("machine", threads) as machine:
        for task in MODELS:
            flops = Thing(ours, f"{task}+torch-layers").facts()["flops"]  # our layers do a little more
            for end in PRECISIONS.values():
                name, gemm = task + end, f"gemm{end}"
                things = {gemm: Thing(machine, gemm), "copy": Thing(machine, "copy"), name: Thing(ours, name)}
                facts = {key: thing.facts() for key, thing in things.items()}
                say(f"limits, {threads} threads: {name}")
                found = paces(things, rounds)
                pace = facts[name]["rows"] * median(found[name])
                for what, against, kind, amount, unit in (
                    ("arithmetic", gemm, "flops", flops, "GFLOP"),
                    ("bytes", "copy", "bytes", facts[name]["bytes"], "GB"),
                ):
                    most = [own * facts[against][kind] for own in found[against]]
                    reached = [own * amount for own in found[name]]
                    of = f"{median(reached) / 1e9:.3g} of {median(most) / 1e9:.3g} {unit}/s ({against})"
                    note = f"{amount / 1e9:.3g} {unit} a step: {of}"
                    rows.append(Row("limits", f"{name}: {what}", threads, pace, *ratios(reached, most), note))
    return rows


def meme(rounds: int, threads: int) -> list[Row]:
    """Our MEME against the published training's step in plain style; the same nets, and our conv nets."""
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
    """The plain step in fp32 against one without, or with, each switch; absent entries left out against computed."""
    rows = []
    with Side("ours", threads) as ours, Side("ours", threads, SPEED_PLAIN_MALLOC="1") as plain:
        for task in SWITCHED:
            things = {
                f"{task}: fp32": Thing(ours, task),
                f"{task}: fp32, torch's own layers": Thing(ours, f"{task}+torch-layers"),
                f"{task}: fp32, glibc's own settings": Thing(plain, task),
                f"{task}: fp32, neither": Thing(plain, f"{task}+torch-layers"),
                f"{task}: bf16": Thing(ours, f"{task}+bf16"),
            }
            rows += compared("switches", threads, things, rounds)
            for key, end in PRECISIONS.items():
                half = f"{task}: {key}, half of the rows incomplete"
                things = {f"{half}, all computed": Thing(ours, f"{task}{end}+half+dense")}
                things |= {f"{half}, present alone": Thing(ours, f"{task}{end}+half")}
                notes = {key: work(thing.facts()) for key, thing in things.items()}
                rows += compared("switches", threads, things, rounds, notes)
    return rows


def compiled(rounds: int, threads: int) -> list[Row]:
    """The plain step against one fused by torch.compile, where there is a compiler."""
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


def same(facts: dict[str, dict[str, Any]], *keys: str) -> None:
    """Stop unless sides do the same work with the same nets."""
    for key in keys:
        values = {side: own[key] for side, own in facts.items()}
        assert len({str(value) for value in values.values()}) == 1, f"not the same {key}: {values}"


def work(facts: dict[str, Any]) -> str:
    """In words, what was counted."""
    each = {kind: " and ".join(f"{n:g}" for n in sorted(set(facts[kind]))) for kind in ("encodes", "decodes")}
    what = f"{each['encodes']} encodes, {each['decodes']} decodes a row"
    return f"{facts['parameters']:,} parameters; of each modality {what}; {facts['flops'] / 1e9:.3g} GFLOP a step"
