"""MVC: its figures on seeded small networks of CLIP's and DINO's classes, and the files that it reads or refuses."""

import json
import shutil
import socket
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ViTConfig,
    ViTModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from instax3d.assets import require
from instax3d.config import load_config
from instax3d.errors import AssetError
from instax3d.interfaces import Metric
from instax3d.io.images import to_uint8
from instax3d.plugin import Kind
from instax3d.registry import build, registry
from instax3d.stages.evaluation import evaluate
from instax3d.testing import MetricSuite, toy_context

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 24,
    "patch_size": 8,
}
CLIP_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
CLIP_DEVIATION = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
DINO_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DINO_DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Folders as ``save_pretrained`` writes them, and the networks in them."""
    folder = tmp_path_factory.mktemp("networks")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**SMALL, projection_dim=16)).eval()
        dino = ViTModel(ViTConfig(**SMALL)).eval()
        for network in (clip, dino):  # as drawn, all images look alike to them
            for parameter in network.parameters():
                parameter.data = parameter.data + 0.3 * torch.randn(parameter.shape)
    clip.save_pretrained(folder / "clip")
    dino.save_pretrained(folder / "dino")
    return folder, clip, dino


@pytest.fixture
def metric(networks):
    folder, _, _ = networks
    return build(Metric, "mvc", clip=str(folder / "clip"), dino=str(folder / "dino"))


class TestMvc(MetricSuite):
    metric_names = tuple(figure.name for figure in registry().get(Kind.METRIC, "mvc").spec.metric_info)

    @pytest.fixture
    def plugin(self, metric):
        return metric


def frames(context):
    """As both networks are shown them: the toy's frames are larger than theirs."""
    resized = []
    for image in context.turntable:
        picture = Image.fromarray(to_uint8(image).numpy()).resize((24, 24), Image.Resampling.BICUBIC)
        resized.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255)
    return torch.stack(resized)


def test_the_figures_are_those_of_a_direct_computation(networks, metric):
    _, clip, dino = networks
    context = toy_context()
    found = metric.measure(context)
    shown = frames(context)
    photo = frames(replace(context, render=lambda cameras: context.views.images[[0]]))
    with torch.no_grad():
        by_clip, by_dino = (
            [network(pixel_values=(images - mean) / deviation) for images in (shown, photo)]
            for network, mean, deviation in (
                (clip, CLIP_MEAN, CLIP_DEVIATION),
                (dino, DINO_MEAN, DINO_DEVIATION),
            )
        )
    embedded = [
        [each.image_embeds.double().numpy() for each in by_clip],
        [each.last_hidden_state[:, 0].double().numpy() for each in by_dino],
    ]

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    count, wanted = len(shown), {"mvc": 0.0, "mvc_adjacent": 0.0, "mvc_photo": 0.0}
    for name, (of_frames, (of_photo,)) in zip(("mvc_clip", "mvc_dino"), embedded):
        wanted[name] = np.mean([cosine(of_frames[i], of_frames[j]) for i, j in combinations(range(count), 2)])
        wanted["mvc"] += wanted[name] / 2
        pairs = [cosine(of_frames[i], of_frames[(i + 1) % count]) for i in range(count)]
        wanted["mvc_adjacent"] += np.mean(pairs) / 2
        wanted["mvc_photo"] += np.mean([cosine(each, of_photo) for each in of_frames]) / 2
    assert found == pytest.approx(wanted, abs=1e-5)
    assert len({round(value, 3) for value in wanted.values()}) == 5, (
        "the figures differ, so that none stands for another"
    )


def test_the_order_of_frames_matters_to_neighbors_alone(metric):
    context = toy_context()
    order = [3, 0, 5, 1, 4, 2]
    found, mixed = (
        metric.measure(replace(context, render=lambda cameras, chosen=chosen: context.turntable[chosen]))
        for chosen in (list(range(6)), order)
    )
    for name in ("mvc", "mvc_clip", "mvc_dino", "mvc_photo"):
        assert mixed[name] == pytest.approx(found[name], abs=1e-9), name
    assert mixed["mvc_adjacent"] != pytest.approx(found["mvc_adjacent"], abs=1e-4)


def test_frames_that_differ_more_are_less_consistent(metric):
    context = toy_context()
    noise = torch.rand(context.turntable.shape, generator=torch.Generator().manual_seed(0))
    same = context.turntable[[0] * 6]

    def consistency(share):
        return metric.measure(replace(context, render=lambda cameras: (1 - share) * same + share * noise))

    values = [consistency(share) for share in (0.0, 0.3, 0.6)]
    for name in ("mvc", "mvc_clip", "mvc_dino", "mvc_adjacent"):
        steps = [each[name] for each in values]
        assert steps[0] == pytest.approx(1, abs=1e-9)
        assert steps == sorted(steps, reverse=True)
    without = metric.measure(replace(context, views=replace(context.views, photo_index=None)))
    assert "mvc_photo" not in without


@pytest.mark.parametrize("size", [(40, 40), (31, 57), (20, 18)])
def test_images_are_prepared_as_clip_s_own_processor_does(networks, size):
    from instax3d_plugins.consistency.networks import ClipEncoder

    folder, _, _ = networks
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    processor = CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    wanted = processor(Image.fromarray(to_uint8(image).numpy()), return_tensors="np")["pixel_values"][0]
    prepared = ClipEncoder(require("clip-vit-large-patch14", folder / "clip")).prepared(image)
    np.testing.assert_allclose(prepared.numpy(), wanted, atol=2e-6)


