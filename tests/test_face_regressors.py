"""DECA, Deep3D and FaceVerse: networks, cameras and crops against the originals' numbers."""

import numpy as np
import pytest
import torch
from instax3d_face_regressors.checkpoints import load_deca, load_deep3d, load_faceverse, load_mean_points
from instax3d_face_regressors.coefficients import (
    DEEP3D_CENTRE,
    DEEP3D_FOCAL,
    DecaCode,
    Deep3DCode,
    FaceVerseCode,
    axis_angles,
    crop_pixels,
    eye_rotation,
    rotation,
    to_camera,
    weak_perspective,
)
from instax3d_face_regressors.crops import deca_crop, deep3d_crop, faceverse_crop, five_points
from scipy.io import savemat
from scipy.spatial.transform import Rotation
from seeded_weights import enlarged, regenerate, relative_error

from instax3d.errors import AssetError
from instax3d.headmodel import rotation_matrices


def tensor(array):
    return torch.from_numpy(np.asarray(array))


@pytest.fixture(scope="module")
def checkpoints(fixtures_dir, tmp_path_factory):
    """Files of the published layouts with seeded weights."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def seeded(recipe):
        return {name: tensor(value) for name, value in regenerate(fixtures_dir / recipe).items()}

    # what a trainer leaves beside the weights must not matter
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))])
    torch.save(
        {"E_flame": seeded("deca/E_flame.weights.json"), "opt": optimiser.state_dict(), "global_step": 7},
        folder / "deca_model.tar",
    )
    torch.save(
        {"net_recon": seeded("deep3d/net_recon.weights.json"), "opt_00": optimiser.state_dict()},
        folder / "epoch_20.pth",
    )
    torch.save(seeded("faceverse/faceverse_resnet50.weights.json"), folder / "faceverse_resnet50.pth")
    return folder


CASES = {
    "deca": (load_deca, "deca_model.tar", DecaCode, "code_"),
    "deep3d": (load_deep3d, "epoch_20.pth", Deep3DCode, "coeff_"),
    "faceverse": (load_faceverse, "faceverse_resnet50.pth", FaceVerseCode, "coeff_"),
}


@pytest.mark.fixtures
@pytest.mark.parametrize("name", CASES)
def test_networks_give_the_original_s_numbers(fixtures_dir, checkpoints, name):
    load, file, code, prefix = CASES[name]
    with np.load(fixtures_dir / name / f"{name}_expected.npz") as expected, torch.no_grad():
        output = load(checkpoints / file)(tensor(enlarged(expected["image_small"], 4)))
        assert relative_error(output, expected["output"]) < 1e-4
        for part, values in vars(code.of(tensor(expected["output"]))).items():
            assert relative_error(values, expected[prefix + part]) < 1e-6, part


@pytest.mark.fixtures
def test_deca_s_camera(fixtures_dir):
    with np.load(fixtures_dir / "deca" / "deca_expected.npz") as expected:
        cam = tensor(expected["code_cam"])
        for part in ("landmarks3d", "vertices"):
            shown = weak_perspective(tensor(expected[f"flame_{part}"]), cam)
            assert relative_error(shown, expected[f"projected_{part}"]) < 1e-6
        flat = weak_perspective(tensor(expected["flame_landmarks2d"]), cam)
        assert relative_error(crop_pixels(flat), expected["projected_landmarks2d_pixels_224"]) < 1e-6


@pytest.mark.fixtures
def test_deep3d_s_camera(fixtures_dir):
    with np.load(fixtures_dir / "deep3d" / "deep3d_expected.npz") as expected:
        points, angles, trans = (tensor(expected[name]) for name in ("points", "angles", "trans"))
        assert relative_error(rotation(angles).mT, expected["rotation"]) < 1e-6
        seen = to_camera(points, angles, trans)
        assert relative_error(seen, expected["points_camera"]) < 1e-6
        pixels = DEEP3D_FOCAL * seen[..., :2] / seen[..., 2:] + DEEP3D_CENTRE
        assert relative_error(pixels, expected["points_image"]) < 1e-5


@pytest.mark.fixtures
def test_faceverse_s_rotations(fixtures_dir):
    with np.load(fixtures_dir / "faceverse" / "faceverse_expected.npz") as expected:
        assert relative_error(rotation(tensor(expected["angles"])).mT, expected["rotation"]) < 1e-6
        assert relative_error(eye_rotation(tensor(expected["eye"])).mT, expected["eye_rotation"]) < 1e-6


def test_gaze_turns_the_eyes_down_and_to_the_right():
    output = torch.zeros(1, 621)
    output[0, -4:] = torch.tensor([0.2, 0.0, 0.0, 0.3])
    left, right = rotation_matrices(FaceVerseCode.of(output).gaze[0]) @ torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(left, torch.tensor([0.0, -np.sin(0.2), np.cos(0.2)]).float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(right, torch.tensor([-np.sin(0.3), 0.0, np.cos(0.3)]).float(), atol=1e-6, rtol=0)


def test_axis_angles_undo_rotation_matrices():
    turns = torch.tensor(Rotation.random(50, rng=np.random.default_rng(0)).as_rotvec()).double()
    turns = torch.cat([turns, torch.tensor([[0.0, 0, 0], [1e-9, 0, 0], [0, 0.3, 0]]).double()])
    torch.testing.assert_close(axis_angles(rotation_matrices(turns)), turns, atol=1e-6, rtol=1e-6)


# crops


@pytest.fixture
def face():
    """68 points of a face about 100 pixels wide and an image that tells each pixel's place."""
    angle = torch.linspace(0, torch.pi, 17)
    jaw = torch.stack([150 - 50 * angle.cos(), 140 + 60 * angle.sin()], 1)
    inner = torch.tensor([[130.0, 120], [170, 120]]).repeat(26, 1)[:51] + torch.rand(
        51, 2, generator=torch.Generator().manual_seed(0)
    )
    rows, columns = torch.meshgrid(torch.arange(300) + 0.5, torch.arange(320) + 0.5, indexing="ij")
    return torch.cat([jaw, inner]), torch.stack([columns / 320, rows / 320, torch.zeros(300, 320)])


