"""A photo's shake from the photo alone: from coarse to fine, in several regions that help each other.

At each scale, in turns: the sharp photo's gradients, as a small network guesses them from the photo and the kernel so far
(`_predictor`), then the kernel by regularised least squares between those and the photo's own, over its support alone (Cho and Lee
2009; the ridge stands for how unsure the guess is, as in Levin et al. 2011). Grey, linear light; deterministic.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake._curve import Curve
from deblur_cli.shake._deconvolve import measure_noise
from deblur_cli.shake._fourier import gradients
from deblur_cli.shake._kernels import extent, fit_into, rescaled, tidied
from deblur_cli.shake._least_squares import correlations, least_squares
from deblur_cli.shake._predictor import MULTIPLE, Predictor, inverse_filters

STEP = math.sqrt(2)
"""From one scale to the next."""
COARSEST, SMALLEST_SIDE = 110, 48
"""Longest side of the frame at the first scale, where a kernel has 5 pixels; frames with a side below the second are passed over."""
REGION, TELLING = 320, 4
"""Side of a region, and how many of them, the most telling ones, the kernel is found from."""
LARGEST = 41
"""Side of a kernel: at the scale where it needs more, the search ends."""
RIDGE = 0.3
"""Of the least squares, times the energy of the gradients, since the guess leaves out about as much as it holds."""

Kernels = Tensor
"""(k, n, n): k is 1 for all regions together, or their number."""


@dataclass(frozen=True)
class Frame:
    """The photo at one scale, grey, with 1 for nearly its brightest, which is `white` of the light that was handed in.

    noise: standard deviation, of the light that was handed in. curve: what that is.
    """

    light: Tensor
    noise: float
    scale: float
    white: float
    curve: Curve


@dataclass(frozen=True)
class Guess:
    """A kernel for all regions, (1, n, n), on the way up.

    curve: of the frames that it is made to fit. frame: the last that it was, None at the start. before: what it was at the scale before. gain: in dB, what
    undoing it there is worth.
    """

    kernels: Kernels
    curve: Curve
    frame: Frame | None = None
    before: "Guess | None" = None
    gain: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether the next scale has no room for it."""
        return self.frame is not None and is_full(self.kernels)


@dataclass(frozen=True)
class Regions:
    """Parts of a frame of one size. light: (r, h, w). window: (r, h, w), how much each pixel's gradient counts."""

    light: Tensor
    window: Tensor


def pyramid(light: Tensor, curve: Curve) -> list[Frame]:
    """(c, h, w) linear light -> frames of what adds up, from the coarsest to the photo itself."""
    summed = curve.of(light).mean(0)
    noise = measure_noise(summed[None])
    h, w = summed.shape
    scales = [1.0]
    while max(h, w) * scales[-1] > 1.2 * COARSEST:
        scales.append(scales[-1] / STEP)
    frames = [_frame(summed, noise, scale, curve) for scale in reversed(scales)]
    return [frame for frame in frames if min(frame.light.shape) >= SMALLEST_SIDE] or frames[-1:]


