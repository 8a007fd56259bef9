"""Fine-tuning of SV3D: the objective, the cached latents, the order of clips, and whole runs on a tiny model."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cheap_turntables import CheapConfig, source
from instax3d_plugins.sv3d.checkpoint import open_checkpoint
from instax3d_plugins.sv3d.finetune.data import ShuffledClips
from instax3d_plugins.sv3d.finetune.latents import EncodedClip, LatentStore
from instax3d_plugins.sv3d.finetune.module import Sv3dFinetuning
from instax3d_plugins.sv3d.finetune.objective import Draw, keeps, loss_of
from instax3d_plugins.sv3d.finetune.options import FinetuneConfig, TrainerOptions
from instax3d_plugins.sv3d.finetune.run import finetune
from instax3d_plugins.sv3d.schedule import Scalings
from instax3d_plugins.sv3d.vae import SCALE
from tiny_sv3d import write_tiny
from torch import nn

from instax3d.datasets.layout import CLIP, DATASET, FORMAT, INDEX, as_json, clip_name, sha256, shard_name
from instax3d.datasets.making import write_clip
from instax3d.datasets.reading import open_dataset
from instax3d.errors import DatasetError

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings(
        "ignore:.*isinstance.treespec, LeafSpec.*:FutureWarning",
        "ignore:.*isinstance.treespec, LeafSpec.*:DeprecationWarning",
    ),
]
CPU = TrainerOptions(accelerator="cpu")
TINY = FinetuneConfig(
    steps=2,
    rate=1e-3,
    size=64,
    camera="aware",
    precision="32-true",
    gradient_checkpointing=False,
    held_out=1,
    check_every=1,
    picture_steps=1,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("weights") / "tiny.safetensors", "p", 21)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data set of four clips of noise, as `make_dataset` lays it out."""
    folder = tmp_path_factory.mktemp("data")
    place = folder / shard_name(0)
    maker, clips = source(CheapConfig(size=64)), []
    for index in range(4):
        write_clip(place / clip_name(index), maker.make(index, seed=0))
        clips.append({"name": clip_name(index), "sha256": sha256((place / clip_name(index) / CLIP).read_bytes())})
    (place / INDEX).write_bytes(as_json({"clips": clips}))
    (folder / DATASET).write_bytes(as_json({"format": FORMAT}))
    return folder


@pytest.fixture(scope="module")
def latents(tmp_path_factory, weights, data) -> Path:
    """The clips' latents, encoded once for all tests."""
    folder = tmp_path_factory.mktemp("latents")
    LatentStore(folder, open_checkpoint(weights), 64).fill(open_dataset(data))
    return folder


@pytest.fixture
def encoded() -> EncodedClip:
    generator = torch.Generator().manual_seed(0)
    moments = torch.randn(21, 8, 8, 8, generator=generator)
    return EncodedClip(moments, torch.randn(1, 16, generator=generator), 5.0)


