"""The engine of a cluster: Ray actors, each of which runs `run_jobs` with a network of its own. The only user of ray.

Ray decides on which node a worker lives, by what it needs. There are as many as the nodes have room for, and one more is always asked
for: a cluster that grows by itself sees that it is wanted, and where a node joins, work begins. Who is not there is not replaced.
"""

import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import deblur_cli
from deblur_cli.batch import (
    PATIENCE_S,
    STOPPING,
    Died,
    FileOptions,
    MakeProcess,
    Worker,
    interruptible,
    run_jobs,
    sweep,
    uninterrupted,
)
from deblur_cli.errors import DeblurError, UsageError
from deblur_cli.events import Event, Failed, Finished, Left, Progressed, Started
from deblur_cli.jobs import Job

LOOK_AROUND_S = 2.0
"""So often the nodes are counted."""

CONNECT_S = 10.0
GATHER_S = 0.05
"""So long a worker gathers what it has to tell while no photo is settled, since each message costs the first process a millisecond."""

STARTS = 3
"""So many workers in a row may die before they are ready; then the reason is not theirs."""

Told = Event | DeblurError


@dataclass(frozen=True)
class Needs:
    """What a worker takes of a node; a node without that much of it gets none."""

    cpus: float
    gpus: float
    memory_bytes: int

    def fitting(self, node: dict[str, float]) -> int:
        """How many workers find room on a node of these resources."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_bytes}
        return min(int(node.get(name, 0) // amount) for name, amount in wanted.items() if amount)


def connect(address: str) -> None:
    """Join a cluster: "auto", the one that this machine belongs to, its HOST:6379, or from elsewhere ray://HOST:10001. UsageError if that fails."""
    try:
        ray = _ray()
    except ImportError as error:
        raise UsageError("--engine ray needs Ray", hint="pip install 'deblur-cli[ray]'") from error
    nobody = UsageError(
        f"--address {address}: no Ray cluster answers there",
        hint="On its first machine: ray start --head; on the others: ray start --address=HOST:6379; from elsewhere: --address ray://HOST:10001",
    )
    if address != "auto":  # Ray itself goes on trying for minutes
        try:
            host, _, port = address.rpartition("/")[2].rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_S).close()
        except (OSError, ValueError) as error:
            raise nobody from error
    ours = {number: signal.getsignal(number) for number in STOPPING}
    try:
        with uninterrupted():  # by none of the threads that it starts, either
            ray.init(address, log_to_driver=False, logging_level="ERROR", namespace="deblur")
            for number, handler in ours.items():  # Ray has its own
                signal.signal(number, handler)
    except Exception as error:
        if address == "auto" and isinstance(error, ConnectionError):
            raise nobody from error
        raise UsageError(
            f"--address {address}: {' '.join(str(error).split())}"
        ) from error  # of another version, mostly
    # Ray prints the deaths of workers to standard output, where our results go, and has no option against it.
    sys.modules["ray._private.worker"].print_to_stdstream = lambda *message, **about: None  # type: ignore[attr-defined]


def has_gpus() -> bool:
    """Whether some node of the cluster has a graphics card."""
    return bool(_ray().cluster_resources().get("GPU"))


def smallest_cpus() -> float:
    """Of the node that has the fewest processor cores."""
    return min((node["CPU"] for node in _nodes() if node.get("CPU")), default=1.0)


