"""What `--ensemble` brings, and a second pass, as rows of Markdown: `python -m benchmarks.ensemble --photos FOLDER`.

Cases, groups and dB are those of training's validation that are blurred, of the photos of the folder that training holds out. Columns: PSNR of the photo as it was; what
one run, the ensemble, and the network run on its own output add to that; how many cases of the group the ensemble betters against one run; seconds of one run and of eight.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from training import validation
from training.photos import read_photos
from training.validation import SHARP, Case, eight_bits, make_cases, psnr

from deblur_cli import stream
from deblur_cli.api import find_weights_file
from deblur_cli.device import choose_dtype
from deblur_cli.ensemble import mean_of_turns
from deblur_cli.loader import load_model


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photos, as for training")
    parser.add_argument("--count", type=int, default=8, help="cases of each group")
    parser.add_argument("--weights", default="compact")
    parser.add_argument("--precision", default="auto")
    args = parser.parse_args()
    model = load_model(find_weights_file(args.weights)[0])
    dtype = choose_dtype(args.precision, torch.device("cpu"))
    validation.CASES_A_GROUP = args.count

    def once(image: Tensor) -> Tensor:
        return stream.run(model, image, window=384, dtype=dtype)

    ways: list[Callable[[Tensor], Tensor]] = [
        once,
        lambda image: mean_of_turns(lambda turn, _: once(turn(image))),
        lambda image: once(once(image).clamp(0, 1)),
    ]
    cases = [case for case in make_cases(read_photos(args.photos)[1]) if case.group != SHARP]
    measured = [(case.group, _measured(case, ways)) for case in cases]
    print("| group | before | one run | ensemble | two passes | bettered | s, one and eight |")
    print("|---|---|---|---|---|---|---|")
    for group in [*dict.fromkeys(group for group, _ in measured), "all"]:
        rows = [values for name, values in measured if group in (name, "all")]
        before, one, eight, two, *seconds = torch.tensor(rows).mean(0).tolist()
        bettered = sum(row[2] > row[1] for row in rows)
        gains = " | ".join(f"{after - before:+.2f}" for after in (one, eight, two))
        print(
            f"| {group} | {before:.2f} | {gains} | {bettered} of {len(rows)} | {seconds[0]:.2f}, {seconds[1]:.2f} |"
        )


def _measured(case: Case, ways: list[Callable[[Tensor], Tensor]]) -> list[float]:
    """PSNR before, PSNR of each way, and the seconds of the first two."""
    values, seconds = [psnr(case.blurry, case.sharp)], []
    for way in ways:
        started = time.perf_counter()
        restored = way(case.blurry[None])[0]
        seconds.append(time.perf_counter() - started)
        values.append(psnr(eight_bits(restored), case.sharp))
    return [*values, *seconds[:2]]


if __name__ == "__main__":
    main()
