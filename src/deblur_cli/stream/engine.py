"""The whole network over one photo, and its weights laid out for that."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from deblur_cli import kernels
from deblur_cli.kernels import card
from deblur_cli.model import GDFN, MDTA, Downsample, LayerNorm, Restormer, TransformerBlock, Upsample
from deblur_cli.stream import grouped
from deblur_cli.stream.graphs import Graphs
from deblur_cli.stream.layers import Attention, Convolution, FeedForward, Hidden, Linear, Norm
from deblur_cli.stream.windows import Axis

Stage = list[tuple[Attention, FeedForward]]
Progress = Callable[[float], None]
Axes = list[tuple[Axis, Axis]]
"""Of each level, y and x."""


@dataclass(frozen=True)
class Engine:
    """The weights of a Restormer laid out for frames (h, w, c), in one dtype. It keeps no reference to the model."""

    embed: Convolution  # in float32, whatever the rest is in
    encoders: list[Stage]  # levels 1 to 3
    downs: list[Convolution]
    latent: Stage
    ups: list[Convolution]  # levels 3 to 1
    reduces: list[tuple[Linear, Linear] | None]  # of what comes up, of what was skipped
    decoders: list[Stage]
    skip: Linear | None
    output: Convolution
    unshuffle: int
    graphs: Graphs = field(default_factory=Graphs)

    def run(self, photo: Tensor, window: int, tell: Progress) -> Tensor:
        """The network of Figure 2 for one photo (c, h, w) float32 -> (c', h, w) float32."""
        axes = self.axes(photo, window)
        if not grouped.on_card(photo):
            return self.compute(photo, axes, tell)

        def compute(photo: Tensor, tell: Progress) -> Tensor:
            return self.compute(photo, axes, tell)

        with torch.cuda.device(photo.device):
            result = self.graphs.run(compute, photo, (photo.shape, window), axes, tell)
        tell(1)
        return result

    def axes(self, photo: Tensor, window: int) -> Axes:
        """The cells of all levels; made first, since a card waits while numbers are brought to it."""
        sizes = [[length // self.unshuffle >> level for length in photo.shape[1:]] for level in range(4)]
        sides = [window // self.unshuffle >> level for level in range(4)]
        return [
            (Axis.plan(h, side, photo.device), Axis.plan(w, side, photo.device))
            for (h, w), side in zip(sizes, sides, strict=True)
        ]

    def compute(self, photo: Tensor, axes: Axes, tell: Progress) -> Tensor:
        """As `run`; on a card nothing here waits for it."""
        stages = [*self.encoders, self.latent, *self.decoders]
        works = [len(stage) * 2.0 ** -min(level, 6 - level) for level, stage in enumerate(stages)]
        works[-1] *= 2  # the last stage is not reduced to half the channels
        works_done = [sum(works[:level]) / sum(works) for level in range(len(works) + 1)]

        def run_stage(x: Tensor, index: int) -> Tensor:
            ys, xs = axes[min(index, 6 - index)]
            v = torch.empty_like(x)
            start, stop = works_done[index : index + 2]
            for number, (attention, feed_forward) in enumerate(stages[index], 1):
                attention(x, v, ys, xs)
                x, v = feed_forward(x, v)
                tell(start + (stop - start) * number / len(stages[index]))
            return x

        # The photo is read in float32: its faint differences, which bfloat16 would round away, are what is amplified.
        frame = rearrange(F.pixel_unshuffle(photo, self.unshuffle), "c h w -> h w c")
        x = self.embed(frame.contiguous()).to(self.output.kernel.dtype)
        embedded = x.clone() if self.skip else x
        skipped = []
        for index, down in enumerate(self.downs):
            skipped.append(run_stage(x, index))
            x = rearrange(down(skipped[-1]), "(h y) (w x) c -> h w (c y x)", y=2, x=2).contiguous()
        x = run_stage(x, 3)
        for index, (up, reduce) in enumerate(zip(self.ups, self.reduces, strict=True), 4):
            x = rearrange(up(x), "h w (y x c) -> (h y) (w x) c", y=2, x=2)
            x = join(x, skipped.pop(), reduce)  # from here on neither is kept
            x = run_stage(x, index)
        if self.skip:
            self.skip.add(x.flatten(0, 1), embedded.flatten(0, 1))
        result = F.pixel_shuffle(rearrange(self.output(x), "h w c -> c h w").float(), self.unshuffle)
        return result if self.skip else result + photo


def join(x: Tensor, skipped: Tensor, reduce: tuple[Linear, Linear] | None) -> Tensor:
    """Both side by side; with a reduction to half the channels, its result, without putting them side by side."""
    if reduce is None:
        return torch.cat([x, skipped], -1)
    result = torch.empty_like(x)
    reduce[0].write(result.flatten(0, 1), x.flatten(0, 1))
    reduce[1].add(result.flatten(0, 1), skipped.flatten(0, 1))
    return result


def widened(ffn: FeedForward, more: int) -> FeedForward:
    """The same with so many hidden channels more, which are zeros."""
    parts = [
        (
            Linear(F.pad(linear.matrix, (0, more)), padded(linear.bias, more)),
            replace(
                conv,
                kernel=F.pad(conv.kernel, (*6 * (0,), 0, more)).contiguous(memory_format=torch.channels_last),
                bias=padded(conv.bias, more),
                groups=conv.groups + more,
            ),
        )
        for linear, conv in ffn.hidden.parts
    ]
    back = Linear(F.pad(ffn.project_out.matrix, (0, 0, 0, more)), ffn.project_out.bias)
    return FeedForward(Hidden(ffn.hidden.norm, parts), back)


def padded(bias: Tensor | None, more: int) -> Tensor | None:
    """A bias with so many zeros more."""
    return None if bias is None else F.pad(bias, (0, more))


def lay_out(model: Restormer, dtype: torch.dtype, multiple: int | None = None) -> Engine:
    """Weights in their places: channels of convolutions last, halves of a wide layer apart, shuffles in order.

    multiple: the hidden channels of the GDFN become a multiple of it; on a card, unless told otherwise, of what its products and programs need.
    """
    everything = slice(None)
    multiple = multiple or (card.MULTIPLE if grouped.on_card(next(model.parameters())) else 1)

    def convert(weight: Tensor | None, part: slice = everything, to: torch.dtype = dtype) -> Tensor | None:
        return None if weight is None else weight.detach()[part].to(to)

    def linear(
        conv: nn.Conv2d, part: slice = everything, scale: Tensor | None = None, *, of_block: bool = True
    ) -> Linear:
        matrix = conv.weight.detach()[part].flatten(1).mT
        if (
            of_block
            and scale is None
            and kernels.fits_blocks(conv.weight.new_empty(0, len(matrix), dtype=dtype))
        ):
            # Our own loops read panels of it; the model's numbers are kept for others, without a copy.
            return Linear(matrix, convert(conv.bias, part))
        matrix = matrix if scale is None else scale.detach()[:, None] * matrix
        return Linear(matrix.to(dtype).contiguous(), convert(conv.bias, part))

    def convolution(
        conv: nn.Module, part: slice = everything, *, gelu: bool = False, to: torch.dtype = dtype
    ) -> Convolution:
        weight, bias = cast("Tensor", conv.weight), cast("Tensor | None", conv.bias)
        kernel = weight.detach()[part].to(to).contiguous(memory_format=torch.channels_last)
        return Convolution(kernel, convert(bias, part, to), 1 if conv.groups == 1 else len(kernel), gelu)

    def hidden(
        norm: LayerNorm, pointwise: nn.Conv2d, depthwise: nn.Conv2d, split: int, *, gelu: bool = False
    ) -> Hidden:
        weight, bias = cast("Tensor", norm.body.weight), cast("Tensor | None", norm.body.bias)
        parts = [
            (
                linear(pointwise, part, weight if bias is None else None),
                convolution(depthwise, part, gelu=first),
            )
            for part, first in ((slice(split), gelu), (slice(split, None), False))
        ]
        return Hidden(Norm(weight.detach().to(dtype), convert(bias)), parts)

    def attention(norm: LayerNorm, mdta: MDTA) -> Attention:
        qk = 2 * mdta.project_out.out_channels
        parts = hidden(norm, mdta.qkv, mdta.qkv_dwconv, qk)
        return Attention(parts, mdta.temperature.detach().float(), linear(mdta.project_out))

    def feed_forward(norm: LayerNorm, gdfn: GDFN) -> FeedForward:
        parts = hidden(norm, gdfn.project_in, gdfn.dwconv, gdfn.project_out.in_channels, gelu=True)
        ffn = FeedForward(parts, linear(gdfn.project_out))
        more = -gdfn.project_out.in_channels % multiple
        return widened(ffn, more) if more else ffn

    def stage(*blocks: nn.Sequential) -> Stage:
        blocks_in_order = [cast("TransformerBlock", block) for sequence in blocks for block in sequence]
        return [(attention(b.norm1, b.attn), feed_forward(b.norm2, b.ffn)) for b in blocks_in_order]

    def down(module: Downsample) -> Convolution:
        return convolution(module.body[0])

    def up(module: Upsample) -> Convolution:
        conv = convolution(module.body[0])
        # In this order the shuffle copies runs of c numbers.
        kernel = rearrange(conv.kernel, "(c y x) ... -> (y x c) ...", y=2, x=2)
        return Convolution(kernel.contiguous(memory_format=torch.channels_last), conv.bias, groups=1)

    def reduce(conv: nn.Conv2d) -> tuple[Linear, Linear]:
        whole, half = linear(conv, of_block=False), conv.in_channels // 2
        return Linear(whole.matrix[:half], whole.bias), Linear(whole.matrix[half:], None)

    m = model
    return Engine(
        embed=convolution(m.patch_embed.proj, to=torch.float32),
        encoders=[stage(m.encoder_level1), stage(m.encoder_level2), stage(m.encoder_level3)],
        downs=[down(m.down1_2), down(m.down2_3), down(m.down3_4)],
        latent=stage(m.latent),
        ups=[up(m.up4_3), up(m.up3_2), up(m.up2_1)],
        reduces=[reduce(m.reduce_chan_level3), reduce(m.reduce_chan_level2), None],
        decoders=[stage(m.decoder_level3), stage(m.decoder_level2), stage(m.decoder_level1, m.refinement)],
        skip=linear(m.skip_conv, of_block=False) if m.config.dual_pixel else None,
        output=convolution(m.output),
        unshuffle=m.config.unshuffle,
    )
