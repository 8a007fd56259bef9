"""Records that hold tensors compare by identity: the truth of an array's equality is ambiguous, and it has no hash."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from instax3d.types import Face, Photo, Views

ROOT = Path(__file__).resolve().parents[2]
ARRAYS = {"Tensor", "ndarray", "DataFrame", "Series", "ParameterDict"}


@dataclass(frozen=True)
class Definition:
    """A dataclass in the source."""

    place: str
    """Its file, line and name."""
    node: ast.ClassDef
    decorator: str
    words: set[str]
    """All names in the annotations of its fields."""
    visible: Mapping[str, str]
    """Names of classes to the names of the modules, as far as its module defines or imports them."""

    @property
    def key(self) -> str:
        """Its module's last name and its own: enough to tell namesakes apart."""
        return f"{Path(self.place.partition(':')[0]).stem}.{self.node.name}"


def definitions() -> Iterator[Definition]:
    """Every dataclass of the project."""
    for path in (path for folder in ("instax3d", "plugins", "benchmarks") for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        visible = {node.name: path.stem for node in tree.body if isinstance(node, ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                visible |= {alias.name: (node.module or "").rpartition(".")[2] for alias in node.names}
        for node in ast.walk(tree):
            marks = [ast.unparse(mark) for mark in getattr(node, "decorator_list", [])]
            marks = [mark for mark in marks if mark.partition("(")[0] == "dataclass"]
            if marks and isinstance(node, ast.ClassDef):
                fields = [item.annotation for item in node.body if isinstance(item, ast.AnnAssign)]
                words = {word for field in fields for word in re.findall(r"\w+", ast.unparse(field))}
                yield Definition(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node, marks[0], words, visible)


def holding_arrays() -> list[Definition]:
    """Dataclasses with arrays among their fields, or with records that hold some."""
    everything = list(definitions())
    holders = [each for each in everything if each.words & ARRAYS]
    before = 0
    while len(holders) > before:
        before, keys = len(holders), {each.key for each in holders}
        holders = [
            each
            for each in everything
            if each.words & ARRAYS or any(f"{each.visible.get(word)}.{word}" in keys for word in each.words)
        ]
    return holders


def test_records_of_tensors_compare_by_identity():
    records = holding_arrays()
    assert len(records) > 50
    assert [record.place for record in records if "eq=False" not in record.decorator] == []


def test_a_face_equals_itself_alone_and_can_be_a_key():
    def face() -> Face:
        return Face((0.0, 0.0, 1.0, 1.0), 1.0, torch.zeros(68, 2))

    one = face()
    assert one == one
    assert one != face()
    assert one in {one: 1}


@pytest.mark.parametrize("record", [Photo, Views])
def test_records_between_stages_are_hashable(record):
    assert record.__hash__ is object.__hash__
