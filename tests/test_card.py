"""What runs on a card, as far as a processor can go: Triton's programs by its interpreter, recordings of a pretended card."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import TINY, random_model
from deblur_cli import stream
from deblur_cli.kernels import card
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
    ("error", "dtype"),
    [
        (card.convolution_error, torch.float32),
        (card.convolution_error, torch.bfloat16),
        (card.sums_error, torch.float32),  # of bfloat16 the interpreter knows no products
    ],
)
def test_programs_give_what_torch_gives(
    error: Callable, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "BLOCK", (2, 8, 32))  # the interpreter takes its time
    assert error(CPU, dtype) < card.TOLERANCE[dtype]


@pytest.mark.usefixtures("triton")
def test_programs_compile_for_cards(tmp_path: Path) -> None:
    script = Path(__file__).with_name("compile_programs.py")
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["convolve", "convolve", "cell_sums", "cell_sums"], done.stderr


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_programs_that_fail_are_not_used(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    card.is_right.cache_clear()

    def fail(*_: object) -> float:
        raise RuntimeError("no compiler")

    assert not card.is_right(fail, CPU, dtype)
    assert not card.is_right(lambda *_: 0.1, CPU, torch.bfloat16)
    assert card.is_right(lambda *_: 0.0, CPU, torch.bfloat16)
    assert not card.fits(torch.zeros(4, 4, 16))  # it is on no card


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("window", [0, 8])
@pytest.mark.parametrize("bias", [False, True])
def test_a_block_by_programs_is_a_block(window: int, *, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(replace(TINY, dim=16, heads=(2, 2, 4, 8), bias=bias))
    attention, feed_forward = lay_out(model, torch.float32, card.MULTIPLE).encoders[0][0]
    x = torch.randn(5, 18, 16, generator=torch.Generator().manual_seed(0))
    ys, xs = (Axis.plan(length, window, CPU) for length in x.shape[:2])

    def block() -> Tensor:
        result = x.clone()
        attention(result, torch.empty_like(x), ys, xs)
        feed_forward(result)
        return result

    expected = block()
    calls: list[str] = []
    for name in ("depthwise", "gated", "cell_sums"):
        function = getattr(card, name)
        monkeypatch.setattr(card, name, lambda *a, f=function, n=name: (calls.append(n), f(*a))[1])
    for name in ("fits", "fits_sums"):
        monkeypatch.setattr(card, name, lambda _: True)
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
        self.fails = False

    def finish(self) -> None:
        self.now += self.work_s

    def record(self, function: Callable, photo: Tensor, constants: object) -> Callable:
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.recorded.append(photo)

        def replay(photo: Tensor) -> Tensor:
            self.replayed += 1
            return function(photo)

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


def repeat(runs: graphs.Graphs, its: PretendedCard, times: int, size: int = 8) -> None:
    def function(photo: Tensor) -> Tensor:
        its.now += 1
        return 2 * photo

    for number in range(times):
        photo = torch.full((1, size), float(number))
        assert torch.equal(runs.run(function, photo, size, None), 2 * photo)


def test_what_is_repeated_is_recorded(pretended: PretendedCard) -> None:
    runs = graphs.Graphs()
    repeat(runs, pretended, graphs.USES)
    assert not pretended.recorded
    repeat(runs, pretended, 3)
    assert (len(pretended.recorded), pretended.replayed) == (1, 3)
    repeat(runs, pretended, 3, size=16)
    assert (len(pretended.recorded), pretended.replayed) == (2, 4)


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


def test_without_a_card_a_recording_fails_as_it_may() -> None:
    with pytest.raises(RuntimeError):
        graphs.Recording(torch.neg, torch.zeros(1), None)


def test_recordings_leave_room(pretended: PretendedCard) -> None:
    runs = graphs.Graphs()
    pretended.free = 40
    repeat(runs, pretended, 6)
    assert (len(pretended.recorded), pretended.replayed) == (1, 0)


def test_recordings_go_when_memory_is_short(pretended: PretendedCard) -> None:
    runs = graphs.Graphs()
    short = [True]

    def large(photo: Tensor) -> Tensor:
        if short.pop():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * photo

    with pytest.raises(torch.OutOfMemoryError):
        runs.run(large, torch.ones(1), "large", None)
    repeat(runs, pretended, 4)
    short[:] = [False, True]
    assert torch.equal(runs.run(large, torch.ones(1), "large", None), 2 * torch.ones(1))
    repeat(runs, pretended, 4)
    assert (len(pretended.recorded), pretended.replayed) == (1, 2)


def test_a_photo_on_a_card_is_the_same(pretended: PretendedCard, monkeypatch: pytest.MonkeyPatch) -> None:
    model, photos = random_model(), torch.rand(graphs.USES + 1, 3, 24, 40)
    expected = stream.run(model, photos, window=16)
    monkeypatch.setattr(grouped, "on_card", lambda _: True)
    shares: list[float] = []
    tf32: set[bool] = set()

    def tell(share: float) -> None:
        shares.append(share)
        tf32.add(torch.backends.cudnn.allow_tf32)
        pretended.now += share < 1

    result = stream.run(model, photos, window=16, progress=tell)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
    assert pretended.replayed == 1
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert torch.backends.cudnn.allow_tf32
    assert False in tf32