def test_nothing_is_asked_of_a_network(metric, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert metric.measure(toy_context())["mvc"] > 0


def test_whole_clip_models_and_older_names_and_formats_are_read(networks, tmp_path):
    """The hub's files: CLIP with its text half; DINO as a pickle, under the names of earlier transformers."""
    from instax3d_plugins.consistency.networks import ClipEncoder, DinoEncoder

    folder, clip, dino = networks
    text = {**SMALL, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
    whole = CLIPModel(CLIPConfig(text_config=text, vision_config=SMALL, projection_dim=16))
    whole.vision_model.load_state_dict(clip.vision_model.state_dict())
    whole.visual_projection.load_state_dict(clip.visual_projection.state_dict())
    whole.save_pretrained(tmp_path / "whole")
    stored = load_file(folder / "dino" / "model.safetensors")
    assert "encoder.layer.0.attention.attention.query.weight" in stored, "the names that the hub's file has"
    (tmp_path / "pickled").mkdir()
    torch.save(stored, tmp_path / "pickled" / "pytorch_model.bin")
    shutil.copy(folder / "dino" / "config.json", tmp_path / "pickled")
    pixels = torch.rand(2, 3, 24, 24)
    with torch.no_grad():
        found = ClipEncoder(require("clip-vit-large-patch14", tmp_path / "whole")).features(pixels)
        torch.testing.assert_close(found, clip(pixel_values=pixels).image_embeds)
        found = DinoEncoder(require("dino-vits16", tmp_path / "pickled")).features(pixels)
        torch.testing.assert_close(found, dino(pixel_values=pixels).last_hidden_state[:, 0])


@pytest.fixture
def spoilt(networks, tmp_path):
    """Copies of both folders, to spoil, and what the metric then says."""
    folder, _, _ = networks
    for name in ("clip", "dino"):
        shutil.copytree(folder / name, tmp_path / name)

    def said():
        with pytest.raises(AssetError) as caught:
            build(Metric, "mvc", clip=str(tmp_path / "clip"), dino=str(tmp_path / "dino")).measure(toy_context())
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return tmp_path, said


def test_without_weights_the_way_to_them_is_told(networks):
    folder, _, _ = networks
    context = toy_context()
    found = evaluate(context, load_config(overrides=["metrics=[mvc, fidelity]"], source="photo").metrics)
    assert "psnr_views" in found.metrics
    assert "instax3d assets get clip-vit-large-patch14" in found.missing["mvc"]
    with pytest.raises(AssetError, match="assets get dino-vits16"):
        build(Metric, "mvc", clip=str(folder / "clip")).measure(context)


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_files_that_are_missing_are_named(spoilt, name):
    folder, said = spoilt
    (folder / name / "model.safetensors").unlink()
    message = said()
    assert "does not hold" in message
    assert "model.safetensors" in message
    assert "pytorch_model.bin" in message
    (folder / name / "config.json").unlink()
    assert "config.json" in said()
    shutil.rmtree(folder / name)
    assert "does not exist" in said()


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_other_networks_are_refused(spoilt, name):
    folder, said = spoilt
    other = folder / ("dino" if name == "clip" else "clip")
    shutil.copy(other / "config.json", folder / name)
    assert "of type" in said()


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_weights_of_another_shape_or_with_gaps_are_refused(spoilt, name):
    folder, said = spoilt
    file = folder / name / "model.safetensors"
    stored = load_file(file)
    part = next(key for key in sorted(stored) if key.endswith("fc1.weight") or "intermediate.dense.weight" in key)
    save_file({key: value for key, value in stored.items() if key != part}, file, metadata={"format": "pt"})
    assert "1 tensors are missing" in said()
    save_file({**stored, part: stored[part][:5]}, file, metadata={"format": "pt"})
    assert "does not hold" in said()
    file.write_bytes(b"\xff" * 100)
    assert "cannot be read as safetensors" in said()


@pytest.mark.parametrize("text", ["no json", "[]", '{"model_type": "bert"}', '{"hidden_size": 3}'])
def test_configs_that_are_none_are_refused(spoilt, text):
    folder, said = spoilt
    (folder / "dino" / "config.json").write_text(text)
    assert "config.json" in said()


@pytest.mark.parametrize("changed", [{"hidden_size": "many"}, {"num_attention_heads": 5}, {"patch_size": 0}])
def test_configs_of_impossible_networks_are_refused(spoilt, changed):
    folder, said = spoilt
    file = folder / "dino" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
    assert "does not hold DINO" in said()


class Hostile:
    def __reduce__(self):
        return print, ("run!",)


@pytest.mark.parametrize("name", ["clip", "dino"])
def test_pickles_that_would_run_code_are_refused(spoilt, name, capsys):
    folder, said = spoilt
    (folder / name / "model.safetensors").unlink()
    torch.save({"weights": Hostile()}, folder / name / "pytorch_model.bin")
    assert "hostile" in said()
    assert "run!" not in capsys.readouterr().out
    torch.save([torch.ones(3)], folder / name / "pytorch_model.bin")
    assert "not a state dict of tensors" in said()


@pytest.mark.fixtures
def test_the_hostile_checkpoint_is_refused(spoilt, fixtures_dir, monkeypatch):
    folder, said = spoilt
    monkeypatch.chdir(folder)
    (folder / "dino" / "model.safetensors").unlink()
    shutil.copy(fixtures_dir / "flame" / "hostile" / "checkpoint_hostile.pkl", folder / "dino" / "pytorch_model.bin")
    said()
    assert not (folder / "pwned").exists()
