"""Results of stages are found again when nothing they depend on has changed, and only then."""

import ast
import os
from dataclasses import replace
from pathlib import Path

import instax3d_plugins
import pytest
import torch

import instax3d
from instax3d.cli import main
from instax3d.config import load_config
from instax3d.errors import IncompatiblePipelineError, PortraitError
from instax3d.headmodel import HeadModel
from instax3d.io.artifacts import (
    pack_gaussians,
    pack_mesh,
    pack_views,
    quantized,
    read_artifact,
    unpack_gaussians,
    unpack_mesh,
    unpack_views,
)
from instax3d.io.files import atomic
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.stages import fingerprint
from instax3d.stages.cache import StageCache, cache_dir
from instax3d.stages.pipeline import create
from instax3d.testing import toy_gaussians, toy_mesh, toy_photo, toy_views
from instax3d.types import DensifyReport, Face, HeadMesh, Rig


@pytest.fixture
def cache(tmp_path: Path) -> StageCache:
    return StageCache(tmp_path / "cache")


def stored(cache: StageCache, artifact):
    cache.store("stage", "key", artifact)
    return cache.load("stage", "key")


def test_views_come_back_as_they_were_used(cache):
    views = quantized(toy_views())
    face = Face((1.0, 2.0, 30.5, 40.0), 0.25, torch.rand(68, 2))
    provenance = torch.eye(3)[0][None, :, None, None].expand(len(views), 3, 32, 32)
    views = replace(views, faces=(None, face, None, None), provenance=provenance)
    again = unpack_views(stored(cache, pack_views(views)))
    for name in ("images", "alpha", "confidence", "provenance"):
        assert torch.equal(getattr(again, name), getattr(views, name))
    assert torch.equal(again.cameras.viewmats, views.cameras.viewmats)
    assert torch.equal(again.cameras.Ks, views.cameras.Ks)
    assert again.photo_index == views.photo_index
    assert again.faces[0] is again.faces[2] is None
    assert again.faces[1].box == face.box
    assert torch.equal(again.faces[1].landmarks, face.landmarks)
    assert unpack_views(stored(cache, pack_views(replace(views, faces=(), provenance=None)))).provenance is None


def test_views_keep_the_head_that_their_generator_knows(cache):
    head = build(HeadModel, "mannequin")
    rig = Rig(head, replace(head.neutral(), shape=torch.randn(head.shape_components)), torch.eye(3), torch.ones(3), 1.0)
    vertices = rig.vertices(rig.parameters)
    mesh = HeadMesh(vertices, head.faces, head.landmarks(vertices), head.regions, rig, metrics={"known": 1.0})
    views = replace(quantized(toy_views()), head=mesh, faces=(Face((0.0, 0.0, 9.0, 9.0), 1.0, torch.rand(68, 2)),) * 4)
    artifact = stored(cache, pack_views(views))
    again = unpack_views(artifact, lambda: head)
    assert torch.equal(again.head.vertices, vertices)
    assert torch.equal(again.head.regions["face"], head.regions["face"])
    assert again.head.metrics == {"known": 1.0}
    assert torch.equal(again.head.rig.vertices(again.head.rig.parameters), vertices)
    assert torch.equal(again.faces[3].landmarks, views.faces[3].landmarks)
    for nothing in (None, lambda: None):
        assert unpack_views(artifact, nothing).head.rig is None
    assert unpack_views(stored(cache, pack_views(quantized(toy_views()))), pytest.fail).head is None


def test_rounding_keeps_images_to_half_a_level():
    views = toy_views()
    assert float((quantized(views).images - views.images).abs().max()) <= 0.5 / 255 + 1e-6
    assert torch.equal(quantized(quantized(views)).images, quantized(views).images)


def test_a_mesh_comes_back_with_its_rig(cache):
    head = build(HeadModel, "mannequin")
    rotation = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    rig = Rig(head, replace(head.neutral(), shape=torch.randn(head.shape_components)), rotation, torch.ones(3), 1.25)
    regions = {"face": torch.rand(len(toy_mesh().vertices)) > 0.5}
    mesh = replace(toy_mesh(), rig=rig, regions=regions, axes=rotation, units_per_meter=1.25, metrics={"error": 0.5})
    again = unpack_mesh(stored(cache, pack_mesh(mesh)), lambda: head)
    assert torch.equal(again.vertices, mesh.vertices)
    assert torch.equal(again.regions["face"], regions["face"])
    assert (again.units_per_meter, again.metrics) == (1.25, {"error": 0.5})
    assert torch.equal(again.rig.vertices(again.rig.parameters), rig.vertices(rig.parameters))
    plain = unpack_mesh(stored(cache, pack_mesh(toy_mesh())), pytest.fail)
    assert plain.rig is None
    assert plain.axes is None


