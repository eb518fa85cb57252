"""HEIC, camera raw files and JPEG XL, and what happens without their libraries."""

import io
import struct
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from deblur_cli.errors import PhotoError
from deblur_cli.photo import _apple_hdr, _jxl, inspect_photo, output_extension, read_photo, write_photo
from photo_files import dng
from test_photo_foreign import DEEP, IMAGE, RGB, pillow

FIXTURES = Path(__file__).parent / "data/photos"


def test_heic_is_turned_once() -> None:
    pytest.importorskip("pi_heif")
    y, x = np.mgrid[:48, :64]
    expected = np.stack([x * 3, y * 4, (x + y) * 2], -1)
    photo = read_photo(FIXTURES / "turned.heic")
    np.testing.assert_allclose(photo.pixels, expected, atol=12)
    assert photo.metadata.kinds() == ("ICC", "EXIF", "XMP", "DPI")
    file = io.BytesIO()
    write_photo(photo, file)
    with Image.open(file) as image:
        assert image.format == "JPEG"
        assert image.getexif()[0x0112] == 1
        assert image.size == (64, 48)


def test_the_main_picture_of_a_heic() -> None:
    pytest.importorskip("pi_heif")
    photo = read_photo(FIXTURES / "two.heic")
    np.testing.assert_allclose(photo.pixels[32, 32], (200, 100, 50), atol=6)
    assert photo.notes == ("only the main one of 2 pictures is restored: the others are left out",)


def test_the_gain_map_of_an_iphone_becomes_one_of_ultra_hdr() -> None:
    """The fixture's maker note says headroom 1.2 and gain 0.005: by Apple's formula 3 - 70 * 0.005 powers of two."""
    pytest.importorskip("pi_heif")
    photo = read_photo(FIXTURES / "gain_map.heic")
    assert photo.metadata.kinds() == ("EXIF", "gain map")
    assert photo.notes == ()
    assert photo.metadata.gain_map
    assert b'hdrgm:GainMapMax="2.650000"' in photo.metadata.gain_map
    y, x = np.mgrid[:32, :48]
    encoded = (3 * x + 2 * y) / 255
    light = np.where(encoded < 0.081, encoded / 4.5, ((encoded + 0.099) / 1.099) ** (1 / 0.45))
    gains = 2 ** (2.65 * np.asarray(Image.open(io.BytesIO(photo.metadata.gain_map))) / 255)
    np.testing.assert_allclose(gains, 1 + (2**2.65 - 1) * light, rtol=0.05)
    file = io.BytesIO()
    assert write_photo(photo, file) == ()
    again = read_photo(io.BytesIO(file.getvalue())).metadata
    assert again.gain_map == photo.metadata.gain_map
    assert again.xmp
    assert (
        b'Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="%d"' % len(again.gain_map) in again.xmp
    )


def test_a_gain_map_whose_headroom_is_not_told_is_left_out_and_said() -> None:
    pytest.importorskip("pi_heif")
    data = (FIXTURES / "gain_map.heic").read_bytes().replace(b"Apple iOS", b"Other iOS")
    photo = read_photo(io.BytesIO(data))
    assert photo.metadata.kinds() == ("EXIF",)
    assert photo.notes == ("the gain map is left out: how bright it makes the photo is not told",)


@pytest.mark.parametrize(
    ("headroom", "gain", "stops"),
    [(0.5, 0.005, 1.7), (0.5, 0.5, 1.5505), (1.2, 0.5, 2.1515), (0.8, None, 1.8), (None, 0.01, None)],
)
def test_the_headroom_of_a_maker_note(
    headroom: float | None, gain: float | None, stops: float | None
) -> None:
    values = {0x21: headroom, 0x30: gain}
    given = {tag: value for tag, value in values.items() if value is not None}
    note, rationals = b"Apple iOS\0\0\1MM" + struct.pack(">H", len(given)), b""
    for tag, value in given.items():
        note += struct.pack(">HHII", tag, 10, 1, 20 + 12 * len(given) + len(rationals))
        rationals += struct.pack(">ii", round(value * 10000), 10000)
    note += bytes(4) + rationals
    exif = b"MM\0*" + struct.pack(">IHHHII", 8, 1, 0x8769, 4, 1, 26) + bytes(4)
    exif += struct.pack(">HHHII", 1, 0x927C, 7, len(note), 44) + bytes(4) + note
    assert _apple_hdr.stops_of(exif) == (None if stops is None else pytest.approx(stops))


