"""Train the cleaner of kernels: `python -m training.shake.cleaner --photos FOLDER --out FILE --minutes 60`.

Half of the time goes into searches on photos made from sharp ones: kernels are kept as the least squares leave them, in the last turn of each scale and some before, and from the
kernel of strong edges, with the true kernel moved to where they lie. The other half trains on them, turned and mirrored.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake import _estimate as search
from deblur_cli.shake._agreed import starts
from deblur_cli.shake._cleaner import LEAST_NOISE, SIDE, Cleaner, surrounded
from deblur_cli.shake._curve import Curve
from deblur_cli.shake._edges import kernels_of_edges
from deblur_cli.shake._kernels import centring, cleared, extent, fit_into, rescaled, tidied
from deblur_cli.shake._predictor import Predictor, load_predictor
from training.blur import to_linear
from training.dice import Dice
from training.photos import Photos, read_photos
from training.shake.aligned import moved, offset
from training.shake.cases import GREY, IN_VALUES, make_photo
from training.shake.learner import Learner
from training.shake.predictor import distance, photo_lost

SEARCHING = 0.5
"""Of the time: how much goes into searches."""
FIRST_TURNS, TURNS = 20, 6
"""Of a search at the first scale, and at each after it."""
EARLY = 0.5
"""How often the kernel of a scale's second turn is kept, too."""
MOST_MOVED = 8
"""Pixels by which a kernel may lie beside the true one."""
BATCH = 48
GRADIENTS = 0.01
"""Usual power of a photo's gradients, against white: what `photo_lost` weighs noise by."""

Found = tuple[Tensor, Tensor, Tensor, Tensor]
"""(SIDE, SIDE) as the least squares leave it, as rules clear it and the true one; () the noise against white."""


@torch.no_grad()
def kernels_of(photos: Photos, predictor: Predictor, dice: Dice) -> Iterator[Found]:
    """What one search on one made photo comes to, from one of its starts."""
    curve = Curve.VALUES if dice.chance(IN_VALUES) else Curve.LIGHT
    _, photo, _, true = make_photo(photos, curve, dice, "shake")
    light = to_linear(photo[:1] if dice.chance(GREY) else photo)
    frames = [frame for frame in search.pyramid(light, curve) if search.is_small(frame)]
    lines = starts(light.device, curve)
    kernel, together = lines[dice.integer(0, len(lines) - 1)].kernels, torch.ones(1, 1)
    for number, frame in enumerate(frames):
        regions = search.telling_regions(frame)
        kernel = search.grown(kernel) if number else kernel
        turns = TURNS if number else FIRST_TURNS
        for turn in range(turns):
            (found,) = search.solved(kernel, regions, predictor, together)
            if turn == turns - 1 or (turn == 1 and dice.chance(EARLY)):
                yield from _with_truth(found, true, frame)
            kernel = tidied(found)[None]
        if search.is_full(kernel):
            return
    edges = kernels_of_edges(frames[-1:])
    (found,) = search.solved(edges, search.telling_regions(frames[-1]), predictor, together)
    yield from _with_truth(found, true, frames[-1])


def _with_truth(found: Tensor, true: Tensor, frame: search.Frame) -> Iterator[Found]:
    true = rescaled(true[None], frame.scale)
    if extent(true) > found.shape[-1]:
        return
    tidy = cleared(found)
    place = centring(tidy)
    seen, rest = (surrounded(each.roll(place, (0, 1))) for each in (found, tidy))
    true, margin = fit_into(true, SIDE), (MOST_MOVED,) * 4
    away = offset(F.pad(true, margin), F.pad(rest[None], margin), MOST_MOVED)
    noise = torch.tensor(max(LEAST_NOISE, frame.noise / frame.white))
    yield seen, rest, moved(true[None], away)[0, 0], noise


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m training.shake.cleaner", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photos, as for training")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file, written every 100 steps")
    parser.add_argument("--weights", type=Path, help="start from these")
    parser.add_argument("--start", type=int, default=0, help="number of the first photo: other photos")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=1e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos, _ = read_photos(args.photos)
    predictor, kept, number = load_predictor(torch.device("cpu")), list[Found](), args.start
    ends = time.monotonic() + 60 * args.minutes * SEARCHING
    while time.monotonic() < ends or not kept:
        kept += kernels_of(photos, predictor, Dice(90210, number))
        number += 1
    print(f"{len(kept)} kernels of {number - args.start} photos", flush=True)
    every = [torch.stack(tensors) for tensors in zip(*kept, strict=True)]
    network, dice = Cleaner(), Dice(6, args.start)
    minutes = args.minutes * (1 - SEARCHING)
    learner = Learner(network, args.out, minutes=minutes, rate=args.rate, keep=0.99, weights=args.weights)
    while learner.share < 1:
        some = torch.tensor([dice.integer(0, len(kept) - 1) for _ in range(BATCH)])
        turn = dice.integer(0, 7)
        found, tidy, true = (_turned(tensor[some], turn) for tensor in every[:3])
        noise = every[3][some]
        with learner.quickly():
            result = network.clean(found, tidy, noise)
        power = noise.square() / GRADIENTS
        apart, lost = distance(result, true), photo_lost(result, true, power)
        learner.step(
            (apart + 0.5 * lost).mean(),
            kernel=apart.mean(),
            lost=lost.mean(),
            before=distance(tidy, true).mean(),
            lost_before=photo_lost(tidy, true, power).mean(),
        )
    learner.save()


def _turned(kernels: Tensor, turn: int) -> Tensor:
    """By quarters, and from 4 on mirrored."""
    kernels = kernels.rot90(turn % 4, (1, 2))
    return kernels.flip(2) if turn >= 4 else kernels


if __name__ == "__main__":
    main()
