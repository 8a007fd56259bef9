"""PCK and landmark error: where detectors find a portrait's face, and where it belongs."""

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from instax3d.config import load_config
from instax3d.errors import ConfigError, MetricError
from instax3d.fitting.initial import triangulate
from instax3d.inputs.capture import load_frames, read_capture
from instax3d.inputs.faces import five_of_landmarks68, five_points
from instax3d.interfaces import LandmarkDetector, Metric
from instax3d.io.images import to_float, to_uint8
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.stages.evaluation import evaluate
from instax3d.testing import FakeDetector, MetricSuite, toy_context
from instax3d.types import FIVE_POINTS, Cameras, EvaluationContext, Face

needs_mtcnn = pytest.mark.skipif(
    find_spec("facenet_pytorch") is None, reason="MTCNN's weights are absent: pip install --no-deps facenet-pytorch"
)
HEAD = 0.05 * torch.nn.functional.normalize(torch.randn(68, 3, generator=torch.Generator().manual_seed(3)))
"""68 places on a ball of five centimeters: which is where does not matter to the metrics."""


def names(metric):
    return tuple(figure.name for figure in registry().get(Kind.METRIC, metric).spec.metric_info)


class TestPck(MetricSuite):
    metric_names = names("pck")

    @pytest.fixture
    def plugin(self):
        return build(Metric, "pck", detector="dlib")


class TestLandmarks(MetricSuite):
    metric_names = names("landmarks")

    @pytest.fixture
    def plugin(self):
        return build(Metric, "landmarks")


class Script(FakeDetector):
    """Finds in each image what is written for it, in the order in which they are shown."""

    def __init__(self, *finds):
        super().__init__()
        self.finds = list(finds)

    def detect(self, image):
        return self.finds.pop(0)


def face(points=None, marks=None):
    return [Face((0.0, 0.0, 1.0, 1.0), 1.0, marks, {} if points is None else {FIVE_POINTS: points})]


@pytest.fixture
def context():
    found = toy_context()
    return replace(found, mesh=replace(found.mesh, landmarks=HEAD), test_images=None, test_rendered=None)


def measure(monkeypatch, metric, context, *finds):
    script = Script(*finds)
    monkeypatch.setattr("instax3d_plugins.keypoints.metrics.build", lambda kind, name: script)
    measured = build(Metric, metric).measure(context)
    assert not script.finds, "not all images were looked at"
    return measured


def turned(context):
    """The head's landmarks in the frames of the turn near the front, and their sizes."""
    shown = [context.turntable_cameras[k].project(HEAD)[0, :, :2] for k in context.front]
    return shown, [float((each.amax(0) - each.amin(0)).max()) for each in shown]


def test_frames_up_to_forty_degrees_are_the_front():
    toy = toy_context()
    assert toy.front == [0], "six frames are sixty degrees apart"
    many = Cameras(toy.turntable_cameras.viewmats[[0] * 21], toy.turntable_cameras.Ks[[0] * 21], 8, 8)
    assert replace(toy, turntable_cameras=many).front == [0, 1, 2, 19, 20]


def test_keypoints_within_alpha_of_the_face_s_size_are_right(monkeypatch, context):
    ((shown,), (size,)) = turned(context)
    away = torch.tensor([0.0, 0.019, 0.049, 0.099, 0.101])[:, None] * size * torch.tensor([[0.6, 0.8]])
    figures = measure(monkeypatch, "pck", context, face(five_of_landmarks68(shown) + away))
    assert figures == pytest.approx({"pck": 80.0, "pck_05": 60.0, "pck_02": 40.0, "pck_faces": 1.0})


def test_a_face_that_is_not_found_counts_as_wrong_and_the_nearest_of_several_counts(monkeypatch, context):
    cameras = context.turntable_cameras
    context = replace(context, turntable_cameras=Cameras(cameras.viewmats[[0] * 21], cameras.Ks[[0] * 21], 32, 32))
    shown, sizes = turned(context)
    finds = [face(five_of_landmarks68(each)) for each in shown]
    assert measure(monkeypatch, "pck", context, *finds)["pck"] == 100
    finds[0] = []
    finds[1] = [*face(five_of_landmarks68(shown[1]) + 0.5 * sizes[1]), *finds[1]]
    figures = measure(monkeypatch, "pck", context, *finds)
    assert figures["pck"] == pytest.approx(80)
    assert figures["pck_faces"] == pytest.approx(0.8)


