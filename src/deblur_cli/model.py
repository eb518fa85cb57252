"""Restormer in the plain form of its paper: Zamir et al., CVPR 2022, arXiv 2111.09881.

Attribute names are the names in the published checkpoints, because those are a file format; class names
are the paper's. This module is what training uses and what the fast engine is checked against. It does
not pad, tile, cast or hurry.

Axes: b photos, c channels (of one head: d), h and w pixels.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from deblur_cli.errors import WeightsError

LayerNormKind = Literal["WithBias", "BiasFree"]

LEVELS_MULTIPLE = 8
"""Height and width of what the levels take: three times they downsample by 2."""


@dataclass(frozen=True)
class RestormerConfig:
    """The size of a Restormer; the defaults are those of the paper's motion deblurring network.

    num_blocks, heads: one entry a level, from full resolution down to an eighth of it.
    dual_pixel: input is a left and a right view (6 channels), output one photo, without the global residual.
    unshuffle: 2 for a network that works at half the size, on the four pixels of each 2x2 square as channels (not in the paper); 1: at full size.
    """

    inp_channels: int = 3
    out_channels: int = 3
    dim: int = 48
    num_blocks: tuple[int, int, int, int] = (4, 6, 6, 8)
    num_refinement_blocks: int = 4
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    ffn_expansion_factor: float = 2.66
    bias: bool = False
    layer_norm: LayerNormKind = "WithBias"
    dual_pixel: bool = False
    unshuffle: int = 1

    def __post_init__(self) -> None:
        for name in ("num_blocks", "heads"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            if len(values) != 4 or min(values) < 1:
                raise WeightsError(f"Restormer config: {name} must be four positive numbers, not {values}")
        for name in ("inp_channels", "out_channels", "dim", "num_refinement_blocks"):
            if getattr(self, name) < 1:
                raise WeightsError(f"Restormer config: {name} must be positive, not {getattr(self, name)}")
        if self.dim % 2:
            raise WeightsError(f"Restormer config: dim must be even, not {self.dim}")
        for level, heads in enumerate(self.heads):
            if (self.dim << level) % heads:
                raise WeightsError(
                    f"Restormer config: {heads} heads do not divide the {self.dim << level} channels of level {level + 1}"
                )
        if self.ffn_expansion_factor * self.dim < 1:
            raise WeightsError(
                f"Restormer config: ffn_expansion_factor is too small: {self.ffn_expansion_factor}"
            )
        if self.layer_norm not in get_args(LayerNormKind):
            raise WeightsError(
                f"Restormer config: layer_norm is WithBias or BiasFree, not {self.layer_norm!r}"
            )
        if self.unshuffle not in (1, 2):
            raise WeightsError(f"Restormer config: unshuffle is 1 or 2, not {self.unshuffle!r}")
        if not self.dual_pixel and self.inp_channels != self.out_channels:
            raise WeightsError(
                f"Restormer config: {self.inp_channels} input and {self.out_channels} output channels: only a "
                "dual-pixel network may differ in them, since the others add their input to their output"
            )

    @property
    def size_multiple(self) -> int:
        """Height and width of every input are multiples of this."""
        return LEVELS_MULTIPLE * self.unshuffle

    @property
    def dim_per_pixel(self) -> float:
        """Channels of the first level for each pixel of the photo."""
        return self.dim / self.unshuffle**2


class LayerNorm(nn.Module):
    """Norm over the channels of each pixel. (b, c, h, w) -> same.

    WithBias: (x - mean) / sqrt(variance + 1e-5) * weight + bias. BiasFree: x / sqrt(variance + 1e-5) * weight,
    where the variance is taken about the mean although the mean is not subtracted.
    """

    eps = 1e-5

    def __init__(self, dim: int, kind: LayerNormKind) -> None:
        super().__init__()
        bias = nn.Parameter(torch.zeros(dim)) if kind == "WithBias" else None
        self.body = nn.ParameterDict({"weight": nn.Parameter(torch.ones(dim)), "bias": bias})

    def forward(self, x: Tensor) -> Tensor:
        x = rearrange(x, "b c h w -> b h w c")
        weight, bias = self.body["weight"], self.body["bias"]
        if bias is not None:
            x = F.layer_norm(x, weight.shape, weight, bias, self.eps)
        else:
            x = x / torch.sqrt(x.var(-1, correction=0, keepdim=True) + self.eps) * weight
        return rearrange(x, "b h w c -> b c h w")


class MDTA(nn.Module):
    """Multi-Dconv head transposed attention (section 3.1): channels attend to channels. (b, c, h, w) -> same.

    Attention = V . softmax(temperature * K . Q), with the rows of Q and K normalised over all pixels; the
    matrix is d x d, whatever the size of the photo.
    """

    def __init__(self, dim: int, num_heads: int, bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * dim, 3 * dim, 3, padding=1, groups=3 * dim, bias=bias)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        h = x.shape[-2]
        qkv = self.qkv_dwconv(self.qkv(x))
        q, k, v = rearrange(qkv, "b (n head d) h w -> n b head d (h w)", n=3, head=self.num_heads)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        attention = (self.temperature * (q @ k.transpose(-2, -1))).softmax(-1)  # (b, head, d, d)
        return self.project_out(rearrange(attention @ v, "b head d (h w) -> b (head d) h w", h=h))


class GDFN(nn.Module):
    """Gated-Dconv feed-forward network (section 3.2): gelu of one half gates the other. (b, c, h, w) -> same."""

    def __init__(self, dim: int, ffn_expansion_factor: float, bias: bool) -> None:
        super().__init__()
        hidden = int(dim * ffn_expansion_factor)
        self.project_in = nn.Conv2d(dim, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(gate) * value)


class TransformerBlock(nn.Module):
    """Figure 2, right: attention, then feed-forward, each with its norm and its residual."""

    def __init__(self, dim: int, num_heads: int, config: RestormerConfig) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim, config.layer_norm)
        self.attn = MDTA(dim, num_heads, config.bias)
        self.norm2 = LayerNorm(dim, config.layer_norm)
        self.ffn = GDFN(dim, config.ffn_expansion_factor, config.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Downsample(nn.Module):
    """Half the size, twice the channels: (b, c, h, w) -> (b, 2c, h/2, w/2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(dim, dim // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Upsample(nn.Module):
    """Twice the size, half the channels: (b, c, h, w) -> (b, c/2, 2h, 2w)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(dim, 2 * dim, 3, padding=1, bias=False), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class OverlapPatchEmbed(nn.Module):
    """The 3x3 convolution that turns a photo into features: (b, inp_channels, h, w) -> (b, dim, h, w)."""

    def __init__(self, inp_channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inp_channels, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class Restormer(nn.Module):
    """The network of Figure 2: a U-shaped encoder-decoder over four levels, a refinement stage, a residual.

    forward: (b, inp_channels, h, w) float 0..1 -> (b, out_channels, h, w) float, about 0..1 and not clamped.
    h and w must be multiples of `config.size_multiple` (ValueError otherwise).
    """

    def __init__(self, config: RestormerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RestormerConfig()
        dim, heads, bias = config.dim, config.heads, config.bias
        blocks1, blocks2, blocks3, blocks4 = config.num_blocks

        def stage(dim: int, num_heads: int, num_blocks: int) -> nn.Sequential:
            return nn.Sequential(*(TransformerBlock(dim, num_heads, config) for _ in range(num_blocks)))

        pixels = config.unshuffle**2
        self.patch_embed = OverlapPatchEmbed(pixels * config.inp_channels, dim)
        self.encoder_level1 = stage(dim, heads[0], blocks1)
        self.down1_2 = Downsample(dim)
        self.encoder_level2 = stage(2 * dim, heads[1], blocks2)
        self.down2_3 = Downsample(2 * dim)
        self.encoder_level3 = stage(4 * dim, heads[2], blocks3)
        self.down3_4 = Downsample(4 * dim)
        self.latent = stage(8 * dim, heads[3], blocks4)

        self.up4_3 = Upsample(8 * dim)
        self.reduce_chan_level3 = nn.Conv2d(8 * dim, 4 * dim, 1, bias=bias)
        self.decoder_level3 = stage(4 * dim, heads[2], blocks3)
        self.up3_2 = Upsample(4 * dim)
        self.reduce_chan_level2 = nn.Conv2d(4 * dim, 2 * dim, 1, bias=bias)
        self.decoder_level2 = stage(2 * dim, heads[1], blocks2)
        self.up2_1 = Upsample(2 * dim)
        self.decoder_level1 = stage(
            2 * dim, heads[0], blocks1
        )  # level 1 is not reduced: the paper keeps 2 dim

        self.refinement = stage(2 * dim, heads[0], config.num_refinement_blocks)
        if config.dual_pixel:
            self.skip_conv = nn.Conv2d(dim, 2 * dim, 1, bias=bias)
        self.output = nn.Conv2d(2 * dim, pixels * config.out_channels, 3, padding=1, bias=bias)

    def forward(self, image: Tensor) -> Tensor:
        h, w = image.shape[-2:]
        multiple, unshuffle = self.config.size_multiple, self.config.unshuffle
        if h % multiple or w % multiple:
            raise ValueError(f"height and width must be multiples of {multiple}, not {h} x {w}")

        embedded = self.patch_embed(F.pixel_unshuffle(image, unshuffle))
        level1 = self.encoder_level1(embedded)
        level2 = self.encoder_level2(self.down1_2(level1))
        level3 = self.encoder_level3(self.down2_3(level2))
        x = self.latent(self.down3_4(level3))

        x = self.reduce_chan_level3(torch.cat([self.up4_3(x), level3], dim=1))
        x = self.reduce_chan_level2(torch.cat([self.up3_2(self.decoder_level3(x)), level2], dim=1))
        x = torch.cat([self.up2_1(self.decoder_level2(x)), level1], dim=1)
        x = self.refinement(self.decoder_level1(x))

        if self.config.dual_pixel:
            return F.pixel_shuffle(self.output(x + self.skip_conv(embedded)), unshuffle)
        return F.pixel_shuffle(self.output(x), unshuffle) + image
