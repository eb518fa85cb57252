"""What torch is slow at in a Restormer on an NVIDIA card, in Triton, which comes with torch there.

`fits` tries the programs before they are trusted: where Triton is missing, cannot compile or gives other numbers than torch, it says
no, and whoever asked does it with torch. Sizes are no constants of a program, so few are compiled, once for a machine.
Tensors are on the current device, whose stream is used.
"""

import os
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

MULTIPLE = 16
"""Of which channels are multiples, so that whole vectors of them are read."""

BLOCK = 16, 16, 32
"""Rows, columns and channels that a program convolves: more of them take too many registers, fewer read more numbers twice."""

LARGEST_HEAD = 128
"""Channels; the matrix of more has no room in the registers of a program."""

PROGRAMS = 1024
"""Into which a sum over a frame is dealt out: as many as keep a large card busy."""

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.02}
"""Of the largest number of a result."""


def fits(x: Tensor) -> bool:
    """Whether `depthwise` and `gated` take tensors like this one (..., c)."""
    return _has_form(x) and is_right(convolution_error, x.device, x.dtype)


def fits_sums(qk: Tensor, heads: int) -> bool:
    """Whether `cell_sums` takes a tensor like this one (..., 2 head d). In float32 torch's products are as quick."""
    d = qk.shape[-1] // heads // 2
    return (
        _has_form(qk)
        and qk.dtype == torch.bfloat16
        and d <= LARGEST_HEAD
        and is_right(sums_error, qk.device, qk.dtype, d)
    )


def allowed() -> bool:
    """Whether a card may be used in other ways than torch's own. DEBLUR_KERNELS=none forbids it; what is here was written for NVIDIA's alone."""
    return torch.version.hip is None and os.environ.get("DEBLUR_KERNELS") != "none"


def _has_form(x: Tensor) -> bool:
    return (
        x.is_cuda
        and x.dtype in TOLERANCE
        and x.shape[-1] % MULTIPLE == 0
        and x.is_contiguous()
        and x.data_ptr() % 16 == 0  # as in the trial: other programs are compiled for other tensors
        and allowed()
    )


@cache
def is_right(error: Callable[..., float], device: torch.device, dtype: torch.dtype, *sizes: int) -> bool:
    """Whether programs can be compiled for this device and these sizes, and give what torch gives: tried once in a process."""
    try:
        return error(device, dtype, *sizes) <= TOLERANCE[dtype]
    except Exception:  # noqa: BLE001  whatever Triton, a compiler or a driver says, torch can do it
        return False


def convolution_error(device: torch.device, dtype: torch.dtype) -> float:
    """How far `depthwise` and `gated` are from torch on the processor, as a share of their largest number."""
    h, w, c = BLOCK[0] + 1, BLOCK[1] + 1, BLOCK[2] + MULTIPLE
    gate, taps = _numbers(h + 2, w, c).to(dtype), _numbers(9, c)
    value, bias = gate.flip(0), taps[0]
    there, taps_there, bias_there = (gate.to(device), value.to(device)), taps.to(device), bias.to(device)

    def convolved(band: Tensor) -> Tensor:
        frame, kernel = band.float().permute(2, 0, 1)[None], taps.mT.reshape(c, 1, 3, 3)
        return F.conv2d(frame, kernel, padding=(0, 1), groups=c)[0].permute(1, 2, 0)

    plain = convolved(gate), F.gelu(convolved(gate)) * (convolved(value) + bias)
    ours = (
        depthwise(there[0], taps_there, None, torch.empty_like(there[0][2:])),
        gated(*there, taps_there, taps_there, None, bias_there),
    )
    return max(map(_difference, ours, plain))


def sums_error(device: torch.device, dtype: torch.dtype, d: int) -> float:
    """How far `cell_sums` is from torch on the processor for heads of d channels, as a share of its largest number."""
    heads = 2
    qk = _numbers(6, 70, 2 * heads * d).to(dtype)
    edges = [torch.tensor(edges, dtype=torch.int32).to(device) for edges in ((0, 4, 9), (0, 3, 70))]
    ours = [sums[1, 1] for sums in cell_sums(qk.to(device), heads, 2, *edges)]
    cell = qk[2:, 3:].flatten(0, 1).float()  # rows from 2 on are given, from 4 on the second cell's
    q, k = cell.view(-1, 2, heads, d).permute(1, 2, 0, 3)
    return max(map(_difference, ours, (q.mT @ k, cell.square().sum(0))))


def _numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _difference(result: Tensor, expected: Tensor) -> float:
    return float((result.float().cpu() - expected).abs().max() / expected.abs().max())


def depthwise(band: Tensor, taps: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """(h + 2, w, c), whose first and last row serve their neighbours only, convolved with taps (9, c), into `out` (h, w, c)."""
    return _convolve(out, (band, taps, bias))


def gated(
    gate: Tensor,
    value: Tensor,
    gate_taps: Tensor,
    value_taps: Tensor,
    gate_bias: Tensor | None,
    value_bias: Tensor | None,
) -> Tensor:
    """gelu(gate convolved) * (value convolved): (h + 2, w, c) twice -> (h, w, c); bands as in `depthwise`."""
    out = torch.empty_like(gate[2:])
    return _convolve(out, (gate, gate_taps, gate_bias), (value, value_taps, value_bias))


Operands = tuple[Tensor, Tensor, Tensor | None]


def _convolve(out: Tensor, first: Operands, second: Operands | None = None) -> Tensor:
    from deblur_cli.kernels import programs  # not before it is needed: Triton may be missing

    h, w, c = out.shape
    rows, columns, channels = BLOCK
    grid = (-(-c // channels), -(-w // columns), -(-h // rows))
    operands = [*_with_bias(first), *(_with_bias(second) if second else (None, None, None))]
    programs.convolve[grid](*operands, out, h, w, c, rows, columns, channels)
    return out


def _with_bias(operands: Operands) -> tuple[Tensor, Tensor, Tensor]:
    band, taps, bias = operands
    return band, taps, no_bias(band.device, band.shape[-1]) if bias is None else bias


@cache
def no_bias(device: torch.device, c: int) -> Tensor:
    """Zeros, which spare us another set of programs."""
    return torch.zeros(c, device=device)


def cell_sums(qk: Tensor, heads: int, top: int, y_edges: Tensor, x_edges: Tensor) -> tuple[Tensor, Tensor]:
    """Per cell: q k^T (y, x, head, d, d), squared norms of q and k (y, x, 2 c); float32, of rows (rows, w, 2 head d) from `top` on.

    y_edges, x_edges: int32, where the cells begin, and the end of the last. Nothing depends on which program is done first.
    """
    from deblur_cli.kernels import programs

    rows, w, channels = qk.shape
    d, ny, nx = channels // heads // 2, len(y_edges) - 1, len(x_edges) - 1
    parts = min(rows, -(-PROGRAMS // (ny * nx * heads)))
    gram = torch.empty(ny, parts, nx, heads, d, d, device=qk.device)
    squares = torch.empty(ny, parts, nx, channels, device=qk.device)
    block = max(MULTIPLE, 1 << (d - 1).bit_length())  # a product's sides are powers of 2
    programs.cell_sums[ny * parts, nx, heads](
        *(qk, y_edges, x_edges, gram, squares, rows, w, top, parts, heads, d, 64, block),
        num_warps=8 if block > 64 else 4,
    )
    return gram.sum(1), squares.sum(1)
