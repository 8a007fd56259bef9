"""``instax3d evaluate``."""

import json
from pathlib import Path

import click

from instax3d.errors import ConfigError
from instax3d.plugin import Kind
from instax3d.portrait.recipe import Recipe
from instax3d.registry import registry
from instax3d.report.metric_info import known_metrics


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="A capture in the portrait's world: its held-out frames and its surface are the ground truth.",
)
@click.option("--metrics", metavar="A,B|all", help="Which metrics; by default those of the portrait's configuration.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and write no report.")
def evaluate(
    folder: Path, overrides: tuple[str, ...], against: Path | None, metrics: str | None, as_json: bool
) -> None:
    """Measure the portrait in FOLDER, and write its report.html.

    \b
    instax3d evaluate out/me --metrics all
    instax3d evaluate out/scan --against my_capture --metrics fidelity,cost
    """
    if metrics == "all":
        metrics = ",".join(entry.qualified_name for entry in registry().plugins(Kind.METRIC))
    if metrics is not None and not metrics:
        raise ConfigError("--metrics names no metric; see `instax3d plugins list --kind metric`")
    overrides = (*overrides, *([f"metrics=[{metrics}]"] if metrics else []))
    recipe = Recipe.read(folder, overrides)
    choices, gone = recipe.metrics()  # a misspelt metric is refused before torch loads
    recipe.choice(Kind.LANDMARK_DETECTOR)
    from instax3d.io.terminal import terminal

    with terminal(quiet=as_json):
        from instax3d.inputs.capture import read_capture
        from instax3d.interfaces import LandmarkDetector
        from instax3d.portrait.portrait import Portrait
        from instax3d.portrait.views import photo_of, read_views
        from instax3d.stages.evaluation import Evaluation, collect
        from instax3d.stages.evaluation import evaluate as measure

        portrait = Portrait.load(folder, overrides)
        detector = recipe.build(LandmarkDetector)
        views = read_views(folder)
        capture = None if against is None else read_capture(against)
        context = collect(portrait.head, views, detector, photo=photo_of(views, detector), capture=capture)
        measured_here = measure(context, choices)
        evaluation = Evaluation(measured_here.metrics, {**gone, **measured_here.missing})
    if as_json:
        click.echo(json.dumps({"metrics": evaluation.metrics, "not_measured": evaluation.missing}, indent=2))
        return
    from instax3d.report.portrait_page import write_report

    measured = [metric for metric in known_metrics() if metric.name in evaluation.metrics]
    width = max((len(metric.name) for metric in measured), default=0)
    for metric in measured:
        click.echo(f"{metric.name:{width}} {metric.format(evaluation.metrics[metric.name]):>12}  {metric.description}")
    for name, reason in evaluation.missing.items():
        click.echo(f"{name}: not measured: {reason}")
    click.echo(f"look at {write_report(folder, portrait, context, evaluation)}")
