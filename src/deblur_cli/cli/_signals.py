"""SIGTERM as an exception, so that it passes through every cleanup as Ctrl-C does; a second signal leaves at once."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SHOW_CURSOR = "\x1b[?25h"


class Terminated(BaseException):
    """The process was asked to end."""


@contextmanager
def second_signal_leaves() -> Iterator[None]:
    """Inside, the first Ctrl-C or SIGTERM raises, and the second ends the process without any cleanup."""
    with first_signal_asks(raise_signal):
        yield


@contextmanager
def first_signal_asks(ask: Callable[[int], None]) -> Iterator[None]:
    """Inside, `ask` is called with the first Ctrl-C or SIGTERM, and the second ends the process without any cleanup."""

    def handle(number: int, frame: FrameType | None) -> None:
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, _leave)
        ask(number)

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def raise_signal(number: int) -> NoReturn:
    """As the exception by which it ends the work."""
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    if sys.stderr.isatty():
        os.write(2, SHOW_CURSOR.encode())
    os._exit(128 + number)
