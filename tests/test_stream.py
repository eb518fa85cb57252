import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from conftest import TINY, random_model
from deblur_cli import kernels, stream
from deblur_cli.loader import load_model
from deblur_cli.model import Restormer, RestormerConfig
from deblur_cli.stream import cells, layers
from deblur_cli.stream.windows import Axis, plan_windows

ROOT = Path(__file__).parent.parent
ORIGINAL = ROOT / "examples" / "originals" / "astronaut.png"
BUNDLED = ROOT / "src" / "deblur_cli" / "compact.safetensors"

FAMILY = {
    "tiny": TINY,
    "bias-free": replace(TINY, layer_norm="BiasFree"),
    "biases": replace(TINY, bias=True),
    "bias-free norm, biases": replace(TINY, bias=True, layer_norm="BiasFree"),
    "gray": replace(TINY, inp_channels=1, out_channels=1),
    "dual pixel": replace(TINY, inp_channels=6, dual_pixel=True),
    "dual pixel, biases": replace(TINY, inp_channels=6, dual_pixel=True, bias=True),
    "unshuffled": replace(TINY, unshuffle=2),
    "unshuffled, gray": replace(TINY, unshuffle=2, inp_channels=1, out_channels=1),
    "deep": replace(TINY, dim=10, num_blocks=(2, 1, 3, 1), heads=(1, 2, 4, 5), num_refinement_blocks=2),
}
SIZES = [(8, 8), (8, 40), (40, 8), (24, 56), (64, 48)]


@pytest.fixture(params=[1, 1 << 12, 1 << 21], ids=["rows of 1", "a few rows", "whole frames"])
def band_numbers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layers.BAND_NUMBERS, "cpu", request.param)


def random_photo(config: RestormerConfig, size: tuple[int, int], count: int = 1) -> Tensor:
    """Of this size for the levels of the network: twice as large where it unshuffles."""
    return torch.rand(count, config.inp_channels, *(config.unshuffle * side for side in size))


