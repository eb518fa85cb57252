"""Measure the engine on a card, in some four minutes, and print rows for docs/performance.md: `python benchmarks/gpu.py`.

A part that fails says why, and the next one begins. `--rehearse` runs all of it with tiny sizes on the processor, so that the script is known to work
before a card is at hand. Times are medians; before and after each the card is idle. A run is `launched` (from Python, as the first photos of
a size are), `recorded` (replayed, as a batch's), launched `without programs` (torch only), or launched `with TF32` in products and convolutions.
`model.py` has the operations of the authors' code.
"""

import argparse
import copy
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from deblur_cli import Deblurrer, stream
from deblur_cli.kernels import card
from deblur_cli.model import Restormer, RestormerConfig
from deblur_cli.photo import read_photo, write_photo
from deblur_cli.stream import graphs, grouped

PHOTO = Path(__file__).parent.parent / "examples" / "originals" / "astronaut.png"
NEVER = 1 << 60
FIRST_PHOTO = """
import sys, time, torch
from deblur_cli import Deblurrer
deblurrer = Deblurrer("compact", sys.argv[1], shake="off")
for _ in range(2):
    start = time.perf_counter()
    deblurrer(torch.rand(int(sys.argv[2]), int(sys.argv[2]), 3).numpy())
    print(time.perf_counter() - start)
"""
"""What a person waits for with one photo, and what it would have been without compiling."""


