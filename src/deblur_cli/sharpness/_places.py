"""The places of a photo that tell how sharp it is: where there are edges, all over the frame."""

import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 96
"""Pixels a side."""
PLACES = 64
BLOCKS = 12
"""Along the longer side; at most one place is taken of each, so that one fence does not speak for all."""


def telling_patches(luma: Tensor, count: int = PLACES) -> Tensor:
    """(h, w) -> (n, 1, PATCH, PATCH), or smaller if the photo is: at most `count` with the strongest edges, the first with the most.

    Edges are looked for between means of 2x2 pixels, where noise is half as strong.
    """
    h, w = luma.shape
    size = min(PATCH, h), min(PATCH, w)
    step = PATCH // 2
    halved = F.avg_pool2d(luma[None, None], 2)
    slope = halved.diff(dim=-1)[..., :-1, :].square() + halved.diff(dim=-2)[..., :-1].square()
    window = [min(PATCH // 2, length) for length in slope.shape[-2:]]
    energy = F.avg_pool2d(slope, window, step // 2)
    block = max(1, -(-max(energy.shape) // BLOCKS))
    best, where = F.max_pool2d(energy, block, ceil_mode=True, return_indices=True)
    order = best.flatten().argsort(descending=True)[:count]
    columns = energy.shape[-1]
    tops, lefts = where.flatten()[order] // columns * step, where.flatten()[order] % columns * step
    return torch.stack(
        [
            luma[None, top : top + size[0], left : left + size[1]]
            for top, left in zip(tops.tolist(), lefts.tolist(), strict=True)
        ]
    )
