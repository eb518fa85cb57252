"""TIFF: tifffile (with imagecodecs) for the pixels of any depth, its tags read and written here.

Pillow would cut 16-bit colour to 8 bits, and turn the picture or not depending on how it was compressed.
"""

import io
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from deblur_cli.photo import _photoshop
from deblur_cli.photo import _tiff_tags as tt
from deblur_cli.photo._colour import D50, rgb_of_lab, rgb_of_ycbcr
from deblur_cli.photo._errors import CutShortError, UnsupportedError
from deblur_cli.photo._exif import contents, metadata_of_tiff, resolution_tags, upright_exif
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples, white_of
from deblur_cli.photo._tiff_tags import Tags

if TYPE_CHECKING:
    from tifffile import TiffPage

_GRAY_WHITE_IS_0, _GRAY, _RGB, _PALETTE, _CMYK, _YCBCR, _CIELAB, _ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
_CHANNELS = {
    _GRAY_WHITE_IS_0: 1,
    _GRAY: 1,
    _RGB: 3,
    _PALETTE: 1,
    _CMYK: 4,
    _YCBCR: 3,
    _CIELAB: 3,
    _ICCLAB: 3,
}
_CONVERTED = (_YCBCR, _CIELAB, _ICCLAB)
_DTYPES = (
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "int8",
    "int16",
    "int32",
    "float16",
    "float32",
    "float64",
)
_OLD_JPEG, _JPEG = 6, 7
_MODES = {_GRAY_WHITE_IS_0: "gray", _GRAY: "gray", _PALETTE: "palette", _CMYK: "CMYK"}
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2
_KEPT_COMPRESSIONS = ("lzw", "packbits", "adobe_deflate", "zstd", "lzma")
_WITH_PREDICTOR = ("lzw", "adobe_deflate", "zstd")
_STRIP_BYTES = 1 << 18
_MAX_CHANNELS = 16
_WHITE_POINT = 318


def open_tiff(data: bytes) -> Opened:
    """The header of the first picture in a TIFF file."""
    from tifffile import TiffFile

    tags = Tags.parse(data)
    ifd = tags.ifd(tags.first)
    if tt.LAYOUT & tags.entries(tags.first).keys() - ifd.keys():  # what tifffile would take a default for
        raise CutShortError
    if (tags.integer(ifd.get(tt.NEW_SUBFILE_TYPE)) or 0) & 1 and tt.SUB_IFDS in ifd:
        raise UnsupportedError(
            "a camera's raw file under a name that does not end as one's does, such as .dng,"
        )
    pages = _count_pages(tags)
    metadata = metadata_of_tiff(tags, whole=pages == 1)
    file = TiffFile(io.BytesIO(data))
    page = file.pages.first
    notes = [f"only the first of {pages} pages is restored: the others are left out"] if pages > 1 else []
    channels = _check(page, len(data))
    mode = _MODES.get(page.photometric, "RGB")
    extra = page.samplesperpixel - channels
    if unused := max(0, extra - (mode != "CMYK")):
        notes.append(f"{unused} extra {'channel is' if unused == 1 else 'channels are'} left out")
    kind = page.dtype.kind if page.dtype else ""
    most = 8 if mode == "CMYK" else 32 if kind == "f" else 16
    if page.bitspersample > most:
        notes.append(f"{page.bitspersample} bits are reduced to {most}")
    if kind == "i" and page.photometric != _CIELAB:
        notes.append("samples below 0 are taken for dark ones: the least that they hold is black")
    if page.photometric in (_CIELAB, _ICCLAB):
        notes.append("CIELAB is converted to sRGB")
    if tt.PHOTOSHOP_LAYERS in ifd:
        notes.append("the photo is restored as a whole: Photoshop's layers are left out")
    compression = _name(page.compression).lower()
    encoding = Encoding(
        "TIFF",
        compression=compression if compression in _KEPT_COMPRESSIONS else _replacement(compression),
        premultiplied=bool(extra and page.extrasamples and page.extrasamples[0] == _ASSOCIATED_ALPHA),
    )
    return Opened(
        page.imagelength,
        page.imagewidth,
        mode + " and alpha" * bool(extra and mode != "CMYK"),
        page.bitspersample,
        encoding,
        metadata,
        lambda: _decode_by_libtiff(data) if _only_libtiff_can(page) else _decode(page, channels),
        notes=tuple(notes),
    )


def _name(number: int) -> str:
    """Of a compression or kind of picture: tifffile gives an enum if it knows the number."""
    return str(getattr(number, "name", number))


