"""A journal's lines on disk: `.deblur-journal.jsonl`, and a file of its own for each share of a batch.

A last line that a crash cut short is cut off. The lock lies on the file itself and goes with the process that holds it.
"""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from deblur_cli.errors import DeblurError

PREFIX = ".deblur-journal"


class BusyError(DeblurError):
    """Another batch is working in the same folder."""


class FileLog:
    """The lines of one folder: all files are read, one is written."""

    def __init__(self, folder: Path, share: str = "") -> None:
        self.name = str(folder / f"{PREFIX}{'.' if share else ''}{share}.jsonl")
        self._folder, self._share = folder, share
        self._files: list[BinaryIO] = []

    def read(self) -> Iterator[tuple[bool, bytes]]:
        """Whether they are ours, and the lines, of each file: that which was written last comes last, and holds."""
        for path in sorted(self._folder.glob(f"{PREFIX}*.jsonl"), key=_written):
            yield str(path) == self.name, path.read_bytes()

    def open(self) -> None:
        """Lock our own file. A share also holds the whole batch's, together with other shares, which keeps that out."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._files.append(_open(self.name))
        _lock(self._files[0], self._folder)
        if self._share:
            self._files.append(_open(str(self._folder / f"{PREFIX}.jsonl")))
            _lock(self._files[1], self._folder, shared=True)
        _cut_off_half_a_line(self._files[0])

    def append(self, line: bytes) -> None:
        """Append all of it or, if the disk is full, nothing. From here on it survives this process."""
        file = self._files[0]
        start = file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(start)
            raise

    def sync(self) -> None:
        """Make all lines so far outlast a power cut."""
        os.fsync(self._files[0].fileno())

    def close(self) -> None:
        """Let go of the lock."""
        while self._files:
            self._files.pop().close()


def _written(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name


def _open(path: str) -> BinaryIO:
    return open(path, "a+b", buffering=0)


def _cut_off_half_a_line(file: BinaryIO) -> None:
    """What a crash left after the last whole line."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - (1 << 20)))
    tail = file.read()
    if tail and not tail.endswith(b"\n"):
        file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)


def _lock(file: BinaryIO, folder: Path, *, shared: bool = False) -> None:
    """Lock a file until it is closed. BusyError if another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 40)  # far beyond the end, since what is locked cannot be read there
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise BusyError(
                f"{folder}: another deblur batch is writing here",
                hint="Wait until it has ended, or share the work: --shard 1/2 and --shard 2/2.",
            ) from error
        if error.errno not in (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS):
            raise
        # a file system without locks: go on without
