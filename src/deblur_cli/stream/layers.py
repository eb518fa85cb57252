"""The layers of a Restormer over one frame (h, w, c), in bands of rows.

Axes: h and w pixels, c channels (d of one head), y and x cells or windows of a frame.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, reduce
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from deblur_cli import kernels
from deblur_cli.kernels import card
from deblur_cli.model import LayerNorm
from deblur_cli.stream import grouped
from deblur_cli.stream.cells import add_product, cell_of, gram_of, squares_of
from deblur_cli.stream.loops import Pieces, beside
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
        if kernels.fits(x):
            return kernels.layer_norm(x, *self.parameters, LayerNorm.eps)
        if self.bias is not None:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, LayerNorm.eps)
        _, _, inverse_deviation = torch.native_layer_norm(x, self.weight.shape, None, None, LayerNorm.eps)
        return x * inverse_deviation.to(x.dtype)

    @cached_property
    def parameters(self) -> tuple[Tensor | None, Tensor | None]:
        """As our own loops take them: weight and bias in float32, or none of both."""
        return (None, None) if self.bias is None else (self.weight.float(), self.bias.float())


@dataclass(frozen=True)
class Linear:
    """A 1x1 convolution as a product of pixels (n, c) and a matrix (c, c'). In a block that our own loops run, the matrix stays in float32."""

    matrix: Tensor
    bias: Tensor | None

    @property
    def with_bias(self) -> Tensor:
        """The matrix, and below it the bias, if there is one."""
        return self.matrix if self.bias is None else torch.cat([self.matrix, self.bias[None]])

    def write(self, out: Tensor, x: Tensor) -> None:
        """out = x matrix + bias."""
        if self.bias is None:
            torch.mm(x, self.matrix.to(x.dtype), out=out)
        else:
            torch.addmm(self.bias, x, self.matrix.to(x.dtype), out=out)

    def add(self, total: Tensor, x: Tensor) -> None:
        """Total += x matrix + bias; the sum is part of the product, with no pass of its own."""
        total.addmm_(x, self.matrix.to(x.dtype))
        if self.bias is not None:
            total += self.bias


@dataclass(frozen=True)
class Convolution:
    """A 3x3 convolution of a frame (h, w, c), dense or (groups = c) depthwise, with or without GELU after it."""

    kernel: Tensor
    bias: Tensor | None
    groups: int
    gelu: bool = False

    def __call__(self, x: Tensor, pad_rows: int = 1) -> Tensor:
        """(h + 2 - 2 pad_rows, w, c) -> (h, w, c'), zeros around."""
        # With [None] last the strides would not be seen as channels last.
        frames = x[None].permute(0, 3, 1, 2)
        padding = (pad_rows, 1)
        if self.gelu and has_fused_gelu(x.device.type, x.dtype):
            arguments = (frames, self.kernel, self.bias, padding, (1, 1), (1, 1), self.groups)
            frames = torch.ops.mkldnn._convolution_pointwise(*arguments, "gelu", [], "none")  # noqa: SLF001
        else:
            conv2d = grouped.conv2d if grouped.on_card(x) else F.conv2d
            frames = conv2d(frames, self.kernel, self.bias, padding=padding, groups=self.groups)
            frames = F.gelu(frames) if self.gelu else frames
        return frames.permute(0, 2, 3, 1)[0]

    def of_band(self, band: Tensor, out: Tensor) -> Tensor:
        """On a card, a depthwise convolution without GELU of (h + 2, w, c), whose first and last row serve their neighbours only, into `out` (h, w, c)."""
        if card.fits(band):
            return card.depthwise(band, *self.taps, out)
        return out.copy_(self(band, pad_rows=0))

    @cached_property
    def taps(self) -> tuple[Tensor, Tensor | None]:
        """A depthwise convolution as our own loops take it: (9, c) and (c), in float32."""
        bias = None if self.bias is None else self.bias.float()
        return self.kernel.flatten(1).mT.float().contiguous(), bias


@cache
def has_fused_gelu(device: str, dtype: torch.dtype) -> bool:
    """Whether torch offers oneDNN's convolution with GELU at its end: half the time of a pass of its own.

    It is what torch.compile uses, but no public function; so it is tried on one pixel before it is trusted.
    """
    if device != "cpu":
        return False
    one = torch.ones(1, 1, 1, 1, dtype=dtype)
    try:
        result = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001
            one, one, None, (0, 0), (1, 1), (1, 1), 1, "gelu", [], "none"
        )
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.allclose(result.float(), F.gelu(one.float()), atol=1e-2)


