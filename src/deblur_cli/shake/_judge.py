"""Whether undoing a shake has brought a photo nearer to the truth, by a small network that has seen many go wrong.

Wrong kernels leave marks that an eye sees at once: rings, doubled edges, grain with a direction. The network is shown the photo before, the
photo after, and what blurring the second again misses of the first; it answers in decibels, against what sharpening alone would have
brought. It chooses among guesses (`_find`); what is undone in the end, `_undo` decides.
"""

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblur_cli.shake._curve import Curve
from deblur_cli.shake._fourier import transfer_in_place
from deblur_cli.shake._networks import Convolution, Residual, convolving, loaded, unshuffled

WEIGHTS = Path(__file__).with_name("judge.safetensors")
CELL = 16
"""Pixels a side of the places that it judges."""
CHANNELS = (48, 64, 96)
OPINION_DB = (-3.0, 8.0)
"""Of what the judge says: the least that is told apart, and the range."""
REST_GAIN = 4.0
"""How much larger the rest is shown than it is."""


class Judge(nn.Module):
    """(b, 3, h, w) as of `compared` -> (b, h / 16, w / 16): dB gained over sharpening alone.

    h and w are multiples of 16.
    """

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = CHANNELS
        self.inp = Convolution(3 * 16, fine)
        self.fine = nn.Sequential(Residual(fine), Residual(fine))
        self.down1 = nn.Conv2d(fine, middle, 2, 2)
        self.middle = nn.Sequential(Residual(middle), Residual(middle))
        self.down2 = nn.Conv2d(middle, coarse, 2, 2)
        self.coarse = nn.Sequential(Residual(coarse), Residual(coarse), Residual(coarse))
        self.out = nn.Conv2d(coarse, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """By how much each place gained."""
        with convolving(x.device):
            features = self.fine(self.inp(unshuffled(2 * x - 1, 4)))
            features = self.middle(self.down1(features))
            features = self.out(self.coarse(self.down2(features)))
        return features[:, 0].float()


@cache
def load_judge(device: torch.device, path: Path = WEIGHTS) -> Judge:
    """The network of the package, ready to be used."""
    return loaded(Judge(), path, device)


def compared(before: Tensor, after: Tensor, rest: Tensor, curve: Curve) -> Tensor:
    """(c, h, w) of what adds up before and after, and (h, w) `rest_of` them -> (3, h, w) grey: both in sRGB, and the rest."""
    return torch.stack([curve.srgb(before).mean(0), curve.srgb(after).mean(0), rest])


def rest_of(before: Tensor, after: Tensor, kernel: Tensor, curve: Curve) -> Tensor:
    """(c, h, w) both -> (h, w), 0.5 for none: what blurring the second again misses of the first, in sRGB, REST_GAIN times as large."""
    size = (before.shape[-2], before.shape[-1])
    again = torch.fft.irfft2(torch.fft.rfft2(after.mean(0)) * transfer_in_place(kernel, size), size)
    return (0.5 + REST_GAIN * (curve.srgb(again) - curve.srgb(before.mean(0)))).clamp(0, 1)


def opinion(network: Judge, shown: Tensor) -> Tensor:
    """(3, h, w) as of `compared` -> (h, w) in 0..1: the gain that the judge expects of each place and those around it, over the range of OPINION_DB."""
    _, h, w = shown.shape
    framed = F.pad(shown[None], (0, -w % CELL, 0, -h % CELL), "replicate")
    gains = F.avg_pool2d(network(framed)[:, None], 3, 1, 1, count_include_pad=False)
    gains = F.interpolate(gains, size=framed.shape[-2:], mode="bilinear", align_corners=False)[0, 0, :h, :w]
    least, range_db = OPINION_DB
    return ((gains - least) / range_db).clamp(0, 1)


def opinion_db(share: float) -> float:
    """What `opinion` says, as dB."""
    least, range_db = OPINION_DB
    return least + range_db * share


def mean_gain(gains: Tensor, shown: Tensor) -> Tensor:
    """(r, h, w) in dB, of what was shown, (r, 3, 16 h, 16 w), as one number each: places that were changed more count more."""
    change = F.avg_pool2d((shown[:, 1] - shown[:, 0]).square()[:, None], CELL)[:, 0].sqrt() + 1e-3
    return (gains * change).sum((1, 2)) / change.sum((1, 2))