@dataclass(frozen=True)
class Bench:
    """Where, and how large; sizes are (h, w)."""

    device: torch.device
    official: RestormerConfig
    small: tuple[int, int]
    middle: tuple[int, int]
    large: tuple[int, int]
    window: int
    runs: int
    photos: int
    memory: int
    """Bytes with which the large photo does not fit whole."""
    compiler: str

    @property
    def is_card(self) -> bool:
        """Or a rehearsal."""
        return self.device.type == "cuda"


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    start = time.perf_counter()
    if options.rehearse:
        torch.set_num_threads(1)
        tiny = RestormerConfig(dim=8, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1)
        bench = Bench(torch.device("cpu"), tiny, (32, 32), (32, 48), (64, 192), 32, 1, 2, 0, "eager")
    else:
        bench = Bench(
            torch.device(options.device),
            RestormerConfig(),
            (256, 256),
            (720, 1280),
            (3000, 4000),
            384,
            5,
            12,
            1_500_000_000,
            "inductor",
        )
    failed = 0
    for part in (about, agreement, times, first_photo, through_api, short_of_memory, batches):
        print(f"\n**{part.__doc__}**\n", flush=True)
        try:
            part(bench)
        except Exception as error:  # noqa: BLE001  what the other parts tell is worth having
            failed += 1
            print(f"failed: {type(error).__name__}: {error}", flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s", flush=True)
    sys.exit(failed > 0)


def row(*cells: str) -> None:
    """Of a Markdown table."""
    print("| " + " | ".join(cells) + " |", flush=True)


def head(*cells: str) -> None:
    """The first two rows of a table."""
    row(*cells)
    print("|" + "---|" * len(cells))


def about(bench: Bench) -> None:
    """Machine"""
    name = torch.cuda.get_device_name(bench.device) if bench.is_card else "rehearsal on the processor"
    cards = torch.cuda.device_count()
    print(f"{time.strftime('%Y-%m-%d')}, {name} (of {cards}), torch {torch.__version__}")
    trials = [(card.convolution_error, torch.float32), (card.convolution_error, torch.bfloat16)]
    for error, dtype, *sizes in [*trials, *((card.sums_error, torch.bfloat16, d) for d in (48, 96))]:
        try:
            with torch.cuda.device(bench.device) if bench.is_card else nullcontext():
                said = f"{error(bench.device, dtype, *sizes):.1e}" if bench.is_card else "not tried"
        except Exception as reason:  # noqa: BLE001
            said = f"cannot be used: {reason}"
        print(f"programs, {error.__name__}, {dtype} {sizes}: {said}")


def agreement(bench: Bench) -> None:
    """Agreement with the processor"""
    model, photo, notes = official(bench), picture(bench.small), list[str]()
    window = bench.window // 4 // model.config.size_multiple * model.config.size_multiple
    head("official size", "window", "largest difference", "PSNR")
    for size in (0, window):
        exact = stream.run(model.cpu(), photo, window=size)
        model.to(bench.device)
        for name, dtype, kinds in (
            ("fp32", torch.float32, ("launched", "launched", "recorded")),
            ("fp32", torch.float32, ("with TF32",)),
            ("bf16", torch.bfloat16, ("launched", "launched", "recorded")),
            ("bf16", torch.bfloat16, ("without programs",)),
        ):
            runs = []
            for kind in kinds:
                with how(kind):
                    for _ in range(1 + (kind == "recorded")):  # the first of which is recorded
                        result = stream.run(model, photo.to(bench.device), window=size, dtype=dtype).cpu()
                runs.append(result)
            off = max(float((result - exact).abs().max()) for result in runs)
            row(
                f"{name}, {kinds[-1]}", str(size or "global"), f"{off:.1e}", f"{psnr(runs[-1], exact):.1f} dB"
            )
            if len(runs) > 1:
                same = all(torch.equal(runs[0], run) for run in runs)
                same_for = (
                    "launched twice and recorded"
                    if is_recorded(model, dtype)
                    else "launched thrice, not recorded"
                )
                notes.append(
                    f"{name}, {size or 'global'}: {same_for}, {'the same' if same else 'not the same'}"
                )
    print("\n" + "\n".join(notes))


def times(bench: Bench) -> None:
    """Times and memory, official size"""
    head("size", "engine", "precision", "window", "ms", "peak")
    for size in (bench.small, bench.middle):
        photo = picture(size).to(bench.device)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            plain = official(bench).to(dtype)
            measured(bench, size, "`model.py`", name, 0, lambda: plain(photo.to(dtype)))  # noqa: B023  called at once
            for window in (0, bench.window):
                for kind in ("without programs", "launched", "recorded", "with TF32"):
                    if kind != "with TF32" or dtype == torch.float32:
                        engine_row(bench, photo, dtype, window, kind)
    compiled = torch.compile(
        official(bench).to(torch.bfloat16, memory_format=torch.channels_last), backend=bench.compiler
    )
    measured(bench, bench.middle, "torch.compile", "bf16", 0, lambda: compiled(photo.bfloat16()))
    photo = picture(bench.large).to(bench.device)
    engine_row(bench, photo, torch.bfloat16, bench.window, "launched", runs=2)


def engine_row(
    bench: Bench, photo: Tensor, dtype: torch.dtype, window: int, kind: str, runs: int | None = None
) -> None:
    """A row of `stream`, with an engine of its own, so that it holds no recording but its own."""
    model = official(bench)

    def forward() -> Tensor:
        return stream.run(model, photo, window=window, dtype=dtype)

    with torch.no_grad(), how("launched"):
        forward()  # recordings find prepared what a run prepares
    name = "fp32" if dtype == torch.float32 else "bf16"
    with how(kind):
        forward()
        if kind == "recorded" and not is_recorded(model, dtype):
            kind = "launched, since it cannot be recorded"
        measured(bench, photo.shape[-2:], f"`stream`, {kind}", name, window, forward, runs)


def measured(
    bench: Bench,
    size: tuple[int, ...],
    engine: str,
    precision: str,
    window: int,
    forward: Callable[[], Tensor],
    runs: int | None = None,
) -> None:
    """A row."""
    with torch.no_grad():
        forward()
        if bench.is_card:
            torch.cuda.reset_peak_memory_stats(bench.device)
        ms = 1000 * statistics.median(seconds(bench, forward) for _ in range(runs or bench.runs))
    peak = f"{torch.cuda.max_memory_reserved(bench.device) / 1e9:.2f} GB" if bench.is_card else ""
    row(f"{size[1]}x{size[0]}", engine, precision, str(window or "global"), f"{ms:.1f}", peak)
    if bench.is_card:
        torch.cuda.empty_cache()


def first_photo(bench: Bench) -> None:
    """A first photo alone, with nothing compiled yet"""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"TRITON_CACHE_DIR": folder}
        command = [sys.executable, "-c", FIRST_PHOTO, str(bench.device), str(bench.small[0])]
        for cache in ("empty", "filled"):
            told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            first, second = map(float, told.stdout.split())
            print(f"{bench.small[0]} px, cache of programs {cache}: {first:.2f} s, then {second:.2f} s")


def through_api(bench: Bench) -> None:
    """`compact` through the API, without looking for shake"""
    pixels = samples(bench.large)
    for precision in ("bf16", "fp32"):
        deblurrer = Deblurrer("compact", str(bench.device), precision, shake="off")
        deblurrer(pixels)
        took = statistics.median(seconds(bench, lambda: deblurrer(pixels)) for _ in range(bench.runs))  # noqa: B023
        print(f"{pixels.shape[1]}x{pixels.shape[0]}, {precision}: {took:.2f} s")


def short_of_memory(bench: Bench) -> None:
    """Short of memory: the photo is done in smaller tiles"""
    pixels = samples(bench.large)
    deblurrer = Deblurrer("compact", str(bench.device), "bf16", shake="off")
    whole = deblurrer(pixels).astype(float)
    with little_memory(bench):
        tiled = deblurrer(pixels).astype(float)
    print(f"done; mean difference to the whole photo {np.abs(whole - tiled).mean():.3f} levels")


