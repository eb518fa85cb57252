"""How blurred a photo is: the meter's answers at its telling places, from fine to coarse, as one."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.sharpness._features import features_of
from deblur_cli.sharpness._meter import load_meter
from deblur_cli.sharpness._places import PATCH, telling_patches

WIDE = 7.0
"""Pixels; what is wider is measured at half the size."""
SMALLEST = 16
"""Pixels a side of a photo that has edges to look at."""
FLAT = 0.004
"""Standard deviation of values below which a patch holds nothing but noise and rounding."""
SHARPEST = 0.25
"""Of what the telling places say, by weight, so much is taken to be sharper than the photo: a sharp subject before a soft background is a sharp photo."""
LEAST_LIMIT, OF_DIAGONAL = 2.5, 1 / 1500
"""In pixels, and of the frame: a photo whose blur is narrower than the larger of both counts as sharp. The second is the circle of confusion by which depth of field is reckoned."""

FEWEST = 4
"""Places that say of which kind the blur is, if there are so many: else the sharper half."""

Kind = Literal["none", "shake", "lens"]


@dataclass(frozen=True)
class Sharpness:
    """How sharp a photo is where it is sharpest.

    width: of its blur in pixels, as the diameter of the disc that spreads light as far. limit: from which on a photo of this
    size counts as blurred. kind: shake or lens then, else none.
    """

    width: float
    limit: float
    kind: Kind

    @property
    def score(self) -> float:
        """100 without any blur, 50 at the limit, towards 0."""
        return 100 * self.limit / (self.limit + self.width)


@torch.inference_mode()
def measure(luma: Tensor) -> Sharpness | None:
    """(h, w) float32, brightness as the file has it, about 0..1, on the CPU -> how sharp; None where there is nothing to tell it by."""
    if min(luma.shape) < SMALLEST:
        return None
    scale, frame = 1, luma
    while True:
        seen = _seen(frame)
        if seen is None:
            return None
        width, shaken = seen
        if width < WIDE or min(frame.shape) < 2 * PATCH:
            break
        scale, frame = 2 * scale, F.avg_pool2d(frame[None], 2)[0]
    limit = max(LEAST_LIMIT, math.hypot(*luma.shape) * OF_DIAGONAL)
    if scale * width < limit:
        return Sharpness(scale * width, limit, "none")
    return Sharpness(scale * width, limit, "shake" if shaken > 0 else "lens")


def _seen(frame: Tensor) -> tuple[float, float] | None:
    """The width of the blur in pixels of this frame, and the logit of a shake."""
    patches = telling_patches(frame)
    patches = patches[patches.std((-2, -1)).flatten() > FLAT]
    if not len(patches):
        return None
    logs, spreads, shaken = load_meter()(features_of(patches[:, 0])).unbind(1)
    weights = torch.exp(-spreads)
    order = logs.argsort()
    reached = weights[order].cumsum(0) / weights.sum()
    log = logs[order][int((reached < SHARPEST).sum())]
    half = order[: max(FEWEST, len(order) // 2)]
    # Never below 0, and still different for photos that are all sharp.
    width = F.softplus(2**log - 1, beta=4)
    return float(width), float((shaken * weights)[half].sum() / weights[half].sum())
