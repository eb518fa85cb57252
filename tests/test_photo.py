import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from deblur_cli.photo import Encoding, Photo, read_photo, write_photo


@pytest.mark.parametrize("extension", [".png", ".tif", ".bmp", ".ppm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, extension: str, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    write_photo(Photo(pixels, None, Encoding("PNG")), tmp_path / f"a{extension}")
    np.testing.assert_array_equal(read_photo(tmp_path / f"a{extension}").pixels, pixels)


def test_streams() -> None:
    photo = Photo(np.zeros((5, 7, 3), np.uint8), None, Encoding("PNG"))
    stream = io.BytesIO()
    write_photo(photo, stream, format="JPEG")
    stream.seek(0)
    assert read_photo(stream).encoding.format == "JPEG"


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".avif", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path: Path, extension: str, orientation: int) -> None:
    seen = np.zeros((16, 24, 3), np.uint8)
    seen[:8, :8] = 200
    seen[:8, 8:16] = 100
    exif = Image.Exif()
    stored = Image.fromarray(seen)
    for step in {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]:
        stored = stored.transpose(Image.Transpose(step))
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a{extension}", exif=exif)
    photo = read_photo(tmp_path / f"a{extension}")
    np.testing.assert_allclose(photo.pixels, seen, atol=30)
    write_photo(photo, tmp_path / f"b{extension}")
    with Image.open(tmp_path / f"b{extension}") as image:
        np.testing.assert_allclose(ImageOps.exif_transpose(image), seen, atol=30)
