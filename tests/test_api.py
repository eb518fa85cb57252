from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from conftest import TINY, RestormerConfig, random_model
from deblur_cli import Deblurrer, deblur, stream
from deblur_cli.api import _deblurrer
from deblur_cli.errors import PhotoError, UsageError, WeightsError
from deblur_cli.loader import load_model
from deblur_cli.photo import Encoding, Photo
from deblur_cli.registry import find_weights
from deblur_cli.stream.engine import Engine


def weights(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_file(random_model(RestormerConfig(**{**TINY.__dict__, **changes})).state_dict(), path)
    return path


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "F"])
def test_an_image_comes_back_in_its_mode_and_size(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)).convert(mode)
    image.info["icc_profile"] = b"profile"
    sharp = deblur(image, weights=weights(tmp_path), device="cpu")
    assert isinstance(sharp, Image.Image)
    assert (sharp.mode, sharp.size, sharp.info["icc_profile"]) == (mode, (30, 20), b"profile")


@pytest.mark.parametrize(("mode", "expected"), [("1", "L"), ("P", "RGB"), ("CMYK", "RGB"), ("PA", "RGBA")])
def test_other_modes_become_true_colour_or_gray(mode: str, expected: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (9, 9)).convert(mode) if mode != "PA" else Image.new("PA", (9, 9))
    assert deblur(image, weights=weights(tmp_path)).mode == expected


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_deep_gray_of_whatever_mode_keeps_its_values(mode: str, tmp_path: Path) -> None:
    values = np.linspace(813, 65535, 600).astype(np.uint16).reshape(20, 30)
    image = Image.frombytes(
        mode, (30, 20), values.astype({"I": "<i4", "I;16": "<u2", "I;16B": ">u2"}[mode]).tobytes()
    )
    sharp = deblur(image, weights=weights(tmp_path), strength=0)
    assert sharp.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(sharp), values)


def test_deep_gray_out_of_range_is_no_photo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outside 0 to 65535"):
        deblur(Image.new("I", (9, 9), 70000), weights=weights(tmp_path))


def test_cmyk_loses_the_profile_of_its_inks(tmp_path: Path) -> None:
    image = Image.new("CMYK", (9, 9))
    image.info["icc_profile"] = b"inks"
    assert "icc_profile" not in deblur(image, weights=weights(tmp_path)).info


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(9, 17), (9, 17, 1), (9, 17, 3), (9, 17, 4)])
def test_an_array_comes_back_in_its_shape_and_dtype(dtype: type, shape: tuple, tmp_path: Path) -> None:
    array = (np.random.default_rng(0).random(shape) * (1 if dtype(0.5) else 200)).astype(dtype)
    sharp = deblur(array, weights=weights(tmp_path))
    assert (sharp.shape, sharp.dtype) == (shape, dtype)
    assert not np.array_equal(sharp, array)
    if shape[-1] == 4:
        np.testing.assert_array_equal(sharp[..., 3], array[..., 3])


def test_a_deblurrer_is_loaded_once_and_used_often(tmp_path: Path) -> None:
    path = weights(tmp_path)
    deblurrer = Deblurrer(path, tile=64)
    path.unlink()
    array = np.full((70, 80, 3), 99, np.uint8)
    np.testing.assert_array_equal(deblurrer(array), deblurrer(array))
    np.testing.assert_array_equal(deblurrer(array, strength=0), array)


def test_gray_through_a_colour_network_is_the_mean_of_its_channels(tmp_path: Path) -> None:
    deblurrer = Deblurrer(weights(tmp_path), precision="fp32")
    gray = 0.4 + 0.2 * np.random.default_rng(0).random((16, 24, 1), np.float32)
    colour = deblurrer(gray.repeat(3, 2))
    np.testing.assert_allclose(deblurrer(gray)[..., 0], colour.mean(2), atol=1e-5)


