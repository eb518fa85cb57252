import sys

import numpy as np
import pytest

from deblur_cli import evaluate
from deblur_cli.errors import PhotoError, UsageError
from deblur_cli.evaluate import evaluate_photo
from deblur_cli.photo import Encoding, Photo


def photo_of(pixels: np.ndarray) -> Photo:
    return Photo(pixels, None, Encoding("PNG"))


def random_photo(h: int = 40, w: int = 50, c: int = 3, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (h, w, c), dtype, endpoint=True)


def test_psnr_is_that_of_the_definition() -> None:
    sharp = np.full((40, 50, 3), 100, np.uint8)
    scores = evaluate_photo(photo_of(sharp + 5), photo_of(sharp), name="a")
    assert scores.psnr == pytest.approx(20 * np.log10(255 / 5), abs=1e-4)
    assert scores.lpips is None


def test_equal_photos_are_infinitely_good() -> None:
    scores = evaluate_photo(photo_of(random_photo()), photo_of(random_photo()), name="a")
    assert (scores.psnr, scores.ssim, scores.shift) == (float("inf"), pytest.approx(1), (0, 0))


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-3, 3)])
def test_a_shift_of_a_few_pixels_is_found_and_forgiven(shift: tuple[int, int]) -> None:
    sharp = random_photo()
    moved = np.roll(sharp, shift, (0, 1))
    scores = evaluate_photo(photo_of(moved), photo_of(sharp), name="a")
    assert scores.shift == (-shift[0], -shift[1])
    assert scores.psnr == float("inf")


def test_a_shift_of_four_pixels_is_not() -> None:
    sharp = random_photo()
    assert evaluate_photo(photo_of(np.roll(sharp, 4, 0)), photo_of(sharp), name="a").psnr < 12


def test_depths_and_gray_may_differ() -> None:
    sharp = random_photo(dtype=np.uint16)
    eight = np.rint(sharp / 257).astype(np.uint8)
    assert evaluate_photo(photo_of(eight), photo_of(sharp), name="a").psnr > 55
    gray = random_photo(c=1)
    assert evaluate_photo(photo_of(gray), photo_of(gray.repeat(3, 2)), name="a").psnr == float("inf")


@pytest.mark.parametrize("size", [(40, 51), (41, 50)])
def test_photos_of_different_sizes_are_an_error(size: tuple[int, int]) -> None:
    with pytest.raises(PhotoError, match=rf"a: the photo is {size[1]}x{size[0]}, its sharp one 50x40"):
        evaluate_photo(photo_of(random_photo(*size)), photo_of(random_photo()), name="a")


def test_photos_too_small_to_shift_are_an_error() -> None:
    tiny = photo_of(random_photo(16, 50))
    with pytest.raises(PhotoError, match="at least 17 pixels"):
        evaluate_photo(tiny, tiny, name="a")


@pytest.mark.parametrize(
    ("module", "lpips", "message"),
    [("skimage", False, r"deblur-cli\[evaluate\]"), ("lpips", True, r"deblur-cli\[lpips\]")],
)
def test_a_missing_library_names_its_extra(
    module: str, lpips: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    evaluate._metrics.cache_clear()
    evaluate._lpips_network.cache_clear()
    with pytest.raises(UsageError, match=message):
        evaluate_photo(photo_of(random_photo() // 2), photo_of(random_photo()), name="a", lpips=lpips)


def test_the_smallest_photos_have_scores() -> None:
    assert evaluate_photo(photo_of(random_photo(17, 17)), photo_of(random_photo(17, 17)), name="a").ssim == 1


def test_floats_are_compared_on_one_scale() -> None:
    sharp = np.random.default_rng(0).random((40, 50, 3), np.float32)
    brighter = sharp.copy()
    brighter[20, 20] = 1.01
    assert evaluate_photo(photo_of(brighter), photo_of(sharp), name="a").psnr > 30
