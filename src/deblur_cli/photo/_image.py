"""PIL images <-> `Photo`, for the Python API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deblur_cli.errors import UsageError
from deblur_cli.photo._colour import rgb_of_cmyk
from deblur_cli.photo._photo import Encoding, Photo, Samples

if TYPE_CHECKING:
    from PIL import Image

SAMPLE_MODES = ("L", "LA", "RGB", "RGBA", "F")
"""Modes whose arrays are samples as they stand, and which come back; the others are converted to one of them."""


def photo_from_image(image: Image.Image) -> Photo:
    """A PIL image of any mode; float images (mode F) are taken as 0..1. UsageError for anything else."""
    from PIL import Image as Pillow

    if not isinstance(image, Pillow.Image):
        raise UsageError(
            f"a {type(image).__name__} is no photo",
            hint="Give a PIL image or a NumPy array; for a file: PIL.Image.open(path).",
        )
    if image.mode.startswith("I"):
        return Photo(_deep_gray(np.asarray(image)), None, Encoding("PNG"))
    if image.mode == "CMYK":
        return Photo(rgb_of_cmyk(np.asarray(image), image.info.get("icc_profile"))[0], None, Encoding("PNG"))
    if image.mode not in SAMPLE_MODES or "transparency" in image.info:
        transparent = "transparency" in image.info or image.mode in ("PA", "La", "RGBa")
        image = image.convert("L" if image.mode == "1" else "RGBA" if transparent else "RGB")
    samples = np.array(image)
    samples = samples.reshape(*samples.shape[:2], -1)
    has_alpha = samples.shape[2] in (2, 4)
    colours = samples.shape[2] - has_alpha
    return Photo(samples[..., :colours], samples[..., -1] if has_alpha else None, Encoding("PNG"))


def _deep_gray(samples: Samples) -> Samples:
    """Integers of whatever size and byte order as (h, w, 1) uint16: Pillow opens 16-bit PGM files as 32-bit."""
    if samples.min(initial=0) < 0 or samples.max(initial=0) > 65535:
        raise UsageError(
            "an image of mode I with values outside 0 to 65535 is no photo", hint="Scale it to that."
        )
    return samples.astype(np.uint16)[..., None]


def image_from_photo(photo: Photo, like: Image.Image) -> Image.Image:
    """The photo as a PIL image, with the `info` (EXIF, ICC profile, ...) of `like`, whose photo it was."""
    from PIL import Image as Pillow

    alpha = () if photo.alpha is None else (photo.alpha[..., None],)
    samples = np.concatenate([photo.pixels, *alpha], axis=2)
    image = Pillow.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    dropped = ("transparency", "icc_profile") if like.mode == "CMYK" else ("transparency",)
    image.info = {key: value for key, value in like.info.items() if key not in dropped}
    return image
