"""Photos with and without camera shake, made so that nothing in the program was tuned on them.

The shakes come from another generator than those of training: rates of rotation as gyroscopes in hands record them (slow drift whose power falls with
the frequency, and a tremor of 8 to 12 Hz), integrated over an exposure; besides them pauses, jerks and straight lines. The photos are those that training holds out.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from training import blur
from training.degrade import add_noise, jpeg, random_tone, sharpen
from training.dice import Dice
from training.pairs import moving_object, random_lens
from training.photos import Photos, read_photos
from training.validation import eight_bits

from deblur_cli.shake import Curve

SIZE = (512, 768)
MARGIN = 48
RATE_HZ = 1000.0
SEED = 2_000_003


@dataclass(frozen=True)
class Case:
    """A pair, (3, h, w) in 8-bit steps of 0..1. kernel: (n, n), the true one where there is just one. curve: what it blurred."""

    group: str
    blurry: Tensor
    sharp: Tensor
    kernel: Tensor | None
    curve: Curve = Curve.LIGHT


def gyroscope_path(dice: Dice, extent: float) -> Tensor:
    """(n, 2) of dy, dx with mean 0, `extent` px wide: two rates of rotation, integrated over an exposure of 0.06 to 0.8 s."""
    exposure_s = dice.log_uniform(0.06, 0.8)
    n = 1024
    t = torch.arange(n) / RATE_HZ
    spectrum = torch.fft.rfft(dice.normal(2, n))
    frequency = torch.fft.rfftfreq(n, 1 / RATE_HZ).clamp_min(0.5)
    tremor = dice.uniform(8, 12)
    power = frequency**-1.0 + dice.uniform(0, 0.6) * torch.exp(-(((frequency - tremor) / 1.5) ** 2))
    rates = torch.fft.irfft(spectrum * power * (frequency < 40), n)
    rates = rates + dice.normal(2, 1) * dice.uniform(0, 0.5) * rates.std()
    path = rates.cumsum(1).T[t < exposure_s]
    return _of_extent(path, extent)


def jerked_path(dice: Dice, extent: float) -> Tensor:
    """Rests and sudden moves: a few places that are held for a while, with quick ways between them."""
    places = dice.normal(dice.integer(3, 5), 2).cumsum(0)
    steps = []
    for here, there in pairwise(places):
        steps.append(here.expand(dice.integer(2, 30), 2))
        steps.append(torch.lerp(here, there, torch.linspace(0, 1, dice.integer(10, 40))[:, None]))
    return _of_extent(torch.cat(steps), extent)


def straight_path(dice: Dice, extent: float) -> Tensor:
    """A line at an even pace."""
    angle = dice.uniform(0, math.pi)
    return (
        torch.linspace(-0.5, 0.5, max(32, 8 * round(extent)))[:, None]
        * extent
        * torch.tensor([math.sin(angle), math.cos(angle)])
    )


def _of_extent(path: Tensor, extent: float) -> Tensor:
    """Sampled finely, and as wide as is asked."""
    points = max(64, round(10 * extent))
    path = torch.nn.functional.interpolate(path.T[None], size=points, mode="linear", align_corners=True)[0].T
    path = path * (extent / (path.amax(0) - path.amin(0)).amax())
    return path - path.mean(0)


def make_cases(folder: Path, count: int) -> Iterator[Case]:
    """`count` cases of each group, from the photos of `folder` that are held out."""
    _, photos = read_photos(folder)
    for number, (group, make) in enumerate(GROUPS.items()):
        for i in range(count):
            yield make(group, photos, Dice(SEED, number, i))
    for blurry, sharp in list(photos.pairs.values())[:count]:
        yield Case("walking camera, real", blurry.float() / 255, sharp.float() / 255, None)


def _scene(photos: Photos, dice: Dice) -> Tensor:
    """(3, h, w) linear light, with margins, of a held-out photo that is large enough; of five places that with the most detail."""
    h, w = (length + 2 * MARGIN for length in SIZE)
    large = [photo for photo in photos.sharp.values() if min(photo.shape[1:]) >= 1.2 * h]
    places = []
    for _ in range(5):
        photo = large[dice.integer(0, len(large) - 1)]
        scale = dice.uniform(max(h / photo.shape[1], w / photo.shape[2], 0.55), 1.0)
        rows, columns = round(h / scale), round(w / scale)
        top, left = dice.integer(0, photo.shape[1] - rows), dice.integer(0, photo.shape[2] - columns)
        part = blur.to_linear(photo[:, top : top + rows, left : left + columns].float() / 255)
        part = torch.nn.functional.interpolate(part[None], size=(h, w), mode="bicubic", antialias=True)[0]
        detail = blur.to_srgb(part).diff(dim=2).abs().mean().item()
        places.append((detail, part.clamp(0, 1)))
    return max(places, key=lambda place: place[0])[1]


def _cut(light: Tensor) -> Tensor:
    return light[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


MakePath = Callable[[Dice, float], Tensor]


def _shaken(
    path: MakePath,
    extents: tuple[float, float],
    noise: float = 0.01,
    quality: tuple[int, int] | None = None,
    *,
    curve: Curve = Curve.LIGHT,
    exposure: float = 1.0,
) -> Callable[[str, Photos, Dice], Case]:
    """One kernel, noise of that standard deviation of what adds up, JPEG of a quality in that range or none; exposure: how many times as bright, which clips."""

    def make(group: str, photos: Photos, dice: Dice) -> Case:
        scene = curve.of(exposure * _scene(photos, dice))
        kernel = blur.shake_kernel(path(dice, dice.uniform(*extents)))
        summed = _cut(blur.convolve(scene, kernel)).clamp(0, 1)
        photo = curve.srgb(summed + noise * dice.normal(*summed.shape))
        if quality:
            photo = jpeg(photo, dice.integer(*quality), subsample=True)
        return Case(group, eight_bits(photo), eight_bits(curve.srgb(_cut(scene))), kernel, curve)

    return make


def _small_and_grey(group: str, photos: Photos, dice: Dice) -> Case:
    """255 pixels a side, one channel, a blur of values of 8 to 25 px, noise of 0.5 %."""
    scene = _scene(photos, dice).mean(0, keepdim=True)
    side = 255 + 2 * MARGIN
    scene = torch.nn.functional.interpolate(
        scene[..., :, : scene.shape[1]][None], size=(side, side), mode="area"
    )
    values = blur.to_srgb(scene[0])
    kernel = blur.shake_kernel(gyroscope_path(dice, dice.uniform(8, 25)))
    photo = _cut(blur.convolve(values, kernel))
    photo = photo + 0.005 * dice.normal(*photo.shape)
    blurry, sharp = (eight_bits(each.clamp(0, 1)).expand(3, -1, -1) for each in (photo, _cut(values)))
    return Case(group, blurry, sharp, kernel, Curve.VALUES)


def _developed(group: str, photos: Photos, dice: Dice) -> Case:
    """What a camera makes of it: grain as demosaicking leaves it, a tone curve of its own, sharpening, JPEG; the truth has that curve, too."""
    scene = _scene(photos, dice)
    kernel = blur.shake_kernel(gyroscope_path(dice, dice.uniform(5, 35)))
    light = _cut(blur.convolve(scene, kernel)).clamp(0, 1)
    tone = random_tone(dice)
    photo = tone(blur.to_srgb(add_noise(light, 0.01, dice, grain=0.6)))
    photo = sharpen(photo, dice.uniform(0.3, 1.0), dice.uniform(0.7, 1.5))
    photo = jpeg(photo, dice.integer(85, 95), subsample=True)
    return Case(group, eight_bits(photo), eight_bits(tone(blur.to_srgb(_cut(scene)))), kernel)


def _rolling(group: str, photos: Photos, dice: Dice) -> Case:
    """A path together with a roll about a point in or near the frame, 5 to 15 px at its corners."""
    scene = _scene(photos, dice)
    path = gyroscope_path(dice, dice.uniform(5, 25))[::3]
    roll = gyroscope_path(dice, 1.0)[:, 0]
    roll = torch.nn.functional.interpolate(roll[None, None], size=len(path), mode="linear")[0, 0]
    h, w = SIZE
    angles = (roll - roll.mean()) * dice.uniform(5, 15) / (0.5 * math.hypot(h, w)) / (roll.max() - roll.min())
    centre = (dice.uniform(-0.5, 0.5) * h, dice.uniform(-0.5, 0.5) * w)
    light = _cut(blur.shake_with_rotation(scene, path, angles, centre, MARGIN // 2))
    photo = blur.to_srgb(add_noise(light, 0.01, dice))
    return Case(group, eight_bits(photo), eight_bits(blur.to_srgb(_cut(scene))), None)


def _object(group: str, photos: Photos, dice: Dice) -> Case:
    """A thing that moves before a still scene."""
    scene = _scene(photos, dice)
    side = scene.shape[1]
    kernel = blur.shake_kernel(gyroscope_path(dice, dice.uniform(8, 30)))
    left = (scene.shape[2] - side) // 2
    light, sharp = scene.clone(), scene.clone()
    area = (..., slice(left, left + side))
    light[area], sharp[area] = moving_object(scene[area], photos, [kernel], dice)
    photo = blur.to_srgb(add_noise(_cut(light).clamp(0, 1), 0.005, dice))
    return Case(group, eight_bits(photo), eight_bits(blur.to_srgb(_cut(sharp))), None)


def _sharp(group: str, photos: Photos, dice: Dice) -> Case:
    """As it is, with noise, which a restorer may take away or leave: the photo itself is what it is compared with."""
    photo = eight_bits(blur.to_srgb(add_noise(_cut(_scene(photos, dice)), 0.005, dice)))
    return Case(group, photo, photo, None)


def _lens(group: str, photos: Photos, dice: Dice) -> Case:
    scene = _scene(photos, dice)
    light = _cut(blur.convolve(scene, random_lens(dice)))
    photo = blur.to_srgb(add_noise(light, 0.005, dice))
    return Case(group, eight_bits(photo), eight_bits(blur.to_srgb(_cut(scene))), None)


def _night(group: str, photos: Photos, dice: Dice) -> Case:
    """Darker, with lamps of 2 to 20 times what the sensor can hold."""
    scene = 0.25 * _scene(photos, dice)
    for _ in range(8):
        y, x = dice.integer(0, scene.shape[1] - 5), dice.integer(0, scene.shape[2] - 5)
        side = dice.integer(1, 4)
        scene[:, y : y + side, x : x + side] = dice.log_uniform(2, 20)
    kernel = blur.shake_kernel(gyroscope_path(dice, dice.uniform(8, 30)))
    light = _cut(blur.convolve(scene, kernel)).clamp(0, 1)
    photo = blur.to_srgb(add_noise(light, 0.01, dice))
    return Case(group, eight_bits(photo), eight_bits(blur.to_srgb(_cut(scene))), kernel)


def _text(group: str, photos: Photos, dice: Dice) -> Case:
    """Print: scikit-image's photographed page, larger."""
    from skimage import data

    page = blur.to_linear(torch.from_numpy(data.page()).float() / 255)[None]
    h, w = (length + 2 * MARGIN for length in SIZE)
    scale = max(h / page.shape[1], w / page.shape[2]) * dice.uniform(1.4, 2)
    size = [round(length * scale) for length in page.shape[1:]]
    page = torch.nn.functional.interpolate(page[None], size=size, mode="bicubic")[0].clamp(0, 1)
    top, left = dice.integer(0, size[0] - h), dice.integer(0, size[1] - w)
    scene = page[:, top : top + h, left : left + w].expand(3, h, w)
    kernel = blur.shake_kernel(gyroscope_path(dice, dice.uniform(5, 25)))
    light = _cut(blur.convolve(scene, kernel)).clamp(0, 1)
    photo = blur.to_srgb(light + 0.01 * dice.normal(*light.shape))
    return Case(group, eight_bits(photo), eight_bits(blur.to_srgb(_cut(scene))), kernel)


GROUPS: dict[str, Callable[[str, Photos, Dice], Case]] = {
    "shake 5-35 px, noise 1 %": _shaken(gyroscope_path, (5, 35)),
    "the same, noise 0.3 %": _shaken(gyroscope_path, (5, 35), 0.003),
    "the same, noise 3 %": _shaken(gyroscope_path, (5, 35), 0.03),
    "the same, noise 1 %, JPEG 75-95": _shaken(gyroscope_path, (5, 35), 0.01, (75, 95)),
    "jerks and pauses": _shaken(jerked_path, (5, 35)),
    "straight": _shaken(straight_path, (5, 35)),
    "long, 35-60 px": _shaken(gyroscope_path, (35, 60)),
    "rolling": _rolling,
    "night, clipped lamps": _night,
    "text": _text,
    "a thing that moves": _object,
    "out of focus": _lens,
    "already sharp": _sharp,
    "bright, clipped": _shaken(gyroscope_path, (5, 35), exposure=1.6),
    "a blur of values": _shaken(gyroscope_path, (5, 35), curve=Curve.VALUES),
    "a blur of values, small and gray": _small_and_grey,
    "as a camera develops it": _developed,
}
