"""How sharp a photo is."""

import numpy as np
import torch

from deblur_cli.photo import Photo, fill_transparent
from deblur_cli.sharpness import Sharpness, measure

LUMINANCE = (0.299, 0.587, 0.114)
"""Rec. 601, as in JPEG."""


def sharpness_of(photo: Photo) -> Sharpness | None:
    """None where there is nothing to tell it by, as in a clear sky."""
    pixels = fill_transparent(photo).pixels
    shares = LUMINANCE if pixels.shape[2] == 3 else (1.0,)
    luma = np.zeros(pixels.shape[:2], np.float32)
    for channel, share in enumerate(shares):
        luma += np.multiply(pixels[..., channel], np.float32(share / photo.peak), dtype=np.float32)
    return measure(torch.from_numpy(luma))
