"""Captions that lie inside the pictures (CEA-608 and 708 in ATSC A/53's form), put back into encoded frames.

FFmpeg's decoders hand them over with each frame, and PyAV has no way to hand them to an encoder, so they are written into its packets:
where H.264 and HEVC keep such messages (SEI), and MPEG-2 its user data, before the picture's first slice.
"""

import re
from collections.abc import Callable

CODECS = ("h264", "hevc", "mpeg2video")
"""Those that have a place for captions which is known here."""
IS_SLICE: dict[str, Callable[[int], bool]] = {
    "h264": lambda head: 1 <= head & 31 <= 5,
    "hevc": lambda head: head >> 1 & 63 < 32,
    "mpeg2video": lambda head: 1 <= head <= 0xAF,
}
"""Whether a unit is a slice of a picture, by the byte after its start code."""
SEI = {"h264": b"\x06", "hevc": b"\x4e\x01"}
"""Heads of units that hold messages."""
REGISTERED = 4
"""The kind of message that somebody has registered by T.35."""
ATSC = b"\xb5\x00\x31"
"""A country (the USA) and who there (ATSC)."""
MOST = 31
"""Pairs of bytes that a picture can have; each is three bytes here, the first of which tells what it is."""


def with_captions(packet: bytes, captions: bytes, codec: str) -> bytes:
    """An encoded picture, in units with start codes, that has these captions, as FFmpeg gives them."""
    count = min(MOST, len(captions) // 3)
    data = b"GA94\x03" + bytes([0x40 | count, 0xFF]) + captions[: 3 * count] + b"\xff"
    if codec in SEI:
        data = ATSC + data
        message = bytes([REGISTERED, len(data)]) + data + b"\x80"
        unit = SEI[codec] + re.sub(b"\0\0(?=[\0-\3])", b"\0\0\3", message)
    else:
        unit = b"\xb2" + data
    for start in re.finditer(b"\0\0\1(.)", packet, re.DOTALL):
        if IS_SLICE[codec](start[1][0]):
            return packet[: start.start()] + b"\0\0\1" + unit + packet[start.start() :]
    return packet
