"""The results of a benchmark as tidy rows: one a cell and figure."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .plan import Plan
from .store import Store

if TYPE_CHECKING:
    import pandas as pd

FIGURE, VALUE, SUBJECT, CELL = "figure", "value", "subject", "cell"


@dataclass(frozen=True)
class Results:
    """What the finished cells of a benchmark tell."""

    rows: "pd.DataFrame"
    """Columns cell, subject, one for each axis, figure, value."""
    machines: tuple[str, ...]
    """What they were computed with and on."""
    missing: Mapping[str, str]
    """Metrics that were not measured, to the reason."""

    def write(self, store: Store) -> None:
        """``results.parquet`` and ``results.csv``.

        Raises:
            PortraitError: they cannot be written.
        """
        data = io.BytesIO()
        self.rows.to_parquet(data, index=False)
        store.write("results.parquet", data.getvalue())
        store.write("results.csv", self.rows.to_csv(index=False).encode())


def figures_of(manifest: Mapping[str, Any]) -> dict[str, float]:
    """All numbers of a ``run.json`` that describe the result.

    Seconds of stages that were reused are those of the run that made them, so that cells can be compared.
    """
    seconds = {name: value for name, value in manifest["seconds"].items() if name != "total"} | manifest["reused"]
    return {
        **manifest["metrics"],
        "gaussians": manifest["gaussians"],
        **{f"seconds_{name}": value for name, value in seconds.items()},
        "seconds_total": round(sum(seconds.values()), 3),
    }


def collect(plan: Plan, store: Store) -> Results:
    """What the finished cells of the plan tell; each manifest is read once."""
    import pandas as pd

    done = store.done()
    rows: list[tuple[Any, ...]] = []
    machines: set[str] = set()
    missing: dict[str, str] = {}
    for cell in plan.cells:
        if cell.id not in done:
            continue
        manifest = store.manifest(cell.id)
        machines.add(_machine(manifest))
        missing |= manifest["not_measured"]
        for name, value in figures_of(manifest).items():
            rows.append((cell.id, cell.subject.label, *cell.labels, name, float(value)))
    frame = pd.DataFrame(rows, columns=[CELL, SUBJECT, *plan.axes, FIGURE, VALUE])
    return Results(frame, tuple(sorted(machines)), missing)


def _machine(manifest: Mapping[str, Any]) -> str:
    machine = manifest["machine"]
    return (
        f"instax3d {manifest['instax3d']} on {manifest['device']}, {machine['threads']} threads a cell, "
        f"{machine['platform']}, torch {machine['versions']['torch']}"
    )
