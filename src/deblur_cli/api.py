"""Weights, device, precision and tile -> a `Deblurrer`: what the command line and the Python API share."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deblur_cli.device import choose_device
from deblur_cli.download import find_installed
from deblur_cli.errors import UsageError, WeightsError
from deblur_cli.loader import load_model
from deblur_cli.photo import Encoding, Photo, image_from_photo, photo_from_image
from deblur_cli.registry import WeightsEntry, find_weights
from deblur_cli.restore import Progress, Restored, restore_photo
from deblur_cli.tiles import check_tile

Tile = int | Literal["auto"]
Image = TypeVar("Image", bound=Any)

AUTO_TILE = 512
WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors")
LUMINANCE = (0.299, 0.587, 0.114)
"""Rec. 601, as in JPEG and in the gray photos that the gray network was trained on."""


class Deblurrer:
    """A network, loaded once and ready for any number of photos.

    weights: a name from `deblur download-weights --list`, or a .pth, .pt or .safetensors file of a Restormer.
    device: auto, cpu, cuda, cuda:N or mps. tile: auto, 0 for the whole photo, or a size in pixels.
    UsageError for a wrong value, WeightsError for weights that cannot be used.
    """

    def __init__(
        self,
        weights: str | Path = "auto",
        device: str = "auto",
        tile: Tile = "auto",
        overlap: int | None = None,
    ) -> None:
        self.tile, self.overlap = check_tile(AUTO_TILE if tile == "auto" else tile, overlap)
        self.device = choose_device(device)
        self.path, self.entry = find_weights_file(weights)
        self.weights = self.entry.name if self.entry else str(self.path)
        self._model = load_model(self.path, device=self.device)
        if self._model.config.dual_pixel:
            raise WeightsError(
                f"{self.weights}: a {self._model.config.inp_channels}-channel dual-pixel checkpoint, which needs two views",
                hint="A photo file holds one view; the Python API's model module runs such networks.",
            )

    def __call__(self, image: Image, *, strength: float = 1.0) -> Image:
        """Sharpen a PIL image or an array; the result has the same type, size, mode and dtype.

        Arrays are (h, w) or (h, w, c) with c 1, 3 or 4 (alpha last): uint8, uint16, or floats in 0..1.
        """
        if isinstance(image, np.ndarray):
            return _restore_array(self, image, strength)  # type: ignore[return-value]
        restored = self.restore(photo_from_image(image), strength=strength)
        return image_from_photo(restored.photo, like=image)  # type: ignore[return-value]

    def restore(self, photo: Photo, *, strength: float = 1.0, progress: Progress | None = None) -> Restored:
        """Restore a decoded photo. strength: 0 leaves it as it is, 1 takes the network's output."""
        restored = restore_photo(
            photo,
            self._predict,
            tile=self.tile,
            overlap=self.overlap,
            strength=strength,
            progress=progress,
        )
        made_with = {"weights": self.weights, "device": str(self.device)}
        return replace(restored, details=replace(restored.details, made_with=made_with))

    def _predict(self, tile: Tensor) -> Tensor:
        """(1, 3 | 1, h, w) -> the same, through a network of 3 channels or of 1.

        A gray photo goes through a colour network as three equal channels, whose results are averaged. A gray
        network restores the luminance of a colour photo and leaves its colour differences as they are.
        """
        channels = self._model.config.inp_channels
        if channels == tile.shape[1]:
            return self._run(tile)
        if channels == 3:
            return self._run(tile.expand(-1, 3, -1, -1)).mean(1, keepdim=True)
        luminance = (tile * torch.tensor(LUMINANCE)[:, None, None]).sum(1, keepdim=True)
        return tile + (self._run(luminance) - luminance)

    def _run(self, tile: Tensor) -> Tensor:
        with torch.inference_mode():
            result: Tensor = self._model(tile.to(self.device))
        return result.float().cpu()


def deblur(
    image: Image,
    *,
    weights: str | Path = "auto",
    tile: Tile = "auto",
    device: str = "auto",
    strength: float = 1.0,
) -> Image:
    """Sharpen one PIL image or array; same type back. For several, make one `Deblurrer` and call it."""
    return Deblurrer(weights, device, tile)(image, strength=strength)


def find_weights_file(weights: str | Path) -> tuple[Path, WeightsEntry | None]:
    """A name or a file -> the file on this computer, and its entry if it was a name. auto: motion if installed, else compact."""
    path = Path(weights)
    if isinstance(weights, Path) or path.suffix in WEIGHTS_SUFFIXES or path.is_file():
        if not path.is_file():
            raise WeightsError(
                f"{path}: no such weights file", hint="`deblur download-weights --list` shows what exists."
            )
        return path, None
    if weights == "auto":
        entry = find_weights("motion")
        if not find_installed(entry):
            entry = find_weights("compact")
    else:
        entry = find_weights(weights)
    installed = find_installed(entry)
    if not installed:
        raise WeightsError(
            f"the weights {entry.name} are not installed",
            hint=f"To fetch their {entry.size_bytes / 1e6:.0f} MB: deblur download-weights {entry.name}, or add --download.",
        )
    return installed.path, entry


def _restore_array(deblurrer: Deblurrer, array: NDArray[Any], strength: float) -> NDArray[Any]:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in array.shape:
        raise UsageError(
            f"an array of shape {array.shape} is no photo", hint="Shapes are (h, w) or (h, w, 1 | 3 | 4)."
        )
    if not (array.dtype in (np.uint8, np.uint16) or np.issubdtype(array.dtype, np.floating)):
        raise UsageError(
            f"an array of {array.dtype} is no photo", hint="Types are uint8, uint16 and floats in 0..1."
        )
    pixels = array.reshape(*array.shape[:2], channels)
    samples = pixels[..., :3] if array.dtype.kind == "u" else pixels[..., :3].astype(np.float32)
    restored = deblurrer.restore(Photo(samples, None, Encoding("PNG")), strength=strength).photo.pixels
    sharp = np.concatenate([restored.astype(array.dtype), pixels[..., 3:]], axis=2)
    return sharp.reshape(array.shape)
