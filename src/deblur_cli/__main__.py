"""The program `deblur`, also `python -m deblur_cli`."""

import atexit
import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def main() -> NoReturn:
    """Run the program and exit. From the first moment on, while it imports for instance, Ctrl-C and SIGTERM end it without a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    code = 1
    # Registered first, so that it comes last: when all others are done, memory need not be given back piece by piece.
    atexit.register(lambda: os._exit(code))
    try:
        from deblur_cli.cli import main as run

        run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
        raise


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
