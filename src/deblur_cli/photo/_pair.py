"""The two views that a dual-pixel camera takes at once, from the left and the right half of its lens, as one photo."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from deblur_cli.errors import PhotoError
from deblur_cli.photo._photo import Photo, Samples, white_of
from deblur_cli.photo._read import read_photo


def pair_of(left: Photo, right: Photo) -> Photo:
    """The photo of which these are the views: its pixels are their mean, as in the camera, and all else is the left's. PhotoError unless size, depth and channels agree."""
    if _in_words(left.pixels) != _in_words(right.pixels):
        raise PhotoError(
            f"the views do not belong together: the left one is {_in_words(left.pixels)}, the right one {_in_words(right.pixels)}",
            hint="--left and --right take two files of one exposure, equal in size and bit depth.",
        )
    mean = (left.pixels.astype(np.float32) + right.pixels) / 2
    pixels = mean if left.pixels.dtype == np.float32 else np.rint(mean).astype(left.pixels.dtype)
    return replace(left, pixels=pixels, views=(left.pixels, right.pixels))


def read_pair(left: Path, right: Path, *, max_megapixels: float) -> Photo:
    """Two files as the photo of which they are the views, by `read_photo` and `pair_of`."""
    views = [read_photo(view, max_megapixels=max_megapixels) for view in (left, right)]
    try:
        return pair_of(*views)
    except PhotoError as error:
        raise PhotoError(f"{left}, {right}: {error.message}", hint=error.hint) from error


def _in_words(samples: Samples) -> str:
    h, w, channels = samples.shape
    depth = {255: "8 bits", 65535: "16 bits", 1: "float"}[white_of(samples)]
    return f"{w}x{h}, {'gray' if channels == 1 else 'RGB'}, {depth}"
