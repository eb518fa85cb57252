"""What a user says of a shake, and what is said to him: options checked, kernels read, findings as plain values."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deblur_cli import shake
from deblur_cli.errors import PhotoError, UsageError
from deblur_cli.photo import gray_png, read_photo
from deblur_cli.restore import to_tensor

Kernel = str | Path | NDArray[Any]
"""A picture file of a path in light on black, or an array (h, w) of it."""


def check_shake(value: str, kernel: object, kernel_from: object) -> str:
    """auto or off, which a kernel makes auto; UsageError for anything else, and for two kernels."""
    if value not in ("auto", "off"):
        raise UsageError(f"there is no shake {value!r}", hint="--shake takes auto or off.")
    if kernel is not None and kernel_from is not None:
        raise UsageError(
            "--kernel and --kernel-from do not go together", hint="One of them says what the shake was."
        )
    return value if kernel is None and kernel_from is None else "auto"


def read_kernel(kernel: Kernel) -> Tensor:
    """A picture of a kernel, file or array -> (n, n), as of `shake.as_kernel`. UsageError for what is none."""
    if isinstance(kernel, np.ndarray):
        return shake.as_kernel(torch.from_numpy(kernel.astype(np.float32)))
    try:
        photo = read_photo(Path(kernel))
    except PhotoError as error:
        raise UsageError(f"--kernel {error.message}", hint=error.hint) from error
    try:
        return shake.as_kernel(to_tensor(photo.pixels, photo.peak)[0].mean(0))
    except UsageError as error:
        raise UsageError(f"--kernel {kernel}: {error.message}", hint=error.hint) from error


def told_of(undone: shake.Undone) -> dict[str, Any]:
    """What `Details` says of a shake."""
    seen = undone.shake
    told = {"outcome": undone.outcome, "why": undone.why, "share": round(undone.share, 3)}
    if seen is None:
        return told
    picture = seen.kernel / seen.kernel.max()
    return told | {
        "length_px": round(seen.length, 1),
        "direction_deg": seen.direction,
        "sure": round(float(seen.sure.mean()), 2),
        "kernel": base64.b64encode(gray_png((picture * 255).round().byte().cpu().numpy())).decode(),
    }
