"""JPEG XL: pylibjxl (an extra) for metadata and writing, imagecodecs for pixels of any depth."""

import struct

from deblur_cli.photo._boxes import check_boxes
from deblur_cli.photo._errors import UnsupportedError, extra
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples

_CONTAINER = b"\0\0\0\x0cJXL "
_MAX_PIXELS = 200_000_000
"""pylibjxl gives metadata only with the pixels, so that this limit comes before the one that users can raise."""


def open_jxl(data: bytes) -> Opened:
    """The header of a JPEG XL file. Its turns and mirrorings are applied by libjxl, whatever EXIF says."""
    with extra("jxl"):
        import pylibjxl

    if data.startswith(_CONTAINER):
        check_boxes(data)
    facts = pylibjxl.probe(data)
    if facts["width"] * facts["height"] > _MAX_PIXELS:
        raise UnsupportedError(f"a JPEG XL file of {facts['width']}x{facts['height']} pixels")
    _, found = pylibjxl.decode(data, metadata=True)
    exif = found.get("exif", b"").removeprefix(b"Exif\0\0")
    notes = ("only the first frame is restored: the others are left out",) if facts["have_animation"] else ()

    def decode() -> Samples:
        import imagecodecs

        samples: Samples = imagecodecs.jpegxl_decode(data, index=0)
        return samples

    return Opened(
        facts["height"],
        facts["width"],
        ("gray" if facts["color_channels"] == 1 else "RGB") + " and alpha" * facts["has_alpha"],
        facts["bits_per_sample"],
        Encoding("JXL"),
        Metadata(found.get("icc"), exif or None, found.get("xmp")),
        decode,
        notes=notes,
    )


def encode_jxl(samples: Samples, metadata: Metadata, quality: int | None) -> bytes:
    """A JPEG XL file of uint8 RGB samples, with or without alpha; lossless unless a quality is given."""
    with extra("jxl"):
        import pylibjxl

    # libjxl's own rule from quality to distance, which is in units of what can just be seen.
    distance = 0.0 if quality is None else 0.1 + (100 - max(30, quality)) * 0.09
    encoded: bytes = pylibjxl.encode(samples, lossless=quality is None, distance=distance, icc=metadata.icc)
    if not encoded.startswith(_CONTAINER):
        encoded = _box(b"JXL ", b"\r\n\x87\n") + _box(b"ftyp", b"jxl \0\0\0\0jxl ") + _box(b"jxlc", encoded)
    # Put in here and not by pylibjxl, which packs them with Brotli: few readers unpack that.
    exif = _box(b"Exif", bytes(4) + metadata.exif) if metadata.exif else b""
    return encoded + exif + (_box(b"xml ", metadata.xmp) if metadata.xmp else b"")


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body
