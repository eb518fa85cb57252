"""Photoshop's image resources, the container that IPTC travels in."""

import struct
from collections.abc import Iterator

IPTC = 0x0404
_THUMBNAILS = (0x0409, 0x040C)


def _resources(block: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(number, data, the whole resource) of each; stops where the block is damaged."""
    at = 0
    while block[at : at + 4] == b"8BIM" and at + 12 <= len(block):
        number = struct.unpack_from(">H", block, at + 4)[0]
        start = at + 6 + (block[at + 6] + 2) // 2 * 2  # the name: a length byte, padded to even
        if start + 4 > len(block):
            return
        size = struct.unpack_from(">I", block, start)[0]
        end = start + 4 + size + size % 2
        if start + 4 + size > len(block):
            return
        yield number, block[start + 4 : start + 4 + size], block[at:end].ljust(end - at, b"\0")
        at = end


def iptc_of(block: bytes) -> bytes | None:
    """The IPTC records in a block of resources."""
    return next((data for number, data, _ in _resources(block) if number == IPTC), None)


def wrapped(iptc: bytes) -> bytes:
    """A block with nothing but these IPTC records."""
    return b"8BIM" + struct.pack(">HHI", IPTC, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)


def without(block: bytes, *numbers: int) -> bytes:
    """The block less its thumbnails and these resources."""
    dropped = (*_THUMBNAILS, *numbers)
    return b"".join(whole for number, _, whole in _resources(block) if number not in dropped)
