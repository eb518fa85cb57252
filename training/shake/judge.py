"""Train the judge: `python -m training.shake.judge --cases FILE... --out FILE`.

It learns the decibels that undoing a shake gained over the better of the photo and the network alone, place by place and for the photo. One case in six is kept
for the table that it prints: how often what it takes is good, by the margin that is asked.
"""

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from deblur_cli.shake._judge import CELL, Judge, mean_gain
from training.dice import Dice
from training.muon import Muon

KEPT_OUT_OF = 6
CROP = 128
MOST_DB = 8.0
FLOOR = 1e-5
"""Of mean squared errors: below it nobody sees a difference."""


def gains_of(errors: Tensor) -> Tensor:
    """(b, 3, ...) errors before, after, and of the network alone -> dB by which after is better than the best of the others."""
    best = torch.minimum(errors[:, 0], errors[:, 2]) + FLOOR
    return 10 * (best / (errors[:, 1] + FLOOR)).log10()


def losses(network: Judge, shown: Tensor, errors: Tensor) -> Tensor:
    """Of places, whose errors are smoothed over 3x3, and of the whole crop."""
    gains = network(shown)
    smooth = F.avg_pool2d(F.pad(errors, (1,) * 4, "replicate"), 3, 1)
    places = gains_of(smooth).clamp(-MOST_DB, MOST_DB)
    matter = (smooth[:, 0] / smooth[:, 0].mean((1, 2), keepdim=True)).clamp(0.1, 3).sqrt()
    of_places = (matter * F.smooth_l1_loss(gains, places, reduction="none")).mean()
    change = F.avg_pool2d((shown[:, 1] - shown[:, 0]).square()[:, None], CELL)[:, 0].sqrt() + 1e-3
    whole = (gains * change).sum((1, 2)) / change.sum((1, 2))
    wanted = gains_of(errors.mean((2, 3))).clamp(-MOST_DB, MOST_DB)
    return 0.5 * of_places + F.smooth_l1_loss(whole, wanted)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m training.shake.judge", description=__doc__)
    parser.add_argument("--cases", type=Path, nargs="+", required=True, help="files of judge_cases")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file")
    parser.add_argument("--weights", type=Path, help="start from these")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=1e-3)
    args = parser.parse_args()
    files = [load_file(path) for path in args.cases]
    shown, errors = (torch.cat([file[name] for file in files]) for name in ("shown", "errors"))
    kept = torch.arange(len(shown)) % KEPT_OUT_OF == 0
    network = Judge()
    if args.weights:
        network.load_state_dict({name: value.float() for name, value in load_file(args.weights).items()})
    train(network, shown[~kept], errors[~kept], args)
    print_table(network, shown[kept], errors[kept])


def train(network: Judge, shown: Tensor, errors: Tensor, args: argparse.Namespace) -> None:
    """For so many minutes; the rate falls to nothing over the last 70 %; the weights are an average over the last steps."""
    torch.manual_seed(1)
    matrices = [
        p for name, p in network.named_parameters() if p.dim() == 4 and not name.startswith(("inp", "out"))
    ]
    others = [p for p in network.parameters() if all(p is not q for q in matrices)]
    decay = 1e-2
    optimizers = (
        Muon(matrices, args.rate, weight_decay=decay),
        torch.optim.AdamW(others, args.rate, weight_decay=decay),
    )
    average = {name: p.detach().clone() for name, p in network.named_parameters()}
    started, step, told = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - started) / (60 * args.minutes)) < 1:
        loss = losses(network, *crops(shown, errors, args.batch, Dice(7, step)))
        network.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = args.rate * min(1.0, (step + 1) / 50) * min(1.0, (1 - share) / 0.7)
            optimizer.step()
        step, told = step + 1, told + loss.item() / 100
        keep = min(0.99, step / (9 + step))
        for name, p in network.named_parameters():
            average[name].lerp_(p.detach(), 1 - keep)
        if step % 100 == 0:
            print(f"{step}: {told:.3f}", flush=True)
            told = 0.0
    network.load_state_dict(average)
    save_file({name: value.half().contiguous() for name, value in average.items()}, args.out)


def crops(shown: Tensor, errors: Tensor, count: int, dice: Dice) -> tuple[Tensor, Tensor]:
    """Random ones, turned and mirrored at random."""
    places = range((shown.shape[-1] - CROP) // CELL)
    pictures: list[Tensor] = []
    figures: list[Tensor] = []
    for _ in range(count):
        i, turn = dice.integer(0, len(shown) - 1), dice.integer(0, 7)
        top, left = dice.integer(0, len(places)), dice.integer(0, len(places))
        cells = (slice(top, top + CROP // CELL), slice(left, left + CROP // CELL))
        pixels = tuple(slice(part.start * CELL, part.stop * CELL) for part in cells)
        for tensor, area, chosen in ((shown, pixels, pictures), (errors, cells, figures)):
            part = tensor[i][:, *area].rot90(turn % 4, (-2, -1))
            chosen.append(part.flip(-1) if turn >= 4 else part)
    return torch.stack(pictures).float() / 255, torch.stack(figures)


@torch.no_grad()
def print_table(network: Judge, shown: Tensor, errors: Tensor) -> None:
    """On cases that it has not seen."""
    judged = []
    for picture in shown:
        photo = picture[None].float() / 255
        judged.append(mean_gain(network(photo), photo))
    said, true = torch.tensor(judged), gains_of(errors.mean((2, 3)))
    correlation = torch.corrcoef(torch.stack([said, true.clamp(-MOST_DB, MOST_DB)]))[0, 1]
    print(f"{len(shown)} cases, {(true > 0).float().mean():.0%} good, correlation {correlation:.2f}")
    print("\n| margin | taken | of these good | mean gain of these |\n|---|---|---|---|")
    for margin in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
        taken = said > margin
        if taken.any():
            print(
                f"| {margin} | {taken.sum()} | {(true[taken] > 0).float().mean():.0%} | {true[taken].mean():+.2f} |"
            )


if __name__ == "__main__":
    main()
