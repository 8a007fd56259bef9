"""The template generator on a made-up photo of the mannequin, of which all is known, and on a real one."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from instax3d_plugins.template.generator import (
    DISTANCE,
    Reconstruction,
    known_faces,
    photo_orbit,
    reconstruct,
    render_views,
    turntable_center,
)
from instax3d_plugins.template.noise import make_noise
from PIL import Image
from scipy import ndimage
from skimage.data import astronaut

from instax3d import registry
from instax3d.datasets import FIELD_OF_VIEW_DEG
from instax3d.errors import IncompatiblePipelineError
from instax3d.geometry.cameras import orbit
from instax3d.geometry.mesh import vertex_normals
from instax3d.geometry.mesh_raster import project, rasterize
from instax3d.headmodel import HeadModel
from instax3d.inputs.photo import read_photo
from instax3d.interfaces import LandmarkDetector, ViewGenerator
from instax3d.io.images import to_uint8
from instax3d.matting.head_crop import PhotoCrop
from instax3d.types import Capture, Face, Photo

SIDE, FOCAL, AZIMUTH, ELEVATION = 480, 900.0, 14.0, 9.0
SKIN, HAIR, CLOTH, FEATURES = (0.85, 0.65, 0.55), (0.25, 0.17, 0.1), (0.2, 0.3, 0.55), (0.9, 0.1, 0.9)
VIEWS, SIZE = 8, 128


def mannequin():
    return registry.build(HeadModel, "mannequin")


def generator(**options):
    return registry.build(ViewGenerator, "template", **({"views": VIEWS, "size": SIZE} | options))


@pytest.fixture(scope="module", autouse=True)
def noise_once() -> Iterator[None]:
    """The same textures for all calls with one seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("instax3d_plugins.template.generator.make_noise", cache(make_noise))
        yield


@pytest.fixture(scope="module")
def toy() -> Photo:
    """The mannequin with painted hair, shirt and glaring features, from the left and on gray."""
    model = mannequin()
    vertices = model(model.neutral())
    places, faces = vertices.numpy().astype(np.float64), model.faces.numpy()
    camera = orbit([AZIMUTH], [ELEVATION], radius=DISTANCE, size=SIDE, focal=FOCAL, center=(0.0, 0.02, 0.0))
    viewmat = camera.viewmats[0].double().numpy()
    K = np.array([[FOCAL, 0, SIDE / 2], [0, FOCAL, SIDE / 2], [0, 0, 1]])
    colors = np.tile(SKIN, (len(places), 1))
    colors[model.regions["scalp"].numpy()] = HAIR
    colors[places[:, 1] < -0.125] = CLOTH
    colors[(model.regions["lips"] | model.regions["eyeballs"]).numpy()] = FEATURES
    light = 0.75 + 0.25 * vertex_normals(places, faces) @ (-viewmat[2, :3])
    raster = rasterize(places, faces, viewmat, K, SIDE, SIDE)
    image = np.full((SIDE, SIDE, 3), 0.6, np.float32)
    image[raster.mask] = raster.interpolate(colors * light[:, None], faces)
    image += np.random.default_rng(0).normal(0, 0.01, image.shape).astype(np.float32)
    landmarks = project(model.landmarks(vertices).numpy().astype(np.float64), viewmat, K)[:, :2]
    box = (*landmarks.min(0).tolist(), *landmarks.max(0).tolist())
    pixels = torch.from_numpy(image.clip(0, 1)).permute(2, 0, 1).contiguous()
    return Photo(pixels, None, Face(box, 1.0, torch.tensor(landmarks, dtype=torch.float32)))


@pytest.fixture(scope="module")
def toy_head(toy) -> Reconstruction:
    """What the generator makes of the toy before it renders views."""
    return reconstruct(toy, mannequin())


@pytest.fixture(scope="module")
def views(toy, toy_head):
    with pytest.MonkeyPatch.context() as patch:  # one reconstruction serves all tests
        patch.setattr("instax3d_plugins.template.generator.reconstruct", lambda photo, model: toy_head)
        return generator().generate(toy, seed=1)


def centers(views):
    return views.cameras.centers.numpy()


def azimuths(views):
    places = centers(views)
    return np.degrees(np.arctan2(places[:, 0], places[:, 2])) % 360