def test_gaussians_come_back_exactly(cache):
    densified = DensifyReport(3, 2, {"split": 3, "faint": 2})
    binding = torch.arange(40)
    packed = pack_gaussians(toy_gaussians(), {"photometric": 0.125}, densified, binding)
    gaussians, losses, again, bound = unpack_gaussians(stored(cache, packed))
    assert torch.equal(bound, binding)
    assert unpack_gaussians(stored(cache, pack_gaussians(toy_gaussians(), {}, densified)))[3] is None
    assert torch.equal(gaussians.sh, toy_gaussians().sh)
    assert losses == {"photometric": 0.125}
    assert again == densified


def test_a_damaged_file_counts_as_absent_and_goes(cache):
    cache.store("stage", "key", ({"a": torch.ones(100)}, {}))
    path = cache.path("stage", "key")
    path.write_bytes(path.read_bytes()[:50])
    assert cache.load("stage", "key") is None
    assert not path.exists()
    assert cache.load("stage", "other") is None


def test_what_was_used_longest_ago_is_forgotten_first(tmp_path):
    cache = StageCache(tmp_path, limit=130_000)
    for age, key in ((300, "used again"), (200, "old"), (100, "newer")):
        cache.store("stage", key, ({"a": torch.zeros(10_000)}, {}))
        stamp = cache.path("stage", key).stat().st_mtime - age
        os.utime(cache.path("stage", key), (stamp, stamp))
    assert cache.load("stage", "used again") is not None
    cache.store("stage", "new", ({"a": torch.zeros(5_000)}, {}))
    assert {path.stem for path in cache.files()} == {"stage-used again", "stage-newer", "stage-new"}
    assert cache.size() <= 130_000
    cache.clear()
    assert cache.files() == []


def test_files_that_other_processes_are_writing_are_neither_counted_nor_removed(cache):
    cache.store("stage", "key", ({"a": torch.zeros(10)}, {}))
    with atomic(cache.path("stage", "other")) as half_written:
        half_written.write_bytes(b"half")
        assert cache.files() == [cache.path("stage", "key")]
        cache.clear()
        cache.limit = 0
        cache.store("stage", "key", ({"a": torch.zeros(10)}, {}))
        assert half_written.exists()
    assert cache.path("stage", "other").exists()


def test_files_that_other_processes_remove_meanwhile_do_no_harm(cache, monkeypatch):
    for key in "abc":
        cache.store("stage", key, ({"a": torch.zeros(10)}, {}))
    stat, size = Path.stat, cache.path("stage", "c").stat().st_size

    def removed_after_one_look(path: Path, **options) -> os.stat_result:
        status = stat(path, **options)
        if path.name == "stage-a.npz":
            path.unlink()
        return status

    monkeypatch.setattr(Path, "stat", removed_after_one_look)
    assert cache.size() in (2 * size, 3 * size)
    cache.limit = size
    cache.store("stage", "d", ({"a": torch.zeros(10)}, {}))
    cache.clear()
    assert cache.files() == []


