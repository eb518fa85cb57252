"""A URL as a path: its name, suffix, parent and children are a path's, its status is what the store says."""

import os
import re
import stat
from pathlib import Path, PosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from deblur_cli.errors import UsageError

URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_ONE_SLASH = re.compile(r"^([a-z][a-z0-9+.-]+):/(?!/)", re.IGNORECASE)


class Status(NamedTuple):
    """What a store tells of a name. mtime_ns: whole seconds; the rest of the number stands for its version (ETag)."""

    is_folder: bool
    size: int
    mtime_ns: int


class RemotePath(PosixPath):
    """A name in a store. `status` is what a listing has told of it; it is not asked for again, so it is that of the plan.

    What a path does beyond that (open, mkdir, rename, ...) is for local ones: a store has `storage.content` and `storage.write`.
    """

    __slots__ = ("status",)
    status: Status

    def __str__(self) -> str:
        text = super().__str__()
        return _ONE_SLASH.sub(r"\1:///" if text.startswith("file:") else r"\1://", text)

    def __reduce__(self) -> Any:  # noqa: ANN401
        return listed, (str(self), getattr(self, "status", None))

    @property
    def path(self) -> str:
        """As of `os.DirEntry`."""
        return str(self)

    def absolute(self) -> "RemotePath":
        """It always is."""
        return self

    def resolve(self, strict: bool = False) -> "RemotePath":
        """A store has no links."""
        return self

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """As a local file's: kind, size and time. FileNotFoundError, PermissionError, OSError."""
        status = getattr(self, "status", None)
        if status is None:
            from deblur_cli.storage import _store

            status = _store.status(self)
        seconds = status.mtime_ns // 1_000_000_000
        kind = stat.S_IFDIR if status.is_folder else stat.S_IFREG
        number = hash(self) & 0x7FFF_FFFF_FFFF_FFFF  # by which two names of one file would be known
        numbers = (kind, number, 0, 1, 0, 0, status.size, seconds, seconds, seconds)
        return os.stat_result(numbers, {"st_mtime_ns": status.mtime_ns, "st_atime_ns": status.mtime_ns})

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """OSError where the store does not say."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there are names below it."""
        try:
            return stat.S_ISDIR(self.stat().st_mode)
        except FileNotFoundError:
            return False

    def is_symlink(self) -> bool:
        """A store has none."""
        return False


def listed(url: str, status: Status | None) -> RemotePath:
    """A path of which a listing has told."""
    path = RemotePath(url)
    if status is not None:
        path.status = status
    return path


def child(folder: RemotePath, name: str, status: Status) -> RemotePath:
    """A name that a listing of the folder has told."""
    path = folder / name
    path.status = status
    return path


def is_url(name: str) -> bool:
    """Whether a name is one of a store."""
    return bool(URL.match(name))


def path_of(name: str) -> Path:
    """A name as the user wrote it. UsageError for one that holds credentials, which everybody would see in the list of processes."""
    if not is_url(name):
        return Path(name)
    parts = urlsplit(name)
    if parts.password is not None or parts.query:
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
        raise UsageError(
            f"{bare}: a name may hold no password, and no signature",
            hint="Give credentials by the means of the cloud: its variables, its files, the role of the machine.",
        )
    return RemotePath(name)
