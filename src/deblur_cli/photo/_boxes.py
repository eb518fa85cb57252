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


_ORDINARY_PRIMARIES, _ORDINARY_TRANSFERS = (1, 2, 5, 6), (1, 2, 6, 13)


def note_on_colours(data: bytes) -> tuple[str, ...]:
    """What to say of a file whose colours are told by numbers (CICP) and not by a profile, if they are unusual.

    What we write has no such numbers: ordinary colours need none, for HDR and wide gamuts it matters.
    """
    at = data.find(b"colrnclx")
    if at < 0 or at + 14 > len(data):
        return ()
    primaries, transfer = struct.unpack_from(">HH", data, at + 8)
    if primaries in _ORDINARY_PRIMARIES and transfer in _ORDINARY_TRANSFERS:
        return ()
    return (f"its colours are of the kind CICP {primaries}/{transfer}, which the result does not say",)
