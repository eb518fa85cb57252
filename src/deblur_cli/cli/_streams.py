"""The standard streams where they are closed or full: no traceback, no photo lost for want of a place to print to."""

import os
import sys


def reopen_closed() -> None:
    """Give every closed standard stream a place, so that no photo gets its number: input is empty, output fails, errors vanish."""
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115  for as long as the program runs
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115


def give_up_unwritable() -> None:
    """Drop what a standard stream holds and cannot write, which Python would try once more, and complain, when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
