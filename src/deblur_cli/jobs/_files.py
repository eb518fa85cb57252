"""How a plan looks at files and folders: local ones here; another `Files` may know more of them."""

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from deblur_cli.errors import PhotoError


class Entry(Protocol):
    """A name in a folder, as of `os.DirEntry`."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    def is_dir(self) -> bool: ...
    def is_symlink(self) -> bool: ...
    def __fspath__(self) -> str: ...


class Files(Protocol):
    """path_of: a name, or an entry, as a path. glob: what matches a pattern. scan: a folder's entries, sorted by a key of their names; OSError. status:
    of a file that may be there; OSError. folder_problem: what keeps a file from being made in a folder, which may have to be made first.
    """

    def path_of(self, name: str | os.PathLike[str]) -> Path: ...
    def glob(self, pattern: str) -> Iterable[Path]: ...
    def scan(self, folder: str, key: Callable[[str], Any]) -> list[Entry]: ...
    def status(self, path: Path) -> os.stat_result: ...
    def folder_problem(self, folder: Path) -> PhotoError | None: ...


class LocalFiles:
    """Files of this machine."""

    def path_of(self, name: str | os.PathLike[str]) -> Path:
        """As it stands."""
        return Path(name)

    def glob(self, pattern: str) -> Iterator[Path]:
        """As a shell would, ** for any number of folders."""
        return map(Path, glob.glob(pattern, recursive=True))

    def scan(self, folder: str, key: Callable[[str], Any]) -> list[Any]:
        """By one look for the whole folder."""
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: key(entry.name))

    def status(self, path: Path) -> os.stat_result:
        """As it is now."""
        return path.stat()

    def folder_problem(self, folder: Path) -> PhotoError | None:
        """The first part of it that exists must be a folder, and writable."""
        while not os.path.lexists(folder) and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            return PhotoError(f"{folder} is a file, not a folder", hint="Choose another -o.")
        if not os.access(folder, os.W_OK | os.X_OK):
            read_only = os.access(folder, os.R_OK) and os.statvfs(folder).f_flag & os.ST_RDONLY
            reason = "Read-only file system" if read_only else "Permission denied"
            return PhotoError(f"nothing can be written in {folder}: {reason}", hint="Choose another -o.")
        return None


LOCAL = LocalFiles()