def plain(model: Restormer, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(x)


@pytest.mark.parametrize(
    ("name", "output", "window"),
    [
        ("rgb_withbias", "output", 0),
        ("rgb_withbias", "output_local32", 32),
        ("rgb_biasfree", "output", 0),
        ("gray_biasfree", "output", 0),
        ("dualpixel_withbias", "output", 0),
    ],
)
@pytest.mark.usefixtures("band_numbers")
def test_outputs_equal_the_authors_implementations(
    name: str, output: str, window: int, parity_case: Callable
) -> None:
    config, state, tensors = parity_case(name)
    model = Restormer(config).eval()
    model.load_state_dict(state)
    result = stream.run(model, tensors["input"].float(), window=window)
    torch.testing.assert_close(result, tensors[output].float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_global_statistics_equal_the_model(config: RestormerConfig, size: tuple[int, int]) -> None:
    model = random_model(config)
    x = random_photo(config, size, 2)
    torch.testing.assert_close(stream.run(model, x), plain(model, x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
@pytest.mark.usefixtures("band_numbers")
def test_bands_change_nothing(config: RestormerConfig) -> None:
    model = random_model(config)
    x = random_photo(config, (40, 24))
    torch.testing.assert_close(stream.run(model, x), plain(model, x), atol=1e-5, rtol=0)


def attend_in_windows(model: Restormer, window: int) -> None:
    """Let every attention of the plain model work on overlapping windows, and average what overlaps, as TLC does."""
    levels = {"encoder_level1": 0, "encoder_level2": 1, "encoder_level3": 2, "latent": 3}
    levels |= {"decoder_level3": 2, "decoder_level2": 1, "decoder_level1": 0, "refinement": 0}
    for stage, level in levels.items():
        for block in getattr(model, stage):
            block.attn.forward = local(block.attn, window >> level)


def local(mdta: torch.nn.Module, window: int) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        qkv = mdta.qkv_dwconv(mdta.qkv(x))
        total, count = torch.zeros_like(x), torch.zeros(h, w)
        for top, bottom in plan_windows(h, window):
            for left, right in plan_windows(w, window):
                part = qkv[..., top:bottom, left:right].flatten(2)
                q, k, v = part.unflatten(1, (3, mdta.num_heads, -1)).unbind(1)
                q, k = torch.nn.functional.normalize(q, dim=-1), torch.nn.functional.normalize(k, dim=-1)
                attended = (mdta.temperature * (q @ k.mT)).softmax(-1) @ v
                total[..., top:bottom, left:right] += attended.flatten(1, 2).unflatten(-1, (bottom - top, -1))
                count[top:bottom, left:right] += 1
        return mdta.project_out(total / count)

    return forward


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize(("size", "window"), [((40, 72), 32), ((104, 24), 40), ((48, 48), 48), ((24, 40), 8)])
def test_local_statistics_equal_attention_in_averaged_windows(
    config: RestormerConfig, size: tuple[int, int], window: int
) -> None:
    model = random_model(config)
    x = random_photo(config, size)
    result = stream.run(model, x, window=window * config.unshuffle)
    attend_in_windows(model, window)
    torch.testing.assert_close(result, plain(model, x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize("window", [0, 16])
@pytest.mark.usefixtures("band_numbers")
def test_our_own_loops_and_torch_agree(
    config: RestormerConfig, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(config)
    x = random_photo(config, (40, 24))
    ours = stream.run(model, x, window=window * config.unshuffle)
    monkeypatch.setattr(kernels, "fits", lambda _: False)
    torchs = stream.run(model, x, window=window * config.unshuffle)
    torch.testing.assert_close(ours, torchs, atol=1e-5, rtol=0)
    assert torch.equal(ours, torchs) == (kernels.library() is None)


def test_a_window_as_large_as_the_frame_is_global() -> None:
    model, x = random_model(), torch.rand(1, 3, 40, 56)
    torch.testing.assert_close(stream.run(model, x, window=56), stream.run(model, x), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("length", "window"), [(1280, 384), (720, 384), (383, 48), (8, 48), (4000, 384), (97, 48)]
)
def test_windows_are_even_and_cover_every_cell(length: int, window: int) -> None:
    spans = plan_windows(length, window)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert {stop - start for start, stop in spans} == {min(length, window)}
    assert len(spans) == -(-length // window)
    axis = Axis.plan(length, window, torch.device("cpu"))
    assert axis.cells[0][0] == 0
    assert all(first[1] == second[0] for first, second in zip(axis.cells, axis.cells[1:], strict=False))
    torch.testing.assert_close(axis.shares.sum(0), torch.ones(len(axis.cells)))


def test_windows_of_a_720p_row_are_where_tlc_has_them() -> None:
    assert plan_windows(1280, 384) == [(0, 384), (299, 683), (598, 982), (896, 1280)]


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
def test_bfloat16_is_close(config: RestormerConfig) -> None:
    model = random_model(config)
    x = random_photo(config, (48, 64))
    result = stream.run(model, x, dtype=torch.bfloat16)
    exact = plain(model, x)
    assert result.dtype == torch.float32
    error = (result - exact).square().mean().sqrt()
    assert 0 < error < 0.05 * exact.std()


def test_bfloat16_does_not_round_a_soft_photo_itself() -> None:
    """Its differences are faint, and amplified most."""
    face = Image.open(ORIGINAL).convert("RGB").crop((128, 0, 384, 256)).filter(ImageFilter.GaussianBlur(1.5))
    photo = torch.from_numpy(np.array(face)).permute(2, 0, 1)[None] / 255
    model = load_model(BUNDLED)
    exact = stream.run(model, photo)
    assert (exact - photo).square().mean().sqrt() > 2 / 255
    error = (stream.run(model, photo, dtype=torch.bfloat16) - exact).square().mean()
    assert -10 * error.log10() > 61


def test_a_result_that_is_not_finite_is_redone_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model()
    x = torch.rand(2, 3, 24, 24)
    exact = stream.run(model, x)
    engine = stream.prepare(model, torch.bfloat16)
    object.__setattr__(engine.output, "kernel", engine.output.kernel * float("inf"))
    calls: list[int] = []
    result = stream.run(model, x, dtype=torch.bfloat16, redone=lambda: calls.append(1))
    assert calls == [1, 1]
    assert torch.equal(result, exact)


def test_progress_rises_to_1() -> None:
    shares: list[float] = []
    stream.run(random_model(), torch.rand(2, 3, 16, 16), progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) == 2 * (sum(TINY.num_blocks) + sum(TINY.num_blocks[:3]) + TINY.num_refinement_blocks)
    assert shares[-1] == pytest.approx(1)


@pytest.mark.parametrize(("size", "window"), [((12, 16), 0), ((16, 16), 20), ((16, 16), -8)])
def test_sizes_and_windows_are_multiples_of_8(size: tuple[int, int], window: int) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        stream.run(random_model(), torch.zeros(1, 3, *size), window=window)


def test_an_engine_is_kept_until_the_weights_change() -> None:
    model, x = random_model(), torch.rand(1, 3, 16, 24)
    engine = stream.prepare(model, torch.float32)
    assert stream.prepare(model, torch.float32) is engine
    assert stream.prepare(model, torch.bfloat16) is not engine
    model.load_state_dict(random_model(seed=1).state_dict())
    torch.testing.assert_close(stream.run(model, x), plain(model, x), atol=1e-5, rtol=0)


def test_an_engine_does_not_keep_its_model_alive() -> None:
    model = random_model()
    stream.run(model, torch.rand(1, 3, 8, 8))
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_the_photo_is_left_as_it_was() -> None:
    x = torch.rand(1, 3, 24, 16)
    kept = x.clone()
    stream.run(random_model(), x)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [3, 40, 64], ids=["short rows", "long rows", "whole rows"])
def test_products_with_parts_of_a_frame(columns: int, dtype: torch.dtype) -> None:
    frame = torch.randn(7, 64, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    part, rest = frame[2:6, :columns], frame[:, columns:].clone()
    assert cells.has_long_rows(part) == (columns == 40)
    q, k = part.double().reshape(-1, 2, 2, 4).unbind(1)
    gram = torch.einsum("nhq,nhk->hqk", q, k)
    assert torch.allclose(
        cells.gram_of(part, 2).double(), gram, rtol=0, atol=1e-4 if dtype == torch.float32 else 0.2
    )
    x, matrix = frame[:4, :columns].contiguous().flip(2), frame[0, :16] / 4
    expected = part.double() + x.double() @ matrix.double()
    cells.add_product(part, x, matrix)
    assert torch.allclose(part.double(), expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.06)
    assert torch.equal(frame[:, columns:], rest)
