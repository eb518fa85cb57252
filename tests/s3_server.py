"""An S3 server with faults on request: python tests/s3_server.py prints its port and serves until it is ended.

POST /_faults takes JSON and replaces the faults: `busy` and `cut`, the shares of requests that are answered by 503 and whose connection
is cut, half of them after the work was done; `denied`, buckets that nothing may be written to; `denied_parts`, those whose uploads get no second part; `quota`, bucket -> bytes that it holds.
GET /_counts tells how many requests of each kind there were since the faults were set.
"""

import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ERROR = "<?xml version='1.0'?><Error><Code>{0}</Code><Message>{1}</Message></Error>"
Start = Callable[..., Any]


class Faulty:
    """Moto's application, and what may happen before and after it."""

    def __init__(self) -> None:
        self._s3 = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._random = random.Random(5)
        self._faults: dict[str, Any] = {}
        self._counts = Counter[str]()
        self._bytes = Counter[str]()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == "/_faults":
            self._faults = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            self._counts.clear()
            return self._answer(start, "200 OK", b"")
        if path == "/_counts":
            return self._answer(start, "200 OK", json.dumps(self._counts).encode())
        bucket = path.strip("/").split("/")[0]
        size = int(environ.get("CONTENT_LENGTH") or 0)
        with self._lock:
            self._counts[
                f"LIST {bucket}" if method == "GET" and path.count("/") < 2 else f"{method} {bucket}"
            ] += 1
            fate = self._random.random()
            writes = method in ("PUT", "POST") and path.count("/") > 1
            full = writes and self._bytes[bucket] + size > self._faults.get("quota", {}).get(
                bucket, float("inf")
            )
            if writes and not full:
                self._bytes[bucket] += size
        busy, cut = self._faults.get("busy", 0), self._faults.get("cut", 0)
        if fate < busy:
            return self._error(
                environ, start, "503 Slow Down", "SlowDown", "Please reduce your request rate."
            )
        if fate < busy + cut / 2:
            return self._cut(environ, start)
        part = "partNumber=2" in environ["QUERY_STRING"] and bucket in self._faults.get("denied_parts", ())
        if part or (writes and bucket in self._faults.get("denied", ())):
            return self._error(environ, start, "403 Forbidden", "AccessDenied", "Access Denied")
        if full:
            return self._error(environ, start, "403 Forbidden", "QuotaExceeded", "The quota is exceeded")
        answer = self._s3(environ, start)
        if fate < busy + cut:
            b"".join(answer)
            return self._cut(environ, start)
        return answer

    def _cut(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        with suppress(OSError):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return self._answer(start, "200 OK", b"")

    def _error(
        self, environ: dict[str, Any], start: Start, status: str, code: str, text: str
    ) -> Iterable[bytes]:
        with suppress(ValueError):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return self._answer(start, status, ERROR.format(code, text).encode())

    def _answer(self, start: Start, status: str, body: bytes) -> Iterable[bytes]:
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


class Quiet(WSGIRequestHandler):
    """Connections that stay open, as a store's do, and no log."""

    protocol_version = "HTTP/1.1"

    def log(self, *about: object) -> None:
        pass


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, Faulty(), threaded=True, request_handler=Quiet)
    print(server.port, flush=True)
    server.serve_forever()
