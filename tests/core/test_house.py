"""The checks of `make lint` that are our own find what they are for."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Three rooms in a row: top imports middle imports bottom."""
    folder = tmp_path / "house"
    (folder / "middle").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "middle" / "__init__.py").write_text("")
    (folder / "top.py").write_text("from house.middle.stairs import up\n")
    (folder / "middle" / "stairs.py").write_text("def up():\n    from ..bottom import down\n")
    (folder / "bottom.py").write_text("import os\n")
    return folder


def test_rooms_and_arrows_are_counted(package):
    house = tool("house")
    assert house.rooms_of(package) == ["bottom", "middle", "top"]
    assert house.arrows_of(package) == {("top", "middle"), ("middle", "bottom")}
    assert house.circles_of(house.rooms_of(package), house.arrows_of(package)) == []


def test_a_circle_is_found_between_rooms_and_within_one(package):
    house = tool("house")
    (package / "bottom.py").write_text("def late():\n    import house.top\n")
    assert house.circles_of(house.rooms_of(package), house.arrows_of(package)) == [["bottom", "middle", "top"]]
    (package / "middle" / "stairs.py").write_text("from .landing import rest\n")
    (package / "middle" / "landing.py").write_text("from .stairs import up\n")
    arrows = house.module_arrows_of(package)
    modules = sorted({end for arrow in arrows for end in arrow})
    assert house.circles_of(modules, arrows) == [["middle.landing", "middle.stairs"]]


def test_a_family_and_its_entry_point_belong_together(tmp_path):
    house = tool("house")
    for family in ("here", "forgotten"):
        (tmp_path / "plugins" / "instax3d_plugins" / family).mkdir(parents=True)
        (tmp_path / "plugins" / "instax3d_plugins" / family / "plugin.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[project.entry-points."instax3d.plugins"]\n'
        'here = "instax3d_plugins.here.plugin"\ngone = "instax3d_plugins.gone.plugin"\n'
    )
    assert list(house.unannounced(tmp_path)) == [
        "pyproject.toml lacks forgotten = 'instax3d_plugins.forgotten.plugin'",
        "entry point gone names no family",
    ]


@pytest.mark.parametrize(
    ("signature", "bare"),
    [
        ("image: Tensor", True),
        ("image: np.ndarray | None", True),
        ('image: Float[Tensor, "h w"]', False),
        ("state: dict[str, Tensor]", False),
    ],
)
def test_a_public_array_without_a_shape_is_found(tmp_path, monkeypatch, signature, bare):
    shapes = tool("shapes")
    monkeypatch.setattr(shapes, "ROOT", tmp_path)
    (tmp_path / "module.py").write_text(f"def draw({signature}) -> None: ...\ndef _own(image: Tensor) -> None: ...\n")
    assert list(shapes.unshaped(tmp_path / "module.py")) == (["module.py:1 draw"] if bare else [])