@dataclass(eq=False)
class ActorWorker(Worker):
    """An actor. telling: what it will have told when there is something; None while it is not asked."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401  a handle, of no type
        super().__init__()
        self.actor = actor
        self.to_send: list[tuple[Job, bool]] = []
        self.telling: Any = actor.begin.remote()
        self.ready = False


class Actors:
    """At most `most` workers. A photo that has ended three of them has failed."""

    deaths_allowed = 3

    def __init__(
        self,
        make_process: MakeProcess,
        needs: Needs,
        files: FileOptions,
        most: int,
        say: Callable[[str], None],
    ) -> None:
        self._ray = _ray()
        remote = self._ray.remote(_Actor).options(
            num_cpus=needs.cpus,
            num_gpus=needs.gpus,
            memory=needs.memory_bytes,
            max_concurrency=2,
            max_restarts=0,
            enable_task_events=False,  # the head would keep several kilobytes of each question
        )
        self._new: Callable[[], ActorWorker] = lambda: ActorWorker(remote.remote(make_process, files))
        self._needs, self._most, self._say = needs, most, say
        self._workers: list[ActorWorker] = []
        self._looked_s = -LOOK_AROUND_S
        self._failed_starts = 0
        self._all_dealt = False
        self._told_to_wait = False

    def workers(self) -> Sequence[ActorWorker]:
        """Those that are ready."""
        self._grow()
        return [worker for worker in self._workers if worker.ready]

    def submit(self, worker: ActorWorker, job: Job, *, preview: bool) -> None:
        """With the next question to it."""
        worker.to_send.append((job, preview))

    def results(self) -> Iterator[tuple[ActorWorker, Event | Died | DeblurError]]:
        """Ask all that are at work, and pass on what the first of them answer."""
        self._release()
        for worker in self._workers:
            if worker.telling is None and (worker.at_hand or worker.to_send):
                worker.telling = worker.actor.exchange.remote(worker.to_send)
                worker.to_send = []
        asked = {worker.telling: worker for worker in self._workers if worker.telling is not None}
        with interruptible():
            answered, _ = self._ray.wait(list(asked), timeout=LOOK_AROUND_S)
            if len(asked) > 1:
                answered, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
        for reference in answered:
            for told in self._answer(asked[reference]):
                yield asked[reference], told

    def cancel(self) -> Iterator[Event]:
        """A photo that one of them is writing is finished and told of; who takes longer than PATIENCE_S is killed."""
        busy = [worker for worker in self._workers if worker.at_hand]
        last = [worker.actor.stop.remote() for worker in busy]
        waiting = [worker.telling for worker in busy if worker.telling is not None] + last
        try:
            deadline = time.monotonic() + PATIENCE_S
            for reference in waiting:
                with suppress(Exception):  # of an actor that is dead, or takes too long
                    for told in self._ray.get(reference, timeout=max(0.1, deadline - time.monotonic())) or ():
                        if isinstance(told, Started | Finished | Left):
                            yield told
        finally:
            for worker in self._workers:
                with suppress(Exception):
                    self._ray.kill(worker.actor)
            self._ray.shutdown()
            sweep(job.target for worker in busy for job in worker.at_hand if job.target)

    def _answer(self, worker: ActorWorker) -> Iterator[Told | Died]:
        reference, worker.telling = worker.telling, None
        try:
            told = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._workers.remove(worker)
            self._looked_s = -LOOK_AROUND_S  # perhaps another finds its place
            if worker.ready:
                self._all_dealt = False  # its photos are to be dealt out again
                yield Died(None)
                return
            self._failed_starts += 1
            if self._failed_starts == STARTS:
                reason = str(error).strip().splitlines()[-1]
                yield DeblurError(
                    f"the cluster's workers do not start: {reason}",
                    hint="Each of its nodes needs deblur, of the same version and with the same extras.",
                )
            return
        if worker.ready:
            yield from told
            return
        worker.ready, self._failed_starts = True, 0
        if told != deblur_cli.__version__:
            yield DeblurError(
                f"a node of the cluster has deblur {told}, and here is {deblur_cli.__version__}"
            )

    def _grow(self) -> None:
        """As many workers as find room, and one that waits for more of it."""
        if self._all_dealt or time.monotonic() - self._looked_s < LOOK_AROUND_S:
            return
        self._looked_s = time.monotonic()
        room = sum(map(self._needs.fitting, _nodes()))
        if not room and not self._told_to_wait:
            self._told_to_wait = True
            self._say(
                f"no node has room for a worker yet: it takes {self._needs.cpus:g} cores, {self._needs.gpus:g} cards"
                f" and {self._needs.memory_bytes / 1e9:.1f} GB (--threads, --tile)"
            )
        while len(self._workers) < min(self._most, room + 1):
            self._workers.append(self._new())

    def _release(self) -> None:
        """Let those go who have been dealt nothing: there was nothing left, not for those either who are not ready yet."""
        self._all_dealt |= any(worker.ready and not worker.at_hand for worker in self._workers)
        for worker in [worker for worker in self._workers if self._all_dealt and not worker.at_hand]:
            self._workers.remove(worker)
            self._ray.kill(worker.actor)


def _nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    return [node["Resources"] for node in _ray().nodes() if node["Alive"]]


def _ray() -> Any:  # noqa: ANN401  its own types differ from version to version
    import ray

    return ray


# On a node


class _Actor:
    """Runs `run_jobs` in a thread of its own, while others hand in jobs and fetch what there is to tell."""

    def __init__(self, make_process: MakeProcess, files: FileOptions) -> None:
        # Processes that decode would import what this one was started with: ray, for nothing.
        sys.modules["__main__"].__file__ = None
        self._dealt = queue.SimpleQueue[tuple[Job, bool] | None]()
        self._told = queue.SimpleQueue[Told]()
        self._stopping = threading.Event()
        self._shown: set[Job] = set()
        self._thread = threading.Thread(target=self._work, args=(make_process, files), daemon=True)

    def begin(self) -> str:
        """Load the network, and say of which version the program is."""
        self._thread.start()
        return deblur_cli.__version__

    def exchange(self, jobs: list[tuple[Job, bool]]) -> list[Told]:
        """Take in jobs, each with whether a preview is wanted; what has happened, as soon as something has."""
        for job in jobs:
            self._dealt.put(job)
        told, until = [], time.monotonic() + 3600
        while not self._stopping.is_set():
            try:
                told.append(self._told.get(timeout=min(0.5, max(0, until - time.monotonic()))))
            except queue.Empty:
                if told:
                    break
                continue
            if isinstance(told[-1], Finished | Left | Failed | DeblurError):
                break
            if len(told) == 1:
                until = time.monotonic() + GATHER_S
        return told

    def stop(self) -> list[Told]:
        """Leave the photo at hand, finish the one that is being written, and tell the rest."""
        self._stopping.set()
        self._dealt.put(None)
        self._thread.join(PATIENCE_S)
        told = []
        while not self._told.empty():
            told.append(self._told.get())
        return told

    def _work(self, make_process: MakeProcess, files: FileOptions) -> None:
        try:
            run_jobs(
                self._jobs(), make_process, self._tell, files=files, wants_preview=self._shown.__contains__
            )
        except DeblurError as error:
            self._told.put(error)
        except SystemExit:
            pass  # told to stop
        except BaseException as error:  # noqa: BLE001  whatever it is, the first process has to know
            self._told.put(DeblurError(f"a worker failed unexpectedly: {type(error).__name__}: {error}"))

    def _jobs(self) -> Iterator[Job]:
        while (dealt := self._dealt.get()) is not None:
            job, wanted = dealt
            if wanted:
                self._shown.add(job)
            yield job

    def _tell(self, event: Event) -> None:
        if self._stopping.is_set() and isinstance(event, Started | Progressed):
            sys.exit()  # as in a worker process: between two messages
        self._told.put(event)
