"""A third opinion: a photo's shake where two ways to see it agree.

At each scale the kernel that the network's gradients make (`_estimate`) and the one that the strong edges make (`_edges`), both from the same kernel so far, and of both
what they have in common goes on. What is wrong in them differs, so little of it stays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from deblur_cli.shake import _estimate as search
from deblur_cli.shake._curve import Curve
from deblur_cli.shake._edges import fit_edges
from deblur_cli.shake._estimate import Frame, Guess
from deblur_cli.shake._fourier import fast_length
from deblur_cli.shake._kernels import centred, extent, fit_into
from deblur_cli.shake._predictor import Predictor

SQUARES = (5, 9)
"""Sides of those that the searches begin with."""
FIRST_ROUNDS, ROUNDS, TURNS = 3, 2, 3
"""At the first scale, and at each after it; and the turns of both in a round."""
AGAIN = 2
"""Turns by which what two guesses have in common is fitted again."""


def agreed(
    scales: Sequence[Mapping[Curve, Frame]],
    predictor: Predictor,
    device: torch.device,
    squares: Sequence[int] = SQUARES,
    gain: Callable[[Tensor, Frame], float] | None = None,
) -> list[Guess]:
    """From the first of the scales of small frames to the last: a guess for each square and curve, as far as it has room.

    gain: as of `climb`; if it is given, of those that begin the last scale only the better one of each curve goes on.
    """
    guesses = [
        Guess(fit_into(torch.full((1, side, side), 1 / side**2, device=device), side + 4), curve)
        for side in squares
        for curve in scales[0]
    ]
    for number, frames in enumerate(scales):
        regions = {curve: search.telling_regions(frame) for curve, frame in frames.items()}
        live = [guess for guess in guesses if not guess.ended]
        if not live:
            break
        if gain and number and number == len(scales) - 1:
            live = _better(live, gain)
        of_each = [regions[guess.curve] for guess in live]
        kernels = [search.grown(guess.kernels) if number else guess.kernels for guess in live]
        for _ in range(ROUNDS if number else FIRST_ROUNDS):
            ours = search.fit_all(kernels, of_each, predictor, TURNS)
            theirs = _fit_edges([frames[guess.curve] for guess in live], kernels)
            kernels = [common(*both) for both in zip(ours, theirs, strict=True)]
        grown = [
            Guess(each, guess.curve, frames[guess.curve], guess)
            for each, guess in zip(kernels, live, strict=True)
        ]
        guesses = grown + [guess for guess in guesses if guess.ended]
    return guesses


def _better(guesses: Sequence[Guess], gain: Callable[[Tensor, Frame], float]) -> list[Guess]:
    """The one of each curve that gains more."""
    judged = [replace(guess, gain=gain(guess.kernels, guess.frame)) for guess in guesses if guess.frame]
    best = {guess.curve: guess for guess in sorted(judged, key=lambda guess: guess.gain)}
    return list(best.values())


def _fit_edges(frames: Sequence[Frame], kernels: Sequence[Tensor]) -> list[Tensor]:
    """(1, n, n) each, n of its own, made to fit the edges of its frame."""
    sides = [kernel.shape[-1] for kernel in kernels]
    together = torch.cat([fit_into(kernel, max(sides)) for kernel in kernels])
    found = fit_edges(together, torch.stack([frame.light for frame in frames]), TURNS)
    return [fit_into(kernel[None], side) for kernel, side in zip(found, sides, strict=True)]


def in_common(a: Tensor, b: Tensor, frame: Frame, predictor: Predictor) -> Tensor:
    """(1, n, n) and (1, m, m) that were found in ways of their own -> what both have in common, fitted again to the frame, (1, k, k)."""
    side = max(a.shape[-1], b.shape[-1])
    kernels = common(fit_into(a, side), fit_into(b, side))
    kernels = fit_into(kernels, min(search.LARGEST, extent(kernels) + 4))
    (kernels,) = search.fit_all([kernels], [search.telling_regions(frame)], predictor, AGAIN)
    return kernels


def common(a: Tensor, b: Tensor) -> Tensor:
    """(1, n, n) both, of sum 1 -> their geometric mean, the second moved onto the first, centred, of sum 1."""
    n = a.shape[-1]
    side = fast_length(2 * n)
    ours, theirs = (torch.fft.rfft2(each[0], (side, side)) for each in (a, b))
    place = int(torch.fft.irfft2(ours * theirs.conj(), (side, side)).argmax())
    down, right = ((step + n) % side - n for step in divmod(place, side))
    margin = n // 2 * 2
    both = fit_into(a, n + 2 * margin)[0] * fit_into(b, n + 2 * margin)[0].roll((down, right), (0, 1))
    return fit_into(centred(both.sqrt())[None], n)
