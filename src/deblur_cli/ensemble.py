"""The geometric self-ensemble: a photo turned and mirrored in all eight ways, each restored and turned back, and the mean of them.

Lim et al., EDSR, CVPR Workshops 2017 (arXiv 1707.02921), section 3.3. It knows no network, photo or tile.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

TURNS = tuple(
    (transposed, flipped) for transposed in (False, True) for flipped in ((), (-1,), (-2,), (-2, -1))
)
"""Whether rows become columns, and which axes are flipped then: quarter turns and mirror images of them. The first is the photo as it is."""

STEPS, LARGEST = 2**25, 4.0
"""Sums are whole multiples of 1 / STEPS, finer than any sample of a photo, in int32: exact, and so the same in any order. Of a value beyond ±LARGEST no more than that counts."""

Turn = Callable[[Tensor], Tensor]
"""(..., h, w) -> the same turned and mirrored, as a tensor of its own."""


def mean_of_turns(restored_of: Callable[[Turn, int], Tensor]) -> Tensor:
    """The mean of what `restored_of` makes of an image turned by each turn, turned back: (1, c, h, w) float32, about 0..1.

    restored_of: a turn, and the number of its run from 0 -> what is made of the image turned by it, as high and wide, finite; it is written to. For an image
    that was turned before the mean is, to the bit, the turned mean, as long as the same is made of the same. The sum takes four bytes a sample.
    """
    total = torch.zeros((), dtype=torch.int32)
    for run, (transposed, flipped) in enumerate(TURNS):
        restored = restored_of(partial(turned, transposed=transposed, flipped=flipped), run)
        if run == 0:
            total = torch.zeros(restored.shape, dtype=torch.int32)
        for channel, plane in zip(total[0], restored[0], strict=True):  # one by one, for the memory
            steps = plane.clamp_(-LARGEST, LARGEST).mul_(STEPS).round_().to(torch.int32).flip(flipped)
            channel += steps.mT if transposed else steps
        del restored, plane, steps
    return total.float().div_(len(TURNS) * STEPS)


def turned(image: Tensor, transposed: bool, flipped: tuple[int, ...]) -> Tensor:
    """(..., h, w), turned by one of TURNS, as a tensor of its own."""
    return (image.mT if transposed else image).flip(flipped).contiguous()


def turned_back(image: Tensor, transposed: bool, flipped: tuple[int, ...]) -> Tensor:
    """What was turned by one of TURNS, as it was."""
    image = image.flip(flipped)
    return image.mT if transposed else image
