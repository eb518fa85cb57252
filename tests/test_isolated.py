"""Functions in a process of their own, which may die of them; and what a batch makes of that."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deblur_cli import storage
from deblur_cli.batch import FileOptions, Progress, _loop, run_jobs
from deblur_cli.errors import PhotoError
from deblur_cli.events import Event, Failed, Finished
from deblur_cli.isolated import CrashError, Isolated
from deblur_cli.jobs import Job
from deblur_cli.photo import Photo

pytestmark = pytest.mark.isolated


def doubled(array: np.ndarray, shift: int) -> np.ndarray:
    return 2 * array + shift


def process_id() -> int:
    return os.getpid()


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(code: int) -> None:
    os._exit(code)


def refuse() -> None:
    raise PhotoError("no", hint="Do.") from OSError(28, "full")


class Unpicklable(Exception):  # noqa: N818
    def __init__(self) -> None:
        super().__init__(lambda: None)


def confuse() -> None:
    raise Unpicklable


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def test_a_function_is_called_elsewhere_and_its_arrays_come_and_go() -> None:
    isolated = Isolated()
    try:
        array = np.arange(12.0).reshape(3, 4)
        np.testing.assert_array_equal(isolated.call(doubled, array, 3, photo="a.jpg"), 2 * array + 3)
        result = isolated.call(doubled, np.zeros((0, 3)), 1, photo="a.jpg")
        assert result.shape == (0, 3)
        isolated.call(doubled, array, 1, photo="a.jpg")[0, 0] = 7  # it may be written to
        pid = isolated.call(process_id, photo="a.jpg")
        assert pid != os.getpid()
        assert isolated.call(process_id, photo="a.jpg") == pid
    finally:
        isolated.close()


def count_to(tell: Callable[[int], None], most: int) -> str:
    for number in range(most):
        tell(number)
    return "done"


def test_a_function_may_tell_how_far_it_is() -> None:
    isolated, heard = Isolated(), list[int]()
    assert isolated.call(count_to, 3, photo="a.jpg", hear=heard.append) == "done"
    assert heard == [0, 1, 2]
    assert isolated.call(doubled, 1, 1, photo="a.jpg") == 3
    isolated.close()


def test_what_is_raised_there_is_raised_here() -> None:
    isolated = Isolated()
    with pytest.raises(PhotoError) as caught:
        isolated.call(refuse, photo="a.jpg")
    assert str(caught.value) == "no\nDo."
    with pytest.raises(RuntimeError, match="Unpicklable"):
        isolated.call(confuse, photo="a.jpg")
    isolated.close()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_death_is_told_and_the_next_call_has_a_new_process(number: int) -> None:
    isolated = Isolated()
    before = isolated.call(process_id, photo="a.jpg")
    with pytest.raises(
        PhotoError, match=rf"^a.jpg: the process that read it .*{signal.Signals(number).name}"
    ):
        isolated.call(die, number, photo="a.jpg")
    assert isolated.call(process_id, photo="a.jpg") != before
    with pytest.raises(PhotoError, match="ended with exit code 3"):
        isolated.call(leave, 3, photo="a.jpg")
    isolated.close()


def test_ctrl_c_is_not_for_it_and_it_ends_with_its_owner() -> None:
    isolated = Isolated()
    pid = isolated.call(process_id, photo="a.jpg")
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert isolated.call(process_id, photo="a.jpg") == pid
    isolated.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_was_ended_is_not_started_again() -> None:
    isolated = Isolated()
    pid = isolated.call(process_id, photo="a.jpg")
    isolated.end()
    for _ in range(2):
        with pytest.raises(PhotoError, match="stopped"):
            isolated.call(process_id, photo="a.jpg")
    isolated.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# In a batch: a photo of level 66 ends the process that reads or writes it


@dataclass(frozen=True)
class Details:
    rms_change: float = 3.0


@dataclass(frozen=True)
class Same:
    photo: Photo
    details: Details = Details()


def same(photo: Photo, progress: Progress) -> Same:
    return Same(replace(photo))


KILLER = 66
READ, WRITE = _loop._read, _loop._write
SIGNAL = "DEBLUR_TEST_SIGNAL"


def read_or_die(job: Job, files: FileOptions, data: bytes | None) -> Any:  # noqa: ANN401
    read = READ(job, files, data)
    if isinstance(read, _loop._Read) and read.photo.pixels[0, 0, 0] == KILLER:
        die(int(os.environ[SIGNAL]))
    return read


def write_or_die(job: Job, photo: Photo, files: FileOptions) -> Any:  # noqa: ANN401
    if photo.pixels[0, 0, 0] == KILLER:
        assert job.target is not None
        temporary = job.target.with_name(f".{job.target.name}.12345678.deblur-tmp")
        temporary.write_bytes(b"half of it")
        die(int(os.environ[SIGNAL]))
    return WRITE(job, photo, files)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
@pytest.mark.parametrize(("doing", "function"), [("read", read_or_die), ("wrote", write_or_die)])
def test_a_photo_that_ends_the_process_fails_and_every_other_is_done(
    number: int, doing: str, function: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SIGNAL, str(int(number)))
    monkeypatch.setattr(_loop, "_read" if doing == "read" else "_write", function)
    jobs = []
    for level in (1, KILLER, 3):
        source = tmp_path / f"{level}.png"
        Image.fromarray(np.full((4, 5, 3), level, np.uint8)).save(source)
        jobs.append(Job(source, tmp_path / "out" / f"{level}.png"))
    events: list[Event] = []
    run_jobs(jobs, lambda: same, events.append)
    assert [event.job for event in events if isinstance(event, Finished)] == [jobs[0], jobs[2]]
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.job == jobs[1]
    if number == signal.SIGSEGV:
        assert f"66.png: the process that {doing} it crashed (SIGSEGV)\nThis is a fault" in str(failed.error)
        assert isinstance(failed.error, CrashError)
    else:
        assert f"66.png: the process that {doing} it was killed (SIGKILL)\nMostly memory" in str(failed.error)
        assert not isinstance(failed.error, CrashError)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png", "3.png"]


def test_a_photo_that_comes_when_the_batch_has_ended_starts_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [Job(tmp_path / f"{number}.png", tmp_path / "out" / f"{number}.png") for number in range(2)]
    for job in jobs:
        assert job.source is not None
        Image.new("RGB", (4, 5)).save(job.source)
    ended, readers = threading.Event(), []

    def content(source: Path) -> None:
        if source == jobs[1].source:
            readers.append(threading.current_thread())
            ended.wait(60)

    def interrupted(photo: Photo, progress: Progress) -> Same:
        while not readers:
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "content", content)
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt) as held:
        run_jobs(jobs, lambda: interrupted, lambda event: None)
    for process in set(multiprocessing.active_children()) - before:
        process.join(60)
    ended.set()
    readers[0].join(60)
    for process in set(multiprocessing.active_children()) - before:
        process.join(5)
        assert not process.is_alive(), held
