"""Downloads against servers on this computer that fail in every way a network fails."""

import hashlib
import io
import json
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from conftest import TINY, RestormerConfig, random_model
from deblur_cli import registry
from deblur_cli.cli import main
from deblur_cli.download import _url, cache_folder, fetch_weights, find_installed, install_file
from deblur_cli.download._hub import _bar_class
from deblur_cli.errors import WeightsError
from deblur_cli.model import Restormer
from deblur_cli.registry import WeightsEntry, load_registry, parse_registry, weights_toml
from servers import Answer, Hub, Server

DATA = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(3_000_000)
COMMIT = "0" * 40
RUN_DEBLUR = Path(__file__).with_name("run_deblur.py")
NOWHERE = "http://127.0.0.1:9"  # the discard port, where nobody listens


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def url_source(server: Server | str, file: str = "small.pth") -> str:
    return f'{{ url = "{server if isinstance(server, str) else server.address}/{file}" }}'


HUB_SOURCE = f'{{ hub = "some/repo", revision = "{COMMIT}", file = "small.pth" }}'


def table(
    *sources: str, name: str = "small", data: bytes = DATA, sha256: str | None = None, config: str = ""
) -> str:
    known = hashlib.sha256(data).hexdigest() if sha256 is None else sha256
    return f"""
        [{name}]
        title = "a test"
        task = "deblur"
        sources = [{", ".join(sources)}]
        size_bytes = {len(data)}
        sha256 = "{known}"
        parameters = 5
        window = 384
        config = {{ {config} }}
        training_set = "Sets"
        paper = "Papers"
        licence = "for tests only; ask first"
    """


def entry_of(text: str) -> WeightsEntry:
    (entry,) = parse_registry(text).values()
    return entry


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the user's environment says about networks and caches, in this process and in those it starts."""
    from huggingface_hub import constants

    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf/hub"))


Deblur = Callable[..., Outcome]


