"""The results of a benchmark as tidy rows: one a cell and figure."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PortraitError
from ..files import atomic
from .plan import Plan
from .store import Store

if TYPE_CHECKING:
    import pandas as pd

FIGURE, VALUE, SUBJECT, CELL = "figure", "value", "subject", "cell"


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


def collect(plan: Plan, store: Store) -> "pd.DataFrame":
    """All finished cells of the plan: columns cell, subject, one for each axis, figure, value."""
    import pandas as pd

    done = store.done()

    def rows() -> Iterator[tuple[Any, ...]]:
        for cell in plan.cells:
            if cell.id in done:
                for name, value in figures_of(store.manifest(cell.id)).items():
                    yield cell.id, cell.subject.label, *cell.labels, name, float(value)

    return pd.DataFrame(rows(), columns=[CELL, SUBJECT, *plan.axes, FIGURE, VALUE])


def write_results(results: "pd.DataFrame", folder: Path) -> list[Path]:
    """``results.parquet`` and ``results.csv``.

    Raises:
        PortraitError: the folder cannot be written.
    """
    paths = [folder / "results.parquet", folder / "results.csv"]
    try:
        with atomic(paths[0]) as temporary:
            results.to_parquet(temporary, index=False)
        with atomic(paths[1]) as temporary:
            results.to_csv(temporary, index=False)
    except OSError as error:
        raise PortraitError(f"cannot write to {folder}: {error.strerror or error}") from error
    return paths
