"""The whole way: find the shake, undo it, and keep what has come nearer to the truth.

Several guesses at the kernel are made; the judge chooses, for all of the frame and then for each part of it, and decides in the end
where the result is believed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from deblur_cli.shake import _estimate as search
from deblur_cli.shake._deconvolve import deconvolve_part, measure_noise, prior_weight
from deblur_cli.shake._judge import CELL, Judge, compared, judged, load_judge, mean_gain
from deblur_cli.shake._kernels import Shake, extent, rescaled
from deblur_cli.shake._parts import in_parts
from deblur_cli.shake._predictor import MULTIPLE, Predictor, load_predictor

MARGIN_DB = 2.0
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
    if kernel is not None:
        shake = Shake(kernel[None, None].to(light.device), torch.ones(1, 1))
        return Undone(undone(light, shake, tell)[0], "undone", "by the kernel given", 1.0, shake)
    if min(light.shape[-2:]) < SMALLEST_SIDE:
        return Undone(light, "none", "the photo is too small to see a shake in it", 0.0, None)
    seen = _search(light, lambda share: tell(share / 2))
    if seen is None:
        return Undone(light, "none", "no shake seen", 0.0, None)
    if seen.gain < MARGIN_DB:
        return Undone(light, "left", LEFT, 0.0, seen.shake)
    after, gains = undone(light, seen.shake, lambda share: tell(0.5 + share / 2))
    least, enough = TRUST_DB
    trust = ((gains - least) / (enough - least)).clamp(0, 1)
    share = float((trust > 0.5).float().mean())
    if not share:
        return Undone(light, "left", LEFT, 0.0, seen.shake)
    why = "it comes nearer to the truth, as far as can be told"
    return Undone(torch.lerp(light, after, trust), "undone", why, share, seen.shake)


def undone(light: Tensor, shake: Shake, progress: Progress | None = None) -> tuple[Tensor, Tensor]:
    """(c, h, w) linear light, deconvolved all over the frame; and (h, w), what that gains in dB, as far as can be told."""
    network, weight = _judge(light.device), prior_weight(measure_noise(light))

    def work(part: Tensor, kernel: Tensor) -> Tensor:
        after = deconvolve_part(part, kernel, weight)
        return torch.cat([after, judged(network, compared(part, after, kernel))])

    planes = in_parts(light, shake, work, light.shape[0] + 1, progress)
    return planes[:-1], planes[-1]


def _search(light: Tensor, tell: Progress) -> _Seen | None:
    """The best of several guesses, made finer, with a kernel for each part of the frame where that is better."""
    device = light.device
    grey = light.mean(0)
    predictor = _predictor(device)
    frames = search.pyramid(grey, measure_noise(grey[None]))
    small = [frame for frame in frames if search.is_small(frame)]
    large = frames[len(small) :]
    guesses = search.climb(search.starts(device), small, predictor, _gain)
    tell(0.3)
    kernels, last = guesses[0].kernels, guesses[0].frame or small[-1]
    for number, frame in enumerate(large):
        if search.is_full(kernels) or last.scale > frame.scale:
            break
        regions = search.telling_regions(frame)
        together = torch.ones(1, len(regions.light), device=device)
        kernels = search.fit(search.grown(kernels), regions, predictor, together, turns=3)
        last = frame
        tell(0.3 + 0.5 * (number + 1) / len(large))
    gain = _gain(kernels, last)
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
        return kernels[None], _gains(kernels, regions, frame)[None]
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


def _gain(kernels: Tensor, frame: search.Frame) -> float:
    return float(_gains(kernels, search.telling_regions(frame), frame).mean())


def _gains(kernels: Tensor, regions: search.Regions, frame: search.Frame) -> Tensor:
    """(r,): what undoing kernels (k, n, n) gains in each region, as the judge sees it, in dB."""
    network = _judge(regions.light.device)
    kernels = kernels.expand(len(regions.light), -1, -1)
    gains = []
    for light, kernel in zip(regions.light, kernels, strict=True):
        before = light[None] * frame.white
        after = deconvolve_part(before, kernel, prior_weight(frame.noise))
        shown = compared(before, after, kernel)[None]
        shown = shown[..., : shown.shape[-2] // CELL * CELL, : shown.shape[-1] // CELL * CELL]
        gains.append(mean_gain(network(shown), shown)[0])
    return torch.stack(gains).cpu()


def _nothing(share: float) -> None:
    pass


@cache
def _predictor(device: torch.device) -> Predictor:
    return load_predictor(device)


@cache
def _judge(device: torch.device) -> Judge:
    return load_judge(device)
