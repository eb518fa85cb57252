"""Where a deconvolved photo lies: a blurred photo does not tell, since kernel and photo may move against each other. So the truth is moved onto what is compared with it."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = 6
"""Samples on either side that a moved one is made from."""


def offset(truth: Tensor, other: Tensor, most: float) -> Tensor:
    """(b, h, w) both -> (b, 2): by how much, down and right, `truth` has to be moved to lie best on `other`; 0 where that is more than `most` pixels."""
    size = (truth.shape[-2], truth.shape[-1])
    truth, other = (each - each.mean((1, 2), keepdim=True) for each in (truth, other))
    agreement = torch.fft.irfft2(torch.fft.rfft2(other) * torch.fft.rfft2(truth).conj(), size)
    reach = math.ceil(most) + 1
    near = agreement.roll((reach, reach), (1, 2))[:, : 2 * reach + 1, : 2 * reach + 1]
    peak = near.flatten(1).argmax(1)
    y, x = peak // (2 * reach + 1), peak % (2 * reach + 1)
    each = torch.arange(len(near), device=near.device)
    inner_y, inner_x = y.clamp(1, 2 * reach - 1), x.clamp(1, 2 * reach - 1)
    found = torch.stack(
        [
            inner_y + _vertex(*(near[each, inner_y + step, inner_x] for step in (-1, 0, 1))),
            inner_x + _vertex(*(near[each, inner_y, inner_x + step] for step in (-1, 0, 1))),
        ],
        1,
    )
    found = found - reach
    return found * (found.abs().amax(1, keepdim=True) <= most)


def _vertex(before: Tensor, at: Tensor, after: Tensor) -> Tensor:
    """Where the parabola through three values at -1, 0 and 1 has its highest point."""
    bend = (2 * at - before - after).clamp_min(1e-12)
    return (0.5 * (after - before) / bend).clamp(-1, 1)


def moved(x: Tensor, offsets: Tensor) -> Tensor:
    """(b, c, h, w) moved by (b, 2) pixels down and right, by a windowed sinc; what comes in repeats the border."""
    for axis in (0, 1):
        shift = offsets[:, axis]
        whole = shift.round()
        reach = TAPS + int(whole.abs().max())
        at = torch.arange(-reach, reach + 1, device=x.device) + shift[:, None]
        taps = torch.where(at.abs() < TAPS, torch.sinc(at) * torch.sinc(at / TAPS), 0)
        taps = taps / taps.sum(1, keepdim=True)
        b = len(x)
        margin = (0, 0, reach, reach) if axis == 0 else (reach, reach, 0, 0)
        framed = F.pad(x, margin, "replicate").transpose(0, 1)
        weight = taps[:, None, :, None] if axis == 0 else taps[:, None, None, :]
        x = F.conv2d(framed, weight, groups=b).transpose(0, 1)
    return x
