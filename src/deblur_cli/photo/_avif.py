"""AVIF: Pillow for the header and for writing, imagecodecs for pixels of more than 8 bits."""

import io

import numpy as np

from deblur_cli.photo._boxes import check_boxes, note_on_colours
from deblur_cli.photo._exif import without_orientation
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples

DEFAULT_QUALITY = 92
_HIGH_BIT_DEPTH, _TWELVE_BITS = 0x40, 0x20


def open_avif(data: bytes) -> Opened:
    """The header of an AVIF file. Pillow puts its turns and mirrorings into EXIF, as an orientation."""
    from PIL import AvifImagePlugin

    check_boxes(data)
    image = AvifImagePlugin.AvifImageFile(io.BytesIO(data))
    exif = image.info.get("exif", b"").removeprefix(b"Exif\0\0") or None
    notes = [] if image.info.get("icc_profile") else [*note_on_colours(data)]
    if image.n_frames > 1:
        notes.append(f"only the first of {image.n_frames} frames is restored: the others are left out")
    config = data.find(b"av1C")
    flags = data[config + 6] if 0 <= config < len(data) - 6 else 0
    bits = (12 if flags & _TWELVE_BITS else 10) if flags & _HIGH_BIT_DEPTH else 8

    def decode() -> Samples:
        if bits == 8:
            return np.asarray(image)
        import imagecodecs

        top = (1 << bits) - 1
        samples = imagecodecs.avif_decode(_as_still(data), index=0).astype(np.uint32)
        samples = samples[..., : len(image.getbands())]  # of sequences it adds an alpha
        return ((samples * 65535 + top // 2) // top).astype(np.uint16)

    mode = {"L": "gray", "LA": "gray and alpha", "RGB": "RGB", "RGBA": "RGB and alpha"}[image.mode]
    metadata = Metadata(image.info.get("icc_profile"), exif, image.info.get("xmp"))
    encoding = Encoding("AVIF", lossless=False)
    return Opened(image.height, image.width, mode, bits, encoding, metadata, decode, notes=tuple(notes))


def _as_still(data: bytes) -> bytes:
    """The file as one that holds a still picture only, which every sequence does too: decoding sequences of more than 8 bits crashes imagecodecs 2026.3.6."""
    size = int.from_bytes(data[:4], "big")
    return data[:8] + data[8:size].replace(b"avis", b"avif").replace(b"msf1", b"mif1") + data[size:]


def encode_avif(samples: Samples, metadata: Metadata, quality: int | None) -> bytes:
    """An AVIF file of uint8 samples; alpha is lossless."""
    from PIL import Image

    gray = samples.shape[2] < 3
    file = io.BytesIO()
    Image.fromarray(samples.squeeze(2) if samples.shape[2] == 1 else samples).save(
        file,
        "AVIF",
        quality=quality or DEFAULT_QUALITY,
        subsampling="4:0:0" if gray else "4:4:4",
        advanced={"alpha:lossless": "1"},
        icc_profile=metadata.icc,
        exif=metadata.exif and without_orientation(metadata.exif),
        xmp=metadata.xmp,
    )
    return file.getvalue()
