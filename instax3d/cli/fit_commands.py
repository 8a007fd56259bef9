"""``instax3d fit``."""

import json
from pathlib import Path

import click

from instax3d.assets.usage import check_assets
from instax3d.config import load_config, source_kind
from instax3d.io.terminal import terminal
from instax3d.portrait.manifest import check_output

from .options import run_options


@click.command()
@run_options
@click.option("--json", "as_json", is_flag=True, help="Print the measurements (fit.json) to standard output.")
def fit(
    source: Path,
    overrides: tuple[str, ...],
    output: Path,
    preset: str | None,
    config_file: Path | None,
    no_cache: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Fit the head model to SOURCE, a photo or a capture, and show how well it fits over each view.

    \b
    instax3d fit me.jpg -o out/fit
    instax3d fit my_capture -o out/fit mesh_prior=ict mesh_prior.model=ICT-FaceKit
    """
    config = load_config(preset=preset, path=config_file, overrides=overrides, source=source_kind(source))
    check_assets(config)
    check_output(output, "fit.json", "fit of a head")
    with terminal(quiet=quiet) as display:
        from instax3d.report.fit_output import write_fit
        from instax3d.stages.cache import StageCache
        from instax3d.stages.pipeline import fit as run

        fitted = run(source, config, progress=display, cache=None if no_cache else StageCache())
        figures = write_fit(output, fitted, config, {"kind": source_kind(source), "name": source.name})
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    elif not quiet:
        rows = figures["reprojection"]
        best = min(rows, key=lambda row: row["inner_median_percent"], default=None)
        if best:
            click.echo(
                f"{len(rows)} views with a face; the best has a median error of {best['inner_median_px']} px, "
                f"{best['inner_median_percent']} % of the distance between the outer corners of the eyes"
            )
        click.echo(f"look at {output / 'overlays'}; the measurements of each view are in {output / 'fit.json'}")
