"""The loops that looking for a shake is quick by give what torch gives."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli import kernels
from deblur_cli.shake import Curve
from deblur_cli.shake._deconvolve import deconvolve_twice
from deblur_cli.shake._edges import few_gradients
from deblur_cli.shake._estimate import pyramid
from deblur_cli.shake._fourier import divergence, gradients
from deblur_cli.shake._kernels import line
from deblur_cli.shake._networks import Convolution, UNet, computing_in, unshuffled
from deblur_cli.shake._predictor import load_predictor

NEAR = 1e-4


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def without_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBLUR_KERNELS", "none")
    kernels.library.cache_clear()


@pytest.mark.parametrize("channels", [(16, 32), (24, 24), (40, 56), (64, 96), (96, 40)], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 4, 4), (1, 41, 22), (3, 9, 130)], ids=str)
@pytest.mark.usefixtures("kind")
def test_photos_are_convolved(shape: tuple[int, int, int], channels: tuple[int, int]) -> None:
    (b, h, w), (c, n) = shape, channels
    x, weight, bias, more = (
        numbers(b, h, w, c),
        numbers(n, c, 3, 3) / 3 / c**0.5,
        numbers(n),
        numbers(b, h, w, n),
    )
    exact = F.conv2d(x.double().permute(0, 3, 1, 2), weight.double(), bias.double(), padding=1)
    exact = exact.permute(0, 2, 3, 1)
    matrices = kernels.mixing(weight)
    assert kernels.fits_convolution(x, n)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found = kernels.convolve(x, matrices, bias)
        torch.testing.assert_close(found.double(), exact, atol=NEAR, rtol=NEAR)
        found = kernels.convolve(x, matrices, bias, more, positive=True)
        torch.testing.assert_close(found.double(), (exact + more).relu(), atol=NEAR, rtol=NEAR)
    torch.set_num_threads(1)


@pytest.mark.usefixtures("kind")
def test_what_is_no_number_stays_none() -> None:
    x, weight = torch.ones(1, 8, 8, 16), numbers(16, 16, 3, 3)
    x[0, 1, 1, 3] = float("nan")
    found = kernels.convolve(x, kernels.mixing(weight), torch.zeros(16))
    assert found[0, :3, :3].isnan().all()


def test_only_what_fits_is_convolved() -> None:
    assert not kernels.fits_convolution(torch.ones(1, 4, 4, 20), 16)
    assert not kernels.fits_convolution(torch.ones(1, 4, 4, 16), 12)
    assert not kernels.fits_convolution(torch.ones(1, 4, 4, 16), 8)
    assert not kernels.fits_convolution(torch.ones(1, 4, 4, 16, dtype=torch.bfloat16), 16)
    assert kernels.fits_convolution(torch.ones(1, 4, 4, 16), 16) == (kernels.library() is not None)


@pytest.mark.parametrize("planes", [(3, 4), (14, 8)], ids=str)
@pytest.mark.usefixtures("kind")
def test_a_network_answers_the_same_by_the_loops(
    planes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    network = UNet(*planes, (24, 40, 64))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    network.requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = numbers(2, planes[0], 40, 56)
    ours = network(x)
    without_loops(monkeypatch)
    torch.testing.assert_close(ours, network(x), atol=NEAR, rtol=NEAR)
    assert ours.abs().max() > 100 * NEAR


def test_a_network_that_is_trained_is_left_to_torch() -> None:
    convolution = Convolution(16, 16)
    convolution(numbers(1, 16, 8, 8)).sum().backward()
    assert convolution.weight.grad is not None
    assert convolution.weight.grad.any()


def test_pixels_are_laid_out_as_torch_lays_them_out() -> None:
    x = numbers(2, 5, 8, 24)
    for factor in (2, 4):
        found = unshuffled(x, factor)
        assert found.equal(F.pixel_unshuffle(x, factor))
        assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 33, 47), (3, 5, 100)], ids=str)
@pytest.mark.usefixtures("kind")
def test_gradients_are_shrunk(shape: tuple[int, int, int]) -> None:
    x = numbers(*shape)
    right, down = gradients(x)
    kept = right.square() + down.square() >= 1.5
    expected = divergence(right * kept, down * kept)
    assert not kept.all()
    torch.testing.assert_close(kernels.few_gradients(x, 1.5), expected, atol=1e-6, rtol=1e-5)
    threshold = numbers(*shape[1:]).abs()

    def shrunk(gradient: Tensor) -> Tensor:
        steps = threshold * gradient.abs().clamp_min(1e-4) ** -0.25
        return (gradient.abs() - steps).clamp_min(0) * gradient.sign()

    expected = divergence(shrunk(right), shrunk(down))
    torch.testing.assert_close(kernels.sparse_gradients(x, threshold), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 41, 90)], ids=str)
@pytest.mark.usefixtures("kind")
def test_spectra_are_divided(shape: tuple[int, int, int]) -> None:
    pull, seen = (torch.complex(numbers(*shape), numbers(*shape).flip(1)) for _ in range(2))
    passed, power = numbers(*shape).square() + 0.1, numbers(*shape[1:]).square()
    for each in (passed, passed[0]):
        expected = (seen + 0.3 * pull) / (each + 0.3 * power)
        found = kernels.quotient(pull.clone(), seen, each.contiguous(), power, 0.3)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("kind")
def test_spectra_are_multiplied_and_summed() -> None:
    r, t, size = 5, 7, (9, 80)
    factors, x, y = (
        torch.complex(numbers(*shape, *size), numbers(*shape, *size).flip(0))
        for shape in ((r, t), (t,), (r,))
    )
    found = kernels.sum_of_products(factors, x, adjoint=False)
    torch.testing.assert_close(found, (factors * x).sum(1), atol=1e-5, rtol=1e-5)
    found = kernels.sum_of_products(factors, y, adjoint=True)
    torch.testing.assert_close(found, (factors.conj() * y[:, None]).sum(0), atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("kind")
def test_photos_are_undone_the_same_by_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = F.interpolate(numbers(1, 3, 12, 15).abs(), size=(96, 120), mode="nearest")[0] / 3
    kernel = line(9, 30, 11)
    blurred = F.conv2d(scene[:, None], kernel[None, None], padding=5)[:, 0].clamp(0, 1)
    frames = [pyramid(blurred, curve)[-1] for curve in Curve]

    def all_of_it() -> list[Tensor]:
        light = torch.stack([frame.light for frame in frames])
        both = kernel.expand(2, -1, -1)
        return [*deconvolve_twice(blurred, kernel, 1e-3, Curve.LIGHT), few_gradients(light, both, 2e-3)]

    ours = all_of_it()
    without_loops(monkeypatch)
    for found, expected in zip(ours, all_of_it(), strict=True):
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)
    kernels.library.cache_clear()


@pytest.mark.skipif(not kernels.convolves_quicker_than_half(), reason="there bfloat16 is quicker")
def test_where_our_loops_are_as_quick_nothing_is_computed_in_bfloat16() -> None:
    photo, predictor = torch.rand(1, 3, 32, 48), load_predictor(torch.device("cpu"))
    with computing_in(torch.bfloat16):
        asked = predictor(photo)
    assert torch.equal(asked, predictor(photo))
