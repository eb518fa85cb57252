"""What is asked of a store, by fsspec: each request is tried again with growing pauses, and each failure becomes an OSError."""

import errno
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from functools import cache
from itertools import count
from typing import Any, TypeVar
from zlib import crc32

from deblur_cli.errors import UsageError
from deblur_cli.storage import _s3
from deblur_cli.storage._path import RemotePath, Status, child, listed

T = TypeVar("T")

ATTEMPTS = 6
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 20.0

PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs", "adl": "adlfs",
    "oci": "ocifs", "oss": "ossfs", "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol", "webdav": "webdav4",
    "http": "aiohttp", "https": "aiohttp",
}  # fmt: skip
"""What fsspec needs besides itself."""

WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "memory"}
"""Stores in which an object appears when its last byte is there; elsewhere a file is renamed."""

SFTP = {"sftp", "ssh"}
READ_ONLY = {"http", "https", "github", "data"}
TEMPORARY_SUFFIX = ".deblur-tmp"
TIMES = ("LastModified", "updated", "last_modified", "mtime", "modified", "Last-Modified", "created")
VERSIONS = ("ETag", "etag", "md5Hash", "Content-MD5")

_FULL = re.compile(r"quota.?exceeded|storage.?full|insufficient.?storage|no space left", re.IGNORECASE)
_SECRET = re.compile(r"\?\S*|((secret|token|signature|password|key)\S*\s*[=:]\s*)\S+", re.IGNORECASE)
_PERMANENT = (
    FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError, NotImplementedError,
)  # fmt: skip


def protocol_of(path: RemotePath) -> str:
    """Of s3://bucket/name it is s3."""
    return str(path).partition(":")[0].lower()


def check_output(path: RemotePath) -> None:
    """UsageError for a store that cannot be written, or for which a package is missing."""
    _filesystem(protocol_of(path), _root(path))
    if protocol_of(path) in READ_ONLY:
        raise UsageError(f"{path}: can only be read", hint="Give another folder: -o FOLDER")


def status(path: RemotePath) -> Status:
    """What a name is now. FileNotFoundError if there is nothing."""
    fs, name = _at(path)
    return _status_of(_tried(lambda: fs.info(name), path)) or Status(is_folder=False, size=0, mtime_ns=0)


def entries(folder: RemotePath) -> Iterator[RemotePath]:
    """What lies in a folder, as the store's pages come; nothing if there is no such folder."""
    fs, name = _at(folder)
    with suppress(FileNotFoundError):
        for page in _pages(fs, folder, name):
            for info in page:
                own = info["name"].rstrip("/").rpartition("/")[2]
                if own not in ("", ".", "..") and info["name"].strip("/") != name.strip("/"):
                    told = _status_of(info)
                    yield child(folder, own, told) if told else folder / own


def matching(pattern: RemotePath) -> Iterator[RemotePath]:
    """What a pattern stands for: * and [...] for a part of a name, ** for any number of folders."""
    fs, name = _at(pattern)
    store = str(pattern).removesuffix(name.lstrip("/"))
    for found, info in _tried(lambda: fs.glob(name, detail=True), pattern).items():
        yield listed(store + found.lstrip("/"), _status_of(info))


def read(path: RemotePath) -> bytes:
    """All bytes of a file."""
    fs, name = _at(path)
    return bytes(_tried(lambda: fs.cat_file(name), path))


def write(path: RemotePath, data: bytes) -> None:
    """All bytes, or none of them. What a failed upload has left is taken away by fsspec, or by the next run."""
    fs, name = _at(path)
    if protocol_of(path) in WHOLE:
        _tried(lambda: fs.pipe_file(name, data), path, retry=(FileNotFoundError,))
        return

    def rename() -> None:
        temporary = _temporary(name)
        fs.makedirs(name.rpartition("/")[0], exist_ok=True)
        try:
            fs.pipe_file(temporary, data)
            fs.mv(temporary, name)
        except BaseException:
            with suppress(Exception):
                fs.rm_file(temporary)
            raise

    _tried(rename, path)


def remove(path: RemotePath) -> None:
    """A file; it may be gone already."""
    fs, name = _at(path)
    with suppress(FileNotFoundError):
        _tried(lambda: fs.rm_file(name), path)


def sweep(targets: Iterable[RemotePath]) -> None:
    """What writers that were killed have left of these targets; that nothing can be removed is no failure."""
    uploads: dict[str, set[str]] = {}
    for target in targets:
        fs, name = _at(target)
        if protocol_of(target) in _s3.PROTOCOLS:
            uploads.setdefault(_root(target), set()).add(name)
        elif protocol_of(target) not in WHOLE:
            with suppress(Exception):
                fs.rm_file(_temporary(name))
    for root, names in uploads.items():
        fs, _ = _at(RemotePath(root))
        with suppress(OSError):
            _tried(lambda fs=fs, names=names: _s3.abort_uploads(fs, names), RemotePath(root))  # type: ignore[misc]


