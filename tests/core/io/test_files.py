"""Results appear whole or not at all, and a failure never costs what was there before."""

from pathlib import Path

import pytest

from instax3d.io.files import atomic_folder, stays_inside


def written(folder: Path, text: str) -> None:
    with atomic_folder(folder) as new:
        (new / "result.txt").write_text(text)


def test_a_folder_is_replaced_as_a_whole_and_nothing_else_remains(tmp_path):
    written(tmp_path / "out", "first")
    (tmp_path / "out" / "more.txt").write_text("")
    written(tmp_path / "out", "second")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {"result.txt": "second"}


def test_when_the_new_folder_cannot_take_the_old_ones_place_the_old_one_is_still_there(tmp_path, monkeypatch):
    written(tmp_path / "out", "first")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(PermissionError):
        written(tmp_path / "out", "second")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "result.txt").read_text() == "first"


def test_where_even_that_fails_the_old_folder_still_lies_beside(tmp_path, monkeypatch):
    written(tmp_path / "out", "first")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name != "out":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(PermissionError):
        written(tmp_path / "out", "second")
    (previous,) = tmp_path.iterdir()
    assert (previous / "result.txt").read_text() == "first"


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a.png", True),
        ("train/a..b.png", True),
        ("./a.png", True),
        ("..", False),
        ("../a.png", False),
        ("train/../../a.png", False),
        ("/etc/passwd", False),
        ("..\\a.png", False),
        ("C:\\a.png", False),
        ("C:a.png", False),
        ("\\a.png", False),
        ("a\0b", False),
        ("", False),
        (".", False),
    ],
)
def test_a_name_that_leads_out_of_its_folder_is_known(name, inside):
    assert stays_inside(name) is inside
