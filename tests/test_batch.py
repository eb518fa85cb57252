import errno
import io
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblur_cli.batch import DiskFullError, Process, Progress, run_jobs
from deblur_cli.errors import DeblurError, PhotoError, UsageError, WeightsError
from deblur_cli.events import Event, Failed, Finished, Progressed, Started
from deblur_cli.jobs import Job
from deblur_cli.photo import Photo, read_photo
from deblur_cli.report import Report, change_in_words, exit_code_of


@dataclass(frozen=True)
class Details:
    rms_change: float = 3.0
    gradient_gain: float = 1.2


@dataclass(frozen=True)
class Inverted:
    photo: Photo
    details: Details = Details()


def invert(photo: Photo, progress: Progress) -> Inverted:
    progress(0, 1)
    return Inverted(replace(photo, pixels=255 - photo.pixels))


def run(jobs: list[Job], process: Process = invert) -> list[Event]:
    events: list[Event] = []
    run_jobs(jobs, lambda: process, events.append)
    return events


def save(path: Path, level: int = 10) -> Path:
    Image.fromarray(np.full((4, 5, 3), level, np.uint8)).save(path)
    return path


def test_every_photo_is_started_restored_written_and_told(tmp_path: Path) -> None:
    jobs = [Job(save(tmp_path / f"{n}.png"), tmp_path / "deep/er" / f"{n}.png") for n in range(2)]
    events = run(jobs)
    for job in jobs:  # while the first is being written, the second is begun
        assert [type(event) for event in events if event.job == job] == [Started, Progressed, Finished]
    assert Image.open(tmp_path / "deep/er/1.png").getpixel((0, 0)) == (245, 245, 245)
    assert events[-1].details == {"rms_change": 3.0, "gradient_gain": 1.2}


