"""``instax3d create`` and ``instax3d render``."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from instax3d.assets.usage import check_assets
from instax3d.config import load_config, source_kind
from instax3d.io.progress import Stages
from instax3d.io.terminal import terminal
from instax3d.portrait.layout import GAUSSIANS, MANIFEST, SHEET
from instax3d.portrait.manifest import check_output
from instax3d.report.metric_info import known_metrics

from .options import run_options


@click.command()
@run_options
@click.option("--resume", is_flag=True, help="Resume the same portrait where an earlier run was interrupted.")
@click.option("--workers", type=click.IntRange(min=1), help="With a pattern: how many portraits at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's manifest (run.json) to standard output.")
def create(
    source: Path,
    overrides: tuple[str, ...],
    output: Path,
    preset: str | None,
    config_file: Path | None,
    resume: bool,
    workers: int | None,
    no_cache: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a portrait of SOURCE: a photo, or a folder with posed frames (transforms.json).

    A quoted pattern makes one portrait of each matching photo, in folders under that of -o.

    \b
    instax3d create me.jpg -o out/me
    instax3d create me.jpg -o out/me --preset draft densifier.max_gaussians=30000
    instax3d create 'photos/*.jpg' -o out/all
    """
    if _is_pattern(source):
        if no_cache or as_json or resume or quiet:
            raise click.UsageError(
                "--no-cache, --json, --resume and --quiet are for one portrait; leave them out for a pattern, which "
                "resumes by itself"
            )
        from .many import create_many

        sys.exit(1 if create_many([str(source)], overrides, output, preset, config_file, workers) else 0)
    if workers is not None:
        raise click.UsageError("--workers is for a pattern of several photos; leave it out for one portrait")
    if resume and no_cache:
        raise click.UsageError("--resume needs the cache, which holds the state of an unfinished run; drop --no-cache")
    # What can be refused in a moment is refused before torch is imported.
    config = load_config(preset=preset, path=config_file, overrides=overrides, source=source_kind(source))
    check_assets(config)
    check_output(output)
    with terminal(quiet=quiet) as display:
        from instax3d.stages.cache import StageCache
        from instax3d.stages.pipeline import create as create_portrait

        cache = None if no_cache else StageCache()
        portrait = create_portrait(source, config=config, progress=display, cache=cache, resume=resume)
        with Stages(display).stage("save"):
            folder = portrait.save(output)
    if as_json:
        click.echo((folder / MANIFEST).read_text(encoding="utf-8"), nl=False)
    elif not quiet:
        click.echo(f"{folder}: {result_line(portrait.manifest['gaussians'], portrait.metrics)}")
        click.echo(f"look at {folder / SHEET}, or open {folder / GAUSSIANS} in a Gaussian splatting viewer")


def result_line(gaussians: int, figures: Mapping[str, float]) -> str:
    """The size of a portrait and its metrics, each with its own decimals. Diagnostics stay in ``run.json``."""
    measured = [f"{info.name} {info.format(figures[info.name])}" for info in known_metrics() if info.name in figures]
    return "; ".join(filter(None, [f"{gaussians:,} Gaussians", ", ".join(measured)]))


def _is_pattern(source: Path) -> bool:
    return not source.exists() and any(wildcard in str(source) for wildcard in "*?[")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--cameras", type=click.Path(path_type=Path), required=True, help="A transforms.json; one PNG per frame.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the images.")
@click.option("--transparent", is_flag=True, help="Write alpha instead of a white background.")
def render(folder: Path, overrides: tuple[str, ...], cameras: Path, output: Path, transparent: bool) -> None:
    """Render the portrait in FOLDER from the cameras of a file, in the world of its own views."""
    from instax3d.portrait.frames import render_frames
    from instax3d.portrait.portrait import Portrait

    written = render_frames(Portrait.load(folder, overrides), cameras, output, transparent=transparent)
    click.echo(f"{len(written)} images in {output}")


@click.command()
def warmup() -> None:
    """Compile ahead what the first portrait would have to compile."""
    with terminal():
        from instax3d.stages.pipeline import warm_up

        seconds = warm_up(load_config(source="photo"))
    click.echo(f"ready after {seconds:.1f} s")


@click.command()
@click.option("--clear", is_flag=True, help="Remove all of it.")
def cache(clear: bool) -> None:
    """Where results of stages are kept for later runs, and how much space they take.

    A stage is run again when its input, its options or its code has changed, or when an earlier stage was run again.
    """
    from instax3d.stages.cache import StageCache

    stages = StageCache()
    count, size = len(stages.files()), stages.size()
    if clear:
        stages.clear()
    click.echo(f"{stages.folder}: {count} files, {size / 2**20:.0f} MiB{', removed' if clear else ''}")
