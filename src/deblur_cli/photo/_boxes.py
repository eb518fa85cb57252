"""The boxes that AVIF, HEIC and JPEG XL files are made of."""

import struct

from deblur_cli.photo._errors import CutShortError


def check_boxes(data: bytes) -> None:
    """CutShortError if a box of the top level goes on after the end of the file."""
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise CutShortError
        (size,) = struct.unpack_from(">I", data, at)
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
        if size == 0:  # until the end
            return
        if size < 8:
            raise ValueError(f"a box of {size} bytes")
        at += size
    if at > len(data):
        raise CutShortError
