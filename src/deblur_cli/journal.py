"""What is done, on disk: `.deblur-journal.jsonl`, to which a batch appends one line for each finished photo, and for each that crashed.

docs/batch.md describes the lines. The file is never rewritten: of two lines on one target the later one holds, and
a last line that a crash cut short is cut off. Paths are relative to the journal's folder, so that the whole
may be moved. The lock lies on the journal itself and goes with the process that holds it.
"""

import errno
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from deblur_cli.errors import DeblurError, PhotoError

PREFIX = ".deblur-journal"
SYNC_EVERY_S = 1.0
"""A power cut costs the lines of at most this long, and those photos are done again; kill -9 costs none."""


Stamp = tuple[int, int]
"""By what a file is known again: its size and its time of modification in nanoseconds."""


def stamp_of(path: Path) -> Stamp:
    """The file as it is now. OSError if it is not there."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished photo: its input as it was read, its result, and what that was made with. Paths as in the file."""

    source: str
    size: int
    mtime_ns: int
    target: str
    target_size: int
    made_with: Mapping[str, Any]


class Journal:
    """The journals of one folder: all are read, one is written. Use it as a context manager, which locks it.

    share: the name of a share of a batch ("2-of-8"), which has a file of its own, so that machines that share
    a folder never write to one file. Without entering it, it only reads.
    """

    def __init__(self, folder: Path, share: str = "") -> None:
        self.folder = folder
        self._own = folder / f"{PREFIX}{'.' if share else ''}{share}.jsonl"
        self._share = share
        self._entries: dict[str, Entry] = {}
        self._claims: set[str] = set()
        self._claims_of_others: set[str] = set()
        self._crashes: dict[str, Stamp] = {}
        self._last_made_with: Mapping[str, Any] = {}
        self._relative: dict[str, str] = {}
        self._files: list[BinaryIO] = []
        self._mutex = threading.Lock()
        self._synced_s = 0.0
        self._unsynced = False

    def read(self) -> Self:
        """Read what the journals of the folder say."""
        for path in sorted(self.folder.glob(f"{PREFIX}*.jsonl"), key=_written):
            before = set(self._claims)
            for line in path.read_bytes().split(b"\n")[:-1]:
                self._take(line)
            if self._share and path != self._own:
                self._claims_of_others |= self._claims - before
        return self

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._open_and_lock()
            self.read()
        except OSError as error:
            self._close()
            raise PhotoError(
                f"{self._own}: the journal cannot be written: {error.strerror}",
                hint="Give another folder: -o FOLDER",
            ) from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.sync()
        finally:
            self._close()

    def entry(self, target: Path) -> Entry | None:
        """What the journal says of a target."""
        return self._entries.get(self._name(target))

    def claimed(self, target: Path) -> bool:
        """Whether some run was about to write this target, so that what is there is ours."""
        return self._name(target) in self._claims

    def results(self) -> list[str]:
        """The absolute paths of all targets that the journal tells of."""
        return [os.path.normpath(os.path.join(self.folder.absolute(), name)) for name in self._entries]

    def unfinished(self) -> list[Path]:
        """The targets that a run was about to write, perhaps again, and that are not told to be finished since.

        Those of other shares are left out: they may be writing at this moment.
        """
        names = self._claims - self._claims_of_others
        return [self.folder / name for name in sorted(names)]

    def is_of(self, entry: Entry, source: Path, stamp: Stamp) -> bool:
        """Whether an entry is about this input as it is now."""
        return (entry.source, entry.size, entry.mtime_ns) == (self._name(source), *stamp)

    def claim(self, targets: Iterable[Path]) -> None:
        """Say, durably, that these targets are about to be written."""
        names = map(self._name, targets)
        new = [name for name in names if name not in self._claims]
        if new:
            self._append({"claims": new})
            self.sync()

    def add(self, source: Path, stamp: Stamp, target: Path, made_with: Mapping[str, Any]) -> None:
        """Say that a target is finished. It must be synced already."""
        name = self._name(target)
        entry = Entry(self._name(source), *stamp, name, target.stat().st_size, made_with)
        self._append(asdict(entry))

    def crashed(self, source: Path, stamp: Stamp) -> bool:
        """Whether this input, as it is now, has ended a process that worked on it."""
        return self._crashes.get(self._name(source)) == stamp

    def add_crash(self, source: Path, stamp: Stamp) -> None:
        """Say that it has."""
        size, mtime_ns = stamp
        self._append({"crashed": self._name(source), "size": size, "mtime_ns": mtime_ns})

    def sync(self) -> None:
        """Make all lines so far outlast a power cut."""
        with self._mutex:
            self._sync()

    def _append(self, line: Mapping[str, Any]) -> None:
        encoded = json.dumps(line).encode() + b"\n"  # ASCII: a name in no valid encoding survives as \udcXX
        with self._mutex:
            _write_all(self._files[0], encoded)  # unbuffered: from here on it survives this process
            self._unsynced = True
            if time.monotonic() - self._synced_s >= SYNC_EVERY_S:
                self._sync()

    def _sync(self) -> None:
        if self._unsynced:
            os.fsync(self._files[0].fileno())
            self._synced_s = time.monotonic()
            self._unsynced = False

    def _take(self, line: bytes) -> None:
        """Take in one line; one that is damaged, or of a later version, says nothing."""
        try:
            values = json.loads(line)
            if "claims" in values:
                self._claims.update(values["claims"])
            elif "crashed" in values:
                self._crashes[values["crashed"]] = values["size"], values["mtime_ns"]
            else:
                if values["made_with"] == self._last_made_with:
                    values["made_with"] = (
                        self._last_made_with
                    )  # one mapping for all, or 100,000 lines fill the memory
                entry = Entry(**values)
                self._entries[entry.target] = entry
                self._claims.discard(entry.target)
                self._crashes.pop(entry.source, None)
                self._last_made_with = entry.made_with
        except (ValueError, TypeError, KeyError):
            pass

    def _name(self, path: Path) -> str:
        """A path relative to the journal's folder, with slashes; absolute if it is on another drive."""
        parent = os.path.dirname(path)
        if parent not in self._relative:
            try:
                self._relative[parent] = os.path.relpath(parent or ".", self.folder)
            except ValueError:
                self._relative[parent] = os.path.abspath(parent)
        return os.path.normpath(os.path.join(self._relative[parent], path.name)).replace(os.sep, "/")

    def _open_and_lock(self) -> None:
        """Lock our own file. A share also holds the whole batch's, together with other shares, which keeps that out."""
        whole = self.folder / f"{PREFIX}.jsonl"
        self._files.append(_open(self._own))
        _lock(self._files[0], self.folder)
        if self._share:
            self._files.append(_open(whole))
            _lock(self._files[1], self.folder, shared=True)
        _cut_off_half_a_line(self._files[0])

    def _close(self) -> None:
        with self._mutex:
            while self._files:
                self._files.pop().close()


def results_in(folder: Path) -> list[str]:
    """The absolute paths of all results that a folder's journals tell of."""
    return Journal(folder).read().results()


class BusyError(DeblurError):
    """Another batch is working in the same folder."""


def _written(path: Path) -> tuple[int, str]:
    """By what journals of one folder are ordered: that which was written last holds."""
    return path.stat().st_mtime_ns, path.name


def _open(path: Path) -> BinaryIO:
    return open(path, "a+b", buffering=0)


def _write_all(file: BinaryIO, data: bytes) -> None:
    """Append all of it or, if the disk is full, nothing."""
    start = file.seek(0, os.SEEK_END)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(start)
        raise


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
