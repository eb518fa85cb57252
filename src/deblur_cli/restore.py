"""One photo through the network: pad, tile, predict, blend, round. It knows no model: it is handed `predict`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.ensemble import TURNS, Turn, mean_of_turns
from deblur_cli.errors import PhotoError, UsageError
from deblur_cli.photo import Photo, Samples, fill_transparent, tone_curve_of
from deblur_cli.tiles import UNIT, TilePlan, plan_tiles

Predict = Callable[[Tensor], Tensor]
"""(1, c, h, w) float32 on the CPU, about 0..1, h and w multiples of the unit -> the same shape and dtype, restored; of a pair both views, 2c, left before right."""

Unshake = Callable[[Tensor, Tensor], tuple[Tensor | None, Mapping[str, Any]]]
"""(c, h, w) float32 in linear light, a photo and what the network makes of it -> the second with camera shake undone, or None if it is left as it is; and what there
is to say of it."""

Region = tuple[int, int, int, int]
"""x, y, width, height in pixels of the upright photo."""

CONTEXT, SHAKE_CONTEXT = 96, 256
"""Pixels around a region that the network sees too; and those from which its shake is found."""
LARGEST_UNIT = 16
"""Of any network; there a region's surroundings may begin."""
FADE = 16
"""Pixels inside a region's border over which its result fades into the photo."""

Progress = Callable[[float, int], None]
"""Called with the tiles done so far (a fraction inside a tile) and their number."""


@dataclass(frozen=True)
class Details:
    """What a photo was made with, and how much it changed.

    rms_change: root mean square of the change in 8-bit levels (0..255), over all channels.
    made_with: what the engine says of itself, such as its weights and device.
    gradient_gain: gradient energy after over before; above 1 is sharper, 1 is unchanged.
    runs: how often the network saw the photo: once, or turned and mirrored in eight ways.
    shake: what `Unshake` says; empty where it was not asked.
    """

    tile_size: tuple[int, int]
    tiles: int
    overlap: int
    runs: int = 1
    strength: float = 1.0
    rms_change: float = 0.0
    gradient_gain: float = 1.0
    made_with: Mapping[str, str] = field(default_factory=dict)
    shake: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Restored:
    """A restored photo and how it came to be."""

    photo: Photo
    details: Details


@dataclass(frozen=True)
class Output:
    """What the network, and undoing the shake, make of a photo or a region of it, before it is mixed with the photo: kept, it gives every strength.

    values: (1, c, h, w) float32, the photo's peak as 1, not clamped; of a region with the surroundings that the network saw.
    details: as they are at full strength, but for how much was changed.
    """

    values: Tensor
    details: Details
    region: Region | None = None


def restore_photo(photo: Photo, predict: Predict, *, strength: float = 1.0, **options: Any) -> Restored:  # noqa: ANN401
    """Restore a photo tile by tile, then undo its shake; size, bit depth, alpha and metadata stay as they are.

    strength: 0 (the input) to 1 (the network's output). options: as of `output_of`.
    """
    check_strength(strength)
    return mix(photo, output_of(photo, predict, **options), strength)


def restore_region(
    photo: Photo,
    region: Region,
    predict: Predict,
    *,
    strength: float = 1.0,
    **options: Any,  # noqa: ANN401
) -> Restored:
    """Restore a part of a photo and leave every other pixel as it is; options as of `output_of`."""
    check_strength(strength)
    return mix(photo, output_of_region(photo, region, predict, **options), strength)


def output_of(
    photo: Photo,
    predict: Predict,
    *,
    tile: int,
    overlap: int,
    unit: int = UNIT,
    ensemble: bool = False,
    progress: Progress | None = None,
    unshake: Unshake | None = None,
) -> Output:
    """The network's output for a whole photo, tile by tile, its shake undone.

    tile, overlap: as from `tiles.check_tile`; tile 0 takes the photo whole. unit: of which the network takes multiples, 8 or 16.
    ensemble: the mean of its outputs for all eight turns of the photo. PhotoError if the network's output is not finite.
    """
    image = to_tensor(fill_transparent(photo).pixels, photo.peak)
    seen = image if photo.views is None else torch.cat([to_tensor(v, photo.peak) for v in photo.views], 1)
    if not torch.isfinite(seen).all():
        raise PhotoError(
            "some of its samples are no numbers (NaN) or infinite", hint="Save it again without them."
        )
    runs = len(TURNS) if ensemble else 1

    def plan_for(h: int, w: int) -> TilePlan:
        return plan_tiles((h + -h % unit, w + -w % unit), tile, overlap, unit)

    def restored_of(turn: Turn, run: int) -> Tensor:
        def begins(number: int) -> None:
            if progress:
                progress(run * len(plan) + number, runs * len(plan))

        h, w = turn(torch.empty(image.shape[-2:], device="meta")).shape
        padded = pad_to_unit(turn(seen), unit)  # in one go: the turned photo is not kept beside it
        return _in_tiles(padded, image.shape[1], predict, plan_for(h, w), begins)[..., :h, :w]

    plan = plan_for(image.shape[-2], image.shape[-1])
    restored = mean_of_turns(restored_of) if ensemble else restored_of(lambda image: image, 0)
    restored, shake = _unshaken(image, restored, photo, unshake) if unshake else (restored, {})
    details = Details(plan.tile_size, len(plan), overlap if len(plan) > 1 else 0, runs, shake=shake)
    return Output(restored, details)


