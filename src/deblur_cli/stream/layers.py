"""The layers of a Restormer over one frame (h, w, c), in bands of rows.

Axes: h and w pixels, c channels (d of one head), y and x cells or windows of a frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from deblur_cli.model import LayerNorm
from deblur_cli.stream.windows import Axis, Span

BAND_NUMBERS = {"cpu": 1 << 22, "cuda": 1 << 28, "mps": 1 << 26}
"""Numbers in the widest tensor of a band: on a CPU about what its caches hold, elsewhere what memory likes."""


@dataclass(frozen=True)
class Norm:
    """Norm over the channels of each pixel. Without bias, its weight is part of the matrix that follows."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """(..., c) -> same, dense."""
        if self.bias is not None:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, LayerNorm.eps)
        _, _, inverse_deviation = torch.native_layer_norm(x, self.weight.shape, None, None, LayerNorm.eps)
        return x * inverse_deviation.to(x.dtype)


@dataclass(frozen=True)
class Linear:
    """A 1x1 convolution as a product of pixels (n, c) and a matrix (c, c')."""

    matrix: Tensor
    bias: Tensor | None

    def write(self, out: Tensor, x: Tensor) -> None:
        """out = x matrix + bias."""
        if self.bias is None:
            torch.mm(x, self.matrix, out=out)
        else:
            torch.addmm(self.bias, x, self.matrix, out=out)

    def add(self, total: Tensor, x: Tensor) -> None:
        """Total += x matrix + bias; the sum is part of the product, with no pass of its own."""
        total.addmm_(x, self.matrix)
        if self.bias is not None:
            total += self.bias


@dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution of a frame (h, w, c), dense or (groups = c) depthwise."""

    kernel: Tensor
    bias: Tensor | None
    groups: int

    def __call__(self, x: Tensor, pad_rows: int = 1) -> Tensor:
        """(h + 2 - 2 pad_rows, w, c) -> (h, w, c'), zeros around."""
        frames = x[None].permute(
            0, 3, 1, 2
        )  # [None] last would give strides torch does not see as channels last
        frames = F.conv2d(frames, self.kernel, self.bias, padding=(pad_rows, 1), groups=self.groups)
        return frames.permute(0, 2, 3, 1)[0]


@dataclass(frozen=True)
class Hidden:
    """How both halves of a block begin: norm, 1x1 convolution to a wide layer, depthwise 3x3 convolution.

    The wide layer is made in parts that are used apart, each dense: elementwise kernels are twice as fast on those.
    """

    norm: Norm
    parts: list[tuple[Linear, Convolution]]

    def bands(self, x: Tensor, spans: list[Span]) -> Iterator[tuple[int, int, int, list[Tensor]]]:
        """Frame (h, w, c) -> (index of the span, first row, end row, parts (rows, w, c')), no band across spans.

        The two rows of the wide layer that the next band needs again are kept, so nothing is computed twice;
        and a row of x before `end` is not read again, so the caller may overwrite it.
        """
        h, w, c = x.shape
        widths = [linear.matrix.shape[1] for linear, _ in self.parts]
        rows = max(1, BAND_NUMBERS[x.device.type] // (w * sum(widths)))
        buffers = [x.new_empty(min(rows, h) + 2, w, width) for width in widths]  # rows first - 1 to end
        kept = 0
        for index, (start, stop) in enumerate(spans):
            for first in range(start, stop, rows):
                end = min(first + rows, stop)
                fresh, last = (first + 1 if first else 0), min(end + 1, h)  # rows not yet in the buffers
                normed = self.norm(x[fresh:last]).reshape(-1, c)
                outputs = []
                for buffer, (linear, depthwise) in zip(buffers, self.parts, strict=True):
                    if first:
                        buffer[0].copy_(buffer[kept])
                        buffer[1].copy_(buffer[kept + 1])
                    else:
                        buffer[0].zero_()
                    linear.write(buffer[fresh - first + 1 : last - first + 1].flatten(0, 1), normed)
                    if end == h:
                        buffer[h - first + 1].zero_()
                    outputs.append(depthwise(buffer[: end - first + 2], pad_rows=0))
                kept = end - first
                yield index, first, end, outputs


@dataclass(frozen=True)
class Attention:
    """MDTA (section 3.1) with its softmax matrix folded into the projection; statistics of windows from cells."""

    hidden: Hidden  # parts: queries and keys, values
    temperature: Tensor  # (head, 1, 1)
    project_out: Linear

    def __call__(self, x: Tensor, v: Tensor, ys: Axis, xs: Axis) -> None:
        """x += attention(x), for a frame (h, w, c). v: room for the values, of the shape of x."""
        weights = self.weights(*self.statistics(x, v, ys, xs), ys, xs)
        project = rearrange(self.project_out.matrix.float(), "(h d) c -> h d c", h=len(self.temperature))
        for i, (top, bottom) in enumerate(ys.cells):
            for j, (left, right) in enumerate(xs.cells):
                folded = rearrange(weights[i, j].mT @ project, "head d c -> (head d) c").to(x.dtype)
                cell, values = x[top:bottom, left:right], v[top:bottom, left:right]
                if cell.is_contiguous():
                    cell.flatten(0, 1).addmm_(values.flatten(0, 1), folded)
                else:
                    cell += values @ folded
        if self.project_out.bias is not None:
            x += self.project_out.bias

    def statistics(self, x: Tensor, v: Tensor, ys: Axis, xs: Axis) -> tuple[Tensor, Tensor]:
        """Per cell, in float32: Gram matrices q k^T (y, x, head, d, d), squared norms of q and k (y, x, 2 c); fills v."""
        c, heads = x.shape[-1], len(self.temperature)
        gram = x.new_zeros(len(ys.cells), len(xs.cells), heads, c // heads, c // heads, dtype=torch.float32)
        squares = x.new_zeros(len(ys.cells), len(xs.cells), 2 * c, dtype=torch.float32)
        for j, (left, right) in enumerate(xs.cells):
            halo = min(left, 1)  # a column each side for the depthwise convolution, where there is one
            inside = slice(halo, halo + right - left)
            for i, top, bottom, (qk, values) in self.hidden.bands(x[:, left - halo : right + 1], ys.cells):
                v[top:bottom, left:right] = values[:, inside]
                pixels = qk[:, inside].reshape(-1, 2 * c)
                squares[i, j] += pixels.square().sum(0)
                q, k = pixels.view(-1, 2, heads, c // heads).unbind(1)
                for head in range(heads):
                    gram[i, j, head] += q[:, head].mT @ k[:, head]
        return gram, squares

    def weights(self, gram: Tensor, squares: Tensor, ys: Axis, xs: Axis) -> Tensor:
        """softmax(temperature * q k^T / (|q| |k|)) of every window, averaged in every cell: (y, x, head, d, d)."""
        heads, d = gram.shape[2:4]
        gram = torch.einsum("ay,bx,yxhqk->abhqk", ys.covers, xs.covers, gram)
        squares = torch.einsum("ay,bx,yxc->abc", ys.covers, xs.covers, squares)
        norms = squares.sqrt().clamp_min(1e-12)  # the eps of torch.nn.functional.normalize
        q, k = rearrange(norms, "a b (two head d) -> two a b head d", two=2, head=heads, d=d)
        weights = (self.temperature * gram / (q[..., :, None] * k[..., None, :])).softmax(-1)
        return torch.einsum("ay,bx,abhqk->yxhqk", ys.shares, xs.shares, weights)


@dataclass(frozen=True)
class FeedForward:
    """GDFN (section 3.2)."""

    hidden: Hidden  # parts: gate, value
    project_out: Linear

    def __call__(self, x: Tensor) -> None:
        """x += feed_forward(x), for a frame (h, w, c)."""
        for _, top, bottom, (gate, value) in self.hidden.bands(x, [(0, len(x))]):
            gated = F.gelu(gate).mul_(value)
            self.project_out.add(x[top:bottom].flatten(0, 1), gated.reshape(-1, gated.shape[-1]))
