"""What is written when a benchmark has ended: tidy results, tables, the report."""

from .plan import Plan
from .report import make_report
from .results import collect
from .store import Store
from .tables import Table, differences_to_markdown, make_table, to_latex, to_markdown


def write_summary(plan: Plan, store: Store, title: str) -> Table | None:
    """Write ``results.parquet``, ``results.csv``, ``table.md``, ``table.tex`` and ``report.html``.

    Returns:
        The table; None, and nothing is written, where no cell is finished.

    Raises:
        PortraitError: they cannot be written.
    """
    results = collect(plan, store)
    if results.rows.empty:
        return None
    results.write(store)
    table = make_table(results.rows, plan.axes)
    text = f"# {title}\n\n{to_markdown(table)}"
    if len(table.rows) > 1:
        text += f"\nDifferences from the first row, in pairs, with 95 % intervals:\n\n{differences_to_markdown(table)}"
    text += "".join(f"\n- {name}: not measured: {reason}\n" for name, reason in results.missing.items())
    store.write("table.md", text.encode())
    store.write("table.tex", to_latex(table).encode())
    store.write("report.html", make_report(plan, store, results, table, title).encode())
    return table


def best_lines(table: Table) -> list[str]:
    """The best combinations for each metric, one line each, for the terminal."""
    lines = []
    for column, metric in enumerate(table.metrics):
        best: dict[str, list[str]] = {}
        for row, entries in zip(table.rows, table.entries, strict=True):
            entry = entries[column]
            if entry is not None and entry.best:
                value = f"{entry.mean:,.{metric.decimals}f} {metric.unit}".rstrip()
                best.setdefault(value, []).append(", ".join(row))
        for value, rows in best.items():
            lines.append(f"{metric.name}: {value} with {'; '.join(rows)}")
    return lines
