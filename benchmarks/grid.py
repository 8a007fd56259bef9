"""What `instax3d benchmark` costs, how well it fills a machine, and what is left of it after kills.

    python benchmarks/grid.py me.jpg ../shared/data/head_scan      # some 20 minutes; table and JSON into docs/
    python benchmarks/grid.py --parts plan cost                     # without portraits: two minutes

- *plan*: 100,000 cells are listed, merged with their duplicates, and found done in a folder that holds them all.
- *cost*: cells that sleep ten seconds; what the run takes beyond them is the engine's.
- *busy*: a 2 x 3 x 2 grid of real portraits of two subjects; processor time of all processes over what the
  processors could have given from the first line to the last, tables and report included.
- *killed*: the same grid in a new folder, killed with SIGKILL twice at random moments. Counted are the cells that were
  computed more than once, and the numbers that differ from those of the uninterrupted run, times apart.
"""

import argparse
import json
import os
import platform
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from instax3d.benchmark.engine import LocalEngine
from instax3d.benchmark.grid import read_grid
from instax3d.benchmark.plan import make_plan
from instax3d.benchmark.run import run_plan
from instax3d.benchmark.store import FolderStore
from instax3d.benchmark.work import Job, Outcome
from instax3d.io.processors import available_processors

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 10.0
"""How long a cell of *cost* sleeps."""
GRID = """
extends: draft
subjects: [{subjects}]
vary:
  representation: [triangles, unbound]
  densifier: [absgs, adc, none]
  seed: [0, 1]
  training.iterations: [{iterations}]
"""
COMMAND = "import sys; from instax3d.cli import main; sys.exit(main(sys.argv[1:]))"


def plan_large(work: Path, cells: int) -> dict[str, float]:
    """In a process of its own, whose memory is measured."""
    code = f"import grid; from pathlib import Path; grid.plan_here(Path({str(work)!r}), {cells})"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "benchmarks", capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(run.stdout)
    return found


def plan_here(work: Path, cells: int) -> None:
    """Print seconds and memory of planning, of a combination that comes twice, and of finding all done."""
    (work / "anna.jpg").write_bytes(b"anna")
    seeds = list(range(cells // 20))
    file = work / "grid.yaml"
    file.write_text(
        f"subjects: [anna.jpg]\nvary:\n  densifier: [absgs, adc, gof, mcmc, none]\n"
        f"  training: [{{iterations: 600}}, {{iterations: 600, half_resolution: 0.4}}, {{iterations: 300}},"
        f" {{iterations: 200}}, {{iterations: 100}}]\n  seed: {seeds}\n"
    )
    since = time.perf_counter()
    grid = read_grid(file)
    plan = make_plan(grid)
    listed = time.perf_counter() - since
    store = FolderStore(work / "out")
    store.create()
    for cell in plan.cells:
        Path(store.cell(cell.id)).mkdir()
    since = time.perf_counter()
    with LocalEngine(1, function=asleep) as engine:
        progress = run_plan(grid, plan, store, engine)
    assert progress.done == len(plan.cells)
    assert progress.computed == 0
    resumed = time.perf_counter() - since
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "cells": len(plan.cells),
                "duplicates": plan.duplicates,
                "listed_s": listed,
                "resumed_s": resumed,
                "peak_mib": memory,
            }
        )
    )


def asleep(job: Job) -> Outcome:
    """A cell that only takes its time."""
    if not job.prepares_only:
        time.sleep(SECONDS)
        Path(str(job.output)).mkdir()
    return Outcome("done", SECONDS)


def own_cost(work: Path, cells: int) -> dict[str, float]:
    """Seconds beyond the cells' own, over them."""
    (work / "anna.jpg").write_bytes(b"anna")
    (work / "grid.yaml").write_text(f"subjects: [anna.jpg]\nvary: {{training.iterations: {list(range(1, cells + 1))}}}")
    grid = read_grid(work / "grid.yaml")
    plan, store = make_plan(grid), FolderStore(work / "out")
    since = time.perf_counter()
    with LocalEngine(function=asleep) as engine:
        workers = engine.workers
        run_plan(grid, plan, store, engine)
    wall = time.perf_counter() - since
    ideal = SECONDS * cells / workers
    return {
        "cells": cells,
        "workers": workers,
        "wall_s": wall,
        "ideal_s": ideal,
        "cost_percent": 100 * (wall / ideal - 1),
    }


def started(grid: Path, out: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "benchmark", str(grid), "-o", str(out)], start_new_session=True
    )


