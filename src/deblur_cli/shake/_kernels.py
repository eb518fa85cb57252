"""What is known of a shake: its kernels over the frame, and what they tell of the hand that shook."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.errors import PhotoError, UsageError
from deblur_cli.shake._curve import Curve

FAINT = 0.05
"""Of a kernel's largest value: what is below does not count as the shake's length."""
BEYOND = 0.01
"""Of a kernel's sum: what may lie outside of its extent."""
BLACK, LAMP_EDGE = 0.02, 0.1
"""Of the brightest place of a picture of a kernel, and of a lamp: what is darker is background."""
LARGEST = 201
"""Pixels a side of a kernel, given or found: what reaches further is no path of a hand."""
THRESHOLD, ISLAND = 0.04, 0.03
"""What a kernel is cleared of: its noise, but nothing above so much of its largest value, and parts apart from the rest with less than so much of its sum."""


@dataclass(frozen=True)
class Shake:
    """Kernels for a grid of places that are spread evenly over the frame.

    kernels: (rows, columns, n, n) float32 on the CPU, n odd, none negative, each of sum 1 and, if it is the only one, with its centroid in the
    middle, in pixels of the photo. sure: (rows, columns) in 0..1, how likely each brings its part of the photo nearer to the truth. curve: what it blurred.
    """

    kernels: Tensor
    sure: Tensor
    curve: Curve = Curve.LIGHT

    @property
    def kernel(self) -> Tensor:
        """(n, n): the mean kernel; those that are surer count more."""
        weights = self.sure + 1e-3
        mean = (self.kernels * weights[..., None, None]).sum((0, 1)) / weights.sum()
        return centred(mean)

    @property
    def variety(self) -> float:
        """How much of its kernels lies elsewhere than in their plain mean, in the mean of all places: 0 for one kernel, towards 1 for many that have nothing in common."""
        return float((self.kernels - self.kernels.mean((0, 1))).abs().sum((2, 3)).mean()) / 2

    @property
    def length(self) -> float:
        """How far the path reaches in its longest direction, in pixels."""
        return _longest(self.kernel)[0]

    @property
    def direction(self) -> float:
        """Of the longest reach: degrees from 0 to 180, 0 is level, 90 is upright, 45 rises to the right."""
        return _longest(self.kernel)[1]


def centred(kernel: Tensor) -> Tensor:
    """(n, n) moved by whole pixels so that its centroid is in the middle, of sum 1."""
    kernel = kernel / kernel.sum()
    return kernel.roll(centring(kernel), (0, 1))


def centring(kernel: Tensor) -> tuple[int, int]:
    """By how many pixels down and right (n, n) of sum 1 has to be moved for that."""
    place = torch.arange(kernel.shape[-1], device=kernel.device, dtype=kernel.dtype) - kernel.shape[-1] // 2
    down, right = (-round(float((kernel.sum(axis) * place).sum())) for axis in (1, 0))
    return down, right


