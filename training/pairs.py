"""One training pair: a sharp photo and what a shaking, misfocused, noisy camera would have made of it.

`make_pair` follows the light: scene, exposure, depth of field, blur, clipping, noise, sRGB, tone, sharpening, JPEG. The strengths are those users have: mostly
mild and moderate, because a small network cannot undo very large blur, and learns less from everything else if it must try.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training import blur, paths
from training.blur import Sum
from training.degrade import Tone, add_noise, jpeg, random_tone, sharpen
from training.dice import Dice
from training.motion import camera_in_motion, layers_in_motion
from training.photos import Photos, random_crop, sharp_crop

MARGIN = 40
"""Pixels around a crop that the blur may draw on; wider kernels are drawn again, smaller."""
GRID = 16
"""A JPEG's blocks may begin anywhere: so many pixels more are compressed than are used."""

KINDS = {
    "shake": 0.22,
    "camera": 0.10,
    "lens": 0.18,
    "gaussian": 0.11,
    "product": 0.09,
    "video": 0.12,
    "layers": 0.08,
    "sharp": 0.10,
}
OTHER_SUMS, OTHER_TONES = 0.4, 0.3
"""How often something else than light adds up, and how often the photo then has another curve than sRGB's."""


@dataclass(frozen=True)
class Mix:
    """How often a pair has what makes it hard.

    far: shake beyond 15 px; soft: a target that may be out of focus; shallow: one made so in a part; the others as they say.
    """

    far: float
    soft: float
    shallow: float
    noise: float
    sharpening: float
    jpeg: float


EASY = Mix(far=0.0, soft=0.0, shallow=0.0, noise=0.1, sharpening=0.1, jpeg=0.1)
"""For the trunk: blur is learned fastest where it can be seen."""
FULL = Mix(far=0.3, soft=1.0, shallow=0.15, noise=0.4, sharpening=0.25, jpeg=0.4)
"""For the cooldown: what users have."""


@dataclass(frozen=True)
class Pair:
    """blurry and sharp: (3, size, size) sRGB 0..1, the first in 8-bit steps. kind: one of KINDS."""

    blurry: Tensor
    sharp: Tensor
    kind: str


def make_batch(photos: Photos, size: int, count: int, dice: Dice, mix: Mix) -> tuple[Tensor, Tensor]:
    """(count, 3, size, size) blurry and sharp, of kinds drawn by their shares."""
    pairs = [make_pair(photos, size, dice.pick(KINDS), dice, mix) for _ in range(count)]
    return torch.stack([pair.blurry for pair in pairs]), torch.stack([pair.sharp for pair in pairs])


def make_pair(photos: Photos, size: int, kind: str, dice: Dice, mix: Mix) -> Pair:
    """A pair of one kind."""
    if kind == "video" and not photos.videos:
        kind = "shake"
    whole = size + GRID + 2 * MARGIN
    sums = random_sum(dice)
    if kind == "video":
        blurry, sharp = _video(photos, whole, sums, dice)
    else:

        def draw() -> Tensor:
            return random_crop([_any(photos, dice)], whole, dice)[0]

        scene = draw() if kind == "sharp" or dice.chance(mix.soft) else sharp_crop(draw, MARGIN)
        scene = expose([scene], dice)[0]
        if dice.chance(mix.shallow):
            scene = shallow_focus(scene, dice)
        blurry, sharp = (sums.light(x) for x in _blur(sums.of(scene), photos, kind, sums, dice, mix))
    middle = slice(MARGIN, MARGIN + size + GRID)
    blurry, sharp = blurry[:, middle, middle].clamp(0, 1), sharp[:, middle, middle]
    tone = random_tone(dice) if dice.chance(OTHER_TONES) else no_tone
    if kind == "sharp":  # left as it is, faults and all: target = input
        blurry = sharp = finish(sharp, tone, dice, mix, mild=True)
    else:
        blurry, sharp = finish(blurry, tone, dice, mix), tone(blur.to_srgb(sharp))
    top, left = dice.integer(0, GRID), dice.integer(0, GRID)
    inside = (..., slice(top, top + size), slice(left, left + size))
    return Pair(blurry[inside], sharp[inside], kind)


def random_sum(dice: Dice) -> Sum:
    """Light mostly; else sRGB values themselves, as in benchmarks of averaged frames, or a power of them."""
    if not dice.chance(OTHER_SUMS):
        return Sum(None)
    return Sum(1.0 if dice.chance(0.4) else dice.uniform(1, 2.8))


