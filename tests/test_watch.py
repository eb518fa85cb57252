"""`deblur watch` as a process of its own, with an engine that changes nothing (identity_batch.py)."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deblur_cli.batch import Ledger
from deblur_cli.cli import main
from deblur_cli.cli._watch import _planner
from deblur_cli.jobs import Job
from deblur_cli.watch import SETTLED_S, Arrivals

SCRIPT = [sys.executable, str(Path(__file__).with_name("identity_batch.py"))]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"}


class Watch:
    """A watch of in/ into `out` that is running, with what it has told so far."""

    def __init__(self, *arguments: str, out: str = "out", **environment: str) -> None:
        self.out, self.err, self.arguments = out, Path(f"{time.monotonic_ns()}.err"), arguments
        self.told_file = self.err.with_suffix(".json")
        with self.err.open("wb") as err, self.told_file.open("wb") as told:
            self.process = subprocess.Popen(
                [*SCRIPT, "watch", "in", "-o", out, "--json", *arguments],
                stdout=told,
                stderr=err,
                env={**ENVIRONMENT, **environment},
            )
        RUNNING.append(self.process)
        wait_for(lambda: b"watching in" in self.err.read_bytes())

    @property
    def told(self) -> list[dict[str, Any]]:
        lines = self.told_file.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def settled(self) -> dict[str, str]:
        """Photo -> status."""
        return {
            Path(line["photo"]).relative_to("in").as_posix(): line["status"]
            for line in self.told
            if "photo" in line
        }

    def wait_until(self, **settled: str) -> None:
        expected = {f"{name}.png": status for name, status in settled.items()}
        wait_for(lambda: self.settled() == expected, self.describe)

    def describe(self) -> str:
        return f"{self.settled()}\n{self.err.read_text()}"

    def end(self, number: int = signal.SIGINT) -> tuple[int, dict[str, Any]]:
        """The exit code and the summary."""
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert "Traceback" not in self.err.read_text()
        return code, self.told[-1]["summary"]


RUNNING: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    yield
    while RUNNING:
        with RUNNING.pop() as process:
            process.kill()


def wait_for(condition: Callable[[], object], describe: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {describe()}"
        time.sleep(0.02)


def photo(path: str, level: int = 10, *, old: bool = False) -> bytes:
    """Make one; an old one has been at rest for long. Its bytes."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 9, 3), level, np.uint8)).save(path)
    if old:
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return Path(path).read_bytes()


def results(folder: str = "out") -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*.png"))


