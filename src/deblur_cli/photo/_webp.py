"""WebP: imagecodecs reads the pixels, Pillow writes them, the RIFF chunks are read here."""

import io
import struct
from collections.abc import Iterator

from deblur_cli.photo._errors import CutShortError
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples

DEFAULT_QUALITY = 92


def open_webp(data: bytes) -> Opened:
    """The header of a WebP file."""
    chunks = list(_chunks(data))
    found = dict(reversed(chunks))  # the first of each name
    frames = sum(name == "ANMF" for name, _ in chunks)
    if frames:  # a frame is a header of 16 bytes and chunks of its own
        found |= dict(reversed(list(_chunks(data, found["ANMF"][16:]))))
    height, width, alpha = _size(found)
    metadata = Metadata(
        icc=found.get("ICCP"),
        exif=found.get("EXIF", b"").removeprefix(b"Exif\0\0") or None,
        xmp=found.get("XMP "),
    )
    notes = (f"only the first of {frames} frames is restored: the others are left out",) if frames > 1 else ()

    def decode() -> Samples:
        import imagecodecs

        return imagecodecs.webp_decode(data, index=0)

    mode = "RGB and alpha" if alpha else "RGB"
    return Opened(height, width, mode, 8, Encoding("WebP", "VP8L" in found), metadata, decode, notes=notes)


def _chunks(data: bytes, inside: bytes | None = None) -> Iterator[tuple[str, bytes]]:
    """Name and body of each chunk of a file, or of those in a chunk."""
    if inside is None:
        size = struct.unpack_from("<I", data, 4)[0]
        if size + 8 > len(data):
            raise CutShortError
        inside = data[12 : size + 8]
    at = 0
    while at + 8 <= len(inside):
        name, size = struct.unpack_from("<4sI", inside, at)
        if at + 8 + size > len(inside):
            raise CutShortError
        yield name.decode("latin-1"), inside[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _size(chunks: dict[str, bytes]) -> tuple[int, int, bool]:
    """Height, width, and whether there is alpha, by whichever header there is."""
    if "VP8X" in chunks:
        flags, width, height = struct.unpack_from("<B3x3s3s", chunks["VP8X"])
        return int.from_bytes(height, "little") + 1, int.from_bytes(width, "little") + 1, bool(flags & 0x10)
    if "VP8L" in chunks:
        bits = struct.unpack_from("<xI", chunks["VP8L"])[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1, bool(bits >> 28 & 1)
    width, height = struct.unpack_from("<6xHH", chunks["VP8 "])
    return height & 0x3FFF, width & 0x3FFF, False


def encode_webp(samples: Samples, encoding: Encoding, metadata: Metadata, quality: int | None) -> bytes:
    """A WebP file of uint8 RGB samples, with or without alpha; lossless if the input was and no quality is given."""
    from PIL import Image

    lossless = encoding.lossless and quality is None
    file = io.BytesIO()
    Image.fromarray(samples).save(
        file,
        "WEBP",
        lossless=lossless,
        exact=True,  # the colour under transparent pixels is the photo's, too
        quality=75 if lossless else quality or DEFAULT_QUALITY,  # if lossless, this is effort
        icc_profile=metadata.icc,
        exif=metadata.exif or b"",
        xmp=metadata.xmp or b"",
    )
    return file.getvalue()
