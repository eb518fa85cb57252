"""The whole way: find the shake, undo it, and keep what has come nearer to the truth.

Several guesses at the kernel are made; the judge chooses, for all of the frame and then for each part of it, and decides whether it is undone. Where the
result is believed, a network decides that sees it beside the photo (`_fusion`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake import _estimate as search
from deblur_cli.shake._deconvolve import deconvolve_part, deconvolve_twice, measure_noise, prior_weight
from deblur_cli.shake._fusion import Fusion, fused, load_fusion
from deblur_cli.shake._judge import CELL, Judge, compared, load_judge, mean_gain
from deblur_cli.shake._kernels import Shake, extent, rescaled
from deblur_cli.shake._parts import in_parts
from deblur_cli.shake._predictor import MULTIPLE, Predictor, load_predictor

MARGIN_DB, LONG, PIXELS_A_DB = 0.5, 40, 15
"""What undoing a shake has to gain in the regions it is found from, as the judge sees it, to be tried on the photo; beyond LONG pixels one dB more for so many. Long ones are found at
coarse scales, where the judge sees less."""
BELIEVED = 0.5
"""Of what undoing a shake changes at a place: where so much is kept, it counts as undone."""
PLACE = 32
"""Pixels a side of such a place."""
LEAST_CHANGE = 0.003
"""Of linear light, root mean square: where undoing changes less there is nothing to believe."""
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

    light: (c, h, w) linear; the tensor `alone` that was handed in if nothing was undone. outcome: "none" (no shake seen), "undone",
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


def undo(
    light: Tensor,
    alone: Tensor | None = None,
    *,
    kernel: Tensor | None = None,
    progress: Progress | None = None,
) -> Undone:
    """(c, h, w) float32 linear light, c 1 or 3, about 0..1 -> the same without its shake, on its device.

    alone: the same photo as a network that does not know of the shake restores it, which is what is left where the shake is not undone. kernel: (n, n), n odd,
    of a user who knows it; it is used all over the frame. progress is told the share done.
    """
    tell = progress or _nothing
    alone = light if alone is None else alone
    if kernel is not None:
        shake = Shake(kernel[None, None].to(light.device), torch.ones(1, 1))
        after, share = joined(light, alone, shake, tell, known=True)
        return Undone(after, "undone", "by the kernel given", share, shake)
    if min(light.shape[-2:]) < SMALLEST_SIDE:
        return Undone(alone, "none", "the photo is too small to see a shake in it", 0.0, None)
    seen = _search(light, lambda share: tell(share / 2))
    if seen is None:
        return Undone(alone, "none", "no shake seen", 0.0, None)
    if seen.gain < _margin(seen.shake):
        return Undone(alone, "left", LEFT, 0.0, seen.shake)
    after, share = joined(light, alone, seen.shake, lambda share: tell(0.5 + share / 2))
    if not share:
        return Undone(alone, "left", LEFT, 0.0, seen.shake)
    why = "it comes nearer to the truth, as far as can be told"
    return Undone(after, "undone", why, share, seen.shake)


def joined(
    light: Tensor, alone: Tensor, shake: Shake, progress: Progress | None = None, *, known: bool = False
) -> tuple[Tensor, float]:
    """(c, h, w) linear light, before and as the network alone restores it -> without the shake where that is believed, and the share of the frame where it is.

    known: the shake is certain; the judge is not asked.
    """
    network, judge = _fusion(light.device), None if known else _judge(light.device)
    c, weight = light.shape[0], prior_weight(measure_noise(light))

    def work(part: Tensor, kernel: Tensor) -> Tensor:
        sparse, linear = deconvolve_twice(part[:c], kernel, weight)
        result = fused(network, judge, (part[:c], part[c:], sparse, linear), kernel)
        change = sparse - part[c:]
        kept = ((result - part[c:]) * change).sum(0, keepdim=True)
        return torch.cat([result, kept, change.square().sum(0, keepdim=True)])

    planes = in_parts(torch.cat([light, alone]), shake, work, c + 2, progress)
    kept, changed = F.avg_pool2d(planes[c:], PLACE, ceil_mode=True)
    changing = changed > c * LEAST_CHANGE**2
    believed = (kept > BELIEVED * changed) & changing
    return planes[:c], float(believed.sum()) / max(1, int(changing.sum()))


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


def _margin(shake: Shake) -> float:
    return MARGIN_DB + max(0.0, shake.length - LONG) / PIXELS_A_DB


def _nothing(share: float) -> None:
    pass


@cache
def _predictor(device: torch.device) -> Predictor:
    return load_predictor(device)


@cache
def _judge(device: torch.device) -> Judge:
    return load_judge(device)


@cache
def _fusion(device: torch.device) -> Fusion:
    return load_fusion(device)
