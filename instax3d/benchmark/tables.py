"""Tables of a benchmark: means over subjects, spread over seeds, paired differences with confidence intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from instax3d.plugin import MetricInfo
from instax3d.report.metric_info import known_metrics

from .results import CELL, FIGURE, SUBJECT, VALUE

if TYPE_CHECKING:
    import pandas as pd

SEED = "seed"
_FEW = 3
"""With fewer pairs than this nothing is said of the confidence of a difference."""


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A figure of one combination of settings."""

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
    """Rows are combinations of settings, columns figures."""

    settings: tuple[str, ...]
    """Names of the axes that take several values, without the seed."""
    rows: tuple[tuple[str, ...], ...]
    figures: tuple[MetricInfo, ...]
    entries: tuple[tuple[TableEntry | None, ...], ...]
    """None where a figure was not measured."""
    counts: tuple[tuple[int, int], ...]
    """Of each row: subjects, and cells."""
    subjects: int


def make_table(results: "pd.DataFrame", axes: Sequence[str]) -> Table:
    """Summarize tidy rows (`instax3d.benchmark.results.collect`).

    Only subjects for which a figure was measured under every combination count for it, so that all rows of a column
    are means over the same subjects. Combinations that have no subject in common with others, such as view generators
    for photos and for captures, are compared among themselves.
    """
    settings = tuple(axis for axis in axes if axis != SEED and results[axis].nunique() > 1)
    combinations = list(zip(*(results[axis] for axis in settings))) if settings else [()] * len(results)
    marked = results.assign(**{_ROW: combinations})
    rows = tuple(dict.fromkeys(combinations))
    figures = tuple(figure for figure in known_metrics() if (marked[FIGURE] == figure.name).any())
    columns = [_column(marked[marked[FIGURE] == figure.name], rows, figure, SEED in axes) for figure in figures]
    entries = tuple(tuple(column[i] for column in columns) for i in range(len(rows)))
    parts = [marked[marked[_ROW] == row] for row in rows]
    counts = tuple((int(part[SUBJECT].nunique()), int(part[CELL].nunique())) for part in parts)
    return Table(settings, rows, figures, entries, counts, int(marked[SUBJECT].nunique()))


_ROW = "combination"


def _column(
    part: "pd.DataFrame", rows: tuple[tuple[str, ...], ...], figure: MetricInfo, seeded: bool
) -> list[TableEntry | None]:
    pair = [SUBJECT, SEED] if seeded else [SUBJECT]
    by_row = {row: part[part[_ROW] == row].set_index(pair)[VALUE] for row in rows}
    subjects = {row: set(values.index.get_level_values(SUBJECT)) for row, values in by_row.items() if len(values)}
    found: dict[tuple[str, ...], TableEntry] = {}
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
        found |= _with_best(entries, figure)
    return [found.get(row) for row in rows]


def _comparable(subjects: Mapping[tuple[str, ...], set[str]]) -> list[list[tuple[str, ...]]]:
    """Rows in groups that share no subject with each other, as those for photos and those for captures may."""
    groups: list[tuple[set[str], list[tuple[str, ...]]]] = []
    for row, those in subjects.items():
        touched = [group for group in groups if group[0] & those]
        groups = [group for group in groups if not group[0] & those]
        groups.append((those.union(*(g[0] for g in touched)), [*(r for g in touched for r in g[1]), row]))
    return [rows for _, rows in groups]


def _difference(pairs: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float, float] | None:
    """Mean and its 95 % interval by the bias-corrected bootstrap."""
    if len(pairs) == 0:
        return None
    mean = float(pairs.mean())
    if len(pairs) < _FEW or np.ptp(pairs) == 0:
        return mean, float("nan"), float("nan")
    from scipy.stats import bootstrap

    interval = bootstrap((pairs,), np.mean, rng=np.random.default_rng(0)).confidence_interval
    return mean, float(interval.low), float(interval.high)


def _with_best(entries: dict[tuple[str, ...], TableEntry], figure: MetricInfo) -> dict[tuple[str, ...], TableEntry]:
    means = {row: round(entry.mean, figure.decimals) for row, entry in entries.items()}
    if figure.better is None or len(set(means.values())) < 2:
        return entries
    best = (max if figure.better == "higher" else min)(means.values())
    return {row: replace(entry, best=means[row] == best) for row, entry in entries.items()}


def _heads(table: Table) -> list[str]:
    units = [f"{figure.name} ({figure.unit})" if figure.unit else figure.name for figure in table.figures]
    return [*table.settings, "subjects", "cells", *units]


def _number(entry: TableEntry | None, figure: MetricInfo, plus_minus: str) -> str:
    if entry is None:
        return "not measured"
    text = f"{entry.mean:,.{figure.decimals}f}"
    return text if entry.spread is None else f"{text} {plus_minus} {entry.spread:.{figure.decimals}f}"


def to_markdown(table: Table) -> str:
    """A Markdown table; the best of a column is bold, ``±`` is the standard deviation over seeds."""
    heads = _heads(table)
    lines = ["| " + " | ".join(heads) + " |"]
    lines.append("|" + "---|" * len(table.settings) + "---:|" * (len(heads) - len(table.settings)))
    for row, counts, entries in zip(table.rows, table.counts, table.entries, strict=True):
        numbers = []
        for entry, figure in zip(entries, table.figures, strict=True):
            text = _number(entry, figure, "±")
            numbers.append(f"**{text}**" if entry and entry.best else text)
        lines.append("| " + " | ".join([*row, *map(str, counts), *numbers]) + " |")
    return "\n".join(lines) + "\n"


def differences_to_markdown(table: Table) -> str:
    """Differences of each row from the first, in pairs, with 95 % intervals."""
    heads = [*table.settings, *_heads(table)[len(table.settings) + 2 :]]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(table.settings) + "---:|" * len(table.figures)]
    for row, entries in zip(table.rows[1:], table.entries[1:], strict=True):
        cells = [_difference_text(entry, figure) for entry, figure in zip(entries, table.figures, strict=True)]
        lines.append("| " + " | ".join([*row, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _difference_text(entry: TableEntry | None, figure: MetricInfo) -> str:
    if entry is None or entry.difference is None:
        return ""
    mean, low, high = entry.difference
    digits = figure.decimals
    interval = "" if np.isnan(low) else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{mean:+,.{digits}f}{interval}"


def to_latex(table: Table) -> str:
    """A LaTeX tabular for the booktabs package; the best of a column is bold."""
    heads = _heads(table)
    lines = [
        rf"\begin{{tabular}}{{{'l' * len(table.settings)}{'r' * (len(heads) - len(table.settings))}}}",
        r"\toprule",
    ]
    lines += [" & ".join(map(_escape, heads)) + r" \\", r"\midrule"]
    for row, counts, entries in zip(table.rows, table.counts, table.entries, strict=True):
        numbers = []
        for entry, figure in zip(entries, table.figures, strict=True):
            text = _number(entry, figure, r"$\pm$") if entry else "--"
            numbers.append(rf"\textbf{{{text}}}" if entry and entry.best else text)
        lines.append(" & ".join([*map(_escape, row), *map(str, counts), *numbers]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _escape(text: str) -> str:
    """Text in which LaTeX finds no command."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)
