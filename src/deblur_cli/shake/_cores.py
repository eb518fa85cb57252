"""As many threads as the computer has cores to spare.

The loops of a search are short: if one of their threads has to wait for a core that another program keeps busy, all the others wait for it, and a search takes
five times as long. What the others take is what the processors did, less what this process did.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple

import psutil
import torch

INTERVAL_S = 0.25
"""Least time between two looks: systems count in hundredths of a second."""

SLIGHT = 0.25
"""So much of a core at least has to be left of it, for it to count as spare."""


class Reading(NamedTuple):
    """Seconds: at what time, and how long all processors were busy until then with anything that does not give way, and how long with this process."""

    at: float
    busy: float
    own: float


def read() -> Reading:
    """What the system has counted."""
    everyone, own = psutil.cpu_times(), psutil.Process().cpu_times()
    return Reading(monotonic(), everyone.user + everyone.system, own.user + own.system)


def spare(before: Reading, now: Reading, cores: int) -> int:
    """How many of so many cores other programs left to this one between two readings, at least 1."""
    others = (now.busy - before.busy - now.own + before.own) / (now.at - before.at)
    return max(1, math.ceil(cores - others - SLIGHT))


_last = read()


@contextmanager
def sharing_cores() -> Iterator[Callable[[], None]]:
    """What is yielded is to be called from time to time: it sets PyTorch's threads, never to more than there were, as many as there are again in the end."""
    most, cores = torch.get_num_threads(), psutil.cpu_count() or 1

    def look() -> None:
        global _last  # what was done before the first look counts, too
        if monotonic() - _last.at < INTERVAL_S:
            return
        before, _last = _last, read()
        torch.set_num_threads(min(most, spare(before, _last, cores)))

    try:
        look()
        yield look
    finally:
        torch.set_num_threads(most)
