"""Train the meter of `deblur_cli.sharpness`: `python -m training.sharpness --photos FOLDER... --examples FOLDER --out meter.safetensors`.

Photos whose names `for_testing` says are left out: benchmarks/blurred.py measures with them.
"""

import argparse
import hashlib
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deblur_cli.sharpness._features import COUNT, features_of, turned
from deblur_cli.sharpness._meter import Meter
from deblur_cli.sharpness._places import PATCH
from training import blur
from training.degrade import add_noise, jpeg, random_tone, sharpen
from training.dice import Dice
from training.pairs import random_aperture
from training.paths import random_shake
from training.photos import SUFFIXES, softness

SIZE = 288
"""Of a picture from which patches are cut; a multiple of theirs, and of 16, as `jpeg` wants it."""
MARGIN = 48
AT_ONCE, BATCH = 250, 256
WIDEST = 24.0
SOFT_DB = 40.0
"""Above this `softness` a patch has nothing by which sharp could be told from soft before it was blurred."""


def for_testing(name: str) -> bool:
    """Every other photo; it hangs on its name alone."""
    return hashlib.sha256(name.encode()).digest()[4] % 2 == 0


def read_luminance(files: Iterable[Path]) -> list[Tensor]:
    """Photos as (1, h, w) uint8, gray."""
    return [torch.from_numpy(np.array(Image.open(path).convert("L")))[None] for path in files]


def sharp_files(folders: Iterable[Path], *, testing: bool) -> list[Path]:
    """The photos of one half; frames of videos and blurred ones are none."""
    files = sorted(
        path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES
    )
    return [path for path in files if "gopro" not in path.parent.name and for_testing(path.name) is testing]


def width_of(kernel: Tensor) -> float:
    """The diameter of the disc that spreads light as far as a kernel does: the same mean square distance from the centroid."""
    half = kernel.shape[0] // 2
    at = torch.arange(-half, half + 1.0)
    spread = (kernel.sum(0) * at**2).sum() + (kernel.sum(1) * at**2).sum()
    return math.sqrt(8 * spread.item())


def random_kernel(kind: str, dice: Dice) -> Tensor:
    """A shake or a lens of any width up to WIDEST."""
    width = dice.log_uniform(0.7, WIDEST)
    if kind == "shake":
        return blur.shake_kernel(random_shake(dice, min(1.5 * width, 2 * MARGIN - 4)))
    return blur.gaussian_kernel(width / 4) if dice.chance(0.25) else random_aperture(width / 2, dice)


def scene_of(photos: list[Tensor], size: int, dice: Dice) -> Tensor:
    """(1, size, size) in linear light, of a random photo, scaled down by a third or more: then it is sharp."""
    photo = photos[dice.integer(0, len(photos) - 1)]
    h, w = photo.shape[1:]
    side = min(round(size / dice.uniform(0.4, 0.75)), h, w)
    top, left = dice.integer(0, h - side), dice.integer(0, w - side)
    part = blur.to_linear(photo[:, top : top + side, left : left + side].float() / 255)
    scene = F.interpolate(part[None], size=(size, size), mode="bicubic", antialias=True)[0].clamp(0, 1)
    turn = dice.integer(0, 7)
    scene = scene.rot90(turn % 4, (1, 2))
    scene = scene.flip(2) if turn >= 4 else scene
    return scene * 2 ** dice.uniform(-1.5, 0.5)


def make_picture(photos: list[Tensor], dice: Dice) -> tuple[Tensor, Tensor, float, bool] | None:
    """(1, SIZE, SIZE) uint8 blurred and sharp, the blur's width and whether it is a shake's; None if nothing can be told of it.

    Sometimes it has been made larger or smaller since, noise and JPEG before or after that.
    """
    kind = dice.pick({"none": 0.15, "shake": 0.45, "lens": 0.4})
    factor = dice.pick({"1": 0.6, "larger": 0.2, "half": 0.2})
    zoom = {"1": 1.0, "larger": dice.uniform(1.2, 3), "half": 0.5}[factor]
    inner = 16 * math.ceil(SIZE / zoom / 16)
    scene = scene_of(photos, inner + 2 * MARGIN, dice)
    width, light = 0.0, scene
    if kind != "none":
        kernel = random_kernel(kind, dice)
        if kernel.shape[0] // 2 > MARGIN:
            return None
        width, light = width_of(kernel), blur.convolve(scene, kernel)
    middle = slice(MARGIN, MARGIN + inner)
    light, scene = light[:, middle, middle], scene[:, middle, middle]
    light = camera(light, dice) if factor != "larger" or dice.chance(0.5) else blur.to_srgb(light)
    sharp = blur.to_srgb(scene)
    if zoom != 1:
        bilinear = factor == "larger" and dice.chance(0.4)
        mode = "bilinear" if bilinear else "bicubic"
        light, sharp = (
            F.interpolate(x[None], scale_factor=zoom, mode=mode, antialias=zoom < 1)[
                0, :, :SIZE, :SIZE
            ].clamp(0, 1)
            for x in (light, sharp)
        )
        # An upscaled pixel is a square of `zoom` pixels, bilinear ones a tent besides: 8 times the variances of both axes.
        own = (zoom**2 - 1) * (4 if bilinear else 4 / 3) if zoom > 1 else 0.0
        width = math.sqrt((zoom * width) ** 2 + own)
        if factor == "larger" and dice.chance(0.5):
            light = finish(light, dice)
    return eight_bits(light), eight_bits(sharp), width, kind == "shake"


