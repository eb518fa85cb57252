"""The boxes that AVIF, HEIC and JPEG XL files are made of."""

import struct
from collections.abc import Sequence

from deblur_cli.photo._cicp import Cicp
from deblur_cli.photo._errors import CutShortError

_ESSENTIAL = (b"irot", b"imir")
"""Properties without which a picture may not be shown."""


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


def boxes(data: bytes, start: int = 0) -> list[tuple[bytes, bytes]]:
    """Name and content of each box from `start` on."""
    found = []
    while start < len(data):
        size, name = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, start + 8), 16
        end = start + size if size else len(data)
        found.append((name, data[start + head : end]))
        start = end
    return found


def box(name: bytes, content: bytes) -> bytes:
    """The same as bytes."""
    return struct.pack(">I4s", 8 + len(content), name) + content


def with_items(data: bytes, properties: Sequence[bytes], exif: bytes | None, xmp: bytes | None) -> bytes:
    """An AVIF file as libavif writes a still picture, with more properties (boxes) and metadata put in (ISO 14496-12, 23008-12).

    EXIF and XMP are items of their own that describe the first one, at the end of the file.
    """
    new: list[tuple[bytes, bytes, bytes]] = []
    if exif:
        new.append((b"Exif", b"Exif\0", bytes(4) + exif))  # the offset of the TIFF structure
    if xmp:
        new.append((b"mime", b"XMP\0application/rdf+xml\0", xmp))
    top = boxes(data)
    meta = dict(boxes(dict(top)[b"meta"], 4))
    places = _places(meta[b"iloc"])
    first, last = next(iter(places)), max(places)
    entries = boxes(meta[b"iinf"], 6)
    references = meta.get(b"iref", bytes(4))
    for number, (kind, name, _) in enumerate(new, last + 1):
        entries.append((b"infe", struct.pack(">IHH4s", 2 << 24, number, 0, kind) + name))
        references += box(b"cdsc", struct.pack(">HHH", number, 1, first))
    meta[b"iinf"] = struct.pack(">IH", 0, len(entries)) + b"".join(box(*entry) for entry in entries)
    if new:
        meta[b"iref"] = references
    for added in properties:
        meta[b"iprp"] = _with_property(meta[b"iprp"], first, added)

    def whole(offset: int, end: int) -> bytes:
        """The file, whose pictures lie so much further back than they did, and whose new items begin at `end`."""
        moved = {number: (place + offset, size) for number, (place, size) in places.items()}
        for number, (_, _, content) in enumerate(new, last + 1):
            moved[number] = (end, len(content))
            end += len(content)
        meta[b"iloc"] = struct.pack(">IBBH", 0, 0x44, 0, len(moved))
        for number, (place, size) in moved.items():
            meta[b"iloc"] += struct.pack(">HHHII", number, 0, 1, place, size)
        order = [name for name in (b"hdlr", b"pitm", b"iloc", b"iinf", b"iref", b"iprp") if name in meta]
        content = bytes(4) + b"".join(box(name, meta[name]) for name in order)
        rest = b"".join(box(name, content if name == b"meta" else body) for name, body in top)
        return rest + (box(b"mdat", b"".join(body for _, _, body in new)) if new else b"")

    size = len(whole(0, 0)) - sum(len(content) for _, _, content in new) - (8 if new else 0)
    return whole(size - len(data), size + 8)


def _places(iloc: bytes) -> dict[int, tuple[int, int]]:
    """Where each item lies, from the start of the file, and its size, as libavif writes that: version 0, one extent each."""
    version, sizes, count = struct.unpack_from(">IHH", iloc)
    if (version, sizes) != (0, 0x4400):
        raise ValueError("items are located otherwise than expected")
    records = (struct.unpack_from(">HHHII", iloc, 8 + 14 * i) for i in range(count))
    return {number: (place, size) for number, _, _, place, size in records}


def _with_property(iprp: bytes, item: int, added: bytes) -> bytes:
    """Properties with one more, which that item has."""
    parts = dict(boxes(iprp))
    index = len(boxes(parts[b"ipco"])) + 1
    if added[4:8] in _ESSENTIAL:
        index |= 0x80
    head, count = parts[b"ipma"][:8], struct.unpack_from(">I", parts[b"ipma"], 4)[0]
    at, associations = 8, b""
    for _ in range(count):
        number, of_item = struct.unpack_from(">HB", parts[b"ipma"], at)
        indices = parts[b"ipma"][at + 3 : at + 3 + of_item]
        at += 3 + of_item
        indices += bytes([index]) if number == item else b""
        associations += struct.pack(">HB", number, len(indices)) + indices
    return box(b"ipco", parts[b"ipco"] + added) + box(b"ipma", head + associations)


def colours_in(data: bytes) -> Cicp | None:
    """The colours of a file that tells them by numbers."""
    at = data.find(b"colrnclx")
    if at < 0 or at + 14 > len(data):
        return None
    return Cicp(*struct.unpack_from(">HHH", data, at + 8))
