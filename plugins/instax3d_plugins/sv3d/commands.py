"""``instax3d sv3d inspect|convert``."""

from pathlib import Path

import click


@click.group()
def sv3d() -> None:
    """Stable Video 3D's weights."""


@sv3d.command()
@click.argument("source", type=click.Path(path_type=Path))
def inspect(source: Path) -> None:
    """Say what a file or folder holds, from its headers, and whether it is whole."""
    from .checkpoint import open_checkpoint

    found = open_checkpoint(source)
    architecture = found.architecture
    click.echo(
        f"{source}: SV3D_{found.variant}, {'official layout' if found.official else 'folder in diffusers style'}"
    )
    click.echo(f"  {architecture.frames} frames, channels {architecture.unet['block_out_channels']}")
    for part, header in found.headers.items():
        types = ", ".join(sorted(set(header.dtypes.values())))
        click.echo(f"  {part}: {len(found.part_shapes(part))} tensors, {found.part_bytes(part) / 1e9:.2f} GB ({types})")
    for note in found.notes:
        click.echo(f"note: {note}")


@sv3d.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write; must be new.")
@click.option("--dtype", type=click.Choice(["float16", "bfloat16", "float32"]), default="float16", show_default=True)
def convert(source: Path, output: Path, dtype: str) -> None:
    """Write SOURCE, an official file, as a folder in diffusers' style: unet, vae and image_encoder.

    One part at a time is in memory. The folder can be given as view_generator.weights.
    """
    import torch

    from .checkpoint import convert as write

    made = write(source, output, getattr(torch, dtype))
    click.echo(f"{output}: SV3D_{made.variant} in {dtype}")