def extent(kernels: Tensor, beyond: float = BEYOND) -> int:
    """The odd side of the centred square outside of which (..., n, n) have no more than that share of their sum."""
    n = kernels.shape[-1]
    kernels = kernels.reshape(-1, n * n)
    away = (torch.arange(n, device=kernels.device) - n // 2).abs()
    rings = torch.zeros(len(kernels), n // 2 + 1, device=kernels.device)
    rings = rings.index_add_(1, torch.maximum(away[:, None], away).flatten(), kernels)
    outside = rings.flip(1).cumsum(1).flip(1)
    reached = (outside > beyond * outside[:, :1]).sum(1)
    return 2 * int(reached.max()) - 1


def fit_into(kernel: Tensor, n: int) -> Tensor:
    """(m, m) -> (n, n), both odd: cut or surrounded by zeros, of sum 1."""
    margin = (n - kernel.shape[-1]) // 2
    kernel = F.pad(kernel, (margin,) * 4)
    return kernel / kernel.sum((-2, -1), keepdim=True)


def line(length: float, degrees: float, n: int) -> Tensor:
    """(n, n), n odd: a straight path of that length in pixels, in a direction as of `Shake`."""
    along = torch.linspace(-length / 2, length / 2, 16 * n)
    angle = math.radians(degrees)
    places = torch.stack([-along * math.sin(angle), along * math.cos(angle)], 1) + n // 2
    axis = torch.arange(n)
    near = (1 - (places[..., None] - axis).abs()).clamp_min(0)
    path = near[:, 0].T @ near[:, 1]
    return path / path.sum()


def rescaled(kernels: Tensor, factor: float) -> Tensor:
    """(r, n, n) for a frame that is `factor` times as large: (r, m, m), m odd, none negative, of sum 1."""
    n = kernels.shape[-1]
    m = max(1, 2 * round((n * factor - 1) / 2) + 1)
    axis = (torch.arange(m, device=kernels.device) - m // 2) / (factor * n / 2)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    if factor < 1:  # each sample of the smaller one gathers what lies around it
        kernels = F.interpolate(kernels[:, None], size=(m, m), mode="bilinear", antialias=True)
    else:
        grid = torch.stack([x, y], -1).expand(len(kernels), m, m, 2)
        kernels = F.grid_sample(kernels[:, None], grid, "bicubic", "zeros", align_corners=False)
    kernels = kernels[:, 0].clamp_min(0)
    return kernels / kernels.sum((1, 2), keepdim=True).clamp_min(1e-12)


def as_kernel(picture: Tensor) -> Tensor:
    """(h, w) of a kernel drawn in light on black -> (n, n), n odd, centred, of sum 1. UsageError for what is no kernel."""
    lit = torch.where(picture < BLACK * picture.max(), 0, picture.clamp_min(0)).float()
    inside = lit.nonzero()
    if not len(inside) or (picture.numel() > 25 and len(inside) > 0.9 * picture.numel()):
        raise UsageError(
            "the kernel is no path: it is black, or bright all over",
            hint="A kernel is the picture of a lamp that the shake has drawn: a bright path on black.",
        )
    (top, left), (bottom, right) = inside.amin(0).tolist(), inside.amax(0).tolist()
    path = lit[top : bottom + 1, left : right + 1]
    side = max(path.shape) // 2 * 2 + 1
    if side > LARGEST:
        raise UsageError(
            f"the kernel is {max(path.shape)} pixels wide", hint=f"It may have {LARGEST} at most."
        )
    n = 2 * side + 1  # the centroid may lie anywhere in the path
    kernel = torch.zeros(n, n)
    down, across = ((n - length) // 2 for length in path.shape)
    kernel[down : down + path.shape[0], across : across + path.shape[1]] = path
    kernel = centred(kernel)
    return fit_into(kernel, extent(kernel, beyond=0))


def kernel_from_lamp(light: Tensor, area: Sequence[int]) -> Tensor:
    """(c, h, w) and the area x, y, width, height around a lamp in it -> the path that it has drawn, as `as_kernel` returns it.

    PhotoError where the area is not in the photo, or holds no lamp.
    """
    x, y, w, h = area
    if min(x, y) < 0 or min(w, h) < 3 or x + w > light.shape[2] or y + h > light.shape[1]:
        raise PhotoError(
            f"the area {x},{y},{w},{h} does not lie in a photo of {light.shape[2]}x{light.shape[1]}",
            hint="--kernel-from takes X,Y,W,H: left and top edge, width and height, at least 3 pixels each.",
        )
    part = light[:, y : y + h, x : x + w].mean(0)
    border = torch.cat([part[0], part[-1], part[:, 0], part[:, -1]])
    lit = part - border.median()
    if lit.max() < 3 * (border - border.median()).abs().max() + 0.01:
        raise PhotoError(
            "there is no lamp that stands out from what is around it",
            hint="--kernel-from takes the area around the trace of one small lamp, with some dark on all sides.",
        )
    return as_kernel(torch.where(lit < LAMP_EDGE * lit.max(), 0, lit))


def tidied(kernel: Tensor) -> Tensor:
    """`cleared`, and centred."""
    return centred(cleared(kernel))


def cleared(kernel: Tensor) -> Tensor:
    """(n, n) as a solver leaves it: what is negative, lost in its noise or an island away from the path goes; of sum 1.

    The negative values, which no path has, tell the noise; what is below its standard deviation is lost.
    """
    negative = kernel[kernel < 0]
    noise = float(negative.square().mean().sqrt()) if len(negative) else 0.0
    return without_islands(kernel, min(noise, THRESHOLD * float(kernel.max())), ISLAND)


def without_islands(kernel: Tensor, faint: float, island: float) -> Tensor:
    """(n, n) without what is not above `faint`, and then without parts apart from the rest with less than a share `island` of its sum; of sum 1."""
    kernel = torch.where(kernel <= max(faint, 0), 0, kernel)
    kernel = kernel / kernel.sum().clamp_min(1e-12)
    islands = _islands(kernel > 0)
    weights = torch.zeros(kernel.numel() + 1, device=kernel.device)
    weights = weights.index_add_(0, islands.flatten(), kernel.flatten())
    kernel = torch.where(weights[islands] < island, 0, kernel)
    if not kernel.sum() > 0:
        kernel = torch.zeros_like(kernel)
        kernel[kernel.shape[0] // 2, kernel.shape[0] // 2] = 1
    return kernel / kernel.sum()


def _islands(inside: Tensor) -> Tensor:
    """(n, n) bool -> (n, n) integers: the same number for places that touch, at a corner too; 0 outside."""
    numbers = torch.arange(1, inside.numel() + 1, device=inside.device).view_as(inside) * inside
    while True:
        spread = F.max_pool2d(numbers[None].float(), 3, 1, 1)[0].long() * inside
        if torch.equal(spread, numbers):
            return numbers
        numbers = spread


def _longest(kernel: Tensor) -> tuple[float, float]:
    """Length and direction of the longest reach of a path, over directions 5 degrees apart."""
    inside = (kernel > FAINT * kernel.max()).nonzero().float()
    angles = torch.arange(0, 180, 5) * (math.pi / 180)
    along = inside[:, 1:] * torch.cos(angles) - inside[:, :1] * torch.sin(angles)  # y counts downwards
    reach = along.amax(0) - along.amin(0)
    best = int(reach.argmax())
    return float(reach[best]), 5.0 * best
