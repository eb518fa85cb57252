"""Colour profiles: CMYK to RGB, and whether a profile fits the pixels."""

import io

import numpy as np

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
