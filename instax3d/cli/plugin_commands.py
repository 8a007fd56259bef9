"""``instax3d plugins list|show|check``."""

import json
import sys
from typing import Any

import click

from instax3d.errors import Instax3DError, did_you_mean
from instax3d.plugin import API_VERSION, Kind
from instax3d.registry import PluginEntry, registry


@click.group()
def plugins() -> None:
    """The plugins for each slot.

    \b
    Environment variables, for authors of plugins:
    INSTAX3D_DEV_PLUGINS=my_package.plugin,mine.py   load modules and files that are not installed
    INSTAX3D_DISABLE_PLUGINS=a,b                     leave out entry points by name
    INSTAX3D_STRICT_PLUGINS=1                        raise where a plugin cannot be loaded, with the traceback
    """


def _summary(entry: PluginEntry) -> dict[str, Any]:
    spec = entry.spec
    return {
        "kind": spec.kind.value,
        "name": spec.name,
        "distribution": entry.provider.distribution,
        "version": entry.provider.version,
        "api": entry.provider.api,
        "summary": spec.summary,
        "needs": sorted(spec.needs),
        "provides": sorted(spec.provides),
    }


@plugins.command("list")
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]), help="This kind alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_plugins(kind: str | None, as_json: bool) -> None:
    """List all plugins, and those that could not be loaded."""
    broken_providers = registry().broken
    entries = [entry for entry in registry().offered if kind in (None, entry.spec.kind.value)]
    if as_json:
        broken = [
            {"entry_point": p.entry_point, "distribution": p.distribution, "version": p.version, "error": p.reason}
            for p in broken_providers
        ]
        listed = [_summary(entry) for entry in entries]
        click.echo(json.dumps({"api": API_VERSION, "plugins": listed, "broken": broken}, indent=2))
        return
    rows = [(e.spec.kind.value, e.spec.name, str(e.provider), e.spec.summary) for e in entries]
    rows += [("not loaded", p.entry_point, str(p), p.reason) for p in broken_providers]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]))


@plugins.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show the options of a plugin, with their defaults. NAME can be distribution/NAME."""
    hits = [entry for entry in registry().offered if name in (entry.spec.name, entry.qualified_name)]
    if not hits:
        names = sorted({entry.spec.name for entry in registry().offered})
        raise Instax3DError(f"no plugin is named {name!r}{did_you_mean(name, names)} there are: {', '.join(names)}")
    described = [{**_summary(entry), "options": _options(entry)} for entry in hits]
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    for item in described:
        click.echo(f"{item['kind']} {item['name']} ({item['distribution']} {item['version']}): {item['summary']}")
        for label in ("needs", "provides"):
            if item[label]:
                click.echo(f"  {label} {', '.join(item[label])}")
        for option in item["options"]:
            click.echo(f"  {option['name']} = {option['default']}  ({option['type']})")
            if option["help"]:
                click.echo(f"      {option['help']}")


def _options(entry: PluginEntry) -> list[dict[str, Any]]:
    fields = entry.config_class().model_fields
    return [
        {
            "name": name,
            "default": "required" if field.is_required() else field.get_default(call_default_factory=True),
            "type": getattr(field.annotation, "__name__", str(field.annotation)),
            "help": " ".join((field.description or "").split()),
        }
        for name, field in fields.items()
    ]


@plugins.command()
def check() -> None:
    """Import every plugin and report what is wrong; exit code 1 if something is."""
    plugins_here = registry()
    problems = [f"{p.entry_point} of {p} was not loaded ({p.reason})" for p in plugins_here.broken]
    for entry in plugins_here.offered:
        missing = entry.missing_imports()
        if missing:
            hint = f"; try: pip install 'instax3d[{entry.spec.extra}]'" if entry.spec.extra else ""
            click.echo(f"{entry.qualified_name}: cannot run here, {', '.join(missing)} is not installed{hint}")
            continue
        try:
            entry.config_class()
            entry.plugin_class()
        except Instax3DError as error:
            problems.append(str(error))
    for kind in Kind:
        names = [entry.spec.name for entry in plugins_here.plugins(kind)]
        for name in sorted({name for name in names if names.count(name) > 1}):
            offered = ", ".join(e.qualified_name for e in plugins_here.plugins(kind) if e.spec.name == name)
            click.echo(f"{kind.value} {name!r} is offered more than once; configs must say which: {offered}")
    for line in problems:
        click.echo(line, err=True)
    if problems:
        sys.exit(1)
    click.echo(f"{len(plugins_here.offered)} plugins are fine; the plugin API is {API_VERSION}")
