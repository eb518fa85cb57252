"""Cases for the judge: `python -m training.shake.judge_cases --photos FOLDER --out FILE --count 500`, about 1.5 s each on one core.

Each photo is deconvolved by what the estimation makes of it (the last kernel, the polished one, an earlier one), by its true kernel as a good estimate has it, and by
wrong ones. Half of the photos are not shaken: sharp, out of focus, soft, with a background meant so, with a thing that moves, averaged video.
"""

import argparse
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
from deblur_cli.shake._deconvolve import deconvolve_part, measure_noise, prior_weight
from deblur_cli.shake._judge import CELL, compared
from deblur_cli.shake._kernels import rescaled
from deblur_cli.shake._predictor import Predictor, load_predictor
from training.blur import convolve, gaussian_kernel, to_linear, to_srgb
from training.degrade import add_noise, jpeg
from training.dice import Dice
from training.pairs import (
    expose,
    moving_object,
    random_gaussian,
    random_lens,
    shallow_focus,
    varying_shake,
)
from training.photos import Photos, random_crop, read_photos
from training.shake.kernels import hand_path, nearly_right, random_kernel, wrong
from training.validation import eight_bits

SIZE, MARGIN = 256, 48
KINDS = {
    "shake": 0.5,
    "sharp": 0.1,
    "lens": 0.1,
    "object": 0.07,
    "gaussian": 0.06,
    "shallow": 0.06,
    "video": 0.06,
    "varying": 0.05,
}


