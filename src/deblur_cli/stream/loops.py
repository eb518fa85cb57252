"""What `kernels` needs to run a half of a block in one loop: weights in panels, and a frame cut into pieces.

Float32 on a processor, where `kernels` is compiled; elsewhere `layers` does the same in torch.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli import kernels
from deblur_cli.stream.windows import Span

CACHE_NUMBERS = 1 << 16
"""Three rows of a piece of the wide layer have about so many at most: half of a small L2 cache."""
PIECE_ROWS = 64
"""At most; a piece makes two rows of the wide layer that others make too."""


def beside(parts: Sequence[Tensor | None]) -> Tensor | None:
    """(..., n) and (..., m) -> both, each padded to whole panels, and one more panel that keeps pixels apart."""
    if any(part is None for part in parts):
        return None
    padded = [F.pad(part, (0, -part.shape[-1] % kernels.PANEL)) for part in parts if part is not None]
    return F.pad(torch.cat(padded, -1), (0, kernels.PANEL)).contiguous()


def spans_of(cells: Sequence[Span], longest: int) -> tuple[Tensor, Tensor]:
    """Cells cut into even spans, none longer than that: (spans, 2), and the cell of each (spans)."""
    spans: list[Span] = []
    owners: list[int] = []
    for owner, (start, stop) in enumerate(cells):
        count = -(-(stop - start) // longest)
        borders = [start + (stop - start) * i // count for i in range(count + 1)]
        spans += pairwise(borders)
        owners += [owner] * count
    return torch.tensor(spans), torch.tensor(owners)


def pieces(ys: Sequence[Span], xs: Sequence[Span], wide: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Spans of rows and their cells, spans of columns and theirs; enough for all threads. wide: channels of the wide layer."""
    columns, column_cells = spans_of(xs, 64 if 3 * 64 * wide <= CACHE_NUMBERS else 32)
    threads, height = torch.get_num_threads(), ys[-1][1]
    levels = -(-2 * threads // len(columns)) if threads > 1 else 1
    rows, row_cells = spans_of(ys, min(PIECE_ROWS, max(1, -(-height // levels))))
    return rows, row_cells, columns, column_cells
