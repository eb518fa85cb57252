"""The loop of one process: while a photo is restored, the next one is read and the last one written, each in a process that may crash."""

import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from deblur_cli import storage
from deblur_cli.batch._failures import DiskFullError, explained, is_full
from deblur_cli.batch._sweep import sweep
from deblur_cli.errors import PhotoError
from deblur_cli.events import Event, Failed, Finished, Left, Preview, Progressed, Started
from deblur_cli.isolated import Isolated
from deblur_cli.jobs import Job
from deblur_cli.journal import Stamp, stamp_of
from deblur_cli.photo import (
    Photo,
    format_of_name,
    import_codecs,
    preview_of,
    read_pair,
    read_photo,
    write_photo,
)

T = TypeVar("T")
Progress = Callable[[float, int], None]


class Restored(Protocol):
    """What `process` returns: the photo, and a dataclass of what it was made with."""

    @property
    def photo(self) -> Photo: ...
    @property
    def details(self) -> Any: ...  # noqa: ANN401


Process = Callable[[Photo, Progress], Restored | str]  # or why it is left as it is
Emit = Callable[[Event], None]


@dataclass(frozen=True)
class FileOptions:
    """How photos are read and written: as of `read_photo` and `write_photo`. keep_times: results get the time of their photos."""

    max_megapixels: float = 200
    quality: int | None = None
    strip_metadata: bool = False
    overwrite: bool = True
    keep_times: bool = False


DEFAULT_FILES = FileOptions()


@dataclass(frozen=True)
class _Read:
    photo: Photo
    stamp: Stamp | None


def run_jobs(
    jobs: Iterable[Job],
    make_process: Callable[[], Process],
    emit: Emit,
    *,
    files: FileOptions = DEFAULT_FILES,
    wants_preview: Callable[[Job], bool] | None = None,
) -> None:
    """Do each job by what `make_process` makes, and emit what happens; a photo that fails never stops the rest.

    Errors that are not about one photo (options, weights, a full disk) are raised: they would fail every other photo
    too. On the way out, interrupted or not, a photo that is being written is finished, and the one at hand is left.
    `emit` is called from several threads, but never by two at once. At most three photos are in memory.
    """
    one_at_a_time = threading.Lock()
    waiting = iter(jobs)

    def tell(event: Event) -> None:
        with one_at_a_time:
            emit(event)

    decoder = Isolated(import_codecs)
    # A single photo is written when nothing is left to read: one process does both.
    alone = isinstance(jobs, Sized) and len(jobs) == 1
    encoder = decoder if alone else Isolated(import_codecs)

    def read(job: Job) -> _Read | PhotoError:
        try:
            data = sys.stdin.buffer.read() if job.source is None else storage.content(job.source)
            return decoder.call(_read, job, files, data, photo=job.name)
        except PhotoError as death:
            return death
        except OSError as error:
            return PhotoError(f"{job.name}: cannot be read: {error.strerror}")

    def read_next() -> tuple[Job, _Read | PhotoError | None] | None:
        job = next(waiting, None)
        # Standard input may keep us waiting for ever, which only the main thread can be interrupted in.
        return None if job is None else (job, None if job.source is None else read(job))

    reader = ThreadPoolExecutor(1)
    try:
        decoder.start()
        with _Writer(tell, files, encoder) as writer:
            reading = reader.submit(read_next)
            process = make_process()
            while (job_and_photo := writer.meanwhile(reading)) is not None:
                reading = reader.submit(read_next)
                job, photo = job_and_photo
                del job_and_photo
                _restore(job, photo or read, process, writer, tell, wants_preview)
                del photo
    finally:
        reader.shutdown(wait=False, cancel_futures=True)  # it may wait for a job that never comes
        decoder.end()


def _restore(
    job: Job,
    read: "_Read | PhotoError | Callable[[Job], _Read | PhotoError]",
    process: Process,
    writer: "_Writer",
    emit: Emit,
    wants_preview: Callable[[Job], bool] | None,
) -> None:
    def progress(done: float, tiles: int) -> None:
        writer.raise_failure()  # at the next tile rather than at the next photo
        emit(Progressed(job, done, tiles))

    started = time.monotonic()
    emit(Started(job))
    if callable(read):
        read = read(job)
    if isinstance(read, PhotoError):
        emit(Failed(job, read))
        return
    try:
        restored = process(read.photo, progress)
        if isinstance(restored, str):
            emit(Left(job, restored, read.stamp))
            return
        shown = bool(wants_preview and wants_preview(job))
        preview = Preview(*preview_of(read.photo, restored.photo)) if shown else None
    except DiskFullError:
        raise  # by `progress`: it was the photo before that found no room
    except PhotoError as error:
        emit(Failed(job, PhotoError(f"{job.name}: {error.message}", hint=error.hint)))
    except Exception as error:  # noqa: BLE001  whatever a photo provokes, the others go on
        emit(Failed(job, explained(job, error)))
    else:
        writer.put(_Unwritten(job, restored, read.stamp, preview, started))


