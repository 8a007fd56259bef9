"""``instax3d benchmark``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..benchmark.grid import read_grid
from ..benchmark.plan import Cell, Plan, make_plan
from ..benchmark.store import Store

if TYPE_CHECKING:
    from ..benchmark.engine import Engine
    from ..benchmark.run import Tally
    from ..benchmark.work import Outcome


@click.command()
@click.argument("grid", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for cells and tables.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--address", metavar="ADDRESS", help="Of a Ray cluster; without it Ray starts on this machine.")
@click.option("--workers", type=click.IntRange(min=1), help="Cells side by side; all processors by default.")
@click.option("--retry-failed", is_flag=True, help="Also those cells that failed in an earlier run.")
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be done, and do nothing.")
def benchmark(
    grid: Path,
    output: Path,
    engine: str,
    address: str | None,
    workers: int | None,
    retry_failed: bool,
    only_plan: bool,
) -> None:
    """Make every portrait of GRID, a YAML file, and compare them: tables, plots, one page.

    A run that was broken off, however, goes on when it is called again; what is there is not made again.

    \b
    instax3d benchmark grid.yaml -o out/study
    """
    read = read_grid(grid)
    plan = make_plan(read)
    store = Store(output)
    _say_plan(plan, store)
    if only_plan:
        return
    from ..benchmark.run import run_plan

    with _engine(engine, address, workers, gpu=any(cell.gpu for cell in plan.cells)) as chosen:
        tally = run_plan(read, plan, store, chosen, retry_failed=retry_failed, on_change=_say)
    _write(plan, store, grid.stem)
    if tally.failed:
        click.echo(f"{tally.failed} cells failed; why stands in {output / 'failed'}", err=True)
        sys.exit(1)


def _engine(name: str, address: str | None, workers: int | None, *, gpu: bool) -> "Engine":
    if name == "ray":
        from ..benchmark.ray_engine import RayEngine

        return RayEngine(address, workers=workers, gpu=gpu)
    if address is not None:
        raise click.UsageError("--address is that of a Ray cluster; add --engine ray")
    from ..benchmark.engine import LocalEngine

    return LocalEngine(workers)


def _say_plan(plan: Plan, store: Store) -> None:
    there = len(store.done() & {cell.id for cell in plan.cells})
    parts = [f"{len(plan.cells):,} cells"]
    if there:
        parts.append(f"{there:,} of them done")
    if plan.duplicates:
        parts.append(f"{plan.duplicates:,} combinations are the same as another")
    click.echo("; ".join(parts), err=True)
    reasons: dict[str, int] = {}
    for skipped in plan.skipped:
        reasons[skipped.reason] = reasons.get(skipped.reason, 0) + 1
    for reason, count in reasons.items():
        click.echo(f"left out, {count:,} combinations: {reason}", err=True)


def _say(tally: "Tally", cell: Cell | None, outcome: "Outcome | None") -> None:
    if cell is None or outcome is None:
        return
    left = "" if tally.left is None else f", about {_duration(tally.left)} left"
    name = ", ".join([cell.subject.label, *cell.labels])
    told = f"{outcome.seconds:.0f} s" if outcome.status == "done" else f"{outcome.status}: {outcome.error}"
    ended = tally.done + tally.failed + tally.skipped
    click.echo(f"{ended}/{tally.total}  {name}: {told}{left}", err=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _write(plan: Plan, store: Store, title: str) -> None:
    from ..benchmark.report import summary_lines, write_report
    from ..benchmark.results import collect, write_results
    from ..benchmark.tables import differences_to_markdown, make_table, to_latex, to_markdown
    from ..files import write_text

    results = collect(plan, store)
    if results.empty:
        click.echo("no cell is finished, so there is no table", err=True)
        return
    write_results(results, store.folder)
    table = make_table(results, plan.axes)
    text = f"# {title}\n\n{to_markdown(table)}"
    if len(table.rows) > 1:
        text += f"\nDifferences from the first row, in pairs, with 95 % intervals:\n\n{differences_to_markdown(table)}"
    write_text(store.folder / "table.md", text)
    write_text(store.folder / "table.tex", to_latex(table))
    write_report(store.folder / "report.html", plan, store, results, table, title)
    for line in summary_lines(table):
        click.echo(line)
    click.echo(f"look at {store.folder / 'report.html'}")
