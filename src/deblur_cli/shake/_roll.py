"""A camera that also rolls: one density over places and turns for the whole frame (Whyte et al. 2010, Gupta et al. 2010).

While the shutter is open a camera moves, and turns about its line of sight. A turn moves what is far from the middle of the frame most, and each place in its
own direction: so every place has a kernel of its own, and all of them follow from how long the camera was where, turned how far.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deblur_cli import kernels as loops
from deblur_cli.shake import _estimate as search
from deblur_cli.shake._fourier import fast_length
from deblur_cli.shake._kernels import LARGEST, Shake, cleared, extent, fit_into, rescaled

GRID = 9
"""Kernels along the longer side of the frame, in the end."""
FAINT = 0.01
"""Of a kernel's largest value, in the end: interpolation leaves so much."""


@dataclass(frozen=True)
class Roll:
    """density: (2 j + 1, n, n), how long the camera was turned so far and moved so far, as the least squares leave it: noise and all. frame: where that was."""

    density: Tensor
    frame: search.Frame

    def kernels_at(self, places: Sequence[tuple[float, float]]) -> Tensor:
        """(r, n, n) of places, in pixels down and right from the middle of the frame."""
        return all_cleared(self.moves(places).kernels(self.density))

    def moves(self, places: Sequence[tuple[float, float]]) -> "Moves":
        """What its turns do there."""
        return Moves(self.density, places, 0.5 * math.hypot(*self.frame.light.shape))


class Moves:
    """What turning the camera does at each of r places, as factors of Fourier transforms."""

    def __init__(self, like: Tensor, places: Sequence[tuple[float, float]], radius: float) -> None:
        self.n, device = like.shape[-1], like.device
        side = fast_length(3 * self.n)
        self.size = (side, side)
        turns = (torch.arange(len(like), device=device) - len(like) // 2) / radius
        down, right = torch.tensor(places, device=device, dtype=torch.float32).T
        rows = torch.fft.fftfreq(side, device=device)[:, None]
        columns = torch.fft.rfftfreq(side, device=device)
        moved_down, moved_right = -right[:, None] * turns, down[:, None] * turns
        angle = rows * moved_down[..., None, None] + columns * moved_right[..., None, None]
        self.factors = torch.exp(-2j * math.pi * angle)

    def kernels(self, density: Tensor) -> Tensor:
        """(t, n, n) -> (r, n, n)."""
        return self._cut(self._products(torch.fft.rfft2(density, self.size), adjoint=False))

    def adjoint(self, kernels: Tensor) -> Tensor:
        """(r, n, n) -> (t, n, n)."""
        return self._cut(self._products(torch.fft.rfft2(kernels, self.size), adjoint=True))

    def _products(self, spectra: Tensor, *, adjoint: bool) -> Tensor:
        if loops.fits_spectra(spectra):
            return loops.sum_of_products(self.factors, spectra, adjoint=adjoint)
        if adjoint:
            return (self.factors.conj() * spectra[:, None]).sum(0)
        return (self.factors * spectra).sum(1)

    def _cut(self, spectrum: Tensor) -> Tensor:
        return torch.fft.irfft2(spectrum, self.size)[:, : self.n, : self.n]


def shake_of(roll: Roll, scale: float = 1.0) -> Shake:
    """Its kernels in pixels of the photo at that scale, for a grid of places."""
    h, w = roll.frame.light.shape
    rows, columns = (max(1, round(GRID * length / max(h, w))) for length in (h, w))
    places = [
        ((row + 0.5) / rows * h - h / 2, (column + 0.5) / columns * w - w / 2)
        for row in range(rows)
        for column in range(columns)
    ]
    kernels = rescaled(roll.kernels_at(places), scale / roll.frame.scale)
    kernels = torch.where(kernels < FAINT * kernels.amax((1, 2), keepdim=True), 0, kernels)
    kernels = fit_into(kernels, min(extent(kernels), LARGEST)).cpu()
    return Shake(kernels.view(rows, columns, *kernels.shape[1:]), torch.ones(rows, columns), roll.frame.curve)


def all_cleared(kernels: Tensor) -> Tensor:
    """(r, n, n) -> same, each `cleared`."""
    return torch.stack([cleared(kernel) for kernel in kernels])
