"""One kernel once more, from what the fusion made of the photo: of all guesses of the sharp photo the best one.

Its gradients, of which the strong ones count, and the photo's own give a kernel by regularised least squares. Whether it is better is what the fusion expects of it.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from deblur_cli.shake._deconvolve import NOTHING
from deblur_cli.shake._estimate import Frame, cut, telling_places
from deblur_cli.shake._expected import Expected
from deblur_cli.shake._fourier import gradients
from deblur_cli.shake._kernels import LARGEST, Shake, extent, fit_into, tidied
from deblur_cli.shake._least_squares import correlations, least_squares

RIDGE = 0.3
"""Of the least squares, times the energy of the gradients."""
WEAK = 3.0
"""A gradient whose square is so many times the mean one's counts half."""
MORE_ROOM = 8
"""Pixels a side, for what the kernel has missed."""
REFITS, BETTER_DB = 2, 0.1
"""How often, and what more has to be expected of it each time."""


def refitted(
    shake: Shake, expected: Expected, frame: Frame, look: Callable[[Shake], Expected]
) -> tuple[Shake, Expected]:
    """One kernel for all of the photo, as long as it becomes better by it, and what is expected of it then. frame: the photo, grey. look: what is expected of a shake.

    Regions that are not twice as long as the kernel tell nothing of it.
    """
    for _ in range(REFITS):
        if 2 * _side(shake) > min(telling_places(frame)[1]):
            break
        other = _once_more(shake, expected, frame)
        seen = look(other)
        if seen.gain < expected.gain + BETTER_DB:
            break
        shake, expected = other, seen
    return shake, expected


def _side(shake: Shake) -> int:
    """Of the next kernel, odd."""
    return min(LARGEST, extent(shake.kernels[0], beyond=NOTHING) + MORE_ROOM)


def _once_more(shake: Shake, expected: Expected, frame: Frame) -> Shake:
    regions, curve = cut(frame, *telling_places(frame)), shake.curve
    restored = torch.stack([curve.of(light).mean(0) for light in expected.restored]) / frame.white
    sharp, blurred = (torch.stack(gradients(light), 1) for light in (restored, regions.light))
    energy, window = sharp.square().sum(1, keepdim=True), regions.window[:, None]
    usual = energy.mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
    sharp = sharp * energy / (energy + WEAK * usual)
    auto, cross = (
        each.sum(0, keepdim=True) for each in correlations(sharp * window, blurred * window, _side(shake))
    )
    kernel = tidied(least_squares(auto, cross, RIDGE)[0])[None].cpu()
    return replace(shake, kernels=fit_into(kernel, min(extent(kernel, beyond=NOTHING), LARGEST))[None])
