"""Who is best in a table column, and how sure that is: a state of each model, and sentences."""

from collections.abc import Callable, Mapping, Sequence

from mmvae_bench.errors import counted
from mmvae_bench.report.statistics import MIN_SEEDS
from mmvae_bench.report.tables import Cell, Column, Pair, Table, compare_column, ranked, same_seeds

# State of a model in a column -> its meaning, for people. The states of :func:`mmvae_bench.report.tables.mark`, and the
# reasons why a cell has none
STATES = {
    "best": "best",
    "tie": "not distinguished from the best",
    "unsure": "worse than the best, but not after Holm's correction",
    "worse": "worse than the best",
    "open": "not tested against the best",
    "chance": "not distinguished from chance",
    "dead": "nothing is claimed: some seeds are dead",
    "control": "chance control, not ranked",
    "bound": "a bound, not ranked",
    "unranked": "not ranked",
}
Name = Callable[[str], str]


def states(table: Table, column: Column) -> dict[str, str]:
    """Return the state of each model that has a score in a column, a key of :data:`STATES`."""
    shown = ranked(table.cells, column)
    scored = {label: row[column] for label, row in table.cells.items() if row[column].summary}
    found = {label: _aside(cell) or "unranked" for label, cell in scored.items()}
    best = {label: cell for label, cell in shown.items() if cell.best}
    if not best:
        return {**found, **{label: "chance" for label, cell in shown.items() if _told_at_chance(table, cell)}}
    first = max(best, key=lambda label: table.better * best[label].mean)
    pairs = {c.worse: c for c in compare_column(table, column) if c.better == first}
    return {label: _aside(cell) or _state(cell, pairs.get(label)) for label, cell in scored.items()}


def _aside(cell: Cell) -> str:
    """Return why a cell is not compared; empty if it is."""
    return "control" if cell.control else "bound" if cell.bound else "dead" if cell.dead else ""


def _told_at_chance(table: Table, cell: Cell) -> bool:
    return bool(table.better) and cell.at_chance and not cell.dead


def _state(cell: Cell, pair: Pair | None) -> str:
    if cell.best:
        return "best"
    if cell.at_chance:
        return "chance"
    if cell.undecided or cell.uncorrected:
        return "tie" if cell.undecided else "unsure"
    return "worse" if pair is not None and pair.claim and pair.survives else "open"


def verdict(table: Table, column: Column, name: Name) -> str:
    """Return who is best in a column and how sure that is, in a few sentences.

    Args:
        table: the table.
        column: one of its columns.
        name: returns the name of a label, for people.
    """
    found = states(table, column)
    if reason := _unranked(table, column, found):
        return reason
    of = {state: [name(label) for label, own in found.items() if own == state] for state in STATES}
    first, *equal = sorted(
        (label for label, own in found.items() if own == "best"),
        key=lambda label: -table.better * table.cells[label][column].mean,
    )
    cell = table.cells[first][column]
    if of["open"] and not (of["tie"] or of["unsure"] or of["worse"] or equal):
        said = [f"{name(first)} has the best mean, {_number(cell)}, but no order is claimed: {_why_open(cell)}."]
        return " ".join([*said, *_rest(table, column, found, of)])
    said = [f"{name(first)} is best, {_number(cell)}" + _ties([*map(name, equal), *of["tie"]], of) + "."]
    if of["worse"] and (equal or of["tie"] or of["unsure"] or of["open"]):
        said.append(f"It is better than {listed(of['worse'])}.")
    if of["unsure"]:
        said.append(f"It is better than {listed(of['unsure'])} only before Holm's correction.")
    if of["open"]:
        said.append(f"Not tested: {listed(of['open'])}.")
    return " ".join([*said, *_rest(table, column, found, of)])


def _ties(tied: Sequence[str], of: Mapping[str, Sequence[str]]) -> str:
    """Return the end of the first sentence: how sure it is."""
    if tied:
        return f"; not distinguished from {listed(tied)}"
    if of["unsure"] or of["open"] or not of["worse"]:
        return ""
    return f", and distinguished from {listed(of['worse'])}"


def _rest(table: Table, column: Column, found: Mapping[str, str], of: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the sentences on models about which nothing is claimed."""
    said = []
    if of["chance"]:
        said.append(f"Not distinguished from chance: {listed(of['chance'])}.")
    if of["dead"]:
        counts = [table.cells[label][column].dead for label, own in found.items() if own == "dead"]
        dead = [f"{text} ({counted(n, 'dead seed')})" for text, n in zip(of["dead"], counts, strict=True)]
        said.append(f"Nothing is claimed of {listed(dead)}.")
    return said


def _unranked(table: Table, column: Column, found: Mapping[str, str]) -> str:
    """Return why no model of a column is best; empty if one is."""
    shown = ranked(table.cells, column)
    if not shown:
        return "No model that could be ranked has this score here."
    if not table.better:
        return "No best is named for this score: it only accompanies another one."
    if len(shown) == 1:
        return "Only one model has this score here, so nothing is compared."
    if column not in table.comparable:
        return "Nothing is ranked: models were scored on different data, or by different judges."
    if not same_seeds(shown):
        return "Nothing is ranked: models were run with different seeds."
    return (
        "" if "best" in found.values() else "No model is best: none is distinguished from chance without a dead seed."
    )


def _why_open(cell: Cell) -> str:
    if len(cell.scores.by_seed) < MIN_SEEDS:
        return f"there are fewer than {MIN_SEEDS} seeds"
    return "the score is not a mean over test rows whose outcomes are stored"


def _number(cell: Cell) -> str:
    """Return the mean as the tables print it."""
    return f"{cell.mean:.{cell.decimals}f}"


def listed(names: Sequence[str]) -> str:
    """Return ``A, B and C``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""