def test_the_views_are_as_asked(views):
    assert tuple(views.images.shape) == (VIEWS, 3, SIZE, SIZE)
    assert tuple(views.alpha.shape) == (VIEWS, 1, SIZE, SIZE)
    for values in (views.images, views.alpha, views.confidence):
        assert float(values.min()) >= 0
        assert float(values.max()) <= 1
    corners = views.images[:, :, [0, 0], [0, -1]]
    assert bool((corners > 0.999).all()), "the background is white"


def test_all_but_the_photo_stand_on_one_orbit_as_high_as_the_photo(views):
    others = [k for k in range(VIEWS) if k != views.photo_index]
    assert np.allclose(azimuths(views)[others], np.arange(VIEWS)[others] * 360 / VIEWS, atol=1.5)
    assert np.ptp(centers(views)[others, 1]) < 1e-4
    focal = SIZE / 2 / np.tan(np.radians(FIELD_OF_VIEW_DEG / 2))
    assert np.allclose(views.cameras.Ks[others, 0, 0], focal, rtol=1e-5)
    middle = centers(views)[others][:, [0, 2]]
    assert np.allclose(np.linalg.norm(middle - middle[[1, 5]].mean(0), axis=1).mean(), DISTANCE, atol=0.02)


def test_the_views_know_their_head(views, toy, toy_head):
    model, head = mannequin(), views.head
    assert torch.equal(head.vertices, toy_head.person.fit.vertices)
    assert torch.equal(head.rig.vertices(head.rig.parameters), head.vertices)
    assert head.rig.head.shares_parameters_with(model)
    # what is drawn differs from it by the last millimeters, which bring landmarks and outline to their pixels
    assert float((head.landmarks[17:] - torch.from_numpy(toy_head.person.head.landmarks[17:])).norm(dim=1).max()) < 0.01


def test_the_views_know_their_faces(views, toy, toy_head):
    front = [view for view, face in enumerate(views.faces) if face is not None]
    assert front == [0], "of 8 views the next ones stand 45 degrees from the front"
    more = render_views(toy_head, seed=1, count=24, size=SIZE)
    front = [view for view, face in enumerate(more.faces) if face is not None]
    assert front == [0, 1, 2, 22, 23]
    drawn_head = torch.from_numpy(toy_head.person.head.landmarks).float()
    for view in front:
        at = more.cameras[view].project(drawn_head)[0, :, :2]
        error = (more.faces[view].landmarks - at).norm(dim=1)
        if view == more.photo_index:  # its own, from the photo
            assert 0 < float(error[17:].max()) < 0.02 * SIZE
        else:
            assert float(error.max()) < 1e-3
        left, top, right, bottom = more.faces[view].box
        assert bool(((at[17:] > torch.tensor([left, top]) - 2) & (at[17:] < torch.tensor([right, bottom]) + 2)).all())


def test_the_photos_face_is_moved_with_the_photo(toy, toy_head):
    crop = PhotoCrop(0.5, (10.0, -20.0), SIZE)
    found = replace(toy.face, box=(100.0, 120.0, 200.0, 240.0), points={"five": torch.full((5, 2), 100.0)})
    face = known_faces(replace(toy_head.person, found=found), toy_orbit(), np.array([0.0]), 0, crop)[0]
    assert face.box == (60.0, 40.0, 110.0, 100.0)
    torch.testing.assert_close(face.landmarks, toy.face.landmarks * 0.5 + torch.tensor([10.0, -20.0]))
    torch.testing.assert_close(face.points["five"], torch.tensor([[60.0, 30.0]]).expand(5, 2))


def toy_orbit():
    return orbit([0.0], [0.0], radius=DISTANCE, size=SIZE, focal=FOCAL)


def test_the_face_is_seen_from_as_high_as_in_the_photo(views):
    face = np.array([0.0, 0.0, 0.08])
    towards = centers(views) - face
    height = np.degrees(np.arcsin(towards[:, 1] / np.linalg.norm(towards, axis=1)))
    assert height[0] > 4
    assert height[[1, -1]] == pytest.approx(height[0], abs=1.0)


def test_the_photo_takes_the_place_of_the_nearest_view_and_is_trusted_most(views):
    assert views.photo_index == 0
    assert azimuths(views)[0] == pytest.approx(AZIMUTH, abs=3)
    confidence = views.view_confidence.numpy()
    assert confidence.argmax() == 0
    assert confidence[1] < 0.95
    assert min(confidence[1], confidence[-1]) > max(confidence[2:-1])
    assert views.confidence.min() >= 0.15


