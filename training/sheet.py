"""Draw pairs of every kind, to look at: `python -m training.sheet --photos FOLDER --out sheet.webp`. One kind a row, blurry above sharp."""

import argparse
from pathlib import Path

import torch
from PIL import Image

from training.dice import Dice
from training.pairs import EASY, KINDS, make_pair
from training.photos import read_photos


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser("python -m training.sheet", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a picture")
    parser.add_argument("--count", type=int, default=7, help="pairs of each kind")
    parser.add_argument("--size", type=int, default=144, help="of each, in pixels")
    args = parser.parse_args()
    photos, _ = read_photos(args.photos)
    rows = []
    for number, kind in enumerate(KINDS):
        pairs = [make_pair(photos, args.size, kind, Dice(2, number, i), EASY) for i in range(args.count)]
        rows += [torch.cat([getattr(pair, side) for pair in pairs], 2) for side in ("blurry", "sharp")]
    sheet = torch.cat(rows, 1).permute(1, 2, 0)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(args.out, quality=80)


if __name__ == "__main__":
    main()
