"""In which order cells are computed: stages that several of them share come first, and only once."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .plan import Cell


@dataclass(slots=True)
class Schedule:
    """Gives out shared stages and cells; a cell waits for the stages that it shares."""

    cells: Iterable[Cell]
    """Those that are still to be computed."""
    _shared: deque[Cell] = field(default_factory=deque)
    """One cell of each group whose shared stages are still to be prepared."""
    _ready: deque[Cell] = field(default_factory=deque)
    _waiting: dict[str, list[Cell]] = field(default_factory=dict)
    """By the shared stages that they wait for."""

    def __post_init__(self) -> None:
        cells = tuple(self.cells)
        sizes = Counter(cell.shared for cell in cells)
        for cell in cells:
            if sizes[cell.shared] == 1:
                self._ready.append(cell)
            elif cell.shared in self._waiting:
                self._waiting[cell.shared].append(cell)
            else:
                self._waiting[cell.shared] = [cell]
                self._shared.append(cell)

    def __bool__(self) -> bool:
        """Whether something can be started now."""
        return bool(self._ready or self._shared)

    def next(self, prepare_first: bool) -> tuple[Cell, bool]:
        """The next cell, and whether only its shared stages are to be prepared.

        Args:
            prepare_first: for when so few cells are ready that workers could become idle; otherwise cells go first,
                so that results come early and a group's stages are made shortly before they are needed.
        """
        if self._shared and (prepare_first or not self._ready):
            return self._shared.popleft(), True
        return self._ready.popleft(), False

    def prepared(self, key: str) -> None:
        """Release the cells of a group: its stages are there, or failed, which its cells will find out themselves."""
        self._ready.extend(self._waiting.pop(key))

    @property
    def ready(self) -> int:
        """How many cells could be started now."""
        return len(self._ready)
