"""The whole way: find the shake, undo it, and keep what has come nearer to the truth.

Several guesses at the kernel are made; the judge chooses, for all of the frame and then for each part of it, and decides in the end
where the result is believed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake import _estimate as search
from deblur_cli.shake._deconvolve import deconvolve, deconvolve_part, measure_noise, prior_weight
from deblur_cli.shake._judge import CELL, Judge, compared, load_judge, mean_gain
from deblur_cli.shake._kernels import Shake, extent, rescaled
from deblur_cli.shake._predictor import MULTIPLE, Predictor, load_predictor

MARGIN_DB = 0.0
"""What undoing a shake has to gain in the regions it is found from, as the judge sees it, to be tried on the photo."""
TRUST_DB = (-0.1, 0.9)
"""What it has to gain at a place to be believed there a little, and fully."""
LOCAL_MARGIN_DB = 0.2
"""By how much a region's own kernel has to be better than that of the whole frame."""
MOST_REGIONS = 4
"""Along the longer side of the frame, of the grid of kernels."""
SMALLEST_SHAKE = 3
"""Pixels a side of a kernel that is no shake."""
SMALLEST_SIDE = 96
"""Of a photo in which a shake is looked for."""
JUDGED_PIXELS = 2_000_000
"""The judge looks at a photo of so many pixels at most: a larger one is made smaller for it."""

LEFT = "undoing it would not have come nearer to the truth, as far as can be told"

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Undone:
    """What became of a photo.

    light: (c, h, w) linear; the tensor that was handed in if nothing was undone. outcome: "none" (no shake seen), "undone",
    "left" (seen, and left alone). why: in words. share: of the frame in which it was undone, 0..1. shake: what was seen.
    """

    light: Tensor
    outcome: str
    why: str
    share: float
    shake: Shake | None


@dataclass(frozen=True)
class _Seen:
    """A shake in pixels of the photo, and the gain in dB that is expected of undoing it."""

    shake: Shake
    gain: float


def estimate(light: Tensor) -> Shake | None:
    """The shake of (c, h, w) linear light, c 1 or 3, about 0..1; None where none is seen."""
    seen = _search(light, _nothing) if min(light.shape[-2:]) >= SMALLEST_SIDE else None
    return seen.shake if seen else None


def undo(light: Tensor, *, kernel: Tensor | None = None, progress: Progress | None = None) -> Undone:
    """(c, h, w) float32 linear light, c 1 or 3, about 0..1 -> the same without its shake, on its device.

    kernel: (n, n), n odd, of a user who knows it; it is used all over the frame, and trusted. progress is told the share done.
    """
    tell = progress or _nothing
    noise = measure_noise(light)
    if kernel is not None:
        shake = Shake(kernel[None, None].to(light.device), torch.ones(1, 1))
        return Undone(
            deconvolve(light, shake, noise, progress=tell), "undone", "by the kernel given", 1.0, shake
        )
    if min(light.shape[-2:]) < SMALLEST_SIDE:
        return Undone(light, "none", "the photo is too small to see a shake in it", 0.0, None)
    seen = _search(light, lambda share: tell(share / 2))
    if seen is None:
        return Undone(light, "none", "no shake seen", 0.0, None)
    if seen.gain < MARGIN_DB:
        return Undone(light, "left", LEFT, 0.0, seen.shake)
    after = deconvolve(light, seen.shake, noise, progress=lambda share: tell(0.5 + share / 2))
    trust = judge(light, after, seen.shake)
    share = float((trust > 0.5).float().mean())
    if not share:
        return Undone(light, "left", LEFT, 0.0, seen.shake)
    return Undone(
        torch.lerp(light, after, trust),
        "undone",
        "it comes nearer to the truth, as far as can be told",
        share,
        seen.shake,
    )


