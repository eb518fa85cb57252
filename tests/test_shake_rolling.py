"""A camera that rolls: what its turns do, and how they are found."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from training.blur import shake_with_rotation

from deblur_cli.shake._agreed import likeness
from deblur_cli.shake._curve import Curve, to_light
from deblur_cli.shake._estimate import Guess, pyramid
from deblur_cli.shake._kernels import fit_into, line
from deblur_cli.shake._predictor import load_predictor
from deblur_cli.shake._roll import Moves, Roll, shake_of
from deblur_cli.shake._rolling import common_of_each, rolling

SHARP = Path(__file__).parent.parent / "examples" / "originals" / "astronaut.png"
LENGTH, TURN = 8, 10
"""Pixels: of the path in the middle, to the right, and how far the corners turn meanwhile."""


def sharp() -> Tensor:
    """(3, h, w) light."""
    return to_light(torch.from_numpy(np.array(Image.open(SHARP).convert("RGB"))).permute(2, 0, 1) / 255)


def rolled(turn: float) -> Tensor:
    """The photo under a path whose turn grows with its way, with a little noise."""
    light = sharp()
    radius, steps = 0.5 * math.hypot(*light.shape[1:]), 33
    way = torch.linspace(-0.5, 0.5, steps)
    path = torch.stack([torch.zeros(steps), LENGTH * way], 1)
    photo = shake_with_rotation(light, path, turn * way / radius, (0.0, 0.0))
    return photo + 0.003 * torch.randn(photo.shape, generator=torch.Generator().manual_seed(2))


def true_kernel(place: tuple[float, float], radius: float) -> Tensor:
    """(1, n, n): to the right, and turned about the middle of the frame."""
    down, right = place
    turn = TURN / radius
    moved_right, moved_down = LENGTH - turn * down, turn * right
    length, degrees = math.hypot(moved_right, moved_down), math.degrees(math.atan2(-moved_down, moved_right))
    return line(length, degrees, 31)[None]


def test_a_turn_moves_each_place_at_right_angles_to_its_radius() -> None:
    """One turn moves a place at the radius of the frame's corner by one pixel, and the middle not at all."""
    density = torch.zeros(5, 9, 9)
    density[3, 4, 4] = 1  # turned by one
    moves = Moves(density, [(0.0, 0.0), (0.0, 50.0), (50.0, 0.0)], radius=50)
    middle, right, below = moves.kernels(density)
    for kernel, (row, column) in ((middle, (4, 4)), (right, (3, 4)), (below, (4, 5))):
        assert float(kernel[row, column]) == pytest.approx(1, abs=1e-4)
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-4)


def test_moves_and_their_adjoint_belong_together() -> None:
    """<kernels(density), k> is <density, adjoint(k)>."""
    generator = torch.Generator().manual_seed(1)
    density = torch.rand(5, 9, 9, generator=generator)
    moves = Moves(density, [(-20.0, 30.0), (10.0, 5.0), (0.0, -44.0)], radius=50)
    kernels = torch.rand(3, 9, 9, generator=generator)
    there, back = (moves.kernels(density) * kernels).sum(), (density * moves.adjoint(kernels)).sum()
    assert float(there) == pytest.approx(float(back), rel=1e-4)


def test_what_kernels_have_in_common_place_by_place() -> None:
    """Where that is nothing, the first stays."""
    across, down, point = line(7, 0, 9), line(7, 90, 9), line(0.1, 0, 9)
    apart = torch.zeros(9, 9)
    apart[0, 0] = 1
    found = common_of_each(torch.stack([across, across, point]), torch.stack([across, down, apart]))
    assert found[0].allclose(across, atol=1e-6)
    assert float(found[1, 4, 4]) > 0.5
    assert found[2].allclose(point)
    assert found.sum((1, 2)).allclose(torch.ones(3))


def test_the_kernels_of_a_camera_that_rolls_are_found() -> None:
    """Begun from one kernel for all of the frame, those at the corners are much nearer to the truth than it."""
    frames = pyramid(rolled(TURN), Curve.LIGHT)
    h, w = frames[-1].light.shape
    seen: list[Roll] = []

    def expected(roll: Roll) -> float:
        seen.append(roll)
        return 1.0

    guess = Guess(line(LENGTH, 0, 9)[None], Curve.LIGHT, frames[-1])
    scales = [{Curve.LIGHT: frame} for frame in frames]
    roll = rolling([guess], scales, load_predictor(torch.device("cpu")), expected, lambda _: None)
    assert roll is not None
    assert roll.frame is frames[-1]
    assert len(seen) >= 5  # that guess, and lines
    places = [(0.35 * h * down, 0.35 * w * right) for down in (-1, 1) for right in (-1, 1)]
    radius = 0.5 * math.hypot(h, w)
    for place, kernel in zip(places, roll.kernels_at(places), strict=True):
        true = true_kernel(place, radius)
        alike = likeness(fit_into(kernel, 31)[None], true)
        assert alike > 0.7
        assert alike > likeness(line(LENGTH, 0, 31)[None], true)
    shake = shake_of(roll)
    assert shake.kernels.shape[:2] == (9, 9)
    assert shake.kernels.sum((2, 3)).allclose(torch.ones(9, 9))
    halved = shake_of(roll, 0.5)
    assert halved.kernels.shape[-1] < shake.kernels.shape[-1]


def test_a_camera_that_did_not_roll_has_one_kernel() -> None:
    frames = pyramid(rolled(0), Curve.LIGHT)
    guess = Guess(line(LENGTH, 0, 9)[None], Curve.LIGHT, frames[-1])
    predictor = load_predictor(torch.device("cpu"))
    scales = [{Curve.LIGHT: frame} for frame in frames]
    assert rolling([guess], scales, predictor, lambda _: 9.0, lambda _: None) is None


def test_a_roll_that_is_worth_nothing_at_small_frames_is_given_up() -> None:
    """Of several guesses, each in its own curve, all are seen; larger frames are not fitted then."""
    light = rolled(TURN)
    scales = [
        dict(zip(Curve, frames, strict=True))
        for frames in zip(*(pyramid(light, curve) for curve in Curve), strict=True)
    ]
    guesses = [Guess(line(LENGTH, 0, 9)[None], curve, scales[-1][curve]) for curve in Curve]
    seen: list[Curve] = []

    def expected(roll: Roll) -> float:
        seen.append(roll.frame.curve)
        return 0.1

    assert rolling(guesses, scales, load_predictor(torch.device("cpu")), expected, lambda _: None) is None
    assert set(seen) == set(Curve)
