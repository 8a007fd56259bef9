"""``instax3d assets list|get|check|convert-…`` and ``instax3d licenses``."""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from instax3d.assets.download import download
from instax3d.assets.ledger import Ledger
from instax3d.assets.library import asset_folder, commercial_word, locate, readable, total_size, verify
from instax3d.errors import AssetError, BrokenPluginError
from instax3d.io.paths import ASSETS_VARIABLE, assets_dir
from instax3d.plugin import Asset, AssetConverter, AssetFile
from instax3d.portrait.licenses import parts, verdict
from instax3d.portrait.manifest import read_manifest
from instax3d.registry import registry


class _Assets(click.Group):
    """The built-in commands, and one for each converter of a plugin package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(f"convert-{name}" for name in registry().converters)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        converter = registry().converters.get(name.removeprefix("convert-")) if name.startswith("convert-") else None
        return _conversion(converter) if converter else super().get_command(ctx, name)


@click.group(cls=_Assets)
def assets() -> None:
    """Third-party assets: weights, head models, data. Nothing is downloaded unless you ask for it here."""


def _state(asset: Asset) -> str:
    if not asset.files:
        return "installed with its package"
    if locate(asset.name) is not None:
        return "here"
    return "needs registration" if asset.registration else "can be downloaded" if _direct(asset) else "absent"


def _direct(asset: Asset) -> bool:
    return all(file.url for file in asset.files)


@assets.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_assets(as_json: bool) -> None:
    """List every third-party asset that can be used: license, size, and whether it is here."""
    known = sorted(registry().assets.values(), key=lambda asset: asset.name)
    if as_json:
        click.echo(json.dumps([_described(asset) for asset in known], indent=2))
        return
    for asset in known:
        click.echo(f"{asset.name}: {asset.summary}")
        size = f", {readable(total_size(asset))}" if asset.files else ""
        click.echo(f"  {_state(asset)}{size}; license: {asset.license} ({asset.license_url or 'no URL known'})")
        click.echo(f"  commercial use: {commercial_word(asset.commercial)}; {asset.homepage}")
        if asset.files:
            click.echo(f"  belongs in {asset_folder(asset.name)}: {', '.join(file.name for file in asset.files)}")


def _described(asset: Asset) -> dict[str, Any]:
    return {
        "name": asset.name,
        "summary": asset.summary,
        "state": _state(asset),
        "size": total_size(asset),
        "license": asset.license,
        "license_url": asset.license_url,
        "commercial": asset.commercial,
        "registration": asset.registration,
        "homepage": asset.homepage,
        "folder": str(asset_folder(asset.name)) if asset.files else None,
        "files": [{"name": f.name, "url": f.url, "size": f.size, "sha256": f.sha256} for f in asset.files],
    }


@assets.command()
@click.argument("name")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def get(name: str, quiet: bool) -> None:
    """Download an asset, or list the steps to get it; an interrupted download resumes."""
    asset = registry().asset(name)
    click.echo(f"{asset.summary}; license: {asset.license} ({asset.license_url or 'no URL known'})", err=True)
    click.echo(f"commercial use: {commercial_word(asset.commercial)}", err=True)
    absent = [file for file in asset.files if not (asset_folder(name) / file.name).is_file()]
    by_hand = [file for file in absent if not _may_download(asset, file)]
    if by_hand:
        click.echo("\n".join(_steps(asset, by_hand)))
        click.get_current_context().exit(2)
    for file in asset.files:
        target = asset_folder(name) / file.name
        if file in absent:
            with _bar(file, quiet) as on_progress:
                downloaded = download(asset, file, target, on_progress)
            Ledger(assets_dir()).downloaded(target, downloaded.sha256, downloaded.revision)
        checksum = verify(file, target, asset)
        note = "as published" if file.sha256 else "the published checksum is not known; this one was recorded"
        click.echo(f"{target}: SHA-256 {checksum} ({note})")
    if not asset.files:
        click.echo("it comes inside an installed package; there is nothing to download")


def _may_download(asset: Asset, file: AssetFile) -> bool:
    """Files that require registration are downloaded only with the token that proves it."""
    if file.url is None:
        return False
    return not asset.registration or bool(file.token and os.environ.get(file.token))


def _steps(asset: Asset, files: list[AssetFile]) -> list[str]:
    steps = list(asset.steps) or [
        f"open {asset.homepage}" + (", register and accept the license" if asset.registration else ""),
        f"download {', '.join(Path(file.name).name for file in files)}",
    ]
    tokens = sorted({file.token for file in files if file.token})
    if tokens and all(file.url for file in files):
        steps = [
            f"open {asset.homepage}, log in and accept the license",
            f"make an access token there and set {', '.join(tokens)} to it",
            f"run `instax3d assets get {asset.name}` again",
            "or download the files by hand:",
            *(str(file.url) for file in files),
        ]
    places = [f"put it at {asset_folder(asset.name) / file.name}" for file in files]
    last = f"run `instax3d assets check {asset.name}`"
    return [
        f"{asset.name} cannot be downloaded without you:",
        *(f"  {number}. {step}" for number, step in enumerate([*steps, *places, last], 1)),
    ]


class _bar:  # noqa: N801 - used like a function
    """Progress of a download on the terminal; silent elsewhere."""

    def __init__(self, file: AssetFile, quiet: bool) -> None:
        self._name, self._visible = file.name, not quiet and sys.stderr.isatty()

    def __enter__(self) -> Any:
        return self._show if self._visible else None

    def _show(self, there: int, total: int | None) -> None:
        share = f" of {readable(total)}" if total else ""
        sys.stderr.write(f"\r{self._name}: {readable(there)}{share}\x1b[K")

    def __exit__(self, *_: object) -> None:
        if self._visible:
            sys.stderr.write("\n")


@assets.command()
@click.argument("names", nargs=-1)
@click.option("--accept", is_flag=True, help="Accept files without a published checksum as they are now.")
def check(names: tuple[str, ...], accept: bool) -> None:
    """Compare files with their checksums: NAMES, or all that are here. Exit code 1 if one is wrong or absent."""
    selected = [registry().asset(name) for name in names] or list(registry().assets.values())
    failures = 0
    for asset in selected:
        for file in asset.files:
            path = asset_folder(asset.name) / file.name
            if not path.is_file():
                if names:
                    failures += 1
                    click.echo(f"absent: {path}", err=True)
                continue
            if accept and file.sha256 is None:
                Ledger(assets_dir()).forget(path)
            try:
                checksum = verify(file, path, asset)
            except AssetError as error:
                failures += 1
                click.echo(f"wrong: {error}", err=True)
            else:
                note = "as published" if file.sha256 else "as at first use"
                click.echo(f"fine: {path}, SHA-256 {checksum} ({note})")
    if failures:
        click.get_current_context().exit(1)
    click.echo(f"the assets folder is {assets_dir()} (set {ASSETS_VARIABLE} to change it)")


def _conversion(converter: AssetConverter) -> click.Command:
    @click.argument("source", type=click.Path(path_type=Path))
    @click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
    def convert(source: Path, output: Path) -> None:
        module, _, function = converter.target.partition(":")
        try:
            run = getattr(import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise BrokenPluginError(f"the converter {converter.name!r} cannot be imported ({error})") from error
        click.echo(run(source, output))

    return click.command(f"convert-{converter.name}", help=converter.summary)(convert)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def licenses(folder: Path, as_json: bool) -> None:
    """May the portrait in FOLDER be used commercially? Lists the licenses of everything it was made with."""
    components = list(parts(read_manifest(folder)))
    answer = verdict(components)
    if as_json:
        rows = [{"what": p.what, "license": p.license, "commercial": p.commercial, "url": p.url} for p in components]
        click.echo(json.dumps({"commercial": answer, "parts": rows}, indent=2))
        return
    for part in components:
        url = f" ({part.url})" if part.url else ""
        click.echo(f"{commercial_word(part.commercial):9}  {part.what}: {part.license}{url}")
    text = {True: "yes, as far as these licenses say", False: "no", None: "not known; ask where it says so above"}
    click.echo(f"commercial use: {text[answer]}. The rights in the photo and those of the person are yours to clear.")
