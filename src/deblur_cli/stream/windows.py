"""Windows of local attention over one axis of a frame, and the cells that their borders cut it into."""

import math
from dataclasses import dataclass
from functools import lru_cache
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
    shares: Tensor  # (window, cell) its weight in the mean over the windows that cover the cell
    edges: Tensor  # (cell + 1) int32: where the cells begin, and the end of the last
    cell_of: Tensor  # (pixel) the number of its cell

    @staticmethod
    @lru_cache(maxsize=64)
    def plan(length: int, window: int, device: torch.device) -> "Axis":
        """Length of the axis and side of its windows in pixels; window 0: one cell, one window.

        Tiles are of few sizes; those of late are kept, since a card waits while numbers are brought to it.
        """
        windows = plan_windows(length, window)
        cells = list(pairwise(sorted({edge for span in windows for edge in span})))
        covers = torch.tensor(
            [[float(start <= first and end <= stop) for first, end in cells] for start, stop in windows]
        )
        edges = torch.tensor([0, *(end for _, end in cells)], dtype=torch.int32)
        cell_of = torch.arange(len(cells)).repeat_interleave(edges.diff())
        tensors = (covers, covers / covers.sum(0), edges, cell_of)
        return Axis(cells, *(tensor.to(device) for tensor in tensors))
