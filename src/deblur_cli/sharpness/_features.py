"""What is measured on a patch: how its differences grow with the distance, and how its power falls with the frequency, in several directions.

A blurred edge takes as many pixels as the blur is wide to come from dark to bright, and a blur takes away the power beyond one over its width. Noise and JPEG show
in both at the smallest distances and the highest frequencies, where edges do not end.
"""

import math
from functools import cache

import torch
from torch import Tensor

STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))
RINGS, SECTORS = 10, 8
CONTRAST_FLOOR = 1e-3
TINY = 1e-9
COUNT = len(STEPS) * len(DIRECTIONS) * 4 + RINGS * SECTORS + 1


def features_of(patches: Tensor) -> Tensor:
    """(n, h, w) float32, values of the file as 0..1, at least 32 pixels a side -> (n, COUNT), all logarithms. They do not see brightness."""
    contrast, mean = torch.std_mean(patches, (-2, -1), keepdim=True, correction=0)
    even = (patches - mean) / (contrast + CONTRAST_FLOOR)
    return torch.cat([(contrast[..., 0] + CONTRAST_FLOOR).log(), *_growth(even), _spectrum(even)], 1)


def _growth(patches: Tensor) -> list[Tensor]:
    """Of the differences over some steps: their mean, mean square, mean fourth power and the largest."""
    h, w = patches.shape[-2:]
    found = []
    for step in STEPS:
        for down, right in DIRECTIONS:
            dy, dx = (min(step * each, length - 1) for each, length in ((down, h), (abs(right), w)))
            a, b = patches[:, dy:], patches[:, : h - dy]
            if right < 0:
                a, b = b, a
            square = (a[..., dx:] - b[..., : w - dx]).square().flatten(1)
            root, largest = square.sqrt().mean(1), square.amax(1)
            moments = root, square.mean(1), square.square().mean(1).sqrt(), largest
            found.append((torch.stack(moments, 1) + TINY).log())
    return found


def _spectrum(patches: Tensor) -> Tensor:
    """Mean power in rings and sectors of the spectrum."""
    h, w = patches.shape[-2:]
    window = torch.hann_window(h, periodic=False)[:, None] * torch.hann_window(w, periodic=False)
    power = torch.fft.rfft2(patches * window).abs().square().flatten(1) / (h * w)
    bins: Tensor = power @ _bins(h, w)
    return (bins + TINY).log()


@cache
def turned() -> Tensor:
    """(COUNT,): where each feature of a patch is found among those of the patch turned by a quarter."""
    growth = 1 + torch.arange(len(STEPS) * len(DIRECTIONS) * 4).view(len(STEPS), len(DIRECTIONS), 4)
    power = COUNT - RINGS * SECTORS + torch.arange(RINGS * SECTORS).view(RINGS, SECTORS)
    directions, sectors = growth.roll(len(DIRECTIONS) // 2, 1), power.roll(SECTORS // 2, 1)
    return torch.cat([torch.zeros(1).long(), directions.flatten(), sectors.flatten()])


@cache
def _bins(h: int, w: int) -> Tensor:
    """(frequencies, RINGS * SECTORS), each column a mean; rings are even in octaves, from 1/32 to 0.71 per pixel."""
    y, x = torch.meshgrid(torch.fft.fftfreq(h), torch.fft.rfftfreq(w), indexing="ij")
    ring = RINGS * (torch.hypot(y, x).clamp_min(1e-9).log2() + 5) / (5 + math.log2(0.71))
    sector = SECTORS * (torch.atan2(y, x) / math.pi + 0.5)
    which = ring.floor() * SECTORS + sector.floor() % SECTORS
    inside = (ring >= 0) & (ring < RINGS)
    bins = torch.zeros(y.numel(), RINGS * SECTORS)
    bins[inside.flatten().nonzero()[:, 0], which[inside].long()] = 1
    return bins / bins.sum(0).clamp_min(1)
