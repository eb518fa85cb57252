"""The nodes of a Restormer: the numbers of `model`, with what one operator can do done by one.

Weights are put where they cost nothing. A shuffle of pixels is part of the convolution beside it. A norm's weight and
bias are part of the 1x1 convolution behind it. The softmax matrix of the attention is folded into the projection, as in
`stream`, so that no value has the size of a photo times heads. In float16, what sums or divides stays in float32.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import product
from typing import Literal, cast

import numpy as np
import torch
from einops import rearrange
from onnx import TensorProto
from torch import Tensor, nn

from deblur_cli.errors import WeightsError
from deblur_cli.export._graph import Graph
from deblur_cli.model import GDFN, MDTA, Downsample, LayerNorm, Restormer, TransformerBlock, Upsample

Precision = Literal["fp32", "fp16"]

INPUT, OUTPUT = "image", "restored"

LARGEST_FILE_BYTES = 2**31 - 1
"""A protocol buffer, which an ONNX file is, holds no more."""

LAYOUTS = {
    1: "NCHW, N is 1, C is gray",
    3: "NCHW, N is 1, C is R G B",
    6: "NCHW, N is 1, C is R G B of the left view, R G B of the right",
}


def write_onnx(
    model: Restormer,
    *,
    precision: Precision = "fp32",
    size: int | None = None,
    about: Mapping[str, str] | None = None,
) -> bytes:
    """The ONNX file of a model on the CPU. Input and output are float32 in either precision.

    size: height and width of what it will take; None: any multiple of the config's `size_multiple`. about: metadata
    besides what the file says of its own input and output. WeightsError for weights that do not fit.
    """
    config = model.config
    itemsize = 2 if precision == "fp16" else 4
    if sum(parameter.numel() for parameter in model.parameters()) * itemsize > LARGEST_FILE_BYTES:
        raise WeightsError(f"weights of more than 2 GB as {precision}: an ONNX file holds no more")
    writer = _Writer(precision, size)
    writer.network(model)
    sizes = (size, size) if size else ("height", "width")
    metadata = {
        "input": INPUT,
        "output": OUTPUT,
        "layout": LAYOUTS.get(config.inp_channels, f"NCHW, N is 1, C is {config.inp_channels}"),
        "range": "0..1; the output is about that and not clamped",
        "size_multiple": str(config.size_multiple),
        "precision": precision,
        "config": json.dumps(asdict(config)),
    }
    return writer.graph.model(
        {INPUT: (1, config.inp_channels, *sizes)},
        (OUTPUT, (1, config.out_channels, *sizes)),
        metadata | dict(about or {}),
    )


class _Writer:
    """The parts of the network; each method adds nodes and gives the name of their value."""

    def __init__(self, precision: Precision, size: int | None) -> None:
        self.graph = Graph()
        self.half = precision == "fp16"
        self.size = size

    def network(self, model: Restormer) -> str:
        """Figure 2. As in `stream`, the first convolution and the last sum are in float32."""
        add, unshuffle = self.graph.add, model.config.unshuffle

        def stage(x: str, blocks: nn.Sequential, level: int) -> str:
            size = self.size // unshuffle >> level if self.size else None
            for block in blocks:
                x = self.block(x, cast("TransformerBlock", block), size)
            return x

        embedded = self.back(self.convolution(INPUT, model.patch_embed.proj, unshuffle, exact=True))
        level1 = stage(embedded, model.encoder_level1, 0)
        level2 = stage(self.down(level1, model.down1_2), model.encoder_level2, 1)
        level3 = stage(self.down(level2, model.down2_3), model.encoder_level3, 2)
        x = stage(self.down(level3, model.down3_4), model.latent, 3)

        x = add("Concat", self.up(x, model.up4_3), level3, axis=1)
        x = stage(self.convolution(x, model.reduce_chan_level3), model.decoder_level3, 2)
        x = add("Concat", self.up(x, model.up3_2), level2, axis=1)
        x = stage(self.convolution(x, model.reduce_chan_level2), model.decoder_level2, 1)
        x = add("Concat", self.up(x, model.up2_1), level1, axis=1)
        x = stage(stage(x, model.decoder_level1, 0), model.refinement, 0)

        if model.config.dual_pixel:
            x = add("Add", x, self.convolution(embedded, model.skip_conv))
        x = self.exact(self.shuffled(x, model.output, unshuffle))
        return x if model.config.dual_pixel else add("Add", x, INPUT)

    def block(self, x: str, block: TransformerBlock, size: int | None) -> str:
        """size: height and width of x, where they are known."""
        x = self.graph.add("Add", x, self.attention(x, block.norm1, block.attn, size))
        return self.graph.add("Add", x, self.feed_forward(x, block.norm2, block.ffn))

    def attention(self, x: str, norm: LayerNorm, mdta: MDTA, size: int | None) -> str:
        """MDTA (section 3.1): one matrix, of the softmax of every head and the projection, times the values."""
        add, shape = self.graph.add, self.graph.shape
        heads, c = mdta.num_heads, mdta.project_out.out_channels
        d = c // heads
        normed = self.normed(x, norm)
        q, k, v = (
            self.depthwise(normed, norm, mdta.qkv, mdta.qkv_dwconv, slice(part * c, (part + 1) * c))
            for part in range(3)
        )
        q, k = (self.exact(add("Reshape", each, shape(1, heads, d, -1))) for each in (q, k))
        gram = add("MatMul", q, add("Transpose", k, perm=(0, 1, 3, 2)))
        q_norm, k_norm = self.norm_of(q), add("Reshape", self.norm_of(k), shape(1, heads, 1, d))
        cosine = add("Div", add("Div", gram, q_norm), k_norm)
        weights = add(
            "Softmax", add("Mul", cosine, self.numbers(mdta.temperature[None], exact=True)), axis=-1
        )
        project = mdta.project_out.weight.reshape(c, heads, d).transpose(0, 1)[None]  # (1, head, c, d)
        folded = add("MatMul", self.numbers(project, exact=True), weights)
        folded = add("Reshape", add("Transpose", folded, perm=(0, 2, 1, 3)), shape(1, c, c))
        attended = add("MatMul", self.back(folded), add("Reshape", v, shape(1, c, -1)))
        attended = add("Reshape", attended, shape(1, c, size, size) if size else add("Shape", x))
        bias = mdta.project_out.bias
        return attended if bias is None else add("Add", attended, self.numbers(bias[None, :, None, None]))

    def norm_of(self, x: str) -> str:
        """Length of every row (..., n) -> (..., 1), not 0; the eps is that of torch.nn.functional.normalize."""
        add = self.graph.add
        squares = add("ReduceSum", add("Mul", x, x), self.graph.shape(-1), keepdims=1)
        return add("Max", add("Sqrt", squares), self.graph.constant(np.array(1e-12, np.float32)))

    def feed_forward(self, x: str, norm: LayerNorm, gdfn: GDFN) -> str:
        """GDFN (section 3.2). GELU is written so that onnxruntime finds it and makes it one of its own."""
        add, hidden = self.graph.add, gdfn.project_out.in_channels
        normed = self.normed(x, norm)
        gate, value = (
            self.depthwise(normed, norm, gdfn.project_in, gdfn.dwconv, part)
            for part in (slice(hidden), slice(hidden, None))
        )
        root, one, half = (self.numbers(torch.tensor(number)) for number in (2**0.5, 1.0, 0.5))
        probability = add("Add", add("Erf", add("Div", gate, root)), one)
        gelu = add("Mul", add("Mul", gate, probability), half)
        return self.convolution(add("Mul", gelu, value), gdfn.project_out)

    def normed(self, x: str, norm: LayerNorm) -> str:
        """The norm over channels but for its weight and bias, which the convolution behind it holds."""
        add = self.graph.add
        x = self.exact(x)
        centred = add("Sub", x, add("ReduceMean", x, axes=(1,), keepdims=1))
        variance = add("ReduceMean", add("Mul", centred, centred), axes=(1,), keepdims=1)
        deviation = add("Sqrt", add("Add", variance, self.graph.constant(np.array(norm.eps, np.float32))))
        return self.back(add("Div", x if norm.body["bias"] is None else centred, deviation))

    def depthwise(
        self, normed: str, norm: LayerNorm, pointwise: nn.Conv2d, wide: nn.Conv2d, part: slice
    ) -> str:
        """How both halves of a block begin: 1x1 convolution, which holds the norm's weight and bias, then 3x3; of these channels."""
        weight, bias = pointwise.weight[part], None if pointwise.bias is None else pointwise.bias[part]
        if (shift := norm.body["bias"]) is not None:
            bias = weight[:, :, 0, 0] @ shift + (0 if bias is None else bias)
        x = self.conv(normed, weight * norm.body["weight"][:, None, None], bias)
        weight, bias = wide.weight[part], None if wide.bias is None else wide.bias[part]
        return self.conv(x, weight, bias, group=len(weight))

    def convolution(self, x: str, conv: nn.Conv2d, unshuffle: int = 1, *, exact: bool = False) -> str:
        """A dense convolution, of the pixels of each unshuffle x unshuffle square as channels."""
        kernel = rearrange(conv.weight, "o (c y x) a b -> o c (a y) (b x)", y=unshuffle, x=unshuffle)
        return self.conv(x, kernel, conv.bias, stride=unshuffle, exact=exact)

    def down(self, x: str, down: Downsample) -> str:
        """Convolution and unshuffle as one convolution of stride 2: each pixel of a square has its own 3x3 of the 4x4."""
        weight = cast("nn.Conv2d", down.body[0]).weight
        kernel = weight.new_zeros(len(weight), 2, 2, weight.shape[1], 4, 4)
        for y, x_ in product(range(2), repeat=2):
            kernel[:, y, x_, :, y : y + 3, x_ : x_ + 3] = weight
        return self.conv(x, kernel.flatten(0, 2), None, stride=2)

    def up(self, x: str, up: Upsample) -> str:
        """Convolution and shuffle."""
        return self.shuffled(x, cast("nn.Conv2d", up.body[0]), 2)

    def shuffled(self, x: str, conv: nn.Conv2d, side: int) -> str:
        """Convolution and shuffle, by channels in the order (y x c), that of DepthToSpace everywhere."""

        def ordered(tensor: Tensor) -> Tensor:
            return rearrange(tensor, "(c y x) ... -> (y x c) ...", y=side, x=side)

        x = self.conv(x, ordered(conv.weight), None if conv.bias is None else ordered(conv.bias))
        return x if side == 1 else self.graph.add("DepthToSpace", x, blocksize=side, mode="DCR")

    def conv(
        self,
        x: str,
        kernel: Tensor,
        bias: Tensor | None,
        *,
        stride: int = 1,
        group: int = 1,
        exact: bool = False,
    ) -> str:
        """One convolution; zeros around, so that height and width are those of x over the stride."""
        side = kernel.shape[-1]
        constants = [self.numbers(each, exact=exact) for each in (kernel, bias) if each is not None]
        padding = (side - stride) // 2
        return self.graph.add(
            "Conv",
            x,
            *constants,
            kernel_shape=(side, side),
            pads=(padding,) * 4,
            strides=(stride, stride),
            group=group,
        )

    def numbers(self, tensor: Tensor, *, exact: bool = False) -> str:
        """A constant in the precision of the file, or, exact, in float32. WeightsError where float16 cannot hold it."""
        tensor = tensor.detach().float() if exact or not self.half else tensor.detach().half()
        if not tensor.isfinite().all():
            raise WeightsError("its weights are too large for float16", hint="Leave out --precision fp16.")
        return self.graph.constant(tensor.numpy())

    def exact(self, x: str) -> str:
        """To float32, if it is not in it."""
        return self.graph.add("Cast", x, to=TensorProto.FLOAT) if self.half else x

    def back(self, x: str) -> str:
        """From float32 to the precision of the file."""
        return self.graph.add("Cast", x, to=TensorProto.FLOAT16) if self.half else x
