"""A benchmark whose results, sources and stages lie at a URL. ``file://`` goes the same way as ``s3://`` does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_portrait import SMALL

from instax3d.benchmark.engine import Engine, LocalEngine
from instax3d.benchmark.grid import read_grid
from instax3d.benchmark.object_store import ObjectStore
from instax3d.benchmark.open_store import open_store
from instax3d.benchmark.plan import make_plan
from instax3d.benchmark.run import run_plan
from instax3d.benchmark.store import FolderStore
from instax3d.benchmark.summary import write_summary
from instax3d.benchmark.work import Job, Outcome, run_job
from instax3d.errors import ConfigError, PortraitError
from instax3d.io.remote import fetch, upload


def test_places_decide_which_store_it_is(tmp_path: Path):
    assert isinstance(open_store(tmp_path), FolderStore)
    assert isinstance(open_store(tmp_path.as_uri()), ObjectStore)
    with pytest.raises(ConfigError, match="nowhere://there"):
        open_store("nowhere://there")


def test_what_is_fetched_is_what_was_uploaded(tmp_path: Path):
    capture = tmp_path / "capture"
    (capture / "train").mkdir(parents=True)
    (capture / "transforms.json").write_text("{}")
    (capture / "train" / "0.png").write_bytes(b"png")
    upload(capture, (tmp_path / "there" / "capture").as_uri())
    copy = fetch((tmp_path / "there" / "capture").as_uri())
    assert copy.name == "capture"
    found = {file.relative_to(copy).as_posix(): file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    assert found == {"transforms.json": b"{}", "train/0.png": b"png"}
    upload(capture / "transforms.json", (tmp_path / "there" / "one.json").as_uri())
    assert fetch((tmp_path / "there" / "one.json").as_uri()).read_text() == "{}"
    with pytest.raises(ConfigError, match="there is nothing at"):
        fetch((tmp_path / "there" / "no.json").as_uri())
    assert fetch(str(capture)) == capture


def test_something_else_at_the_place_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(PortraitError, match="is not a benchmark"):
        ObjectStore(tmp_path.as_uri()).create()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_config_that_other_machines_lack_is_refused(tmp_path: Path):
    (tmp_path / "base.yaml").write_text("extends: draft")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml")
    store = ObjectStore((tmp_path / "there").as_uri())
    with pytest.raises(ConfigError, match="make it one file"):
        store.source(tmp_path / "mine.yaml", "1")
    assert store.source(tmp_path / "base.yaml", "2").endswith("sources/2/base.yaml")


def test_records_of_failures_come_and_go(tmp_path: Path):
    store = ObjectStore(tmp_path.as_uri())
    store.create()
    store.create()
    assert store.failed() == set()
    store.fail("a", {"error": "no"})
    assert store.failed() == {"a"}
    assert store.failure("a") == {"error": "no"}
    store.forget_failure("a")
    store.forget_failure("a")
    assert store.failed() == set()
    assert store.sheet("a") is None


class Here(Engine):
    """Does jobs in this process, which has loaded everything already."""

    workers = 1

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def as_completed(self) -> Iterator[tuple[Job, Outcome]]:
        job = self._jobs.pop(0)
        yield job, run_job(job)

    def __exit__(self, *error: object) -> None: ...


def test_a_grid_at_a_url_is_computed_once_with_all_it_needs(made: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("INSTAX3D_CACHE", str(tmp_path / "cache"))  # a machine that knows nothing yet
    small = dict(item.split("=") for item in SMALL[:-3])
    del small["training.iterations"]
    options = "".join(f"  {key}: [{value}]\n" for key, value in small.items())
    text = f"extends: draft\nsubjects: [{made / 'views'}]\nvary:\n{options}  training.iterations: [20, 40]\n"
    text = text.replace("  view_generator.views: [11]\n  view_generator.size: [256]\n", "")
    (tmp_path / "grid.yaml").write_text(text + "  output.turntable_frames: [2]\n")
    grid = read_grid(tmp_path / "grid.yaml")
    plan, store = make_plan(grid), open_store((tmp_path / "there").as_uri())

    def run() -> None:
        progress = run_plan(grid, plan, store, Here())
        assert (progress.total, progress.done) == (2, 2), [store.failure(cell) for cell in store.failed()]
        assert store.done() == {cell.id for cell in plan.cells}

    run()
    files = {file.name for file in (tmp_path / "there" / "stages").iterdir()}
    assert sorted(name.partition("-")[0] for name in files) == ["construct", "construct", "prior", "views"]
    write_summary(plan, store, "study")
    assert (tmp_path / "there" / "report.html").stat().st_size > 10_000

    # A cell whose upload was broken off is not there, and is made again, by a machine that knows nothing; the other
    # one is left alone.
    monkeypatch.setenv("INSTAX3D_CACHE", str(tmp_path / "another"))
    lost, kept = plan.cells
    before = store.read(f"cells/{kept.id}/run.json")
    store.remove(f"finished/{lost.id}")
    run()
    assert store.read(f"cells/{kept.id}/run.json") == before
    again = json.loads(store.read(f"cells/{lost.id}/run.json"))
    assert set(again["reused"]) == {"views", "prior", "construct"}


def test_both_kinds_of_store_end_with_the_same_tables(tmp_path: Path):
    from test_benchmark import GRID, simulated_anywhere, written

    for name in ("anna", "ben"):
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    grid = read_grid(written(tmp_path, GRID))
    plan = make_plan(grid)
    stores = [open_store(tmp_path / "folder"), open_store((tmp_path / "url").as_uri())]
    for store in stores:
        with LocalEngine(2, function=simulated_anywhere) as engine:
            assert run_plan(grid, plan, store, engine).done == len(plan.cells)
        write_summary(plan, store, "study")
    for name in ("table.md", "table.tex", "results.csv"):
        assert stores[0].read(name) == stores[1].read(name)
