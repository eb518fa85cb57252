"""Sweeping up beside targets, wherever they lie."""

from collections.abc import Iterable
from pathlib import Path

from deblur_cli import storage
from deblur_cli.photo import sweep_temporaries


def sweep(targets: Iterable[Path]) -> None:
    """Remove what writers that were killed have left of these targets."""
    targets = list(targets)
    sweep_temporaries(target for target in targets if not storage.is_remote(target))
    storage.sweep(target for target in targets if storage.is_remote(target))
