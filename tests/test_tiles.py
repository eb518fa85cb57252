import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deblur_cli.errors import UsageError
from deblur_cli.tiles import UNIT, check_tile, plan_tiles

units = st.integers(1, 300).map(lambda n: n * UNIT)


@given(h=units, w=units, tile=st.integers(64, 1100), overlap=st.integers(0, 360))
def test_tiles_cover_the_photo_with_weights_that_sum_to_exactly_1(
    h: int, w: int, tile: int, overlap: int
) -> None:
    if overlap > (tile - tile % UNIT) // 3:
        return
    tile, overlap = check_tile(tile, overlap)
    plan = plan_tiles((h, w), tile, overlap)
    for spans, length in ((plan.rows, h), (plan.columns, w)):
        total = np.zeros(length, np.float32)
        for span in spans:
            assert 0 <= span.start < span.stop <= length
            assert span.start % UNIT == 0
            assert span.stop - span.start <= max(tile, UNIT)
            assert span.weights.dtype == np.float32
            assert span.weights.shape == (span.stop - span.start,)
            assert (span.weights > 0).all()
            total[span.start : span.stop] += span.weights
        assert (total == 1).all()
        assert len({span.stop - span.start for span in spans}) == 1
        assert all(a.stop - b.start >= overlap for a, b in itertools.pairwise(spans))
        fewest = 1 if length <= tile else -(-(length - overlap) // (tile - overlap))
        assert len(spans) == fewest


def test_products_of_the_weights_sum_to_exactly_1_too() -> None:
    plan = plan_tiles((200, 168), *check_tile(96, 32))
    total = np.zeros((200, 168), np.float32)
    for row, column in plan:
        total[row.start : row.stop, column.start : column.stop] += row.weights[:, None] * column.weights
    assert len(plan) == 9
    assert (total == 1).all()


def test_weights_are_flat_at_the_photos_border_and_rise_steadily_inside() -> None:
    first, *_, last = plan_tiles((512, 8), *check_tile(192, 64)).rows
    assert (first.weights[:100] == 1).all()
    assert (last.weights[-100:] == 1).all()
    assert (np.diff(first.weights) <= 0).all()
    assert (np.diff(last.weights) >= 0).all()


def test_tile_0_takes_the_photo_whole() -> None:
    plan = plan_tiles((4000, 3000), *check_tile(0, None))
    assert (len(plan), plan.tile_size) == (1, (4000, 3000))


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ((500, None), (496, 64)),
        ((64, None), (64, 16)),
        ((100, 30), (96, 24)),
        ((512, 0), (512, 0)),
        ((0, 9), (0, 8)),
    ],
)
def test_sizes_are_rounded_down_to_multiples_of_8(asked: tuple, used: tuple) -> None:
    assert check_tile(*asked) == used


@pytest.mark.parametrize("tile", [-5, 1, 63])
def test_a_tile_that_is_too_small_says_what_goes(tile: int) -> None:
    with pytest.raises(UsageError, match=rf"tile of {tile} pixels is too small(.|\n)*64 or more"):
        check_tile(tile, None)


@pytest.mark.parametrize("overlap", [-1, 200, 512])
def test_an_overlap_that_does_not_go_with_the_tile_says_what_does(overlap: int) -> None:
    with pytest.raises(UsageError, match=rf"overlap of {overlap} pixels(.|\n)*0 to a third of the tile: 168"):
        check_tile(512, overlap)