@pytest.fixture
def deblur(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Deblur]:
    """`deblur(text, *arguments)` runs a command in this process, with weights.toml as in `text`."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(text: str, *arguments: str) -> Outcome:
        (tmp_path / "weights.toml").write_text(text)
        monkeypatch.setattr(registry, "weights_toml", lambda: tmp_path / "weights.toml")
        load_registry.cache_clear()
        old = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        signal.signal(signal.SIGTERM, old)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(int(end.value.code or 0), captured.out, captured.err)

    yield run
    load_registry.cache_clear()


def start(
    text: str, *arguments: str, stderr: int = subprocess.PIPE, **environment: str
) -> "subprocess.Popen[str]":
    """The same in a process of its own; HF_ENDPOINT and its like are read when a process starts."""
    return subprocess.Popen(
        [sys.executable, RUN_DEBLUR, text, *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> Outcome:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return Outcome(process.returncode, out, err)


def in_cache() -> set[str]:
    """The files of our cache, but for the lock."""
    return {path.name for path in cache_folder().glob("*") if path.suffix != ".lock"}


def installed_bytes(text: str) -> bytes:
    installed = find_installed(entry_of(text))
    assert installed is not None
    return installed.path.read_bytes()


def assert_failed(outcome: Outcome, *messages: str) -> None:
    """One clear message, exit 3, and nothing under a good name."""
    assert outcome.code == 3, outcome.err
    assert outcome.err.count("error:") == 1
    for message in messages:
        assert message in outcome.err
    assert "deblur download-weights --from FILE small" in outcome.err
    assert not {"small.pth", "small.json"} & in_cache()
    in_hub = [path for path in Path(os.environ["HF_HOME"]).rglob("*") if path.is_file() or path.is_symlink()]
    assert not [
        path for path in in_hub if {"blobs", "snapshots"} & set(path.parts) and path.suffix != ".incomplete"
    ]


# A plain download


def test_a_download_is_verified_installed_and_told(deblur: Deblur) -> None:
    with Server(Answer(DATA)) as server:
        text = table(url_source(server))
        outcome = deblur(text, "download-weights", "small")
        assert outcome.code == 0, outcome.err
        assert outcome.out == ""
        for words in (
            "small: a test; 3.0 MB, trained on Sets",
            "licence: for tests only; ask first",
            f"fetching {server.address}/small.pth",
            f"installed: {cache_folder() / 'small.pth'} (its SHA-256 is the published one)",
            "next: deblur photo.jpg --weights small",
        ):
            assert words in outcome.err
        assert in_cache() == {"small.pth", "small.json"}
        assert installed_bytes(text) == DATA
        again = deblur(text, "download-weights", "small", "--quiet")
    assert again == Outcome(0, "", "")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answers", "messages"),
    [
        ([Answer(status=404)], ["the server answers 404 Not Found"]),
        ([Answer(status=403)], ["the server answers 403 Forbidden"]),
        ([Answer(status=500)], ["the server answers 500 Internal Server Error"]),
        (
            [Answer(status=302, headers={"Location": "http://example.org/x"})],
            ["it redirects to http://example.org/x, and only https is trusted"],
        ),
        (
            [Answer(status=302, headers={"Location": "/small.pth"})],
            ["the server answers 302", "infinite loop"],
        ),
        (
            [Answer(DATA, stall_at=1_000_000, ranges=False)],
            ["broke off after 1.0 of 3.0 MB: no answer for 0.3 s", "What has arrived is kept"],
        ),
        (
            [Answer(DATA, cut_at=1_000_000, ranges=False)],
            ["broke off after 1.0 of 3.0 MB", "the server ended it"],
        ),
        ([Answer(DATA, claimed_size=2_999_999)], ["the server offers 2999999 bytes instead of 3000000"]),
        ([Answer(DATA + b"x")], ["the server offers 3000001 bytes instead of 3000000"]),
        ([Answer(DATA + b"x", chunked=True)], ["the server sends more than 3000000 bytes"]),
        (
            [Answer(b"<p>Log in", headers={"Content-Type": "text/html"})],
            ["offers 9 bytes of a web page instead of"],
        ),
        (
            [Answer(OTHER)],
            [hashlib.sha256(OTHER).hexdigest(), f"instead of {hashlib.sha256(DATA).hexdigest()}"],
        ),
    ],
    ids=lambda value: value[0].split("/")[0][:40] if isinstance(value[0], str) else "",
)
def test_a_server_that_fails(
    answers: list[Answer], messages: list[str], deblur: Deblur, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_url, "TIMEOUT_S", 0.3)
    with Server(*answers) as server:
        outcome = deblur(table(url_source(server)), "download-weights", "small")
    assert_failed(
        outcome, "the weights small could not be fetched", f"{server.address}/small.pth: ", *messages
    )


def test_a_server_that_takes_no_connection(deblur: Deblur) -> None:
    outcome = deblur(table(url_source(NOWHERE)), "download-weights", "small")
    assert_failed(outcome, "Connection refused")


def test_a_server_that_never_answers(deblur: Deblur, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_url, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        outcome = deblur(table(url_source(address)), "download-weights", "small")
    assert_failed(outcome, "no answer for 0.3 s")


def test_no_network(deblur: Deblur, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown_host(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    outcome = deblur(table(url_source("https://example.org")), "download-weights", "small")
    assert_failed(outcome, "https://example.org/small.pth: the host is not found, or there is no network")


def test_a_proxy_that_refuses(deblur: Deblur, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(Answer()) as proxy:
        monkeypatch.setenv("https_proxy", proxy.address.replace("//", "//user:secret@"))
        outcome = deblur(table(url_source("https://example.org")), "download-weights", "small")
        port = proxy.address.rpartition(":")[2]
    assert_failed(outcome, "Tunnel connection failed: 403", f"(through the proxy 127.0.0.1:{port})")
    assert "secret" not in outcome.err
    assert proxy.requests == [("CONNECT", "example.org:443", None)]


def test_no_proxy_is_honoured(deblur: Deblur, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", NOWHERE)
    with Server(Answer(DATA)) as server:
        text = table(url_source(server))
        assert_failed(deblur(text, "download-weights", "small"), "(through the proxy 127.0.0.1:9)")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        elsewhere = deblur(table(url_source("http://127.0.0.1:1")), "download-weights", "small")
        assert "through the proxy" not in elsewhere.err
        assert deblur(text, "download-weights", "small").code == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_a_certificate_that_nobody_vouches_for(
    deblur: Deblur, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    request += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key]
    subprocess.run(request, check=True, capture_output=True)
    with Server(Answer(DATA), certificate=(certificate, key)) as server:
        text = table(url_source(server))
        outcome = deblur(text, "download-weights", "small")
        assert_failed(outcome, "its certificate is not trusted: self", "SSL_CERT_FILE")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert deblur(text, "download-weights", "small").code == 0


def test_a_redirect_is_followed_and_resumed() -> None:
    with Server(Answer(DATA, cut_at=1_000_000), Answer(DATA)) as storage:
        away = Answer(status=302, headers={"Location": f"{storage.address}/cdn?signed"})
        with Server(away) as server:
            text = table(url_source(server))
            fetch_weights(entry_of(text))
    assert storage.ranges == [None, "bytes=1000000-"]
    assert installed_bytes(text) == DATA


def test_the_next_source_is_tried(deblur: Deblur) -> None:
    with Server(Answer(OTHER)) as bad, Server(Answer(DATA)) as good:
        text = table(url_source(bad), url_source(good))
        outcome = deblur(text, "download-weights", "small")
    assert outcome.code == 0
    assert "damaged, or another file" in outcome.err
    assert "trying the next source" in outcome.err
    assert "error:" not in outcome.err
    assert installed_bytes(text) == DATA


def test_one_failure_does_not_keep_the_other_weights_away(deblur: Deblur) -> None:
    with Server(Answer(DATA)) as server:
        text = table(url_source(NOWHERE), name="motion") + table(url_source(server), name="defocus")
        outcome = deblur(text, "download-weights")
    assert outcome.code == 3
    assert "the weights motion could not be fetched" in outcome.err
    assert "next: deblur photo.jpg --weights defocus" in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_shows_size_speed_and_time_left() -> None:
    terminal, other_end = os.openpty()
    with (
        Server(Answer(DATA, stall_at=1_500_000), Answer(DATA)) as server,
        os.fdopen(terminal, "rb", 0) as screen,
    ):
        process = start(
            table(url_source(server)),
            "download-weights",
            "small",
            stderr=other_end,
            TERM="xterm",
            COLUMNS="100",
        )
        os.close(other_end)
        wait_for(server.stalled.is_set)
        time.sleep(0.3)
        server.go_on.set()
        shown = b""
        with suppress(OSError):  # how the end of a terminal looks
            while piece := screen.read(1000):
                shown += piece
        assert process.wait(30) == 0
        process.communicate()
    assert b"1.5/3.0 MB" in shown
    assert b"MB/s" in shown
    assert re.search(rb"00:0\d", shown)


# Going on with a broken download


def test_a_cut_connection_is_taken_up_again() -> None:
    with Server(Answer(DATA, cut_at=1_000_000), Answer(DATA, cut_at=500_000), Answer(DATA)) as server:
        text = table(url_source(server))
        fetch_weights(entry_of(text))
    assert server.ranges == [None, "bytes=1000000-", "bytes=1500000-"]
    assert installed_bytes(text) == DATA
    assert in_cache() == {"small.pth", "small.json"}


def half(server: Server, text: str) -> None:
    """Leave 1 MB of the file behind, as a killed process would."""
    server.answers[:0] = [Answer(DATA, cut_at=1_000_000), Answer(status=500)]
    with pytest.raises(WeightsError, match="500"):
        fetch_weights(entry_of(text))
    assert in_cache() == {"small.pth.part", "small.pth.part.json"}
    server.requests.clear()


@pytest.mark.parametrize(
    ("answer", "ranges"),
    [
        (Answer(DATA), ["bytes=1000000-"]),
        (Answer(DATA, ranges=False), ["bytes=1000000-"]),
        (Answer(DATA, etag='"second"'), ["bytes=1000000-"]),
        (Answer(DATA, etag='"second"', minds_if_range=False), ["bytes=1000000-", None]),
        (Answer(DATA, range_offset=5), ["bytes=1000000-", None]),
        (Answer(DATA, refuses_ranges=True), ["bytes=1000000-", None]),
        (Answer(DATA, etag=None, minds_if_range=False), ["bytes=1000000-"]),
    ],
    ids=[
        "same",
        "no ranges",
        "changed",
        "changed, If-Range ignored",
        "wrong range",
        "416",
        "rest without ETag",
    ],
)
def test_another_run_goes_on_where_it_can(answer: Answer, ranges: list[str | None]) -> None:
    with Server(answer) as server:
        text = table(url_source(server))
        half(server, text)
        progress: list[int] = []
        fetch_weights(entry_of(text), progress=lambda arrived, size_bytes: progress.append(arrived))
    assert server.ranges == ranges
    assert installed_bytes(text) == DATA
    assert (min(progress) > 1_000_000) == (
        answer in (Answer(DATA), Answer(DATA, etag=None, minds_if_range=False))
    )
    assert progress[-1] == len(DATA)


def test_another_source_does_not_go_on_with_what_the_first_one_sent() -> None:
    with Server(Answer(DATA, cut_at=1_000_000), Answer(status=500)) as first, Server(Answer(DATA)) as second:
        text = table(url_source(first), url_source(second))
        fetch_weights(entry_of(text))
    assert second.ranges == [None]
    assert installed_bytes(text) == DATA


def test_a_file_that_changed_unnoticed_is_fetched_again_from_the_start() -> None:
    with Server(Answer(DATA)) as server:
        text = table(url_source(server))
        half(server, text)
        part = cache_folder() / "small.pth.part"
        part.write_bytes(OTHER[:1_000_000])
        fetch_weights(entry_of(text))
    assert server.ranges == ["bytes=1000000-", None]
    assert installed_bytes(text) == DATA


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}], ids=["no ETag", "a weak ETag"])
def test_without_a_version_a_download_starts_over(headers: dict[str, str]) -> None:
    answer = Answer(DATA, etag=None, headers=headers)
    with Server(answer) as server:
        text = table(url_source(server))
        server.answers[:0] = [Answer(DATA, etag=None, headers=headers, cut_at=1_000_000), Answer(status=500)]
        with pytest.raises(WeightsError):
            fetch_weights(entry_of(text))
        fetch_weights(entry_of(text))
    assert server.ranges == [None, None, None]
    assert installed_bytes(text) == DATA


def test_a_date_does_where_the_etag_is_weak() -> None:
    headers = {"ETag": 'W/"weak"', "Last-Modified": "Sun, 22 Nov 2026 00:00:00 GMT"}
    with Server(Answer(DATA, etag=None, headers=headers, minds_if_range=False)) as server:
        text = table(url_source(server))
        server.answers[:0] = [Answer(DATA, etag=None, headers=headers, cut_at=1_000_000)]
        fetch_weights(entry_of(text))
    assert server.ranges == [None, "bytes=1000000-"]
    assert installed_bytes(text) == DATA


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def part_size() -> int:
    part = cache_folder() / "small.pth.part"
    return part.stat().st_size if part.is_file() else 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_download_goes_on_where_it_was(number: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it
    with Server(Answer(DATA, stall_at=2_000_000), Answer(DATA)) as server:
        text = table(url_source(server))
        process = start(text, "download-weights", "small")
        wait_for(server.stalled.is_set)
        wait_for(lambda: part_size() > 0)
        process.send_signal(number)
        stopped = finish(process)
        kept = part_size()
        assert finish(start(text, "download-weights", "small")).code == 0
    assert stopped.code == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    if number != signal.SIGKILL:
        assert "stopped; the same command goes on with what is missing" in stopped.err
    assert server.ranges == [None, f"bytes={kept}-"]
    assert installed_bytes(text) == DATA


def test_all_had_arrived_when_the_program_was_killed() -> None:
    with Server(Answer(status=500)) as server:
        text = table(url_source(server))
        half(server, text)
        (cache_folder() / "small.pth.part").write_bytes(DATA)
        fetch_weights(entry_of(text))
    assert server.requests == []
    assert installed_bytes(text) == DATA


def test_a_part_that_is_longer_than_the_file_is_dropped() -> None:
    with Server(Answer(DATA)) as server:
        text = table(url_source(server), sha256="")
        half(server, text)
        (cache_folder() / "small.pth.part").write_bytes(DATA + b"more")
        fetch_weights(entry_of(text))
    assert server.ranges == [None]
    assert installed_bytes(text) == DATA


def test_two_processes_end_with_one_good_file() -> None:
    with Server(Answer(DATA, stall_at=2_000_000), Answer(OTHER)) as server:
        text = table(url_source(server))
        first = start(text, "download-weights", "small")
        wait_for(server.stalled.is_set)
        second = start(text, "download-weights", "small")
        assert second.stderr is not None
        while "another process is fetching small; waiting for it" not in (line := second.stderr.readline()):
            assert line, "the second process did not wait"
        server.go_on.set()
        assert (finish(first).code, finish(second).code) == (0, 0)
    assert server.ranges == [None]
    assert installed_bytes(text) == DATA


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB, for a file of 3 MB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount]
    if os.geteuid() or subprocess.run(command, check=False).returncode:
        pytest.skip("no mounts here")
    yield mount
    subprocess.run(["umount", mount], check=True)


def test_too_little_space_is_said_before_anything_is_fetched(
    small_disk: Path, deblur: Deblur, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEBLUR_CACHE", str(small_disk))
    (small_disk / "others").write_bytes(bytes(2_000_000))
    with Server(Answer(DATA)) as server:
        outcome = deblur(table(url_source(server)), "download-weights", "small")
    assert_failed(outcome, f"3.0 MB are needed in {small_disk}, and 2.2 MB are free")
    assert server.requests == []


def test_a_disk_that_fills_up_meanwhile(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBLUR_CACHE", str(small_disk))
    with Server(Answer(DATA, stall_at=1_500_000), Answer(DATA)) as server:
        text = table(url_source(server))
        process = start(text, "download-weights", "small")
        wait_for(server.stalled.is_set)
        (small_disk / "others").write_bytes(bytes(2_000_000))
        server.go_on.set()
        outcome = finish(process)
        assert_failed(outcome, "No space left on device", "What has arrived is kept")
        kept = part_size()
        (small_disk / "others").unlink()
        fetch_weights(entry_of(text))
    assert server.ranges == [None, f"bytes={kept}-"]
    assert installed_bytes(text) == DATA


def test_a_cache_that_cannot_be_written(
    deblur: Deblur, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DEBLUR_CACHE", str(tmp_path / "file/cache"))
    outcome = deblur(table(url_source(NOWHERE)), "download-weights", "small")
    assert outcome.code == 3
    assert f"{tmp_path}/file/cache: cannot be written: Not a directory" in outcome.err
    assert "DEBLUR_CACHE" in outcome.err


# What is installed, and whether it still is what it was


@pytest.mark.parametrize(
    ("platform", "variable", "folder"),
    [
        ("linux", None, "home/.cache/deblur-cli"),
        ("linux", "XDG_CACHE_HOME", "mine/deblur-cli"),
        ("darwin", None, "home/Library/Caches/deblur-cli"),
        ("win32", None, "home/AppData/Local/deblur-cli"),
        ("win32", "LOCALAPPDATA", "mine/deblur-cli"),
        ("linux", "DEBLUR_CACHE", "mine"),
    ],
)
def test_the_cache_is_where_the_system_keeps_caches(
    platform: str, variable: str | None, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DEBLUR_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "platform", platform)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / folder


def install(text: str, data: bytes = DATA) -> Path:
    path = cache_folder() / "small.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    assert find_installed(entry_of(text))
    return path


def test_a_file_is_hashed_once_and_again_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    real = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, name: hashed.append(file.name) or real(file, name)
    )
    text = table(url_source(NOWHERE))
    path = install(text)
    assert find_installed(entry_of(text)) == find_installed(entry_of(text))
    assert len(hashed) == 1
    os.utime(path, (1, 1))
    find_installed(entry_of(text))
    assert len(hashed) == 2
    find_installed(entry_of(text), rehash=True)
    assert len(hashed) == 3
    record = cache_folder() / "small.json"
    record.write_text("{broken")
    find_installed(entry_of(text))
    assert len(hashed) == 4


def damage(path: Path, data: bytes = OTHER) -> None:
    """Change the bytes and nothing that the file system shows."""
    times = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_what_was_noted_about_another_path_does_not_count() -> None:
    text = table(url_source(NOWHERE))
    damage(install(text))
    record = cache_folder() / "small.json"
    record.write_text(record.read_text().replace(str(cache_folder()), "/elsewhere"))
    with pytest.raises(WeightsError, match="damaged"):
        find_installed(entry_of(text))


@pytest.mark.parametrize("sha256", [None, ""], ids=["hash known", "no hash known"])
def test_check_finds_damage_that_nothing_shows_and_it_is_not_trusted_again(
    sha256: str | None, deblur: Deblur
) -> None:
    text = table(url_source(NOWHERE), sha256=sha256)
    path = install(text)
    good = deblur(text, "download-weights", "--check")
    assert (good.code, "small: good: " in good.err) == (0, True)
    damage(path)
    outcome = deblur(text, "download-weights", "--check")
    assert outcome.code == 3
    assert f"small: {path}: damaged, or another file" in outcome.err
    assert "To fetch it again: deblur download-weights small" in outcome.err
    with pytest.raises(WeightsError, match="damaged"):
        find_installed(entry_of(text))
    assert "damaged" in deblur(text, "download-weights", "--list").out


def test_a_file_of_another_size_is_damaged() -> None:
    text = table(url_source(NOWHERE))
    path = install(text)
    path.write_bytes(DATA[:-1])
    with pytest.raises(WeightsError, match=r"small\.pth: it has 2999999 bytes instead of 3000000"):
        find_installed(entry_of(text))


def test_a_damaged_file_is_fetched_again(deblur: Deblur) -> None:
    with Server(Answer(DATA)) as server:
        text = table(url_source(server))
        install(text).write_bytes(OTHER)
        outcome = deblur(text, "download-weights", "small")
    assert outcome.code == 0
    assert "damaged, or another file" in outcome.err
    assert outcome.err.count("fetching it again") == 1
    assert installed_bytes(text) == DATA


def test_a_damaged_file_goes_even_if_no_other_can_be_fetched(deblur: Deblur) -> None:
    text = table(url_source(NOWHERE))
    install(text).write_bytes(OTHER)
    assert deblur(text, "download-weights", "small").code == 3
    assert "small.pth" not in in_cache()
    assert find_installed(entry_of(text)) is None


def test_check_of_what_is_not_installed(deblur: Deblur) -> None:
    text = table(url_source(NOWHERE))
    assert deblur(text, "download-weights", "--check") == Outcome(0, "", "")
    outcome = deblur(text, "download-weights", "--check", "small")
    assert outcome.code == 3
    assert "small: not installed\n       To fetch it: deblur download-weights small" in outcome.err


def test_the_bundled_weights_can_be_checked() -> None:
    installed = find_installed(registry.find_weights("compact"), rehash=True)
    assert installed is not None
    assert installed.place == "package"
    assert in_cache() == set()


def test_list_shows_all_as_a_table_and_as_json(deblur: Deblur) -> None:
    text = table(url_source(NOWHERE)) + table(HUB_SOURCE.replace("small", "other"), name="other")
    path = install(table(url_source(NOWHERE)))
    outcome = deblur(text, "download-weights", "--list")
    assert outcome.err == ""
    header, small, other, _, licence, *folders = outcome.out.splitlines()
    assert header.split() == ["name", "what", "for", "parameters", "size", "licence", "installed"]
    assert small.split() == ["small", "a", "test", "0.0", "M", "3.0", "MB", "[1]", "cache"]
    assert other.split() == ["other", "a", "test", "0.0", "M", "3.0", "MB", "[1]", "-"]
    assert licence == "[1] for tests only; ask first"
    assert folders[0] == f"cache: {cache_folder()}"
    as_json = deblur(text, "download-weights", "--list", "--json")
    assert as_json.err == ""
    listed = json.loads(as_json.out)
    assert [entry["name"] for entry in listed] == ["small", "other"]
    assert [entry["path"] for entry in listed] == [str(path), None]
    assert listed[1]["sources"][0] == {"hub": "some/repo", "revision": COMMIT, "file": "other.pth"}


def test_list_needs_no_torch_and_no_network() -> None:
    code = (
        "import sys; from deblur_cli.cli import main\n"
        "try: main(['download-weights', '--list'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'numpy', 'PIL', 'httpx', 'httpx2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "denoise-gray" in result.stdout


def test_all_are_all_and_those_for_pairs_say_how_they_are_used(deblur: Deblur) -> None:
    with Server(Answer(DATA)) as server:
        text = table(url_source(server)) + table(
            url_source(server, "dual.pth"), name="dual", config="dual_pixel = true, inp_channels = 6"
        )
        outcome = deblur(text, "download-weights", "--all")
    assert outcome.code == 0
    assert "next: deblur --left L.png --right R.png" in outcome.err
    assert server.ranges == [None, None]


def test_a_pair_takes_the_weights_for_pairs_and_fetches_them_if_asked(deblur: Deblur, tmp_path: Path) -> None:
    config = RestormerConfig(**{**TINY.__dict__, "inp_channels": 6, "dual_pixel": True})
    file = io.BytesIO()
    torch.save({"params": random_model(config).state_dict()}, file)
    for name in ("L.png", "R.png"):
        Image.new("RGB", (24, 16), (90, 120, 150)).save(tmp_path / name)
    pair = ("--left", "L.png", "--right", "R.png", "-o", "sharp.png", "--verbose")
    with Server(Answer(file.getvalue())) as server:
        text = table(url_source(server), name="defocus-dual-pixel", data=file.getvalue())
        missing = deblur(text, *pair)
        assert (missing.code, server.ranges) == (3, [])
        assert "deblur download-weights defocus-dual-pixel, or add --download" in missing.err
        outcome = deblur(text, *pair, "--download")
        assert outcome.code == 0, outcome.err
    assert "weights: defocus-dual-pixel" in outcome.err
    with Image.open("sharp.png") as image:
        assert image.size == (24, 16)


# Files that were fetched by hand


def test_a_file_from_elsewhere_is_installed_once_it_is_verified(deblur: Deblur, tmp_path: Path) -> None:
    text = table(url_source(NOWHERE))
    (tmp_path / "mine.bin").write_bytes(DATA)
    outcome = deblur(text, "download-weights", "--from", "mine.bin", "small")
    assert outcome.code == 0
    assert f"small: installed: {cache_folder() / 'small.pth'}" in outcome.err
    assert "licence: for tests only" in outcome.err
    assert installed_bytes(text) == (tmp_path / "mine.bin").read_bytes() == DATA


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (OTHER, "mine.bin: damaged, or another file"),
        (b"short", "mine.bin: it has 5 bytes instead of 3000000"),
    ],
)
def test_another_file_is_not_installed(data: bytes, message: str, deblur: Deblur, tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(data)
    outcome = deblur(table(url_source(NOWHERE)), "download-weights", "--from", "mine.bin", "small")
    assert_failed(outcome, message, "Nothing was installed")
    assert in_cache() == set()
    assert (tmp_path / "mine.bin").read_bytes() == data


def test_no_file_and_bundled_weights_cannot_be_installed(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: No such file"):
        install_file(entry_of(table(url_source(NOWHERE))), tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="compact are part of the package"):
        install_file(registry.find_weights("compact"), tmp_path / "none.pth")


def test_without_a_known_hash_only_the_size_is_checked_and_that_is_said(
    deblur: Deblur, tmp_path: Path
) -> None:
    text = table(url_source(NOWHERE), sha256="")
    (tmp_path / "mine.bin").write_bytes(DATA)
    outcome = deblur(text, "download-weights", "--from", "mine.bin", "small")
    assert (outcome.code, "checked by its size only: no SHA-256" in outcome.err) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--list", "--check"], "--list and --check do not go together"),
        (["--json"], "--json goes with --list"),
        (["--all", "small"], "--all and names do not go together"),
        (["--from", "x.pth"], "--from FILE needs one name"),
        (["nope"], "no weights named 'nope'"),
    ],
)
def test_arguments_that_make_no_sense(arguments: list[str], message: str, deblur: Deblur) -> None:
    outcome = deblur(table(url_source(NOWHERE)), "download-weights", *arguments)
    assert outcome.code == 2
    assert message in outcome.err


def test_a_package_without_its_weights_says_so() -> None:
    text = table('{ bundled = "missing.safetensors" }')
    with pytest.raises(
        WeightsError, match=r"missing\.safetensors is missing from the package\nInstall deblur-cli again"
    ):
        fetch_weights(entry_of(text))


# Without a network


def test_offline_fetches_nothing(deblur: Deblur) -> None:
    with Server(Answer(DATA)) as server:
        text = table(url_source(server))
        outcome = deblur(text, "download-weights", "small", "--offline")
        assert_failed(outcome, "the weights small are not installed, and --offline forbids to fetch them")
        install(text)
        assert deblur(text, "download-weights", "small", "--offline").code == 0
    assert server.requests == []


def test_the_environment_can_forbid_the_network(deblur: Deblur, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(Answer(DATA), hub=Hub("", 0)) as server:
        text = table(HUB_SOURCE, url_source(server))
        outcome = finish(
            start(text, "download-weights", "small", HF_HUB_OFFLINE="1", HF_ENDPOINT=server.address)
        )
    assert_failed(outcome, "HF_HUB_OFFLINE forbids to fetch them")
    assert server.requests == []


# The Hugging Face Hub, played by a server; each in a process of its own, which reads HF_ENDPOINT when it starts

SHA256 = hashlib.sha256(DATA).hexdigest()


def from_hub(server: Server, text: str, **environment: str) -> Outcome:
    return finish(
        start(
            text,
            "download-weights",
            "small",
            HF_ENDPOINT=server.address,
            HF_HUB_ETAG_TIMEOUT="1",
            **environment,
        )
    )


def test_a_hub_file_goes_into_the_hubs_cache(tmp_path: Path) -> None:
    text = table(HUB_SOURCE)
    with Server(Answer(DATA), hub=Hub(SHA256, len(DATA))) as server:
        outcome = from_hub(server, text)
        assert outcome.code == 0, outcome.err
        path = tmp_path / f"hf/hub/models--some--repo/snapshots/{COMMIT}/small.pth"
        assert f"fetching {server.address}/some/repo/resolve/{COMMIT}/small.pth" in outcome.err
        assert f"installed: {path} (its SHA-256 is the published one)" in outcome.err
        assert installed_bytes(text) == path.read_bytes() == DATA
        count = len(server.requests)
        assert from_hub(server, text).code == 0
    assert len(server.requests) == count
    listed = json.loads(finish(start(text, "download-weights", "--list", "--json")).out)
    assert [(entry["place"], entry["path"]) for entry in listed] == [("Hub cache", str(path))]
    assert in_cache() == {"small.json"}


def test_the_two_bars_of_a_xet_transfer_count_once() -> None:
    shown: list[int] = []
    bar_class = _bar_class(lambda arrived, size_bytes: shown.append(arrived), 100)
    with (
        bar_class(desc="from the network", total=100) as network,
        bar_class(desc="to the disk", total=100) as disk,
    ):
        network.update(30)
        disk.update(20)
        disk.update(70)
        network.update(100)
        disk.set_postfix_str("1.0 MB/s", refresh=False)
    assert shown == [30, 30, 90, 100]


def test_without_a_published_hash_the_hubs_own_decides() -> None:
    text = table(HUB_SOURCE, sha256="")
    with Server(Answer(DATA), hub=Hub(SHA256, len(DATA))) as server:
        outcome = from_hub(server, text)
    assert outcome.code == 0, outcome.err
    assert "its SHA-256 is the one that the Hub states; none is published elsewhere" in outcome.err


@pytest.mark.parametrize(
    ("hub", "answer", "message"),
    [
        (Hub("", 0, 0), Answer(), "ReadTimeout: "),
        (Hub("", 0, 404), Answer(), "the Hub answers 404 Not Found"),
        (Hub("", 0, 403, message="Not from your country"), Answer(), "403 Forbidden: Not from your country"),
        (Hub("", 0, 500), Answer(), "the Hub answers 500 Internal Server Error"),
        (Hub(SHA256, len(DATA) - 1), Answer(DATA), "the Hub offers 2999999 bytes instead of 3000000"),
        (Hub("f" * 64, len(DATA)), Answer(DATA), f"the Hub offers a file with the SHA-256 {'f' * 64}"),
        (Hub(SHA256, len(DATA)), Answer(OTHER), "damaged, or another file: its SHA-256 is"),
        (Hub(SHA256, len(DATA)), Answer(DATA[:-1]), "should be of size 3000000 but has size 2999999"),
        (Hub(SHA256, len(DATA)), Answer(status=403), "the Hub answers 403 Forbidden"),
    ],
)
@pytest.mark.parametrize("sha256", [None, ""], ids=["hash known", "no hash known"])
def test_a_hub_that_fails(hub: Hub, answer: Answer, message: str, sha256: str | None) -> None:
    if sha256 == "" and hub.sha256 == "f" * 64:
        message = "damaged, or another file: its SHA-256 is"
    with Server(answer, hub=hub) as server:
        outcome = from_hub(server, table(HUB_SOURCE, sha256=sha256))
    assert_failed(outcome, message, "HF_ENDPOINT", "HF_HUB_DISABLE_XET=1")


def test_a_mirror_that_states_neither_size_nor_hash() -> None:
    with Server(Answer(DATA[:-1]), hub=Hub("weak", 0)) as server:
        outcome = from_hub(server, table(HUB_SOURCE, sha256=""))
    assert_failed(outcome, "it has 2999999 bytes instead of 3000000")


def test_the_hubs_client_goes_on_after_a_cut_and_its_log_is_not_shown() -> None:
    with Server(Answer(DATA, cut_at=1_000_000), Answer(DATA), hub=Hub(SHA256, len(DATA))) as server:
        outcome = from_hub(server, table(HUB_SOURCE))
    assert outcome.code == 0
    assert len(server.ranges) == 2
    assert "resume" not in outcome.err


def test_a_hub_that_cannot_be_reached_or_trusted() -> None:
    text = table(HUB_SOURCE)
    assert_failed(
        finish(start(text, "download-weights", "small", HF_ENDPOINT=NOWHERE)), "ConnectError: ", "refused"
    )
    plain = finish(start(text, "download-weights", "small", HF_ENDPOINT="http://mirror.example"))
    assert_failed(plain, "only https is trusted; see HF_ENDPOINT")
    with Server(Answer()) as proxy:
        refused = finish(start(text, "download-weights", "small", HTTPS_PROXY=proxy.address))
    assert_failed(refused, "ProxyError: 403")


def test_a_hub_file_that_was_damaged_in_the_cache_is_not_trusted_and_replaced() -> None:
    text = table(HUB_SOURCE, sha256="")
    with Server(Answer(DATA), hub=Hub(SHA256, len(DATA))) as server:
        from_hub(server, text)
        installed = find_installed(entry_of(text))
        assert installed is not None
        (cache_folder() / "small.json").unlink()
        installed.path.resolve().write_bytes(OTHER)
        with pytest.raises(WeightsError, match="damaged, or another file"):
            find_installed(entry_of(text))
        outcome = from_hub(server, text)
    assert (outcome.code, "fetching it again" in outcome.err) == (0, True)
    assert installed_bytes(text) == DATA


def test_when_the_hub_fails_the_url_serves() -> None:
    with Server(Answer(DATA), hub=Hub("", 0, 500)) as server:
        text = table(HUB_SOURCE, url_source(server))
        outcome = from_hub(server, text)
    assert outcome.code == 0
    assert "the Hub answers 500 Internal Server Error; trying the next source" in outcome.err
    assert installed_bytes(text) == DATA


def test_a_hub_cache_on_a_full_disk(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(small_disk))
    with Server(Answer(DATA, stall_at=1_500_000), hub=Hub(SHA256, len(DATA))) as server:
        process = start(table(HUB_SOURCE), "download-weights", "small", HF_ENDPOINT=server.address)
        wait_for(server.stalled.is_set)
        (small_disk / "others").write_bytes(bytes(3_000_000))
        server.go_on.set()
        assert_failed(finish(process), "No space left on device")
        outcome = from_hub(server, table(HUB_SOURCE))
        assert_failed(outcome, f"3.0 MB are needed in {small_disk}/hub")


# What the weights are used for

COMPACT = weights_toml().read_text(encoding="utf-8").split("[motion]")[0]


def tiny_checkpoint(**changes: object) -> bytes:
    """A random network in the layout of the published ones."""
    model = random_model(RestormerConfig(**{**TINY.__dict__, **changes}))
    file = io.BytesIO()
    torch.save({"params": OrderedDict(model.state_dict())}, file)
    return file.getvalue()


def put_photo(mode: str = "RGB") -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save("photo.png")


def test_auto_takes_motion_where_it_is_installed_and_compact_elsewhere(deblur: Deblur) -> None:
    data = tiny_checkpoint()
    text = COMPACT + table(url_source(NOWHERE), name="motion", data=data)
    put_photo()
    outcome = deblur(text, "photo.png", "-o", "1.png")
    assert outcome.code == 0
    assert (
        "weights: compact, the small network of the package; for the published ones: deblur download-weights"
        in outcome.err
    )
    (cache_folder() / "small.pth").parent.mkdir()
    (cache_folder() / "small.pth").write_bytes(data)
    outcome = deblur(text, "photo.png", "-o", "2.png", "--verbose")
    assert outcome.code == 0
    assert "weights: motion; the small network of the package is --weights compact" in outcome.err
    assert "weights: motion\n" in outcome.err
    assert deblur(text, "photo.png", "-o", "3.png", "--quiet") == Outcome(0, "", "")
    assert Path("2.png").read_bytes() == Path("3.png").read_bytes() != Path("1.png").read_bytes()
    (cache_folder() / "small.pth").write_bytes(b"damaged")
    outcome = deblur(text, "photo.png", "-o", "4.png")
    assert outcome.code == 3
    assert "it has 7 bytes" in outcome.err
    assert "deblur download-weights motion" in outcome.err


def test_auto_takes_defocus_for_what_is_out_of_focus_where_both_are_installed(deblur: Deblur) -> None:
    files = {"motion": tiny_checkpoint(), "defocus": tiny_checkpoint(dim=12)}
    text = COMPACT
    cache_folder().mkdir(parents=True)
    for name, data in files.items():
        text += table(url_source(NOWHERE, f"{name}.pth"), name=name, data=data)
        (cache_folder() / f"{name}.pth").write_bytes(data)
    examples = Path(__file__).parent.parent / "examples"
    with Image.open(examples / "originals/astronaut.png") as image:
        sharp = image.crop((150, 30, 342, 222))
    Path("in").mkdir()
    sharp.save("in/sharp.png")
    sharp.filter(ImageFilter.GaussianBlur(3)).save("in/soft.png")

    def weights_by_photo(*arguments: str) -> dict[str, str]:
        outcome = deblur(text, "batch", "in", *arguments, "--shake", "off", "--json")
        assert outcome.code == 0
        assert "weights: motion, and defocus for photos that are out of focus" in outcome.err
        told = [json.loads(line) for line in outcome.out.splitlines()[:-1]]
        return {each["photo"]: each["made_with"]["weights"] for each in told}

    chosen = {"in/sharp.png": "motion", "in/soft.png": "defocus"}
    assert weights_by_photo("-o", "one", "--report", "page.html") == chosen
    assert "<td>defocus</td>" in Path("page.html").read_text()
    made_with = json.loads(Path("one/.deblur-journal.jsonl").read_text().splitlines()[-1])["made_with"]
    assert made_with["weights"] == "+".join(hashlib.sha256(data).hexdigest()[:16] for data in files.values())
    assert deblur(text, "in/soft.png", "--weights", "defocus", "-o", "two.png", "--shake", "off").code == 0
    assert Path("one/soft.png").read_bytes() == Path("two.png").read_bytes()

    (cache_folder() / "defocus.pth").unlink()
    outcome = deblur(text, "in/soft.png", "-o", "three.png", "--shake", "off", "--verbose")
    assert "weights: motion; the small" in outcome.err


@pytest.mark.parametrize("weights", ["motion", "auto"])
def test_weights_that_are_missing_are_fetched_if_the_user_says_so(weights: str, deblur: Deblur) -> None:
    put_photo()
    data = tiny_checkpoint()
    with Server(Answer(data)) as server:
        text = COMPACT + table(url_source(server), name="motion", data=data)
        missing = deblur(text, "photo.png", "--weights", "motion")
        assert missing.code == 3
        assert "the weights motion are not installed" in missing.err
        assert "deblur download-weights motion, or add --download" in missing.err
        outcome = deblur(text, "photo.png", "--weights", weights, "--download")
        assert outcome.code == 0, outcome.err
        assert "licence: for tests only; ask first" in outcome.err
        assert "photo.png -> photo_sharp.png" in outcome.err
        assert deblur(text, "photo.png", "--weights", weights, "--download", "--overwrite").code == 0
    assert server.ranges == [None]


@pytest.mark.parametrize(
    "command", ["export -o net.onnx", "evaluate photo.png photo.png"], ids=lambda words: words.split()[0]
)
def test_other_commands_take_the_same_advice(command: str, deblur: Deblur) -> None:
    put_photo()
    data = tiny_checkpoint()
    with Server(Answer(data)) as server:
        text = COMPACT + table(url_source(server), name="motion", data=data)
        missing = deblur(text, *command.split(), "--weights", "motion")
        assert "deblur download-weights motion, or add --download" in missing.err
        outcome = deblur(text, *command.split(), "--weights", "motion", "--download")
        assert outcome.code != 3, outcome.err
        assert "licence: for tests only; ask first" in outcome.err


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("derain", {}),
        ("denoise", {"layer_norm": "BiasFree"}),
        ("denoise-gray", {"layer_norm": "BiasFree", "inp_channels": 1, "out_channels": 1}),
    ],
)
def test_the_networks_of_other_tasks_restore_colour_and_gray_photos(
    name: str, config: dict[str, object], mode: str, deblur: Deblur
) -> None:
    data = tiny_checkpoint(**config)
    put_photo(mode)
    with Server(Answer(data)) as server:
        text = table(url_source(server), name=name, data=data)
        outcome = deblur(text, "photo.png", "--weights", name, "--download")
    assert outcome.code == 0, outcome.err
    with Image.open("photo.png") as before, Image.open("photo_sharp.png") as after:
        assert (after.mode, after.size) == (before.mode, before.size)
        assert not np.array_equal(np.array(after), np.array(before))


def test_a_checkpoint_of_full_size_travels_the_whole_way(deblur: Deblur) -> None:
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save({"params": OrderedDict(Restormer().state_dict())}, file)
    data = file.getvalue()
    assert len(data) > 104_500_000
    put_photo()
    with Server(Answer(data, cut_at=60_000_000), Answer(data)) as server:
        text = COMPACT + table(url_source(server), name="motion", data=data)
        assert deblur(text, "download-weights", "motion").code == 0
    assert server.ranges == [None, "bytes=60000000-"]
    outcome = deblur(text, "photo.png")
    assert outcome.code == 0, outcome.err
    assert "weights: motion" in outcome.err
    with Image.open("photo_sharp.png") as image:
        assert image.size == (24, 16)


def test_the_readmes_table_is_what_weights_toml_says() -> None:
    root = Path(__file__).parents[1]
    readme = (root / "README.md").read_text(encoding="utf-8")
    with_table = runpy.run_path(str(root / "docs/make_weights_table.py"))["with_table"]
    assert readme == with_table(readme), "stale: run python docs/make_weights_table.py"
    stale = readme.replace("| GoPro |", "| others |")
    assert stale != readme == with_table(stale)