def test_a_result_that_is_removed_while_it_is_read_leaves_no_empty_file(cache, monkeypatch):
    cache.store("stage", "key", ({"a": torch.ones(3)}, {}))

    def read_then_removed(path: Path):
        artifact = read_artifact(path)
        path.unlink()
        return artifact

    monkeypatch.setattr("instax3d.stages.cache.read_artifact", read_then_removed)
    assert cache.load("stage", "key") is not None
    assert not cache.path("stage", "key").exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PortraitError, match="INSTAX3D_CACHE"):
        StageCache(tmp_path / "file" / "cache").store("stage", "key", ({}, {}))


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("INSTAX3D_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("INSTAX3D_CACHE")
    assert cache_dir().name == "instax3d"


def changed(*overrides: str) -> set[str]:
    """Stages whose keys differ from the draft preset's."""

    def keys(*overrides: str) -> dict[str, str]:
        config = load_config(preset="draft", overrides=overrides, source="photo")
        return fingerprint.stage_keys(config, "cpu", "source")

    before, after = keys(), keys(*overrides)
    assert before == keys()
    return {stage for stage in before if before[stage] != after[stage]}


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("output.turntable_frames=7", set()),
        ("densifier.grow_grad2d=1.0e-3", {"construct"}),
        ("training.iterations=301", {"construct"}),
        ("representation.sh_degree=2", {"construct"}),
        ("view_generator.size=256", {"views", "prior", "construct"}),
        ("seed=3", {"views", "prior", "construct"}),
    ],
)
def test_an_option_changes_the_stages_that_depend_on_it(override, stages):
    assert changed(override) == stages


def test_what_is_not_hashed_is_used_by_no_stage():
    """Only what composes the stages may import it; the layers contract holds the lower layers to that as well."""
    package = Path(instax3d.__file__).parent
    outside = {Path(name).stem for name in fingerprint.NOT_HASHED}
    assert outside <= {path.stem for path in package.iterdir()}
    measuring = {entry.spec.target.split(".")[1] for entry in registry().plugins(Kind.METRIC)}
    inside = [
        path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in fingerprint.NOT_HASHED
    ]
    families = [family for family in Path(instax3d_plugins.__file__).parent.iterdir() if family.name not in measuring]
    inside += [path for family in families for path in family.rglob("*.py") if path.name != "commands.py"]
    users = {path for path in inside if any(name.split(".")[0] in outside for name in imported_from(path, package))}
    assert {path.relative_to(package.parent).parts[:2] for path in users} <= {
        ("instax3d", "__init__.py"),
        ("instax3d", "stages"),
    }


def imported_from(path: Path, package: Path) -> list[str]:
    """Names below the core that a file imports; within the core, by paths relative to it too."""
    names = []
    own = path.relative_to(package.parent).with_suffix("").parts if package in path.parents else ()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not (node.level and not own):
            base = [*own[: -node.level]] if node.level else []
            names += [".".join([*base, *([node.module] if node.module else []), alias.name]) for alias in node.names]
    return [name.removeprefix("instax3d.") for name in names if name.startswith("instax3d.")]


def test_every_library_that_a_distribution_requires_counts(monkeypatch):
    wanted = ["dlib-bin>=19", "gsplat (>=1.5)", "torch ; python_version > '3'", "diffusers>=1; extra == 'sv3d'"]
    monkeypatch.setattr(fingerprint, "requires", lambda name: [*wanted, "ruff>=0.6 ; extra == 'dev'"])
    installed, before = fingerprint.version, fingerprint.hash_libraries.__wrapped__("some")
    for changed in ("dlib-bin", "gsplat", "torch", "diffusers", "ruff"):
        with monkeypatch.context() as patch:
            patch.setattr(fingerprint, "version", lambda name, it=changed: "99" if name == it else installed(name))
            assert (fingerprint.hash_libraries.__wrapped__("some") != before) == (changed != "ruff"), changed


def test_a_source_is_known_by_its_contents(tmp_path):
    (tmp_path / "a.png").write_bytes(b"one")
    (tmp_path / "b.png").write_bytes(b"one")
    (tmp_path / "c.png").write_bytes(b"two")
    one, same, other = (fingerprint.hash_source(tmp_path / f"{name}.png", toy_photo()) for name in "abc")
    assert one == same != other


def test_resuming_needs_the_cache(tmp_path, capsys):
    assert main(["create", "me.jpg", "-o", str(tmp_path / "out"), "--resume", "--no-cache"]) == 2
    assert "drop --no-cache" in capsys.readouterr().err
    with pytest.raises(IncompatiblePipelineError, match="cache"):
        create("me.jpg", resume=True)


def test_the_cache_can_be_looked_at_and_cleared(cache, monkeypatch, capsys):
    monkeypatch.setenv("INSTAX3D_CACHE", str(cache.folder))
    cache.store("stage", "key", ({"a": torch.zeros(10)}, {}))
    assert main(["cache"]) == 0
    assert "1 files" in capsys.readouterr().out
    assert main(["cache", "--clear"]) == 0
    assert cache.files() == []
