"""What a screen shows of a photo, as JPEG files in sRGB: the whole made small, and tiles of it at full size, so that nobody has to decode all of a large photo to look at it."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from deblur_cli.photo._cicp import profile_of
from deblur_cli.photo._colour import fits
from deblur_cli.photo._photo import Photo, Samples, white_of

if TYPE_CHECKING:
    from PIL import Image

THUMB_SIDE, WHOLE_SIDE, TILE_SIDE = 320, 2048, 1024
QUALITY = 92


def screen_pictures(photo: Photo) -> Iterator[tuple[str, bytes]]:
    """Names and JPEG files: `thumb`, `whole`, and of photos that are larger than `whole` the tiles ROW-COLUMN at full size."""
    from PIL import Image

    image = Image.fromarray(srgb_of(photo))
    whole = image.copy()
    whole.thumbnail((WHOLE_SIDE, WHOLE_SIDE), Image.Resampling.LANCZOS, reducing_gap=3)
    thumb = whole.copy()
    thumb.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.LANCZOS)
    yield "thumb", _jpeg(thumb)
    yield "whole", _jpeg(whole)
    if whole.size == image.size:
        return
    for top in range(0, image.height, TILE_SIDE):
        for left in range(0, image.width, TILE_SIDE):
            box = left, top, min(left + TILE_SIDE, image.width), min(top + TILE_SIDE, image.height)
            yield f"{top // TILE_SIDE}-{left // TILE_SIDE}", _jpeg(image.crop(box))


def srgb_of(photo: Photo) -> Samples:
    """(h, w, 3) uint8: its colours by profile or numbers, transparency on white, samples beyond black and white cut off."""
    from deblur_cli.photo._write import on_white

    pixels = photo.pixels if photo.alpha is None else on_white(photo.pixels, photo.alpha)
    if pixels.dtype == np.float32:
        pixels = np.nan_to_num(pixels).clip(0, 1)
    icc, cicp = photo.metadata.icc, photo.metadata.cicp
    if icc is None and cicp and not cicp.ordinary:
        icc = profile_of(cicp)
    shown = _by_profile(pixels, icc) if icc and fits(icc, pixels.shape[2]) else None
    if shown is None:
        shown = np.empty(pixels.shape, np.uint8)
        for row, source in zip(
            shown, pixels, strict=True
        ):  # in rows: the numbers between take four times the memory
            np.rint(source * np.float32(255 / white_of(pixels)), out=row, casting="unsafe")
    return shown if shown.shape[2] == 3 else shown.repeat(3, axis=2)


def _by_profile(pixels: Samples, profile: bytes) -> Samples | None:
    """By way of the profile, from the full depth of the samples; None if the profile is damaged."""
    import imagecodecs

    gray = pixels.shape[2] == 1
    try:
        shown: Samples = imagecodecs.cms_transform(
            np.ascontiguousarray(pixels[..., 0] if gray else pixels),
            profile,
            imagecodecs.cms_profile("srgb"),
            colorspace="gray" if gray else "rgb",
            outcolorspace="rgb",
            outdtype="uint8",
        )
    except (imagecodecs.CmsError, ValueError):
        return None
    return shown


def _jpeg(image: "Image.Image") -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()
