"""What a grid asks for: its cells, each once, and the combinations that are impossible, with the reason."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from instax3d.assets.usage import check_assets
from instax3d.config import FORMAT, LISTS, SLOTS, RunConfig, Source, check_capabilities, merge, read_documents
from instax3d.errors import AssetError, ConfigError, IncompatiblePipelineError
from instax3d.plugin import Kind
from instax3d.stages.records import before_construction

from .grid import Grid, Subject


@dataclass(frozen=True, slots=True)
class Cell:
    """One portrait of the grid."""

    id: str
    """A hash of the subject's contents and of the whole resolved configuration."""
    subject: Subject
    labels: tuple[str, ...]
    """The value of each axis, in the grid's order."""
    overrides: tuple[str, ...]
    shared: str
    """The same in all cells that need the same views and the same fitted head."""
    gpu: bool = False
    """Whether one of its plugins needs a GPU."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A combination that is impossible."""

    subject: str
    labels: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a grid asks for."""

    axes: tuple[str, ...]
    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...]
    duplicates: int
    """Combinations that are the same as another one."""


@dataclass(frozen=True, slots=True)
class _Section:
    """A section of the configuration under one combination of the axes that change it."""

    overrides: tuple[str, ...]
    config: RunConfig | None
    """A whole configuration with this section; None where it is invalid."""
    reason: str = ""
    digest: str = ""
    shared: str = ""
    """A hash of what of it the stages before the construction depend on, which cells may share."""
    gpu: bool = False


def make_plan(grid: Grid, *, assets_here: bool = True) -> Plan:
    """Resolve the configuration of every cell.

    Args:
        assets_here: whether combinations whose files (weights, head models) are not on this machine are skipped;
            otherwise their cells are checked where they are computed.

    A section of the configuration is read once for each combination of the axes that change it, so that the cost of a
    cell does not grow with the configuration.

    Raises:
        ConfigError: a value of an axis is wrong in every combination, such as a misspelt plugin.
    """
    kinds = sorted({subject.kind for subject in grid.subjects})
    tables = {kind: _Sections(grid, kind, assets_here) for kind in kinds}
    cells: dict[str, Cell] = {}
    skipped: list[Skipped] = []
    duplicates = 0
    for subject in grid.subjects:
        table = tables[subject.kind]
        for combination in _combinations(grid):
            labels = tuple(axis.values[i].label for axis, i in zip(grid.axes, combination, strict=True))
            sections = table.of(combination)
            reason = table.refusal(sections)
            if reason:
                skipped.append(Skipped(subject.label, labels, reason))
                continue
            identity, shared = table.digests(subject, sections)
            if identity in cells:
                duplicates += 1
                continue
            overrides = tuple(item for section in sections for item in section.overrides)
            cells[identity] = Cell(identity, subject, labels, overrides, shared, table.needs_gpu(sections))
    return Plan(tuple(axis.key for axis in grid.axes), tuple(cells.values()), tuple(skipped), duplicates)


def _combinations(grid: Grid) -> Iterator[tuple[int, ...]]:
    """Indices into the axes' values, of all combinations that the grid lists, each once."""
    every = [range(len(axis.values)) for axis in grid.axes]
    if grid.subset is None:
        yield from product(*every)
        return
    seen = set()
    for labels in grid.subset:
        allowed = [
            [i for i in indices if axis.key not in labels or axis.values[i].label == labels[axis.key]]
            for axis, indices in zip(grid.axes, every, strict=True)
        ]
        for combination in product(*allowed):
            if combination not in seen:
                seen.add(combination)
                yield combination


