"""Folders wherever fsspec reaches, as paths: s3://, gs://, az://, sftp://, https:// and others. The only user of fsspec.

A `RemotePath` is a path that only looks and is computed with as one; what is read and written goes through the functions here.
For a local path they cost a look at its type, and import nothing. There are no locks in a store, and no times can be set.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from deblur_cli.storage._path import RemotePath, is_url, path_of

if TYPE_CHECKING:
    from deblur_cli.storage.log import ObjectLog

__all__ = ["RemotePath", "content", "is_remote", "is_url", "log_of", "path_of", "sweep", "write"]


def is_remote(path: Path | None) -> bool:
    """Whether what is there goes through these functions."""
    return isinstance(path, RemotePath)


def content(path: Path) -> bytes | None:
    """All bytes of a remote file; None for a local one, which whoever needs it reads himself. OSError as for a local one."""
    if not isinstance(path, RemotePath):
        return None
    from deblur_cli.storage import _store

    return _store.read(path)


def write(path: Path, data: bytes) -> None:
    """Make `data` the content of a remote path: whole, or not at all. OSError as for a local one."""
    from deblur_cli.storage import _store

    _store.write(RemotePath(path), data)


def sweep(targets: Iterable[Path]) -> None:
    """Remove what writers that were killed have left of these remote paths: temporary names, parts of uploads."""
    if targets := [RemotePath(target) for target in targets]:
        from deblur_cli.storage import _store

        _store.sweep(targets)


def log_of(folder: Path, share: str = "") -> "ObjectLog | None":
    """Where a remote folder's journal is; None for a local one, whose journal is a file."""
    if not isinstance(folder, RemotePath):
        return None
    from deblur_cli.storage.log import ObjectLog

    return ObjectLog(folder, share)
