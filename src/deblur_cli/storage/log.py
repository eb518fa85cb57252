"""A journal's lines in a store: small objects below `.deblur-journal/`, since nothing can be appended to an object.

Each writer has names of its own, so no two ever write to one object and no lock is needed. The newest object is put again with
each new line until it is full: a store replaces an object as a whole, so whoever reads it finds some whole lines.
"""

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deblur_cli.storage import _store
from deblur_cli.storage._path import RemotePath

FOLDER = ".deblur-journal"
LINES_AN_OBJECT = 1000
READ_AT_ONCE = 16


class ObjectLog:
    """The lines of one remote folder: all objects are read, those of one writer are written."""

    def __init__(self, folder: Path, share: str = "") -> None:
        self._folder = RemotePath(folder) / FOLDER
        self._ending = f".{share}" if share else ""
        self._writer = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(4)}"
        self._lines: list[bytes] = []
        self._number = 1
        self.name = str(self._folder)

    def read(self) -> Iterator[tuple[bool, bytes]]:
        """Whether they are of our share, and the lines, of each object: runs that began later come later, and hold."""
        paths = sorted(_store.entries(self._folder), key=lambda path: path.name)
        with ThreadPoolExecutor(READ_AT_ONCE) as pool:
            for path, lines in zip(paths, pool.map(_store.read, paths), strict=True):
                yield "".join(path.suffixes[:-1]) == self._ending, lines

    def open(self) -> None:
        """Find out whether anything can be written."""
        _store.write(self._object(), b"")

    def append(self, line: bytes) -> None:
        """Keep a line until `sync`."""
        if len(self._lines) == LINES_AN_OBJECT:
            self.sync()
            self._lines, self._number = [], self._number + 1
        self._lines.append(line)

    def sync(self) -> None:
        """Put all lines of the newest object."""
        _store.write(self._object(), b"".join(self._lines))

    def close(self) -> None:
        """A run that had nothing to say leaves no object."""
        if not self._lines:
            _store.remove(self._object())

    def _object(self) -> RemotePath:
        return self._folder / f"{self._writer}-{self._number:06}{self._ending}.jsonl"
