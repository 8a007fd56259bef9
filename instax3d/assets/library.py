"""Finds assets, and says in one sentence how to get those that are not here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from instax3d._sharing import is_read
from instax3d.errors import AssetError
from instax3d.io.paths import assets_dir
from instax3d.plugin import Asset, AssetFile
from instax3d.registry import registry

from .ledger import Ledger


@dataclass(frozen=True, slots=True)
class Located:
    """The files of an asset on this machine."""

    asset: Asset
    files: Mapping[str, Path]
    """By their names in the asset."""
    own: bool
    """Whether the path is the user's own, rather than in the assets folder."""

    @property
    def path(self) -> Path:
        """The file itself; of several files, their folder."""
        paths = list(self.files.values())
        return paths[0] if len(paths) == 1 else paths[0].parents[len(Path(next(iter(self.files))).parts) - 1]


def asset_folder(name: str) -> Path:
    """The folder where the files of an asset belong."""
    return assets_dir() / name


def locate(name: str) -> Located | None:
    """An asset in the assets folder, or None if one of its files is absent. Nothing is read.

    Raises:
        AssetError: no installed package knows the name.
    """
    asset = registry().asset(name)
    folder = asset_folder(name)
    files = {file.name: folder / file.name for file in asset.files}
    return Located(asset, files, own=False) if all(path.is_file() for path in files.values()) else None


def require(name: str, own: str | Path | None = None) -> Located:
    """An asset's files, the user's own or those in the assets folder; these are compared with their checksums.

    Args:
        name: of the asset.
        own: the user's own copy: the file, or a folder that holds the asset's files under their names (or, for an
            asset of one file, a folder in its place). None, or the asset's name: the assets folder.

    Raises:
        AssetError: unknown, absent, or not the published file; the message says how to get it.
    """
    asset = registry().asset(name)
    if own is not None and str(own) != name:
        located = _own(asset, Path(own).expanduser())
        is_read(located.files.values())
        return located
    here = locate(name)
    if here is None:
        raise AssetError(_missing(asset))
    is_read(here.files.values())
    for file in asset.files:
        verify(file, here.files[file.name], asset)
    return here


def _own(asset: Asset, path: Path) -> Located:
    if path.is_file():
        if len(asset.files) != 1:
            names = ", ".join(file.name for file in asset.files)
            raise AssetError(f"{path} is one file, but {asset.summary} has several; give the folder that holds {names}")
        return Located(asset, {asset.files[0].name: path}, own=True)
    if not path.is_dir():
        raise AssetError(f"{path} does not exist; give the path of {asset.summary}, or see `instax3d assets list`")
    if len(asset.files) == 1 and not (path / asset.files[0].name).is_file():
        return Located(asset, {asset.files[0].name: path}, own=True)  # a folder in place of an archive
    paths = {file.name: _named(file, path) for file in asset.files}
    absent = [" or ".join((file.name, *file.also)) for file in asset.files if paths[file.name] is None]
    if absent:
        raise AssetError(f"{path} does not hold {', '.join(absent)}, which {asset.summary} needs")
    return Located(asset, {name: file for name, file in paths.items() if file is not None}, own=True)


def _named(file: AssetFile, folder: Path) -> Path | None:
    """Where a file is in the user's own folder."""
    return next((folder / name for name in (file.name, *file.also) if (folder / name).is_file()), None)


def verify(file: AssetFile, path: Path, asset: Asset) -> str:
    """The SHA-256 of a file in the assets folder: it must be the published one, or if unknown that of its first use.

    Raises:
        AssetError: it is not.
    """
    size = path.stat().st_size
    again = f"`instax3d assets get {asset.name}`"
    if file.size is not None and size != file.size:
        raise AssetError(f"{path} has {size:,} bytes, not {file.size:,}; remove it and run {again}")
    ledger = Ledger(assets_dir())
    found = ledger.sum_of(path, keep_first=True)
    first = ledger.recorded(path)
    if file.sha256 is not None and found != file.sha256:
        raise AssetError(
            f"{path} is not the published file (its SHA-256 is {found}, not {file.sha256}); remove it and run {again}"
        )
    if file.sha256 is None and first is not None and found != first:
        raise AssetError(
            f"{path} has changed since it was first used (its SHA-256 was {first}, now it is {found}); if you "
            f"replaced it yourself, run `instax3d assets check {asset.name} --accept`"
        )
    return found


def readable(size: int | None) -> str:
    """A size in readable units, as in ``1.7 GB``."""
    if size is None:
        return "size not known"
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size} bytes"


def total_size(asset: Asset) -> int | None:
    """Bytes of all files; None if one is not known."""
    sizes = [file.size for file in asset.files]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def commercial_word(commercial: bool | None) -> str:
    """Whether it may be used commercially: ``yes``, ``no`` or ``not known``."""
    return "not known" if commercial is None else "yes" if commercial else "no"


def _missing(asset: Asset) -> str:
    consent = ", after registration" if asset.registration else ""
    return (
        f"{asset.name} is not here: {asset.summary} ({readable(total_size(asset))}) from {asset.homepage}{consent}; "
        f"license: {asset.license} (commercial use: {commercial_word(asset.commercial)}); "
        f"run `instax3d assets get {asset.name}`, or give the path of your own copy"
    )
