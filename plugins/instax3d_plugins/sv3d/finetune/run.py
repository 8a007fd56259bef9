"""Fine-tuning from data and weights to a folder that the view generator loads."""

import json
import logging
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from instax3d.datasets.reading import open_dataset
from instax3d.errors import DatasetError
from instax3d.io.files import write_text

from ..checkpoint import Checkpoint, open_checkpoint, save_folder
from .data import TurntableLatents
from .latents import LatentStore
from .module import Sv3dFinetuning
from .options import FinetuneConfig, TrainerOptions
from .pictures import Pictures

_LOG = logging.getLogger("instax3d.sv3d")
_SETTINGS = "finetune.json"
_LAST = Path("checkpoints") / "last.ckpt"
MODEL = "model"
"""The folder of the tuned model, within the output."""
_ONE_DEVICE = TrainerOptions()


def finetune(
    weights: Path,
    data: Path,
    output: Path,
    config: FinetuneConfig,
    *,
    resume: bool = False,
    latents: Path | None = None,
    trainer_options: TrainerOptions = _ONE_DEVICE,
    dtype: torch.dtype = torch.float16,
    stop_after: int | None = None,
) -> Path:
    """Fine-tune SV3D on turntables; returns the folder of the tuned model, which `view_generator.weights` takes.

    Args:
        weights: an official file or a folder in diffusers' style.
        data: turntables of `instax3d dataset make`.
        output: folder for settings, latents, checkpoints, logs, pictures and the model.
        resume: continue from the last checkpoint in ``output``.
        latents: where encoded clips are cached; by default in ``output``.
        trainer_options: on which devices to train.
        dtype: of the written model.
        stop_after: end this process at this step, as if interrupted; for job queues and tests.

    Raises:
        DatasetError: data or output cannot be used.
        AssetError: ``weights`` is not an SV3D model.
    """
    checkpoint = open_checkpoint(weights)
    clips = open_dataset(data)
    last = output / _LAST
    _begin(output, config, weights, data, resume=resume)
    first_step = _steps_in(last) if resume else 0
    _log(f"SV3D_{checkpoint.variant}, {len(clips)} clips, step {first_step} of {config.steps}")
    store = LatentStore(latents or output / "latents", checkpoint, config.size)
    clip_data = TurntableLatents(
        clips, store, held_out=config.held_out, seed=config.seed, first_step=first_step, on_clip=_log_encoded
    )
    module = Sv3dFinetuning(checkpoint.load_unet(), checkpoint.variant, config)
    module.train()
    trainer = _trainer(
        config,
        trainer_options,
        max_steps=min(config.steps, stop_after or config.steps),
        logger=CSVLogger(output, name="logs", version=f"from_{first_step}"),
        callbacks=_callbacks(output, checkpoint, clip_data, store, config),
    )
    with warnings.catch_warnings():
        # Clips are read from latents in milliseconds, so that no worker is needed.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # A resumed run continues in its own folder.
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        trainer.fit(module, clip_data, ckpt_path=str(last) if resume else None, weights_only=True)
    model = output / MODEL
    if trainer.global_step >= config.steps:
        _export(model, checkpoint, module, trainer, dtype)
    return model


def _trainer(
    config: FinetuneConfig,
    options: TrainerOptions,
    *,
    max_steps: int,
    logger: CSVLogger,
    callbacks: list[Callback],
) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator=options.accelerator,
        devices=options.devices,
        strategy=options.strategy,
        precision=config.precision,
        max_steps=max_steps,
        val_check_interval=config.check_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        logger=logger,
        callbacks=callbacks,
        enable_model_summary=False,
    )


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
        clip = data.held_out[0]
        pictures = Pictures(
            output / "pictures", lambda: store.load(clip), cache(checkpoint.load_vae), steps=config.picture_steps
        )
        callbacks.append(pictures)
    return callbacks


def _begin(output: Path, config: FinetuneConfig, weights: Path, data: Path, *, resume: bool) -> None:
    """Write the run's settings; refuses to overwrite a run, or to resume it with other settings."""
    settings = {
        "weights": str(weights.resolve()),
        "data": str(data.resolve()),
        **config.model_dump(mode="json"),
    }
    path = output / _SETTINGS
    if not resume:
        # The other processes of a run on several devices find what the first has written.
        if path.exists() and _is_first_process():
            raise DatasetError(f"{output} already holds a run; add --resume to continue it, or choose a new folder")
        output.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(settings, indent=1) + "\n")
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{output} holds no run to resume ({error}); start without --resume") from error
    changed = [name for name in settings if name != "steps" and settings[name] != before.get(name)]
    if changed:
        changes = "; ".join(f"{name} was {before.get(name)}, now {settings[name]}" for name in changed)
        raise DatasetError(f"{output} was started with other options ({changes}); resume with the same ones")
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
    unet: Callable[[], dict[str, Tensor]] = lambda: {  # noqa: E731
        name: value.detach().cpu().to(dtype) for name, value in module.tuned().state_dict().items()
    }
    if trainer.is_global_zero:
        save_folder(
            model,
            checkpoint.architecture,
            {
                "unet": unet,
                "vae": lambda: checkpoint.load_vae(dtype).state_dict(),
                "image_encoder": lambda: checkpoint.load_image_encoder(dtype).state_dict(),
            },
        )
    trainer.strategy.barrier()


def _log_encoded(done: int, total: int) -> None:
    if done == total or done % 50 == 0:
        _log(f"encoded {done} of {total} clips")


def _log(message: str) -> None:
    if _is_first_process():
        _LOG.info(message)


def _is_first_process() -> bool:
    # Lightning sets the rank as an attribute of this function
    return getattr(rank_zero_only, "rank", 0) == 0