def assert_shows_the_place(crop):
    """The picture's colours say where in the image they come from."""
    side = crop.picture.shape[-1]
    for pixel in ([side // 2, side // 2], [side // 3, 2 * side // 3]):
        at = crop.to_image(torch.tensor([pixel]) + 0.5)[0]
        shown = crop.picture[0, :2, pixel[1], pixel[0]] * 320
        torch.testing.assert_close(shown, at, atol=0.05, rtol=0)


def test_deca_s_crop_is_the_landmarks_box_enlarged(face):
    landmarks, image = face
    crop = deca_crop(image, landmarks)
    low, high = landmarks.amin(0), landmarks.amax(0)
    side = float((high - low).mean()) * 1.1 * 1.25
    corners = crop.to_image(torch.tensor([[0.5, 0.5], [223.5, 223.5]]))
    middle = (low + high) / 2
    torch.testing.assert_close(corners, torch.stack([middle - side / 2, middle + side / 2]), atol=1e-3, rtol=0)
    assert_shows_the_place(crop)


def test_deep3d_s_crop_puts_its_mean_face_where_it_was_trained(face):
    _, image = face
    mean = torch.tensor(
        [[-0.31, 0.29, 0.14], [0.31, 0.29, 0.14], [0, -0.04, 0.5], [-0.25, -0.37, 0.2], [0.25, -0.37, 0.2]]
    )
    # seen from the front, 80 pixels a unit, its origin at (160, 150)
    points = torch.tensor([160.0, 150.0]) + 80 * mean[:, :2] * torch.tensor([1.0, -1.0])
    crop = deep3d_crop(image, points, mean)
    assert crop.scale == pytest.approx(102 / 80, rel=1e-4)
    torch.testing.assert_close(crop.to_image(torch.tensor([[112.0, 112.0]]))[0], torch.tensor([160.0, 150.0]))
    assert_shows_the_place(crop)


def test_faceverse_s_crop_goes_by_the_mesh_or_adds_the_forehead(face):
    landmarks, image = face
    mesh = torch.cat([landmarks, torch.tensor([[150.0, 70.0]]).repeat(410, 1)])
    crop = faceverse_crop(image, landmarks, mesh)
    length = float((mesh.amax(0) - mesh.amin(0)).max())
    assert crop.side == pytest.approx(1.3 * length)
    middle = (mesh.amin(0) + mesh.amax(0)) / 2
    assert crop.top == pytest.approx(float(middle[1]) - 0.7 * length, abs=1e-3)
    assert_shows_the_place(crop)
    without = faceverse_crop(image, landmarks, None)
    assert without.top < float(landmarks[:, 1].min()) < without.top + without.side


def test_a_crop_beyond_the_image_is_black_there(face):
    landmarks, image = face
    crop = deca_crop(image, landmarks - torch.tensor([110.0, 0.0]))
    assert crop.left < 0
    assert float(crop.picture[0, :, :, 0].max()) == 0


# files


def test_five_points_are_eyes_nose_and_mouth(face):
    landmarks, _ = face
    landmarks = landmarks.clone()
    landmarks[[36, 39, 42, 45, 30, 48, 54]] = torch.tensor([[1.0, 1], [3, 1], [5, 1], [7, 1], [4, 3], [2, 5], [6, 5]])
    expected = torch.tensor([[2.0, 1], [6, 1], [4, 3], [2, 5], [6, 5]])
    torch.testing.assert_close(five_points(landmarks), expected)


def test_deep3d_s_mean_face_is_read_from_its_file(tmp_path):
    marks = np.arange(204, dtype=float).reshape(68, 3)
    savemat(tmp_path / "similarity_Lm3D_all.mat", {"lm": marks})
    torch.testing.assert_close(load_mean_points(tmp_path / "similarity_Lm3D_all.mat")[2], tensor(marks[30]).float())
    savemat(tmp_path / "other.mat", {"lm": marks[:5]})
    with pytest.raises(AssetError, match="similarity_Lm3D_all"):
        load_mean_points(tmp_path / "other.mat")


@pytest.mark.parametrize("load", [load_deca, load_deep3d, load_faceverse, load_mean_points])
def test_files_that_are_missing_or_something_else_are_refused(tmp_path, load):
    with pytest.raises(AssetError, match="nothing"):
        load(tmp_path / "nothing")
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(AssetError, match="text"):
        load(tmp_path / "text")
    torch.save({"E_flame": {"a": torch.zeros(2)}, "net_recon": {}}, tmp_path / "empty")
    with pytest.raises(AssetError, match="empty"):
        load(tmp_path / "empty")


@pytest.mark.fixtures
@pytest.mark.parametrize("load", [load_deca, load_deep3d, load_faceverse, load_mean_points])
def test_files_that_would_run_code_are_refused(fixtures_dir, tmp_path, monkeypatch, load):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError):
        load(fixtures_dir / "flame" / "hostile" / "checkpoint_hostile.pkl")
    assert not (tmp_path / "pwned").exists()
