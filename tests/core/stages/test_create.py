"""From a photo or a capture to a result folder, through the command line and back."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_portrait import SMALL

import instax3d
from instax3d.cli import main
from instax3d.config import TrainingConfig, load_config
from instax3d.errors import ConfigError, PhotoError
from instax3d.geometry.cameras import read_transforms
from instax3d.interfaces import LandmarkDetector
from instax3d.io.progress import PlainLines
from instax3d.io.terminal import interruptible
from instax3d.portrait.portrait import Portrait
from instax3d.splats.photometric import psnr
from instax3d.stages.pipeline import warm_up
from instax3d.stages.randomness import preserved_generators, seed_torch
from instax3d.stages.training import PortraitModule, train
from instax3d.testing import BlobGaussians, ColorLoss, DenseRenderer, IdleDensifier, toy_mesh, toy_views


def on_white(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGBA"), np.float64) / 255
    return pixels[..., :3] * pixels[..., 3:] + 1 - pixels[..., 3:]


def test_the_result_folder_is_complete(made: Path):
    names = {"portrait.ply", "turntable.mp4", "turntable.png", "views", "mesh.obj", "head.npz", "rig.npz"}
    names |= {"config.yaml", "run.json"}
    assert {path.name for path in made.iterdir()} == names
    assert len(list((made / "views").glob("[0-9]*.png"))) == 11
    assert len(list((made / "views" / "provenance").glob("*.png"))) == 11
    assert [path for path in made.parent.iterdir() if path != made] == [], "nothing else is left"


def test_the_manifest_says_how_it_was_made(made: Path):
    run = json.loads((made / "run.json").read_text())
    assert run["status"] == "done"
    assert run["iterations"] == 60
    assert run["device"] == "cpu"
    assert {"photo", "views", "prior", "construct", "total"} <= set(run["seconds"])
    assert run["plugins"]["densifier"] == {
        "name": "absgs",
        "distribution": "instax3d",
        "version": instax3d.__version__,
        "license": "Apache-2.0",
    }
    assert run["head_model"]["name"] == "mannequin"
    assert run["rig"] == {"derived_from": []}, "no third-party file is behind the mannequin"
    assert [asset["used_by"] for asset in run["assets"]] == ["landmark_detector"]
    assert run["plugins"]["view_generator.head"]["name"] == "mannequin"
    assert run["gaussians"] > 5000
    assert set(run["losses"]) == {"photometric", "alpha", "position", "scale"}
    assert run["losses"]["photometric"] > 0
    assert run["plugins"]["losses.photometric"]["distribution"] == "instax3d"
    assert run["densification"] == {"born": 0, "died": 0, "reasons": {}}  # so short a run is not refined
    assert {"psnr_views", "psnr_photo", "identity_photo", "identity_front"} <= set(run["metrics"])


def test_the_face_is_the_one_in_the_photo(made: Path):
    metrics = json.loads((made / "run.json").read_text())["metrics"]
    assert metrics["identity_front"] < 0.6  # dlib's own bound; the slow tests ask more
    assert metrics["psnr_views"] > 20


def test_it_loads_and_renders_what_was_saved(made: Path):
    portrait = Portrait.load(made)
    cameras, files = read_transforms(made / "views" / "transforms.json")
    images, _ = portrait.render(cameras)
    wanted = []
    for file in files:
        wanted.append(torch.from_numpy(on_white(file)).permute(2, 0, 1).float())
    again = float(psnr(images, torch.stack(wanted)).mean())
    assert again == pytest.approx(portrait.metrics["psnr_views"], abs=0.1)


def test_it_can_be_posed(made: Path):
    portrait = Portrait.load(made)
    assert portrait.rig is not None
    posed = portrait.pose({"jawOpen": 0.8}, neck=(0, 20, 0))
    bust = portrait.mesh.regions["bust"][portrait.mesh.faces].all(1)[portrait.binding]
    lips = portrait.mesh.regions["lips"][portrait.mesh.faces].all(1)[portrait.binding]
    moved = (posed.gaussians.means - portrait.gaussians.means).norm(dim=1)
    still = (portrait.mesh.vertices == posed.mesh.vertices).all(1)[portrait.mesh.faces].all(1)[portrait.binding]
    assert bool((moved[still] == 0).all()), "the bust stays"
    assert int((still & bust).sum()) > 100
    assert float(moved[lips].min()) > 0.005
    assert torch.equal(portrait.pose().gaussians.means, portrait.gaussians.means)


def test_render_writes_one_image_a_frame(made: Path, tmp_path: Path):
    cameras = made / "views" / "transforms.json"
    assert main(["render", str(made), "--cameras", str(cameras), "-o", str(tmp_path / "frames")]) == 0
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [f"{index:03d}.png" for index in range(11)]
    assert main(["render", str(made), "--cameras", str(cameras), "-o", str(tmp_path / "clear"), "--transparent"]) == 0
    with Image.open(tmp_path / "clear" / "000.png") as image:
        assert image.mode == "RGBA"


def test_the_saved_config_runs_again_the_same(made: Path):
    config = load_config(path=made / "config.yaml", source="photo")
    assert config.training.iterations == 60
    assert config.to_yaml() == (made / "config.yaml").read_text()


def test_the_portrait_stands_upright_and_faces_the_front(made: Path):
    portrait = Portrait.load(made)
    up = portrait.orbit.axes[:, 1]
    assert float(up[1]) > 0.99
    assert 0.1 < float(portrait.mesh.vertices[:, 1].amax() - portrait.mesh.vertices[:, 1].amin()) < 0.7, "meters"


def test_a_photo_that_will_not_do_leaves_nothing(tmp_path: Path, capsys):
    blank = tmp_path / "blank.png"
    Image.new("RGB", (400, 400), "white").save(blank)
    assert main(["create", str(blank), "-o", str(tmp_path / "out" / "blank")]) == 2
    assert "face" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(PhotoError, match="face"):
        instax3d.create(blank, preset="draft")


def test_a_finished_config_takes_neither_a_preset_nor_overrides(photo: Path):
    config = load_config(preset="draft", source="photo")
    for ignored in ({"preset": "paper"}, {"overrides": ["seed=3"]}):
        with pytest.raises(ConfigError, match="ignore"):
            instax3d.create(photo, config=config, **ignored)


def test_the_callers_random_generators_are_left_alone(photo: Path):
    """Python's own generator is asked below, as the type checks of the suite draw from it."""

    def draws() -> list[float]:
        return [float(torch.rand(())), float(np.random.rand())]

    def seed() -> None:
        torch.manual_seed(7)
        np.random.seed(7)

    seed()
    wanted = draws()
    seed()
    instax3d.create(photo, preset="draft", overrides=[*SMALL, "training.iterations=2"])
    assert draws() == wanted
    seed()
    warm_up(load_config(preset="draft", source="photo"))
    assert draws() == wanted


