"""Validation of photos, with a scripted detector and with dlib on real photos."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from instax3d_plugins.dlib.config import DlibConfig
from instax3d_plugins.dlib.detector import DlibDetector
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from instax3d.errors import PhotoError
from instax3d.inputs.faces import face_roll
from instax3d.inputs.photo import face_yaw, read_photo
from instax3d.interfaces import LandmarkDetector
from instax3d.plugin import PluginConfig
from instax3d.types import Face


def landmarks(box: tuple[float, float, float, float], yaw_deg: float = 0.0, roll_deg: float = 0.0) -> Tensor:
    """Landmarks spread over the box, with eyes and nose tip where a head turned like this shows them."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(68, 2, generator=generator) - 0.5
    yaw, roll = math.radians(yaw_deg), math.radians(roll_deg)
    right, left, nose = slice(36, 42), slice(42, 48), slice(30, 31)
    for part, (x, y, z) in ((right, (-0.4, -0.2, 0.0)), (left, (0.4, -0.2, 0.0)), (nose, (0.0, 0.1, 0.5))):
        points[part] = torch.tensor([x * math.cos(yaw) - z * math.sin(yaw), y])
    turn = torch.tensor([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    return points @ turn.T * (box[2] - box[0]) + torch.tensor([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])


def face(x: float, y: float, size: float, score: float = 1.0, yaw: float = 0.0) -> Face:
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    return Face(box, score, landmarks(box, yaw))


class ScriptedDetector(LandmarkDetector[PluginConfig]):
    """Answers by a function, and keeps the images that it was given."""

    def __init__(self, answer: Callable[[UInt8[Tensor, "h w 3"]], list[Face]]) -> None:
        super().__init__(PluginConfig())
        self.answer = answer
        self.images: list[Tensor] = []

    def detect(self, image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        self.images.append(image)
        return self.answer(image)

    def descriptor(self, image: UInt8[Tensor, "h w 3"], face: Face) -> Float[Tensor, "features"]:
        raise NotImplementedError


def finds(*faces: Face) -> ScriptedDetector:
    """Finds these faces in the first image, and nothing in rotated copies of it."""
    detector = ScriptedDetector(lambda image: list(faces) if torch.equal(image, detector.images[0]) else [])
    return detector


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A textured image of 400x300 pixels."""
    pixels = np.random.default_rng(0).integers(40, 200, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "me.png")
    return tmp_path / "me.png"


def refusal(path: Path, detector: ScriptedDetector) -> str:
    with pytest.raises(PhotoError) as caught:
        read_photo(path, detector)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_good_photo_is_accepted_without_notes(photo: Path):
    detector = finds(face(200, 150, 160))
    accepted = read_photo(photo, detector)
    assert accepted.image.shape == (3, 300, 400)
    assert accepted.name == "me"
    assert accepted.notes == ()
    assert accepted.alpha is None
    assert accepted.focal is None
    assert torch.equal(detector.images[0], torch.from_numpy(np.array(Image.open(photo))))


def test_the_largest_central_face_is_used_and_the_others_are_noted(photo: Path):
    small, large, aside = face(60, 60, 60), face(190, 150, 150), face(360, 250, 130)
    accepted = read_photo(photo, finds(small, aside, large))
    assert accepted.face.box == large.box
    assert len(accepted.notes) == 1
    assert "3 faces" in accepted.notes[0]


def test_center_outweighs_a_little_size(photo: Path):
    central, corner = face(200, 150, 130), face(340, 60, 140)
    assert read_photo(photo, finds(corner, central)).face.box == central.box


def test_a_faint_pattern_is_no_second_person(photo: Path):
    accepted = read_photo(photo, finds(face(100, 100, 125, score=1.2), face(200, 150, 140, score=0.1)))
    assert accepted.face.score == 1.2
    assert accepted.notes == ()


def test_one_face_found_twice_is_one_person(photo: Path):
    accepted = read_photo(photo, finds(face(200, 150, 160), face(205, 170, 80)))
    assert accepted.notes == ()


def test_small_faces_are_refused_and_soft_ones_are_noted(photo: Path):
    message = refusal(photo, finds(face(200, 150, 44)))
    assert "44 pixels wide" in message
    assert "closer" in message
    assert "soft" in read_photo(photo, finds(face(200, 150, 90))).notes[0]


def test_a_focal_length_is_used_unless_the_face_would_be_at_the_lens(tmp_path: Path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 35  # millimeters on film
    pixels = np.random.default_rng(0).integers(40, 200, (300, 400, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "me.jpg", exif=exif)
    accepted = read_photo(tmp_path / "me.jpg", finds(face(200, 150, 120)))
    assert accepted.focal == pytest.approx(500 * 35 / math.hypot(36, 24), rel=1e-3)
    assert accepted.notes == ()
    near = read_photo(tmp_path / "me.jpg", finds(face(200, 150, 290)))
    assert near.focal is None
    assert "probably cropped" in near.notes[-1]


@pytest.mark.parametrize("roll", [-25.0, 0.0, 25.0])
@pytest.mark.parametrize("yaw", [-40.0, -10.0, 0.0, 25.0])
def test_yaw_has_the_sign_of_the_azimuth_and_ignores_roll(yaw: float, roll: float):
    assert face_yaw(landmarks((0, 0, 100, 100), yaw, roll).float()) == pytest.approx(yaw, abs=0.5)


def test_a_turned_head_is_noted_and_a_profile_is_refused(photo: Path):
    assert "35 degrees" in read_photo(photo, finds(face(200, 150, 160, yaw=-35.0))).notes[0]
    assert "towards the camera" in refusal(photo, finds(face(200, 150, 160, yaw=60.0)))


def test_a_face_cut_off_by_the_edge_is_noted(photo: Path):
    assert "cut off" in read_photo(photo, finds(face(60, 150, 160))).notes[0]


def test_no_face_says_what_a_good_photo_is(photo: Path):
    assert "towards the camera" in refusal(photo, finds())


def test_a_photo_on_its_side_says_how_to_turn_it(tmp_path: Path):
    upright = np.random.default_rng(0).integers(40, 200, (300, 200, 3), np.uint8)
    Image.fromarray(upright).save(tmp_path / "side.png")

    def answer(image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        return [face(100, 150, 130)] if np.array_equal(image.numpy(), upright) else []

    for angle, word in (
        (90, "by 90 degrees clockwise"),
        (-90, "by 90 degrees counter-clockwise"),
        (180, "upside down"),
    ):
        Image.fromarray(upright).rotate(angle, expand=True).save(tmp_path / "side.png")
        assert f"turned {word};" in refusal(tmp_path / "side.png", ScriptedDetector(answer))


def test_a_tiny_image_is_refused(tmp_path: Path):
    Image.new("RGB", (400, 40), "gray").save(tmp_path / "tiny.png")
    assert "400x40" in refusal(tmp_path / "tiny.png", finds(face(20, 20, 60)))


def test_transparency_is_the_outline_and_is_laid_over_white(tmp_path: Path):
    pixels = np.full((200, 200, 4), (10, 60, 200, 0), np.uint8)
    pixels[50:150, 50:150, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    accepted = read_photo(tmp_path / "cut.png", finds(face(100, 100, 130)))
    assert accepted.alpha is not None
    assert accepted.alpha.mean().item() == pytest.approx(0.25)
    assert (accepted.image[:, 0, 0] == 1).all()
    torch.testing.assert_close(accepted.image[:, 100, 100], torch.tensor([10, 60, 200]) / 255)
    assert "transparency" in accepted.notes[0]
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(tmp_path / "none.png")
    assert "fully transparent" in refusal(tmp_path / "none.png", finds(face(100, 100, 130)))


@pytest.mark.parametrize("color", [0, 255])
@pytest.mark.parametrize("quality", [None, 85])
def test_bars_are_trimmed(tmp_path: Path, color: int, quality: int | None):
    pixels = np.full((360, 520, 3), color, np.uint8)
    pixels[40:330, 61:487] = np.random.default_rng(0).integers(40, 200, (290, 426, 1), np.uint8)
    path = tmp_path / ("bars.png" if quality is None else "bars.jpg")
    Image.fromarray(pixels).save(path, **({} if quality is None else {"quality": quality}))
    accepted = read_photo(path, finds(face(200, 150, 160)))
    height, width = accepted.image.shape[1:]
    assert 290 - 4 <= height <= 290
    assert 426 - 4 <= width <= 426
    assert f"became {width}x{height}" in accepted.notes[0]


def test_a_white_studio_and_a_dark_night_are_no_bars(tmp_path: Path):
    for color in (0, 255):
        pixels = np.full((300, 300, 3), color, np.uint8)
        rows, columns = np.mgrid[:300, :300]
        pixels[(rows - 180) ** 2 + (columns - 150) ** 2 < 110**2] = 120
        Image.fromarray(pixels).save(tmp_path / "studio.png")
        accepted = read_photo(tmp_path / "studio.png", finds(face(150, 180, 130)))
        assert accepted.image.shape == (3, 300, 300)
        assert accepted.notes == ()


def test_the_astronaut_is_accepted_with_dlib(tmp_path: Path):
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "astronaut.jpg", quality=95)
    accepted = read_photo(tmp_path / "astronaut.jpg", DlibDetector(DlibConfig()))
    left, top, right, bottom = accepted.face.box
    assert left < 224 < right
    assert top < 127 < bottom
    assert abs(face_yaw(accepted.face.landmarks)) < 8
    assert [note.split(",")[0] for note in accepted.notes] == [
        f"The face is only {right - left:.0f} pixels wide",
    ]


@pytest.mark.parametrize("angle", [-35, -15, 15, 30])
def test_a_tilted_face_is_found_with_the_same_landmarks(tmp_path: Path, angle: float):
    """Also where the astronaut's badge looks more like an upright face than her tilted face does."""
    detector = DlibDetector(DlibConfig())
    image = Image.fromarray(skimage.data.astronaut())
    image.save(tmp_path / "upright.png")
    edge = (128, 128, 128)
    image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=edge).save(tmp_path / "tilted.png")
    upright = read_photo(tmp_path / "upright.png", detector).face
    tilted = read_photo(tmp_path / "tilted.png", detector).face
    assert face_roll(tilted.landmarks) - face_roll(upright.landmarks) == pytest.approx(-angle, abs=2)
    turn = torch.tensor([[math.cos(math.radians(angle)), -math.sin(math.radians(angle))]])
    turn = torch.cat([turn, turn.flip(1) * torch.tensor([-1.0, 1.0])])
    back = (tilted.landmarks - 256) @ turn.T + 256
    assert float((back - upright.landmarks).norm(dim=1).max()) < 0.03 * 91


def test_what_looks_like_a_face_only_at_a_roll_is_none(photo: Path):
    def answer(image: UInt8[Tensor, "h w 3"]) -> list[Face]:
        height, width = image.shape[:2]
        crooked = replace(face(width / 2, height / 2, 160), landmarks=landmarks((0, 0, 160, 160), roll_deg=20))
        return [crooked] if len(detector.images) == 1 else []

    detector = ScriptedDetector(answer)
    assert "no face was found" in refusal(photo, detector)


@pytest.mark.data
def test_real_photos_are_accepted_and_the_profile_is_refused(data_dir: Path):
    detector = DlibDetector(DlibConfig())
    accepted = {}
    for path in sorted((data_dir / "photos").iterdir()):
        if path.name == "full_profile_two_faces.jpg":
            with pytest.raises(PhotoError, match="towards the camera"):
                read_photo(path, detector)
        else:
            accepted[path.name] = read_photo(path, detector)
    assert len(accepted) >= 7
    yaw = {name: face_yaw(photo.face.landmarks) for name, photo in accepted.items()}
    assert abs(yaw["expression_mouth_open.jpg"]) < 8
    assert yaw["red_hair_white_background.jpg"] > 12
    assert yaw["woman_dark_hair_front.jpg"] < -12
    # Black bars: left and top, top alone, and around.
    assert float(accepted["red_hair_white_background.jpg"].image[:, 0, :100].min()) > 0.85, "no line of the bar is left"
    assert abs(accepted["hand_on_chin.jpg"].image.shape[2] - 396) <= 2
    assert abs(accepted["red_hair_white_background.jpg"].image.shape[1] - 435) <= 2
    assert abs(accepted["big_mouth_open_border.png"].image.shape[2] - 168) <= 2
    assert accepted["three_quarter_bangs.jpg"].notes == ()


@pytest.mark.data
def test_yaw_is_right_on_a_scan(data_dir: Path):
    detector = DlibDetector(DlibConfig())
    for name, azimuth in (("000.png", 0.0), ("001.png", 17.1), ("002.png", 34.3), ("020.png", -17.1)):
        path = data_dir / "head_scan" / "train" / name
        assert face_yaw(read_photo(path, detector).face.landmarks) == pytest.approx(azimuth, abs=3)
