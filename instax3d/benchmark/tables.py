"""Tables of a benchmark: means over subjects, spread over seeds, paired differences with confidence intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from instax3d.plugin import MetricInfo
from instax3d.report.metric_info import known_metrics

from .results import CELL, METRIC, SUBJECT, VALUE

if TYPE_CHECKING:
    import pandas as pd

SEED = "seed"
_FEWEST_PAIRS = 3
"""With fewer pairs than this a difference has no confidence interval."""


@dataclass(frozen=True, slots=True)
class TableEntry:
    """The value of one metric for one combination of settings."""

    mean: float
    """Over subjects of the mean over seeds."""
    spread: float | None
    """Standard deviation over seeds, mean over subjects; None with one seed."""
    difference: tuple[float, float, float] | None = None
    """From the first combination with these subjects, in pairs of the same subject and seed: mean, and a 95 % interval
    (nan where there are too few pairs)."""
    best: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows are combinations of settings, columns metrics."""

    settings: tuple[str, ...]
    """Names of the axes that take several values, without the seed."""
    rows: tuple[tuple[str, ...], ...]
    metrics: tuple[MetricInfo, ...]
    entries: tuple[tuple[TableEntry | None, ...], ...]
    """None where a metric was not measured."""
    counts: tuple[tuple[int, int], ...]
    """Of each row: subjects, and cells."""
    subjects: int


def make_table(results: "pd.DataFrame", axes: Sequence[str]) -> Table:
    """Summarize tidy rows (`instax3d.benchmark.results.collect`).

    Only subjects for which a metric was measured under every combination count for it, so that all rows of a column
    are means over the same subjects. Combinations that have no subject in common with others, such as view generators
    for photos and for captures, are compared among themselves.
    """
    settings = tuple(axis for axis in axes if axis != SEED and results[axis].nunique() > 1)
    combinations = list(zip(*(results[axis] for axis in settings))) if settings else [()] * len(results)
    marked = results.assign(**{_ROW: combinations})
    rows = tuple(dict.fromkeys(combinations))
    metrics = tuple(metric for metric in known_metrics() if (marked[METRIC] == metric.name).any())
    columns = [_column(marked[marked[METRIC] == metric.name], rows, metric, SEED in axes) for metric in metrics]
    entries = tuple(tuple(column[i] for column in columns) for i in range(len(rows)))
    parts = [marked[marked[_ROW] == row] for row in rows]
    counts = tuple((int(part[SUBJECT].nunique()), int(part[CELL].nunique())) for part in parts)
    return Table(settings, rows, metrics, entries, counts, int(marked[SUBJECT].nunique()))


_ROW = "combination"


def _column(
    part: "pd.DataFrame", rows: tuple[tuple[str, ...], ...], metric: MetricInfo, seeded: bool
) -> list[TableEntry | None]:
    pair = [SUBJECT, SEED] if seeded else [SUBJECT]
    by_row = {row: part[part[_ROW] == row].set_index(pair)[VALUE] for row in rows}
    subjects = {row: set(values.index.get_level_values(SUBJECT)) for row, values in by_row.items() if len(values)}
    column: dict[tuple[str, ...], TableEntry] = {}
    for group in _comparable(subjects):
        common = set.intersection(*(subjects[row] for row in group))
        entries = {}
        for row in group if common else ():
            values = by_row[row][by_row[row].index.get_level_values(SUBJECT).isin(common)]
            grouped = values.groupby(level=SUBJECT)
            spread = float(grouped.std().mean()) if seeded and grouped.size().min() > 1 else None
            first = by_row[group[0]]
            difference = None if row is group[0] else _difference((values - first).dropna().to_numpy())
            entries[row] = TableEntry(float(grouped.mean().mean()), spread, difference)
        column |= _with_best(entries, metric)
    return [column.get(row) for row in rows]


def _comparable(subjects: Mapping[tuple[str, ...], set[str]]) -> list[list[tuple[str, ...]]]:
    """Rows in groups that share no subject with each other, as those for photos and those for captures may."""
    groups: list[tuple[set[str], list[tuple[str, ...]]]] = []
    for row, its_subjects in subjects.items():
        joined = [group for group in groups if group[0] & its_subjects]
        groups = [group for group in groups if not group[0] & its_subjects]
        groups.append((its_subjects.union(*(g[0] for g in joined)), [*(r for g in joined for r in g[1]), row]))
    return [rows for _, rows in groups]


