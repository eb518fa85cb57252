"""The geometric self-ensemble: a photo turned and mirrored in all eight ways, each restored and turned back, and the mean of them.

Lim et al., EDSR, CVPR Workshops 2017 (arXiv 1707.02921), section 3.3. It knows no network, photo or tile.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

TURNS = tuple((quarters, mirrored) for mirrored in (False, True) for quarters in range(4))
"""Quarters of a turn, and whether the photo is mirrored before; the first is the photo as it is."""

STEPS, LARGEST = 2**25, 4.0
"""Sums are whole multiples of 1 / STEPS, finer than any sample of a photo, in int32: exact, and so the same in any order. Of a value beyond ±LARGEST no more than that counts."""


Turn = Callable[[Tensor], Tensor]
"""(..., h, w) -> the same turned and mirrored, as a tensor of its own."""


def mean_of_turns(restored_of: Callable[[Turn, int], Tensor]) -> Tensor:
    """The mean of what `restored_of` makes of an image turned by each turn, turned back: (..., h, w) float32, about 0..1.

    restored_of: a turn, and the number of its run from 0 -> what is made of the image turned by it, as high and wide, finite. For an image that
    was turned before the mean is, to the bit, the turned mean, as long as the same is made of the same. The sum takes four bytes a sample.
    """
    total = torch.zeros((), dtype=torch.int32)
    for run, (quarters, mirrored) in enumerate(TURNS):
        restored = restored_of(partial(_turned, quarters=quarters, mirrored=mirrored), run)
        total = _in_steps(_turned_back(restored, quarters, mirrored)).add_(total)
        del restored
    return total.float().div_(len(TURNS) * STEPS)


def _in_steps(values: Tensor) -> Tensor:
    return values.clamp(-LARGEST, LARGEST).mul_(STEPS).round_().to(torch.int32)


def _turned(image: Tensor, quarters: int, mirrored: bool) -> Tensor:
    return (image.flip(-1) if mirrored else image).rot90(quarters, (-2, -1)).contiguous()


def _turned_back(image: Tensor, quarters: int, mirrored: bool) -> Tensor:
    upright = image.rot90(-quarters, (-2, -1))
    return upright.flip(-1) if mirrored else upright
