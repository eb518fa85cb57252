"""What the small networks of this package share."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from deblur_cli import kernels

N = TypeVar("N", bound=nn.Module)

_DTYPE = ContextVar("dtype", default=torch.float32)


@contextmanager
def computing_in(dtype: torch.dtype) -> Iterator[None]:
    """Inside, convolutions are computed in that, but on a CPU where our own loops take no longer in float32: where a device is quick at bfloat16, in half the time."""
    before = _DTYPE.set(dtype)
    try:
        yield
    finally:
        _DTYPE.reset(before)


def convolving(device: torch.device) -> AbstractContextManager[object]:
    """What a network's convolutions are computed inside of."""
    dtype = _dtype(device)
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def _dtype(device: torch.device) -> torch.dtype:
    ours = device.type == "cpu" and kernels.convolves_quicker_than_half()
    return torch.float32 if ours else _DTYPE.get()


class Convolution(nn.Conv2d):
    """3x3, zeros around; of a network that is `loaded` by our own loops, where there are some."""

    def __init__(self, planes_in: int, planes_out: int) -> None:
        super().__init__(planes_in, planes_out, 3, padding=1)

    @cached_property
    def matrices(self) -> Tensor:
        """Its weight as the loops take it, which take channels by the eight."""
        return kernels.mixing(F.pad(self.weight, (0, 0, 0, 0, 0, -self.in_channels % kernels.EIGHT)))

    def forward(self, x: Tensor, more: Tensor | None = None, *, positive: bool = False) -> Tensor:
        """(b, c, h, w) -> (b, n, h, w), plus `more`, and what is negative 0 if `positive`."""
        if x.device.type == "cpu" and not self.weight.requires_grad and _dtype(x.device) == torch.float32:
            missing = -self.in_channels % kernels.EIGHT
            pixels = _pixels(F.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x)
            if kernels.fits_convolution(pixels, self.out_channels) and self.bias is not None:
                added = None if more is None else _pixels(more)
                result = kernels.convolve(pixels, self.matrices, self.bias, added, positive=positive)
                return result.permute(0, 3, 1, 2)
        result = super().forward(x)
        result = result if more is None else more + result
        return F.relu(result) if positive else result


def _pixels(x: Tensor) -> Tensor:
    """(b, c, h, w) -> (b, h, w, c), contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


class Residual(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = Convolution(channels, channels)
        self.b = Convolution(channels, channels)
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> same."""
        return self.b(self.a(x, positive=True), x)


class UNet(nn.Module):
    """(b, planes_in, h, w) -> (b, planes_out, h, w), at half the size and, for each further number of channels, half of that (Ronneberger et al. 2015).

    h and w are multiples of 2 to the number of `channels`. A new one answers 0.
    """

    def __init__(self, planes_in: int, planes_out: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        first = channels[0]
        self.inp = Convolution(4 * planes_in, first)
        self.enc = nn.ModuleList(nn.Sequential(Residual(c), Residual(c)) for c in channels)
        pairs = list(pairwise(channels))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairs)
        self.dec = nn.ModuleList(nn.Sequential(Residual(c), Residual(c)) for c in channels[:-1])
        self.out = Convolution(first, 4 * planes_out)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Down, and up again with what was skipped."""
        with convolving(x.device):
            features = self.inp(unshuffled(x, 2))
            skipped = []
            for stage, down in zip(self.enc, self.down, strict=False):
                features = stage(features)
                skipped.append(features)
                features = down(features)
            features = self.enc[-1](features)
            for stage, up, skip in zip(reversed(self.dec), reversed(self.up), reversed(skipped), strict=True):
                features = stage(F.pixel_shuffle(up(features), 2) + skip)
            features = self.out(features)
        return F.pixel_shuffle(features.float(), 2)


def unshuffled(x: Tensor, factor: int) -> Tensor:
    """`pixel_unshuffle`, with the colours of a pixel beside each other in memory, as networks that are `loaded` want them; in half the time."""
    b, c, h, w = x.shape
    result = x.new_empty(b, h // factor, w // factor, c, factor**2)
    for i in range(factor**2):
        result[..., i] = x[:, :, i // factor :: factor, i % factor :: factor].permute(0, 2, 3, 1)
    return result.flatten(3).permute(0, 3, 1, 2)


def loaded(network: N, path: Path, device: torch.device) -> N:
    """With the weights of that file, ready to be used; with colours beside each other in memory it is a quarter quicker."""
    network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)
