"""Folders, globs and lists -> the files in them, in an order that is natural and always the same."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from deblur_cli.errors import PhotoError, UsageError
from deblur_cli.jobs._files import LOCAL, Entry, Files

JOURNAL_PREFIX = ".deblur-journal"
_OWN_HIDDEN = re.compile(rf"{re.escape(JOURNAL_PREFIX)}|.*\.deblur-tmp$")
"""Our own hidden files are not worth counting."""

Counts = dict[str, int]


class Search:
    """A search through folders, which counts what it passes over and gathers what it cannot read.

    results_in: a journal's folder -> the results that its journals tell of; they are no inputs.
    skip: a folder to leave out, such as the output's.
    """

    def __init__(
        self,
        is_photo: Callable[[Path], bool],
        results_in: Callable[[Path], Iterable[str]],
        skip: Path | None,
        files: Files = LOCAL,
    ) -> None:
        self.passed_over: Counts = {}
        self.problems: list[tuple[Path, PhotoError]] = []
        self.results: set[str] = set()
        self._is_photo = is_photo
        self._results_in = results_in
        self._skip = skip
        self._files = files

    def count(self, reason: str, number: int = 1) -> None:
        """Note files that are passed over."""
        if number:
            self.passed_over[reason] = self.passed_over.get(reason, 0) + number

    def photos(self, root: Path) -> Iterator[list[Path]]:
        """The photos of each folder below the root; each folder once, linked ones last (their links may loop)."""
        seen = {identity(self._skip)} if self._skip and identity(self._skip) != identity(root) else set()
        folders, linked = [str(root)], list[str]()
        while folders or linked:
            folder = folders.pop() if folders else linked.pop(0)
            if identity(folder) in seen:
                continue
            seen.add(identity(folder))
            entries = self._entries(folder)
            if any(entry.name.startswith(JOURNAL_PREFIX) for entry in entries):
                self.results.update(self._results_in(self._files.path_of(folder)))
            visible = [entry for entry in entries if self._visible(entry.name)]
            below = [entry for entry in visible if _is_folder(entry)]
            folders += [entry.path for entry in reversed(below) if not entry.is_symlink()]
            linked += [entry.path for entry in below if entry.is_symlink()]
            inside = set(below)
            files = [self._files.path_of(entry) for entry in visible if entry not in inside]
            photos = [path for path in files if self._is_photo(path)]
            self.count("not a photo", len(files) - len(photos))
            yield self._inputs(photos)

    def without_results(self, photos: list[Path], folder: Path) -> list[Path]:
        """Of photos named one by one, those that the journals of a folder do not tell of as results."""
        self.results.update(self._results_in(folder))
        return self._inputs(photos)

    def _inputs(self, photos: list[Path]) -> list[Path]:
        if not self.results:
            return photos
        inputs = [path for path in photos if os.path.abspath(path) not in self.results]
        self.count("a result of deblur", len(photos) - len(inputs))
        return inputs

    def _entries(self, folder: str) -> list[Entry]:
        try:
            return self._files.scan(folder, natural_key)
        except OSError as error:
            reason = f"{folder}: the folder cannot be read: {error.strerror}"
            self.problems.append((self._files.path_of(folder), PhotoError(reason)))
            return []

    def _visible(self, name: str) -> bool:
        if name[0] != ".":
            return True
        if not _OWN_HIDDEN.match(name):
            self.count("hidden")
        return False


def expand(name: str, files: Files = LOCAL) -> list[Path]:
    """A name as it stands if there is such a file, else what it matches as a glob. UsageError if that is nothing."""
    path = files.path_of(name)
    if os.path.lexists(path) or path.exists():
        return [path]
    matches = files.glob(name) if glob.has_magic(name) else ()
    if not (found := sorted(matches, key=lambda match: natural_key(str(match)))):
        raise UsageError(f"{name}: no such file or folder")
    return found


def read_list(stream: BinaryIO, *, nul: bool = False) -> list[str]:
    """The paths on a stream: one a line, or NUL-separated, in whatever encoding the file system has."""
    data = stream.read()
    if b"\0" in data and not nul:
        raise UsageError("the list on standard input holds NUL bytes", hint="If it is NUL-separated, add -0.")
    lines = data.split(b"\0" if nul else b"\n")
    return [os.fsdecode(line if nul else line.removesuffix(b"\r")) for line in lines if line.strip(b"\r")]


def identity(path: Path | str) -> object:
    """Equal for two names of one file, also through links; the absolute name where there is no file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.abspath(path)
    return status.st_dev, status.st_ino


def natural_key(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """A sort key under which photo2 comes before photo10, whatever the case of the letters."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], name


def _is_folder(entry: Entry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
