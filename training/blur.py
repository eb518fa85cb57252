"""Blur as optics and shutters make it: kernels, and their use in linear light.

A kernel is (k, k) float32 with k odd, sums to 1 and has its centroid in the middle, so that a restored photo does not move.
Lengths are in pixels. Blurring happens in linear light, because a sensor adds up photons, not sRGB values; where something else is added up, `Sum` leads there and back.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def to_linear(srgb: Tensor) -> Tensor:
    """The sRGB curve of IEC 61966-2-1, 0..1 to 0..1."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Tensor) -> Tensor:
    """Its inverse; values outside 0..1 are clipped, as a camera clips them."""
    return to_unclipped_srgb(linear.clamp(0, 1))


def to_unclipped_srgb(linear: Tensor) -> Tensor:
    """Its inverse, from 0 on to above 1."""
    return torch.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    )


@dataclass(frozen=True)
class Sum:
    """What adds up during an exposure: light (power None), or powers of sRGB values.

    With power 1 those are the values themselves, as where frames of a video are averaged; others stand for cameras whose curve is not sRGB's.
    """

    power: float | None

    def of(self, linear: Tensor) -> Tensor:
        """Linear light, to above 1 -> what adds up; what is below 0 is clipped."""
        return linear if self.power is None else to_unclipped_srgb(linear.clamp_min(0)) ** self.power

    def light(self, summed: Tensor) -> Tensor:
        """Its inverse; what is below 0 is clipped."""
        return summed if self.power is None else to_linear(summed.clamp_min(0) ** (1 / self.power))


def shake_kernel(path: Tensor) -> Tensor:
    """The time a path (n, 2) spends on each pixel, shared out bilinearly: that keeps the centroid exact."""
    radius = math.ceil(path.abs().max().item()) + 1
    size = 2 * radius + 1
    corner = path.floor()
    kernel = torch.zeros(size * size)
    for dy in (0, 1):
        for dx in (0, 1):
            at = corner + torch.tensor([dy, dx])
            weight = (1 - (path - at).abs()).prod(1)
            index = (at + radius).long()
            kernel.index_add_(0, index[:, 0] * size + index[:, 1], weight)
    return (kernel / kernel.sum()).view(size, size)


def lens_kernel(radius: float, blades: int = 0, turn: float = 0.0) -> Tensor:
    """Out of focus: a disc, or a regular polygon of `blades` sides and the same area, turned by `turn` radians."""
    oversample = 8
    half = math.ceil(radius * 1.3) + 1  # a pentagon's corners lie 1.26 times as far out as the disc's edge
    axis = (torch.arange((2 * half + 1) * oversample) + 0.5) / oversample - half - 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    if blades:
        apothem = radius * math.sqrt(math.pi / (blades * math.tan(math.pi / blades)))
        angles = [turn + 2 * math.pi * i / blades for i in range(blades)]
        distance = torch.stack([x * math.cos(a) + y * math.sin(a) for a in angles]).amax(0) - apothem
    else:
        distance = torch.hypot(x, y) - radius
    inside = (0.5 - distance * oversample).clamp(0, 1)
    kernel = F.avg_pool2d(inside[None], oversample)[0]
    return kernel / kernel.sum()


def gaussian_kernel(sigma: float, ratio: float = 1.0, turn: float = 0.0) -> Tensor:
    """A gaussian of `sigma` along one axis and `sigma * ratio` across it, turned by `turn` radians."""
    half = math.ceil(3.5 * max(sigma, sigma * ratio))
    y, x = torch.meshgrid(*[torch.arange(-half, half + 1.0)] * 2, indexing="ij")
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    kernel = torch.exp(-0.5 * ((along / sigma) ** 2 + (across / (sigma * ratio)) ** 2))
    return kernel / kernel.sum()


def convolve(linear: Tensor, *kernels: Tensor) -> Tensor:
    """(c, h, w) blurred by all kernels, one after the other, in one pass through the Fourier domain.

    It wraps around: pixels nearer to the border than the kernels' radii together are not to be used.
    """
    h, w = linear.shape[-2:]
    spectrum = torch.fft.rfft2(linear)
    for kernel in kernels:
        half = kernel.shape[0] // 2
        padded = F.pad(kernel.to(linear.device), (0, w - kernel.shape[1], 0, h - kernel.shape[0]))
        spectrum = spectrum * torch.fft.rfft2(padded.roll((-half, -half), (0, 1)))
    return torch.fft.irfft2(spectrum, (h, w))


def shake_with_rotation(
    linear: Tensor, path: Tensor, angles: Tensor, centre: tuple[float, float], border: int = 0
) -> Tensor:
    """(c, h, w) seen by a camera that moves along `path` (n, 2) and rolls by `angles` (n,) about `centre` (y, x from the middle).

    The mean of n resampled photos. Angles are small (radians, mean 0), so a roll moves a pixel at right angles to its radius.
    What lies within `border` of the edge is not made, and 0.
    """
    h, w = linear.shape[-2:]
    rows, columns = (torch.arange(border, length - border) - (length - 1) / 2 for length in (h, w))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    away_y, away_x = y - centre[0], x - centre[1]
    scale = torch.tensor([2 / w, 2 / h])
    total = torch.zeros(len(linear), *y.shape, device=linear.device)
    for (dy, dx), angle in zip(path.tolist(), angles.tolist(), strict=True):
        grid = torch.stack([x + dx - angle * away_y, y + dy + angle * away_x], -1) * scale
        total += F.grid_sample(
            linear[None], grid[None].to(linear.device), "bicubic", "border", align_corners=False
        )[0]
    return F.pad(total / len(path), (border,) * 4)
