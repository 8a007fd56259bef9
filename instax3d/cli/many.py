"""``instax3d create`` for many photos or captures at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from instax3d.benchmark.engine import LocalEngine
from instax3d.benchmark.grid import find_subjects
from instax3d.benchmark.work import Job
from instax3d.config import load_config
from instax3d.errors import ConfigError
from instax3d.io.terminal import resumable
from instax3d.portrait.manifest import check_output


def create_many(
    patterns: Sequence[str],
    overrides: Sequence[str],
    output: Path,
    preset: str | None,
    config: Path | None,
    workers: int | None,
) -> int:
    """Make a portrait of each, in its own folder under ``output``, with one line each. Returns how many failed.

    Raises:
        ConfigError: a pattern matches nothing, or the configuration is wrong for one of them.
        PortraitError: one of the folders holds something other than a portrait.
    """
    subjects = find_subjects(patterns, Path())
    for kind in {subject.kind for subject in subjects}:
        load_config(preset=preset, path=config, overrides=overrides, source=kind)
    folders = {subject.label: output / subject.label.replace("/", "-") for subject in subjects}
    _check_distinct(folders)
    for folder in folders.values():
        check_output(folder)
    failed = ended = 0
    hint = "the missing photos can be given again"
    with resumable(hint), LocalEngine(min(workers, len(subjects)) if workers else None) as engine:
        for subject in subjects:
            engine.submit(
                Job(
                    id=subject.label,
                    source=str(subject.path.absolute()),
                    overrides=tuple(overrides),
                    preset=preset,
                    config=None if config is None else str(config.absolute()),
                    output=str(folders[subject.label].absolute()),
                )
            )
        while ended < len(subjects):
            for job, outcome in engine.as_completed():
                ended += 1
                failed += outcome.status != "done"
                result = f"{folders[job.id]}, {outcome.seconds:.0f} s" if outcome.status == "done" else outcome.error
                click.echo(f"{ended}/{len(subjects)}  {job.id}: {result}", err=outcome.status != "done")
    return failed


def _check_distinct(folders: Mapping[str, Path]) -> None:
    """Refuse two subjects that would be written to one folder, such as ``a/b-c`` and ``a-b/c``."""
    first: dict[Path, str] = {}
    for label, folder in folders.items():
        other = first.setdefault(folder, label)
        if other != label:
            raise ConfigError(
                f"{other} and {label} would both be written to {folder}; rename one of them, or make them one by one"
            )
