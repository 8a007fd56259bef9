"""SV3D against the numbers of the original implementation: each relative error at most 1e-4 in float32.

``pytest -rP tests/test_sv3d_fixtures.py`` prints the errors.
"""

import json
import math
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from instax3d_plugins.sv3d import clip, vae
from instax3d_plugins.sv3d.checkpoint import Checkpoint, convert, official_shapes, open_checkpoint
from instax3d_plugins.sv3d.embeddings import sinusoid, vector_condition
from instax3d_plugins.sv3d.layout import describe, infer
from instax3d_plugins.sv3d.sampler import Condition, sample
from instax3d_plugins.sv3d.schedule import Scalings, default_azimuths, edm_sigmas, triangle_scales
from safetensors.numpy import save_file
from seeded_weights import enlarged, regenerate, relative_error

from instax3d.errors import ModelFileError

pytestmark = [pytest.mark.fixtures, pytest.mark.usefixtures("one_thread")]
BOUND = 1e-4


@pytest.fixture(scope="module")
def folder(fixtures_dir: Path) -> Path:
    found = fixtures_dir / "sv3d"
    if not found.is_dir():
        pytest.skip(f"{found} is absent; set INSTAX3D_FIXTURES to where the fixtures are")
    return found


@pytest.fixture(scope="module")
def checkpoints(folder: Path, tmp_path_factory) -> dict[str, Checkpoint]:
    """The complete tiny files, read as a user's would be."""
    place, found = tmp_path_factory.mktemp("sv3d"), {}
    clip_heads = json.loads((folder / "clip.weights.json").read_text())["config"]["heads"]
    for variant in ("u", "p"):
        config = json.loads((folder / f"unet_{variant}.weights.json").read_text())["config"]
        metadata = {
            "instax3d.unet_head_dim": str(config["num_head_channels"]),
            "instax3d.frames": str(config["num_frames"]),
            "instax3d.clip_heads": str(clip_heads),
        }
        path = place / f"sv3d_{variant}.safetensors"
        save_file(regenerate(folder / f"checkpoint_{variant}.weights.json"), path, metadata)
        found[variant] = open_checkpoint(path)
    return found


@pytest.fixture(scope="module")
def networks(checkpoints: dict[str, Checkpoint]) -> dict[str, torch.nn.Module]:
    return {
        "u": checkpoints["u"].load_unet(),
        "p": checkpoints["p"].load_unet(),
        "vae": checkpoints["p"].load_vae(),
        "first_stage": checkpoints["p"].load_first_stage(),
        "clip": checkpoints["p"].load_image_encoder(),
    }


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def arrays(path: Path) -> dict[str, torch.Tensor]:
    with np.load(path) as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}


def agree(what: str, ours, theirs) -> None:
    error = relative_error(ours, theirs)
    print(f"{what}: {error:.1e}")
    assert error < BOUND, what


def angles(given: dict[str, torch.Tensor]) -> tuple[list[float], list[float]]:
    """Azimuths and elevations in degrees."""
    return given["azimuths_rad"].rad2deg().tolist(), (90 - given["polars_rad"].rad2deg()).tolist()


@pytest.mark.parametrize("variant", ["u", "p"])
def test_the_variant_is_found_in_the_file(checkpoints, variant):
    assert checkpoints[variant].variant == variant


@pytest.mark.parametrize("variant", ["u", "p"])
def test_unet(folder, networks, variant):
    given = arrays(folder / f"unet_forward_{variant}.npz")
    frames = int(given["num_frames"])
    x = torch.cat([given["x"], given["concat"]], 1).unflatten(0, (-1, frames))
    made = networks[variant](
        x, given["c_noise"][::frames], given["crossattn"][::frames], given["y"].unflatten(0, (-1, frames))
    )
    agree(f"UNet forward {variant}", made.flatten(0, 1), given["output"])


def test_embeddings(folder):
    given = arrays(folder / "camera_embed.npz")
    for values, wanted in (
        ("cond_aug", "emb_cond_aug"),
        ("polars_rad", "emb_polars"),
        ("azimuths_rad", "emb_azimuths"),
    ):
        agree(wanted, sinusoid(given[values], given[wanted].shape[1]), given[wanted])


def test_schedule(folder):
    given = arrays(folder / "schedule.npz")
    for name, wanted in given.items():
        if name.startswith("sigmas_"):
            agree(name, edm_sigmas(int(name.removeprefix("sigmas_"))), wanted)
        if name.startswith("triangle_T"):
            agree(name, triangle_scales(int(name.removeprefix("triangle_T"))), wanted)
        if name.startswith("default_azimuths_rad_T"):
            ours = np.radians(default_azimuths(int(name.removeprefix("default_azimuths_rad_T"))))
            agree(name, ours, wanted)
    scalings = Scalings.at(given["scaling_sigma"])
    for name in ("c_skip", "c_out", "c_in", "c_noise"):
        agree(name, getattr(scalings, name), given[name])


@pytest.mark.parametrize(
    ("suffix", "variant", "camera"), [("u", "u", "aware"), ("p", "p", "aware"), ("p_camera_zero", "p", "invariant")]
)
def test_sampling(folder, networks, suffix, variant, camera):
    given = arrays(folder / "sampling.npz")
    vector = vector_condition(variant, *angles(given), camera=camera, augmentation=float(given["cond_aug"]))
    agree(f"vector {suffix}", vector, given[f"y_{suffix}"])
    states = []
    made = sample(
        networks[variant],
        Condition(given["crossattn"], given["concat"], vector),
        given["noise"],
        steps=int(given["num_steps"]),
        guidance=float(given["max_scale"]),
        on_step=lambda done, latents: states.append(latents.clone()),
    )
    agree(f"latents {suffix}", made, given[f"latents_{suffix}"])
    for step, (ours, theirs) in enumerate(zip(states[:-1], given[f"trajectory_{suffix}"], strict=True)):
        agree(f"before step {step} {suffix}", ours, theirs)


