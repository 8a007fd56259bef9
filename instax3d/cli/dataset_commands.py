"""``instax3d dataset make|check``."""

import sys
from pathlib import Path

import click

from instax3d.config import parse_option
from instax3d.io.processors import available_processors
from instax3d.io.terminal import terminal


@click.group()
def dataset() -> None:
    """Turntable clips to train view generators on."""


@dataset.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("options", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--source",
    default="heads",
    show_default=True,
    metavar="NAME",
    help="The clip source; see `instax3d plugins list --kind clip_source`.",
)
@click.option("--clips", type=click.IntRange(1), help="How many; by default all that the source has, if it has an end.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--processes", type=click.IntRange(1), default=available_processors, help="At a time; does not change the clips."
)
@click.option("-q", "--quiet", is_flag=True, help="Show notes and errors alone.")
def make(
    folder: Path, options: tuple[str, ...], source: str, clips: int | None, seed: int, processes: int, quiet: bool
) -> None:
    """Make turntable clips in FOLDER: 21 views each, as captures with checksums.

    After any interruption the same command resumes; with more --clips it adds to what is there. KEY=VALUE are the
    source's options (`instax3d plugins show NAME`).

    \b
    instax3d dataset make turntables --clips 1000
    instax3d dataset make scans --source captures folder=my_captures
    """
    from instax3d.datasets.making import Recipe, make_dataset

    recipe = Recipe(source, dict(map(parse_option, options)), seed)
    with terminal(quiet=quiet) as display:
        total = make_dataset(folder, recipe, clips=clips, processes=processes, progress=display)
    if not quiet:
        click.echo(f"{folder}: {total} clips")


@dataset.command()
@click.argument("folder", type=click.Path(path_type=Path))
def check(folder: Path) -> None:
    """Compare every file of a dataset with its checksum; exit code 1 if one is wrong."""
    from instax3d.datasets.reading import open_dataset, problems

    found = list(problems(folder))
    for line in found:
        click.echo(line, err=True)
    if found:
        sys.exit(1)
    click.echo(f"{len(open_dataset(folder))} clips are fine")
