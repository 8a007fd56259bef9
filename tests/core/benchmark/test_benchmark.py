"""Grids become plans, plans become cells, each once, whatever breaks off in between."""

import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instax3d.benchmark.engine import LocalEngine
from instax3d.benchmark.grid import Subject, find_grid, find_subjects, read_grid, study_names
from instax3d.benchmark.pareto import front
from instax3d.benchmark.plan import Cell, make_plan
from instax3d.benchmark.results import collect, metrics_of
from instax3d.benchmark.run import run_plan
from instax3d.benchmark.schedule import Schedule
from instax3d.benchmark.store import FolderStore
from instax3d.benchmark.tables import differences_to_markdown, make_table, to_latex, to_markdown
from instax3d.benchmark.work import Outcome
from instax3d.cli import main
from instax3d.errors import ConfigError, PortraitError
from instax3d.io.remote import is_url, upload

GRID = """
extends: draft
subjects: ['*.jpg']
vary:
  densifier: [absgs, {plugin: mcmc, max_gaussians: 20000}]
  training.iterations: [10, 20, 30]
  seed: [0, 1]
"""


@pytest.fixture
def grid_file(tmp_path: Path) -> Path:
    for name in ("anna", "ben"):
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    return written(tmp_path, GRID)


def written(folder: Path, text: str) -> Path:
    path = folder / "grid.yaml"
    path.write_text(text)
    return path


def plan_of(path: Path):
    return make_plan(read_grid(path))


def test_a_grid_is_all_combinations_on_all_subjects(grid_file):
    plan = plan_of(grid_file)
    assert len(plan.cells) == 2 * 2 * 3 * 2
    assert plan.axes == ("densifier", "training.iterations", "seed")
    assert {cell.subject.label for cell in plan.cells} == {"anna", "ben"}
    assert plan.cells[-1].labels == ("mcmc, max_gaussians 20000", "30", "1")
    assert "densifier.max_gaussians=20000" in plan.cells[-1].overrides
    assert len({cell.shared for cell in plan.cells}) == 2 * 2  # a subject's seeds differ, its densifiers do not


def test_cells_are_the_same_for_the_same_contents_and_settings_only(grid_file, tmp_path):
    before = {cell.id for cell in plan_of(grid_file).cells}
    reordered = GRID.replace("[10, 20, 30]", "[30, 20, 10]")
    assert {cell.id for cell in plan_of(written(tmp_path, reordered)).cells} == before
    (tmp_path / "anna.jpg").write_bytes(b"another photo")
    assert len({cell.id for cell in plan_of(grid_file).cells} & before) == len(before) // 2


def test_a_listed_subset_is_all_there_is(grid_file, tmp_path):
    cells = "cells:\n- {densifier: absgs, training.iterations: 20}\n- {densifier: absgs, seed: 0}\n"
    plan = plan_of(written(tmp_path, GRID + cells))
    assert {cell.labels for cell in plan.cells} == {
        ("absgs", "20", "0"), ("absgs", "20", "1"), ("absgs", "10", "0"), ("absgs", "30", "0"),
    }  # fmt: skip
    with pytest.raises(ConfigError, match="which vary does not list"):
        plan_of(written(tmp_path, GRID + "cells: [{seed: 7}]"))


def test_what_comes_out_alike_is_one_cell(grid_file, tmp_path):
    vary = "vary: {losses.photometric.ssim_weight: [0.2, 0.5], densifier: [none, {plugin: none}, absgs]}"
    grid = f"subjects: [anna.jpg]\n{vary}"
    with pytest.raises(ConfigError, match="more than once"):
        plan_of(written(tmp_path, grid))
    plan = plan_of(
        written(tmp_path, "subjects: [anna.jpg]\nvary: {training: [{iterations: 600}, {half_resolution: 0.4}]}")
    )
    assert (len(plan.cells), plan.duplicates) == (1, 1)  # both are what the preset says


