"""What a card does in another way: the attention's sums and products for all cells of a frame in few calls, since it waits for calls.

A processor is better served cell by cell, by `cells`, while a band's numbers lie in its caches.
"""

import torch
from einops import rearrange
from torch import Tensor

from deblur_cli.kernels import card
from deblur_cli.stream.windows import Axis


def on_card(x: Tensor) -> bool:
    """Whether this tensor is on such a device."""
    return x.is_cuda


def conv2d(x: Tensor, kernel: Tensor, bias: Tensor | None, padding: tuple[int, int], groups: int) -> Tensor:
    """As torch.nn.functional.conv2d, but float32 is float32: there torch allows TF32, unless a flag of the whole process forbids it.

    It is what that function calls; cuDNN's search for the fastest way, for which it waits, is off.
    """
    cudnn, benchmark, allow_tf32 = torch.backends.cudnn, False, False
    arguments = (x, kernel, bias, (1, 1), padding, (1, 1), False, (0, 0), groups)
    flags = (benchmark, cudnn.deterministic, cudnn.enabled, allow_tf32)
    result: Tensor = torch.ops.aten._convolution(*arguments, *flags)  # noqa: SLF001
    return result


def cell_sums(qk: Tensor, heads: int, top: int, ys: Axis, xs: Axis) -> tuple[Tensor, Tensor]:
    """Per cell, in float32, what rows from `top` on add: q k^T (y, x, head, d, d), squared norms (y, x, 2 c).

    qk: the rows (rows, w, 2 head d), q and k side by side. Of each column of cells one product for each row, where it lies,
    and one more that adds the rows of a cell.
    """
    if card.fits_sums(qk, heads):
        return card.cell_sums(qk, heads, top, ys.edges, xs.edges)
    q, k = qk.chunk(2, -1)
    numbers = torch.arange(len(ys.cells), device=qk.device)[:, None]
    rows = (numbers == ys.cell_of[top : top + len(qk)]).float()  # (y, row) 1 where the row is the cell's
    spans = [slice(*span) for span in xs.cells]
    products = [rows @ (q[:, span].mT @ k[:, span]).float().flatten(1) for span in spans]
    # Of the products of all heads with all, those of each with itself.
    blocks = rearrange(
        torch.stack(products, 1), "y x (a q b k) -> y x q k a b", a=heads, b=heads, q=q.shape[-1] // heads
    )
    gram = rearrange(blocks.diagonal(dim1=-2, dim2=-1), "y x q k head -> y x head q k")
    return gram, torch.stack([rows @ row_squares(qk[:, span]) for span in spans], 1)


def row_squares(part: Tensor) -> Tensor:
    """Sums over each row of a part of a frame (y, x, c) -> (y, c), in float32, with no tensor of squares in between."""
    norms: Tensor = torch.linalg.vector_norm(part, dim=1, dtype=torch.float32)
    return norms.square()


def add_products(x: Tensor, v: Tensor, matrices: Tensor, ys: Axis, xs: Axis) -> None:
    """x += v times its cell's matrix, for frames (h, w, c) and matrices (y, x, c, c)."""
    if matrices.shape[:2] == (1, 1):
        x.flatten(0, 1).addmm_(v.flatten(0, 1), matrices[0, 0])
        return
    for number, span in enumerate(xs.cells):
        of_rows = matrices[:, number].index_select(0, ys.cell_of)  # (h, c, c)
        x[:, slice(*span)].baddbmm_(v[:, slice(*span)], of_rows)
