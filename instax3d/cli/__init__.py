"""The command line. A command's module is imported when it is called, torch only when the command needs it."""

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from instax3d.errors import BrokenPluginError, Instax3DError, did_you_mean
from instax3d.plugin import CommandSpec
from instax3d.registry import registry

_COMMANDS = {
    "create": ("create_commands", "Make a portrait of a photo or a capture."),
    "fit": ("fit_commands", "Fit the head model alone, and show how well it fits over the views."),
    "render": ("create_commands", "Render a saved portrait from the cameras of a file."),
    "pose": ("pose_commands", "A saved portrait with another expression or pose."),
    "benchmark": ("benchmark_commands", "Make a portrait for every cell of a grid of settings, and compare them."),
    "evaluate": ("evaluate_commands", "Measure a portrait, and write its report."),
    "plugins": ("plugin_commands", "The plugins for each slot: list, show, check."),
    "cache": ("create_commands", "Cached results of stages: where, how much, clear."),
    "warmup": ("create_commands", "Compile ahead what the first portrait would have to compile."),
    "dataset": ("dataset_commands", "Turntable clips to train view generators on: make, check."),
    "assets": ("asset_commands", "Third-party assets such as weights and head models: list, get, check."),
    "licenses": ("asset_commands", "Whether a portrait may be used commercially."),
    "config": ("config_commands", "Inspect a configuration before running it: show, check, schema."),
}


class _Commands(click.Group):
    """Knows each command by its name and one line, so that help imports none of their modules.

    Packages may add commands (`instax3d.plugin.CommandSpec`), but not replace built-in ones.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *_added()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in _COMMANDS:
            command: click.Command = getattr(import_module(f".{_COMMANDS[name][0]}", __package__), name)
            return command
        added = _added().get(name)
        return None if added is None else _imported(added)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            commands = self.list_commands(ctx)
            guess = did_you_mean(args[0], commands)
            raise click.UsageError(f"unknown command {args[0]!r}{guess} there are: {', '.join(commands)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])
        if added := _added():
            with formatter.section("Commands of plugin packages"):
                formatter.write_dl([(spec.name, spec.summary) for spec in added.values()])


def _added() -> dict[str, CommandSpec]:
    return {name: spec for name, spec in sorted(registry().commands.items()) if name not in _COMMANDS}


def _imported(spec: CommandSpec) -> click.Command:
    module, _, attribute = spec.target.partition(":")
    try:
        command = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        hint = f"; try: pip install 'instax3d[{spec.extra}]'" if spec.extra else ""
        raise BrokenPluginError(f"the command {spec.name!r} cannot be imported ({error}){hint}") from error
    if not isinstance(command, click.Command):
        raise BrokenPluginError(f"the command {spec.name!r}: {spec.target} is not a click.Command")
    return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="instax3d", message="instax3d %(version)s")
@click.option("--traceback", is_flag=True, help="Show where an error comes from.")
def root(traceback: bool) -> None:
    """One headshot photo in, a full-head 3D Gaussian portrait out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Exit code 0; 1 after a bug, 2 after an error in the input, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(root.main(args=arguments, prog_name="instax3d", standalone_mode=False) or 0)
    except click.exceptions.Abort:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Instax3DError as error:
        if "--traceback" in arguments:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if "--traceback" in arguments:
            raise
        print(
            f"error: {type(error).__name__}: {error}\nThis is a bug in instax3d or in a plugin, not in your input; "
            "`instax3d --traceback …` shows where.",
            file=sys.stderr,
        )
        return 1
