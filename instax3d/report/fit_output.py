"""The folder that ``instax3d fit`` writes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instax3d._version import __version__
from instax3d.assets.usage import asset_records
from instax3d.config import RunConfig
from instax3d.errors import PortraitError
from instax3d.heads.head_parameters import FittedHead, write_head
from instax3d.io.files import atomic_folder
from instax3d.io.images import write_png
from instax3d.io.obj import write_obj
from instax3d.portrait.manifest import check_output, head_record, plugin_records
from instax3d.stages.pipeline import FittedViews

from .overlays import overlay, reprojection

FIT = "fit.json"
"""Its measurements; a folder that has it is a fit."""


def write_fit(folder: Path, fitted: FittedViews, config: RunConfig, source: Mapping[str, Any]) -> dict[str, Any]:
    """Write overlays, ``fit.json``, ``mesh.obj`` and, of a parametric head, ``parameters.npz``.

    Returns:
        What ``fit.json`` holds.

    Raises:
        PortraitError: ``folder`` holds something else, or cannot be written.
    """
    check_output(folder, FIT, "fit of a head")
    mesh, views = fitted.mesh, fitted.views
    document = {
        "instax3d": __version__,
        "source": dict(source),
        "head_model": head_record(mesh),
        "metrics": {name: round(value, 5) for name, value in mesh.metrics.items()},
        "reprojection": reprojection(mesh, views),
        "units_per_meter": mesh.units_per_meter,
        "plugins": plugin_records(config),
        "assets": asset_records(config),
    }
    try:
        with atomic_folder(folder) as new:
            (new / "overlays").mkdir()
            for index in range(len(views)):
                write_png(new / "overlays" / f"{index:03}.png", overlay(mesh, views, index))
            write_obj(new / "mesh.obj", mesh.vertices, mesh.faces)
            if mesh.rig is not None:
                write_head(new / "parameters.npz", FittedHead.of(mesh.rig))
            (new / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
            (new / FIT).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise PortraitError(f"cannot write the fit to {folder}: {error.strerror or error}") from error
    return document