def no_tone(srgb: Tensor) -> Tensor:
    """sRGB as it is."""
    return srgb


def _any(photos: Photos, dice: Dice) -> Tensor:
    sharp = list(photos.sharp.values())
    return sharp[dice.integer(0, len(sharp) - 1)]


def expose(frames: list[Tensor], dice: Dice) -> list[Tensor]:
    """Another exposure and another light: gains in linear light. Highlights may go beyond 1, and clip after the blur."""
    gain = 2 ** dice.uniform(-0.8, 0.4) * torch.tensor([2 ** dice.uniform(-0.25, 0.25) for _ in range(3)])
    glow = (
        dice.uniform(0, 6) if dice.chance(0.3) else 0.0
    )  # how far the clipped highlights of the photo reach beyond 1
    saturation = dice.uniform(0.3, 1.3)
    result = []
    for frame in frames:
        frame = frame + glow * (frame - 0.85).clamp_min(0)
        frame = (frame - frame.mean(0)) * saturation + frame.mean(0)
        result.append(frame.clamp_min(0) * gain[:, None, None].to(frame.device))
    return result


def shallow_focus(scene: Tensor, dice: Dice) -> Tensor:
    """A part of the scene out of focus, meant so: what lies within a shape or around it, with an edge from hard to a slow transition.

    A network that has only seen targets sharp all over makes such backgrounds crisper than they were.
    """
    kernel = random_aperture(dice.log_uniform(1.5, 12), dice)
    half = kernel.shape[0] // 2
    soft = blur.convolve(F.pad(scene[None], (half,) * 4, "reflect")[0], kernel)[..., half:-half, half:-half]
    size = scene.shape[-1]
    mask = random_shape(size, dice, edge=dice.log_uniform(2, size / 3), off=0.5).to(scene.device)
    return torch.lerp(scene, soft, mask if dice.chance(0.5) else 1 - mask)


def random_shape(
    size: int, dice: Dice, *, edge: float = 2.0, off: float = 0.0, larger: float = 1.0
) -> Tensor:
    """A round mask with bulges, (1, size, size) in 0..1.

    edge: its width in pixels; off: how far the middle may lie from the centre, in half sizes; larger: how many times as large as usual.
    """
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    y, x = y - dice.uniform(-off, off), x - dice.uniform(-off, off)
    angle, turn, waves = torch.atan2(y, x), dice.uniform(0, 6.28), dice.integer(2, 5)
    outline = larger * dice.uniform(0.3, 0.8) * (1 + 0.25 * torch.cos(waves * angle + turn))
    return ((outline - torch.hypot(x, y)) * size / (2 * edge) + 0.5).clamp(0, 1)[None]


def random_shake(dice: Dice, mix: Mix) -> Tensor:
    """A path of a hand, as wide as `random_reach` says."""
    return paths.random_shake(dice, random_reach(dice, mix))


def random_reach(dice: Dice, mix: Mix) -> float:
    """1 to 15 px or, so often as the mix says, 15 to 40 px."""
    return dice.uniform(15, 40) if dice.chance(mix.far) else dice.uniform(1, 15)


def random_lens(dice: Dice) -> Tensor:
    """Radius 0.5 to 8 px, mostly small."""
    return random_aperture(0.5 + 7.5 * dice.uniform(0, 1) ** 2, dice)


def random_aperture(radius: float, dice: Dice) -> Tensor:
    """A disc or an aperture of 5 to 8 blades."""
    return blur.lens_kernel(radius, 0 if dice.chance(0.4) else dice.integer(5, 8), dice.uniform(0, math.pi))


def random_gaussian(dice: Dice) -> Tensor:
    """Sigma 0.4 to 4 px, mostly small; as wide as high or down to a third of it."""
    sigma = 0.4 + 3.6 * dice.uniform(0, 1) ** 2
    return blur.gaussian_kernel(
        sigma, 1.0 if dice.chance(0.5) else dice.uniform(0.33, 1), dice.uniform(0, math.pi)
    )


def random_kernels(kind: str, dice: Dice, mix: Mix) -> list[Tensor]:
    """The kernels of one kind that is the same all over the frame."""
    kernels = []
    if kind in ("shake", "product"):
        kernels.append(blur.shake_kernel(random_shake(dice, mix)))
    if kind == "lens" or (kind == "product" and dice.chance(0.5)):
        kernels.append(random_lens(dice))
    elif kind in ("gaussian", "product"):
        kernels.append(random_gaussian(dice))
    return kernels


