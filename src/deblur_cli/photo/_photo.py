"""What a decoded photo is: pixels, transparency, metadata, and how its file was encoded."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]
"""uint8, uint16 or float32."""


@dataclass(frozen=True)
class Metadata:
    """What a file says about its photo. Blocks of bytes stay as they were until they are written.

    exif: a TIFF structure, without the "Exif\\0\\0" that JPEG puts before it.
    dpi: horizontal, vertical.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    comment: bytes | None = None
    dpi: tuple[float, float] | None = None


@dataclass(frozen=True)
class Encoding:
    """How the file was encoded, so that its result can be encoded alike.

    format: a name of `_formats.FORMATS`.
    jpeg_tables: the quantisation tables, in the order of the file.
    subsampling: JPEG's chroma subsampling as Pillow counts it: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0.
    lossless: of WebP.
    compression: of TIFF, as Pillow names it.
    """

    format: str
    jpeg_tables: tuple[tuple[int, ...], ...] = ()
    subsampling: int = 0
    progressive: bool = False
    lossless: bool = True
    compression: str | None = None


@dataclass(frozen=True)
class Photo:
    """A decoded photo, upright: orientation is already applied.

    pixels: (h, w, 3) or, gray, (h, w, 1); uint8, uint16 or float32.
    alpha: (h, w) of the same dtype, or None; 0 is transparent. Restoring leaves it alone.
    notes: what the user should know about how the file was read.
    """

    pixels: Samples
    alpha: Samples | None
    encoding: Encoding
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()

    @property
    def peak(self) -> float:
        """The sample value that a network sees as 1.0.

        255 or 65535; in float the largest sample there is, but at least 1, so that no highlight is cut off.
        """
        if self.pixels.dtype == np.float32:
            return max(1.0, float(self.pixels.max()))
        return float(np.iinfo(self.pixels.dtype).max)
