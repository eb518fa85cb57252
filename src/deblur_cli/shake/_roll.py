"""A camera that also rolls: one density over places and turns for the whole frame, from coarse to fine (Whyte et al. 2010, Gupta et al. 2010).

While the shutter is open a camera moves, and turns about its line of sight. A turn moves what is far from the middle of the frame most, and each place in its
own direction: so every place has a kernel of its own, and all of them follow from how long the camera was where, turned how far. That density is fitted as
one kernel is in `_estimate`: in turns, with the gradients that the predictor guesses in many small regions, each by its own kernel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli import kernels as loops
from deblur_cli.shake import _estimate as search
from deblur_cli.shake._fourier import fast_length, gradients
from deblur_cli.shake._kernels import LARGEST, Shake, centring, cleared, extent, fit_into, rescaled
from deblur_cli.shake._least_squares import NormalEquations, conjugate_gradients, correlations
from deblur_cli.shake._predictor import MULTIPLE, Predictor, inverse_filters

SMALLEST_REGION, REGION, MOST_REGIONS = 64, 128, 20
"""Sides of the regions, a third of the frame's longer side if that lies between, and how many of them, those that tell most, are looked at."""
REACH, FURTHEST = 96, 8
"""One turn more to either side for so many pixels of the frame's longer side, at most so many; each moves the corners by a pixel."""
TURN_RIDGE, ITERATIONS = 0.3, 10
"""Of the least squares: the ridge on the density, beside that on the kernels, times the energy of the gradients, which shares out evenly among the turns what they do not
tell; and the steps of their solution: with more, noise comes in."""
FITS, FINER_FITS, FINE = 6, 3, 800
"""At each scale, and at each whose frame is longer than that many pixels, where little is left to be found."""
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
        return _cleared(self.moves(places).kernels(self.density))

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


def rolled(guess: search.Guess, frames: Sequence[search.Frame], predictor: Predictor) -> Roll:
    """From one kernel for all of the first of the frames to the last of them that has room."""
    kernel = fit_into(guess.kernels[0], min(guess.kernels.shape[-1], _room(frames[0])))
    density = torch.zeros(2 * _turns(frames[0]) + 1, *kernel.shape, device=kernel.device)
    density[len(density) // 2] = kernel
    return finer(_fitted(Roll(density, frames[0]), predictor), frames[1:], predictor)


def finer(roll: Roll, frames: Sequence[search.Frame], predictor: Predictor) -> Roll:
    """To the last of the frames, each larger than the one before, that has room."""
    for frame in frames:
        if search.is_full(roll.kernels_at([(0, 0)])):
            break
        roll = _fitted(_grown(roll, frame), predictor)
    return roll


def shake_of(roll: Roll) -> Shake:
    """Its kernels in pixels of the photo, for a grid of places."""
    h, w = roll.frame.light.shape
    rows, columns = (max(1, round(GRID * length / max(h, w))) for length in (h, w))
    places = [
        ((row + 0.5) / rows * h - h / 2, (column + 0.5) / columns * w - w / 2)
        for row in range(rows)
        for column in range(columns)
    ]
    kernels = rescaled(roll.kernels_at(places), 1 / roll.frame.scale)
    kernels = torch.where(kernels < FAINT * kernels.amax((1, 2), keepdim=True), 0, kernels)
    kernels = fit_into(kernels, min(extent(kernels), LARGEST)).cpu()
    return Shake(kernels.view(rows, columns, *kernels.shape[1:]), torch.ones(rows, columns), roll.frame.curve)


def _turns(frame: search.Frame) -> int:
    return min(FURTHEST, math.ceil(max(frame.light.shape) / REACH))


def _around(frame: search.Frame) -> list[tuple[float, float]]:
    """Nine places, near the corners and edges and in the middle."""
    h, w = frame.light.shape
    return [(0.42 * h * down, 0.42 * w * right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


def _cleared(kernels: Tensor) -> Tensor:
    return torch.stack([cleared(kernel) for kernel in kernels])


def _fitted(roll: Roll, predictor: Predictor) -> Roll:
    """Made to fit its frame."""
    frame, density, n = roll.frame, roll.density, roll.density.shape[-1]
    corners, side = _places(frame)
    regions = search.cut(frame, corners, (side, side))
    h, w = frame.light.shape
    moves = roll.moves([(top + side / 2 - h / 2, left + side / 2 - w / 2) for top, left in corners])
    blurred = torch.stack(gradients(regions.light), 1) * regions.window[:, None]
    for _ in range(FINER_FITS if max(h, w) > FINE else FITS):
        kernels = _cleared(moves.kernels(density))
        sharp = predictor(inverse_filters(regions.light, kernels)) * regions.window[:, None]
        density = _least_squares(moves, *correlations(sharp, blurred, n), density)
        density = density.roll(centring(cleared(density.sum(0))), (1, 2))
    return Roll(density, frame)


def _side(frame: search.Frame) -> int:
    """Of the regions of a frame."""
    longest, shortest = max(frame.light.shape), min(frame.light.shape)
    return min(REGION, max(SMALLEST_REGION, longest // 3), shortest) // MULTIPLE * MULTIPLE


def _room(frame: search.Frame) -> int:
    """The largest side of kernels that such regions can tell: half of theirs, odd."""
    return _side(frame) // 2 - 1


def _places(frame: search.Frame) -> tuple[list[tuple[int, int]], int]:
    """Corners of the regions of a frame, row by row, and their side."""
    side = _side(frame)
    counts = [max(1, math.ceil(0.9 * length / side)) for length in frame.light.shape]
    return search.most_telling(
        frame, search.grid_of(frame, (side, side), counts), (side, side), MOST_REGIONS
    ), side


def _least_squares(moves: Moves, auto: Tensor, cross: Tensor, like: Tensor) -> Tensor:
    """The density, of the shape of `like`, that solves the normal equations of all regions, as of `correlations`, with ridges."""
    energy = auto[:, moves.n - 1, moves.n - 1]
    times_auto = NormalEquations(auto, search.RIDGE)

    def times(density: Tensor) -> Tensor:
        product = moves.adjoint(times_auto(moves.kernels(density)))
        return product + TURN_RIDGE * energy.sum() * density

    return conjugate_gradients(times, moves.adjoint(cross), (0, 1, 2), ITERATIONS)


def _grown(roll: Roll, frame: search.Frame) -> Roll:
    """For the next scale: larger by STEP in all three dimensions, with room for kernels to grow."""
    n, reach = roll.density.shape[-1], extent(roll.kernels_at(_around(roll.frame)))
    side = min(search.side_for(reach), _room(frame))
    larger = 2 * round((n * search.STEP - 1) / 2) + 1
    axis = (torch.arange(larger, device=roll.density.device) - larger // 2) / (search.STEP * n / 2)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x, y], -1).expand(len(roll.density), larger, larger, 2)
    planes = F.grid_sample(roll.density[:, None], grid, "bicubic", "zeros", align_corners=False)[:, 0]
    turns, before = _turns(frame), len(planes) // 2
    at = (torch.arange(2 * turns + 1, device=planes.device) - turns) / search.STEP + before
    near = (1 - (at[:, None] - torch.arange(len(planes), device=planes.device)).abs()).clamp_min(0)
    planes = (near @ planes.flatten(1)).view(-1, larger, larger)
    margin = (side - larger) // 2
    return Roll(F.pad(planes, (margin,) * 4), frame)