def _temporary(name: str) -> str:
    folder, _, own = name.rpartition("/")
    return f"{folder}/.{own[:200]}{TEMPORARY_SUFFIX}"


def _pages(fs: Any, folder: RemotePath, name: str) -> Iterator[list[dict[str, Any]]]:  # noqa: ANN401
    """A listing, a thousand names at a time; of most stores fsspec shows no pages, and a folder comes as one."""
    if protocol_of(folder) in _s3.PROTOCOLS:
        pages = _s3.Pages(fs, name)
        while page := _tried(lambda: next(pages, None), folder):
            yield page
    else:
        yield _tried(lambda: fs.ls(name, detail=True), folder)
        fs.invalidate_cache()


def _root(path: RemotePath) -> str:
    """The store and its host or bucket: s3://bucket."""
    return "/".join(str(path).split("/")[:3])


def _at(path: RemotePath) -> tuple[Any, str]:
    fs = _filesystem(protocol_of(path), _root(path))
    return fs, fs._strip_protocol(str(path))  # noqa: SLF001  fsspec's own way to turn a URL into a name


@cache
def _filesystem(protocol: str, root: str) -> Any:  # noqa: ANN401
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise UsageError(
            f"{root}: remote folders need fsspec", hint="pip install 'deblur-cli[remote]'"
        ) from error
    try:
        if protocol in SFTP:
            from deblur_cli.storage import _sftp

            _sftp.register()
        with _signals_held():
            fs, _ = _tried(
                lambda: url_to_fs(root), RemotePath(root), at_once=(UsageError, ImportError, ValueError)
            )
    except ImportError as error:
        package = PACKAGES.get(protocol, "")
        hint = f"pip install {package}" if package else "fsspec's documentation tells which."
        raise UsageError(f"{protocol}:// needs the package {package}".rstrip(), hint=hint) from error
    except ValueError as error:
        raise UsageError(f"{root}: {protocol}:// is no protocol that fsspec knows") from error
    if protocol in _s3.PROTOCOLS:
        fs.retries = 1  # we try again ourselves, and botocore does below us
    return fs


@contextmanager
def _signals_held() -> Iterator[None]:
    """The threads that fsspec starts inherit this: Ctrl-C is for the first thread, which knows when it may be interrupted."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _status_of(info: dict[str, Any]) -> Status | None:
    """None if a listing does not tell the size."""
    if info.get("type") == "directory" or info.get("mimetype") == "text/html":  # a web server's list of names
        return Status(is_folder=True, size=0, mtime_ns=0)
    if info.get("size") is None:
        return None
    told = next((info[key] for key in TIMES if info.get(key)), 0)
    if isinstance(told, str):
        with suppress(ValueError):
            told = datetime.fromisoformat(told)
    seconds = int(told.timestamp() if isinstance(told, datetime) else 0 if isinstance(told, str) else told)
    version = "".join(str(info.get(key) or "") for key in VERSIONS) + (told if isinstance(told, str) else "")
    return Status(False, int(info["size"]), seconds * 1_000_000_000 + crc32(version.encode()) % 1_000_000_000)


_TURN = threading.RLock()


@cache
def _takes_turns(protocol: str) -> bool:
    """Whether two threads may not ask at once: all but fsspec's asynchronous stores have one connection, on which answers get mixed up."""
    from fsspec import get_filesystem_class

    return not get_filesystem_class(protocol).async_impl


Errors = tuple[type[Exception], ...]


def _tried(
    request: Callable[[], T], path: RemotePath, *, retry: Errors = (), at_once: Errors = (UsageError,)
) -> T:
    """What a request returns, tried up to ATTEMPTS times. retry: failures that are otherwise taken at their word; at_once: those that are raised as they are."""
    for attempt in count(1):
        try:
            with _TURN if _takes_turns(protocol_of(path)) else nullcontext():
                return request()
        except at_once:
            raise
        except Exception as error:
            final = isinstance(error, _PERMANENT) and not isinstance(error, retry)
            if final or _is_full(error) or "Credentials" in type(error).__name__ or attempt == ATTEMPTS:
                raise _as_os_error(error, path) from error
        time.sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1)) * random.uniform(0.5, 1))  # noqa: S311
    raise AssertionError("unreachable")


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if _FULL.search(f"{getattr(error, 'response', '')} {error}"):
            return True
        error = error.__cause__
    return False


def _as_os_error(error: Exception, path: RemotePath) -> OSError:
    """As a disk would say it; nothing of what a library says may hold a secret."""
    if _is_full(error):
        return OSError(errno.EDQUOT, "the quota is used up", str(path))
    if "Credentials" in type(error).__name__:
        return PermissionError(
            errno.EACCES, "no credentials were found by the usual means of this cloud", str(path)
        )
    if isinstance(error, PermissionError):
        return PermissionError(errno.EACCES, "access is denied", str(path))
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "no such file", str(path))
    text = _SECRET.sub(r"\1...", str(error).splitlines()[0] if str(error) else "")[:200]
    return OSError(errno.EIO, f"the store fails: {text or type(error).__name__}", str(path))