def test_deep_heic_has_white_at_the_top() -> None:
    pytest.importorskip("pi_heif")
    y, x = np.mgrid[:48, :64]
    expected = np.stack([x * 1000, y * 1300, (x + y) * 500], -1)
    photo = read_photo(FIXTURES / "deep.heic")
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_allclose(photo.pixels, expected, atol=2500)


def test_raw_is_developed_to_16_bits(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    path = tmp_path / "a.dng"
    path.write_bytes(dng())
    assert output_extension(path) == ".tif"
    info = inspect_photo(path)
    photo = read_photo(path)
    assert (info.format, info.bits) == ("RAW", 16)
    assert photo.pixels.shape == (info.height, info.width, 3) == (64, 96, 3)
    assert photo.pixels.dtype == np.uint16
    brightness = photo.pixels.mean((0, 2))
    assert (np.diff(brightness[4:-4]) > 0).all(), "the ramp is a ramp"
    assert "developed" in photo.notes[0]
    write_photo(photo, tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        exif = image.getexif()
        assert exif[271] == "Acme"
        assert not {33421, 50706, 50721} & set(exif), "it is no raw file any more"
        assert image.info["xmp"] == b"<x:xmpmeta/>"


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [("pi_heif", "turned.heic", "heic"), ("rawpy", "a.dng", "raw"), ("pylibjxl", "a.jxl", "jxl")],
)
def test_missing_extra_is_named(
    module: str, name: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / name
    contents = {
        "raw": dng,
        "jxl": lambda: imagecodecs.jpegxl_encode(RGB),
        "heic": (FIXTURES / "turned.heic").read_bytes,
    }
    path.write_bytes(contents[extra]())
    with pytest.raises(PhotoError, match=f"{name}: [A-Z]+ needs a library") as caught:
        read_photo(path)
    assert caught.value.hint == f"Install it: pip install 'deblur-cli[{extra}]'"


def test_writing_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylibjxl", None)
    photo = read_photo(io.BytesIO(pillow(IMAGE, "PNG")))
    with pytest.raises(PhotoError, match=r"a\.jxl: JXL needs a library") as caught:
        write_photo(photo, tmp_path / "a.jxl")
    assert caught.value.hint == "Install it: pip install 'deblur-cli[jxl]'"
    assert not list(tmp_path.iterdir())


def test_deep_jxl_is_read_whole() -> None:
    pytest.importorskip("pylibjxl")
    photo = read_photo(io.BytesIO(imagecodecs.jpegxl_encode(DEEP, lossless=True)))
    np.testing.assert_array_equal(photo.pixels, DEEP)


def test_jxl_above_its_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pylibjxl")
    monkeypatch.setattr(_jxl, "_MAX_PIXELS", 24 * 16 - 1)
    with pytest.raises(
        PhotoError, match=r"^standard input: a JPEG XL file of 24x16 pixels is not supported$"
    ):
        read_photo(io.BytesIO(imagecodecs.jpegxl_encode(RGB)))


def test_jxl_of_a_quality(tmp_path: Path) -> None:
    pytest.importorskip("pylibjxl")
    photo = read_photo(io.BytesIO(pillow(IMAGE, "PNG")))
    sizes = []
    for quality in (None, 90, 20):
        write_photo(photo, tmp_path / "a.jxl", quality=quality)
        sizes.append((tmp_path / "a.jxl").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2]