def _in_tiles(
    image: Tensor, channels: int, predict: Predict, plan: TilePlan, begins: Callable[[int], None]
) -> Tensor:
    """The network's output, of so many channels, for an image of whole units; `begins` is called with the number of each tile from 0."""

    def predicted(number: int, tile: Tensor) -> Tensor:
        begins(number)
        prediction = predict(tile)
        if not torch.isfinite(prediction).all():
            raise PhotoError(
                "the network's output is not a number", hint="Try --precision fp32 or other --weights."
            )
        return prediction

    if len(plan) == 1:  # with weights of 1
        return predicted(0, image)
    restored = torch.zeros_like(image[:, :channels])
    for number, (row, column) in enumerate(plan):
        area = (..., slice(row.start, row.stop), slice(column.start, column.stop))
        weights = torch.from_numpy(row.weights)[:, None] * torch.from_numpy(column.weights)
        restored[area] += weights * predicted(number, image[area])
    return restored


def mix(photo: Photo, output: Output, strength: float) -> Restored:
    """The photo, and so much of the output that was made of it: 0 is the photo, 1 the output.

    Inside a region, towards its border, the result fades into the photo, so that no edge shows.
    """
    if output.region is None:
        return _mixed(photo, output, strength)
    x, y, w, h = output.region
    photo_h, photo_w = photo.pixels.shape[:2]
    rows, columns = surroundings_of(output.region)
    restored = _mixed(_part(photo, (rows, columns)), output, strength)
    top, left = y - rows.start, x - columns.start
    new = restored.photo.pixels[top : top + h, left : left + w]
    old = photo.pixels[y : y + h, x : x + w]
    fade = _fade(y, h, photo_h)[:, None, None] * _fade(x, w, photo_w)[:, None]
    blended = old + fade * (new.astype(np.float32) - old)
    pixels = photo.pixels.copy()
    pixels[y : y + h, x : x + w] = blended if pixels.dtype == np.float32 else np.rint(blended)
    region_after = pixels[y : y + h, x : x + w]
    rms_change, gradient_gain = _change(to_tensor(old, photo.peak), to_tensor(region_after, photo.peak))
    details = replace(restored.details, rms_change=rms_change, gradient_gain=gradient_gain)
    return Restored(replace(photo, pixels=pixels, views=None), details)


def _mixed(photo: Photo, output: Output, strength: float) -> Restored:
    image, restored = to_tensor(fill_transparent(photo).pixels, photo.peak), output.values
    restored = image + strength * (restored - image) if strength < 1 else restored
    pixels = to_pixels(restored, photo.pixels, photo.peak)
    if photo.alpha is not None:  # what nobody can see stays as it was
        pixels = np.where(photo.alpha[..., None] == 0, photo.pixels, pixels)
    rms_change, gradient_gain = _change(image, restored)
    details = replace(output.details, strength=strength, rms_change=rms_change, gradient_gain=gradient_gain)
    return Restored(replace(photo, pixels=pixels, views=None), details)


def _unshaken(
    image: Tensor, alone: Tensor, photo: Photo, unshake: Unshake
) -> tuple[Tensor, Mapping[str, Any]]:
    """(1, c, h, w) as in the file, the photo and what the network makes of it, by way of linear light; the same tensor where nothing was undone."""
    curve = tone_curve_of(photo)
    light, shake = unshake(*(torch.from_numpy(curve.to_linear(each[0].numpy())) for each in (image, alone)))
    return (alone if light is None else torch.from_numpy(curve.to_encoded(light.numpy()))[None]), shake


def output_of_region(
    photo: Photo,
    region: Region,
    predict: Predict,
    *,
    unshake: Unshake | None = None,
    **options: Any,  # noqa: ANN401
) -> Output:
    """The network's output for a part of a photo; options as of `output_of`.

    The network sees some of the surroundings too, and a shake is found from more of them. PhotoError for a region that does not lie in the photo.
    """
    photo_h, photo_w = photo.pixels.shape[:2]
    x, y, w, h = region
    if min(x, y) < 0 or min(w, h) < 1 or x + w > photo_w or y + h > photo_h:
        raise PhotoError(
            f"the region {x},{y},{w},{h} does not lie in a photo of {photo_w}x{photo_h}",
            hint="--region takes X,Y,W,H: left and top edge, width and height, in pixels of the upright photo.",
        )
    surroundings = surroundings_of(region)
    if unshake:
        options["unshake"] = _unshake_within(photo, unshake, region, surroundings)
    return replace(output_of(_part(photo, surroundings), predict, **options), region=region)


