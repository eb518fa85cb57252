"""Sharpen blurred photos with Restormer: `from deblur_cli import deblur; sharp = deblur(image)`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deblur_cli.api import Deblurrer, deblur

__version__ = "0.1.0"
__all__ = ["Deblurrer", "__version__", "deblur"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import the API on first use, so that `--help` and `--version` need not wait for torch."""
    if name not in ("Deblurrer", "deblur"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from deblur_cli import api

    return getattr(api, name)
