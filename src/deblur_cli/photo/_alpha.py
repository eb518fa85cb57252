"""Colour under transparent pixels."""

from dataclasses import replace

import numpy as np

from deblur_cli.photo._photo import Photo, Samples


def fill_transparent(photo: Photo) -> Photo:
    """The photo with the colour of its nearest visible pixels under all fully transparent ones.

    What lies there is often black or leftover colour, which a network would draw into the visible edges.
    """
    if photo.alpha is None or photo.alpha.all() or not photo.alpha.any():
        return photo
    return replace(photo, pixels=_fill(photo.pixels, photo.alpha > 0))


def _fill(pixels: Samples, visible: np.ndarray) -> Samples:
    """Push-pull: halve until all is known, then fill the unknown pixels of each size from the next smaller."""
    h, w, _ = pixels.shape
    if visible.all():
        return pixels
    weight = np.pad(visible, ((0, h % 2), (0, w % 2))).astype(np.float32)[..., None]
    padded = np.pad(pixels, ((0, h % 2), (0, w % 2), (0, 0))).astype(np.float32) * weight
    blocks = (weight.shape[0] // 2, 2, weight.shape[1] // 2, 2, -1)
    weights = weight.reshape(blocks).sum((1, 3))
    means = padded.reshape(blocks).sum((1, 3)) / np.maximum(weights, 1)
    smaller = _fill(means, weights[..., 0] > 0)
    larger = smaller.repeat(2, 0).repeat(2, 1)[:h, :w]
    if pixels.dtype != np.float32:
        larger = np.rint(larger)
    return np.where(visible[..., None], pixels, larger.astype(pixels.dtype))
