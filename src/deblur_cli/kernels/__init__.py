"""What torch is slow at in a Restormer on a CPU, by kernels.cpp: one set of loops for restoring and for training; and, by
blocks.cpp, half a block in one loop, for restoring in float32.

build.py compiles them, where there is a compiler, once for each kind of processor; the best one for this processor is loaded
through ctypes. Where none is, `fits` says no, and whoever asked does it with torch. Nothing here knows of a whole network.
"""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.kernels.build import KINDS

SMALLEST_CHANNELS = 16
"""Channels are taken in blocks of a register, which AVX-512 makes 16 numbers wide."""

PANEL = 16
"""Matrices of blocks.cpp lie in panels of so many columns."""

_HALF, _POINTER, _NUMBER, _REAL = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
_PIECES = (*2 * (_POINTER,), *3 * (_NUMBER,), *2 * (_POINTER, _NUMBER), _NUMBER, _REAL, *6 * (_POINTER,))
SIGNATURES = {
    "attention_end": (*2 * (_POINTER,), *6 * (_NUMBER,), *2 * (_POINTER,)),
    "attention_start": (*_PIECES, *2 * (_POINTER,)),
    "depthwise": (_HALF, *4 * (_POINTER,), *7 * (_NUMBER,)),
    "depthwise_weight_grad": (_HALF, *3 * (_POINTER,), *4 * (_NUMBER,)),
    "feed_forward": (*_PIECES, *2 * (_POINTER,)),
    "gated": (_HALF, *7 * (_POINTER,), *3 * (_NUMBER,)),
    "gate": (_HALF, *2 * (_POINTER,), *2 * (_NUMBER,)),
    "gate_grad": (_HALF, *3 * (_POINTER,), *2 * (_NUMBER,)),
    "layer_norm": (_HALF, *4 * (_POINTER,), *2 * (_NUMBER,), _REAL),
    "layer_norm_grad": (_HALF, *5 * (_POINTER,), *2 * (_NUMBER,), _REAL),
    "squares": (_HALF, *2 * (_POINTER,), *2 * (_NUMBER,)),
}
"""The functions of both sources; `_HALF`, in kernels.cpp only: whether their tensors are bfloat16."""


@cache
def library() -> ctypes.CDLL | None:
    """The compiled loops for this processor, or None. DEBLUR_KERNELS=none does without; a kind (avx2, ...) takes no better one."""
    most = os.environ.get("DEBLUR_KERNELS", "")
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    names = list(KINDS)[: list(KINDS).index(most) + 1] if most in KINDS else list(KINDS)
    for name in [] if most == "none" else reversed(names):
        if all(capabilities.get(need) for need in KINDS[name].needs):
            try:
                loaded = ctypes.CDLL(str(Path(__file__).with_name(f"{name}.so")))
                for function, types in SIGNATURES.items():
                    getattr(loaded, function).argtypes = types
            except (OSError, AttributeError):  # not compiled, or not for this system or version
                continue
            return loaded
    return None


def fits(x: Tensor) -> bool:
    """Whether the functions below take tensors like this one (..., c)."""
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.shape[-1] >= SMALLEST_CHANNELS
        and x.is_contiguous()
        and library() is not None
    )


def fits_blocks(x: Tensor) -> bool:
    """Whether `feed_forward`, `attention_start` and `attention_end` take tensors like this one."""
    return x.dtype == torch.float32 and fits(x)


def call(name: str, like: Tensor, *arguments: Tensor | float | None) -> None:
    """A function of kernels.cpp, on tensors of `like`'s dtype and on float32 parameters."""
    _run(name, like.dtype == torch.bfloat16, *arguments)


def _run(name: str, *arguments: Tensor | float | None) -> None:
    getattr(library(), name)(*(a.data_ptr() if isinstance(a, Tensor) else a for a in arguments))


def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """(..., c) -> (x - mean) / sqrt(variance + eps) * weight + bias; without both, x / sqrt(variance + eps)."""
    out = torch.empty_like(x)
    call("layer_norm", x, x, weight, bias, out, x.shape[:-1].numel(), x.shape[-1], eps)
    return out


