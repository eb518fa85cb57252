"""The lines of a journal, and what they say of a target. Paths are relative to the journal's folder."""

import json
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from deblur_cli.errors import PhotoError
from deblur_cli.journal._file import FileLog

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


class Log(Protocol):
    """Lines that are only ever appended: files in a folder, or objects in a store. Only `append` and `sync` need `open`."""

    name: str

    def read(self) -> Iterator[tuple[bool, bytes]]: ...
    def open(self) -> None: ...
    def append(self, line: bytes) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


class Journal:
    """The journals of one folder: all are read, one is written. Use it as a context manager, which locks it.

    share: the name of a share of a batch ("2-of-8"), which has a log of its own, so that machines that share
    a folder never write to one. log: where the lines lie, if not on disk. Without entering it, it only reads.
    """

    def __init__(self, folder: Path, share: str = "", log: Log | None = None) -> None:
        self.folder = folder
        self._log = log or FileLog(folder, share)
        self._share = share
        self._entries: dict[str, Entry] = {}
        self._claims: set[str] = set()
        self._claims_of_others: set[str] = set()
        self._crashes: dict[str, Stamp] = {}
        self._left: dict[str, tuple[Stamp, str]] = {}
        self._last_made_with: Mapping[str, Any] = {}
        self._relative: dict[str, str] = {}
        self._mutex = threading.Lock()
        self._synced_s = 0.0
        self._unsynced = False

    def read(self) -> Self:
        """Read what the journals of the folder say."""
        for ours, lines in self._log.read():
            before = set(self._claims)
            for line in lines.split(b"\n")[:-1]:
                self._take(line)
            if self._share and not ours:
                self._claims_of_others |= self._claims - before
        return self

    def __enter__(self) -> Self:
        try:
            self._log.open()
            self.read()
        except OSError as error:
            self._log.close()
            raise PhotoError(
                f"{self._log.name}: the journal cannot be written: {error.strerror}",
                hint="Give another folder: -o FOLDER",
            ) from error
        except BaseException:
            self._log.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.sync()
        finally:
            self._log.close()

    def entry(self, target: Path) -> Entry | None:
        """What the journal says of a target."""
        return self._entries.get(self._name(target))

    def claimed(self, target: Path) -> bool:
        """Whether some run was about to write this target, so that what is there is ours."""
        return self._name(target) in self._claims

    def results(self) -> list[str]:
        """The absolute paths of all targets that the journal tells of."""
        return [os.path.abspath(os.path.join(self.folder, name)) for name in self._entries]

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

    def add(
        self,
        source: Path,
        stamp: Stamp,
        target: Path,
        made_with: Mapping[str, Any],
        target_size: int | None = None,
    ) -> None:
        """Say that a target is finished. It must be synced already. target_size: in bytes, where it is known without a look."""
        name = self._name(target)
        size = target.stat().st_size if target_size is None else target_size
        entry = Entry(self._name(source), *stamp, name, size, made_with)
        self._append(asdict(entry))

    def crashed(self, source: Path, stamp: Stamp) -> bool:
        """Whether this input, as it is now, has ended a process that worked on it."""
        return self._crashes.get(self._name(source)) == stamp

    def add_crash(self, source: Path, stamp: Stamp) -> None:
        """Say that it has."""
        size, mtime_ns = stamp
        self._append({"crashed": self._name(source), "size": size, "mtime_ns": mtime_ns})

    def left(self, source: Path, stamp: Stamp) -> str | None:
        """Why this input, as it is now, was left as it is; None if nobody has said so."""
        found = self._left.get(self._name(source))
        return found[1] if found and found[0] == stamp else None

    def add_left(self, source: Path, stamp: Stamp, target: Path, why: str) -> None:
        """Say that it was, and that its target is not about to be written."""
        size, mtime_ns = stamp
        line = {
            "left": self._name(source),
            "size": size,
            "mtime_ns": mtime_ns,
            "target": self._name(target),
            "why": why,
        }
        self._append(line)

    def sync(self) -> None:
        """Make all lines so far outlast a power cut."""
        with self._mutex:
            self._sync()

    def _append(self, line: Mapping[str, Any]) -> None:
        encoded = json.dumps(line).encode() + b"\n"  # ASCII: a name in no valid encoding survives as \udcXX
        with self._mutex:
            self._log.append(encoded)
            self._take(encoded)
            self._unsynced = True
            if time.monotonic() - self._synced_s >= SYNC_EVERY_S:
                self._sync()

    def _sync(self) -> None:
        if self._unsynced:
            self._log.sync()
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
            elif "left" in values:
                self._left[values["left"]] = (values["size"], values["mtime_ns"]), values["why"]
                self._claims.discard(values["target"])
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
        """A path relative to the journal's folder, with slashes; absolute if it is on another drive, or if only one of both is remote."""
        if type(path) is not type(self.folder):
            return str(path.absolute()).replace(os.sep, "/")
        parent = os.path.dirname(path)
        if parent not in self._relative:
            try:
                self._relative[parent] = os.path.relpath(parent or ".", self.folder)
            except ValueError:
                self._relative[parent] = os.path.abspath(parent)
        return os.path.normpath(os.path.join(self._relative[parent], path.name)).replace(os.sep, "/")


def results_in(folder: Path, log: Log | None = None) -> list[str]:
    """The absolute paths of all results that a folder's journals tell of."""
    return Journal(folder, log=log).read().results()
