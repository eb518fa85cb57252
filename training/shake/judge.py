"""Train the judge: `python -m training.shake.judge --cases FOLDER --out FILE`.

It learns the decibels that undoing a shake gained over the better of the photo and the network alone, place by place and for the photo. One file in six is kept
for the table that it prints: how often what it takes is good, by the margin that is asked.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake._judge import CELL, Judge, mean_gain
from training.dice import Dice
from training.shake.learner import Learner
from training.shake.read_cases import read_cases

KEPT_OUT_OF = 6
CROPS = {256: 0.4, 192: 0.3, 128: 0.2, 96: 0.1}
"""Pixels a side, and how often."""
MORE_GOOD = 0.25
LEAST_DB, MOST_DB = -3.0, 6.0
"""How bad is bad, and how good is good: further out nothing depends on it."""
FLOOR = 1e-5
"""Of mean squared errors: below it nobody sees a difference."""


def gains_of(errors: Tensor) -> Tensor:
    """(b, 3, ...) errors before, of the network alone, and after -> dB by which after is better than the best of the others."""
    best = torch.minimum(errors[:, 0], errors[:, 1]) + FLOOR
    return (10 * (best / (errors[:, 2] + FLOOR)).log10()).clamp(LEAST_DB, MOST_DB)


def losses(gains: Tensor, shown: Tensor, errors: Tensor) -> Tensor:
    """Of places, whose errors are smoothed over 3x3, and of the whole crop."""
    smooth = F.avg_pool2d(F.pad(errors, (1,) * 4, "replicate"), 3, 1)
    matter = (smooth[:, 0] / smooth[:, 0].mean((1, 2), keepdim=True).clamp_min(FLOOR)).clamp(0.1, 3).sqrt()
    of_places = (matter * F.smooth_l1_loss(gains, gains_of(smooth), reduction="none")).mean()
    return 0.5 * of_places + F.smooth_l1_loss(mean_gain(gains, shown), gains_of(errors.mean((2, 3))))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m training.shake.judge", description=__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="folder of training.shake.cases")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file")
    parser.add_argument("--weights", type=Path, help="start from these")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    files = sorted(args.cases.glob("*.safetensors"))
    shown, errors = read([path for i, path in enumerate(files) if i % KEPT_OUT_OF])
    good = (gains_of(errors.mean((2, 3))) > 0).nonzero()[:, 0].tolist()
    network = Judge()
    learner = Learner(network, args.out, minutes=args.minutes, rate=args.rate, weights=args.weights)
    while learner.share < 1:
        pictures, figures = crops(shown, errors, good, args.batch, Dice(7, args.seed, learner.steps))
        with learner.quickly():
            gains = network(pictures).float()
        loss = losses(gains, pictures, figures)
        learner.step(loss, decibels=loss)
    learner.save()
    network.load_state_dict(learner.average)
    print_table(network, *read(files[::KEPT_OUT_OF]))


def read(files: list[Path]) -> tuple[Tensor, Tensor]:
    """(n, 3, h, w) uint8 as of `compared`, and (n, 3, h / 16, w / 16) errors before, of the network alone and after."""
    shown, errors = [], []
    for cases in (read_cases([path]) for path in files):
        for i in range(len(cases)):
            sources, truth = cases.at(i)
            photos, truths = ((each.float() / 255).split(3) for each in (sources[:9], truth))
            whose = zip(photos, (0, 0, 1), strict=True)
            errors.append(torch.stack([errors_of(photo, truths[k]) for photo, k in whose]))
            shown.append(cases.shown(i))
    return torch.stack(shown), torch.stack(errors)


def errors_of(photo: Tensor, sharp: Tensor) -> Tensor:
    """(3, h, w) both -> (h / 16, w / 16) mean squared error of each place."""
    return F.avg_pool2d((photo - sharp).square().mean(0, keepdim=True), CELL)[0]


def crops(shown: Tensor, errors: Tensor, good: list[int], count: int, dice: Dice) -> tuple[Tensor, Tensor]:
    """As many pixels as `count` of 192 a side: random ones, turned and mirrored at random, MORE_GOOD of them from the `good`."""
    side = dice.pick(CROPS)
    last = (shown.shape[-1] - side) // CELL
    pictures: list[Tensor] = []
    figures: list[Tensor] = []
    for _ in range(count * 192**2 // side**2):
        i, turn = dice.integer(0, len(shown) - 1), dice.integer(0, 7)
        if dice.chance(MORE_GOOD):
            i = good[dice.integer(0, len(good) - 1)]
        top, left = dice.integer(0, last), dice.integer(0, last)
        cells = (slice(top, top + side // CELL), slice(left, left + side // CELL))
        pixels = tuple(slice(part.start * CELL, part.stop * CELL) for part in cells)
        for tensor, area, chosen in ((shown, pixels, pictures), (errors, cells, figures)):
            part = tensor[i][:, *area].rot90(turn % 4, (-2, -1))
            chosen.append(part.flip(-1) if turn >= 4 else part)
    return torch.stack(pictures).float() / 255, torch.stack(figures)


@torch.no_grad()
def print_table(network: Judge, shown: Tensor, errors: Tensor) -> None:
    """On cases that it has not seen."""
    said = torch.cat(
        [mean_gain(network(photo), photo) for photo in (each[None].float() / 255 for each in shown)]
    )
    true = gains_of(errors.mean((2, 3)))
    correlation = torch.corrcoef(torch.stack([said, true]))[0, 1]
    print(f"{len(shown)} cases, {(true > 0).float().mean():.0%} good, correlation {correlation:.2f}")
    print("\n| margin | taken | of these good | mean gain of these |\n|---|---|---|---|")
    for margin in (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
        taken = said > margin
        if taken.any():
            print(
                f"| {margin} | {taken.sum()} | {(true[taken] > 0).float().mean():.0%} | {true[taken].mean():+.2f} |"
            )


if __name__ == "__main__":
    main()
