"""The Pareto front of quality against cost."""

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]], *, higher: bool) -> list[int]:
    """Indices of the points (cost, quality) that no other point beats in both, by rising cost.

    Args:
        points: cost, of which less is better, and quality.
        higher: whether more quality is better.
    """
    sign = -1 if higher else 1
    order = sorted(range(len(points)), key=lambda i: (points[i][0], sign * points[i][1]))
    best = float("inf")
    indices = []
    for i in order:
        value = sign * points[i][1]
        if value < best:
            best = value
            indices.append(i)
    return indices