class _Sections:
    """The sections of the configuration for one kind of subject, by the axes that change each."""

    def __init__(self, grid: Grid, kind: Source, assets_here: bool) -> None:
        self._grid, self._kind, self._assets_here = grid, kind, assets_here
        self._documents = read_documents(grid.preset, grid.config)
        self._base = self._read(())
        document = self._base.to_dict()
        del document[FORMAT]  # of the document, not of what it says
        axes = {name: [i for i, axis in enumerate(grid.axes) if axis.section == name] for name in document}
        unknown = sorted({axis.key for axis in grid.axes if axis.section not in document})
        if unknown:
            raise ConfigError(f"vary: no such key: {', '.join(unknown)}; keys start with: {', '.join(document)}")
        self._axes = axes
        self._tables = {name: self._table(name, axes[name]) for name in document}
        self._refuse_what_is_always_wrong()
        self._verdicts: dict[tuple[str, ...], str] = {}

    def _read(self, overrides: tuple[str, ...]) -> RunConfig:
        return merge(self._documents, overrides, source=self._kind)

    def _table(self, name: str, axes: list[int]) -> Mapping[tuple[int, ...], _Section]:
        values = [self._grid.axes[i].values for i in axes]
        table = {}
        for combination in product(*(range(len(options)) for options in values)):
            overrides = tuple(
                item for options, i in zip(values, combination, strict=True) for item in options[i].overrides
            )
            try:
                config = self._read(overrides) if overrides else self._base
            except ConfigError as error:
                table[combination] = _Section(overrides, None, str(error))
                continue
            plugins = [choice for key, choice in config.plugins if key.partition(".")[0] == name]
            value = config.to_dict()[name]
            table[combination] = _Section(
                overrides,
                config,
                digest=_digest(name, value),
                shared=_digest(name, _shared(name, value, config)),
                gpu=any("cuda" in choice.entry.spec.needs for choice in plugins),
            )
        return table

    def _refuse_what_is_always_wrong(self) -> None:
        """A value that is wrong in every combination, and by itself, is probably a typo."""
        problems = []
        for name, table in self._tables.items():
            for position, axis in enumerate(self._axes[name]):
                valid = {combination[position] for combination, section in table.items() if section.config is not None}
                for i, value in enumerate(self._grid.axes[axis].values):
                    if i not in valid:
                        try:
                            self._read(value.overrides)
                        except ConfigError as error:
                            problems += str(error).splitlines()
        if problems:
            raise ConfigError("\n".join(dict.fromkeys(problems)))

    def of(self, combination: tuple[int, ...]) -> tuple[_Section, ...]:
        return tuple(table[tuple(combination[i] for i in self._axes[name])] for name, table in self._tables.items())

    def refusal(self, sections: tuple[_Section, ...]) -> str:
        """Why these cannot be combined; empty where they can."""
        key = tuple(section.digest for section in sections)
        for section in sections:
            if section.config is None:
                return section.reason
        checked = tuple(key[i] for i, name in enumerate(self._tables) if name in (*SLOTS, *LISTS, "device"))
        if checked not in self._verdicts:
            self._verdicts[checked] = self._check(sections)
        return self._verdicts[checked]

    def needs_gpu(self, sections: tuple[_Section, ...]) -> bool:
        """Whether one of the chosen plugins can only run on a GPU."""
        return any(section.gpu for section in sections)

    def _check(self, sections: tuple[_Section, ...]) -> str:
        configs = {
            name: section.config
            for name, section in zip(self._tables, sections, strict=True)
            if section.config is not None
        }
        choices = {kind: configs[name].choices[kind] for name, kind in SLOTS.items()}
        listed = {kind: configs[name].listed[kind] for name, kind in LISTS.items()}
        config = replace(self._base, choices=choices, listed=listed, device=configs["device"].device)
        try:
            check_capabilities(config, source=self._kind)
            if self._assets_here:
                check_assets(config)
        except (IncompatiblePipelineError, AssetError) as error:
            return str(error)
        return ""

    def digests(self, subject: Subject, sections: tuple[_Section, ...]) -> tuple[str, str]:
        """Hashes of the whole cell, and of what the stages before construction depend on."""
        whole = hashlib.sha256(subject.digest.encode())
        before = whole.copy()
        for section in sections:
            whole.update(section.digest.encode())
            before.update(section.shared.encode())
        return whole.hexdigest()[:20], before.hexdigest()[:20]


def _shared(name: str, value: Any, config: RunConfig) -> Any:
    """What of a section's value the stages before the construction depend on; None for nothing."""
    stages = before_construction(config)
    if LISTS.get(name) is Kind.STAGE:
        return [stage.plugin.to_dict() for stage in stages if stage.plugin is not None]
    return value if name == "seed" or any(name in stage.keys for stage in stages) else None


def _digest(name: str, value: Any) -> str:
    """A hash of a section, or of a part of it."""
    return hashlib.sha256(f"{name}:{json.dumps(value, sort_keys=True)}".encode()).hexdigest()
