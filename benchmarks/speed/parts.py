"""What is compared with what: one function a part, from (rounds, threads) to rows."""

import sys
from importlib.util import find_spec
from statistics import median
from typing import Any

from rows import Row
from turns import Side, Thing, compared, paces, ratios, say

MODELS = ("mvae", "mopoe", "mmvae-k10")
SWITCHED = ("mopoe", "mmvae-k10")


def multivae(rounds: int, threads: int) -> list[Row]:
    """Our step against PyPI multivae's, same nets, with all threads and with one."""
    return [row for own in sorted({threads, 1}, reverse=True) for row in _multivae(rounds, own, MODELS, ("", "+bf16"))]


def subsets(rounds: int, threads: int) -> list[Row]:
    """MoPoE of eight modalities, 255 subsets, tiny nets."""
    return _multivae(rounds, threads, ("mopoe-m8",), ("",), part="subsets")


def _multivae(
    rounds: int, threads: int, tasks: tuple[str, ...], switches: tuple[str, ...], part: str = "multivae"
) -> list[Row]:
    if find_spec("multivae") is None:
        sys.exit("multivae is not installed: run `pip install -e '.[speed]'`, or leave out this part with --only")
    rows = []
    with Side("ours", threads) as ours, Side("multivae", threads) as theirs:
        for task in tasks:
            own, other = Thing(ours, task), Thing(theirs, task)
            facts = {"ours": own.facts(), "multivae": other.facts()}
            same(facts, ("parameters", "decodes"))  # multivae may encode a row more than once
            base = f"{task}: multivae"
            things = {base: other} | {f"{task}: ours {_precision(s)}": Thing(ours, task + s) for s in switches}
            notes = dict.fromkeys(things, work(facts["ours"])) | {base: work(facts["multivae"])}
            rows += compared(part, threads, things, rounds, notes)
    return rows


def bare(rounds: int, threads: int) -> list[Row]:
    """Our step against the same nets' forward and backward alone."""
    rows = []
    with Side("ours", threads) as ours, Side("bare", threads) as alone:
        for name in (task + switch for task in MODELS for switch in ("", "+bf16")):
            facts = {"ours": Thing(ours, name).facts(), "bare": Thing(alone, name).facts()}
            same(facts, ("parameters", "encodes", "decodes"))
            things = {f"{name}: bare nets": Thing(alone, name), f"{name}: ours": Thing(ours, name)}
            rows += compared("bare", threads, things, rounds, dict.fromkeys(things, work(facts["ours"])))
    return rows


def limits(rounds: int, threads: int) -> list[Row]:
    """The share of the machine's pace in matrix products, and in copying memory, that our step comes to."""
    rows = []
    with Side("ours", threads) as ours, Side("machine", threads) as machine:
        for name in (task + switch for task in MODELS for switch in ("", "+bf16")):
            gemm = "gemm+bf16" if name.endswith("+bf16") else "gemm"
            things = {key: Thing(machine, key) for key in (gemm, "copy")} | {name: Thing(ours, name)}
            plain = Thing(
                ours, name.removesuffix("+bf16") + "+torch-layers"
            ).facts()  # arithmetic of torch's own layers
            facts = {key: thing.facts() for key, thing in things.items()}
            say(f"limits, {threads} threads: {name}")
            found = paces(things, rounds)
            for kind, against, amount, unit in (
                ("arithmetic", gemm, plain["flops"], "GFLOP"),
                ("bytes", "copy", facts[name]["bytes"], "GB"),
            ):
                most = [pace * facts[against][unit_key(kind)] for pace in found[against]]
                reached = [pace * amount for pace in found[name]]
                note = (
                    f"{amount / 1e9:.3g} {unit} a step: {median(reached) / 1e9:.3g} {unit}/s of "
                    f"{median(most) / 1e9:.3g} ({against})"
                )
                pace = facts[name]["rows"] * median(found[name])
                rows.append(Row("limits", f"{name}: {kind}", threads, pace, *ratios(reached, most), note))
    return rows


def unit_key(kind: str) -> str:
    return "flops" if kind == "arithmetic" else kind


def meme(rounds: int, threads: int) -> list[Row]:
    """Our MEME against the published training's step in plain style; the same nets, and our conv nets."""
    with Side("ours", threads) as ours, Side("meme", threads) as theirs:
        names = {"ours, published nets": "meme-published-nets", "ours, conv nets": "meme-conv"}
        things = {"published step": Thing(theirs, "meme-published-nets")}
        things |= {
            key + end: Thing(ours, n + s) for key, n in names.items() for end, s in (("", ""), (" bf16", "+bf16"))
        }
        facts = {key: thing.facts() for key, thing in things.items() if not key.endswith("bf16")}
        same({key: facts[key] for key in ("published step", "ours, published nets")}, ("parameters", "decodes"))
        notes = {key: work(facts[key.removesuffix(" bf16")]) for key in things}
        return compared("meme", threads, things, rounds, notes)


def switches(rounds: int, threads: int) -> list[Row]:
    """The plain step in fp32 against one without, or with, each switch; absent entries left out against computed."""
    rows = []
    with Side("ours", threads) as ours, Side("ours", threads, SPEED_PLAIN_MALLOC="1") as plain:
        for task in SWITCHED:
            things = {
                f"{task}: fp32": Thing(ours, task),
                f"{task}: torch's own layers": Thing(ours, task + "+torch-layers"),
            }
            things[f"{task}: the allocator's own settings"] = Thing(plain, task)
            things[f"{task}: bf16"] = Thing(ours, task + "+bf16")
            rows += compared("switches", threads, things, rounds)
            for switch in ("", "+bf16"):
                half = f"{task}{switch}, half of the rows incomplete"
                name = f"{task}{switch}+half"
                things = {
                    f"{half}: all computed": Thing(ours, name + "+dense"),
                    f"{half}: present alone": Thing(ours, name),
                }
                notes = {key: work(thing.facts()) for key, thing in things.items()}
                rows += compared("switches", threads, things, rounds, notes)
    return rows


def compiled(rounds: int, threads: int) -> list[Row]:
    """The plain step against one fused by torch.compile, where there is a compiler."""
    rows = []
    with Side("ours", threads) as ours:
        for name in (task + switch for task in SWITCHED for switch in ("", "+bf16")):
            say(f"compiling {name}")
            fused = Thing(ours, name + "+compiled")
            reason = ours.ask(fused.name, 1)
            if isinstance(reason, dict):
                return [Row("compiled", "torch.compile", threads, note=f"left out: {reason['unavailable']}")]
            rows += compared("compiled", threads, {name: Thing(ours, name), f"{name}: compiled": fused}, rounds)
    return rows


def same(facts: dict[str, dict[str, Any]], keys: tuple[str, ...]) -> None:
    """Stop unless sides do the same work with the same nets."""
    for key in keys:
        values = {side: own[key] for side, own in facts.items()}
        assert len({str(value) for value in values.values()}) == 1, f"not the same {key}: {values}"


def work(facts: dict[str, Any]) -> str:
    """In words, what was counted."""
    each = {kind: " and ".join(f"{n:g}" for n in sorted(set(facts[kind]))) for kind in ("encodes", "decodes")}
    return f"{facts['parameters']:,} parameters, a row of each modality: encodes {each['encodes']}, decodes {each['decodes']}"
