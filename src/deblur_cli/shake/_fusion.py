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
from deblur_cli.shake._judge import Judge, compared, opinion
from deblur_cli.shake._networks import UNet, loaded

WEIGHTS = Path(__file__).with_name("fusion.safetensors")
MULTIPLE = 8
"""Height and width of its input: it works at half the size and two times half of that."""
INPUTS = 14
"""Planes: photo, alone, sparse and linear of three colours each, the rest, and the judge's opinion."""
CHANNELS = (40, 64, 96)
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


def fused(
    network: Fusion, judge: Judge | None, planes: Sequence[Tensor], rest: Tensor, curve: Curve
) -> tuple[Tensor, Tensor, Tensor]:
    """(c, h, w) each of what adds up, c 1 or 3: the photo, what the network alone makes of it, and what undoing its shake makes of it, with a sparse prior and by
    a linear filter; rest: as of `compared` -> the same, joined, in sRGB 0..1, the errors expected as of `Fusion.join`, and the judge's `opinion`. judge: None for a kernel that is known to be right.
    """
    photo, _, sparse, _ = planes
    c, h, w = photo.shape
    shown = compared(photo, sparse, rest, curve)
    colours = [curve.srgb(plane).expand(3, -1, -1) for plane in planes]
    believed = opinion(judge, shown) if judge else torch.ones(h, w, device=photo.device)
    sources = torch.cat([*colours, shown[2:], believed[None]])[None]
    framed = F.pad(sources, (0, -w % MULTIPLE, 0, -h % MULTIPLE), "replicate")
    result, errors = (each[0, :, :h, :w] for each in network.join(framed))
    result = result.clamp(0, 1)
    return result if c == 3 else result.mean(0, keepdim=True), errors, believed
