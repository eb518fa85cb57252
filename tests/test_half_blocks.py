"""Halves of a block in one loop each, against torch in float64."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from conftest import random_model
from deblur_cli import kernels, stream
from deblur_cli.model import RestormerConfig, TransformerBlock
from deblur_cli.stream.engine import lay_out
from deblur_cli.stream.layers import Attention, FeedForward
from deblur_cli.stream.loops import PIECE_ROWS, Pieces, cut, levels_for
from deblur_cli.stream.windows import Axis

UNEVEN = RestormerConfig(
    dim=18, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1, heads=(1, 2, 4, 8), ffn_expansion_factor=2.3
)
FAMILY = {
    "norm with bias": UNEVEN,
    "norm without": replace(UNEVEN, layer_norm="BiasFree"),
    "biases": replace(UNEVEN, bias=True),
    "biases, norm without": replace(UNEVEN, bias=True, layer_norm="BiasFree"),
}
CASES = [(0, (1, 1)), (0, (9, 70)), (1, (70, 3)), (1, (131, 33))]


@pytest.fixture
def threads() -> Iterator[None]:
    """More than pieces that are easily shared out."""
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


@pytest.fixture
def takes_half() -> None:
    """A processor with dot products of bfloat16 and without AMX, and loops for it."""
    if not kernels.fits_blocks(torch.ones(1, 1, 16, dtype=torch.bfloat16)):
        pytest.skip("no loops for bfloat16, or not for this processor")


def blocks(
    config: RestormerConfig, level: int, dtype: torch.dtype = torch.float32, gain: float = 1
) -> tuple[TransformerBlock, Attention, FeedForward]:
    """Of 18 channels with one head, or of 36 with two: the model's, and the engine's halves of it. gain: of its projections."""
    model = random_model(config)
    for name, parameter in model.named_parameters():
        if "project_out" in name:
            parameter.mul_(gain)
    engine = lay_out(model, dtype)
    return ((model.encoder_level1, model.encoder_level2)[level][0], *engine.encoders[level][0])


def frame(h: int, w: int, c: int) -> Tensor:
    return torch.randn(h, w, c, generator=torch.Generator().manual_seed(h))


def channels_first(x: Tensor) -> Tensor:
    return x.double().permute(2, 0, 1)[None]


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize(("level", "size"), CASES, ids=str)
@pytest.mark.usefixtures("kind", "threads")
def test_feed_forward_equals_the_models(config: RestormerConfig, level: int, size: tuple[int, int]) -> None:
    block, _, feed_forward = blocks(config, level)
    x = frame(*size, 18 << level)
    kept, room = x.clone(), torch.full_like(x, torch.nan)
    result, free = feed_forward(x, room)
    assert result is room
    assert free is x
    assert torch.equal(x, kept)
    exact = channels_first(x)
    block.double()
    exact = exact + block.ffn(block.norm2(exact))
    torch.testing.assert_close(channels_first(result), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize(("level", "size"), CASES, ids=str)
@pytest.mark.usefixtures("kind", "threads")
def test_attention_equals_the_models(config: RestormerConfig, level: int, size: tuple[int, int]) -> None:
    block, attention, _ = blocks(config, level)
    x = frame(*size, 18 << level)
    exact = channels_first(x)
    attention(x, torch.full_like(x, torch.nan), *(Axis.plan(side, 0, x.device) for side in size))
    block.double()
    exact = exact + block.attn(block.norm1(exact))
    torch.testing.assert_close(channels_first(x), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize(("level", "size"), CASES, ids=str)
@pytest.mark.parametrize("window", [0, 8])
@pytest.mark.usefixtures("takes_half", "threads")
def test_bfloat16_is_as_near_as_torchs(
    config: RestormerConfig, level: int, size: tuple[int, int], window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both halves: the change that they make to a frame, against that in float32. It is large: a frame of bfloat16 loses small ones."""
    halves = {dtype: blocks(config, level, dtype, gain=30)[1:] for dtype in (torch.float32, torch.bfloat16)}
    begin = frame(*size, 18 << level).bfloat16()
    (ys, xs) = (Axis.plan(side, window, begin.device) for side in size)

    def changes(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        attention, feed_forward = halves[dtype]
        x = begin.to(dtype, copy=True)
        attention(x, torch.full_like(x, torch.nan), ys, xs)
        result, _ = feed_forward(begin.to(dtype, copy=True), torch.full_like(x, torch.nan))
        return x.float() - begin, result.float() - begin

    exact, ours = changes(torch.float32), changes(torch.bfloat16)
    monkeypatch.setattr(kernels, "fits_blocks", lambda x: x.dtype == torch.float32 and kernels.fits(x))
    for right, mine, torchs in zip(exact, ours, changes(torch.bfloat16), strict=True):
        assert size == (1, 1) or not torch.equal(mine, torchs)
        few = 2 if size == (1, 1) else 1  # eighteen numbers, where chance counts
        assert (mine - right).norm() < few * 1.1 * (torchs - right).norm()
        assert (mine - right).norm() < few * 0.02 * right.norm()


@pytest.mark.usefixtures("takes_half")
def test_gelu_in_bfloat16_is_near_far_out() -> None:
    """A feed-forward of one: x + gelu(x) x, of channels that keep to themselves."""
    c, middle = 16, torch.zeros(9, 32)
    middle[4] = 1
    x = torch.linspace(-40, 40, 64 * c).view(1, 64, c).bfloat16()
    spread = x.float().square().mean(-1, keepdim=True) - x.float().mean(-1, keepdim=True).square()
    exact = x.double() / (spread + 1e-5).sqrt()  # beyond 600
    eye = torch.eye(c).bfloat16()
    matrix = torch.cat([kernels.panels(eye), kernels.panels(eye)])
    start = kernels.Start(1e-5, None, None, matrix, c // 2, kernels.pairs_of_taps(middle), None)
    spans, out = torch.tensor([[0, 1]]), torch.empty_like(x)
    kernels.feed_forward(x, out, spans, torch.tensor([[0, 64]]), start, kernels.panels(eye), None)
    exact = x.double() + F.gelu(exact) * exact
    torch.testing.assert_close(out.double(), exact, atol=0.1, rtol=0.02)


def test_bfloat16_is_for_pairs_of_channels_and_not_for_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    half = torch.bfloat16
    assert not kernels.fits_blocks(torch.ones(2, 3, 17, dtype=half))
    capabilities = {**torch.cpu.get_capabilities(), "amx_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert not kernels.fits_blocks(torch.ones(2, 3, 16, dtype=half))
    assert kernels.fits_blocks(torch.ones(2, 3, 16)) == (kernels.library() is not None)


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
@pytest.mark.usefixtures("kind", "threads")
def test_attention_in_windows_equals_torchs(config: RestormerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    _, attention, _ = blocks(config, 1)
    x = frame(23, 77, 36)
    other, (ys, xs) = x.clone(), (Axis.plan(side, 8, x.device) for side in (23, 77))
    attention(x, torch.full_like(x, torch.nan), ys, xs)
    monkeypatch.setattr(kernels, "fits", lambda _: False)
    attention(other, torch.full_like(x, torch.nan), ys, xs)
    assert not torch.equal(x, other)
    torch.testing.assert_close(x, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize("window", [0, 16])
@pytest.mark.usefixtures("kind")
def test_a_network_in_loops_equals_one_in_torch(
    config: RestormerConfig, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = random_model(config), torch.rand(1, 3, 40, 72)
    ours = stream.run(model, x, window=window)
    monkeypatch.setattr(kernels, "fits", lambda _: False)
    torchs = stream.run(model, x, window=window)
    torch.testing.assert_close(ours, torchs, atol=1e-5, rtol=0)
    assert not torch.equal(ours, torchs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.usefixtures("threads")
def test_a_run_repeats_to_the_bit(dtype: torch.dtype) -> None:
    _, attention, feed_forward = blocks(UNEVEN, 1, dtype)
    results = []
    for _ in range(2):
        x = frame(70, 131, 36).to(dtype)
        attention(x, torch.empty_like(x), *(Axis.plan(side, 0, x.device) for side in (70, 131)))
        results.append(feed_forward(x, torch.empty_like(x))[0])
    assert torch.equal(*results)


@pytest.mark.usefixtures("kind")
def test_what_is_no_number_is_seen() -> None:
    _, attention, feed_forward = blocks(UNEVEN, 0)
    x = frame(5, 40, 18)
    x[2, 20, 7] = torch.nan
    result, _ = feed_forward(x.clone(), torch.empty_like(x))
    assert result[1:4, 19:22].isnan().all()  # its neighbours, no others
    assert result.isnan().any(-1).sum() == 9
    attention(x, torch.empty_like(x), *(Axis.plan(side, 0, x.device) for side in (5, 40)))
    assert x.isnan().all()


@pytest.mark.usefixtures("takes_half")
def test_what_is_no_number_is_seen_in_bfloat16() -> None:
    _, attention, feed_forward = blocks(UNEVEN, 0, torch.bfloat16)
    x = frame(5, 40, 18).bfloat16()
    x[2, 20, 7] = torch.nan
    result, _ = feed_forward(x.clone(), torch.empty_like(x))
    assert result[1:4, 19:22].isnan().all()
    assert not result[:, :18].isnan().any()
    attention(x, torch.empty_like(x), *(Axis.plan(side, 0, x.device) for side in (5, 40)))
    assert x.isnan().all()


def test_pieces_cover_every_cell_once() -> None:
    spans, owners = cut([(0, 5), (5, 6), (6, 103)], 32)
    assert [stop - start for start, stop in spans.tolist()] == [5, 1, 24, 24, 24, 25]
    assert owners.tolist() == [0, 1, 2, 2, 2, 2]
    assert spans[:, 0].tolist() == [0, *spans[:-1, 1].tolist()]
    assert spans[-1, 1] == 103


def test_sums_of_pieces_are_those_of_their_cells() -> None:
    pieces = Pieces.plan([(0, 150), (150, 300)], [(0, 100), (100, 130), (130, 400)], 8000)
    areas = [
        [(end - first) * (right - left) for left, right in pieces.columns.tolist()]
        for first, end in pieces.rows.tolist()
    ]
    assert pieces.sums(torch.tensor(areas)).tolist() == [[15000, 4500, 40500]] * 2


@pytest.mark.parametrize(
    ("threads", "height", "columns", "levels"),
    [(1, 32, 1, 1), (2, 64, 2, 1), (2, 64, 3, 2), (8, 32, 1, 8), (16, 32, 2, 8), (8, 4, 1, 4)],
)
def test_levels_are_as_many_as_the_threads_need(threads: int, height: int, columns: int, levels: int) -> None:
    assert levels_for(threads, height, columns) == levels


@pytest.mark.parametrize("threads", [1, 8])
def test_pieces_are_small_and_there_is_one_for_every_thread(threads: int) -> None:
    torch.set_num_threads(threads)
    pieces = Pieces.plan([(0, 600)], [(0, 64)], 8000)
    torch.set_num_threads(1)
    assert len(pieces.rows) * len(pieces.columns) >= threads
    assert (pieces.rows[:, 1] - pieces.rows[:, 0]).max() <= PIECE_ROWS
    assert (pieces.columns[:, 1] - pieces.columns[:, 0]).max() <= 32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_memory_of_matrices_is_not_doubled(dtype: torch.dtype) -> None:
    """What the loops read is made of the model's own numbers."""
    if not kernels.fits_blocks(torch.ones(1, 16, dtype=dtype)):
        pytest.skip("not compiled, or not for this processor")
    model = random_model(UNEVEN)
    engine = lay_out(model, dtype)
    (linear, _), _ = engine.latent[0][1].hidden.parts
    assert linear.matrix.data_ptr() == model.latent[0].ffn.project_in.weight.data_ptr()
