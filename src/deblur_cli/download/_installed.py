"""What is on this computer, where, and whether it is what it should be. No network.

A file is hashed when it is first seen. What was found is noted in the cache as NAME.json, and holds for as long as
the file's size and time of change stay the same, so that a start need not read 100 MB.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from deblur_cli.errors import WeightsError
from deblur_cli.registry import BundledSource, HubSource, WeightsEntry

Place = Literal["package", "cache", "Hub cache"]


@dataclass(frozen=True)
class Installed:
    """A verified file. checked: in words, against what."""

    path: Path
    place: Place
    sha256: str
    checked: str


BY_HASH = "its SHA-256 is the published one"
BY_PIN = "its SHA-256 is the one that it had when it was fetched"
BY_HUB_HASH = "its SHA-256 is the one that the Hub states; none is published elsewhere"
BY_SIZE = "checked by its size only: no SHA-256 of it is published"


def cache_folder() -> Path:
    """Where files from URLs are kept: DEBLUR_CACHE, else the folder that the system has for caches."""
    chosen = os.environ.get("DEBLUR_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return base.expanduser() / "deblur-cli"


def hub_cache_folder() -> Path:
    """The Hub's own cache, as HF_HOME and HF_HUB_CACHE say."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def name_in_cache(entry: WeightsEntry) -> str:
    """By which files about an entry are called; names of the Hub's have slashes, and may be long."""
    return entry.name if entry.listed else f"hub-{hashlib.sha256(entry.name.encode()).hexdigest()[:32]}"


def find_installed(entry: WeightsEntry, *, rehash: bool = False) -> Installed | None:
    """The entry's file on this computer, or None. WeightsError if there is one, but it is not what it should be.

    rehash: read the whole file again, whatever was noted about it.
    """
    problem = None
    for place, path in _places(entry):
        try:
            if path.is_file():
                return _verify(entry, path, place, rehash)
        except OSError as error:
            problem = problem or WeightsError(f"{entry.name}: {path}: cannot be read: {error.strerror}")
        except WeightsError as error:
            problem = problem or error
    if problem:
        raise problem
    return None


def expected_hash(entry: WeightsEntry, hub_hash: str | None = None) -> tuple[str | None, str]:
    """The SHA-256 that a new file must have, None if nobody knows, and in words what that means for the user."""
    if entry.sha256:
        return entry.sha256, BY_HASH if entry.listed else BY_PIN
    return (hub_hash, BY_HUB_HASH) if hub_hash else (None, BY_SIZE)


def check_size(entry: WeightsEntry, size_bytes: int) -> None:
    """WeightsError unless it is the size of the entry's file."""
    if size_bytes != entry.size_bytes:
        raise WeightsError(f"it has {size_bytes} bytes instead of {entry.size_bytes}")


def check_hash(found: str, expected: str | None) -> None:
    """WeightsError with both if they differ."""
    if expected and found != expected:
        raise WeightsError(f"damaged, or another file: its SHA-256 is {found} instead of {expected}")


def note_installed(entry: WeightsEntry, path: Path, place: Place, sha256: str, checked: str) -> Installed:
    """Remember a file that was just verified, so that it need not be hashed again."""
    status = path.stat()
    _write_record(entry, _Record(str(path), status.st_size, status.st_mtime_ns, sha256, checked))
    return Installed(path, place, sha256, checked)


def hash_file(path: Path) -> "hashlib._Hash":
    """The SHA-256 of a file, as an object that can go on."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


@dataclass(frozen=True)
class _Record:
    """What was found when a file was hashed."""

    path: str
    size_bytes: int
    mtime_ns: int
    sha256: str
    checked: str


def _places(entry: WeightsEntry) -> Iterator[tuple[Place, Path]]:
    """Where the entry's file may lie, best first."""
    if not entry.bundled:
        yield "cache", cache_folder() / entry.file
    for source in entry.sources:
        if isinstance(source, BundledSource):
            yield "package", Path(__file__).parents[1] / source.file
        elif isinstance(source, HubSource):
            repository = f"models--{source.hub.replace('/', '--')}"
            yield "Hub cache", hub_cache_folder() / repository / "snapshots" / source.revision / source.file


def _verify(entry: WeightsEntry, path: Path, place: Place, rehash: bool) -> Installed:
    if place == "package" and not rehash:
        return Installed(path, place, entry.sha256 or "", "it came with the program")
    status = path.stat()
    record = _read_record(entry)
    if record and record.path != str(path):
        record = None
    if (
        record
        and not rehash
        and (record.size_bytes, record.mtime_ns) == (status.st_size, status.st_mtime_ns)
        and record.sha256 == (entry.sha256 or record.sha256)
    ):
        return Installed(path, place, record.sha256, record.checked)
    expected, checked = expected_hash(entry, _hash_in_name(path))
    if expected is None and record:  # at least it has not changed since
        expected, checked = record.sha256, record.checked
    try:
        check_size(entry, status.st_size)
        found = hash_file(path).hexdigest()
        check_hash(found, expected)
    except WeightsError as error:
        if record:
            _write_record(entry, replace(record, mtime_ns=0))  # no longer trusted unread
        again = (
            "Install deblur-cli again."
            if place == "package"
            else f"To fetch it again: deblur download-weights {entry.name}"
        )
        raise WeightsError(f"{entry.name}: {path}: {error.message}", hint=again) from error
    if place == "package":
        return Installed(path, place, found, checked)
    return note_installed(entry, path, place, found, checked)


def _hash_in_name(path: Path) -> str | None:
    """The Hub's cache names large files by the SHA-256 that the Hub states, and links to them."""
    name = path.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else None


def _record_path(entry: WeightsEntry) -> Path:
    return cache_folder() / f"{name_in_cache(entry)}.json"


def _read_record(entry: WeightsEntry) -> _Record | None:
    with suppress(OSError, ValueError, TypeError):  # absent or broken: the file is hashed again
        return _Record(**json.loads(_record_path(entry).read_text(encoding="utf-8")))
    return None


def _write_record(entry: WeightsEntry, record: _Record) -> None:
    with suppress(OSError):  # a cache that cannot be written costs time, not correctness
        cache_folder().mkdir(parents=True, exist_ok=True)
        _record_path(entry).write_text(json.dumps(asdict(record)), encoding="utf-8")
