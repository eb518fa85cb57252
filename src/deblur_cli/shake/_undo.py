"""The whole way: find the shake, undo it, and keep what has come nearer to the truth.

A network joins the photo, what the network alone makes of it and what undoing the shake makes of it (`_joined`), and says what errors it expects: if it
expects nothing of it, at the most telling places of the photo or in the end, the photo is left to the network alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deblur_cli.shake._choice import doubt
from deblur_cli.shake._cores import sharing_cores
from deblur_cli.shake._curve import Curve
from deblur_cli.shake._estimate import pyramid
from deblur_cli.shake._expected import Expected, expected_of
from deblur_cli.shake._find import find, varied
from deblur_cli.shake._joined import joined
from deblur_cli.shake._kernels import Shake
from deblur_cli.shake._networks import computing_in
from deblur_cli.shake._refit import refitted
from deblur_cli.sharpness import measure

MARGIN_DB = 1.2
"""What undoing a shake is expected to gain over the network alone, at least, to be done."""
DOUBT = 0.5
"""Of the decibels by which the judge finds one kernel for all harmful: so much more has to be expected."""
ROLLED, NEARLY_DB, CLEARLY_DB = 0.24, 0.35, 0.75
"""The variety from which on a camera has likely rolled; its kernels are then taken though so much less is expected of them: one kernel for such a photo may do great harm, they do
little where it had not. Below it they are taken if so much more is expected.
"""
OTHER_CURVE_DB = 1.5
"""They are taken, whatever their variety, if they are of the other curve and so much more is expected of them: kernels that vary explain much."""
HOPELESS_DB = 0.0
"""Above it, one kernel for all of the frame is fitted once more."""
EVERYWHERE_DB = 2.5
"""Where so much is expected of one kernel at each of the most telling places, it is right for all of the frame, and none that vary are tried."""
EXPLAINED_DB, EXPLAINED = 0.25, 0.1
"""What a kernel that is given is expected to gain, at least, if nothing were known of it, and in what share of the places that are looked at it would be believed."""
SMALLEST_SIDE = 96
"""Of a photo in which a shake is looked for."""
CRISP, BORDER, CELLS, SMALLEST_CELL = 0.3, 0.15, 4, 64
"""Where in more than half of so many by so many cells edges are not wider than that, in pixels, nothing shook: a few, lamps' traces for example, may be so sharp in a
shaken photo. A border of that share is not looked at: it may be a frame. Cells of fewer pixels a side tell nothing.
"""

UNEXPLAINED = "the kernel given does not explain the photo, as far as can be told"
LEFT = "undoing it would not have come nearer to the truth, as far as can be told"

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Undone:
    """What became of a photo.

    light: (c, h, w) linear; the tensor `alone` that was handed in if nothing was undone. outcome: "none" (no shake seen), "undone",
    "left" (seen, and left alone). why: in words. share: of the frame in which it was undone, 0..1. shake: what was seen.
    """

    light: Tensor
    outcome: str
    why: str
    share: float
    shake: Shake | None


def estimate(light: Tensor, *, dtype: torch.dtype = torch.float32) -> Shake | None:
    """The shake of (c, h, w) linear light, c 1 or 3, about 0..1; None where none is seen. dtype: as of `undo`."""
    if min(light.shape[-2:]) < SMALLEST_SIDE or crisp(light):
        return None
    with computing_in(dtype), sharing_cores() as look:
        seen = find(light, light, lambda _: look())
    return seen.shake if seen else None


def undo(
    light: Tensor,
    alone: Tensor | None = None,
    *,
    kernel: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> Undone:
    """(c, h, w) float32 linear light, c 1 or 3, about 0..1 -> the same without its shake, on its device.

    alone: the same photo as a network that does not know of the shake restores it, which is what is left where the shake is not undone. kernel: (n, n), n odd,
    of a user who knows it; it is used all over the frame, if it explains the photo anywhere. dtype: of the networks' convolutions, bfloat16 where a device is
    quick at it. progress is told the share done.
    """
    with computing_in(dtype), sharing_cores() as look:

        def tell(share: float) -> None:
            look()
            if progress:
                progress(share)

        return _undone(light, light if alone is None else alone, kernel, tell)


def _undone(light: Tensor, alone: Tensor, kernel: Tensor | None, tell: Progress) -> Undone:
    if kernel is not None:
        given = [Shake(kernel[None, None].cpu(), torch.ones(1, 1), curve) for curve in Curve]
        explained = [_explained(light, alone, shake) for shake in given]
        best = max(explained)
        shake = given[explained.index(best)]
        if best < EXPLAINED_DB:
            return Undone(alone, "left", UNEXPLAINED, 0.0, shake)
        after = joined(light, alone, shake, tell, known=True)
        return Undone(after.light, "undone", "by the kernel given", after.share, shake)
    if min(light.shape[-2:]) < SMALLEST_SIDE:
        return Undone(alone, "none", "the photo is too small to see a shake in it", 0.0, None)
    if crisp(light):
        return Undone(alone, "none", "the photo is sharp to the pixel", 0.0, None)
    seen = find(light, alone, lambda share: tell(0.4 * share))
    if seen is None:
        return Undone(alone, "none", "no shake seen", 0.0, None)
    left = Undone(alone, "left", LEFT, 0.0, seen.shake)
    if not seen.hopeful:
        return left

    def look(shake: Shake) -> Expected:
        return expected_of(light, alone, shake, seen.photo)

    shake, expected = seen.shake, look(seen.shake)
    if expected.gain > HOPELESS_DB:
        shake, expected = refitted(shake, expected, seen.photo, look)
    gain, margin = expected.gain - doubt(light, shake.curve), MARGIN_DB + DOUBT * seen.harm
    if expected.least < EVERYWHERE_DB:
        other = varied(seen, light, alone, lambda share: tell(0.4 + 0.1 * share))
        if other:
            other_gain = look(other).gain
            if other_gain > expected.gain + _more_asked(other, than=shake):
                shake, gain, margin = other, other_gain - doubt(light, other.curve), MARGIN_DB
    if gain < margin:
        return left
    after = joined(light, alone, shake, lambda share: tell(0.5 + share / 2))
    if after.gain - doubt(light, shake.curve) < margin or not after.share:
        return left
    why = "it comes nearer to the truth, as far as can be told"
    return Undone(after.light, "undone", why, after.share, shake)


def _more_asked(rolled: Shake, *, than: Shake) -> float:
    """What has to be expected of kernels that vary beyond that of one, in dB."""
    if rolled.curve is not than.curve:
        return OTHER_CURVE_DB
    return -NEARLY_DB if rolled.variety > ROLLED else CLEARLY_DB


def crisp(light: Tensor) -> bool:
    """Whether the edges of (c, h, w) linear light are as sharp as can be nearly everywhere: it takes a moment, looking for a shake seconds."""
    values = Curve.VALUES.of(light.mean(0, keepdim=True))[0].clamp(0, 1).cpu()
    top, left = (round(BORDER * length) for length in values.shape)
    inner = values[top : values.shape[0] - top, left : values.shape[1] - left]
    cells = [cell for row in inner.tensor_split(CELLS) for cell in row.tensor_split(CELLS, 1)]
    if min(cells[-1].shape) < SMALLEST_CELL:
        return False
    soft = 0
    for cell in cells:
        soft += not _is_sharp(cell)
        if 2 * soft >= len(cells):
            return False
    return True


def _is_sharp(cell: Tensor) -> bool:
    seen = measure(cell.contiguous())
    return seen is not None and seen.width < CRISP


def _explained(light: Tensor, alone: Tensor, shake: Shake) -> float:
    """What undoing it is expected to gain, in dB, for all that can be told without knowing where it comes from, less `doubt`; 0 where it would not
    be believed.
    """
    if min(light.shape[-2:]) < SMALLEST_SIDE:
        after = joined(light, alone, shake)
        gain, share = after.gain, after.share
    else:
        expected = expected_of(light, alone, shake, pyramid(light, shake.curve)[-1])
        gain, share = expected.gain, expected.share
    return gain - doubt(light, shake.curve) if share > EXPLAINED else 0.0
