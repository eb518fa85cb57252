"""JPEG XL: pylibjxl (an extra) for profiles and lossy writing, imagecodecs for pixels of any depth, colours and metadata put in here."""

import numpy as np

from deblur_cli.photo._boxes import box, boxes, check_boxes
from deblur_cli.photo._cicp import HDR_TRANSFERS, SRGB, profile_of
from deblur_cli.photo._colour import srgb_of
from deblur_cli.photo._errors import UnsupportedError, extra
from deblur_cli.photo._jxl_header import can_tell, deepened, head_of, with_colours
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples, white_of

_CONTAINER = b"\0\0\0\x0cJXL "
_PICTURE, _PART = b"jxlc", b"jxlp"
_MAX_PIXELS = 200_000_000
"""pylibjxl gives metadata only with the pixels, so that this limit comes before the one that users can raise."""
_EFFORT = 3
"""Of libjxl's 1 to 9, for lossless files: 0.4 s a megapixel on a core, where its own 7 takes 2.5 to 3 for 3 to 14 % fewer bytes."""


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
    notes = ["only the first frame is restored: the others are left out"] if facts["have_animation"] else []
    bits, real = facts["bits_per_sample"], facts["exponent_bits_per_sample"]
    codestream, icc = _codestream(data), found.get("icc")
    head = head_of(codestream)
    linear = bool(icc) and head.xyb
    if linear:  # libjxl computes with no profiles and gives linear sRGB, of which 8 bits would be too few
        icc, codestream = None, deepened(codestream, head)
        notes.append("colours are converted to sRGB: those outside of it are cut off")

    def decode() -> Samples:
        import imagecodecs

        samples: Samples = imagecodecs.jpegxl_decode(codestream, index=0)
        if real:
            samples = samples.astype(np.float32, copy=False)
        else:
            samples = _full_range(samples, 12 if linear and bits in (8, 10) else bits)
        return _curved(samples, bits) if linear else samples

    return Opened(
        facts["height"],
        facts["width"],
        ("gray" if facts["color_channels"] == 1 else "RGB") + " and alpha" * facts["has_alpha"],
        bits,
        Encoding("JXL", premultiplied=head.premultiplied, bits=bits),
        Metadata(icc or head.icc, exif or None, found.get("xmp"), cicp=head.cicp),
        decode,
        notes=tuple(notes),
    )


def _full_range(samples: Samples, bits: int) -> Samples:
    """Samples of so few bits spread over all of their type."""
    top, white = (1 << bits) - 1, white_of(samples)
    return (
        samples
        if top == white
        else ((samples.astype(np.uint32) * white + top // 2) // top).astype(samples.dtype)
    )


def _curved(linear: Samples, bits: int) -> Samples:
    """Linear samples by sRGB's curve, alpha as it is; 8 bits if that is what the file says."""
    colours = linear.shape[2] - 1 if linear.ndim == 3 and linear.shape[2] in (2, 4) else None
    white, dtype = white_of(linear), np.uint8 if bits == 8 else linear.dtype
    shares = linear / np.float32(white)
    shares[..., :colours] = srgb_of(shares[..., :colours])
    curved: Samples = (
        shares if linear.dtype == np.float32 else np.rint(shares * np.iinfo(dtype).max).astype(dtype)
    )
    return curved


def encode_jxl(
    samples: Samples, encoding: Encoding, metadata: Metadata, quality: int | None
) -> tuple[bytes, list[str]]:
    """A JPEG XL file, and what it cannot tell; lossless unless a quality is given, which is for uint8 RGB samples only."""
    notes = []
    cicp = metadata.cicp or SRGB
    icc = None if cicp.transfer in HDR_TRANSFERS else metadata.icc  # it holds one or the other
    if not icc and not can_tell(cicp):
        notes.append(
            f"JXL cannot tell of colours by the numbers {cicp.primaries} and {cicp.transfer}: left out"
        )
        cicp = SRGB
    if quality is None:
        encoded = _lossless(samples, encoding.bits)
        top = boxes(encoded) if encoded.startswith(_CONTAINER) else []
        level = b"".join(box(*entry) for entry in top if entry[0] == b"jxll")
        picture = with_colours(_codestream(encoded), cicp, icc)
    else:
        with extra("jxl"):
            import pylibjxl

        # libjxl's own rule from quality to distance, which is in units of what can just be seen.
        distance = 0.1 + (100 - max(30, quality)) * 0.09
        icc = icc or (None if cicp.ordinary else profile_of(cicp))
        level, picture = b"", _codestream(pylibjxl.encode(samples, distance=distance, icc=icc))
    exif = box(b"Exif", bytes(4) + metadata.exif) if metadata.exif else b""
    xmp = box(b"xml ", metadata.xmp) if metadata.xmp else b""
    kind = box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    # The boxes of metadata are put in here and not by pylibjxl, which packs them with Brotli: few readers unpack that.
    return kind + level + box(_PICTURE, picture) + exif + xmp, notes


def _lossless(samples: Samples, bits: int | None) -> bytes:
    """By libjxl, with colours that are its own idea; uint16 samples of 10 or 12 bits if that is what the input had."""
    import imagecodecs

    depth = None
    if samples.dtype == np.uint16 and bits in (10, 12):
        depth, top = bits, (1 << bits) - 1
        samples = ((samples.astype(np.uint32) * top + 32767) // 65535).astype(np.uint16)
    if samples.shape[2] == 1:
        samples = samples[..., 0]
    return bytes(imagecodecs.jpegxl_encode(samples, lossless=True, effort=_EFFORT, bitspersample=depth))


def _codestream(data: bytes) -> bytes:
    """What is in the container, if there is one."""
    if not data.startswith(_CONTAINER):
        return data
    parts = [(name, body) for name, body in boxes(data) if name in (_PICTURE, _PART)]
    return b"".join(body if name == _PICTURE else body[4:] for name, body in parts)
