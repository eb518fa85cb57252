from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from training import cpu_blocks

from deblur_cli import kernels
from deblur_cli.kernels.build import KINDS, build
from deblur_cli.model import Restormer, RestormerConfig

DTYPES = [torch.float32, torch.bfloat16]
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(1)


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + shape[0])).to(dtype)


def convolved(x: Tensor, taps: Tensor, bias: Tensor | None, pad_rows: int = 1) -> Tensor:
    """(b, h, w, c) in float64."""
    kernel = taps.double().T.reshape(-1, 1, 3, 3)
    bias = None if bias is None else bias.double()
    frames = x.double().permute(0, 3, 1, 2)
    return F.conv2d(frames, kernel, bias, padding=(pad_rows, 1), groups=len(kernel)).permute(0, 2, 3, 1)


def assert_near(result: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), expected, atol=ROUNDING[dtype], rtol=ROUNDING[dtype])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 16), (1, 37, 127), (11, 70, 42), (9, 2, 33)], ids=str)
@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
@pytest.mark.usefixtures("kind", "threads")
def test_bands_are_convolved_and_gated(
    shape: tuple[int, int, int], dtype: torch.dtype, *, biased: bool
) -> None:
    h, w, c = shape
    gate, value = numbers(h + 2, w, c, dtype=dtype), numbers(h + 2, w, c, dtype=dtype).flip(0)
    taps, others = numbers(9, c) / 3, numbers(9, c).flip(0) / 3
    bias, other = (numbers(c), numbers(c).flip(0)) if biased else (None, None)
    whole = convolved(gate[None], taps, bias, 0)[0]
    left, right = w // 3, w - w // 4
    assert_near(kernels.depthwise_part(gate, taps, bias, slice(left, right)), whole[:, left:right], dtype)
    room = torch.empty(h, w, c, dtype=dtype)
    assert kernels.depthwise_part(gate, taps, bias, slice(0, w), room) is room
    assert_near(room, whole, dtype)
    expected = F.gelu(whole) * convolved(value[None], others, other, 0)[0]
    assert_near(kernels.gated(gate, value, taps, others, bias, other), expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1, 16), (3, 5, 33, 127), (2, 17, 3, 48)], ids=str)
@pytest.mark.usefixtures("kind", "threads")
def test_photos_are_convolved_normalised_and_squared(
    shape: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    x, c = 3 + numbers(*shape, dtype=dtype), shape[-1]
    taps, weight, bias = numbers(9, c) / 9, numbers(c), numbers(c).flip(0)
    assert_near(kernels.depthwise(x, taps, None), convolved(x, taps, None), dtype)
    exact = x.double()
    normed = F.layer_norm(exact, (c,), weight.double(), bias.double(), 1e-5)
    assert_near(kernels.layer_norm(x, weight, bias, 1e-5), normed, dtype)
    scaled = exact / (exact.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    assert_near(kernels.layer_norm(x, None, None, 1e-5), scaled, dtype)
    torch.testing.assert_close(kernels.squares(x).double(), exact.square().sum((0, 1, 2)), atol=0, rtol=1e-5)


@pytest.mark.usefixtures("kind")
def test_gelu_is_exact_far_out_and_keeps_what_is_no_number() -> None:
    x = (
        torch.cat([torch.linspace(-30, 30, 6000), torch.tensor([float("nan")])])
        .repeat_interleave(16)
        .view(1, -1, 16)
    )
    band = torch.cat([torch.zeros_like(x), x, torch.zeros_like(x)])
    alone = torch.zeros(9, 16)
    alone[4] = 1  # each pixel for itself
    result = kernels.gated(band, torch.ones_like(band), alone, alone, None, None)
    assert result[0, -2:].isnan().all()  # it reaches its neighbour
    torch.testing.assert_close(result[:, :-2].double(), F.gelu(x[:, :-2].double()), atol=3e-6, rtol=1e-6)


def test_what_the_loops_cannot_take_is_left_to_torch() -> None:
    assert not kernels.fits(torch.ones(2, 3, 15))
    assert not kernels.fits(torch.ones(2, 3, 16, dtype=torch.float64))
    assert not kernels.fits(torch.ones(16, 3, 2).permute(2, 1, 0))
    assert not kernels.fits(torch.ones(2, 3, 16, device="meta"))
    assert kernels.fits(torch.ones(2, 3, 16)) == (kernels.library() is not None)


def test_without_a_library_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEBLUR_KERNELS", "none")
    kernels.library.cache_clear()
    assert kernels.library() is None
    assert not kernels.fits(torch.ones(2, 3, 16))
    config = RestormerConfig(dim=16, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1)
    assert not cpu_blocks.speed_up(Restormer(config))
    assert capfd.readouterr() == ("", "")
    kernels.library.cache_clear()


def test_without_a_compiler_nothing_is_built_and_what_was_built_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tmp_path / f"{next(iter(KINDS))}.so"
    old.touch()
    for compiler in ("no-such-compiler", "false"):
        monkeypatch.setenv("CXX", compiler)
        assert build(tmp_path) == []
    assert not list(tmp_path.iterdir())
