"""May a portrait be used commercially? What its plugins and third-party assets say. Never imports torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from .layout import RIG

_PERMISSIVE = {
    *("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "BSL-1.0", "Zlib", "CC0-1.0", "CC-BY-4.0"),
    *("MPL-2.0", "Unlicense", "0BSD", "PSF-2.0"),
}
"""SPDX names of licenses that allow commercial use and require no more than a notice."""

NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Part:
    """Something that went into a portrait, and its license."""

    what: str
    license: str
    commercial: bool | None
    """None where it is not known."""
    url: str = ""


def license_of(distribution: str) -> str:
    """The license that an installed distribution states, or `NOT_KNOWN`."""
    try:
        stated = metadata(distribution)
    except PackageNotFoundError:
        return NOT_KNOWN
    for key in ("License-Expression", "License"):
        for named in stated.get_all(key) or []:
            if named and "\n" not in named and len(named) < 60:  # older packages put the whole text there
                return str(named)
    classifiers = [c.split(" :: ")[-1] for c in stated.get_all("Classifier") or [] if c.startswith("License :: ")]
    return ", ".join(classifiers) or NOT_KNOWN


def allows_commercial(license: str) -> bool | None:
    """Whether a license named by SPDX is known to allow commercial use, or to forbid it."""
    if license in _PERMISSIVE:
        return True
    words = license.lower().replace("_", "-")
    forbids = "-nc" in words or "noncommercial" in words or "non-commercial" in words
    return False if forbids else None


def parts(manifest: Mapping[str, Any]) -> Iterator[Part]:
    """Plugins and assets of a run from its manifest; of older manifests what is still known."""
    for slot, plugin in manifest.get("plugins", {}).items():
        license = plugin.get("license") or license_of(plugin["distribution"])
        name = f"{slot} {plugin['name']} ({plugin['distribution']} {plugin['version']})"
        yield Part(name, license, allows_commercial(license))
    derived_from = (manifest.get("rig") or {}).get("derived_from", [])
    for asset in manifest.get("assets", []):
        use = f"used by {asset['used_by']}" + (f"; {RIG} is derived from it" if asset["name"] in derived_from else "")
        yield Part(f"{asset['name']} ({use})", asset["license"], asset["commercial"], asset["license_url"])
    if "assets" not in manifest:
        yield Part("third-party assets (this run did not record them)", NOT_KNOWN, None)


def verdict(items: list[Part]) -> bool | None:
    """Whether all of it together may be used commercially; None where that is not known."""
    if any(part.commercial is False for part in items):
        return False
    return None if any(part.commercial is None for part in items) else True
