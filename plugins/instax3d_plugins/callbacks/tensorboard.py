"""`tensorboard`: a run as curves, images and histograms, by Lightning's own logger."""

from pathlib import Path
from typing import Any

import tensorboard as _tensorboard  # noqa: F401 - so that a package that is not here is said before the run
import torch
import yaml

from instax3d.types import RunResult, RunStart, StageEvent, StepEvent

from .config import TensorBoardConfig
from .recorder import Interval, StepRecorder, due


class TensorBoard(StepRecorder[TensorBoardConfig]):
    """Writes event files into a new folder for each run."""

    def __init__(self, config: TensorBoardConfig) -> None:
        super().__init__(config)
        self._name = "run"
        self._options: dict[str, Any] = {}
        self._opened: Any = None

    def on_run_start(self, run: RunStart) -> None:
        """Open the folder, and write all options as text."""
        self._name = Path(run.name).stem if run.source == "photo" else run.name
        self._options = dict(run.config)
        text = yaml.safe_dump(self._options, sort_keys=False, allow_unicode=True)
        self._logger.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()))

    def on_stage(self, event: StageEvent) -> None:
        """The seconds of a stage that ran."""
        if event.status == "done":
            self._logger.log_metrics({f"seconds/{event.stage}": event.seconds}, 0)

    def on_step(self, event: StepEvent) -> None:
        """Curves, and now and then a look at the Gaussians."""
        super().on_step(event)
        if self.config.image_every and due(event, self.config.image_every):
            self._draw(event)

    def record(self, event: StepEvent, since: Interval) -> None:
        """A point of each curve; born, died and reasons of all steps since the last point."""
        scalars: dict[str, float] = {
            "loss/total": event.loss,
            **{f"loss/{name}": value for name, value in event.losses.items()},
            "gaussians/count": event.gaussians,
            "gaussians/born": since.born,
            "gaussians/died": since.died,
            **{f"densification/{reason}": count for reason, count in since.reasons.items()},
        }
        if since.psnr is not None:
            scalars["psnr"] = since.psnr
        self._logger.log_metrics(scalars, event.step)

    def on_result(self, result: RunResult) -> None:
        """The metrics, beside the options: a row of TensorBoard's table of hyperparameters."""
        metrics = {f"metrics/{name}": value for name, value in result.manifest.get("metrics", {}).items()}
        self._logger.log_hyperparams(self._options, metrics, 0)

    def close(self) -> None:
        """Write what is not yet written."""
        if self._opened is not None:
            self._opened.finalize("success")
            self._opened = None

    def _draw(self, event: StepEvent) -> None:
        """The photo, or else the first view, beside its render; sizes and opacities."""
        view = event.views.photo_index or 0
        render = event.draw(event.views.cameras[view]).image[0].clamp(0, 1).cpu()
        pair = torch.cat([event.views.images[view].cpu(), render], 2)
        gaussians, writer = event.current(), self._logger.experiment
        writer.add_image("target_and_render", pair, event.step)
        writer.add_histogram("gaussians/log10_size", gaussians.scales.amax(1).log10().cpu(), event.step)
        writer.add_histogram("gaussians/opacity", gaussians.opacities.cpu(), event.step)

    @property
    def _logger(self) -> Any:
        if self._opened is None:
            self._opened = new_logger(Path(self.config.folder).expanduser(), self._name)
        return self._opened


def new_logger(folder: Path, name: str) -> Any:
    """Lightning's logger for a folder of its own, also where another run looks for one at the same time.

    Raises:
        OSError: the folder cannot be made.
    """
    from lightning.pytorch.loggers import TensorBoardLogger  # slow to import

    number = int(TensorBoardLogger(folder, name=name).version)
    while True:
        try:
            (folder / name / f"version_{number}").mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return TensorBoardLogger(folder, name=name, version=number, default_hp_metric=False, flush_secs=10)
