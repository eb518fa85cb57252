"""Train the predictor of gradients: `python -m training.shake.predictor --photos FOLDER --out FILE`.

What it is trained for is the kernel that follows from its guess, and the photo that follows from the kernel: the loss goes through the least squares of the estimation.
Half of the time the kernel that it is handed is one that it has made itself, at this scale or the one before, so that it learns to mend its own errors. Where
that lies beside the true one, the truth is moved there: it is to find the shape, not the place.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from deblur_cli.shake._estimate import RIDGE, STEP
from deblur_cli.shake._fourier import gradient_power, gradients, transfer
from deblur_cli.shake._kernels import centred, fit_into, rescaled, tidied
from deblur_cli.shake._least_squares import correlations, least_squares
from deblur_cli.shake._predictor import MULTIPLE, Predictor, inverse_filters
from training.blur import convolve, to_linear, to_srgb
from training.degrade import add_noise, jpeg, random_tone
from training.dice import Dice
from training.pairs import expose
from training.photos import Photos, random_crop, read_photos
from training.shake.aligned import moved, offset
from training.shake.kernels import handed_on, random_kernel
from training.shake.learner import Learner
from training.validation import eight_bits

SIDE, FIRST_SIDE = 41, 17
"""Of every kernel in training, and of those at the first scale of a search."""
FIRST_SIZE, FIRST_RAMP, RAMP = 112, 12, 24
"""Side of crops at the first scale; the window's ramp there, and else."""
MOST_TURNS = 14
"""At the first scale, before the one that is learnt from."""
MARGIN = 24
TOGETHER = 2
"""Crops of one photo under one shake, whose evidence is taken together."""
MOST_MOVED = 8
"""Pixels by which the kernel that is handed on may lie beside the true one."""
FAINT = 0.04
EIGHT_BITS = 4e-4
"""The standard deviation that rounding to 8 bits of sRGB leaves in the mean of three colours, about."""
LEAST_NOISE, MOST_NOISE = 1e-4, 0.1
"""Of the noise's power against that of the gradients, in `photo_lost`."""
OWN_TONE = 0.4
"""Of photos that come from a camera with a curve of its own: what they are taken for is then not quite the light that was blurred."""
IN_VALUES = 0.35
"""Of photos whose blur adds up in the values of the file, as of `Shake`."""
JPEG, QUALITY = 0.3, (70, 97)
"""Of photos that are a JPEG at the scale of the crop, and of which quality."""

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""(b, h, w) blurred and sharp, grey, 1 for nearly the brightest; (b, n, n) the true kernel and the one that is handed on; (b,) the standard deviation of the noise."""


class Pairs(IterableDataset[Batch]):
    """Batches without end, which follow from the number of the step."""

    def __init__(self, folder: Path, size: int, batch: int, start: int) -> None:
        self.folder, self.size, self.batch, self.start = folder, size, batch, start

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        photos, _ = read_photos(self.folder)
        number = self.start
        while True:
            first = number % 2 == 0
            count = self.batch * 2 if first else self.batch
            dice = [Dice(992, number, i) for i in range(count // TOGETHER)]
            groups = [
                first_sample(photos, each) if first else sample(photos, self.size, each) for each in dice
            ]
            number += 1
            blurred, sharp, kernels, handed, noise = (torch.cat(each) for each in zip(*groups, strict=True))
            yield blurred, sharp, kernels, handed, noise


def sample(photos: Photos, size: int, dice: Dice) -> Batch:
    """TOGETHER crops of one photo, made smaller by up to 4 as a pyramid does, under one shake of 1.5 to 38 px, with noise."""
    kernel = fit_into(random_kernel(dice, dice.log_uniform(1.5, 38)), SIDE)
    seen = min(700, round((size + 2 * MARGIN) * dice.uniform(1.0, 4.0)))
    noise = dice.log_uniform(5e-4, 0.03)
    return _taken(photos, seen, size, kernel, noise, handed_on(kernel, dice), dice, jpegs=JPEG)


def first_sample(photos: Photos, dice: Dice) -> Batch:
    """The same where a search begins: much of a photo in few pixels, a short shake, little noise, and a square or a point as the first guess."""
    kernel = fit_into(random_kernel(dice, dice.log_uniform(1.2, 10)), FIRST_SIDE)
    handed = handed_on(kernel, dice)
    if dice.chance(0.75):
        side = 2 * dice.integer(0, 4) + 1
        handed = fit_into(torch.full((side, side), 1 / side**2), FIRST_SIDE)
    seen = round((FIRST_SIZE + 2 * MARGIN) * dice.log_uniform(1.5, 12))
    return _taken(photos, seen, FIRST_SIZE, kernel, dice.log_uniform(2e-4, 5e-3), handed, dice)


def _taken(
    photos: Photos,
    seen: int,
    size: int,
    kernel: Tensor,
    noise: float,
    handed: Tensor,
    dice: Dice,
    *,
    jpegs: float = 0.0,
) -> Batch:
    """Crops of one photo, `seen` pixels a side (or all of it), made smaller to `size`; jpegs: how many of them are JPEGs."""
    names = list(photos.sharp)
    photo = photos.sharp[names[dice.integer(0, len(names) - 1)]]
    whole, seen = size + 2 * MARGIN, min(seen, *photo.shape[1:])

    def crop() -> Tensor:
        part = random_crop([photo], seen, dice)[0]
        return F.interpolate(part[None], size=(whole, whole), mode="bicubic", antialias=True)[0].clamp(0, 1)

    scenes = expose([crop() for _ in range(TOGETHER)], dice)
    read_share = dice.uniform(0, 1)
    quality = dice.integer(*QUALITY) if dice.chance(jpegs) else None
    inside = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))

    def blur(scene: Tensor) -> Tensor:
        return add_noise(convolve(scene, kernel).clamp(0, 1), noise, dice, read_share=read_share)

    if dice.chance(IN_VALUES):
        values = [to_srgb(scene.clamp(0, 1)) for scene in scenes]
        sharp = torch.stack([scene.mean(0)[inside] for scene in values])
        blurred = torch.stack([_filed(blur(scene), quality).mean(0)[inside] for scene in values])
    else:
        tone = random_tone(dice) if dice.chance(OWN_TONE) else torch.clone
        sharp = torch.stack([to_linear(tone(to_srgb(scene))).mean(0)[inside] for scene in scenes])
        filed = [to_linear(_filed(tone(to_srgb(blur(scene))), quality)) for scene in scenes]
        blurred = torch.stack([light.mean(0)[inside] for light in filed])
    white = blurred.flatten().quantile(0.98).clamp_min(0.02)
    return (
        blurred / white,
        sharp / white,
        kernel.expand(TOGETHER, *kernel.shape),
        handed.expand(TOGETHER, *handed.shape),
        (math.sqrt(noise**2 / 3 + EIGHT_BITS**2) / white).expand(TOGETHER),
    )


def _filed(srgb: Tensor, quality: int | None) -> Tensor:
    return eight_bits(jpeg(srgb, quality, subsample=True) if quality else srgb)


def solved(sharp: Tensor, blurred: Tensor, side: int) -> Tensor:
    """(b, 2, h, w) both -> (b, side, side), the evidence of crops that belong together taken together; gradients flow through it."""
    auto, cross = (each.unflatten(0, (-1, TOGETHER)).mean(1) for each in correlations(sharp, blurred, side))
    return least_squares(auto, cross, RIDGE, iterations=12).repeat_interleave(TOGETHER, 0)


def distance(kernels: Tensor, true: Tensor) -> Tensor:
    """(b,): total variation between kernels, as they are and smoothed by 3 and 7 px, so that near misses count for something."""
    difference = (kernels - true)[:, None]
    sums = [F.avg_pool2d(difference, side, 1, side // 2).abs().sum((1, 2, 3)) for side in (1, 3, 7)]
    return torch.stack(sums).mean(0)


def positive(kernels: Tensor) -> Tensor:
    """Less a little of the largest value, none negative, of sum 1.

    The estimation takes no more off than the noise: so its paths come out a little thicker than they were trained to be, and do not shrink from turn to turn.
    Trained with what the estimation does, they do.
    """
    kernels = (kernels - FAINT * kernels.amax((1, 2), keepdim=True)).clamp_min(0)
    return kernels / kernels.sum((1, 2), keepdim=True).clamp_min(1e-6)


def window(size: int, ramp: int) -> Tensor:
    """(size, size): 1, and 0 towards the borders."""
    rise = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(ramp) + 0.5) / ramp)
    axis = torch.cat([rise, torch.ones(size - 2 * ramp), rise.flip(0)])
    return axis[:, None] * axis


def gradients_of(light: Tensor) -> Tensor:
    """(b, h, w) -> (b, 2, h, w)."""
    return torch.stack(gradients(light), 1)


@torch.no_grad()
def own_guess(network: Predictor, blurred: Tensor, handed: Tensor, mask: Tensor, dice: Dice) -> Tensor:
    """What the network makes of the kernel it is handed: at the first scale in many turns, else from the scale below, at this one, or, as often, nothing yet."""
    side = handed.shape[-1]
    if side == FIRST_SIDE:
        return turned(network, blurred, handed, mask, dice.integer(0, MOST_TURNS))
    chance = dice.uniform(0, 1)
    if chance > 0.75:
        return handed
    if chance > 0.5:
        return turned(network, blurred, handed, mask, dice.integer(1, 3))
    size = round(blurred.shape[-1] / STEP)
    light = F.interpolate(blurred[:, None], size=(size, size), mode="bicubic", antialias=True)[:, 0]
    light = light[:, : size // MULTIPLE * MULTIPLE, : size // MULTIPLE * MULTIPLE]
    handed = fit_into(rescaled(handed, 1 / STEP), side)
    handed = turned(network, light, handed, window(light.shape[-1], RAMP), dice.integer(1, 3))
    return torch.stack([centred(kernel) for kernel in fit_into(rescaled(handed, STEP), side)])


def turned(network: Predictor, light: Tensor, kernels: Tensor, mask: Tensor, turns: int) -> Tensor:
    """The kernels (b, n, n) after so many turns as the estimation has them."""
    for _ in range(turns):
        guess = network(inverse_filters(light, kernels)) * mask
        found = solved(guess, gradients_of(light) * mask, kernels.shape[-1])
        kernels = torch.stack([tidied(kernel) for kernel in found])
    return kernels


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m training.shake.predictor", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photos, as for training")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file, written every 100 steps")
    parser.add_argument("--weights", type=Path, help="start from these")
    parser.add_argument("--start", type=int, default=0, help="number of the first step: other pairs")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--size", type=int, default=192, help="side of the crops, a multiple of 16")
    parser.add_argument(
        "--batch", type=int, default=4, help=f"a multiple of {TOGETHER}; twice as many where a search begins"
    )
    parser.add_argument("--rate", type=float, default=1e-3)
    args = parser.parse_args()
    torch.manual_seed(args.start)
    network = Predictor()
    learner = Learner(network, args.out, minutes=args.minutes, rate=args.rate, weights=args.weights)
    pairs = Pairs(args.photos, args.size, args.batch, args.start)
    batches = iter(DataLoader(pairs, batch_size=None, num_workers=1))
    masks = {FIRST_SIDE: window(FIRST_SIZE, FIRST_RAMP), SIDE: window(args.size, RAMP)}
    dice = Dice(5, args.start)
    while learner.share < 1:
        blurred, sharp, true, handed, noise = next(batches)
        side = handed.shape[-1]
        mask = masks[side]
        handed = own_guess(network, blurred, handed, mask, dice)
        away = offset(F.pad(true, (MOST_MOVED,) * 4), F.pad(handed, (MOST_MOVED,) * 4), MOST_MOVED)
        sharp = moved(sharp[:, None], -away)[:, 0]
        guess = network(inverse_filters(blurred, handed)) * mask
        seen, wanted = gradients_of(blurred) * mask, gradients_of(sharp) * mask
        off = (guess - wanted).abs().mean((1, 2, 3)) / ((seen - wanted).abs().mean((1, 2, 3)) + 1e-3)
        found, true = positive(solved(guess, seen, side)), moved(true[:, None], away)[:, 0]
        share = noise.square() / wanted.square().sum(1).mean((1, 2)).clamp_min(1e-5)
        apart, lost = distance(found, true), photo_lost(found, true, share)
        learner.step(
            (0.5 * off + apart + lost).mean(),
            gradients=off.mean(),
            kernel=apart.mean(),
            lost=lost.mean(),
            handed=photo_lost(handed, true, share).mean(),
        )
    learner.save()


def photo_lost(found: Tensor, true: Tensor, noise: Tensor) -> Tensor:
    """(b, n, n) both -> (b,): how much more a Wiener filter by the kernel found misses than one by the true kernel, as a logarithm (1 is 4.3 dB).

    Of photos whose power falls with the square of the frequency. noise: (b,), its power against that of such a photo's gradients: the less there is, the
    more exact a kernel has to be.
    """
    size = (96, 96)
    inverse_power = gradient_power(size, found.device) + 0.01
    against = noise.clamp(LEAST_NOISE, MOST_NOISE)[:, None, None]
    errors = []
    for kernels in (found, true):
        spectrum = transfer(kernels, size)
        wiener = spectrum.conj() / (spectrum.abs().square() + against * inverse_power)
        missed = (1 - transfer(true, size) * wiener).abs().square() / inverse_power
        errors.append((missed + against * wiener.abs().square()).sum((1, 2)))
    return (errors[0] / errors[1]).log()


if __name__ == "__main__":
    main()
