"""Arguments and options that commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from instax3d.config import preset_names

Command = TypeVar("Command", bound=Callable[..., Any])


def run_options(command: Command) -> Command:
    """Arguments and options of every command that runs stages on a photo or a capture.

    Parameters ``source``, ``overrides``, ``output``, ``preset``, ``config_file``, ``no_cache``, ``quiet``.
    """
    for add in reversed(_RUN):
        command = add(command)
    return command


_RUN = (
    click.argument("source", type=click.Path(path_type=Path)),
    click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]..."),
    click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the result."),
    click.option("--preset", metavar="NAME", help=f"One of: {', '.join(preset_names())}. Default: standard."),
    click.option(
        "--config", "config_file", type=click.Path(path_type=Path), help="A YAML file that overrides the preset."
    ),
    click.option("--no-cache", is_flag=True, help="Run every stage, and cache no results."),
    click.option("-q", "--quiet", is_flag=True, help="Show notes and errors alone."),
)
