"""The `sv3d` view generator on a tiny model: files, memory, views, commands, and a portrait."""

import json
import logging
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instax3d_plugins.sv3d import memory, turntable
from instax3d_plugins.sv3d.checkpoint import convert, official_shapes, open_checkpoint, part_shapes
from instax3d_plugins.sv3d.coverage import coverage_on_white
from instax3d_plugins.sv3d.embeddings import vector_condition
from instax3d_plugins.sv3d.framing import frame
from instax3d_plugins.sv3d.layout import (
    PREFIXES,
    NetworkSizes,
    TensorSource,
    clip_source,
    describe,
    infer,
    unet_source,
    vae_source,
)
from instax3d_plugins.sv3d.sampler import Condition
from instax3d_plugins.sv3d.schedule import Scalings, default_azimuths
from instax3d_plugins.sv3d.turntable import SamplingSettings, make_turntable
from PIL import Image
from safetensors.numpy import save_file
from skimage.data import astronaut
from tiny_sv3d import METADATA, tiny_tensors, write_tiny

from instax3d.cli import main
from instax3d.errors import IncompatiblePipelineError, ModelFileError
from instax3d.headmodel import HeadModel
from instax3d.inputs.photo import read_photo
from instax3d.interfaces import LandmarkDetector, ViewGenerator
from instax3d.io.progress import Progress, Silent, Stages, count
from instax3d.matting.photo import person_alpha
from instax3d.registry import build
from instax3d.testing import ViewGeneratorSuite

pytestmark = pytest.mark.usefixtures("one_thread")
FRAMES = 3
CPU = SamplingSettings(torch.device("cpu"), torch.float32, steps=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("weights") / "sv3d_p.safetensors", "p", FRAMES)


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(astronaut()).save(path)
    return path


@pytest.fixture(scope="module")
def photo(picture):
    return read_photo(picture, build(LandmarkDetector, "dlib"))


@pytest.fixture(scope="module")
def alpha(photo):
    return person_alpha(photo, build(HeadModel, "mannequin"))


@pytest.fixture(scope="module")
def framed(photo, alpha):
    return frame(photo, alpha, size=64, ratio=0.917)


@pytest.fixture(scope="module")
def matted_once(photo, alpha):
    """The generator does not repeat the matting of `photo`, most of the time of its tests; other photos are matted."""

    def alpha_of(other, model):
        return alpha if torch.equal(other.image, photo.image) else person_alpha(other, model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("instax3d_plugins.sv3d.generator.person_alpha", alpha_of)
        yield


# --- files -----------------------------------------------------------------------------------------------------------


def test_extra_tensors_are_tolerated_and_the_variant_is_found(tmp_path, model):
    assert open_checkpoint(model).variant == "p"
    assert open_checkpoint(write_tiny(tmp_path / "any_name.safetensors", "u")).variant == "u"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("model.diffusion_model.out.2.bias"), "1 missing: model.diffusion_model.out.2.bias"),
        (
            lambda t: t.update({"conditioner.embedders.1.encoder.quant_conv.bias": np.zeros(9, np.float32)}),
            r"1 of another shape: conditioner.embedders.1.encoder.quant_conv.bias \(\[9\], needed \[8\]\)",
        ),
        (
            lambda t: t.update({"model.diffusion_model.out.3.bias": np.zeros(2, np.float32)}),
            "1 unknown: model.diffusion_model.out.3.bias",
        ),
        (lambda t: [t.pop(n) for n in list(t) if "embedders.0" in n], "visual.*is missing"),
        (
            lambda t: t.update({"model.diffusion_model.label_emb.0.0.weight": np.zeros((4, 768), np.float32)}),
            "768 numbers, SV3D_u's has 256 and SV3D_p's 1280",
        ),
        (lambda t: [t.pop(n) for n in list(t) if n.startswith("model.diff")], "is not an SV3D file: no tensor begins"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, change, said):
    tensors = tiny_tensors("p")
    change(tensors)
    path = tmp_path / "wrong.safetensors"
    save_file(tensors, path, METADATA)
    with pytest.raises(ModelFileError, match=said):
        open_checkpoint(path)