def test_guidance_in_two_runs_is_guidance_in_one(folder, networks):
    given = arrays(folder / "sampling.npz")
    condition = Condition(given["crossattn"], given["concat"], given["y_u"])
    one, two = (
        sample(networks["u"], condition, given["noise"], steps=1, guidance=2.5, together=together)
        for together in (True, False)
    )
    assert relative_error(two, one) < 1e-5


def test_autoencoder(folder, networks):
    given = arrays(folder / "vae.npz")
    agree("moments", vae.encode_moments(networks["vae"], given["image"]), given["moments"])
    agree("mode", vae.encode_mode(networks["vae"], given["image"]), given["mode"])
    latent = given["latent"] * vae.SCALE
    agree("decoded", vae.decode(networks["vae"], latent), given["decoded"])
    agree("decoded one by one", vae.decode(networks["vae"], latent, chunk=1), given["decoded"])
    agree("decoded by the first stage", vae.decode(networks["first_stage"], latent), given["first_stage_decoded"])


def test_clip(folder, networks):
    given = {name: value.numpy() for name, value in arrays(folder / "clip.npz").items()}
    pixels = torch.from_numpy(enlarged(given["pixel_values_small"], 4))
    agree("CLIP embedding", networks["clip"](pixel_values=pixels).image_embeds, given["embedding"])
    image = torch.from_numpy(enlarged(given["image_small"], 36))
    agree("CLIP preprocessing", clip.preprocess(image)[..., ::2, ::2], given["preprocessed_stride2"])
    agree("CLIP of an image", clip.embed(networks["clip"], image)[:, 0], given["image_embedding"])


@pytest.mark.parametrize("variant", ["u", "p"])
def test_end_to_end(folder, networks, variant):
    given = arrays(folder / "end_to_end.npz")
    image = torch.from_numpy(enlarged(given["image_small"].numpy(), 8))
    noisy = image + given["cond_aug"] * given["image_noise"]
    condition = Condition(
        clip.embed(networks["clip"], image),
        vae.encode_mode(networks["vae"], noisy),
        vector_condition(variant, *angles(given), augmentation=float(given["cond_aug"])),
    )
    agree(f"end to end {variant}, token", condition.token, given[f"crossattn_{variant}"])
    agree(f"end to end {variant}, condition", condition.latent, given[f"concat_{variant}"])
    agree(f"end to end {variant}, vector", condition.vector, given[f"vector_{variant}"])
    latents = sample(
        networks[variant],
        condition,
        given["noise"],
        steps=int(given["num_steps"]),
        guidance=float(given["max_scale"]),
    )
    agree(f"end to end {variant}, latents", latents, given[f"latents_{variant}"])
    decoded = vae.decode(networks["vae"], latents)[..., ::2, ::2]
    agree(f"end to end {variant}, frames", decoded, given[f"decoded_{variant}"])
    original = vae.decode(networks["first_stage"], latents)[..., ::4, ::4]
    agree(f"end to end {variant}, frames by the first stage", original, given[f"decoded_first_stage_{variant}"])


def test_a_converted_folder_is_the_same_network(folder, checkpoints, tmp_path):
    made = convert(checkpoints["p"].path, tmp_path / "sv3d", torch.float32)
    assert (made.variant, made.official) == ("p", False)
    before, after = checkpoints["p"].load_unet().state_dict(), made.load_unet().state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    for load in ("load_vae", "load_image_encoder"):
        before, after = getattr(checkpoints["p"], load)().state_dict(), getattr(made, load)().state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(ModelFileError, match="decoder=vae"):
        made.load_first_stage()


def full_size(folder: Path) -> dict[str, tuple[int, ...]]:
    listed = json.loads((folder / "official_names_sv3d_p.json").read_text())["tensors"]
    return {name: tuple(shape) for name, shape in listed.items()}


def write_hollow(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """A float16 file of that layout whose tensors are a hole: it takes no room on the disk."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


def test_a_file_of_full_size_is_judged_without_reading_it(folder, tmp_path):
    shapes = full_size(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert open_checkpoint(write_hollow(tmp_path / "sv3d_p.safetensors", shapes)).variant == "p"
    name = "model.diffusion_model.middle_block.1.proj_in.weight"
    shapes[name + "s"] = shapes.pop(name)
    with pytest.raises(ModelFileError, match=rf"1 missing: {name}; 1 unknown: {name}s"):
        open_checkpoint(write_hollow(tmp_path / "wrong.safetensors", shapes))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 500_000, "kilobytes; the file says it holds 4.6 GB"


def test_the_names_of_the_full_size_file_are_known(folder):
    shapes = full_size(folder)
    architecture = infer(shapes)
    assert architecture == describe("p")
    ours = {}
    for part in ("unet", "vae", "image_encoder", "first_stage"):
        ours |= official_shapes(architecture, part)
    left_over = {name for name in shapes if name not in ours}
    assert {name: shapes[name] for name in ours} == ours
    assert len(left_over) == 6
    assert all(name.startswith("conditioner.embedders.0.open_clip.model.") for name in left_over)
