"""The gain map of an iPhone's HEIC file, as a JPEG file has it (Ultra HDR).

Apple's map holds the gain itself, by Rec. 709's curve, up to a headroom that the camera's maker note tells; Ultra HDR's holds its logarithm.
Formulas: Apple, "Applying Apple HDR effect to your photos"; Adobe, "Gain Map Specification" 1.0.
"""

import io
import struct

import numpy as np

from deblur_cli.photo import _tiff_tags as tt
from deblur_cli.photo._jpeg_more import HDRGM, XMP_HEAD, packed
from deblur_cli.photo._photo import Samples

URN = "urn:com:apple:photo:2020:aux:hdrgainmap"
_MAKER = b"Apple iOS\0\0\1MM"
_HEADROOM, _GAIN = 0x21, 0x30
_QUALITY = 95


def ultra_hdr(map_709: Samples, exif: bytes | None) -> bytes | None:
    """(h, w) uint8 of an HEIC file -> a JPEG file; None if the maker note does not tell the headroom, or that there is none."""
    from PIL import Image

    stops = stops_of(exif)
    if not stops:
        return None
    encoded = np.arange(256) / 255
    light = np.where(encoded < 0.081, encoded / 4.5, ((encoded + 0.099) / 1.099) ** (1 / 0.45))
    levels = np.log2(1 + (2**stops - 1) * light) / stops
    about = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        + HDRGM
        + f' hdrgm:GainMapMin="0" hdrgm:GainMapMax="{stops:.6f}" hdrgm:Gamma="1" hdrgm:OffsetSDR="0" hdrgm:OffsetHDR="0" hdrgm:HDRCapacityMin="0" '
        f'hdrgm:HDRCapacityMax="{stops:.6f}" hdrgm:BaseRenditionIsHDR="False"/></rdf:RDF></x:xmpmeta>'.encode()
    )
    file = io.BytesIO()
    picture = Image.fromarray((255 * levels).round().astype(np.uint8)[map_709])
    picture.save(file, "JPEG", quality=_QUALITY, extra=packed([("APP1", XMP_HEAD + about)]))
    return file.getvalue()


def stops_of(exif: bytes | None) -> float | None:
    """Powers of two by which the brightest place is brighter than white; what a maker note leaves out counts as 0."""
    try:
        tags = tt.Tags.parse(exif or b"")
        note = bytes(tags.child(tags.ifd(tags.first), tt.EXIF_IFD)[tt.MAKER_NOTE].value)
    except (tt.TagsError, KeyError):
        return None
    if not note.startswith(_MAKER):
        return None
    headroom, gain = (_rational(note, tag) for tag in (_HEADROOM, _GAIN))
    if headroom is None:
        return None
    gain = gain or 0.0
    if headroom < 1:
        stops = 1.8 - 20 * gain if gain <= 0.01 else 1.601 - 0.101 * gain
    else:
        stops = 3.0 - 70 * gain if gain <= 0.01 else 2.303 - 0.303 * gain
    return max(stops, 0.0)


def _rational(note: bytes, wanted: int) -> float | None:
    """A signed rational of the maker note, whose offsets count from its beginning."""
    start = len(_MAKER)
    try:
        (count,) = struct.unpack_from(">H", note, start)
        for i in range(count):
            tag, kind, _, at = struct.unpack_from(">HHII", note, start + 2 + 12 * i)
            if (tag, kind) == (wanted, 10):
                above, below = struct.unpack_from(">ii", note, at)
                return above / below if below else None
    except struct.error:
        pass
    return None
