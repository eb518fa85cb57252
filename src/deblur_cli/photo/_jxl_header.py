"""The head of a JPEG XL codestream (ISO 18181-1, annexes B to E): the colours it tells, read and put in.

The libraries that we may use tell libjxl nothing of colours at more than 8 bits, and us nothing of colours without a profile. Of a
lossless file the pixels are the same whatever colours its head tells, so that these can be put in afterwards.
"""

import struct
from typing import NamedTuple

from deblur_cli.photo._cicp import PRIMARIES, WHITES, Cicp, light_of, powers, profile, profile_of
from deblur_cli.photo._errors import UnsupportedError

_HEAD_BYTES = 1 << 12
_RGB, _GRAY = 0, 1
_ALPHA, _SPOT, _BLACK, _COLOUR_FILTER = 0, 2, 4, 5
_CUSTOM, _E, _DCI_CURVE = 2, 10, 17
_WHITES = {1: WHITES["D65"], _E: (1 / 3, 1 / 3), 11: WHITES["DCI"]}
_CICP_PRIMARIES = {(1, 1): 1, (1, 9): 9, (1, 11): 12, (11, 11): 11}
"""Of white and primaries as JPEG XL numbers them. Its transfers, and these primaries, have CICP's numbers."""
_WHITE_AND_PRIMARIES = {2: (1, 1)} | {number: pair for pair, number in _CICP_PRIMARIES.items()}
_TRANSFERS = {1: 1, 2: 13, 6: 1, 8: 8, 13: 13, 14: 1, 15: 1, 16: 16, 18: 18}
_POWERS = {4: 2.2, 5: 2.8}
"""CICP's transfers that JPEG XL tells as a power, in ten millionths of its inverse."""
_PEAKS = {16: 10000, 18: 1000}
"""Candela a square metre of white, as libjxl takes it for PQ and HLG."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

Bits = list[tuple[int, int]]
"""Values, and how many bits each takes."""
_BYTES_AS_THEY_ARE: Bits = [
    *((0, 1), (1, 1), (0, 2), (1, 1)),  # no repetitions; one distribution for all contexts; a prefix code
    *((8, 4), (0, 4), (0, 4)),  # numbers below 2**8 are symbols
    *((1, 1), (7, 4), (127, 7)),  # 1 + 2**7 + 127 of them
    *((0, 2), *[(0, 2)] * 10, (2, 2), *[(0, 2)] * 7),  # all lengths but 8 do not occur
]
"""The start of an entropy-coded stream in which each byte takes eight bits."""


class Head(NamedTuple):
    """What a codestream says before its pixels; places in bits.

    premultiplied: the colours are multiplied by alpha. xyb: the pixels are in JPEG XL's own colours, as those of lossy files mostly are.
    cicp: its colours if they have numbers. icc: a profile that says them if they have none. Neither if the file has a profile.
    """

    size_end: int
    depth_start: int
    premultiplied: bool
    xyb: bool
    colours_start: int
    colours_end: int
    gray: bool
    cicp: Cicp | None
    icc: bytes | None


class _Reader:
    """From the lowest bit of the first byte on."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data[:_HEAD_BYTES], "little")
        self.at = 16  # after the signature

    def bits(self, count: int) -> int:
        value = self._value >> self.at & (1 << count) - 1
        self.at += count
        return value

    def number(self, *ways: tuple[int, int]) -> int:
        """Written in one of four ways: in so many bits, and less this."""
        count, least = ways[self.bits(2)]
        return self.bits(count) + least

    def enum(self) -> int:
        return self.number((0, 0), (0, 1), (4, 2), (6, 18))

    def size(self) -> None:
        small = self.bits(1)
        for axis in range(2):
            self.bits(5) if small else self.number((9, 1), (13, 1), (18, 1), (30, 1))
            if axis == 0 and self.bits(3):  # the width follows from the height
                return

    def depth(self) -> None:
        if self.bits(1):
            self.number((0, 32), (0, 16), (0, 24), (6, 1))
            self.bits(4)
        else:
            self.number((0, 8), (0, 10), (0, 12), (6, 1))

    def animation(self) -> None:
        self.number((0, 100), (0, 1000), (10, 1), (30, 1))
        self.number((0, 1), (0, 1001), (8, 1), (10, 1))
        self.number((0, 0), (3, 0), (16, 0), (32, 0))
        self.bits(1)

    def channel(self) -> bool:
        """Whether it is an alpha that colours are multiplied by."""
        if self.bits(1):  # alpha as usual
            return False
        kind = self.enum()
        if kind == _BLACK:
            raise UnsupportedError("a JPEG XL file in CMYK")
        self.depth()
        self.number((0, 0), (0, 3), (0, 4), (3, 1))
        self.bits(8 * self.number((0, 0), (4, 0), (5, 16), (10, 48)))
        more = self.bits({_ALPHA: 1, _SPOT: 64}.get(kind, 0))
        if kind == _COLOUR_FILTER:
            self.number((0, 1), (2, 0), (4, 3), (8, 19))
        return kind == _ALPHA and bool(more)

    def chromaticity(self) -> tuple[float, float]:
        ways = (19, 0), (19, 1 << 19), (20, 1 << 20), (21, 1 << 21)
        x, y = ((-(n >> 1) - 1 if n & 1 else n >> 1) / 1e6 for n in (self.number(*ways), self.number(*ways)))
        return x, y