def test_all_generators_are_given_back_even_after_an_error():
    def draws() -> list[float]:
        return [float(torch.rand(())), float(np.random.rand()), random.random()]

    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    wanted = draws()
    torch.set_rng_state(before[0])
    np.random.set_state(before[1])
    random.setstate(before[2])
    with contextlib.suppress(ZeroDivisionError), preserved_generators("cpu"):
        seed_torch(3, "cpu")
        np.random.seed(3)
        random.seed(3)
        raise ZeroDivisionError
    assert draws() == wanted


def test_a_seed_gives_the_same_numbers_as_torchs_own():
    with preserved_generators("cpu"):
        seed_torch(3, "cpu")
        numbers = torch.rand(5)
        torch.manual_seed(3)
        assert torch.equal(numbers, torch.rand(5))


def test_a_lost_interrupt_ends_the_run_at_the_next_stage(capsys):
    """Python forgets exceptions in callbacks from compiled code."""
    with interruptible(PlainLines()) as display:
        display.start("one", None)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            display.finish("one", 1.0)


def test_an_interrupt_while_training_is_one_for_all():
    views = toy_views()
    blobs = BlobGaussians()
    blobs.initialize(toy_mesh(), views, seed=0)

    def interrupt(event):
        signal.raise_signal(signal.SIGINT)

    config = TrainingConfig(iterations=20)
    parts = blobs, IdleDensifier(), DenseRenderer(), {"color": ColorLoss()}
    made = PortraitModule(*parts, toy_mesh(), views, config, on_step=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the suite runs in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            train(made, [0] * 20, device="cpu")
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning leaves it ignored
    assert made.step_count < 20


def test_an_interrupted_run_leaves_nothing(photo: Path, tmp_path: Path):
    arguments = ["create", str(photo), "-o", str(tmp_path / "out" / "me")]
    code = "import sys; from instax3d.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        run.stderr.readline()  # the first stage is done, so the run is under way
        time.sleep(1)
        os.kill(run.pid, signal.SIGINT)
        said = run.communicate(timeout=120)[1]
    assert run.returncode == 130, said
    assert "interrupted" in said
    assert not (tmp_path / "out").exists()


def test_a_changed_densifier_runs_construction_alone_and_says_so(made: Path, photo: Path, tmp_path: Path, capsys):
    out = tmp_path / "again"
    assert main(["create", str(photo), "-o", str(out), "--preset", "draft", *SMALL, "densifier.refine_every=50"]) == 0
    said = capsys.readouterr().err
    assert "views: reused" in said
    assert "prior: reused" in said
    assert "construct: reused" not in said
    run = json.loads((out / "run.json").read_text())
    assert set(run["reused"]) == {"views", "prior"}
    assert "construct" in run["seconds"]
    for name in ("views/000.png", "views/transforms.json", "mesh.obj"):
        assert (out / name).read_bytes() == (made / name).read_bytes()


def test_the_same_portrait_again_is_reused_or_the_same(made: Path, photo: Path, tmp_path: Path):
    for arguments in ([], ["--no-cache"]):
        out = tmp_path / f"again{len(arguments)}"
        assert main(["create", str(photo), "-o", str(out), "--preset", "draft", *SMALL, *arguments]) == 0
        assert bool(json.loads((out / "run.json").read_text())["reused"]) == (not arguments)
        assert (out / "portrait.ply").read_bytes() == (made / "portrait.ply").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_run_is_resumed_and_ends_as_an_unbroken_one(made: Path, photo: Path, tmp_path: Path, capsys):
    arguments = ["create", str(photo), "--preset", "draft", *SMALL, "training.iterations=300", "-o"]
    code = "import sys; from instax3d.stages import training; training._CHECKPOINT_SECONDS = 0.5; "
    code += "from instax3d.cli import main; sys.exit(main(sys.argv[1:]))"
    cache = Path(os.environ["INSTAX3D_CACHE"])
    before = set(cache.glob("construct-*"))
    with subprocess.Popen([sys.executable, "-c", code, *arguments, str(tmp_path / "out" / "broken")]) as run:
        until = time.monotonic() + 120
        while not list(cache.glob("construct-*.ckpt")) and run.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        run.kill()
    assert run.returncode == -signal.SIGKILL, "it should not have come to its end"
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
    assert main([*arguments, str(tmp_path / "resumed"), "--resume"]) == 0
    assert "resumed after" in capsys.readouterr().err
    assert list(cache.glob("construct-*.ckpt")) == []
    (finished,) = set(cache.glob("construct-*")) - before
    finished.unlink()
    assert main([*arguments, str(tmp_path / "unbroken")]) == 0
    assert "construct" not in json.loads((tmp_path / "unbroken" / "run.json").read_text())["reused"]
    resumed, unbroken = ((tmp_path / name / "portrait.ply").read_bytes() for name in ("resumed", "unbroken"))
    assert resumed == unbroken


@pytest.mark.slow
def test_the_showcase_photo_becomes_a_good_portrait(photo: Path, tmp_path: Path):
    portrait = instax3d.create(photo, preset="draft")
    assert portrait.metrics["identity_front"] < 0.45
    assert portrait.metrics["psnr_views"] > 27
    back, coverage = portrait.render(portrait.orbit.cameras([180.0]))
    from instax3d.io.images import to_uint8
    from instax3d.registry import build

    assert build(LandmarkDetector, "dlib").detect(to_uint8(back[0])) == [], "no face on the back of the head"
    assert 0.15 < float(coverage.mean()) < 0.8


@pytest.mark.slow
@pytest.mark.data
def test_a_real_capture_is_reconstructed(data_dir: Path, tmp_path: Path):
    scan = data_dir / "head_scan"
    folder = tmp_path / "scan"
    assert main(["create", str(scan), "-o", str(folder), "--preset", "draft"]) == 0
    metrics = json.loads((folder / "run.json").read_text())["metrics"]
    assert metrics["psnr_test"] > 32
    out = tmp_path / "test"
    assert main(["render", str(folder), "--cameras", str(scan / "transforms_test.json"), "-o", str(out)]) == 0
    errors = []
    for path in sorted(out.iterdir()):
        errors.append(-10 * np.log10(((on_white(path) - on_white(scan / "test" / path.name)) ** 2).mean()))
    assert np.mean(errors) == pytest.approx(metrics["psnr_test"], abs=0.05)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["bald_man_front.png", "big_mouth_open_border.png", "expression_mouth_open.jpg", "hand_on_chin.jpg"],
)
def test_a_frontal_photo_keeps_its_person(data_dir: Path, name: str):
    portrait = instax3d.create(data_dir / "photos" / name, preset="draft")
    assert portrait.metrics["identity_front"] < 0.45


@pytest.mark.data
def test_a_full_profile_is_refused(data_dir: Path):
    with pytest.raises(PhotoError, match="turned towards the camera"):
        instax3d.create(data_dir / "photos" / "full_profile_two_faces.jpg", preset="draft")
