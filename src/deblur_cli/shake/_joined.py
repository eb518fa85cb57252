"""A photo, what the network alone makes of it and what undoing its shake makes of it, joined part by part, with what is to be thought of the result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake._curve import to_light
from deblur_cli.shake._deconvolve import measure_noise, prior_weight
from deblur_cli.shake._fusion import (
    LEAST_CHANGE,
    fused,
    gain_of,
    load_fusion,
    sources_of,
    undone_part,
)
from deblur_cli.shake._judge import load_judge
from deblur_cli.shake._kernels import Shake
from deblur_cli.shake._parts import in_parts, in_tiles

BELIEVED = 0.3
"""Of what undoing a shake changes at a place: where so much is kept, it counts as undone."""
PLACE = 32
"""Pixels a side of such a place."""


@dataclass(frozen=True)
class Joined:
    """light: (c, h, w) linear. share: of the frame in which the shake is undone, 0..1. errors: (2,), the mean squared errors that are expected in sRGB, of the
    network alone and of this.
    """

    light: Tensor
    share: float
    errors: Tensor

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
) -> Joined:
    """(c, h, w) linear light, before and as the network alone restores it -> without the shake where that is believed; what is brighter than 1 is the latter's.

    noise: of what adds up, where it is known already. known: the shake is certain; the judge is not asked.
    """
    network, judge = load_fusion(light.device), None if known else load_judge(light.device)
    c, curve = light.shape[0], shake.curve
    photo, before = curve.of(light), curve.of(alone)
    weight = prior_weight(measure_noise(photo) if noise is None else noise)
    tell = progress or (lambda _: None)

    def join(parts: Sequence[Tensor]) -> Tensor:
        sources = sources_of(parts[:2], parts[2], curve)
        result, errors, _ = fused(network, judge, sources)
        before, after = sources[3:6][:c], sources[6:9][:c]
        result = result if c == 3 else result.mean(0, keepdim=True)
        kept = ((result - before) * (after - before)).sum(0, keepdim=True)
        changed = (after - before).square().sum(0, keepdim=True)
        return torch.cat([to_light(result), kept, changed, errors.exp()])

    undone = in_parts(
        photo,
        shake,
        lambda part, kernel: undone_part(part, kernel, weight, curve),
        2 * c + 1,
        lambda share: tell(share / 2),
    )
    planes = in_tiles((photo, before, undone), join, c + 4, lambda share: tell((1 + share) / 2))
    kept, changed = F.avg_pool2d(planes[c : c + 2], PLACE, ceil_mode=True)
    changing = changed > c * LEAST_CHANGE**2
    believed = (kept > BELIEVED * changed) & changing
    share = float(believed.sum()) / max(1, int(changing.sum()))
    return Joined(planes[:c] + (alone - alone.clamp(0, 1)), share, planes[c + 2 :].mean((1, 2)))