def test_impossible_combinations_are_left_out_with_their_reason(grid_file, tmp_path):
    vary = "vary: {view_generator: [template, frames], densifier.grow_grad2d: [1e-4], densifier: [absgs, none]}"
    grid = f"subjects: [anna.jpg]\n{vary}"
    plan = plan_of(written(tmp_path, grid))
    assert [cell.labels[0] for cell in plan.cells] == ["template"]
    reasons = {skipped.labels: skipped.reason for skipped in plan.skipped}
    assert "frames' needs capture" in reasons["frames", "0.0001", "absgs"]
    assert "grow_grad2d: no such option" in reasons["template", "0.0001", "none"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("subjects: [anna.jpg]\nvary: {densifer: [absgs]}", "no such key: densifer"),
        ("subjects: [anna.jpg]\nvary: {densifier: [absg]}", "did you mean 'absgs'"),
        ("subjects: [anna.jpg]\nvary: {training.iterations: [0]}", "training.iterations"),
        ("subjects: [nobody.jpg]", "nobody.jpg"),
        ("vary: {seed: [0]}", "subjects"),
        ("subjects: [anna.jpg]\nvary: {seed: 0}", "must list values"),
        ("subjects: [anna.jpg]\nextends: drift", "did you mean 'draft'"),
        ("subjects: [anna.jpg]\nvaries: {}", "no such key: varies"),
    ],
)
def test_a_wrong_grid_is_refused_in_words(grid_file, tmp_path, text, said, capsys):
    assert main(["benchmark", str(written(tmp_path, text)), "-o", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", study_names())
def test_the_studies_that_come_along_can_be_planned(name, grid_file, tmp_path):
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "transforms.json").write_text("{}")
    subjects = [str(tmp_path / "anna.jpg"), str(tmp_path / "scan")]
    plan = make_plan(read_grid(find_grid(name), subjects=subjects))
    assert {cell.subject.kind for cell in plan.cells} == {"photo", "capture"}
    assert len({cell.overrides for cell in plan.cells}) > 1
    with pytest.raises(ConfigError, match="lists no subjects"):
        read_grid(find_grid(name))


def test_subjects_of_the_same_name_have_different_labels(tmp_path):
    for name in ("a/x/me.jpg", "b/x/me.jpg", "b/y/me.jpg", "b/x/you.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    labels = [subject.label for subject in find_subjects(["*/*/*.jpg"], tmp_path)]
    assert sorted(labels) == ["a/x/me.jpg", "b/x/me.jpg", "y/me.jpg", "you"]
    twice = [str(tmp_path / "b" / "x" / "you.jpg"), "b/x/you.jpg"]
    assert len(find_subjects(twice, tmp_path)) == 1


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"instax3d": "1", "metrics": {"psnr_views": "high"}}', '{"instax3d": "1", "metrics": {}}']
)
def test_a_damaged_cell_is_named_with_what_to_do(grid_file, tmp_path, text):
    plan, store = plan_of(grid_file), FolderStore(tmp_path / "out")
    store.create()
    folder = Path(store.cell(plan.cells[0].id))
    folder.mkdir()
    (folder / "run.json").write_text(text)
    with pytest.raises(PortraitError, match=f"remove {folder} and run the same command again"):
        collect(plan, store)
    (folder / "run.json").unlink()
    with pytest.raises(PortraitError, match=f"remove {folder} and run the same command again"):
        collect(plan, store)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_damaged_record_of_a_failure_is_named_with_what_to_do(tmp_path, text):
    store = FolderStore(tmp_path / "out")
    store.create()
    store.write("failed/some.json", text.encode())
    with pytest.raises(PortraitError, match=r"failed/some\.json is damaged; remove it"):
        store.failure("some")


def test_a_grid_that_is_nowhere_is_refused():
    with pytest.raises(ConfigError, match="studies: default-combos"):
        find_grid("default-combo")


def test_a_folder_that_holds_something_else_is_refused(grid_file, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(PortraitError, match="is not a benchmark"):
        FolderStore(tmp_path / "mine").create()


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 3))
def test_shared_stages_come_once_and_before_their_cells(groups, workers):
    subject = Subject(Path("anna.jpg"), "anna", "photo", "")
    schedule = Schedule([Cell(str(number), subject, (), (), str(group)) for number, group in enumerate(groups)])
    made, cells, running = [], [], []
    while schedule or running:
        while schedule and len(running) < workers:
            running.append(schedule.next(prepare_first=schedule.ready < workers))
        cell, share = running.pop(0)
        if share:
            made.append(cell.shared)
            schedule.prepared(cell.shared)
        else:
            assert groups.count(int(cell.shared)) == 1 or cell.shared in made
            cells.append(cell.id)
    assert sorted(cells, key=int) == [str(number) for number in range(len(groups))]
    assert len(made) == len(set(made))


# What follows computes cells that cost nothing: these functions run in the workers.


def simulated(job):
    """A cell that takes a moment and whose figures follow from its settings alone."""
    if job.prepares_only:
        with (Path(job.stages).parent / "shared.log").open("a") as log:
            log.write(job.id + "\n")
        return Outcome("done", 0.0)
    time.sleep(0.05)
    if "densifier=explode" in job.overrides:
        raise RuntimeError("no")
    folder = Path(job.output)
    draw = random.Random(job.id)
    manifest = {
        "metrics": {"psnr_views": 30 + draw.random()}, "gaussians": 1000, "seconds": {"construct": 2.0, "total": 2.0},
        "reused": {"views": 1.0}, "cell": dict(job.labels), "attempt": time.time(), "not_measured": {},
        "instax3d": "0", "device": "cpu", "machine": {"threads": 1, "platform": "here", "versions": {"torch": "2"}},
    }  # fmt: skip
    temporary = folder.with_name("." + folder.name)
    temporary.mkdir(exist_ok=True)
    (temporary / "run.json").write_text(json.dumps(manifest))
    temporary.rename(folder)
    return Outcome("done", 0.05)


def simulated_anywhere(job):
    """The same, for any kind of place."""
    if job.prepares_only:
        return Outcome("done", 0.0)
    draw = random.Random(job.id)
    manifest = {
        "metrics": {"psnr_views": 30 + draw.random()}, "gaussians": 1000, "seconds": {"total": 2.0}, "reused": {},
        "not_measured": {}, "instax3d": "0", "device": "cpu",
        "machine": {"threads": 1, "platform": "here", "versions": {"torch": "2"}},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "run.json").write_text(json.dumps(manifest))
        upload(Path(work), job.output if is_url(job.output) else Path(job.output).as_uri())
        if job.done_marker is not None:
            upload(Path(work) / "run.json", job.done_marker)
    return Outcome("done", 0.0)


def dying(job):
    if "seed=1" in job.overrides and not job.prepares_only:
        os._exit(7)
    return simulated(job)


def test_each_cell_is_computed_once_and_its_shared_stages_too(grid_file, tmp_path):
    grid = read_grid(grid_file)
    plan, store = make_plan(grid), FolderStore(tmp_path / "out")
    reports = []
    with LocalEngine(2, function=simulated) as engine:
        run_plan(grid, plan, store, engine, on_change=lambda progress, cell, outcome: reports.append(progress))
    assert store.done() == {cell.id for cell in plan.cells}
    shared = (store.folder / "shared.log").read_text().split()
    assert sorted(shared) == sorted({cell.shared for cell in plan.cells})
    assert [report.done for report in reports] == list(range(25))
    assert reports[0].remaining_seconds is None
    assert reports[-1].remaining_seconds == 0
    results = collect(plan, store)
    assert len(results.rows) == 24 * 5  # psnr, Gaussians, and seconds of views, of construction, and in all
    results.write(store)
    again = pd.read_parquet(store.folder / "results.parquet")
    pd.testing.assert_frame_equal(again, pd.read_csv(store.folder / "results.csv", dtype=dict.fromkeys(plan.axes, str)))


def test_a_dead_worker_costs_its_cell_alone(grid_file, tmp_path):
    grid = read_grid(grid_file)
    plan, store = make_plan(grid), FolderStore(tmp_path / "out")
    with LocalEngine(2, function=dying) as engine:
        progress = run_plan(grid, plan, store, engine)
    assert (progress.done, progress.failed) == (12, 12)
    failed = next(cell for cell in plan.cells if cell.labels[-1] == "1")
    assert "worker died" in store.failure(failed.id)["error"]
    with LocalEngine(2, function=simulated) as engine:
        assert run_plan(grid, plan, store, engine).failed == 12  # not tried again unasked
        assert run_plan(grid, plan, store, engine, retry_failed=True).done == 24


RUN = """
import sys
from pathlib import Path
from instax3d.benchmark.engine import LocalEngine
from instax3d.benchmark.grid import Subject, read_grid
from instax3d.benchmark.plan import Cell, make_plan
from instax3d.benchmark.run import run_plan
from instax3d.benchmark.store import FolderStore
from test_benchmark import simulated

if __name__ == "__main__":
    grid = read_grid(Path(sys.argv[1]))
    with LocalEngine(2, function=simulated) as engine:
        run_plan(grid, make_plan(grid), FolderStore(Path(sys.argv[2])), engine)
"""


def test_a_benchmark_that_was_killed_twice_goes_on(grid_file, tmp_path):
    script, out = tmp_path / "run.py", tmp_path / "out"
    script.write_text(RUN)
    command = [sys.executable, str(script), str(grid_file), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    plan, store = plan_of(grid_file), FolderStore(out)
    finished: dict[str, float] = {}
    for enough in (5, 14):
        with subprocess.Popen(command, env=environment, start_new_session=True) as process:
            while len(store.done()) < enough:
                assert process.poll() is None
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGKILL)
        now = {cell: store.manifest(cell)["attempt"] for cell in store.done()}
        assert now.items() >= finished.items()
        finished = now
    assert len(finished) < len(plan.cells)
    subprocess.run(command, env=environment, check=True)
    assert store.done() == {cell.id for cell in plan.cells}
    assert {cell: store.manifest(cell)["attempt"] for cell in finished} == finished
    whole = FolderStore(tmp_path / "whole")
    grid = read_grid(grid_file)
    with LocalEngine(2, function=simulated) as engine:
        run_plan(grid, plan, whole, engine)
    assert to_markdown(make_table(collect(plan, store).rows, plan.axes)) == to_markdown(
        make_table(collect(plan, whole).rows, plan.axes)
    )


def test_after_ctrl_c_it_says_how_to_go_on(grid_file, tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("instax3d.benchmark.run.run_plan", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main(["benchmark", str(grid_file), "-o", str(tmp_path / "out")])
    assert "the same command resumes" in capsys.readouterr().err


def rows(values: dict[tuple[str, str, str], float]) -> pd.DataFrame:
    return pd.DataFrame(
        [("-".join(key), *key, "psnr_views", value) for key, value in values.items()],
        columns=["cell", "subject", "densifier", "seed", "metric", "value"],
    )


def test_tables_are_means_over_subjects_of_means_over_seeds():
    values = {
        ("anna", "absgs", "0"): 30.0, ("anna", "absgs", "1"): 32.0,
        ("ben", "absgs", "0"): 20.0, ("ben", "absgs", "1"): 22.0,
        ("anna", "none", "0"): 29.0, ("anna", "none", "1"): 29.0,
        ("ben", "none", "0"): 18.0, ("ben", "none", "1"): 22.0,
    }  # fmt: skip
    table = make_table(rows(values), ("densifier", "seed"))
    absgs, none = (entries[0] for entries in table.entries)
    assert absgs.mean == 26.0
    assert absgs.best
    assert absgs.spread == pytest.approx(math.sqrt(2))
    assert none.mean == 24.5
    assert none.difference[0] == pytest.approx(-1.5)
    assert none.difference[1] <= -1.5 <= none.difference[2] <= 0
    assert "**26.00 ± 1.41**" in to_markdown(table)
    assert r"\textbf{26.00 $\pm$ 1.41}" in to_latex(table)
    assert "-1.50 [" in differences_to_markdown(table)


def test_a_subject_that_failed_somewhere_counts_nowhere_and_absent_figures_are_said():
    values = {("anna", "absgs", "0"): 30.0, ("ben", "absgs", "0"): 10.0, ("anna", "none", "0"): 29.0}
    table = make_table(rows(values), ("densifier", "seed"))
    assert [entries[0].mean for entries in table.entries] == [30.0, 29.0]
    assert table.counts == ((2, 2), (1, 1))
    more = pd.concat([rows(values), rows({("anna", "none", "0"): 0.3}).assign(metric="identity_front")])
    table = make_table(more, ("densifier", "seed"))
    assert table.entries[0][1] is None
    assert "not measured" in to_markdown(table)


def test_rows_without_a_subject_in_common_are_compared_among_themselves():
    values = {
        ("anna", "absgs", "0"): 30.0, ("anna", "none", "0"): 29.0,
        ("scan", "mcmc", "0"): 39.0, ("scan", "gof", "0"): 40.0,
    }  # fmt: skip
    table = make_table(rows(values), ("densifier", "seed"))
    entries = dict(zip((row[0] for row in table.rows), (entries[0] for entries in table.entries)))
    assert [name for name, entry in entries.items() if entry.best] == ["absgs", "gof"]
    assert entries["none"].difference[0] == -1.0
    assert entries["gof"].difference[0] == 1.0
    assert entries["mcmc"].difference is None


def test_seconds_of_reused_stages_count():
    figures = metrics_of(
        {"metrics": {}, "gaussians": 5, "seconds": {"save": 1.0, "total": 1.0}, "reused": {"views": 9.0}}
    )
    assert figures == {"gaussians": 5, "seconds_save": 1.0, "seconds_views": 9.0, "seconds_total": 10.0}


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=20), st.booleans())
def test_nothing_beats_the_front_and_the_front_beats_the_rest(points, higher):
    chosen = front(points, higher=higher)

    def beats(a, b):
        better = a[1] >= b[1] if higher else a[1] <= b[1]
        return a[0] <= b[0] and better and a != b

    for i, point in enumerate(points):
        assert (i in chosen) or any(beats(points[j], point) or points[j] == point for j in chosen)
    assert not any(beats(other, points[i]) for i in chosen for other in points)


def test_jobs_are_plain_values(grid_file, tmp_path):
    grid = read_grid(grid_file)
    seen = []

    class Recorder(LocalEngine):
        def submit(self, job):
            seen.append(job)
            super().submit(job)

    with Recorder(1, function=simulated) as engine:
        run_plan(grid, make_plan(grid), FolderStore(tmp_path / "out"), engine)
    for job in seen:
        assert json.loads(json.dumps(dataclasses.asdict(job)))["id"] == job.id
