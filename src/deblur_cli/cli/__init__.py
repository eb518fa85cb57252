"""The commands. They parse, wire the modules together and choose the exit code; the only user of typer.

Anything that imports torch, numpy or rich is imported inside a command: `--help` and `--version` answer at once.
"""

import os
import sys
from typing import NoReturn

from deblur_cli.cli import _batch, _evaluate, _info, _restore, _weights  # noqa: F401  (importing a module of commands registers them)
from deblur_cli.cli._app import app
from deblur_cli.cli._signals import Terminated, raise_on_sigterm
from deblur_cli.errors import DeblurError

__all__ = ["app", "main"]


def main(args: list[str] | None = None) -> NoReturn:
    """Run the program and exit; every error that a user can meet ends as a message and an exit code."""
    raise_on_sigterm()
    # Before torch is loaded: how long its threads spin before they sleep (docs/decisions/0004).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        app(sys.argv[1:] if args is None else args, prog_name="deblur")
    except DeblurError as error:
        from deblur_cli.console import Console
        from deblur_cli.report import exit_code_of

        Console().error(error)
        sys.exit(exit_code_of(error))
    except Terminated:
        sys.exit(143)
    sys.exit()
