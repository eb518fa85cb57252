"""Weights, device, precision, tile and shake -> a `Deblurrer`: what the command line and the Python API share."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deblur_cli import shake, stream
from deblur_cli.api._shake import Kernel, check_shake, read_kernel, told_of
from deblur_cli.api._sharpness import sharpness_of
from deblur_cli.api._weights import choose_window, find_weights_file
from deblur_cli.device import auto_tile, choose_device, choose_dtype, free_memory, peak_bytes
from deblur_cli.download import choose_entries
from deblur_cli.errors import PhotoError, UsageError, WeightsError
from deblur_cli.loader import load_model
from deblur_cli.photo import (
    Encoding,
    Photo,
    image_from_photo,
    pair_of,
    photo_from_image,
    tone_curve_of,
)
from deblur_cli.restore import (
    Output,
    Progress,
    Region,
    Restored,
    Unshake,
    check_strength,
    mix,
    output_of,
    output_of_region,
    region_size,
    to_tensor,
)
from deblur_cli.tiles import MAX_OVERLAP_SHARE, MIN_TILE, check_tile

Tile = int | Literal["auto"]
Image = TypeVar("Image", bound=Any)

PRECISION_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
LUMINANCE = (0.299, 0.587, 0.114)
"""Rec. 601, as in JPEG and in the gray photos that the gray network was trained on."""


class Deblurrer:
    """A network, loaded once and ready for any number of photos.

    weights: a name from `deblur download-weights --list`, or of the Hub's that was fetched, or a .pth, .pt or .safetensors file of a Restormer. auto: motion
    if it is installed, else compact; and where defocus is installed beside motion, that for each photo that is out of focus.
    device: auto, cpu, cuda, cuda:N or mps. precision: auto, fp32 or bf16. tile: auto, 0 for the whole photo, or a size
    in pixels. window: of the attention's statistics in pixels, 0 for the whole tile; by default what the weights were
    trained with. memory_share: the part of the device's free memory that is ours, where several processes share it.
    shake: auto finds camera shake and undoes it, where it believes that helps; off leaves it to the network. kernel: of a
    shake that is known, a picture file or an array (h, w) of the path in light on black. kernel_from: the area x, y, width, height
    of the photo that holds the trace of a lamp. ensemble: the mean of eight runs, over the photo turned and mirrored, in eight times the time. UsageError for a wrong value, WeightsError for weights that cannot be used.
    """

    def __init__(
        self,
        weights: str | Path = "auto",
        device: str = "auto",
        precision: str = "auto",
        tile: Tile = "auto",
        window: int | None = None,
        *,
        overlap: int | None = None,
        memory_share: float = 1.0,
        shake: str = "auto",
        kernel: Kernel | None = None,
        kernel_from: Region | None = None,
        ensemble: bool = False,
    ) -> None:
        self.shake, self.kernel_from = check_shake(shake, kernel, kernel_from), kernel_from
        self.kernel = None if kernel is None else read_kernel(kernel)
        self.ensemble = ensemble
        self.auto = tile == "auto"
        self.tile, self.overlap = check_tile(0 if tile == "auto" else tile, overlap)
        self._default_overlap = overlap is None
        self._memory_share = memory_share
        self.device = choose_device(device)
        self.dtype = choose_dtype(precision, self.device)
        self.path, entry = find_weights_file(weights)
        self.weights = entry.name if entry else str(self.path)
        self.sha256 = entry.sha256 if entry else None
        self.model = load_model(self.path, device=self.device)
        self.window = choose_window(window, entry, self.model.config.size_multiple)
        config = self.model.config
        if config.dual_pixel and (config.inp_channels, config.out_channels) != (6, 3):
            raise WeightsError(
                f"{self.weights}: a dual-pixel checkpoint of {config.inp_channels} input and {config.out_channels} output channels",
                hint="deblur runs those that take two views in colour and give one: 6 and 3 channels.",
            )
        self.for_lens: Deblurrer | None = None
        if weights == "auto" and len(choose_entries("auto")) > 1:
            self.for_lens = Deblurrer(
                "defocus",
                device,
                precision,
                tile,
                window,
                overlap=overlap,
                memory_share=memory_share,
                shake=shake,
                kernel=kernel,
                kernel_from=kernel_from,
                ensemble=ensemble,
            )

    def __call__(self, image: Image, *, right: Image | None = None, strength: float = 1.0) -> Image:
        """Sharpen a PIL image or an array; the result has the same type, size, mode and dtype.

        right: of a dual-pixel pair, whose left view is the image; the weights must be for such pairs.
        Of images: modes L, LA, RGB, RGBA, I;16 and F; all others (P, CMYK, ...) come back as the one of these that holds them.
        Arrays are (h, w) or (h, w, c) with c 1, 3 or 4 (alpha last): uint8, uint16, or floats in 0..1.
        """
        if isinstance(image, np.ndarray):
            return _restore_array(self, image, right, strength)  # type: ignore[return-value]
        photo = photo_from_image(image)
        photo = photo if right is None else pair_of(photo, photo_from_image(right))
        restored = self.restore(photo, strength=strength)
        return image_from_photo(restored.photo, like=image)  # type: ignore[return-value]

    def restore(
        self,
        photo: Photo,
        *,
        strength: float = 1.0,
        region: Region | None = None,
        progress: Progress | None = None,
    ) -> Restored:
        """Restore a decoded photo, or a region of it. strength: 0 leaves it as it is, 1 takes the network's output."""
        check_strength(strength)
        return mix(photo, self.output(photo, region=region, progress=progress), strength)

    def output(
        self, photo: Photo, *, region: Region | None = None, progress: Progress | None = None
    ) -> Output:
        """What is made of a photo, or a region of it, before any of it is mixed with the photo: see `restore.mix`."""
        self.check_views(1 if photo.views is None else 2)
        if self.for_lens and (seen := sharpness_of(photo)) and seen.kind == "lens":
            return self.for_lens.output(photo, region=region, progress=progress)
        run = _Run(self, progress)
        unshake = None if self.shake == "off" else run.unshake_by(self._kernel_of(photo))
        whole_or_part = output_of if region is None else partial(output_of_region, region=region)
        size = photo.pixels.shape[:2] if region is None else region_size(region)
        free_bytes = int(self._memory_share * free_memory(self.device))
        tile = self._tile_for(size, free_bytes)
        while True:
            try:
                output = whole_or_part(
                    photo,
                    predict=run.predict,
                    tile=tile,
                    overlap=self._overlap_for(tile),
                    unit=self.model.config.size_multiple,
                    ensemble=self.ensemble,
                    progress=run.at_tile,
                    unshake=unshake,
                )
                break
            except torch.OutOfMemoryError:
                if not stream.give_up_recordings():
                    tile = self._smaller_tile(tile, size)
        needed_bytes = self._peak_bytes(output.details.tile_size)
        made_with = {
            "weights": self.weights,
            **({"weights sha256": self.sha256} if self.sha256 else {}),
            "window": str(self.window),
            "precision": PRECISION_NAMES[self.dtype],
            "tiles redone in fp32": str(run.redone),
            "device": str(self.device),
            "memory": f"about {needed_bytes / 1e9:.1f} GB of {free_bytes / 1e9:.1f} GB free",
        }
        return replace(output, details=replace(output.details, made_with=made_with))

    def check_views(self, views: int) -> None:
        """WeightsError unless the network restores photos of so many views: one, or the two of a dual-pixel pair."""
        if self.model.config.dual_pixel and views == 1:
            raise WeightsError(
                f"{self.weights}: a 6-channel dual-pixel checkpoint, which needs two views of a photo",
                hint="For a pair: deblur --left L.png --right R.png; for a photo choose other --weights.",
            )
        if views == 2 and not self.model.config.dual_pixel:
            raise WeightsError(
                f"{self.weights}: these weights are for photos, not for the two views of a dual-pixel pair",
                hint="Without --weights, defocus-dual-pixel is taken for a pair.",
            )

    def _kernel_of(self, photo: Photo) -> Tensor | None:
        """The kernel that the user gave, or whose lamp in this photo."""
        if self.kernel_from is None:
            return self.kernel
        light = tone_curve_of(photo).to_linear(to_tensor(photo.pixels, photo.peak)[0].numpy())
        return shake.kernel_from_lamp(torch.from_numpy(light), self.kernel_from)

    def _tile_for(self, size: tuple[int, int], free_bytes: int) -> int:
        """The user's tile, as long as memory can hold it; for auto what `device.auto_tile` says."""
        fitting = auto_tile(self.model.config.dim_per_pixel, size, self.dtype.itemsize, free_bytes)
        if self.auto:
            return fitting
        used = size if self.tile == 0 else (min(self.tile, size[0]), min(self.tile, size[1]))
        needed_bytes = self._peak_bytes(used)
        if needed_bytes > free_bytes:
            raise PhotoError(
                f"tiles of {used[1]}x{used[0]} pixels need about {needed_bytes / 1e9:.1f} GB of memory, "
                f"and {free_bytes / 1e9:.1f} GB are free",
                hint=f"--tile {fitting} would fit, and --tile auto finds out itself.",
            )
        return self.tile

    def _overlap_for(self, tile: int) -> int:
        """The user's overlap, or as much of it as a tile that was chosen for them allows."""
        most = tile // MAX_OVERLAP_SHARE if tile else self.overlap
        return check_tile(tile, None if self._default_overlap else min(self.overlap, most))[1]

    def _smaller_tile(self, tile: int, size: tuple[int, int]) -> int:
        """Half the tile that the device ran out of memory with."""
        half = check_tile(max(MIN_TILE, (tile or max(size)) // 2), None)[0]
        if not self.auto or half == tile:
            raise PhotoError(f"{self.device} is out of memory", hint=f"Try --tile {half}, or --device cpu.")
        return half

    def _peak_bytes(self, size: tuple[int, int]) -> int:
        return peak_bytes(self.model.config.dim_per_pixel, size, self.dtype.itemsize)


class _Run:
    """One photo's way through a `Deblurrer`: how far it is, and how many tiles were redone in float32."""

    def __init__(self, deblurrer: Deblurrer, progress: Progress | None) -> None:
        self.deblurrer, self.progress = deblurrer, progress
        self.done, self.tiles, self.redone = 0.0, 1, 0
        self.steps_after = 0
        """Steps after the last tile: one if shake is looked for."""

    def at_tile(self, done: float, tiles: int) -> None:
        """The next tile begins."""
        self.done, self.tiles = done, tiles
        self.inside_tile(0)

    def inside_tile(self, share: float) -> None:
        """So much of the tile at hand is done."""
        if self.progress:
            self.progress(self.done + share, self.tiles + self.steps_after)

    def unshake_by(self, kernel: Tensor | None) -> Unshake:
        """What undoes shake by a kernel that is known, or by one that it finds itself."""
        device = torch.device("cpu") if self.deblurrer.device.type == "mps" else self.deblurrer.device
        self.steps_after = 1

        def tell(share: float) -> None:
            if self.progress:
                self.progress(self.tiles + share, self.tiles + 1)

        def unshake(light: Tensor, alone: Tensor) -> tuple[Tensor | None, Mapping[str, Any]]:
            undone = shake.undo(
                light.to(device), alone.to(device), kernel=kernel, dtype=self.deblurrer.dtype, progress=tell
            )
            return (undone.light.cpu() if undone.outcome == "undone" else None), told_of(undone)

        return unshake

    def count_redone(self) -> None:
        """A tile was not finite and is made again."""
        self.redone += 1

    def predict(self, tile: Tensor) -> Tensor:
        """(1, 3 | 1, h, w) -> the same, through a network of 3 channels or of 1; of a pair (1, 6 | 2, h, w) -> (1, 3 | 1, h, w).

        A gray photo goes through a colour network as three equal channels, whose results are averaged. A gray
        network restores the luminance of a colour photo and leaves its colour differences as they are.
        """
        channels = self.deblurrer.model.config.inp_channels
        if channels == tile.shape[1]:
            return self._stream(tile)
        if channels == 3 * tile.shape[1]:
            return self._stream(tile.repeat_interleave(3, 1)).mean(1, keepdim=True)
        luminance = (tile * torch.tensor(LUMINANCE)[:, None, None]).sum(1, keepdim=True)
        return tile + (self._stream(luminance) - luminance)

    def _stream(self, tile: Tensor) -> Tensor:
        """To the device, through the engine, and back."""
        engine = self.deblurrer
        tile = tile.to(engine.device)
        result = stream.run(
            engine.model,
            tile,
            window=engine.window,
            dtype=engine.dtype,
            progress=self.inside_tile,
            redone=self.count_redone,
        )
        return result.cpu()


def deblur(
    image: Image,
    *,
    weights: str | Path = "auto",
    tile: Tile = "auto",
    device: str = "auto",
    strength: float = 1.0,
    shake: str = "auto",
    kernel: Kernel | None = None,
    ensemble: bool = False,
) -> Image:
    """Sharpen one PIL image or array; same type back. For several, make one `Deblurrer` and call it."""
    deblurrer = Deblurrer(weights, device, tile=tile, shake=shake, kernel=kernel, ensemble=ensemble)
    return deblurrer(image, strength=strength)


def _restore_array(
    deblurrer: Deblurrer, array: NDArray[Any], right: NDArray[Any] | None, strength: float
) -> NDArray[Any]:
    photo, pixels = _photo_of_array(array)
    photo = photo if right is None else pair_of(photo, _photo_of_array(right)[0])
    restored = deblurrer.restore(photo, strength=strength).photo.pixels
    sharp = np.concatenate([restored.astype(array.dtype), pixels[..., 3:]], axis=2)
    return sharp.reshape(array.shape)


def _photo_of_array(array: NDArray[Any]) -> tuple[Photo, NDArray[Any]]:
    """The colours of an array as a photo, and the array as (h, w, c)."""
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
    return Photo(samples, None, Encoding("PNG")), pixels