def eight_bits(picture: Tensor) -> Tensor:
    """0..1 -> uint8."""
    return (picture * 255).round().clamp(0, 255).byte()


def camera(light: Tensor, dice: Dice) -> Tensor:
    """Noise, tone, sharpening, JPEG: (1, h, w) linear -> sRGB."""
    if dice.chance(0.75):
        sigma = 0.06 * dice.uniform(0, 1) ** 2
        light = add_noise(
            light,
            sigma,
            dice,
            read_share=dice.uniform(0, 0.3),
            grain=dice.uniform(0.4, 1.0) if dice.chance(0.5) else 0.0,
        )
    srgb = blur.to_srgb(light)
    srgb = random_tone(dice)(srgb) if dice.chance(0.3) else srgb
    if dice.chance(0.2):
        srgb = sharpen(srgb, dice.uniform(0.2, 0.8), dice.uniform(0.7, 1.5))
    return finish(srgb, dice)


def finish(srgb: Tensor, dice: Dice) -> Tensor:
    """JPEG or only 8 bits."""
    if dice.chance(0.6):
        return jpeg(srgb.expand(3, -1, -1), round(98 - 58 * dice.uniform(0, 1) ** 1.5), subsample=False)[:1]
    return (srgb * 255).round() / 255


def patches_of(picture: Tensor, sharp: Tensor) -> Tensor:
    """(n, PATCH, PATCH) 0..1: those parts of a picture, cut into squares, that were sharp before."""
    squares = [
        x[0].float().div(255).unfold(0, PATCH, PATCH).unfold(1, PATCH, PATCH).flatten(0, 1)
        for x in (picture, sharp)
    ]
    telling = [softness(blur.to_linear(square).expand(3, -1, -1)) < SOFT_DB for square in squares[1]]
    return squares[0][torch.tensor(telling)]


def make_examples(photos: list[Tensor], numbers: range) -> Tensor:
    """(n, COUNT + 2): features, and what they mean: the blur's width, and 1 for a shake."""
    rows = []
    for number in numbers:
        made = make_picture(photos, Dice(77, number))
        if made and len(patches := patches_of(*made[:2])):
            features = features_of(patches)
            truth = torch.tensor(made[2:]).float()
            rows.append(torch.cat([features, truth.expand(len(features), 2)], 1))
    return torch.cat(rows)


def loss_of(answers: Tensor, widths: Tensor, shaken: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The likelihood of widths whose errors are Laplace's, and of kinds where the blur is wide enough to have one; both, and the error in octaves."""
    target = torch.log2(1 + widths)
    error = (answers[:, 0] - target).abs()
    scale = answers[:, 1].clamp(-4, 2)
    width_loss = (error * torch.exp(-scale) + scale).mean()
    seen = (widths > 2).float()
    kind_loss = (
        F.binary_cross_entropy_with_logits(answers[:, 2], shaken, reduction="none") * seen
    ).sum() / seen.sum().clamp_min(1)
    return width_loss + kind_loss, error.mean(), kind_loss


def learn(meter: Meter, examples: Tensor, epochs: int) -> None:
    """In batches of BATCH, at a rate that falls to nothing. Features are made even for it, which its first layer then takes over."""
    both = torch.cat([examples[:, :COUNT], examples[:, turned()]])
    spread, mean = torch.std_mean(both, 0)
    examples = torch.cat([(examples[:, :COUNT] - mean) / spread, examples[:, COUNT:]], 1)
    optimizer = torch.optim.AdamW(meter.parameters(), 2e-3, weight_decay=0.02)
    steps = len(examples) // BATCH
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * steps)
    for epoch in range(epochs):
        order, sums = torch.randperm(len(examples), generator=torch.Generator().manual_seed(epoch)), []
        for rows in order[: steps * BATCH].view(steps, BATCH):
            features, widths, shaken = examples[rows].split((COUNT, 1, 1), 1)
            features = features + 0.05 * torch.randn_like(features)
            loss, *figures = loss_of(meter(features), widths[:, 0], shaken[:, 0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            sums.append(torch.stack(figures).detach())
        print(f"{epoch}:", *(f"{x:.3f}" for x in torch.stack(sums).mean(0).tolist()), flush=True)
    first = next(layer for layer in meter.layers if isinstance(layer, nn.Linear))
    with torch.no_grad():
        first.weight.div_(spread)
        first.bias.sub_(first.weight @ mean)


def main() -> None:
    """Make examples, some at a time, and learn from all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--examples", type=Path, required=True, help="a folder that keeps them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.examples.mkdir(parents=True, exist_ok=True)
    photos: list[Tensor] = []
    for first in range(0, options.pictures, AT_ONCE):
        path = options.examples / f"{first:06d}.safetensors"
        if not path.exists():
            photos = photos or read_luminance(sharp_files(options.photos, testing=False))
            save_file({"rows": make_examples(photos, range(first, first + AT_ONCE))}, path)
            print(path, flush=True)
    torch.manual_seed(0)
    meter = Meter()
    rows = [load_file(path)["rows"] for path in sorted(options.examples.glob("*.safetensors"))]
    learn(meter.train(), torch.cat(rows), options.epochs)
    save_file(meter.state_dict(), options.out)


if __name__ == "__main__":
    main()
