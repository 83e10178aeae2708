"""From rows to tables: averages over seeds and directions, marks, and refusals (protocol 16, 17, 25, 26)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmvae_bench.errors import BenchError, counted
from mmvae_bench.metrics import Description, is_blind
from mmvae_bench.report.select import Selection
from mmvae_bench.report.statistics import Scores, summarise
from mmvae_bench.report.tables import Cell, Cells, Column, Table, compare_columns, mark
from mmvae_bench.spec import Missing

HASHES = ("dataset_hash", "oracle_hash", "embedding_hash")
ORDER = (  # of metrics on the page; all others follow
    "attributes_strict", "attributes_features", "cross_coherence", "self_coherence", "joint_coherence", "cca",
    "cca_ratio", "cca_ground_truth", "retrieval_recall", "retrieval_median_rank", "caption_quality", "linear_probe",
    "relatedness_auroc", "relatedness_contrast", "relatedness_transport", "frechet", "log_likelihood",
    "oracle_accuracy",
)  # fmt: skip
OVER_DIRECTIONS = r"micro \d+"  # means over directions, which tables compute from their parts
FAMILY = ["group", "metric", "variant", "prior"]
COLUMN = ["column", "missing"]
Key = tuple[str, str, str, str]  # group, metric, variant, prior
TASK = [*FAMILY, "given", "target", "missing"]


def build_tables(selection: Selection) -> list[Table]:
    """Return all tables: by data set, metric, variant, prior and scheme, ratio 0 under every scheme.

    Raises:
        BenchError: If rows of one cell were scored on different data, by different oracles or embeddings.
    """
    return [part for table in whole_tables(selection) for part in by_scheme(table)]


def whole_tables(selection: Selection, metric: str | None = None) -> list[Table]:
    """Return the tables of all metrics, or of one, each over all schemes."""
    frame = selection.frame if metric is None else selection.frame[selection.frame["metric"] == metric]
    refuse_mixed(frame)
    ok = frame[(frame["status"] == "ok") & ~frame["variant"].str.fullmatch(OVER_DIRECTIONS)]
    keys: list[Key] = list(ok[FAMILY].drop_duplicates().itertuples(index=False, name=None))
    groups, order = list(ok["group"].unique()), [*ORDER, *ok["metric"].unique()]
    keys.sort(key=lambda key: (groups.index(key[0]), order.index(key[1]), key[2] != ""))  # the metric itself first
    families = dict(list(frame.groupby(["group", "metric"], sort=False)))  # few rows to search for each table
    return [build_table(key, families[key[:2]], selection) for key in keys]


def refuse_mixed(frame: pd.DataFrame) -> None:
    """Refuse rows of one cell with different configurations, data, oracles or embeddings; name the difference."""
    cells = frame[frame["status"] == "ok"].groupby([*TASK, "entrant"], sort=False)
    for column in ("config_id", *HASHES):
        kinds = cells[column].nunique(dropna=False)
        for key in kinds.index[kinds > 1]:
            cell, values = dict(zip([*TASK, "entrant"], key, strict=True)), cells.get_group(key)[column].unique()
            raise BenchError(
                f"Cannot average {cell['metric']} of {cell['entrant']} on {cell['group']} ({cell['given']} → "
                f"{cell['target']}, {cell['missing'].text}): its rows differ in {column} "
                f"({', '.join(sorted(map(str, values)))}). Repeat its command with --overwrite always."
            )


def build_table(key: Key, frame: pd.DataFrame, selection: Selection, *, coarse: bool = False) -> Table:
    """Return one metric's table over all schemes, from its rows on a data set, with models in the report's order.

    With ``coarse``, the summary's form, scores are averaged over modalities where there are more than two.
    """
    _, metric, variant, prior = key
    about = selection.metrics[metric]
    rows = frame[(frame["variant"] == variant) & (frame["prior"] == prior) & ~_is_skip(frame)]
    rows, left_out = _without_blind(_with_columns(rows, about, coarse=coarse), selection)
    columns = _columns(rows)
    cells = {label: dict.fromkeys(columns, Cell()) for label in selection.labels if (frame["entrant"] == label).any()}
    ok = rows[rows["status"] == "ok"]  # the others know no direction
    better = (1 if bool(ok["higher_is_better"].iloc[0]) else -1) if about.is_ranked(variant, prior) else 0
    _fill(cells, rows, better, selection)
    _note_skips(cells, frame[_is_skip(frame) & frame["prior"].isin(["", prior])])
    comparable = _comparable(ok)
    pairs = compare_columns(cells, comparable, better)
    marked, limits = mark(cells, pairs, better), (_limits(ok, "chance"), _limits(ok, "ceiling"))
    return Table(*key, "", columns, marked, *limits, better, frozenset(comparable), about, left_out, pairs)


def by_scheme(table: Table) -> Iterator[Table]:
    """Split a table into one per missing scheme, ratio 0 in each."""
    schemes = list(dict.fromkeys(c.missing.pattern for c in table.columns if c.missing.ratio > 0)) or ["none"]
    for scheme in schemes:
        columns = [c for c in table.columns if c.missing.pattern == scheme or c.missing.ratio == 0]
        yield replace(table, scheme=scheme, columns=columns)


def _is_skip(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Return the rows without value and direction: a whole metric is not defined for a run."""
    return (frame["status"] != "ok") & (frame["given"] == "") & (frame["target"] == "")


