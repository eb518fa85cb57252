"""Pairs of dual-pixel views: `deblur --left L --right R`, and the same from Python."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from conftest import TINY, random_model
from deblur_cli import Deblurrer
from deblur_cli.errors import PhotoError, WeightsError
from deblur_cli.photo import Encoding, Metadata, Photo, pair_of, read_photo, write_photo
from deblur_cli.restore import restore_photo, restore_region
from test_cli import Deblur, deblur, names  # noqa: F401  (a fixture)

DUAL = random_model(replace(TINY, inp_channels=6, dual_pixel=True, bias=True))
DUAL.output.bias.fill_(0.5)  # it adds its output to nothing, and what is clamped shows nothing


def pixels(
    seed: int, dtype: type = np.uint16, size: tuple[int, int] = (40, 56), channels: int = 3
) -> np.ndarray:
    """Smooth and in the middle of the range, so that nothing is clipped."""
    random = np.random.default_rng(seed).random((*size, channels))
    values = 0.4 + 0.2 * random
    return (values if dtype == np.float32 else values * np.iinfo(dtype).max).astype(dtype)


def save(path: str, samples: np.ndarray, metadata: Metadata | None = None) -> Path:
    write_photo(Photo(samples, None, Encoding("PNG"), metadata or Metadata()), Path(path))
    return Path(path)


@pytest.fixture(scope="session")
def dual(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of weights for pairs."""
    path = tmp_path_factory.mktemp("weights") / "dual.safetensors"
    save_file(DUAL.state_dict(), path)
    return str(path)


def by_the_model(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """As the paper's evaluation does it: 16 bits over 65535, left before right, clamped, and back."""
    views = [torch.from_numpy(view.astype(np.float32) / 65535).permute(2, 0, 1) for view in (left, right)]
    restored = DUAL(torch.cat(views)[None]).clamp(0, 1)
    return (restored[0].permute(1, 2, 0) * 65535).round().numpy()


def test_a_pair_becomes_what_the_network_makes_of_left_and_right(deblur: Deblur, dual: str) -> None:
    left, right = pixels(1), pixels(2)
    save("L.png", left, Metadata(dpi=(300.0, 300.0), comment=b"of the left"))
    save("R.png", right, Metadata(comment=b"of the right"))
    options = ("--weights", dual, "--precision", "fp32", "--shake", "off")
    outcome = deblur("--left", "L.png", "--right", "R.png", "-o", "sharp.png", *options)
    assert outcome.code == 0, outcome.err
    assert "L.png -> sharp.png" in outcome.err
    sharp = read_photo(Path("sharp.png"))
    assert sharp.pixels.dtype == np.uint16
    np.testing.assert_allclose(sharp.pixels, by_the_model(left, right), atol=2)
    assert np.abs(by_the_model(left, right) - by_the_model(right, left)).max() > 200
    assert (sharp.metadata.comment, round(sharp.metadata.dpi[0])) == (b"of the left", 300)


def test_a_result_without_a_name_goes_beside_the_left_view(deblur: Deblur, dual: str) -> None:
    Path("sub").mkdir()
    save("sub/L.png", pixels(1))
    save("R.png", pixels(2))
    assert deblur("--right", "R.png", "--left", "sub/L.png", "--weights", dual).code == 0
    assert names("sub") == ["L.png", "L_sharp.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--left", "L.png"], 2, "a pair has two views\n       For example: deblur --left L.png --right R.png"),
        (["--right", "R.png"], 2, "a pair has two views"),
        (["a.png", "--left", "L.png", "--right", "R.png"], 2, "photos and a pair do not go together"),
        (["--left", "L.png", "--right", "L.png"], 2, "L.png cannot be both views of a pair"),
        (["--left", "L.png", "--right", "./L.png"], 2, "L.png cannot be both views of a pair"),
        (["--left", "-", "--right", "R.png"], 2, "standard input is one photo, and a pair is two"),
        (["--left", "L.png", "--right", "-"], 2, "standard input is one photo, and a pair is two"),
        (["--left", "L.png", "--right", ""], 2, "the name of a photo is empty"),
        (["-o", "sharp.png"], 2, "no photo is named\n       For example: deblur photo.jpg"),
        (["--left", "L.png", "--right", "none.png"], 1, "none.png: no such file"),
        (["--left", "none.png", "--right", "R.png"], 1, "none.png: no such file"),
        (["--left", "L.png", "--right", "."], 1, ".: is a folder"),
        (["--left", "L.png", "--right", "text.png"], 1, "text.png: not a photo"),
        (
            ["--left", "L.png", "--right", "small.png"],
            1,
            "L.png, small.png: the views do not belong together: the left one is 56x40, RGB, 16 bits, the right one 9x8, RGB, 16 bits",
        ),
        (["--left", "L.png", "--right", "8bit.png"], 1, "RGB, 16 bits, the right one 56x40, RGB, 8 bits"),
        (["--left", "L.png", "--right", "gray.png"], 1, "the right one 56x40, gray, 16 bits"),
        (["--left", "L.png", "--right", "R.png", "-o", "R.png", "--overwrite"], 1, "R.png: is itself an input"),
        (["--left", "L.png", "--right", "R.png", "-o", "text.png"], 1, "text.png: exists already"),
        (["--left", "L.png", "--right", "R.png", "--max-megapixels", "0.001"], 1, "L.png: 56x40 is"),
        (["--left", "L.png", "--right", "R.png", "--weights", "compact"], 3, "compact: these weights are for photos"),
        (["a.png", "--weights", "DUAL"], 3, "which needs two views of a photo\n       For a pair: deblur --left"),
        (["--left", "L.png", "--right", "R.png", "--weights", "auto"], 3, "the weights defocus-dual-pixel are not installed"),
    ],
)  # fmt: skip
def test_wrong_pairs_lead_the_user_on(
    arguments: list[str], code: int, message: str, deblur: Deblur, dual: str
) -> None:
    for name, view in {
        "L.png": pixels(1),
        "R.png": pixels(2),
        "small.png": pixels(3, size=(8, 9)),
        "8bit.png": pixels(3, np.uint8),
        "gray.png": pixels(3, channels=1),
        "a.png": pixels(3),
    }.items():
        save(name, view)
    Path("text.png").write_text("dear diary")
    before = {name: Path(name).read_bytes() for name in names(".")}
    arguments = [dual if word == "DUAL" else word for word in arguments]
    outcome = deblur(*(arguments if "--weights" in arguments else [*arguments, "--weights", dual]))
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert message in outcome.err
    assert {name: Path(name).read_bytes() for name in names(".")} == before


