"""Where the tiles of a photo lie and how they blend: integers and 1-D ramps, no pixels.

Sizes are multiples of a unit of 8 pixels, or 16, because a network downsamples three or four times by 2 and is sensitive to that phase.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deblur_cli.errors import UsageError

UNIT = 8
MIN_TILE = 64
DEFAULT_OVERLAP = 64
MAX_OVERLAP_SHARE = 3
"""A tile is at least three overlaps long, so that no more than two tiles ever meet on an axis."""

RAMP_STEPS = 2**12
"""Ramps are whole multiples of 2**-12. Then w, 1 - w and products of two of them are exact in float32."""


@dataclass(frozen=True)
class Span:
    """One tile on one axis: [start, stop) and its blending weights, float32 in (0, 1], of that length."""

    start: int
    stop: int
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class TilePlan:
    """A grid of tiles over an (h, w) photo: every tile is a span of rows by a span of columns."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[tuple[Span, Span]]:
        return ((row, column) for row in self.rows for column in self.columns)

    @property
    def tile_size(self) -> tuple[int, int]:
        """(h, w) of each tile."""
        return tuple(span.stop - span.start for span in (self.rows[0], self.columns[0]))  # type: ignore[return-value]


def plan_tiles(size: tuple[int, int], tile: int, overlap: int, unit: int = UNIT) -> TilePlan:
    """The fewest even tiles of at most `tile` pixels a side that cover an (h, w) photo and share at least `overlap`.

    h and w are multiples of the unit; tile and overlap as `check_tile` returns them, and rounded down to units; tile 0 is the whole photo.
    """
    rows, columns = (_plan_axis(length, tile or length, overlap, unit) for length in size)
    return TilePlan(rows, columns)


def check_tile(tile: int, overlap: int | None) -> tuple[int, int]:
    """A user's tile and overlap -> legal ones, rounded down to multiples of 8; UsageError where they make no sense."""
    if tile < 0 or 0 < tile < MIN_TILE:
        raise UsageError(
            f"a tile of {tile} pixels is too small",
            hint=f"--tile takes {MIN_TILE} or more, auto, or 0 for the whole photo at once.",
        )
    tile -= tile % UNIT
    most = tile // MAX_OVERLAP_SHARE
    if overlap is None:
        overlap = min(DEFAULT_OVERLAP, most) if tile else DEFAULT_OVERLAP
    elif overlap < 0 or (tile and overlap > most):
        raise UsageError(
            f"an overlap of {overlap} pixels does not go with tiles of {tile}",
            hint=f"--overlap takes 0 to a third of the tile: {most - most % UNIT} here.",
        )
    return tile, overlap - overlap % UNIT


def _plan_axis(length: int, tile: int, overlap: int, unit: int) -> tuple[Span, ...]:
    if length <= tile:
        return (Span(0, length, np.ones(length, np.float32)),)
    units, tile_units, overlap_units = length // unit, tile // unit, overlap // unit
    count = _ceil_div(units - overlap_units, tile_units - overlap_units)
    size = _ceil_div(units - overlap_units, count) + overlap_units
    starts = [unit * (i * (units - size) // (count - 1)) for i in range(count)]
    stops = [start + unit * size for start in starts]
    spans = []
    for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        weights = np.ones(stop - start, np.float32)
        if i > 0:
            rising = _ramp(stops[i - 1] - start)
            weights[: len(rising)] = rising
        if i < count - 1:
            rising = _ramp(stop - starts[i + 1])
            weights[len(weights) - len(rising) :] = 1 - rising
        spans.append(Span(start, stop, weights))
    return tuple(spans)


def _ramp(length: int) -> NDArray[np.float32]:
    """Rises from above 0 to below 1, symmetric about 1/2, in multiples of 1 / RAMP_STEPS."""
    steps = np.rint((np.arange(length) + 0.5) / max(length, 1) * RAMP_STEPS).clip(1, RAMP_STEPS - 1)
    return (steps / RAMP_STEPS).astype(np.float32)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
