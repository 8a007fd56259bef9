"""Pages of portraits and benchmarks: what stands in them, and that a browser shows them without complaint."""

import io
import json
import re
import shutil
from pathlib import Path

import pytest
from browser import look_at
from PIL import Image
from small_portrait import SMALL

from instax3d.benchmark.grid import read_grid
from instax3d.benchmark.plan import make_plan
from instax3d.benchmark.store import FolderStore
from instax3d.benchmark.summary import best_lines, write_summary
from instax3d.cli import main


@pytest.fixture(scope="module")
def evaluated(made: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "me & <you>"
    shutil.copytree(made, folder)
    assert main(["evaluate", str(folder)]) == 0
    return folder


def needs_no_network(page: Path) -> bool:
    """Links of namespaces in SVG are names, not addresses."""
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:|#)([^"')\s>]+)""", page.read_text())
    return not addresses


def test_a_browser_shows_the_page_of_a_portrait(evaluated: Path):
    page = evaluated / "report.html"
    assert needs_no_network(page)
    seen = look_at(page)
    assert seen.console == []
    assert (seen.images, seen.plots) == ("2/2", "1/1")
    assert not seen.wide


def test_the_browser_would_tell(tmp_path: Path):
    page = tmp_path / "bad.html"
    page.write_text("<html><body><img src='data:image/png;base64,AAAA'><script>nothing.here()</script></body></html>")
    seen = look_at(page)
    assert "nothing is not defined" in seen.console[0]
    assert seen.images == "0/1"


def test_the_page_tells_the_figures_and_how_they_came_about(evaluated: Path):
    text = (evaluated / "report.html").read_text()
    run = json.loads((evaluated / "run.json").read_text())
    assert "me &amp; &lt;you&gt;" in text
    assert f"{run['gaussians']:,} Gaussians" in text
    assert "psnr_views" in text
    assert "dB" in text
    assert "mannequin" in text
    assert "dlib" in text


def test_figures_measured_again_are_those_of_the_run(evaluated: Path, capsys):
    assert main(["evaluate", str(evaluated), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    metrics = json.loads((evaluated / "run.json").read_text())["metrics"]
    assert again["metrics"]["psnr_views"] == pytest.approx(metrics["psnr_views"], abs=0.1)  # views are saved in 8 bits
    assert again["metrics"]["identity_front"] == pytest.approx(metrics["identity_front"], abs=0.02)
    assert again["not_measured"] == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metrics", "fidelty"], "did you mean 'fidelity'"),
        (["--metrics", ""], "names no metric"),
        (["--against", "nowhere"], "nowhere"),
    ],
)
def test_wrong_wishes_are_refused_in_words(evaluated: Path, capsys, arguments, said):
    assert main(["evaluate", str(evaluated), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_without_portrait_is_refused(tmp_path: Path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "config.yaml" in capsys.readouterr().err


def test_a_pattern_makes_a_portrait_of_each_photo(photo: Path, made: Path, tmp_path: Path, capfd):
    shutil.copy(photo, tmp_path / "anna.png")
    Image.new("RGB", (300, 300), "gray").save(tmp_path / "wall.png")
    command = ["create", str(tmp_path / "*.png"), "-o", str(tmp_path / "all"), "--preset", "draft", *SMALL]
    with pytest.raises(SystemExit, match="1"):  # as of a program of its own
        main([*command, "--workers", "2"])
    out, err = capfd.readouterr()
    assert f"anna: {tmp_path / 'all' / 'anna'}" in out
    assert "wall: PhotoError" in err
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"anna"}
    assert (tmp_path / "all" / "anna" / "portrait.ply").stat().st_size > 0


def sheet() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (640, 160), "teal").save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def finished(tmp_path: Path) -> tuple:
    """A benchmark of two cells that are done, one that failed, and a combination that cannot be."""
    (tmp_path / "anna.jpg").write_bytes(b"anna")
    (tmp_path / "grid.yaml").write_text(
        "subjects: [anna.jpg]\nvary: {densifier: [absgs, none, mcmc], view_generator: [template, frames]}"
    )
    plan, store = make_plan(read_grid(tmp_path / "grid.yaml")), FolderStore(tmp_path / "out")
    store.create()
    for number, cell in enumerate(plan.cells[:2]):
        folder = Path(store.cell(cell.id))
        folder.mkdir()
        manifest = {
            "metrics": {"psnr_views": 30.0 + number}, "not_measured": {"facenet": "needs <weights>"}, "gaussians": 1000,
            "seconds": {"construct": 2.0 + number, "total": 2.0 + number}, "reused": {"views": 1.0}, "instax3d": "1",
            "device": "cpu", "machine": {"threads": 1, "platform": "here", "versions": {"torch": "2"}},
        }  # fmt: skip
        (folder / "run.json").write_text(json.dumps(manifest))
        (folder / "turntable.png").write_bytes(sheet())
    store.fail(plan.cells[2].id, {"subject": "anna", "overrides": ["densifier=mcmc"], "error": "no <memory>"})
    return plan, store


def test_a_browser_shows_the_page_of_a_benchmark(finished):
    plan, store = finished
    table = write_summary(plan, store, "a <study>")
    page = store.folder / "report.html"
    assert needs_no_network(page)
    seen = look_at(page)
    assert seen.console == []
    assert (seen.images, seen.plots) == ("2/2", "1/1")
    assert not seen.wide
    text = page.read_text()
    for said in ("a &lt;study&gt;", "no &lt;memory&gt;", "needs &lt;weights&gt;", "3 combinations", "here, torch 2"):
        assert said in text
    assert best_lines(table)[0] == "psnr_views: 31.00 dB with none"


def test_a_benchmark_without_results_has_no_table(tmp_path, finished):
    empty = FolderStore(tmp_path / "empty")
    empty.create()
    assert write_summary(finished[0], empty, "nothing") is None
    assert not (tmp_path / "empty" / "report.html").exists()
