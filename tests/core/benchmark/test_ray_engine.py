"""A grid on a real Ray of this machine, one worker of which is killed in the middle."""

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from instax3d.benchmark.grid import read_grid
from instax3d.benchmark.plan import make_plan
from instax3d.benchmark.run import run_plan
from instax3d.benchmark.store import FolderStore
from instax3d.benchmark.work import Outcome

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray", reason="Ray is not installed; the extra 'ray' brings it")


def killed_once(job):
    """The worker that first comes to a cell of seed 1 dies; a cell leaves a mark each time that it is begun."""
    store = Path(job.stages).parent
    begun = store / "begun.log"
    with begun.open("a") as log:
        log.write(job.id + "\n")
    if not job.prepares_only and "seed=1" in job.overrides:
        with contextlib.suppress(FileExistsError):  # in one step: two workers may come here at the same time
            (store / "killed").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    if not job.prepares_only:
        folder = Path(job.output)
        temporary = folder.with_name("." + folder.name)
        temporary.mkdir()
        temporary.rename(folder)
    return Outcome("done", 0.1)


def test_a_killed_worker_costs_nothing(tmp_path, monkeypatch):
    from instax3d.benchmark.ray_engine import RayEngine

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where workers find the function above
    (tmp_path / "anna.jpg").write_bytes(b"anna")
    (tmp_path / "grid.yaml").write_text(
        "subjects: [anna.jpg]\nvary: {seed: [0, 1], training.iterations: [10, 20, 30], densifier: [absgs, none]}"
    )
    grid = read_grid(tmp_path / "grid.yaml")
    plan, store = make_plan(grid), FolderStore(tmp_path / "out")
    with RayEngine(workers=2, function=killed_once) as engine:
        progress = run_plan(grid, plan, store, engine)
    assert (progress.done, progress.failed) == (12, 0), [store.failure(identity) for identity in store.failed()][:1]
    assert store.done() == {cell.id for cell in plan.cells}
    begun = (store.folder / "begun.log").read_text().split()
    assert len(begun) == 12 + 2 + 1  # cells, shared stages of two seeds, and the one that was lost