def _blur(scene: Tensor, photos: Photos, kind: str, sums: Sum, dice: Dice, mix: Mix) -> tuple[Tensor, Tensor]:
    if kind == "sharp":
        return scene, scene
    if kind == "camera":
        return camera_in_motion(scene, dice, random_reach(dice, mix), MARGIN), scene
    if kind == "layers":
        things = [_thing(scene.shape[-1], photos, sums, dice) for _ in range(dice.integer(1, 3))]
        return layers_in_motion(scene, things, dice, min(random_reach(dice, mix), MARGIN - 2))
    kernels = random_kernels(kind, dice, mix)
    while sum(kernel.shape[0] // 2 for kernel in kernels) > MARGIN:
        kernels = random_kernels(kind, dice, mix)
    return blur.convolve(scene, *kernels), scene


def varying_shake(scene: Tensor, path: Tensor, dice: Dice) -> Tensor:
    """A path of the camera together with a roll about a point anywhere in or near the frame: up to 12 px at the crop's corners.

    The crop's margin stays black.
    """
    path = path[:: max(1, len(path) // 24)]  # a step of the path may be as long as a pixel or two
    path = path - path.mean(0)
    roll = paths.random_path(dice, 1.0)[:, 0]
    roll = roll[torch.linspace(0, len(roll) - 1, len(path)).long()]
    size = scene.shape[-1]
    angles = (roll - roll.mean()) * dice.uniform(2, 12) / (0.7 * size)
    centre = (dice.uniform(-1, 1) * size / 2, dice.uniform(-1, 1) * size / 2)
    return blur.shake_with_rotation(scene, path, angles, centre, MARGIN)


def _thing(size: int, photos: Photos, sums: Sum, dice: Dice) -> tuple[Tensor, Tensor]:
    """A part of another photo, of any shape, anywhere: as in `layers_in_motion`."""
    other = expose(random_crop([_any(photos, dice)], size, dice), dice)[0]
    mask = random_shape(size, dice, edge=dice.log_uniform(1.5, 6), off=0.7, larger=dice.uniform(0.3, 1))
    return sums.of(other), mask.to(other.device)


def moving_object(scene: Tensor, photos: Photos, kernels: list[Tensor], dice: Dice) -> tuple[Tensor, Tensor]:
    """A soft-edged object from another photo moves over a still scene, or the scene moves behind a still object."""
    size = scene.shape[-1]
    other = expose(random_crop([_any(photos, dice)], size, dice), dice)[0]
    mask = random_shape(size, dice).to(scene.device)
    sharp = scene * (1 - mask) + other * mask
    if dice.chance(0.3):
        return blur.convolve(scene, *kernels) * (1 - mask) + other * mask, sharp
    return scene * (1 - blur.convolve(mask, *kernels)) + blur.convolve(other * mask, *kernels), sharp


def _video(photos: Photos, size: int, sums: Sum, dice: Dice) -> tuple[Tensor, Tensor]:
    """5 to 13 consecutive frames averaged; the middle one is sharp."""
    videos = list(photos.videos.values())
    frames = videos[dice.integer(0, len(videos) - 1)]
    count = 2 * dice.integer(2, 6) + 1
    first = dice.integer(0, len(frames) - count)
    squares = expose(random_crop(frames[first : first + count], size, dice), dice)
    return sums.light(sums.of(torch.stack(squares)).mean(0)), squares[count // 2].clone()


def finish(linear: Tensor, tone: Tone, dice: Dice, mix: Mix, *, mild: bool = False) -> Tensor:
    """From the sensor's light to the file's 8 bits. tone: the camera's curve after sRGB's. mild: noise up to 1 %, quality from 75, no sharpening."""
    if dice.chance(mix.noise):
        sigma = (0.01 if mild else 0.04) * dice.uniform(0, 1) ** 2
        grain = dice.uniform(0.4, 1.0) if dice.chance(0.5) else 0.0
        linear = add_noise(linear, sigma, dice, read_share=dice.uniform(0, 0.2), grain=grain)
    srgb = tone(blur.to_srgb(linear))
    if not mild and dice.chance(mix.sharpening):
        srgb = sharpen(srgb, dice.uniform(0.2, 1.0), dice.uniform(0.7, 1.5))
    if dice.chance(mix.jpeg):
        quality = dice.integer(75, 98) if mild else round(98 - 58 * dice.uniform(0, 1) ** 1.5)
        return jpeg(srgb, quality, subsample=dice.chance(0.6))
    return (srgb * 255).round() / 255
