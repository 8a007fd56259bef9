"""A smooth threshold."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def smoothstep(x: Float[ndarray, "*n"], low: float, high: float) -> Float[ndarray, "*n"]:
    """0 below ``low``, 1 above ``high``, and the cubic 3 t² - 2 t³ between, whose slope is 0 at both ends.

    ``low`` may be the larger one; then the result is 1 below ``high`` and 0 above ``low``.
    """
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
