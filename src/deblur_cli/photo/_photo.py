"""What a photo is in memory: pixels, transparency, metadata, and how its file was encoded."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur_cli.photo._cicp import Cicp

Samples = NDArray[Any]
"""(h, w, c) of uint8, uint16 or float32; c is 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha."""


def white_of(samples: Samples) -> int:
    """The sample value of white: 255, 65535, or 1 in float."""
    return {"uint8": 255, "uint16": 65535, "float32": 1}[samples.dtype.name]


@dataclass(frozen=True)
class Metadata:
    """What a file says about its photo. Every block is the bytes of the file.

    exif: a TIFF structure, without the "Exif\\0\\0" that JPEG puts before it.
    photoshop: Photoshop's image resources ("8BIM" blocks); IPTC is one of them.
    dpi: horizontal, vertical.
    native: what only the photo's own format can hold: (name, bytes) of JPEG segments or PNG chunks.
    cicp: colours told by numbers and not, or not only, by a profile.
    gain_map: a JPEG file that says by how much each place is brighter on an HDR screen. video: of a motion photo.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    photoshop: bytes | None = None
    comment: bytes | None = None
    dpi: tuple[float, float] | None = None
    native: tuple[tuple[str, bytes], ...] = ()
    cicp: Cicp | None = None
    gain_map: bytes | None = None
    video: bytes | None = None

    def kinds(self) -> tuple[str, ...]:
        """Which kinds there are, in the words of docs/formats.md."""
        from deblur_cli.photo._photoshop import iptc_of

        present = {
            "ICC": self.icc,
            "EXIF": self.exif,
            "XMP": self.xmp,
            "IPTC": self.photoshop and iptc_of(self.photoshop),
            "comment": self.comment,
            "CICP": self.cicp and not self.cicp.ordinary,
            "DPI": self.dpi,
            "gain map": self.gain_map,
            "video": self.video,
        }
        return tuple(kind for kind, value in present.items() if value)


@dataclass(frozen=True)
class Encoding:
    """How the file was encoded, so that its result can be encoded alike.

    format: a name of `_formats.FORMATS`.
    lossless: False if the pixels went through a lossy codec.
    jpeg_tables: JPEG's quantisation tables, in the order of the file.
    subsampling: JPEG's chroma subsampling as Pillow counts it: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0.
    compression: TIFF's, as tifffile names it in lower case; None if there is none.
    premultiplied: the colour is multiplied by alpha already, as TIFF's associated alpha has it.
    bits: of AVIF's samples.
    """

    format: str
    lossless: bool = True
    jpeg_tables: tuple[tuple[int, ...], ...] = ()
    subsampling: int = 0
    progressive: bool = False
    compression: str | None = None
    premultiplied: bool = False
    bits: int | None = None


@dataclass(frozen=True)
class Photo:
    """A decoded photo, upright: orientation is already applied, and reset in the metadata.

    pixels: (h, w, 3) or, gray, (h, w, 1); uint8, uint16 or float32.
    alpha: (h, w) of the same dtype, or None; 0 is transparent. Restoring leaves it alone.
    notes: what the user should know about how the file was read.
    views: of a dual-pixel pair, left and right, each as the pixels, which are their mean.
    """

    pixels: Samples
    alpha: Samples | None
    encoding: Encoding
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()
    views: tuple[Samples, Samples] | None = None

    @property
    def peak(self) -> float:
        """The sample value that a network sees as 1.0.

        255 or 65535; in float the power of two above the largest finite sample, and at least 1: no highlight is cut
        off, and dividing by it loses nothing.
        """
        if self.pixels.dtype != np.float32:
            return white_of(self.pixels)
        seen = (self.pixels,) if self.views is None else self.views
        largest = max(float(samples.max(initial=1, where=np.isfinite(samples))) for samples in seen)
        return 2.0 ** math.ceil(math.log2(largest))


@dataclass(frozen=True)
class Opened:
    """A photo file of which the header is read and the pixels are not.

    height, width: as stored.
    mode: "gray", "RGB", "palette" or "CMYK", with " and alpha" if there is that.
    bits: of one sample in the file.
    decode: the samples as stored; for CMYK the four inks, uint8.
    orientation: how to turn them, EXIF's 1 to 8; `_read` finds it.
    """

    height: int
    width: int
    mode: str
    bits: int
    encoding: Encoding
    metadata: Metadata
    decode: Callable[[], Samples]
    notes: tuple[str, ...] = ()
    orientation: int = 1
