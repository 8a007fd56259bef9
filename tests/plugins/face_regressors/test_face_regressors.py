"""DECA, Deep3D and FaceVerse: networks, cameras and crops against the originals' numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from instax3d_plugins.face_regressors.checkpoints import load_deca, load_deep3d, load_faceverse, load_mean_points
from instax3d_plugins.face_regressors.coefficients import (
    DecaCode,
    Deep3DCode,
    FaceVerseCode,
    axis_angles,
    eye_rotation,
    rotation,
    weak_perspective,
)
from instax3d_plugins.face_regressors.crops import deca_crop, deep3d_crop, faceverse_crop, five_points
from instax3d_plugins.face_regressors.estimate import chosen_frames, regress
from instax3d_plugins.face_regressors.networks import DEEP3D_HEADS, FACEVERSE_HEADS, CoefficientNet, DecaEncoder
from scipy.io import savemat
from scipy.spatial.transform import Rotation
from seeded_weights import enlarged, regenerate, relative_error

from instax3d.config import load_config
from instax3d.errors import AssetError, ConfigError, FitError
from instax3d.headmodel import HeadParameters, rotation_matrices
from instax3d.interfaces import MeshPrior
from instax3d.registry import build
from instax3d.testing import MeshPriorSuite, views_of_model
from instax3d.types import Face

MEAN = np.array([[-0.31, 0.29, 0.14], [0.31, 0.29, 0.14], [0, -0.04, 0.5], [-0.25, -0.37, 0.2], [0.25, -0.37, 0.2]])
"""Five points of a face like Deep3D's mean, in decimeters."""


DEEP3D_FOCAL, DEEP3D_CENTER = 1015.0, 112.0
"""Pixels of Deep3D's crop."""
DEEP3D_DISTANCE = 10.0
"""Of Deep3D's camera, decimeters."""


def crop_pixels(points):
    """Pixels of DECA's crop of 224x224 for points in [-1, 1]."""
    return points[..., :2] * 112 + 112


def to_camera(points, angles, trans):
    """Points of Deep3D's head [b, n, 3] in front of its camera: z is the depth."""
    moved = points @ rotation(angles).mT + trans[:, None]
    return torch.cat([moved[..., :2], DEEP3D_DISTANCE - moved[..., 2:]], -1)


def tensor(array):
    return torch.from_numpy(np.asarray(array))