def _replacement(compression: str) -> str | None:
    """What we write where a file has a compression that is lossy, or of 1-bit pictures only, or old."""
    return None if compression == "none" else "adobe_deflate"


def _count_pages(tags: Tags) -> int:
    """How many pictures follow each other that are no thumbnails of another."""
    seen, offset, pages = set[int](), tags.first, 0
    while offset and offset not in seen and len(seen) < 1000:
        seen.add(offset)
        try:
            reduced = tags.integer(tags.ifd(offset).get(tt.NEW_SUBFILE_TYPE)) or 0
            pages += not reduced & 1
            offset = tags.successor(offset)
        except tt.TagsError:
            break
    return pages


def _check(page: "TiffPage", file_bytes: int) -> int:
    """How many channels are colour. Refuses what would not decode to a whole picture, before it is decoded."""
    channels = _CHANNELS.get(page.photometric)
    if channels is None or (_only_libtiff_can(page) and page.bitspersample != 8):
        kind = _name(page.photometric)
        raise UnsupportedError(f"a TIFF of the kind {kind} with {_name(page.compression)} compression")
    if page.imagedepth != 1:
        raise UnsupportedError(f"a TIFF of a volume of {page.imagedepth} slices")
    if not channels <= page.samplesperpixel <= _MAX_CHANNELS:
        raise UnsupportedError(f"a TIFF with {page.samplesperpixel} channels")
    if page.dtype is None or page.dtype.name not in _DTYPES:
        raise UnsupportedError(f"a TIFF with {page.bitspersample}-bit {page.dtype or 'mixed'} samples")
    if page.photometric in _CONVERTED and (page.dtype.kind == "f" or page.bitspersample not in (8, 16)):
        kind = _name(page.photometric)
        raise UnsupportedError(
            f"a TIFF of the kind {kind} with {page.bitspersample}-bit {page.dtype} samples"
        )
    tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    segments = -(-page.imagelength // tall) * -(-page.imagewidth // wide) * planes
    offsets, sizes = page.dataoffsets, page.databytecounts
    if len(offsets) < segments or len(sizes) < segments:
        raise CutShortError
    for offset, size in zip(offsets, sizes, strict=False):
        if not size or not offset or offset + size > file_bytes:
            raise CutShortError
    return channels


def _only_libtiff_can(page: "TiffPage") -> bool:
    """Whether these are pixels that tifffile does not decode: YCbCr of fewer colours than pixels, and JPEG as it was in TIFF 6.0."""
    return page.compression == _OLD_JPEG or (
        page.photometric == _YCBCR and page.compression != _JPEG and page.subsampling != (1, 1)
    )


def _decode_by_libtiff(data: bytes) -> Samples:
    """RGB of 8 bits. libtiff would turn half of what the orientation says, so it is not told."""
    import imagecodecs

    return imagecodecs.tiff_decode(upright_exif(data), asrgb=True)[..., :3]


def _decode(page: "TiffPage", channels: int) -> Samples:
    stored = page
    if page.photometric in (_CIELAB, _ICCLAB) and page.compression == _JPEG:
        stored = copy(page)  # as RGB, which stays what it is: libjpeg would take L, a and b for YCbCr
        stored.photometric = _RGB
    samples: Samples = stored.asarray()
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        samples = np.moveaxis(samples, 0, -1)
    samples = samples.reshape(page.imagelength, page.imagewidth, -1)
    if page.photometric == _CMYK:
        return _to_8_bits(samples[..., :4], page.bitspersample)
    samples = samples[..., : channels + 1]
    if page.photometric == _PALETTE:
        return _colours(samples.astype(np.intp), np.asarray(page.colormap))
    if page.photometric in (_CIELAB, _ICCLAB):
        samples = samples.view(f"u{samples.itemsize}")  # its a and b have signs by themselves
        white = page.tags.valueof(_WHITE_POINT)
        colour = rgb_of_lab(
            samples[..., :3],
            signed=page.photometric == _CIELAB,
            white=(white[0] / white[1], white[2] / white[3]) if white and white[1] and white[3] else D50,
        )
        samples = np.concatenate([colour, samples[..., 3:]], axis=2)
    if page.photometric == _YCBCR and page.compression != _JPEG:
        samples = np.concatenate([rgb_of_ycbcr(samples[..., :3]), samples[..., 3:]], axis=2)
    samples = _to_full_range(samples, page.bitspersample)
    if page.photometric == _GRAY_WHITE_IS_0:
        inverted = (white_of(samples) - samples[..., :1]).astype(samples.dtype)
        samples = np.concatenate([inverted, samples[..., 1:]], axis=2)
    return samples


def _colours(samples: Samples, colormap: Samples) -> Samples:
    """Indices (and alpha) looked up in a map of three times 2**bits 16-bit values."""
    if samples[..., 0].max(initial=0) >= colormap.shape[1]:
        raise ValueError("its palette is too short")
    colours = (colormap >> 8 if colormap.max() > 255 else colormap).astype(np.uint8)
    return np.concatenate([colours.T[samples[..., 0]], samples[..., 1:].astype(np.uint8)], axis=2)


def _to_full_range(samples: Samples, bits: int) -> Samples:
    """uint8, uint16 or float32; 1 to 7 bits spread over uint8, 9 to 15 over uint16, 32 cut to that, signed ones moved by half their range."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    if samples.dtype.kind == "i":
        unsigned = np.dtype(f"u{samples.dtype.name}")
        samples = samples.view(unsigned) ^ unsigned.type(1 << 8 * unsigned.itemsize - 1)
    if bits == 32:
        return (samples >> 16).astype(np.uint16)
    if bits in (8, 16):
        return samples
    dtype, white = (np.uint8, 255) if bits < 8 else (np.uint16, 65535)
    top = (1 << bits) - 1
    return ((samples.astype(np.uint32) * white + top // 2) // top).astype(dtype)


def _to_8_bits(samples: Samples, bits: int) -> Samples:
    samples = _to_full_range(samples, bits)
    scaled: Samples = np.rint(samples.clip(0) * np.float32(255 / white_of(samples)))
    return scaled.clip(0, 255).astype(np.uint8)


def encode_tiff(samples: Samples, encoding: Encoding, metadata: Metadata) -> bytes:
    """A TIFF file of uint8, uint16 or float32 samples, compressed as `encoding` says."""
    from tifffile import COMPRESSION, TiffWriter

    exif = Tags.parse(metadata.exif or tt.empty_exif())
    channels = samples.shape[2]
    compression = encoding.compression
    predictor = None
    if compression in _WITH_PREDICTOR:
        predictor = 3 if samples.dtype == np.float32 else 2
    alpha = _ASSOCIATED_ALPHA if encoding.premultiplied else _UNASSOCIATED_ALPHA
    file = io.BytesIO()
    with TiffWriter(file, byteorder="<" if exif.order == "<" else ">") as writer:
        writer.write(
            samples.squeeze(2) if channels == 1 else samples,
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=[alpha] if channels in (2, 4) else None,
            compression=None if compression is None else COMPRESSION[compression.upper()],
            predictor=predictor,
            rowsperstrip=max(1, _STRIP_BYTES // (samples[0].nbytes or 1)),
            metadata=None,
            software=False,
        )
    with file.getbuffer() as written:
        tags = Tags.parse(written)
        header, appendix = tags.with_tags(*_tags(metadata, exif, tags))
    file.seek(0)
    file.write(header)
    file.seek(0, io.SEEK_END)
    file.write(appendix)
    return file.getvalue()


def _tags(
    metadata: Metadata, exif: Tags, tags: Tags
) -> tuple[dict[int, tt.Tag | None], tt.Ifd, tt.Ifd, tt.Ifd]:
    """The tags that hold the metadata, and the Exif, GPS and Interoperability children."""
    described, children, gps, interoperability = contents(exif)
    first: dict[int, tt.Tag | None] = {
        tag: value for tag, value in described.items() if tag not in tt.LAYOUT | {tt.EXIF_IFD, tt.GPS_IFD}
    }
    if metadata.dpi:
        first |= resolution_tags(tags, metadata.dpi)
    iptc = metadata.photoshop and _photoshop.iptc_of(metadata.photoshop)
    rest = metadata.photoshop and _photoshop.without(metadata.photoshop, _photoshop.IPTC)
    blocks = {tt.ICC: metadata.icc, tt.PHOTOSHOP: rest, tt.IPTC: iptc, tt.XMP: metadata.xmp}
    types = {tt.ICC: tt.UNDEFINED, tt.PHOTOSHOP: tt.BYTE, tt.IPTC: tt.UNDEFINED, tt.XMP: tt.BYTE}
    first |= {tag: tt.Tag(types[tag], len(block), block) for tag, block in blocks.items() if block}
    if metadata.comment and tt.IMAGE_DESCRIPTION not in first:
        text = metadata.comment.rstrip(b"\0") + b"\0"
        first[tt.IMAGE_DESCRIPTION] = tt.Tag(tt.ASCII, len(text), text)
    return first, children, gps, interoperability
