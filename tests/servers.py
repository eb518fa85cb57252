"""A file server on 127.0.0.1 that misbehaves as told, and that can play the Hugging Face Hub."""

import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Answer:
    """How to answer one GET. cut_at, stall_at: after so many bytes the connection is closed, or nothing
    more comes before `Server.go_on` is set."""

    data: bytes = b""
    status: int = 200
    etag: str | None = '"first"'
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    minds_if_range: bool = True
    range_offset: int = 0
    refuses_ranges: bool = False
    claimed_size: int | None = None
    chunked: bool = False
    cut_at: int | None = None
    stall_at: int | None = None


@dataclass(frozen=True)
class Hub:
    """What HEAD tells of the file. A status other than 302 is an error; 0 is no answer at all. A size of 0 is not told."""

    sha256: str
    size_bytes: int
    status: int = 302
    commit: str = "0" * 40
    message: str = ""


class Server:
    """Answers GET with one `Answer` after the other, the last one from then on; HEAD as the Hub does, if it is one."""

    def __init__(
        self, *answers: Answer, hub: Hub | None = None, certificate: tuple[Path, Path] | None = None
    ) -> None:
        self.answers = list(answers)
        self.hub = hub
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path, and the Range that was asked for."""
        self.stalled = threading.Event()
        self.go_on = threading.Event()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    @property
    def address(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._http.server_port}"

    @property
    def ranges(self) -> list[str | None]:
        """The ranges that were asked for, one a GET."""
        return [asked for method, _, asked in self.requests if method == "GET"]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def next_answer(self) -> Answer:
        with self._lock:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def stall(self) -> None:
        self.stalled.set()
        self.go_on.wait(60)


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def note(self) -> None:
        self.owner.requests.append((self.command, self.path, self.headers.get("Range")))

    def do_CONNECT(self) -> None:
        self.note()
        self.send_error(403, "Not through me")

    def do_HEAD(self) -> None:
        self.note()
        hub = self.owner.hub
        if hub is None:
            self.send_error(405)
            return
        if hub.status == 0:
            self.owner.stall()
            return
        self.send_response(hub.status)
        self.send_header("X-Repo-Commit", hub.commit)
        self.send_header("Content-Length", "0")
        if hub.message:
            self.send_header("X-Error-Message", hub.message)
        if hub.status == 302:
            elsewhere = self.owner.address.replace("127.0.0.1", "localhost")  # another host to the client
            self.send_header("Location", f"{elsewhere}/cdn/file")
            self.send_header("X-Linked-Etag", f'"{hub.sha256}"')
            if hub.size_bytes:
                self.send_header("X-Linked-Size", str(hub.size_bytes))
        elif hub.status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()

    def do_GET(self) -> None:
        self.note()
        self.close_connection = True
        answer = self.owner.next_answer()
        if answer.refuses_ranges and self.headers.get("Range"):
            self.send_error(416)
            return
        start, status = self.range_start(answer), answer.status
        body = answer.data[start:]
        self.send_response(206 if start else status)
        if start:
            shown = start + answer.range_offset
            self.send_header("Content-Range", f"bytes {shown}-{len(answer.data) - 1}/{len(answer.data)}")
        if answer.etag:
            self.send_header("ETag", answer.etag)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            self.send_header("Content-Length", str(answer.claimed_size or len(body)))
        self.end_headers()
        stop = min([size for size in (answer.cut_at, answer.stall_at) if size is not None], default=len(body))
        try:
            self.wfile.write(body[:stop])
            self.wfile.flush()
            if answer.stall_at is not None:
                self.owner.stall()
                self.wfile.write(body[stop:])
        except ConnectionError:
            pass  # the client was killed, or has seen enough

    def range_start(self, answer: Answer) -> int:
        asked = self.headers.get("Range")
        if asked is None or not answer.ranges or answer.status != 200:
            return 0
        if answer.minds_if_range and self.headers.get("If-Range") not in (None, answer.etag):
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))
