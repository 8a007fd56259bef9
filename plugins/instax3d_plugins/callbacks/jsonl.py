"""`jsonl`: a line of JSON for each event."""

import json
import math
import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from instax3d.types import CheckpointEvent, RunResult, RunStart, StageEvent, StepEvent

from .config import JsonlConfig
from .recorder import Interval, StepRecorder


class Jsonl(StepRecorder[JsonlConfig]):
    """Appends each event as one line of a file, in one write: a run that is killed leaves whole lines behind, and runs
    that write to one file at the same time do not mix them up."""

    def __init__(self, config: JsonlConfig) -> None:
        super().__init__(config)
        self._run = uuid.uuid4().hex[:12]
        self._file: FileIO | None = None

    def on_run_start(self, run: RunStart) -> None:
        """The input, the device, the stages to come, and all options."""
        stages, config = list(run.stages), run.config
        self._write("run_start", name=run.name, source=run.source, device=run.device, stages=stages, config=config)

    def on_stage(self, event: StageEvent) -> None:
        """A stage and its seconds."""
        self._write("stage", stage=event.stage, status=event.status, seconds=event.seconds)

    def record(self, event: StepEvent, since: Interval) -> None:
        """A step's figures; born, died and reasons of all steps since the last line."""
        self._write(
            "step",
            step=event.step,
            total_steps=event.total_steps,
            loss=event.loss,
            losses=event.losses,
            psnr=since.psnr,
            gaussians=event.gaussians,
            born=since.born,
            died=since.died,
            reasons=since.reasons,
        )

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """Where the construction can be resumed from."""
        self._write("checkpoint", step=event.step, path=str(event.path))

    def on_result(self, result: RunResult) -> None:
        """The manifest."""
        self._write("result", manifest=result.manifest)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, event: str, **values: Any) -> None:
        if self._file is None:
            self._file = open_for_lines(Path(self.config.file).expanduser())
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps(plain({"run": self._run, "time": now, "event": event, **values}), allow_nan=False)
        data = line.encode() + b"\n"
        if self._file.write(data) != len(data):
            raise OSError(f"{self.config.file}: the disk is full")


def open_for_lines(path: Path) -> FileIO:
    """A file to add lines to, unbuffered; a line that was left unfinished is ended first.

    Raises:
        OSError: it cannot be opened or its folder not be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = FileIO(path, "a+")
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


def plain(value: Any) -> Any:
    """The same for JSON: what is not finite becomes null, what JSON does not know its text."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