def surroundings_of(region: Region) -> tuple[slice, slice]:
    """Rows and columns of what the network sees of a region; they may end beyond the photo."""
    x, y, w, h = region
    left, top = (max(0, start - CONTEXT) // LARGEST_UNIT * LARGEST_UNIT for start in (x, y))
    return slice(top, y + h + CONTEXT), slice(left, x + w + CONTEXT)


def region_size(region: Region) -> tuple[int, int]:
    """(h, w) of what the network sees of a region: at most that much."""
    _, _, w, h = region
    return h + 2 * CONTEXT + LARGEST_UNIT, w + 2 * CONTEXT + LARGEST_UNIT


def _part(photo: Photo, area: tuple[slice, slice]) -> Photo:
    alpha = None if photo.alpha is None else photo.alpha[area]
    views = None if photo.views is None else (photo.views[0][area], photo.views[1][area])
    return replace(photo, pixels=photo.pixels[area], alpha=alpha, views=views)


def _unshake_within(
    photo: Photo, unshake: Unshake, region: Region, surroundings: tuple[slice, slice]
) -> Unshake:
    """The shake of a wider part of the photo undone, of which the surroundings of the region are then taken; the network has seen no more than these."""
    x, y, w, h = region
    top, left = max(0, y - SHAKE_CONTEXT), max(0, x - SHAKE_CONTEXT)
    wide = _part(photo, (slice(top, y + h + SHAKE_CONTEXT), slice(left, x + w + SHAKE_CONTEXT)))
    rows, columns = (
        slice(part.start - start, part.stop - start)
        for part, start in zip(surroundings, (top, left), strict=True)
    )

    def cut(light: Tensor, alone: Tensor) -> tuple[Tensor | None, Mapping[str, Any]]:
        image = to_tensor(fill_transparent(wide).pixels, photo.peak)
        wide_light = torch.from_numpy(tone_curve_of(photo).to_linear(image[0].numpy()))
        wide_alone = wide_light.clone()
        wide_alone[:, rows, columns] = alone
        unshaken, shake = unshake(wide_light, wide_alone)
        return (None if unshaken is None else unshaken[:, rows, columns].contiguous()), shake

    return cut


def _fade(start: int, length: int, whole: int) -> Samples:
    """Weights of a region on one axis: 1, and towards an end that is not the photo's own, down to almost 0."""
    steps = np.arange(length) + 0.5
    before = np.full(length, FADE) if start == 0 else steps
    after = np.full(length, FADE) if start + length == whole else steps[::-1]
    weights = np.minimum(before, after) / min(FADE, max(1, length / 4))
    return np.asarray(weights.clip(max=1), np.float32)


def check_strength(strength: float) -> None:
    """UsageError unless it is in 0..1."""
    if not 0 <= strength <= 1:
        raise UsageError(f"a strength of {strength} makes no sense", hint="--strength takes 0 to 1.")


def to_tensor(pixels: Samples, peak: float) -> Tensor:
    """(h, w, c) uint8, uint16 or float32 -> (1, c, h, w) float32, the sample value `peak` as 1; a copy."""
    samples = np.array(pixels.transpose(2, 0, 1), dtype=np.float32, order="C")
    return torch.from_numpy(samples).div_(peak)[None]


def to_pixels(tensor: Tensor, like: Samples, peak: float) -> Samples:
    """(1, c, h, w) float32 -> (h, w, c) of the dtype and range of `like`: clamped, and rounded if that is integer."""
    samples = tensor[0].permute(1, 2, 0) * peak
    if like.dtype == np.float32:
        return samples.clamp(min(0.0, float(like.min())), peak).contiguous().numpy()
    return samples.round().clamp(0, peak).contiguous().numpy().astype(like.dtype)


def pad_to_unit(image: Tensor, unit: int = UNIT) -> Tensor:
    """Pad right and bottom to multiples of the unit: mirrored as far as the photo reaches, then its edge repeated."""
    for axis in (-1, -2):
        size = image.shape[axis]
        missing = -size % unit
        mirrored = min(missing, size - 1)
        for amount, mode in ((mirrored, "reflect"), (missing - mirrored, "replicate")):
            if amount:
                image = F.pad(image, (0, amount, 0, 0) if axis == -1 else (0, 0, 0, amount), mode=mode)
    return image


def _change(before: Tensor, after: Tensor) -> tuple[float, float]:
    """The rms_change and gradient_gain of `Details`, of two photos (1, c, h, w)."""
    difference = after.clamp(0, 1) - before.clamp(0, 1)
    gain = (_gradient_energy(after) + 1e-9) / (_gradient_energy(before) + 1e-9)
    return 255 * float(difference.square().mean().sqrt()), gain


def _gradient_energy(image: Tensor) -> float:
    """Mean squared difference of neighbours along both axes, on means of 2x2 pixels, so that edges count and noise hardly."""
    halved = F.avg_pool2d(image, 2, ceil_mode=True)
    steps = [halved.diff(dim=axis).square() for axis in (-1, -2)]
    return sum(float(step.mean()) for step in steps if step.numel())
