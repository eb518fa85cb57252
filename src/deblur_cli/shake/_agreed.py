"""A photo's shake where two ways to see it agree, from coarse to fine, from several starts.

At each scale the kernel that the network's gradients make (`_estimate`) and the one that the strong edges make (`_edges`), both from the same kernel so far, and of both
what they have in common goes on. What is wrong in them differs, so little of it stays.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from deblur_cli.shake import _estimate as search
from deblur_cli.shake._curve import Curve
from deblur_cli.shake._edges import fit_edges, fit_edges_of_regions
from deblur_cli.shake._estimate import Frame, Guess, Kernels
from deblur_cli.shake._fourier import fast_length
from deblur_cli.shake._kernels import centred, fit_into, line
from deblur_cli.shake._predictor import Predictor

LINE, DIRECTIONS = 7, 4
"""Length of the lines that a search begins with, and in how many directions they lie: from what has none, a point or a square, it often ends nowhere."""
SAME = 0.98
"""Likeness from which on two kernels are one."""
JUDGED, KEPT = 150, 2
"""Longest side of the frame from which on guesses are compared, and how many of each curve go on."""
FIRST_ROUNDS, ROUNDS, TURNS = 3, 2, 3
"""At the first scale, and at each after it; and the turns of both in a round."""

NOISY = 0.013
"""Of a larger frame, from which on its edges do not tell: the noise's standard deviation, with 1 for nearly the brightest."""


def starts(device: torch.device, curve: Curve) -> list[Guess]:
    """What a search begins with: lines. Which of them ends at the truth differs from photo to photo."""
    angles = (180 * i / DIRECTIONS for i in range(DIRECTIONS))
    return [Guess(line(LINE, angle, LINE + 2).to(device)[None], curve) for angle in angles]


def climb(
    guesses: list[Guess],
    scales: Sequence[Mapping[Curve, Frame]],
    predictor: Predictor,
    gain: Callable[[Kernels, Frame], float],
    tell: Callable[[float], None],
) -> list[Guess]:
    """From the first of the scales to the last: the best guesses, the best first, each as far as it has room.

    scales: of each the frames, small ones, by their curves. gain: what undoing a kernel is worth at a frame, in dB. tell: is told the share done. From frames of JUDGED pixels on the KEPT
    best of each curve go on.
    """
    for number, frames in enumerate(scales):
        longest = max(max(frame.light.shape) for frame in frames.values())
        judged = longest >= JUDGED or number == len(scales) - 1
        live = [guess for guess in guesses if not guess.ended]
        if live:
            after = _fitted(live, frames, predictor)
            live = distinct(
                Guess(kernels, guess.curve, frames[guess.curve], guess)
                for kernels, guess in zip(after, live, strict=True)
            )
        if judged:
            live = [replace(guess, gain=gain(guess.kernels, frames[guess.curve])) for guess in live]
        guesses = sorted(live + [guess for guess in guesses if guess.ended], key=lambda guess: -guess.gain)
        if judged:
            of_curves = ([guess for guess in guesses if guess.curve is curve] for curve in frames)
            guesses = [guess for alike in of_curves for guess in alike[:KEPT]]
        tell((number + 1) / len(scales))
    return guesses


def _fitted(guesses: Sequence[Guess], frames: Mapping[Curve, Frame], predictor: Predictor) -> list[Kernels]:
    """(1, n, n) each, n of its own, made to fit the frames of one scale, in both ways, in rounds."""
    regions = {curve: search.telling_regions(frame) for curve, frame in frames.items()}
    of_each = [regions[guess.curve] for guess in guesses]
    kernels = [search.grown(guess.kernels) if guess.frame else guess.kernels for guess in guesses]
    for _ in range(ROUNDS if guesses[0].frame else FIRST_ROUNDS):
        ours = search.fit_all(kernels, of_each, predictor, TURNS)
        theirs = _fit_edges([frames[guess.curve] for guess in guesses], kernels)
        kernels = [common(*both) for both in zip(ours, theirs, strict=True)]
    return kernels


def finer(kernels: Kernels, frame: Frame, predictor: Predictor) -> Kernels:
    """(1, n, n) from the scale before, made to fit the telling regions of a larger frame together, in both ways, in one round; in the network's alone where it is noisy."""
    regions, kernels = search.telling_regions(frame), search.grown(kernels)
    together = torch.ones(1, len(regions.light), device=kernels.device)
    ours = search.fit(kernels, regions, predictor, together, turns=TURNS)
    if frame.noise > NOISY * frame.white:
        return ours
    return common(ours, fit_edges_of_regions(kernels, regions, TURNS))


def _fit_edges(frames: Sequence[Frame], kernels: Sequence[Tensor]) -> list[Tensor]:
    """(1, n, n) each, n of its own, made to fit the edges of its frame."""
    sides = [kernel.shape[-1] for kernel in kernels]
    together = torch.cat([fit_into(kernel, max(sides)) for kernel in kernels])
    found = fit_edges(together, torch.stack([frame.light for frame in frames]), TURNS)
    return [fit_into(kernel[None], side) for kernel, side in zip(found, sides, strict=True)]


def common(a: Tensor, b: Tensor) -> Tensor:
    """(1, n, n) both, of sum 1 -> their geometric mean, the second moved onto the first, centred, of sum 1."""
    n = a.shape[-1]
    margin = n // 2 * 2
    both = fit_into(a, n + 2 * margin)[0] * fit_into(b, n + 2 * margin)[0].roll(apart(a[0], b[0]), (0, 1))
    return fit_into(centred(both.sqrt())[None], n)


def apart(a: Tensor, b: Tensor) -> tuple[int, int]:
    """How far, down and right, (n, n) b has to be moved to lie on a."""
    n = a.shape[-1]
    side = fast_length(2 * n)
    ours, theirs = (torch.fft.rfft2(each, (side, side)) for each in (a, b))
    place = int(torch.fft.irfft2(ours * theirs.conj(), (side, side)).argmax())
    down, right = ((step + n) % side - n for step in divmod(place, side))
    return down, right


def distinct(guesses: Iterable[Guess]) -> list[Guess]:
    """Without those that have come to the same kernel as one before them."""
    found: list[Guess] = []
    for guess in guesses:
        alike = (other for other in found if other.curve is guess.curve)
        if all(likeness(guess.kernels, other.kernels) < SAME for other in alike):
            found.append(guess)
    return found


def likeness(a: Kernels, b: Kernels) -> float:
    """The largest correlation of (1, n, n) and (1, m, m), wherever they lie: 1 for the same shape."""
    side = fast_length(a.shape[-1] + b.shape[-1])
    ours, theirs = (torch.fft.rfft2(each / each.norm(), (side, side)) for each in (a, b))
    return float(torch.fft.irfft2(ours.conj() * theirs, (side, side)).max())
