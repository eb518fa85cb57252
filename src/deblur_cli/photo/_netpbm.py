"""PPM, PGM and PBM: so simple that no library is needed, and Pillow would cut 16-bit colour to 8 bits."""

import re

import numpy as np

from deblur_cli.photo._errors import CutShortError
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples

_SPACE = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P([1-6])" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})")
_MAXIMUM = re.compile(_SPACE + rb"(\d{1,5})\s")
_COMMENT = re.compile(rb"#[ \t]?([^\n]*)\n")
_BITMAPS, _PIXMAPS, _PLAIN = (1, 4), (3, 6), (1, 2, 3)


def open_netpbm(data: bytes) -> Opened:
    """The header of a PBM, PGM or PPM file, plain or raw."""
    header = _HEADER.match(data)
    if not header:
        raise CutShortError
    kind, width, height = (int(group) for group in header.groups())
    end, maximum = header.end() + 1, 1
    if kind not in _BITMAPS:
        bound = _MAXIMUM.match(data, header.end())
        if not bound:
            raise CutShortError
        end, maximum = bound.end(), int(bound[1])
        if not 0 < maximum < 1 << 16:
            raise ValueError(f"a largest value of {maximum}")
    channels = 3 if kind in _PIXMAPS else 1
    row_bytes = (
        -(-width // 8) if kind == 4 else width * channels * (1 if kind in _PLAIN or maximum < 256 else 2)
    )
    if height * row_bytes > len(data) - end:
        raise CutShortError

    more = kind not in _PLAIN and data[end + height * row_bytes :].lstrip()[:1] == b"P"
    notes = ("only the first picture is restored: the others are left out",) if more else ()

    def decode() -> Samples:
        if kind in _PLAIN:
            samples = _plain_numbers(data[end:], kind in _BITMAPS, height * width * channels)
        elif kind == 4:
            rows = np.frombuffer(data, np.uint8, height * row_bytes, end).reshape(height, row_bytes)
            samples = np.unpackbits(rows, axis=1, count=width)
        else:
            dtype = np.uint8 if maximum < 256 else np.dtype(">u2")
            samples = np.frombuffer(data, dtype, height * width * channels, end)
        if kind in _BITMAPS:
            samples = 1 - samples  # 1 is black
        return _to_full_range(samples.reshape(height, width, channels), maximum)

    comment = b"\n".join(_COMMENT.findall(data[:end]))
    mode = "RGB" if kind in _PIXMAPS else "gray"
    metadata = Metadata(comment=comment or None)
    return Opened(height, width, mode, maximum.bit_length(), Encoding("PPM"), metadata, decode, notes=notes)


def _plain_numbers(text: bytes, digits: bool, count: int) -> Samples:
    text = re.sub(rb"#[^\n]*", b"", text)
    if digits:  # of a plain bitmap need no space between them
        text = b" ".join(re.findall(rb"[01]", text))
    numbers = np.array(text.split()[:count], dtype=np.uint16)
    if len(numbers) < count:
        raise CutShortError
    return numbers


def _to_full_range(samples: Samples, maximum: int) -> Samples:
    """0..maximum spread over uint8 or uint16, whichever holds it."""
    white, dtype = (255, np.uint8) if maximum < 256 else (65535, np.uint16)
    if maximum == white:
        return samples.astype(dtype)
    samples = np.minimum(samples, maximum).astype(np.uint32)
    return ((samples * white + maximum // 2) // maximum).astype(dtype)


def encode_netpbm(samples: Samples, metadata: Metadata) -> bytes:
    """A raw PGM (gray) or PPM (RGB) file of uint8 or uint16 samples."""
    height, width, channels = samples.shape
    kind, maximum = (b"P6" if channels == 3 else b"P5"), np.iinfo(samples.dtype).max
    comment = b"".join(b"# %s\n" % line for line in (metadata.comment or b"").splitlines())
    header = b"%s\n%s%d %d\n%d\n" % (kind, comment, width, height, maximum)
    return header + samples.astype(">u2" if maximum > 255 else np.uint8).tobytes()
