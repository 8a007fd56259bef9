"""The command line as a user meets it: answers, refusals, exit codes."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from instax3d.cli import main
from instax3d.cli.create_commands import result_line
from instax3d.io.progress import PlainLines
from instax3d.io.terminal import logged_to

PYTHON = [sys.executable, "-c", "import sys; from instax3d.cli import main; sys.exit(main(sys.argv[1:]))"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PYTHON, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["create", "--help"],
        ["fit", "--help"],
        ["plugins", "list"],
        ["assets", "list"],
        ["config", "check", "densifer=x"],
    ],
)
def test_quick_answers_are_quick_and_without_torch(arguments):
    code = (
        "import sys; from instax3d.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "sys.exit(9 if 'torch' in sys.modules else 0)"
    )
    seconds = []
    for _ in range(3):
        since = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False)
        seconds.append(time.perf_counter() - since)
        assert done.returncode == 0, done.stderr
    assert min(seconds) < 2.0  # the budget is 0.4 s on a free machine; a wide margin for a busy one


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "nosuch.jpg", "-o", "OUT"], "nosuch.jpg"),
        (["create", "EMPTY", "-o", "OUT"], "transforms"),
        (["create", "nosuch.jpg", "-o", "OUT", "--preset", "drft"], "did you mean 'draft'"),
        (["create", "nosuch.jpg", "-o", "OUT", "densifer=x"], "did you mean 'densifier'"),
        (["create", "nosuch.jpg", "-o", "OUT", "densifier.grow_grad=1"], "grow_grad2d"),
        (["create", "nosuch.jpg", "-o", "OUT", "view_generator=frames"], "needs capture"),
        (["create", "nosuch.jpg", "-o", "TAKEN"], "is not a portrait"),
        (["create", "nosuch.jpg"], "--output"),
        (["render", "EMPTY", "--cameras", "x.json", "-o", "OUT"], "is not a portrait"),
        (["plugins", "show", "nosuch"], "no plugin is named"),
        (["config", "check", "--config", "nosuch.yaml"], "cannot read the config file"),
        (["create", "nosuch*.jpg", "-o", "OUT", "--resume"], "resumes by itself"),
        (["create", "nosuch*.jpg", "-o", "OUT", "--quiet"], "leave them out for a pattern"),
        (["create", "nosuch.jpg", "-o", "OUT", "--workers", "2"], "--workers is for a pattern"),
        (["create", "nosuch*.jpg", "-o", "OUT"], "matches nosuch*.jpg"),
        (["nosuch"], "unknown command"),
        (["licences"], "did you mean 'licenses'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments, message, tmp_path: Path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "holiday.jpg").write_bytes(b"")
    places = {"OUT": tmp_path / "out", "EMPTY": tmp_path / "empty", "TAKEN": tmp_path / "taken"}
    before = sorted(tmp_path.rglob("*"))
    assert main([str(places.get(argument, argument)) for argument in arguments]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert sorted(tmp_path.rglob("*")) == before, "nothing is left behind"


def test_an_unexpected_fault_is_told_apart(monkeypatch, capsys):
    import instax3d.config

    def broken(**_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(instax3d.config, "load_config", broken)
    monkeypatch.setattr("instax3d.cli.config_commands.load_config", broken)
    assert main(["config", "check"]) == 1
    assert "not in your input" in capsys.readouterr().err


def test_machines_get_json(capsys):
    assert main(["plugins", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"absgs", "cpu", "dlib", "frames", "gsplat", "mannequin", "template", "triangles"} <= {
        plugin["name"] for plugin in listed["plugins"]
    }
    assert main(["plugins", "show", "absgs", "--json"]) == 0
    options = json.loads(capsys.readouterr().out)[0]["options"]
    assert "grow_grad2d" in {option["name"] for option in options}
    assert main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["densifier"]["plugin"] == "absgs"
    assert main(["config", "schema"]) == 0
    assert "absgs" in capsys.readouterr().out


def test_origins_are_shown(capsys):
    assert main(["config", "show", "seed=3"]) == 0
    shown = capsys.readouterr().out
    assert "seed: 3  # command line" in shown
    assert "plugin: mannequin  # base.yaml" in shown


def test_all_built_in_plugins_are_in_order(capsys):
    assert main(["plugins", "check"]) == 0, capsys.readouterr().err


@pytest.mark.slow
def test_warmup_leaves_everything_compiled(capsys):
    assert main(["warmup"]) == 0
    assert "ready after" in capsys.readouterr().out


def test_what_is_logged_is_shown(capsys):
    with logged_to(PlainLines()):
        logging.getLogger("instax3d.cpu").info("Compiling")
        logging.getLogger("elsewhere").info("Chatter")
    logging.getLogger("instax3d.cpu").info("too late")
    assert capsys.readouterr().err == "note: Compiling\n"


def test_the_module_runs_as_a_program():
    assert run("--version").stdout.startswith("instax3d ")


def test_the_last_line_of_create_holds_metrics_in_their_decimals_and_no_flags():
    figures = {"bald": 0.0, "single_view": 1.0, "views_with_face": 6.0, "psnr_views": 31.4159, "ssim_views": 0.91239}
    assert result_line(12345, figures) == "12,345 Gaussians; psnr_views 31.42 dB, ssim_views 0.9124"
    assert result_line(7, {"bald": 1.0}) == "7 Gaussians"


def test_two_photos_that_would_share_a_folder_are_refused(tmp_path: Path, capsys):
    for name in ("q/a-b.jpg", "r/a-b.jpg", "q-a/b.jpg", "r/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert main(["create", str(tmp_path / "*" / "*.jpg"), "-o", str(tmp_path / "out")]) == 2
    assert "would both be written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
