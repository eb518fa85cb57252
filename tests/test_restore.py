from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deblur_cli.errors import PhotoError, UsageError
from deblur_cli.photo import Encoding, Photo
from deblur_cli.restore import mix, output_of, output_of_region, pad_to_unit, restore_photo, restore_region

PNG = Encoding("PNG")


def photo_of(pixels: np.ndarray, alpha: np.ndarray | None = None) -> Photo:
    return Photo(pixels, alpha, PNG)


def random_pixels(h: int, w: int, c: int, dtype: type, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if dtype == np.float32:
        return generator.random((h, w, c), np.float32) * 3
    return generator.integers(0, np.iinfo(dtype).max, (h, w, c), dtype, endpoint=True)


def identity(tile: Tensor) -> Tensor:
    assert tile.dtype == torch.float32
    assert tile.shape[-1] % 8 == 0
    assert tile.shape[-2] % 8 == 0
    return tile


@given(
    h=st.integers(1, 200),
    w=st.integers(1, 200),
    c=st.sampled_from([1, 3]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    tile=st.sampled_from([0, 64, 96]),
)
def test_an_identity_model_keeps_every_pixel(h: int, w: int, c: int, dtype: type, tile: int) -> None:
    pixels = random_pixels(h, w, c, dtype)
    restored = restore_photo(photo_of(pixels), identity, tile=tile, overlap=16)
    np.testing.assert_array_equal(restored.photo.pixels, pixels)
    assert restored.photo.pixels.dtype == dtype


@pytest.mark.parametrize("channels", [1, 3])
def test_a_float_photo_keeps_its_range_and_is_not_written_to(channels: int) -> None:
    pixels = random_pixels(40, 30, channels, np.float32)
    before = pixels.copy()
    restored = restore_photo(photo_of(pixels), identity, tile=64, overlap=16).photo.pixels
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(restored, before)
    assert restored.max() > 2


def test_the_result_is_rounded_and_clamped() -> None:
    pixels = np.array([[[10], [250]]], np.uint8)
    raised = restore_photo(photo_of(pixels), lambda tile: tile + 9.6 / 255, tile=0, overlap=0)
    assert raised.photo.pixels.ravel().tolist() == [20, 255]


def test_strength_mixes_with_the_input() -> None:
    pixels = np.full((9, 9, 3), 100, np.uint8)
    for strength, expected in ((0.0, 100), (0.5, 110), (1.0, 120)):
        restored = restore_photo(
            photo_of(pixels), lambda tile: tile + 20 / 255, tile=0, overlap=0, strength=strength
        )
        assert (restored.photo.pixels == expected).all()


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_0_to_1_is_an_error(strength: float) -> None:
    with pytest.raises(UsageError, match="strength of"):
        restore_photo(
            photo_of(random_pixels(8, 8, 3, np.uint8)), identity, tile=0, overlap=0, strength=strength
        )


def test_tiles_of_a_local_filter_blend_without_a_trace() -> None:
    pixels = random_pixels(200, 230, 3, np.uint8)

    def brighten(tile: Tensor) -> Tensor:
        return tile * 0.5 + 0.25

    whole = restore_photo(photo_of(pixels), brighten, tile=0, overlap=0).photo.pixels
    tiled = restore_photo(photo_of(pixels), brighten, tile=96, overlap=32).photo.pixels
    np.testing.assert_array_equal(whole, tiled)


def test_alpha_and_what_lies_under_it_stay_as_they_are() -> None:
    pixels = random_pixels(24, 24, 3, np.uint8)
    alpha = np.full((24, 24), 255, np.uint8)
    alpha[8:16, 8:16] = 0
    pixels[8:16, 8:16] = 0
    seen: list[Tensor] = []

    def predict(tile: Tensor) -> Tensor:
        seen.append(tile)
        return 1 - tile

    restored = restore_photo(photo_of(pixels, alpha), predict, tile=0, overlap=0).photo
    assert restored.alpha is alpha
    assert (restored.pixels[8:16, 8:16] == 0).all()
    assert (restored.pixels[:8] == 255 - pixels[:8]).all()
    assert seen[0][0, :, 8:16, 8:16].max() > 0, (
        "the network must not see the black under the transparent part"
    )


def test_a_result_that_is_not_a_number_is_an_error() -> None:
    with pytest.raises(PhotoError, match="not a number"):
        restore_photo(
            photo_of(random_pixels(8, 8, 3, np.uint8)), lambda tile: tile / 0 - tile / 0, tile=0, overlap=0
        )


def test_details_tell_how_the_photo_was_made_and_what_changed() -> None:
    pixels = random_pixels(100, 150, 3, np.uint8) // 2
    calls: list[tuple[float, int]] = []
    restored = restore_photo(
        photo_of(pixels),
        lambda tile: tile + 10 / 255,
        tile=96,
        overlap=32,
        progress=lambda *call: calls.append(call),
    )
    details = restored.details
    assert (details.tiles, details.tile_size, details.overlap) == (4, (72, 96), 32)
    assert details.rms_change == pytest.approx(10, abs=0.01)
    assert details.gradient_gain == pytest.approx(1, abs=0.01)
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4)]
    sharper = restore_photo(photo_of(pixels), lambda tile: tile * 1.5, tile=0, overlap=0)
    assert sharper.details.gradient_gain == pytest.approx(1.5**2, abs=0.01)


