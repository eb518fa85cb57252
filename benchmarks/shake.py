"""What undoing camera shake brings, as rows of Markdown: `python -m benchmarks.shake --photos FOLDER`.

Columns in dB of PSNR over the photo as it was, means of a group: the network alone, the photo deconvolved by the kernel that was found (where it was undone), both joined, and both with the true kernel. Each photo is compared
where it lies: a blurred photo does not tell by which fraction of a pixel its sharp one is moved, so the truth is moved there (by 4 pixels at most). `worst` is the
least of both against the network alone; `lowered` counts results below the photo itself (of sharp photos, whose noise the network takes away, all). Pictures of every case go into a folder if one is named.
"""

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import torch
from benchmarks.shake_sets import Case, make_cases
from PIL import Image
from torch import Tensor
from training.blur import to_linear, to_srgb
from training.shake.aligned import TAPS, moved, offset
from training.validation import eight_bits, psnr

from deblur_cli import shake, stream
from deblur_cli.api import find_weights_file
from deblur_cli.device import choose_dtype
from deblur_cli.loader import load_model
from deblur_cli.model import Restormer
from deblur_cli.shake._joined import joined

MOST_MOVED = 4
BORDER = MOST_MOVED + TAPS


@dataclass(frozen=True)
class Row:
    """One case: its group, gains in dB by column, what became of the shake, and the seconds that took."""

    group: str
    before: float
    network: float
    shake: float
    both: float
    true: float | None
    outcome: str
    length: float
    seconds: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photos, as for training")
    parser.add_argument("--count", type=int, default=8, help="cases of each group")
    parser.add_argument("--only", default="", help="part of a group's name")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pictures", type=Path, help="folder for the pictures of every case")
    args = parser.parse_args()
    jobs = [(args, worker) for worker in range(args.workers)]
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        rows = [row for part in pool.map(_measure_share, jobs) for row in part]
    print_table(rows)


def _measure_share(job: tuple[argparse.Namespace, int]) -> list[Row]:
    args, worker = job
    torch.set_num_threads(1)
    network = load_model(find_weights_file("compact")[0])
    cases = (case for case in make_cases(args.photos, args.count) if args.only in case.group)
    return [measure(case, network, args.pictures, i) for i, case in _share(cases, worker, args.workers)]


def _share(cases: Iterator[Case], worker: int, workers: int) -> Iterator[tuple[int, Case]]:
    return islice(enumerate(cases), worker, None, workers)


@torch.no_grad()
def measure(case: Case, network: Restormer, pictures: Path | None, number: int) -> Row:
    """All columns of one case."""

    def sharpened(photo: Tensor) -> Tensor:
        h, w = (length // 8 * 8 for length in photo.shape[1:])
        result = photo.clone()
        result[:, :h, :w] = stream.run(network, photo[None, :, :h, :w])[0]
        return eight_bits(result)

    light, alone = to_linear(case.blurry), sharpened(case.blurry)
    alone_light = to_linear(alone)
    started = time.monotonic()
    undone = shake.undo(light, alone_light, dtype=choose_dtype("auto", light.device))
    seconds = time.monotonic() - started
    shown, both = case.blurry, alone
    if undone.outcome == "undone" and undone.shake:
        shown = eight_bits(to_srgb(shake.deconvolve(light, undone.shake)))
        both = eight_bits(to_srgb(undone.light))
    true = None
    if case.kernel is not None:
        known = shake.Shake(case.kernel[None, None], torch.ones(1, 1), case.curve)
        true = aligned_psnr(
            eight_bits(to_srgb(joined(light, alone_light, known, known=True).light)), case.sharp
        )
    before = aligned_psnr(case.blurry, case.sharp)
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        _picture(torch.cat([case.blurry, both, case.sharp], 2), pictures / f"{number:03d}.png")
    row = Row(
        case.group,
        before,
        aligned_psnr(alone, case.sharp) - before,
        aligned_psnr(shown, case.sharp) - before,
        aligned_psnr(both, case.sharp) - before,
        None if true is None else true - before,
        undone.outcome,
        undone.shake.length if undone.shake else 0.0,
        seconds,
    )
    print(number, row, flush=True)
    return row


def aligned_psnr(photo: Tensor, truth: Tensor) -> float:
    """In dB, of (3, h, w) both, with the truth moved to where the photo has it, without a border of MOST_MOVED pixels and the filter's reach."""
    away = offset(truth.mean(0, keepdim=True), photo.mean(0, keepdim=True), MOST_MOVED)
    inside = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    there = (truth, moved(truth[None], away)[0].clamp(0, 1))
    return max(psnr(photo[inside], each[inside]) for each in there)


def _picture(photo: Tensor, path: Path) -> None:
    Image.fromarray((photo.permute(1, 2, 0) * 255).round().byte().numpy()).save(path)


def print_table(rows: list[Row]) -> None:
    """A line a group."""
    print("\n| set | photos | before | network | shake | both | true kernel | undone | worst | lowered | s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for group in dict.fromkeys(row.group for row in rows):
        of_group = [row for row in rows if row.group == group]
        true = [row.true for row in of_group if row.true is not None]
        means = [
            f"{fmean(getattr(row, column) for row in of_group):+.2f}"
            for column in ("network", "shake", "both")
        ]
        undone = sum(row.outcome == "undone" for row in of_group)
        worst = min(row.both - row.network for row in of_group)
        lowered = sum(row.both < 0 for row in of_group)
        print(
            f"| {group} | {len(of_group)} | {fmean(row.before for row in of_group):.2f} | {' | '.join(means)} "
            f"| {f'{fmean(true):+.2f}' if true else '-'} | {undone} | {worst:+.2f} | {lowered} "
            f"| {fmean(row.seconds for row in of_group):.1f} |"
        )


if __name__ == "__main__":
    main()
