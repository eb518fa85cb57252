"""The program `deblur`, also `python -m deblur_cli`."""

import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the program and exit. From the first moment on, while it imports for instance, Ctrl-C and SIGTERM end it without a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    from deblur_cli.cli import main as run

    run()


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
