"""``instax3d config show|check|schema``."""

import json
from pathlib import Path
from typing import Any, get_args

import click

from instax3d.config import RunConfig, Source, json_schema, load_config

_SHARED = [
    click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]..."),
    click.option("--preset", metavar="NAME", help="draft, standard (default) or paper."),
    click.option(
        "--config", "config_file", type=click.Path(path_type=Path), help="A YAML file that overrides the preset."
    ),
    click.option(
        "--source", type=click.Choice(get_args(Source)), default="photo", help="What portraits will be made from."
    ),
]


def _with_layers(command: Any) -> Any:
    for decorate in reversed(_SHARED):
        command = decorate(command)
    return command


@click.group()
def config() -> None:
    """Inspect a configuration before running it."""


@config.command()
@_with_layers
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(
    overrides: tuple[str, ...], preset: str | None, config_file: Path | None, source: Source, as_json: bool
) -> None:
    """The resolved configuration, all defaults included, and where each value comes from."""
    resolved = load_config(preset=preset, path=config_file, overrides=overrides, source=source)
    if as_json:
        click.echo(json.dumps(resolved.to_dict(), indent=2))
    else:
        click.echo("\n".join(_annotated(resolved)))


def _annotated(resolved: RunConfig) -> list[str]:
    """YAML lines with the origin of each value that is not a default as a comment."""
    lines = [f"# {note}" for note in resolved.notes]
    path: list[str] = []
    for line in resolved.to_yaml().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        path = [*path[:depth], line.strip().partition(":")[0]]
        origin = resolved.origins.get(".".join(path))
        lines.append(f"{line}  # {origin}" if origin else line)
    return lines


@config.command()
@_with_layers
def check(overrides: tuple[str, ...], preset: str | None, config_file: Path | None, source: Source) -> None:
    """Check whether a configuration can be run; lists all its problems at once."""
    resolved = load_config(preset=preset, path=config_file, overrides=overrides, source=source)
    for note in resolved.notes:
        click.echo(f"note: {note}")
    chosen = ", ".join(f"{kind.value} {choice.entry.spec.name}" for kind, choice in resolved.choices.items())
    click.echo(f"valid: {chosen}")


@config.command()
def schema() -> None:
    """A JSON schema of config files with the installed plugins, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))
