"""What `kernels` needs to run half a block in one loop: a frame cut into pieces, and parameters side by side.

For a processor that `kernels` has such loops for; elsewhere `layers` does the same in torch.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli import kernels
from deblur_cli.stream.windows import Span

CACHE_BYTES = 1 << 18
"""Three rows of a piece of the wide layer take about so many at most: half of a small L2 cache."""
PIECE_ROWS = 128
"""At most: each piece keeps sums of its own."""


def beside(parts: Sequence[Tensor | None]) -> Tensor | None:
    """(..., n) and (..., m) -> both, each padded to whole panels; None if they are."""
    given = [part for part in parts if part is not None]
    if not given:
        return None
    return torch.cat([F.pad(part, (0, -part.shape[-1] % kernels.PANEL)) for part in given], -1).contiguous()


class Pieces(NamedTuple):
    """A frame cut along the borders of its cells, and further, into what one thread does in one go."""

    rows: Tensor  # (n, 2) first and end
    row_cells: Tensor  # (n) in which cell each lies
    columns: Tensor
    column_cells: Tensor

    @classmethod
    def plan(cls, ys: Sequence[Span], xs: Sequence[Span], wide_bytes: int) -> "Pieces":
        """Spans of the cells of a frame, and the size of a pixel of its wide layer."""
        columns, column_cells = cut(xs, 64 if 3 * 64 * wide_bytes <= CACHE_BYTES else 32)
        levels = levels_for(torch.get_num_threads(), ys[-1][1], len(columns))
        return cls(*cut(ys, min(PIECE_ROWS, -(-ys[-1][1] // levels))), columns, column_cells)

    def sums(self, part: Tensor) -> Tensor:
        """(rows, columns, ...) -> (row cells, column cells, ...), added up."""
        for axis, cells in enumerate((self.row_cells, self.column_cells)):
            shape = list(part.shape)
            shape[axis] = int(cells[-1]) + 1
            part = part.new_zeros(shape).index_add_(axis, cells, part)
        return part


def cut(cells: Sequence[Span], longest: int) -> tuple[Tensor, Tensor]:
    """Cells in even spans, none longer than that: (spans, 2), and the cell of each (spans)."""
    spans: list[Span] = []
    owners: list[int] = []
    for owner, (start, stop) in enumerate(cells):
        count = -(-(stop - start) // longest)
        spans += pairwise(start + (stop - start) * i // count for i in range(count + 1))
        owners += [owner] * count
    return torch.tensor(spans), torch.tensor(owners)


def levels_for(threads: int, height: int, columns: int) -> int:
    """Into how many levels to cut so many rows, in so many columns of pieces, for all threads to be done soon.

    A piece makes two rows of the wide layer that others make too, which is half of the work of a row.
    """

    def rows_in_turn(levels: int) -> int:
        return -(-levels * columns // threads) * (-(-height // levels) + 1)

    return min(range(1, min(height, 2 * threads) + 1), key=rows_in_turn)
