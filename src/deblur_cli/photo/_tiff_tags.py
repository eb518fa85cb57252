"""Tags of a TIFF structure, which is what a TIFF file and an EXIF block are: reading, collecting, replacing.

Values stay the bytes they are. Replacing appends and never moves what is there, because a camera's maker
note points into its EXIF block by absolute offsets that only the camera's maker understands.
"""

import struct
from dataclasses import dataclass, replace
from typing import Self

from deblur_cli.photo._errors import CutShortError

IMAGE_WIDTH, IMAGE_LENGTH = 0x0100, 0x0101
NEW_SUBFILE_TYPE = 0x00FE
IMAGE_DESCRIPTION = 0x010E
ORIENTATION = 0x0112
SOFTWARE = 0x0131
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
XMP, IPTC, PHOTOSHOP, ICC = 0x02BC, 0x83BB, 0x8649, 0x8773
SUB_IFDS = 0x014A
EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD = 0x8769, 0x8825, 0xA005
PIXEL_X_DIMENSION, PIXEL_Y_DIMENSION = 0xA002, 0xA003
MAKER_NOTE = 0x927C
THUMBNAIL_OFFSET, THUMBNAIL_LENGTH = 0x0201, 0x0202
_PLACES = (0x0111, 0x0117), (0x0144, 0x0145), (THUMBNAIL_OFFSET, THUMBNAIL_LENGTH)
"""Offsets and lengths of strips, of tiles, and of a JPEG."""
_MAX_IFDS = 1000

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, IFD8 = 1, 2, 3, 4, 5, 7, 18
_VALUE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}

_LAYOUT_RANGES = (
    (0x00FE, 0x0103),  # what kind of picture, its size, bits, compression
    (0x0106, 0x010A),  # photometric interpretation, threshholding, fill order
    (0x0111, 0x0111),  # strips
    (0x0115, 0x0119),  # samples, rows, strips
    (0x011C, 0x011C),  # planes
    (0x0120, 0x0125),  # free space, gray response, fax options
    (0x013D, 0x013D),  # predictor
    (0x0140, 0x014A),  # palette, tiles, fax options, children
    (0x0152, 0x015B),  # extra samples, sample formats, JPEG tables
    (0x0200, 0x0212),  # old JPEG, YCbCr
    (0x0214, 0x0214),  # reference black and white
)
LAYOUT = frozenset(tag for first, last in _LAYOUT_RANGES for tag in range(first, last + 1))
"""The tags of a TIFF file that say how its pixels lie: of no meaning in any other file."""


ABOUT_OTHER_PIXELS = frozenset((0x828D, 0x828E, 0x935C, 0xC44F, *range(0xC612, 0xC800)))
"""Tags of a camera's raw data, of Photoshop's layers and of notes on them: the restored picture has none of these."""
PHOTOSHOP_LAYERS = 0x935C
IMAGEJ = 0xC696, 0xC697


class TagsError(ValueError):
    """What is no TIFF structure."""


class TagsCutShortError(TagsError, CutShortError):
    """A TIFF structure that points outside itself."""


@dataclass(frozen=True)
class Tag:
    """One entry of an IFD: type and count as in the file, and the bytes of its value."""

    type: int
    count: int
    value: bytes


Ifd = dict[int, Tag]


