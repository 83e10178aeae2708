"""Tables as text: CSV, Markdown and LaTeX."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from mmvae_bench.metrics import DEAD
from mmvae_bench.models import ABOUT, NOT_KNOWN
from mmvae_bench.report.statistics import MIN_SEEDS, Summary
from mmvae_bench.report.tables import Cell, Table, ranked, same_seeds
from mmvae_bench.spec import Missing

DAGGER = "†"
ALMOST = "≈"  # cannot be distinguished from the best
UNSURE = "~"  # worse than the best, but not after Holm's correction
BOUND = "‡"
TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "→": r"$\rightarrow$", "±": r"$\pm$", DAGGER: r"$^\dagger$", ALMOST: r"$^\approx$",
    BOUND: r"$^\ddagger$", "↔": r"$\leftrightarrow$",
    "|": r"\textbar{}",
}  # fmt: skip
LEGEND = "cannot be distinguished from the best: the 95 % interval of their paired difference contains 0"
MARKS = {
    ALMOST: LEGEND,
    UNSURE: "worse than the best by that interval, but not after Holm's correction for all pairs of the column",
    BOUND: "a bound, not an estimate (mean effective sample size below 10 in some seed): shown, never ranked",
    DAGGER: "chance control: shown, never ranked",
}
DEAD_RUNS = (
    "Dead: an encoder or decoder that is scored was never trained (none of its reconstruction gains is above 0 by "
    f"{DEAD} standard errors); the mean includes such seeds, has no interval and is never best; no order is claimed."
)
SMALLEST = (
    "Smallest difference: half width of the 95 % interval of paired differences, least and greatest over pairs of "
    "models. With these seeds and rows an order can only be claimed of larger ones."
)
SUMMARY = {"mean": None, "sd": None, "half_width": None, "n": 0, "rows": 0}  # columns of a CSV, and their empty values
DIRECTIONS = {1: "higher is better", -1: "lower is better", 0: "no best is marked"}


@dataclass(frozen=True)
class Shown:
    """Texts of a cell: mean, interval, and the marks behind them (≈, dagger, number of seeds where cells differ)."""

    mean: str
    interval: str = ""
    marks: str = ""

    @property
    def plain(self) -> str:
        """``0.512 ± 0.010``."""
        return self.mean + (f" ± {self.interval}" if self.interval else "") + self.marks


def show(cell: Cell, table: Table) -> Shown:
    """Return the texts of a cell."""
    if cell.summary is None:
        return Shown("n/a" if cell.note else "-")
    score, digits = cell.summary, cell.decimals
    interval = "" if score.half_width is None else f"{score.half_width:.{digits}f}"
    counts = [f"n={score.n}"] * (table.seeds is None) + [f"{cell.dead} of {score.n} dead"] * bool(cell.dead)
    return Shown(f"{score.mean:z.{digits}f}", interval, marks_of(cell) + (f" ({', '.join(counts)})" if counts else ""))


def marks_of(cell: Cell) -> str:
    """Return the marks of a cell, keys of :data:`MARKS`."""
    return ALMOST * cell.undecided + UNSURE * cell.uncorrected + BOUND * cell.bound + DAGGER * cell.control


def show_limits(ends: tuple[float, float] | None, decimals: int) -> str:
    """Return a chance level or ceiling as text; two numbers where it depends on the run."""
    low, high = ("", "") if ends is None else (f"{end:z.{decimals}f}" for end in ends)
    return low if low == high else f"{low} to {high}"


def show_rows(difference: Summary) -> str:
    """Return what the interval of a difference covers beside seeds: a number of test rows, draws, or ``-``."""
    return str(difference.rows) if difference.rows else "draws" if difference.covers else "-"


def limit_rows(table: Table) -> dict[str, list[str]]:
    """Return the rows ``chance``, ``ceiling`` and ``smallest difference`` below a table, where there are any."""
    rows = {"chance": table.chance, "ceiling": table.ceiling, "smallest difference": table.smallest}
    columns = [(column, table.decimals(column)) for column in table.columns]
    return {name: [show_limits(ends.get(c), digits) for c, digits in columns] for name, ends in rows.items() if ends}


def caption(table: Table) -> str:
    """Return the caption of a table: title, data set, direction, spread and number of seeds."""
    over = covered(table)
    spread = f"mean ± half width of the 95 % interval {over}" if over else "mean over seeds, without intervals"
    n = "number of seeds in brackets" if table.seeds is None else f"n = {table.seeds}"
    return f"{table.title} on {table.group}; {DIRECTIONS[table.better]}; {spread}, {n}."


def covered(table: Table) -> str:
    """Return what a table's intervals are over; empty where it has none."""
    scored = [cell.summary for row in table.cells.values() for cell in row.values() if cell.summary]
    with_interval = [score for score in scored if score.half_width is not None]
    if any(score.rows for score in with_interval):
        return "over seeds and test rows"
    if any(score.covers for score in with_interval):
        return "over seeds, each with draws of its own"
    return "over seeds alone (no mean over rows: no order is claimed)" if with_interval else ""


