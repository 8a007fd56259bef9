"""A stranger's plugin, written against the contract alone: typed without ignores, installed, used by name; and what it
made outlives it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_portrait import SMALL

from instax3d.cli import main
from instax3d.errors import ConfigError
from instax3d.portrait.portrait import Portrait

FILES = {
    "stranger/__init__.py": '"""A densifier by somebody else."""\n',
    "stranger/py.typed": "",
    "stranger/plugin.py": '''
"""Announces the plugin."""

from collections.abc import Iterator

from instax3d import Kind, PluginSpec, hookimpl

INSTAX3D_API = 1


@hookimpl
def instax3d_plugins() -> Iterator[PluginSpec]:
    """The one plugin of this package."""
    yield PluginSpec(
        kind=Kind.DENSIFIER,
        name="stranger",
        summary="Removes a share of the faintest.",
        target="stranger.densifier:Stranger",
        config="stranger.config:StrangerConfig",
    )
''',
    "stranger/config.py": '''
"""Options."""

from instax3d import PluginConfig


class StrangerConfig(PluginConfig):
    """How much goes."""

    share: float = 0.1
    """Of all Gaussians, at the last step."""
''',
    "stranger/densifier.py": '''
"""The implementation."""

import torch

from instax3d import Densifier, DensifyReport, DensifyStep

from .config import StrangerConfig


class Stranger(Densifier[StrangerConfig]):
    """Removes the faintest Gaussians, parameters and optimizer states together."""

    def before_backward(self, step: DensifyStep) -> None:
        """Nothing to keep."""

    def after_step(self, step: DensifyStep) -> DensifyReport:
        """Once, at the end of the run."""
        count = int(self.config.share * len(step.gaussians))
        if step.step + 1 < step.total_steps or not count:
            return DensifyReport()
        kept = step.gaussians.opacities.argsort()[count:].sort().values
        for name, optimizer in step.optimizers.items():
            old = step.splats[name]
            new = torch.nn.Parameter(old[kept].detach().clone(), requires_grad=old.requires_grad)
            state = optimizer.state.pop(old, {})
            optimizer.state[new] = {k: v[kept] if v.shape == old.shape else v for k, v in state.items()}
            optimizer.param_groups[0]["params"] = [new]
            step.splats[name] = new
        for name in set(step.splats) - set(step.optimizers):
            step.splats[name] = torch.nn.Parameter(step.splats[name][kept], requires_grad=False)
        return DensifyReport(died=count)
''',
    "stranger/typed.py": '''
"""What a type checker sees of the contract."""

from typing import reveal_type

import instax3d
from instax3d import DensifyStep, EvaluationContext, Renderer

from .config import StrangerConfig
from .densifier import Stranger


def reveal(step: DensifyStep, context: EvaluationContext, config: instax3d.RunConfig) -> None:
    """Every one of these has a type of its own."""
    reveal_type(Stranger(StrangerConfig()).config.share)
    reveal_type(step.gaussians.means)
    reveal_type(step.render.image)
    reveal_type(step.optimizers)
    reveal_type(context.detector.detect)
    reveal_type(context.views.cameras.project)
    reveal_type(config.build(Renderer))
    reveal_type(instax3d.build(Renderer, "cpu"))
    reveal_type(instax3d.create("me.jpg"))
    reveal_type(instax3d.register(Stranger, name="again", config=StrangerConfig))
    reveal_type(instax3d.HeadModel.landmarks)
''',
    "test_stranger_suite.py": """
import pytest
from instax3d.testing import DensifierSuite
from stranger.config import StrangerConfig
from stranger.densifier import Stranger


class TestStranger(DensifierSuite):
    @pytest.fixture
    def plugin(self):
        return Stranger(StrangerConfig())
""",
    "stranger-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n",
    "stranger-1.0.dist-info/entry_points.txt": "[instax3d.plugins]\nstranger = stranger.plugin\n",
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as pip leaves it after installing the stranger's distribution."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"), encoding="utf-8")
    return tmp_path


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[2:]; "
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(site), *arguments], capture_output=True, text=True, cwd=site, check=False
    )


@pytest.mark.slow
def test_a_stranger_sees_types_and_no_any(site: Path, pytestconfig: pytest.Config):
    pytest.importorskip("mypy")
    cache = pytestconfig.cache.mkdir("mypy_of_a_stranger")
    done = run(site, "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", "-p", "stranger")
    assert done.returncode == 0, done.stdout + done.stderr
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(revealed) == FILES["stranger/typed.py"].count("    reveal_type(")
    assert [each for each in revealed if re.search(r"\bAny\b", each)] == []


def test_a_strangers_plugin_is_listed_and_chosen_by_name(site: Path):
    listed = run(site, "instax3d", "plugins", "list", "--kind", "densifier")
    assert "stranger 1.0" in listed.stdout, listed.stderr
    checked = run(site, "instax3d", "config", "check", "densifier=stranger", "densifier.share=0.2")
    assert "densifier stranger" in checked.stdout, checked.stderr
    built = site / "build_it.py"
    built.write_text(
        "import instax3d\n"
        "config = instax3d.load_config(overrides=['densifier=stranger', 'densifier.share=0.2'], source='photo')\n"
        "densifier = config.build(instax3d.Densifier)\n"
        "assert type(densifier).__name__ == 'Stranger' and densifier.config.share == 0.2\n"
        "assert instax3d.build(instax3d.Densifier, 'stranger/stranger').config.share == 0.1\n"
    )
    done = run(site, "build_it")
    assert done.returncode == 0, done.stderr


def test_a_strangers_plugin_passes_the_suite_of_its_kind(site: Path):
    done = run(site, "pytest", "-q", "-p", "no:cacheprovider", "test_stranger_suite.py")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@pytest.mark.slow
def test_a_portrait_outlives_the_strangers_plugin_that_made_it(site: Path, photo: Path, tmp_path: Path, capsys):
    """This process never had the stranger's distribution, as after ``pip uninstall stranger``."""
    out = tmp_path / "out"
    options = [*SMALL, "densifier=stranger", "densifier.share=0.2"]
    done = run(site, "instax3d", "create", str(photo), "-o", str(out), "--preset", "draft", "--no-cache", *options)
    assert done.returncode == 0, done.stderr
    portrait = Portrait.load(out)
    assert portrait.recipe["densifier"] == {"plugin": "stranger", "share": 0.2}
    with pytest.raises(ConfigError, match="unknown densifier 'stranger'"):
        portrait.config  # noqa: B018 - it is parsed when it is asked for
    image, alpha = portrait.render(portrait.orbit.cameras([0.0]))
    assert float(alpha.mean()) > 0.2
    posed = portrait.pose({"jawOpen": 0.6}, neck=(0, 20, 0))
    assert float((posed.render(portrait.orbit.cameras([0.0]))[0] - image).abs().mean()) > 0.005
    assert torch.equal(portrait.pose().gaussians.means, portrait.gaussians.means)
    measured = json.loads((out / "run.json").read_text())["metrics"]
    capsys.readouterr()
    assert main(["evaluate", str(out), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["metrics"]
    assert again["psnr_views"] == pytest.approx(measured["psnr_views"], abs=0.1)
    assert main(["evaluate", str(out)]) == 0
    assert "stranger" in (out / "report.html").read_text()
    assert main(["licenses", str(out)]) == 0
    assert "stranger" in capsys.readouterr().out
