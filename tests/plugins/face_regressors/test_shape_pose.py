"""The errors of DECA's shape and pose codes: the original's numbers through the whole metric, and known turns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from instax3d_plugins.face_regressors.coefficients import DecaCode, axis_angles
from instax3d_plugins.face_regressors.crops import deca_crop
from instax3d_plugins.face_regressors.estimate import crop_to_world
from instax3d_plugins.face_regressors.networks import DECA_OUTPUTS, DecaEncoder
from seeded_weights import enlarged, regenerate

from instax3d.config import load_config
from instax3d.errors import AssetError, ConfigError, MetricError
from instax3d.headmodel import rotation_matrices
from instax3d.interfaces import Metric
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.stages.evaluation import evaluate
from instax3d.testing import FakeDetector, MetricSuite, toy_cameras, toy_context
from instax3d.types import Cameras, Face

SIDE = 224
FIGURES = tuple(figure.name for figure in registry().get(Kind.METRIC, "shape_pose").spec.metric_info)


def whole_image_face():
    """Landmarks around which DECA's crop of an image of 224 pixels is that image."""
    half = (SIDE - 1) / 1.1 / 1.25 / 2
    marks = torch.full((68, 2), SIDE / 2)
    marks[0], marks[1] = SIDE / 2 - half, SIDE / 2 + half
    return Face((0.0, 0.0, float(SIDE), float(SIDE)), 1.0, marks)


def cameras(count):
    """All in one place, with the crop's middle straight ahead."""
    K = torch.tensor([[800.0, 0, SIDE / 2], [0, 800.0, SIDE / 2], [0, 0, 1]])
    return Cameras(torch.eye(4).repeat(count, 1, 1), K.repeat(count, 1, 1), SIDE, SIDE)


def context_of(photo, rendered, turn, turntable_cameras):
    toy = toy_context()
    views = replace(
        toy.views,
        images=photo[None],
        alpha=torch.ones(1, 1, SIDE, SIDE),
        confidence=torch.ones(1, 1, SIDE, SIDE),
        cameras=cameras(1),
        photo_index=0,
    )
    return replace(
        toy,
        views=views,
        rendered=rendered[None],
        turntable_cameras=turntable_cameras,
        render=lambda _: turn,
        test_images=None,
        test_rendered=None,
    )


@pytest.fixture
def finds(monkeypatch):
    """The metric's detector finds what it is told to find."""
    script = FakeDetector([whole_image_face()])
    monkeypatch.setattr("instax3d_plugins.face_regressors.metric.build", lambda kind, name: script)
    return script


def metric(weights):
    return build(Metric, "shape_pose", weights=str(weights))


# the original's numbers


