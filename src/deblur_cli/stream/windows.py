"""Windows of local attention over one axis of a frame, and the cells that their borders cut it into."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

Span = tuple[int, int]


def plan_windows(length: int, window: int) -> list[Span]:
    """Evenly spaced windows over one axis (TLC: Chu et al., ECCV 2022, arXiv 2112.04491); window 0: a single one."""
    window = min(window or length, length)
    count = math.ceil(length / window)
    step = math.ceil((length - window) / max(count - 1, 1))
    starts = [min(index * step, length - window) for index in range(count)]
    return [(start, start + window) for start in starts]


@dataclass(frozen=True)
class Axis:
    """One axis of a frame, cut into cells at every border of its windows."""

    cells: list[Span]
    covers: Tensor  # (window, cell) 1 where the window covers the cell

    @classmethod
    def plan(cls, length: int, window: int, device: torch.device) -> "Axis":
        """Length of the axis and side of its windows in pixels; window 0: one cell, one window."""
        windows = plan_windows(length, window)
        cells = list(pairwise(sorted({edge for span in windows for edge in span})))
        covers = [[float(start <= first and end <= stop) for first, end in cells] for start, stop in windows]
        return cls(cells, torch.tensor(covers, device=device))

    @property
    def shares(self) -> Tensor:
        """(window, cell): with which weight a window's result counts in a cell: the mean over those that cover it."""
        return self.covers / self.covers.sum(0)