@pytest.fixture(scope="module")
def checkpoints(fixtures_dir, tmp_path_factory):
    """Files of the published layouts with seeded weights."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def seeded(recipe):
        return {name: tensor(value) for name, value in regenerate(fixtures_dir / recipe).items()}

    # what a trainer leaves beside the weights must not matter
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))])
    torch.save(
        {"E_flame": seeded("deca/E_flame.weights.json"), "opt": optimizer.state_dict(), "global_step": 7},
        folder / "deca_model.tar",
    )
    torch.save(
        {"net_recon": seeded("deep3d/net_recon.weights.json"), "opt_00": optimizer.state_dict()},
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
        pixels = DEEP3D_FOCAL * seen[..., :2] / seen[..., 2:] + DEEP3D_CENTER
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
    """The picture's colors say where in the image they come from."""
    side = crop.pixels.shape[-1]
    for pixel in ([side // 2, side // 2], [side // 3, 2 * side // 3]):
        at = crop.to_image(torch.tensor([pixel]) + 0.5)[0]
        shown = crop.pixels[0, :2, pixel[1], pixel[0]] * 320
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
    mean = tensor(MEAN).float()
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
    assert float(crop.pixels[0, :, :, 0].max()) == 0


def test_crops_and_codes_compare_and_hash_by_identity(face):
    landmarks, image = face
    crop = deca_crop(image, landmarks)
    assert crop == crop
    assert crop != deca_crop(image, landmarks)
    assert len({crop, DecaCode.of(torch.zeros(1, 236)), DecaCode.of(torch.zeros(1, 236))}) == 3


# files


def test_five_points_are_eyes_nose_and_mouth(face):
    landmarks, _ = face
    landmarks = landmarks.clone()
    landmarks[[36, 39, 42, 45, 30, 48, 54]] = torch.tensor([[1.0, 1], [3, 1], [5, 1], [7, 1], [4, 3], [2, 5], [6, 5]])
    expected = torch.tensor([[2.0, 1], [6, 1], [4, 3], [2, 5], [6, 5]])
    torch.testing.assert_close(five_points(landmarks), expected)


def test_deep3d_s_mean_face_is_read_from_its_file(tmp_path):
    points = np.arange(204, dtype=float).reshape(68, 3)
    savemat(tmp_path / "similarity_Lm3D_all.mat", {"lm": points})
    torch.testing.assert_close(load_mean_points(tmp_path / "similarity_Lm3D_all.mat")[2], tensor(points[30]).float())
    savemat(tmp_path / "other.mat", {"lm": points[:5]})
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


# the estimators, over the reference model of few vertices


def answering(network, **biases):
    """Weights of a network that gives the same answer to every picture."""
    weights = network.state_dict()
    for name, value in biases.items():
        layer = name.replace("_at_", ".")
        weights[f"{layer}.weight"] = torch.zeros_like(weights[f"{layer}.weight"])
        weights[f"{layer}.bias"] = value
    return weights


@pytest.fixture(scope="module")
def assets(fixtures_dir, checkpoints, tmp_path_factory):
    """A folder of assets: the tiny FLAME as version 2020, and DECA with seeded weights."""
    folder = tmp_path_factory.mktemp("assets")
    flame = fixtures_dir / "flame"
    for source, name in (
        (flame / "flame_plain.pkl", "flame-2020/generic_model.pkl"),
        (flame / "landmark_embedding.npy", "flame-landmarks/landmark_embedding.npy"),
        (flame / "FLAME_masks.pkl", "flame-masks/FLAME_masks.pkl"),
        (checkpoints / "deca_model.tar", "deca/deca_model.tar"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(source)
    return folder


@pytest.fixture
def with_assets(assets, monkeypatch):
    monkeypatch.setenv("INSTAX3D_ASSETS", str(assets))
    return assets


def fakes(tmp_path, *, code, angle=None, eyes=None):
    """Options with networks that always answer this; those of Deep3D and FaceVerse where an answer is given."""
    torch.save({"E_flame": answering(DecaEncoder(), layers_at_2=code)}, tmp_path / "deca_model.tar")
    options = {"weights": str(tmp_path / "deca_model.tar")}
    if angle is not None:
        weights = answering(CoefficientNet(DEEP3D_HEADS), final_layers_at_3=torch.tensor(angle))
        torch.save({"net_recon": weights}, tmp_path / "epoch_20.pth")
        mean = np.zeros((68, 3))
        mean[[36, 39, 42, 45, 30, 48, 54]] = MEAN[[0, 0, 1, 1, 2, 3, 4]]
        savemat(tmp_path / "similarity_Lm3D_all.mat", {"lm": mean})
        options["deep3d"] = str(tmp_path)
    if eyes is not None:
        weights = answering(CoefficientNet(FACEVERSE_HEADS), final_layers_at_7=torch.tensor(eyes))
        torch.save(weights, tmp_path / "faceverse_resnet50.pth")
        options["faceverse"] = str(tmp_path / "faceverse_resnet50.pth")
    return options


def code_of(**parts):
    sizes = {"shape": 100, "tex": 50, "exp": 50, "pose": 6, "cam": 3, "light": 27}
    return torch.cat([torch.as_tensor(parts.get(name, torch.zeros(size))) for name, size in sizes.items()])


def noisy(views):
    return replace(views, images=torch.rand(views.images.shape, generator=torch.Generator().manual_seed(1)))


@pytest.fixture(scope="module")
def sees_the_mean_head(assets, tmp_path_factory):
    """The estimator with a network that gives the same answer to all pictures."""
    given = fakes(tmp_path_factory.mktemp("mean"), code=code_of(cam=[8.0, 0.0, 0.0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTAX3D_ASSETS", str(assets))
        yield build(MeshPrior, "fused", **given)


@pytest.fixture(scope="module")
def mean_views(sees_the_mean_head):
    return views_of_model(sees_the_mean_head.head_model())


@pytest.fixture(scope="module")
def mean_mesh(sees_the_mean_head, mean_views):
    return sees_the_mean_head.fit(mean_views)


@pytest.mark.fixtures
class TestFused(MeshPriorSuite):
    @pytest.fixture
    def plugin(self, sees_the_mean_head):
        return sees_the_mean_head

    @pytest.fixture
    def views(self, mean_views):
        return mean_views

    @pytest.fixture
    def mesh(self, mean_mesh):
        return mean_mesh


@pytest.mark.fixtures
def test_fused_averages_deca_over_the_photo_and_its_neighbors(with_assets):
    prior = build(MeshPrior, "fused")
    views = replace(noisy(views_of_model(prior.head_model())), photo_index=0)
    mesh = prior.fit(views)
    encoder = load_deca(with_assets / "deca" / "deca_model.tar")
    near = regress(encoder, views, chosen_frames(views, 3))
    assert sorted(chosen_frames(views, 3)) == [0, 1, 4], "the cameras on both sides of the photo's"
    assert mesh.metrics["frames_regressed"] == 3
    found = mesh.rig.parameters
    torch.testing.assert_close(found.shape[:100], torch.stack([each.code.shape[0] for each in near]).mean(0))
    torch.testing.assert_close(found.expression[:50], torch.stack([each.code.exp[0] for each in near]).mean(0))
    torch.testing.assert_close(found.pose[2], torch.stack([each.code.pose[0, 3:] for each in near]).mean(0))
    assert not found.shape[100:].any()
    one = build(MeshPrior, "deca").fit(views).rig.parameters
    torch.testing.assert_close(one.shape[:100], near[0].code.shape[0])
    assert float((one.shape - found.shape).abs().max()) > 1e-4, "the frames differ"


@pytest.mark.fixtures
def test_a_known_head_is_placed_where_it_is(with_assets, tmp_path):
    shape = torch.randn(100, generator=torch.Generator().manual_seed(2))
    code = code_of(shape=shape, pose=[0, 0, 0, 0.15, 0, 0], cam=[8.0, 0, 0])
    gazes = [torch.tensor([0.1, 0, 0]), torch.tensor([0, -0.2, 0])]
    given = fakes(tmp_path, code=code, eyes=[0.1, 0, 0, 0.2])
    prior = build(MeshPrior, "fused", **given)
    model = prior.head_model()
    pose = model.neutral().pose.clone()
    pose[2] = torch.tensor([0.15, 0, 0])
    pose[3:] = torch.stack(gazes)
    truth = model(HeadParameters(torch.cat([shape, torch.zeros(200)]), model.neutral().expression, pose))
    views = views_of_model(model)
    seen = views.cameras.project(model.landmarks(truth))[..., :2]
    faces = tuple(replace(face, landmarks=points) for face, points in zip(views.faces, seen))
    mesh = prior.fit(replace(views, faces=faces))
    torch.testing.assert_close(mesh.rig.parameters.pose[3:], torch.stack(gazes), atol=1e-5, rtol=0)
    skin = model.regions["face"] & ~model.regions["eyeballs"]
    assert float((mesh.vertices - truth)[skin].norm(dim=1).mean()) < 2e-3
    assert mesh.units_per_meter == pytest.approx(1, abs=0.02)


@pytest.mark.fixtures
def test_deca_s_own_camera_shows_the_head_where_deca_saw_it(with_assets, tmp_path):
    turn = [0.1, -0.3, 0.05]
    given = fakes(tmp_path, code=code_of(pose=[*turn, 0, 0, 0], cam=[6.0, 0.01, -0.02]))
    prior = build(MeshPrior, "deca", **given, placement="camera")
    model = prior.head_model()
    views = views_of_model(model)
    far = views.cameras.viewmats.clone()
    far[:, :3, 3] *= 20  # where perspective is weak
    zoomed = views.cameras.Ks.clone()
    zoomed[:, [0, 1], [0, 1]] *= 20
    views = replace(views, cameras=replace(views.cameras, viewmats=far, Ks=zoomed), photo_index=1)
    mesh = prior.fit(views)
    shown = views.cameras.project(mesh.vertices)[1, :, :2]
    crop = deca_crop(views.images[1], views.faces[1].landmarks)
    pose = model.neutral().pose.clone()
    pose[0] = torch.tensor(turn)
    seen = weak_perspective(model(replace(model.neutral(), pose=pose))[None], torch.tensor([[6.0, 0.01, -0.02]]))[0]
    expected = crop.to_image(crop_pixels(seen))
    assert float((shown - expected).norm(dim=1).max()) < 0.03 * crop.side
    assert float((shown - expected).norm(dim=1).mean()) < 0.01 * crop.side


@pytest.mark.fixtures
def test_deep3d_gives_the_rotation_before_the_photo_s_camera(with_assets, tmp_path):
    angle = [0.1, 0.2, -0.05]
    given = fakes(tmp_path, code=code_of(cam=[8.0, 0, 0]), angle=angle)
    prior = build(MeshPrior, "fused", **given)
    views = replace(views_of_model(prior.head_model()), photo_index=2)
    axes = prior.fit(views).axes
    before = views.cameras.viewmats[2, :3, :3] @ axes
    expected = torch.diag(torch.tensor([1.0, -1, -1])) @ rotation(torch.tensor([angle]))[0]
    off = Rotation.from_matrix((before @ expected.T).double().numpy()).magnitude()
    assert off < 0.1, "up to the angle at which the face stands beside the optical axis"


@pytest.mark.fixtures
def test_another_head_is_refused_when_the_config_is_read(with_assets):
    for head in ("mannequin", "flame"):
        with pytest.raises(ConfigError, match=r"does not provide flame-2020; these do: flame-2020"):
            load_config(overrides=["mesh_prior=fused", f"mesh_prior.head={head}"], source="capture")
    load_config(overrides=["mesh_prior=fused"], source="capture")


def test_five_points_do_not_do_for_a_photo_or_a_fitted_head():
    for source, who in (
        ("photo", "a photo needs landmarks68"),
        ("capture", "mesh_prior 'mannequin' needs landmarks68"),
    ):
        with pytest.raises(ConfigError, match=who):
            load_config(overrides=["landmark_detector=mtcnn"], source=source)
    face = Face((0.0, 0.0, 1.0, 1.0), 1.0, points={"five": torch.zeros(5, 2)})
    with pytest.raises(FitError, match="landmark_detector=dlib"):
        _ = face.require_landmarks68()
