"""The tone curve of a photo: from the values in its file to light, and back.

A colour profile tells it by its curves (ICC.1:2022, 10.6 and 10.18: `curv` and `para`). Without a profile, or where it has none of them,
sRGB's curve holds (IEC 61966-2-1).
"""

import struct
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deblur_cli.photo._photo import Photo

Values = NDArray[np.float32]

CURVE_TAGS = {3: (b"rTRC", b"gTRC", b"bTRC"), 1: (b"kTRC",)}
PARAMETERS = (1, 3, 4, 5, 7)
"""How many numbers a parametric curve of each type has."""
FIXED_POINT = 65536
SAME = 2e-3
"""A table that is nowhere further from sRGB's curve is sRGB's, as coarse tables of it in cameras' profiles are."""


class Curve(Protocol):
    """One channel's. Both ways take and give float32 of any shape; 0..1 is 0..1, what lies beyond goes on smoothly."""

    def to_linear(self, values: Values) -> Values: ...
    def to_encoded(self, light: Values) -> Values: ...


@dataclass(frozen=True)
class Formula:
    """light = (a x + b)^gamma + e from x = d on, c x + f below: type 4 of ICC's parametric curves, of which the others are cases."""

    gamma: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0
    e: float = 0.0
    f: float = 0.0

    def to_linear(self, values: Values) -> Values:
        """Negative values as the positive ones."""
        size = np.abs(values)
        power = np.float32(self.a) * size + np.float32(self.b)
        power = power.clip(min=0) ** np.float32(self.gamma) + np.float32(self.e)
        if self.d > 0:
            power = np.where(size < self.d, np.float32(self.c) * size + np.float32(self.f), power)
        return np.copysign(power, values)

    def to_encoded(self, light: Values) -> Values:
        """The inverse of `to_linear`; where that is flat, the end of the flat."""
        size = np.abs(light)
        power = (size - np.float32(self.e)).clip(min=0) ** np.float32(1 / self.gamma)
        power = (power - np.float32(self.b)) / np.float32(self.a)
        if self.d > 0:
            linear = (size - np.float32(self.f)) / np.float32(self.c) if self.c > 0 else np.float32(0)
            power = np.where(size < (self.a * self.d + self.b) ** self.gamma + self.e, linear, power)
        return np.copysign(power.clip(min=0), light)


SRGB = Formula(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


@dataclass(frozen=True)
class Table:
    """Light at even steps from 0 to 1, never falling; straight lines between them. Beyond 1 it goes on as the last of them."""

    light: NDArray[np.float64]

    def to_linear(self, values: Values) -> Values:
        """By linear interpolation."""
        return _interpolated(values, np.linspace(0, 1, len(self.light)), self.light)

    def to_encoded(self, light: Values) -> Values:
        """The inverse; where the table is flat, the end of the flat."""
        return _interpolated(light, self.light, np.linspace(0, 1, len(self.light)))


@dataclass(frozen=True)
class ToneCurve:
    """The curves of all channels, or one for all of them."""

    channels: tuple[Curve, ...]

    def to_linear(self, values: Values) -> Values:
        """(c, h, w) float32 as in the file, white is 1 -> light, float32."""
        return self._each("to_linear", values)

    def to_encoded(self, light: Values) -> Values:
        """(c, h, w) light -> values, float32."""
        return self._each("to_encoded", light)

    def _each(self, way: str, planes: Values) -> Values:
        if len(self.channels) == 1:
            return np.asarray(getattr(self.channels[0], way)(planes), np.float32)
        pairs = zip(self.channels, planes, strict=True)
        return np.stack([getattr(curve, way)(plane) for curve, plane in pairs]).astype(np.float32)


def tone_curve_of(photo: Photo) -> ToneCurve:
    """By the photo's profile if it has curves that make sense, else sRGB's."""
    profile = photo.metadata.icc
    if profile:
        try:
            return ToneCurve(_curves_in(profile, CURVE_TAGS[photo.pixels.shape[2]]))
        except (KeyError, ValueError, struct.error):
            pass  # tables of colours alone, or damaged
    return ToneCurve((SRGB,))


def _curves_in(profile: bytes, names: tuple[bytes, ...]) -> tuple[Curve, ...]:
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for number in range(min(count, 1000)):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        tags[name] = profile[offset : offset + size]
    curves = [tags[name] for name in names]
    return tuple(_curve(data) for data in (curves[:1] if len(set(curves)) == 1 else curves))


def _curve(data: bytes) -> Curve:
    """ValueError for one that falls, is flat, or is of an unknown kind."""
    kind, count = struct.unpack_from(">4s4xI", data)
    if kind == b"para":
        (number,) = struct.unpack_from(">H", data, 8)
        if number >= len(PARAMETERS):
            raise ValueError("unknown curve")
        values = [v / FIXED_POINT for v in struct.unpack_from(f">{PARAMETERS[number]}i", data, 12)]
        return _formula(number, values)
    if kind != b"curv":
        raise ValueError("unknown curve")
    if count == 0:
        return Formula(1.0)
    entries = struct.unpack_from(f">{count}H", data, 12)
    if count == 1:
        return _checked(Formula(entries[0] / 256))
    table = Table(np.asarray(entries, np.float64) / 65535)
    if np.diff(table.light).min() < 0 or table.light[-1] <= table.light[0]:
        raise ValueError("a curve that falls")
    steps = np.linspace(0, 1, count, dtype=np.float32)
    return SRGB if np.abs(SRGB.to_linear(steps) - table.light).max() < SAME else table


def _formula(number: int, values: list[float]) -> Formula:
    gamma, a, b, c, d, e, f = values + [0.0] * (7 - len(values))
    if number == 0:
        a = 1.0
    elif number in (1, 2):  # from -b/a on; below it the constant c
        a, b, c, d, e, f = a, b, 0.0, -b / a if a else 0.0, c, c
    return _checked(Formula(gamma, a, b, c, d, e, f))


def _checked(curve: Formula) -> Formula:
    if not (0.1 < curve.gamma < 10 and curve.a > 0 and curve.c >= 0):
        raise ValueError("a curve that falls, or is flat")
    return curve


def _interpolated(values: Values, x: NDArray[np.float64], y: NDArray[np.float64]) -> Values:
    """Piecewise linear, beyond both ends as the line next to them."""
    result = np.interp(values, x, y)
    slope = (y[-1] - y[-2]) / max(x[-1] - x[-2], 1e-9)
    result += np.maximum(values - x[-1], 0) * slope
    result += np.minimum(values - x[0], 0) * (y[1] - y[0]) / max(x[1] - x[0], 1e-9)
    return result.astype(np.float32)