def test_a_bad_photo_does_not_stop_the_rest(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no photo")
    events = run(
        [
            Job(tmp_path / "bad.png", tmp_path / "bad_sharp.png"),
            Job(save(tmp_path / "good.png"), tmp_path / "good_sharp.png"),
        ]
    )
    assert [type(event) for event in events] == [Started, Failed, Started, Progressed, Finished]
    assert not (tmp_path / "bad_sharp.png").exists()


def test_a_photo_that_fails_to_be_restored_is_named(tmp_path: Path) -> None:
    def fail(photo: Photo, progress: Progress) -> Inverted:
        raise PhotoError("too odd", hint="Try another.")

    _, failed = run([Job(save(tmp_path / "a.png"), tmp_path / "b.png")], fail)
    assert str(failed.error) == f"{tmp_path}/a.png: too odd\nTry another."


def test_too_little_memory_fails_the_photo_and_says_what_helps(tmp_path: Path) -> None:
    def fail(photo: Photo, progress: Progress) -> Inverted:
        raise MemoryError

    _, failed = run([Job(save(tmp_path / "a.png"), tmp_path / "b.png")], fail)
    assert "a.png: not enough memory" in str(failed.error)


def test_a_folder_that_cannot_be_made_fails_the_photo(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    *_, failed = run([Job(save(tmp_path / "a.png"), tmp_path / "file/sub/b.png")])
    assert "file/sub: the folder cannot be made" in str(failed.error)


@pytest.mark.parametrize("error", [UsageError, WeightsError])
def test_what_would_fail_every_photo_ends_the_run(error: type[DeblurError], tmp_path: Path) -> None:
    def fail(photo: Photo, progress: Progress) -> Inverted:
        raise error("no")

    with pytest.raises(error):
        run([Job(save(tmp_path / "a.png"), tmp_path / "b.png")], fail)


def test_standard_input_to_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def __init__(self, data: bytes) -> None:
            self.buffer = io.BytesIO(data)

    monkeypatch.setattr("sys.stdin", Stream(save(tmp_path / "a.png").read_bytes()))
    monkeypatch.setattr("sys.stdout", written := Stream(b""))
    run([Job(None, None)])
    assert Image.open(written.buffer).getpixel((0, 0)) == (245, 245, 245)


def finished(rms: float, gain: float) -> Finished:
    return Finished(Job(None, None), {"rms_change": rms, "gradient_gain": gain}, (), 1.0)


def test_the_report_counts_and_owns_the_exit_code() -> None:
    report = Report()
    assert (report.exit_code, report.summary()) == (0, "0 photos restored")
    report.add(finished(1, 1))
    assert (report.exit_code, report.summary()) == (0, "1 photo restored")
    report.add(Failed(Job(None, None), PhotoError("no")))
    assert (report.exit_code, report.summary()) == (1, "1 photo restored, 1 failed")


@pytest.mark.parametrize(
    ("error", "code"), [(PhotoError, 1), (UsageError, 2), (WeightsError, 3), (DeblurError, 1)]
)
def test_each_kind_of_error_has_its_exit_code(error: type[DeblurError], code: int) -> None:
    assert exit_code_of(error("no")) == code


def test_what_changed_is_told_honestly() -> None:
    assert change_in_words(finished(0.2, 1.3)) == "barely changed"
    assert change_in_words(finished(4.0, 1.31)) == "edges +31%, changed by 4.0 levels"


def test_a_photo_that_changes_while_it_is_read_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / "a.png")

    def read_slowly(path: Path, **options: object) -> Photo:
        photo = read_photo(path)
        save(path, level=200)
        path.touch()
        return photo

    monkeypatch.setattr("deblur_cli.batch._loop.read_photo", read_slowly)
    *_, failed = run([Job(source, tmp_path / "b.png")])
    assert "a.png: changed while it was being read\nRun again" in str(failed.error)
    assert not (tmp_path / "b.png").exists()


def test_a_folder_that_vanishes_fails_its_photos_and_no_others(tmp_path: Path) -> None:
    jobs = [
        Job(tmp_path / "gone/a.png", tmp_path / "x.png"),
        Job(save(tmp_path / "b.png"), tmp_path / "y.png"),
    ]
    events = run(jobs)
    assert [type(event) for event in events if event.job == jobs[0]] == [Started, Failed]
    assert (tmp_path / "y.png").exists()


def test_whatever_a_photo_provokes_the_others_go_on(tmp_path: Path) -> None:
    def fail_once(photo: Photo, progress: Progress) -> Inverted:
        if photo.pixels[0, 0, 0] == 10:
            raise RuntimeError("CUDA error: something")
        return invert(photo, progress)

    jobs = [Job(save(tmp_path / f"{n}.png", n), tmp_path / f"{n}_.png") for n in (10, 20)]
    failed = next(event for event in run(jobs, fail_once) if isinstance(event, Failed))
    assert "10.png: failed unexpectedly: RuntimeError: CUDA error: something" in str(failed.error)
    assert "please report it" in failed.error.hint
    assert (tmp_path / "20_.png").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_run(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(photo: Photo, target: Path, **options: object) -> tuple[str, ...]:
        raise PhotoError(f"{target.name}: full") from OSError(code, "full")

    monkeypatch.setattr("deblur_cli.batch._loop.write_photo", write)
    jobs = [Job(save(tmp_path / f"{n}.png"), tmp_path / f"{n}_.png") for n in range(9)]
    events: list[Event] = []
    with pytest.raises(DiskFullError, match=r"0_.png: full\nFree some space"):
        run_jobs(jobs, lambda: invert, events.append)
    assert not any(isinstance(event, Failed | Finished) for event in events)


def test_a_full_disk_is_no_failure_of_the_next_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def write(photo: Photo, target: Path, **options: object) -> tuple[str, ...]:
        assert begun.wait(10)
        raise PhotoError(f"{target.name}: full") from OSError(errno.ENOSPC, "full")

    def work(photo: Photo, progress: Progress) -> Inverted:
        if photo.pixels[0, 0, 0] == 20:
            begun.set()
            for _ in range(1000):
                progress(0.5, 1)
                time.sleep(0.01)
        return invert(photo, progress)

    monkeypatch.setattr("deblur_cli.batch._loop.write_photo", write)
    jobs = [Job(save(tmp_path / f"{n}.png", n), tmp_path / f"{n}_.png") for n in (10, 20)]
    events: list[Event] = []
    with pytest.raises(DiskFullError, match=r"10_.png: full"):
        run_jobs(jobs, lambda: work, events.append)
    assert not any(isinstance(event, Failed | Finished) for event in events)


def test_the_next_photo_is_read_and_the_last_written_meanwhile_and_no_more(tmp_path: Path) -> None:
    jobs = [Job(save(tmp_path / f"{n}.png"), tmp_path / f"{n}_.png") for n in range(6)]
    taken: list[int] = []

    def deal() -> Iterator[Job]:
        for number, job in enumerate(jobs):
            taken.append(number)
            yield job

    def look(photo: Photo, progress: Progress) -> Inverted:
        time.sleep(0.05)
        seen.append(len(taken))
        return invert(photo, progress)

    seen: list[int] = []
    run_jobs(deal(), lambda: look, lambda event: None)
    assert seen == [2, 3, 4, 5, 6, 6]
