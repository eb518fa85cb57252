"""How well the program tells blurred photos from sharp ones: `python benchmarks/blurred.py --photos FOLDER... [--tuning]`.

Photos are made from the half of the sharp ones that the meter has not been trained on (--tuning: from the other half), always the same. docs/blurred.md has the results.
"""

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from training import blur
from training.degrade import add_noise
from training.dice import Dice
from training.pages import page
from training.pairs import random_aperture, random_shape
from training.paths import random_shake
from training.sharpness import read_luminance, sharp_files, width_of

from deblur_cli.sharpness import measure

SIZE = (640, 960)
MARGIN = 64
SEED = 3_000_017
PHOTOS = 10
"""Of each half."""


@dataclass(frozen=True)
class Case:
    """luma: (h, w), 8-bit steps of 0..1. width: of the blur that was put on. kind: none, shake or lens."""

    group: str
    luma: Tensor
    kind: str
    width: float


def scene_of(photo: Tensor, dice: Dice) -> Tensor:
    """(1, h, w) linear light with margins, of a gray photo that is scaled down to be sharp."""
    h, w = (length + 2 * MARGIN for length in SIZE)
    if photo.shape[1] > photo.shape[2]:
        h, w = w, h
    rows, columns = photo.shape[1:]
    scale = max(0.65, h / rows, w / columns) if min(rows / h, columns / w) > 1 else 0.65
    size = round(rows * scale), round(columns * scale)
    light = F.interpolate(
        blur.to_linear(photo.float() / 255)[None], size=size, mode="bicubic", antialias=True
    )[0].clamp(0, 1)
    h, w = min(h, size[0]), min(w, size[1])
    top, left = dice.integer(0, size[0] - h), dice.integer(0, size[1] - w)
    return light[:, top : top + h, left : left + w]


def kernel_of(kind: str, width: float, dice: Dice) -> Tensor:
    """A lens or a shake that is about so wide."""
    if kind == "lens":
        return random_aperture(width / 2, dice)
    for _ in range(9):
        kernel = blur.shake_kernel(random_shake(dice, 1.3 * width))
        if 0.8 < width_of(kernel) / width < 1.25:
            break
    return kernel


def file_of(light: Tensor, dice: Dice, *, noise: float = 0.004, quality: int = 92) -> Tensor:
    """(1, h, w) light as it comes back from a JPEG file."""
    srgb = blur.to_srgb(add_noise(light, noise, dice, grain=0.6))[0]
    data = io.BytesIO()
    Image.fromarray((srgb * 255).round().byte().numpy()).save(data, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(data), np.float32)) / 255


def cut(light: Tensor) -> Tensor:
    """Without the margins, which a convolution spoils."""
    return light[:, MARGIN:-MARGIN, MARGIN:-MARGIN]


def made(
    kind: str,
    widths: tuple[float, float] = (0, 0),
    *,
    noise: tuple[float, float] = (0.002, 0.008),
    quality: tuple[int, int] = (85, 96),
    zoom: tuple[float, float] = (1, 1),
    exposure: float = 1.0,
) -> Callable[[str, Tensor, Dice], Case]:
    """A photo with that blur (widths drawn evenly in octaves), enlarged, dark, noisy and compressed as said."""

    def make(group: str, scene: Tensor, dice: Dice) -> Case:
        width, light = 0.0, exposure * scene
        if kind != "none":
            kernel = kernel_of(kind, dice.log_uniform(*widths), dice)
            width, light = width_of(kernel), blur.convolve(light, kernel)
        factor = dice.uniform(*zoom)
        light = cut(light)
        if factor > 1:
            light = F.interpolate(light[None], scale_factor=factor, mode="bicubic")[0].clamp_min(0)
        luma = file_of(light, dice, noise=dice.uniform(*noise), quality=dice.integer(*quality))
        return Case(group, luma, kind, factor * width)

    return make


