"""What is believed where: a small network sees the photo, what the network alone makes of it and what undoing the shake makes of it, and joins them.

It has seen many kernels that were right, nearly right and wrong (training/shake/fusion.py): where the kernel is wrong it keeps what the network alone gives, where it is right it takes
the deconvolved photo and clears it of noise and rings.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake._curve import Curve
from deblur_cli.shake._deconvolve import deconvolve_twice
from deblur_cli.shake._judge import Judge, compared, opinion, rest_of
from deblur_cli.shake._networks import UNet, loaded

WEIGHTS = Path(__file__).with_name("fusion.safetensors")
MULTIPLE = 8
"""Height and width of its input: it works at half the size and two times half of that."""
INPUTS = 14
"""Planes: photo, alone, sparse and linear of three colours each, the rest, and the judge's opinion."""
CHANNELS = (40, 64, 96)
LEAST_CHANGE = 0.004
"""In sRGB 0..1, root mean square: where undoing changes less there is nothing to believe."""
MORE = 0.1
"""How much smaller than the sources what is added to their mean is."""
USUAL = -7.0
"""Natural logarithm of a usual mean squared error."""


class Fusion(UNet):
    """(b, 14, h, w) in sRGB, as INPUTS says -> what `join` makes of it; h and w are multiples of 8."""

    def __init__(self) -> None:
        super().__init__(INPUTS, 8, CHANNELS)

    def join(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 3, h, w) in sRGB: a mean of alone, sparse and linear, weighted pixel by pixel, and something more; and (b, 2, h, w): what it expects the squared
        errors of alone and of that to be, as natural logarithms.
        """
        trust, more, errors = self(2 * x - 1).split((3, 3, 2), 1)
        of_each = torch.stack(x[:, 3:12].chunk(3, 1), 1)
        return (trust.softmax(1)[:, :, None] * of_each).sum(1) + MORE * more, USUAL + errors


@cache
def load_fusion(device: torch.device, path: Path = WEIGHTS) -> Fusion:
    """The network of the package, ready to be used."""
    return loaded(Fusion(), path, device)


def gain_of(errors: Tensor) -> float:
    """(2,) mean squared errors, of the network alone and of what is joined -> dB by which the second is nearer to the truth."""
    return float(10 * (errors[0] / errors[1]).log10())


def undone_part(photo: Tensor, kernel: Tensor, weight: float, curve: Curve) -> Tensor:
    """(c, h, w) of what adds up, c 1 or 3, blurred by (n, n) -> (2 c + 1, h, w): undone with a sparse prior of that weight, and by a linear filter, and the `rest_of` the first."""
    sparse, linear = deconvolve_twice(photo, kernel, weight, curve)
    return torch.cat([sparse, linear, rest_of(photo, sparse, kernel, curve)[None]])


def sources_of(photos: Sequence[Tensor], undone: Tensor, curve: Curve) -> Tensor:
    """(c, h, w) each of what adds up: the photo, and what the network alone makes of it; undone: as of `undone_part` -> (15, h, w): these two
    and the two that are undone in sRGB, and what the judge is shown.
    """
    c = photos[0].shape[0]
    sparse, linear, rest = torch.split(undone, [c, c, 1])
    shown = compared(photos[0], sparse, rest[0], curve)
    return torch.cat([*(curve.srgb(each).expand(3, -1, -1) for each in (*photos, sparse, linear)), shown])


def changed_by(sources: Tensor) -> Tensor:
    """(15, h, w) -> (1, h, w): by how much undoing changes each place, in sRGB, LEAST_CHANGE more."""
    return (sources[6:9] - sources[:3]).square().mean(0, keepdim=True).sqrt() + LEAST_CHANGE


def fused(network: Fusion, judge: Judge | None, sources: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(15, h, w) as of `sources_of` -> what `Fusion.join` makes of it, (3, h, w) in 0..1 and (2, h, w), and the judge's `opinion`, (1, h, w). judge: None for
    a kernel that is known to be right.
    """
    h, w = sources.shape[-2:]
    colours, shown = sources[:12], sources[12:]
    believed = opinion(judge, shown)[None] if judge else torch.ones(1, h, w, device=sources.device)
    seen = torch.cat([colours, shown[2:], believed])[None]
    result, errors = network.join(F.pad(seen, (0, -w % MULTIPLE, 0, -h % MULTIPLE), "replicate"))
    return result[0, :, :h, :w].clamp(0, 1), errors[0, :, :h, :w], believed
