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
from deblur_cli.device import auto_tile, choose_device, choose_dtype, free_memory, peak_bytes
from deblur_cli.download import choose_entries, choose_entry, find_installed
from deblur_cli.errors import PhotoError, UsageError, WeightsError
from deblur_cli.loader import load_model
from deblur_cli.photo import (
    Encoding,
    Photo,
    image_from_photo,
    photo_from_image,
    tone_curve_of,
)
from deblur_cli.registry import WeightsEntry
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

MIN_WINDOW = 64
PAPER_WINDOW = 384
PRECISION_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors")
LUMINANCE = (0.299, 0.587, 0.114)
"""Rec. 601, as in JPEG and in the gray photos that the gray network was trained on."""


class Deblurrer:
    """A network, loaded once and ready for any number of photos.

    weights: a name from `deblur download-weights --list`, or a .pth, .pt or .safetensors file of a Restormer. auto: motion if it
    is installed, else compact; and where defocus is installed beside motion, that for each photo that is out of focus.
    device: auto, cpu, cuda, cuda:N or mps. precision: auto, fp32 or bf16. tile: auto, 0 for the whole photo, or a size
    in pixels. window: of the attention's statistics in pixels, 0 for the whole tile; by default what the weights were
    trained with. memory_share: the part of the device's free memory that is ours, where several processes share it.
    shake: auto finds camera shake and undoes it, where it believes that helps; off leaves it to the network. kernel: of a
    shake that is known, a picture file or an array (h, w) of the path in light on black. kernel_from: the area x, y, width, height
    of the photo that holds the trace of a lamp. UsageError for a wrong value, WeightsError for weights that cannot be used.
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
    ) -> None:
        self.shake, self.kernel_from = check_shake(shake, kernel, kernel_from), kernel_from
        self.kernel = None if kernel is None else read_kernel(kernel)
        self.auto = tile == "auto"
        self.tile, self.overlap = check_tile(0 if tile == "auto" else tile, overlap)
        self._default_overlap = overlap is None
        self._memory_share = memory_share
        self.device = choose_device(device)
        self.dtype = choose_dtype(precision, self.device)
        self.path, entry = find_weights_file(weights)
        self.weights = entry.name if entry else str(self.path)
        self.model = load_model(self.path, device=self.device)
        self.window = choose_window(window, entry, self.model.config.size_multiple)
        if self.model.config.dual_pixel:
            raise WeightsError(
                f"{self.weights}: a {self.model.config.inp_channels}-channel dual-pixel checkpoint, which needs two views",
                hint="A photo file holds one view; the Python API's model module runs such networks.",
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
            )

    def __call__(self, image: Image, *, strength: float = 1.0) -> Image:
        """Sharpen a PIL image or an array; the result has the same type, size, mode and dtype.

        Of images: modes L, LA, RGB, RGBA, I;16 and F; all others (P, CMYK, ...) come back as the one of these that holds them.
        Arrays are (h, w) or (h, w, c) with c 1, 3 or 4 (alpha last): uint8, uint16, or floats in 0..1.
        """
        if isinstance(image, np.ndarray):
            return _restore_array(self, image, strength)  # type: ignore[return-value]
        restored = self.restore(photo_from_image(image), strength=strength)
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
                    progress=run.at_tile,
                    unshake=unshake,
                )
                break
            except torch.OutOfMemoryError:
                tile = self._smaller_tile(tile, size)
        needed_bytes = self._peak_bytes(output.details.tile_size)
        made_with = {
            "weights": self.weights,
            "window": str(self.window),
            "precision": PRECISION_NAMES[self.dtype],
            "tiles redone in fp32": str(run.redone),
            "device": str(self.device),
            "memory": f"about {needed_bytes / 1e9:.1f} GB of {free_bytes / 1e9:.1f} GB free",
        }
        return replace(output, details=replace(output.details, made_with=made_with))

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
            undone = shake.undo(light.to(device), alone.to(device), kernel=kernel, progress=tell)
            return (undone.light.cpu() if undone.outcome == "undone" else None), told_of(undone)

        return unshake

    def count_redone(self) -> None:
        """A tile was not finite and is made again."""
        self.redone += 1

    def predict(self, tile: Tensor) -> Tensor:
        """(1, 3 | 1, h, w) -> the same, through a network of 3 channels or of 1.

        A gray photo goes through a colour network as three equal channels, whose results are averaged. A gray
        network restores the luminance of a colour photo and leaves its colour differences as they are.
        """
        channels = self.deblurrer.model.config.inp_channels
        if channels == tile.shape[1]:
            return self._stream(tile)
        if channels == 3:
            return self._stream(tile.expand(-1, 3, -1, -1)).mean(1, keepdim=True)
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
) -> Image:
    """Sharpen one PIL image or array; same type back. For several, make one `Deblurrer` and call it."""
    return Deblurrer(weights, device, tile=tile, shake=shake, kernel=kernel)(image, strength=strength)


def find_weights_file(weights: str | Path) -> tuple[Path, WeightsEntry | None]:
    """A name or a file -> the file on this computer, and its entry if it was a name. auto: motion if installed, else compact."""
    path = Path(weights)
    if isinstance(weights, Path) or path.suffix in WEIGHTS_SUFFIXES or path.is_file():
        if not path.is_file():
            raise WeightsError(
                f"{path}: no such weights file", hint="`deblur download-weights --list` shows what exists."
            )
        return path, None
    entry = choose_entry(weights)
    installed = find_installed(entry)
    if not installed:
        raise WeightsError(
            f"the weights {entry.name} are not installed",
            hint=f"To fetch their {entry.size_bytes / 1e6:.0f} MB: deblur download-weights {entry.name}, or add --download.",
        )
    return installed.path, entry


def choose_window(window: int | None, entry: WeightsEntry | None, unit: int) -> int:
    """The user's window, in units of the network, or what the weights were trained with: their entry says so; the paper's for a file."""
    if window is None:
        return entry.window if entry else PAPER_WINDOW
    if window % unit or (window and window < MIN_WINDOW):
        raise UsageError(
            f"a window of {window} pixels cannot be used",
            hint=f"--window takes a multiple of {unit} from {MIN_WINDOW}, or 0 for statistics of the whole tile.",
        )
    return window


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
