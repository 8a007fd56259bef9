"""``instax3d benchmark``."""

import sys
from typing import TYPE_CHECKING

import click

from instax3d.benchmark.grid import find_grid, read_grid
from instax3d.benchmark.open_store import open_store
from instax3d.benchmark.plan import Plan, make_plan
from instax3d.benchmark.store import Store
from instax3d.config import preset_names
from instax3d.io.terminal import resumable

from .grid_display import GridDisplay

if TYPE_CHECKING:
    from instax3d.benchmark.engine import Engine


@click.command()
@click.argument("grid")
@click.argument("subjects", nargs=-1, metavar="[SUBJECT]...")
@click.option("-o", "--output", required=True, help="Folder, or URL such as s3://bucket/study, for cells and tables.")
@click.option("--preset", metavar="NAME", help=f"Instead of what GRID extends; one of: {', '.join(preset_names())}.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--address", metavar="ADDRESS", help="Address of a Ray cluster; by default Ray starts on this machine.")
@click.option("--workers", type=click.IntRange(min=1), help="Cells at a time; by default one per processor.")
@click.option("--retry-failed", is_flag=True, help="Run cells again that failed in an earlier run.")
@click.option("--plan", "only_plan", is_flag=True, help="Print what would be done, and do nothing.")
def benchmark(
    grid: str,
    subjects: tuple[str, ...],
    output: str,
    preset: str | None,
    engine: str,
    address: str | None,
    workers: int | None,
    retry_failed: bool,
    only_plan: bool,
) -> None:
    """Make a portrait for every cell of GRID and compare them: tables, plots, one page.

    GRID is a YAML file, or a study that comes with the program. SUBJECTs (photos, captures and patterns) replace those
    that it lists. An interrupted run resumes when the same command is run again; finished cells are kept.

    \b
    instax3d benchmark grid.yaml -o out/study
    instax3d benchmark default-combos me.jpg 'photos/*.jpg' -o out/study
    """
    file = find_grid(grid)
    read = read_grid(file, subjects=subjects, preset=preset)
    plan = make_plan(read, assets_here=engine == "local")
    store = open_store(output)
    _say_plan(plan, store)
    if only_plan:
        return
    from instax3d.benchmark.run import run_plan
    from instax3d.benchmark.summary import best_lines, write_summary

    gpu = any(cell.gpu for cell in plan.cells)
    with (
        resumable("the same command resumes"),
        _engine(engine, address, workers, gpu=gpu) as used,
        GridDisplay(plan) as shown,
    ):
        progress = run_plan(read, plan, store, used, retry_failed=retry_failed, on_change=shown)
    table = write_summary(plan, store, file.stem)
    if table is None:
        click.echo("no cell is finished, so there is no table", err=True)
    else:
        for line in best_lines(table):
            click.echo(line)
        click.echo(f"look at {store.uri('report.html')}")
    if progress.failed:
        click.echo(f"{progress.failed} cells failed; the reasons are in {store.uri('failed')}", err=True)
        sys.exit(1)


def _engine(name: str, address: str | None, workers: int | None, *, gpu: bool) -> "Engine":
    if name == "ray":
        from instax3d.benchmark.ray_engine import RayEngine

        return RayEngine(address, workers=workers, gpu=gpu)
    if address is not None:
        raise click.UsageError("--address is that of a Ray cluster; add --engine ray")
    from instax3d.benchmark.engine import LocalEngine

    return LocalEngine(workers)


def _say_plan(plan: Plan, store: Store) -> None:
    done = len(store.done() & {cell.id for cell in plan.cells})
    parts = [f"{len(plan.cells):,} cells"]
    if done:
        parts.append(f"{done:,} of them done")
    if plan.duplicates:
        parts.append(f"{plan.duplicates:,} combinations are duplicates")
    click.echo("; ".join(parts), err=True)
    reasons: dict[str, int] = {}
    for skipped in plan.skipped:
        reasons[skipped.reason] = reasons.get(skipped.reason, 0) + 1
    for reason, count in reasons.items():
        click.echo(f"skipped {count:,} combinations: {reason}", err=True)
