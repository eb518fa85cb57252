"""Photo file -> `Photo`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from deblur_cli.errors import PhotoError
from deblur_cli.photo._formats import FORMATS, format_of_bytes
from deblur_cli.photo._photo import Encoding, Metadata, Photo

if TYPE_CHECKING:
    from PIL import Image

STRUCTURE = (*range(0x0100, 0x010B), 0x0111, *range(0x0114, 0x0119), 0x011C, 0x013D, *range(0x0140, 0x0154))
"""The tags of a TIFF file that say how its pixels lie, and so nothing of the result's."""


def read_photo(source: Path | BinaryIO, *, max_megapixels: float = 200) -> Photo:
    """Decode a photo, upright. PhotoError, naming the file, for whatever cannot be decoded whole."""
    name = str(source) if isinstance(source, Path) else str(getattr(source, "name", "the input"))
    data = _read_bytes(source, name)
    file_format = format_of_bytes(data[:32])
    if not data:
        raise PhotoError(f"{name}: the file is empty")
    if file_format is None:
        known = ", ".join(FORMATS)
        raise PhotoError(f"{name}: not a photo, or of an unknown format", hint=f"Known formats: {known}")
    try:
        return _decode(data, file_format, name, max_megapixels)
    except PhotoError:
        raise
    except Exception as error:  # decoders raise whatever they like on a broken file
        if "truncated" in str(error) or "too small" in str(error):
            raise PhotoError(f"{name}: the {file_format} file is cut short") from error
        raise PhotoError(f"{name}: the {file_format} file is damaged ({error})") from error


def _read_bytes(source: Path | BinaryIO, name: str) -> bytes:
    try:
        return source.read_bytes() if isinstance(source, Path) else source.read()
    except FileNotFoundError as error:
        raise PhotoError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise PhotoError(
            f"{name}: a folder, not a photo", hint=f"For a folder: deblur batch {name}"
        ) from error
    except OSError as error:
        raise PhotoError(f"{name}: cannot be read: {error.strerror or error}") from error


def _check_size(width: int, height: int, name: str, max_megapixels: float) -> None:
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise PhotoError(
            f"{name}: {width}x{height} is {megapixels:.0f} megapixels, above the limit of {max_megapixels:g}",
            hint=f"If you trust this file: --max-megapixels {int(megapixels) + 1}",
        )


def _decode(data: bytes, file_format: str, name: str, max_megapixels: float) -> Photo:
    from PIL import Image

    Image.init()
    image: Any = Image.OPEN[file_format.upper()][0](io.BytesIO(data), "")
    _check_size(image.width, image.height, name, max_megapixels)
    notes = []
    if (frames := getattr(image, "n_frames", 1)) > 1:
        notes.append(f"only the first of {frames} frames is restored; the rest is left out")
    encoding = _encoding(image, file_format)
    orientation = image.getexif().get(0x0112, 1)
    image.load()
    if file_format == "PNG":
        import imagecodecs

        samples = imagecodecs.png_decode(data)
    else:
        samples = np.array(_plain(image, notes))
    if file_format != "TIFF":  # Pillow has already turned that
        samples = _turned(samples, orientation)
    metadata = Metadata(
        icc=image.info.get("icc_profile"),
        exif=_upright_exif(image),
        xmp=image.info.get("xmp"),
        comment=image.info.get("comment"),
        dpi=image.info.get("dpi"),
    )
    samples = samples.reshape(*samples.shape[:2], -1)
    alpha = samples[..., -1] if samples.shape[2] in (2, 4) else None
    pixels = samples[..., : 3 if samples.shape[2] > 2 else 1]
    return Photo(np.ascontiguousarray(pixels), alpha, encoding, metadata, tuple(notes))


def _plain(image: Image.Image, notes: list[str]) -> Image.Image:
    """The image in one of the modes that are pixels as they stand: L, LA, RGB, RGBA, I;16, F."""
    if image.mode in ("I;16", "F", "RGB", "RGBA", "L", "LA") and "transparency" not in image.info:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "CMYK":
        notes.append("CMYK is converted to RGB")
        return image.convert("RGB")
    return image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")


def _turned(samples: np.ndarray, orientation: int) -> np.ndarray:
    """The picture as it is to be seen, by EXIF's orientation (1 to 8)."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def _upright_exif(image: Image.Image) -> bytes | None:
    exif = image.getexif()
    if not exif:
        return None
    for tag in STRUCTURE:
        exif.pop(tag, None)
    if exif.get(0x0112, 1) != 1:
        exif[0x0112] = 1
    return bytes(exif.tobytes()).removeprefix(b"Exif\0\0")


def _encoding(image: Image.Image, file_format: str) -> Encoding:
    from PIL import JpegImagePlugin

    if file_format == "TIFF":
        return Encoding(file_format, compression=image.info.get("compression"))
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return Encoding(file_format)
    tables = tuple(tuple(table) for _, table in sorted(image.quantization.items()))
    subsampling = max(0, JpegImagePlugin.get_sampling(image))
    return Encoding(file_format, tables, subsampling, progressive="progressive" in image.info)
