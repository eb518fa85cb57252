"""A result is encoded as its input was, and what a format cannot hold is said."""

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from deblur_cli.errors import PhotoError
from deblur_cli.photo import read_photo, write_photo
from deblur_cli.photo._jpeg import quality_of
from photo_files import gray_profile
from test_photo_foreign import DEEP, FLOAT, IMAGE, RGB, pillow, tiff

FIXTURES = Path(__file__).parent / "data/photos"


@pytest.mark.parametrize(("given", "expected"), [(75, 92), (92, 92), (95, 95), (100, 100)])
def test_jpeg_quality_is_the_inputs_but_at_least_92(given: int, expected: int) -> None:
    photo = read_photo(io.BytesIO(pillow(IMAGE, "JPEG", quality=given, subsampling=1)))
    assert quality_of(photo.encoding.jpeg_tables) == given
    file = io.BytesIO()
    write_photo(photo, file)
    with Image.open(file) as image, Image.open(io.BytesIO(pillow(IMAGE, "JPEG", quality=expected))) as like:
        assert image.quantization == like.quantization
    assert read_photo(io.BytesIO(file.getvalue())).encoding.subsampling == 1


def test_asked_for_quality(tmp_path: Path) -> None:
    photo = read_photo(io.BytesIO(pillow(IMAGE, "JPEG", quality=97)))
    write_photo(photo, tmp_path / "a.jpg", quality=50)
    assert quality_of(read_photo(tmp_path / "a.jpg").encoding.jpeg_tables) == 50
    write_photo(photo, tmp_path / "a.webp", quality=50)
    write_photo(photo, tmp_path / "b.webp")
    assert (tmp_path / "a.webp").stat().st_size < (tmp_path / "b.webp").stat().st_size


@pytest.mark.parametrize("lossless", [False, True])
def test_webp_is_lossless_or_lossy_as_the_input(lossless: bool) -> None:
    photo = read_photo(io.BytesIO(pillow(IMAGE, "WEBP", lossless=lossless)))
    file = io.BytesIO()
    write_photo(photo, file)
    assert (b"VP8L" in file.getvalue()) == lossless


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "raw", "jpeg"])
def test_tiff_keeps_its_compression_and_is_never_lossy(compression: str) -> None:
    photo = read_photo(io.BytesIO(pillow(IMAGE, "TIFF", compression=compression)))
    file = io.BytesIO()
    write_photo(photo, file)
    with Image.open(file) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        kept = compression if compression != "jpeg" else "tiff_adobe_deflate"
        assert image.info["compression"] == kept
        np.testing.assert_array_equal(image, photo.pixels)


def test_png_gamma_and_texts_come_back() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    info.add_text("Title", "a title")
    info.add_itxt("Author", "Ä. Photographer", zip=True)
    info.add_text("Software", "something else")
    file = io.BytesIO()
    write_photo(read_photo(io.BytesIO(pillow(IMAGE, "PNG", pnginfo=info))), file)
    with Image.open(file) as image:
        image.load()
        assert image.info["gamma"] == 0.45455
        assert image.info["Title"] == "a title"
        assert image.info["Author"] == "Ä. Photographer"
        assert "Software" not in image.info
    as_tiff = io.BytesIO()
    notes = write_photo(read_photo(io.BytesIO(file.getvalue())), as_tiff, format="TIFF")
    assert notes == ("only PNG can hold its iTXt, tEXt: left out",)
    info = PngInfo()
    info.add(b"gAMA", (100000).to_bytes(4, "big"))
    linear = read_photo(io.BytesIO(pillow(IMAGE, "PNG", pnginfo=info)))
    assert write_photo(linear, io.BytesIO(), format="JPEG") == ("only PNG can hold its gAMA: left out",)
    stripped = io.BytesIO()
    write_photo(read_photo(io.BytesIO(file.getvalue())), stripped, strip_metadata=True)
    with Image.open(stripped) as image:
        image.load()
        assert image.info["gamma"] == 0.45455
        assert "Title" not in image.info


def test_what_a_format_cannot_hold_is_reduced_and_said(tmp_path: Path) -> None:
    alpha = np.full((16, 24, 1), 65535, np.uint16)
    alpha[:8] = 0
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.dstack([DEEP, alpha])))
    photo = read_photo(tmp_path / "a.png")
    notes = write_photo(photo, tmp_path / "a.jpg")
    assert notes == (
        "JPEG has no transparency: the photo is laid on white",
        "JPEG holds 8 bits: 16 bits are reduced to them",
    )
    assert read_photo(tmp_path / "a.jpg").pixels[:7].min() > 230
    (tmp_path / "f.tif").write_bytes(tiff(FLOAT))
    notes = write_photo(read_photo(tmp_path / "f.tif"), tmp_path / "f.png")
    assert "cut off below 0 and above 1" in notes[0]
    np.testing.assert_array_equal(
        read_photo(tmp_path / "f.png").pixels, np.rint(FLOAT.clip(0, 1) * 65535).astype(np.uint16)
    )


def test_gif_of_many_colours_is_reduced_and_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(pillow(IMAGE, "PNG"))
    notes = write_photo(read_photo(tmp_path / "a.png"), tmp_path / "a.gif")
    assert notes == (f"GIF holds 256 of the photo's {len(np.unique(RGB.reshape(-1, 3), axis=0))} colours",)
    assert np.abs(read_photo(tmp_path / "a.gif").pixels.astype(int) - RGB).mean() < 20


def test_a_profile_for_other_pixels_is_left_out() -> None:
    photo = read_photo(io.BytesIO(pillow(IMAGE, "PNG", icc_profile=gray_profile())))
    file = io.BytesIO()
    assert write_photo(photo, file) == ("the colour profile does not fit the pixels: it is left out",)
    assert read_photo(io.BytesIO(file.getvalue())).metadata.icc is None


def test_half_transparency_in_gif_is_said() -> None:
    colours = np.full((16, 24, 3), 80, np.uint8)
    data = pillow(Image.fromarray(np.dstack([colours, np.full((16, 24), 100, np.uint8)])), "PNG")
    file = io.BytesIO()
    notes = write_photo(read_photo(io.BytesIO(data)), file, format="GIF")
    assert notes == ("GIF has no half transparency: pixels are made transparent or not",)


def test_an_encoder_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(_: np.ndarray) -> bytes:
        raise MemoryError

    monkeypatch.setattr(imagecodecs, "png_encode", encode)
    with pytest.raises(PhotoError, match=r"a\.png: cannot be encoded as PNG \(MemoryError\)$"):
        write_photo(read_photo(io.BytesIO(pillow(IMAGE, "PNG"))), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