def depthwise(x: Tensor, taps: Tensor, bias: Tensor | None) -> Tensor:
    """(b, h, w, c) convolved with taps (9, c), zeros around."""
    b, h, w, c = x.shape
    out = torch.empty_like(x)
    call("depthwise", x, x, taps, bias, out, b, h, w, c, False, 0, w)
    return out


def depthwise_part(
    band: Tensor, taps: Tensor, bias: Tensor | None, columns: slice, out: Tensor | None = None
) -> Tensor:
    """Columns of (h + 2, w, c), whose first and last row serve their neighbours only -> (h, columns, c), into `out` if it is given."""
    h, w, c = band.shape
    left, right = columns.start, columns.stop
    out = band.new_empty(h - 2, right - left, c) if out is None else out
    call("depthwise", band, band, taps, bias, out, 1, h - 2, w, c, True, left, right)
    return out


def gated(
    gate: Tensor,
    value: Tensor,
    gate_taps: Tensor,
    value_taps: Tensor,
    gate_bias: Tensor | None,
    value_bias: Tensor | None,
) -> Tensor:
    """gelu(gate convolved) * (value convolved): (h + 2, w, c) twice -> (h, w, c); bands as in `depthwise_part`."""
    h, w, c = gate.shape
    out = gate.new_empty(h - 2, w, c)
    call("gated", gate, gate, value, gate_taps, value_taps, gate_bias, value_bias, out, h - 2, w, c)
    return out


def squares(x: Tensor) -> Tensor:
    """(..., c) -> sums of squares (c), float32."""
    sums = torch.empty(x.shape[-1])
    call("squares", x, x, sums, x.shape[:-1].numel(), x.shape[-1])
    return sums


class Start(NamedTuple):
    """How half a block begins: a norm, a 1x1 convolution to a wide layer of two parts, a depthwise 3x3 convolution.

    Matrix: the `panels` of both parts. Everything else of the wide layer: both parts, each padded to whole panels, and one more panel.
    """

    eps: float
    norm_weight: Tensor | None
    norm_bias: Tensor | None
    matrix: Tensor
    bias: Tensor | None
    taps: Tensor  # (9, n)
    taps_bias: Tensor | None


def panels(matrix: Tensor) -> Tensor:
    """(..., k, n) -> (..., panels, k, PANEL), padded with zeros: as blocks.cpp takes matrices."""
    padded = F.pad(matrix, (0, -matrix.shape[-1] % PANEL))
    return padded.reshape(*padded.shape[:-1], -1, PANEL).transpose(-2, -3).contiguous()


def feed_forward(
    x: Tensor, out: Tensor, rows: Tensor, columns: Tensor, start: Start, project: Tensor, bias: Tensor | None
) -> None:
    """Out = x + the gated feed-forward of x: frames (h, w, c). rows, columns: spans (n, 2) of pieces; project: `panels`."""
    pieces = (rows, len(rows), columns, len(columns))
    _run("feed_forward", x, out, *x.shape, *pieces, project.shape[-2], *start, project, bias)


def attention_start(
    x: Tensor, v: Tensor, rows: Tensor, columns: Tensor, start: Start, heads: int
) -> tuple[Tensor, Tensor]:
    """Fills v with the values of x; of each piece, q k^T (rows, columns, heads, d, d) and squared norms of q and k (rows, columns, 2 c)."""
    c, pieces = x.shape[-1], (rows, len(rows), columns, len(columns))
    d = c // heads
    gram = x.new_empty(len(rows), len(columns), heads, d, d + -d % PANEL)
    squares = x.new_empty(len(rows), len(columns), 2 * c + -2 * c % PANEL)
    _run("attention_start", x, v, *x.shape, *pieces, heads, *start, gram, squares)
    return gram[..., :d], squares[..., : 2 * c]


def attention_end(
    x: Tensor, v: Tensor, rows: tuple[int, int], columns: tuple[int, int], matrix: Tensor, bias: Tensor | None
) -> None:
    """These rows and columns of x += those of v times a matrix in `panels`, plus bias; x and v are frames (h, w, c)."""
    _run("attention_end", x, v, *x.shape[1:], *rows, *columns, matrix, bias)