@dataclass(frozen=True)
class Tags:
    """The TIFF structure in `data`: byte order ("<" or ">"), classic or big, and where its first IFD is."""

    data: bytes | memoryview
    order: str
    big: bool
    first: int

    @classmethod
    def parse(cls, data: bytes | memoryview) -> Self:
        """TagsError if `data` does not begin like a TIFF file, or its first IFD lies outside it."""
        order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
        if order is None or len(data) < 16:
            raise TagsError("not a TIFF structure")
        version = struct.unpack_from(f"{order}H", data, 2)[0]
        tags = cls(data, order, version == 43, 0)
        tags = replace(tags, first=tags._number("Q", 8) if tags.big else tags._number("I", 4))
        tags.ifd(tags.first)
        return tags

    def _number(self, code: str, offset: int) -> int:
        try:
            return int(struct.unpack_from(self.order + code, self.data, offset)[0])
        except struct.error as error:
            raise TagsCutShortError(f"nothing at offset {offset}") from error

    def entries(self, offset: int) -> dict[int, int]:
        """Where each tag's entry begins in the IFD at `offset`."""
        count = self._number("Q" if self.big else "H", offset)
        size, start = self._entry_bytes, offset + (8 if self.big else 2)
        if start + count * size > len(self.data):
            raise TagsCutShortError(f"the tags at offset {offset} are cut short")
        return {self._number("H", entry): entry for entry in range(start, start + count * size, size)}

    def ifd(self, offset: int) -> Ifd:
        """The IFD at `offset`, less the tags of unknown type and those whose values lie outside the data."""
        found = {}
        for tag, entry in self.entries(offset).items():
            type_ = self._number("H", entry + 2)
            count = self._number("Q" if self.big else "I", entry + 4)
            size = _VALUE_BYTES.get(type_, 0) * count
            place, inline = (entry + 12, 8) if self.big else (entry + 8, 4)
            at = place if size <= inline else self._number("Q" if self.big else "I", place)
            if size and at + size <= len(self.data):
                found[tag] = Tag(type_, count, bytes(self.data[at : at + size]))
        return found

    def integers(self, tag: Tag | None) -> tuple[int, ...]:
        """The values of a tag of integers; none of any other."""
        code = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(tag.type if tag else 0)
        return struct.unpack(f"{self.order}{tag.count}{code}", tag.value) if tag and code else ()

    def integer(self, tag: Tag | None) -> int | None:
        """The first value of a tag as an integer, or None if it is none."""
        return next(iter(self.integers(tag)), None)

    def end_of_pixels(self) -> int:
        """Where the last strip, tile or JPEG of any picture in here ends; beyond the data if that is cut short."""
        end, seen, todo = 0, set[int](), [self.first]
        while todo and len(seen) < _MAX_IFDS:
            offset = todo.pop()
            if not offset or offset in seen:
                continue
            seen.add(offset)
            ifd = self.ifd(offset)
            for starts, sizes in _PLACES:
                pairs = zip(self.integers(ifd.get(starts)), self.integers(ifd.get(sizes)), strict=False)
                end = max(end, *(start + size for start, size in pairs), 0)
            todo += [*self.integers(ifd.get(SUB_IFDS)), self.successor(offset)]
        return end

    def rational(self, tag: Tag | None) -> float | None:
        """The first value of a tag as a positive fraction, or None if it is none."""
        if tag is None or tag.type != RATIONAL:
            return None
        numerator, denominator = struct.unpack_from(f"{self.order}2I", tag.value)
        return numerator / denominator if numerator and denominator else None

    def child(self, parent: Ifd, pointer: int) -> Ifd:
        """The IFD that a tag of `parent` points to; empty if there is none or it is damaged."""
        offset = self.integer(parent.get(pointer))
        try:
            return self.ifd(offset) if offset else {}
        except TagsError:
            return {}

    def pack(self, type_: int, *numbers: int) -> Tag:
        """A tag of integers in this byte order; a RATIONAL's numerator and denominator are two numbers."""
        code = {SHORT: "H", LONG: "I", RATIONAL: "I", IFD8: "Q"}[type_]
        count = len(numbers) // 2 if type_ == RATIONAL else len(numbers)
        return Tag(type_, count, struct.pack(f"{self.order}{len(numbers)}{code}", *numbers))

    def successor(self, offset: int) -> int:
        """Where the IFD after the one at `offset` begins; 0 if that is the last."""
        return self._number("Q" if self.big else "I", self._successor_at(offset))

    def without_successor(self) -> bytes:
        """The data, in which nothing follows the first IFD."""
        at, size = self._successor_at(self.first), 8 if self.big else 4
        return bytes(self.data[:at]) + bytes(size) + bytes(self.data[at + size :])

    def _successor_at(self, offset: int) -> int:
        if self.big:
            return offset + 8 + 20 * self._number("Q", offset)
        return offset + 2 + 12 * self._number("H", offset)

    def following(self, offset: int) -> Ifd:
        """The IFD after the one at `offset`; empty if there is none or it is damaged."""
        try:
            after = self.successor(offset)
            return self.ifd(after) if after else {}
        except TagsError:
            return {}

    def with_tags(
        self,
        changes: dict[int, Tag | None],
        exif: Ifd | None = None,
        gps: Ifd | None = None,
        interoperability: Ifd | None = None,
    ) -> tuple[bytes, bytes]:
        """The first IFD with these tags set (None: removed) and these children put in.

        Returns the new beginning of the data and what to append to it. The new IFD has no successor: what
        followed it was a thumbnail.
        """
        appendix = bytearray(len(self.data) % 2)
        changes = dict(changes)

        def place(ifd: Ifd) -> Tag:
            at = len(self.data) + len(appendix)
            appendix.extend(self._serialised(ifd, at))
            return self.pack(IFD8 if self.big else LONG, at)

        if exif and interoperability:
            exif = exif | {INTEROPERABILITY_IFD: place(interoperability)}
        for pointer, child in ((EXIF_IFD, exif), (GPS_IFD, gps)):
            if child:
                changes[pointer] = place(child)
        kept = {tag: at for tag, at in self.entries(self.first).items() if tag not in changes}
        records = {tag: bytes(self.data[at : at + self._entry_bytes]) for tag, at in kept.items()}
        new = {tag: change for tag, change in changes.items() if change is not None}
        packed, values = self._records(new, len(self.data) + len(appendix))
        appendix += values
        at = len(self.data) + len(appendix)
        appendix += self._join(records | packed)
        head = 8 if self.big else 4
        return bytes(self.data[:head]) + struct.pack(self.order + ("Q" if self.big else "I"), at), bytes(
            appendix
        )

    @property
    def _entry_bytes(self) -> int:
        return 20 if self.big else 12

    def _records(self, ifd: Ifd, start: int) -> tuple[dict[int, bytes], bytes]:
        """The entries of tags whose longer values are to lie at `start`, and those values."""
        records, values = {}, b""
        count_code, inline = ("Q", 8) if self.big else ("I", 4)
        for tag, entry in ifd.items():
            if len(entry.value) <= inline:
                value = entry.value.ljust(inline, b"\0")
            else:
                value = struct.pack(self.order + count_code, start + len(values))
                values += entry.value + bytes(len(entry.value) % 2)
            records[tag] = struct.pack(f"{self.order}HH{count_code}", tag, entry.type, entry.count) + value
        return records, values

    def _join(self, records: dict[int, bytes]) -> bytes:
        count_code, next_code = ("Q", "Q") if self.big else ("H", "I")
        count = struct.pack(self.order + count_code, len(records))
        return (
            count + b"".join(records[tag] for tag in sorted(records)) + struct.pack(self.order + next_code, 0)
        )

    def _serialised(self, ifd: Ifd, start: int) -> bytes:
        """An IFD that is to lie at `start` (even), its values after it."""
        size = len(self._join(dict.fromkeys(ifd, bytes(self._entry_bytes))))
        records, values = self._records(ifd, start + size)
        return self._join(records) + values


def empty_exif(order: str = "<") -> bytes:
    """An EXIF block without a tag."""
    return {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIHI", 42, 8, 0, 0) + bytes(2)
