"""JPEG files with more behind the picture: the gain map of an HDR photo, the video of a motion photo."""

import io
import shutil
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur_cli.errors import PhotoError
from deblur_cli.photo import Encoding, Metadata, Photo, read_photo, write_photo
from deblur_cli.photo._jpeg_more import packed
from deblur_cli.photo._read import turned
from photo_files import Kind, metadata_of, pixels_of, stored

XMP = b"http://ns.adobe.com/xap/1.0/\0"
HDRGM = b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
RGB = Kind("uint8", 3, False)
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 3
EXIFTOOL = shutil.which("exiftool")


def gain_map_file(orientation: int = 1) -> tuple[bytes, np.ndarray]:
    """A gray JPEG of half the size, as the photo is stored that is to be turned so; and the map as it is to be seen."""
    y, x = np.mgrid[:8, :12]
    upright = (20 * x + 2 * y).astype(np.uint8)
    candidates = (turned(upright, back) for back in range(1, 9))
    as_stored = next(each for each in candidates if np.array_equal(turned(each, orientation), upright))
    about = (
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description "
        + HDRGM
        + b' hdrgm:GainMapMax="2.5"/></x:xmpmeta>'
    )
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(as_stored)).save(
        file,
        "JPEG",
        quality=98,
        extra=packed([("APP1", XMP + about), ("APP2", b"urn:iso:std:iso:ts:21496:-1\0" + bytes(8))]),
    )
    return file.getvalue(), upright


def directory(size: int) -> bytes:
    """Ultra HDR's, of a motion photo."""
    return (
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description " + HDRGM + b' GCamera:MotionPhoto="1">'
        b"<Container:Directory><rdf:Seq>"
        b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li>'
        b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="%d"/></rdf:li>'
        b'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="MotionPhoto" Item:Mime="video/mp4" Item:Length="%d"/></rdf:li>'
        b"</rdf:Seq></Container:Directory></rdf:Description></x:xmpmeta>"
    ) % (size, len(VIDEO))


def hdr_photo(gain_map: bytes, **more: bytes) -> bytes:
    pixels, _ = pixels_of(RGB)
    metadata = Metadata(xmp=directory(len(gain_map)), gain_map=gain_map, video=VIDEO, **more)
    file = io.BytesIO()
    assert write_photo(Photo(pixels, None, Encoding("JPEG"), metadata), file) == ()
    return file.getvalue()


def again(data: bytes) -> bytes:
    file = io.BytesIO()
    write_photo(read_photo(io.BytesIO(data)), file)
    return file.getvalue()


def test_gain_map_and_video_come_back_byte_for_byte() -> None:
    gain_map, _ = gain_map_file()
    result = again(again(hdr_photo(gain_map)))
    photo = read_photo(io.BytesIO(result))
    assert photo.notes == ()
    assert photo.metadata.gain_map == gain_map
    assert photo.metadata.video == VIDEO
    assert result.endswith(gain_map + VIDEO)
    assert photo.metadata.xmp == directory(len(gain_map))
    told = Image.open(io.BytesIO(result))._getmp()  # type: ignore[attr-defined]  by Pillow
    (_, first), (_, second) = ((each["DataOffset"], each["Size"]) for each in told[0xB002])
    assert result.index(gain_map) == first
    assert second == len(gain_map)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_gain_map_is_turned_as_the_photo_is(orientation: int) -> None:
    gain_map, upright = gain_map_file(orientation)
    exif = metadata_of(RGB, orientation).exif
    assert exif
    result = again(hdr_photo(gain_map, exif=exif))
    photo = read_photo(io.BytesIO(result))
    assert photo.metadata.gain_map
    found = np.asarray(Image.open(io.BytesIO(photo.metadata.gain_map)))
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).max() < 14
    assert b"hdrgm:GainMapMax" in photo.metadata.gain_map
    assert b"21496:-1" in photo.metadata.gain_map
    assert photo.metadata.xmp == directory(len(photo.metadata.gain_map))
    assert (photo.metadata.gain_map == gain_map) == (orientation == 1)


@pytest.mark.skipif(EXIFTOOL is None, reason="needs exiftool")
def test_exiftool_finds_the_gain_map(tmp_path: Path) -> None:
    gain_map, _ = gain_map_file()
    (tmp_path / "a.jpg").write_bytes(again(hdr_photo(gain_map)))
    command = [str(EXIFTOOL), "-b", "-MPImage2", str(tmp_path / "a.jpg")]
    assert subprocess.run(command, capture_output=True, check=True).stdout == gain_map
    warnings = subprocess.run(
        [str(EXIFTOOL), "-warning", "-validate", str(tmp_path / "a.jpg")], capture_output=True, check=True
    )
    assert b"MPF" not in warnings.stdout


def test_what_only_jpeg_can_hold_is_told_elsewhere() -> None:
    photo = read_photo(io.BytesIO(hdr_photo(gain_map_file()[0])))
    assert photo.metadata.kinds() == ("EXIF", "XMP", "gain map", "video")
    assert write_photo(photo, io.BytesIO(), format="PNG") == ("PNG cannot hold gain map and video: left out",)
    file = io.BytesIO()
    write_photo(photo, file, strip_metadata=True)
    assert b"hdr" not in file.getvalue()
    assert VIDEO not in file.getvalue()


def test_a_samsung_photos_video_is_told_by_its_trailer_alone() -> None:
    """Type, name and content of each block, then a directory of them that counts from its own end (ExifTool's Samsung.pm)."""
    block = struct.pack("<HHI", 0, 0x0A30, 16) + b"MotionPhoto_Data" + VIDEO
    places = struct.pack("<4sIIHHII", b"SEFH", 106, 1, 0, 0x0A30, len(block), len(block))
    trailer = block + places + struct.pack("<I4s", len(places), b"SEFT")
    photo = read_photo(io.BytesIO(stored("JPEG", RGB) + trailer))
    assert photo.metadata.video == trailer
    assert photo.notes == ()
    assert again(stored("JPEG", RGB) + trailer).endswith(trailer)


def test_pictures_of_other_kinds_are_left_out_and_said() -> None:
    preview = io.BytesIO()
    Image.new("RGB", (8, 8)).save(preview, "JPEG")
    photo = read_photo(io.BytesIO(stored("JPEG", RGB) + preview.getvalue()))
    assert photo.metadata.gain_map is None
    assert photo.notes == ("the file holds more pictures (previews, a depth map): they are left out",)


@pytest.mark.parametrize("size", [200, 3000, -5, -len(VIDEO) - 100])
def test_files_that_are_cut_short_anywhere_give_no_wrong_gain_map(size: int) -> None:
    gain_map, _ = gain_map_file()
    with suppress(PhotoError):
        found = read_photo(io.BytesIO(hdr_photo(gain_map)[:size])).metadata.gain_map
        assert found is None or gain_map.startswith(found)
