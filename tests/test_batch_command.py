"""`deblur batch` from end to end, with an engine that changes nothing (identity_batch.py)."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

import identity_batch
from deblur_cli.cli import _engine, main
from deblur_cli.cli._options import Options
from deblur_cli.console import Console
from deblur_cli.isolated import Isolated, death_of
from deblur_cli.jobs import Job
from deblur_cli.registry import find_weights

SCRIPT = [sys.executable, str(Path(__file__).with_name("identity_batch.py")), "batch"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def counts(self) -> tuple[int, int, int]:
        summary = self.told[-1]["summary"]
        return summary["done"], summary["skipped"], summary["failed"]


Batch = Callable[..., Outcome]


@pytest.fixture
def batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Batch:
    """Runs `deblur batch ARGUMENTS` in a fresh folder, which becomes the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Outcome:
        old = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as end:
            main(["batch", *arguments])
        signal.signal(signal.SIGTERM, old)
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(int(end.value.code or 0), captured.out, captured.err)

    monkeypatch.setattr(_engine, "load_process", lambda options, console: identity_batch.identity)
    return run


def photo(path: str | Path, level: int = 10, size: tuple[int, int] = (8, 9)) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), level, np.uint8)).save(path)
    return path


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """Whatever a test has started and not waited for is ended."""
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def start(*arguments: str, cwd: Path, pause_s: float = 0, **environment: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*SCRIPT, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **ENVIRONMENT,
            "DEBLUR_TEST_PAUSE_S": str(pause_s),
            **environment,
        },
    )
    STARTED.append(process)
    return process


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def names(folder: str | Path) -> list[str]:
    """The files in a folder, but for the journals."""
    return sorted(
        str(path.relative_to(folder))
        for path in Path(folder).rglob("*")
        if path.is_file() and not path.name.startswith(".deblur-journal")
    )


# Resuming


def change_input() -> None:
    photo("in/1.png", level=99)


