"""Every error a user can meet. The command line prints them as one sentence and exits with 2."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'NAME'?`` with the most similar of the known names, or ``;`` where none is similar."""
    close = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else ";"


class Instax3DError(Exception):
    """Root of all expected errors; the message is one sentence that says what to do."""


class ConfigError(Instax3DError, ValueError):
    """A configuration that cannot be used; all its problems are in the message."""


class UnknownPluginError(Instax3DError, LookupError):
    """No installed package offers a plugin of that kind and name."""


class AmbiguousPluginError(Instax3DError, LookupError):
    """More than one package offers a plugin of that kind and name."""


class BrokenPluginError(Instax3DError, ImportError):
    """A plugin is installed but cannot be imported, or is not what its `PluginSpec` says."""


class IncompatiblePipelineError(ConfigError):
    """Chosen plugins that cannot work together, or not on this input or machine."""


class PhotoError(Instax3DError, ValueError):
    """A photo that no portrait can be made from."""


class CaptureError(Instax3DError, ValueError):
    """A folder of frames and cameras that cannot be read."""


class FitError(Instax3DError, RuntimeError):
    """A head model that could not be fitted to the views."""


class RenderError(Instax3DError, RuntimeError):
    """A renderer that cannot run here, or input it does not accept."""


class PortraitError(Instax3DError, ValueError):
    """A result folder that cannot be read or written."""


class AssetError(Instax3DError, RuntimeError):
    """A third-party asset that is not there, cannot be downloaded, or is not the file it should be."""


class UnsafeFileError(AssetError):
    """A file that would run code when read, or holds unexpected content; none of it was run."""


class ModelFileError(AssetError):
    """Model weights that cannot be read or written, or that belong to another model."""


class MetricError(Instax3DError, RuntimeError):
    """A metric cannot be measured; the message says what the portrait or the ground truth lacks."""


class DatasetError(Instax3DError, ValueError):
    """A turntable dataset that cannot be made, read or trained on."""