def test_tensors_that_are_not_needed_are_reported_and_ignored(tmp_path):
    tensors = tiny_tensors("p")
    tensors |= {name: np.zeros(2, np.float32) for name in ("first_stage_model.encoder.conv_in.bias", "elsewhere")}
    path = tmp_path / "more.safetensors"
    save_file(tensors, path, METADATA)
    found = open_checkpoint(path)
    assert any("1 unknown: first_stage_model.encoder.conv_in.bias" in note for note in found.notes)
    assert any("1 unknown: elsewhere" in note for note in found.notes)
    with pytest.raises(ModelFileError, match="decoder=vae"):
        found.load_first_stage()


def test_files_other_than_safetensors_are_refused(tmp_path, model):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(model.read_bytes()[:-1000])
    pickled = tmp_path / "sv3d_p.ckpt"
    torch.save({"state_dict": {"model.diffusion_model.out.2.bias": torch.zeros(4)}}, pickled)
    for path in (cut, pickled):
        with pytest.raises(ModelFileError, match="not a complete safetensors file"):
            open_checkpoint(path)
    with pytest.raises(ModelFileError, match="there is no file"):
        open_checkpoint(tmp_path / "absent.safetensors")
    with pytest.raises(ModelFileError, match="`instax3d sv3d convert`"):
        open_checkpoint(tmp_path)


def test_a_folder_with_a_wrong_tensor_is_refused(tmp_path, model):
    convert(model, tmp_path / "folder", torch.float32)
    file = tmp_path / "folder" / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({"nothing": np.zeros(1, np.float32)}, file)
    with pytest.raises(ModelFileError, match=r"240 missing: encoder\.conv_in\.weight.*1 unknown: nothing"):
        open_checkpoint(tmp_path / "folder")


def test_a_conversion_that_fails_leaves_nothing(tmp_path, model, monkeypatch):
    from instax3d_plugins.sv3d import checkpoint

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(ModelFileError, match="No space left"):
        convert(model, tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "holiday.jpg").touch()
    with pytest.raises(ModelFileError, match="exists"):
        convert(model, tmp_path / "taken")


@settings(max_examples=3)
@given(
    widths=st.lists(st.sampled_from([32, 64, 96]), min_size=4, max_size=4),
    levels=st.integers(2, 4),
    layers=st.integers(1, 3),
    variant=st.sampled_from(["u", "p"]),
)
def test_names_and_shapes_there_and_back(widths, levels, layers, variant):
    """Any architecture's official shapes tell it again, and each of its tensors can be taken out of theirs."""
    expected = describe(
        variant,
        NetworkSizes(
            unet_widths=tuple(widths),
            unet_head_dim=32,
            vae_widths=tuple(widths[:levels]),
            clip_width=32,
            clip_hidden=64,
            clip_layers=layers,
            clip_heads=2,
            clip_image=56,
            context=16,
        ),
    )
    official = {}
    for part in ("unet", "vae", "image_encoder"):
        official |= official_shapes(expected, part)
    assert infer(official, METADATA) == expected
    for part, source in (("unet", unet_source), ("vae", vae_source(levels)), ("image_encoder", clip_source)):
        shapes = part_shapes(expected, part, Path())
        taken = [source(name) for name in shapes]
        assert len(set(taken)) == len(taken), "no two tensors come from one place"
        for name, where in zip(shapes, taken):
            there = np.empty(official[PREFIXES[part] + where.name], np.float32)
            assert where.take(there).shape == shapes[name], name


def test_the_thirds_of_a_joint_projection_are_queries_keys_and_values():
    joint = np.arange(12).reshape(6, 2)
    parts = [TensorSource("in_proj", form).take(joint) for form in ("q", "k", "v")]
    assert np.array_equal(np.concatenate(parts), joint)
    assert np.array_equal(TensorSource("proj", "transposed").take(joint), joint.T)


def test_conditions_and_scalings_compare_and_hash_by_identity():
    condition, other = (Condition(torch.ones(1, 1, 4), torch.ones(1, 4, 8, 8), torch.ones(3, 4)) for _ in range(2))
    assert condition == condition
    assert condition != other
    assert Scalings.at(torch.ones(2)) != Scalings.at(torch.ones(2))
    assert len({condition, other}) == 2


# --- memory ----------------------------------------------------------------------------------------------------------


