"""The suite's type checking is really on."""

import pytest
import torch

from instax3d.types import Cameras


def test_a_wrong_shape_is_refused():
    with pytest.raises(Exception, match="viewmats"):
        Cameras(torch.eye(4), torch.eye(3)[None], 8, 8)