def head_of(codestream: bytes) -> Head:
    """UnsupportedError for a preview, which nobody makes, and for CMYK."""
    read = _Reader(codestream)
    read.size()
    size_end = read.at
    if read.bits(1):  # all as usual
        return Head(size_end, read.at, False, True, read.at, read.at, False, Cicp(1, 13), None)
    if read.bits(1):
        read.bits(3)
        if read.bits(1):
            read.size()
        if read.bits(1):
            raise UnsupportedError("a JPEG XL file with a preview")
        if read.bits(1):
            read.animation()
    depth_start = read.at
    read.depth()
    read.bits(1)
    channels = [read.channel() for _ in range(read.number((0, 0), (0, 1), (4, 2), (12, 1)))]
    xyb = bool(read.bits(1))
    return Head(size_end, depth_start, any(channels), xyb, read.at, *_colours(read))


def _colours(read: _Reader) -> tuple[int, bool, Cicp | None, bytes | None]:
    """The last four of a `Head`."""
    if read.bits(1):
        return read.at, False, Cicp(1, 13), None
    by_profile, space = read.bits(1), read.enum()
    gray = space == _GRAY
    if by_profile or space not in (_RGB, _GRAY):
        return read.at, gray, None, None
    white = read.enum()
    white_xy = read.chromaticity() if white == _CUSTOM else _WHITES[white]
    primaries = 1 if gray else read.enum()
    custom = primaries == _CUSTOM
    xy = sum((read.chromaticity() for _ in range(3)), ()) if custom else PRIMARIES[primaries][2]
    power = 1e7 / read.bits(24) if read.bits(1) else None
    transfer = read.enum() if power is None else _transfer_of(power)
    read.enum()  # the rendering intent
    number = _CICP_PRIMARIES.get((white, primaries))
    if number and (transfer in _TRANSFERS.values() or transfer in _POWERS):
        return read.at, gray, Cicp(number, transfer), None
    if transfer == _DCI_CURVE:
        power = 2.6
    light = powers(power) if power else light_of(transfer)
    icc = None if light is None else profile("JPEG XL", white_xy, None if gray else xy, light)
    return read.at, gray, None, icc


def _transfer_of(power: float) -> int:
    """CICP's; 0 if it has none."""
    return next((number for number, told in _POWERS.items() if abs(power - told) < 1e-4), 0)


def deepened(codestream: bytes, head: Head) -> bytes:
    """One of 8 or 10 bits in JPEG XL's own colours as one of 12: how deep it says to be is how deep it is decoded."""
    value = int.from_bytes(codestream[:_HEAD_BYTES], "little")
    real, depth = value >> head.depth_start & 1, value >> head.depth_start + 1 & 3
    if real or depth > 1:
        return codestream
    value += 2 - depth << head.depth_start + 1
    return value.to_bytes(min(len(codestream), _HEAD_BYTES), "little") + codestream[_HEAD_BYTES:]