FULL_SIZE = memory.Workload(
    weights={"unet": 1_525_278_442, "vae": 83_653_863, "image_encoder": 632_076_800},
    width=320,
    vae_width=128,
    frames=21,
    side=72,
    steps=50,
    decode_chunk=7,
    itemsize=2,
)


def test_the_fastest_plan_that_fits_is_chosen():
    workload, cuda = FULL_SIZE, torch.device("cuda")
    needed = [memory.bytes_needed(plan, workload) for plan in memory.MEMORY_PLANS]
    assert needed == sorted(needed, reverse=True)
    for plan, size in zip(memory.MEMORY_PLANS, needed):
        assert memory.choose_plan(workload, "auto", round(size / 0.9) + 2, cuda) is plan
        assert memory.choose_plan(workload, plan.name, 0, cuda) is plan, "a requested plan is used"
    with pytest.raises(IncompatiblePipelineError, match="GB are free"):
        memory.choose_plan(workload, "auto", 10**6, cuda)
    with pytest.raises(IncompatiblePipelineError, match="memory=lean"):
        memory.choose_plan(workload, "streamed", 10**12, torch.device("cpu"))
    assert memory.leaner(memory.MEMORY_PLANS[0], torch.device("cpu")).name == "lean"
    assert memory.leaner(memory.MEMORY_PLANS[-1], cuda) is None


def vector() -> torch.Tensor:
    return vector_condition("p", default_azimuths(FRAMES), [0.0] * FRAMES)


def test_the_workload_is_read_from_the_model(model):
    workload = memory.Workload.of(open_checkpoint(model), size=576, steps=50, decode_chunk=7, dtype=torch.float16)
    assert (workload.frames, workload.side, workload.decode_chunk, workload.itemsize, workload.width) == (
        FRAMES,
        72,
        FRAMES,
        2,
        32,
    )
    tensors = tiny_tensors("p", FRAMES)
    assert workload.weights["unet"] == sum(v.size for name, v in tensors.items() if name.startswith(PREFIXES["unet"]))


@pytest.fixture(scope="module")
def sampled_once(one_thread, model):
    """A model, an image, and the turntable of seed 3."""
    checkpoint, image = open_checkpoint(model), torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    return checkpoint, image, make_turntable(checkpoint, image, vector(), CPU, seed=3)


def test_out_of_memory_backs_off_and_ends_with_the_same_frames(sampled_once, monkeypatch, caplog):
    checkpoint, image, expected = sampled_once
    assert expected.shape == (FRAMES, 3, 64, 64)
    sample, decode = turntable.sample, turntable.vae.decode

    def small_sampler(*args, together, **rest):
        if together:
            raise torch.OutOfMemoryError("sampling")
        return sample(*args, together=together, **rest)

    def small_decoder(*args, chunk, **rest):
        if chunk > 2:
            raise torch.OutOfMemoryError("decoding")
        return decode(*args, chunk=chunk, **rest)

    monkeypatch.setattr(turntable, "sample", small_sampler)
    monkeypatch.setattr(turntable.vae, "decode", small_decoder)
    with caplog.at_level(logging.INFO, "instax3d.sv3d"):
        made = make_turntable(checkpoint, image, vector(), CPU, seed=3)
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)
    assert "restarts with one network on the device at a time, guidance in two runs" in caplog.text
    assert "now 1 at a time" in caplog.text
    assert "very roughly" in caplog.messages[0], "the duration is announced first"


def test_layers_can_be_moved_to_the_device_one_by_one(sampled_once, monkeypatch):
    """On CUDA the leanest plan; the mechanism is the same with the CPU as both places."""
    checkpoint, image, expected = sampled_once
    monkeypatch.setattr(turntable, "choose_plan", lambda *_: memory.MEMORY_PLANS[-1])
    torch.testing.assert_close(make_turntable(checkpoint, image, vector(), CPU, seed=3), expected, atol=1e-4, rtol=0)


def test_half_precision_gives_nearly_the_same_frames(model):
    checkpoint, image = open_checkpoint(model), torch.full((3, 64, 64), 0.8)
    exact = make_turntable(checkpoint, image, vector(), CPU, seed=0)
    half = make_turntable(
        checkpoint, image, vector(), SamplingSettings(CPU.device, torch.bfloat16, steps=1, memory="lean"), seed=0
    )
    assert 0 < float((exact - half).abs().mean()) < 0.05