def test_five_points_come_from_the_68_where_there_are_no_others(monkeypatch, context):
    ((shown,), _) = turned(context)
    assert measure(monkeypatch, "pck", context, face(marks=shown))["pck_02"] == 100
    assert torch.equal(five_points(face(marks=shown)[0]), five_of_landmarks68(shown))
    assert torch.equal(five_of_landmarks68(shown)[0], shown[36:42].mean(0))
    assert torch.equal(five_of_landmarks68(shown)[2:], shown[[30, 48, 54]])


def test_landmark_error_is_in_percent_of_the_eyes_outer_corners(monkeypatch, context):
    ((shown,), _) = turned(context)
    camera = context.turntable_cameras[0]
    depth = camera.project(HEAD[[36, 45]])[0, :, 2].mean()
    unit = float((HEAD[36] - HEAD[45]).norm() * camera.Ks[0, 0, 0] / depth)
    off = shown + torch.tensor([0.03, 0.04]) * unit
    off[:17] += 7  # the jaw does not count
    figures = measure(monkeypatch, "landmarks", context, face(marks=off), face(marks=shown), face(marks=off))
    assert figures["landmarks"] == pytest.approx(5, rel=1e-3)
    assert figures["landmarks_photo"] == pytest.approx(5, rel=1e-3)
    assert figures["landmarks_faces"] == 1


def test_held_out_frames_are_compared_where_both_show_a_face(monkeypatch, context):
    ((shown,), _) = turned(context)
    toy = toy_context()
    context = replace(
        context,
        views=replace(context.views, photo_index=None),
        test_images=toy.test_images,
        test_rendered=toy.test_rendered,
    )
    finds = [face(marks=shown), face(marks=shown), [], [], face(marks=shown), face(marks=shown + 1)]
    # the turn; frame 0 seen in truth but not in the portrait; 1 not in truth; 2 in both; 3 not in truth
    figures = measure(monkeypatch, "landmarks", context, *finds, [])
    assert figures["landmarks"] == 0
    assert figures["landmarks_test"] > 0
    assert figures["landmarks_faces"] == pytest.approx(2 / 3)
    assert "landmarks_photo" not in figures


def test_without_landmarks_of_the_head_the_reason_is_reported(context):
    bare = replace(context, mesh=replace(context.mesh, landmarks=None))
    for name in ("pck", "landmarks"):
        with pytest.raises(MetricError, match=f"{name} needs the landmarks of the fitted head"):
            build(Metric, name).measure(bare)


def test_without_mtcnn_s_weights_the_other_metrics_are_measured(monkeypatch, context):
    monkeypatch.setattr("instax3d_plugins.mtcnn.weights.find_spec", lambda name: None)
    found = evaluate(context, load_config(overrides=["metrics=[pck, landmarks]"], source="photo").metrics)
    assert set(found.missing) == {"pck"}
    assert "facenet-pytorch" in found.missing["pck"]
    assert "landmarks" in found.metrics or "landmarks_faces" in found.metrics


def test_detectors_are_named_and_must_find_what_is_needed():
    with pytest.raises(ConfigError, match="landmarks68"):
        load_config(overrides=["metrics=[{plugin: landmarks, detector: mtcnn}]"], source="photo")
    with pytest.raises(ConfigError, match="mtcn'"):
        load_config(overrides=["metrics=[{plugin: pck, detector: mtcn}]"], source="photo")


# real faces


