"""How blurred a photo is, as it is told: by the keys of `--json`, and in words. What is measured is measured in a process that reads the photo."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deblur_cli.photo import Photo

Blur = dict[str, Any]
"""sharpness: 100 without any blur, 50 where a photo begins to count as blurred. blur: none, shake or lens. blur_px: how wide it is. All None where nothing tells it."""


def blur_of(photo: "Photo") -> Blur:
    """Measured."""
    from deblur_cli.api import sharpness_of

    seen = sharpness_of(photo)
    if seen is None:
        return {"sharpness": None, "blur": None, "blur_px": None}
    return {"sharpness": round(seen.score, 2), "blur": seen.kind, "blur_px": round(seen.width, 2)}


def blur_of_file(path: Path, data: bytes | None, max_megapixels: float) -> Blur:
    """Read and measured. data: of a file that lies in a store."""
    from deblur_cli.photo import read_photo

    source: Path | io.BytesIO = path
    if data is not None:
        source = io.BytesIO(data)
        source.name = str(path)
    return blur_of(read_photo(source, max_megapixels=max_megapixels))


def take_one_thread() -> None:
    """What a process begins with that looks at photos beside others."""
    import torch

    import deblur_cli.api

    del deblur_cli
    torch.set_num_threads(1)


def blur_in_words(blur: Blur) -> str:
    """In a few."""
    if blur["sharpness"] is None:
        return "nothing tells"
    if blur["blur"] == "none":
        return "sharp"
    what = "shake" if blur["blur"] == "shake" else "out of focus"
    return f"{what}, {blur['blur_px']:.0f} px"
