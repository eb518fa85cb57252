"""Photo file -> `Photo`, or what can be said of it without decoding its pixels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from deblur_cli.errors import PhotoError
from deblur_cli.photo._avif import open_avif
from deblur_cli.photo._colour import name_of, rgb_of_cmyk
from deblur_cli.photo._errors import CutShortError, MissingExtraError, UnsupportedError, missing_extra, quiet
from deblur_cli.photo._exif import dpi_of, is_exif, orientation_of, upright_exif, upright_xmp
from deblur_cli.photo._extras import open_heic, open_raw
from deblur_cli.photo._formats import FORMATS, format_of_bytes
from deblur_cli.photo._gif_bmp import open_bmp, open_gif
from deblur_cli.photo._jpeg import open_jpeg
from deblur_cli.photo._jpeg_more import turned_gain_map
from deblur_cli.photo._jxl import open_jxl
from deblur_cli.photo._netpbm import open_netpbm
from deblur_cli.photo._photo import Opened, Photo, Samples
from deblur_cli.photo._png import open_png
from deblur_cli.photo._tiff import open_tiff
from deblur_cli.photo._webp import open_webp

_OPENERS: dict[str, Callable[[bytes], Opened]] = {
    "JPEG": open_jpeg,
    "PNG": open_png,
    "WebP": open_webp,
    "AVIF": open_avif,
    "TIFF": open_tiff,
    "BMP": open_bmp,
    "PPM": open_netpbm,
    "GIF": open_gif,
    "HEIC": open_heic,
    "RAW": open_raw,
    "JXL": open_jxl,
}
_HEAD_BYTES = 32
MAX_DPI = 100_000
"""Beyond it a resolution is nonsense, and too large a number for some headers."""
_CUT_SHORT = ("truncated", "too small", "end of file", "not enough data", "premature", "empty input")
"""What libraries say of files that end too early."""


@dataclass(frozen=True)
class PhotoInfo:
    """What a photo file holds, without its pixels.

    height, width: upright. orientation: EXIF's, 1 to 8. profile: the colour profile's own name.
    metadata: the kinds there are, in the words of docs/formats.md. notes: as of `Photo`.
    """

    format: str
    height: int
    width: int
    mode: str
    bits: int
    size_bytes: int
    orientation: int
    profile: str | None
    metadata: tuple[str, ...]
    notes: tuple[str, ...]


def import_codecs() -> None:
    """What most photos need, so that the first of them need not wait for it."""
    import imagecodecs
    from PIL import Image, JpegImagePlugin

    del imagecodecs, Image, JpegImagePlugin


def read_photo(source: Path | BinaryIO, *, max_megapixels: float = 200) -> Photo:
    """Decode a photo, upright. PhotoError, naming the file, for whatever cannot be decoded whole.

    max_megapixels: what is larger is refused before a pixel is decoded.
    """
    name, data, file_format = _recognised(source)
    with _naming(name, file_format):
        opened = _opened(data, file_format)
    _check_size(opened, name, max_megapixels)
    with _naming(name, file_format):
        return _decoded(opened)


def inspect_photo(source: Path | BinaryIO) -> PhotoInfo:
    """What a photo file holds; PhotoError as from `read_photo`, but for faults of its pixels."""
    name, data, file_format = _recognised(source)
    with _naming(name, file_format):
        opened = _opened(data, file_format)
    turned = opened.orientation >= 5
    return PhotoInfo(
        format=file_format,
        height=opened.width if turned else opened.height,
        width=opened.height if turned else opened.width,
        mode=opened.mode,
        bits=opened.bits,
        size_bytes=len(data),
        orientation=opened.orientation,
        profile=name_of(opened.metadata.icc) if opened.metadata.icc else None,
        metadata=opened.metadata.kinds(),
        notes=opened.notes,
    )


def _recognised(source: Path | BinaryIO) -> tuple[str, bytes, str]:
    """The name for messages, the bytes, and the format. Of what is no photo, only the first bytes are read."""
    name = str(source) if isinstance(source, Path) else str(getattr(source, "name", "standard input"))
    suffix = Path(name).suffix
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                head, file_format, rest = _head_and_rest(file, suffix)
        else:
            head, file_format, rest = _head_and_rest(source, suffix)
    except FileNotFoundError as error:
        raise PhotoError(f"{name}: no such file") from error
    except IsADirectoryError as error:
        raise PhotoError(
            f"{name}: a folder, not a photo", hint=f"For a folder: deblur batch {name}"
        ) from error
    except OSError as error:
        raise PhotoError(f"{name}: cannot be read: {error.strerror or error}") from error
    if not head:
        raise PhotoError(f"{name}: the file is empty")
    if file_format is None:
        known = ", ".join(FORMATS)
        raise PhotoError(f"{name}: not a photo of a format that we know", hint=f"Known formats: {known}")
    return name, head + rest, file_format


def _head_and_rest(file: BinaryIO, suffix: str) -> tuple[bytes, str | None, bytes]:
    head = file.read(_HEAD_BYTES)
    file_format = format_of_bytes(head, suffix)
    return head, file_format, file.read() if file_format else b""


@contextmanager
def _naming(name: str, file_format: str) -> Iterator[None]:
    """Around a step of decoding: whatever it raises becomes a PhotoError with the file's name."""
    try:
        with quiet():
            yield
    except MissingExtraError as error:
        raise missing_extra(name, file_format, error) from error
    except UnsupportedError as error:
        raise PhotoError(f"{name}: {error} is not supported") from error
    except MemoryError as error:
        raise PhotoError(f"{name}: not enough memory for this photo") from error
    except Exception as error:  # decoders raise whatever they like on a broken file
        if isinstance(error, CutShortError) or any(words in str(error).lower() for words in _CUT_SHORT):
            raise PhotoError(f"{name}: the {file_format} file is cut short") from error
        if type(error).__name__ == "DecompressionBombError":
            raise PhotoError(
                f"{name}: the {file_format} file claims to have more pixels than any photo"
            ) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, SyntaxError | KeyError | IndexError):  # Pillow's "not identified", and our own
            reason = "its header makes no sense"
        raise PhotoError(f"{name}: the {file_format} file is damaged ({reason[:200]})") from error