def _frame(grey: Tensor, noise: float, scale: float, curve: Curve) -> Frame:
    if scale < 1:
        size = [max(MULTIPLE, round(length * scale)) for length in grey.shape]
        grey = F.interpolate(grey[None, None], size=size, mode="bicubic", antialias=True)[0, 0]
    some = grey.flatten()[:: max(1, grey.numel() // 100_000)]
    white = float(some.quantile(0.98).clamp_min(1e-3))
    return Frame(grey / white, noise * scale, scale, white, curve)


def is_small(frame: Frame) -> bool:
    """Whether it is one region."""
    return max(frame.light.shape) <= 1.25 * REGION


def grown(kernels: Kernels) -> Kernels:
    """For the next scale: larger by STEP, with room for the path to grow."""
    return fit_into(rescaled(kernels, STEP), side_for(extent(kernels)))


def side_for(reach: int) -> int:
    """Of kernels at the next scale, if those at this one reach so far."""
    return min(LARGEST, math.ceil(reach * STEP) // 2 * 2 + 5)


def is_full(kernels: Kernels) -> bool:
    """Whether the path reaches so far that the next scale has no room for it."""
    return extent(kernels) * STEP > LARGEST


def fit_all(
    guesses: list[Kernels], regions: list[Regions], predictor: Predictor, turns: int
) -> list[Kernels]:
    """(1, n, n) each, n of its own, made to fit its regions: all at once, which small frames are quicker by."""
    sides = [guess.shape[-1] for guess in guesses]
    device, r = guesses[0].device, len(regions[0].light)
    kernels = torch.cat([fit_into(guess, max(sides)) for guess in guesses])
    rooms = [fit_into(torch.ones(1, side, side, device=device), max(sides)) > 0 for side in sides]
    together = torch.eye(len(guesses), device=device).repeat_interleave(r, 1)
    all_of_them = Regions(
        torch.cat([each.light for each in regions]), torch.cat([each.window for each in regions])
    )
    kernels = fit(kernels, all_of_them, predictor, together, turns=turns, room=torch.cat(rooms).float())
    return [fit_into(kernel[None], side) for kernel, side in zip(kernels, sides, strict=True)]


def fit(
    kernels: Kernels,
    regions: Regions,
    predictor: Predictor,
    together: Tensor,
    *,
    turns: int,
    room: Tensor | None = None,
) -> Kernels:
    """Kernels made to fit the regions.

    together: (k, r), how much each region's evidence counts for each kernel. room: (k, n, n), 1 where a kernel may be, and 0 elsewhere.
    """
    for _ in range(turns):
        found = solved(kernels, regions, predictor, together, room=room)
        kernels = torch.stack([tidied(kernel) for kernel in found])
    return kernels


def solved(
    kernels: Kernels,
    regions: Regions,
    predictor: Predictor,
    together: Tensor,
    *,
    room: Tensor | None = None,
) -> Tensor:
    """One turn of `fit`, as the least squares leave it: (k, n, n), noise and all."""
    blurred = torch.stack(gradients(regions.light), 1) * regions.window[:, None]
    n, count = kernels.shape[-1], len(regions.light)
    seen = inverse_filters(regions.light, kernels.repeat_interleave(count // len(kernels), 0))
    sharp = predictor(seen) * regions.window[:, None]
    auto, cross = correlations(sharp, blurred, n)
    auto, cross = ((together @ each.flatten(1)).view(-1, *each.shape[1:]) for each in (auto, cross))
    return least_squares(auto, cross, RIDGE, room=room)


def telling_regions(frame: Frame) -> Regions:
    """The frame itself if it is small, else the regions of it that have the most edges, which do not overlap much."""
    return cut(frame, *telling_places(frame))


def telling_places(frame: Frame) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Their corners, row by row, and their (h, w)."""
    if is_small(frame):
        h, w = (length // MULTIPLE * MULTIPLE for length in frame.light.shape)
        return [(0, 0)], (h, w)
    h, w = (min(length // MULTIPLE * MULTIPLE, REGION) for length in frame.light.shape)
    places = grid_of(frame, (h, w), [max(1, round(length / REGION)) for length in frame.light.shape])
    return most_telling(frame, places, (h, w), TELLING), (h, w)


def most_telling(
    frame: Frame, places: list[tuple[int, int]], size: tuple[int, int], count: int
) -> list[tuple[int, int]]:
    """The corners of the regions of that (h, w) that have the most edges, `count` of them at most, in their order."""
    edges = [_edges(frame, place, size) for place in places]
    best = sorted(range(len(places)), key=lambda i: -edges[i])[:count]
    return [places[i] for i in sorted(best)]


def grid_of(frame: Frame, size: tuple[int, int], counts: list[int]) -> list[tuple[int, int]]:
    """Corners of regions of that (h, w), spread evenly over a frame, row by row."""
    tops, lefts = (
        [round(i * (length - side) / max(1, count - 1)) for i in range(count)]
        if count > 1
        else [(length - side) // 2]
        for length, side, count in zip(frame.light.shape, size, counts, strict=True)
    )
    return [(top, left) for top in tops for left in lefts]


def cut(frame: Frame, places: list[tuple[int, int]], size: tuple[int, int]) -> Regions:
    """The regions of that (h, w) with these corners."""
    h, w = size
    light = torch.stack([frame.light[top : top + h, left : left + w] for top, left in places])
    return Regions(light, _window(h, w).to(light.device).expand(light.shape))


def _edges(frame: Frame, place: tuple[int, int], size: tuple[int, int]) -> float:
    """How many edges a region has, beyond its noise."""
    top, left = place
    part = frame.light[top : top + size[0], left : left + size[1]]
    part = F.avg_pool2d(part[None], 4)[0]
    right, down = (part.diff(dim=axis).square().mean() for axis in (1, 0))
    return float(torch.minimum(right, down)) - (frame.noise / frame.white) ** 2 / 8


def _window(h: int, w: int) -> Tensor:
    """(h, w): 1, and towards the borders, whose neighbours are not known, down to 0."""

    def ramp(length: int) -> Tensor:
        m = min(12, length // 4)
        rise = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(m) + 0.5) / m)
        return torch.cat([rise, torch.ones(length - 2 * m), rise.flip(0)])

    return ramp(h)[:, None] * ramp(w)
