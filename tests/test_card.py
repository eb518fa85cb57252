"""What runs on a card, as far as a processor can go: Triton's programs by its interpreter, recordings of a pretended card."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import TINY, random_model
from deblur_cli import Deblurrer, stream
from deblur_cli.kernels import card
from deblur_cli.model import Restormer
from deblur_cli.stream import graphs, grouped, layers
from deblur_cli.stream.engine import lay_out
from deblur_cli.stream.windows import Axis

CPU = torch.device("cpu")


@pytest.fixture
def triton() -> None:
    """Its interpreter, by conftest.py."""
    pytest.importorskip("triton", reason="Triton is not installed: programs for cards are not tested")


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize(
    ("error", "dtype", "sizes"),
    [
        (card.convolution_error, torch.float32, ()),
        (card.convolution_error, torch.bfloat16, ()),
        (card.sums_error, torch.float32, (12,)),  # of bfloat16 the interpreter knows no products
        (card.sums_error, torch.float32, (48,)),
    ],
)
def test_programs_give_what_torch_gives(
    error: Callable, dtype: torch.dtype, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "BLOCK", (2, 8, 32))  # the interpreter takes its time
    assert error(CPU, dtype, *sizes) < card.TOLERANCE[dtype]


def surrounded(shape: tuple[int, ...], value: float) -> tuple[Tensor, Tensor]:
    """Memory full of a value, and in the midst of it room for a tensor."""
    size, margin = torch.Size(shape).numel(), 4096
    memory = torch.full((size + 2 * margin,), value)
    return memory, memory[margin : margin + size].view(shape)


@pytest.mark.usefixtures("triton")
def test_programs_leave_what_lies_around_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "BLOCK", (2, 8, 32))
    generator = torch.Generator().manual_seed(0)
    (_, gate), (_, value), (_, taps) = (
        surrounded(shape, torch.nan) for shape in [(5, 9, 48)] * 2 + [(9, 48)]
    )
    for tensor in (gate, value, taps):
        tensor.normal_(generator=generator)
    memory, out = surrounded((3, 9, 48), 7.0)
    monkeypatch.setattr(torch, "empty_like", lambda _: out)
    for run in (
        lambda: card.depthwise(gate, taps, None, out),
        lambda: card.gated(gate, value, taps, taps, None, None),
    ):
        out.fill_(torch.nan)
        assert run().isfinite().all()
    assert (memory == 7).sum() == 2 * 4096

    _, qk = surrounded((4, 9, 2 * 3 * 16), torch.nan)
    qk.normal_(generator=generator)
    rooms = [surrounded(shape, 7.0) for shape in [(2, 4, 2, 3, 16, 16), (2, 4, 2, 96)]]
    of_shape = {room.shape: room for _, room in rooms}
    monkeypatch.setattr(torch, "empty", lambda *shape, device: of_shape[shape])
    edges = torch.tensor([0, 5, 8], dtype=torch.int32), torch.tensor([0, 2, 9], dtype=torch.int32)
    for sums in card.cell_sums(qk, 3, 3, *edges):
        assert sums.isfinite().all()
    assert [(memory == 7).sum() for memory, _ in rooms] == [2 * 4096] * 2


@pytest.mark.usefixtures("triton")
def test_programs_compile_for_cards(tmp_path: Path) -> None:
    script = Path(__file__).with_name("compile_programs.py")
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["convolve", "convolve", "cell_sums", "cell_sums"], done.stderr


def test_programs_that_fail_are_not_used() -> None:
    card.is_right.cache_clear()

    def fail(*_: object) -> float:
        raise RuntimeError("no compiler")

    assert not card.is_right(fail, CPU, torch.float32)
    assert not card.is_right(lambda *_: 0.1, CPU, torch.bfloat16)
    assert not card.is_right(lambda *_: float("nan"), CPU, torch.bfloat16)
    assert card.is_right(lambda *_: 0.0, CPU, torch.bfloat16)


class OnACard:
    """A tensor that says it is on one."""

    is_cuda, device, dtype = True, CPU, torch.bfloat16

    def __init__(self, channels: int) -> None:
        self.shape = (4, 4, channels)

    def is_contiguous(self) -> bool:
        return True

    def data_ptr(self) -> int:
        return 32


def test_programs_are_for_cards_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "is_right", lambda *_: True)
    assert card.fits(OnACard(32))
    assert card.fits_sums(OnACard(512), 2)
    assert not card.fits_sums(OnACard(576), 2)  # heads too large
    assert not card.fits(OnACard(30))
    assert not card.fits(torch.zeros(4, 4, 16))
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert not card.fits(OnACard(32))
    assert graphs.Graphs()._off
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setenv("DEBLUR_KERNELS", "none")
    assert not card.fits(OnACard(32))
    assert graphs.Graphs()._off


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("bias", [None, torch.arange(6.0)])
def test_a_convolution_without_tf32_is_a_convolution(groups: int, bias: Tensor | None) -> None:
    generator = torch.Generator().manual_seed(0)
    x, kernel = (torch.randn(shape, generator=generator) for shape in [(1, 6, 7, 9), (6, 6 // groups, 3, 3)])
    for padding in ((0, 1), (1, 1)):
        expected = torch.nn.functional.conv2d(x, kernel, bias, padding=padding, groups=groups)
        assert torch.equal(grouped.conv2d(x, kernel, bias, padding, groups), expected)


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("window", [0, 8])
@pytest.mark.parametrize("bias", [False, True])
def test_a_block_by_programs_is_a_block(window: int, *, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(replace(TINY, dim=16, heads=(2, 2, 4, 8), bias=bias))
    attention, feed_forward = lay_out(model, torch.float32, card.MULTIPLE).encoders[0][0]
    x = torch.randn(5, 18, 16, generator=torch.Generator().manual_seed(0))
    ys, xs = (Axis.plan(length, window, CPU) for length in x.shape[:2])

    def block() -> Tensor:
        result, room = x.clone(), torch.empty_like(x)
        attention(result, room, ys, xs)
        return feed_forward(result, room)[0]

    expected = block()
    calls: list[str] = []
    for name in ("depthwise", "gated", "cell_sums"):
        function = getattr(card, name)
        monkeypatch.setattr(card, name, lambda *a, f=function, n=name: (calls.append(n), f(*a))[1])
    for name in ("fits", "fits_sums"):
        monkeypatch.setattr(card, name, lambda *_: True)
    monkeypatch.setattr(layers.kernels, "fits", lambda _: False)
    monkeypatch.setattr(grouped, "on_card", lambda _: True)
    torch.testing.assert_close(block(), expected, atol=1e-5, rtol=0)
    assert calls == ["depthwise", "depthwise", "cell_sums", "gated"]


class PretendedCard:
    """A clock instead of a card: a run's launches take a second, and `work_s` later the card is done."""

    def __init__(self) -> None:
        self.now, self.work_s, self.free = 0.0, 0.0, 90
        self.recorded: list[Tensor] = []
        self.replayed = 0
        self.fails, self.off_by = False, 0.0

    def finish(self) -> None:
        self.now += self.work_s

    def record(self, function: Callable, photo: Tensor, constants: object) -> Callable:
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.recorded.append(photo)
        place = torch.empty_like(photo)

        def replay(photo: Tensor) -> Tensor:
            self.replayed += 1
            place.copy_(photo)
            time.sleep(0.001)  # for other threads
            return function(place, lambda _: None) + self.off_by

        return replay


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> PretendedCard:
    its = PretendedCard()
    monkeypatch.setattr(graphs, "Recording", its.record)
    monkeypatch.setattr(graphs.time, "perf_counter", lambda: its.now)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", its.finish)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (its.free, 100))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return its


