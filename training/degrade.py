"""What a camera does after the exposure: noise, sharpening, JPEG. All in tensors, so that it runs where the training runs."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from training.blur import gaussian_kernel
from training.dice import Dice

Tone = Callable[[Tensor], Tensor]
"""A camera's curve after sRGB's, sRGB 0..1 -> 0..1."""
MID_GREY = 0.214
"""sRGB 0.5 in linear light; there the slope of the sRGB curve is about 1, so noise is as strong in either."""


def add_noise(
    linear: Tensor, sigma: float, dice: Dice, *, read_share: float = 0.1, grain: float = 0.0
) -> Tensor:
    """(c, h, w) in linear light with shot and read noise of standard deviation `sigma` at mid grey.

    The variance is (1 - read_share) * x / MID_GREY + read_share, times sigma^2: photons arrive as a Poisson process, which is
    normal enough here. grain: the noise is smoothed by a gaussian of this sigma, as demosaicking does, and as strong as before.
    """
    noise = dice.normal(*linear.shape)
    if grain > 0:
        kernel = gaussian_kernel(grain)
        kernel = kernel / kernel.square().sum().sqrt()
        half = kernel.shape[0] // 2
        noise = F.conv2d(F.pad(noise[:, None], (half,) * 4, "reflect"), kernel[None, None])[:, 0]
    variance = (1 - read_share) * linear.clamp_min(0) / MID_GREY + read_share
    return linear + sigma * variance.sqrt() * noise.to(linear.device)


def random_tone(dice: Dice) -> Tone:
    """What cameras' curves are besides sRGB's, which nobody who sees a photo knows: a power, and an S around the middle; sRGB 0..1 -> 0..1."""
    power, contrast = dice.log_uniform(0.8, 1.25), dice.uniform(-0.2, 0.7)

    def tone(srgb: Tensor) -> Tensor:
        x = srgb.clamp(0, 1) ** power
        return x + contrast * x * (1 - x) * (2 * x - 1)

    return tone


def sharpen(srgb: Tensor, amount: float, sigma: float) -> Tensor:
    """Unsharp masking, as phones do it: (c, h, w) plus `amount` times what a gaussian takes away; clipped."""
    kernel = gaussian_kernel(sigma).to(srgb.device)
    half = kernel.shape[0] // 2
    smooth = F.conv2d(F.pad(srgb[:, None], (half,) * 4, "reflect"), kernel[None, None])[:, 0]
    return (srgb + amount * (srgb - smooth)).clamp(0, 1)


# ITU-T T.81, annex K: the tables that libjpeg scales by quality.
_LUMA = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
).float()
_CHROMA = torch.full((8, 8), 99.0)
_CHROMA[:4, :4] = torch.tensor(
    [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
).float()
_DCT = torch.cos(torch.arange(8)[:, None] * (2 * torch.arange(8) + 1) * math.pi / 16) / 2
_DCT[0] /= math.sqrt(2)
_TO_YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def jpeg(srgb: Tensor, quality: int, *, subsample: bool) -> Tensor:
    """(3, h, w) in 0..1 as it comes back from a JPEG file of this quality (libjpeg's scale), with or without 4:2:0 chroma.

    Nothing is entropy-coded, so this is what the file's loss is and no more. h and w must be multiples of 16.
    """
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    matrix = _TO_YCBCR.to(srgb.device)
    ycbcr = (
        torch.einsum("dc,chw->dhw", matrix, (srgb * 255).round())
        - torch.tensor([128.0, 0, 0], device=srgb.device)[:, None, None]
    )
    luma, chroma = ycbcr[:1], ycbcr[1:]
    if subsample:
        chroma = F.avg_pool2d(chroma, 2)
    luma, chroma = (
        _through_dct(plane, ((table.to(srgb.device) * scale + 50) / 100).floor().clamp(1, 255))
        for plane, table in ((luma, _LUMA), (chroma, _CHROMA))
    )
    if subsample:
        chroma = F.interpolate(chroma[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    ycbcr = torch.cat([luma + 128, chroma])
    return (torch.einsum("dc,chw->dhw", torch.linalg.inv(matrix), ycbcr)).round().clamp(0, 255) / 255


def _through_dct(planes: Tensor, table: Tensor) -> Tensor:
    c, h, w = planes.shape
    dct = _DCT.to(planes.device)
    blocks = planes.view(c, h // 8, 8, w // 8, 8).transpose(2, 3)
    blocks = dct.t() @ ((dct @ blocks @ dct.t() / table).round() * table) @ dct
    return blocks.transpose(2, 3).reshape(c, h, w)
