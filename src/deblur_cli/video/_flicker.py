"""How much a clip flickers: how much its places that stand still change from frame to frame.

A place is a square of 8x8 pixels. It stands still from one frame to the next if its luma, averaged over the square, changes by at most
one level of 255 in the input, and no pixel of it by more than 16. Flicker is the root mean square of the change of luma from frame to frame in such
places, in levels of 255: of the input, and of the result in the same places. Noise, grain and the codec make an input flicker too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PLACE = 8
STILL_MEAN, STILL_PIXEL = 1.0, 16.0


@dataclass
class Flicker:
    """Sums over pairs of frames. still, pixels: of them so many stood still, out of so many. before, after: squared changes, added up."""

    still: int = 0
    pixels: int = 0
    before: float = 0.0
    after: float = 0.0

    def add(self, last: "Lumas", now: "Lumas") -> None:
        """Take in two frames that follow each other."""
        before, after = now.before - last.before, now.after - last.after
        still = _still(before)
        self.pixels += before.size
        self.still += int(still.sum())
        self.before += float(np.square(before[still]).sum(dtype=np.float64))
        self.after += float(np.square(after[still]).sum(dtype=np.float64))

    def __iadd__(self, other: "Flicker") -> "Flicker":
        self.still += other.still
        self.pixels += other.pixels
        self.before += other.before
        self.after += other.after
        return self

    def told(self) -> dict[str, float]:
        """The two figures, and the share of the clip in which they were measured; empty where nothing stood still."""
        if not self.still:
            return {}
        before, after = ((total / self.still) ** 0.5 for total in (self.before, self.after))
        return {
            "flicker_before": round(before, 3),
            "flicker_after": round(after, 3),
            "still_share": round(self.still / self.pixels, 4),
        }


@dataclass(frozen=True)
class Lumas:
    """(h, w) of one frame, in levels of 255: as it was and as it is."""

    before: NDArray[np.float32]
    after: NDArray[np.float32]


def _still(change: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(h, w) -> where the places stand still; what is left over beside whole places does not count."""
    h, w = (length // PLACE for length in change.shape)
    places = change[: h * PLACE, : w * PLACE].reshape(h, PLACE, w, PLACE)
    still = (np.abs(places.mean((1, 3))) <= STILL_MEAN) & (
        np.abs(places).max((1, 3), initial=0) <= STILL_PIXEL
    )
    whole = np.zeros(change.shape, np.bool_)
    whole[: h * PLACE, : w * PLACE] = still.repeat(PLACE, 0).repeat(PLACE, 1)
    return whole
