"""Which file of weights a user means, and the window that goes with it."""

from pathlib import Path

from deblur_cli.download import choose_entry, find_installed, is_hub_name
from deblur_cli.errors import UsageError, WeightsError
from deblur_cli.registry import PAPER_WINDOW, WeightsEntry

MIN_WINDOW = 64
WEIGHTS_SUFFIXES = (".pth", ".pt", ".safetensors")


def find_weights_file(weights: str | Path) -> tuple[Path, WeightsEntry | None]:
    """A name or a file -> the file on this computer, and its entry if it was a name. auto: motion if installed, else compact."""
    path = Path(weights)
    hub = isinstance(weights, str) and is_hub_name(weights)
    if not hub and (isinstance(weights, Path) or path.suffix in WEIGHTS_SUFFIXES or path.is_file()):
        if not path.is_file():
            raise WeightsError(
                f"{path}: no such weights file", hint="`deblur download-weights --list` shows what exists."
            )
        return path, None
    entry = choose_entry(str(weights))
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
