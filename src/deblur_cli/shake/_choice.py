"""Which of several guesses comes nearest to the truth: what the fusion and the judge expect of each, seen once, and of the best ones from more sides.

A photo that is turned is the same photo, but what is expected of a kernel changes from turn to turn, by 0.2 dB and, as the judge sees it, by 0.5. The mean decides.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.ensemble import TURNS, turned
from deblur_cli.shake._curve import Curve
from deblur_cli.shake._deconvolve import measure_noise, prior_weight
from deblur_cli.shake._estimate import Frame, Guess
from deblur_cli.shake._fusion import changed_by, fused, gain_of, load_fusion, sources_of, undone_part
from deblur_cli.shake._judge import load_judge, opinion_db

RARER_DB = 1.5
"""By how much more has to be expected of a blur of values, in a photo with colours: gray ones are as often captures or scans whose values are no sRGB."""
GRAY = 1e-3
"""By how much colours may differ in a photo that has none."""
LOOKS = ((4, 4), (2, 8))
"""How many of the best guesses are looked at again, and in how many turns and mirror images in all,"""
NEAR_DB = 0.5
"""those of which at most so much less is expected than of the best: what is further behind does not come first any more."""


@dataclass(frozen=True)
class Candidate:
    """A guess, the `sources_of` the photo undone by it, and what is expected of that from each side, in dB; the mean of it, less `doubt`, is the guess's gain."""

    guess: Guess
    sources: Tensor
    expected: tuple[float, ...] = ()


class Choice:
    """Among guesses for one photo: light and alone as of `joined`; printed: the judge, who knows no print, is not heard."""

    def __init__(self, light: Tensor, alone: Tensor, *, printed: bool) -> None:
        self._light, self._alone, self._printed = light, alone, printed
        self._smaller: dict[torch.Size, list[Tensor]] = {}
        self._network, self._judge = load_fusion(light.device), load_judge(light.device)

    def ranked(self, guesses: Iterable[Guess]) -> list[Candidate]:
        """Seen once, the best first; those that have no frame yet are left out."""
        return from_best(self._undone(guess, guess.frame) for guess in guesses if guess.frame)

    def best(self, candidates: Iterable[Candidate]) -> Guess:
        """Of those that were seen once."""
        best = from_best(candidates)
        for count, turns in LOOKS:
            near = [each for each in best[:count] if each.guess.gain >= best[0].guess.gain - NEAR_DB]
            if len(near) == 1:
                break
            best = from_best(self.looked_at(candidate, turns) for candidate in near)
        return best[0].guess

    def looked_at(self, candidate: Candidate, turns: int) -> Candidate:
        """From so many sides in all, those counted that it was seen from before."""
        more = [
            self._expected(turned(candidate.sources, *turn))
            for turn in TURNS[len(candidate.expected) : turns]
        ]
        expected = (*candidate.expected, *more)
        gain = fmean(expected) - doubt(candidate.sources[:3], candidate.guess.curve)
        return replace(candidate, guess=replace(candidate.guess, gain=gain), expected=expected)

    def _undone(self, guess: Guess, frame: Frame) -> Candidate:
        size = frame.light.shape
        if size not in self._smaller:
            self._smaller[size] = [resized(each, size) for each in (self._light, self._alone)]
        photos = [guess.curve.of(light) for light in self._smaller[size]]
        undone = undone_part(photos[0], guess.kernels[0], prior_weight(measure_noise(photos[0])), guess.curve)
        return self.looked_at(Candidate(guess, sources_of(photos, undone, guess.curve)), 1)

    def _expected(self, sources: Tensor) -> float:
        _, errors, believed = fused(self._network, self._judge, sources)
        change = changed_by(sources)
        opinion = opinion_db(float((change * believed).mean() / change.mean()))
        return gain_of(errors.exp().mean((1, 2))) + (0.0 if self._printed else opinion)


def doubt(light: Tensor, curve: Curve) -> float:
    """What is taken off of what is expected, in dB, if a photo, (c, h, w), is undone in that curve."""
    coloured = any(not plane.allclose(light[0], atol=GRAY) for plane in light[1:])
    return RARER_DB if curve is Curve.VALUES and coloured else 0.0


def resized(photo: Tensor, size: torch.Size) -> Tensor:
    """(c, h, w) -> of that (h, w)."""
    if photo.shape[-2:] == size:
        return photo
    return F.interpolate(photo[None], size=tuple(size), mode="bicubic", antialias=True)[0]


def from_best(candidates: Iterable[Candidate]) -> list[Candidate]:
    """In the order of what is expected of them."""
    return sorted(candidates, key=lambda candidate: -candidate.guess.gain)