def busy(grid: Path, out: Path) -> dict[str, float]:
    """Processor time over wall time and processors."""
    before, since = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with started(grid, out) as process:
        if process.wait():
            raise SystemExit("the uninterrupted run failed")
    wall = time.perf_counter() - since
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    count = len(FolderStore(out).done())
    processors = available_processors()
    return {"cells": count, "wall_s": wall, "processors": processors, "busy_percent": 100 * spent / wall / processors}


def killed(grid: Path, out: Path, whole: Path, wall: float) -> dict[str, float]:
    """The grid with two kills, against the uninterrupted one in ``whole``."""
    store, draw = FolderStore(out), random.Random(0)
    seen: dict[str, int] = {}

    def times() -> dict[str, int]:
        return {cell: (out / "cells" / cell / "run.json").stat().st_mtime_ns for cell in store.done()}

    at_kill = []
    for _ in range(2):
        with started(grid, out) as process:
            time.sleep(draw.uniform(0.15, 0.4) * wall)
            os.killpg(process.pid, signal.SIGKILL)
        at_kill.append(len(store.done()))
        now = times()
        assert all(now[cell] == seen[cell] for cell in seen), "a finished cell was computed again"
        seen = now
    with started(grid, out) as process:
        if process.wait():
            raise SystemExit("the resumed run failed")
    twice = sum(times()[cell] != seen[cell] for cell in seen)
    resumed, uninterrupted = (quality(folder) for folder in (out, whole))
    return {
        "done_at_first_kill": at_kill[0],
        "done_at_second_kill": at_kill[1],
        "cells": len(store.done()),
        "computed_twice": twice,
        "numbers": len(uninterrupted),
        "numbers_that_differ": int((resumed.reindex(uninterrupted.index) != uninterrupted).sum())
        + len(resumed.index.symmetric_difference(uninterrupted.index)),
    }


def quality(folder: Path) -> Any:
    """A series of the figures that do not depend on the machine's speed or memory."""
    import pandas as pd  # not in the workers, which import this file

    rows = pd.read_parquet(folder / "results.parquet")
    measured = rows["metric"].str.startswith(("seconds", "peak", "fps"))
    return rows[~measured].set_index(["cell", "metric"])["value"].sort_index()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", type=Path, help="two photos or captures, for busy and killed")
    parser.add_argument("--parts", nargs="*", choices=["plan", "cost", "busy", "killed"], default=None)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--cells", type=int, default=20, help="of the part cost")
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    parts = options.parts or ["plan", "cost", "busy", "killed"]
    if {"busy", "killed"} & set(parts) and len(options.subjects) != 2:
        parser.error("busy and killed need two subjects")
    results: dict[str, dict[str, float]] = {}

    def measure(name: str, work: Callable[[], dict[str, float]]) -> None:
        load = os.getloadavg()[0]
        results[name] = {"load_before": load, **work()}
        print(name, results[name], flush=True)

    with tempfile.TemporaryDirectory(prefix="instax3d-grid-") as folder:
        root = Path(folder)
        os.environ["INSTAX3D_CACHE"] = str(root / "cache")
        for name in ("large", "cost"):
            (root / name).mkdir()
        if "plan" in parts:
            measure("plan", lambda: plan_large(root / "large", 100_000))
        if "cost" in parts:
            measure("cost", lambda: own_cost(root / "cost", options.cells))
        if {"busy", "killed"} & set(parts):
            grid = root / "grid.yaml"
            subjects = ", ".join(str(path.absolute()) for path in options.subjects)
            grid.write_text(GRID.format(subjects=subjects, iterations=options.iterations))
            measure("busy", lambda: busy(grid, root / "whole"))
            if "killed" in parts:
                wall = results["busy"]["wall_s"]
                measure("killed", lambda: killed(grid, root / "broken", root / "whole", wall))
    options.out.mkdir(parents=True, exist_ok=True)
    machine = f"{available_processors()} processors, {platform.machine()}, Python {platform.python_version()}"
    (options.out / "grid_benchmark.json").write_text(json.dumps({"machine": machine, **results}, indent=1) + "\n")
    (options.out / "grid_benchmark.md").write_text(page(machine, results))


def page(machine: str, results: dict[str, dict[str, float]]) -> str:
    """Markdown."""

    def rows() -> Iterable[str]:
        for part, figures in results.items():
            for name, value in figures.items():
                yield (
                    f"| {part} | {name} | {value:,.2f} |"
                    if isinstance(value, float)
                    else f"| {part} | {name} | {value:,} |"
                )

    head = f"# The benchmark command itself\n\nWritten by `benchmarks/grid.py` (see its docstring). {machine}.\n"
    return "\n".join([head, "| part | figure | |", "| --- | --- | ---: |", *rows(), ""])


if __name__ == "__main__":
    main()