def shallow(group: str, scene: Tensor, dice: Dice) -> Case:
    """A sharp subject of some 5 to 30 % of the frame, before a background out of focus by 6 to 25 px."""
    soft = blur.convolve(scene, random_aperture(dice.log_uniform(3, 12.5), dice))
    mask = random_shape(max(scene.shape[1:]), dice, edge=dice.log_uniform(3, 60), off=0.4, larger=0.7)
    top, left = ((max(scene.shape[1:]) - length) // 2 for length in scene.shape[1:])
    mask = mask[:, top : top + scene.shape[1], left : left + scene.shape[2]]
    return Case(group, file_of(cut(torch.lerp(soft, scene, mask)), dice), "none", 0)


@cache
def fonts() -> list[Path]:
    """Those of matplotlib or the system, if any."""
    return sorted(Path("/usr/share/fonts").rglob("*.ttf"))[:20]


def text(kind: str) -> Callable[[str, Tensor, Dice], Case]:
    """A printed page instead of a photo, blurred by 4 to 12 px or sharp."""

    def make(group: str, scene: Tensor, dice: Dice) -> Case:
        sheet = torch.from_numpy(np.array(page(dice, fonts()).convert("L"), np.float32)) / 255
        return made(kind, (4, 12))(group, blur.to_linear(sheet)[None], dice)

    return make


GROUPS: dict[str, Callable[[str, Tensor, Dice], Case]] = {
    "sharp": made("none"),
    "sharp, noise 1.5 to 6 %": made("none", noise=(0.015, 0.06)),
    "sharp, JPEG 35 to 70": made("none", quality=(35, 70)),
    "sharp, dark": made("none", noise=(0.01, 0.02), exposure=0.15),
    "sharp, enlarged 1.3 to 1.8 times": made("none", zoom=(1.3, 1.8)),
    "sharp subject, soft background": shallow,
    "sharp print": text("none"),
    "lens 4 to 8 px": made("lens", (4, 8)),
    "lens 8 to 30 px": made("lens", (8, 30)),
    "lens 4 to 30 px, noise 1.5 to 6 %": made("lens", (4, 30), noise=(0.015, 0.06)),
    "lens 4 to 30 px, JPEG 35 to 70": made("lens", (4, 30), quality=(35, 70)),
    "lens 4 to 15 px, enlarged": made("lens", (4, 15), zoom=(1.3, 1.8)),
    "print, lens 4 to 12 px": text("lens"),
    "shake 4 to 8 px": made("shake", (4, 8)),
    "shake 8 to 30 px": made("shake", (8, 30)),
    "shake 4 to 30 px, noise 1.5 to 6 %": made("shake", (4, 30), noise=(0.015, 0.06)),
    "shake 4 to 30 px, JPEG 35 to 70": made("shake", (4, 30), quality=(35, 70)),
    "shake 4 to 30 px, dark": made("shake", (4, 30), noise=(0.01, 0.02), exposure=0.15),
    "shake 4 to 15 px, enlarged": made("shake", (4, 15), zoom=(1.3, 1.8)),
    "print, shake 4 to 12 px": text("shake"),
}
BURST = (0.0, 0.8, 1.6, 3.0, 5.0, 9.0)
"""Widths of a burst's photos."""


def photos_of(folders: list[Path], *, testing: bool) -> Iterator[tuple[int, Tensor]]:
    """Those of a half that are large enough, up to PHOTOS of them, evenly taken."""
    files = sharp_files(folders, testing=testing)
    large = [path for path in files if min(Image.open(path).size) * 0.65 >= 500]
    for number, path in enumerate(large[:: max(1, len(large) // PHOTOS)][:PHOTOS]):
        yield number, read_luminance([path])[0]


def cases(folders: list[Path], *, testing: bool) -> Iterator[Case]:
    """All groups of each photo in turn."""
    for number, photo in photos_of(folders, testing=testing):
        scene = scene_of(photo, Dice(SEED, number, 99))
        for place, (group, make) in enumerate(GROUPS.items()):
            yield make(group, scene, Dice(SEED, number, place))


def bursts(folders: list[Path], *, testing: bool) -> Iterator[list[Case]]:
    """Each photo several times, framed a little differently, with noise of its own and shakes or, in every third, a focus that hunts."""
    for number, photo in photos_of(folders, testing=testing):
        kind = "lens" if number % 3 == 2 else "shake"
        burst, scene = [], scene_of(photo, Dice(SEED, number, 99))
        for place, width in enumerate(BURST):
            dice = Dice(SEED, number, 100 + place)
            kernel = kernel_of(kind, width, dice) if width else None
            light = scene if kernel is None else blur.convolve(scene, kernel)
            shifted = cut(light.roll((dice.integer(-12, 12), dice.integer(-12, 12)), (1, 2)))
            luma = file_of(shifted, dice, noise=dice.uniform(0.004, 0.02), quality=dice.integer(75, 95))
            burst.append(Case("burst", luma, kind, 0.0 if kernel is None else width_of(kernel)))
        yield burst


@dataclass(frozen=True)
class Answer:
    """What was said of a case: how sharp, how wide its blur is, and its kind; by other measures, how sharp."""

    case: Case
    sharpness: float
    width: float
    kind: str
    laplacian: float
    reblur: float


def answer_to(case: Case) -> Answer:
    """Measured."""
    seen = measure(case.luma)
    luma = case.luma[None, None]
    laplacian = F.conv2d(luma, torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]])).var().item()
    case = Case(case.group, torch.empty(0), case.kind, case.width)
    if seen is None:
        return Answer(case, 0, 0, "?", laplacian, reblur(luma))
    return Answer(case, seen.score, seen.width, seen.kind, laplacian, reblur(luma))


def reblur(luma: Tensor) -> float:
    """1 minus the no-reference measure of Crete et al. (2007): how much of the differences of neighbours a mean over 9 pixels takes away."""
    lost = []
    for axis in (2, 3):
        kernel = torch.full((1, 1, 9, 1) if axis == 2 else (1, 1, 1, 9), 1 / 9)
        smooth = F.conv2d(luma, kernel, padding=(4, 0) if axis == 2 else (0, 4))
        before, after = luma.diff(dim=axis).abs(), smooth.diff(dim=axis).abs()
        lost.append(((before - after).clamp_min(0).sum() / before.sum()).item())
    return min(lost)


def ranks(values: Tensor) -> Tensor:
    """0 for the smallest."""
    return values.argsort().argsort().float()


def spearman(a: list[float], b: list[float]) -> float:
    """Rank correlation."""
    return torch.corrcoef(torch.stack([ranks(torch.tensor(x)) for x in (a, b)]))[0, 1].item()


def print_results(answers: list[Answer]) -> None:
    """By group, then over all: precision, recall, kinds, and how well widths agree."""
    print("| group | said: none | lens | shake | median width, true / said |\n|---|---|---|---|---|")
    for group in GROUPS:
        of = [answer for answer in answers if answer.case.group == group]
        counts = " | ".join(
            str(sum(answer.kind == kind for answer in of)) for kind in ("none", "lens", "shake")
        )
        true, said = (
            torch.tensor(x).median().item() for x in ([a.case.width for a in of], [a.width for a in of])
        )
        print(f"| {group} | {counts} | {true:.1f} / {said:.1f} |")
    blurred = [answer for answer in answers if answer.case.kind != "none"]
    found = [answer for answer in blurred if answer.kind != "none"]
    called = [answer for answer in answers if answer.kind != "none"]
    print(f"\nblurred: precision {len(found) / len(called):.1%}, recall {len(found) / len(blurred):.1%}")
    print(f"kind of those found: {sum(a.kind == a.case.kind for a in found) / len(found):.1%} right")
    widths = [[a.case.width for a in blurred], [a.width for a in blurred]]
    ratio = (torch.tensor(widths[1]) / torch.tensor(widths[0])).log2().abs().median().exp2().item()
    print(f"width of the blurred: rank correlation {spearman(*widths):.2f}, median factor {ratio:.2f}")
    everything = [-a.case.width for a in answers]
    for name in ("sharpness", "laplacian", "reblur"):
        values = [getattr(a, name) for a in answers]
        of_blurred = [getattr(a, name) for a in blurred]
        of_sharp = [getattr(a, name) for a in answers if a.case.kind == "none"]
        area = (torch.tensor(of_sharp)[:, None] > torch.tensor(of_blurred)).float().mean().item()
        print(
            f"{name}: area under the curve {area:.3f}, rank correlation with the width {spearman(values, everything):.2f}"
        )


def print_bursts(bursts: list[list[Answer]]) -> None:
    """How often the sharpest of a burst came first, and how many pairs were in order."""
    print(
        f"\n{len(bursts)} bursts of {len(BURST)}\n\n| by | sharpest first | pairs in order |\n|---|---|---|"
    )
    for name in ("sharpness", "laplacian", "reblur"):
        values = torch.tensor([[getattr(answer, name) for answer in burst] for burst in bursts])
        widths = torch.tensor([[answer.case.width for answer in burst] for burst in bursts])
        chosen = widths.gather(1, values.argmax(1, keepdim=True))[:, 0]
        first = (chosen == widths.amin(1)).float().mean().item()
        i, j = torch.triu_indices(len(BURST), len(BURST), 1)
        order = ((values[:, i] - values[:, j]) * (widths[:, i] - widths[:, j]))[widths[:, i] != widths[:, j]]
        right = (order < 0).float().mean().item()
        print(f"| {name} | {first:.0%} | {right:.1%} |")


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--tuning", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    half = not options.tuning
    print_results([answer_to(case) for case in cases(options.photos, testing=half)])
    print_bursts([[answer_to(case) for case in burst] for burst in bursts(options.photos, testing=half)])


if __name__ == "__main__":
    main()
