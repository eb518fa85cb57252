"""Restored against sharp: PSNR, SSIM and LPIPS from libraries, at the best whole-pixel shift. It restores nothing.

The libraries come with the extra `evaluate`; LPIPS with the extra `lpips`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deblur_cli.errors import PhotoError, UsageError
from deblur_cli.photo import Photo

MAX_SHIFT = 3
"""Pixels: a blurry photo and its sharp one are rarely aligned better, and a shift is no fault of the restoring."""

SMALLEST = 11 + 2 * MAX_SHIFT
"""Pixels a side: the window of SSIM, and a border on both sides."""

Image = NDArray[np.float32]
"""(h, w, 3 | 1) in 0..1."""


@dataclass(frozen=True)
class Scores:
    """psnr in dB, higher is better; ssim up to 1, higher is better; lpips from 0, lower is better, None if not asked for.

    shift: (down, right) in pixels by which the photo was moved to fit the sharp one best.
    """

    psnr: float
    ssim: float
    lpips: float | None
    shift: tuple[int, int]


def evaluate_photo(photo: Photo, sharp: Photo, *, name: str, lpips: bool = False) -> Scores:
    """How close a photo is to its sharp one, both as they are saved. PhotoError, with `name`, if sizes do not go together.

    All shifts of up to 3 pixels are tried; the one with the highest PSNR counts, for the other figures too. Every shift
    is scored on the same pixels of the sharp photo: all but a border of 3.
    """
    same_scale = photo.pixels.dtype == sharp.pixels.dtype  # of floats, each might find another white
    image, reference = _image(photo, sharp.peak if same_scale else photo.peak), _image(sharp, sharp.peak)
    h, w, channels = reference.shape
    if image.shape[:2] != (h, w) or min(h, w) < SMALLEST:
        raise PhotoError(
            f"{name}: the photo is {image.shape[1]}x{image.shape[0]}, its sharp one {w}x{h}",
            hint=f"They must be of one size, of at least {SMALLEST} pixels a side.",
        )
    image = np.broadcast_to(image, (h, w, max(image.shape[2], channels)))
    reference = np.broadcast_to(reference, image.shape)
    target = _moved(reference, 0, 0)
    steps = range(-MAX_SHIFT, MAX_SHIFT + 1)
    shifts = [(down, right) for down in steps for right in steps]
    shift = min(shifts, key=lambda shift: _error(_moved(image, *shift), target))
    best = _moved(image, *shift)
    return Scores(_psnr(best, target), _ssim(best, target), _lpips(best, target) if lpips else None, shift)


def _image(photo: Photo, peak: float) -> Image:
    return photo.pixels.astype(np.float32) / np.float32(peak)


def _moved(image: Image, down: int, right: int) -> Image:
    """The image moved by that much, without the border that some shift would uncover."""
    h, w, _ = image.shape
    return image[MAX_SHIFT - down : h - MAX_SHIFT - down, MAX_SHIFT - right : w - MAX_SHIFT - right]


def _error(image: Image, reference: Image) -> float:
    difference = (image - reference).ravel()
    return float(np.dot(difference, difference))


def _psnr(image: Image, reference: Image) -> float:
    if _error(image, reference) == 0:
        return float("inf")
    return float(_metrics().peak_signal_noise_ratio(reference, image, data_range=1))


def _ssim(image: Image, reference: Image) -> float:
    """With the Gaussian window of the paper (Wang et al. 2004): sigma 1.5, 11x11."""
    return float(
        _metrics().structural_similarity(
            reference,
            image,
            data_range=1,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


@cache
def _metrics() -> Any:  # noqa: ANN401
    try:
        from skimage import metrics
    except ImportError as error:
        raise UsageError(
            "evaluating needs scikit-image", hint="Install it with: pip install 'deblur-cli[evaluate]'"
        ) from error
    return metrics


def _lpips(image: Image, reference: Image) -> float:
    import torch

    tensors = [
        torch.from_numpy(np.ascontiguousarray(x)).permute(2, 0, 1)[None] * 2 - 1 for x in (image, reference)
    ]
    with torch.inference_mode():
        return float(_lpips_network()(*tensors))


@cache
def _lpips_network() -> Any:  # noqa: ANN401
    try:
        import lpips
    except ImportError as error:
        raise UsageError(
            "LPIPS needs a package of its own", hint="Install it with: pip install 'deblur-cli[lpips]'"
        ) from error
    return lpips.LPIPS(net="alex", verbose=False)
