"""Convolution and gradients by FFT on frames that wrap round, and frames made so that they may."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli import kernels as loops

SMOOTH_PRIMES = (2, 3, 5)


def transfer(kernels: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., n, n) centred kernels, n odd -> their transfer functions on a frame of that (h, w), as `rfft2` has them."""
    n, (h, w) = kernels.shape[-1], size
    padded = F.pad(kernels, (0, w - n, 0, h - n))
    return torch.fft.rfft2(padded.roll((-(n // 2), -(n // 2)), (-2, -1)))


def transfer_in_place(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """The same of one kernel (n, n) of sum 1, moved by the fraction of a pixel that puts its centroid exactly into the middle: what it blurs stays where it is."""
    place = torch.arange(kernel.shape[-1], device=kernel.device) - kernel.shape[-1] // 2
    down, right = ((kernel.sum(axis) * place).sum() for axis in (1, 0))
    h, w = size
    rows = torch.fft.fftfreq(h, device=kernel.device)[:, None]
    columns = torch.fft.rfftfreq(w, device=kernel.device)
    return transfer(kernel, size) * torch.exp(2j * math.pi * (rows * down + columns * right))


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """(..., h, w) -> forward differences to the right and down; the last ones wrap round."""
    return x.roll(-1, -1) - x, x.roll(-1, -2) - x


def divergence(right: Tensor, down: Tensor) -> Tensor:
    """The adjoint of `gradients`."""
    return right.roll(1, -1) - right + down.roll(1, -2) - down


def gradient_power(size: tuple[int, int], device: torch.device) -> Tensor:
    """|transfer|^2 of both differences together on a frame of that (h, w), as `rfft2` lays it out."""
    h, w = size
    rows = 2 - 2 * torch.cos(2 * math.pi * torch.arange(h, device=device) / h)
    columns = 2 - 2 * torch.cos(2 * math.pi * torch.arange(w // 2 + 1, device=device) / w)
    return rows[:, None] + columns


def quotient(seen: Tensor, pull: Tensor, passed: Tensor, power: Tensor, share: float) -> Tensor:
    """(seen + share * pull) / (passed + share * power): spectra (k, h, w), into `pull` where that is quicker; passed is real, (k, h, w) or (h, w), power (h, w)."""
    if loops.fits_frames(passed):
        return loops.quotient(pull, seen, passed, power, share)
    return (seen + share * pull) / (passed + share * power)


def wrap(x: Tensor, margins: tuple[int, int, int, int]) -> Tensor:
    """(c, h, w) with margins (left, right, top, bottom) in which either end passes smoothly into the other.

    A margin is at most h or w minus 1.
    """
    padded = F.pad(x[None], margins, "reflect")[0]
    padded = _blend_ends(padded, 2, margins[0], margins[1])
    return _blend_ends(padded, 1, margins[2], margins[3])


def _blend_ends(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    """At the seam both ends are their mean; away from it they are what they were."""
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
    half_way = (last - first) / 2
    shape = [-1 if each == axis else 1 for each in range(x.dim())]

    def falling(length: int) -> Tensor:
        return 0.5 + 0.5 * torch.cos(math.pi * torch.arange(length, device=x.device) / max(length, 1))

    inner = x.shape[axis] - before - after
    share = torch.cat([falling(before), x.new_zeros(inner), -falling(after).flip(0)])
    return x + share.view(shape) * half_way


def fast_length(length: int) -> int:
    """The least length from this one on whose FFT is quick: a product of 2, 3 and 5."""
    while True:
        rest = length
        for prime in SMOOTH_PRIMES:
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
