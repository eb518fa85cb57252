"""A photo's shake by its strong edges alone, without a network: a second opinion, which errs on other photos than the first.

From coarse to fine, in turns: a sharp photo with few gradients that the kernel so far would have blurred to this one (Xu, Zheng and Jia 2013; Pan et
al. 2014), the strongest of its gradients in each direction (Cho and Lee 2009), and the kernel by regularised least squares between those and the photo's own.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli import kernels as loops
from deblur_cli.shake._estimate import STEP, Frame, Kernels, Regions
from deblur_cli.shake._fourier import (
    divergence,
    fast_length,
    gradient_power,
    gradients,
    quotient,
    transfer,
    wrap,
)
from deblur_cli.shake._kernels import centred, fit_into, line, rescaled, without_islands
from deblur_cli.shake._least_squares import correlations, least_squares

SIDE, SMALLEST, LEAST, LINE = 31, 5, 16, 3
"""Of a kernel at the frame itself, at the first scale at most, of the smallest frame, and of the level line that is begun with."""
TURNS = 8
"""At each scale."""
WEIGHT, FALLING, LOWEST = 4e-3, 1.1, 1e-4
"""What a gradient costs in the first turn of a scale, by how much less it does in the next, and in the last at least."""
STRICTER, STRICTEST = 2.8, 1e3
"""How much more each step of the splitting asks that the gradients are few, and where that ends."""
SALIENT = 0.5
"""How many gradients of a direction count, for each pixel along the frame's and the kernel's sides."""
RIDGE = 2.0
"""Of the least squares, in the photo's own units."""
FAINT, ISLAND = 0.05, 0.1
"""Of a kernel: what is below so much of its largest value, and parts apart from the rest with less than so much of its sum, are noise."""


def few_gradients(light: Tensor, kernels: Kernels, weight: float) -> Tensor:
    """(k, h, w) that wrap round, blurred by (k, n, n) -> the sharp ones of which each gradient that is not 0 costs that weight."""
    size = (light.shape[-2], light.shape[-1])
    kernel_ft, power = transfer(kernels, size), gradient_power(size, light.device)
    seen, passed = kernel_ft.conj() * torch.fft.rfft2(light), kernel_ft.abs().square()
    return split(light, seen, passed, power, weight, STRICTER)


def split(
    sharp: Tensor, seen: Tensor, passed: Tensor, power: Tensor, weight: float, stricter: float
) -> Tensor:
    """(k, h, w) to begin with, the two sides of the normal equations and `gradient_power` -> their solution of few gradients, by half-quadratic splitting.

    stricter: how much more each step asks that they are few.
    """
    size, strictness = (sharp.shape[-2], sharp.shape[-1]), 2 * weight
    while strictness < STRICTEST:
        pull = torch.fft.rfft2(_of_few(sharp, weight / strictness))
        sharp = torch.fft.irfft2(quotient(seen, pull, passed, power, strictness), size)
        strictness *= stricter
    return sharp


def _of_few(light: Tensor, least: float) -> Tensor:
    """(k, h, w) -> the divergence of those of its gradients whose squares add up to that."""
    if loops.fits_frames(light):
        return loops.few_gradients(light, least)
    right, down = gradients(light)
    kept = right.square() + down.square() >= least
    return divergence(right * kept, down * kept)


Sharpened = Callable[[Tensor, Kernels, float], Tensor]
"""What a photo may have been: as `few_gradients`."""


def kernels_of_edges(
    frames: Sequence[Frame], side: int = SIDE, sharpened: Sharpened = few_gradients
) -> Kernels:
    """The kernels (k, n, n), n = side, odd, of k small frames of one size."""
    sides = [side]
    while sides[-1] > SMALLEST:
        sides.append(int(sides[-1] / STEP) | 1)
    whole = torch.stack([frame.light for frame in frames])
    kernels = line(LINE, 0, sides[-1]).to(whole.device).expand(len(whole), -1, -1)
    for smaller in reversed(sides):
        kernels = fit_into(rescaled(kernels, smaller / kernels.shape[-1]), smaller)
        size = [max(LEAST, round(length * smaller / side)) for length in whole.shape[-2:]]
        light = F.interpolate(whole[:, None], size=size, mode="bicubic", antialias=True)[:, 0]
        kernels = fit_edges(kernels, light, sharpened=sharpened)
    return kernels


