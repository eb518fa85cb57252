"""A frame in overlapping parts, each small enough to have one kernel: Hirsch et al., "Efficient filter flow", 2010."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake._kernels import Shake
from deblur_cli.tiles import UNIT, plan_tiles

TILE, OVERLAP = 768, 64
"""Side of the tiles where nothing changes over the frame, and what neighbours share. Large tensors come from the system anew each time, which takes longer than what is
done with them: tiles of 2048 pixels take twice as long."""
VARYING_TILE, ACROSS = 192, 4
"""Where kernels change: the smallest side, and how many there are along the longer side of the frame, at least; neighbours share a quarter, over which one kernel passes into the next."""
PART_GRID = 3
"""Kernels along each side of a part of a frame."""

Progress = Callable[[float], None]


def in_parts(
    summed: Tensor,
    shake: Shake,
    work: Callable[[Tensor, Tensor], Tensor],
    planes: int,
    progress: Progress | None = None,
) -> Tensor:
    """(planes, h, w): the work done on parts of (c, h, w), which gets the kernel (n, n) of each, faded into one another."""
    n = shake.kernels.shape[-1]
    uniform = bool((shake.kernels == shake.kernels[:1, :1]).all())
    side = TILE if uniform else min(TILE, max(VARYING_TILE, max(summed.shape[1:]) // ACROSS))
    side = max(side, 3 * n)

    def work_at(part: Sequence[Tensor], down: float, right: float) -> Tensor:
        return work(part[0], kernel_at(shake, down, right).to(summed.device))

    return _faded([summed], side, side // 4 if not uniform else OVERLAP, n // 2, work_at, planes, progress)


def in_tiles(
    frames: Sequence[Tensor],
    work: Callable[[Sequence[Tensor]], Tensor],
    planes: int,
    progress: Progress | None,
) -> Tensor:
    """(planes, h, w): the work done on the same tiles of several (c, h, w), faded into one another."""
    return _faded(frames, TILE, OVERLAP, 0, lambda parts, *_: work(parts), planes, progress)


def _faded(
    frames: Sequence[Tensor],
    side: int,
    overlap: int,
    margin: int,
    work: Callable[[Sequence[Tensor], float, float], Tensor],
    planes: int,
    progress: Progress | None,
) -> Tensor:
    """The work, which is told where the middle of each tile lies, 0..1 down and across, and sees `margin` pixels around it."""
    _, h, w = frames[0].shape
    rows, columns = -h % UNIT, -w % UNIT
    side = side // UNIT * UNIT
    plan = plan_tiles((h + rows, w + columns), side, min(overlap, side // 4) // UNIT * UNIT)
    result = torch.zeros(planes, h + rows, w + columns, device=frames[0].device)
    for done, (row, column) in enumerate(plan):
        top, left = max(0, row.start - margin), max(0, column.start - margin)
        parts = [frame[:, top : row.stop + margin, left : column.stop + margin] for frame in frames]
        part = work(parts, (row.start + row.stop) / 2 / h, (column.start + column.stop) / 2 / w)
        part = F.pad(part, (0, columns, 0, rows))[:, row.start - top :, column.start - left :]
        weights = torch.from_numpy(row.weights)[:, None] * torch.from_numpy(column.weights)
        area = (..., slice(row.start, row.stop), slice(column.start, column.stop))
        result[area] += weights.to(result.device) * part[:, : len(row.weights), : len(column.weights)]
        if progress:
            progress((done + 1) / len(plan))
    return result[:, :h, :w]


def kernel_at(shake: Shake, down: float, right: float) -> Tensor:
    """(n, n): the kernel of a place, 0..1 down and across the frame, between those of the grid around it."""
    rows, columns = shake.kernels.shape[:2]
    y = min(max(down * rows - 0.5, 0), rows - 1)
    x = min(max(right * columns - 0.5, 0), columns - 1)
    top, left = int(y), int(x)
    bottom, other = min(top + 1, rows - 1), min(left + 1, columns - 1)
    above = torch.lerp(shake.kernels[top, left], shake.kernels[top, other], x - left)
    below = torch.lerp(shake.kernels[bottom, left], shake.kernels[bottom, other], x - left)
    return torch.lerp(above, below, y - top)


def part_of(shake: Shake, rows: tuple[float, float], columns: tuple[float, float]) -> Shake:
    """The shake of a part of the frame, which reaches from one share of it to another down and across, 0..1."""
    if shake.kernels.shape[:2] == (1, 1):
        return shake
    downs, rights = (
        [start + (stop - start) * (i + 0.5) / PART_GRID for i in range(PART_GRID)]
        for start, stop in (rows, columns)
    )
    kernels = torch.stack([kernel_at(shake, down, right) for down in downs for right in rights])
    n = shake.kernels.shape[-1]
    return Shake(kernels.view(PART_GRID, PART_GRID, n, n), torch.ones(PART_GRID, PART_GRID), shake.curve)
