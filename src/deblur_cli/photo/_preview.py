"""What a report shows of a photo: small pictures."""

import io

import numpy as np

from deblur_cli.photo._photo import Metadata, Photo, Samples, white_of

DETAIL = (320, 480)
"""Height and width of the detail, at 100 %: in a photo made small, no sharpness can be seen."""

WHOLE_SIDE = 160
_STEP = 32
_MAX_ICC_BYTES = 4096


def preview_of(before: Photo, after: Photo) -> tuple[bytes, bytes, bytes, tuple[float, float, float, float]]:
    """The detail that changed most, before and after, and the whole photo made small: three JPEG files.

    The last item is where the detail is: top, left, height and width as fractions of the photo's.
    """
    height, width = after.pixels.shape[:2]
    h, w = min(DETAIL[0], height), min(DETAIL[1], width)
    top, left = _most_changed(before.pixels, after.pixels, h, w)
    area = (slice(top, top + h), slice(left, left + w))
    step = max(1, max(height, width) // (2 * WHOLE_SIDE))
    return (
        _jpeg(before.pixels[area], before),
        _jpeg(after.pixels[area], after),
        _jpeg(after.pixels[::step, ::step], after, WHOLE_SIDE),
        (top / height, left / width, h / height, w / width),
    )


def gray_png(picture: Samples) -> bytes:
    """(h, w) uint8 as a PNG file."""
    from deblur_cli.photo._png import encode_png

    return encode_png(picture[..., None], Metadata())


def _most_changed(before: Samples, after: Samples, h: int, w: int) -> tuple[int, int]:
    """The corner of the area of that size with the largest mean change, looked for on a coarse grid of samples."""
    step = max(1, min(h, w) // _STEP)
    change = np.abs(before[::step, ::step].astype(np.float32) - after[::step, ::step]).mean(axis=2)
    sums = np.pad(np.nan_to_num(change), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    rows, columns = max(1, h // step), max(1, w // step)
    boxes = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    row, column = np.unravel_index(boxes.argmax(), boxes.shape)
    return min(int(row) * step, after.shape[0] - h), min(int(column) * step, after.shape[1] - w)


def _jpeg(pixels: Samples, photo: Photo, side: int | None = None) -> bytes:
    from PIL import Image

    samples = np.nan_to_num(pixels.astype(np.float32)) * (255 / white_of(pixels))
    samples = samples.round().clip(0, 255).astype(np.uint8)
    image = Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    if side:
        image.thumbnail((side, side))
    icc = photo.metadata.icc if len(photo.metadata.icc or b"") <= _MAX_ICC_BYTES else None
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85, icc_profile=icc)
    return file.getvalue()
