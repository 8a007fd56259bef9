"""The contract keeps what its frozen versions promised, and the tool that compares them finds what would break."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_house import tool

from instax3d.plugin import API_VERSION

BEFORE = """
import abc
from dataclasses import dataclass
from enum import StrEnum

FIVE = "five"
LIMIT: int = 5

class Sort(StrEnum):
    ONE = "one"

class Options(PluginConfig):
    share: float = 0.5
    size: int

@dataclass(frozen=True)
class Step:
    step: int
    total: int = 0

    def left(self, by: int = 1) -> int: ...

@dataclass(kw_only=True)
class Spec:
    name: str
    needs: frozenset[str] = frozenset()

class Part(Component[C]):
    mode: str = "plain"

    @abc.abstractmethod
    def run(self, step: Step) -> int: ...

    def save(self) -> dict: ...

class Sad(ValueError): ...

def build(name: str, **options: Any) -> Part: ...
"""


@pytest.fixture
def contract() -> ModuleType:
    return tool("contract")


@pytest.fixture
def surface(contract: ModuleType, tmp_path: Path) -> Any:
    """Reads a package of one contract module, and of another that it may import from."""

    def read(text: str, version: object = 1, other: str = "") -> Any:
        package = tmp_path / "instax3d"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text('__all__ = ["Part"]\n')
        (package / "_tiers.py").write_text('CONTRACT = ("plugin", "other")\n')
        (package / "plugin.py").write_text(f"API_VERSION = {version!r}\n{text}")
        (package / "other.py").write_text(other)
        return contract.read_surface(tmp_path)

    return read


def test_the_contract_keeps_what_it_promised(contract):
    assert list(contract.problems(contract.read_surface(contract.ROOT))) == []


def test_every_exception_has_a_reason(contract):
    assert {each.version for each in contract.frozen()} >= {"1.0", API_VERSION}
    for lines in contract.exceptions().values():
        assert [name for name, reason in lines.items() if len(reason.split()) < 8] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('    ONE = "one"', '    ONE = "one"\n    TWO = "two"'),
        ("share: float = 0.5", "share: float = 0.5\n    more: int = 1"),
        ("share: float = 0.5\n    size: int", "size: int\n    share: float = 0.5"),
        ("total: int = 0", "total: int = 0\n    scale: float = 1.0"),
        ("total: int = 0", "total: int = 0\n    who: str = field(default='')"),
        ("by: int = 1", "by: int = 1, *, twice: bool = False"),
        ("    name: str\n", "    name: str\n    reads: tuple[str, ...] = ()\n"),
        ("    def save(self)", "    def close(self) -> None: ...\n\n    def save(self)"),
        ("    def save(self)", "    shared: bool = True\n\n    def save(self)"),
        ("    @abc.abstractmethod\n    def run", "    def run"),
        ("class Sad(ValueError)", "class Sad(Instax3DError, ValueError)"),
        ("name: str, **options", "name: str, where: str = '', **options"),
        ("name: str, **options", "name: str | Path, **options"),
        ("class Sad", "class New(Component[C]):\n    @abc.abstractmethod\n    def go(self): ...\n\nclass Sad"),
        ("def build", "def other() -> None: ...\n\ndef build"),
        ("def build", "def _private(x) -> None: ...\n\ndef build"),
    ],
)
def test_what_a_minor_version_may_add(contract, surface, old, new):
    before, after = surface(BEFORE), surface(BEFORE.replace(old, new))
    assert BEFORE.replace(old, new) != BEFORE
    assert contract.breaks(before, after) == {}


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ('FIVE = "five"', 'FIVE = "5"', "FIVE"),
        ("LIMIT: int", "LIMIT: float", "LIMIT"),
        ('    ONE = "one"', '    TWO = "two"', "Sort.ONE"),
        ("share: float = 0.5", "share: float = 0.1", "Options"),
        ("share: float = 0.5", "part: float = 0.5", "Options"),
        ("share: float = 0.5", "share: float = 0.5\n    must: int", "Options"),
        ("total: int = 0", "total: int", "Step"),
        ("total: int = 0", "first: int = 0\n    total: int = 0", "Step"),
        ("step: int\n", "step: float\n", "Step"),
        ("step: int\n", "step: int | None\n", "Step"),
        ("by: int = 1", "by: int", "Step.left"),
        ("by: int = 1) -> int", "by: int = 1) -> float", "Step.left"),
        ("    name: str\n    needs", "    name: str\n    must: int\n    needs", "Spec"),
        ('mode: str = "plain"', 'mode: str = "other"', "Part.mode"),
        ('    mode: str = "plain"', "", "Part.mode"),
        ("step: Step) -> int", "step: Step, more: int = 0) -> int", "Part.run"),
        ("    def save", "    @abc.abstractmethod\n    def save", "Part.save"),
        ("    def save", "    @abc.abstractmethod\n    def go(self): ...\n\n    def save", "Part.go"),
        ("    def save", "    count: int\n\n    def save", "Part.count"),
        ("class Sad(ValueError)", "class Sad(LookupError)", "Sad"),
        ("name: str, **options: Any", "name: str", "build"),
        ("name: str, **options", "name: str, where: str, **options", "build"),
        ("def build", "def make", "build"),
        ("class Part(Component[C])", "class Part", "Part"),
    ],
)
def test_what_a_minor_version_may_not_change(contract, surface, old, new, name):
    assert BEFORE.replace(old, new) != BEFORE
    found = contract.breaks(surface(BEFORE), surface(BEFORE.replace(old, new)))
    assert f"plugin.{name}" in found


def test_a_name_that_moves_is_found_where_it_was(contract, surface):
    head, _, tail = BEFORE.partition("class Part")
    part, _, rest = tail.partition("class Sad")
    moved = surface(f"{head}\nfrom .other import Part\nclass Sad{rest}", other=f"class Part{part}")
    assert "plugin.Part.run" not in moved.names
    assert contract.breaks(surface(BEFORE), moved) == {}
    assert "plugin.Part" in contract.breaks(
        surface(BEFORE), surface(f"{head}\nclass Sad{rest}", other=f"class Part{part}")
    )


def test_versions_exceptions_and_freezing(contract, surface, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(contract, "FROZEN", tmp_path)
    monkeypatch.setattr(contract, "EXCEPTIONS", tmp_path / "exceptions.toml")
    monkeypatch.setattr(contract, "ROOT", tmp_path)
    (tmp_path / "exceptions.toml").write_text("")

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["contract.py", "--root", str(tmp_path), *arguments])
        return contract.main(), capsys.readouterr().out

    surface(BEFORE)
    assert run()[0] == 1
    assert run("--freeze")[0] == 0
    surface(BEFORE.replace("LIMIT", "MOST"), "1.1")
    code, said = run()
    assert code == 1
    assert "plugin.LIMIT was removed" in said
    assert "version 1.1 is not frozen as it is now" in said
    (tmp_path / "exceptions.toml").write_text('["1.0"]\n"plugin.LIMIT" = "Nobody used it."\n')
    assert run("--freeze")[0] == 0
    surface(BEFORE, "1.1")
    assert "excuses plugin.LIMIT of 1.0, which is not broken" in run()[1]