def cut_journal() -> None:
    file = Path("out/.deblur-journal.jsonl")
    file.write_bytes(file.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("meanwhile", "options", "why"),
    [
        (lambda: None, [], None),
        (change_input, [], "the photo has changed"),
        (lambda: os.utime("in/1.png", ns=(0, 5)), [], "the photo has changed"),
        (lambda: Path("out/1.png").unlink(), [], "its result is gone"),
        (lambda: Path("out/1.png").write_bytes(b"cut"), [], "its result has changed"),
        (lambda: None, ["--strength", "0.5"], "made with other options"),
        (lambda: None, ["--ensemble"], "made with other options"),
        (lambda: None, ["--tile", "256"], "made with other options"),
        (lambda: None, ["--weights", "motion"], "made with other options"),
        (lambda: None, ["--overwrite"], "overwritten, as asked"),
        (cut_journal, [], "was interrupted"),
    ],
)
def test_only_what_has_changed_is_done_again(
    meanwhile: Callable[[], object],
    options: list[str],
    why: str | None,
    batch: Batch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo("in/1.png")
    assert batch("in", "-o", "out", "--json").counts == (1, 0, 0)
    photo("in/2.png")
    assert batch("in", "-o", "out", "--json").counts == (1, 1, 0)
    before = Path("out/2.png").stat().st_mtime_ns
    meanwhile()
    one = why in ("the photo has changed", "its result is gone", "its result has changed", "was interrupted")
    shown = batch("in", "-o", "out", "--dry-run", *options).out
    assert shown.count(why or "done before: 2") == (1 if one or not why else 2)
    again = batch("in", "-o", "out", "--json", *options)
    assert again.counts == ((0, 2, 0) if why is None else (1, 1, 0) if one else (2, 0, 0))
    if one and why != "was interrupted":
        assert Path("out/2.png").stat().st_mtime_ns == before
    assert batch("in", "-o", "out", "--json", *[o for o in options if o != "--overwrite"]).counts == (0, 2, 0)
    assert names("out") == ["1.png", "2.png"]
    np.testing.assert_array_equal(Image.open("in/1.png"), Image.open("out/1.png"))


def test_beside_the_inputs_too(batch: Batch) -> None:
    photo("in/a.png")
    photo("in/sub/b.png")
    assert batch("in", "--json").counts == (2, 0, 0)
    again = batch("in", "--json")
    assert again.counts == (0, 2, 0)
    assert again.told[-1]["summary"]["passed_over"] == {"a result of deblur": 2}
    assert names("in") == ["a.png", "a_sharp.png", "sub/b.png", "sub/b_sharp.png"]
    Path("in/a.png").unlink()
    assert batch("in", "--json").counts == (0, 1, 0), "a result without its photo is no photo"


def test_results_in_another_output_folder_are_no_inputs(batch: Batch) -> None:
    photo("in/a.png")
    assert batch("in", "-o", "in/first", "--json").counts == (1, 0, 0)
    assert batch("in", "-o", "in/second", "--json").counts == (1, 0, 0)
    assert names("in") == ["a.png", "first/a.png", "second/a.png"]


def test_a_file_that_is_not_ours_is_never_replaced(batch: Batch) -> None:
    photo("in/a.png")
    Path("out").mkdir()
    Path("out/a.png").write_bytes(b"precious")
    outcome = batch("in", "-o", "out", "--json")
    assert (outcome.code, Path("out/a.png").read_bytes()) == (1, b"precious")
    assert "out/a.png: exists already, and this batch did not make it" in outcome.err
    assert "--overwrite" in outcome.err
    assert batch("in", "-o", "out", "--json", "--overwrite").counts == (1, 0, 0)


def test_what_a_killed_run_left_is_swept_and_nothing_else(batch: Batch) -> None:
    photo("in/a.png")
    Path("out").mkdir()
    Path("out/.deblur-journal.jsonl").write_text('{"claims": ["a.png"]}\n')
    for name in (".a.png.0123abcd.deblur-tmp", ".b.png.0123abcd.deblur-tmp", ".a.png.keep"):
        Path("out", name).touch()
    batch("in", "-o", "out")
    assert names("out") == [".a.png.keep", ".b.png.0123abcd.deblur-tmp", "a.png"]


def test_a_dry_run_shows_the_plan_and_leaves_no_trace(batch: Batch) -> None:
    photo("in/a.png")
    photo("in/sub/b.png")
    Path("in/notes.txt").touch()
    outcome = batch("in", "-o", "out", "--dry-run")
    assert outcome.code == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert lines[1:] == [
        ["in/a.png", "out/a.png", "new"],
        ["in/sub/b.png", "out/sub/b.png", "new"],
        ["to", "do:", "2,", "done", "before:", "0,", "refused:", "0"],
        ["passed", "over:", "1", "(not", "a", "photo)"],
    ]
    told = batch("in", "-o", "out", "--dry-run", "--json").out.splitlines()
    assert json.loads(told[0]) == {"photo": "in/a.png", "result": "out/a.png", "why": "new"}
    assert len(told) == 2
    assert not Path("out").exists()


def test_a_batch_that_is_done_imports_no_torch(batch: Batch) -> None:
    photo("in/a.png")
    batch("in", "-o", "out")
    code = (
        "import sys; from deblur_cli.cli import main\n"
        "try: main(['batch', 'in', '-o', 'out'])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "0 photos restored, 1 done before" in result.stderr


# Inputs


ODD_NAMES = [
    "plain.png",
    "two words.png",
    "100%.png",
    "photo[1].png",
    "line\nbreak.png",
    "-dash.png",
    "Größe 写真.png",
    "x" * 251 + ".png",
    os.fsdecode(b"\xff\xfe.png"),
    "tab\tand \x1b[31mcolour.png",
]


def test_any_name_works_and_prints(batch: Batch) -> None:
    for number, name in enumerate(ODD_NAMES):
        photo(Path("in", "a.png"), level=number).rename(Path("in", name))
    outcome = batch("in", "-o", "out", "--json", "--report", "page.html")
    assert outcome.counts == (len(ODD_NAMES), 0, 0)
    assert names("out") == sorted(ODD_NAMES)
    assert {Path(told["photo"]).name for told in outcome.told[:-1]} == set(ODD_NAMES)
    assert "\x1b" not in outcome.err
    assert "line\\nbreak.png -> " in outcome.err
    assert "\\xff\\xfe.png" in outcome.err
    assert batch("in", "-o", "out", "--json").counts == (0, len(ODD_NAMES), 0)
    assert batch("in", "--json").counts == (len(ODD_NAMES), 0, 0)
    assert batch("in", "--json").counts == (0, len(ODD_NAMES), 0)


@pytest.mark.parametrize(("end", "options"), [("\n", []), ("\r\n", []), ("\0", ["-0"])])
def test_a_list_on_standard_input(end: str, options: list[str], tmp_path: Path) -> None:
    odd = "sub/line\nbreak.png" if end == "\0" else "sub/b.png"
    for name in ("a.png", odd, "c/d/e.png"):
        photo(tmp_path / "in" / name)
    listed = [f"in/{name}" for name in ("a.png", odd, "c", "gone.png")]
    result = subprocess.run(
        [*SCRIPT, "-", "-o", "out", *options],
        input=os.fsencode(end.join(listed) + end),
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 1
    assert b"in/gone.png: no such file" in result.stderr
    assert names(tmp_path / "out") == sorted(["in/a.png", f"in/{odd}", "in/c/d/e.png"])


def test_globs_photos_and_folders_together(batch: Batch) -> None:
    for name in ("x/1.png", "x/2.png", "x/[3].png", "y/4.png", "5.png"):
        photo(name)
    assert batch("x/[[]3].png", "x/?.png", "y", "5.png", "-o", "out", "--json").counts == (5, 0, 0)
    assert names("out") == ["1.png", "2.png", "4.png", "5.png", "[3].png"]
    assert batch("x/[3].png", "-o", "out2", "--json").counts == (1, 0, 0)
    assert batch("none*.png").err.startswith("error: none*.png: no such file or folder")


def test_a_folder_that_cannot_be_read_is_named_and_counted(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("in/a.png")
    photo("in/locked/b.png")
    scan = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr("os.scandir", scandir)
    outcome = batch("in", "-o", "out", "--json")
    assert outcome.code == 1
    assert "in/locked: the folder cannot be read: Permission denied" in outcome.err
    assert outcome.counts == (1, 0, 1)


# Failures


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 kB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", mount], check=False).returncode:
        pytest.skip("no mounts here")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True)


@as_root
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_a_full_disk_stops_the_run_which_resumes_later(
    workers: list[str], disk: Path, tmp_path: Path
) -> None:
    for number in range(12):
        samples = np.random.default_rng(number).integers(0, 256, (50, 80, 3), np.uint8)
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(samples).save(tmp_path / f"in/{number}.png")

    def run() -> Outcome:
        process = start("in", "-o", "disk/out", "--json", *workers, cwd=tmp_path)
        out, err = process.communicate(timeout=60)
        return Outcome(process.returncode, out, err)

    outcome = run()
    assert outcome.code == 1
    assert outcome.err.count("the disk is full") == 1
    assert re.search(r"the disk is full: 0.01 MB are needed, and 0.0\d MB are free", outcome.err)
    assert "Free some space and run the same command again" in outcome.err
    done = outcome.counts[0]
    assert 0 < done < 12
    assert outcome.told[-1]["summary"]["not_done"] == 12 - done
    assert len(names(disk / "out")) == done
    remount(disk, "size=1M")
    again = run()
    assert (again.code, again.counts) == (0, (12 - done, done, 0))
    for path in (tmp_path / "in").iterdir():
        np.testing.assert_array_equal(Image.open(path), Image.open(disk / "out" / path.name))


@as_root
def test_a_read_only_target_is_refused_before_any_work(disk: Path, batch: Batch) -> None:
    photo("in/a.png")
    photo("disk/in/a.png")
    remount(disk, "ro")
    outcome = batch("in", "-o", "disk/out", "--json")
    assert (outcome.code, outcome.told[-1]["summary"]["elapsed_s"]) == (1, 0)
    assert "Read-only file system" in outcome.err
    assert "-o" in outcome.err
    outcome = batch("disk/in")
    assert outcome.code == 1
    assert "Read-only file system" in outcome.err


def test_two_batches_into_one_folder(tmp_path: Path) -> None:
    for number in range(6):
        photo(tmp_path / f"in/{number}.png")
    first = start("in", "-o", "out", cwd=tmp_path, pause_s=1.5)
    wait_for((tmp_path / "out/0.png").exists)
    second = start("in", "-o", "out", cwd=tmp_path)
    assert "another deblur batch is writing here" in second.communicate()[1]
    assert second.returncode == 1
    first.communicate()
    assert first.returncode == 0
    assert len(names(tmp_path / "out")) == 6


def test_shares_are_disjoint_complete_and_may_run_at_once(tmp_path: Path) -> None:
    for number in range(20):
        photo(tmp_path / f"in/{number}.png")
    shares = [start("in", "-o", "out", "--json", "--shard", f"{i}/3", cwd=tmp_path) for i in (1, 2, 3)]
    told = [json.loads(line) for share in shares for line in share.communicate()[0].splitlines()]
    done = [line["photo"] for line in told if line.get("status") == "done"]
    assert len(done) == len(set(done)) == 20
    assert all(0 < line["summary"]["done"] < 20 for line in told if "summary" in line)
    whole = start("in", "-o", "out", "--json", cwd=tmp_path)
    assert json.loads(whole.communicate()[0].splitlines()[-1])["summary"]["skipped"] == 20


# Interrupts


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_the_photo_at_hand_and_nothing_else(
    number: int, code: int, workers: list[str], tmp_path: Path
) -> None:
    for n in range(8):
        photo(tmp_path / f"in/{n}.png")
    process = start("in", "-o", "out", "--json", *workers, cwd=tmp_path, pause_s=0.4)
    wait_for(lambda: len(names(tmp_path / "out")) >= 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=15)
    assert process.returncode == code, err
    assert "stopped: " in err
    assert "Traceback" not in err
    summary = json.loads(out.splitlines()[-1])["summary"]
    assert summary["done"] + summary["not_done"] == 8
    assert summary["done"] == len(names(tmp_path / "out")) < 8
    again = start("in", "-o", "out", "--json", cwd=tmp_path)
    summary = json.loads(again.communicate()[0].splitlines()[-1])["summary"]
    assert summary["done"] + summary["skipped"] == 8


def test_a_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    photo(tmp_path / "in/a.png")
    begun = tmp_path / "begun"
    process = start(
        "in", "-o", "out", cwd=tmp_path, pause_s=60, DEBLUR_TEST_STUBBORN="1", DEBLUR_TEST_BEGUN=str(begun)
    )
    wait_for(begun.exists)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 130


# Workers


def test_workers_do_the_same_and_survive_one_that_is_killed(tmp_path: Path) -> None:
    for number in range(10):
        photo(tmp_path / f"in/{number}.png", number, identity_batch.KILLER[:2] if number == 4 else (8, 9))
    process = start("in", "-o", "out", "--workers", "2", cwd=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "in/4.png: the process that worked on it was killed (SIGKILL)" in err
    assert "--tile" in err
    assert "9 photos restored (9 barely changed), 1 failed" in err
    assert names(tmp_path / "out") == [f"{number}.png" for number in range(10) if number != 4]


def test_results_carry_the_times_of_their_photos_on_request(batch: Batch) -> None:
    os.utime(photo("in/a.png"), ns=(5, 1_000_000_000_123_456_789))
    assert batch("in", "-o", "out", "--keep-times").code == 0
    assert Path("out/a.png").stat().st_mtime_ns == 1_000_000_000_123_456_789
    assert batch("in", "-o", "other").code == 0
    assert Path("other/a.png").stat().st_mtime > time.time() - 60


@pytest.mark.parametrize(("order", "expected"), [("name", "123"), ("date", "312"), ("largest", "231")])
def test_the_order_of_a_batch(order: str, expected: str, batch: Batch) -> None:
    for name, date_s, size in (("1", 50, 9), ("2", 90, 60), ("3", 10, 30)):
        path = photo(f"in/{name}.bmp", size=(size, size))
        os.utime(path, (date_s, date_s))
    told = batch("in", "-o", "out", "--json", "--order", order).told[:-1]
    assert "".join(Path(each["photo"]).stem for each in told) == expected


def test_what_crashed_is_not_tried_again_unless_asked_or_changed(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def call(
        self: Isolated, function: Callable[..., object], job: Job, *arguments: object, **about: str
    ) -> object:
        if job.name == "in/2.png" and len(tried) < 3:
            tried.append(job.name)
            raise death_of(job.name, "read", -signal.SIGSEGV)
        return function(job, *arguments)

    monkeypatch.setattr(Isolated, "call", call)
    for number in range(4):
        photo(f"in/{number}.png", number)
    first = batch("in", "-o", "out")
    assert (first.code, tried) == (1, ["in/2.png"])
    assert "in/2.png: the process that read it crashed (SIGSEGV)" in first.err
    again = batch("in", "-o", "out")
    assert (again.code, tried) == (1, ["in/2.png"])
    assert "in/2.png: has crashed a library before, and is not tried again" in again.err
    assert "To try it: --retry-failed" in again.err
    assert "0 photos restored, 3 done before, 1 failed" in again.err
    assert batch("in", "-o", "out", "--retry-failed").code == 1
    assert len(tried) == 2
    photo("in/2.png", 77)
    assert batch("in", "-o", "out").code == 1
    assert len(tried) == 3
    assert batch("in", "-o", "out", "--retry-failed").code == 0
    assert batch("in", "-o", "out").code == 0
    assert names(Path("out")) == [f"{number}.png" for number in range(4)]


def test_workers_die_with_the_process_they_work_for(tmp_path: Path) -> None:
    for number in range(6):
        photo(tmp_path / f"in/{number}.png")
    process = start("in", "-o", "out", "--workers", "2", cwd=tmp_path, pause_s=0.5)
    wait_for(lambda: names(tmp_path / "out"))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.communicate()
    wait_for(lambda: not any(Path(f"/proc/{child}/fd/0").exists() for child in children))


def test_what_keeps_a_worker_from_starting_ends_the_run(tmp_path: Path) -> None:
    photo(tmp_path / "in/a.png")
    process = start("in", "--workers", "2", cwd=tmp_path, DEBLUR_TEST_NO_WEIGHTS="1")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "error: no weights here" in err) == (3, True)
    assert "Traceback" not in err


# Reports


def test_json_tells_of_each_photo_and_sums_up(batch: Batch) -> None:
    photo("in/a.png")
    Path("in/b.png").write_bytes(b"no photo")
    outcome = batch("in", "-o", "out", "--json")
    done, failed = sorted(outcome.told[:-1], key=lambda told: told["status"])
    assert done.pop("elapsed_s") >= 0
    assert done == {
        "photo": "in/a.png",
        "target": "out/a.png",
        "status": "done",
        "height": 8,
        "width": 9,
        "barely_changed": True,
        "rms_change": 0.0,
        "gradient_gain": 1.0,
        "notes": [],
    }
    assert failed["status"] == "failed"
    assert failed["error"].startswith("in/b.png: not a photo")
    assert failed["hint"]
    summary = outcome.told[-1]["summary"]
    assert summary.pop("elapsed_s") >= 0
    assert summary == {
        "done": 1,
        "skipped": 0,
        "left": 0,
        "failed": 1,
        "not_done": 0,
        "barely_changed": 1,
        "passed_over": {},
        "megapixels": 0.0,
        "exit_code": 1,
    }
    again = batch("in", "-o", "out", "--json").told[:-1]
    assert sorted(told["status"] for told in again) == ["failed", "skipped"]


def test_the_page_needs_nothing_else(batch: Batch) -> None:
    for number in range(3):
        photo(f"in/{number}.png", size=(400, 600))
    Path("in/<b>.png").write_bytes(b"no photo")
    outcome = batch("in", "-o", "out", "--report", "page.html")
    page = Path("page.html").read_text()
    assert outcome.code == 1
    assert page.count("<figure>") == 3
    assert page.count("data:image/jpeg;base64,") == 9
    assert "&lt;b&gt;.png" in page
    assert "http" not in page
    assert "3 photos restored (3 barely changed), 1 failed" in page
    assert "$" not in page


def test_a_page_that_cannot_be_written_is_known_before_any_work(batch: Batch) -> None:
    photo("in/a.png")
    outcome = batch("in", "-o", "out", "--report", "none/page.html")
    assert outcome.code == 2
    assert "none/page.html: the report cannot be written: No such file or directory" in outcome.err
    assert names("out") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "--shard", "0/4"], "--shard 0/4 is no share"),
        (["in", "--shard", "5/4"], "--shard 5/4 is no share"),
        (["in", "--shard", "half"], "It takes I/N"),
        (["in", "--workers", "0"], "--workers"),
        (["in", "-o", "in"], "in: the results would replace their inputs"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, batch: Batch) -> None:
    photo("in/a.png")
    outcome = batch(*arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert names("in") == ["a.png"]


@pytest.mark.parametrize("output", [(), ("-o", "out")])
@pytest.mark.parametrize("as_list", [False, True], ids=["glob", "list"])
def test_a_glob_or_a_list_that_names_the_results_too(
    output: tuple[str, ...], as_list: bool, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("a.png")
    photo("sub/b.png")
    for expected in ((2, 0, 0), (0, 2, 0), (0, 2, 0)):
        if as_list:
            found = "\n".join(map(str, Path().rglob("*.png"))).encode()
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(found)))
        outcome = batch("-" if as_list else "**/*.png", *output, "--json")
        assert (outcome.code, outcome.counts) == (0, expected)
    assert "passed over: 2 (a result of deblur)" in outcome.err
    assert len(list(Path().rglob("*.png"))) == 4


def test_names_in_no_encoding_and_with_escapes_are_shown(tmp_path: Path) -> None:
    photo(tmp_path / "in" / os.fsdecode(b"a\xff.png"))
    photo(tmp_path / "in" / "b\x1b[31m\n.png")
    process = start("in", "--dry-run", cwd=tmp_path, PYTHONIOENCODING="utf-8:strict")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "\x1b" not in out
    assert len(out.splitlines()) == 4


def test_weights_that_are_downloaded_first_are_the_ones_that_the_journal_names(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("in/a.png")
    used = []

    def load(options: Options, console: object) -> object:
        used.append(options.weights)
        return identity_batch.identity

    monkeypatch.setattr(_engine, "load_process", load)
    assert batch("in", "--download").code == 0
    assert used == ["motion"]
    (line,) = [json.loads(line) for line in Path("in/.deblur-journal.jsonl").read_text().splitlines()][1:]
    assert line["made_with"]["weights"] == find_weights("motion").sha256[:16]


@pytest.mark.parametrize(
    ("workers", "photos", "devices", "share"),
    [
        (None, 9, ["cuda:0", "cuda:1", "cuda:2"], 1.0),
        (None, 2, ["cuda:0", "cuda:1"], 1.0),
        (6, 9, ["cuda:0", "cuda:1", "cuda:2"] * 2, 0.5),
    ],
)
def test_cuda_gives_every_card_a_worker(
    workers: int | None, photos: int, devices: list[str], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers: list[partial] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("deblur_cli.batch.Processes", lambda made, _: made)
    monkeypatch.setattr("deblur_cli.batch.run_workers", lambda jobs, made, *_, **__: makers.extend(made))
    options = Options(
        "auto",
        download=False,
        tile="auto",
        overlap=None,
        window=None,
        device="cuda",
        precision="auto",
        strength=1.0,
        threads=None,
        quiet=True,
        verbose=False,
    )
    chosen = _engine.EngineOptions("local", workers, None)
    _engine.run(chosen, options, Console(quiet=True), [], photos, print, None)
    assert [maker.args[0].device for maker in makers] == devices
    assert {maker.args[0].memory_share for maker in makers} == {share}
