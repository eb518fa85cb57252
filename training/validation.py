"""The yardstick: pairs of many kinds from held-out photos, the same ones in every run; PSNR on 8-bit outputs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from training import blur
from training.degrade import add_noise, jpeg, sharpen
from training.dice import Dice
from training.motion import layers_in_motion
from training.pairs import MARGIN, random_shape, varying_shake
from training.paths import hand_path, random_path
from training.photos import Photos, random_crop, sharp_crop

SIZE = 256
CASES_A_GROUP = 16
SHARP = "already sharp"
REAL = "GoPro pairs"
"""From another kind of camera blur than ours: real pairs of sequences that training never sees."""
VALUES, JERKS, LAYERS = "video, its values averaged", "jerky shake 5-30 px", "layers in motion"
EXTRA = (VALUES, JERKS, LAYERS, REAL)
"""Groups that came later or are not ours: they are no part of the mean, which stays comparable."""


@dataclass(frozen=True)
class Case:
    """One validation pair: (3, h, w) in 8-bit steps of 0..1."""

    group: str
    blurry: Tensor
    sharp: Tensor


@dataclass(frozen=True)
class Row:
    """One group's results in dB, means over its cases. lowered: how many cases have a lower PSNR after than before."""

    group: str
    cases: int
    before: float
    unsharp: float
    after: float
    lowered: int


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two photos in 0..1; 100 where they are equal."""
    error = (a.double() - b.double()).square().mean().item()
    return 100.0 if error == 0 else -10 * torch.log10(torch.tensor(error)).item()


def eight_bits(photo: Tensor) -> Tensor:
    """Clipped and rounded as in a file."""
    return (photo.clamp(0, 1) * 255).round() / 255


def make_cases(photos: Photos) -> list[Case]:
    """All groups, CASES_A_GROUP each, from held-out photos (and, extra, the pairs among them)."""
    stills = list(photos.sharp.values())
    whole, cases = SIZE + 2 * MARGIN, []
    for number, (group, degrade) in enumerate(_GROUPS.items()):
        for i in range(CASES_A_GROUP):
            dice = Dice(1_000_003, number, i)
            still, blurred = stills[i % len(stills)], group != SHARP

            def draw(still: Tensor = still, dice: Dice = dice) -> Tensor:
                return random_crop([still], whole, dice)[0]

            scene = sharp_crop(draw, MARGIN) if blurred else draw()
            cases.append(_case(group, degrade(scene, dice), blur.to_srgb(scene)))
    for i in range(CASES_A_GROUP):
        dice = Dice(1_000_037, i)
        scene, *others = (random_crop([stills[(i + k) % len(stills)]], whole, dice)[0] for k in range(3))
        things = [(other, random_shape(whole, dice, off=0.5, larger=0.6)) for other in others]
        layers = layers_in_motion(scene, things, dice, dice.uniform(3, 20))
        cases.append(_case(LAYERS, *(blur.to_srgb(light) for light in layers)))
    for frames in photos.videos.values():
        for i in range(CASES_A_GROUP):
            dice = Dice(1_000_033, i)
            count = 2 * dice.integer(2, 6) + 1
            first = dice.integer(0, len(frames) - count)
            squares = random_crop(frames[first : first + count], SIZE, dice)
            blurry, sharp = torch.stack(squares).mean(0), squares[count // 2]
            cases.append(Case("video", eight_bits(blur.to_srgb(blurry)), eight_bits(blur.to_srgb(sharp))))
            values = blur.to_srgb(torch.stack(squares)).mean(0)
            cases.append(Case(VALUES, eight_bits(values), eight_bits(blur.to_srgb(sharp))))
    for blurry, sharp in photos.pairs.values():
        cases += [
            Case(REAL, *(photo[:, 104:616, left : left + 512].float() / 255 for photo in (blurry, sharp)))
            for left in (100, 668)
        ]
    return cases


def _case(group: str, blurry: Tensor, sharp: Tensor) -> Case:
    middle = (..., slice(MARGIN, MARGIN + SIZE), slice(MARGIN, MARGIN + SIZE))
    return Case(group, eight_bits(blurry[middle]), eight_bits(sharp[middle]))


def _shake(low: float, high: float) -> Callable[[Tensor, Dice], Tensor]:
    return lambda scene, dice: blur.convolve(
        scene, blur.shake_kernel(random_path(dice, dice.uniform(low, high)))
    )


def _varying(scene: Tensor, dice: Dice) -> Tensor:
    return varying_shake(scene, random_path(dice, dice.uniform(2, 12)), dice)


def _lens(scene: Tensor, dice: Dice) -> Tensor:
    return blur.convolve(
        scene,
        blur.lens_kernel(dice.uniform(1.5, 5), dice.integer(0, 1) * dice.integer(5, 8), dice.uniform(0, 3)),
    )


def _gaussian(scene: Tensor, dice: Dice) -> Tensor:
    return blur.convolve(
        scene, blur.gaussian_kernel(dice.uniform(0.8, 3), dice.uniform(0.6, 1), dice.uniform(0, 3))
    )


def _jerks(scene: Tensor, dice: Dice) -> Tensor:
    return blur.convolve(scene, blur.shake_kernel(hand_path(dice, dice.uniform(5, 30))))


def _noisy_shake(scene: Tensor, dice: Dice) -> Tensor:
    blurry = blur.to_srgb(add_noise(_shake(3, 15)(scene, dice), 0.02, dice))
    return jpeg(blurry, 80, subsample=True)


def _as_srgb(degrade: Callable[[Tensor, Dice], Tensor]) -> Callable[[Tensor, Dice], Tensor]:
    return lambda scene, dice: blur.to_srgb(degrade(scene, dice))


_GROUPS: dict[str, Callable[[Tensor, Dice], Tensor]] = {
    "shake 3-15 px": _as_srgb(_shake(3, 15)),
    "shake 15-35 px": _as_srgb(_shake(15, 35)),
    "shake varying over the frame": _as_srgb(_varying),
    "lens 1.5-5 px": _as_srgb(_lens),
    "gaussian 0.8-3 px": _as_srgb(_gaussian),
    "shake, 2 % noise, JPEG 80": _noisy_shake,
    SHARP: _as_srgb(lambda scene, _: scene),
    JERKS: _as_srgb(_jerks),
}


def best_unsharp(cases: list[Case]) -> tuple[float, float]:
    """The amount and sigma of unsharp masking that raise the mean PSNR of these blurred cases most: no fairer rival exists."""
    blurred = [case for case in cases if case.group not in (SHARP, *EXTRA)][::3]
    options = [(amount, sigma) for amount in (0.3, 0.6, 1.0, 1.5) for sigma in (0.8, 1.5, 2.5, 4.0)]
    return max(
        options,
        key=lambda option: sum(psnr(eight_bits(sharpen(c.blurry, *option)), c.sharp) for c in blurred),
    )


def evaluate(
    predict: Callable[[Tensor], Tensor], cases: list[Case], unsharp: tuple[float, float]
) -> list[Row]:
    """A row for each group. predict: (1, 3, h, w) in 0..1 to the same."""
    return [
        _row(group, [case for case in cases if case.group == group], predict, unsharp)
        for group in _groups(cases)
    ]


def _groups(cases: list[Case]) -> Iterator[str]:
    return iter(dict.fromkeys(case.group for case in cases))


def _row(
    group: str, cases: list[Case], predict: Callable[[Tensor], Tensor], unsharp: tuple[float, float]
) -> Row:
    before = torch.tensor([psnr(case.blurry, case.sharp) for case in cases])
    after = torch.tensor([psnr(eight_bits(predict(case.blurry[None])[0]), case.sharp) for case in cases])
    sharpened = [psnr(eight_bits(sharpen(case.blurry, *unsharp)), case.sharp) for case in cases]
    lowered = int((after < before).sum())
    return Row(
        group, len(cases), before.mean().item(), sum(sharpened) / len(cases), after.mean().item(), lowered
    )


def mean_gain(rows: list[Row]) -> float:
    """PSNR after less PSNR before, in dB, over all blurred cases but the extra ones."""
    blurred = [row for row in rows if row.group not in (SHARP, *EXTRA)]
    return sum((row.after - row.before) * row.cases for row in blurred) / sum(row.cases for row in blurred)


def kept_sharp(rows: list[Row]) -> float:
    """PSNR of already sharp photos after, to before."""
    return next(row.after for row in rows if row.group == SHARP)


def table(rows: list[Row], unsharp: tuple[float, float]) -> str:
    """The rows as a Markdown table, with what goes over all of them under it."""
    blurred = [row for row in rows if row.group not in (SHARP, *EXTRA)]
    lowered, cases = sum(row.lowered for row in blurred), sum(row.cases for row in blurred)
    lines = [
        "| group | cases | input | unsharp masking | compact | gain | lowered |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gain = f"{row.after - row.before:+.2f}" if row.group != SHARP else ""
        before = f"{row.before:.2f}" if row.group != SHARP else "same"
        lines.append(
            f"| {row.group} | {row.cases} | {before} | {row.unsharp:.2f} | {row.after:.2f} | {gain} | {row.lowered} |"
        )
    overall = (
        f"Mean gain over the {cases} blurred cases of the first groups: {mean_gain(rows):+.2f} dB; PSNR lowered: {lowered} of them "
        f"({lowered / cases:.1%}). Unsharp masking: amount {unsharp[0]}, sigma {unsharp[1]} px, the best of 16 on every third of these cases."
    )
    return "\n".join([*lines, "", overall])