def test_each_pixel_tells_whether_it_was_seen_mirrored_or_guessed(views):
    seen, mirrored, guessed = ((views.provenance * views.alpha).sum((2, 3)) / views.alpha.sum((2, 3))).T
    assert torch.allclose(views.provenance.sum(1), torch.ones(1), atol=1e-5)
    assert seen[0] > 0.5
    assert seen[0] > seen[1] > seen[2]
    assert seen[VIEWS // 2] < 0.1
    assert guessed[VIEWS // 2] > 0.7
    # a photo of a head that is turned shows one cheek only: the other one is its mirror image
    assert mirrored.max() > 0.05
    # the rim of the cut-out is an estimate
    shown = views.alpha[0, 0]
    assert views.confidence[0, 0][(shown > 0.3) & (shown < 0.7)].max() < views.confidence[0, 0][shown > 0.995].median()
    # what the photo showed is trusted most, what was guessed least
    assert (
        views.confidence[views.provenance[:, :1] > 0.99].min() > views.confidence[views.provenance[:, 2:] > 0.99].max()
    )


def test_hair_and_glasses_before_the_face_color_no_skin(toy, views):
    """Dark glasses and a strand down the turned-to cheek change nothing of the skin that the photo does not show."""
    image = np.ascontiguousarray(toy.image.permute(1, 2, 0).numpy())
    landmarks = toy.face.require_landmarks68().numpy()
    apart = float(np.hypot(*(landmarks[45] - landmarks[36])))
    for first in (36, 42):
        middle = landmarks[first : first + 6].mean(0).round().astype(int)
        cv2.ellipse(image, middle.tolist(), (int(0.26 * apart), int(0.2 * apart)), 0, 0, 360, (0.05, 0.05, 0.06), -1)
    low, high = (0.45 * landmarks[k] + 0.55 * landmarks[33] for k in (14, 12))
    cv2.line(image, low.round().astype(int).tolist(), high.round().astype(int).tolist(), HAIR, 2)
    photo = replace(toy, image=torch.from_numpy(image).permute(2, 0, 1).contiguous())
    worn = render_views(reconstruct(photo, mannequin()), seed=1, count=VIEWS, size=SIZE)
    hidden = np.flatnonzero(np.abs((azimuths(views) - AZIMUTH + 180) % 360 - 180) > 60)
    for k in hidden:
        made = (views.provenance[k, 0] + worn.provenance[k, 0] < 0.1) & (views.alpha[k, 0] + worn.alpha[k, 0] > 1.99)
        skin = made & (views.images[k] - torch.tensor(SKIN)[:, None, None] * 0.8).abs().sum(0).lt(0.4)
        change = (views.images[k] - worn.images[k]).abs().mean(0)[skin]
        assert change.numel() == 0 or change.mean() < 0.03


def test_what_the_photo_grazes_is_trusted_less(toy_head):
    """Beside its own direction the photo is drawn also where it grazes the head."""
    beside = render_views(toy_head, seed=1, count=24, size=SIZE)
    seen = (beside.alpha[0] > 0.99) & (beside.provenance[0, :1] > 0.99)
    assert torch.quantile(beside.confidence[0][seen], 0.9) == pytest.approx(0.9, abs=1e-3)
    assert beside.confidence[0][seen].min() < 0.8


def test_what_a_near_view_would_stretch_is_not_taken_from_the_photo(toy_head):
    """In the photo's own direction it shows up to the outline; beside it, what it grazed is mirrored or guessed."""
    person, scene, painter = toy_head.person, toy_head.scene, toy_head.painter(1)
    camera, size = person.head.camera, 256
    grazed = camera.facing(scene.vertices, scene.normals)
    seen = []
    for azimuth in (camera.azimuth, camera.azimuth + 14):
        cameras = photo_orbit(person.head, [azimuth], turntable_center(scene), size)
        viewmat, K = cameras.viewmats[0].numpy(), cameras.Ks[0].numpy()
        drawn = painter.draw(viewmat, K, size)
        raster = rasterize(scene.vertices, scene.faces, viewmat, K, size, size)
        cosine = np.ones((size, size))
        cosine[raster.mask] = raster.interpolate(grazed[:, None].astype(np.float32), scene.faces)[:, 0]
        rim = raster.mask & (cosine > 0.08) & (cosine < 0.14) & (np.arange(size)[:, None] < 0.45 * size)
        seen.append(float(drawn.provenance[rim, 0].mean()))
    assert seen[1] < 0.28 * seen[0]


def test_the_photo_view_is_the_photo(toy, views):
    """Its inner pixels are those of one crop of the photo, and its camera sees the face where the crop shows it."""
    K = views.cameras.Ks[views.photo_index].numpy().astype(np.float64)
    # the photo's principal point is its middle, so the camera tells the crop but for its scale
    image = toy.image.permute(1, 2, 0).numpy()
    shown = views.images[views.photo_index].permute(1, 2, 0).numpy()
    sure = ndimage.binary_erosion(views.alpha[views.photo_index, 0].numpy() > 0.99, iterations=4)
    sure[int(0.75 * SIZE) :] = False

    def mismatch(scale: float) -> float:
        offset = (K[0, 2] - scale * SIDE / 2, K[1, 2] - scale * SIDE / 2)
        return float(np.abs(PhotoCrop(scale, offset, SIZE).cut(image)[sure] - shown[sure]).mean())

    scales = np.linspace(0.15, 0.45, 301)
    errors = [mismatch(scale) for scale in scales]
    assert min(errors) < 0.01
    # focal length and scale belong together: the fitted focal length is near the true one
    assert K[0, 0] / scales[int(np.argmin(errors))] == pytest.approx(FOCAL, rel=0.3)


def test_the_person_has_no_holes(views):
    for alpha in views.alpha[:, 0].numpy():
        outside, count = ndimage.label(alpha < 0.5)
        rim = set(outside[0]) | set(outside[:, 0]) | set(outside[:, -1])
        holes = [(outside == k).sum() for k in range(1, count + 1) if k not in rim]
        assert sum(holes) <= 2


def test_there_is_no_second_face(views):
    """The glaring lips and eyes show in front and nowhere behind."""

    def glaring(image: torch.Tensor) -> int:
        red, green, blue = image
        return int(((red > 0.5) & (blue > 0.5) & (green < 0.35)).sum())

    turned = np.abs((azimuths(views) + 180) % 360 - 180)
    counts = np.array([glaring(image) for image in views.images])
    assert (counts[turned < 50] > 40).all()
    assert (counts[turned > 100] == 0).all()


def test_the_back_is_hair_above_and_shirt_below(views):
    back = views.images[VIEWS // 2].permute(1, 2, 0).numpy()
    alpha = views.alpha[VIEWS // 2, 0].numpy() > 0.99
    rows = np.flatnonzero(alpha.any(1))
    head = back[rows[0] + 6 : rows[0] + 40, SIZE // 2 - 8 : SIZE // 2 + 8].mean((0, 1))
    body = back[SIZE - 12 :, SIZE // 2 - 20 : SIZE // 2 + 20].mean((0, 1))
    assert np.abs(head - HAIR).max() < 0.15
    assert body.argmax() == 2, "the shirt is blue"


def test_the_seed_decides_the_guesses_and_nothing_else(toy_head, views):
    other = render_views(toy_head, seed=2, count=VIEWS, size=SIZE)  # the same seed: test_conformance.py
    assert torch.equal(other.cameras.viewmats, views.cameras.viewmats)
    assert torch.equal(other.alpha, views.alpha)
    back = VIEWS // 2
    assert not torch.equal(other.images[back], views.images[back])


def test_a_capture_is_no_photo(views):
    with pytest.raises(IncompatiblePipelineError, match="needs a photo"):
        generator().generate(Capture(Path(), views.cameras, ()), seed=0)


@pytest.mark.slow
def test_a_real_person_stays_recognizable(tmp_path):
    detector = registry.build(LandmarkDetector, "dlib")
    path = tmp_path / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    photo = read_photo(path, detector)
    views = generator(views=21, size=512).generate(photo, seed=0)
    given = detector.descriptor(to_uint8(photo.image), photo.face)

    def distance(index: int) -> float:
        image = to_uint8(views.images[index])
        found = detector.detect(image)
        assert found, f"no face in view {index}"
        return float(torch.dist(given, detector.descriptor(image, found[0])))

    assert views.photo_index == 0
    assert distance(0) < 0.15
    assert max(distance(1), distance(20)) < 0.42
    for index in range(7, 15):
        assert not detector.detect(to_uint8(views.images[index])), f"a face in view {index}, from behind"
