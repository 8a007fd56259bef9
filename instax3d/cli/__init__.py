"""The command line. A command's module is imported when it is called, and torch when the command needs it."""

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from ..errors import Instax3DError

_COMMANDS = {
    "create": ("create_commands", "Make a portrait of a photo or a capture."),
    "fit": ("fit_commands", "Fit the head model alone, and show over the views how well."),
    "render": ("create_commands", "Render a saved portrait from the cameras of a file."),
    "plugins": ("plugin_commands", "What can be chosen for each slot: list, show, check."),
    "cache": ("create_commands", "Results kept for later runs: where, how much, clear."),
    "warmup": ("create_commands", "Compile ahead what the first portrait would compile."),
    "assets": ("asset_commands", "Files of others, such as weights and head models: list, get, check."),
    "licences": ("asset_commands", "Whether a portrait may be used commercially."),
    "config": ("config_commands", "Look at a configuration before running it: show, check, schema."),
}


class _Commands(click.Group):
    """Knows the commands by name and one line each, so that help needs none of their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f".{_COMMANDS[name][0]}", __package__), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="instax3d", message="instax3d %(version)s")
@click.option("--traceback", is_flag=True, help="Show where an error came from.")
def root(traceback: bool) -> None:
    """One headshot photo in, a full-head 3D Gaussian portrait out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Exit code 0, 1 after a fault of the program, 2 of its input, 130 after Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return int(root.main(args=given, prog_name="instax3d", standalone_mode=False) or 0)
    except click.exceptions.Abort:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Instax3DError as error:
        if "--traceback" in given:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if "--traceback" in given:
            raise
        print(
            f"error: {type(error).__name__}: {error}\nThis is a fault of instax3d or of a plugin, not of your input; "
            "`instax3d --traceback …` shows where.",
            file=sys.stderr,
        )
        return 1