class RecordingNetwork(nn.Module):
    """Returns a given F, and records its inputs."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        self.inputs = inputs
        return self.answer[None]


@pytest.mark.parametrize("sigma", [0.05, 1.0, 40.0])
def test_the_loss_is_edms(encoded, sigma):
    generator = torch.Generator().manual_seed(1)
    latents, noise, answer = (torch.randn(21, 4, 8, 8, generator=generator) for _ in range(3))
    network, vector = RecordingNetwork(answer), torch.randn(21, 1280)
    loss = loss_of(network, encoded, Draw(latents, noise, sigma, True, True), vector, torch.device("cpu"))
    c = Scalings.at(torch.tensor(sigma, dtype=torch.float64))
    noisy = (latents + sigma * noise).double()
    denoised = c.c_skip * noisy + c.c_out * answer.double()
    weighted = ((1 + sigma**2) / sigma**2 * (denoised - latents.double()) ** 2).mean()
    assert float(loss) == pytest.approx(float(weighted), rel=1e-4)
    sample, level, token, camera = network.inputs
    torch.testing.assert_close(sample[0, :, :4], (c.c_in * noisy).float())
    assert torch.equal(sample[0, :, 4:], encoded.moments[20, :4].expand(21, -1, -1, -1))
    assert float(level) == pytest.approx(0.25 * math.log(sigma))
    assert torch.equal(token[0], encoded.token)
    assert torch.equal(camera[0], vector)


def test_dropped_conditions_are_zero_and_the_camera_never_is(encoded):
    network, vector = RecordingNetwork(torch.zeros(21, 4, 8, 8)), torch.randn(21, 1280)
    draw = Draw(torch.zeros(21, 4, 8, 8), torch.zeros(21, 4, 8, 8), 1.0, False, False)
    loss_of(network, encoded, draw, vector, torch.device("cpu"))
    sample, _, token, camera = network.inputs
    assert not sample.any()
    assert not token.any()
    assert torch.equal(camera[0], vector)
    shares = [keeps((k + 0.5) / 1000, 0.1) for k in range(1000)]
    assert [shares.count(kept) for kept in ((False, True), (False, False), (True, False), (True, True))] == [
        100, 100, 100, 700,
    ]  # fmt: skip
    assert keeps(0.0, 0.0) == (True, True)


def test_noise_levels_are_log_normal_and_latents_follow_the_moments(encoded):
    generator = torch.Generator().manual_seed(2)
    draws = [Draw.of(encoded, generator, log_mean=1.5, log_std=0.5, dropout=0.1) for _ in range(300)]
    logs = torch.tensor([draw.sigma for draw in draws]).log()
    assert float(logs.mean()) == pytest.approx(1.5, abs=0.1)
    assert float(logs.std()) == pytest.approx(0.5, abs=0.08)
    mean = torch.stack([draw.latents for draw in draws]).mean(0)
    spread = SCALE * (0.5 * encoded.moments[:, 4:]).exp()
    assert float(((mean - SCALE * encoded.moments[:, :4]) / spread).abs().mean()) < 0.1


def test_clips_come_in_epochs_that_ranks_share_and_a_resumed_run_continues(weights, data, latents):
    clips, store = open_dataset(data), LatentStore(latents, open_checkpoint(weights), 64)

    def numbers(count: int, first: int = 0, rank: int = 0, ranks: int = 1) -> list[tuple[int, float]]:
        order = iter(ShuffledClips(clips, store, seed=1, first_step=first, rank=rank, ranks=ranks))
        items = [next(order) for _ in range(count)]
        return [(item.number, float(item.clip.token.sum())) for item in items]

    whole = numbers(8)
    assert len({token for _, token in whole[:4]}) == len({token for _, token in whole[4:]}) == 4
    assert numbers(5, first=3) == whole[3:]
    both = numbers(4, rank=0, ranks=2) + numbers(4, rank=1, ranks=2)
    assert sorted(both) == whole


def test_latents_are_kept_apart_by_size_and_network(weights, data, latents, tmp_path):
    clip, checkpoint = open_dataset(data)[0], open_checkpoint(weights)
    store = LatentStore(latents, checkpoint, 64)
    before = store.path(clip).stat().st_mtime_ns
    store.fill([clip])
    assert store.path(clip).stat().st_mtime_ns == before
    other = open_checkpoint(write_tiny(tmp_path / "other.safetensors", "p", 21, seed=1))
    assert len({LatentStore(latents, model, 64).path(clip) for model in (checkpoint, other)}) == 2
    assert LatentStore(latents, checkpoint, 128).path(clip) != store.path(clip)
    store.path(open_dataset(data)[3]).write_bytes(b"broken")
    with pytest.raises(DatasetError, match="remove that file"):
        store.load(open_dataset(data)[3])
    store.path(open_dataset(data)[3]).unlink()
    store.fill(open_dataset(data))


def tuned(weights: Path, data: Path, latents: Path, output: Path, config: FinetuneConfig = TINY, **more) -> dict:
    model = finetune(weights, data, output, config, latents=latents, trainer_options=CPU, dtype=torch.float32, **more)
    return open_checkpoint(model).load_unet().state_dict() if model.exists() else {}


def test_an_interrupted_run_ends_with_the_same_weights_and_loads_as_a_generators_model(
    weights, data, latents, tmp_path
):
    whole = tuned(weights, data, latents, tmp_path / "whole")
    before = open_checkpoint(weights).load_unet().state_dict()
    assert whole.keys() == before.keys()
    changed = [name for name in whole if not torch.equal(whole[name], before[name])]
    assert len(changed) > 0.9 * len(before)
    assert tuned(weights, data, latents, tmp_path / "parts", stop_after=1) == {}
    with pytest.raises(DatasetError, match="--resume"):
        tuned(weights, data, latents, tmp_path / "parts")
    with pytest.raises(DatasetError, match=r"rate was 0.001, now 0.5"):
        tuned(weights, data, latents, tmp_path / "parts", TINY.model_copy(update={"rate": 0.5}), resume=True)
    parts = tuned(weights, data, latents, tmp_path / "parts", resume=True)
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
    assert sorted(path.name for path in (tmp_path / "whole" / "pictures").iterdir()) == ["000001.png", "000002.png"]
    assert "loss_held_out" in (tmp_path / "whole" / "logs" / "from_0" / "metrics.csv").read_text()
    assert json.loads((tmp_path / "whole" / "finetune.json").read_text())["rate"] == 1e-3


@pytest.mark.slow
def test_low_rank_updates_change_the_attention_alone(weights, data, latents, tmp_path):
    config = TINY.model_copy(
        update={
            "lora_rank": 2,
            "check_every": 2,
            "gradient_checkpointing": True,
            "picture_steps": 0,
            "precision": "bf16-mixed",
        }
    )
    after, before = (
        tuned(weights, data, latents, tmp_path / "lora", config),
        open_checkpoint(weights).load_unet().state_dict(),
    )
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert all(".attn" in name and ("to_" in name) for name in changed)


def test_the_average_of_the_weights_is_written(weights, data, latents, tmp_path):
    config = TINY.model_copy(update={"ema_decay": 0.9999, "check_every": 2, "picture_steps": 0})
    averaged = tuned(weights, data, latents, tmp_path / "ema", config)
    before = open_checkpoint(weights).load_unet().state_dict()
    moved = max(float((averaged[name] - before[name]).abs().max()) for name in before)
    # Adam's first step moves weights by the rate; the average begins there, and hardly follows the second step
    assert 0.9e-3 < moved < 1.2e-3


def test_the_camera_condition_is_that_of_sampling(weights, encoded):
    checkpoint = open_checkpoint(weights)
    aware, invariant = (
        Sv3dFinetuning(checkpoint.load_unet(), "p", TINY.model_copy(update={"camera": camera})).vector(encoded)
        for camera in ("aware", "invariant")
    )
    assert torch.equal(aware[:, :256], invariant[:, :256])
    assert aware[:, 256:].any()
    assert not invariant[:, 256:].any()
    assert torch.equal(aware[20, 768:], torch.cat([torch.ones(256), torch.zeros(256)]))  # azimuth 0 comes last


def test_too_few_clips_are_refused(weights, data, latents, tmp_path):
    with pytest.raises(DatasetError, match="held out"):
        tuned(weights, data, latents, tmp_path / "few", TINY.model_copy(update={"held_out": 4}))


@pytest.mark.slow
def test_two_processes_train_together(weights, data, latents, tmp_path):
    """Two ranks see different clips and end with the same weights: those of one model."""
    # Lightning starts the second process by the name of the program's file.
    program = tmp_path / "program.py"
    program.write_text("from instax3d.cli import main\nraise SystemExit(main())\n")
    command = [
        *(sys.executable, program, "finetune", "sv3d"),
        *("--data", data, "--weights", weights, "-o", tmp_path / "out", "--latents", latents),
        *("--accelerator", "cpu", "--devices", "2", "--strategy", "ddp", "--dtype", "float32"),
        *("steps=4", "rate=1.0e-3", "size=64", "precision=32-true", "held_out=1", "check_every=2", "picture_steps=1"),
    ]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    after = open_checkpoint(tmp_path / "out" / "model").load_unet().state_dict()
    before = open_checkpoint(weights).load_unet().state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    assert (tmp_path / "out" / "pictures" / "000004.png").is_file()
