"""ICT-FaceKit behind the interface of head models."""

import shutil
import zipfile

import numpy as np
import pytest
import torch
from instax3d_plugins.ict.convert import convert_model
from instax3d_plugins.ict.model import IctModel
from scipy.spatial import cKDTree

from instax3d.errors import AssetError
from instax3d.headmodel import HeadParameters
from instax3d.heads.facekit import LANDMARKS, read_facekit
from instax3d.inputs.capture import read_capture
from instax3d.interfaces import LandmarkDetector, MeshPrior, ViewGenerator
from instax3d.registry import build
from instax3d.stages.making import with_faces
from instax3d.testing import HeadModelSuite, views_of_model

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def prior(data_dir) -> MeshPrior:
    return build(MeshPrior, "ict", model=str(data_dir / "ict_facekit"), shape_components=8)


@pytest.fixture(scope="module")
def model(prior) -> IctModel:
    return prior.head_model()


class TestIct(HeadModelSuite):
    @pytest.fixture
    def plugin(self, model):
        return model


def moved(model, **changes) -> HeadParameters:
    return HeadParameters(**{**vars(model.neutral()), **changes})


def test_the_model_is_linear_as_published(model, data_dir):
    kit = read_facekit(data_dir / "ict_facekit")
    torch.manual_seed(0)
    shape, expression = torch.randn(len(kit.identities)), torch.zeros(len(model.expression_names))
    expression[model.expression_names.index("jawOpen")] = 0.7
    expected = kit.neutral + np.einsum("k,knc->nc", shape.double().numpy(), kit.identities)
    expected += 0.7 * kit.expressions[kit.expression_names.index("jawOpen")]
    found = model(moved(model, shape=shape, expression=expression))
    np.testing.assert_allclose(found.numpy(), expected * 0.01, atol=1e-6)
    chosen = torch.tensor([3, 11_300, 9000])
    torch.testing.assert_close(model.at(moved(model, shape=shape, expression=expression), chosen), found[chosen])


def test_it_has_arkits_expressions(model):
    names = set(model.expression_names)
    assert {"jawOpen", "browInnerUp", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "cheekPuff"} <= names
    assert not any(name.endswith(("_L", "_R")) for name in names)
    both = model(moved(model, expression=torch.eye(len(names))[model.expression_names.index("browInnerUp")]))
    rise = (both - model(model.neutral()))[:, 1]
    assert float(rise[model.landmark_faces[21, 0]]) > 0.002
    assert float(rise[model.landmark_faces[22, 0]]) > 0.002


def test_parts_are_where_they_belong(model):
    neutral = model(model.neutral())
    masks = [model.regions[name] for name in ("face", "scalp", "ears", "neck", "eyeballs")]
    assert bool((torch.stack(masks).sum(0) == 1).all()), "they part the vertices"
    of_landmarks = model.landmark_faces[:, 0]
    assert model.regions["face"][of_landmarks[17:]].all()
    assert model.regions["lips"].sum() > 200
    assert float(neutral[model.regions["lips"]][:, 1].max()) < float(model.landmarks(neutral)[33, 1])
    assert float(neutral[model.regions["scalp"]][:, 1].max()) > 0.13
    assert float(neutral[model.regions["ears"]][:, 0].abs().min()) > 0.06
    assert float(neutral[model.regions["neck"]][:, 1].max()) < -0.05


def test_it_is_symmetric(model):
    neutral, mirror = model(model.neutral()), model.mirror
    assert bool((mirror[mirror] == torch.arange(len(mirror))).all())
    torch.testing.assert_close(neutral[mirror], neutral * torch.tensor([-1.0, 1.0, 1.0]), atol=1e-3, rtol=0)


