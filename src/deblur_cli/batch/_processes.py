"""The engine of this machine: processes, each of which runs `run_jobs` with a network of its own.

A worker that the system kills, mostly for want of memory, takes at most one photo with it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from deblur_cli.batch._engine import PATIENCE_S, STOPPING, Died, Worker, interruptible
from deblur_cli.batch._loop import DEFAULT_FILES, FileOptions, Process, run_jobs
from deblur_cli.batch._sweep import sweep
from deblur_cli.errors import DeblurError
from deblur_cli.events import Event, Finished, Left, Progressed, Started
from deblur_cli.jobs import Job

MakeProcess = Callable[[], Process]


class ProcessWorker(Worker):
    """A process that works on this machine."""

    def __init__(self, make_process: MakeProcess, files: FileOptions) -> None:
        super().__init__()
        context = get_context("spawn")  # a forked process could not use CUDA
        self.make_process = make_process
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make_process, files))
        self.process.start()
        theirs.close()

    def send(self, message: object) -> None:
        """Send, unless the process is gone: whoever listens to it will notice."""
        with suppress(OSError):
            self.connection.send(message)


class Processes:
    """As many processes as there are functions that make a `process`; those must be picklable. A dead one is replaced."""

    deaths_allowed = 1

    def __init__(self, make_processes: Sequence[MakeProcess], files: FileOptions = DEFAULT_FILES) -> None:
        self._files = files
        self._workers = [ProcessWorker(make_process, files) for make_process in make_processes]

    def workers(self) -> Sequence[ProcessWorker]:
        """All of them."""
        return self._workers

    def submit(self, worker: ProcessWorker, job: Job, *, preview: bool) -> None:
        """Into its pipe."""
        worker.send((job, preview))

    def results(self) -> Iterator[tuple[ProcessWorker, Event | Died | DeblurError]]:
        """What came out of the pipes; the end of one is the end of its process."""
        busy = [worker for worker in self._workers if worker.at_hand]
        with interruptible():
            ready = wait([worker.connection for worker in busy])
        for worker in busy:
            if worker.connection not in ready:
                continue
            try:
                yield worker, worker.connection.recv()
            except (EOFError, OSError):
                worker.process.join()
                yield worker, Died(worker.process.exitcode or 0)
                self._workers[self._workers.index(worker)] = ProcessWorker(worker.make_process, self._files)

    def cancel(self) -> Iterator[Event]:
        """A photo that one of them is writing is finished and told of; who takes longer than PATIENCE_S is killed."""
        deadline = time.monotonic() + PATIENCE_S
        for worker in self._workers:
            worker.send(None)
            if worker.at_hand:
                worker.process.terminate()
        try:
            for worker in self._workers:
                for told in _last_words(worker, deadline):
                    if isinstance(
                        told, Started | Finished | Left
                    ):  # its start may not have been heard of either
                        yield told
        finally:
            for worker in self._workers:
                worker.connection.close()
                worker.process.join(max(0, deadline - time.monotonic()))
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join()
                    sweep(job.target for job in worker.at_hand if job.target)


def _last_words(worker: ProcessWorker, deadline: float) -> Iterator[object]:
    while worker.connection.poll(max(0, deadline - time.monotonic())):
        try:
            yield worker.connection.recv()
        except Exception:  # noqa: BLE001  its end, or half a message that an interrupt has left
            return


# In the worker


def _serve(connection: "Connection[Any, Any]", make_process: MakeProcess, files: FileOptions) -> None:
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: leave it to the first
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    if sys.platform != "win32":  # they are held in the first process when it starts another
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
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
