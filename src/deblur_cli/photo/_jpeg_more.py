"""What lies behind the picture in a JPEG file: further pictures (CIPA DC-007, "MPF"), of which a gain map is kept, and the video of a motion photo.

A gain map says by how much each place of the photo is brighter on an HDR screen (Ultra HDR, ISO 21496-1, Apple, Samsung). It is a JPEG file of its own, and
stays byte for byte what it is unless the photo is turned.
"""

import io
import re
import struct
from collections.abc import Iterable
from typing import NamedTuple

from deblur_cli.photo._tiff_tags import Tags, TagsError

MPF = b"MPF\0"
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
HDRGM = b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
_SOI = b"\xff\xd8\xff"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends the entropy-coded data of a scan."""
_ENTRIES = 0xB002
_ENTRY = "IIIHH"
_FIRST_ENTRY = 50
_PRIMARY = 0x030000
_GAIN_MAP = re.compile(rb"hdr-gain-map/1\.0/|HDRGainMap|hdrgainmap|urn:iso:std:iso:ts:21496:-1\0")
_HEAD_BYTES = 1 << 17
"""Of a picture, in which it must say that it is a gain map."""
_ITEM = re.compile(rb"<rdf:li\b[^>]*/>|<rdf:li\b.*?</rdf:li>", re.DOTALL)
_LENGTH = re.compile(rb"(Item:Length(?:\s*=\s*[\"']|>)\s*)\d+")
_TURNED_QUALITY = 95
_NO_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta>'
_DIRECTORY = (
    b'<rdf:Description rdf:about="" xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    b'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" '
    + HDRGM
    + b"><Container:Directory><rdf:Seq>"
    b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>'
    b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="%d"/></rdf:li>'
    b"</rdf:Seq></Container:Directory></rdf:Description>"
)
"""Of a photo and its gain map, for a packet."""


def packed(segments: Iterable[tuple[str, bytes]]) -> bytes:
    """Names and contents of segments as they lie in a file."""
    codes = {"COM": 0xFE} | {f"APP{number}": 0xE0 + number for number in range(16)}
    return b"".join(struct.pack(">BBH", 0xFF, codes[name], 2 + len(body)) + body for name, body in segments)


class Behind(NamedTuple):
    """gain_map: a JPEG file. others: how many pictures are of other kinds. rest: the bytes behind the last picture."""

    gain_map: bytes | None
    others: int
    rest: bytes


def behind(data: bytes) -> Behind:
    """What lies behind the first picture of a JPEG file."""
    end = _end_of(data, 0)
    spans = [span for span in _told(data[:end]) if span[0] >= end and data.startswith(_SOI, span[0])]
    if not spans and data.startswith(_SOI, end):
        spans = [(end, _end_of(data, end))]
    pictures = [data[start:stop] for start, stop in spans]
    gain_maps = [picture for picture in pictures if _GAIN_MAP.search(picture[:_HEAD_BYTES])]
    last = max([end, *(stop for _, stop in spans)])
    return Behind(gain_maps[0] if gain_maps else None, len(pictures) - bool(gain_maps), data[last:])


def _end_of(data: bytes, at: int) -> int:
    """Where the JPEG that begins at `at` ends; the end of the data if it is cut short."""
    at += 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker == 0xFF:  # a filling byte
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            found = _MARKER.search(data, at)
            at = found.start() if found else len(data)
    return at + 2 if data.startswith(b"\xff\xd9", at) else len(data)


def _told(data: bytes) -> list[tuple[int, int]]:
    """Where the further pictures begin and end, as the MPF segment says."""
    at = data.find(MPF)
    if at < 0:
        return []
    header = at + len(MPF)
    try:
        tags = Tags.parse(data[header:])
        value = tags.ifd(tags.first)[_ENTRIES].value
    except (TagsError, KeyError):
        return []
    entries = struct.iter_unpack(tags.order + _ENTRY, value[: len(value) // 16 * 16])
    return [(header + offset, header + offset + size) for _, size, offset, _, _ in entries if offset]


def mpf_segment() -> bytes:
    """The segment that tells of two pictures, the places of which `with_gain_map` writes into it."""
    ifd = struct.pack("<H", 3)
    ifd += struct.pack("<HHI4s", 0xB000, 7, 4, b"0100")
    ifd += struct.pack("<HHII", 0xB001, 4, 1, 2)
    ifd += struct.pack("<HHII", _ENTRIES, 7, 32, _FIRST_ENTRY)
    return MPF + b"II*\0" + struct.pack("<I", 8) + ifd + bytes(4 + 32)


def with_gain_map(data: bytes, gain_map: bytes) -> bytes:
    """A JPEG file that has such a segment, and behind it its gain map."""
    header = data.index(mpf_segment()) + len(MPF)
    entries = struct.pack("<" + _ENTRY, _PRIMARY, len(data), 0, 0, 0)
    entries += struct.pack("<" + _ENTRY, 0, len(gain_map), len(data) - header, 0, 0)
    at = header + _FIRST_ENTRY
    return data[:at] + entries + data[at + 32 :] + gain_map


def xmp_of_gain_map(xmp: bytes | None, gain_map: bytes) -> bytes | None:
    """The photo's packet, whose directory of pictures (Ultra HDR) gives the gain map its size; a new directory if it has none and the map is one of Ultra HDR."""
    size = len(gain_map)
    if xmp and b"GainMap" in b"".join(_ITEM.findall(xmp)):
        return _ITEM.sub(
            lambda item: _LENGTH.sub(rb"\g<1>%d" % size, item[0]) if b"GainMap" in item[0] else item[0], xmp
        )
    if HDRGM not in gain_map[:_HEAD_BYTES]:
        return xmp
    before, end, after = (xmp or _NO_XMP).rpartition(b"</rdf:RDF>")
    return before + _DIRECTORY % size + end + after if end else xmp


def turned_gain_map(data: bytes, orientation: int) -> bytes:
    """As it is to be seen, by EXIF's orientation (2 to 8), with all it says of itself."""
    from PIL import Image, JpegImagePlugin

    image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    turns = Image.Transpose
    turn = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }[orientation]
    about_itself = [item for item in image.applist if item[0] not in ("APP0", "APP14")]
    file = io.BytesIO()
    image.transpose(turn).save(
        file, "JPEG", quality=_TURNED_QUALITY, subsampling=0, extra=packed(about_itself)
    )
    return file.getvalue()