@dataclass(frozen=True)
class Hidden:
    """How both halves of a block begin: norm, 1x1 convolution to a wide layer, then a depthwise 3x3 convolution.

    The wide layer is made in parts that are used apart, each dense: elementwise kernels are twice as fast on those.
    """

    norm: Norm
    parts: list[tuple[Linear, Convolution]]

    @cached_property
    def start(self) -> kernels.Start:
        """The same, as our own loops take it."""
        linears, convolutions = zip(*self.parts, strict=True)
        taps, biases = zip(*(convolution.taps for convolution in convolutions), strict=True)
        matrix = torch.cat([kernels.panels(linear.with_bias.to(self.dtype)) for linear in linears])
        both = cast("Tensor", beside(taps))
        both = kernels.pairs_of_taps(both) if self.dtype == torch.bfloat16 else both
        return kernels.Start(
            LayerNorm.eps, *self.norm.parameters, matrix, matrix.shape[1], both, beside(biases)
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of the frames."""
        return self.norm.weight.dtype

    def pieces(self, ys: Sequence[Span], xs: Sequence[Span]) -> Pieces:
        """A frame with these cells, cut for our own loops."""
        wide = sum(linear.matrix.shape[1] for linear, _ in self.parts)
        return Pieces.plan(ys, xs, wide * self.dtype.itemsize)

    def bands(self, x: Tensor) -> Iterator[tuple[int, int, list[Tensor]]]:
        """Frame (h, w, c) -> (first row, end row, parts (rows + 2, w, c') to be convolved), band after band.

        The two rows of the wide layer that the next band needs again are kept, so nothing is computed twice;
        and a row of x before `end` is not read again, so the caller may overwrite it.
        """
        h, w, c = x.shape
        widths = [linear.matrix.shape[1] for linear, _ in self.parts]
        rows = min(h, max(1, BAND_NUMBERS[x.device.type] // (w * sum(widths))))
        buffers = [x.new_empty(rows + 2, w, width) for width in widths]  # rows first - 1 to end
        kept = 0
        for first in range(0, h, rows):
            end = min(first + rows, h)
            fresh, last = (first + 1 if first else 0), min(end + 1, h)  # rows not yet in the buffers
            normed = self.norm(x[fresh:last]).reshape(-1, c)
            wide = []
            for buffer, (linear, _) in zip(buffers, self.parts, strict=True):
                if first:
                    buffer[0].copy_(buffer[kept])
                    buffer[1].copy_(buffer[kept + 1])
                else:
                    buffer[0].zero_()
                linear.write(buffer[fresh - first + 1 : last - first + 1].flatten(0, 1), normed)
                if end == h:
                    buffer[h - first + 1].zero_()
                wide.append(buffer[: end - first + 2])
            kept = end - first
            yield first, end, wide


@dataclass(frozen=True)
class Attention:
    """MDTA (section 3.1) with its softmax matrix folded into the projection; statistics of windows from cells."""

    hidden: Hidden  # parts: queries and keys, values
    temperature: Tensor  # (head, 1, 1)
    project_out: Linear

    def __call__(self, x: Tensor, v: Tensor, ys: Axis, xs: Axis) -> None:
        """x += attention(x), for a frame (h, w, c). v: room for the values, of the shape of x."""
        if grouped.on_card(x):
            folded = self.folded(*self.statistics_at_once(x, v, ys, xs), ys, xs)
            grouped.add_products(x, v, folded, ys, xs)
            if self.project_out.bias is not None:
                x += self.project_out.bias
            return
        cells = {
            (i, j): cell_of(v, rows, columns)
            for i, rows in enumerate(ys.cells)
            for j, columns in enumerate(xs.cells)
        }
        ours = kernels.fits_blocks(x)
        statistics = self.statistics_in_one(x, v, ys, xs) if ours else self.statistics(x, cells, ys, xs)
        folded = self.folded(*statistics, ys, xs)
        if ours:
            folded = kernels.panels(folded)
            for i, j in cells:
                kernels.attention_end(x, v, ys.cells[i], xs.cells[j], folded[i, j], self.project_out.bias)
            return
        for (i, j), values in cells.items():
            add_product(x[slice(*ys.cells[i]), slice(*xs.cells[j])], values, folded[i, j])
        if self.project_out.bias is not None:
            x += self.project_out.bias

    def statistics(
        self, x: Tensor, cells: dict[tuple[int, int], Tensor], ys: Axis, xs: Axis
    ) -> tuple[Tensor, Tensor]:
        """Per cell, in float32: Gram matrices q k^T (y, x, head, d, d), squared norms of q and k (y, x, 2 c).

        cells: room for the values of each, filled here.
        """
        c, heads = x.shape[-1], len(self.temperature)
        gram = x.new_zeros(len(ys.cells), len(xs.cells), heads, c // heads, c // heads, dtype=torch.float32)
        squares = x.new_zeros(len(ys.cells), len(xs.cells), 2 * c, dtype=torch.float32)
        for top, bottom, wide in self.hidden.bands(x):
            qk, v = (convolve(part[1], band) for part, band in zip(self.hidden.parts, wide, strict=True))
            for i, (start, stop) in enumerate(ys.cells):
                first, end = max(start, top), min(stop, bottom)
                if first >= end:
                    continue
                rows = slice(first - top, end - top)
                for j, (left, right) in enumerate(xs.cells):
                    v(rows, slice(left, right), cells[i, j][first - start : end - start])
                    cell = qk(rows, slice(left, right), None)
                    gram[i, j] += gram_of(cell, heads)
                    squares[i, j] += squares_of(cell)
        return gram, squares

    def statistics_in_one(self, x: Tensor, v: Tensor, ys: Axis, xs: Axis) -> tuple[Tensor, Tensor]:
        """The same by our own loop, which leaves the values in v as a frame."""
        pieces, heads = self.hidden.pieces(ys.cells, xs.cells), len(self.temperature)
        gram, squares = kernels.attention_start(x, v, pieces.rows, pieces.columns, self.hidden.start, heads)
        return pieces.sums(gram), pieces.sums(squares)

    def statistics_at_once(self, x: Tensor, v: Tensor, ys: Axis, xs: Axis) -> tuple[Tensor, Tensor]:
        """The same for a card, all cells in few calls, which leaves the values in v as a frame."""
        (_, of_qk), (_, of_v) = self.hidden.parts
        sums = []
        for top, bottom, (qk, values) in self.hidden.bands(x):
            of_v.of_band(values, v[top:bottom])
            qk = of_qk.of_band(qk, torch.empty_like(qk[2:]))
            sums.append(grouped.cell_sums(qk, len(self.temperature), top, ys, xs))
        gram, squares = (reduce(torch.add, parts) for parts in zip(*sums, strict=True))
        return gram, squares

    def folded(self, gram: Tensor, squares: Tensor, ys: Axis, xs: Axis) -> Tensor:
        """The matrices by which each cell's values are multiplied (y, x, c, c)."""
        project = rearrange(self.project_out.matrix.float(), "(h d) c -> h d c", h=len(self.temperature))
        folded = self.weights(gram, squares, ys, xs).mT @ project
        return folded.flatten(2, 3).to(self.hidden.dtype)

    def weights(self, gram: Tensor, squares: Tensor, ys: Axis, xs: Axis) -> Tensor:
        """softmax(temperature * q k^T / (|q| |k|)) of every window, averaged in every cell: (y, x, head, d, d)."""
        heads, d = gram.shape[2:4]
        one = len(ys.cells) == len(xs.cells) == 1  # and one window
        if not one:
            gram = torch.einsum("ay,bx,yxhqk->abhqk", ys.covers, xs.covers, gram)
            squares = torch.einsum("ay,bx,yxc->abc", ys.covers, xs.covers, squares)
        norms = squares.sqrt().clamp_min(1e-12)  # the eps of torch.nn.functional.normalize
        q, k = rearrange(norms, "a b (two head d) -> two a b head d", two=2, head=heads, d=d)
        weights = (self.temperature * gram / (q[..., :, None] * k[..., None, :])).softmax(-1)
        return weights if one else torch.einsum("ay,bx,abhqk->yxhqk", ys.shares, xs.shares, weights)


def convolve(convolution: Convolution, band: Tensor) -> Callable[[slice, slice, Tensor | None], Tensor]:
    """A function of rows, columns and, if need be, room for them -> that part of the convolved band (h + 2, w, c)."""
    if kernels.fits(band):
        return lambda rows, columns, out: kernels.depthwise_part(
            band[rows.start : rows.stop + 2], *convolution.taps, columns, out
        )
    whole = convolution(band, pad_rows=0)

    def cut(rows: slice, columns: slice, out: Tensor | None) -> Tensor:
        part = whole[rows, columns]
        return part if out is None else out.copy_(part)

    return cut


@dataclass(frozen=True)
class FeedForward:
    """GDFN (section 3.2)."""

    hidden: Hidden  # parts: gate with its GELU, value
    project_out: Linear

    def __call__(self, x: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
        """Frame (h, w, c) x, and room for another -> x + feed_forward(x), in one of the two, and the other, which is free from now on."""
        if kernels.fits_blocks(x):
            (h, w), start = x.shape[:2], self.hidden.start
            pieces, bias = self.hidden.pieces([(0, h)], [(0, w)]), self.project_out.bias
            kernels.feed_forward(x, room, pieces.rows, pieces.columns, start, self.panels, bias)
            return room, x
        (_, gate), (_, value) = self.hidden.parts
        for top, bottom, wide in self.hidden.bands(x):
            gated = gate_product(gate, value, *wide)
            self.project_out.add(x[top:bottom].flatten(0, 1), gated.flatten(0, 1))
        return x, room

    @cached_property
    def panels(self) -> Tensor:
        """The projection, as our own loops take it."""
        return kernels.panels(self.project_out.matrix.to(self.hidden.dtype))


def gate_product(gate: Convolution, value: Convolution, gates: Tensor, values: Tensor) -> Tensor:
    """gelu(gate convolved) * (value convolved), from bands (h + 2, w, c) -> (h, w, c). The gate's GELU is part of its convolution."""
    ours = kernels.gated if kernels.fits(gates) else card.gated if card.fits(gates) else None
    if ours:
        (gate_taps, gate_bias), (value_taps, value_bias) = gate.taps, value.taps
        return ours(gates, values, gate_taps, value_taps, gate_bias, value_bias)
    product = gate(gates, pad_rows=0)
    product *= value(values, pad_rows=0)
    return product
