"""``instax3d sv3d inspect|convert``."""

from pathlib import Path

import click


@click.group()
def sv3d() -> None:
    """Stable Video 3D's weights."""


@sv3d.command()
@click.argument("source", type=click.Path(path_type=Path))
def inspect(source: Path) -> None:
    """Show what a file or folder holds, and whether it is complete. Only headers are read."""
    from .checkpoint import open_checkpoint

    checkpoint = open_checkpoint(source)
    architecture = checkpoint.architecture
    layout = "official layout" if checkpoint.official else "folder in diffusers style"
    click.echo(f"{source}: SV3D_{checkpoint.variant}, {layout}")
    click.echo(f"  {architecture.frames} frames, channels {architecture.unet['block_out_channels']}")
    for part, header in checkpoint.headers.items():
        types = ", ".join(sorted(set(header.dtypes.values())))
        count, size = len(checkpoint.part_shapes(part)), checkpoint.part_bytes(part)
        click.echo(f"  {part}: {count} tensors, {size / 1e9:.2f} GB ({types})")
    for note in checkpoint.notes:
        click.echo(f"note: {note}")


@sv3d.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write; must not exist.")
@click.option("--dtype", type=click.Choice(["float16", "bfloat16", "float32"]), default="float16", show_default=True)
def convert(source: Path, output: Path, dtype: str) -> None:
    """Write SOURCE, an official file, as a folder in diffusers' style: unet, vae and image_encoder.

    One part at a time is in memory. Use the folder as view_generator.weights.
    """
    import torch

    from .checkpoint import convert as convert_checkpoint

    checkpoint = convert_checkpoint(source, output, getattr(torch, dtype))
    click.echo(f"{output}: SV3D_{checkpoint.variant} in {dtype}")
