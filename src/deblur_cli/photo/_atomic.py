"""Writing a file so that a reader, or a crash, finds the old one or the new one and nothing between."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from deblur_cli.errors import PhotoError

TEMPORARY_SUFFIX = ".deblur-tmp"
"""Temporary files are named .NAME.XXXXXXXX.deblur-tmp; a long NAME is cut so that they fit in 255 bytes."""


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A file to write into; it takes `target`'s place when the block ends, and vanishes if the block raises.

    A new file gets the mode that the umask allows, an overwritten one keeps its mode. OSError becomes
    PhotoError.
    """
    try:
        temporary = _temporary_beside(target)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                temporary.chmod(target.stat().st_mode & 0o7777)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise PhotoError(f"{target}: cannot be written: {error.strerror or error}") from error


def _temporary_beside(target: Path) -> Path:
    ending = f".{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    name = os.fsencode(target.name)[: 255 - 1 - len(ending)]
    return target.with_name(f".{os.fsdecode(name)}{ending}")
