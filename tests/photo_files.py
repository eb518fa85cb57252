"""Photos of every kind for the tests of `photo`, and the table in docs/formats.md that is made of them.

`python tests/photo_files.py` brings that table up to date.
"""

import io
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from deblur_cli.photo import Encoding, Metadata, Photo, Samples, read_photo, write_photo
from deblur_cli.photo._boxes import box, with_items
from deblur_cli.photo._cicp import Cicp
from deblur_cli.photo._formats import FORMATS, KINDS

FULL = Path(__file__).parent / "data/photos/full.jpg"
"""A JPEG with every kind of metadata, written by ExifTool (make_full.sh beside it)."""
DOCUMENT = Path(__file__).parent.parent / "docs/formats.md"
HEIGHT, WIDTH = 16, 24
WHITE = {"uint8": 255, "uint16": 65535, "float32": 1}
LOSSY = ("JPEG", "AVIF")
WRITTEN = tuple(name for name, entry in FORMATS.items() if entry.becomes == name)


@dataclass(frozen=True)
class Kind:
    """What a file's pixels are."""

    dtype: str
    channels: int
    alpha: bool

    def __str__(self) -> str:
        colour = "gray" if self.channels == 1 else "RGB"
        return f"{colour}{'A' * self.alpha}-{self.dtype}"


KINDS_OF_PIXELS = [
    Kind(dtype, channels, alpha) for dtype in WHITE for channels in (1, 3) for alpha in (False, True)
]


def pixels_of(kind: Kind, seed: int = 0) -> tuple[Samples, Samples | None]:
    """Smooth pixels without any symmetry, with noise in the last bits; float ones reach beyond 0..1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    planes = [(x / WIDTH + 2 * y / HEIGHT) / 3, x * y / (HEIGHT * WIDTH), 1 - x / WIDTH * 0.7, y / HEIGHT]
    share = np.stack(planes, -1) + rng.uniform(-0.002, 0.002, (HEIGHT, WIDTH, 4))
    share = share.clip(0, 1) if kind.dtype != "float32" else share * 1.5 - 0.1
    samples = share * WHITE[kind.dtype]
    samples = (samples if kind.dtype == "float32" else samples.round()).astype(kind.dtype)
    alpha = share[..., 3].clip(0, 1) * WHITE[kind.dtype]
    alpha[3:6, 4:9] = 0
    alpha = (alpha if kind.dtype == "float32" else alpha.round()).astype(kind.dtype)
    return samples[..., : kind.channels], alpha if kind.alpha else None


def metadata_of(kind: Kind, orientation: int = 1) -> Metadata:
    """All kinds of metadata, claiming this orientation in EXIF and XMP; gray photos have a gray profile."""
    metadata = read_photo(FULL).metadata
    assert metadata.exif
    assert metadata.xmp
    exif = bytearray(metadata.exif)
    order = ">" if exif[:2] == b"MM" else "<"
    at = exif.index(struct.pack(f"{order}HHIH", 0x0112, 3, 1, 1))
    struct.pack_into(f"{order}H", exif, at + 8, orientation)
    xmp = metadata.xmp.replace(b"<tiff:Orientation>1<", b"<tiff:Orientation>%d<" % orientation)
    icc = metadata.icc if kind.channels == 3 else gray_profile()
    return replace(metadata, exif=bytes(exif), xmp=xmp, icc=icc)


def gray_profile() -> bytes:
    """The smallest gray ICC profile: a header, a description, a white point and a gamma of 2.2."""

    def described(text: bytes) -> bytes:
        return b"desc" + struct.pack(">II", 0, len(text) + 1) + text + bytes(1 + 79)

    white = b"XYZ " + struct.pack(">I3i", 0, 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv" + struct.pack(">IIH", 0, 1, int(2.2 * 256)) + bytes(2)
    tags, place = b"", 128 + 4 + 3 * 12
    body = b""
    for name, value in ((b"desc", described(b"gray")), (b"wtpt", white), (b"kTRC", curve)):
        padded = value + bytes(-len(value) % 4)
        tags += name + struct.pack(">II", place + len(body), len(value))
        body += padded
    size = place + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I", 3) + tags + body


def dng() -> bytes:
    """A linear ramp under a red, green, green, blue mosaic, as a minimal DNG."""
    y, x = np.mgrid[:64, :96]
    mosaic = (2000 + 300 * x + 0 * y).astype(np.uint16)
    file = io.BytesIO()
    rationals = [value for number in (1, 0, 0, 0, 1, 0, 0, 0, 1) for value in (number, 1)]
    tifffile.imwrite(
        file,
        mosaic,
        photometric=32803,
        metadata=None,
        software=False,
        extratags=[
            (271, 2, 5, "Acme", True),
            (272, 2, 4, "One", True),
            (700, 1, 12, b"<x:xmpmeta/>", True),
            (33421, 3, 2, (2, 2), True),
            (33422, 1, 4, bytes((0, 1, 1, 2)), True),
            (50706, 1, 4, bytes((1, 4, 0, 0)), True),
            (50708, 2, 9, "Acme One", True),
            (50721, 10, 9, rationals, True),
            (50728, 5, 3, (1, 1, 1, 1, 1, 1), True),
            (50778, 3, 1, 21, True),
        ],
    )
    return file.getvalue()


def holds(name: str, kind: Kind) -> bool:
    """Whether the format keeps such pixels, at least nearly."""
    entry = FORMATS[name]
    gray = entry.gray and not (kind.alpha and name in ("AVIF", "BMP", "GIF"))
    return kind.dtype in entry.depths and (entry.alpha or not kind.alpha) and (kind.channels == 3 or gray)


def _turn(angle: int = 0, axis: int | None = None) -> list[bytes]:
    """AVIF's properties: so many quarter turns to the left, then mirrored top to bottom (0) or left to right (1)."""
    turn = [box(b"irot", bytes([angle]))] if angle else []
    return turn + ([] if axis is None else [box(b"imir", bytes([axis]))])


