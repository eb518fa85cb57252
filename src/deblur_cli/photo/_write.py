"""`Photo` -> photo file."""

from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from deblur_cli.errors import PhotoError
from deblur_cli.photo._atomic import replace_file
from deblur_cli.photo._avif import encode_avif
from deblur_cli.photo._cicp import HDR_TRANSFERS, profile_of
from deblur_cli.photo._colour import fits
from deblur_cli.photo._errors import MissingExtraError, missing_extra, quiet
from deblur_cli.photo._exif import restored_exif, restored_xmp
from deblur_cli.photo._formats import FORMATS, Format, format_of_name
from deblur_cli.photo._gif_bmp import encode_bmp, encode_gif
from deblur_cli.photo._jpeg import encode_jpeg
from deblur_cli.photo._jxl import encode_jxl
from deblur_cli.photo._netpbm import encode_netpbm
from deblur_cli.photo._photo import Encoding, Metadata, Photo, Samples, white_of
from deblur_cli.photo._photoshop import without
from deblur_cli.photo._png import COLOUR_CHUNKS, encode_png, tells_colours
from deblur_cli.photo._tiff import encode_tiff
from deblur_cli.photo._webp import encode_webp


def write_photo(
    photo: Photo,
    target: Path | BinaryIO,
    *,
    format: str | None = None,  # noqa: A002  as in Pillow's save
    quality: int | None = None,
    strip_metadata: bool = False,
    overwrite: bool = True,
) -> tuple[str, ...]:
    """Encode a photo; a path is written atomically. Returns notes on what the format could not hold.

    format: by default that of the path's extension, or for a stream the one the photo came in.
    quality: 1 to 100, for formats that have one; by default as good as the input, at least 92.
    strip_metadata: all but the colour profile, without which colours would change.
    overwrite: whether a path may be that of a file.
    """
    name = str(target) if isinstance(target, Path) else str(getattr(target, "name", "the output"))
    own = FORMATS[photo.encoding.format].becomes
    entry = FORMATS[format or (format_of_name(target) if isinstance(target, Path) else own)]
    height, width = photo.pixels.shape[:2]
    if max(height, width) > entry.max_side:
        raise PhotoError(
            f"{name}: {entry.name} holds at most {entry.max_side} pixels a side, not {width}x{height}"
        )
    if entry.name == "JXL" and quality is not None:
        samples, notes = _samples(
            photo, replace(entry, name=f"JXL of quality {quality}", depths=("uint8",), gray=False)
        )
    else:
        samples, notes = _samples(photo, entry)
    metadata, left_out = _metadata(photo, entry, samples, strip_metadata)
    try:
        with quiet():
            data, more = _encode(entry.name, samples, photo.encoding, metadata, quality)
    except MissingExtraError as error:
        raise missing_extra(name, entry.name, error) from error
    except Exception as error:
        raise PhotoError(
            f"{name}: cannot be encoded as {entry.name} ({str(error) or type(error).__name__})"
        ) from error
    if isinstance(target, Path):
        replace_file(target, data, overwrite=overwrite)
    else:
        target.write(data)
    return (*notes, *left_out, *more)


def _encode(
    file_format: str, samples: Samples, encoding: Encoding, metadata: Metadata, quality: int | None
) -> tuple[bytes, list[str]]:
    match file_format:
        case "JPEG":
            return encode_jpeg(samples, encoding, metadata, quality)
        case "GIF":
            return encode_gif(samples, metadata)
        case "PNG":
            return encode_png(samples, metadata), []
        case "WebP":
            return encode_webp(samples, encoding, metadata, quality), []
        case "AVIF":
            return encode_avif(samples, encoding, metadata, quality), []
        case "TIFF":
            return encode_tiff(samples, encoding, metadata), []
        case "BMP":
            return encode_bmp(samples, metadata), []
        case "PPM":
            return encode_netpbm(samples, metadata), []
        case "JXL":
            return encode_jxl(samples, encoding, metadata, quality)
    raise ValueError(f"no encoder for {file_format}")


