"""The search for a shake: several guesses, among which the judge chooses, and a finer kernel for each part of the frame."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deblur_cli.shake import _estimate as search
from deblur_cli.shake._deconvolve import NOTHING, deconvolve_part, measure_noise, prior_weight
from deblur_cli.shake._judge import CELL, compared, load_judge, mean_gain
from deblur_cli.shake._kernels import Shake, extent, fit_into, rescaled
from deblur_cli.shake._predictor import MULTIPLE, load_predictor

REGIONS = 3
"""Along the longer side of the frame, of the grid of kernels of a shake that varies."""
REACH = 0.7
"""Of the way from one region of the grid to the next: at that distance a neighbour's evidence counts e times less."""
SMALLEST_SHAKE = 3
"""Pixels a side of a kernel that is no shake."""
FINER_TURNS = 3
"""At each scale at which regions speak for the frame."""


@dataclass(frozen=True)
class Seen:
    """A shake in pixels of the photo, what the judge says undoing it gains, in dB, the frame from which it was found at last, and the photo itself as the search
    has it.

    kernels: (r, n, n) in pixels of that frame.
    """

    shake: Shake
    gain: float
    kernels: Tensor
    last: search.Frame
    photo: search.Frame


def find(light: Tensor, tell: Callable[[float], None]) -> Seen | None:
    """One kernel for all of the frame: the best of several guesses, made finer."""
    device = light.device
    grey = light.mean(0)
    predictor = load_predictor(device)
    frames = search.pyramid(grey, measure_noise(grey[None]))
    small = [frame for frame in frames if search.is_small(frame)]
    large = frames[len(small) :]
    guesses = search.climb(search.starts(device), small, predictor, _gain)
    tell(0.5)
    kernels, last = guesses[0].kernels, guesses[0].frame or small[-1]
    for number, frame in enumerate(large):
        if search.is_full(kernels) or last.scale > frame.scale:
            break
        regions = search.telling_regions(frame)
        together = torch.ones(1, len(regions.light), device=device)
        kernels = search.fit(search.grown(kernels), regions, predictor, together, turns=FINER_TURNS)
        last = frame
        tell(0.5 + 0.5 * (number + 1) / len(large))
    if extent(kernels) <= SMALLEST_SHAKE and last.scale == 1:
        return None
    gain = _gain(kernels, last)
    sure = torch.tensor([[gain / 2]]).sigmoid()
    return Seen(_shake(kernels, (1, 1), last, sure), gain, kernels, last, frames[-1])


def varied(seen: Seen) -> Seen:
    """The same with a kernel for each part of the frame, in whose fit its neighbours' evidence counts too; itself where there is but one part."""
    frame, device = seen.last, seen.kernels.device
    step = max(search.REGION // 2, max(frame.light.shape) / REGIONS)
    rows, columns = (max(1, round(length / step)) for length in frame.light.shape)
    if rows * columns == 1:
        return seen
    h, w = (min(length, search.REGION) // MULTIPLE * MULTIPLE for length in frame.light.shape)
    places = search.grid_of(frame, (h, w), [rows, columns])
    at = torch.tensor(places, dtype=torch.float32, device=device)
    near = torch.exp(-torch.cdist(at, at) / (REACH * step)) * search.NEIGHBOURS
    near.fill_diagonal_(1.0)
    kernels = search.fit(
        seen.kernels.expand(len(places), -1, -1),
        search.cut(frame, places, (h, w)),
        load_predictor(device),
        near,
        turns=FINER_TURNS,
    )
    shake = _shake(kernels, (rows, columns), frame, seen.shake.sure.expand(rows, columns))
    return replace(seen, shake=shake, kernels=kernels)


def _shake(kernels: Tensor, grid: tuple[int, int], frame: search.Frame, sure: Tensor) -> Shake:
    full = rescaled(kernels, 1 / frame.scale)
    full = fit_into(full, extent(full, beyond=NOTHING))
    return Shake(full.view(*grid, *full.shape[1:]), sure)


def _gain(kernels: Tensor, frame: search.Frame) -> float:
    """What undoing (1, n, n) gains in the telling regions of a frame, as the judge sees it, in dB."""
    regions = search.telling_regions(frame).light
    network = load_judge(regions.device)
    gains = []
    for light in regions:
        before = light[None] * frame.white
        after = deconvolve_part(before, kernels[0], prior_weight(frame.noise))
        shown = compared(before, after, kernels[0])[None]
        shown = shown[..., : shown.shape[-2] // CELL * CELL, : shown.shape[-1] // CELL * CELL]
        gains.append(mean_gain(network(shown), shown)[0])
    return float(torch.stack(gains).mean())
