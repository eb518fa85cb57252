"""How a camera rolled: its density is fitted from coarse to fine, from several starts, in two ways that have to agree.

Many small regions tell of it, each by its own kernel. In each round the density that the gradients guessed by the network make and the one that the strong edges make
are fitted from the same kernels so far, and of both what they have in common goes on, place by place, as in `_agreed`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake import _estimate as search
from deblur_cli.shake._agreed import DIRECTIONS, apart, starts
from deblur_cli.shake._curve import Curve
from deblur_cli.shake._edges import RIDGE as EDGES_RIDGE
from deblur_cli.shake._edges import Framed, strong_edges, without_faint
from deblur_cli.shake._fourier import gradients
from deblur_cli.shake._kernels import centring, cleared, extent, fit_into, rescaled
from deblur_cli.shake._least_squares import NormalEquations, conjugate_gradients, correlations
from deblur_cli.shake._predictor import MULTIPLE, Predictor, inverse_filters
from deblur_cli.shake._roll import Moves, Roll, all_cleared, shake_of

SMALLEST_REGION, REGION, MOST_REGIONS = 64, 128, 20
"""Sides of the regions, a third of the frame's longer side if that lies between, and how many of them, those that tell most, are looked at."""
REACH, FURTHEST = 96, 8
"""One turn more to either side for so many pixels of the frame's longer side, at most so many; each moves the corners by a pixel."""
TURN_RIDGE, ITERATIONS = 0.3, 10
"""Of the least squares: the ridge on the density, beside that on the kernels, times the energy of the gradients, which shares out evenly among the turns what they do not
tell; and the steps of their solution: with more, noise comes in."""
ROUNDS, FINER_ROUNDS, FINE, TURNS = 2, 1, 800, 2
"""At each scale, and at each whose frame is longer than that many pixels, where little is left to be found; and the turns of both in a round."""
SALIENT = 0.35
"""As of `_edges`."""
STEADY = 0.15
"""The variety of kernels at small frames below which the camera has hardly rolled."""
SMALLEST_START = 9
"""Side of a kernel that a roll begins with, at least."""
LEAST_COMMON = 1e-3
"""Of their sums: two kernels that have less in common have nothing."""
KEPT, WORTHLESS_DB = 2, 0.35
"""How many of those that began at the first frame go on from the last small one, and where: less was never expected there of a roll that was undone in the end."""

Expected = Callable[[Roll], float]
"""What undoing a roll is worth at its frame, in dB."""


def rolling(
    guesses: Sequence[search.Guess],
    scales: Sequence[Mapping[Curve, search.Frame]],
    predictor: Predictor,
    expected: Expected,
    tell: Callable[[float], None],
) -> Roll | None:
    """From one kernel for all, and from lines, to the last of the frames that has room; None where at small frames the kernels of all places are nearly the same, or worth nothing.

    guesses: of one of the frames each, or of none yet. scales: of each the frames, by their curves. expected: which of those that began at the first frame go on. tell: is told the share done.
    """
    small = max(1, sum(search.is_small(frames[guesses[0].curve]) for frames in scales))
    larger = scales[small:]
    steps = len(guesses) * (1 + DIRECTIONS) + len(larger)
    begun: list[tuple[float, Roll]] = []
    for guess in guesses:
        for roll in _begun(guess, [frames[guess.curve] for frames in scales[:small]], predictor):
            begun.append((expected(roll), roll))
            tell(len(begun) / steps)
    begun.sort(key=lambda each: -each[0])
    if not begun or begun[0][0] < WORTHLESS_DB:
        return None
    rolls = [roll for _, roll in begun[:KEPT]]
    for number, frames in enumerate(larger):
        rolls = [_finer(roll, frames[roll.frame.curve], predictor) for roll in rolls]
        rolls = [max(rolls, key=expected)] if len(rolls) > 1 else rolls
        tell((steps - len(larger) + number + 1) / steps)
    return rolls[0]


def _begun(guess: search.Guess, frames: Sequence[search.Frame], predictor: Predictor) -> Iterator[Roll]:
    """From that kernel and from lines to the last of the frames; none if what comes of that kernel hardly varies."""
    first = risen(_brought_to(frames[0], guess), frames, predictor)
    if shake_of(first).variety < STEADY:
        return
    yield first
    for line in starts(frames[0].light.device, guess.curve):
        yield risen(line.kernels[0], frames, predictor)


