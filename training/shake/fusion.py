"""Train the fusion: `python -m training.shake.fusion --cases FOLDER --out FILE`.

The loss is the logarithm of each crop's error, which is what decibels are. One file in eight is kept for the table that it prints.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from deblur_cli.shake._fusion import Fusion
from deblur_cli.shake._judge import load_judge
from training.dice import Dice
from training.shake.learner import Learner
from training.shake.read_cases import Cases, read_cases

KEPT_OUT_OF = 8
CROP = 128
FLOOR = 5e-6
"""Of mean squared errors: below it nobody sees a difference."""
UNTOUCHED = 0.08
"""Of the crops, whose network alone has left the photo as it was: other weights may."""


def crops(cases: Cases, count: int, dice: Dice) -> tuple[Tensor, Tensor]:
    """(count, 14, CROP, CROP) as the network has them, and (count, 3, CROP, CROP) the truth; turned and mirrored, colours exchanged."""
    shown: list[Tensor] = []
    truths: list[Tensor] = []
    for _ in range(count):
        sources, truth = cases.at(dice.integer(0, len(cases) - 1), untouched=dice.chance(UNTOUCHED))
        last, turn = truth.shape[-1] - CROP, dice.integer(0, 7)
        top, left = dice.integer(0, last), dice.integer(0, last)
        colours = torch.randperm(3, generator=dice.generator)
        order = torch.cat([colours + 3 * i for i in range(4)] + [torch.tensor([12, 13])])
        for tensor, planes, chosen in ((sources, order, shown), (truth, colours, truths)):
            part = tensor[planes, top : top + CROP, left : left + CROP].rot90(turn % 4, (-2, -1))
            chosen.append(part.flip(-1) if turn >= 4 else part)
    return torch.stack(shown).float() / 255, torch.stack(truths).float() / 255


def error(photos: Tensor, truths: Tensor) -> Tensor:
    """(b, ...) both -> (b,) mean squared."""
    return (photos - truths).square().flatten(1).mean(1)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m training.shake.fusion", description=__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="folder of training.shake.cases")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file")
    parser.add_argument("--weights", type=Path, help="start from these")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    files = sorted(args.cases.glob("*.safetensors"))
    judge = load_judge(torch.device("cpu"))
    cases = read_cases([path for i, path in enumerate(files) if i % KEPT_OUT_OF]).judged_by(judge)
    network = Fusion()
    learner = Learner(network, args.out, minutes=args.minutes, rate=args.rate, weights=args.weights)
    while learner.share < 1:
        shown, truths = crops(cases, args.batch, Dice(8, args.seed, learner.steps))
        errors = error(network(shown), truths)
        loss = (errors + FLOOR).log().mean()
        least = torch.minimum(error(shown[:, 3:6], truths), error(shown[:, 6:9], truths))
        gain = 10 * ((least + FLOOR).log10() - (errors + FLOOR).log10()).mean()
        learner.step(loss, over_the_better=gain)
    learner.save()
    network.load_state_dict(learner.average)
    print_table(network, read_cases(files[::KEPT_OUT_OF]).judged_by(judge))


@torch.no_grad()
def print_table(network: Fusion, cases: Cases) -> None:
    """On cases that it has not seen: gains over the network alone, of kernels that help and of those that do not."""
    rows = []
    for i in range(len(cases)):
        sources, truth = (each[None].float() / 255 for each in cases.at(i))
        errors = [error(each, truth) for each in (sources[:, 3:6], sources[:, 6:9], network(sources))]
        alone, sparse, fused = (10 * (each + FLOOR).log10() for each in errors)
        rows.append(torch.cat([alone - sparse, alone - fused]))
    table = torch.stack(rows)
    print(
        "\n| undone without more | cases | undone | joined | worst | 5 % | under -0.1 |\n|---|---|---|---|---|---|---|"
    )
    for name, least, most in (
        ("worse by > 3 dB", -99, -3),
        ("worse", -3, 0),
        ("better", 0, 3),
        ("better by > 3 dB", 3, 99),
    ):
        group = table[(table[:, 0] > least) & (table[:, 0] <= most)]
        if len(group):
            joined = group[:, 1]
            print(
                f"| {name} | {len(group)} | {group[:, 0].mean():+.2f} | {joined.mean():+.2f} "
                f"| {joined.min():+.2f} | {joined.quantile(0.05):+.2f} | {(joined < -0.1).float().mean():.0%} |"
            )


if __name__ == "__main__":
    main()
