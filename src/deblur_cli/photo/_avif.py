"""AVIF: Pillow for the header, imagecodecs for pixels of more than 8 bits and for writing, metadata put in here."""

import io
import re

import numpy as np

from deblur_cli.photo._boxes import box, check_boxes, colours_in, with_items
from deblur_cli.photo._cicp import RGB, SRGB, Cicp
from deblur_cli.photo._exif import without_orientation
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples, white_of

DEFAULT_QUALITY = 92
SPEED = 9
"""Of libavif's 0 to 10: 12 megapixels in 2 to 5 s on a core, where 6 takes 20 to 40 for 7 % fewer bytes."""
_HIGH_BIT_DEPTH, _TWELVE_BITS = 0x40, 0x20
_TONE_MAPPED = re.compile(rb"infe.{8}tmap", re.DOTALL)
"""An item that is the photo with its gain map (ISO 21496-1)."""


def open_avif(data: bytes) -> Opened:
    """The header of an AVIF file. Pillow puts its turns and mirrorings into EXIF, as an orientation."""
    from PIL import AvifImagePlugin

    check_boxes(data)
    image = AvifImagePlugin.AvifImageFile(io.BytesIO(data))
    exif = image.info.get("exif", b"").removeprefix(b"Exif\0\0") or None
    notes = []
    if image.n_frames > 1:
        notes.append(f"only the first of {image.n_frames} frames is restored: the others are left out")
    config = data.find(b"av1C")
    flags = data[config + 6] if 0 <= config < len(data) - 6 else 0
    bits = (12 if flags & _TWELVE_BITS else 10) if flags & _HIGH_BIT_DEPTH else 8
    if bits > 8 and b"pitm" not in data:  # a film and no still picture, of which Pillow gives 8 bits
        notes.append(f"{bits} bits are reduced to 8")
        bits = 8
    if _TONE_MAPPED.search(data):
        notes.append("the gain map is left out")

    def decode() -> Samples:
        samples = pixels()
        opaque = (
            samples.ndim == 3 and samples.shape[2] in (2, 4) and (samples[..., -1] == white_of(samples)).all()
        )
        return (
            samples[..., :-1] if opaque and image.n_frames > 1 else samples
        )  # every sequence is given an alpha

    def pixels() -> Samples:
        if bits == 8:
            return np.asarray(image)
        import imagecodecs

        top = (1 << bits) - 1
        samples = imagecodecs.avif_decode(_as_still(data), index=0).astype(np.uint32)
        if samples.ndim == 3:
            samples = samples[..., : len(image.getbands())]
        return ((samples * 65535 + top // 2) // top).astype(np.uint16)

    mode = {"L": "gray", "LA": "gray and alpha", "RGB": "RGB", "RGBA": "RGB and alpha"}[image.mode]
    cicp = colours_in(data)
    metadata = Metadata(image.info.get("icc_profile"), exif, image.info.get("xmp"), cicp=cicp)
    encoding = Encoding("AVIF", lossless=cicp is not None and cicp.matrix == RGB, bits=bits)
    return Opened(image.height, image.width, mode, bits, encoding, metadata, decode, notes=tuple(notes))


def _as_still(data: bytes) -> bytes:
    """The file as one that holds a still picture only, which most sequences do too: decoding sequences of more than 8 bits crashes imagecodecs 2026.3.6."""
    size = int.from_bytes(data[:4], "big")
    return data[:8] + data[8:size].replace(b"avis", b"avif").replace(b"msf1", b"mif1") + data[size:]


def encode_avif(samples: Samples, encoding: Encoding, metadata: Metadata, quality: int | None) -> bytes:
    """An AVIF file of uint8 or uint16 samples, the latter of 12 bits, or 10 if the input had them; alpha is lossless, and so are colours if they were kept as RGB."""
    import imagecodecs

    bits = 8
    if samples.dtype == np.uint16:
        bits = 10 if encoding.bits == 10 else 12
        top = (1 << bits) - 1
        samples = ((samples.astype(np.uint32) * top + 32767) // 65535).astype(np.uint16)
    colours = metadata.cicp or (Cicp(2, 2, 6) if metadata.icc else SRGB)
    gray = samples.shape[2] < 3
    exact = encoding.format == "AVIF" and encoding.lossless and not quality and not gray
    data = imagecodecs.avif_encode(
        samples,
        level=100 if exact else quality or DEFAULT_QUALITY,
        speed=SPEED,
        bitspersample=bits,
        pixelformat="400" if gray else "444",
        primaries=colours.primaries,
        transfer=colours.transfer,
        matrix=RGB if exact else colours.ycbcr,
    )
    exif = metadata.exif and without_orientation(metadata.exif)
    profile = [box(b"colr", b"prof" + metadata.icc)] if metadata.icc else []
    return with_items(bytes(data), profile, exif, metadata.xmp)