def risen(kernel: Tensor, frames: Sequence[search.Frame], predictor: Predictor) -> Roll:
    """From one (n, n) kernel for all of the first of the frames to the last of them that has room."""
    kernel = fit_into(kernel, min(kernel.shape[-1], _room(frames[0])))
    density = torch.zeros(2 * _turns(frames[0]) + 1, *kernel.shape, device=kernel.device)
    density[len(density) // 2] = kernel
    roll = _fitted(Roll(density, frames[0]), predictor)
    for frame in frames[1:]:
        roll = _finer(roll, frame, predictor)
    return roll


def _finer(roll: Roll, frame: search.Frame, predictor: Predictor) -> Roll:
    """At the next frame, if that has room for it."""
    if search.is_full(roll.kernels_at([(0, 0)])):
        return roll
    return _fitted(_grown(roll, frame), predictor)


def _brought_to(frame: search.Frame, guess: search.Guess) -> Tensor:
    """(n, n), as it is at a frame that is not larger than the guess's own."""
    if guess.frame is None:
        return guess.kernels[0]
    kernels = rescaled(guess.kernels, frame.scale / guess.frame.scale)
    return fit_into(kernels, max(SMALLEST_START, extent(kernels) + 4))[0]


def _fitted(roll: Roll, predictor: Predictor) -> Roll:
    """Made to fit its frame."""
    frame, n = roll.frame, roll.density.shape[-1]
    corners, side = _places(frame)
    regions = search.cut(frame, corners, (side, side))
    h, w = frame.light.shape
    moves = roll.moves([(top + side / 2 - h / 2, left + side / 2 - w / 2) for top, left in corners])
    framed, window = Framed(regions.light, n), regions.window[:, None]
    blurred = torch.stack(gradients(regions.light), 1) * window

    def by_network(kernels: Tensor) -> Tensor:
        sharp = predictor(inverse_filters(regions.light, kernels)) * window
        auto, cross = correlations(sharp, blurred, n)
        return _least_squares(moves, auto, cross, search.RIDGE)

    def by_edges(kernels: Tensor, turn: int) -> Tensor:
        sharp = strong_edges(framed, kernels, turn, SALIENT)[framed.inside] * window
        auto, cross = correlations(sharp, blurred, n)
        return _least_squares(moves, auto, cross, EDGES_RIDGE / _energy(auto).clamp_min(1e-6))

    kernels = all_cleared(moves.kernels(roll.density))
    for _ in range(FINER_ROUNDS if max(h, w) > FINE else ROUNDS):
        ours = theirs = kernels
        for turn in range(TURNS):
            density, other = by_network(ours), by_edges(theirs, turn)
            ours, theirs = all_cleared(moves.kernels(density)), without_faint(moves.kernels(other))
        place = apart(cleared(density.sum(0)), cleared(other.sum(0)))
        kernels = common_of_each(ours, theirs.roll(place, (1, 2)))
    return Roll(by_network(kernels), frame)


def common_of_each(a: Tensor, b: Tensor) -> Tensor:
    """(r, n, n) both, of sum 1 -> their geometric mean, of sum 1; the first where they have nothing in common."""
    both = (a * b).sqrt()
    both = torch.where(both.sum((1, 2), keepdim=True) > LEAST_COMMON, both, a)
    return both / both.sum((1, 2), keepdim=True)


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


def _least_squares(moves: Moves, auto: Tensor, cross: Tensor, ridge: float | Tensor) -> Tensor:
    """The density that solves the normal equations of all regions, as of `correlations`, with ridges; its mean place in the middle."""
    times_auto, turn_ridge = NormalEquations(auto, ridge), TURN_RIDGE * _energy(auto).sum()

    def times(density: Tensor) -> Tensor:
        return moves.adjoint(times_auto(moves.kernels(density))) + turn_ridge * density

    density = conjugate_gradients(times, moves.adjoint(cross), (0, 1, 2), ITERATIONS)
    return density.roll(centring(cleared(density.sum(0))), (1, 2))


def _energy(auto: Tensor) -> Tensor:
    """(r, 2n-1, 2n-1) -> (r, 1, 1), in the middle."""
    middle = auto.shape[-1] // 2
    return auto[:, middle, middle, None, None]


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


def _turns(frame: search.Frame) -> int:
    return min(FURTHEST, math.ceil(max(frame.light.shape) / REACH))


def _around(frame: search.Frame) -> list[tuple[float, float]]:
    """Nine places, near the corners and edges and in the middle."""
    h, w = frame.light.shape
    return [(0.42 * h * down, 0.42 * w * right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
