"""Which source comes first, what is tried next, and what the user is told when none serves."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from deblur_cli.download._hub import fetch_from_hub, hub_url, is_offline
from deblur_cli.download._installed import (
    Installed,
    cache_folder,
    check_hash,
    check_size,
    expected_hash,
    find_installed,
    name_in_cache,
    note_installed,
)
from deblur_cli.download._url import CHUNK_BYTES, Part, Progress, fetch_url, require_space
from deblur_cli.errors import WeightsError
from deblur_cli.registry import BundledSource, HubSource, UrlSource, WeightsEntry

Say = Callable[[str], None]
"""Called with a line about what is going on."""


def fetch_weights(
    entry: WeightsEntry,
    *,
    offline: bool = False,
    say: Say = lambda line: None,
    progress: Progress = lambda arrived, size_bytes: None,
) -> Installed:
    """The entry's file: the installed one, else from the first source that serves it; verified either way.

    offline, or HF_HUB_OFFLINE in the environment: no network. WeightsError says what was tried, why it failed and what
    to do.
    """
    installed = _find_good(entry, say)
    if installed:
        return installed
    if offline or is_offline():
        reason = "--offline" if offline else "HF_HUB_OFFLINE"
        raise WeightsError(
            f"the weights {entry.name} are not installed, and {reason} forbids to fetch them",
            hint=_by_hand(entry),
        )
    with _one_at_a_time(entry, say):
        # Another process may have fetched it meanwhile.
        return _find_good(entry) or _fetch_from_any(entry, say, progress)


def install_file(entry: WeightsEntry, file: Path, *, say: Say = lambda line: None) -> Installed:
    """Copy a file that was fetched by hand into the cache. WeightsError if it is not the entry's file."""
    if entry.bundled:
        raise WeightsError(f"the weights {entry.name} are part of the package and come with it")
    target = cache_folder() / entry.file
    copy = target.with_name(f"{target.name}.copy")
    expected, checked = expected_hash(entry)
    digest = hashlib.sha256()
    with _one_at_a_time(entry, say):
        try:
            check_size(entry, file.stat().st_size)
            require_space(target.parent, entry.size_bytes)
            with file.open("rb") as source, copy.open("wb") as destination:
                while chunk := source.read(CHUNK_BYTES):
                    destination.write(chunk)
                    digest.update(chunk)
            check_hash(digest.hexdigest(), expected)
            _put_in_place(copy, target)
        except WeightsError as error:
            raise WeightsError(
                f"{file}: {error.message}", hint=f"Nothing was installed. {_by_hand(entry)}"
            ) from error
        except OSError as error:
            raise WeightsError(f"{error.filename or target}: {error.strerror or error}") from error
        finally:
            copy.unlink(missing_ok=True)
        return note_installed(entry, target, "cache", digest.hexdigest(), checked)


def _find_good(entry: WeightsEntry, say: Say = lambda line: None) -> Installed | None:
    try:
        return find_installed(entry)
    except WeightsError as error:
        say(f"{error.message}; fetching it again")
        return None


def _fetch_from_any(entry: WeightsEntry, say: Say, progress: Progress) -> Installed:
    with suppress(OSError):
        (cache_folder() / entry.file).unlink(missing_ok=True)  # damaged, or it would have been taken
    failures: list[str] = []
    for source in entry.sources:
        if isinstance(source, BundledSource):
            raise WeightsError(f"{source.file} is missing from the package", hint="Install deblur-cli again.")
        url = hub_url(source) if isinstance(source, HubSource) else source.url
        if failures:
            say(f"{failures[-1]}; trying the next source")
        say(f"fetching {url}")
        try:
            if isinstance(source, HubSource):
                return fetch_from_hub(source, entry, progress)
            return _fetch_from_url(source, entry, progress)
        except WeightsError as error:
            failures.append(f"{url}: {error.message}")
        except OSError as error:
            failures.append(f"{url}: {error.filename or cache_folder()}: {error.strerror or error}")
    raise WeightsError(
        f"the weights {entry.name} could not be fetched", hint="\n".join([*failures, _what_to_do(entry)])
    )


def _fetch_from_url(source: UrlSource, entry: WeightsEntry, progress: Progress) -> Installed:
    target = cache_folder() / entry.file
    part = Part(target)
    expected, checked = expected_hash(entry)
    resumed = part.version(source.url) is not None
    found = fetch_url(source.url, part, entry.size_bytes, progress)
    if resumed and expected not in (None, found):  # what was there may be damaged: once more from the start
        part.remove()
        found = fetch_url(source.url, part, entry.size_bytes, progress)
    try:
        check_hash(found, expected)
    except WeightsError:
        part.remove()
        raise
    _put_in_place(part.path, target)
    part.remove()
    return note_installed(entry, target, "cache", found, checked)


def _put_in_place(file: Path, target: Path) -> None:
    """Give a whole file its name, so that even a power failure leaves no half of it there."""
    with file.open("rb+") as whole:
        os.fsync(whole.fileno())
    file.replace(target)


@contextmanager
def _one_at_a_time(entry: WeightsEntry, say: Say) -> Iterator[None]:
    """A lock among processes, so that one fetches and the others find the file. The system frees it if one is killed."""
    folder = cache_folder()
    lock = FileLock(folder / f"{name_in_cache(entry)}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another process is fetching {entry.name}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise WeightsError(
            f"{folder}: cannot be written: {error.strerror or error}",
            hint="DEBLUR_CACHE names another folder.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _what_to_do(entry: WeightsEntry) -> str:
    lines = [_by_hand(entry)]
    if any(isinstance(source, HubSource) for source in entry.sources):
        lines.append(
            "A mirror of the Hub: set HF_ENDPOINT. Trouble with its Xet transfers: HF_HUB_DISABLE_XET=1."
        )
    if Part(cache_folder() / entry.file).size_bytes:
        lines.insert(0, "What has arrived is kept: the same command goes on from there.")
    return "\n".join(lines)


def _by_hand(entry: WeightsEntry) -> str:
    if not entry.listed:
        return f"With the file {entry.file} from elsewhere: --weights FILE"
    return f"With the file {entry.file} from elsewhere: deblur download-weights --from FILE {entry.name}"