TRIALS = 2
"""Replays of a recording before it is trusted."""


def repeat(runs: graphs.Graphs, its: PretendedCard, times: int, size: int = 8, first: int = 0) -> None:
    def function(photo: Tensor, tell: Callable) -> Tensor:
        its.now += 1
        tell(1)
        return 2 * photo

    for number in range(first, first + times):
        photo = torch.full((1, size), float(number))
        assert torch.equal(runs.run(function, photo, size, None, print), 2 * photo)


def test_what_is_repeated_is_recorded(pretended: PretendedCard) -> None:
    runs = graphs.Graphs()
    repeat(runs, pretended, graphs.USES)
    assert not pretended.recorded
    repeat(runs, pretended, 3)
    assert (len(pretended.recorded), pretended.replayed) == (1, TRIALS + 2)
    repeat(runs, pretended, graphs.USES + 3, size=16)
    assert (len(pretended.recorded), pretended.replayed) == (2, 2 * TRIALS + 4)


def test_a_recording_serves_one_thread_after_the_other(pretended: PretendedCard) -> None:
    runs = graphs.Graphs()
    repeat(runs, pretended, graphs.USES + 1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda first: repeat(runs, pretended, 4, first=4 * first), range(8)))
    assert pretended.replayed == TRIALS + 32


