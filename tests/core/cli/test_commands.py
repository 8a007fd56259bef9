"""Commands that packages add to the command line."""

import sys
from importlib.metadata import EntryPoint

import pytest

from instax3d import cli
from instax3d.cli import main
from instax3d.plugin import GROUP, CommandSpec
from instax3d.registry import Registry

_MODULE = """
from instax3d.plugin import CommandSpec, Kind, PluginSpec, hookimpl

INSTAX3D_API = 1

@hookimpl
def instax3d_plugins():
    yield PluginSpec(kind=Kind.DENSIFIER, name="{name}", summary="", target="x:Y", config="x:Z")

@hookimpl
def instax3d_commands():
    yield {command}
"""


@pytest.fixture
def plugins_of(tmp_path, monkeypatch):
    """A registry of modules that each add a command."""
    monkeypatch.syspath_prepend(tmp_path)

    def lay_out(**commands: str) -> Registry:
        for name, command in commands.items():
            monkeypatch.delitem(sys.modules, name, raising=False)  # of another test
            (tmp_path / f"{name}.py").write_text(_MODULE.format(name=name, command=command))
        return Registry([EntryPoint(name, name, GROUP) for name in commands])

    return lay_out


def test_a_command_is_listed_by_its_line_and_imported_when_called(plugins_of, tmp_path, monkeypatch, capsys):
    (tmp_path / "greeting_commands.py").write_text(
        "import click\n\n@click.command()\n@click.argument('name')\ndef greet(name):\n    click.echo('hello ' + name)\n"
    )
    spec = 'CommandSpec(name="greet", summary="Says hello.", target="greeting_commands:greet")'
    plugins = plugins_of(greeting=spec)
    monkeypatch.setattr(cli, "registry", lambda: plugins)
    assert main(["--help"]) == 0
    assert "Says hello." in capsys.readouterr().out
    assert main(["greet", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nosuch_module:x", "cannot be imported"),
        ("json:nosuch", "cannot be imported"),
        ("json:dumps", "not a click.Command"),
    ],
)
def test_a_command_that_cannot_be_had_is_said(plugins_of, monkeypatch, capsys, target, said):
    plugins = plugins_of(broken=f'CommandSpec(name="greet", summary="", target="{target}", extra="hello")')
    monkeypatch.setattr(cli, "registry", lambda: plugins)
    assert main(["greet"]) == 2
    assert said in capsys.readouterr().err


def test_a_built_in_command_stays_what_it_is(plugins_of, monkeypatch, capsys):
    plugins = plugins_of(taker='CommandSpec(name="create", summary="Mine now.", target="x:y")')
    monkeypatch.setattr(cli, "registry", lambda: plugins)
    assert main(["--help"]) == 0
    assert "Mine now." not in capsys.readouterr().out


def test_wrong_commands_set_their_package_aside(plugins_of):
    same = 'CommandSpec(name="greet", summary="", target="x:y")'
    assert "already offered by another package" in plugins_of(first=same, second=same).broken[0].reason
    assert "not a CommandSpec" in plugins_of(third='"greet"').broken[0].reason
    with pytest.raises(ValueError, match="not a command name"):
        CommandSpec(name="Not A Name", summary="", target="x:y")