@needs_mtcnn
@pytest.mark.fixtures
@pytest.mark.data
def test_pck_sees_the_points_that_the_original_sees(fixtures_dir, data_dir):
    """A head whose points are where facenet-pytorch's MTCNN finds them in a photo is right to 2 %; moved, it is not."""
    known = json.loads((fixtures_dir / "facenet" / "mtcnn_photos.json").read_text())["images"]
    name, expected = next((name, one) for name, one in sorted(known.items()) if len(one["faces"]) == 1)
    pixels = torch.from_numpy(np.array(Image.open(data_dir / "photos" / name).convert("RGB")))
    height, width = pixels.shape[:2]
    points = torch.tensor(expected["faces"][0]["points"]) * width / expected["detect_size"][0]
    eyes = points[:2, None].expand(2, 6, 2).reshape(12, 2)
    marks = points.mean(0).expand(68, 2).clone()
    marks[36:48], marks[[30, 48, 54]] = eyes, points[2:]
    K = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1]])
    side = max(width, height)
    square = torch.zeros(side, side, 3, dtype=torch.uint8)  # as the frames of a turn are
    square[:height, :width] = pixels
    camera = Cameras(torch.eye(4)[None], K[None], side, side)

    def measured(marks):
        toy = toy_context()
        head = torch.cat([marks, torch.ones(68, 1)], 1)
        context = replace(
            toy,
            mesh=replace(toy.mesh, landmarks=head),
            turntable_cameras=camera,
            render=lambda cameras: to_float(square)[None],
        )
        return build(Metric, "pck").measure(context)

    assert measured(marks) == {"pck": 100, "pck_05": 100, "pck_02": 100, "pck_faces": 1}
    size = float((points.amax(0) - points.amin(0)).max())
    moved = measured(marks + 0.06 * size)
    assert moved["pck"] == 100
    assert moved["pck_05"] == moved["pck_02"] == 0


@pytest.fixture(scope="module")
def scanned(data_dir) -> EvaluationContext:
    """A perfect portrait: the frames of a scan, and the landmarks that they agree upon."""
    capture = read_capture(data_dir / "head_scan")
    detector: LandmarkDetector = build(LandmarkDetector, "dlib")
    turn = [0, 1, 2, 20]  # in the one on the other side dlib finds no face
    images, _ = load_frames(capture.cameras[turn], tuple(capture.files[k] for k in turn))
    marks = torch.stack([detector.detect(to_uint8(image))[0].require_landmarks68() for image in images])
    whole, _ = load_frames(capture.cameras, capture.files)
    toy = toy_context()
    few = capture.cameras[turn]
    return replace(
        toy,
        mesh=replace(toy.mesh, landmarks=triangulate(few, marks)),
        views=replace(toy.views, photo_index=None),
        turntable_cameras=capture.cameras,
        render=lambda cameras: whole,
        test_images=images[:2],
        test_rendered=images[:2],
        test_cameras=few[[0, 1]],
    )


@pytest.mark.data
def test_a_portrait_that_is_farther_off_measures_worse(scanned):
    """Real faces that slip to the side, and a head that is fitted ever worse."""
    mtcnn = find_spec("facenet_pytorch") is not None
    pck = "pck" if mtcnn else "{plugin: pck, detector: dlib}"
    chosen = load_config(overrides=[f"metrics=[{pck}, landmarks]"], source="capture").metrics

    def measured(shift=0, pushed=0.0):
        found = evaluate(
            replace(
                scanned,
                mesh=replace(scanned.mesh, landmarks=scanned.mesh.landmarks + torch.tensor([pushed, 0.0, 0.0])),
                render=lambda cameras: scanned.turntable.roll(shift, -1),
                test_rendered=scanned.test_rendered.roll(shift, -1),
            ),
            chosen,
        )
        assert found.missing == {}
        return found.metrics

    perfect = measured()
    assert perfect["landmarks"] < 2.5
    assert perfect["landmarks_test"] == 0
    assert perfect["landmarks_faces"] == pytest.approx(6 / 7)
    if mtcnn:
        assert perfect["pck"] == perfect["pck_faces"] * 100 == 100
    steps = [perfect, measured(shift=6), measured(shift=16)]
    for name in ("landmarks", "landmarks_test"):
        values = [step[name] for step in steps]
        assert values == sorted(values)
        assert values[1] > values[0] + 3
    for name in ("pck", "pck_05", "pck_02"):
        values = [-step[name] for step in steps]
        assert values == sorted(values)
    assert steps[-1]["pck_05"] < 50
    # the head moves by 0.1 units: two centimeters at life size
    pushed = measured(pushed=0.1)
    assert pushed["landmarks"] > perfect["landmarks"] + 10
    assert pushed["pck"] < 20
    assert pushed["landmarks_test"] == 0, "the picture is as it was"
