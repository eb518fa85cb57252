"""EXIF blocks and XMP packets of an upright, restored photo."""

import re
import struct
from collections.abc import Collection

from deblur_cli import __version__
from deblur_cli.photo import _photoshop
from deblur_cli.photo import _tiff_tags as tt
from deblur_cli.photo._photo import Metadata
from deblur_cli.photo._tiff_tags import Tags, TagsError

SOFTWARE = f"deblur-cli {__version__}".encode() + b"\0"

_ON_PAGES = re.compile(rb"\{\"shape\"|ImageJ=|\s*<\?xml.*<OME", re.DOTALL)
"""Descriptions, of tifffile, ImageJ and OME, by which readers put a stack of pages together."""
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation\s*(?:=\s*[\"']|>)\s*)[2-8](?=\s*[\"'<])")
_XMP_THUMBNAILS = re.compile(rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails>", re.DOTALL)


def orientation_of(exif: bytes | None) -> int:
    """EXIF's orientation, 1 to 8; 1 if there is none or it is damaged."""
    try:
        tags = Tags.parse(exif or b"")
    except TagsError:
        return 1
    value = tags.integer(tags.ifd(tags.first).get(tt.ORIENTATION)) or 1
    return value if 1 <= value <= 8 else 1


def dpi_of(exif: bytes | None) -> tuple[float, float] | None:
    """EXIF's resolution in dots per inch, horizontal and vertical."""
    try:
        tags = Tags.parse(exif or b"")
    except TagsError:
        return None
    return dpi_of_ifd(tags, tags.ifd(tags.first))


def dpi_of_ifd(tags: Tags, ifd: tt.Ifd) -> tuple[float, float] | None:
    """The same of a TIFF's IFD."""
    x, y = (tags.rational(ifd.get(tag)) for tag in (tt.X_RESOLUTION, tt.Y_RESOLUTION))
    unit = {2: 1.0, 3: 2.54}.get(tags.integer(ifd.get(tt.RESOLUTION_UNIT)) or 2)
    return (x * unit, y * unit) if x and y and unit else None


def resolution_tags(tags: Tags, dpi: tuple[float, float]) -> tt.Ifd:
    """What says `dpi`, to the ten-thousandth, in an IFD."""
    x, y = (tags.pack(tt.RATIONAL, min(round(value * 10000), 2**32 - 1), 10000) for value in dpi)
    return {tt.X_RESOLUTION: x, tt.Y_RESOLUTION: y, tt.RESOLUTION_UNIT: tags.pack(tt.SHORT, 2)}


def is_exif(exif: bytes) -> bool:
    """Whether this block can be read."""
    try:
        Tags.parse(exif)
    except TagsError:
        return False
    return True


def upright_exif(exif: bytes) -> bytes:
    """The block with an orientation of 1 where it had another."""
    tags = Tags.parse(exif)
    return _overwritten(tags, tags.first, {tt.ORIENTATION: 1})


def upright_xmp(xmp: bytes) -> bytes:
    """The packet with an orientation of 1 where it had another."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def restored_xmp(xmp: bytes) -> bytes:
    """The packet without the thumbnails of the blurry photo."""
    return _XMP_THUMBNAILS.sub(b"", xmp)


def restored_exif(
    exif: bytes | None, height: int, width: int, dpi: tuple[float, float] | None, most: int
) -> tuple[bytes | None, str]:
    """The block of a restored photo of this size, of at most so many bytes, a minimal one if there was none; and what was left out to make it fit, in words.

    The thumbnail goes, Software names us, a resolution is added if there is none. A maker note does not move.
    """
    tags = Tags.parse(_without_thumbnail(exif) if exif else tt.empty_exif())
    ifd = tags.ifd(tags.first)
    if pointer := tags.integer(ifd.get(tt.EXIF_IFD)):
        sizes = {tt.PIXEL_X_DIMENSION: width, tt.PIXEL_Y_DIMENSION: height}
        tags = Tags.parse(_overwritten(tags, pointer, sizes))
    tags = Tags.parse(_overwritten(tags, tags.first, {tt.IMAGE_WIDTH: width, tt.IMAGE_LENGTH: height}))
    changes: dict[int, tt.Tag | None] = {tt.SOFTWARE: tt.Tag(tt.ASCII, len(SOFTWARE), SOFTWARE)}
    if dpi and not dpi_of_ifd(tags, ifd):
        changes |= resolution_tags(tags, dpi)
    header, appendix = tags.with_tags(changes)
    whole = header + bytes(tags.data[len(header) :]) + appendix
    if len(whole) <= most:
        return whole, ""
    software = "the Software tag that names this program is"
    in_place = tags.without_successor()
    if len(in_place) <= most:
        return in_place, software
    for without, left_out in (((), software), ((tt.MAKER_NOTE,), "the maker note and the Software tag are")):
        packed = _packed(tags, without)  # what lies between, such as a thumbnail, goes
        if len(packed) <= most:
            return packed, left_out
    return None, "all of it is"


def _overwritten(tags: Tags, offset: int, values: dict[int, int]) -> bytes:
    """The data with the value of these tags, where the IFD at `offset` has them, written over in place."""
    data = bytearray(tags.data)
    try:
        entries = tags.entries(offset)
    except TagsError:
        return bytes(data)
    for tag, value in values.items():
        if tag in entries and not tags.big:
            at = entries[tag] + 2
            (type_,) = struct.unpack_from(f"{tags.order}H", data, at)
            entry = tags.pack(tt.SHORT if type_ == tt.SHORT and value < 1 << 16 else tt.LONG, value)
            data[at : at + 10] = struct.pack(f"{tags.order}HI", entry.type, 1) + entry.value.ljust(4, b"\0")
    return bytes(data)


def _without_thumbnail(exif: bytes) -> bytes:
    """The block cut before its thumbnail, if nothing else lies behind that; the pointer to it is cut later."""
    tags = Tags.parse(exif)
    thumbnail = tags.following(tags.first)
    start, size = (tags.integer(thumbnail.get(tag)) for tag in (tt.THUMBNAIL_OFFSET, tt.THUMBNAIL_LENGTH))
    if not start or not size or start + size < len(exif) - 1:
        return exif
    cut = exif[:start]
    try:
        same = contents(Tags.parse(cut)) == contents(tags)
    except TagsError:
        return exif
    return cut if same else exif


def contents(tags: Tags) -> tuple[tt.Ifd, tt.Ifd, tt.Ifd, tt.Ifd]:
    """The first IFD, and of its children Exif, GPS and Interoperability."""
    first = tags.ifd(tags.first)
    exif = tags.child(first, tt.EXIF_IFD)
    return first, exif, tags.child(first, tt.GPS_IFD), tags.child(exif, tt.INTEROPERABILITY_IFD)


def metadata_of_tiff(tags: Tags, *, whole: bool = True) -> Metadata:
    """What the first IFD of a TIFF file holds. whole: all of the file's pages are kept."""
    ifd = tags.ifd(tags.first)
    photoshop = ifd[tt.PHOTOSHOP].value if tt.PHOTOSHOP in ifd else b""
    if tt.IPTC in ifd and not _photoshop.iptc_of(photoshop):
        photoshop += _photoshop.wrapped(ifd[tt.IPTC].value)
    return Metadata(
        icc=ifd[tt.ICC].value if tt.ICC in ifd else None,
        exif=_exif_of_tiff(tags, whole),
        xmp=ifd[tt.XMP].value if tt.XMP in ifd else None,
        photoshop=photoshop or None,
        dpi=dpi_of_ifd(tags, ifd),
    )


def _exif_of_tiff(tags: Tags, whole: bool) -> bytes | None:
    """The EXIF block that a TIFF file is: its tags less those about pixels and those that `Metadata` has."""
    first, exif, gps, _ = contents(tags)
    elsewhere = tt.LAYOUT | tt.ABOUT_OTHER_PIXELS | {tt.XMP, tt.IPTC, tt.PHOTOSHOP, tt.ICC}
    elsewhere |= {tt.X_RESOLUTION, tt.Y_RESOLUTION, tt.RESOLUTION_UNIT}
    if not whole and tt.IMAGE_DESCRIPTION in first and _ON_PAGES.match(first[tt.IMAGE_DESCRIPTION].value):
        elsewhere |= {tt.IMAGE_DESCRIPTION, *tt.IMAGEJ}
    return _packed(tags, without=elsewhere) if set(first) - elsewhere or exif or gps else None


def _packed(tags: Tags, without: Collection[int]) -> bytes:
    """A block of the same contents, less these tags, that holds nothing else."""
    without = {*without, tt.EXIF_IFD, tt.GPS_IFD, tt.INTEROPERABILITY_IFD}  # which point to where these were
    first, exif, gps, interoperability = (
        {tag: value for tag, value in ifd.items() if tag not in without} for ifd in contents(tags)
    )
    block = Tags.parse(tt.empty_exif(tags.order))
    header, appendix = block.with_tags(dict(first), exif, gps, interoperability)
    return header + bytes(block.data[len(header) :]) + appendix


def without_orientation(exif: bytes) -> bytes:
    """The block without an orientation: AVIF says that elsewhere, and Pillow rewrites blocks that say it."""
    tags = Tags.parse(exif)
    header, appendix = tags.with_tags({tt.ORIENTATION: None})
    return header + bytes(tags.data[len(header) :]) + appendix
