"""Measure the streaming engine on this machine and print a Markdown table: `make bench`, some twenty minutes.

Every row runs in a fresh process, so that its peak memory is its own. `of floor` is the time that the matrix products
alone would take, at the rate of a large square product, as a share of the time measured. A plain row is the forward
of `model.py` in float32 at the same size, in the same run; `x plain` compares with it.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

from deblur_cli import kernels, stream
from deblur_cli.api import find_weights_file
from deblur_cli.loader import load_model
from deblur_cli.model import Restormer, RestormerConfig
from deblur_cli.stream import layers
from deblur_cli.stream.windows import Axis

PHOTOS = Path(__file__).parent.parent / "examples"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
WHOLE_FRAMES = 1 << 50
LARGE = 4_000_000
"""Of so many pixels, a photo takes the official size minutes: it is run once."""


@dataclass(frozen=True)
class Case:
    """One row. weights: compact, or official: random numbers at the size of the published networks."""

    weights: str
    size: tuple[int, int]
    precision: str = "bf16"
    window: int = 0
    engine: str = "stream"  # a key of LACKS, or plain: model.py


LACKS: dict[str, tuple[str, ...]] = {
    "channels last": ("folding", "fused GELU", "bands", "loops"),
    "+ folding": ("fused GELU", "bands", "loops"),
    "+ fused GELU": ("bands", "loops"),
    "+ bands": ("loops",),
    "+ loops": ("half blocks",),
    "stream": (),  # + half blocks in one loop
}
"""The waterfall: which ideas of the engine are switched off, row by row."""

CASES = [
    Case("official", (512, 512), "fp32", 0, "plain"),
    *(Case("official", (512, 512), "fp32", 0, engine) for engine in LACKS),
    *(Case("official", (512, 512), "bf16", 0, engine) for engine in LACKS),
    Case("official", (1024, 1024), "bf16", 384),
    Case("official", (1024, 1024), "fp32", 384),
    Case("official", (720, 1280), "bf16", 0),
    Case("official", (720, 1280), "bf16", 384),
    Case("official", (3000, 4000), "bf16", 384),
    Case("compact", (1504, 2000), "fp32", 0, "plain"),
    Case("compact", (1504, 2000), "fp32", 384),
    Case("compact", (1504, 2000), "bf16", 0),
    Case("compact", (1504, 2000), "bf16", 384),
    Case("compact", (3000, 4000), "bf16", 0),
]  # fmt: skip


def main() -> None:
    """Run the cases and print their rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each case, of which the median counts")
    parser.add_argument("--only", default="", help="part of a row, such as 'compact 1504'")
    options = parser.parse_args()
    rates = {name: rate(dtype) for name, dtype in PRECISIONS.items()}
    said = ", ".join(f"{name} {value / 1e9:.0f} GFLOP/s" for name, value in rates.items())
    say(f"{time.strftime('%Y-%m-%d')}, {machine()}, torch {torch.__version__}; products: {said}\n")
    say("| weights | size | engine | precision | window | s | x plain | of floor | peak | PSNR to fp32 |")
    say("|---|---|---|---|---|---|---|---|---|---|")
    plain: dict[tuple[str, tuple[int, int]], float] = {}
    for case in CASES:
        if options.only not in f"{case.weights} {case.size[0]} {case.engine} {case.precision} {case.window}":
            continue
        slow = case.weights == "official" and case.size[0] * case.size[1] > LARGE
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            seconds, peak = process.submit(measure, case, 1 if slow else options.runs).result()
        agreement = None
        if case.weights == "compact" and case.precision == "bf16":  # random weights say nothing about that
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                agreement = process.submit(psnr_to_float32, case).result()
        if case.engine == "plain":
            plain[case.weights, case.size] = seconds
        base = plain.get((case.weights, case.size))
        config = model_of(case.weights).config
        floor = product_flops(config, case.size) / rates[case.precision]
        cells = [
            case.weights,
            f"{case.size[1]}x{case.size[0]}",
            case.engine,
            case.precision,
            str(case.window or "global"),
            f"{seconds:.2f}",
            f"{base / seconds:.1f}" if base else "",
            f"{floor / seconds:.0%}",
            f"{peak / 1e9:.2f} GB",
            f"{agreement:.1f} dB" if agreement else "",
        ]
        say("| " + " | ".join(cells) + " |")


