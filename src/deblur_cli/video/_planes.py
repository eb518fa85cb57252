"""A frame's planes <-> light and dark as a network sees it: RGB, float32, 0..1.

A restored frame is the old planes plus the change that the network made: what it leaves alone keeps every bit, and what YCbCr can
say and RGB cannot (brighter than white, say) stays.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur_cli.errors import PhotoError

Plane = NDArray[Any]

LUMA = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Shares of red and blue in luma, by the number of the matrix (H.273, table 4)."""
SAMPLING = {(0, 0): "444", (0, 1): "422", (1, 1): "420", (1, 0): "440", (0, 2): "411", (2, 2): "410"}
"""Names of chroma planes by how much smaller they are."""
UNKNOWN_MATRICES = (0, 2, 3)
FULL_RANGE = 2
HD_HEIGHT = 720
"""From here on, pictures whose matrix is not told are taken for BT.709, as players do."""


@dataclass(frozen=True)
class Layout:
    """A pixel format. name: its own. planar: that of one plane a component, into which it is converted without a loss.

    kind: YUV, RGB or gray. shrink: by which powers of two the chroma planes are smaller, (rows, columns).
    """

    name: str
    planar: str
    kind: str
    bits: int
    shrink: tuple[int, int]

    @classmethod
    def of(cls, frame: Any, path: Path) -> "Layout":  # noqa: ANN401
        """That of a frame. PhotoError for one that has no colour model of these three."""
        name, parts = frame.format.name, frame.format.components
        bits = parts[0].bits
        alpha = "a" if parts[-1].is_alpha else ""
        depth = "" if bits <= 8 else f"{bits}le"
        if name.startswith("gray") or name == "monob":
            return cls(name, f"gray{depth}", "gray", max(8, bits), (0, 0))
        if name == "pal8" or frame.format.is_rgb:
            deep = "" if bits <= 8 else "16le" if bits > 14 else depth
            return cls(
                name,
                f"gb{alpha}rp{deep}" if not alpha else f"gbrap{deep}",
                "RGB",
                int(deep[:-2] or 8),
                (0, 0),
            )
        if len(parts) < 3 or "xyz" in name:
            raise PhotoError(
                f"{path}: its pixels are {name}, which deblur cannot handle",
                hint="Convert it to yuv420p first.",
            )
        shrink = _power(64 // frame.format.chroma_height(64)), _power(64 // frame.format.chroma_width(64))
        full = "j" if name.startswith("yuvj") else ""
        return cls(name, f"yuv{alpha}{full}{SAMPLING[shrink]}p{depth}", "YUV", max(8, bits), shrink)


def _power(number: int) -> int:
    """Of two, that the number is."""
    return number.bit_length() - 1


@dataclass(frozen=True)
class Colours:
    """How planes of a layout become RGB. red, blue: their shares in luma."""

    layout: Layout
    full_range: bool
    red: float
    blue: float

    @classmethod
    def of(cls, layout: Layout, height: int, matrix: int, colour_range: int, path: Path) -> "Colours":
        """As a stream's tags say; PhotoError for a matrix that is no matter of adding up."""
        if matrix in UNKNOWN_MATRICES:
            matrix = 1 if height >= HD_HEIGHT else 6
        if layout.kind == "YUV" and matrix not in LUMA:
            raise PhotoError(
                f"{path}: its colours are told by matrix {matrix} of H.273, which deblur does not know"
            )
        full = layout.kind != "YUV" or colour_range == FULL_RANGE or "yuvj" in layout.name
        return cls(layout, full if layout.kind != "gray" else colour_range != 1, *LUMA.get(matrix, LUMA[6]))

    @property
    def _peak(self) -> int:
        return (1 << self.layout.bits) - 1

    @property
    def _black(self) -> int:
        return 0 if self.full_range else 16 << (self.layout.bits - 8)

    @property
    def _luma_scale(self) -> float:
        return self._peak if self.full_range else 219 << (self.layout.bits - 8)

    @property
    def _chroma_scale(self) -> float:
        return self._peak if self.full_range else 224 << (self.layout.bits - 8)

    def to_rgb(self, planes: list[Plane]) -> NDArray[np.float32]:
        """(h, w) planes -> (h, w, 3 | 1) in 0..1."""
        first = (planes[0].astype(np.float32) - self._black) / self._luma_scale
        if self.layout.kind == "gray":
            return first[..., None].clip(0, 1)
        if self.layout.kind == "RGB":  # green, blue, red
            return np.stack([planes[number].astype(np.float32) / self._peak for number in (2, 0, 1)], -1)
        middle = 1 << (self.layout.bits - 1)
        cb, cr = (
            _enlarged(
                (plane.astype(np.float32) - middle) / self._chroma_scale, self.layout.shrink, first.shape
            )
            for plane in planes[1:3]
        )
        red = first + 2 * (1 - self.red) * cr
        blue = first + 2 * (1 - self.blue) * cb
        green = (first - self.red * red - self.blue * blue) / (1 - self.red - self.blue)
        return np.stack([red, green, blue], -1).clip(0, 1)

    def luma(self, rgb: NDArray[np.float32]) -> NDArray[np.float32]:
        """(h, w, 3 | 1) -> (h, w), in 0..1."""
        if rgb.shape[2] == 1:
            return rgb[..., 0]
        return rgb @ np.array([self.red, 1 - self.red - self.blue, self.blue], np.float32)

    def changed(self, planes: list[Plane], change: NDArray[np.float32]) -> list[Plane]:
        """The planes, with a change of RGB (h, w, 3 | 1) added to them; others (alpha) as they are."""
        if self.layout.kind == "RGB":
            new = [
                self._added(planes[at], change[..., channel], self._peak)
                for at, channel in ((0, 1), (1, 2), (2, 0))
            ]
            return [*new, *planes[3:]]
        luma = self.luma(change)
        new = [self._added(planes[0], luma, self._luma_scale)]
        if self.layout.kind == "YUV":
            for plane, channel, share in ((planes[1], 2, self.blue), (planes[2], 0, self.red)):
                chroma = _reduced((change[..., channel] - luma) / (2 * (1 - share)), self.layout.shrink)
                new.append(self._added(plane, chroma, self._chroma_scale))
        return [*new, *planes[len(new) :]]

    def _added(self, plane: Plane, change: NDArray[np.float32], scale: float) -> Plane:
        return np.asarray(np.rint(plane + scale * change).clip(0, self._peak), plane.dtype)


def _enlarged(
    plane: NDArray[np.float32], shrink: tuple[int, int], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Chroma as large as luma: each sample lies in the middle of those that it stands for, and between them it is mixed."""
    for axis, power in enumerate(shrink):
        for _ in range(power):
            plane = _doubled(plane, axis)
    return plane[: shape[0], : shape[1]]


def _doubled(plane: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    rows = np.moveaxis(plane, axis, 0)
    padded = np.concatenate([rows[:1], rows, rows[-1:]])
    doubled = np.empty((2 * len(rows), *rows.shape[1:]), np.float32)
    doubled[0::2] = 0.75 * rows + 0.25 * padded[:-2]
    doubled[1::2] = 0.75 * rows + 0.25 * padded[2:]
    return np.moveaxis(doubled, 0, axis)


def _reduced(values: NDArray[Any], shrink: tuple[int, int]) -> NDArray[np.float32]:
    """Means over what a chroma sample stands for; at the edge over what there is of it."""
    for axis, power in enumerate(shrink):
        for _ in range(power):
            rows = np.moveaxis(values, axis, 0)
            if len(rows) % 2:
                rows = np.concatenate([rows, rows[-1:]])
            values = np.moveaxis((rows[0::2] + rows[1::2]) * np.float32(0.5), 0, axis)
    return values


def planes_of(frame: Any) -> list[Plane]:  # noqa: ANN401
    """The samples of a planar frame, uint8 or uint16; copies."""
    dtype = np.dtype("u1") if frame.format.components[0].bits <= 8 else np.dtype("<u2")
    return [
        np.frombuffer(plane, dtype)
        .reshape(plane.height, plane.line_size // dtype.itemsize)[:, : plane.width]
        .copy()
        for plane in frame.planes
    ]


def fill_planes(frame: Any, planes: list[Plane]) -> None:  # noqa: ANN401
    """Write samples into a planar frame."""
    for target, samples in zip(frame.planes, planes, strict=True):
        row = target.line_size // samples.dtype.itemsize
        padded = np.zeros((target.height, row), samples.dtype)
        padded[:, : target.width] = samples
        target.update(padded.tobytes())
