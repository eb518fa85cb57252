"""Cases for the judge and the fusion: `python -m training.shake.cases --photos FOLDER --out FOLDER --minutes 60`.

Each photo is deconvolved by what the estimation makes of it, from some of its starts, by its true kernel as a good estimate has it, and by
wrong ones. Half of the photos are not shaken: sharp, out of focus, soft, with a background meant so, with a thing that moves, averaged video.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from deblur_cli import stream
from deblur_cli.api import find_weights_file
from deblur_cli.loader import load_model
from deblur_cli.model import Restormer
from deblur_cli.shake import _estimate as search
from deblur_cli.shake._agreed import climb, starts
from deblur_cli.shake._curve import Curve
from deblur_cli.shake._deconvolve import deconvolve_twice, measure_noise, prior_weight
from deblur_cli.shake._edges import kernels_of_edges
from deblur_cli.shake._find import SIDES
from deblur_cli.shake._judge import rest_of
from deblur_cli.shake._kernels import Shake, rescaled
from deblur_cli.shake._parts import in_parts
from deblur_cli.shake._predictor import Predictor, load_predictor
from deblur_cli.shake._roll import shake_of
from deblur_cli.shake._rolling import risen
from training.blur import convolve, gaussian_kernel, shake_kernel, to_linear
from training.degrade import add_noise, jpeg, random_tone
from training.dice import Dice
from training.pairs import (
    expose,
    moving_object,
    random_gaussian,
    random_lens,
    shallow_focus,
    varying_shake,
)
from training.paths import random_shake
from training.photos import Photos, random_crop, read_photos, sharp_crop
from training.shake.aligned import moved, offset
from training.shake.kernels import nearly_right, random_kernel, wrong
from training.validation import eight_bits

SIZE, MARGIN = 256, 48
KINDS = {
    "shake": 0.52,
    "sharp": 0.07,
    "lens": 0.08,
    "object": 0.06,
    "gaussian": 0.04,
    "shallow": 0.05,
    "video": 0.05,
    "varying": 0.13,
}
SHAKEN = {"shake", "varying"}
"""Kinds that a kernel belongs to; of the second it is that of the middle of the roll."""
OWN_TONE = 0.3
"""Of photos that come from a camera with a curve of its own."""
PHOTOS_A_FILE = 16
MOST_MOVED = 8.0
"""Pixels: what lies further off is no shake that was found."""
IN_VALUES, MISTAKEN = 0.3, 0.3
"""Of photos whose blur added up in values, and of guesses that take a photo for the other kind."""
GREY = 0.2
"""Of photos without colours."""
AT_NIGHT = 0.12
"""Of scenes that are dark, with lamps."""
ROLLED = 0.3
"""Of the shaken photos that are undone as of a camera that also rolled, too."""


def make_photo(
    photos: Photos, curve: Curve, dice: Dice, kind: str | None = None
) -> tuple[str, Tensor, Tensor, Tensor]:
    """Its kind, blurry and sharp (3, SIZE, SIZE) sRGB, and the kernel if it is of a SHAKEN kind. curve: in which blurs add up; kind: drawn if none is given."""
    kind = kind or (dice.pick(KINDS) if photos.videos else "shake")
    path = random_shake(dice, dice.log_uniform(2, 30))
    kernel = shake_kernel(path)
    if kind == "video":
        frames = next(iter(photos.videos.values()))
        count = 2 * dice.integer(2, 6) + 1
        first = dice.integer(0, len(frames) - count)
        exposed = expose(random_crop(frames[first : first + count], SIZE + 2 * MARGIN, dice), dice)
        squares = [curve.of(square) for square in exposed]
        blurry, sharp = torch.stack(squares).mean(0), squares[count // 2]
    else:
        blurry, sharp = _blurred(kind, curve.of(_scene(photos, dice)), photos, path, dice)
    inside = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return kind, *taken(blurry[inside], sharp[inside], curve, dice), kernel


def taken(blurry: Tensor, sharp: Tensor, curve: Curve, dice: Dice) -> tuple[Tensor, Tensor]:
    """What added up as a camera writes it down: noise, sometimes a curve of its own, 8-bit sRGB, sometimes JPEG; and the sharp one as it would have."""
    noise = dice.log_uniform(0.0008, 0.03)
    photo = curve.srgb(add_noise(blurry.clamp(0, 1), noise, dice, read_share=dice.uniform(0, 1)))
    quality, subsample = (dice.integer(75, 97) if dice.chance(0.3) else None), dice.chance(0.5)
    tone = random_tone(dice) if dice.chance(OWN_TONE) else torch.clone
    photo = tone(photo)
    return eight_bits(jpeg(photo, quality, subsample=subsample) if quality else photo), tone(
        curve.srgb(sharp)
    )


def _scene(photos: Photos, dice: Dice) -> Tensor:
    names, whole = list(photos.sharp), SIZE + 2 * MARGIN

    def draw() -> Tensor:
        photo = photos.sharp[names[dice.integer(0, len(names) - 1)]]
        part = random_crop([photo], min(900, round(whole / dice.uniform(0.4, 1.0))), dice)[0]
        return F.interpolate(part[None], size=(whole, whole), mode="bicubic", antialias=True)[0].clamp(0, 1)

    scene = expose([sharp_crop(draw, MARGIN)], dice)[0]
    return _lit(scene, dice) if dice.chance(AT_NIGHT) else scene


def _lit(scene: Tensor, dice: Dice) -> Tensor:
    """Darker, with lamps of 2 to 20 times what a sensor can hold."""
    scene = dice.uniform(0.1, 0.6) * scene
    for _ in range(dice.integer(2, 10)):
        side = dice.integer(1, 5)
        top, left = (dice.integer(0, length - side) for length in scene.shape[1:])
        scene[:, top : top + side, left : left + side] = dice.log_uniform(2, 20)
    return scene


def _blurred(kind: str, scene: Tensor, photos: Photos, path: Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
    kernel = shake_kernel(path)
    if kind == "object":
        return moving_object(scene, photos, [kernel], dice)
    if kind == "varying":
        return varying_shake(scene, path, dice), scene
    if kind == "shallow":
        scene = shallow_focus(scene, dice)
        return (convolve(scene, kernel) if dice.chance(0.4) else scene), scene
    blurs = {"shake": kernel, "lens": random_lens(dice), "gaussian": random_gaussian(dice)}
    return (convolve(scene, blurs[kind]) if kind in blurs else scene), scene


def other_kernel(kind: str, kernel: Tensor, dice: Dice) -> Tensor:
    """(n, n): one that the estimation might have come to, or might not."""
    if kind in SHAKEN:
        return wrong(kernel, dice) if dice.chance(0.25) else nearly_right(kernel, dice)
    if dice.chance(0.5):
        return random_kernel(dice, dice.uniform(2, 14))
    return nearly_right(gaussian_kernel(dice.uniform(0.7, 2.5)), dice)


@torch.no_grad()
def make_cases(photos: Photos, network: Restormer, predictor: Predictor, dice: Dice) -> dict[str, Tensor]:
    """One photo, undone by each of several kernels k, as bytes: photo, alone and truth (1, 3, h, w), the second of the network alone; sparse, linear and there
    (k, 3, h, w) and rest (k, h, w).

    there: the truth moved to where the deconvolved photo has it.
    """
    curve = Curve.VALUES if dice.chance(IN_VALUES) else Curve.LIGHT
    kind, photo, sharp, kernel = make_photo(photos, curve, dice)
    if dice.chance(GREY):
        photo, sharp = (each[:1].expand(3, -1, -1) for each in (photo, sharp))
    light = to_linear(photo[:1] if photo[0].equal(photo[2]) else photo)
    summed = {each: each.of(light) for each in Curve}
    weights = {each: prior_weight(measure_noise(planes)) for each, planes in summed.items()}
    alone = stream.run(network, photo[None]).clamp(0, 1)
    cases: list[tuple[Tensor, ...]] = []
    for shake in _guesses(kind, light, curve, kernel, predictor, dice):
        if shake.kernels.isfinite().all():
            sparse, linear, rest = _undone(summed[shake.curve], shake, weights[shake.curve])
            away = offset(sharp.mean(0, keepdim=True), sparse.mean(0, keepdim=True), MOST_MOVED)
            cases.append((sparse, linear, moved(sharp[None], away)[0].clamp(0, 1), rest))
    stacked = (torch.stack(each) for each in zip(*cases, strict=True))
    made = {"photo": photo[None], "alone": alone, "truth": sharp[None]}
    made |= dict(zip(("sparse", "linear", "there", "rest"), stacked, strict=True))
    return {name: (tensor * 255).round().byte() for name, tensor in made.items()}


def _undone(summed: Tensor, shake: Shake, weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """(c, h, w) of what adds up -> sparse and linear, (3, h, w) sRGB, and their rest, (h, w)."""
    c, curve = len(summed), shake.curve

    def work(part: Tensor, guess: Tensor) -> Tensor:
        sparse, linear = deconvolve_twice(part, guess, weight, curve)
        return torch.cat([sparse, linear, rest_of(part, sparse, guess, curve)[None]])

    undone = in_parts(summed, shake, work, 2 * c + 1)
    sparse, linear = (curve.srgb(each).expand(3, -1, -1) for each in (undone[:c], undone[c:-1]))
    return sparse, linear, undone[-1]


def _guesses(
    kind: str, light: Tensor, curve: Curve, kernel: Tensor, predictor: Predictor, dice: Dice
) -> Iterator[Shake]:
    """What the estimation makes of it, in each of its ways, and others; of shaken photos one that is right, or nearly.

    curve: in which it blurred; some guesses take it for the other.
    """
    other_curve = Curve.LIGHT if curve is Curve.VALUES else Curve.VALUES

    def taken_for() -> Curve:
        return other_curve if dice.chance(MISTAKEN) else curve

    if kind in SHAKEN:
        yield _everywhere(kernel if dice.chance(0.4) else nearly_right(kernel, dice), taken_for())
    other = other_kernel(kind, kernel, dice)
    if other.shape[0] % 2:
        yield _everywhere(other, taken_for())
    pyramids = {each: search.pyramid(light, each) for each in Curve}
    last = {each: frames[-1] for each, frames in pyramids.items()}
    for side in SIDES:
        for each, by_edges in zip(last, kernels_of_edges(list(last.values()), side), strict=True):
            if each is curve or dice.chance(2 * MISTAKEN):
                yield _everywhere(by_edges, each)
    for _ in range(2):
        frames = pyramids[taken_for()]
        scales, lines = [{frame.curve: frame} for frame in frames], starts(light.device, frames[0].curve)
        (guess,) = climb(
            [lines[dice.integer(0, len(lines) - 1)]], scales, predictor, lambda *_: 0.0, lambda _: None
        )
        yield _found(guess, frames[-1])
    if dice.chance(ROLLED) and guess.before:
        first = guess.before
        finer = [frame for frame in frames if not first.frame or frame.scale >= first.frame.scale]
        yield shake_of(risen(first.kernels[0], finer, predictor))


def _found(guess: search.Guess, last: search.Frame) -> Shake:
    scale = (guess.frame or last).scale
    return _everywhere(rescaled(guess.kernels, 1 / scale)[0], guess.curve)


def _everywhere(kernel: Tensor, curve: Curve) -> Shake:
    return Shake(kernel[None, None], torch.ones(1, 1), curve)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m training.shake.cases", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photos, as for training")
    parser.add_argument("--out", type=Path, required=True, help="folder of safetensors files")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--start", type=int, default=0, help="number of the first file: other photos")
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos, _ = read_photos(args.photos)
    network, predictor = load_model(find_weights_file("compact")[0]), load_predictor(torch.device("cpu"))
    args.out.mkdir(exist_ok=True)
    number, ends = args.start, time.monotonic() + 60 * args.minutes
    while time.monotonic() < ends:
        made = [make_cases(photos, network, predictor, Dice(31337, number, i)) for i in range(PHOTOS_A_FILE)]
        file = {name: torch.cat([each[name] for each in made]) for name in made[0]}
        file["of"] = torch.cat([torch.full((len(each["rest"]),), i) for i, each in enumerate(made)])
        path = args.out / f"{number:06d}.safetensors"
        save_file(file, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)
        number += 1


if __name__ == "__main__":
    main()