def test_tiles_strength_regions_and_the_ensemble_are_as_for_a_photo(deblur: Deblur, dual: str) -> None:
    save("L.png", pixels(1, size=(100, 140)))
    save("R.png", pixels(2, size=(100, 140)))
    mean = np.rint((pixels(1, size=(100, 140)).astype(float) + pixels(2, size=(100, 140))) / 2)
    pair = ("--left", "L.png", "--right", "R.png", "--weights", dual, "--shake", "off", "--overwrite")

    def result(*options: str) -> np.ndarray:
        outcome = deblur(*pair, "-o", "sharp.png", *options)
        assert outcome.code == 0, outcome.err
        return read_photo(Path("sharp.png")).pixels

    whole = result()
    np.testing.assert_array_equal(result("--strength", "0"), mean)
    assert 0 < np.abs(result("--tile", "64").astype(int) - whole).max() < 6000
    inside = result("--region", "40,30,50,40")
    changed = np.argwhere((inside != mean).any(2))
    assert (changed.min(0) >= (30, 40)).all()
    assert (changed.max(0) < (70, 90)).all()
    assert not np.array_equal(result("--ensemble"), whole)


def test_views_are_handed_to_the_network_left_before_right_and_unrounded() -> None:
    left, right = pixels(1), pixels(2)
    seen = []
    photo = pair_of(*(Photo(view, None, Encoding("PNG")) for view in (left, right)))
    restored = restore_photo(photo, lambda tile: seen.append(tile) or tile[:, 3:], tile=0, overlap=0).photo
    np.testing.assert_array_equal(seen[0][0, :3].permute(1, 2, 0), left.astype(np.float32) / 65535)
    np.testing.assert_array_equal(seen[0][0, 3:].permute(1, 2, 0), right.astype(np.float32) / 65535)
    np.testing.assert_array_equal(restored.pixels, right)
    assert restored.views is None
    part = restore_region(photo, (9, 8, 20, 16), lambda tile: tile[:, :3], tile=0, overlap=0).photo
    assert part.views is None
    np.testing.assert_array_equal(part.pixels[0], photo.pixels[0])


def test_a_float_pair_has_one_peak() -> None:
    left, right = pixels(1, np.float32), 5 * pixels(2, np.float32)
    photo = pair_of(*(Photo(view, None, Encoding("TIFF")) for view in (left, right)))
    assert photo.peak == 4
    np.testing.assert_allclose(photo.pixels, (left + right) / 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_python_takes_pairs_of_arrays(dtype: type, dual: str) -> None:
    left, right = pixels(1, dtype), pixels(2, dtype)
    deblurrer = Deblurrer(dual, precision="fp32", shake="off")
    sharp = deblurrer(left, right=right)
    assert (sharp.dtype, sharp.shape) == (dtype, left.shape)
    assert not np.array_equal(sharp, deblurrer(right, right=left))
    with pytest.raises(WeightsError, match="needs two views"):
        deblurrer(left)
    with pytest.raises(PhotoError, match="do not belong together"):
        deblurrer(left, right=right[:-1])
    with pytest.raises(WeightsError, match="compact: these weights are for photos"):
        Deblurrer("compact")(left, right=right)


def test_python_takes_pairs_of_images_and_gray_ones_go_through_three_channels(dual: str) -> None:
    left, right = (Image.fromarray(pixels(seed, np.uint8)) for seed in (1, 2))
    deblurrer = Deblurrer(dual, precision="fp32", shake="off")
    sharp = deblurrer(left, right=right)
    np.testing.assert_array_equal(np.asarray(sharp), deblurrer(np.asarray(left), right=np.asarray(right)))
    gray = [pixels(seed, np.float32, channels=1) for seed in (1, 2)]
    colour = deblurrer(gray[0].repeat(3, 2), right=gray[1].repeat(3, 2))
    np.testing.assert_allclose(deblurrer(gray[0], right=gray[1])[..., 0], colour.mean(2), atol=1e-5)


def test_a_network_of_other_views_is_refused(tmp_path: Path) -> None:
    save_file(
        random_model(replace(TINY, inp_channels=2, out_channels=1, dual_pixel=True)).state_dict(),
        tmp_path / "w.safetensors",
    )
    with pytest.raises(WeightsError, match="a dual-pixel checkpoint of 2 input and 1 output channels"):
        Deblurrer(tmp_path / "w.safetensors")


@pytest.mark.isolated
def test_a_pair_is_decoded_in_a_process_that_may_crash(deblur: Deblur, dual: str) -> None:
    save("L.png", pixels(1))
    save("R.png", pixels(2))
    assert deblur("--left", "L.png", "--right", "R.png", "--weights", dual, "--shake", "off").code == 0
    assert read_photo(Path("L_sharp.png")).pixels.shape == (40, 56, 3)