@contextmanager
def little_memory(bench: Bench) -> Iterator[None]:
    """The card's memory limited, behind the back of who asks how much is free; in a rehearsal tiles of half the photo are too large."""
    if bench.is_card:
        torch.cuda.empty_cache()
        total = torch.cuda.mem_get_info(bench.device)[1]
        torch.cuda.set_per_process_memory_fraction(bench.memory / total, bench.device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, bench.device)
        return
    run = stream.run

    def limited(model: Restormer, x: Tensor, **options: object) -> Tensor:
        if x[0, 0].numel() > bench.large[0] * bench.large[1] / 2:
            raise torch.OutOfMemoryError("a pretended one")
        return run(model, x, **options)

    with patch.object(stream, "run", limited):
        yield


def batches(bench: Bench) -> None:
    """Photos of `compact` as JPEG, a photo"""
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "in"
        inputs.mkdir()
        for number in range(bench.photos):
            Image.fromarray(samples(bench.large)).save(inputs / f"{number}.jpg", quality=92)
        deblurrer = Deblurrer("compact", str(bench.device), shake="off")
        deblurrer(samples(bench.large))

        def one_after_the_other() -> None:
            for path in inputs.iterdir():
                write_photo(deblurrer.restore(read_photo(path)).photo, Path(folder) / path.name)

        print(f"read, restored, written: {seconds(bench, one_after_the_other) / bench.photos:.2f} s")
        alone = deblur_batch(bench, inputs, f"{folder}/alone", 1)
        together = deblur_batch(bench, inputs, f"{folder}/together", bench.photos)
        print(
            f"`deblur batch`, overlapped: {(together - alone) / (bench.photos - 1):.2f} s, and {alone:.1f} s for the first"
        )
        if torch.cuda.device_count() > 1:
            everywhere = deblur_batch(bench, inputs, f"{folder}/all", bench.photos, "cuda")
            print(f"the same {bench.photos} on all cards: {everywhere:.1f} s instead of {together:.1f}")


def deblur_batch(bench: Bench, inputs: Path, output: str, photos: int, device: str | None = None) -> float:
    """Seconds of the command, start and end included, for so many photos."""
    names = [str(path) for path in sorted(inputs.iterdir())[:photos]]
    command = [sys.executable, "-m", "deblur_cli", "batch", *names, "-o", output, "--quiet"]
    options = ["--weights", "compact", "--shake", "off", "--device", device or str(bench.device)]
    return seconds(bench, lambda: subprocess.run([*command, *options], check=True))


@contextmanager
def how(kind: str) -> Iterator[None]:
    """Runs within are of this kind."""
    uses = 0 if kind == "recorded" else NEVER
    with patch.object(graphs, "USES", uses):
        if kind == "without programs":
            with (
                patch.object(card, "fits", lambda _: False),
                patch.object(card, "fits_sums", lambda *_: False),
            ):
                yield
        elif kind == "with TF32":
            torch.set_float32_matmul_precision("high")
            try:
                with patch.object(grouped, "conv2d", F.conv2d):
                    yield
            finally:
                torch.set_float32_matmul_precision("highest")
        else:
            yield


def is_recorded(model: Restormer, dtype: torch.dtype) -> bool:
    """Whether a run of that precision has been recorded."""
    return bool(stream.prepare(model, dtype).graphs.recorded)


def official(bench: Bench) -> Restormer:
    """Random weights of the official size, on the device; a copy."""
    if bench not in OFFICIAL:
        torch.manual_seed(0)
        OFFICIAL[bench] = Restormer(bench.official).eval().requires_grad_(False)
    return copy.deepcopy(OFFICIAL[bench]).to(bench.device)


OFFICIAL: dict[Bench, Restormer] = {}


def samples(size: tuple[int, int]) -> np.ndarray:
    """A photo mirrored to that (h, w): (h, w, 3) uint8."""
    pixels = np.asarray(Image.open(PHOTO).convert("RGB"))
    pad = [(0, max(0, side - have)) for side, have in zip(size, pixels.shape, strict=False)]
    return np.ascontiguousarray(np.pad(pixels, [*pad, (0, 0)], mode="symmetric")[: size[0], : size[1]])


def picture(size: tuple[int, int]) -> Tensor:
    """The same as (1, 3, h, w) in 0..1, of whole units."""
    h, w = (side // 16 * 16 for side in size)
    return torch.from_numpy(samples((h, w))).permute(2, 0, 1)[None] / 255


def seconds(bench: Bench, function: Callable[[], object]) -> float:
    """Of one call, to the end of what it gave the card to do."""
    if bench.is_card:
        torch.cuda.synchronize(bench.device)
    start = time.perf_counter()
    function()
    if bench.is_card:
        torch.cuda.synchronize(bench.device)
    return time.perf_counter() - start


def psnr(result: Tensor, exact: Tensor) -> float:
    """dB, of values in 0..1."""
    return float(-10 * (result - exact).square().mean().log10())


if __name__ == "__main__":
    main()
