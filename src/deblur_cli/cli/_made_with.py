"""What a result depends on besides its photo, told from the options alone: a batch that is done needs no torch."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblur_cli.download import choose_entries, find_pinned, is_hub_name

if TYPE_CHECKING:
    from deblur_cli.cli._options import Options

PIXELS = 2
"""Raised when a release makes other pixels of the same options, so that batches are done again."""

NOT_IN_THE_PIXELS = (
    "weights",
    "download",
    "device",
    "threads",
    "max_megapixels",
    "only_blurred",
    "memory_share",
    "keep_times",
    "quiet",
    "verbose",
)
"""Options that change nothing but rounding; the weights are told by their hash."""


def made_with(options: "Options") -> dict[str, Any]:
    """Equal for two runs that make the same of a photo."""
    values = {name: value for name, value in asdict(options).items() if name not in NOT_IN_THE_PIXELS}
    if options.kernel and Path(options.kernel).is_file():
        values["kernel"] = _hash_of_file(options.kernel)
    return {"weights": _hash_of_weights(options.weights), **values, "pixels": PIXELS}


def _hash_of_file(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _hash_of_weights(weights: str) -> str:
    """SHA-256, cut short; the name of weights whose hash nobody has published."""
    if is_hub_name(weights):
        pinned = find_pinned(weights)
        return pinned.sha256[:16] if pinned and pinned.sha256 else weights  # whoever loads it will say so
    if Path(weights).is_file():
        return _hash_of_file(weights)
    if "." in weights:
        return weights  # a file that is not there: whoever loads it will say so
    return "+".join(entry.sha256[:16] if entry.sha256 else entry.name for entry in choose_entries(weights))
