"""The smooth threshold."""

import numpy as np

from instax3d.geometry.smoothstep import smoothstep


def test_it_rises_from_0_to_1_between_its_bounds_and_falls_where_they_are_swapped():
    x = np.linspace(-1.0, 4.0, 51)
    rising = smoothstep(x, 1.0, 3.0)
    assert (rising[x <= 1.0] == 0).all()
    assert (rising[x >= 3.0] == 1).all()
    assert (np.diff(rising) >= 0).all()
    assert float(smoothstep(np.array(2.0), 1.0, 3.0)) == 0.5
    np.testing.assert_allclose(smoothstep(x, 3.0, 1.0), 1 - rising, atol=1e-12)
