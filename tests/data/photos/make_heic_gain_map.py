"""Made gain_map.heic with pillow-heif, as make_heic.py does the others; what it cannot write, the second picture's being the gain map of the first, is put in after.

Headroom 1.2 and gain 0.005 in Apple's maker note; the map is 3 x + 2 y.
"""

import io
import struct
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

y, x = np.mgrid[:64, :96]
rgb = np.stack([x * 2, y * 3, np.full_like(x, 90)], -1).astype(np.uint8)
gains = (3 * x + 2 * y)[:32, :48].astype(np.uint8)

note = b"Apple iOS\0\0\1MM" + struct.pack(">H", 2)
note += struct.pack(">HHII", 0x21, 10, 1, 44) + struct.pack(">HHII", 0x30, 10, 1, 52) + bytes(4)
note += struct.pack(">iiii", 12000, 10000, 50, 10000)
exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHII", 8, 1, 0x8769, 4, 1, 26) + bytes(4)
exif += struct.pack(">HHHII", 1, 0x927C, 7, len(note), 44) + bytes(4) + note

heif = pillow_heif.HeifFile()
heif.add_from_pillow(Image.fromarray(rgb))
heif.add_from_pillow(Image.fromarray(gains))
heif[0].info["exif"] = exif
file = io.BytesIO()
heif.save(file, quality=90, primary_index=0)
data = bytearray(file.getvalue())

URN = b"urn:com:apple:photo:2020:aux:hdrgainmap\0"
KIND = struct.pack(">I4sI", 12 + len(URN), b"auxC", 0) + URN
OF_FIRST = struct.pack(">I4sHHH", 14, b"auxl", 3, 1, 1)
MORE = len(KIND) + len(OF_FIRST) + 1


def start_of(kind: bytes) -> int:
    return data.index(kind) - 4


def grow(kind: bytes, count: int) -> None:
    at = start_of(kind)
    struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + count)


for i in range(3):  # the places of the three items' bytes
    at = start_of(b"iloc") + 20 + 18 * i
    struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + MORE)
data[data.index(b"infe\x02\0\0\0\0\x03") + 7] |= 1  # hidden
of_third = data.rindex(bytes.fromhex("0003058502060887"))
data[of_third + 2] = 6  # properties, not 5: the last is KIND, which is the ninth
ends = [
    start_of(kind) + struct.unpack_from(">I", data, start_of(kind))[0] for kind in (b"iref", b"ipma", b"ipco")
]
for kind, count in (
    (b"meta", MORE),
    (b"iprp", len(KIND) + 1),
    (b"ipco", len(KIND)),
    (b"ipma", 1),
    (b"iref", 14),
):
    grow(kind, count)
for end, more in zip(ends, (OF_FIRST, b"\x09", KIND), strict=True):
    data[end:end] = more
Path("gain_map.heic").write_bytes(data)
