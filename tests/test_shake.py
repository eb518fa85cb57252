import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from deblur_cli.device import choose_dtype
from deblur_cli.ensemble import TURNS, turned
from deblur_cli.errors import PhotoError, UsageError
from deblur_cli.shake import (
    Shake,
    _undo,
    as_kernel,
    deconvolve,
    estimate,
    kernel_from_lamp,
    undo,
)
from deblur_cli.shake._agreed import climb, common, distinct, finer, likeness, starts
from deblur_cli.shake._choice import RARER_DB, Candidate, Choice, doubt
from deblur_cli.shake._cleaner import Cleaner, cleaned
from deblur_cli.shake._curve import Curve, to_light, to_srgb
from deblur_cli.shake._deconvolve import measure_noise
from deblur_cli.shake._edges import kernels_of_edges
from deblur_cli.shake._estimate import Guess, grown, pyramid
from deblur_cli.shake._expected import Expected, expected_of
from deblur_cli.shake._find import SIDES
from deblur_cli.shake._fourier import divergence, fast_length, gradients, transfer, wrap
from deblur_cli.shake._joined import joined
from deblur_cli.shake._kernels import centred, cleared, extent, rescaled, tidied
from deblur_cli.shake._kernels import line as drawn_line
from deblur_cli.shake._least_squares import correlations, least_squares
from deblur_cli.shake._parts import kernel_at, part_of
from deblur_cli.shake._predictor import load_predictor
from deblur_cli.shake._print import kernels_of_print, looks_printed
from deblur_cli.shake._refit import BETTER_DB, refitted
from deblur_cli.shake._undo import EXPLAINED_DB, crisp

EXAMPLES = Path(__file__).parent.parent / "examples"


def line(length: int, degrees: float, n: int = 41) -> Tensor:
    """A straight path of that length and direction."""
    kernel = torch.zeros(n, n)
    for t in torch.linspace(-(length - 1) / 2, (length - 1) / 2, 8 * length):
        y = n // 2 - t * math.sin(math.radians(degrees))
        x = n // 2 + t * math.cos(math.radians(degrees))
        kernel[round(float(y)), round(float(x))] += 1
    return kernel / kernel.sum()


def one(kernel: Tensor, curve: Curve = Curve.LIGHT) -> Shake:
    return Shake(kernel[None, None], torch.ones(1, 1), curve)


