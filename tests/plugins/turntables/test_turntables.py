"""Data sets of turntables: drawn heads, captures, and how they are made, kept and checked."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cheap_turntables
import numpy as np
import pytest
import torch

from instax3d.cli import main
from instax3d.datasets import AZIMUTHS_DEG, INPUT_VIEW
from instax3d.datasets.layout import shard_name
from instax3d.datasets.making import Recipe, make_dataset, write_clip
from instax3d.datasets.reading import open_dataset, problems
from instax3d.errors import ConfigError, DatasetError, IncompatiblePipelineError
from instax3d.interfaces import ClipSource
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.testing import ClipSourceSuite

ENVIRONMENT = {
    **os.environ,
    "INSTAX3D_DEV_PLUGINS": "cheap_turntables",
    "PYTHONPATH": str(Path(cheap_turntables.__file__).parent),
}
MAKE = [sys.executable, "-c", "from instax3d.cli import main; raise SystemExit(main())", "dataset", "make"]


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*MAKE, str(folder), "--source", "cheap", *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def cheap(tmp_path_factory) -> Path:
    """Five clips, made by two processes."""
    folder = tmp_path_factory.mktemp("turntables") / "cheap"
    made = make(folder, "--clips", "5", "--seed", "3", "--processes", "2")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def announced(monkeypatch):
    """The cheap source is known to this process too."""
    with monkeypatch.context() as patch:
        patch.setenv("INSTAX3D_DEV_PLUGINS", "cheap_turntables")
        registry.cache_clear()
        yield
    registry.cache_clear()


def test_a_killed_run_goes_on_to_the_same_bytes_with_another_number_of_processes(cheap, tmp_path):
    folder = tmp_path / "killed"
    slow = ["--clips", "5", "--seed", "3", "--processes", "1", "seconds=0.5"]
    process = subprocess.Popen(
        [*MAKE, str(folder), "--source", "cheap", *slow], env=ENVIRONMENT, stderr=subprocess.PIPE
    )
    first = folder / shard_name(0) / "clip-000000"
    until = time.monotonic() + 120
    while not first.is_dir():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert not (folder / "index.json").exists()
    assert not first.with_name("clip-000004").exists()
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("clip-000000/*")}
    again = make(folder, *slow)
    assert again.returncode == 0, again.stderr
    assert "are there already" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    ours, theirs = contents(folder), contents(cheap)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == ["dataset.json"]  # says how slow the source was


def test_every_file_is_checked_against_its_sum(cheap, tmp_path):
    assert list(problems(cheap)) == []
    frame = next(cheap.glob("*/clip-000002/07.png"))
    before = frame.read_bytes()
    try:
        frame.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert [problem for problem in problems(cheap) if "07.png" in problem and "damaged" in problem]
        frame.unlink()
        assert any("cannot read" in problem for problem in problems(cheap))
    finally:
        frame.write_bytes(before)


def test_clips_are_captures_in_sv3ds_order(cheap):
    clips = open_dataset(cheap)
    assert len(clips) == 5
    turntable = clips[1].load()
    assert turntable.elevation_deg == 5.0
    assert turntable.about == {"index": 1}
    assert turntable.views.photo_index == INPUT_VIEW == 20
    x, _, z = turntable.views.cameras.centers.double().T
    azimuths = torch.rad2deg(torch.atan2(x, z)) % 360
    apart = (azimuths - torch.tensor(AZIMUTHS_DEG) + 180) % 360 - 180
    assert float(apart.abs().max()) < 1e-3
    assert AZIMUTHS_DEG[INPUT_VIEW] == 0
    assert list(AZIMUTHS_DEG[:INPUT_VIEW]) == sorted(AZIMUTHS_DEG[:INPUT_VIEW])
    small = clips[1].load(8).views
    torch.testing.assert_close(
        small.images, torch.nn.functional.avg_pool2d(turntable.views.images, 2), atol=0.01, rtol=0
    )
    with pytest.raises(DatasetError, match="16 pixels"):
        clips[1].load(32)


def test_other_options_and_other_contents_are_refused(cheap, announced, tmp_path):
    with pytest.raises(DatasetError, match="seed was 3, now 4"):
        make_dataset(cheap, Recipe("cheap", {}, 4), clips=5)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="something other than turntables"):
        make_dataset(tmp_path, Recipe("heads", {"size": 16}, 0), clips=1)
    with pytest.raises(DatasetError, match="--clips"):
        make_dataset(tmp_path / "new", Recipe("heads", {"size": 16}, 0), clips=None)
    with pytest.raises(ConfigError, match="size"):
        make_dataset(tmp_path / "new", Recipe("heads", {"size": 4}, 0), clips=1)
    assert not (tmp_path / "new").exists()
    with pytest.raises(DatasetError, match="no turntables"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("file", "contents"),
    [
        ("dataset.json", "[]"),
        ("dataset.json", "{"),
        ("index.json", '{"shards": 3}'),
        ("index.json", '{"shards": [{"name": "../../elsewhere", "sha256": ""}]}'),
        ("shard-00000/index.json", "{}"),
        ("shard-00000/index.json", '{"clips": ["clip-000000"]}'),
        ("shard-00000/index.json", '{"clips": [{"name": "clip-000000"}]}'),
        ("shard-00000/index.json", '{"clips": [{"name": "..", "sha256": ""}]}'),
        ("shard-00000/clip-000000/clip.json", "{}"),
        ("shard-00000/clip-000000/clip.json", '{"elevation_deg": "high", "about": {}, "sha256": []}'),
        ("shard-00000/clip-000000/clip.json", '{"elevation_deg": 5, "about": [], "sha256": {}}'),
    ],
)
def test_a_damaged_data_set_is_refused_with_a_remedy(cheap, tmp_path, file, contents):
    folder = shutil.copytree(cheap, tmp_path / "damaged")
    (folder / file).write_text(contents)
    with pytest.raises(DatasetError, match="make the data set again"):  # noqa: PT012 - one of the two meets it
        open_dataset(folder)[0].load()
        list(problems(folder))


def test_a_clip_shows_no_image_from_outside_its_folder(cheap, tmp_path):
    folder = shutil.copytree(cheap, tmp_path / "hostile")
    clip = open_dataset(folder)[0]
    transforms = clip.folder / "transforms.json"
    transforms.write_text(transforms.read_text().replace('"00.png"', '"../clip-000001/00.png"'))
    with pytest.raises(DatasetError, match="lies outside the clip"):
        clip.load()


def test_what_a_source_says_of_a_clip_reaches_the_user(announced, tmp_path, capsys):
    options = ["--source", "cheap", "--processes", "1", "amount=3", "fails_at=2"]
    assert main(["dataset", "make", str(tmp_path / "new"), *options]) == 2
    assert "clip 2 cannot be made" in capsys.readouterr().err
    assert not (tmp_path / "new" / "index.json").exists()
    with pytest.raises(DatasetError, match="3 clips, not 4"):
        make_dataset(tmp_path / "new2", Recipe("cheap", {"amount": 3}, 0), clips=4)


@pytest.fixture(scope="module")
def heads():
    """A source of small drawn heads, and its first clip."""
    source = build(ClipSource, "heads", size=48)
    return source, source.make(0, seed=5)


class TestHeads(ClipSourceSuite):
    @pytest.fixture
    def plugin(self, heads):
        return heads[0]


def test_every_clip_is_another_person(heads):
    source, first = heads
    assert not torch.equal(source.make(1, seed=5).views.images, first.views.images)
    assert not torch.equal(source.make(0, seed=6).views.images, first.views.images)


def test_heads_look_at_the_input_camera_and_stand_before_white(heads):
    _, first = heads
    views = first.views
    assert tuple(views.images.shape) == (21, 3, 48, 48)
    bare = views.alpha.expand_as(views.images) == 0
    assert bool((views.images[bare] == 1).all())
    # a head fills the upper middle and leaves the corners free
    assert float(views.alpha[:, 0, 12:22, 20:28].min()) == 1
    assert float(views.alpha[:, 0, :6, :6].max()) == 0
    # lips are redder than the rest of what the front shows, and behind there are none
    redness = (views.images[:, 0] - views.images[:, 1]) / views.images.sum(1).clamp(min=0.3)
    middle = redness[:, 24:30, 20:28].amax((1, 2))
    assert float(middle[INPUT_VIEW]) > float(middle[9:12].max())


def test_captures_give_back_the_turntable_they_hold(heads, tmp_path):
    _, first = heads
    write_clip(tmp_path / "captures" / "b", first)
    turn = float(first.about["turn_deg"])
    source = build(ClipSource, "captures", folder=str(tmp_path / "captures"), size=48, front_deg=turn)
    assert source.clips() == 1
    again = source.make(0, seed=0)
    assert again.about["gap_deg"] < 0.1
    assert abs(again.elevation_deg) < 0.1
    torch.testing.assert_close(again.views.images, first.views.images, atol=0.01, rtol=0)
    small = build(ClipSource, "captures", folder=str(tmp_path / "captures"), size=24, front_deg=turn)
    reduced = small.make(0, seed=0).views
    assert reduced.cameras.width == 24
    point = torch.tensor([[0.03, -0.02, 0.05]])
    np.testing.assert_allclose(
        reduced.cameras.project(point)[..., :2], first.views.cameras.project(point)[..., :2] / 2, atol=1e-3
    )
    far = build(ClipSource, "captures", folder=str(tmp_path / "captures"), front_deg=turn + 8.5)
    with pytest.raises(DatasetError, match="no frame within"):
        far.make(0, seed=0)
    with pytest.raises(DatasetError, match="no folder"):
        build(ClipSource, "captures", folder=str(tmp_path / "absent")).clips()


@pytest.mark.usefixtures("announced")
def test_a_source_that_needs_what_is_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    entry = registry().get(Kind.CLIP_SOURCE, "cheap")
    needy = replace(entry, spec=replace(entry.spec, name="needy", needs=frozenset({"cuda"})))
    monkeypatch.setattr(registry(), "entries", [*registry().entries, needy])
    with pytest.raises(IncompatiblePipelineError, match="'needy' needs cuda"):
        make_dataset(tmp_path / "clips", Recipe("needy", {}, 0), clips=1)
    assert not (tmp_path / "clips").exists()
