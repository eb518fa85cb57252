"""The programs of `card`, in Triton. Each works on a block of numbers; a mask says which of them exist."""

import triton
import triton.language as tl

SQRT_HALF = tl.constexpr(0.7071067811865476)


@triton.jit
def _neighbours(row, column, channel, w, c):
    """A block (columns, channels) of a row (w, c), and those to its left and right, in float32, zeros around."""
    at = row + column[:, None] * c + channel[None, :]
    exists = channel[None, :] < c
    column = column[:, None]
    left = tl.load(at - c, exists & (column > 0) & (column < w), 0.0)
    middle = tl.load(at, exists & (column < w), 0.0)
    right = tl.load(at + c, exists & (column + 1 < w), 0.0)
    return left.to(tl.float32), middle.to(tl.float32), right.to(tl.float32)


@triton.jit
def _weighted(left, middle, right, taps, row: tl.constexpr, channel, c):
    """A block and its neighbours times a row of the taps (9, c)."""
    at = taps + 3 * row * c + channel
    exists = channel < c
    first, second, third = (
        tl.load(at, exists, 0.0),
        tl.load(at + c, exists, 0.0),
        tl.load(at + 2 * c, exists, 0.0),
    )
    return left * first[None, :] + middle * second[None, :] + right * third[None, :]


@triton.jit(do_not_specialize=["h", "w"])
def convolve(
    band, taps, bias, value, value_taps, value_bias, out, h, w, c,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """A band (h + 2, w, c) convolved with taps (9, c); with a value, gelu of that times the value convolved.

    A row of the band is read once for the three rows of the result that it is part of: the sums of two of them are carried on.
    """
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    first = tl.program_id(2) * ROWS
    at = out + column[:, None] * c + channel[None, :]
    exists = (column < w)[:, None] & (channel < c)[None, :]
    nothing = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    start = nothing + tl.load(bias + channel, channel < c, 0.0)[None, :]
    above, here = start, start
    if value is not None:
        value_start = nothing + tl.load(value_bias + channel, channel < c, 0.0)[None, :]
        value_above, value_here = value_start, value_start
    for row in range(first, tl.minimum(first + ROWS, h) + 2):
        left, middle, right = _neighbours(band + row * w * c, column, channel, w, c)
        result = above + _weighted(left, middle, right, taps, 2, channel, c)
        above = here + _weighted(left, middle, right, taps, 1, channel, c)
        here = start + _weighted(left, middle, right, taps, 0, channel, c)
        if value is not None:
            left, middle, right = _neighbours(value + row * w * c, column, channel, w, c)
            other = value_above + _weighted(left, middle, right, value_taps, 2, channel, c)
            value_above = value_here + _weighted(left, middle, right, value_taps, 1, channel, c)
            value_here = value_start + _weighted(left, middle, right, value_taps, 0, channel, c)
            result = 0.5 * result * (1 + tl.erf(result * SQRT_HALF)) * other
        if row >= first + 2:
            tl.store(at + (row - 2) * w * c, result, exists)


@triton.jit(do_not_specialize=["rows", "w", "top", "parts", "heads"])
def cell_sums(
    qk, y_edges, x_edges, gram, squares, rows, w, top, parts, heads, d,
    PIXELS: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    """Of one part of a cell and one head: q k^T (d, d) and the squared norms of q and k, summed over its pixels.

    A cell's rows are dealt out to `parts` programs; those of them count that lie in the band, which begins at row `top` of the frame.
    """
    y, part = tl.program_id(0) // parts, tl.program_id(0) % parts
    x, head = tl.program_id(1), tl.program_id(2)
    channel, pixel = tl.arange(0, D), tl.arange(0, PIXELS)
    c = heads * d
    cell_top, cell_end = tl.load(y_edges + y), tl.load(y_edges + y + 1)
    left, right = tl.load(x_edges + x), tl.load(x_edges + x + 1)
    share = tl.cdiv(cell_end - cell_top, parts)
    first = tl.maximum(cell_top + part * share - top, 0)
    end = tl.minimum(tl.minimum(cell_top + (part + 1) * share, cell_end) - top, rows)
    sums = tl.zeros((D, D), tl.float32)
    q_squares, k_squares = tl.zeros((D,), tl.float32), tl.zeros((D,), tl.float32)
    for row in range(first, end):
        for column in range(left, right, PIXELS):
            at = qk + (row * w + column + pixel)[:, None] * (2 * c) + (head * d + channel)[None, :]
            exists = (column + pixel < right)[:, None] & (channel < d)[None, :]
            q, k = tl.load(at, exists, 0.0), tl.load(at + c, exists, 0.0)
            sums += tl.dot(tl.trans(q), k, input_precision="ieee")
            q_squares += tl.sum(q.to(tl.float32) * q.to(tl.float32), 0)
            k_squares += tl.sum(k.to(tl.float32) * k.to(tl.float32), 0)
    number = tl.program_id(0) * tl.num_programs(1) + x
    inside = channel < d
    at = gram + (number * heads + head) * d * d + channel[:, None] * d + channel[None, :]
    tl.store(at, sums, inside[:, None] & inside[None, :])
    at = squares + number * 2 * c + head * d + channel
    tl.store(at, q_squares, inside)
    tl.store(at + c, k_squares, inside)
