"""What becomes of a kernel while it is being estimated, or when that goes wrong."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake._kernels import centred, extent
from training.blur import shake_kernel
from training.dice import Dice
from training.paths import random_shake


def random_kernel(dice: Dice, reach: float) -> Tensor:
    """(n, n): what such a path draws."""
    return shake_kernel(random_shake(dice, reach))


def resized(kernel: Tensor, side: int) -> Tensor:
    """(n, n) drawn larger or smaller, (side, side), of sum 1."""
    bigger = side > kernel.shape[-1]
    drawn = F.interpolate(kernel[None, None], size=(side, side), mode="bicubic", antialias=not bigger)
    drawn = drawn[0, 0].clamp_min(0)
    return drawn / drawn.sum().clamp_min(1e-6)


def handed_on(kernel: Tensor, dice: Dice) -> Tensor:
    """(n, n) as the scale before would have handed it on: coarse, ragged, thickened, or, if it is short, a point or a short line."""
    n = kernel.shape[0]
    kind = dice.pick({"coarse": 0.55, "point": 0.12, "same": 0.2, "thick": 0.13})
    if kind == "point" and extent(kernel[None]) <= 9:
        start = torch.zeros(n, n)
        start[n // 2, n // 2] = 1
        if dice.chance(0.5):
            start[n // 2, n // 2 - 1 : n // 2 + 2] = 1 / 3
            start = start.T.contiguous() if dice.chance(0.5) else start
        return start
    if kind != "same":
        factor = dice.uniform(1.6, 2.5) if kind == "thick" else dice.uniform(1.3, 1.6)
        kernel = resized(resized(kernel, max(5, round(n / factor) | 1)), n)
    if dice.chance(0.7):
        kernel = kernel * (1 + dice.uniform(0, 0.8) * dice.normal(n, n)).clamp_min(0)
    if dice.chance(0.5):
        near = F.max_pool2d((kernel > 0.02 * kernel.max()).float()[None], 7, 1, 3)[0]
        dirt = F.avg_pool2d(dice.normal(1, n, n), 3, 1, 1)[0].clamp_min(0)
        kernel = kernel + kernel.max() * dice.uniform(0, 0.1) * dirt * near
    kernel = torch.where(kernel < dice.log_uniform(0.004, 0.1) * kernel.max(), 0, kernel)
    return centred(kernel)


def nearly_right(kernel: Tensor, dice: Dice) -> Tensor:
    """As a good estimate has it: a little coarse, noisy, cut, moved."""
    n = kernel.shape[0]
    if dice.chance(0.6):
        kernel = resized(resized(kernel, max(3, int(n / dice.uniform(1.05, 2.2)) | 1)), n)
    if dice.chance(0.5):
        kernel = kernel * (1 + dice.uniform(0, 0.6) * dice.normal(n, n)).clamp_min(0)
    if dice.chance(0.4):
        kernel = kernel + kernel.max() * dice.uniform(0, 0.08) * dice.normal(n, n).clamp_min(0)
    if dice.chance(0.5):
        kernel = torch.where(kernel < dice.uniform(0.02, 0.12) * kernel.max(), 0, kernel)
    if dice.chance(0.3):
        kernel = F.pad(kernel, (1, 1, 1, 1)).roll((dice.integer(-1, 1), dice.integer(-1, 1)), (0, 1))
    return kernel / kernel.sum()


def wrong(kernel: Tensor, dice: Dice) -> Tensor:
    """Another shake, the same of another size, turned, or mirrored."""
    n = kernel.shape[0]
    kind = dice.integer(0, 3)
    if kind == 0:
        return random_kernel(dice, dice.uniform(2, 20))
    if kind == 1:
        return resized(kernel, max(5, int(n * dice.uniform(0.5, 1.6)) | 1))
    if kind == 2:
        a = dice.uniform(-0.6, 0.6)
        turn = torch.tensor([[[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0]]])
        grid = F.affine_grid(turn, [1, 1, n, n], align_corners=False)
        turned = F.grid_sample(kernel[None, None], grid, align_corners=False)[0, 0]
        return turned / turned.sum().clamp_min(1e-6)
    return nearly_right(kernel.flip(dice.integer(0, 1)), dice)
