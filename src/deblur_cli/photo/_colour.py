"""Colours: CMYK and CIELAB to RGB, and whether a profile fits the pixels."""

import io

import numpy as np

from deblur_cli.photo._cicp import adaptation, xyz_of
from deblur_cli.photo._photo import Samples


def rgb_of_cmyk(inks: Samples, profile: bytes | None) -> tuple[Samples, bytes | None, str]:
    """(h, w, 4) uint8 inks -> RGB samples, their profile, and what was done."""
    from PIL import Image, ImageCms

    image = Image.fromarray(np.ascontiguousarray(inks), "CMYK")
    if profile:
        srgb = ImageCms.createProfile("sRGB")
        try:
            converted = ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass
        else:
            return (
                np.asarray(converted),
                ImageCms.ImageCmsProfile(srgb).tobytes(),
                "CMYK is converted to sRGB",
            )
    rgb = image.convert("RGB")
    return np.asarray(rgb), None, "CMYK without a usable profile is converted to RGB: colours are approximate"


D50 = (0.34567, 0.35850)
"""x and y of the white of CIELAB (ICC.1), unless a file tells another."""
_TO_SRGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ],
    np.float32,
)
"""From XYZ under D50 to linear sRGB, by Bradford's adaptation (IEC 61966-2-1)."""


def rgb_of_lab(lab: Samples, *, signed: bool, white: tuple[float, float] = D50) -> Samples:
    """(h, w, 3) uint8 or uint16 samples of L, a and b as TIFF 6.0 has them -> sRGB of that type.

    signed: a and b are two's complements, else moved by half. white: x and y of what they are told by.
    """
    bits = 8 * lab.dtype.itemsize
    top, half, scale = (1 << bits) - 1, 1 << bits - 1, 1 << bits - 8
    colour = lab[..., 1:].astype(np.float32)
    colour = np.where(colour >= half, colour - (top + 1), colour) if signed else colour - half
    f_y = (lab[..., 0] * np.float32(100 / top) + 16) / 116
    f = np.stack([f_y + colour[..., 0] / scale / 500, f_y, f_y - colour[..., 1] / scale / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * xyz_of(*white).astype(np.float32)
    light = (xyz @ (_TO_SRGB @ adaptation(xyz_of(*white), xyz_of(*D50))).T.astype(np.float32)).clip(None, 1)
    rounded: Samples = np.rint(srgb_of(light) * top).astype(lab.dtype)
    return rounded


def srgb_of(light: Samples) -> Samples:
    """Linear light from 0 to 1, and of brighter highlights, by sRGB's curve (IEC 61966-2-1)."""
    light = light.clip(0)
    curved: Samples = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return curved


def rgb_of_ycbcr(samples: Samples) -> Samples:
    """(h, w, 3) uint8 or uint16 of BT.601's YCbCr at full range (JFIF) -> RGB of that type."""
    top = np.iinfo(samples.dtype).max
    y, cb, cr = np.moveaxis(samples.astype(np.float32), -1, 0)
    cb, cr = cb - (top // 2 + 1), cr - (top // 2 + 1)
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1)
    rounded: Samples = np.rint(rgb).clip(0, top).astype(samples.dtype)
    return rounded


def fits(profile: bytes, channels: int) -> bool:
    """Whether a profile is about pixels of so many colour channels."""
    return profile[16:20] == (b"GRAY" if channels == 1 else b"RGB ")


def name_of(profile: bytes) -> str:
    """The profile's own description; "unreadable" if it is damaged."""
    from PIL import ImageCms

    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    except (ImageCms.PyCMSError, OSError):
        return "unreadable"
