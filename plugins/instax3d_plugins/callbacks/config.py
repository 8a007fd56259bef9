"""Options of the callbacks `tensorboard` and `jsonl`."""

from pydantic import NonNegativeInt, PositiveInt

from instax3d.plugin import PluginConfig


class RecorderConfig(PluginConfig):
    """How often the construction is recorded."""

    every: PositiveInt = 10
    """Steps from one record of the construction to the next; the last step is always recorded. The PSNR is measured
    every tenth step."""


class TensorBoardConfig(RecorderConfig):
    """Where the logs are written, and how often images are drawn."""

    folder: str = "logs"
    """Each run gets a folder of its own in it: ``logs/NAME/version_0``, with the name of the photo or capture."""
    image_every: NonNegativeInt = 100
    """Steps from one image and histogram to the next, drawn after the first and the last step too; 0 for none."""


class JsonlConfig(RecorderConfig):
    """Where the lines are written."""

    file: str = "events.jsonl"
    """Lines are added to what it holds."""
