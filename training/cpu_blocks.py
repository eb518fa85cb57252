"""Transformer blocks of a Restormer, trained fast on a CPU; the numbers are those of `deblur_cli.model`.

Everything is (b, h, w, c) in memory: a 1x1 convolution is a matrix product, and what PyTorch's CPU backend is slow at is done by
`deblur_cli.kernels`. The attention is folded into its output projection, as in `deblur_cli.stream`, which leaves no normalised copies of
q and k to store. In float32 results and gradients equal the plain model's to rounding.
"""

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblur_cli import kernels
from deblur_cli.model import Restormer, TransformerBlock


class _Depthwise(torch.autograd.Function):
    """x (b, h, w, c) convolved with weight (9, c), zeros around."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        weight = weight.contiguous()
        ctx.save_for_backward(x, weight)
        return kernels.depthwise(x, weight, None)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad, weight_grad = grad.contiguous(), torch.empty_like(weight)
        kernels.call("depthwise_weight_grad", x, x, grad, weight_grad, *x.shape)
        return kernels.depthwise(grad, weight.flip(0), None), weight_grad


class _Gate(torch.autograd.Function):
    """gelu of the first half of the channels, times the second half."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        out = x.new_empty(*x.shape[:-1], x.shape[-1] // 2)
        kernels.call("gate", x, x, out, x.shape[:-1].numel(), out.shape[-1])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        grad, out = grad.contiguous(), torch.empty_like(x)
        kernels.call("gate_grad", x, x, grad, out, x.shape[:-1].numel(), grad.shape[-1])
        return out


class _LayerNorm(torch.autograd.Function):
    """The norm over the channels of each pixel, with bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return kernels.layer_norm(x, weight, bias, eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad, out, parameter_grad = grad.contiguous(), torch.empty_like(x), weight.new_empty(2, len(weight))
        kernels.call(
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

    It needs the compiled `deblur_cli.kernels`, norms with bias, convolutions without, and at least 16 channels everywhere.
    """
    config = model.config
    if config.bias or config.layer_norm != "WithBias" or config.dim < kernels.SMALLEST_CHANNELS:
        return False
    if kernels.library() is None:
        return False
    for block in model.modules():
        if isinstance(block, TransformerBlock):
            block.forward = functools.partial(_forward, block)  # type: ignore[method-assign]
    return True
