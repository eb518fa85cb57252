"""`Photo` -> photo file."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from deblur_cli.photo._atomic import replacing
from deblur_cli.photo._formats import FORMATS, format_of_name
from deblur_cli.photo._photo import Photo, Samples

DEFAULT_QUALITY = 92


def write_photo(
    photo: Photo,
    target: Path | BinaryIO,
    *,
    format: str | None = None,  # noqa: A002  as in Pillow's save
    quality: int | None = None,
    strip_metadata: bool = False,
) -> None:
    """Encode a photo; a path is written atomically.

    format: by default that of the path's extension, or for a stream the one the photo came in.
    quality: 1 to 100, for formats that have one; by default as good as the input, at least 92.
    """
    own = FORMATS[photo.encoding.format].becomes
    file_format = format or (format_of_name(target) if isinstance(target, Path) else own)
    if isinstance(target, Path):
        with replacing(target) as file:
            _encode(photo, file, file_format, quality, strip_metadata)
    else:
        _encode(photo, target, file_format, quality, strip_metadata)


def _encode(
    photo: Photo, file: BinaryIO, file_format: str, quality: int | None, strip_metadata: bool
) -> None:
    from PIL import Image

    samples: Samples = photo.pixels
    if photo.alpha is not None and file_format in ("PNG", "WebP", "AVIF", "TIFF", "GIF"):
        samples = np.dstack([samples, photo.alpha])
    if file_format not in ("PNG", "TIFF"):
        samples = _to_uint8(samples)
    options: dict[str, Any] = {}
    if not strip_metadata:
        kept = photo.metadata
        options = {"icc_profile": kept.icc, "exif": kept.exif, "xmp": kept.xmp, "dpi": kept.dpi}
        options = {key: value for key, value in options.items() if value}
    if file_format == "JPEG":
        options |= {"quality": quality or DEFAULT_QUALITY, "subsampling": photo.encoding.subsampling}
        if "exif" in options:
            options["exif"] = b"Exif\0\0" + options["exif"]
    elif file_format in ("WebP", "AVIF"):
        options |= {"quality": quality or DEFAULT_QUALITY}
    image = Image.fromarray(samples.squeeze(2) if samples.shape[2] == 1 else samples)
    image.save(file, file_format.upper(), **options)


def _to_uint8(samples: Samples) -> Samples:
    if samples.dtype == np.uint16:
        samples = np.rint(samples / 257.0)
    elif samples.dtype == np.float32:
        samples = np.rint(samples.clip(0, 1) * 255)
    return samples.astype(np.uint8)
