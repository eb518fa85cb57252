"""A folder -> jobs, without an end: each photo when it has come to rest there. The only user of watchdog.

What is done, and under which name, is `batch`'s business: whenever something happens in the folder, the same plan is made as for a batch,
and what of it is new is handed on. So a batch of the same folder with the same options finds nothing left to do.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from deblur_cli.batch import Ledger
from deblur_cli.errors import PhotoError
from deblur_cli.isolated import Isolated
from deblur_cli.jobs import Job, Plan
from deblur_cli.journal import Stamp, stamp_of
from deblur_cli.photo import import_codecs, read_photo

SETTLED_S = 1.0
"""A photo that has not changed for so long, and decodes, is whole. One that is moved in has mostly not changed for longer already."""

GIVEN_UP_S = 10.0
"""One that has not changed for so long is taken as it is: if it does not decode, whoever reads it says what is wrong with it."""

POLL_S = 0.25
"""How often photos are looked at that are still being written; what happens within such a time is looked at together."""

LOOK_S = 30.0
"""So often the folder is looked through, whatever the system tells: network folders tell nothing, and queues overflow."""

LOOKING_SHARE = 0.2
"""Of the time at most goes into looking, in folders so large that it takes long."""

CHANGES = ("created", "modified", "moved", "closed", "deleted")
"""Kinds of events after which there may be something new; that a file was opened or read is none."""


class Arrivals:
    """The photos of a folder, those that come into it too, as jobs.

    make_plan: the plan of a batch, as the folder is now. on_done is told of each job that was done before, on_refused of each that cannot be
    done, on_note what the user should know; all of them from the thread that takes the jobs.
    """

    def __init__(
        self,
        folder: Path,
        output: Path | None,
        make_plan: Callable[[], Plan],
        ledger: Ledger,
        *,
        max_megapixels: float,
        on_done: Callable[[Job], None],
        on_refused: Callable[[Job, PhotoError], None],
        on_note: Callable[[str], None],
    ) -> None:
        self._folder, self._output = folder, output
        self._make_plan, self._ledger = make_plan, ledger
        self._max_megapixels = max_megapixels
        self._on_done, self._on_refused, self._on_note = on_done, on_refused, on_note
        self._known: dict[Job, Stamp] = {}
        self._refused = set[tuple[Job, str]]()
        self._young: dict[Path, _Young] = {}
        self._looked_s = 0.0
        self._changed, self._stopped = threading.Event(), threading.Event()
        self._decoder = Isolated(import_codecs)

    def stop(self) -> None:
        """Let `jobs` end. It may be called from any thread, and from a signal's handler."""
        self._stopped.set()
        self._changed.set()

    def jobs(self) -> Iterator[Job]:
        """Each job when its photo has come to rest; it waits for the next one. PhotoError if the folder goes away."""
        try:
            with self._told_of_changes():
                while not self._stopped.is_set():
                    self._changed.clear()
                    yield from self._look()
                    self._changed.wait(POLL_S if self._young else LOOK_S)
                    self._stopped.wait(max(POLL_S, self._looked_s * (1 / LOOKING_SHARE - 1)))
        finally:
            self._decoder.close()

    def _look(self) -> Iterator[Job]:
        """What is new, and at rest."""
        if not self._folder.is_dir():
            raise PhotoError(f"{self._folder}: is no longer there")
        started = time.monotonic()
        plan = self._make_plan()
        self._looked_s = time.monotonic() - started
        there = {job.source for job in plan.jobs}
        self._young = {path: young for path, young in self._young.items() if path in there}
        stamps = {job: stamp for job in plan.jobs if (stamp := _stamp(job)) and self._known.get(job) != stamp}
        todo = self._ledger.sort_out(Plan(tuple(stamps), plan.refused), overwrite=False)
        for job in todo.done:
            self._known[job] = stamps[job]
            self._on_done(job)
        for job, error in todo.plan.refused:
            if (job, error.message) not in self._refused:
                self._refused.add((job, error.message))
                self._on_refused(job, error)
        for job in todo.plan.jobs:
            if self._stopped.is_set():
                return
            if stamp := self._at_rest(job):
                self._known[job] = stamp
                yield from self._ledger.claimed([job])

    def _at_rest(self, job: Job) -> Stamp | None:
        """The photo as it is now, if it is whole, as far as anybody can tell; None for one that has gone, too."""
        stamp = _stamp(job)
        if stamp is None or job.source is None:
            return None
        young = self._young.get(job.source)
        if young is None or young.stamp != stamp:
            age_s = max(0.0, time.time() - stamp[1] / 1e9)  # of a clock that is behind: none
            young = self._young[job.source] = _Young(stamp, time.monotonic() - age_s)
        age_s = time.monotonic() - young.since_s
        if age_s < SETTLED_S or (age_s < GIVEN_UP_S and not self._decodes(young, job)):
            return None
        del self._young[job.source]
        return stamp

    def _decodes(self, young: "_Young", job: Job) -> bool:
        if young.decodes is None:
            try:
                self._decoder.call(_decode, job.source, self._max_megapixels, photo=job.name)
                young.decodes = True
            except (PhotoError, OSError, MemoryError):
                young.decodes = False
        return young.decodes

    @contextmanager
    def _told_of_changes(self) -> Iterator[None]:
        """Inside, the system tells when something changes in the folder; where it cannot, we look."""
        ours = None if self._output is None else os.path.realpath(self._output)
        try:
            observer = Observer()
            observer.schedule(_Listener(self._changed, ours), os.path.realpath(self._folder), recursive=True)
            observer.start()
        except OSError as error:
            self._on_note(
                f"the system does not tell what changes in {self._folder} ({error.strerror or error}): it is looked through every {LOOK_S:.0f} s"
            )
            yield
            return
        try:
            yield
        finally:
            observer.stop()
            observer.join()


@dataclass
class _Young:
    """A photo that may still be growing. since_s: when it changed last, by the monotonic clock. decodes: None until it was tried."""

    stamp: Stamp
    since_s: float
    decodes: bool | None = None


class _Listener(FileSystemEventHandler):
    """Sets an event when something changes that is not in our own folder, and not hidden."""

    def __init__(self, changed: threading.Event, ours: str | None) -> None:
        self._changed, self._ours = changed, ours

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Of watchdog's thread."""
        paths = (os.fsdecode(path) for path in (event.src_path, event.dest_path) if path)
        if event.event_type in CHANGES and not all(map(self._is_ours, paths)):
            self._changed.set()

    def _is_ours(self, path: str) -> bool:
        if self._ours and (path == self._ours or path.startswith(self._ours + os.sep)):
            return True
        return Path(path).name.startswith(".")


def _stamp(job: Job) -> Stamp | None:
    try:
        return None if job.source is None else stamp_of(job.source)
    except OSError:
        return None


def _decode(path: Path, max_megapixels: float) -> None:
    """In a process that may die of it. PhotoError if it is not whole."""
    read_photo(path, max_megapixels=max_megapixels)