def _note_skips(cells: Cells, skips: pd.DataFrame) -> None:
    """Write the reason into the empty cells of the runs concerned."""
    for label, missing, reason in zip(*(skips[n] for n in ("entrant", "missing", "reason")), strict=True):
        for column, cell in cells.get(label, {}).items():
            if column.missing == missing and not (cell.summary or cell.note):
                cells[label][column] = Cell(note=reason)


def _with_columns(rows: pd.DataFrame, about: Description, *, coarse: bool) -> pd.DataFrame:
    """Add ``column``, the text of what is scored; rows that have none are left out."""
    names = {name for side in ("given", "target") for text in rows[side].unique() for name in text.split("+")}
    count = len(names - {""})
    text = [about.column(*row, count, coarse=coarse) for row in zip(rows["given"], rows["target"], strict=True)]
    return rows.assign(column=pd.Series(text, rows.index, dtype=object)).dropna(subset="column")


def _without_blind(rows: pd.DataFrame, selection: Selection) -> tuple[pd.DataFrame, str]:
    """Leave out of each mean over directions those whose judge is at chance, unless all are; return a remark, too."""
    blind = [_is_blind(row, selection) for row in rows.itertuples()]
    names = rows["given"] + " → " + rows["target"]
    bad = names.isin(names[blind])
    bad &= ~bad.groupby(rows["column"]).transform("all")
    if not bad.any():
        return rows, ""
    gone = ", ".join(names[bad].unique())
    return rows[~bad], f"Left out of means over directions, because a judge is at chance: {gone}."


def _is_blind(row: Any, selection: Selection) -> bool:
    """Return whether the judge of a score is at chance; False for scores without a judge's ceiling."""
    if not (row.status == "ok" and np.isfinite(row.ceiling)):
        return False
    return (row.group, row.target) in selection.blind or is_blind(row.ceiling, row.chance, row.n)


def _columns(rows: pd.DataFrame) -> list[Column]:
    """Return all columns: what is scored in the order of the rows, then missing patterns."""
    order, found = in_order(rows["missing"]), set(zip(rows["column"], rows["missing"], strict=True))
    return [Column(text, m) for text in rows["column"].unique() for m in order if (text, m) in found]


def in_order(patterns: Iterable[Missing]) -> list[Missing]:
    """Return distinct missing patterns: complete first, then schemes in the order given, ratios upwards."""
    found = list(dict.fromkeys(patterns))
    schemes = list(dict.fromkeys(m.pattern for m in found))
    return sorted(found, key=lambda m: (m.ratio > 0, schemes.index(m.pattern), m.ratio))


def _fill(cells: Cells, rows: pd.DataFrame, better: int, selection: Selection) -> None:
    """Average the rows of each cell."""
    largest = rows[rows["status"] == "ok"].groupby("column")["value"].agg(lambda values: values.abs().max())
    needed = rows.drop_duplicates(["column", "given", "target"])["column"].value_counts().to_dict()
    parts: dict[tuple[str, Column], list[Any]] = defaultdict(list)
    records: Iterable[Any] = rows.itertuples()
    for row in records:
        parts[row.entrant, Column(row.column, row.missing)].append(row)
    for (label, column), part in parts.items():
        cell = average(part, needed[column.text], better, selection)
        cells[label][column] = replace(cell, decimals=1 if largest.get(column.text, 0) >= 10 else 3)