def make_photo(photos: Photos, dice: Dice) -> tuple[str, Tensor, Tensor, Tensor]:
    """Its kind, blurry and sharp (3, SIZE, SIZE) sRGB, and the kernel if it is of the kind "shake"."""
    kind = dice.pick(KINDS) if photos.videos else "shake"
    kernel = random_kernel(dice, dice.log_uniform(2, 36))
    if kind == "video":
        frames = next(iter(photos.videos.values()))
        count = 2 * dice.integer(2, 6) + 1
        first = dice.integer(0, len(frames) - count)
        squares = expose(random_crop(frames[first : first + count], SIZE + 2 * MARGIN, dice), dice)
        blurry, sharp = torch.stack(squares).mean(0), squares[count // 2]
    else:
        blurry, sharp = _blurred(kind, _scene(photos, dice), photos, kernel, dice)
    inside = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    blurry, sharp = blurry[inside].clamp(0, 1), sharp[inside]
    noise = dice.log_uniform(0.0008, 0.025)
    grain = add_noise(blurry, noise, dice, read_share=dice.uniform(0, 1))
    photo = to_srgb(grain)
    if dice.chance(0.3):
        photo = jpeg(photo, dice.integer(75, 97), subsample=dice.chance(0.5))
    return kind, eight_bits(photo), to_srgb(sharp), kernel


def _scene(photos: Photos, dice: Dice) -> Tensor:
    names = list(photos.sharp)
    photo, whole = photos.sharp[names[dice.integer(0, len(names) - 1)]], SIZE + 2 * MARGIN
    part = random_crop([photo], min(900, round(whole / dice.uniform(0.4, 1.0))), dice)[0]
    part = F.interpolate(part[None], size=(whole, whole), mode="bicubic", antialias=True)[0].clamp(0, 1)
    return expose([part], dice)[0]


def _blurred(kind: str, scene: Tensor, photos: Photos, kernel: Tensor, dice: Dice) -> tuple[Tensor, Tensor]:
    if kind == "object":
        return moving_object(scene, photos, [kernel], dice)
    if kind == "varying":
        return varying_shake(scene, hand_path(dice, dice.uniform(2, 20)), dice), scene
    if kind == "shallow":
        scene = shallow_focus(scene, dice)
        return (convolve(scene, kernel) if dice.chance(0.4) else scene), scene
    blurs = {"shake": kernel, "lens": random_lens(dice), "gaussian": random_gaussian(dice)}
    return (convolve(scene, blurs[kind]) if kind in blurs else scene), scene


def guesses(grey: Tensor, predictor: Predictor, start: Tensor) -> list[Tensor]:
    """(n, n) kernels: one for every scale, and the last polished."""
    kernels, found = start, []
    for number, frame in enumerate(search.pyramid(grey, measure_noise(grey[None]))):
        kernels = search.grown(kernels) if number else kernels
        regions = search.telling_regions(frame)
        together = torch.ones(1, len(regions.light))
        kernels = search.fit(kernels, regions, predictor, together, turns=5)
        found.append(rescaled(kernels, 1 / frame.scale)[0])
        if search.is_full(kernels):
            break
    polished = search.polish(kernels, regions, frame, together)
    return [*found, rescaled(polished, 1 / frame.scale)[0]]


def kernels_to_judge(
    kind: str, grey: Tensor, kernel: Tensor, predictor: Predictor, dice: Dice
) -> list[Tensor]:
    """What the estimation gives, and others that are known to be good or bad."""
    starts = search.starts(grey.device)
    found = guesses(grey, predictor, starts[0] if dice.chance(0.6) else starts[1])
    chosen = found[-2:]
    if len(found) > 3 and dice.chance(0.3):
        chosen.append(found[-3])
    if kind == "shake":
        chosen.append(nearly_right(kernel, dice))
        if dice.chance(0.3):
            chosen.append(wrong(kernel, dice))
    elif dice.chance(0.5):
        chosen.append(random_kernel(dice, dice.uniform(2, 14)))
    else:
        chosen.append(nearly_right(gaussian_kernel(dice.uniform(0.7, 2.5)), dice))
    return [each for each in chosen if each.shape[0] % 2 and each.isfinite().all()]


def errors_of(photo: Tensor, sharp: Tensor) -> Tensor:
    """(h, w) grey sRGB both -> mean squared error of each cell."""
    return F.avg_pool2d((photo - sharp).square()[None, None], CELL)[0, 0]


@torch.no_grad()
def make_cases(
    photos: Photos, network: Restormer, predictor: Predictor, dice: Dice
) -> list[tuple[Tensor, Tensor]]:
    """For each kernel what `Judge` is shown, (3, h, w) uint8, and the errors before, after and of the network alone, (3, h / 16, w / 16)."""
    kind, photo, sharp, kernel = make_photo(photos, dice)
    light = to_linear(photo)
    grey, weight = light.mean(0), prior_weight(measure_noise(light))
    target = to_srgb(to_linear(sharp).mean(0))
    alone = to_srgb(to_linear(stream.run(network, photo[None])[0].clamp(0, 1)).mean(0))
    cases = []
    for guess in kernels_to_judge(kind, grey, kernel, predictor, dice):
        after = deconvolve_part(grey[None], guess, weight)
        shown = (compared(grey[None], after, guess[None])[0] * 255).round().byte()
        errors = [errors_of(each, target) for each in (to_srgb(grey), to_srgb(after[0]), alone)]
        cases.append((shown, torch.stack(errors)))
    return cases


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m training.shake.judge_cases", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photos, as for training")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file")
    parser.add_argument("--count", type=int, default=500, help="photos")
    parser.add_argument("--seed", type=int, default=1, help="another for each process")
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos, _ = read_photos(args.photos)
    network, predictor = load_model(find_weights_file("compact")[0]), load_predictor(torch.device("cpu"))
    cases = []
    for number in range(args.count):
        cases += make_cases(photos, network, predictor, Dice(31337, args.seed, number))
        if (number + 1) % 20 == 0 or number + 1 == args.count:
            shown, errors = (torch.stack(each) for each in zip(*cases, strict=True))
            save_file({"shown": shown, "errors": errors}, args.out)
            print(f"{number + 1} photos, {len(cases)} cases", flush=True)


if __name__ == "__main__":
    main()
