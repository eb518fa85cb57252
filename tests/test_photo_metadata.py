"""EXIF and XMP in detail, and what an independent reader says of our files."""

import io
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur_cli.photo import Encoding, Metadata, Photo, fill_transparent, read_photo, write_photo
from deblur_cli.photo._cicp import Cicp
from deblur_cli.photo._exif import restored_exif, upright_exif, upright_xmp
from deblur_cli.photo._formats import FORMATS
from deblur_cli.photo._tiff_tags import ASCII, MAKER_NOTE, UNDEFINED, Tag, Tags, empty_exif
from photo_files import FULL, KINDS_OF_PIXELS, WRITTEN, Kind, again, holds, metadata_of, pixels_of, stored

RGB = Kind("uint8", 3, False)


def exif_with_maker_note(order: str) -> tuple[bytes, int]:
    """IFD0 -> Exif IFD -> a maker note that points into the block by absolute offset, then a thumbnail."""
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)
    note_at, exif_at, thumbnail_ifd_at, thumbnail_at = 100, 70, 140, 180
    first = struct.pack(f"{order}HHHIHHHHIII", 2, 0x0112, 3, 1, 6, 0, 0x8769, 4, 1, exif_at, thumbnail_ifd_at)
    exif = struct.pack(f"{order}HHHIII", 1, 0x927C, 7, 32, note_at, 0)
    note = struct.pack(f"{order}HHHIII", 1, 0x0001, 7, 8, note_at + 20, 0) + b"xxmaker!" + b"12"
    thumbnail = struct.pack(f"{order}HHHIIHHIII", 2, 0x0201, 4, 1, thumbnail_at, 0x0202, 4, 1, 50, 0)
    block = bytearray(thumbnail_at + 50)
    for at, part in ((0, head), (8, first), (exif_at, exif), (note_at, note), (thumbnail_ifd_at, thumbnail)):
        block[at : at + len(part)] = part
    block[thumbnail_at:] = b"\xff\xd8" + b"t" * 48
    return bytes(block), note_at


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_maker_note_does_not_move_and_the_thumbnail_goes(order: str) -> None:
    block, note_at = exif_with_maker_note(order)
    result, _ = restored_exif(upright_exif(block), 30, 40, (300, 300), 10**6)
    assert result[note_at : note_at + 32] == block[note_at : note_at + 32]
    assert b"tttt" not in result
    exif = Image.Exif()
    exif.load(result)
    assert exif[0x0112] == 1
    assert exif[0x0131].startswith("deblur-cli ")
    assert (exif[0x011A], exif[0x011B], exif[0x0128]) == (300, 300, 2)
    assert exif.get_ifd(0x8769)[0x927C] == block[note_at : note_at + 32]
    assert not exif.get_ifd(1)


def test_a_thumbnail_that_hides_other_tags_is_not_cut_off() -> None:
    block, note_at = exif_with_maker_note("<")
    block = block.replace(struct.pack("<HHII", 0x0201, 4, 1, 180), struct.pack("<HHII", 0x0201, 4, 1, 90))
    block = block.replace(struct.pack("<HHII", 0x0202, 4, 1, 50), struct.pack("<HHII", 0x0202, 4, 1, 140))
    result, _ = restored_exif(block, 30, 40, None, 10**6)
    assert result[note_at : note_at + 32] == block[note_at : note_at + 32]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"<tiff:Orientation>6</tiff:Orientation>", b"<tiff:Orientation>1</tiff:Orientation>"),
        (b'tiff:Orientation="8" x="8"', b'tiff:Orientation="1" x="8"'),
        (b"tiff:Orientation = '3'", b"tiff:Orientation = '1'"),
        (b'tiff:OrientationX="8"', b'tiff:OrientationX="8"'),
    ],
)
def test_orientation_in_xmp(given: bytes, expected: bytes) -> None:
    assert upright_xmp(given) == expected


def test_jpeg_segments_that_only_jpeg_has_come_back() -> None:
    data = stored("JPEG", RGB)
    own = b"\xff\xeb\x00\x0aown data"
    file = io.BytesIO()
    write_photo(read_photo(io.BytesIO(data[:2] + own + data[2:])), file)
    assert own in file.getvalue()


def test_of_two_exif_blocks_the_first_that_can_be_read_counts() -> None:
    data = stored("JPEG", RGB)
    exif = read_photo(io.BytesIO(data)).metadata.exif
    empty = b"\xff\xe1\x00\x14Exif\0\0" + bytes(12)
    for both in (data[:2] + empty + data[2:], data[:2] + empty + empty + data[2:]):
        photo = read_photo(io.BytesIO(both))
        assert photo.metadata.exif == exif
        assert photo.notes == ()


