"""The attention's sums and products for one cell of a frame: for a processor, out of its caches. For a card, `grouped` has them for all cells at once."""

import torch
from einops import rearrange
from torch import Tensor

from deblur_cli import kernels
from deblur_cli.stream.windows import Span


def squares_of(part: Tensor) -> Tensor:
    """Sums over the pixels of a part of a frame (y, x, c), in float32."""
    if kernels.fits(part):
        return kernels.squares(part)
    # By rows first: torch shares those out among threads, and sums along memory twice as fast.
    return part.square().sum(1).float().sum(0)


def gram_of(qk: Tensor, heads: int) -> Tensor:
    """q k^T of every head (head, d, d), from a part of a frame (y, x, 2 head d): q and k side by side."""
    if qk.dtype == torch.float32:
        pair = rearrange(qk, "y x (two head d) -> two head (y x) d", two=2, head=heads)
        return pair[0].mT @ pair[1]
    # Where products are quick, a single one over all heads, of which the diagonal is used, is quicker than one for each.
    q, k = qk.chunk(2, -1)
    if has_long_rows(qk):
        everything = (q.mT @ k).float().sum(0)
    else:
        q, k = qk.reshape(-1, qk.shape[-1]).chunk(2, -1)
        everything = q.mT @ k
    return rearrange(everything, "(a q) (b k) -> a b q k", a=heads, b=heads).diagonal().permute(2, 0, 1)


def add_product(total: Tensor, x: Tensor, matrix: Tensor) -> None:
    """total += x matrix, for total a part of a frame (y, x, c) and x dense."""
    if total.is_contiguous():
        total.flatten(0, 1).addmm_(x.flatten(0, 1), matrix)
    elif has_long_rows(total):
        total.baddbmm_(x, matrix.expand(len(x), *matrix.shape))
    else:
        total += (x.flatten(0, 1) @ matrix).view(total.shape)


def has_long_rows(part: Tensor) -> bool:
    """Whether a product for each row of this part of a frame, where it lies, is quicker than a single one of a copy."""
    return not part.is_contiguous() and part.shape[1] >= part.shape[2]


def cell_of(frame: Tensor, ys: Span, xs: Span) -> Tensor:
    """A dense (rows, columns, c) piece of the memory of a dense frame (h, w, c); the pieces of all cells fill it."""
    (top, bottom), (left, right) = ys, xs
    w, c = frame.shape[1:]
    start = (top * w + (bottom - top) * left) * c
    rows, columns = bottom - top, right - left
    return frame.flatten()[start : start + rows * columns * c].view(rows, columns, c)
