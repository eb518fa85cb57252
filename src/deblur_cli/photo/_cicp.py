"""Colours that are told by numbers (CICP, ITU-T H.273): kept by formats that have them, and a profile that says the same for the others."""

import struct
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]

WHITES = {"D65": (0.3127, 0.3290), "DCI": (0.314, 0.351)}
PRIMARIES = {
    1: ("BT.709", "D65", (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)),
    5: ("BT.601 625", "D65", (0.64, 0.33, 0.29, 0.60, 0.15, 0.06)),
    6: ("BT.601 525", "D65", (0.63, 0.34, 0.31, 0.595, 0.155, 0.07)),
    9: ("BT.2020", "D65", (0.708, 0.292, 0.17, 0.797, 0.131, 0.046)),
    11: ("DCI P3", "DCI", (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)),
    12: ("Display P3", "D65", (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)),
}
"""Name, white, and x and y of red, green and blue (H.273, table 2)."""
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_ORDINARY_PRIMARIES, _ORDINARY_TRANSFERS = (1, 2, 5, 6), (1, 2, 6, 13)
_YCBCR = (1, 5, 6, 9)
"""Matrices that we write pixels with as they are; for others BT.601's."""
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
_STEPS = 1024


class Cicp(NamedTuple):
    """Primaries, transfer and matrix, as H.273 numbers them."""

    primaries: int
    transfer: int
    matrix: int = 2

    @property
    def ordinary(self) -> bool:
        """Whether a file that says nothing of its colours is taken for the same."""
        return self.primaries in _ORDINARY_PRIMARIES and self.transfer in _ORDINARY_TRANSFERS

    @property
    def ycbcr(self) -> int:
        """A matrix that turns its colours into brightness and two differences."""
        return self.matrix if self.matrix in _YCBCR else 6


SRGB = Cicp(1, 13, 6)
RGB = 0
"""The matrix of colours that are kept as they are, which in AVIF is what lossless files have."""


@cache
def profile_of(cicp: Cicp) -> bytes | None:
    """An ICC profile (4.4, ICC.1:2022) that says the same; None for numbers that are unknown here."""
    light = light_of(cicp.transfer)
    if light is None or cicp.primaries not in PRIMARIES:
        return None
    name, white, xy = PRIMARIES[cicp.primaries]
    told = b"cicp" + struct.pack(">I4B", 0, cicp.primaries, cicp.transfer, 0, 1)
    return profile(
        f"{name}, CICP {cicp.primaries}/{cicp.transfer}", WHITES[white], xy, light, {b"cicp": told}
    )


def profile(
    name: str,
    white_xy: tuple[float, float],
    xy: tuple[float, ...] | None,
    light: Table,
    more: dict[bytes, bytes] | None = None,
) -> bytes:
    """An ICC profile of these chromaticities (of gray if there are none but white's) and the light of even steps from 0 to 1."""
    white = xyz_of(*white_xy)
    adapted = adaptation(white, _D50)
    curve = b"curv" + struct.pack(">II", 0, _STEPS) + (light * 65535).round().astype(">u2").tobytes()
    tags = {
        b"desc": _text(name),
        b"cprt": _text("CC0"),
        b"wtpt": _fixed(b"XYZ ", _D50),
        b"chad": _fixed(b"sf32", adapted.flatten()),
        **(more or {}),
    }
    if xy is None:
        return _assembled(tags | {b"kTRC": curve}, b"GRAY")
    columns = np.stack([xyz_of(*xy[i : i + 2]) for i in (0, 2, 4)], 1)
    columns = columns * np.linalg.solve(columns, white)
    for colour, column in zip("rgb", (adapted @ columns).T, strict=True):
        tags[f"{colour}XYZ".encode()] = _fixed(b"XYZ ", column)
        tags[f"{colour}TRC".encode()] = curve
    return _assembled(tags, b"RGB ")


def powers(power: float) -> Table:
    """The light of even steps from 0 to 1 where it is a power of them."""
    return np.asarray(np.linspace(0, 1, _STEPS) ** power)


def light_of(transfer: int) -> Table | None:
    """Of even steps from 0 to 1; None if the transfer is unknown here."""
    x = np.linspace(0, 1, _STEPS)
    if transfer in (1, 6, 14, 15):
        return np.where(x < 0.0812, x / 4.5, ((x + 0.0993) / 1.0993).clip(0) ** (1 / 0.45))
    if transfer in (4, 5, 8):
        return powers({4: 2.2, 5: 2.8, 8: 1.0}[transfer])
    if transfer == 13:
        return np.where(x < 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    if transfer == 16:  # SMPTE ST 2084, 1 is 10,000 candela a square metre
        power = x ** (1 / 78.84375)
        return np.asarray(
            ((power - 0.8359375).clip(0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
        )
    if transfer == 18:  # ARIB STD-B67
        return np.where(x < 0.5, x**2 / 3, (np.exp((x - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return None


def adaptation(white: Table, wanted: Table) -> Table:
    """By Bradford's method, of colours seen under one white to the same under another."""
    return np.asarray(
        np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ wanted) / (_BRADFORD @ white)) @ _BRADFORD
    )


def xyz_of(x: float, y: float) -> Table:
    """Of a chromaticity, at brightness 1."""
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(kind: bytes, values: Table) -> bytes:
    return kind + bytes(4) + (values * 65536).round().astype(">i4").tobytes()


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III4sII", 0, 1, 12, b"enUS", len(encoded), 28) + encoded


def _assembled(tags: dict[bytes, bytes], space: bytes) -> bytes:
    places: dict[bytes, int] = {}
    body, start = b"", 132 + 12 * len(tags)
    for value in tags.values():
        if value not in places:
            places[value] = start + len(body)
            body += value + bytes(-len(value) % 4)
    table = b"".join(name + struct.pack(">II", places[value], len(value)) for name, value in tags.items())
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"", 0x04400000, b"mntr", space, b"XYZ ")
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + _fixed(b"", _D50)[4:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