def scene(h: int, w: int, seed: int = 0, channels: int = 3) -> Tensor:
    """Flat patches with sharp edges and some texture, (c, h, w) in 0.05..0.9."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, h // 16 + 2, w // 16 + 2, generator=generator)
    edges = F.interpolate(coarse, size=(h, w), mode="nearest")[0]
    return (0.05 + 0.75 * edges + 0.1 * torch.rand(channels, h, w, generator=generator)).clamp(0, 0.9)


def blurred(light: Tensor, kernel: Tensor, noise: float = 0.0) -> Tensor:
    """Blurred as a camera does, from beyond the frame too: the borders of `light` are lost."""
    n = kernel.shape[-1]
    result = F.conv2d(light[:, None], kernel.flip(0, 1)[None, None])[:, 0]
    assert result.shape[-1] == light.shape[-1] - n + 1
    return result + noise * torch.randn(result.shape, generator=torch.Generator().manual_seed(1))


def psnr(a: Tensor, b: Tensor) -> float:
    return -10 * float((a - b).square().mean().log10())


# Fourier


@given(st.integers(1, 3000))
def test_a_fast_length_is_the_least_of_its_kind(length: int) -> None:
    fast = fast_length(length)
    rest = fast
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    assert rest == 1
    assert length <= fast < 1.3 * length + 1


def test_divergence_is_the_adjoint_of_the_gradients() -> None:
    x, right, down = torch.randn(3, 12, 17).unbind()
    assert torch.isclose(
        (gradients(x)[0] * right + gradients(x)[1] * down).sum(),
        (x * divergence(right, down)).sum(),
        atol=1e-4,
    )


def test_a_wrapped_frame_has_no_step_where_its_ends_meet() -> None:
    x = torch.linspace(0, 1, 40).expand(1, 30, 40)
    framed = wrap(x, (10, 11, 6, 7))
    assert framed.shape == (1, 43, 61)
    assert torch.equal(framed[:, 6:36, 10:50], x)
    assert (framed[..., 0] - framed[..., -1]).abs().max() < 0.1


def test_a_transfer_function_does_not_move_the_frame() -> None:
    point = torch.zeros(5, 5)
    point[2, 2] = 1
    assert torch.allclose(transfer(point, (16, 20)), torch.ones(16, 11, dtype=torch.complex64), atol=1e-6)


# Kernels


@pytest.mark.parametrize(("length", "degrees"), [(9, 0), (15, 90), (21, 45), (30, 160)])
def test_length_and_direction_of_a_straight_path(length: int, degrees: float) -> None:
    seen = one(line(length, degrees))
    assert abs(seen.length - (length - 1)) <= 1.5
    assert min(abs(seen.direction - degrees), 180 - abs(seen.direction - degrees)) <= 6


@pytest.mark.parametrize("factor", [0.5, 1 / math.sqrt(2), math.sqrt(2), 3.0])
def test_a_rescaled_kernel_keeps_its_sum_its_middle_and_its_shape(factor: float) -> None:
    kernel = centred(line(21, 30))
    scaled = rescaled(kernel[None], factor)[0]
    assert scaled.sum() == pytest.approx(1, abs=1e-4)
    assert scaled.shape[0] % 2 == 1
    place = torch.arange(scaled.shape[0]) - scaled.shape[0] // 2
    assert abs(float((scaled.sum(0) * place).sum())) < 0.6
    assert one(scaled).length == pytest.approx(20 * factor, abs=3 + factor)


def test_tidying_drops_noise_and_what_is_apart_but_no_faint_part_of_the_path() -> None:
    kernel = line(15, 20)
    kernel[20, 13:20] = 0.02 * kernel.max()
    noise = 0.002 * kernel.max() * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(2))
    dirty = kernel + noise.clamp_max(0)
    dirty[3, 3] = 0.02
    tidy = tidied(dirty)
    assert tidy.sum() == pytest.approx(1)
    assert ((tidy > 0) == (kernel > 0)).all()


def test_tidying_nothing_gives_a_point() -> None:
    assert tidied(torch.zeros(7, 7))[3, 3] == 1


def test_a_kernel_between_those_of_the_grid() -> None:
    kernels = torch.stack([line(9, 0), line(9, 90)])[None]
    between = Shake(kernels, torch.ones(1, 2))
    assert torch.equal(kernel_at(between, 0.5, 0.0), kernels[0, 0])
    assert torch.equal(kernel_at(between, 0.9, 1.0), kernels[0, 1])
    assert torch.allclose(kernel_at(between, 0.1, 0.5), kernels.mean((0, 1)))


def test_variety_is_what_kernels_do_not_share() -> None:
    point, other = torch.zeros(5, 5), torch.zeros(5, 5)
    point[2, 2] = other[0, 0] = 1
    assert one(point).variety == 0
    apart = Shake(torch.stack([point, other])[None], torch.ones(1, 2))
    assert apart.variety == pytest.approx(0.5)


def test_a_picture_becomes_a_kernel() -> None:
    picture = torch.zeros(60, 80)
    picture[10:12, 20:50] = 200.0
    picture[40, 70] = 1.0  # darker than 2 %
    kernel = as_kernel(picture)
    assert kernel.shape[0] % 2 == 1
    assert kernel.shape[0] <= 33
    assert kernel.sum() == pytest.approx(1)
    assert one(kernel).direction in (0.0, 5.0, 175.0)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (torch.zeros(9, 9), "no path"),
        (torch.ones(30, 30), "no path"),
        (torch.eye(300), "300 pixels wide"),
    ],
)
def test_what_is_no_kernel(picture: Tensor, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        as_kernel(picture)


def test_a_lamp_draws_the_kernel() -> None:
    kernel = centred(line(13, 60))
    dark = torch.full((3, 120, 160), 0.02)
    dark[:, 50:91, 80:121] += 20 * kernel
    found = kernel_from_lamp(dark.clamp(0, 1), (75, 45, 55, 55))
    assert one(found).length == pytest.approx(one(kernel).length, abs=1.5)
    assert abs(one(found).direction - 60) <= 6


@pytest.mark.parametrize(
    ("area", "message"),
    [((0, 0, 40, 40), "no lamp"), ((100, 100, 40, 40), "does not lie"), ((0, 0, 2, 40), "does not lie")],
)
def test_areas_without_a_lamp(area: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(PhotoError, match=message):
        kernel_from_lamp(scene(120, 120), area)


# Deconvolution


@pytest.mark.parametrize("channels", [1, 3])
def test_a_known_blur_is_undone_up_to_the_border(channels: int) -> None:
    kernel = line(13, 25, 15)
    sharp = scene(150, 190, channels=channels)
    photo = blurred(sharp, kernel, 0.003)
    restored = deconvolve(photo, one(kernel))
    inner = sharp[:, 7:-7, 7:-7]
    assert restored.shape == photo.shape
    assert psnr(restored, inner) > psnr(photo, inner) + 3
    edge = (..., slice(0, 8))
    assert psnr(restored[edge], inner[edge]) > psnr(photo[edge], inner[edge])


def test_a_photo_stays_where_it_is_though_the_kernels_centroid_lies_between_pixels() -> None:
    kernel = torch.zeros(5, 5)
    kernel[2, 2], kernel[2, 3] = 0.6, 0.4
    y, x = torch.meshgrid(torch.arange(90.0), torch.arange(120.0), indexing="ij")
    photo = (0.4 + 0.2 * torch.sin(x / 9) + 0.2 * torch.sin(y / 7))[None]
    restored = deconvolve(photo, one(kernel))
    inside = (..., slice(15, -15), slice(15, -15))
    assert (restored - photo)[inside].abs().max() < 0.005


def test_a_point_leaves_a_photo_nearly_as_it_is() -> None:
    point = torch.zeros(5, 5)
    point[2, 2] = 1
    photo = scene(80, 100)
    assert psnr(deconvolve(photo, one(point)), photo) > 35


def test_a_blur_of_values_is_undone_in_values() -> None:
    kernel = line(13, 25, 15)
    sharp = scene(150, 190)
    photo = blurred(to_srgb(sharp), kernel, 0.003).clamp(0, 1)
    inner = to_srgb(sharp)[:, 7:-7, 7:-7]
    restored, mistaken = (
        to_srgb(deconvolve(to_light(photo), one(kernel, curve))) for curve in (Curve.VALUES, Curve.LIGHT)
    )
    assert psnr(restored, inner) > max(psnr(photo, inner) + 5, psnr(mistaken, inner) + 2)


def test_clipped_lamps_do_not_ring() -> None:
    kernel = line(15, 40, 17)
    sharp = 0.3 * scene(180, 180)
    sharp[:, 80:83, 90:93] = 30.0
    photo = blurred(sharp, kernel).clamp(0, 1)
    restored = deconvolve(photo, one(kernel)).clamp(0, 1)
    inner = sharp[:, 8:-8, 8:-8].clamp(0, 1)
    lamp = (..., slice(43, 105), slice(53, 114))
    assert (
        psnr(*(to_srgb(each[lamp]) for each in (restored, inner)))
        > psnr(*(to_srgb(each[lamp]) for each in (photo, inner))) - 0.5
    )
    for far in ((..., slice(0, 164), slice(0, 40)), (..., slice(125, 164), slice(0, 164))):
        assert psnr(restored[far], inner[far]) > psnr(photo[far], inner[far]) + 2


def test_a_clipped_sky_does_not_keep_its_border_from_becoming_sharp() -> None:
    kernel = line(9, 0, 11)
    sharp = 0.5 * scene(120, 160)
    sharp[:, :60] = 1.3
    photo = blurred(sharp, kernel).clamp(0, 1)
    inner = sharp[:, 5:-5, 5:-5].clamp(0, 1)
    assert psnr(deconvolve(photo, one(kernel)).clamp(0, 1), inner) > psnr(photo, inner) + 2


def test_kernels_that_change_over_the_frame_leave_no_seams() -> None:
    kernels = torch.stack([line(5 + 2 * i, 10 * i, 21) for i in range(6)]).view(2, 3, 21, 21)
    y, x = torch.meshgrid(torch.arange(520.0), torch.arange(800.0), indexing="ij")
    photo = (0.4 + 0.2 * torch.sin(x / 17) + 0.2 * torch.sin(y / 23))[None]
    restored = deconvolve(photo, Shake(kernels, torch.ones(2, 3)))
    bends = restored.diff(n=2, dim=2).abs().mean((0, 1))[40:-40]
    assert bends.max() < 2 * 0.2 / 17**2  # twice what the photo itself has


def test_tiles_give_what_the_whole_frame_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = line(9, 70, 11)
    photo = blurred(scene(400, 420), kernel, 0.003)
    whole = deconvolve(photo, one(kernel))
    monkeypatch.setattr("deblur_cli.shake._parts.TILE", 160)
    assert psnr(deconvolve(photo, one(kernel)), whole) > 40


@pytest.mark.parametrize("sigma", [0.002, 0.01, 0.03])
def test_noise_is_measured(sigma: float) -> None:
    photo = F.avg_pool2d(scene(300, 300)[None], 9, 1, 4)[0]
    noisy = photo + sigma * torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    assert measure_noise(noisy) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (50, 2), (3, 3)])
def test_noise_of_tiny_photos(size: tuple[int, int]) -> None:
    assert measure_noise(torch.rand(3, *size)) >= 0


# Estimation


def test_least_squares_finds_the_kernel_that_blurred() -> None:
    kernel = centred(line(9, 30, 15))
    x = torch.randn(1, 2, 96, 96)
    y = torch.fft.irfft2(torch.fft.rfft2(x) * transfer(kernel, (96, 96)), (96, 96))
    found = least_squares(*correlations(x, y, 15), ridge=1e-4)[0]
    assert torch.allclose(found, kernel, atol=0.01)


def test_guesses_that_have_come_to_the_same_kernel_are_one() -> None:
    path, moved, other = line(9, 0, n=21)[None], line(9, 0, n=25).roll(3, 1)[None], line(9, 60, n=21)[None]
    assert likeness(path, moved) > 0.999
    assert likeness(path, other) < 0.7
    guesses = [Guess(path, Curve.LIGHT), Guess(moved, Curve.LIGHT), Guess(other, Curve.LIGHT)]
    same_in_values = Guess(path, Curve.VALUES)
    assert distinct([*guesses, same_in_values]) == [guesses[0], guesses[2], same_in_values]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("length", "degrees"), [(9, 0), (13, 30)])
def test_edges_alone_tell_the_kernel(side: int, length: int, degrees: float) -> None:
    def smooth(kernel: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(kernel, (2,) * 4), 3, 1)

    path = line(length, degrees, n=21)
    found = kernels_of_edges(pyramid(blurred(scene(180, 200), path, noise=0.003), Curve.LIGHT)[-1:], side)
    assert found.shape == (1, side, side)
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    assert likeness(smooth(found), smooth(path[None])) > 0.8
    assert likeness(smooth(found), smooth(line(length, degrees + 90, n=21)[None])) < 0.6


def test_what_two_kernels_have_in_common_is_what_lies_in_both() -> None:
    path, dirt, other = line(9, 0, n=21), torch.zeros(21, 21), torch.zeros(21, 21)
    dirt[3, 4], other[16, 9] = 0.3, 0.3
    found = common((path + dirt)[None] / 1.3, (path + other).roll((2, -1), (0, 1))[None] / 1.3)
    assert found.shape == (1, 21, 21)
    assert likeness(found, path[None]) > 0.999
    apart = common(line(9, 0, n=21)[None], line(9, 90, n=21)[None])  # a point is all that lies in both
    assert extent(apart) == 1


@pytest.mark.parametrize("curve", Curve)
def test_where_the_network_and_edges_agree_is_the_kernel(curve: Curve) -> None:
    path = line(9, 30, n=21)
    values = curve.of(to_light(scene(180, 200)))
    photo = to_light(curve.srgb(blurred(values, path, noise=0.003)))
    scales = [{curve: frame} for frame in pyramid(photo, curve)]
    first, predictor = starts(photo.device, curve), load_predictor(torch.device("cpu"))
    done: list[float] = []
    guesses = climb(first, scales, predictor, lambda kernels, _: -extent(kernels), done.append)
    assert {guess.curve for guess in guesses} == {curve}
    assert max(likeness(guess.kernels, path[None]) for guess in guesses) > 0.8
    assert all(guess.frame is scales[-1][curve] for guess in guesses)
    assert done == sorted(done)
    assert len(done) == len(scales)
    assert done[-1] == 1


def test_the_regions_of_a_larger_frame_tell_the_kernel_more_exactly() -> None:
    true, astronaut = drawn_line(13, 40, 31), example("originals/astronaut.png")
    frame = pyramid(blurred(astronaut, true, noise=0.003), Curve.LIGHT)[-1]
    before = rescaled(line(5, 40, 15)[None], 13 / math.sqrt(2) / 5)  # of the scale before, blunt
    after = finer(before, frame, load_predictor(torch.device("cpu")))
    assert likeness(after, true[None]) > likeness(grown(before), true[None]) + 0.02


def test_a_kernel_is_fitted_again_to_what_the_fusion_made_of_the_photo() -> None:
    """One that is a little too long comes nearer to the true one, and more is expected of it: until no more is."""
    sharp, true = example("originals/astronaut.png"), drawn_line(15, 30, 31)
    photo = blurred(sharp, true, noise=0.003)
    frame, looks = pyramid(photo, Curve.LIGHT)[-1], []

    def look(shake: Shake) -> Expected:
        looks.append(expected_of(photo, photo, shake, frame))
        return looks[-1]

    long = one(drawn_line(17, 30, 31))
    after, expected = refitted(long, look(long), frame, look)
    assert likeness(after.kernels[0], true[None]) > likeness(long.kernels[0], true[None]) + 0.01
    assert expected.gain > looks[0].gain + 1

    def worse(_: Shake) -> Expected:
        return expected._replace(gain=expected.gain + BETTER_DB / 2)

    assert refitted(after, expected, frame, worse) == (after, expected)


def test_a_kernel_that_is_long_for_the_photo_is_not_fitted_again() -> None:
    strip, long = scene(100, 500), one(drawn_line(60, 0, 61))
    frame = pyramid(strip, Curve.LIGHT)[-1]
    expected = expected_of(strip, strip, long, frame)
    assert refitted(long, expected, frame, lambda _: pytest.fail("was looked at")) == (long, expected)


def test_a_new_cleaner_changes_nothing() -> None:
    found = line(15, 30) + 0.01 * torch.randn(41, 41, generator=torch.Generator().manual_seed(3))
    tidy = cleared(found)
    assert Cleaner().clean(found[None], tidy[None], torch.tensor([0.003])).allclose(tidy, atol=1e-6)


def test_a_kernel_is_cleaned_where_it_lies_at_its_own_size() -> None:
    path = line(9, 30, n=21)
    frame = pyramid(blurred(scene(180, 200), path, noise=0.003), Curve.LIGHT)[-1]
    clean = cleaned(path[None], frame, load_predictor(torch.device("cpu")))
    assert clean.shape == (1, 21, 21)
    assert float(clean.sum()) == pytest.approx(1, abs=1e-5)
    assert likeness(clean, path[None]) > 0.7


def test_a_photo_without_edges_has_no_kernel_of_them() -> None:
    frames = pyramid(torch.full((3, 64, 64), 0.5), Curve.LIGHT)[-1:]
    assert kernels_of_edges(frames).isfinite().all()


@pytest.mark.parametrize(("length", "degrees"), [(7, 0), (7, 45), (11, 90), (11, 150)])
def test_a_line_is_drawn_in_its_direction(length: int, degrees: float) -> None:
    drawn = drawn_line(length, degrees, 21)
    assert float(drawn.sum()) == pytest.approx(1, abs=1e-6)
    assert likeness(drawn[None], line(length, degrees, n=21)[None]) > 0.85
    assert likeness(drawn[None], line(length, degrees + 90, n=21)[None]) < 0.4


def test_a_blur_of_values_is_doubted_in_a_photo_with_colours_alone() -> None:
    gray, coloured = scene(32, 32, channels=1), scene(32, 32)
    assert doubt(coloured, Curve.VALUES) == RARER_DB
    assert not any(
        doubt(*each)
        for each in ((gray, Curve.VALUES), (gray.expand(3, -1, -1), Curve.VALUES), (coloured, Curve.LIGHT))
    )


def test_a_point_is_no_shake_and_extents_are_odd() -> None:
    point = torch.zeros(1, 9, 9)
    point[0, 4, 4] = 1
    assert extent(point) == 1
    assert extent(line(9, 0)[None]) == 9


# The whole way


def example(name: str) -> Tensor:
    pixels = np.array(Image.open(EXAMPLES / name).convert("RGB"))
    return to_light(torch.from_numpy(pixels).permute(2, 0, 1) / 255)


@pytest.mark.parametrize("dtype", dict.fromkeys([torch.float32, choose_dtype("auto", torch.device("cpu"))]))
def test_a_really_shaken_photo_becomes_sharp(dtype: torch.dtype) -> None:
    shaken, sharp = example("astronaut.jpg"), example("originals/astronaut.png")
    undone = undo(shaken, dtype=dtype)
    assert undone.light.dtype == torch.float32
    assert undone.outcome == "undone"
    assert undone.share > 0.5
    assert undone.shake is not None
    assert undone.shake.length == pytest.approx(12, abs=3)
    assert nearness(undone.light, sharp) > nearness(shaken, sharp) + 2


def nearness(light: Tensor, truth: Tensor) -> float:
    """PSNR in sRGB, at the best of the places within a pixel: a shake does not tell where the photo was."""
    inside, values = (..., slice(8, -8), slice(8, -8)), to_srgb(light)
    places = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return max(psnr(values[inside], to_srgb(truth).roll(place, (1, 2))[inside]) for place in places)


def test_of_a_kernel_that_is_given_it_is_found_out_what_it_blurred() -> None:
    sharp, kernel = example("originals/astronaut.png")[:, 20:330, 80:420], line(13, 25, 15)
    in_values = to_light(blurred(to_srgb(sharp), kernel, 0.003).clamp(0, 1))
    for photo, curve in ((blurred(sharp, kernel, 0.003).clamp(0, 1), Curve.LIGHT), (in_values, Curve.VALUES)):
        undone = undo(photo, kernel=kernel)
        assert undone.outcome == "undone"
        assert undone.shake
        assert undone.shake.curve is curve


@pytest.mark.parametrize("channels", [1, 3])
def test_undoing_a_wrong_kernel_leaves_what_the_network_alone_has_made(channels: int) -> None:
    sharp = example("originals/astronaut.png")[:channels, 40:296, 150:406]
    after = joined(sharp, sharp, one(line(15, 30)))
    assert after.light.shape == sharp.shape
    assert psnr(to_srgb(after.light), to_srgb(sharp)) > 38
    assert after.share < 0.1
    assert after.gain < EXPLAINED_DB
    assert undo(sharp, sharp, kernel=line(15, 30)).outcome == "left"


@pytest.mark.parametrize("turn", TURNS[1:])
def test_seen_from_all_sides_a_turned_photo_is_expected_to_gain_the_same(
    turn: tuple[bool, tuple[int, ...]],
) -> None:
    sources = torch.rand(15, 64, 96, generator=torch.Generator().manual_seed(1))
    choice = Choice(sources[:3], sources[3:6], printed=False)
    guess = Guess(one(line(9, 0)).kernels[0], Curve.LIGHT)

    def gain(turns: int, shown: Tensor) -> float:
        return choice.looked_at(Candidate(guess, shown), turns).guess.gain

    assert gain(8, turned(sources, *turn)) == pytest.approx(gain(8, sources), abs=1e-4)
    assert abs(gain(1, turned(sources, *turn)) - gain(1, sources)) > 1e-3


def test_a_photo_that_is_sharp_to_the_pixel_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    sharp = example("originals/astronaut.png")
    monkeypatch.setattr(_undo, "find", None)
    undone = undo(sharp)
    assert undone.outcome == "none"
    assert "sharp" in undone.why
    assert undone.light is sharp
    assert estimate(sharp) is None


def test_a_sharp_frame_around_a_shaken_photo_does_not_hide_the_shake() -> None:
    shaken = example("astronaut.jpg")
    assert not crisp(shaken)
    assert not crisp(torch.nn.functional.pad(shaken, (60, 60, 60, 60)))


def printed() -> Tensor:
    """A page of small letters, (1, h, w) linear light."""
    page, words = (
        Image.new("L", (340, 308), 225),
        ["nobody", "reads", "this", "page", "before", "its", "kernel", "is", "found"],
    )
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for row in range(18):
        order = [words[(5 * row + i) % len(words)] for i in range(14)]
        draw.text((6 + row % 3, 6 + 17 * row), " ".join(order), fill=30, font=font)
    return to_light(torch.from_numpy(np.array(page)).float()[None] / 255)


@pytest.mark.parametrize("true", [line(9, 60, 31), line(13, 10, 31)])
def test_the_shake_of_a_printed_page_is_found_better_since_paper_is_plain(true: Tensor) -> None:
    frame = pyramid(blurred(printed(), true, 0.005), Curve.LIGHT)[-1]
    assert looks_printed(frame)
    by_print, by_edges = kernels_of_print(frame), kernels_of_edges([frame])
    assert likeness(by_print, true[None]) > max(0.85, likeness(by_edges, true[None]) + 0.05)


def test_a_page_in_uneven_light_looks_printed() -> None:
    page = printed()
    uneven = page * torch.linspace(0.2, 1, page.shape[-1])
    assert looks_printed(pyramid(blurred(uneven, line(9, 60, 31), 0.002), Curve.LIGHT)[-1])


def test_a_photo_does_not_look_printed() -> None:
    assert not any(looks_printed(frame) for frame in pyramid(example("astronaut.jpg"), Curve.LIGHT))


def test_a_sharp_photo_is_handed_back_as_it_is() -> None:
    sharp = example("originals/astronaut.png")[:, 40:296, 150:406]
    alone = sharp * 0.99
    undone = undo(sharp, alone)
    assert undone.outcome in ("none", "left")
    assert undone.light is alone


def test_a_shake_is_found_in_a_panorama_that_is_too_long_for_one_region() -> None:
    sharp = example("originals/astronaut.png")[:, 180:284]
    panorama = torch.cat([sharp, sharp.flip(2)], 2)
    found = estimate(blurred(panorama, line(9, 0, 9), 0.003))
    assert found is not None
    assert found.length == pytest.approx(9, abs=3)


def test_light_beyond_white_is_kept() -> None:
    light = example("originals/astronaut.png")[:, :128, :128]
    alone = light.clone()
    alone[:, 60:64, 60:64] = 3.0
    after = joined(light, alone, one(line(5, 0))).light
    assert after[:, 60:64, 60:64].min() > 2
    assert after[:, :40].max() <= 1


def test_a_photo_too_small_to_tell_is_left_and_a_known_kernel_is_used_on_any_size() -> None:
    for size in ((1, 1), (5, 90), (20, 7)):
        light = torch.rand(3, *size)
        assert undo(light).light is light
        assert estimate(light) is None
        undone = undo(light, kernel=line(9, 30, 9))
        assert undone.light.shape == light.shape
        assert undone.light.isfinite().all()
        assert undone.shake is not None


def test_the_kernel_of_a_part_is_that_of_the_frame_there() -> None:
    """Of a grid of two kernels, the left half of the frame has the left one."""
    kernels = torch.zeros(1, 2, 5, 5)
    kernels[0, 0, 2, 2] = kernels[0, 1, 0, 0] = 1
    part = part_of(Shake(kernels, torch.ones(1, 2)), (0.0, 1.0), (0.0, 0.25))
    assert torch.equal(part.kernels[1, 1], kernels[0, 0])
    whole = Shake(kernels[:, :1], torch.ones(1, 1))
    assert part_of(whole, (0.0, 0.5), (0.0, 0.5)) is whole