def say(line: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def machine() -> str:
    """Name of the processor and the number of threads."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        if info.is_file()
        else []
    )
    return f"{(names or [platform.processor()])[0]}, {torch.get_num_threads()} threads"


def model_of(weights: str) -> Restormer:
    """Eval mode, float32."""
    if weights == "compact":
        return load_model(find_weights_file("compact")[0])
    torch.manual_seed(0)
    return Restormer(RestormerConfig()).eval().requires_grad_(False)


def photo_of(size: tuple[int, int]) -> Tensor:
    """A photo of the examples, mirrored to that size: (1, 3, h, w) in 0..1."""
    path = sorted(PHOTOS.glob("*.jpg"))[0]
    pixels = np.asarray(Image.open(path).convert("RGB"))
    pad = [(0, max(0, side - have)) for side, have in zip(size, pixels.shape, strict=False)]
    pixels = np.pad(pixels, [*pad, (0, 0)], mode="symmetric")[: size[0], : size[1]]
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


def forward_of(case: Case) -> Callable[[], Tensor]:
    """What the case measures."""
    model, photo = model_of(case.weights), photo_of(case.size)
    if case.engine == "plain":
        return lambda: model(photo)
    lacks = LACKS[case.engine]
    if "bands" in lacks:
        layers.BAND_NUMBERS["cpu"] = WHOLE_FRAMES
    if "loops" in lacks:
        kernels.fits = lambda _: False
    if "half blocks" in lacks:
        kernels.fits_blocks = lambda _: False
    if "fused GELU" in lacks:
        layers.has_fused_gelu = lambda *_: False  # type: ignore[assignment]
    if "folding" in lacks:
        layers.Attention.__call__ = unfolded  # type: ignore[method-assign]
    return lambda: stream.run(model, photo, window=case.window, dtype=PRECISIONS[case.precision])


def unfolded(self: layers.Attention, x: Tensor, _v: Tensor, _ys: Axis, _xs: Axis) -> None:
    """The attention in the paper's order: normalised copies of q and k, A v, then the projection. Whole frames only."""
    heads, c = len(self.temperature), x.shape[-1]
    for _, _, wide in self.hidden.bands(x):
        qk, values = (part[1](band, pad_rows=0) for part, band in zip(self.hidden.parts, wide, strict=True))
        q, k = rearrange(qk, "h w (two head d) -> two head d (h w)", two=2, head=heads)
        weights = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * self.temperature.to(x.dtype)
        attended = weights.softmax(-1) @ rearrange(values, "h w (head d) -> head d (h w)", head=heads)
        self.project_out.add(x.view(-1, c), rearrange(attended, "head d n -> n (head d)"))


def measure(case: Case, runs: int) -> tuple[float, int]:
    """Median seconds, and the peak of the process in bytes."""
    forward = forward_of(case)
    with torch.no_grad():
        times = [timed(forward) for _ in range(runs)]
    return statistics.median(times), peak_memory()


def peak_memory() -> int:
    """Bytes of this process at most so far. (On Linux getrusage would start from the parent's peak.)"""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def timed(forward: Callable[[], Tensor]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    forward()
    return time.perf_counter() - start


def psnr_to_float32(case: Case) -> float:
    """dB, of values in 0..1."""
    model, photo = model_of(case.weights), photo_of(case.size)
    exact, result = (
        stream.run(model, photo, window=case.window, dtype=dtype) for dtype in PRECISIONS.values()
    )
    return float(-10 * (exact - result).square().mean().log10())


def rate(dtype: torch.dtype) -> float:
    """FLOP/s of a 2048 x 2048 matrix product."""
    n = 2048
    a = torch.randn(n, n).to(dtype)
    out = torch.empty_like(a)
    return 2 * n**3 / min(timed(lambda: torch.mm(a, a, out=out)) for _ in range(20))


def product_flops(config: RestormerConfig, size: tuple[int, int]) -> float:
    """Of the 1x1 and dense 3x3 convolutions and the attention, in the folded form; without the depthwise convolutions."""
    pixels = size[0] * size[1]
    dim, blocks = config.dim, config.num_blocks
    total = 9 * (config.inp_channels * dim + 2 * dim * config.out_channels)
    for level in range(4):
        c, share = dim << level, 4.0**-level
        number = blocks[level] if level == 3 else 2 * blocks[level]
        if level == 0:
            total += (blocks[0] + config.num_refinement_blocks) * block_products(2 * c, 1, config)
            number = blocks[0]
        total += share * number * block_products(c, config.heads[level], config)
        if level < 3:
            total += share * 9 * c * (c // 2) + share / 4 * 9 * 2 * c * 4 * c  # down from here, up to here
        if level in (1, 2):
            total += share * 2 * c * c  # the reduction
    return 2 * pixels * total


def block_products(c: int, heads: int, config: RestormerConfig) -> float:
    """Multiplications a pixel: q, k, v; Gram; folded projection; both products of the GDFN."""
    return 3 * c * c + c * c / heads + c * c + 3 * c * int(c * config.ffn_expansion_factor)


if __name__ == "__main__":
    main()