def _difference(pairs: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float, float] | None:
    """Mean and its 95 % interval by the bias-corrected bootstrap."""
    if len(pairs) == 0:
        return None
    mean = float(pairs.mean())
    if len(pairs) < _FEWEST_PAIRS or np.ptp(pairs) == 0:
        return mean, float("nan"), float("nan")
    from scipy.stats import bootstrap

    interval = bootstrap((pairs,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    return mean, float(interval.low), float(interval.high)


def _with_best(entries: dict[tuple[str, ...], TableEntry], metric: MetricInfo) -> dict[tuple[str, ...], TableEntry]:
    means = {row: round(entry.mean, metric.decimals) for row, entry in entries.items()}
    if metric.better is None or len(set(means.values())) < 2:
        return entries
    best = (max if metric.better == "higher" else min)(means.values())
    return {row: replace(entry, best=means[row] == best) for row, entry in entries.items()}


def _headers(table: Table) -> list[str]:
    units = [f"{metric.name} ({metric.unit})" if metric.unit else metric.name for metric in table.metrics]
    return [*table.settings, "subjects", "cells", *units]


def _number(entry: TableEntry | None, metric: MetricInfo, plus_minus: str) -> str:
    if entry is None:
        return "not measured"
    text = f"{entry.mean:,.{metric.decimals}f}"
    return text if entry.spread is None else f"{text} {plus_minus} {entry.spread:.{metric.decimals}f}"


def to_markdown(table: Table) -> str:
    """A Markdown table; the best of a column is bold, ``±`` is the standard deviation over seeds."""
    headers = _headers(table)
    lines = ["| " + " | ".join(headers) + " |"]
    lines.append("|" + "---|" * len(table.settings) + "---:|" * (len(headers) - len(table.settings)))
    for row, counts, entries in zip(table.rows, table.counts, table.entries, strict=True):
        numbers = []
        for entry, metric in zip(entries, table.metrics, strict=True):
            text = _number(entry, metric, "±")
            numbers.append(f"**{text}**" if entry and entry.best else text)
        lines.append("| " + " | ".join([*row, *map(str, counts), *numbers]) + " |")
    return "\n".join(lines) + "\n"


def differences_to_markdown(table: Table) -> str:
    """Differences of each row from the first, in pairs, with 95 % intervals."""
    headers = [*table.settings, *_headers(table)[len(table.settings) + 2 :]]
    lines = ["| " + " | ".join(headers) + " |", "|" + "---|" * len(table.settings) + "---:|" * len(table.metrics)]
    for row, entries in zip(table.rows[1:], table.entries[1:], strict=True):
        cells = [_difference_text(entry, metric) for entry, metric in zip(entries, table.metrics, strict=True)]
        lines.append("| " + " | ".join([*row, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _difference_text(entry: TableEntry | None, metric: MetricInfo) -> str:
    if entry is None or entry.difference is None:
        return ""
    mean, low, high = entry.difference
    digits = metric.decimals
    interval = "" if np.isnan(low) else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{mean:+,.{digits}f}{interval}"


def to_latex(table: Table) -> str:
    """A LaTeX tabular for the booktabs package; the best of a column is bold."""
    headers = _headers(table)
    lines = [
        rf"\begin{{tabular}}{{{'l' * len(table.settings)}{'r' * (len(headers) - len(table.settings))}}}",
        r"\toprule",
    ]
    lines += [" & ".join(map(_escape, headers)) + r" \\", r"\midrule"]
    for row, counts, entries in zip(table.rows, table.counts, table.entries, strict=True):
        numbers = []
        for entry, metric in zip(entries, table.metrics, strict=True):
            text = _number(entry, metric, r"$\pm$") if entry else "--"
            numbers.append(rf"\textbf{{{text}}}" if entry and entry.best else text)
        lines.append(" & ".join([*map(_escape, row), *map(str, counts), *numbers]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escape(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(char, f"\\{char}" if char in "&%$#_{}" else char) for char in text)
