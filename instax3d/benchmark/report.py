"""``report.html``: one file with the tables, plots and turntables of a benchmark. Opens without a network."""

import io
from collections import defaultdict

from instax3d.plugin import MetricInfo
from instax3d.report.html import as_svg, fill
from instax3d.report.jpeg_url import file_as_jpeg_url
from instax3d.report.metric_info import known_metrics

from .pareto import front
from .plan import Plan
from .results import CELL, METRIC, SUBJECT, Results
from .store import Store
from .tables import SEED, Table

_SHEET_WIDTH = 900
"""Of a turntable in the report, pixels."""
_COST = "seconds_total"


def make_report(plan: Plan, store: Store, results: Results, table: Table, title: str) -> str:
    """The page as HTML."""
    failed = store.failed()
    rows = results.rows
    return fill(
        "benchmark.html.j2",
        title=title,
        table=table,
        rows=list(zip(table.rows, table.counts, table.entries, strict=True)),
        plots=[_plot(table, metric) for metric in table.metrics if _is_quality(metric)],
        groups=_turntables(plan, store, {*table.settings, SEED}),
        skipped=_reasons(plan),
        failed=[store.failure(cell.id) for cell in plan.cells if cell.id in failed],
        machines=results.machines,
        missing=results.missing,
        metrics=[metric for metric in known_metrics() if (rows[METRIC] == metric.name).any()],
        subjects=sorted(rows[SUBJECT].unique()),
        measured=rows[CELL].nunique(),
    )


def _is_quality(metric: MetricInfo) -> bool:
    return metric.better is not None and not metric.name.startswith("seconds")


def _reasons(plan: Plan) -> list[tuple[str, int]]:
    counts: dict[str, int] = defaultdict(int)
    for skipped in plan.skipped:
        counts[skipped.reason] += 1
    return sorted(counts.items())


def _turntables(plan: Plan, store: Store, axes: set[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Subject by subject, the turntables of its finished cells as data URLs, labeled by the values of ``axes``."""
    done = store.done()
    sheets: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for cell in plan.cells:
        sheet = store.sheet(cell.id) if cell.id in done else None
        if sheet is not None:
            label = ", ".join(
                f"{axis} {value}" for axis, value in zip(plan.axes, cell.labels, strict=True) if axis in axes
            )
            sheets[cell.subject.label].append((label, file_as_jpeg_url(io.BytesIO(sheet), widest=_SHEET_WIDTH)))
    return list(sheets.items())


def _plot(table: Table, metric: MetricInfo) -> str:
    """A metric against time as an SVG element, with the Pareto front."""
    from matplotlib.figure import Figure

    column = table.metrics.index(metric)
    cost = next(i for i, other in enumerate(table.metrics) if other.name == _COST)
    points = [
        (entries[cost].mean, entries[column].mean, ", ".join(row) or "all")  # type: ignore[union-attr]
        for row, entries in zip(table.rows, table.entries, strict=True)
        if entries[column] is not None and entries[cost] is not None
    ]
    canvas = Figure(figsize=(6.4, 4), layout="constrained")
    axes = canvas.subplots()
    best = front([(x, y) for x, y, _ in points], higher=metric.better == "higher")
    axes.plot([points[i][0] for i in best], [points[i][1] for i in best], color="#c33", lw=1, label="Pareto front")
    axes.scatter([p[0] for p in points], [p[1] for p in points], s=18, color="#346")
    if len(points) <= _LABELED:
        for x, y, name in points:
            axes.annotate(name, (x, y), textcoords="offset points", xytext=(4, 3), fontsize=7)
    axes.set_xlabel("seconds, all stages")
    axes.set_ylabel(f"{metric.name} ({metric.unit})" if metric.unit else metric.name)
    axes.margins(x=0.2)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return as_svg(canvas, f"{metric.name} against seconds")


_LABELED = 24
"""With more points than this their labels would cover each other."""
