"""The results of a benchmark as tidy rows: one for each cell and metric."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .plan import Plan
from .store import Store

if TYPE_CHECKING:
    import pandas as pd

METRIC, VALUE, SUBJECT, CELL = "metric", "value", "subject", "cell"


@dataclass(frozen=True, eq=False)
class Results:
    """What the finished cells of a benchmark say."""

    rows: "pd.DataFrame"
    """Columns cell, subject, one for each axis, metric, value."""
    machines: tuple[str, ...]
    """Program, device and machine of each kind that computed cells."""
    missing: Mapping[str, str]
    """Metric to the reason why it was not measured in some cell."""

    def write(self, store: Store) -> None:
        """``results.parquet`` and ``results.csv``.

        Raises:
            PortraitError: they cannot be written.
        """
        data = io.BytesIO()
        self.rows.to_parquet(data, index=False)
        store.write("results.parquet", data.getvalue())
        store.write("results.csv", self.rows.to_csv(index=False).encode())


def metrics_of(manifest: Mapping[str, Any]) -> dict[str, float]:
    """All numbers of a ``run.json`` that describe the result: metrics, the fit, Gaussians, seconds.

    Seconds of stages that were reused are those of the run that made them, so that cells can be compared.
    """
    seconds = {name: value for name, value in manifest["seconds"].items() if name != "total"} | manifest["reused"]
    return {
        **manifest.get("fit", {}),
        **manifest["metrics"],
        "gaussians": manifest["gaussians"],
        **{f"seconds_{name}": value for name, value in seconds.items()},
        "seconds_total": round(sum(seconds.values()), 3),
    }


def collect(plan: Plan, store: Store) -> Results:
    """What the finished cells of the plan say; each manifest is read once.

    Raises:
        PortraitError: a manifest is absent or damaged.
    """
    import pandas as pd

    done = store.done()
    rows: list[tuple[Any, ...]] = []
    machines: set[str] = set()
    missing: dict[str, str] = {}
    for cell in plan.cells:
        if cell.id not in done:
            continue
        manifest = store.manifest(cell.id)
        try:
            machines.add(_machine(manifest))
            missing |= manifest["not_measured"]
            metrics = metrics_of(manifest)
        except (KeyError, TypeError) as error:
            raise store.damaged(cell.id, f"it lacks {error}") from error
        rows += [(cell.id, cell.subject.label, *cell.labels, name, float(value)) for name, value in metrics.items()]
    frame = pd.DataFrame(rows, columns=[CELL, SUBJECT, *plan.axes, METRIC, VALUE])
    return Results(frame, tuple(sorted(machines)), missing)


def _machine(manifest: Mapping[str, Any]) -> str:
    machine = manifest["machine"]
    return (
        f"instax3d {manifest['instax3d']} on {manifest['device']}, {machine['threads']} threads a cell, "
        f"{machine['platform']}, torch {machine['versions']['torch']}"
    )
