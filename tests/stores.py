"""What tests of remote folders and of clusters share: an S3 server with faults, photos in it, and `deblur batch` with an engine that changes nothing."""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
SECRET = "wJalrXUtnFEMI-very-secret"  # noqa: S105
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Store:
    """A server of `s3_server.py`, asked by plain HTTP. environment: what `deblur` needs to reach it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "deblur",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def ask(self, method: str, path: str, data: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/octet-stream", "Authorization": AUTHORIZATION}
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return bytes(answer.read())

    def faults(self, **faults: object) -> None:
        self.ask("POST", "_faults", json.dumps(faults).encode())

    def counts(self) -> dict[str, int]:
        return dict(json.loads(self.ask("GET", "_counts")))

    def bucket(self, name: str, photos: dict[str, bytes] | None = None) -> str:
        self.ask("PUT", name)
        for key, data in (photos or {}).items():
            self.put(f"{name}/{key}", data)
        return name

    def put(self, path: str, data: bytes) -> None:
        self.ask("PUT", quote(path), data)

    def keys(self, bucket: str) -> list[str]:
        found, more = [], ""
        while True:
            page = ET.fromstring(self.ask("GET", f"{bucket}?list-type=2{more}"))  # noqa: S314
            found += [str(each.text) for each in page.iter(f"{NAMESPACE}Key")]
            token = page.find(f"{NAMESPACE}NextContinuationToken")
            if token is None:
                return found
            more = f"&continuation-token={quote(str(token.text))}"

    def objects(self, bucket: str) -> dict[str, bytes]:
        """All but the journal."""
        return {
            key: self.ask("GET", quote(f"{bucket}/{key}"))
            for key in self.keys(bucket)
            if "/.deblur-journal/" not in f"/{key}"
        }

    def journal(self, bucket: str) -> list[dict[str, Any]]:
        keys = [key for key in self.keys(bucket) if "/.deblur-journal/" in f"/{key}"]
        return [json.loads(line) for key in keys for line in self.ask("GET", f"{bucket}/{key}").splitlines()]

    def uploads(self, bucket: str) -> list[str]:
        """Names of uploads that were begun and neither completed nor aborted."""
        page = ET.fromstring(self.ask("GET", f"{bucket}?uploads"))  # noqa: S314
        return [str(each.text) for each in page.iter() if each.tag.endswith("Key")]


@contextmanager
def running_store() -> Iterator[Store]:
    with subprocess.Popen([sys.executable, str(HERE / "s3_server.py")], stdout=subprocess.PIPE) as server:
        assert server.stdout
        try:
            yield Store(int(server.stdout.readline()))
        finally:
            server.kill()


def png(number: int, size: tuple[int, int] = (32, 48)) -> bytes:
    samples = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "PNG")
    return file.getvalue()


def photos(count: int) -> dict[str, bytes]:
    return {f"in/day {number % 3}/IMG_{number}.png": png(number) for number in range(count)}


class Run(subprocess.Popen[str]):
    """`deblur batch` at work. out: a file, since a pipe that nobody reads while a test waits is full after 300 photos, and the run stands still."""

    def __init__(self, arguments: tuple[object, ...], environment: dict[str, str]) -> None:
        self.out = tempfile.TemporaryFile("w+")  # noqa: SIM115  `Result` reads it
        super().__init__(
            [sys.executable, str(HERE / "identity_batch.py"), "batch", *map(str, arguments), "--json"],
            stdout=self.out,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def told(self) -> int:
        """So many lines so far: photos that are settled. Unlike a look into the store it costs the run no time."""
        return os.pread(self.out.fileno(), 1 << 20, 0).count(b"\n")


def start(*arguments: object, store: Store | None = None, **environment: str) -> Run:
    own = store.environment if store else {}
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "RAY_USAGE_STATS_ENABLED": "0"}
    return Run(arguments, {**paths, **own, **environment})


class Result:
    """What a run has told. summary: empty if it told none."""

    def __init__(self, run: Run) -> None:
        _, self.err = run.communicate(timeout=600)
        with run.out as file:
            file.seek(0)
            self.out, self.code = file.read(), run.returncode
        lines = [json.loads(line) for line in self.out.splitlines()]
        self.photos = [line for line in lines if "photo" in line]
        self.summary: dict[str, Any] = next((line["summary"] for line in lines if "summary" in line), {})

    def counts(self) -> tuple[int, int, int, int]:
        """Done, skipped, failed, not done."""
        assert self.summary, self.err
        return tuple(self.summary[key] for key in ("done", "skipped", "failed", "not_done"))  # type: ignore[return-value]


def batch(*arguments: object, store: Store | None = None, **environment: str) -> Result:
    return Result(start(*arguments, store=store, **environment))


def results_of_local_run(originals: dict[str, bytes], folder: Path) -> dict[str, bytes]:
    """What the same photos become on disk: name -> bytes."""
    for key, data in originals.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert batch(folder / "in", "-o", folder / "out").code == 0
    return {
        str(path.relative_to(folder / "out")): path.read_bytes() for path in (folder / "out").rglob("*.png")
    }


def until(condition: Callable[[], object], what: str, patience_s: float = 300) -> None:
    """Wait for a condition; AssertionError if it does not come."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.02)


def kill(run: Run) -> None:
    run.send_signal(signal.SIGKILL)
    run.communicate()
    run.out.close()


def assert_clean(store: Store, bucket: str) -> None:
    """No temporary names, no uploads that nobody completes."""
    assert not [key for key in store.keys(bucket) if key.endswith(".deblur-tmp")]
    assert not store.uploads(bucket)
