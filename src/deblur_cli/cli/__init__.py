"""The commands. They parse, wire the modules together and choose the exit code; the only user of typer.

Anything that imports torch, numpy or rich is imported inside a command: `--help` and `--version` answer at once.
"""

import os
import sys
from typing import NoReturn

from deblur_cli.cli import (  # noqa: F401  (importing a module of commands registers them)
    _batch,
    _evaluate,
    _export,
    _info,
    _restore,
    _sort,
    _video,
    _watch,
    _web,
    _weights,
)
from deblur_cli.cli._app import app, run_app
from deblur_cli.cli._collector import spare
from deblur_cli.cli._streams import give_up_unwritable, reopen_closed
from deblur_cli.errors import DeblurError

__all__ = ["app", "main"]


def main(args: list[str] | None = None) -> NoReturn:
    """Run the program and exit; every error that a user can meet ends as a message and an exit code."""
    spare()
    reopen_closed()
    # Before torch is loaded: how long its threads spin before they sleep (docs/decisions/0004).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        _check_current_folder()
        try:
            code = run_app(sys.argv[1:] if args is None else args)
        finally:
            sys.stdout.flush()
    except DeblurError as error:
        code = _tell(error)
    except OSError as error:
        code = _tell(DeblurError(f"{error.filename or 'standard output'}: {error.strerror or error}"))
    finally:
        give_up_unwritable()
    sys.exit(code)


def _check_current_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109  pathlib is not loaded for this
    except OSError as error:
        raise DeblurError(
            f"the folder you are in cannot be used: {error.strerror}", hint="cd to another and run again."
        ) from error


def _tell(error: DeblurError) -> int:
    """Show an error; its exit code."""
    from deblur_cli.console import Console
    from deblur_cli.report import exit_code_of

    Console().error(error)
    return exit_code_of(error)
