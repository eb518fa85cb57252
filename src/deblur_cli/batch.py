"""Jobs -> loop -> events. It knows no torch: it is handed `process`, which turns a photo into a restored one."""

import io
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from deblur_cli.errors import PhotoError
from deblur_cli.events import Event, Failed, Finished, Progressed, Started
from deblur_cli.jobs import Job
from deblur_cli.photo import Photo, read_photo, write_photo

Progress = Callable[[float, int], None]


class Restored(Protocol):
    """What `process` returns: the photo, and a dataclass of what it was made with."""

    @property
    def photo(self) -> Photo: ...  # noqa: D102
    @property
    def details(self) -> Any: ...  # noqa: D102, ANN401


Process = Callable[[Photo, Progress], Restored]


def run_jobs(jobs: Iterable[Job], process: Process, emit: Callable[[Event], None]) -> None:
    """Do each job, one after the other, and emit what happens; a photo that fails never stops the rest.

    Errors that are not about a photo (options, weights) are raised: they would fail every other photo too.
    """
    for job in jobs:
        emit(Started(job))
        try:
            emit(_run_job(job, process, emit))
        except PhotoError as error:
            emit(Failed(job, error))
        except MemoryError:
            emit(
                Failed(
                    job,
                    PhotoError(f"{job.name}: not enough memory", hint="Try a smaller --tile, such as 256."),
                )
            )


def _run_job(job: Job, process: Process, emit: Callable[[Event], None]) -> Finished:
    started = time.monotonic()
    photo = read_photo(io.BytesIO(sys.stdin.buffer.read()) if job.source is None else job.source)
    try:
        restored = process(photo, lambda done, tiles: emit(Progressed(job, done, tiles)))
    except PhotoError as error:
        raise PhotoError(f"{job.name}: {error.message}", hint=error.hint) from error
    if job.target is None:
        write_photo(restored.photo, sys.stdout.buffer)
    else:
        _make_folder(job.target.parent)
        write_photo(restored.photo, job.target)
    return Finished(job, asdict(restored.details), restored.photo.notes, time.monotonic() - started)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PhotoError(
            f"{folder}: the folder cannot be made: {error.strerror}", hint="Choose another -o."
        ) from error
