"""SIGTERM as an exception, so that it passes through every cleanup as Ctrl-C does; a second signal leaves at once."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SHOW_CURSOR = "\x1b[?25h"


class Terminated(BaseException):
    """The process was asked to end."""


@contextmanager
def second_signal_leaves() -> Iterator[None]:
    """Inside, the first Ctrl-C or SIGTERM raises, and the second ends the process without any cleanup."""
    old = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    for other in (signal.SIGINT, signal.SIGTERM):
        signal.signal(other, _leave)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    if sys.stderr.isatty():
        os.write(2, SHOW_CURSOR.encode())
    os._exit(128 + number)
