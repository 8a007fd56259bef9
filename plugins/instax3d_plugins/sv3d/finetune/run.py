"""Fine-tuning from data and weights to a folder that the view generator loads."""

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from instax3d.datasets.reading import open_dataset
from instax3d.errors import DatasetError
from instax3d.io.files import write_text

from ..checkpoint import Checkpoint, open_checkpoint, save_folder
from .data import TurntableLatents
from .latents import LatentStore
from .module import Sv3dFinetuning
from .options import FinetuneConfig
from .pictures import Pictures

_LOG = logging.getLogger("instax3d.sv3d")
_SETTINGS = "finetune.json"
_LAST = Path("checkpoints") / "last.ckpt"
MODEL = "model"
"""The folder of the tuned model, within the output."""


def finetune(
    weights: Path,
    data: Path,
    output: Path,
    config: FinetuneConfig,
    *,
    resume: bool = False,
    latents: Path | None = None,
    accelerator: str = "auto",
    devices: str = "1",
    strategy: str = "auto",
    dtype: torch.dtype = torch.float16,
    stop_after: int | None = None,
) -> Path:
    """Tune SV3D on turntables; gives the folder of the tuned model, which `view_generator.weights` takes.

    Args:
        weights: an official file or a folder in diffusers' style.
        data: turntables of `instax3d dataset make`.
        output: gets settings, latents, checkpoints, logs, pictures and the model.
        resume: go on from the last checkpoint in ``output``.
        latents: where encoded clips are kept; by default in ``output``.
        accelerator, devices, strategy: Lightning's.
        dtype: of the written model.
        stop_after: end the process's share at this step, as if broken off; for long queues and tests.

    Raises:
        DatasetError: data or output cannot be used.
        AssetError: ``weights`` is no SV3D model.
    """
    checkpoint = open_checkpoint(weights)
    clips = open_dataset(data)
    last = output / _LAST
    _begin(output, config, weights, data, resume=resume)
    first_step = _steps_in(last) if resume else 0
    _say(f"SV3D_{checkpoint.variant}, {len(clips)} clips, step {first_step} of {config.steps}")
    store = LatentStore(latents or output / "latents", checkpoint, config.size)
    clip_data = TurntableLatents(
        clips, store, held_out=config.held_out, seed=config.seed, first_step=first_step, on_clip=_told
    )
    module = Sv3dFinetuning(checkpoint.load_unet(), checkpoint.variant, config)
    module.train()
    trainer = lightning.Trainer(
        accelerator=accelerator,
        devices=devices,
        strategy=strategy,
        precision=config.precision,
        max_steps=min(config.steps, stop_after or config.steps),
        val_check_interval=config.check_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=CSVLogger(output, name="logs", version=f"from_{first_step}"),
        callbacks=_callbacks(output, checkpoint, clip_data, store, config),
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        # Clips are read from latents in milliseconds, so that no worker is needed.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # A resumed run goes on in its own folder.
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        trainer.fit(module, clip_data, ckpt_path=str(last) if resume else None, weights_only=True)
    model = output / MODEL
    if trainer.global_step >= config.steps:
        _export(model, checkpoint, module, trainer, dtype)
    return model


def _callbacks(
    output: Path, checkpoint: Checkpoint, data: TurntableLatents, store: LatentStore, config: FinetuneConfig
) -> list[Callback]:
    callbacks: list[Callback] = [
        ModelCheckpoint(
            output / _LAST.parent,
            filename="{step}",
            save_last="link",
            save_top_k=1,
            every_n_train_steps=config.check_every,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
    ]
    if config.ema_decay:
        callbacks.insert(0, EMAWeightAveraging(decay=config.ema_decay))
    if config.picture_steps and data.held_out:
        loaded: list[Any] = []

        def decoder() -> Any:
            if not loaded:
                loaded.append(checkpoint.load_vae())
            return loaded[0]

        shown = data.held_out[0]
        callbacks.append(Pictures(output / "pictures", lambda: store.load(shown), decoder, steps=config.picture_steps))
    return callbacks


def _begin(output: Path, config: FinetuneConfig, weights: Path, data: Path, *, resume: bool) -> None:
    """Refuse what would overwrite, or mix, runs."""
    settings = {
        "weights": str(weights.resolve()),
        "data": str(data.resolve()),
        **config.model_dump(mode="json"),
    }
    path = output / _SETTINGS
    if not resume:
        # The other processes of a run on several devices find what the first has written.
        if path.exists() and lightning.fabric.utilities.rank_zero.rank_zero_only.rank == 0:
            raise DatasetError(f"{output} holds a run already; add --resume to go on with it, or choose a new folder")
        output.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(settings, indent=1) + "\n")
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{output} holds no run to go on with ({error}); start without --resume") from error
    changed = [name for name in settings if name != "steps" and settings[name] != before.get(name)]
    if changed:
        told = "; ".join(f"{name} was {before.get(name)}, now {settings[name]}" for name in changed)
        raise DatasetError(f"{output} was begun differently ({told}); resume with the same options")
    if not (output / _LAST).is_file():
        raise DatasetError(f"{output} has no checkpoint yet; remove it and start without --resume")
    write_text(path, json.dumps(settings, indent=1) + "\n")


def _steps_in(path: Path) -> int:
    try:
        return int(torch.load(path, weights_only=True, mmap=True, map_location="cpu")["global_step"])
    except Exception as error:
        # torch raises whatever its reading meets
        raise DatasetError(f"the checkpoint {path} cannot be read ({error}); start again in a new folder") from error


def _export(
    model: Path, checkpoint: Checkpoint, module: Sv3dFinetuning, trainer: lightning.Trainer, dtype: torch.dtype
) -> None:
    state: Callable[[], dict[str, Any]] = lambda: {  # noqa: E731
        name: value.detach().cpu().to(dtype) for name, value in module.tuned().state_dict().items()
    }
    if trainer.is_global_zero:
        save_folder(
            model,
            checkpoint.architecture,
            {
                "unet": state,
                "vae": lambda: checkpoint.load_vae(dtype).state_dict(),
                "image_encoder": lambda: checkpoint.load_image_encoder(dtype).state_dict(),
            },
        )
    trainer.strategy.barrier()


def _told(done: int, total: int) -> None:
    if done == total or done % 50 == 0:
        _say(f"encoded {done} of {total} clips")


def _say(message: str) -> None:
    if lightning.fabric.utilities.rank_zero.rank_zero_only.rank == 0:
        _LOG.info(message)
