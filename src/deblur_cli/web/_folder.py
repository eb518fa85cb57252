"""A private folder for the photos of a page, which goes when the program ends, however that is."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "deblur-web-"
LOCK = "lock"


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder that only its user may enter, removed at the end; those that crashed programs have left are removed first."""
    sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with FileLock(folder / LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Remove our folders whose programs are gone: the lock of a program that lives cannot be had."""
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            ours = os.name != "posix" or folder.lstat().st_uid == os.getuid()
            if ours and not folder.is_symlink() and (folder / LOCK).is_file():
                with FileLock(folder / LOCK, blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