@pytest.mark.slow
def test_the_estimates_are_those_of_the_full_size_network():
    """Numbers alive and operations are counted on tensors without contents; nothing is computed."""
    from counting import count_unet, count_vae

    for branches in (1, 2):
        pixels = branches * 21 * 72**2
        unet, widths = count_unet(branches=branches, frames=21, side=72)
        assert unet.numbers / (widths[0] * pixels) == pytest.approx(memory.UNET_NUMBERS, rel=0.05)
        assert unet.operations / (widths[0] ** 2 * pixels) == pytest.approx(memory.UNET_OPERATIONS, rel=0.02)
    decoder = count_vae(frames=2, side=72)
    assert decoder.numbers / (128 * 2 * 576**2) == pytest.approx(memory.VAE_NUMBERS, rel=0.05)


# --- photo and frames ------------------------------------------------------------------------------------------------


def test_the_person_is_framed_on_white(photo, alpha):
    inner = photo.face.landmarks[17:].round().long()
    assert bool((alpha[0, inner[:, 1], inner[:, 0]] > 0.9).all()), "the face is in"
    assert float(alpha[0, :20, :20].max()) < 0.1, "the flag is out"
    framed = frame(photo, alpha, size=256, ratio=0.9)
    shown = framed.alpha[0] > 0.5
    rows, columns = shown.any(1).nonzero()[:, 0], shown.any(0).nonzero()[:, 0]
    assert max(len(rows), len(columns)) == pytest.approx(0.9 * 256, abs=6)
    assert int(rows[-1]) == 255, "shoulders that are cut off reach the lower edge"
    assert abs(int(columns[0]) + int(columns[-1]) - 255) < 6, "in the middle"
    assert float(framed.image[:, framed.alpha[0] == 0].min()) == 1.0
    # landmarks move with the pixels: the same face is found at them
    again = build(LandmarkDetector, "dlib").detect((framed.image * 255).byte().permute(1, 2, 0).contiguous())[0]
    assert float((again.landmarks - framed.landmarks).norm(dim=1).mean()) < 4


def test_coverage_of_a_picture_on_white():
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    truth = (0.5 + 30 - ((x - 47.5) ** 2 + (y - 47.5) ** 2).sqrt()).clamp(0, 1)
    color = torch.tensor([0.7, 0.4, 0.2])[:, None, None]
    image = color * truth + 1 - truth
    image[:, 40:50, 40:50] = 1.0  # a tooth
    found = coverage_on_white(image[None])[0, 0]
    assert float((found - truth).abs().max()) < 0.08
    assert float((found - truth).abs().mean()) < 0.004
    assert float(coverage_on_white(torch.ones(1, 3, 32, 32)).max()) == 0


@pytest.fixture(scope="module")
def plugin_of(model):
    return build(ViewGenerator, "sv3d", weights=str(model), steps=1, size=64, confidence=0.6, elevation=5.0)


@pytest.fixture(scope="module")
def made(one_thread, matted_once, plugin_of, photo):
    return plugin_of.generate(photo, seed=7)


class TestSv3d(ViewGeneratorSuite):
    @pytest.fixture
    def plugin(self, plugin_of):
        return plugin_of

    @pytest.fixture
    def source(self, photo):
        return photo

    @pytest.fixture
    def views(self, made):
        return made

    def test_the_last_view_is_the_photo_in_front(self, views, framed):
        assert views.photo_index == FRAMES - 1
        assert torch.equal(views.images[-1], framed.image)
        assert torch.equal(views.alpha[-1], framed.alpha)
        assert float(views.confidence[-1].max()) == 1.0
        assert float(views.confidence[:-1].max()) == pytest.approx(0.6)

    def test_cameras_rise_to_the_subjects_left(self, views, plugin, framed):
        x, y, z = views.cameras.centers.unbind(1)
        azimuths = torch.atan2(x, z).rad2deg() % 360
        torch.testing.assert_close(azimuths, torch.tensor([120.0, 240, 0]), atol=1e-3, rtol=0)
        radius = views.cameras.centers.norm(dim=1)
        torch.testing.assert_close(y, radius * torch.tensor(5.0).deg2rad().sin())
        assert 0.4 < float(radius[0]) < 1.5, "meters"
        mirrored = plugin.config.model_copy(update={"azimuth_sign": -1})
        other = type(plugin)(mirrored).cameras([120.0], framed)
        assert float(other.centers[0, 0]) == pytest.approx(-float(x[0]), abs=1e-4)


