"""The loop of several workers, wherever they are: it deals out jobs, passes on events, and gives what a dead worker had to others.

Workers are an `Engine`'s: processes of this machine (`_processes`), or of a cluster (`deblur_cli.cluster`). A photo that has ended
as many workers as the engine allows has failed. Of two that a worker had at hand nobody knows which it was: both are tried again, alone.
"""

import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from deblur_cli.batch._loop import Emit
from deblur_cli.batch._sweep import sweep
from deblur_cli.errors import DeblurError, PhotoError
from deblur_cli.events import Event, Failed, Finished, Left, Started
from deblur_cli.isolated import CrashError, death_of
from deblur_cli.jobs import Job

AHEAD = 2
"""Jobs that a worker has at hand: one that it restores, and one that it reads or writes meanwhile."""

PATIENCE_S = 10.0
"""How long a worker that is told to stop may take; a long step of the network cannot be interrupted."""

STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclass(eq=False)
class Worker:
    """What a worker has been dealt. alone: its only job is one that may have killed another worker."""

    at_hand: list[Job] = field(default_factory=list)
    alone: bool = False


@dataclass(frozen=True)
class Died:
    """A worker is no more. code: its exit code, or minus the signal that ended it; None if nobody knows."""

    code: int | None


W = TypeVar("W", bound=Worker)


class Engine(Protocol[W]):
    """Workers that run `run_jobs`. deaths_allowed: how many of them a photo may end before it is left."""

    deaths_allowed: int

    def workers(self) -> Sequence[W]:
        """Those that take jobs now. They may come and go; there may be none yet."""

    def submit(self, worker: W, job: Job, *, preview: bool) -> None:
        """Hand a worker a job. It does not wait; that the worker is dead is a result."""

    def results(self) -> Iterable[tuple[W, Event | Died | DeblurError]]:
        """Wait until some workers tell something, or come or go; what they tell. Interrupts come through here only."""

    def cancel(self) -> Iterator[Event]:
        """End all workers, whatever they are doing; what those tell that were still writing a photo."""


def run_workers(
    jobs: Iterable[Job],
    engine: Engine[W],
    emit: Emit,
    *,
    wants_preview: Callable[[Job], bool] | None = None,
) -> None:
    """As `run_jobs`, by the workers of an engine."""
    queue = _Queue(jobs)
    _hold_signals()
    try:
        while True:
            for worker in engine.workers():
                for job in queue.deal(worker):
                    engine.submit(worker, job, preview=bool(wants_preview and wants_preview(job)))
            if queue.is_empty and not any(worker.at_hand for worker in engine.workers()):
                break
            for worker, told in engine.results():
                if isinstance(told, DeblurError):
                    raise told
                if isinstance(told, Died):
                    for event in queue.take_back(worker, told, engine.deaths_allowed):
                        emit(event)
                    continue
                if isinstance(told, Finished | Left | Failed):
                    worker.at_hand.remove(told.job)
                emit(told)
    finally:
        _let_signals_in()
        for event in engine.cancel():
            emit(event)


class _Queue:
    """The jobs that wait; those that may have killed a worker come last, each alone."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._waiting = iter(jobs)
        self._suspects = deque[Job]()
        self._deaths = Counter[Job]()
        self._all_dealt = False

    @property
    def is_empty(self) -> bool:
        return self._all_dealt and not self._suspects

    def deal(self, worker: Worker) -> Iterator[Job]:
        """As many jobs as the worker has room for."""
        if not worker.at_hand:
            worker.alone = False
        while len(worker.at_hand) < AHEAD and not worker.alone:
            job = next(self._waiting, None)
            if job is None:
                self._all_dealt = True
                if worker.at_hand or not self._suspects:
                    return
                job, worker.alone = self._suspects.popleft(), True
            worker.at_hand.append(job)
            yield job

    def take_back(self, worker: Worker, death: Died, allowed: int) -> Iterator[Event]:
        """What a dead worker had at hand. If it is clear which photo it was at, and it is not the first time, that has failed."""
        at_hand, worker.at_hand = worker.at_hand, []
        sweep(job.target for job in at_hand if job.target)
        self._deaths.update(at_hand)
        if len(at_hand) == 1 and self._deaths[at_hand[0]] >= allowed:
            yield Started(at_hand[0])  # which the worker may not have come to say
            yield Failed(at_hand[0], _error_of(at_hand[0], death, self._deaths[at_hand[0]]))
        else:
            self._suspects.extend(at_hand)


def _error_of(job: Job, death: Died, deaths: int) -> PhotoError:
    if death.code is not None:
        return death_of(job.name, "worked on", death.code)
    return CrashError(
        f"{job.name}: {deaths} workers have died on it, one after the other",
        hint="Mostly memory has run out: try a smaller --tile, such as 256, and --retry-failed.",
    )


@contextmanager
def interruptible() -> Iterator[None]:
    """Only inside, Ctrl-C and SIGTERM reach an engine's loop: so none can tear a message or a journal's line apart."""
    _let_signals_in()
    try:
        yield
    finally:
        _hold_signals()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Inside, neither Ctrl-C nor SIGTERM comes through, and never by a thread that is started inside."""
    _hold_signals()
    try:
        yield
    finally:
        _let_signals_in()


def _hold_signals() -> None:
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)


def _let_signals_in() -> None:
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