def test_joints_turn_what_they_should(model):
    neutral = model(model.neutral())
    assert torch.allclose(model.skinning.sum(1), torch.ones(len(neutral)), atol=1e-6)
    pose = torch.zeros(4, 3)
    pose[2, 1] = 0.3  # the left eye to its left
    shift = model(moved(model, pose=pose)) - neutral
    still = ~(model.regions["eyeballs"] & (neutral[:, 0] > 0))
    assert float(shift[still].abs().max()) < 1e-6
    pupil = torch.where(~still, neutral[:, 2], -1.0).argmax()
    assert float(shift[pupil, 0]) > 0.002
    radius = (neutral[~still] - model.posed_joints(model.neutral())[2]).norm(dim=1)
    assert float(radius.max()) < 0.018
    pose = torch.zeros(4, 3)
    pose[1, 0] = 0.25  # the jaw opens
    shift = model(moved(model, pose=pose)) - neutral
    assert float(shift[int(LANDMARKS[8]), 1]) < -0.01
    assert float(shift[int(LANDMARKS[33])].norm()) < 0.004
    pose = torch.zeros(4, 3)
    pose[0, 1] = 0.5  # the neck turns to the left
    shift = model(moved(model, pose=pose)) - neutral
    assert float(shift[int(LANDMARKS[30]), 0]) > 0.03
    bottom = neutral[:, 1].argmin()
    assert float(shift[bottom].norm()) < 0.002


def test_it_fits_its_own_views(prior, model):
    mesh = prior.fit(views_of_model(model, count=3))
    assert mesh.metrics["landmark_error"] < 0.01
    assert mesh.rig is not None
    torch.testing.assert_close(mesh.rig.vertices(mesh.rig.parameters), mesh.vertices, atol=1e-5, rtol=1e-4)
    face = model.regions["face"]
    assert float((mesh.vertices - model(model.neutral()))[face].norm(dim=1).mean()) < 0.003


def test_folder_archive_and_conversion_agree(data_dir, tmp_path):
    """A published folder has a mesh per component; this one has what is at hand of them."""
    source = data_dir / "ict_facekit" / "FaceXModel"
    folder = tmp_path / "ICT-FaceKit-master" / "FaceXModel"
    folder.mkdir(parents=True)
    for name in ("generic_neutral_mesh", "identity000", "jawOpen", "eyeBlink_L", "eyeBlink_R"):
        shutil.copy(source / f"{name}.obj", folder)
    whole = read_facekit(data_dir / "ict_facekit")
    kit = read_facekit(folder.parent)
    assert kit.expression_names == ("eyeBlink_L", "eyeBlink_R", "jawOpen")
    np.testing.assert_allclose(kit.identities[0], whole.identities[0], atol=2e-3)
    with zipfile.ZipFile(tmp_path / "ict.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.relative_to(tmp_path))
    zipped = read_facekit(tmp_path / "ict.zip")
    np.testing.assert_array_equal(zipped.identities, kit.identities)
    assert "1 identities, 3 expressions" in convert_model(tmp_path / "ict.zip", tmp_path / "ict.npz")
    converted = read_facekit(tmp_path / "ict.npz")
    np.testing.assert_allclose(converted.expressions, kit.expressions, atol=1e-6)
    np.testing.assert_array_equal(converted.faces, kit.faces)


def test_what_is_not_ict_is_refused(tmp_path):
    for name in ("x.npz", "x.zip"):
        (tmp_path / name).write_bytes(b"nothing")
    for path in (tmp_path, tmp_path / "x.npz", tmp_path / "x.zip"):
        with pytest.raises(AssetError, match="assets get ict-facekit"):
            read_facekit(path)


@pytest.mark.slow
def test_it_meets_the_surface_of_a_real_head(data_dir):
    """Fitted to a capture's landmarks and outlines, compared with the true mesh."""
    capture = read_capture(data_dir / "head_scan")
    views = build(ViewGenerator, "frames").generate(capture, seed=0)
    views = with_faces(views, build(LandmarkDetector, "dlib"))
    mesh = build(MeshPrior, "ict", model=str(data_dir / "ict_facekit")).fit(views)
    with np.load(data_dir / "head_scan" / "mesh.npz") as truth:
        corners = truth["vertices"].astype(float)[truth["faces"]]
    inside = np.random.default_rng(0).dirichlet([1, 1, 1], (len(corners), 4))
    surface = cKDTree(np.concatenate([(inside @ corners).reshape(-1, 3), corners.reshape(-1, 3)]))
    distance = surface.query(mesh.vertices.numpy())[0] / mesh.units_per_meter * 1000
    face = mesh.regions["face"].numpy()
    head = face | mesh.regions["scalp"].numpy() | mesh.regions["ears"].numpy()
    assert distance[face].mean() < 2.5  # millimeters
    assert distance[head].mean() < 2.5
