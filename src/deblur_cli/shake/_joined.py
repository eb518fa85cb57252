"""A photo, what the network alone makes of it and what undoing its shake makes of it, joined part by part, with what is to be thought of the result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake._curve import to_light
from deblur_cli.shake._deconvolve import deconvolve_twice, measure_noise, prior_weight
from deblur_cli.shake._fusion import fused, gain_of, load_fusion
from deblur_cli.shake._judge import OPINION_DB, load_judge, rest_of
from deblur_cli.shake._kernels import Shake
from deblur_cli.shake._parts import in_parts, in_tiles

BELIEVED = 0.3
"""Of what undoing a shake changes at a place: where so much is kept, it counts as undone."""
PLACE = 32
"""Pixels a side of such a place."""
LEAST_CHANGE = 0.004
"""In sRGB 0..1, root mean square: where undoing changes less there is nothing to believe."""


@dataclass(frozen=True)
class Joined:
    """light: (c, h, w) linear. share: of the frame in which the shake is undone, 0..1. errors: (2,), the mean squared errors that are expected in sRGB, of the
    network alone and of this. opinion: dB that undoing gained, as the judge sees it, in the mean over places, of which those that it changed more count more.
    """

    light: Tensor
    share: float
    errors: Tensor
    opinion: float

    @property
    def gain(self) -> float:
        """By how many dB this is expected to be nearer to the truth than the network alone."""
        return gain_of(self.errors)


def joined(
    light: Tensor,
    alone: Tensor,
    shake: Shake,
    progress: Callable[[float], None] | None = None,
    *,
    noise: float | None = None,
    known: bool = False,
    turns: int = 1,
) -> Joined:
    """(c, h, w) linear light, before and as the network alone restores it -> without the shake where that is believed; what is brighter than 1 is the latter's.

    noise: of what adds up, where it is known already. known: the shake is certain; the judge is not asked. turns: as of `fused`.
    """
    network, judge = load_fusion(light.device), None if known else load_judge(light.device)
    c, curve = light.shape[0], shake.curve
    photo, before = curve.of(light), curve.of(alone)
    weight = prior_weight(measure_noise(photo) if noise is None else noise)
    tell = progress or (lambda _: None)

    def undo(part: Tensor, kernel: Tensor) -> Tensor:
        sparse, linear = deconvolve_twice(part, kernel, weight, curve)
        return torch.cat([sparse, linear, rest_of(part, sparse, kernel, curve)[None]])

    def join(parts: Sequence[Tensor]) -> Tensor:
        photo, before, sparse, linear, rest = parts
        result, errors, believed = fused(
            network, judge, (photo, before, sparse, linear), rest[0], curve, turns
        )
        visible, before, after = curve.srgb(photo), curve.srgb(before), curve.srgb(sparse)
        change = (after - visible).square().mean(0, keepdim=True).sqrt() + LEAST_CHANGE
        kept = ((result - before) * (after - before)).sum(0, keepdim=True)
        changed = (after - before).square().sum(0, keepdim=True)
        return torch.cat([to_light(result), kept, changed, errors.exp(), change, change * believed])

    undone = in_parts(photo, shake, undo, 2 * c + 1, lambda share: tell(share / 2))
    frames = (photo, before, undone[:c], undone[c:-1], undone[-1:])
    planes = in_tiles(frames, join, c + 6, lambda share: tell((1 + share) / 2))
    kept, changed = F.avg_pool2d(planes[c : c + 2], PLACE, ceil_mode=True)
    changing = changed > c * LEAST_CHANGE**2
    believed = (kept > BELIEVED * changed) & changing
    share = float(believed.sum()) / max(1, int(changing.sum()))
    *errors, change, believed = planes[c + 2 :].mean((1, 2))
    least, range_db = OPINION_DB
    opinion = least + range_db * float(believed / change)
    return Joined(planes[:c] + (alone - alone.clamp(0, 1)), share, torch.stack(errors), opinion)
