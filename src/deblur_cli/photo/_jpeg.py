"""JPEG: Pillow for the pixels, its segments read and written here."""

import io
import re
from dataclasses import replace

import numpy as np

from deblur_cli.photo._errors import CutShortError
from deblur_cli.photo._exif import is_exif
from deblur_cli.photo._jpeg_more import (
    MPF,
    XMP_HEAD,
    behind,
    mpf_segment,
    packed,
    with_gain_map,
    xmp_of_gain_map,
)
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples

DEFAULT_QUALITY = 92
_SEGMENT_BYTES = 65533
_EXIF, _ICC, _PHOTOSHOP = b"Exif\0\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_VIDEO = re.compile(rb"(MotionPhoto|MicroVideo)(\s*=\s*[\"']|>)1")
_SAMSUNG_VIDEO = b"MotionPhoto_Data"
"""Names the video in Samsung's trailer, whose offsets count from its own end; older photos say it nowhere else."""
_STANDARD_LUMINANCE_SUM = 3688
"""Of the 64 steps of the JPEG standard's luminance table, which is quality 50."""
_PIXELS_PER_BYTE = 1024
"""More than the entropy coding of any JPEG reaches: one bit for each 8x8 block makes 512."""


def open_jpeg(data: bytes) -> Opened:
    """The header of a JPEG file; CMYK and YCCK files come as CMYK."""
    from PIL import JpegImagePlugin

    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if image.width * image.height > len(data) * _PIXELS_PER_BYTE:
        raise CutShortError
    segments: list[tuple[str, bytes]] = image.applist
    more = behind(data)
    notes = []
    if more.others:
        notes.append("the file holds more pictures (previews, a depth map): they are left out")
    is_motion_photo = _SAMSUNG_VIDEO in more.rest or any(
        name == "APP1" and _VIDEO.search(body) for name, body in segments
    )
    tables = tuple(tuple(table) for _, table in sorted(image.quantization.items()))
    subsampling = max(0, JpegImagePlugin.get_sampling(image))
    encoding = Encoding("JPEG", False, tables, subsampling, "progressive" in image.info)

    def decode() -> Samples:
        image.load()
        return np.asarray(image)

    mode = {"L": "gray", "RGB": "RGB", "CMYK": "CMYK"}[image.mode]
    per_inch = {1: 1.0, 2: 2.54}.get(image.info.get("jfif_unit", 0), 0)
    x, y = image.info.get("jfif_density", (0, 0))
    metadata = _metadata(segments, (x * per_inch, y * per_inch) if x and y and per_inch else None)
    metadata = replace(
        metadata, gain_map=more.gain_map, video=more.rest if is_motion_photo and more.rest else None
    )
    return Opened(image.height, image.width, mode, 8, encoding, metadata, decode, notes=tuple(notes))


def _metadata(segments: list[tuple[str, bytes]], dpi: tuple[float, float] | None) -> Metadata:
    exif = xmp = None
    icc, photoshop, comments, native = [], b"", [], []
    for name, body in segments:
        if name == "APP1" and body.startswith(_EXIF):
            if exif is None or not is_exif(exif):  # some cameras put an empty one first
                exif = body[len(_EXIF) :]
        elif name == "APP1" and body.startswith(XMP_HEAD):
            xmp = xmp or body[len(XMP_HEAD) :]
        elif name == "APP2" and body.startswith(_ICC):
            icc.append(body[len(_ICC) :])
        elif name == "APP13" and body.startswith(_PHOTOSHOP):
            photoshop += body[len(_PHOTOSHOP) :]
        elif name == "COM":
            comments.append(body)
        elif name not in ("APP0", "APP14") and not body.startswith(MPF):  # those are about the pixels
            native.append((name, body))
    profile = b"".join(part[2:] for part in sorted(icc, key=lambda part: part[:1]))
    return Metadata(
        profile or None, exif, xmp, photoshop or None, b"\n".join(comments) or None, dpi, tuple(native)
    )


def quality_of(tables: tuple[tuple[int, ...], ...]) -> int:
    """The quality, 50 to 100, whose tables are most like these, by the scale the reference encoder uses."""
    if not tables:
        return DEFAULT_QUALITY
    if max(tables[0]) == 1:  # a step cannot be less, whatever the scale
        return 100
    scale = 100 * sum(tables[0]) / _STANDARD_LUMINANCE_SUM
    return round(min(100, max(50, 100 - scale / 2)))


def encode_jpeg(
    samples: Samples, encoding: Encoding, metadata: Metadata, quality: int | None
) -> tuple[bytes, list[str]]:
    """A JPEG file of uint8 gray or RGB samples, with the gain map and the video of its metadata behind it, and notes on what did not fit.

    Unless told a quality: the input's own tables if they are finer than quality 92, else 92.
    """
    from PIL import Image

    notes: list[str] = []
    options: dict[str, object] = {"quality": quality or DEFAULT_QUALITY}
    if quality is None and encoding.jpeg_tables and quality_of(encoding.jpeg_tables) > DEFAULT_QUALITY:
        options = {"qtables": [list(table) for table in encoding.jpeg_tables]}
    if metadata.dpi and max(metadata.dpi) < 1 << 16:
        options["dpi"] = metadata.dpi
    image = Image.fromarray(samples.squeeze(2) if samples.shape[2] == 1 else samples)
    file = io.BytesIO()
    image.save(
        file,
        "JPEG",
        subsampling=encoding.subsampling,
        progressive=encoding.progressive,
        extra=_segments(metadata, notes),
        **options,
    )
    data = file.getvalue()
    if metadata.gain_map:
        data = with_gain_map(data, metadata.gain_map)
    return data + (metadata.video or b""), notes


def _segments(metadata: Metadata, notes: list[str]) -> bytes:
    segments: list[tuple[str, bytes]] = []
    if metadata.exif:
        segments.append(("APP1", _EXIF + metadata.exif))
    xmp = metadata.xmp
    if metadata.gain_map:
        xmp = xmp_of_gain_map(xmp, metadata.gain_map)
    for kind, name, head, body in (
        ("XMP", "APP1", XMP_HEAD, xmp),
        ("comment", "COM", b"", metadata.comment),
    ):
        if body and len(head + body) > _SEGMENT_BYTES:
            notes.append(f"the {kind} is left out: JPEG holds at most 64 KB of it")
        elif body:
            segments.append((name, head + body))
    segments += [("APP13", _PHOTOSHOP + part) for part in _parts(metadata.photoshop, _PHOTOSHOP)]
    icc = _parts(metadata.icc, _ICC + b"12")
    segments += [("APP2", _ICC + bytes((i, len(icc))) + part) for i, part in enumerate(icc, 1)]
    segments += metadata.native
    if metadata.gain_map:
        segments.append(("APP2", mpf_segment()))
    return packed(segments)


def _parts(block: bytes | None, head: bytes) -> list[bytes]:
    size = _SEGMENT_BYTES - len(head)
    return [block[at : at + size] for at in range(0, len(block), size)] if block else []