def judge(before: Tensor, after: Tensor, shake: Shake) -> Tensor:
    """(h, w) in 0..1: how far the light after, (c, h, w) as that before, is to be believed."""
    network = _judge(before.device)
    h, w = before.shape[-2:]
    scale = min(1.0, (JUDGED_PIXELS / (h * w)) ** 0.5)
    size = [max(CELL * 2, round(length * scale) // CELL * CELL) for length in (h, w)]
    greys = torch.stack([before.mean(0), after.mean(0)])[:, None]
    if (h, w) != tuple(size):
        greys = F.interpolate(greys, size=size, mode="bilinear", antialias=True)
    kernel = rescaled(shake.kernel[None], scale) if scale < 1 else shake.kernel[None]
    shown = compared(greys[0], greys[1], kernel)
    gains = F.avg_pool2d(network(shown)[:, None], 3, 1, 1, count_include_pad=False)
    least, enough = TRUST_DB
    trust = ((gains - least) / (enough - least)).clamp(0, 1)
    return F.interpolate(trust, size=(h, w), mode="bilinear", align_corners=False)[0, 0]


def _search(light: Tensor, tell: Progress) -> _Seen | None:
    """The best of several guesses, made finer, with a kernel for each part of the frame where that is better."""
    device = light.device
    grey = light.mean(0)
    predictor = _predictor(device)
    frames = search.pyramid(grey, measure_noise(grey[None]))
    small = [frame for frame in frames if search.is_small(frame)]
    large = frames[len(small) :]
    guesses = []
    for kernels in search.starts(device):
        for number, frame in enumerate(small):
            if number:
                kernels = search.grown(kernels)
            regions = search.telling_regions(frame)
            kernels = search.fit(kernels, regions, predictor, torch.ones(1, len(regions.light)))
            last = frame
            if search.is_full(kernels):
                break
        guesses.append((kernels, last))
    tell(0.3)
    scored = [
        (_gain(kernels, search.telling_regions(frame), frame), kernels, frame) for kernels, frame in guesses
    ]
    _, kernels, last = max(scored, key=lambda guess: guess[0])
    for number, frame in enumerate(large):
        if search.is_full(kernels) or last.scale > frame.scale:
            break
        regions = search.telling_regions(frame)
        together = torch.ones(1, len(regions.light), device=device)
        kernels = search.fit(search.grown(kernels), regions, predictor, together, turns=3)
        last = frame
        tell(0.3 + 0.5 * (number + 1) / len(large))
    regions = search.telling_regions(last)
    together = torch.ones(1, len(regions.light), device=device)
    polished = search.polish(kernels, regions, last, together)
    gain, kernels = max(
        ((_gain(guess, regions, last), guess) for guess in (kernels, polished)), key=lambda guess: guess[0]
    )
    if extent(kernels) <= SMALLEST_SHAKE and last.scale == 1:
        return None
    grid, gains = (
        _varying(kernels, last, predictor) if gain > MARGIN_DB else (kernels[None], torch.tensor([[gain]]))
    )
    tell(1.0)
    rows, columns = grid.shape[:2]
    full = rescaled(grid.flatten(0, 1), 1 / last.scale)
    shake = Shake(full.view(rows, columns, *full.shape[1:]), (gains / 2).sigmoid())
    return _Seen(shake, gain)


def _varying(kernels: Tensor, frame: search.Frame, predictor: Predictor) -> tuple[Tensor, Tensor]:
    """(rows, columns, n, n) and their gains in dB: each region's own kernel where that is better than that of all, (1, n, n)."""
    longer = max(frame.light.shape)
    step = max(search.REGION // 2, longer / MOST_REGIONS)
    counts = [max(1, round(length / step)) for length in frame.light.shape]
    size = tuple(min(length, search.REGION) // MULTIPLE * MULTIPLE for length in frame.light.shape)
    places = search.grid_of(frame, (size[0], size[1]), counts)
    regions = search.cut(frame, places, (size[0], size[1]))
    if len(places) == 1:
        return kernels[None], torch.tensor([[_gain(kernels, regions, frame)]])
    at = torch.tensor(places, dtype=torch.float32, device=frame.light.device)
    near = torch.exp(-torch.cdist(at, at) / (0.7 * step)) * search.NEIGHBOURS
    near.fill_diagonal_(1.0)
    own = search.fit(kernels.expand(len(places), -1, -1), regions, predictor, near, turns=3)
    common = _gains(kernels, regions, frame)
    gains = _gains(own, regions, frame)
    better = gains > common + LOCAL_MARGIN_DB
    chosen = torch.where(better[:, None, None], own, kernels)
    shape = (counts[0], counts[1])
    return chosen.view(*shape, *chosen.shape[1:]), torch.where(better, gains, common).view(shape)


def _gain(kernels: Tensor, regions: search.Regions, frame: search.Frame) -> float:
    return float(_gains(kernels, regions, frame).mean())


def _gains(kernels: Tensor, regions: search.Regions, frame: search.Frame) -> Tensor:
    """(r,): what undoing kernels (k, n, n) gains in each region, as the judge sees it, in dB."""
    network = _judge(regions.light.device)
    kernels = kernels.expand(len(regions.light), -1, -1)
    gains = []
    for light, kernel in zip(regions.light, kernels, strict=True):
        before = light[None] * frame.white
        after = deconvolve_part(before, kernel, prior_weight(frame.noise))
        shown = compared(before, after, kernel)
        gains.append(mean_gain(network(shown), shown))
    return torch.tensor(gains)


def _nothing(share: float) -> None:
    pass


@cache
def _predictor(device: torch.device) -> Predictor:
    return load_predictor(device)


@cache
def _judge(device: torch.device) -> Judge:
    return load_judge(device)