def _samples(photo: Photo, entry: Format) -> tuple[Samples, list[str]]:
    """Pixels and alpha together, of a kind that the format holds, and notes on what that cost."""
    notes = []
    pixels, alpha = photo.pixels, photo.alpha
    if alpha is not None and photo.encoding.premultiplied and entry.name != "TIFF":
        pixels = _divided(pixels, alpha)
    if alpha is not None and not entry.alpha:
        if (alpha < white_of(alpha)).any():
            pixels = on_white(pixels, alpha)
            notes.append(f"{entry.name} has no transparency: the photo is laid on white")
        alpha = None
    if pixels.shape[2] == 1 and (not entry.gray or (alpha is not None and entry.name in ("BMP", "GIF"))):
        pixels = pixels.repeat(3, axis=2)
    samples = pixels if alpha is None else np.dstack([pixels, alpha])
    if samples.dtype.name not in entry.depths:
        deepest = np.dtype(entry.depths[-1])
        notes.append(
            f"{entry.name} holds {8 * deepest.itemsize} bits: {_described(samples)} are reduced to them"
        )
        samples = _reduced(samples, deepest)
    return np.ascontiguousarray(samples), notes


def _described(samples: Samples) -> str:
    if samples.dtype != np.float32:
        return "16 bits"
    outside = ((samples < 0) | (samples > 1)).any()
    return "floating-point samples, cut off below 0 and above 1," if outside else "floating-point samples"


def _reduced(samples: Samples, dtype: np.dtype[Any]) -> Samples:
    """Fewer bits, rounded; row by row, since the numbers between take four times the memory."""
    result = np.empty(samples.shape, dtype)
    scale = white_of(result) / white_of(samples)
    for source, row in zip(samples, result, strict=True):
        np.rint(np.nan_to_num(source).clip(0, white_of(samples)) * scale, out=row, casting="unsafe")
    return result


def _divided(pixels: Samples, alpha: Samples) -> Samples:
    """Colours that were multiplied by alpha, divided by it."""
    share = alpha[..., None] / np.float32(white_of(alpha))
    colours = np.divide(pixels, share, out=np.zeros(pixels.shape, np.float32), where=share > 0)
    return _like(colours, pixels)


def on_white(pixels: Samples, alpha: Samples) -> Samples:
    """As it is seen on white paper."""
    white = white_of(pixels)
    share = alpha[..., None] / np.float32(white)
    mixed = pixels * share + white * (1 - share)
    return _like(mixed, pixels)


def _like(computed: Samples, pixels: Samples) -> Samples:
    """Computed samples in the type of the ones they came from."""
    if pixels.dtype == np.float32:
        return computed.astype(np.float32)
    return np.rint(computed).clip(0, white_of(pixels)).astype(pixels.dtype)


def _metadata(photo: Photo, entry: Format, samples: Samples, strip: bool) -> tuple[Metadata, list[str]]:
    """The metadata to write, and notes on what the format cannot hold."""
    notes = []
    kept, same_format = photo.metadata, photo.encoding.format == entry.name
    icc, cicp = kept.icc, kept.cicp
    if cicp and not icc and "CICP" not in entry.metadata and not cicp.ordinary and samples.shape[2] > 2:
        icc = profile_of(cicp)
        if icc and cicp.transfer in HDR_TRANSFERS:
            notes.append(
                f"its {HDR_TRANSFERS[cicp.transfer]} colours are told by a profile, which not every program shows as HDR"
            )
    if icc and not fits(icc, 1 if samples.shape[2] < 3 else 3):
        icc = None
        notes.append("the colour profile does not fit the pixels: it is left out")
    native = kept.native if same_format else ()
    if strip:
        colours = tuple(item for item in native if item[0] in COLOUR_CHUNKS)
        return Metadata(icc=icc, native=colours, cicp=cicp), notes
    told = {"CICP"} if icc else set()
    if lost := [kind for kind in kept.kinds() if kind not in {*entry.metadata, *told}]:
        notes.append(f"{entry.name} cannot hold {' and '.join(lost)}: left out")
    further = {name for name, body in kept.native if name not in COLOUR_CHUNKS or tells_colours(name, body)}
    if kept.icc or "sRGB" in dict(kept.native):
        further.discard("gAMA")
    if further and not same_format:
        notes.append(f"only {photo.encoding.format} can hold its {', '.join(sorted(further))}: left out")
    height, width = samples.shape[:2]
    exif, too_much = restored_exif(kept.exif, height, width, kept.dpi, entry.max_exif)
    if too_much:
        notes.append(f"{entry.name} holds at most {entry.max_exif} bytes of EXIF: {too_much} left out")
    metadata = replace(
        kept,
        icc=icc,
        exif=exif,
        xmp=kept.xmp and restored_xmp(kept.xmp),
        photoshop=kept.photoshop and without(kept.photoshop),
        native=native,
    )
    return metadata, notes