class Framed:
    """light: (k, h, w) with margins in which it wraps round, for kernels of side n; inside: where the photos are."""

    def __init__(self, light: Tensor, n: int) -> None:
        h, w = light.shape[-2:]
        margin = min(n, h // 2, w // 2)
        right, below = (fast_length(length + 2 * margin) - length - margin for length in (w, h))
        self.light = wrap(light, (margin, right, margin, below))
        self.inside = (..., slice(margin, margin + h), slice(margin, margin + w))

    def gradients_of(self, light: Tensor) -> Tensor:
        """(k, h, w) with the margins -> (k, 2, h, w), 0 in the margins."""
        found = torch.zeros(len(light), 2, *light.shape[-2:], device=light.device)
        found[self.inside] = torch.stack(gradients(light), 1)[self.inside]
        return found


def fit_edges(
    kernels: Kernels, light: Tensor, turns: int = TURNS, sharpened: Sharpened = few_gradients
) -> Kernels:
    """(k, n, n) made to fit the edges of (k, h, w), as of `Frame`."""
    n = kernels.shape[-1]
    framed = Framed(light, n)
    blurred = framed.gradients_of(framed.light)
    for turn in range(turns):
        sharp = strong_edges(framed, kernels, turn, sharpened=sharpened)
        auto, cross = correlations(sharp, blurred, n)
        kernels = thinned(least_squares(auto, cross, _ridges(auto)))
    return kernels


def _ridges(auto: Tensor) -> Tensor:
    """RIDGE as shares of the energies of (k, 2n-1, 2n-1): (k, 1, 1)."""
    middle = auto.shape[-1] // 2
    return RIDGE / auto[:, middle, middle, None, None].clamp_min(1e-6)


def fit_edges_of_regions(kernels: Kernels, regions: Regions, turns: int) -> Kernels:
    """One kernel, (1, n, n), made to fit the edges of several regions together."""
    n, count, window = kernels.shape[-1], len(regions.light), regions.window[:, None]
    framed = Framed(regions.light, n)
    blurred = torch.stack(gradients(regions.light), 1) * window
    for turn in range(turns):
        sharp = strong_edges(framed, kernels.expand(count, -1, -1), turn)[framed.inside] * window
        auto, cross = (each.sum(0, keepdim=True) for each in correlations(sharp, blurred, n))
        kernels = thinned(least_squares(auto, cross, count * _ridges(auto)))
    return kernels


def strong_edges(
    framed: Framed,
    kernels: Kernels,
    turn: int,
    share: float = SALIENT,
    sharpened: Sharpened = few_gradients,
) -> Tensor:
    """(k, 2, h, w): the strongest gradients of what a photo may have been, more of them and weaker ones from turn to turn; share: as SALIENT."""
    weight = max(LOWEST, WEIGHT / FALLING**turn)
    count = share * math.sqrt(framed.light[0].numel()) * kernels.shape[-1] * FALLING**turn
    return salient(framed.gradients_of(sharpened(framed.light, kernels, weight)), round(count))


def thinned(kernels: Kernels) -> Kernels:
    """(k, n, n) as the least squares leave them: what is faint or apart goes; centred, of sum 1."""
    return torch.stack([centred(each) for each in without_faint(kernels)])


def without_faint(kernels: Kernels) -> Kernels:
    """The same, not centred."""
    return torch.stack([without_islands(each, FAINT * float(each.max()), ISLAND) for each in kernels])


def salient(found: Tensor, count: int) -> Tensor:
    """(k, 2, h, w) gradients: the strongest `count` of each of four directions, the others 0."""
    strength = found.square().sum(1)
    direction = (torch.atan2(found[:, 1], found[:, 0]) % math.pi * (4 / math.pi)).long().clamp_max(3)
    kept = torch.zeros_like(strength, dtype=torch.bool)
    for each in range(4):
        of_it = torch.where(direction == each, strength, 0)
        least = of_it.flatten(1).topk(min(count, of_it[0].numel())).values[:, -1]
        kept |= (of_it >= least[:, None, None]) & (of_it > 0)
    return found * kept[:, None]