def can_tell(cicp: Cicp) -> bool:
    """Whether the colours can be told at all, by numbers or by a profile."""
    return _numbers(cicp) is not None or profile_of(cicp) is not None


def _numbers(cicp: Cicp) -> tuple[int, int, int] | None:
    """White, primaries and transfer; 0 if that is a power."""
    if cicp.primaries in _WHITE_AND_PRIMARIES and cicp.transfer in _TRANSFERS | _POWERS:
        return *_WHITE_AND_PRIMARIES[cicp.primaries], _TRANSFERS.get(cicp.transfer, 0)
    return None


def with_colours(codestream: bytes, cicp: Cicp, icc: bytes | None) -> bytes:
    """A lossless codestream as libjxl writes it for imagecodecs, with its colours told anew: by the profile, or else by numbers."""
    head = head_of(codestream)
    value = int.from_bytes(codestream[:_HEAD_BYTES], "little")
    numbers = _numbers(cicp._replace(primaries=1) if head.gray else cicp)
    icc = icc or (None if numbers else profile_of(cicp))
    peak = None if icc or not numbers else _PEAKS.get(numbers[2])
    end = head.colours_end + 3  # no extensions, and the usual transforms
    if value >> head.size_end & 3 or value >> head.colours_end & 7 != 4:
        raise ValueError("libjxl has written a head otherwise than expected")
    kept = head.colours_start - head.size_end - 2
    bits: Bits = [(value & (1 << head.size_end) - 1, head.size_end), (0, 1)]
    bits += [(0, 1)] if peak is None else [(1, 1), (0, 6)]
    bits += [(value >> head.size_end + 2 & (1 << kept) - 1, kept), (0, 1), (bool(icc), 1), *_enum(head.gray)]
    if not icc:
        white, primaries, transfer = numbers or (1, 1, 13)
        bits += _enum(white) + ([] if head.gray else _enum(primaries))
        bits += (
            [(0, 1), *_enum(transfer)] if transfer else [(1, 1), (round(1e7 / _POWERS[cicp.transfer]), 24)]
        )
        bits += _enum(1)  # the usual rendering intent
    if peak is not None:
        half = int.from_bytes(struct.pack("<e", peak), "little")
        bits += [(0, 1), (half, 16), (0, 16), (0, 1), (0, 16)]
    bits.append((4, 3))
    if icc:
        packed = _packed(icc)
        size, rest = len(packed) & 0xFFF, len(packed) >> 12
        bits += [(3, 2), (size, 12)]
        while rest:
            bits += [(1, 1), (rest & 0xFF, 8)]
            rest >>= 8
        bits += [(0, 1), *_BYTES_AS_THEY_ARE]
        bits.append((int.from_bytes(packed.translate(_REVERSED), "little"), 8 * len(packed)))
    new, at = 0, 0
    for number, count in bits:
        new |= number << at
        at += count
    return new.to_bytes(-(-at // 8), "little") + codestream[-(-end // 8) :]


def _enum(number: int) -> Bits:
    return (
        [(number, 2)]
        if number < 2
        else [(2, 2), (number - 2, 4)]
        if number < 18
        else [(3, 2), (number - 18, 6)]
    )


def _packed(icc: bytes) -> bytes:
    """A profile in the form of annex E.4: how its head differs from what is expected, and the rest as one piece."""
    expected = bytearray(
        struct.pack(">I4xB3x4s4s4s12x4s", len(icc), 4, b"mntr", b"RGB ", b"XYZ ", b"acsp").ljust(128, b"\0")
    )
    expected[68:80] = bytes.fromhex("0000f6d6000100000000d32d")
    expected[80:84] = icc[4:8]
    for known in (b"APPL", b"MSFT", b"SGI ", b"SUNW"):
        told = 2 if known[:1] == b"S" else 1
        if icc[40 : 40 + told] == known[:told]:
            expected[40 + told : 44] = known[told:]
    head = bytes((byte - guess) & 0xFF for byte, guess in zip(icc, expected, strict=False))
    commands = b"\0\1" + _varint(len(icc) - len(head))  # no list of tags; copy so many bytes
    return _varint(len(icc)) + _varint(len(commands)) + commands + head + icc[len(head) :]


def _varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80]) + _varint(number >> 7) if number > 0x7F else bytes([number])
