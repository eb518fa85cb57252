"""HEIC, camera raw files and JPEG XL, and what happens without their libraries."""

import io
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from deblur_cli.errors import PhotoError
from deblur_cli.photo import _jxl, inspect_photo, output_extension, read_photo, write_photo
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