def test_an_orientation_that_only_xmp_tells_stays_there_and_turns_nothing() -> None:
    """As in browsers; a viewer that goes by it shows the result as it has shown the photo."""
    pixels, _ = pixels_of(RGB)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    file = io.BytesIO()
    write_photo(Photo(pixels, None, Encoding("PNG"), Metadata(xmp=xmp)), file)
    file.seek(0)
    photo = read_photo(file)
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert photo.metadata.xmp == xmp


def test_blocks_too_large_for_jpeg_are_left_out_and_said() -> None:
    pixels, _ = pixels_of(RGB)
    metadata = Metadata(
        xmp=b"<x>" + b" " * 70000, comment=b"c" * 70000, icc=(metadata_of(RGB).icc or b"") * 200
    )
    file = io.BytesIO()
    notes = write_photo(Photo(pixels, None, Encoding("JPEG"), metadata), file)
    assert notes == tuple(
        f"the {kind} is left out: JPEG holds at most 64 KB of it" for kind in ("XMP", "comment")
    )
    file.seek(0)
    assert read_photo(file).metadata.icc == metadata.icc, "a profile may be larger: in several segments"


def exif_of_size(size: int) -> bytes:
    """A block with Make, a maker note and nothing else, of that many bytes."""
    block = Tags.parse(empty_exif())
    make = Tag(ASCII, 6, b"NIKON\0")

    def with_note(length: int) -> bytes:
        header, appendix = block.with_tags(
            {0x010F: make}, {MAKER_NOTE: Tag(UNDEFINED, length, b"n" * length)}
        )
        return header + bytes(block.data[len(header) :]) + appendix

    return with_note(size - len(with_note(0)))


@pytest.mark.parametrize(
    ("size", "left_out", "kept"),
    [
        (65400, "", (True, True, True)),
        (65500, "the Software tag that names this program is", (True, True, False)),
        (65526, "the Software tag that names this program is", (True, True, False)),
        (65528, "the maker note and the Software tag are", (True, False, False)),
    ],
)
def test_of_exif_that_fills_a_jpegs_segment_only_what_is_needed_is_left_out(
    size: int, left_out: str, kept: tuple[bool, bool, bool]
) -> None:
    exif = exif_of_size(size)
    assert len(exif) == size
    pixels, _ = pixels_of(RGB)
    file = io.BytesIO()
    notes = write_photo(Photo(pixels, None, Encoding("JPEG"), Metadata(exif=exif)), file)
    said = (f"JPEG holds at most 65527 bytes of EXIF: {left_out} left out",)
    assert notes == (said if left_out else ())
    found = Image.open(file).getexif()
    note = found.get_ifd(0x8769).get(MAKER_NOTE, b"")
    assert (found.get(0x010F) == "NIKON", bool(note) and set(note) == set(b"n"), 0x0131 in found) == kept


def test_a_thumbnail_amid_exif_goes_before_the_maker_note() -> None:
    whole = exif_of_size(60000)
    thumbnail = b"t" * 9000
    order, first = Tags.parse(whole).order, Tags.parse(whole).first
    ifd = struct.pack(order + "H", 2)
    ifd += struct.pack(order + "HHII", 0x0201, 4, 1, len(whole))
    ifd += struct.pack(order + "HHIII", 0x0202, 4, 1, len(thumbnail), 0)
    (count,) = struct.unpack_from(order + "H", whole, first)
    successor = first + 2 + 12 * count
    pointer = struct.pack(order + "I", len(whole) + len(thumbnail))
    exif = whole[:successor] + pointer + whole[successor + 4 :] + thumbnail + ifd + bytes(50)
    pixels, _ = pixels_of(RGB)
    file = io.BytesIO()
    notes = write_photo(Photo(pixels, None, Encoding("JPEG"), Metadata(exif=exif)), file)
    said = "JPEG holds at most 65527 bytes of EXIF: the Software tag that names this program is left out"
    assert notes == (said,)
    assert set(Image.open(file).getexif().get_ifd(0x8769)[MAKER_NOTE]) == set(b"n")
    assert thumbnail not in file.getvalue()


