"""Large batches, killed and resumed. `make test` runs them small; `make soak` in full, and prints their figures."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

FULL = os.environ.get("DEBLUR_SOAK") == "1"
PHOTOS = 10_000 if FULL else 120
FOLDERS = 500 if FULL else 12
BROKEN = PHOTOS // 100
KILLS = 50 if FULL else 4
DEATHS = 100 if FULL else 4
FILES_TO_PLAN = 100_000 if FULL else 2000
SCRIPT = [sys.executable, str(Path(__file__).with_name("identity_batch.py"))]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PHOTOS small photos in FOLDERS folders, the last of each hundred broken."""
    root = tmp_path_factory.mktemp("soak") / "in"
    rng = np.random.default_rng(7)
    kinds = ("jpg", "png", "webp")
    encoded = []
    for number in range(60):
        samples = rng.integers(0, 256, (48, 64, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(samples).save(file, {"jpg": "JPEG"}.get(kinds[number % 3], kinds[number % 3].upper()))
        encoded.append(file.getvalue())
    for number in range(PHOTOS):
        folder = root / f"day {number % FOLDERS}"
        folder.mkdir(parents=True, exist_ok=True)
        data = encoded[number % 60]
        whole = number % 100 != 99
        (folder / f"IMG_{number}.{kinds[number % 3]}").write_bytes(data if whole else data[:200])
    return root


def batch(*arguments: object, told: int = subprocess.PIPE, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*SCRIPT, "batch", *map(str, arguments), "--json"],
        stdout=told,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT | environment,
    )


def lines_of(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    out, _ = process.communicate()
    return [json.loads(line) for line in out.splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".deblur-journal")
    }


def journal(folder: Path) -> list[str]:
    """The targets that are journaled as finished, in order."""
    path = folder / ".deblur-journal.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [entry["target"] for entry in map(json.loads, lines) if "target" in entry]


@pytest.fixture(scope="module")
def uninterrupted(tree: Path) -> Path:
    out = tree.with_name("uninterrupted")
    memory: list[int] = []
    started = time.monotonic()
    told = []
    with batch(tree, "-o", out) as process:
        for line in process.stdout or ():
            told.append(json.loads(line))
            if len(told) % max(1, PHOTOS // 50) == 0:
                memory.append(resident_kib(process.pid))
    assert process.returncode == 1
    elapsed_s = time.monotonic() - started
    summary = told[-1]["summary"]
    counts = {key: summary[key] for key in ("done", "skipped", "failed", "not_done")}
    assert counts == {"done": PHOTOS - BROKEN, "skipped": 0, "failed": BROKEN, "not_done": 0}
    assert sum(told_of["status"] == "done" for told_of in told[:-1]) == PHOTOS - BROKEN
    early, late = np.mean(memory[5:10]), np.mean(memory[-5:])
    overhead_ms = (summary["elapsed_s"] - bare_s(tree)) / PHOTOS * 1000
    print(
        f"\n{PHOTOS} photos in {FOLDERS} folders: {elapsed_s:.1f} s, from the first photo {summary['elapsed_s']:.1f} s;"
        f" {overhead_ms:.2f} ms a photo above decoding and encoding alone;"
        f" memory {early / 1024:.1f} MiB after a tenth, {late / 1024:.1f} MiB at the end"
    )
    assert late < early + 16 * 1024, "memory grows"
    return out


def bare_s(tree: Path) -> float:
    """How long the same photos take to be decoded and encoded, and nothing else."""
    code = (
        "import sys, time, io; from pathlib import Path; from deblur_cli.photo import read_photo, write_photo\n"
        "paths = [path for path in sorted(Path(sys.argv[1]).rglob('*')) if path.is_file()]; started = 0\n"
        "for path in paths[:6] + paths:\n"
        "    if path is paths[0] and not started: started = time.monotonic()\n"
        "    try: write_photo(read_photo(path), io.BytesIO())\n"
        "    except Exception: pass\n"
        "print(time.monotonic() - started)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, tree], env=ENVIRONMENT, capture_output=True, check=True
    )
    return float(result.stdout)


def resident_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)


def test_counts_are_exact_and_memory_does_not_grow(uninterrupted: Path) -> None:
    assert len(files(uninterrupted)) == PHOTOS - BROKEN


def test_killed_at_random_and_resumed_it_ends_as_if_nothing_had_happened(
    tree: Path, uninterrupted: Path
) -> None:
    out = tree.with_name("killed")
    rng = random.Random(3)
    for kill in range(KILLS):
        process = batch(tree, "-o", out, told=subprocess.DEVNULL)  # a pipe that nobody reads would stop it
        # At a random moment of the work, which goes on from photo to photo as the kills do.
        until = (PHOTOS - BROKEN) * (kill + rng.random()) / KILLS * 0.95
        while len(journal(out)) < until and process.poll() is None:
            time.sleep(rng.random() * 0.02)
        time.sleep(rng.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        journaled = set(journal(out))
        there = set(files(out))
        finished = {name for name in there if not name.endswith(".deblur-tmp")}
        assert journaled <= finished
        assert len(finished - journaled) <= 1, "more than what was being written"
        assert len(there - finished) <= 1
    summary = lines_of(batch(tree, "-o", out))[-1]["summary"]
    print(
        f"\nkilled {KILLS} times; the last run did {summary['done']} photos and skipped {summary['skipped']}"
    )
    assert (summary["not_done"], summary["failed"]) == (0, BROKEN)
    assert summary["done"] + summary["skipped"] == PHOTOS - BROKEN
    assert files(out) == files(uninterrupted)
    assert len(journal(out)) == len(set(journal(out))) == PHOTOS - BROKEN, "done twice"


def test_readers_and_writers_killed_at_random_cost_a_photo_each_at_most(
    tree: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out, told = tree.with_name("codecs-killed"), tmp_path / "told"
    rng = random.Random(4)
    deaths = 0
    with told.open("wb") as file:
        process = batch(tree, "-o", out, told=file.fileno(), DEBLUR_TEST_PAUSE_S="0" if FULL else "0.03")
        while process.poll() is None and deaths < DEATHS:
            time.sleep(rng.uniform(0.02, 0.3))
            for child in rng.sample(found, 1) if (found := codecs_of(process.pid)) else ():
                with suppress(ProcessLookupError):
                    os.kill(child, rng.choice((signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL)))
                    deaths += 1
        assert process.wait() == 1
    *lines, last = map(json.loads, told.read_bytes().splitlines())
    killed = [line for line in lines if line["status"] == "failed" and "the process that" in line["error"]]
    print(f"\n{deaths} readers and writers killed: {len(killed)} photos failed by it")
    assert deaths > DEATHS // 2
    assert len(killed) <= deaths
    assert (last["summary"]["failed"], last["summary"]["not_done"]) == (BROKEN + len(killed), 0)
    expected, found = files(uninterrupted), files(out)
    assert len(found) == len(expected) - len(killed)
    assert all(expected[name] == data for name, data in found.items())
    lines_of(batch(tree, "-o", out, "--retry-failed"))
    assert files(out) == expected


def codecs_of(pid: int) -> list[int]:
    """The processes in which a batch reads and writes; each thread has its own list of those that it has started."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for thread in threads for child in bytes_of(thread).split()]
    return [child for child in children if b"spawn_main" in bytes_of(Path(f"/proc/{child}/cmdline"))]


def bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # of a process that has ended
        return b""


def test_what_is_done_is_skipped(tree: Path, uninterrupted: Path) -> None:
    started = time.monotonic()
    summary = lines_of(batch(tree, "-o", uninterrupted))[-1]["summary"]
    assert (summary["done"], summary["skipped"], summary["failed"]) == (0, PHOTOS - BROKEN, BROKEN)
    print(f"\n{PHOTOS} photos that are done: {time.monotonic() - started:.1f} s")


def test_planning_a_large_tree(tmp_path: Path) -> None:
    for number in range(FILES_TO_PLAN):
        path = tmp_path / "in" / str(number % 500) / f"IMG_{number}.jpg"
        if number < 500:
            path.parent.mkdir(parents=True)
        path.touch()
    started = time.monotonic()
    command = [
        *SCRIPT,
        "batch",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "out"),
        "--shard",
        "1/1000",
        "--dry-run",
    ]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "refused: 0" in result.stdout
    print(f"\nplanning {FILES_TO_PLAN} files: {time.monotonic() - started:.1f} s")