def batch(*arguments: str) -> dict[str, Any]:
    run = subprocess.run(
        [*SCRIPT, "batch", "in", "--json", *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    return json.loads(run.stdout.splitlines()[-1])["summary"]  # type: ignore[no-any-return]


def test_what_is_there_and_what_comes_is_done_and_a_batch_finds_nothing_left() -> None:
    photo("in/there.png", old=True)
    watch = Watch()
    watch.wait_until(there="done")
    photo("in/new/deep/written.png")
    photo("moved.png", old=True)
    shutil.move("moved.png", "in/moved.png")
    Path("in/note.txt").write_text("no photo")
    watch.wait_until(**{"there": "done", "moved": "done", "new/deep/written": "done"})
    code, summary = watch.end()
    assert (code, summary["exit_code"], summary["done"], summary["not_done"]) == (130, 130, 3, 0)
    assert results() == ["moved.png", "new/deep/written.png", "there.png"]
    after = batch("-o", "out")
    assert (after["done"], after["skipped"], after["failed"]) == (0, 3, 0)


def test_the_results_folder_may_lie_in_the_folder_that_is_watched() -> None:
    photo("in/a.png", old=True)
    watch = Watch(out="in/out")
    watch.wait_until(a="done")
    photo("in/b.png", old=True)
    watch.wait_until(a="done", b="done")
    assert watch.end()[1]["done"] == 2
    assert results("in/out") == ["a.png", "b.png"]


def test_results_beside_their_photos_are_none_themselves() -> None:
    photo("in/a.png", old=True)
    process = subprocess.Popen([*SCRIPT, "watch", "in", "--quiet"], env=ENVIRONMENT)
    RUNNING.append(process)
    wait_for(lambda: results("in") == ["a.png", "a_sharp.png"])
    photo("in/b.png", old=True)
    wait_for(lambda: len(results("in")) == 4)
    time.sleep(1)
    process.terminate()
    assert process.wait(30) == 143
    assert results("in") == ["a.png", "a_sharp.png", "b.png", "b_sharp.png"]


def test_a_photo_that_is_still_written_is_waited_for() -> None:
    watch = Watch()
    data = photo("whole.png")
    with Path("in/slow.png").open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        time.sleep(2 * SETTLED_S + 0.5)
        assert watch.settled() == {}, watch.describe()
        file.write(data[len(data) // 2 :])
    watch.wait_until(slow="done")


def test_a_photo_that_changes_is_done_again() -> None:
    photo("in/a.png", old=True)
    watch = Watch()
    watch.wait_until(a="done")
    photo("in/a.png", level=99)
    wait_for(lambda: len(watch.told) == 2)
    assert [line["status"] for line in watch.told] == ["done", "done"]
    assert np.asarray(Image.open("out/a.png"))[0, 0, 0] == 99


def test_a_bad_photo_is_told_once_and_does_not_end_it() -> None:
    Path("in/bad.png").write_bytes(photo("good.png")[:-30])
    os.utime("in/bad.png", (1_000_000_000, 1_000_000_000))
    watch = Watch()
    watch.wait_until(bad="failed")
    photo("in/good.png", old=True)
    watch.wait_until(bad="failed", good="done")
    photo("in/other.png", old=True)
    watch.wait_until(bad="failed", good="done", other="done")
    assert watch.end()[1]["failed"] == 1
    assert watch.err.read_text().count("bad.png") == 1


def test_after_a_kill_what_is_done_stays_done_and_what_came_meanwhile_is_done() -> None:
    photo("in/a.png", old=True)
    watch = Watch()
    watch.wait_until(a="done")
    made = Path("out/a.png").stat().st_mtime_ns
    watch.process.kill()
    watch.process.wait()
    photo("in/b.png", old=True)
    again = Watch()
    again.wait_until(a="skipped", b="done")
    code, summary = again.end(signal.SIGTERM)
    assert (code, summary["done"], summary["skipped"], summary["not_done"]) == (143, 1, 1, 0)
    assert Path("out/a.png").stat().st_mtime_ns == made


def test_photos_that_are_renamed_or_deleted_before_their_turn_are_no_failures() -> None:
    for name in "abcde":
        photo(f"in/{name}.png", old=True)
    watch = Watch(DEBLUR_TEST_PAUSE_S="1.5", DEBLUR_TEST_BEGUN="begun")
    wait_for(lambda: Path("begun").exists())
    Path("in/d.png").unlink()
    Path("in/e.png").rename("in/f.png")
    watch.wait_until(a="done", b="done", c="done", f="done")
    assert watch.end()[1]["failed"] == 0
    assert results() == ["a.png", "b.png", "c.png", "f.png"]


def test_a_photo_that_is_renamed_at_work_keeps_its_result_and_is_done_under_its_new_name() -> None:
    photo("in/a.png", old=True)
    watch = Watch(DEBLUR_TEST_PAUSE_S="1", DEBLUR_TEST_BEGUN="begun")
    wait_for(lambda: Path("begun").exists())
    Path("in/a.png").rename("in/b.png")
    watch.wait_until(a="done", b="done")


def test_an_interrupt_ends_it_after_the_photo_at_hand() -> None:
    for name in "abc":
        photo(f"in/{name}.png", old=True)
    watch = Watch(DEBLUR_TEST_PAUSE_S="2", DEBLUR_TEST_BEGUN="begun")
    wait_for(lambda: Path("begun").exists())
    code, summary = watch.end()
    assert (code, summary["done"], summary["failed"]) == (130, 1, 0)
    assert results() == ["a.png"]
    after = batch("-o", "out")
    assert (after["done"], after["skipped"]) == (2, 1)


def test_a_second_interrupt_leaves_at_once() -> None:
    photo("in/a.png", old=True)
    watch = Watch(DEBLUR_TEST_PAUSE_S="60", DEBLUR_TEST_BEGUN="begun")
    wait_for(lambda: Path("begun").exists())
    watch.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    watch.process.send_signal(signal.SIGINT)
    assert watch.process.wait(10) == 130
    assert results() == []


def test_it_ends_when_its_folder_goes_away() -> None:
    watch = Watch()
    Path("in").rename("elsewhere")
    Path("touched").touch()
    assert watch.process.wait(45) == 1
    assert "error: in: is no longer there" in watch.err.read_text()


def test_a_file_that_is_not_ours_is_not_overwritten() -> None:
    photo("in/a.png", old=True)
    photo("out/a.png", level=77)
    watch = Watch()
    watch.wait_until(a="failed")
    photo("in/b.png", old=True)
    watch.wait_until(a="failed", b="done")
    assert watch.err.read_text().count("exists already, and this batch did not make it") == 1
    assert np.asarray(Image.open("out/a.png"))[0, 0, 0] == 77


def test_two_watches_of_one_folder_do_not_get_along() -> None:
    Watch()
    run = subprocess.run(
        [*SCRIPT, "watch", "in", "-o", "out"], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert run.returncode == 1
    assert "another deblur batch is writing here" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["a.png"], "a.png: is a file"),
        (["in", "-o", "in"], "in: the results would replace their inputs"),
        (["in", "-o", "a.png"], "a.png is a file, but a batch writes into a folder"),
        (["in", "-o", ""], "--output is empty"),
        (["in", "--suffix", ""], "--suffix '' cannot be used"),
        (["s3://bucket/in"], "s3://bucket/in: only folders of this machine can be watched"),
        (["in", "-o", "s3://bucket/out"], "s3://bucket/out: a watch writes to folders of this machine"),
        (["in", "--max-megapixels", "0"], "--max-megapixels 0.0 is no limit"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    photo("a.png")
    with pytest.raises(SystemExit) as end:
        main(["watch", *arguments])
    assert end.value.code == 2
    assert f"error: {message}" in capfd.readouterr().err


def test_without_watchdog_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "deblur_cli.watch", raising=False)
    monkeypatch.setitem(sys.modules, "watchdog.events", None)
    with pytest.raises(SystemExit) as end:
        main(["watch", "in"])
    assert end.value.code == 2
    assert "pip install 'deblur-cli[watch]'" in capfd.readouterr().err


def test_where_the_system_tells_nothing_the_folder_is_looked_through() -> None:
    photo("in/a.png", old=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    notes = list[str]()

    def note(text: str) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        notes.append(text)

    with Ledger([Job(None, None, Path("out"))], {}) as ledger:
        arrivals = Arrivals(
            Path("in"),
            Path("out"),
            _planner("in", "out", "_sharp"),
            ledger,
            max_megapixels=1,
            on_done=lambda job: None,
            on_refused=lambda job, error: None,
            on_note=note,
        )
        jobs = arrivals.jobs()
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # so that no file more can be opened
        try:
            assert next(jobs).name == "in/a.png"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        arrivals.stop()
        assert list(jobs) == []
    assert "looked through every 30 s" in notes[0]
