"""Train the fusion: `python -m training.shake.fusion --cases FOLDER --out FILE`.

The loss is the logarithm of each crop's error, which is what decibels are; of the errors it expects, the likelihood of those that there are, as if
they were exponentially distributed: so it learns their mean; and by how many decibels the gain that follows from these is wrong. One file in eight is kept for the tables that it prints.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake._fusion import Fusion, gain_of
from deblur_cli.shake._judge import load_judge
from training.dice import Dice
from training.shake.learner import Learner
from training.shake.read_cases import Cases, read_cases

KEPT_OUT_OF = 8
CROP = 128
FLOOR = 5e-6
"""Of mean squared errors: below it nobody sees a difference."""
EXPECTING = 0.1
"""What the errors that it expects count in the loss."""
PROMISING, MOST_DB = 0.1, 6.0
"""What the gain of a crop that follows from them counts, in dB; and how good is good, and how bad is bad: further out nothing depends on it."""
LIMITS = (-16.0, 4.0)
"""Of the natural logarithms of the errors that it expects: what lies further out is a mistake of a new network, and its exponential may be infinite."""
KNOWN = 0.1
"""Of the crops: their kernel, if it is right, is handed over as one that is known to be."""
UNTOUCHED = 0.08
"""Of the crops, whose network alone has left the photo as it was: other weights may."""


def crops(cases: Cases, count: int, dice: Dice) -> tuple[Tensor, Tensor]:
    """(count, 14, CROP, CROP) as the network has them, and (count, 6, CROP, CROP) the truth and the moved one; turned and mirrored, colours exchanged."""
    shown: list[Tensor] = []
    truths: list[Tensor] = []
    for _ in range(count):
        sources, truth = cases.at(dice.integer(0, len(cases) - 1), untouched=dice.chance(UNTOUCHED))
        if dice.chance(KNOWN) and is_right(sources, truth):
            sources[13] = 255
        last, turn = truth.shape[-1] - CROP, dice.integer(0, 7)
        top, left = dice.integer(0, last), dice.integer(0, last)
        colours = torch.randperm(3, generator=dice.generator)
        order = torch.cat([colours + 3 * i for i in range(4)] + [torch.tensor([12, 13])])
        for tensor, planes, chosen in (
            (sources, order, shown),
            (truth, torch.cat([colours, 3 + colours]), truths),
        ):
            part = tensor[planes, top : top + CROP, left : left + CROP].rot90(turn % 4, (-2, -1))
            chosen.append(part.flip(-1) if turn >= 4 else part)
    return torch.stack(shown).float() / 255, torch.stack(truths).float() / 255


def is_right(sources: Tensor, truth: Tensor) -> bool:
    """Whether a case's kernel brings its photo nearer to the truth, as of `Cases.at`."""
    photo, sparse = (
        (sources[3 * i : 3 * i + 3].float() - truth[3 * k : 3 * k + 3]).square().mean()
        for i, k in ((0, 0), (2, 1))
    )
    return bool(sparse < photo)


def error(photos: Tensor, truths: Tensor) -> Tensor:
    """(b, ...) both -> (b,) mean squared."""
    return (photos - truths).square().flatten(1).mean(1)


def gains(before: Tensor, after: Tensor) -> Tensor:
    """(b,) mean squared errors -> (b,) dB from the first to the second."""
    return (10 * ((before + FLOOR) / (after + FLOOR)).log10()).clamp(-MOST_DB, MOST_DB)


def nearer(photos: Tensor, truths: Tensor) -> Tensor:
    """(b, 3, h, w), and (b, 6, h, w) two truths -> that of them which is nearer: a photo is not worse for lying elsewhere by a pixel."""
    first, second = truths.chunk(2, 1)
    takes_first = error(photos, first) <= error(photos, second)
    return torch.where(takes_first[:, None, None, None], first, second)


def surprise(expected: Tensor, squares: Tensor) -> Tensor:
    """(b, 2, h, w) expected, as natural logarithms, and what came -> (b,): least where the mean of what comes was expected."""
    return (expected + (squares + FLOOR) * (-expected).exp()).flatten(1).mean(1)


def squares_of(*photos: tuple[Tensor, Tensor]) -> Tensor:
    """(b, 3, h, w) each, with its truth -> (b, len(photos), h, w): squared errors, the mean of the colours."""
    return torch.stack([(photo - truth).square().mean(1) for photo, truth in photos], 1)


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
        with learner.quickly():
            result, expected = (each.float() for each in network.join(shown))
        expected = expected.clamp(*LIMITS)
        truth, there = truths.chunk(2, 1)
        final = nearer(result.detach(), truths)
        errors = error(result, final)
        doubt = surprise(expected, squares_of((shown[:, 3:6], truth), (result.detach(), final)))
        promised = gains(expected[:, 0].exp().mean((1, 2)), expected[:, 1].exp().mean((1, 2)))
        kept = F.smooth_l1_loss(promised, gains(error(shown[:, 3:6], truth), errors.detach()))
        loss = ((errors + FLOOR).log() + EXPECTING * doubt).mean() + PROMISING * kept
        least = torch.minimum(error(shown[:, 3:6], truth), error(shown[:, 6:9], there))
        gain = 10 * ((least + FLOOR).log10() - (errors + FLOOR).log10()).mean()
        learner.step(loss, over_the_better=gain, surprise=doubt.mean(), promise=kept)
    learner.save()
    network.load_state_dict(learner.average)
    print_tables(network, read_cases(files[::KEPT_OUT_OF]).judged_by(judge))


@torch.no_grad()
def print_tables(network: Fusion, cases: Cases) -> None:
    """On cases that it has not seen: gains over the network alone, of kernels that help and of those that do not; and what keeping those would bring that
    are expected to gain so much.
    """
    rows = []
    for i in range(len(cases)):
        sources, truths = (each[None].float() / 255 for each in cases.at(i))
        result, expected = network.join(sources)
        truth, there = truths.chunk(2, 1)
        final = nearer(result, truths)
        pairs = ((sources[:, 3:6], truth), (sources[:, 6:9], there), (result, final))
        errors = [error(*pair) for pair in pairs]
        alone, sparse, fused = (10 * (each + FLOOR).log10() for each in errors)
        promised = gain_of(expected[0].exp().mean((1, 2)))
        rows.append(torch.tensor([alone - sparse, alone - fused, promised]))
    undone, joined, said = torch.stack(rows).unbind(1)
    head = "| cases | undone | joined | worst | 5 % | under -0.1 |\n|---|---|---|---|---|---|---|"

    def tell(name: object, group: Tensor) -> None:
        gains = joined[group]
        if len(gains):
            print(
                f"| {name} | {len(gains)} | {undone[group].mean():+.2f} | {gains.mean():+.2f} | {gains.min():+.2f} "
                f"| {gains.quantile(0.05):+.2f} | {(gains < -0.1).float().mean():.0%} |"
            )

    print(f"\n| undone without more {head}")
    tell("worse by > 3 dB", undone <= -3)
    tell("worse", (undone > -3) & (undone <= 0))
    tell("better", (undone > 0) & (undone <= 3))
    tell("better by > 3 dB", undone > 3)
    print(f"\n| expected {head}")
    for margin in (-1, -0.5, 0, 0.1, 0.2, 0.3, 0.5, 1, 2):
        tell(margin, said > margin)


if __name__ == "__main__":
    main()
