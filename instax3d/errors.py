"""Every error a user can meet. The command line prints them as one sentence and exits with 2."""


class Instax3DError(Exception):
    """Root of all expected errors; the message says what to do."""


class ConfigError(Instax3DError, ValueError):
    """A configuration that cannot be used; all its problems are in the message."""


class UnknownPluginError(Instax3DError, LookupError):
    """No installed package offers a plugin of that kind and name."""


class AmbiguousPluginError(Instax3DError, LookupError):
    """More than one package offers a plugin of that kind and name."""


class BrokenPluginError(Instax3DError, ImportError):
    """A plugin is installed but cannot be imported."""


class IncompatiblePipelineError(ConfigError):
    """Chosen plugins that cannot work together, or not on this input or machine."""


class PhotoError(Instax3DError, ValueError):
    """A photo from which no portrait can be made."""


class CaptureError(Instax3DError, ValueError):
    """A folder of frames and cameras that cannot be read."""


class FitError(Instax3DError, RuntimeError):
    """A head model that could not be fitted to the views."""


class RenderError(Instax3DError, RuntimeError):
    """A renderer that cannot run here, or input it does not accept."""


class PortraitError(Instax3DError, ValueError):
    """A result folder that cannot be read or written."""


class AssetError(Instax3DError, RuntimeError):
    """A file of others that is not there, cannot be had, or is not what it should be."""


class UnsafeFileError(AssetError):
    """A file that would run code when read, or holds what is not expected of it; nothing of it was run."""


class ModelFileError(AssetError):
    """A file or folder of model weights that cannot be read or written, or is of another model."""


class MetricError(Instax3DError, RuntimeError):
    """What a metric needs of a portrait or of its truth is not there; the message says what that is."""


class DatasetError(Instax3DError, ValueError):
    """Turntables that cannot be made, read or trained on."""