def test_exif_that_does_not_fit_even_without_a_maker_note_is_left_out_and_said() -> None:
    header, appendix = Tags.parse(empty_exif()).with_tags({0x010F: Tag(ASCII, 70000, b"m" * 70000)})
    pixels, _ = pixels_of(RGB)
    metadata = Metadata(exif=header + empty_exif()[len(header) :] + appendix)
    file = io.BytesIO()
    assert write_photo(Photo(pixels, None, Encoding("JPEG"), metadata), file) == (
        "JPEG holds at most 65527 bytes of EXIF: all of it is left out",
    )
    assert not Image.open(file).getexif()


def test_colour_under_transparent_pixels_comes_from_the_visible_ones() -> None:
    pixels = np.zeros((9, 13, 3), np.uint8)
    pixels[:, 6:] = 200
    alpha = np.zeros((9, 13), np.uint8)
    alpha[:, 7:] = 255
    photo = Photo(pixels, alpha, Encoding("PNG"))
    filled = fill_transparent(photo)
    assert (filled.pixels == 200).all()
    assert filled.alpha is alpha
    for opaque in (np.full_like(alpha, 9), np.zeros_like(alpha), None):
        unchanged = Photo(pixels, opaque, Encoding("PNG"))
        assert fill_transparent(unchanged) is unchanged


# What ExifTool, libvips and ImageMagick, which share no code with what we write by, say of every format.


def tool(*names: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        assert not os.environ.get("CI"), f"CI must have {names[0]}"
        pytest.skip(
            f"{names[0]} is not installed (Debian: libimage-exiftool-perl, libvips-tools, imagemagick)"
        )
    return found


def run(*command: str | Path) -> str:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Kind], Path]:
    """Every format and kind, turned by a quarter, as it is after a round trip."""
    folder = tmp_path_factory.mktemp("outputs")
    made = {}
    for name in WRITTEN:
        for kind in KINDS_OF_PIXELS:
            if holds(name, kind):
                path = folder / f"{kind}{FORMATS[name].extensions[0]}"
                # Pillow, which makes our AVIF sources, rewrites EXIF; JPEG XL is not turned by EXIF.
                source = "PNG" if name in ("AVIF", "JXL") else name
                path.write_bytes(again(stored(source, kind, orientation=6), format=name))
                made[name, kind] = path
    return made


EXPECTED = {
    "EXIF": {
        "IFD0:Make": "Acme",
        "IFD0:Model": "Acme One",
        "IFD0:Copyright": "CC0",
        "ExifIFD:ExposureTime": 1 / 30,
        "ExifIFD:LensModel": "Acme 50mm",
        "ExifIFD:UserComment": "a user comment",
        "ExifIFD:DateTimeOriginal": "2024:05:06 07:08:09",
        "GPS:GPSLatitude": 52.5,
        "GPS:GPSLongitude": 13.4,
        "InteropIFD:InteropIndex": "R98",
    },
    "XMP": {"XMP-dc:Title": "A title", "XMP-xmp:Rating": 4, "XMP-tiff:Orientation": 1},
    "IPTC": {
        "IPTC:Keywords": "blur",
        "IPTC:By-line": "A. Photographer",
        "IPTC:Caption-Abstract": "A caption",
    },
}


def test_exiftool_agrees(outputs: dict[tuple[str, Kind], Path]) -> None:
    reports = json.loads(run(tool("exiftool"), "-json", "-n", "-G1", "-a", *outputs.values()))
    whole = json.loads(run(tool("exiftool"), "-json", "-n", "-G1", "-a", FULL))[0]
    for (name, kind), report in zip(outputs, reports, strict=True):
        where = f"{name} {kind}"
        turned = "EXIF" in FORMATS[name].metadata
        size = (
            (report["File:ImageWidth"], report["File:ImageHeight"]) if "File:ImageWidth" in report else None
        )
        assert size in (None, (16, 24) if turned else (24, 16)), where
        for group, values in EXPECTED.items():
            for tag, value in values.items():
                if group in FORMATS[name].metadata:
                    assert report.get(tag) == whole[tag], f"{where}: {tag}"
                    assert whole[tag] == (pytest.approx(value) if isinstance(value, float) else value)
        if "EXIF" in FORMATS[name].metadata:
            assert report["IFD0:Software"].startswith("deblur-cli "), where
            assert report.get("IFD0:Orientation", 1) == 1, where
            assert report["IFD0:XResolution"] == 300, where
            assert (report["ExifIFD:ExifImageWidth"], report["ExifIFD:ExifImageHeight"]) == (16, 24), where
        assert not [tag for tag in report if "Thumbnail" in tag and "IFD" in tag], where
        if (
            "ICC" in FORMATS[name].metadata and name != "JXL"
        ):  # inside its pixel data, where ExifTool does not look
            assert report["ICC-header:ColorSpaceData"].strip() == ("GRAY" if kind.channels == 1 else "RGB"), (
                where
            )
        comments = [value for tag, value in report.items() if tag.endswith((":Comment", ":ImageDescription"))]
        if "comment" in FORMATS[name].metadata:
            assert comments == ["a comment"], where