def notes(table: Table) -> list[str]:
    """Return the notes below a table: meaning of marks, reasons for empty cells, and remarks on scores."""
    cells = [(label, row[column]) for label, row in table.cells.items() for column in table.columns]
    used = "".join(marks_of(cell) for _, cell in cells)
    marks = [f"{mark} {meaning}." for mark, meaning in MARKS.items() if mark in used]
    reasons = dict.fromkeys(f"n/a, {label}: {cell.note}" for label, cell in cells if cell.note and not cell.summary)
    mixed = table.better and not all(same_seeds(ranked(table.cells, column)) for column in table.columns)
    seeds = ["No best value is marked in a column whose models were run with different seeds."] if mixed else []
    dead = [DEAD_RUNS] if any(cell.dead for _, cell in cells) else []
    scored = [(label, cell.note) for label, cell in cells if cell.summary]
    remarks = {note: {label: None for label, own in scored if own == note} for _, note in scored if note}
    every = {label for label, _ in scored}
    said = [note if set(of) == every else f"{', '.join(of)}: {note}" for note, of in remarks.items()]
    left_out = [table.left_out] if table.left_out else []
    chances = chance_notes(cells) if table.better else []
    marks += [SMALLEST] if table.smallest else []
    return [*marks, *baselines(table.cells), *seeds, *dead, *left_out, *chances, *reasons, *said]


def baselines(labels: Iterable[str]) -> list[str]:
    """Return a note that names the baselines of a table, if it has any."""
    found = [label for label in labels if ABOUT.get(re.split(r"[\[ ]", label)[0], NOT_KNOWN).family == "baseline"]
    return [f"Baselines, ranked with the models though they are no VAEs: {', '.join(found)}."] if found else []


def chance_notes(cells: Iterable[tuple[str, Cell]]) -> list[str]:
    """Return what tells the scores of models from chance where there are no intervals."""
    shown = [(label, cell) for label, cell in cells if cell.summary and not (cell.control or cell.bound)]
    unknown = dict.fromkeys(label for label, cell in shown if cell.at_chance and cell.least_gap is None)
    gaps = [c.least_gap for _, c in shown if c.summary and c.summary.n < MIN_SEEDS and c.least_gap is not None]
    found = []
    if gaps:
        least = show_limits((min(gaps), max(gaps)), 3)
        found.append(f"Below {MIN_SEEDS} seeds a score is told from chance by two standard errors: a gap of {least}.")
    if unknown:
        found.append(
            f"No error of a score of {', '.join(unknown)} is known (not a mean over several test rows, and fewer than "
            f"{MIN_SEEDS} seeds that differ): it is not told from chance, and never marked as the best."
        )
    return found


