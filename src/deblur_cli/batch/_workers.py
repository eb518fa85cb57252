"""The loop of several processes: this one deals out jobs and passes on events, each worker runs `run_jobs`.

A worker that the system kills, mostly for want of memory, takes at most one photo with it: those that it had at hand
are tried again, each in a worker of its own, and the one that kills that too has failed.
"""

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from deblur_cli.batch._loop import DEFAULT_FILES, Emit, FileOptions, Process, run_jobs
from deblur_cli.errors import DeblurError
from deblur_cli.events import Event, Failed, Finished, Progressed, Started
from deblur_cli.isolated import death_of
from deblur_cli.jobs import Job
from deblur_cli.photo import sweep_temporaries

AHEAD = 2
"""Jobs that a worker has at hand: one that it restores, and one that it reads or writes meanwhile."""

PATIENCE_S = 10.0
"""How long a worker that is told to stop may take; a long step of the network cannot be interrupted."""

STOPPING = (signal.SIGINT, signal.SIGTERM)

MakeProcess = Callable[[], Process]


def run_workers(
    jobs: Iterable[Job],
    make_processes: Sequence[MakeProcess],
    emit: Emit,
    *,
    files: FileOptions = DEFAULT_FILES,
    wants_preview: Callable[[Job], bool] | None = None,
) -> None:
    """As `run_jobs`, in as many processes as there are functions that make a `process`; those must be picklable."""
    waiting, suspects = iter(jobs), deque[Job]()
    workers = [_Worker(make_process, files) for make_process in make_processes]
    _hold_signals()
    try:
        while True:
            for worker in workers:
                _deal(worker, waiting, suspects, wants_preview)
            busy = [worker for worker in workers if worker.at_hand]
            if not busy:
                break
            for worker in _with_news(busy):
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    _bury(worker, suspects, emit)
                    workers[workers.index(worker)] = _Worker(worker.make_process, files)
                    continue
                if isinstance(message, DeblurError):
                    raise message
                if isinstance(message, Finished | Failed):
                    worker.at_hand.remove(message.job)
                emit(message)
        for worker in workers:
            worker.send(None)
    finally:
        _let_signals_in()
        _stop(workers, emit)


class _Worker:
    """A process, and what it has been dealt. `alone`: its only job is one that may have killed another worker."""

    def __init__(self, make_process: MakeProcess, files: FileOptions) -> None:
        context = get_context("spawn")  # a forked process could not use CUDA
        self.make_process = make_process
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make_process, files))
        self.process.start()
        theirs.close()
        self.at_hand: list[Job] = []
        self.alone = False

    def send(self, message: object) -> None:
        """Send, unless the process is gone: whoever listens to it will notice."""
        with suppress(OSError):
            self.connection.send(message)


def _deal(
    worker: _Worker,
    waiting: Iterator[Job],
    suspects: deque[Job],
    wants_preview: Callable[[Job], bool] | None,
) -> None:
    if not worker.at_hand:
        worker.alone = False
    while len(worker.at_hand) < AHEAD and not worker.alone:
        job = next(waiting, None)
        if job is None:
            if worker.at_hand or not suspects:
                return
            job, worker.alone = suspects.popleft(), True
        worker.at_hand.append(job)
        worker.send((job, bool(wants_preview and wants_preview(job))))


def _with_news(workers: Sequence[_Worker]) -> list[_Worker]:
    _let_signals_in()  # only here, so that none can tear a message apart
    ready = wait([worker.connection for worker in workers])
    _hold_signals()
    return [worker for worker in workers if worker.connection in ready]


def _bury(worker: _Worker, suspects: deque[Job], emit: Emit) -> None:
    """A worker is dead. If it is clear which photo it was at, that has failed."""
    worker.process.join()
    sweep_temporaries(job.target for job in worker.at_hand if job.target)
    if len(worker.at_hand) > 1:
        suspects.extend(worker.at_hand)
        return
    for job in worker.at_hand:
        emit(Started(job))  # which it may not have come to say
        emit(Failed(job, death_of(job.name, "worked on", worker.process.exitcode or 0)))


def _stop(workers: Sequence[_Worker], emit: Emit) -> None:
    """End all workers, whatever they are doing; a photo that one of them is writing is finished and told of."""
    deadline = time.monotonic() + PATIENCE_S
    for worker in workers:
        worker.send(None)
        if worker.at_hand:
            worker.process.terminate()
    try:
        for worker in workers:
            for message in _last_words(worker, deadline):
                if isinstance(message, Started | Finished):  # its start may not have been heard of either
                    emit(message)
    finally:
        for worker in workers:
            worker.connection.close()
            worker.process.join(max(0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
                sweep_temporaries(job.target for job in worker.at_hand if job.target)


def _last_words(worker: _Worker, deadline: float) -> Iterator[object]:
    while worker.connection.poll(max(0, deadline - time.monotonic())):
        try:
            yield worker.connection.recv()
        except Exception:  # noqa: BLE001  its end, or half a message that an interrupt has left
            return


def _hold_signals() -> None:
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)


def _let_signals_in() -> None:
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


# In the worker


def _serve(connection: "Connection[Any, Any]", make_process: MakeProcess, files: FileOptions) -> None:
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: leave it to the first
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    _let_signals_in()  # they are held in the first process when it starts another
    threading.Thread(target=_end_with_parent, daemon=True).start()
    shown: set[Job] = set()

    def tell(event: Event) -> None:
        if stopping.is_set() and isinstance(event, Started | Progressed):
            sys.exit()  # between two messages, never in the middle of one
        connection.send(event)

    def dealt() -> Iterator[Job]:
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                return
            if message is None:
                return
            job, wanted = message
            if wanted:
                shown.add(job)
            yield job

    try:
        run_jobs(dealt(), make_process, tell, files=files, wants_preview=shown.__contains__)
    except DeblurError as error:
        connection.send(error)
    except (BrokenPipeError, SystemExit):
        pass  # the first process is gone, or tells us to be
    os._exit(0)  # a thread may be waiting for jobs that never come


def _end_with_parent() -> None:
    """No worker outlives the process that it works for, even if that is killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
