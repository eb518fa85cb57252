"""What undoing a shake is worth, told from the most telling places of a photo."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from deblur_cli.shake._deconvolve import measure_noise
from deblur_cli.shake._estimate import Frame, telling_places
from deblur_cli.shake._fusion import gain_of
from deblur_cli.shake._joined import joined
from deblur_cli.shake._kernels import Shake
from deblur_cli.shake._parts import part_of


class Expected(NamedTuple):
    """Of undoing a shake, at the most telling places of a photo: by how many dB it is expected to be nearer to the truth, in all of them and where it is least (of a single place nothing is
    known of its parts: -inf), and in what share of them. restored: (c, h, w) linear light, what each of them is then.
    """

    gain: float
    least: float
    share: float
    restored: Sequence[Tensor]


def expected_of(light: Tensor, alone: Tensor, shake: Shake, frame: Frame) -> Expected:
    """light, alone: as of `joined`. frame: the same photo, grey."""
    noise, seen = measure_noise(shake.curve.of(light)), []
    places, (h, w) = telling_places(frame)
    for top, left in places:
        here = (..., slice(top, top + h), slice(left, left + w))
        rows, columns = (
            (start / whole, (start + side) / whole)
            for start, side, whole in ((top, h, light.shape[1]), (left, w, light.shape[2]))
        )
        seen.append(joined(light[here], alone[here], part_of(shake, rows, columns), noise=noise))
    errors = torch.stack([each.errors for each in seen]).sum(0)
    least = min(each.gain for each in seen) if len(seen) > 1 else -math.inf
    return Expected(gain_of(errors), least, fmean(each.share for each in seen), [each.light for each in seen])
