"""Motion that is not the same all over the frame: a camera with all its freedoms, and things that go their own ways in layers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training import blur
from training.dice import Dice
from training.paths import random_shake

STEPS = 24
"""In which a camera's way is taken: a step may be as long as a pixel or two."""


def camera_in_motion(scene: Tensor, dice: Dice, reach: float, border: int) -> Tensor:
    """A square (c, n, n) seen by a camera that is `reach` px off at the most, and rolls and goes forward about a point in or near the frame.

    The last two move what is at the frame's corners by up to 12 px. Four times in ten the rows are read one after the other (a rolling
    shutter): the lower ones see a later part of the way. What lies within `border` of the edge is not made, and 0.
    """
    size = scene.shape[-1]
    late = dice.uniform(0.1, 1) if dice.chance(0.4) else 0.0
    times = STEPS + math.ceil(late * STEPS)
    shift, turn = (_resampled(random_shake(dice, r), times) for r in (reach, 1.0))
    corners = dice.uniform(0, 12) / (0.7 * size) * torch.tensor([1.0, dice.uniform(0, 1)])
    poses = torch.cat([shift, turn * corners], 1)  # dy, dx, roll in radians, growth
    centre = [dice.uniform(-1, 1) * size / 2 for _ in range(2)]
    return seen_by(scene, poses, late, (centre[0], centre[1]), border)


def _resampled(path: Tensor, times: int) -> Tensor:
    return F.interpolate(path.T[None], size=times, mode="linear", align_corners=True)[0].T


def seen_by(scene: Tensor, poses: Tensor, late: float, centre: tuple[float, float], border: int) -> Tensor:
    """(c, h, w) as the mean over a camera's poses (n, 4): dy, dx in px, roll in radians and growth about `centre` (y, x from the middle).

    late: when the last row's exposure begins, as a share of its length. The exposure takes so many of the poses that the last row ends with
    the last of them. Each row's mean pose is taken off, so that what is restored lies where the scene does.
    """
    h, w = scene.shape[-2:]
    rows, columns = (torch.arange(border, length - border) - (length - 1) / 2 for length in (h, w))
    count = round(len(poses) / (1 + late))
    begins = torch.linspace(0, len(poses) - count, len(rows))
    at = (torch.arange(count)[:, None] + begins).clamp_max(len(poses) - 1)  # (count, rows)
    low = at.floor().long().clamp_max(len(poses) - 2)
    pose = torch.lerp(poses[low], poses[low + 1], (at - low)[..., None])
    pose = (pose - pose.mean(0))[..., None]  # (count, rows, 4, 1)
    y, x = rows[:, None], columns[None]
    away_y, away_x = y - centre[0], x - centre[1]
    total = torch.zeros(len(scene), len(rows), len(columns), device=scene.device)
    for dy, dx, roll, growth in (step.unbind(1) for step in pose):
        down = y + dy + roll * away_x + growth * away_y
        right = x + dx - roll * away_y + growth * away_x
        grid = torch.stack([right * (2 / w), down * (2 / h)], -1)
        total += F.grid_sample(
            scene[None], grid[None].to(scene.device), "bicubic", "border", align_corners=False
        )[0]
    return F.pad(total / count, (border,) * 4)


def layers_in_motion(
    scene: Tensor, things: list[tuple[Tensor, Tensor]], dice: Dice, reach: float
) -> tuple[Tensor, Tensor]:
    """One to three things, (c, n, n) and mask (1, n, n), before a scene: what they and the camera did, and how all of it looks sharp.

    The camera's way moves the scene (three times in ten it is still), and the things by it and by how near they are; or they go their own ways.
    Nothing moves by more than `reach` px.
    """
    camera = random_shake(dice, reach)
    still = dice.chance(0.3)
    blurry = scene if still else blur.convolve(scene, blur.shake_kernel(camera))
    sharp = scene
    for thing, mask in things:
        path = camera * dice.uniform(0, 1) if dice.chance(0.4) else random_shake(dice, dice.uniform(1, reach))
        kernel = blur.shake_kernel(path)
        blurry = blurry * (1 - blur.convolve(mask, kernel)) + blur.convolve(thing * mask, kernel)
        sharp = sharp * (1 - mask) + thing * mask
    return blurry, sharp