@pytest.fixture(scope="module")
def original(fixtures_dir, tmp_path_factory):
    """DECA's file of the published layout with seeded weights, and what the original gives for two images."""
    file = tmp_path_factory.mktemp("deca") / "deca_model.tar"
    weights = regenerate(fixtures_dir / "deca" / "E_flame.weights.json")
    torch.save({"E_flame": {name: torch.from_numpy(np.asarray(value)) for name, value in weights.items()}}, file)
    with np.load(fixtures_dir / "deca" / "deca_expected.npz") as expected:
        images = torch.from_numpy(enlarged(expected["image_small"], SIDE // expected["image_small"].shape[-1]))
        return file, images, torch.from_numpy(expected["code_shape"]), torch.from_numpy(expected["code_pose"])


@pytest.mark.fixtures
def test_errors_are_those_of_the_original_s_codes(original, finds):
    """The photo is one image; the portrait shows the other from the photo's camera and in the one frame in front."""
    file, images, shape, pose = original
    one, other = images[:2]
    context = context_of(one, other, other[None], cameras(1))
    found = metric(file).measure(context)
    assert found["shape_mse"] == pytest.approx(100 * float((shape[0] - shape[1]).square().mean()), rel=1e-4)
    assert found["pose_mse"] == pytest.approx(100 * float((pose[0] - pose[1]).square().mean()), rel=1e-4)
    assert found["shape_pose_faces"] == 1
    same = metric(file).measure(context_of(one, one, other[None], cameras(1)))
    assert same["shape_mse"] == pytest.approx(found["shape_mse"] / 2, rel=1e-4), "the mean of both renders"
    exact = metric(file).measure(context_of(one, one, one[None], cameras(1)))
    assert exact == pytest.approx({"shape_mse": 0, "pose_mse": 0, "shape_pose_faces": 1}, abs=1e-8)


@pytest.mark.fixtures
def test_held_out_frames_are_compared_with_their_own_renders(original, finds):
    file, images, shape, pose = original
    context = replace(
        context_of(images[0], images[0], images[:1], cameras(1)),
        test_images=images,
        test_rendered=images.flip(0),
        test_cameras=cameras(len(images)),
    )
    capture = replace(context, views=replace(context.views, photo_index=None))
    found = metric(file).measure(capture)
    assert found["shape_mse"] == pytest.approx(100 * float((shape - shape.flip(0)).square().mean()), rel=1e-4)
    assert found["pose_mse"] == pytest.approx(100 * float((pose - pose.flip(0)).square().mean()), rel=1e-4)


@pytest.mark.fixtures
def test_a_portrait_that_is_farther_off_measures_worse(original, finds):
    file, (image, *_), *_ = original
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    steps = []
    for share in (0.0, 0.2, 0.8):
        spoilt = (1 - share) * image + share * noise
        steps.append(metric(file).measure(context_of(image, spoilt, spoilt[None], cameras(1))))
    for name in ("shape_mse", "pose_mse"):
        values = [step[name] for step in steps]
        assert values == sorted(set(values)), name


# a network that is told what to say


class Told(DecaEncoder):
    """Says what is written for each image, in their order."""

    def __init__(self, *codes):
        torch.nn.Module.__init__(self)
        self.codes = list(codes)

    def forward(self, image):
        return self.codes.pop(0)[None]


def code(head=(0.0, 0.0, 0.0), jaw=(0.0, 0.0, 0.0), shape=0.0):
    numbers = torch.zeros(DECA_OUTPUTS)
    numbers[:100] = shape
    numbers[200:206] = torch.tensor([*head, *jaw])
    assert torch.equal(DecaCode.of(numbers[None]).pose[0], numbers[200:206])
    return numbers


def measured(monkeypatch, context, *codes):
    plugin = build(Metric, "shape_pose")
    plugin.__dict__["_encoder"] = Told(*codes)
    return plugin.measure(context)


@pytest.fixture
def turning():
    """Frames of a turn whose second is taken from 17 degrees aside; 21 in all, of which five are in front."""
    white = torch.ones(3, SIDE, SIDE)
    around = toy_cameras(21, SIDE)
    context = context_of(white, white, white.expand(21, 3, SIDE, SIDE), around)
    return replace(context, views=replace(context.views, cameras=around[0]))


def test_a_head_that_turns_as_the_cameras_do_has_no_error(monkeypatch, finds, turning):
    """The head is nodding and turned a little; seen from a camera aside, its rotation is another."""
    head = torch.tensor([0.1, 0.3, -0.05])
    crop = deca_crop(turning.views.images[0], whole_image_face().require_landmarks68())
    world = crop_to_world(crop, turning.views.cameras[0]) @ rotation_matrices(head)
    seen = []
    for frame in turning.front:
        turned = crop_to_world(crop, turning.turntable_cameras[frame]).T @ world
        seen.append(code(axis_angles(turned[None])[0].tolist(), shape=0.2))
    photo = code(head.tolist())
    found = measured(monkeypatch, turning, photo, photo, *seen)
    assert found["pose_mse"] == pytest.approx(0, abs=1e-8)
    assert found["shape_mse"] == pytest.approx(100 * 0.04 * 5 / 6, rel=1e-4), "the photo's own camera has no error"
    # seen from the subject's left the head must turn to its right
    yaw = [float(one[201]) for one in seen]
    assert turning.front == [0, 1, 2, 19, 20]
    assert yaw[2] < yaw[1] < yaw[0] < yaw[4] < yaw[3]
    assert yaw[0] - yaw[1] == pytest.approx(np.radians(360 / 21), abs=0.02)
    still = measured(monkeypatch, turning, photo, photo, *[code(head.tolist())] * 5)
    assert still["pose_mse"] > 1, "a head that does not turn is wrong"


def test_jaw_and_head_count_alike(monkeypatch, finds, turning):
    straight = replace(turning, turntable_cameras=turning.views.cameras)
    straight.__dict__["turn"] = torch.ones(1, 3, SIDE, SIDE)
    found = measured(monkeypatch, straight, code(), code(jaw=(0.3, 0.0, 0.0)), code(head=(0.0, 0.0, 0.3)))
    assert found["pose_mse"] == pytest.approx(100 * 0.09 / 6, rel=1e-3)


def test_renders_without_a_face_do_not_count(monkeypatch, turning):
    class Some(FakeDetector):
        calls = 0

        def detect(self, image):
            self.calls += 1
            return [] if self.calls in (3, 4) else [whole_image_face()]

    monkeypatch.setattr("instax3d_plugins.face_regressors.metric.build", lambda kind, name: Some())
    found = measured(monkeypatch, turning, *[code()] * 5)
    assert found["shape_pose_faces"] == pytest.approx(4 / 6)
    assert found["shape_mse"] == 0


def test_without_a_face_or_reference_the_reason_is_told(monkeypatch, finds, turning):
    blind = replace(turning, views=replace(turning.views, photo_index=None))
    with pytest.raises(MetricError, match="needs a view that is the photo, or held-out frames"):
        measured(monkeypatch, blind)
    finds.faces = []
    with pytest.raises(MetricError, match="in which a face is found"):
        measured(monkeypatch, turning)


class TestShapePose(MetricSuite):
    metric_names = FIGURES

    @pytest.fixture
    def plugin(self, finds):
        class Mean(DecaEncoder):
            def __init__(self):
                torch.nn.Module.__init__(self)

            def forward(self, image):
                return image.mean() * torch.ones(1, DECA_OUTPUTS)

        plugin = build(Metric, "shape_pose")
        plugin.__dict__["_encoder"] = Mean()
        return plugin


# files


def test_without_deca_s_file_the_others_go_on(tmp_path):
    chosen = load_config(overrides=["metrics=[shape_pose, fidelity]"], source="photo").metrics
    found = evaluate(toy_context(), chosen)
    assert "instax3d assets get deca" in found.missing["shape_pose"]
    assert "psnr_views" in found.metrics
    torch.save({"E_flame": {"layers.0.weight": torch.zeros(3)}}, tmp_path / "deca_model.tar")
    with pytest.raises(AssetError, match="does not hold DECA's E_flame"):
        metric(tmp_path / "deca_model.tar").measure(toy_context())
    with pytest.raises(ConfigError, match="landmarks68"):
        load_config(overrides=["metrics=[{plugin: shape_pose, detector: mtcnn}]"], source="photo")
