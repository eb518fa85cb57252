"""Made turned.heic, deep.heic and two.heic with pillow-heif, whose wheels hold a GPL encoder: no dependency of ours.

`pip install --target /tmp/x pillow-heif`, then `PYTHONPATH=/tmp/x python make_heic.py` in this folder.
"""

import struct

import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()
y, x = np.mgrid[:48, :64]
seen = np.stack([x * 3, y * 4, (x + y) * 2], -1).astype(np.uint8)

with Image.open("full.jpg") as full:
    exif = bytearray(full.info["exif"])
    order = ">" if exif[6:8] == b"MM" else "<"
    at = exif.index(struct.pack(f"{order}HHIH", 0x0112, 3, 1, 1))
    struct.pack_into(f"{order}H", exif, at + 8, 6)
    # Stored so that a quarter turn to the right, asked for in EXIF and by HEIC's own property, shows `seen`.
    Image.fromarray(np.rot90(seen).copy()).save(
        "turned.heic",
        quality=90,
        exif=bytes(exif),
        icc_profile=full.info["icc_profile"],
        xmp=full.info["xmp"],
    )

deep = np.stack([x * 1000, y * 1300, (x + y) * 500], -1).astype(np.uint16)
pillow_heif.from_bytes("RGB;16", (64, 48), deep.tobytes()).save("deep.heic", quality=95)

two = pillow_heif.from_pillow(Image.new("RGB", (64, 64), (200, 100, 50)))
two.add_from_pillow(Image.new("RGB", (64, 64)))
two.save("two.heic", quality=50)
