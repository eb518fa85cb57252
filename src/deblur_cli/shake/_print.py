"""A shaken page of print: letters repeat, and a kernel that repeats, too, explains them as well as the right one; that paper is plain tells them apart.

As `_edges` finds a kernel; but the sharp photo has not only few gradients, but also few pixels that are not paper (Pan, Hu, Su and Yang, "Deblurring text images
via L0-regularized intensity and gradient prior", 2014, count those that are not black).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake._edges import kernels_of_edges, split
from deblur_cli.shake._estimate import Frame, Kernels
from deblur_cli.shake._fourier import gradient_power, transfer

PAPER = 1.0
"""Light of paper in a `Frame`."""
AROUND, DARKEST = 6, 0.05
"""A place is compared with the brightest within so large a part of the longer side, since light is uneven; that is not taken for darker."""
NEAR, PLAIN, BRIGHT, LEVELS = 0.1, 0.35, 0.7, 60
"""A page has so large a share of its pixels so near to the light that most have, of so many levels that are told apart, and that is bright."""
STRICTER_LEVELS, STRICTEST_LEVELS = 4.0, 8.0
STRICTER = 5.6
"""How much more each step of the splitting asks for few pixels that are not paper, and where that ends; and within it for few gradients."""


def looks_printed(frame: Frame) -> bool:
    """Whether a small frame may be a page, dark on light: most of it is as bright as the brightest around it."""
    light = (frame.light / _brightest_around(frame.light)).clamp(0, 1.2)
    counts = torch.histc(light, LEVELS, 0, 1.2)
    most = (int(counts.argmax()) + 0.5) * 1.2 / LEVELS
    return most > BRIGHT and float(((light - most).abs() < NEAR).float().mean()) > PLAIN


def _brightest_around(light: Tensor) -> Tensor:
    """(h, w) -> same."""
    half = max(light.shape) // AROUND // 2
    side = 2 * half + 1
    brightest = F.avg_pool2d(light[None, None], 3, 1, 1, count_include_pad=False)
    for size, margin in (((side, 1), (half, 0)), ((1, side), (0, half))):
        brightest = F.max_pool2d(brightest, size, 1, margin)
    brightest = F.pad(brightest, (half,) * 4, "replicate")
    for size in ((side, 1), (1, side)):
        brightest = F.avg_pool2d(brightest, size, 1)
    return brightest[0, 0].clamp_min(DARKEST)


def kernels_of_print(frame: Frame) -> Kernels:
    """The kernel (1, n, n) of a small frame, as of `kernels_of_edges`."""
    return kernels_of_edges([frame], sharpened=few_levels)


def few_levels(light: Tensor, kernels: Kernels, weight: float) -> Tensor:
    """As `few_gradients`, but each pixel that is not paper costs that weight, too."""
    size = (light.shape[-2], light.shape[-1])
    kernel_ft, power = transfer(kernels, size), gradient_power(size, light.device)
    seen, passed = kernel_ft.conj() * torch.fft.rfft2(light), kernel_ft.abs().square()
    sharp, of_levels = light, 2 * weight
    while of_levels < STRICTEST_LEVELS:
        ink = sharp - PAPER
        ink = ink * (ink.square() >= weight / of_levels)
        wanted, whole = seen + of_levels * torch.fft.rfft2(ink + PAPER), passed + of_levels
        sharp = split(sharp, wanted, whole, power, weight, STRICTER)
        of_levels *= STRICTER_LEVELS
    return sharp