@given(h=st.integers(1, 20), w=st.integers(1, 20))
def test_padding_mirrors_and_then_repeats(h: int, w: int) -> None:
    image = torch.arange(h * w, dtype=torch.float32).reshape(1, 1, h, w)
    padded = pad_to_unit(image)
    assert padded.shape[-2] % 8 == padded.shape[-1] % 8 == 0
    assert torch.equal(padded[..., :h, :w], image)
    missing = -w % 8
    if missing and w > 1:
        assert torch.equal(padded[..., :h, w], image[..., w - 2])
    if missing > w - 1:
        assert torch.equal(padded[..., :h, -1], image[..., 0])


@pytest.mark.parametrize("region", [(0, 0, 50, 40), (13, 7, 60, 51), (100, 90, 50, 30), (70, 0, 1, 1)])
def test_a_region_is_restored_and_every_other_pixel_is_left_alone(region: tuple[int, int, int, int]) -> None:
    pixels = random_pixels(120, 150, 3, np.uint16) // 2
    restored = restore_region(
        photo_of(pixels), region, lambda tile: tile + 0.2, tile=64, overlap=16
    ).photo.pixels
    x, y, w, h = region
    inside = np.zeros((120, 150), bool)
    inside[y : y + h, x : x + w] = True
    np.testing.assert_array_equal(restored[~inside], pixels[~inside])
    change = restored.astype(int) - pixels
    assert (change[inside] > 0).all()
    if h > 30:
        assert change[y + h // 2, x + w // 2].tolist() == pytest.approx([0.2 * 65535] * 3, abs=1)


def test_a_region_fades_into_the_photo_but_not_at_the_photos_own_border() -> None:
    pixels = np.full((100, 100, 1), 1000, np.uint16)
    change = restore_region(
        photo_of(pixels), (0, 20, 60, 60), lambda tile: tile + 0.2, tile=0, overlap=0
    ).photo.pixels
    rows, columns = change[20:80, 30, 0].astype(int), change[50, :60, 0].astype(int)
    assert (np.diff(rows[:16]) > 0).all()
    assert (np.diff(rows[-16:]) < 0).all()
    assert columns[0] == columns[20] > columns[-1] > 1000


def test_the_change_of_a_region_is_that_of_the_region_alone() -> None:
    photo = photo_of(np.full((200, 200, 3), 100, np.uint8))
    details = restore_region(photo, (20, 20, 160, 160), lambda tile: tile + 0.2, tile=0, overlap=0).details
    assert 0.8 * 51 < details.rms_change < 51  # 0.2 in 8-bit levels, less where it fades


def test_samples_that_are_no_numbers_are_not_blamed_on_the_network() -> None:
    pixels = np.full((64, 64, 3), 0.5, np.float32)
    pixels[3, 4, 1] = np.nan
    with pytest.raises(PhotoError, match="no numbers"):
        restore_photo(photo_of(pixels), identity, tile=0, overlap=0)


def test_a_region_of_a_transparent_photo_keeps_alpha() -> None:
    alpha = random_pixels(64, 64, 1, np.uint8)[..., 0]
    photo = photo_of(random_pixels(64, 64, 3, np.uint8), alpha)
    assert restore_region(photo, (10, 10, 20, 20), identity, tile=0, overlap=0).photo.alpha is alpha


@pytest.mark.parametrize("region", [(-1, 0, 5, 5), (0, 0, 0, 5), (0, 0, 151, 5), (149, 119, 1, 2)])
def test_a_region_outside_the_photo_says_how_large_that_is(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(PhotoError, match=r"does not lie in a photo of 150x120"):
        restore_region(photo_of(random_pixels(120, 150, 3, np.uint8)), region, identity, tile=0, overlap=0)


# Shake, by a fake that says that it has undone one


def doubling(light: Tensor, alone: Tensor) -> tuple[Tensor | None, Mapping[str, Any]]:
    return 2 * light, {"outcome": "undone"}


def leaving(light: Tensor, alone: Tensor) -> tuple[Tensor | None, Mapping[str, Any]]:
    return None, {"outcome": "none"}


def test_shake_is_undone_in_linear_light() -> None:
    pixels = np.full((16, 16, 3), 100, np.uint8)
    seen: list[Tensor] = []

    def unshake(light: Tensor, alone: Tensor) -> tuple[Tensor | None, Mapping[str, Any]]:
        seen.append(light)
        return doubling(light, alone)

    restored = restore_photo(photo_of(pixels), identity, tile=0, overlap=0, unshake=unshake)
    assert seen[0].shape == (3, 16, 16)
    assert seen[0].dtype == torch.float32
    assert float(seen[0].mean()) == pytest.approx(((100 / 255 + 0.055) / 1.055) ** 2.4, abs=1e-4)
    assert (restored.photo.pixels == 138).all()  # the sRGB value of twice that light
    assert restored.details.shake == {"outcome": "undone"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_photo_whose_shake_is_left_is_restored_as_without_looking(dtype: type, channels: int) -> None:
    photo = photo_of(random_pixels(40, 52, channels, dtype))
    plain = restore_photo(photo, lambda tile: tile * 0.9, tile=0, overlap=0)
    looked = restore_photo(photo, lambda tile: tile * 0.9, tile=0, overlap=0, unshake=leaving)
    np.testing.assert_array_equal(plain.photo.pixels, looked.photo.pixels)
    assert (plain.details.shake, looked.details.shake) == ({}, {"outcome": "none"})


def test_strength_mixes_with_the_photo_before_its_shake_was_undone() -> None:
    pixels = np.full((9, 9, 3), 100, np.uint8)
    half = restore_photo(photo_of(pixels), identity, tile=0, overlap=0, strength=0.5, unshake=doubling)
    assert (half.photo.pixels == 119).all()


def test_a_region_is_unshaken_with_wide_surroundings_and_nothing_else_is_touched() -> None:
    pixels = random_pixels(700, 800, 3, np.uint8) // 4
    sizes = []

    def unshake(light: Tensor, alone: Tensor) -> tuple[Tensor | None, Mapping[str, Any]]:
        sizes.append(light.shape)
        return doubling(light, alone)

    region = (300, 300, 100, 80)
    restored = restore_region(photo_of(pixels), region, identity, tile=0, overlap=0, unshake=unshake)
    assert sizes == [(3, 80 + 512, 100 + 512)]
    changed = (restored.photo.pixels != pixels).any(2)
    assert changed[330:350, 330:370].all()
    changed[300:380, 300:400] = False
    assert not changed.any()


def test_a_region_whose_shake_is_left_is_restored_as_without_looking() -> None:
    photo = photo_of(random_pixels(400, 400, 3, np.uint8))
    options: dict[str, Any] = {"tile": 0, "overlap": 0}
    plain = restore_region(photo, (150, 150, 64, 64), lambda tile: tile - tile.mean(), **options)
    looked = restore_region(
        photo, (150, 150, 64, 64), lambda tile: tile - tile.mean(), unshake=leaving, **options
    )
    np.testing.assert_array_equal(plain.photo.pixels, looked.photo.pixels)


def test_what_nobody_can_see_keeps_its_pixels_when_shake_is_undone() -> None:
    pixels = random_pixels(24, 24, 3, np.uint8) // 4
    alpha = np.full((24, 24), 255, np.uint8)
    alpha[4:8] = 0
    restored = restore_photo(photo_of(pixels, alpha), identity, tile=0, overlap=0, unshake=doubling).photo
    np.testing.assert_array_equal(restored.pixels[4:8], pixels[4:8])
    assert restored.alpha is alpha


@pytest.mark.parametrize("strength", [0.0, 0.37, 1.0])
@pytest.mark.parametrize("region", [None, (13, 7, 60, 51)])
def test_an_output_that_is_kept_gives_every_strength(
    strength: float, region: tuple[int, int, int, int] | None
) -> None:
    def predict(tile: Tensor) -> Tensor:
        return tile * 1.3 - 0.1

    alpha = random_pixels(120, 150, 1, np.uint8)[..., 0]
    photo = photo_of(random_pixels(120, 150, 3, np.uint8), alpha)
    if region is None:
        kept = output_of(photo, predict, tile=64, overlap=16)
        direct = restore_photo(photo, predict, strength=strength, tile=64, overlap=16)
    else:
        kept = output_of_region(photo, region, predict, tile=64, overlap=16)
        direct = restore_region(photo, region, predict, strength=strength, tile=64, overlap=16)
    mixed = mix(photo, kept, strength)
    np.testing.assert_array_equal(mixed.photo.pixels, direct.photo.pixels)
    assert mixed.details == direct.details
    assert (mixed.photo.pixels != photo.pixels).any() == (strength > 0)
