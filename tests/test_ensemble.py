import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import TINY, random_model
from deblur_cli import Deblurrer, stream
from deblur_cli.ensemble import mean_of_turns
from deblur_cli.errors import PhotoError
from deblur_cli.photo import Encoding, Photo
from deblur_cli.restore import output_of, output_of_region

MODEL = random_model(TINY)
TURNS = [(quarters, mirrored) for quarters in range(4) for mirrored in (False, True)]


def network(tile: Tensor) -> Tensor:
    return stream.run(MODEL, tile)


def photo_of(pixels: np.ndarray) -> Photo:
    return Photo(np.ascontiguousarray(pixels), None, Encoding("PNG"))


def pixels(h: int, w: int) -> np.ndarray:
    return np.random.default_rng(h).integers(0, 65536, (h, w, 3), np.uint16)


def turned(image: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    """An image (h, w, c)."""
    return np.rot90(image[:, ::-1] if mirrored else image, quarters)


def output(image: np.ndarray, tile: int = 0, overlap: int = 0) -> np.ndarray:
    values = output_of(photo_of(image), network, tile=tile, overlap=overlap, ensemble=True).values
    return values[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("h", "w", "tile"), [(41, 70, 0), (90, 75, 64)], ids=["whole, padded", "in tiles, padded"]
)
def test_the_ensemble_of_a_turned_photo_is_the_turned_ensemble_to_the_bit(h: int, w: int, tile: int) -> None:
    image = pixels(h, w)
    upright = output(image, tile=tile, overlap=16)
    for turn in TURNS[1:]:
        np.testing.assert_array_equal(
            output(turned(image, *turn), tile=tile, overlap=16), turned(upright, *turn)
        )


def test_it_is_the_mean_of_eight_different_runs() -> None:
    image = pixels(24, 40)
    runs = []
    for quarters, mirrored in TURNS:
        single = output_of(photo_of(turned(image, quarters, mirrored)), network, tile=0, overlap=0)
        back = np.rot90(single.values[0].permute(1, 2, 0).numpy(), -quarters)
        runs.append(back[:, ::-1] if mirrored else back)
    assert min(np.abs(a - b).max() for i, a in enumerate(runs) for b in runs[:i]) > 1e-4
    np.testing.assert_allclose(output(image), np.mean(runs, 0), atol=1e-6)


def test_turns_are_the_eight_of_the_square() -> None:
    square = torch.arange(4.0).reshape(1, 1, 2, 2)
    seen: list[Tensor] = []
    same = mean_of_turns(lambda turn, run: seen.append(turn(square)) or seen[run].clone())
    assert len({tuple(each.ravel().tolist()) for each in seen}) == 8
    assert torch.equal(seen[0], square)
    assert torch.equal(same, square)


def test_the_mean_is_exact_for_values_below_0_and_above_1() -> None:
    values = torch.linspace(-0.9, 1.9, 999).reshape(1, 1, 37, 27)
    assert torch.equal(mean_of_turns(lambda turn, run: turn(values)), (values * 2**25).round() / 2**25)


def test_progress_goes_on_over_all_runs_and_the_details_tell_of_them() -> None:
    told: list[tuple[float, int]] = []
    options = {
        "tile": 64,
        "overlap": 16,
        "ensemble": True,
        "progress": lambda done, n: told.append((done, n)),
    }
    details = output_of(photo_of(pixels(90, 150)), lambda tile: tile, **options).details
    assert (details.runs, details.tiles, details.tile_size) == (8, 6, (56, 64))
    assert told == [(done, 48) for done in range(48)]
    assert output_of(photo_of(pixels(9, 9)), lambda tile: tile, tile=0, overlap=0).details.runs == 1


def test_a_region_goes_through_the_ensemble_too() -> None:
    part = output_of_region(
        photo_of(pixels(60, 50)), (8, 9, 20, 22), network, tile=0, overlap=0, ensemble=True
    )
    assert part.details.runs == 8


def test_what_is_not_finite_is_no_mean() -> None:
    with pytest.raises(PhotoError, match="not a number"):
        output_of(photo_of(pixels(9, 9)), lambda tile: tile / 0, tile=0, overlap=0, ensemble=True)


def test_the_api_takes_it_and_leaves_the_rest_as_it_is() -> None:
    image = pixels(24, 40)
    one, eight = (Deblurrer(precision="fp32", shake="off", ensemble=ensemble) for ensemble in (False, True))
    assert not np.array_equal(one(image), eight(image))
    np.testing.assert_array_equal(eight(image, strength=0), image)
    np.testing.assert_array_equal(eight(np.rot90(image)), np.rot90(eight(image)))


MEASURE = """
import re
import numpy as np
from deblur_cli.photo import Encoding, Photo
from deblur_cli.restore import output_of

def memory(kind):
    return 1024 * int(re.search(rf"{kind}:\\s+(\\d+)", open("/proc/self/status").read())[1])

def peak(h, w, ensemble):
    photo = Photo(np.zeros((h, w, 3), np.uint8), None, Encoding("PNG"))
    open("/proc/self/clear_refs", "w").write("5")
    before = memory("VmRSS")
    output_of(photo, lambda tile: tile, tile=256, overlap=64, ensemble=ensemble)
    return (memory("VmHWM") - before) / (h * w * 3 * 4)

def least(ensemble):  # what else a process may take for a moment only adds to it
    return min(peak(1203, 901, ensemble) for _ in range(3))

peak(64, 64, True)
print(least(True) - least(False))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_takes_the_memory_of_one_photo_more() -> None:
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is given back at once
    run = [sys.executable, "-c", MEASURE]
    photos = float(subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout)
    assert 0.8 < photos < 1.3
