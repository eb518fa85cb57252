"""GIF and BMP, through Pillow; the BMP with transparency or a profile, which it cannot write, is written here."""

import io
import struct

import numpy as np

from deblur_cli.photo._errors import CutShortError
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples

_INCHES_PER_METRE = 1 / 0.0254
_V3_HEADER_BYTES, _V5_HEADER_BYTES = 40, 124
_BITFIELDS, _EMBEDDED_PROFILE, _CALIBRATED_SRGB = 3, 0x4D424544, 0x73524742
_GIF_COLOURS = 256
_GIF_PIXELS_PER_BYTE = 4096
"""More than LZW reaches with codes of 12 bits that stand for at most 4096 pixels."""


def open_gif(data: bytes) -> Opened:
    """The header of a GIF file."""
    from PIL import GifImagePlugin

    if b";" not in data[-16:]:  # the trailer, and what some writers leave after it
        raise CutShortError
    image = GifImagePlugin.GifImageFile(io.BytesIO(data))
    if image.width * image.height > len(data) * _GIF_PIXELS_PER_BYTE:
        raise CutShortError
    frames = image.n_frames
    notes = (f"only the first of {frames} frames is restored: the others are left out",) if frames > 1 else ()
    alpha = "transparency" in image.info
    gray = image.mode == "L" and not alpha
    mode = "gray" if gray else "palette and alpha" if alpha else "palette"

    def decode() -> Samples:
        return np.asarray(image if gray else image.convert("RGBA" if alpha else "RGB"))

    metadata = Metadata(comment=image.info.get("comment"))
    return Opened(image.height, image.width, mode, 8, Encoding("GIF"), metadata, decode, notes=notes)


def encode_gif(samples: Samples, metadata: Metadata) -> tuple[bytes, list[str]]:
    """A GIF file of uint8 samples, exact if they have no more colours than GIF holds; and notes."""
    from PIL import Image

    notes = []
    options: dict[str, object] = {}
    if samples.shape[2] == 1:
        image = Image.fromarray(samples.squeeze(2))
    else:
        visible = samples[..., 3] >= 128 if samples.shape[2] == 4 else np.ones(samples.shape[:2], bool)
        if samples.shape[2] == 4 and not np.isin(samples[..., 3], (0, 255)).all():
            notes.append("GIF has no half transparency: pixels are made transparent or not")
        available = _GIF_COLOURS - (not visible.all())
        packed = samples[..., :3].astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
        places = np.zeros(1 << 24, np.uint8)  # faster, and smaller, than to sort the pixels
        places[packed[visible]] = 1
        colours = np.flatnonzero(places)
        if len(colours) > available:
            notes.append(f"GIF holds {available} of the photo's {len(colours)} colours")
            rgb = Image.fromarray(np.ascontiguousarray(samples[..., :3]))
            image = rgb.quantize(available, Image.Quantize.MEDIANCUT)
            plane = np.asarray(image).copy()
            palette = (image.getpalette() or [])[: 3 * available]
        else:
            plane = np.zeros(samples.shape[:2], np.uint8)
            places[colours] = np.arange(len(colours))
            plane[visible] = places[packed[visible]]
            palette = [
                value
                for colour in colours.tolist()
                for value in (colour >> 16, colour >> 8 & 255, colour & 255)
            ]
        if not visible.all():
            options["transparency"] = len(palette) // 3
            plane[~visible] = options["transparency"]
            palette += [0, 0, 0]
        image = Image.fromarray(plane)
        image.putpalette(palette)
    file = io.BytesIO()
    image.save(file, "GIF", optimize=False, comment=metadata.comment or b"", **options)
    return file.getvalue(), notes


def open_bmp(data: bytes) -> Opened:
    """The header of a BMP file, or of one that begins where a BMP in memory does, as .dib may."""
    from PIL import BmpImagePlugin

    if not data.startswith(b"BM"):
        data = _file_header(data) + data
    image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
    modes = {"1": "gray", "L": "gray", "P": "palette", "RGB": "RGB", "RGBA": "RGB and alpha"}
    bits_per_pixel = struct.unpack_from("<H", data, 28)[0]
    raw = image.tile and image.tile[0][0] == "raw"
    if raw and image.height * (image.width * bits_per_pixel // 8) > len(data):
        raise CutShortError

    def decode() -> Samples:
        target = {"1": "L", "P": "RGB"}.get(image.mode, image.mode)
        return np.asarray(image.convert(target))

    metadata = Metadata(icc=_bmp_profile(data), dpi=image.info.get("dpi"))
    return Opened(image.height, image.width, modes[image.mode], 8, Encoding("BMP"), metadata, decode)


def _file_header(dib: bytes) -> bytes:
    """What comes before a header of 40 bytes or more, its palette and its pixels."""
    header, _, _, _, bits, compression, _, _, _, colours = struct.unpack_from("<IiiHHIIiiI", dib)
    masks = 12 if header == _V3_HEADER_BYTES and compression == _BITFIELDS else 0
    palette = 4 * (colours or (1 << bits if bits <= 8 else 0))
    return struct.pack("<2sIHHI", b"BM", 14 + len(dib), 0, 0, 14 + header + masks + palette)


def _bmp_profile(data: bytes) -> bytes | None:
    if len(data) < 14 + _V5_HEADER_BYTES or struct.unpack_from("<I", data, 14)[0] != _V5_HEADER_BYTES:
        return None
    (kind,) = struct.unpack_from("<I", data, 14 + 56)
    offset, size = struct.unpack_from("<II", data, 14 + 112)
    profile = data[14 + offset : 14 + offset + size]
    return profile if kind == _EMBEDDED_PROFILE and len(profile) == size else None


def encode_bmp(samples: Samples, metadata: Metadata) -> bytes:
    """A BMP file of uint8 samples, its header of version 5: gray by a palette, RGB, or RGB and alpha."""
    height, width, channels = samples.shape
    palette = b""
    if channels == 1:
        palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    else:
        samples = samples[..., [2, 1, 0, 3][:channels]]
    rows = np.pad(samples[::-1].reshape(height, -1), ((0, 0), (0, -width * channels % 4)))
    icc = metadata.icc or b""
    start = 14 + _V5_HEADER_BYTES + len(palette)
    x, y = (round(value * _INCHES_PER_METRE) for value in metadata.dpi or (0, 0))
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000) if channels == 4 else (0, 0, 0, 0)
    header = struct.pack(
        "<2sIHHI IiiHHIIiiII 4I I36s3I I3I",
        *(b"BM", start + rows.nbytes + len(icc), 0, 0, start),
        *(_V5_HEADER_BYTES, width, height, 1, 8 * channels, _BITFIELDS if channels == 4 else 0, rows.nbytes),
        *(x, y, 256 if palette else 0, 0),
        *masks,
        *(_EMBEDDED_PROFILE if icc else _CALIBRATED_SRGB, b"", 0, 0, 0),
        *(4, start - 14 + rows.nbytes if icc else 0, len(icc), 0),
    )
    return header + palette + rows.tobytes() + icc
