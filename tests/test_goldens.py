"""The published motion weights, where they are installed, against outputs of the authors' code.

The arrays are from xocialize/mlx-restormer-swift (MIT, data/goldens/LICENSE): noise, and what the network makes of it.
"""

import numpy as np
import pytest
import torch

from conftest import DATA
from deblur_cli import stream
from deblur_cli.download import find_installed
from deblur_cli.loader import load_model
from deblur_cli.registry import find_weights

MOTION = find_installed(find_weights("motion"))
"""Looked up while tests are collected, before a fixture hides what is installed."""


@pytest.mark.golden
@pytest.mark.skipif(MOTION is None, reason="needs: deblur download-weights motion")
@pytest.mark.parametrize("size", [64, 128])
def test_the_published_motion_weights_give_the_authors_outputs(size: int) -> None:
    assert MOTION is not None
    given, expected = (
        torch.from_numpy(np.load(DATA / f"goldens/full_{size}_{end}.npy")) for end in ("in", "out")
    )
    model = load_model(MOTION.path)
    torch.testing.assert_close(model(given), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(stream.run(model, given), expected, rtol=0, atol=1e-4)