def test_a_busy_card_gains_nothing_by_recordings(pretended: PretendedCard) -> None:
    pretended.work_s = 0.5
    repeat(graphs.Graphs(), pretended, 9)
    assert not pretended.recorded


def test_what_cannot_be_recorded_is_run(pretended: PretendedCard) -> None:
    runs = graphs.Graphs()
    pretended.fails = True
    repeat(runs, pretended, 4)
    pretended.fails = False
    repeat(runs, pretended, 4)
    assert not pretended.recorded


def test_a_recording_that_gives_something_else_is_not_used(pretended: PretendedCard) -> None:
    pretended.off_by = 1e-3
    repeat(graphs.Graphs(), pretended, 9)
    assert (len(pretended.recorded), pretended.replayed) == (1, TRIALS)


def test_without_a_card_a_recording_fails_as_it_may() -> None:
    with pytest.raises(RuntimeError):
        graphs.Recording(lambda photo, _: -photo, torch.zeros(1), None)


def test_recordings_leave_room(pretended: PretendedCard) -> None:
    pretended.free = 40
    repeat(graphs.Graphs(), pretended, 6)
    assert (len(pretended.recorded), pretended.replayed) == (1, TRIALS)


def test_recordings_are_given_up_for_good(pretended: PretendedCard) -> None:
    runs = graphs.Graphs()
    repeat(runs, pretended, graphs.USES + 2)
    assert runs.give_up()
    assert not runs.give_up()
    repeat(runs, pretended, 6)
    assert (len(pretended.recorded), pretended.replayed) == (1, TRIALS + 1)


def test_short_of_memory_recordings_go_before_tiles_are_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    deblurrer = Deblurrer("compact", "cpu", shake="off")
    held, sizes = [True], []
    run = stream.run

    def scarce(model: Restormer, x: Tensor, **options: object) -> Tensor:
        sizes.append(x.shape[-1])
        if held[0] or x.shape[-1] > 128:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(model, x, **options)

    def give_up() -> bool:
        had, held[0] = held[0], False
        return had

    monkeypatch.setattr(stream, "run", scarce)
    monkeypatch.setattr(stream, "give_up_recordings", give_up)
    deblurrer(np.zeros((64, 160, 3), np.uint8))
    assert sizes[:2] == [160, 160]
    assert max(sizes[2:]) < 128


def test_a_photo_on_a_card_is_the_same(pretended: PretendedCard, monkeypatch: pytest.MonkeyPatch) -> None:
    model, photos = random_model(), torch.rand(graphs.USES + 2, 3, 24, 40)
    expected = stream.run(model, photos, window=16)
    monkeypatch.setattr(grouped, "on_card", lambda _: True)
    stream.prepare(model, torch.float32)  # laid out for a processor
    shares: list[float] = []

    def tell(share: float) -> None:
        shares.append(share)
        pretended.now += share < 1

    result = stream.run(model, photos, window=16, progress=tell)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
    assert (len(pretended.recorded), pretended.replayed) == (1, TRIALS + 1)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert stream.give_up_recordings()
    assert not stream.give_up_recordings()


@pytest.mark.parametrize("change", [{}, {"bias": True}, {"layer_norm": "BiasFree"}, {"unshuffle": 2}])
@pytest.mark.parametrize("window", [0, 16])
def test_networks_laid_out_for_a_card_are_the_same(
    change: dict, window: int, pretended: PretendedCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, photo = random_model(replace(TINY, **change)), torch.rand(1, 3, 32, 48)
    expected = stream.run(model, photo, window=window)
    monkeypatch.setattr(grouped, "on_card", lambda _: True)
    engine = lay_out(model, torch.float32)
    widths = {
        linear.matrix.shape[1]
        for stage in engine.encoders
        for _, ffn in stage
        for linear, _ in ffn.hidden.parts
    }
    assert {width % card.MULTIPLE for width in widths} == {0}
    result = engine.run(photo[0], window, lambda _: None)[None]
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)

    result = lay_out(model, torch.bfloat16).run(photo[0], window, lambda _: None)[None]
    monkeypatch.undo()
    error = (stream.run(model, photo, window=window, dtype=torch.bfloat16) - expected).square().mean()
    assert (result - expected).square().mean() < 1.5 * error