TIFF_ALLOWED = (
    "Non-standard format (undef) for IFD0 0x83bb IPTC-NAA",  # the type that the XMP standard gives it
    "Missing required TIFF GPS tag 0x001b GPSProcessingMethod",  # which the input does not have either
)


def test_exiftool_finds_nothing_wrong(outputs: dict[tuple[str, Kind], Path]) -> None:
    reports = json.loads(
        run(tool("exiftool"), "-json", "-validate", "-warning", "-error", "-a", *outputs.values())
    )
    for (name, kind), report in zip(outputs, reports, strict=True):
        complaints = [report[key] for key in ("Warning", "Error") if key in report]
        flat = [text for each in complaints for text in (each if isinstance(each, list) else [each])]
        serious = [text for text in flat if not text.startswith("[minor]") and text not in TIFF_ALLOWED]
        assert not serious, f"{name} {kind}"


def test_libvips_sees_the_same_pixels(outputs: dict[tuple[str, Kind], Path], tmp_path: Path) -> None:
    able = ("PNG", "TIFF", "WebP", "PPM", "GIF") + ("JXL",) * ("jxlload" in run(tool("vips"), "-l"))
    for (name, kind), path in outputs.items():
        if name in able and kind.dtype != "float32":
            bands = ("0", "--n", str(kind.channels))
            run(tool("vips"), "extract_band", path, tmp_path / "a.ppm", *bands)
            check_same(path, tmp_path / "a.ppm", f"{name} {kind}")


def test_imagemagick_sees_the_same_pixels(outputs: dict[tuple[str, Kind], Path], tmp_path: Path) -> None:
    for (name, kind), path in outputs.items():
        if (
            name in ("PNG", "TIFF", "WebP", "PPM", "GIF", "BMP")
            and kind.dtype != "float32"
            and not kind.alpha
        ):
            depth = "8" if kind.dtype == "uint8" else "16"
            run(tool("magick", "convert-im6.q16"), path, "-depth", depth, "-strip", tmp_path / "a.ppm")
            check_same(path, tmp_path / "a.ppm", f"{name} {kind}")


@pytest.mark.parametrize(("name", "bits"), [("AVIF", 8), ("AVIF", 10), ("AVIF", 12), ("PNG", 8), ("PNG", 16)])
@pytest.mark.parametrize("cicp", [Cicp(12, 13), Cicp(9, 16)])
def test_exiftool_and_imagemagick_see_depth_and_cicp(
    name: str, bits: int, cicp: Cicp, tmp_path: Path
) -> None:
    pixels, _ = pixels_of(Kind("uint8" if bits == 8 else "uint16", 3, False))
    path = tmp_path / f"a{FORMATS[name].extensions[0]}"
    write_photo(Photo(pixels, None, Encoding(name, bits=bits, lossless=False), Metadata(cicp=cicp)), path)
    report = json.loads(run(tool("exiftool"), "-json", "-n", path))[0]
    assert report["ImagePixelDepth" if name == "AVIF" else "BitDepth"] in (bits, f"{bits} {bits} {bits}")
    told = [report.get(tag) for tag in ("ColorPrimaries", "TransferCharacteristics")]
    if name == "AVIF" or None not in told:  # ExifTool knows PNG's since 12.50 or so
        assert told == [cicp.primaries, cicp.transfer]
    seen = tmp_path / "a.ppm"
    run(tool("magick", "convert-im6.q16"), path, "-depth", "16", "-strip", seen)
    assert run(tool("identify", "identify-im6.q16"), "-format", "%z", path) == str(bits)
    shares = read_photo(seen).pixels / 65535 - pixels / (255 if bits == 8 else 65535)
    assert np.abs(shares).mean() < (0.02 if name == "AVIF" else 1e-4)


def check_same(path: Path, seen_by_another: Path, where: str) -> None:
    ours, seen = read_photo(path).pixels, read_photo(seen_by_another).pixels[..., :3]
    assert ours.dtype == seen.dtype, where
    np.testing.assert_array_equal(*np.broadcast_arrays(ours, seen), err_msg=where)
