"""Writing a file so that a reader, or a crash, finds the old one or the new one and nothing between."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deblur_cli.errors import PhotoError

TEMPORARY_SUFFIX = ".deblur-tmp"
"""Temporary files are named .NAME.XXXXXXXX.deblur-tmp; a long NAME is cut so that they fit in 255 bytes."""


def replace_file(target: Path, data: bytes, *, overwrite: bool = True) -> None:
    """Make `data` the content of `target`, or raise PhotoError and leave everything as it was.

    A new file gets the mode that the umask allows, an overwritten one keeps its mode; a link stays a link and
    the file it points to is replaced. Without `overwrite` the target must be new, even if another process makes it now.
    """
    try:
        _replace(Path(os.path.realpath(target)), data, overwrite)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(target.parent).free
            reason = (
                f"the disk is full: {len(data) / 1e6:.2f} MB are needed, and {free / 1e6:.2f} MB are free"
            )
        else:
            reason = f"cannot be written: {error.strerror or error}"
        raise PhotoError(f"{target}: {reason}") from error


def _replace(target: Path, data: bytes, overwrite: bool) -> None:
    with whole_file(target, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        file.write(data)


@contextmanager
def whole_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """The name under which a file may be written inside; it becomes `target`, as of `replace_file`, when the block ends well. OSError."""
    mode = None
    if target.is_symlink():  # still, after all links have been followed
        raise OSError(None, "it is a link to itself")
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    if target.exists():
        if not target.is_file():
            raise OSError(None, "it is not a regular file")
        if not os.access(target, os.W_OK):
            raise PermissionError(None, "it is write-protected")
        mode = target.stat().st_mode & 0o7777
    temporary = _temporary_beside(target)
    try:
        temporary.open("xb").close()
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        if overwrite:
            temporary.replace(target)
        else:
            _name(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _name(temporary: Path, target: Path) -> None:
    """Give the file its name; FileExistsError if that is taken, which a plain renaming would not notice."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise FileExistsError(None, "it exists already") from None
    except OSError as error:  # a file system without second names for a file
        if target.exists():
            raise FileExistsError(None, "it exists already") from error
        temporary.replace(target)


def _sync_folder(folder: Path) -> None:
    """Makes the renaming itself last through a power cut, where the system lets a folder be synced."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems refuse this, and the file is written all the same
    finally:
        os.close(descriptor)


def _temporary_beside(target: Path) -> Path:
    return target.with_name(_beginning(target) + _ending(secrets.token_hex(4)))


def _beginning(target: Path) -> str:
    room = 255 - len("." + _ending("12345678"))
    return "." + target.name.encode("utf-8", "surrogateescape")[:room].decode("utf-8", "ignore")


def _ending(token: str) -> str:
    return f".{token}{TEMPORARY_SUFFIX}"


def sweep_temporaries(targets: Iterable[Path]) -> int:
    """Remove what writers that were killed have left beside these targets; how many files that were."""
    beginnings: dict[Path, set[str]] = {}
    for target in (Path(os.path.realpath(target)) for target in targets):
        beginnings.setdefault(target.parent, set()).add(_beginning(target))
    count = 0
    for folder, names in beginnings.items():
        for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
            if path.name[: -len(_ending("12345678"))] in names:
                path.unlink(missing_ok=True)
                count += 1
    return count
