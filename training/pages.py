"""Draw printed pages and signs to train with, which collections of photos have few of: `python -m training.pages --out FOLDER --count 24`.

Letters of every size, straight or a little turned, dark on light or light on dark, on paper with a grain, in uneven light.
"""

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.dice import Dice

SIZE = (1500, 1100)
LETTERS = "eeeeeettttaaaaooooiiiinnnnssshhhrrrdddllluuccmmffywwgpbvkxqjz"
MARKS = ["", "", "", "", "", ",", ".", ":", ";", "!", "?", " -"]
SMALLEST, LARGEST = 9, 130
"""Height of letters in pixels."""


def words(dice: Dice, count: int) -> str:
    """So many of no language, some of them capitals or numbers."""
    made = []
    for _ in range(count):
        word = "".join(LETTERS[dice.integer(0, len(LETTERS) - 1)] for _ in range(dice.integer(1, 10)))
        kind = dice.uniform(0, 1)
        word = str(dice.integer(0, 10 ** dice.integer(1, 6))) if kind < 0.08 else word
        word = word.capitalize() if kind < 0.25 else word.upper() if kind < 0.32 else word
        made.append(word + MARKS[dice.integer(0, len(MARKS) - 1)])
    return " ".join(made)


def page(dice: Dice, fonts: list[Path]) -> Image.Image:
    """One page, RGB."""
    cover = np.asarray(_print(dice, fonts), np.float32)[..., None] / 255
    paper, ink = (np.array([dice.uniform(*of) for _ in range(3)]) for of in ((0.6, 1.0), (0.0, 0.35)))
    if dice.chance(0.2):
        paper, ink = ink, paper
    width, height = SIZE
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle, fall = dice.uniform(0, 2 * math.pi), dice.uniform(0, 0.3)
    light = 1 - fall * (0.5 + 0.5 * (x * math.cos(angle) + y * math.sin(angle)))
    grain = dice.uniform(0, 0.02) * dice.normal(height, width).numpy()
    photo = ((paper + cover * (ink - paper)) * light[..., None] + grain[..., None]).clip(0, 1)
    return Image.fromarray((255 * photo).round().astype(np.uint8))


def _print(dice: Dice, fonts: list[Path]) -> Image.Image:
    """Where there is ink, 0..255."""
    width, height = SIZE
    ink = Image.new("L", SIZE, 0)
    draw = ImageDraw.Draw(ink)
    top, left = dice.integer(-20, 60), dice.integer(0, 120)
    while top < height:
        size = round(SMALLEST * (LARGEST / SMALLEST) ** dice.uniform(0, 1) ** 1.5)
        font = (
            ImageFont.truetype(fonts[dice.integer(0, len(fonts) - 1)], size)
            if fonts
            else ImageFont.load_default(size)
        )
        strength = 255 if dice.chance(0.7) else dice.integer(90, 255)
        for _ in range(dice.integer(1, max(1, 240 // size))):
            draw.text((left, top), words(dice, 2 * width // (3 * size)), fill=strength, font=font)
            top += round(size * dice.uniform(1.15, 1.5))
        if dice.chance(0.3):
            draw.rectangle((left, top, width - left, top + dice.integer(1, 6)), fill=strength)
        top += dice.integer(0, 2 * size)
    return ink.rotate(dice.uniform(-6, 6), Image.Resampling.BICUBIC)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m training.pages", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder, a part of that of the photos")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--fonts", type=Path, help="folder of TrueType fonts; without it, the one of Pillow")
    args = parser.parse_args()
    fonts = sorted(args.fonts.rglob("*.ttf")) if args.fonts else []
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(args.count):
        page(Dice(1234, number), fonts).save(args.out / f"page_{number:03d}.png")


if __name__ == "__main__":
    main()
