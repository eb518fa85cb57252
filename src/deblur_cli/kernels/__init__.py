"""What torch is slow at on a CPU. In a Restormer, by kernels.cpp: one set of loops for restoring and for training; and, by
blocks.cpp, half a block in one loop, for restoring. In small convolutional networks, by convolution.cpp: all that a 3x3 convolution does. And,
by splitting.cpp, what is done between two Fourier transforms.

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

EIGHT = 8
"""Channels are taken in blocks of so many by convolution.cpp."""
_WAYS = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
"""What three taps become among six numbers."""

_HALF, _POINTER, _NUMBER, _REAL = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
_FRAMES = (_HALF, *2 * (_POINTER,))
_START = (_REAL, *3 * (_POINTER,), _NUMBER, *2 * (_POINTER,))
_PIECES = (*_FRAMES, *3 * (_NUMBER,), *2 * (_POINTER, _NUMBER), _NUMBER, *_START)
SIGNATURES = {
    "attention_end": (*_FRAMES, *6 * (_NUMBER,), *2 * (_POINTER,)),
    "attention_start": (*_PIECES, *2 * (_POINTER,)),
    "convolve": (*5 * (_POINTER,), *6 * (_NUMBER,)),
    "depthwise": (_HALF, *4 * (_POINTER,), *7 * (_NUMBER,)),
    "depthwise_weight_grad": (_HALF, *3 * (_POINTER,), *4 * (_NUMBER,)),
    "feed_forward": (*_PIECES, *2 * (_POINTER,)),
    "few_gradients": (*2 * (_POINTER,), *3 * (_NUMBER,), _REAL),
    "gated": (_HALF, *7 * (_POINTER,), *3 * (_NUMBER,)),
    "gate": (_HALF, *2 * (_POINTER,), *2 * (_NUMBER,)),
    "gate_grad": (_HALF, *3 * (_POINTER,), *2 * (_NUMBER,)),
    "layer_norm": (_HALF, *4 * (_POINTER,), *2 * (_NUMBER,), _REAL),
    "layer_norm_grad": (_HALF, *5 * (_POINTER,), *2 * (_NUMBER,), _REAL),
    "quotient": (*4 * (_POINTER,), *2 * (_NUMBER,), _REAL, _NUMBER),
    "sparse_gradients": (*3 * (_POINTER,), *3 * (_NUMBER,)),
    "squares": (_HALF, *2 * (_POINTER,), *2 * (_NUMBER,)),
    "sum_of_products": (*3 * (_POINTER,), *4 * (_NUMBER,)),
    "takes_half": (),
}
"""The functions of all sources; `_HALF`: whether their tensors are bfloat16."""


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
    """Whether `feed_forward`, `attention_start` and `attention_end` take tensors like this one. In bfloat16 they are for AVX512-BF16: on AMX, oneDNN is faster."""
    if x.dtype == torch.float32 or not fits(x):
        return fits(x)
    found = library()
    return x.shape[-1] % 2 == 0 and found is not None and bool(found.takes_half()) and not _has_amx()


def _has_amx() -> bool:
    return hasattr(torch.cpu, "get_capabilities") and bool(
        torch.cpu.get_capabilities().get("amx_bf16")
    )  # torch 2.6 and later


def call(name: str, like: Tensor, *arguments: Tensor | float | None) -> None:
    """A function on tensors of `like`'s dtype."""
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

    matrix: the `panels` of both parts. Everything else of the wide layer: both parts, each padded to whole panels.
    """

    eps: float
    norm_weight: Tensor | None
    norm_bias: Tensor | None
    matrix: Tensor  # its last row is the bias, if there is one
    depth: int  # how many rows or, in bfloat16, pairs of rows it has
    taps: Tensor  # (9, n), or `pairs_of_taps`
    taps_bias: Tensor | None


def panels(matrix: Tensor) -> Tensor:
    """(k, n) -> (panels, k, PANEL), padded with zeros; in bfloat16 (panels, k / 2, PANEL, 2): as blocks.cpp takes matrices, or any of (..., k, n)."""
    each = 2 if matrix.dtype == torch.bfloat16 else 1
    padded = F.pad(matrix, (0, -matrix.shape[-1] % PANEL, 0, -matrix.shape[-2] % each))
    *before, k, n = padded.shape
    parts = padded.reshape(*before, k // each, each, n // PANEL, PANEL)
    return parts.movedim(-2, -4).transpose(-1, -2).contiguous()


def pairs_of_taps(taps: Tensor) -> Tensor:
    """(9, n) -> (12, n, 2) bfloat16: for each row a, b, c of a kernel (c, 0), (a, b), (b, c), (0, a), as blocks.cpp multiplies pairs of pixels."""
    a, b, c = taps.reshape(3, 3, -1).unbind(1)
    zero = torch.zeros_like(a)
    pairs = torch.stack([torch.stack(pair, -1) for pair in ((c, zero), (a, b), (b, c), (zero, a))], 1)
    return pairs.flatten(0, 1).bfloat16().contiguous()


def feed_forward(
    x: Tensor, out: Tensor, rows: Tensor, columns: Tensor, start: Start, project: Tensor, bias: Tensor | None
) -> None:
    """Out = x + the gated feed-forward of x: frames (h, w, c). rows, columns: spans (n, 2) of pieces; project: `panels`."""
    pieces, hidden = (rows, len(rows), columns, len(columns)), project.shape[-3] * project.shape[-1]
    call("feed_forward", x, x, out, *x.shape, *pieces, hidden, *start, project, _float(bias))


def attention_start(
    x: Tensor, v: Tensor, rows: Tensor, columns: Tensor, start: Start, heads: int
) -> tuple[Tensor, Tensor]:
    """Fills v with the values of x; of each piece, in float32, q k^T (rows, columns, heads, d, d) and squared norms of q and k (rows, columns, 2 c)."""
    c, pieces = x.shape[-1], (rows, len(rows), columns, len(columns))
    d = c // heads
    gram = torch.empty(len(rows), len(columns), heads, d, d + -d % PANEL)
    squares = torch.empty(len(rows), len(columns), 2 * c + -2 * c % PANEL)
    call("attention_start", x, x, v, *x.shape, *pieces, heads, *start, gram, squares)
    return gram[..., :d], squares[..., : 2 * c]


def attention_end(
    x: Tensor, v: Tensor, rows: tuple[int, int], columns: tuple[int, int], matrix: Tensor, bias: Tensor | None
) -> None:
    """These rows and columns of x += those of v times a matrix in `panels`, plus bias; x and v are frames (h, w, c)."""
    call("attention_end", x, x, v, *x.shape[1:], *rows, *columns, matrix, _float(bias))


def fits_convolution(x: Tensor, channels: int) -> bool:
    """Whether `convolve` takes (b, h, w, c) to so many channels."""
    return (
        x.dtype == torch.float32
        and fits(x)
        and x.shape[-1] % EIGHT == 0
        and channels % EIGHT == 0
        and channels >= SMALLEST_CHANNELS
    )


def convolves_quicker_than_half() -> bool:
    """Whether `convolve` takes no longer than torch takes in bfloat16: on a CPU that has no AMX."""
    return library() is not None and not _has_amx()


def mixing(weight: Tensor) -> Tensor:
    """(n, c, 3, 3) as `convolve` takes it: 36 matrices of c by n, for each 24 or 16 of the n together. F(4x4, 3x3) of Lavin and Gray 2016."""
    ways = _WAYS.to(weight.device)
    matrices = (ways @ weight.double() @ ways.T).permute(2, 3, 1, 0).flatten(0, 1).float()
    parts, left = [], matrices.shape[-1]
    while left:
        together = 24 if left == 24 or left >= 40 else 16
        parts.append(matrices[..., -left:][..., :together].flatten())
        left -= together
    return torch.cat(parts)


def convolve(
    x: Tensor, matrices: Tensor, bias: Tensor, more: Tensor | None = None, *, positive: bool = False
) -> Tensor:
    """(b, h, w, c) convolved 3x3, zeros around, + bias (n) + more -> (b, h, w, n); positive: what is negative becomes 0. matrices: `mixing`."""
    out = x.new_empty(*x.shape[:-1], len(bias))
    _run("convolve", x, matrices, bias, more, out, *x.shape, len(bias), positive)
    return out


def fits_frames(x: Tensor) -> bool:
    """Whether `few_gradients`, `sparse_gradients` and `quotient` take frames like this one (k, h, w)."""
    return fits(x) and x.dtype == torch.float32


def few_gradients(x: Tensor, least: float) -> Tensor:
    """(k, h, w) that wrap round -> the divergence of their gradients, of those 0 whose squares add up to less than `least`."""
    out = torch.empty_like(x)
    _run("few_gradients", x, out, *x.shape, least)
    return out


def sparse_gradients(x: Tensor, threshold: Tensor) -> Tensor:
    """(k, h, w) that wrap round -> the divergence of their gradients, each made smaller by threshold (h, w) / |it|^(1/4)."""
    out = torch.empty_like(x)
    _run("sparse_gradients", x, threshold.contiguous(), out, *x.shape)
    return out


def quotient(pull: Tensor, seen: Tensor, passed: Tensor, power: Tensor, share: float) -> Tensor:
    """(seen + share * pull) / (passed + share * power), into `pull`: spectra (k, h, w), `passed` real, (k, h, w) or (h, w), `power` (h, w)."""
    pull, seen, passed = pull.contiguous(), seen.contiguous(), passed.contiguous()
    _run("quotient", pull, seen, passed, power, len(pull), power.numel(), share, passed.dim() == 2)
    return pull


def fits_spectra(x: Tensor) -> bool:
    """Whether `sum_of_products` takes spectra like these."""
    return x.device.type == "cpu" and x.dtype == torch.complex64 and library() is not None


def sum_of_products(factors: Tensor, x: Tensor, *, adjoint: bool) -> Tensor:
    """Spectra: factors (r, t, h, w) times x (t, h, w), summed -> (r, h, w); adjoint: their conjugates times x (r, h, w) -> (t, h, w)."""
    (r, t), x = factors.shape[:2], x.contiguous()
    out = x.new_empty(t if adjoint else r, *x.shape[1:])
    _run("sum_of_products", factors, x, out, r, t, x[0].numel(), adjoint)
    return out


def _float(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.float()
