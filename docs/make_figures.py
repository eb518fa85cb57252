"""Draw the figures of the documentation: `PYTHONPATH=. python docs/make_figures.py`.

images/network.svg is Restormer at a glance, with sizes taken from the config; images/before_after.jpg is the README's
picture, made by the program itself from examples/; images/page.jpg is a shaken page of print, which training.pages draws; images/failures.jpg shows what
`compact` cannot do, on photos of scikit-image.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor
from training import blur, pages
from training.degrade import add_noise
from training.dice import Dice
from training.paths import random_path, random_shake

from deblur_cli import deblur
from deblur_cli.model import RestormerConfig

HERE = Path(__file__).parent
IMAGES = HERE / "images"
EXAMPLES = HERE.parent / "examples"

PAGE = 8
"""Number of the drawn page."""
INK, PAPER = "#24292f", "#ffffff"
BLOCKS, MOVES, ENDS = "#9ec5fe", "#ffd8a8", "#b2f2bb"


def box(x: float, y: float, w: float, h: float, colour: str, *lines: str) -> str:
    """A rounded box around centred lines of text; the first one is bold."""
    shapes = [f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" fill="{colour}" stroke="{INK}"/>']
    for i, line in enumerate(lines):
        height = y + h / 2 + 5 + 17 * (i - (len(lines) - 1) / 2)
        weight = "bold" if i == 0 else "normal"
        shapes.append(
            f'<text x="{x + w / 2}" y="{height}" text-anchor="middle" font-weight="{weight}">{line}</text>'
        )
    return "\n".join(shapes)


def arrow(*points: tuple[float, float], dashed: bool = False) -> str:
    """A line through points with a head at its end."""
    path = " ".join(f"{x},{y}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1.5" marker-end="url(#head)"{dash}/>'


def network_svg(config: RestormerConfig) -> str:
    """The encoder-decoder of Figure 2 of the paper, with the channels, heads and blocks of a config."""
    dim, blocks, heads = config.dim, config.num_blocks, config.heads
    w, h, left, right, row = 240, 52, 150, 640, 105
    shapes = []

    def level(i: int) -> float:
        return 40 + i * row

    sizes = ["full size", "1/2", "1/4", "1/8"]
    for i in range(3):
        y = level(i)
        stage = f"{blocks[i]} blocks, {heads[i]} head{'s' if heads[i] > 1 else ''}"
        channels = dim << i
        shapes.append(box(left, y, w, h, BLOCKS, f"encoder {i + 1}", f"{channels} channels, {stage}"))
        channels = dim << max(i, 1)
        shapes.append(box(right, y, w, h, BLOCKS, f"decoder {i + 1}", f"{channels} channels, {stage}"))
        shapes.append(arrow((left + w, y + h / 2), (right, y + h / 2), dashed=True))
        shapes.append(
            f'<text x="{(left + w + right) / 2}" y="{y + h / 2 - 7}" text-anchor="middle">joined</text>'
        )
        shapes.append(arrow((left + w / 2, y + h), (left + w / 2, level(i + 1))))
        shapes.append(arrow((right + w / 2, level(i + 1)), (right + w / 2, y + h)))
        shapes.append(
            f'<text x="{left + w / 2 + 10}" y="{y + h + 30}">half the size, twice the channels</text>'
        )
        shapes.append(
            f'<text x="{right + w / 2 - 10}" y="{y + h + 30}" text-anchor="end">twice the size, half the channels</text>'
        )
    bottom = level(3)
    shapes.append(
        box(left, bottom, right + w - left, h, BLOCKS, "latent",
            f"{dim << 3} channels, {blocks[3]} blocks, {heads[3]} heads")
    )  # fmt: skip
    for i, size in enumerate(sizes):
        shapes.append(
            f'<text x="{left - 14}" y="{level(i) + h / 2 + (22 if i == 0 else 5)}" text-anchor="end">{size}</text>'
        )
    end = right + w + 40
    shapes += [
        box(10, level(0), 68, h, ENDS, "blurry"),
        arrow((78, level(0) + h / 2), (left, level(0) + h / 2)),
        arrow((right + w, level(0) + h / 2), (end, level(0) + h / 2)),
        box(end, level(0), 130, h, BLOCKS, "refinement", f"{config.num_refinement_blocks} blocks"),
        arrow((end + 130, level(0) + h / 2), (end + 160, level(0) + h / 2)),
        box(end + 160, level(0), 70, h, ENDS, "sharp"),
        arrow((44, level(0)), (44, 12), (end + 195, 12), (end + 195, level(0)), dashed=True),
        f'<text x="{end + 190}" y="28" text-anchor="end">+ the photo itself</text>',
    ]  # fmt: skip

    y = bottom + row + 20
    shapes.append(f'<text x="{left - 34}" y="{y + h / 2 + 5}" text-anchor="end">one block</text>')
    steps = [
        (BLOCKS, "norm", "per pixel"),
        (MOVES, "MDTA", "channels look at channels"),
        (BLOCKS, "norm", "per pixel"),
        (MOVES, "GDFN", "one half gates the other"),
    ]
    x = float(left)
    for i, (colour, *lines) in enumerate(steps):
        width = 120 if colour == BLOCKS else 220
        shapes.append(box(x, y, width, h, colour, *lines))
        if i % 2 == 0:
            skip_end = x + width + 30 + 220 + 15
            shapes.append(
                arrow(
                    (x - 15, y + h / 2),
                    (x - 15, y - 14),
                    (skip_end, y - 14),
                    (skip_end, y + h / 2),
                    dashed=True,
                )
            )
        shapes.append(
            arrow((x - 30, y + h / 2), (x, y + h / 2)) if i else arrow((x - 22, y + h / 2), (x, y + h / 2))
        )
        x += width + 30
    shapes.append(arrow((x - 30, y + h / 2), (x + 5, y + h / 2)))
    total_w, total_h = end + 245, y + h + 20
    head = f'<marker id="head" markerWidth="9" markerHeight="9" refX="8" refY="4.5" orient="auto"><path d="M0,0 L9,4.5 L0,9 z" fill="{INK}"/></marker>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total_w} {total_h}" font-family="sans-serif" '
        f'font-size="13" fill="{INK}">\n<defs>{head}</defs>\n<rect width="100%" height="100%" fill="{PAPER}"/>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


def before_after() -> Image.Image:
    """The example photo, blurred on the left and as the program restores it on the right, at twice its size."""
    with Image.open(EXAMPLES / "astronaut.jpg") as photo:
        pair = [photo.convert("RGB"), deblur(photo.convert("RGB"), weights="compact")]
    area = (100, 0, 372, 272)
    crops = [image.crop(area).resize((544, 544), Image.Resampling.LANCZOS) for image in pair]
    picture = Image.new("RGB", (1096, 544), PAPER)
    picture.paste(crops[0], (0, 0))
    picture.paste(crops[1], (552, 0))
    return picture


def blurred(photo: np.ndarray, kernel: Tensor, noise: float = 0.0) -> Image.Image:
    """A photo (h, w, 3) uint8 as a camera would have taken it with this blur."""
    light = blur.convolve(blur.to_linear(torch.from_numpy(photo).permute(2, 0, 1) / 255), kernel)
    light = add_noise(light, noise, Dice(1)) if noise else light
    return Image.fromarray((blur.to_srgb(light).permute(1, 2, 0) * 255).round().byte().numpy())


def shaken_page() -> Image.Image:
    """A part of a drawn page under a shake of 16 px with 1 % noise, as the program restores it, and as it was."""
    dice = Dice(PAGE)
    sharp = np.array(pages.page(dice, []))[200:760, 100:916]
    shaken = blurred(sharp, blur.shake_kernel(random_shake(dice, 16)), 0.01)
    inside = (24, 24, sharp.shape[1] - 24, sharp.shape[0] - 24)  # its borders have wrapped round
    shaken = shaken.crop(inside)
    three = (shaken, deblur(shaken, weights="compact"), Image.fromarray(sharp).crop(inside))
    return side_by_side(three, (250, 120, 610, 400))


def side_by_side(images: Iterable[Image.Image], area: tuple[int, int, int, int]) -> Image.Image:
    """The same area of all of them, in a row."""
    w, h, gap = area[2] - area[0], area[3] - area[1], 8
    crops = [image.crop(area) for image in images]
    row = Image.new("RGB", (len(crops) * (w + gap) - gap, h), PAPER)
    for x, crop in enumerate(crops):
        row.paste(crop, (x * (w + gap), 0))
    return row


def failures() -> Image.Image:
    """Three rows of blurred, restored and sharp: 25 px of shake, a lens 6 px out of focus, shake with much noise."""
    cat, coffee, rocket = data.chelsea(), data.coffee(), data.rocket()
    rows = [
        (cat, blurred(cat, blur.shake_kernel(random_path(Dice(3), 25))), (110, 60)),
        (coffee, blurred(coffee, blur.lens_kernel(6)), (200, 90)),
        (rocket, blurred(rocket, blur.shake_kernel(random_path(Dice(5), 9)), 0.06), (230, 130)),
    ]
    w, h, gap = 300, 200, 8
    picture = Image.new("RGB", (3 * w + 2 * gap, 3 * h + 2 * gap), PAPER)
    for y, (sharp, blurry, (left, top)) in enumerate(rows):
        three = (blurry, deblur(blurry, weights="compact", shake="off"), Image.fromarray(sharp))
        picture.paste(side_by_side(three, (left, top, left + w, top + h)), (0, y * (h + gap)))
    return picture


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / "network.svg").write_text(network_svg(RestormerConfig()), encoding="utf-8")
    before_after().save(IMAGES / "before_after.jpg", quality=90)
    shaken_page().save(IMAGES / "page.jpg", quality=90)
    failures().save(IMAGES / "failures.jpg", quality=90)