def test_only_aware_conditions_of_variant_p_depend_on_the_camera(model):
    azimuths, elevations = [90.0, 0.0], [10.0, 10.0]
    aware = vector_condition("p", azimuths, elevations)
    assert not torch.equal(aware[0], aware[1])
    invariant = vector_condition("p", azimuths, elevations, camera="invariant")
    assert torch.equal(invariant[0], invariant[1])
    assert torch.equal(invariant[:, 256:], torch.zeros(2, 1024))
    for camera in ("aware", "invariant"):
        assert torch.equal(vector_condition("u", azimuths, elevations, camera=camera), aware[:, :256])


# --- commands, progress, a portrait ----------------------------------------------------------------------------------


def test_commands(tmp_path, model, capsys):
    assert main(["--help"]) == 0
    assert "sv3d" in capsys.readouterr().out
    assert main(["sv3d", "inspect", str(model)]) == 0
    assert "SV3D_p, official layout" in capsys.readouterr().out
    assert main(["sv3d", "convert", str(model), "-o", str(tmp_path / "folder")]) == 0
    assert main(["sv3d", "inspect", str(tmp_path / "folder")]) == 0
    assert "(F16)" in capsys.readouterr().out
    assert main(["sv3d", "convert", str(tmp_path / "nosuch"), "-o", str(tmp_path / "other")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


class _RecordedProgress(Silent):
    def __init__(self) -> None:
        self.counts: list[tuple[int, int, str]] = []

    def count(self, done: int, total: int, what: str) -> None:
        self.counts.append((done, total, what))


def test_steps_and_frames_are_counted(model):
    progress = _RecordedProgress()
    with Stages(progress).stage("views"):
        make_turntable(open_checkpoint(model), torch.rand(3, 64, 64), vector(), CPU, seed=0)
    assert progress.counts[:2] == [(0, 1, "denoising steps"), (1, 1, "denoising steps")]
    assert progress.counts[-1] == (FRAMES, FRAMES, "frames decoded")
    count(1, 2, "outside of any stage, to nobody")


@pytest.fixture
def default_interrupts():
    """Ctrl-C as in the foreground: it is ignored where the suite runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_interrupts")
def test_an_interrupt_ends_the_sampling(model):
    class Interrupts(Silent):
        def count(self, done: int, total: int, what: str) -> None:
            signal.raise_signal(signal.SIGINT)

    shown: Progress = Interrupts()
    with pytest.raises(KeyboardInterrupt), Stages(shown).stage("views"):
        make_turntable(open_checkpoint(model), torch.rand(3, 64, 64), vector(), CPU, seed=0)


def test_missing_weights_are_refused_with_the_way_to_get_them(picture, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("INSTAX3D_ASSETS", str(tmp_path / "assets"))
    assert main(["create", str(picture), "-o", str(tmp_path / "out"), "view_generator=sv3d"]) == 2
    said = capsys.readouterr().err
    for part in ("Stable Video 3D", "huggingface.co/stabilityai/sv3d", "Non-Commercial", "instax3d assets get sv3d"):
        assert part in said
    assert not (tmp_path / "out").exists()


def test_a_portrait_from_generated_views(picture, model, matted_once, tmp_path):
    options = [
        "view_generator=sv3d",
        f"view_generator.weights={model}",
        "view_generator.steps=1",
        "view_generator.size=192",
        "training.iterations=20",
        "representation.points_per_face=1",
        "representation.hull_points=0",
        "output.turntable_frames=2",
        "output.sheet_views=2",
    ]
    folder = tmp_path / "portrait"
    assert main(["create", str(picture), "-o", str(folder), "--preset", "draft", *options]) == 0
    run = json.loads((folder / "run.json").read_text())
    assert run["source"]["views"] == FRAMES
    assert run["plugins"]["view_generator"]["name"] == "sv3d"
    asset = next(record for record in run["assets"] if record["used_by"].startswith("view_generator"))
    assert asset["commercial"] is False
    assert [len(file["sha256"]) for file in asset["files"]] == [64]
    assert (folder / "portrait.ply").is_file()