@dataclass(frozen=True)
class _Unwritten:
    job: Job
    restored: Restored
    stamp: Stamp | None
    preview: Preview | None
    started: float


class _Writer:
    """Writes one photo while the next is restored."""

    def __init__(self, emit: Emit, files: FileOptions, encoder: Isolated) -> None:
        self._emit = emit
        self._files = files
        self._pool = ThreadPoolExecutor(1)
        self._encoder = encoder
        self._writing: Future[None] | None = None

    def __enter__(self) -> "_Writer":
        self._encoder.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._pool.shutdown()
        if error is None:
            self._encoder.close()
            self.raise_failure()
        else:
            self._encoder.end()  # it may be the decoder too, and in the middle of a photo that nobody waits for

    def put(self, photo: _Unwritten) -> None:
        """Wait until the photo before is written, and begin to write this one."""
        if self._writing:
            self._writing.result()
        self._writing = self._pool.submit(self._write, photo)

    def meanwhile(self, future: Future[T]) -> T:
        """Another thread's result, or the failure of the photo that is being written if that comes first."""
        if self._writing:
            both: tuple[Future[Any], ...] = (self._writing, future)
            wait(both, return_when=FIRST_COMPLETED)
        self.raise_failure()
        return future.result()

    def raise_failure(self) -> None:
        """Raise what has kept the photo before from being written, if that would keep every photo from it."""
        if self._writing and self._writing.done():
            self._writing.result()

    def _write(self, photo: _Unwritten) -> None:
        job, written = photo.job, photo.restored.photo
        try:
            notes, data = self._encoder.call(_write, job, written, self._files, photo=job.name, doing="wrote")
            if job.target is None:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            elif data:
                _store(job, job.target, data)
        except DiskFullError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a photo provokes, the others go on
            sweep([job.target] if job.target else [])  # of a process that has died
            self._emit(Failed(job, explained(job, error)))
        else:
            self._emit(
                Finished(
                    job,
                    asdict(photo.restored.details),
                    (*written.notes, *notes),
                    time.monotonic() - photo.started,
                    written.pixels.shape[:2],
                    photo.stamp,
                    photo.preview,
                    len(data) or None,
                )
            )


def _read(job: Job, files: FileOptions, data: bytes | None) -> _Read | PhotoError:
    """data: what came on standard input or from a store, for a job whose source is no file."""
    try:
        if job.source is None:
            return _Read(read_photo(io.BytesIO(data or b""), max_megapixels=files.max_megapixels), None)
        before = _stamp(job.source)
        if job.right is None:
            source = job.source if data is None else _named(data, job.name)
            photo = read_photo(source, max_megapixels=files.max_megapixels)
        else:
            photo = read_pair(job.source, job.right, max_megapixels=files.max_megapixels)
        changed = _stamp(job.source) != before if data is None else before and before[0] != len(data)
        if before is None or changed:
            return PhotoError(
                f"{job.name}: changed while it was being read", hint="Run again when nothing writes to it."
            )
        return _Read(photo, before)
    except PhotoError as error:
        return error
    except MemoryError as error:
        return explained(job, error)


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp_of(path)
    except OSError:
        return None


def _named(data: bytes, name: str) -> BinaryIO:
    """A file in memory, known to messages by the name of the one that it is, or will be."""
    file = io.BytesIO(data)
    file.name = name
    return file


def _write(job: Job, photo: Photo, files: FileOptions) -> tuple[tuple[str, ...], bytes]:
    """Notes, and the file if it is for standard output or for a store. Whatever goes wrong is raised as a DeblurError."""
    remote = storage.is_remote(job.target)
    data = _named(b"", str(job.target)) if remote else io.BytesIO()
    target: Path | BinaryIO = data if job.target is None or remote else job.target
    try:
        if isinstance(target, Path):
            _make_folder(target.parent)
        notes = write_photo(
            photo,
            target,
            format=format_of_name(job.target) if remote and job.target else None,
            quality=files.quality,
            strip_metadata=files.strip_metadata,
            overwrite=files.overwrite,
        )
        if files.keep_times and job.source and isinstance(target, Path):
            status = job.source.stat()
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    except Exception as error:
        told = explained(job, error)
        if told is error:
            raise
        raise told from error
    data.seek(0)
    return notes, data.read()


def _store(job: Job, target: Path, data: bytes) -> None:
    try:
        storage.write(target, data)
    except OSError as error:
        raise explained(job, error) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_full(error):
            raise
        raise PhotoError(
            f"{folder}: the folder cannot be made: {error.strerror}", hint="Choose another -o."
        ) from error
