"""A photo's shake by its strong edges alone, without a network: a second opinion, which errs on other photos than the first.

From coarse to fine, in turns: a sharp photo with few gradients that the kernel so far would have blurred to this one (Xu, Zheng and Jia 2013; Pan et
al. 2014), the strongest of its gradients in each direction (Cho and Lee 2009), and the kernel by regularised least squares between those and the photo's own.
"""

import math
from types import EllipsisType

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake._estimate import STEP, Frame, Kernels, correlations, least_squares
from deblur_cli.shake._fourier import divergence, fast_length, gradient_power, gradients, transfer, wrap
from deblur_cli.shake._kernels import centred, fit_into, rescaled, without_islands

SIDE, SMALLEST, LEAST = 31, 5, 16
"""Of a kernel at the frame itself, at the first scale at most, and of the smallest frame."""
TURNS = 8
"""At each scale."""
WEIGHT, FALLING, LOWEST = 4e-3, 1.1, 1e-4
"""What a gradient costs in the first turn of a scale, by how much less it does in the next, and in the last at least."""
STRICTER, STRICTEST = 2.0, 1e5
"""How much more each step of the splitting asks that the gradients are few, and where that ends."""
SALIENT = 0.5
"""How many gradients of a direction count, for each pixel along the frame's and the kernel's sides."""
RIDGE = 2.0
"""Of the least squares, in the photo's own units."""
FAINT, ISLAND = 0.05, 0.1
"""Of a kernel: what is below so much of its largest value, and parts apart from the rest with less than so much of its sum, are noise."""


def kernel_of_edges(frame: Frame) -> Kernels:
    """The kernel (1, n, n) of a small frame, n at most SIDE."""
    sides = [SIDE]
    while sides[-1] > SMALLEST:
        sides.append(int(sides[-1] / STEP) | 1)
    kernel = torch.zeros(1, sides[-1], sides[-1], device=frame.light.device)
    kernel[:, sides[-1] // 2, sides[-1] // 2 - 1 : sides[-1] // 2 + 2] = 1 / 3
    for side in reversed(sides):
        kernel = fit_into(rescaled(kernel, side / kernel.shape[-1]), side)
        size = [max(LEAST, round(length * side / SIDE)) for length in frame.light.shape]
        light = F.interpolate(frame.light[None, None], size=size, mode="bicubic", antialias=True)[0, 0]
        kernel = _fitted(kernel, light)
    return kernel


def _fitted(kernel: Kernels, light: Tensor) -> Kernels:
    """(1, n, n) made to fit (h, w)."""
    n, (h, w) = kernel.shape[-1], light.shape
    margin = min(n, h // 2, w // 2)
    right, below = (fast_length(length + 2 * margin) - length - margin for length in (w, h))
    framed = wrap(light[None], (margin, right, margin, below))
    inside = (..., slice(margin, margin + h), slice(margin, margin + w))
    blurred = _inside(framed, inside)
    for turn in range(TURNS):
        weight = max(LOWEST, WEIGHT / FALLING**turn)
        count = SALIENT * math.sqrt(framed.numel()) * n * FALLING**turn
        sharp = salient(_inside(few_gradients(framed, kernel, weight), inside), round(count))
        auto, cross = correlations(sharp, blurred, n)
        ridge = RIDGE / float(auto[0, n - 1, n - 1].clamp_min(1e-6))
        (found,) = least_squares(auto, cross, ridge)
        kernel = centred(without_islands(found, FAINT * float(found.max()), ISLAND))[None]
    return kernel


def _inside(framed: Tensor, inside: tuple[EllipsisType | slice, ...]) -> Tensor:
    """(1, 2, h, w): the gradients of (1, h, w), 0 in the margins."""
    found = torch.zeros(1, 2, *framed.shape[-2:], device=framed.device)
    found[inside] = torch.stack(gradients(framed), 1)[inside]
    return found


def few_gradients(light: Tensor, kernel: Kernels, weight: float) -> Tensor:
    """(1, h, w) that wraps round, blurred by (1, n, n) -> the sharp one of which each gradient that is not 0 costs that weight."""
    size = (light.shape[-2], light.shape[-1])
    kernel_ft, power = transfer(kernel, size), gradient_power(size, light.device)
    seen, passed = kernel_ft.conj() * torch.fft.rfft2(light), kernel_ft.abs().square()
    sharp, strictness = light, 2 * weight
    while strictness < STRICTEST:
        right, down = gradients(sharp)
        kept = right.square() + down.square() >= weight / strictness
        pull = torch.fft.rfft2(divergence(right * kept, down * kept))
        sharp = torch.fft.irfft2((seen + strictness * pull) / (passed + strictness * power), size)
        strictness *= STRICTER
    return sharp


def salient(found: Tensor, count: int) -> Tensor:
    """(1, 2, h, w) gradients: the strongest `count` of each of four directions, the others 0."""
    strength = found.square().sum(1)
    direction = (torch.atan2(found[:, 1], found[:, 0]) % math.pi * (4 / math.pi)).long().clamp_max(3)
    kept = torch.zeros_like(strength, dtype=torch.bool)
    for each in range(4):
        of_it = torch.where(direction == each, strength, 0)
        least = of_it.flatten().topk(min(count, of_it.numel())).values[-1]
        kept |= (of_it >= least) & (of_it > 0)
    return found * kept[:, None]
