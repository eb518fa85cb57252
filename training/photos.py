"""Photos in memory: found in any folder, decoded once to uint8, split by whole photo, cropped at random.

What a folder holds is read off its names: NAME_blurry and NAME_sharp are a pair of the same view (used for validation only), a
folder with `frames` in its name holds consecutive frames of one video, everything else is a sharp photo.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from deblur_cli.errors import PhotoError, UsageError
from training import blur
from training.dice import Dice

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif"}
HELD_OUT_OF = 6
"""One photo in so many is kept for validation."""
HELD_OUT_FRAMES, UNUSED_FRAMES = 0.2, 0.06
"""Of a video: the share at its end kept for validation, and the share before that which nobody sees."""

SOFT_DB = 42.0
"""Of `softness`: above this, a photo blurred by a pixel looks the same, so it is no example of a sharp one."""
_LINEAR = blur.to_linear(torch.arange(256) / 255)


@dataclass
class Photos:
    """Photos as (3, h, w) uint8 tensors. pairs: (blurry, sharp). videos: consecutive frames."""

    sharp: dict[str, Tensor] = field(default_factory=dict)
    pairs: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    videos: dict[str, list[Tensor]] = field(default_factory=dict)

    def to(self, device: torch.device) -> "Photos":
        """All of it on a device."""
        return Photos(
            {name: photo.to(device) for name, photo in self.sharp.items()},
            {name: (blurry.to(device), sharp.to(device)) for name, (blurry, sharp) in self.pairs.items()},
            {name: [frame.to(device) for frame in frames] for name, frames in self.videos.items()},
        )


def held_out(name: str) -> bool:
    """Whether a photo is for validation. It hangs on its name alone, so that more photos do not change who is held out."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % HELD_OUT_OF == 0


def read_photos(folder: Path) -> tuple[Photos, Photos]:
    """Photos for training and photos for validation, from all folders under `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UsageError(
            f"{folder}: no photos found", hint=f"put {', '.join(sorted(SUFFIXES))} files into it"
        )
    train, validation = Photos(), Photos()
    videos: dict[str, list[Path]] = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        if "frames" in path.parent.name:
            videos.setdefault(path.parent.relative_to(folder).as_posix(), []).append(path)
        elif path.stem.endswith("_sharp"):
            blurry = path.with_stem(path.stem.removesuffix("_sharp") + "_blurry")
            if blurry.exists() and not _shown_in(path.stem, folder):
                validation.pairs[name] = _read(blurry), _read(path)
        elif not path.stem.endswith("_blurry"):
            (validation if held_out(path.name) else train).sharp[name] = _read(path)
    for name, frames in videos.items():
        last = round(len(frames) * (1 - HELD_OUT_FRAMES - UNUSED_FRAMES))
        first = round(len(frames) * (1 - HELD_OUT_FRAMES))
        train.videos[name] = [_read(frame) for frame in frames[:last]]
        validation.videos[name] = [_read(frame) for frame in frames[first:]]
    return train, validation


def _shown_in(stem: str, folder: Path) -> bool:
    """Whether a pair comes from a sequence whose frames are used for training: GOPR0477_... and gopro_frames_GOPR0477."""
    return any(folder.rglob(f"*frames*{stem.split('_')[0]}"))


def _read(path: Path) -> Tensor:
    try:
        with Image.open(path) as image:
            pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError) as error:
        raise PhotoError(
            f"{path}: cannot be read: {error}", hint="remove it from the training photos"
        ) from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def crop(
    frames: Iterable[Tensor], size: int, scale: float, at: tuple[float, float], turn: int
) -> list[Tensor]:
    """The same square of every frame: scaled down by `scale`, (3, size, size) float32 in linear light.

    at: its place, 0..1 down and across the room there is. turn: 0..7, quarter turns and, from 4, mirrored.
    Scaling happens in linear light too, with an antialiased bicubic.
    """
    squares = []
    for frame in frames:
        h, w = frame.shape[-2:]
        side = min(round(size / scale), h, w)
        top, left = round(at[0] * (h - side)), round(at[1] * (w - side))
        square = _LINEAR.to(frame.device)[frame[:, top : top + side, left : left + side].int()]
        if side != size:
            square = F.interpolate(square[None], size=(size, size), mode="bicubic", antialias=True)[0].clamp(
                0, 1
            )
        square = square.rot90(turn % 4, (1, 2))
        squares.append(square.flip(2) if turn >= 4 else square)
    return squares


def random_crop(frames: list[Tensor], size: int, dice: Dice) -> list[Tensor]:
    """`crop` with everything drawn. Of three places the one with the most detail is mostly taken, because sky teaches little."""
    scale = 1.0 if dice.chance(0.3) else dice.uniform(0.5, 1.0)
    places = [(dice.uniform(0, 1), dice.uniform(0, 1)) for _ in range(3)]
    h, w = frames[0].shape[-2:]
    side = min(round(size / scale), h, w)

    def detail(place: tuple[float, float]) -> float:
        top, left = round(place[0] * (h - side)), round(place[1] * (w - side))
        green = frames[0][1, top : top + side : 2, left : left + side : 2].float()
        return (green[1:, 1:] - green[:-1, :-1]).abs().mean().item()

    place = max(places, key=detail) if dice.chance(0.8) else places[0]
    return crop(frames, size, scale, place, dice.integer(0, 7))


def softness(linear: Tensor) -> float:
    """PSNR in dB of a crop to itself blurred by one pixel, in sRGB: high where there is nothing fine, as in sky or out of focus."""
    green = blur.to_srgb(linear[1])[None, None]
    kernel = blur.gaussian_kernel(1.0).to(green.device)
    half = kernel.shape[0] // 2
    error = F.conv2d(F.pad(green, (half,) * 4, "reflect"), kernel[None, None]) - green
    return -10 * error.square().mean().clamp_min(1e-10).log10().item()


def sharp_crop(draw: Callable[[], Tensor], border: int) -> Tensor:
    """The first of ten crops that has something fine within its border, else the last: what is soft cannot be a target."""
    for _ in range(10):
        crop = draw()
        if softness(crop[:, border:-border, border:-border]) < SOFT_DB:
            break
    return crop
