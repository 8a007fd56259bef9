"""``instax3d finetune sv3d``."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from instax3d.config import parse_option
from instax3d.errors import ConfigError
from instax3d.io.terminal import terminal

from .options import FinetuneConfig, TrainerOptions


def _trainer_options(command: Callable[..., None]) -> Callable[..., None]:
    """Lightning's options, passed on as one `TrainerOptions`."""

    @click.option("--accelerator", default="auto", show_default=True, help="Lightning's: cpu, cuda, …")
    @click.option("--devices", default="1", show_default=True, help="Lightning's: a number, a list, or auto for all.")
    @click.option("--strategy", default="auto", show_default=True, help="Lightning's: ddp, fsdp, …")
    @wraps(command)
    def with_record(*, accelerator: str, devices: str, strategy: str, **others: Any) -> None:
        command(trainer_options=TrainerOptions(accelerator, devices, strategy), **others)

    return with_record


@click.group()
def finetune() -> None:
    """Fine-tune view generators on turntables of `instax3d dataset make`."""


@finetune.command()
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Turntables.")
@click.option("--weights", default="sv3d", show_default=True, help="A file or folder, or sv3d or sv3d-u as downloaded.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the whole run.")
@click.option(
    "--latents", type=click.Path(path_type=Path), help="Where encoded clips are cached; default: in the output."
)
@click.option("--resume", is_flag=True, help="Continue from the last checkpoint.")
@_trainer_options
@click.option("--dtype", type=click.Choice(["float16", "bfloat16", "float32"]), default="float16", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Print warnings and errors only.")
def sv3d(
    options: tuple[str, ...],
    data: Path,
    weights: str,
    output: Path,
    latents: Path | None,
    resume: bool,
    trainer_options: TrainerOptions,
    dtype: str,
    quiet: bool,
) -> None:
    """Fine-tune Stable Video 3D on turntables of heads.

    The tuned model is written to OUTPUT/model: `instax3d create me.jpg view_generator=sv3d
    view_generator.weights=OUTPUT/model`. `instax3d finetune options` lists what KEY=VALUE can be.

    \b
    instax3d finetune sv3d --data turntables -o tuned
    instax3d finetune sv3d --data turntables -o tuned --devices 4 --strategy ddp lora_rank=16
    """
    config = _config(options)
    with terminal(quiet=quiet):
        import torch

        from instax3d.assets import require

        from .run import finetune as run_finetuning

        model = run_finetuning(
            require(weights).path if weights in ("sv3d", "sv3d-u") else Path(weights),
            data,
            output,
            config,
            resume=resume,
            latents=latents,
            trainer_options=trainer_options,
            dtype=getattr(torch, dtype),
        )
    if not model.exists():
        click.echo(f"not finished; the same command with --resume continues from {output / 'checkpoints'}", err=True)
        sys.exit(130)
    if not quiet:
        click.echo(f"tuned model: {model}")


@finetune.command()
def options() -> None:
    """The training options, their defaults and what they mean."""
    for name, field in FinetuneConfig.model_fields.items():
        click.echo(f"{name} = {field.default}")
        click.echo(f"    {' '.join((field.description or '').split())}")


def _config(texts: tuple[str, ...]) -> FinetuneConfig:
    try:
        return FinetuneConfig.model_validate(dict(map(parse_option, texts)))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise ConfigError(f"{problems}; `instax3d finetune options` lists the options") from error
