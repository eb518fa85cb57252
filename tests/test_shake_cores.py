"""As many threads as other programs leave cores: what is read, what is reckoned from it, and what is set."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
import torch
from torch import Tensor

from deblur_cli.shake import _cores, _undo, estimate, undo
from deblur_cli.shake._cores import Reading, read, sharing_cores, spare


@pytest.mark.parametrize(
    ("busy", "own", "cores", "left"),
    [
        (2.0, 2.0, 2, 2),  # nobody else
        (2.0, 1.0, 2, 1),  # one other, all the time
        (2.0, 1.4, 2, 2),  # a little of everything
        (2.0, 1.2, 2, 1),
        (8.0, 7.0, 8, 7),
        (64.0, 2.0, 64, 2),
        (3.0, 0.0, 2, 1),  # never none
    ],
)
def test_what_others_take_is_not_spare(busy: float, own: float, cores: int, left: int) -> None:
    assert spare(Reading(10.0, 100.0, 50.0), Reading(11.0, 100.0 + busy, 50.0 + own), cores) == left


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Reading]]:
    """What the system says next, on a computer of four cores, four threads of which are ours."""
    coming: list[Reading] = []
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
    monkeypatch.setattr(_cores, "read", lambda: coming.pop(0))
    monkeypatch.setattr(_cores, "monotonic", lambda: coming[0].at if coming else 0.0)
    monkeypatch.setattr(_cores, "_last", Reading(0.0, 0.0, 0.0))
    yield coming
    torch.set_num_threads(before)


def test_threads_follow_what_is_spare_and_come_back(readings: list[Reading]) -> None:
    readings += [
        Reading(1.0, 2.0, 0.0),
        Reading(2.0, 6.0, 3.0),
        Reading(2.1, 9.0, 3.0),
        Reading(3.0, 7.0, 4.0),
    ]
    with sharing_cores() as look:
        assert torch.get_num_threads() == 2  # by what was done before
        look()
        assert torch.get_num_threads() == 3
        look()  # too soon
        assert torch.get_num_threads() == 3
        assert readings.pop(0).at == 2.1
        look()
        assert torch.get_num_threads() == 4
    assert torch.get_num_threads() == 4


def test_never_more_threads_than_there_were_and_those_again_after_an_error(readings: list[Reading]) -> None:
    torch.set_num_threads(2)
    readings += [Reading(1.0, 3.0, 0.0), Reading(2.0, 3.0, 0.0)]
    with contextlib.suppress(KeyError), sharing_cores() as look:
        assert torch.get_num_threads() == 1
        look()
        assert torch.get_num_threads() == 2
        raise KeyError
    assert torch.get_num_threads() == 2


def test_another_busy_process_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            time.sleep(0.2)
            before = read()
            time.sleep(1)
            now = read()
        finally:
            other.kill()
    assert now.own - before.own < 0.5
    assert now.busy - before.busy > 0.3


@pytest.mark.parametrize("looked_for", [estimate, undo])
def test_whoever_looks_for_a_shake_shares(
    looked_for: Callable[[Tensor], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(light: Tensor, alone: Tensor, tell: Callable[[float], None]) -> None:
        for share in (0.5, 1.0):
            tell(share)
            seen.append(torch.get_num_threads())

    left, seen = iter([2, 1, 2]), list[int]()
    monkeypatch.setattr(_cores, "INTERVAL_S", 0)
    monkeypatch.setattr(_cores, "spare", lambda *_: next(left))
    monkeypatch.setattr(_undo, "find", find)
    monkeypatch.setattr(_undo, "crisp", lambda _: False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    looked_for(torch.rand(3, 128, 128))
    assert seen == [1, 2]
    torch.set_num_threads(before)
