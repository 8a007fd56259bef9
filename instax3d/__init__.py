"""One headshot photo in, a full-head 3D Gaussian portrait out, from parts that anyone can swap.

    import instax3d
    portrait = instax3d.create("me.jpg")
    portrait.save("out/me")

All that the author of a plugin needs comes from this import as well: the abstract kinds, the records that pass between
them, `PluginSpec`, `PluginConfig` and `hookimpl` for a package, `register` for a script or a notebook. These names are
the contract; they are loaded when they are first used, so that the import itself is quick and without torch.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

# The OpenMP runtime that torch and numba share reads this when it is first loaded. By default its idle threads spin,
# and where threads outnumber free processors every small torch operation then costs a time slice: one optimization
# step was measured at 930 ms instead of 82 ms on two busy cores. Import instax3d before torch to profit from it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from ._version import __version__

if TYPE_CHECKING:
    from .config import RunConfig, load_config
    from .errors import (
        AmbiguousPluginError,
        AssetError,
        BrokenPluginError,
        CaptureError,
        ConfigError,
        DatasetError,
        FitError,
        IncompatiblePipelineError,
        Instax3DError,
        MetricError,
        ModelFileError,
        PhotoError,
        PortraitError,
        RenderError,
        UnknownPluginError,
        UnsafeFileError,
    )
    from .headmodel import BakedHead, HeadModel, HeadParameters
    from .interfaces import (
        Callback,
        ClipSource,
        Densifier,
        LandmarkDetector,
        Loss,
        MeshPrior,
        Metric,
        Renderer,
        Representation,
        Stage,
        ViewGenerator,
    )
    from .plugin import (
        Asset,
        AssetConverter,
        AssetFile,
        AssetRef,
        CommandSpec,
        Kind,
        LossConfig,
        MetricInfo,
        NamedPlugin,
        PluginConfig,
        PluginRef,
        PluginSpec,
        hookimpl,
    )
    from .portrait.portrait import Portrait
    from .registry import build, register
    from .stages.pipeline import create
    from .types import (
        FIVE_POINTS,
        MEDIAPIPE_POINTS,
        Cameras,
        Capture,
        CheckpointEvent,
        DensifyReport,
        DensifyStep,
        EvaluationContext,
        Face,
        FaceDetector,
        Gaussians,
        HeadMesh,
        LossStep,
        Photo,
        Render,
        Rig,
        RunResult,
        RunStart,
        StageData,
        StageEvent,
        StepEvent,
        TrainingView,
        TrueSurface,
        TurntableClip,
        Views,
    )

_HOMES = (
    "errors",
    "plugin",
    "registry",
    "config",
    "headmodel",
    "types",
    "interfaces",
    "portrait.portrait",
    "stages.pipeline",
)
"""Where the names are defined; those without torch come first."""

__all__ = [
    "FIVE_POINTS",
    "MEDIAPIPE_POINTS",
    "AmbiguousPluginError",
    "Asset",
    "AssetConverter",
    "AssetError",
    "AssetFile",
    "AssetRef",
    "BakedHead",
    "BrokenPluginError",
    "Callback",
    "Cameras",
    "Capture",
    "CaptureError",
    "CheckpointEvent",
    "ClipSource",
    "CommandSpec",
    "ConfigError",
    "DatasetError",
    "Densifier",
    "DensifyReport",
    "DensifyStep",
    "EvaluationContext",
    "Face",
    "FaceDetector",
    "FitError",
    "Gaussians",
    "HeadMesh",
    "HeadModel",
    "HeadParameters",
    "IncompatiblePipelineError",
    "Instax3DError",
    "Kind",
    "LandmarkDetector",
    "Loss",
    "LossConfig",
    "LossStep",
    "MeshPrior",
    "Metric",
    "MetricError",
    "MetricInfo",
    "ModelFileError",
    "NamedPlugin",
    "Photo",
    "PhotoError",
    "PluginConfig",
    "PluginRef",
    "PluginSpec",
    "Portrait",
    "PortraitError",
    "Render",
    "RenderError",
    "Renderer",
    "Representation",
    "Rig",
    "RunConfig",
    "RunResult",
    "RunStart",
    "Stage",
    "StageData",
    "StageEvent",
    "StepEvent",
    "TrainingView",
    "TrueSurface",
    "TurntableClip",
    "UnknownPluginError",
    "UnsafeFileError",
    "ViewGenerator",
    "Views",
    "__version__",
    "build",
    "create",
    "hookimpl",
    "load_config",
    "register",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f".{home}", __name__)
            if hasattr(module, name):
                value: object = getattr(module, name)
                globals()[name] = value
                return value
    raise AttributeError(f"module 'instax3d' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
