"""The attention's sums and products for all cells of a frame in few calls: for a card, which waits for calls.

A processor is better served cell by cell, as in `layers`, while a band's numbers lie in its caches.
"""

import torch
from torch import Tensor

from deblur_cli.kernels import card
from deblur_cli.stream.windows import Axis


def on_card(x: Tensor) -> bool:
    """Whether this tensor is on such a device."""
    return x.is_cuda


def cell_sums(qk: Tensor, heads: int, top: int, ys: Axis, xs: Axis) -> tuple[Tensor, Tensor]:
    """Per cell, in float32, what rows from `top` on add: q k^T (y, x, head, d, d), squared norms (y, x, 2 c).

    qk: the rows (rows, w, 2 head d), q and k side by side.
    """
    if card.fits_sums(qk):
        return card.cell_sums(qk, heads, top, ys.edges, xs.edges)
    q, k = qk.chunk(2, -1)
    if len(ys.cells) == len(xs.cells) == 1:
        gram = (q.flatten(0, 1).mT @ k.flatten(0, 1)).float()[None, None]
        squares = row_squares(qk).sum(0)[None, None]
    else:
        # A product for each row of each column of cells, where it lies; then the rows of a cell are added up.
        numbers = torch.arange(len(ys.cells), device=qk.device)[:, None]
        rows = (numbers == ys.cell_of[top : top + len(qk)]).float()  # (y, row) 1 where the row is the cell's
        spans = [slice(*span) for span in xs.cells]
        products = [rows @ (q[:, span].mT @ k[:, span]).float().flatten(1) for span in spans]
        gram = torch.stack(products, 1).unflatten(-1, (q.shape[-1], k.shape[-1]))
        squares = torch.stack([rows @ row_squares(qk[:, span]) for span in spans], 1)
    # Of the products of all heads with all, those of each with itself.
    d = q.shape[-1] // heads
    blocks = gram.unflatten(-1, (heads, d)).unflatten(-3, (heads, d)).diagonal(dim1=2, dim2=4)
    return blocks.movedim(-1, 2), squares


def row_squares(part: Tensor) -> Tensor:
    """Sums over each row of a part of a frame (y, x, c) -> (y, c), in float32, with no tensor of squares in between."""
    return torch.linalg.vector_norm(part, dim=1, dtype=torch.float32).square()


def add_products(x: Tensor, v: Tensor, matrices: Tensor, ys: Axis, xs: Axis) -> None:
    """x += v times its cell's matrix, for frames (h, w, c) and matrices (y, x, c, c)."""
    if len(ys.cells) == len(xs.cells) == 1:
        x.flatten(0, 1).addmm_(v.flatten(0, 1), matrices[0, 0])
        return
    for number, span in enumerate(xs.cells):
        of_rows = matrices[:, number].index_select(0, ys.cell_of)  # (h, c, c)
        x[:, slice(*span)].baddbmm_(v[:, slice(*span)], of_rows)