TURNS = {
    1: _turn(),
    2: _turn(axis=1),
    3: _turn(2),
    4: _turn(axis=0),
    5: _turn(1, 0),
    6: _turn(3),
    7: _turn(3, 0),
    8: _turn(1),
}
"""By EXIF's orientation."""


def stored(name: str, kind: Kind, orientation: int = 1, metadata: bool = True) -> bytes:
    """A file of this format and kind."""
    pixels, alpha = pixels_of(kind)
    if name == "GIF":  # few enough colours
        pixels = pixels // 40 * 40
        alpha = None if alpha is None else np.where(alpha > 100, 255, 0).astype(np.uint8)
    all_metadata = metadata_of(kind, orientation)
    encoding = Encoding(name, lossless=name not in LOSSY)
    photo = Photo(pixels, alpha, encoding, all_metadata if metadata else Metadata())
    file = io.BytesIO()
    write_photo(photo, file)
    if name == "AVIF" and metadata:  # whose orientation is outside EXIF, and not ours to write
        return with_items(file.getvalue(), TURNS[orientation], None, None)
    return file.getvalue()


def again(data: bytes, **changes: Any) -> bytes:  # noqa: ANN401
    """The file read and written, as with a network that changes nothing."""
    file = io.BytesIO()
    write_photo(read_photo(io.BytesIO(data)), file, **changes)
    return file.getvalue()


GAIN_MAP = b"\xff\xd8\xff\xe1\x00\x1dhttp://ns/hdr-gain-map/1.0/\xff\xd9"
"""As little of one as is known for one."""


def rows() -> Iterator[str]:
    """The table of docs/formats.md: what comes back from a round trip of every kind."""
    columns = ("gray", "16 bits", "float", "alpha", *KINDS)
    yield f"| format | extensions | pixels | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 3) + "|"
    for name in WRITTEN:
        pixels = "nearly equal" if name in LOSSY else "equal"
        if name == "AVIF":
            pixels = "equal if it was RGB"
        if name == "WebP":
            pixels = "equal if it was lossless"
        if name == "GIF":
            pixels = "equal up to 256 colours"
        kept = {
            "gray": comes_back(name, Kind("uint8", 1, False)),
            "16 bits": comes_back(name, Kind("uint16", 3, False)),
            "float": comes_back(name, Kind("float32", 3, False)),
            "alpha": comes_back(name, Kind("uint8", 3, True)),
        }
        photo = read_photo(io.BytesIO(stored(name, Kind("uint8", 3, False))))
        more = replace(
            photo.metadata,
            cicp=Cicp(9, 16, 9),
            gain_map=GAIN_MAP,
            video=b"a video",
            xmp=(photo.metadata.xmp or b"") + b'<x GCamera:MotionPhoto="1"/>',
        )
        back: set[str] = set()
        for told in ({"cicp": None}, {"icc": None}):  # JPEG XL holds one or the other
            file = io.BytesIO()
            write_photo(replace(photo, metadata=replace(more, **told)), file)
            file.seek(0)
            back.update(read_photo(file).metadata.kinds())
        kept |= {kind: kind in back for kind in KINDS}
        marks = (("yes" if kept[column] else "-") for column in columns)
        yield f"| {name} | {' '.join(FORMATS[name].extensions)} | {pixels} | {' | '.join(marks)} |"


def comes_back(name: str, kind: Kind) -> bool:
    """Whether a photo of this kind is, written and read, of this kind again and (nearly) equal."""
    pixels, alpha = pixels_of(kind)
    if name == "GIF":
        pixels, alpha = pixels // 40 * 40, None if alpha is None else (alpha > 100).astype(np.uint8) * 255
    file = io.BytesIO()
    write_photo(Photo(pixels, alpha, Encoding(name, lossless=name not in LOSSY)), file)
    file.seek(0)
    back = read_photo(file)
    if back.pixels.shape != pixels.shape or back.pixels.dtype != pixels.dtype:
        return False
    if alpha is not None:
        if back.alpha is None or not np.array_equal(back.alpha, alpha):
            return False
        visible = alpha > 0
        pixels, back = pixels[visible], replace(back, pixels=back.pixels[visible])
    tolerance = 12 * WHITE[kind.dtype] / 255 if name in LOSSY else 0
    return bool(np.abs(back.pixels.astype(float) - pixels).max() <= tolerance)


def claim(width: int, height: int) -> bytes:
    """A PNG file that says it is that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)  # a bit a pixel
    rows = zlib.compress(bytes(height * (1 + -(-width // 8))), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


BEGIN, END = "<!-- made by tests/photo_files.py -->\n", "<!-- end -->\n"


def updated(document: str) -> str:
    """The document with the table as it is now."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "".join(f"{row}\n" for row in rows()) + END + after


if __name__ == "__main__":
    DOCUMENT.write_text(updated(DOCUMENT.read_text()))
    sys.exit(0)
