"""Ways that a camera, or a thing before it, goes during an exposure: (n, 2) of dy, dx in pixels with mean 0, at even times."""

import math
from statistics import NormalDist

import torch
import torch.nn.functional as F
from torch import Tensor

from training.dice import Dice

STEPS = 400
"""Of the walk that a hand takes."""


def random_path(dice: Dice, extent: float) -> Tensor:
    """A smooth random path of the camera during the exposure: (n, 2) of dy, dx with mean 0, `extent` wide at its widest.

    A drift plus cosines whose amplitude falls with frequency as k^-1.5, which goes from straight lines to curls.
    """
    points = max(32, round(8 * extent))
    t = torch.linspace(0, 1, points)
    frequency = torch.arange(1, 6)
    curls = torch.cos(math.pi * frequency * t[:, None]) @ (dice.normal(5, 2) * frequency[:, None] ** -1.5)
    path = dice.uniform(0, 3) * t[:, None] * dice.normal(1, 2) + curls
    path = path * (extent / (path.amax(0) - path.amin(0)).amax())
    return path - path.mean(0)


def hand_path(dice: Dice, reach: float) -> Tensor:
    """(n, 2) of dy, dx with mean 0, `reach` px wide: velocity with memory, a weak spring, pushes, a drift, and often an uneven pace."""
    memory, spring = dice.uniform(0.9, 0.985), dice.uniform(0, 0.004)
    kicks = dice.normal(STEPS, 2) * math.sqrt(1 - memory**2) + 0.02 * dice.normal(2) * dice.uniform(0, 0.6)
    pushed = dice.normal(STEPS, 1) > NormalDist().inv_cdf(1 - dice.uniform(1e-6, 0.02))
    kicks += 6 * pushed * dice.normal(STEPS, 2)
    speed, place, places = [0.0, 0.0], [0.0, 0.0], []
    for kick in kicks.tolist():
        speed = [memory * v + k - spring * x for v, k, x in zip(speed, kick, place, strict=True)]
        place = [x + v for x, v in zip(place, speed, strict=True)]
        places.append(place)
    path = torch.tensor(places)
    if dice.chance(0.4):
        pace = F.interpolate(dice.normal(1, 1, 12), size=STEPS, mode="linear")[0, 0]
        time = torch.exp(dice.uniform(0.3, 1.2) * pace).cumsum(0)
        time = (time - time[0]) / (time[-1] - time[0]) * (STEPS - 1)
        before = time.floor().long().clamp(0, STEPS - 2)
        path = torch.lerp(path[before], path[before + 1], (time - before)[:, None])
    points = max(32, round(8 * reach))
    path = F.interpolate(path.T[None], size=points, mode="linear", align_corners=True)[0].T
    path = path * (reach / (path.amax(0) - path.amin(0)).amax())
    return path - path.mean(0)


def random_shake(dice: Dice, reach: float) -> Tensor:
    """A path as of `hand_path`: of a hand, or smooth."""
    return hand_path(dice, reach) if dice.chance(0.6) else random_path(dice, reach)
