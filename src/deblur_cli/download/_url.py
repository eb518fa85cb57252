"""A plain HTTPS download into a partial file, with which a later run goes on. What the bytes must be is not decided here.

The standard library does it: it honours HTTPS_PROXY and NO_PROXY, and is there whichever HTTP client the installed
huggingface_hub brings along.
"""

import hashlib
import json
import shutil
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener, getproxies, proxy_bypass

from deblur_cli import __version__
from deblur_cli.download._installed import hash_file
from deblur_cli.errors import WeightsError

TIMEOUT_S = 30.0
"""How long a server may take to connect, to answer, and between two bytes."""

CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes that there will be."""


class Part:
    """A partial download: TARGET.part, and TARGET.part.json that says from where and of which version it is."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._origin = target.with_name(f"{target.name}.part.json")

    @property
    def size_bytes(self) -> int:
        """0 if there is none."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def version(self, url: str) -> str | None:
        """The version at that URL of which this is a part; None if it is not known to be one."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            origin = json.loads(self._origin.read_text(encoding="utf-8"))
            if origin["url"] == url and self.size_bytes:
                return str(origin["version"])
        return None

    def begin(self, url: str, version: str | None) -> None:
        """Forget what is there, and note what is to come. Without a version it cannot be resumed."""
        self.remove()
        if version:
            self._origin.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def remove(self) -> None:
        """Delete both files."""
        self.path.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)


def fetch_url(url: str, part: Part, size_bytes: int, progress: Progress) -> str:
    """Fetch what the partial file lacks, and return the SHA-256 of the whole. WeightsError says what went wrong.

    A broken connection is taken up again for as long as each attempt brings something. OSError if the file cannot be
    written. What has arrived stays in the partial file.
    """
    while True:
        arrived = part.size_bytes
        try:
            return _fetch_rest(url, part, size_bytes, progress)
        except _BrokenOffError:
            if part.size_bytes <= arrived:
                raise


def require_space(folder: Path, size_bytes: int) -> None:
    """WeightsError unless so much fits on the folder's disk."""
    free = shutil.disk_usage(folder).free
    if free < size_bytes:
        raise WeightsError(
            f"{size_bytes / 1e6:.1f} MB are needed in {folder}, and {free / 1e6:.1f} MB are free"
        )


def is_allowed(url: str) -> bool:
    """HTTPS, and for tests this computer itself."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme, parts.hostname) == ("http", "127.0.0.1")


class _BrokenOffError(WeightsError):
    """The connection ended before the file did."""


def _fetch_rest(url: str, part: Part, size_bytes: int, progress: Progress) -> str:
    version = part.version(url)
    start = part.size_bytes if version else 0
    if start == size_bytes:  # all had arrived when the program was killed
        return hash_file(part.path).hexdigest()
    if start > size_bytes:
        part.remove()
        start = 0
    require_space(part.path.parent, size_bytes - start)
    with _open(url, start, version) as response:
        offered = _version_of(response.headers)
        if response.status != 206:
            start = 0
        elif offered not in (None, version) or not _starts_at(start, response.headers):
            part.remove()
            return _fetch_rest(url, part, size_bytes, progress)
        if response.length is not None and start + response.length != size_bytes:
            what = " of a web page" if response.headers.get_content_type() == "text/html" else ""
            raise WeightsError(
                f"the server offers {start + response.length} bytes{what} instead of {size_bytes}"
            )
        if start == 0:
            part.begin(url, offered)
        digest = hash_file(part.path) if start else hashlib.sha256()
        arrived = start
        with part.path.open("ab") as file:
            while chunk := _read(response, arrived, size_bytes):
                arrived += len(chunk)
                if arrived > size_bytes:
                    part.remove()
                    raise WeightsError(f"the server sends more than {size_bytes} bytes")
                file.write(chunk)
                digest.update(chunk)
                progress(arrived, size_bytes)
    if arrived < size_bytes:
        raise _BrokenOffError(_broken_off("the server ended it", arrived, size_bytes))
    return digest.hexdigest()


class _AllowedRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not is_allowed(newurl):
            fp.close()
            raise WeightsError(f"it redirects to {newurl}, and only https is trusted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, start: int, version: str | None) -> HTTPResponse:
    """The answer to a GET of the file, or of its rest if it is still that version. WeightsError if there is none."""
    request = Request(url, headers={"User-Agent": f"deblur-cli/{__version__}"})  # noqa: S310  # the caller checks it
    if start and version:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", version)
    try:
        response: HTTPResponse = build_opener(_AllowedRedirects).open(request, timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if start and error.code == 416:  # the file is shorter now
            return _open(url, 0, None)
        raise WeightsError(f"the server answers {error.code} {error.reason}{_proxy_in_words(url)}") from error
    except (OSError, HTTPException) as error:
        raise WeightsError(_in_words(error) + _proxy_in_words(url)) from error
    return response


def _read(response: HTTPResponse, arrived: int, size_bytes: int) -> bytes:
    """What has arrived by now, at least a byte; empty at the end."""
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(_broken_off(_in_words(error), arrived, size_bytes)) from error


def _version_of(headers: HTTPMessage) -> str | None:
    """What identifies these very bytes in an If-Range: the ETag unless it is a weak one, else the date."""
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


def _starts_at(start: int, headers: HTTPMessage) -> bool:
    return str(headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def _broken_off(reason: str, arrived: int, size_bytes: int) -> str:
    return f"the connection broke off after {arrived / 1e6:.1f} of {size_bytes / 1e6:.1f} MB: {reason}"


def _in_words(error: OSError | HTTPException) -> str:
    if isinstance(error, URLError) and isinstance(error.reason, OSError):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"no answer for {TIMEOUT_S:g} s"
    if isinstance(error, socket.gaierror):
        return f"the host is not found, or there is no network ({error.strerror})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message} (SSL_CERT_FILE names others to trust)"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _proxy_in_words(url: str) -> str:
    """Which proxy stood between, without its password."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return ""
    return f" (through the proxy {proxy.rpartition('@')[2].rpartition('//')[2]})"
