"""SIGTERM as an exception, so that it passes through every cleanup as Ctrl-C does."""

import signal
from types import FrameType
from typing import NoReturn


class Terminated(BaseException):
    """The process was asked to end."""


def raise_on_sigterm() -> None:
    """From now on SIGTERM raises `Terminated` in the main thread."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
