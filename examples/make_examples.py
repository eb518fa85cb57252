"""Make the example photos: a sharp one with camera shake and a little noise put on, and a really blurred one.

Both come from scikit-image's `data` (pip install scikit-image) and are in the public domain; see README.md here.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

HERE = Path(__file__).parent
SHAKE_PIXELS = 11.0
NOISE_LEVELS = 1.5
SEED = 4

Array = NDArray[np.float64]


def shake_kernel(length: float, size: int, generator: np.random.Generator) -> Array:
    """The path of a trembling hand, (size, size), sum 1: a smooth random walk of that length, its middle centred."""
    directions = np.cumsum(generator.normal(0, 0.25, 200)) + generator.uniform(0, 2 * np.pi)
    path = np.cumsum(np.stack([np.sin(directions), np.cos(directions)], 1), 0)
    path *= length / np.ptp(path, axis=0).max()
    path += size // 2 - path.mean(0)
    kernel = np.zeros((size, size))
    for y, x in path:  # each point of the path is shared among its four pixels
        y0, x0 = int(y), int(x)
        fy, fx = y - y0, x - x0
        kernel[y0 : y0 + 2, x0 : x0 + 2] += np.outer([1 - fy, fy], [1 - fx, fx])
    return kernel / kernel.sum()


def convolve(image: Array, kernel: Array) -> Array:
    """(h, w, c) with (k, k), the photo mirrored at its border."""
    margin = kernel.shape[0]
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    spectrum = np.fft.rfft2(kernel, padded.shape[:2])[..., None] * np.fft.rfft2(padded, axes=(0, 1))
    blurred = np.fft.irfft2(spectrum, padded.shape[:2], axes=(0, 1))
    start = margin + kernel.shape[0] // 2
    return blurred[start : start + image.shape[0], start : start + image.shape[1]]


def to_linear(srgb: Array) -> Array:
    """sRGB's transfer function (IEC 61966-2-1), inverted: 0..1 -> light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Array) -> Array:
    """sRGB's transfer function (IEC 61966-2-1): light -> 0..1."""
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def main() -> None:
    """Write the three files beside this script."""
    generator = np.random.default_rng(SEED)
    sharp = data.astronaut()
    kernel = shake_kernel(SHAKE_PIXELS, 2 * int(SHAKE_PIXELS) + 1, generator)
    blurred = to_srgb(convolve(to_linear(sharp / 255), kernel)) * 255
    noisy = np.rint(blurred + generator.normal(0, NOISE_LEVELS, blurred.shape)).clip(0, 255).astype(np.uint8)
    (HERE / "originals").mkdir(exist_ok=True)
    Image.fromarray(sharp).save(HERE / "originals/astronaut.png", optimize=True)
    Image.fromarray(noisy).save(HERE / "astronaut.jpg", quality=95, subsampling=0)
    Image.fromarray(data.clock()).save(HERE / "clock.png", optimize=True)


if __name__ == "__main__":
    main()
