"""PNG: libpng (through imagecodecs) for the pixels, its chunks read and written here.

Pillow would cut 16-bit colour to 8 bits, and drop gamma and chromaticities.
"""

import struct
import zlib
from collections.abc import Iterator

from deblur_cli.photo import _photoshop
from deblur_cli.photo._cicp import Cicp
from deblur_cli.photo._errors import CutShortError
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MODES = {0: ("gray", 1), 2: ("RGB", 3), 3: ("palette", 1), 4: ("gray and alpha", 2), 6: ("RGB and alpha", 4)}
_SRGB_GAMMA = struct.pack(">I", 45455)
COLOUR_CHUNKS = ("cHRM", "gAMA", "sRGB", "mDCV", "cLLI")
_TEXT_CHUNKS = ("tEXt", "zTXt", "iTXt")
_XMP = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "
_RAW_IPTC = _RAW_PROFILE + b"iptc"
_MAX_INFLATED_BYTES = 1 << 26
_MAX_DEFLATE_RATIO = 1032
_INCHES_PER_METRE = 1 / 0.0254


def open_png(data: bytes) -> Opened:
    """The header of a PNG file. Low bit depths and palettes are expanded by the decoder."""
    chunks = list(_chunks(data))
    width, height, bits, colour, *_ = struct.unpack(">IIBBBBB", dict(chunks)["IHDR"])
    mode, channels = _MODES[colour]
    names = [name for name, _ in chunks]
    packed_bytes = sum(len(body) for name, body in chunks if name == "IDAT")
    if height * (width * bits * channels // 8) > packed_bytes * _MAX_DEFLATE_RATIO:
        raise CutShortError
    if "tRNS" in names:
        mode += " and alpha"
    notes = []
    if "acTL" in names:
        frames = struct.unpack_from(">I", dict(chunks)["acTL"])[0]
        if frames > 1:
            notes.append(f"only the first of {frames} frames is restored: the others are left out")

    def decode() -> Samples:
        import imagecodecs

        return imagecodecs.png_decode(data)

    return Opened(height, width, mode, bits, Encoding("PNG"), _metadata(chunks), decode, notes=tuple(notes))


def _chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Each chunk's name and body."""
    at = len(_SIGNATURE)
    while at < len(data):
        if at + 12 > len(data):
            raise CutShortError
        size, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > len(data):
            raise CutShortError
        yield name.decode("latin-1"), data[at + 8 : at + 8 + size]
        if name == b"IEND":
            return
        at += 12 + size
    raise CutShortError


def _inflated(packed: bytes) -> bytes:
    return zlib.decompressobj().decompress(packed, _MAX_INFLATED_BYTES)


def _metadata(chunks: list[tuple[str, bytes]]) -> Metadata:
    found: dict[str, bytes] = {}
    native, dpi, cicp = [], None, None
    for name, body in chunks:
        if name == "iCCP":
            found["icc"] = _inflated(body.partition(b"\0")[2][1:])
        elif name == "eXIf":
            found["exif"] = body.removeprefix(b"Exif\0\0")
        elif name == "pHYs":
            x, y, unit = struct.unpack(">IIB", body)
            dpi = (x / _INCHES_PER_METRE, y / _INCHES_PER_METRE) if unit == 1 and x and y else None
        elif name in _TEXT_CHUNKS:
            keyword, value = _text(name, body)
            if keyword == _XMP:
                found["xmp"] = value
            elif keyword.startswith(_RAW_PROFILE):
                kind, block = _profile(keyword.removeprefix(_RAW_PROFILE), _unhexed(value))
                found.setdefault(kind, block)
            elif keyword == b"Comment":
                found["comment"] = value
            elif keyword != b"Software":  # that is ours to say
                native.append((name, body))
        elif name == "cICP":
            cicp = Cicp(*body[:3])
        elif name in COLOUR_CHUNKS:
            native.append((name, body))
    blocks = {kind: block for kind, block in found.items() if block}
    return Metadata(**blocks, dpi=dpi, native=tuple(native), cicp=cicp)


def tells_colours(name: str, body: bytes) -> bool:
    """Whether a chunk says that the pixels are other than sRGB, which a file without it would be taken for."""
    return name == "gAMA" and body != _SRGB_GAMMA


def _text(name: str, body: bytes) -> tuple[bytes, bytes]:
    """Keyword and text of a text chunk, unpacked."""
    keyword, _, rest = body.partition(b"\0")
    if name == "tEXt":
        return keyword, rest
    if name == "zTXt":
        return keyword, _inflated(rest[1:])
    *_, text = rest[2:].split(b"\0", 2)
    return keyword, _inflated(text) if rest[:1] == b"\1" else text


def _unhexed(text: bytes) -> bytes:
    """The bytes in ImageMagick's "raw profile": a name, a length, and hexadecimal digits."""
    _, _, digits = text.strip().partition(b"\n")
    _, _, digits = digits.strip().partition(b"\n")
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def _profile(name: bytes, block: bytes) -> tuple[str, bytes]:
    """Which of our kinds a raw profile of this name is; IPTC comes with and without Photoshop's wrapping."""
    if name in (b"iptc", b"8bim"):
        return "photoshop", block if block.startswith(b"8BIM") or not block else _photoshop.wrapped(block)
    if name == b"xmp":
        return "xmp", block
    return "exif", block.removeprefix(b"Exif\0\0")  # "exif", or the name of the JPEG segment: "APP1"


def encode_png(samples: Samples, metadata: Metadata) -> bytes:
    """A PNG file of uint8 or uint16 samples."""
    import imagecodecs

    data = imagecodecs.png_encode(samples.squeeze(2) if samples.shape[2] == 1 else samples)
    header_end = len(_SIGNATURE) + 25
    chunks = b"".join(_packed(name, body) for name, body in _ancillary(metadata))
    return b"".join((data[:header_end], chunks, data[header_end:]))


def _packed(name: str, body: bytes) -> bytes:
    tagged = name.encode("latin-1") + body
    return struct.pack(">I", len(body)) + tagged + struct.pack(">I", zlib.crc32(tagged))


def _ancillary(metadata: Metadata) -> Iterator[tuple[str, bytes]]:
    if metadata.cicp:
        yield "cICP", bytes((metadata.cicp.primaries, metadata.cicp.transfer, 0, 1))
    yield from (chunk for chunk in metadata.native if chunk[0] in COLOUR_CHUNKS)
    if metadata.icc:
        yield "iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)
    if metadata.dpi:
        x, y = (round(value * _INCHES_PER_METRE) for value in metadata.dpi)
        yield "pHYs", struct.pack(">IIB", x, y, 1)
    if metadata.exif:
        yield "eXIf", metadata.exif
    if metadata.xmp:
        yield "iTXt", _XMP + bytes(5) + metadata.xmp
    if metadata.photoshop:
        text = b"\niptc\n%8d\n%s\n" % (len(metadata.photoshop), metadata.photoshop.hex().encode())
        yield "zTXt", _RAW_IPTC + b"\0\0" + zlib.compress(text)
    if metadata.comment:
        yield _comment(metadata.comment)
    yield from (chunk for chunk in metadata.native if chunk[0] in _TEXT_CHUNKS)


def _comment(comment: bytes) -> tuple[str, bytes]:
    """tEXt is Latin-1, iTXt is UTF-8: bytes that are ASCII or no UTF-8 stay what they are in the former."""
    try:
        if not comment.isascii() and comment.decode():
            return "iTXt", b"Comment" + bytes(5) + comment
    except UnicodeDecodeError:
        pass
    return "tEXt", b"Comment\0" + comment.replace(b"\0", b"")
