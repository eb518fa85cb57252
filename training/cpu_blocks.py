"""Transformer blocks of a Restormer, trained fast on a CPU; the numbers are those of `deblur_cli.model`.

Everything is (b, h, w, c) in memory: a 1x1 convolution is a matrix product, and what PyTorch's CPU backend is slow at is done by
cpu_kernels.cpp. The attention is folded into its output projection, as in `deblur_cli.stream`, which leaves no normalised copies of
q and k to store. In float32 results and gradients equal the plain model's to rounding.
"""

import ctypes
import functools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblur_cli.model import Restormer, TransformerBlock


@functools.cache
def _kernels() -> ctypes.CDLL:
    """cpu_kernels.cpp, compiled for this machine: about three seconds."""
    flags = ["-O3", "-march=native", "-ffast-math", "-std=c++20", "-fopenmp", "-shared", "-fPIC"]
    source = Path(__file__).with_name("cpu_kernels.cpp")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "kernels.so"
        command = [os.environ.get("CXX", "c++"), *flags, str(source), "-o", str(library)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (our own source, the user's compiler)
        return ctypes.CDLL(str(library))


def _call(name: str, like: Tensor, *arguments: Tensor | int | float) -> None:
    """A function of cpu_kernels.cpp on tensors of `like`'s dtype and on float32 parameters."""
    half = ctypes.c_int64(like.dtype == torch.bfloat16)
    converted = [
        ctypes.c_void_p(a.data_ptr())
        if isinstance(a, Tensor)
        else ctypes.c_double(a)
        if isinstance(a, float)
        else ctypes.c_int64(a)
        for a in arguments
    ]
    getattr(_kernels(), name)(half, *converted)


class _Depthwise(torch.autograd.Function):
    """x (b, h, w, c) convolved with weight (9, c), zeros around."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        weight = weight.contiguous()
        ctx.save_for_backward(x, weight)
        out = torch.empty_like(x)
        _call("depthwise", x, x, weight, out, *x.shape)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        x_grad, weight_grad, turned = torch.empty_like(x), torch.empty_like(weight), weight.flip(0)
        _call("depthwise", x, grad, turned, x_grad, *x.shape)
        _call("depthwise_weight_grad", x, x, grad, weight_grad, *x.shape)
        return x_grad, weight_grad


class _Gate(torch.autograd.Function):
    """gelu of the first half of the channels, times the second half."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        out = x.new_empty(*x.shape[:-1], x.shape[-1] // 2)
        _call("gate", x, x, out, x.shape[:-1].numel(), out.shape[-1])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        grad, out = grad.contiguous(), torch.empty_like(x)
        _call("gate_grad", x, x, grad, out, x.shape[:-1].numel(), grad.shape[-1])
        return out


class _LayerNorm(torch.autograd.Function):
    """The norm over the channels of each pixel, with bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        out = torch.empty_like(x)
        _call("layer_norm", x, x, weight, bias, out, x.shape[:-1].numel(), x.shape[-1], eps)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad, out, parameter_grad = grad.contiguous(), torch.empty_like(x), weight.new_empty(2, len(weight))
        _call(
            "layer_norm_grad",
            x,
            x,
            weight,
            grad,
            out,
            parameter_grad,
            x.shape[:-1].numel(),
            x.shape[-1],
            ctx.eps,
        )
        return out, parameter_grad[0], parameter_grad[1], None


class _Gram(torch.autograd.Function):
    """X^T X for X (b, pixels, c); autograd would make its two equal products one after the other."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.transpose(1, 2) @ x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x @ (grad + grad.transpose(1, 2))


def _linear(x: Tensor, conv: nn.Conv2d) -> Tensor:
    return F.linear(x, conv.weight.flatten(1).to(x.dtype))


def _depthwise(x: Tensor, conv: nn.Conv2d) -> Tensor:
    return _Depthwise.apply(x, conv.weight.flatten(1).t())


def _forward(block: TransformerBlock, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        x = x.permute(0, 2, 3, 1).contiguous()  # a view, in channels-last memory
        b, h, w, c = x.shape
        attn, ffn, norm1, norm2 = block.attn, block.ffn, block.norm1, block.norm2
        heads, d = attn.num_heads, c // attn.num_heads

        y = _LayerNorm.apply(x, norm1.body.weight, norm1.body.bias, norm1.eps)
        qkv = _depthwise(_linear(y, attn.qkv), attn.qkv_dwconv).flatten(1, 2)
        qk, v = qkv.split((2 * c, c), -1)
        gram = _Gram.apply(qk).float()  # (b, 2c, 2c): q.k beside the diagonal, the squared norms on it
        scale = gram.diagonal(dim1=1, dim2=2).clamp_min(1e-24).rsqrt()
        cosine = gram[:, :c, c:] * scale[:, :c, None] * scale[:, None, c:]
        cosine = cosine.view(b, heads, d, heads, d).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
        attention = (attn.temperature * cosine).softmax(-1)  # (b, head, d, d)
        project_out = attn.project_out.weight.view(c, heads, d)
        folded = torch.einsum("ohd,bhde->bheo", project_out, attention).reshape(b, c, c).to(x.dtype)
        x = x + (v @ folded).view(b, h, w, c)

        y = _LayerNorm.apply(x, norm2.body.weight, norm2.body.bias, norm2.eps)
        y = _Gate.apply(_depthwise(_linear(y, ffn.project_in), ffn.dwconv))
        x = x + _linear(y, ffn.project_out)
        return x.permute(0, 3, 1, 2)


def speed_up(model: Restormer) -> bool:
    """Train these blocks in place of the plain ones from now on; False, and nothing done, where that is not possible.

    It needs a C++ compiler, norms with bias, convolutions without, and at least 16 channels everywhere.
    """
    config = model.config
    if config.bias or config.layer_norm != "WithBias" or config.dim < 16:
        return False
    try:
        _kernels()
    except (OSError, subprocess.CalledProcessError):
        return False
    for block in model.modules():
        if isinstance(block, TransformerBlock):
            block.forward = functools.partial(_forward, block)  # type: ignore[method-assign]
    return True
