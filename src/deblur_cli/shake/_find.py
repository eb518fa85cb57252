"""The search for a shake: several guesses, among which the judge chooses on the way up, and the fusion in the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deblur_cli.shake import _estimate as search
from deblur_cli.shake._agreed import climb, finer, starts
from deblur_cli.shake._choice import Candidate, Choice, doubt, from_best, resized
from deblur_cli.shake._cleaner import cleaned
from deblur_cli.shake._curve import Curve
from deblur_cli.shake._deconvolve import NOTHING, deconvolve_part, prior_weight
from deblur_cli.shake._edges import kernels_of_edges
from deblur_cli.shake._expected import expected_of
from deblur_cli.shake._judge import CELL, compared, load_judge, mean_gain, rest_of
from deblur_cli.shake._kernels import LARGEST, Shake, extent, fit_into, rescaled
from deblur_cli.shake._predictor import Predictor, load_predictor
from deblur_cli.shake._print import kernels_of_print, looks_printed
from deblur_cli.shake._roll import Roll, shake_of
from deblur_cli.shake._rolling import rolling

SMALLEST_SHAKE = 3
"""Pixels a side of a kernel that is no shake."""
SIDES = (31, 41)
"""Of the kernels by edges alone: each has scales of its own on the way up, and loses its way elsewhere."""
PROMISING_DB = -2.0
"""What has to be expected of the best guess for the search to go on: of twenty-three photos with one kernel it was -0.6 or more, of three that rolled and gained 2 to 4 dB about -1.75."""
FEW = 3
"""How many of the best guesses are cleaned, too, and tried in the other curve."""
CERTAIN_DB = 2.0
"""Where so much more is expected of the best guess of one curve than of that of the other, that curve it is, and nothing more is tried in the other."""
COARSE = 200
"""Longest side of the frames at which one kernel is nearly right for all, even if the camera rolled."""


@dataclass(frozen=True)
class Seen:
    """A shake in pixels of the photo.

    hopeful: whether undoing it may be worth anything. harm: dB by which that is harmful, as the judge sees it, who is not heard about print. coarse: the guess that it came from, as it was at a coarse frame.
    scales: the frames of both curves, from coarse to fine, the last are the photo itself.
    """

    shake: Shake
    hopeful: bool
    harm: float
    coarse: search.Guess
    scales: Sequence[Mapping[Curve, search.Frame]]

    @property
    def photo(self) -> search.Frame:
        """All of it, grey, as of its curve."""
        return self.scales[-1][self.shake.curve]


def find(light: Tensor, alone: Tensor, tell: Callable[[float], None]) -> Seen | None:
    """One kernel for all of the frame: the best of several guesses, made finer. light, alone: as of `joined`."""
    predictor = load_predictor(light.device)
    pyramids = {curve: search.pyramid(light, curve) for curve in Curve}
    scales = [dict(zip(pyramids, frames, strict=True)) for frames in zip(*pyramids.values(), strict=True)]
    small = [frames for frames in scales if search.is_small(frames[Curve.LIGHT])] or scales[:1]
    printed = looks_printed(small[-1][Curve.LIGHT])
    best = _best_guess(small, light, alone, predictor, lambda share: tell(share / 2), printed=printed)
    frames = pyramids[best.curve]
    hopeful = best.gain >= PROMISING_DB
    kernels, last, large = best.kernels, best.frame or frames[0], frames[len(small) :] if hopeful else []
    for number, frame in enumerate(large):
        if search.is_full(kernels) or last.scale > frame.scale:
            break
        kernels, last = finer(kernels, frame, predictor), frame
        tell((1 + (number + 1) / len(large)) / 2)
    if extent(kernels) <= SMALLEST_SHAKE and last.scale == 1:
        return None
    ends = [kernels] if last is best.frame else [kernels, cleaned(kernels, last, predictor)]
    gains = [_gain(each, last) for each in ends]
    gain = max(gains)
    kernels = ends[gains.index(gain)]
    full = rescaled(kernels, 1 / last.scale)
    full = fit_into(full, min(extent(full, beyond=NOTHING), LARGEST))
    shake = Shake(full[None].cpu(), torch.tensor([[gain / 2]]).sigmoid(), last.curve)
    return Seen(shake, hopeful, 0.0 if printed else max(0.0, -gain), _coarse(best), scales)


def _best_guess(
    small: Sequence[Mapping[Curve, search.Frame]],
    light: Tensor,
    alone: Tensor,
    predictor: Predictor,
    tell: Callable[[float], None],
    *,
    printed: bool,
) -> search.Guess:
    """Of guesses in all ways, that of which most is expected."""
    choice = Choice(light, alone, printed=printed)
    lines = [guess for curve in Curve for guess in starts(light.device, curve)]
    climbed = climb(lines, small, predictor, _gain, lambda share: tell(0.4 * share))
    ranked = choice.ranked(_best_of_each(climbed))
    frames = [small[-1][curve] for curve in _likely(ranked)]
    others: list[search.Guess] = []
    for number, side in enumerate(SIDES):
        others += _by_edges(frames, side)
        tell(0.4 + 0.3 * (number + 1) / len(SIDES))
    if printed:
        others.append(_by_print(small[-1][Curve.LIGHT]))
    ranked = from_best(ranked + choice.ranked(others))
    few = ranked[:FEW]
    if few[0].guess.gain < PROMISING_DB:
        return few[0].guess
    guesses = [each.guess for each in few]
    if len(_likely(ranked)) > 1:
        guesses += [_taken_otherwise(guess, small) for guess in guesses]
    return choice.best(few + choice.ranked(_cleaned(guess, predictor) for guess in guesses))


def _best_of_each(guesses: Sequence[search.Guess]) -> list[search.Guess]:
    """Of guesses from the best to the worst, that of each curve."""
    return [next(guess for guess in guesses if guess.curve is curve) for curve in Curve]


def _likely(ranked: Sequence[Candidate]) -> list[Curve]:
    """Both curves, or the one that is certain."""
    best, other = sorted(_best_of_each([each.guess for each in ranked]), key=lambda guess: -guess.gain)
    return [best.curve] if best.gain - other.gain >= CERTAIN_DB else list(Curve)


def _by_edges(frames: Sequence[search.Frame], side: int) -> list[search.Guess]:
    """Of each frame, with kernels of that side."""
    kernels = zip(kernels_of_edges(frames, side), frames, strict=True)
    return [search.Guess(kernel[None], frame.curve, frame) for kernel, frame in kernels]


def _by_print(frame: search.Frame) -> search.Guess:
    """Of light alone: whoever blurs by a program has no need of this one."""
    return search.Guess(kernels_of_print(frame), Curve.LIGHT, frame)


def _taken_otherwise(guess: search.Guess, scales: Sequence[Mapping[Curve, search.Frame]]) -> search.Guess:
    """The same kernel, as of a blur of the other curve: what was found in one is often right in the other."""
    (other,) = (curve for curve in Curve if curve is not guess.curve)
    frames = (frames[other] for frames in scales if frames[guess.curve] is guess.frame)
    return replace(guess, curve=other, frame=next(frames, None))


def _cleaned(guess: search.Guess, predictor: Predictor) -> search.Guess:
    if guess.frame is None:
        return guess
    return replace(guess, kernels=cleaned(guess.kernels, guess.frame, predictor))


def _coarse(guess: search.Guess) -> search.Guess:
    """What it was at a frame of COARSE pixels."""
    while guess.before and guess.before.frame and guess.frame and max(guess.frame.light.shape) > COARSE:
        guess = guess.before
    return guess


def varied(seen: Seen, light: Tensor, alone: Tensor, tell: Callable[[float], None]) -> Shake | None:
    """The same as of a camera that also rolled; None where small frames do not show it. light, alone: as of `joined`.

    Where the curve found is the rarer one, it is also looked for in the other.
    """

    def expected(roll: Roll) -> float:
        photo, before = (resized(each, roll.frame.light.shape) for each in (light, alone))
        return expected_of(photo, before, shake_of(roll, roll.frame.scale), roll.frame).gain

    guesses = [seen.coarse]
    if doubt(light, seen.coarse.curve):
        guesses.append(_taken_otherwise(seen.coarse, seen.scales))
    roll = rolling(guesses, seen.scales, load_predictor(light.device), expected, tell)
    return shake_of(roll) if roll else None


def _gain(kernels: Tensor, frame: search.Frame) -> float:
    """What undoing (1, n, n) gains in the telling regions of a frame, as the judge sees it, in dB."""
    regions = search.telling_regions(frame).light
    network = load_judge(regions.device)
    gains = []
    for light in regions:
        before = light[None] * frame.white
        after = deconvolve_part(before, kernels[0], prior_weight(frame.noise), frame.curve)
        rest = rest_of(before, after, kernels[0], frame.curve)
        shown = compared(before, after, rest, frame.curve)[None]
        shown = shown[..., : shown.shape[-2] // CELL * CELL, : shown.shape[-1] // CELL * CELL]
        gains.append(mean_gain(network(shown), shown)[0])
    return float(torch.stack(gains).mean())