def test_colour_through_a_gray_network_changes_its_luminance_only(tmp_path: Path) -> None:
    deblurrer = Deblurrer(weights(tmp_path, inp_channels=1, out_channels=1), precision="fp32")
    colour = 0.4 + 0.2 * np.random.default_rng(0).random((16, 24, 3), np.float32)
    change = deblurrer(colour) - colour
    assert np.abs(change).max() > 1e-3
    np.testing.assert_allclose(change, change[..., :1].repeat(3, 2), atol=1e-6)
    luminance = (colour * np.array([0.299, 0.587, 0.114], np.float32)).sum(2, keepdims=True)
    np.testing.assert_allclose(deblurrer(luminance) - luminance, change[..., :1], atol=1e-5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 9, 9, 3), np.uint8), r"shape \(3, 9, 9, 3\)"),
        (np.zeros((9, 9, 2), np.uint8), r"shape \(9, 9, 2\)"),
        (np.zeros((0, 9, 3), np.uint8), r"shape \(0, 9, 3\)"),
        (np.zeros((9, 9), np.int64), "array of int64"),
        ("photo.jpg", "a str is no photo"),
        (torch.zeros(3, 9, 9), "a Tensor is no photo"),
    ],
)
def test_what_is_no_photo_says_so(image: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        deblur(image, weights=weights(tmp_path))


@pytest.mark.parametrize(("h", "w"), [(70, 90), (24, 40), (1, 1)])
def test_a_network_at_half_the_size_takes_any_size_in_tiles_and_whole(h: int, w: int, tmp_path: Path) -> None:
    photo = np.random.default_rng(0).random((h, w, 3), np.float32)
    path = weights(tmp_path, unshuffle=2)
    for tile in (0, 72):
        sharp = Deblurrer(path, tile=tile, precision="fp32", shake="off")(photo)
        assert sharp.shape == photo.shape
        assert not np.array_equal(sharp, photo)
    with pytest.raises(UsageError, match="multiple of 16"):
        Deblurrer(path, window=200)
    assert Deblurrer(path, window=192, precision="fp32")(photo).shape == photo.shape


def test_a_dual_pixel_network_takes_no_single_photo(tmp_path: Path) -> None:
    deblurrer = Deblurrer(weights(tmp_path, inp_channels=6, dual_pixel=True))
    with pytest.raises(WeightsError, match="a 6-channel dual-pixel checkpoint"):
        deblurrer(np.zeros((9, 9, 3), np.uint8))


def test_a_package_without_that_name_says_so() -> None:
    import deblur_cli

    with pytest.raises(AttributeError, match="no attribute 'sharpen'"):
        deblur_cli.sharpen  # noqa: B018


def test_the_engine_gives_the_numbers_of_the_plain_model(tmp_path: Path) -> None:
    path = weights(tmp_path)
    photo = np.random.default_rng(0).random((40, 56, 3), np.float32)
    sharp = Deblurrer(path, device="cpu", precision="fp32", tile=0, window=0)(photo)
    plain = load_model(path)(torch.from_numpy(photo).permute(2, 0, 1)[None])
    np.testing.assert_allclose(sharp, plain[0].permute(1, 2, 0).clamp(0, 1).numpy(), atol=1e-5)


def test_the_window_is_what_the_user_says_or_what_the_weights_were_trained_with(tmp_path: Path) -> None:
    assert Deblurrer("compact").window == find_weights("compact").window
    assert Deblurrer(weights(tmp_path)).window == 384
    assert Deblurrer(weights(tmp_path), window=0).window == 0
    photo = np.random.default_rng(0).random((200, 216, 3), np.float32)
    whole, local = (
        Deblurrer(weights(tmp_path), window=window, precision="fp32")(photo) for window in (0, 64)
    )
    assert 1e-5 < np.abs(whole - local).max() < 0.2


@pytest.mark.parametrize("window", [-8, 8, 100])
def test_a_window_that_cannot_be_used_says_what_can(window: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"window of {window} pixels(.|\n)*multiple of 8 from 64"):
        Deblurrer(weights(tmp_path), window=window)


def test_a_tile_that_overflows_in_bfloat16_is_redone_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Engine.run

    def overflow(self: Engine, *arguments: object) -> torch.Tensor:
        result = real(self, *arguments)
        return result if self.output.kernel.dtype == torch.float32 else result / 0

    monkeypatch.setattr(Engine, "run", overflow)
    photo = Photo(np.full((100, 100, 3), 99, np.uint8), None, Encoding("PNG"))
    restored = Deblurrer(weights(tmp_path), precision="bf16", tile=64).restore(photo)
    assert restored.details.made_with["tiles redone in fp32"] == "4"


def test_a_region_goes_through_the_network_and_the_rest_does_not(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    photo = Photo(pixels, None, Encoding("PNG"))
    sharp = Deblurrer(weights(tmp_path)).restore(photo, region=(8, 16, 24, 32)).photo.pixels
    changed = (sharp != pixels).any(2)
    assert changed[16:48, 8:32].any()
    changed[16:48, 8:32] = False
    assert not changed.any()


def test_auto_takes_a_photo_whole_if_it_fits_and_else_in_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deblurrer = Deblurrer(weights(tmp_path), device="cpu")
    photo = Photo(np.zeros((200, 300, 3), np.uint8), None, Encoding("PNG"))
    assert deblurrer.restore(photo).details.tiles == 1
    free_bytes = int(deblurrer._peak_bytes((128, 128)) / 0.6)
    monkeypatch.setattr(_deblurrer, "free_memory", lambda device: free_bytes)
    details = deblurrer.restore(photo).details
    assert details.tiles > 1
    assert deblurrer._peak_bytes(details.tile_size) <= 0.6 * free_bytes
    assert "GB free" in details.made_with["memory"]
    shared = Deblurrer(weights(tmp_path), device="cpu", memory_share=0.9).restore(photo).details
    assert shared.tiles > details.tiles


def test_a_tile_that_cannot_fit_is_refused_with_one_that_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deblurrer = Deblurrer(weights(tmp_path), device="cpu", tile=256)
    monkeypatch.setattr(_deblurrer, "free_memory", lambda device: deblurrer._peak_bytes((200, 200)))
    photo = Photo(np.zeros((300, 300, 3), np.uint8), None, Encoding("PNG"))
    with pytest.raises(
        PhotoError, match=r"tiles of 256x256 pixels need about .* GB(.|\n)*--tile \d+ would fit"
    ):
        deblurrer.restore(photo)


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    real = stream.run

    def run(model: object, x: torch.Tensor, **options: object) -> torch.Tensor:
        if max(x.shape[-2:]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, x, **options)

    monkeypatch.setattr(stream, "run", run)


def test_a_device_that_runs_out_of_memory_gets_smaller_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(monkeypatch, 128)
    photo = Photo(np.zeros((300, 400, 3), np.uint8), None, Encoding("PNG"))
    details = Deblurrer(weights(tmp_path)).restore(photo).details
    assert max(details.tile_size) <= 104


@pytest.mark.parametrize(("tile", "most", "hint"), [(256, 128, "--tile 128"), ("auto", 8, "--tile 64")])
def test_out_of_memory_with_the_users_own_tile_or_the_least_is_an_error(
    tile: int, most: int, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_of_memory(monkeypatch, most)
    photo = Photo(np.zeros((300, 400, 3), np.uint8), None, Encoding("PNG"))
    with pytest.raises(PhotoError, match=f"cpu is out of memory(.|\n)*{hint}"):
        Deblurrer(weights(tmp_path), device="cpu", tile=tile).restore(photo)


def test_a_known_kernel_is_taken_as_an_array_and_shake_may_be_left(tmp_path: Path) -> None:
    path = weights(tmp_path)
    face = Path(__file__).parent.parent / "examples/originals/astronaut.png"
    sharp = np.asarray(Image.open(face).convert("RGB"))[40:200, 150:310].astype(np.float32) / 255
    image = np.mean([sharp[:, i : i + 154] ** 2.2 for i in range(7)], 0) ** (1 / 2.2)
    kernel = np.zeros((9, 9))
    kernel[4, 1:8] = 1
    known = deblur(image, weights=path, kernel=kernel)
    assert known.shape == image.shape
    left = Deblurrer(path, shake="off")(image)
    assert np.abs(known - left).max() > 0.05
    small = image[:90]  # too small to see a shake in
    np.testing.assert_array_equal(Deblurrer(path)(small), Deblurrer(path, shake="off")(small))
    with pytest.raises(UsageError, match="no path"):
        Deblurrer(path, kernel=np.zeros((5, 5)))
    with pytest.raises(UsageError, match="no shake 'x'"):
        Deblurrer(path, shake="x")