def average(rows: Sequence[Any], needed: int, better: int, selection: Selection) -> Cell:
    """Average the rows of one cell. A seed counts only if all ``needed`` directions were scored."""
    by_seed: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        if row.status == "ok" and np.isfinite(row.value):
            by_seed[int(row.seed)].append(row)
    whole = {seed: part for seed, part in sorted(by_seed.items()) if len(part) == needed}
    if not whole:
        reason = next((row.reason for row in rows if row.status != "ok" and row.reason), "")
        most = max(map(len, by_seed.values()), default=0)
        return Cell(note=reason or f"scored: {most} of {counted(needed, 'direction')}")
    scores, shown = _scores(whole, selection), [row for part in whole.values() for row in part]
    dead = sum(any(map(selection.dead, part)) for part in whole.values())
    summary, control, bound = summarise(scores), any(r.control for r in shown), any(r.bound is True for r in shown)
    if dead:
        summary = replace(summary, half_width=None, p=None)
    return Cell(summary, scores, _remark(rows), control, bound, dead, *_beyond(whole, scores, better))


def _scores(whole: Mapping[int, Sequence[Any]], selection: Selection) -> Scores:
    """Return the mean of each seed's rows, and of their outcomes on each test row where all directions have them."""
    by_seed = {seed: float(np.mean([row.value for row in part])) for seed, part in whole.items()}
    sampled = {row.sampled for part in whole.values() for row in part}
    outcomes: dict[int, NDArray[np.float32]] = {}
    for seed, part in whole.items() if sampled == {"rows"} else ():
        known = [x for row in part if (x := selection.outcomes(row)) is not None]
        if len(known) == len(part) and len({len(x) for x in known}) == 1:
            outcomes[seed] = np.stack(known).mean(0, dtype=np.float32)
    whole_rows = len(outcomes) == len(by_seed) and len({len(x) for x in outcomes.values()}) == 1
    return Scores(by_seed, outcomes if whole_rows else {}, sampled == {"draws"})


def _beyond(whole: Mapping[int, Sequence[Any]], scores: Scores, better: int) -> tuple[bool, float | None]:
    """Return whether a mean is not told from the mean of its rows' chance levels, and the least gap that would be.

    Without a chance level nothing is at chance; without any error everything is. Both then have no least gap.
    """
    above = {seed: better * float(np.mean([row.value - row.chance for row in part])) for seed, part in whole.items()}
    # n outcomes that all agree have no spread, and yet an error: up to 3 / n with 95 % (rule of three), 1.5 / n twice
    errors = [e for part in whole.values() for row in part if np.isfinite(e := row.se or 1.5 / (row.n or np.nan))]
    found = summarise(Scores(above, scores.rows))
    if not np.isfinite(found.mean):
        return False, None
    least = found.half_width or (2 * float(np.mean(errors)) if errors else None)
    return least is None or found.mean <= least, least


def _remark(rows: Sequence[Any]) -> str:
    """Remarks on the scores, each once."""
    parts = [part for row in rows if row.status == "ok" for part in row.reason.split("; ")]
    return "; ".join(part for part in dict.fromkeys(parts) if part)


def _comparable(ok: pd.DataFrame) -> list[Column]:
    """Return the columns whose models were all scored on the same data by the same oracles and embeddings."""
    kinds = ok.groupby([*COLUMN, "given", "target"], sort=False)[list(HASHES)].nunique().max(axis=1)
    most = kinds.groupby(level=[0, 1], sort=False).max()
    return [Column(*where) for where, n in most.items() if n == 1]  # type: ignore[misc]


def _limits(ok: pd.DataFrame, name: str) -> dict[Column, tuple[float, float]]:
    """Return the least and greatest chance level (or ceiling) of each column that has one."""
    ends = ok.dropna(subset=name).groupby(COLUMN, sort=False)[name].agg(["min", "max"])
    return {Column(*where): (float(low), float(high)) for where, low, high in ends.itertuples(name=None)}
