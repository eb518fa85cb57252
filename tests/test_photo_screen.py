"""What a screen shows of a photo: right colours, right places."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deblur_cli.photo import Encoding, Metadata, Photo, screen_pictures
from deblur_cli.photo._cicp import Cicp, profile_of
from deblur_cli.photo._screen import srgb_of
from photo_files import gray_profile

WHITE = {"uint8": 255, "uint16": 65535, "float32": 1}
DISPLAY_P3 = Cicp(12, 13)


def of(values: list[float], dtype: str, metadata: Metadata | None = None) -> list[int]:
    """One colour, as it is shown."""
    pixels = np.full((2, 3, len(values)), np.array(values) * WHITE[dtype]).astype(dtype)
    shown = srgb_of(Photo(pixels, None, Encoding("PNG"), metadata or Metadata()))
    assert shown.shape == (2, 3, 3)
    assert shown.dtype == np.uint8
    return list(map(int, shown[1, 2]))


@pytest.mark.parametrize("dtype", WHITE)
def test_colours_are_those_of_the_profile_or_the_numbers(dtype: str) -> None:
    assert of([0.2, 0.9, 0.1], dtype) == pytest.approx([51, 230, 26], abs=1)
    wide = of([0.8, 0.4, 0.3], dtype, Metadata(icc=profile_of(DISPLAY_P3)))
    assert wide == pytest.approx([219, 95, 69], abs=2)  # by the matrices of Display P3 and sRGB
    assert of([0.8, 0.4, 0.3], dtype, Metadata(cicp=DISPLAY_P3)) == wide
    assert of([0.5], dtype) == pytest.approx([128] * 3, abs=1)
    assert of([0.5], dtype, Metadata(icc=gray_profile())) == pytest.approx([129] * 3, abs=3)


def test_a_damaged_profile_one_of_other_pixels_and_samples_out_of_range_do_no_harm() -> None:
    profile = profile_of(DISPLAY_P3)
    assert profile
    assert of([0.2, 0.4, 0.6], "uint8", Metadata(icc=profile[:300])) == [51, 102, 153]
    assert of([0.4], "uint8", Metadata(icc=profile)) == [102] * 3
    assert of([-1, 2, float("nan")], "float32") == [0, 255, 0]


def test_transparency_is_shown_on_white() -> None:
    photo = Photo(np.zeros((2, 2, 3), np.uint8), np.array([[0, 255], [51, 0]], np.uint8), Encoding("PNG"))
    assert srgb_of(photo)[..., 0].tolist() == [[255, 0], [204, 255]]


def test_a_large_photo_has_tiles_that_make_it_whole_again() -> None:
    y, x = np.mgrid[:1100, :2100]
    pixels = np.stack([x / 2100, y / 1100, (x + y) / 3200], -1) * 255
    photo = Photo(pixels.astype(np.uint8), None, Encoding("PNG"))
    pictures = {name: Image.open(io.BytesIO(data)) for name, data in screen_pictures(photo)}
    assert pictures.keys() == {"thumb", "whole", "0-0", "0-1", "0-2", "1-0", "1-1", "1-2"}
    assert pictures["whole"].size == (2048, 1073)
    assert max(pictures["thumb"].size) == 320
    rows = [np.hstack([np.asarray(pictures[f"{row}-{column}"]) for column in range(3)]) for row in range(2)]
    assert np.abs(np.vstack(rows).astype(int) - photo.pixels).max() <= 8  # they are JPEG
    small = replace(photo, pixels=photo.pixels[:50, :60])
    assert [name for name, _ in screen_pictures(small)] == ["thumb", "whole"]