def hidden(missing: Missing) -> dict[str, str | float]:
    """The CSV columns of what was hidden."""
    return {"missing_scheme": missing.scheme, "missing_ratio": missing.ratio, "incomplete": missing.incomplete}


def csv_text(head: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return a CSV file of some columns of the rows."""
    return pd.DataFrame(list(rows), columns=list(head), dtype=object).to_csv(index=False)


def to_csv(table: Table) -> str:
    """Return a CSV file with one line per cell, in full precision."""
    rows = []
    for label, row in table.cells.items():
        for column, cell in ((column, row[column]) for column in table.columns):
            score = {name: getattr(cell.summary, name, empty) for name, empty in SUMMARY.items()}
            marks = {
                name: int(getattr(cell, name))
                for name in ("best", "undecided", "uncorrected", "control", "bound", "dead")
            }
            where = {"model": label, "column": column.text, **hidden(column.missing)}
            rows.append({**where, **score, **marks, "rank": cell.rank, "note": cell.note})
    return pd.DataFrame(rows, dtype=object).to_csv(index=False)


def to_markdown(table: Table) -> str:
    """Return a Markdown table."""
    head = ["model", *(f"{markdown(c.text)}<br>{markdown(c.missing.text)}" for c in table.columns)]
    lines = [head, ["---", *["---:"] * len(table.columns)], *_rows(table, markdown, lambda text: f"**{text}**")]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    foot = "".join(f"\n- {markdown(note)}" for note in notes(table))
    return f"**{markdown(caption(table))}** {markdown(table.definition)}\n\n{body}\n{foot}\n"


def to_latex(table: Table) -> str:
    """Return a booktabs table; the name of what is scored spans the missing patterns below it."""
    spans = [(text, len(list(part))) for text, part in groupby(table.columns, lambda c: c.text)]
    above = " & ".join(["", *(rf"\multicolumn{{{size}}}{{c}}{{{latex(text)}}}" for text, size in spans)])
    rules, start = [], 2
    for _, size in spans:
        rules.append(rf"\cmidrule(lr){{{start}-{start + size - 1}}}")
        start += size
    below = " & ".join(["model", *(latex(c.missing.text) for c in table.columns)])
    body = [" & ".join(row) + r" \\" for row in _rows(table, latex, lambda text: rf"\textbf{{{text}}}")]
    if limits := len(limit_rows(table)):
        body.insert(len(body) - limits, r"\midrule")
    tabular = [rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}", r"\toprule", above + r" \\", "".join(rules),
               below + r" \\", r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]  # fmt: skip
    if len(table.columns) > 6:  # wider than a text block
        tabular = [r"\resizebox{\linewidth}{!}{%", *tabular, "}"]
    foot = [rf"\par\footnotesize {latex(note)}" for note in notes(table)]
    text = latex(f"{caption(table)} {table.definition}")
    lines = ["% needs booktabs and graphicx", r"\begin{table}", r"\centering", rf"\caption{{{text}}}", *tabular, *foot]
    return "\n".join([*lines, r"\end{table}", ""])


def _rows(table: Table, escape: Callable[[str], str], bold: Callable[[str], str]) -> list[list[str]]:
    """Return the body rows as escaped texts."""

    def write(cell: Cell) -> str:
        text = escape(show(cell, table).plain)
        return bold(text) if cell.best else text

    models = [[escape(label), *(write(row[column]) for column in table.columns)] for label, row in table.cells.items()]
    return models + [[name, *map(escape, texts)] for name, texts in limit_rows(table).items()]


def markdown(text: str) -> str:
    """Escape characters that Markdown or a table cell would interpret."""
    return re.sub(r"([\\`*_\[\]|<>])", r"\\\1", " ".join(text.splitlines()))


def latex(text: str) -> str:
    """Escape characters that LaTeX would interpret."""
    return "".join(TEX.get(character, character) for character in " ".join(text.splitlines()))