def _opened(data: bytes, file_format: str) -> Opened:
    """The header, its metadata checked and complete."""
    opened = _OPENERS[file_format](data)
    if opened.height < 1 or opened.width < 1:
        raise ValueError(f"a size of {opened.width}x{opened.height}")
    metadata, notes = opened.metadata, opened.notes
    if metadata.exif and not is_exif(metadata.exif):
        metadata = replace(metadata, exif=None)
        notes += ("the EXIF data is damaged: it is left out",)
    dpi = metadata.dpi or dpi_of(metadata.exif)
    if dpi and not all(1 <= value <= MAX_DPI for value in dpi):
        dpi = None
    metadata = replace(metadata, dpi=dpi)
    orientation = opened.orientation
    if file_format not in ("HEIC", "RAW", "JXL"):  # their libraries turn the picture
        orientation = orientation_of(metadata.exif)
    return replace(opened, metadata=metadata, notes=notes, orientation=orientation)


def _check_size(opened: Opened, name: str, max_megapixels: float) -> None:
    megapixels = opened.width * opened.height / 1e6
    if megapixels > max_megapixels:
        raise PhotoError(
            f"{name}: {opened.width}x{opened.height} is {megapixels:.0f} megapixels, "
            f"above the limit of {max_megapixels:g}",
            hint=f"If you trust this file: --max-megapixels {int(megapixels) + 1}",
        )


def _decoded(opened: Opened) -> Photo:
    samples, metadata, notes = opened.decode(), opened.metadata, opened.notes
    if opened.mode == "CMYK":
        samples, profile, note = rgb_of_cmyk(samples, metadata.icc)
        metadata, notes = replace(metadata, icc=profile), (*notes, note)
    samples = samples.reshape(*samples.shape[:2], -1)
    expected = (opened.height, opened.width)
    if samples.shape[:2] != expected:
        raise ValueError(
            f"{samples.shape[1]}x{samples.shape[0]} pixels where the header says {opened.width}x{opened.height}"
        )
    samples = turned(samples, opened.orientation)
    if opened.orientation >= 5 and metadata.dpi:
        metadata = replace(metadata, dpi=metadata.dpi[::-1])
    if metadata.exif and orientation_of(metadata.exif) != 1:
        xmp = metadata.xmp and upright_xmp(metadata.xmp)
        metadata = replace(metadata, exif=upright_exif(metadata.exif), xmp=xmp)
    if opened.orientation > 1 and metadata.gain_map:
        metadata = replace(metadata, gain_map=turned_gain_map(metadata.gain_map, opened.orientation))
    channels = 3 if samples.shape[2] > 2 else 1
    return Photo(
        pixels=np.ascontiguousarray(samples[..., :channels]),
        alpha=np.ascontiguousarray(samples[..., channels]) if samples.shape[2] > channels else None,
        encoding=opened.encoding,
        metadata=metadata,
        notes=notes,
    )


def turned(samples: Samples, orientation: int) -> Samples:
    """The picture as it is to be seen, by EXIF's orientation (1 to 8)."""
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples
