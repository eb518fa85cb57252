"""A process of its own for functions that may crash it: decoders and encoders are C, and meet files of anybody.

What crosses is pickled; the samples of photos go beside that as they are, so that a call costs little more than a copy of them.
"""

import pickle
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any, TypeVar

from deblur_cli.errors import PhotoError

T = TypeVar("T")

CRASHES = frozenset(
    getattr(signal, name).value
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE")
    if hasattr(signal, name)
)
"""Signals by which a process ends that has a fault in it: the same file will end it again."""


class CrashError(PhotoError):
    """A photo that has ended the process that worked on it, by a fault in that."""


def death_of(name: str, doing: str, code: int) -> PhotoError:
    """What to say of a photo: the process that was `doing` (read, wrote, worked on) it has ended with this exit code."""
    if -code in CRASHES:
        return CrashError(
            f"{name}: the process that {doing} it crashed ({signal.Signals(-code).name})",
            hint="This is a fault in a library that it uses: please report it, with the photo if you can. Saved anew by another program, it may do.",
        )
    end = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    return PhotoError(
        f"{name}: the process that {doing} it {end}",
        hint="Mostly memory has run out: close other programs, or try a smaller --tile, such as 256, or fewer --workers.",
    )


class Isolated:
    """Functions are called in another process, one at a time, which is started when it is needed and again when it has died."""

    def __init__(self, warm_up: Callable[[], object] | None = None) -> None:
        """warm_up: a function that imports what the others will need; it is called when the process starts."""
        self._warm_up = warm_up
        self._running: tuple[BaseProcess, Connection[Any, Any]] | None = None
        self._starting, self._ended = threading.Lock(), False

    def start(self) -> tuple[BaseProcess, "Connection[Any, Any]"]:
        """Start it now, so that the first call need not wait for it; again if it has died meanwhile. PhotoError after `end`."""
        with self._starting:
            if self._ended:
                raise PhotoError("stopped before it was begun")
            if self._running and not self._running[0].is_alive():
                self.close()
            if self._running is None:
                context = get_context("spawn")  # a forked process would inherit locks that are held
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, self._warm_up), daemon=True)
                process.start()
                theirs.close()
                # It heeds no signal, and Python waits for it at its end: nobody need remember to close it.
                Finalize(self, ours.close, exitpriority=0)
                self._running = process, ours
            return self._running

    def call(
        self,
        function: Callable[..., T],
        *arguments: object,
        photo: str,
        doing: str = "read",
        hear: Callable[[Any], None] | None = None,
    ) -> T:
        """What a function of a module returns or raises there. PhotoError if the process ends instead, as of `death_of`.

        hear: is called here with what the function tells meanwhile; its first argument there is then what it tells by.
        """
        process, connection = self.start()
        try:
            _send(connection, (function, arguments, hear is not None))
            while (raised := (message := _receive(connection))[0]) is None:
                if hear:
                    hear(message[1])
            result = message[1]
        except (EOFError, OSError):
            self.close()
            raise death_of(photo, doing, process.exitcode or 0) from None
        if raised:
            raise result
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the process when it is done with what it does."""
        if self._running:
            process, connection = self._running
            self._running = None
            connection.close()
            process.join()

    def kill(self) -> None:
        """End the process at once; a call that is waiting for it in another thread raises PhotoError, and the next one starts it again."""
        if running := self._running:
            running[0].kill()

    def end(self) -> None:
        """End the process at once and for good: a thread that calls it later, or is just about to, gets PhotoError."""
        with self._starting:
            self._ended = True
        self.kill()


def _serve(connection: "Connection[Any, Any]", warm_up: Callable[[], object] | None) -> None:
    for name in (
        "SIGINT",
        "SIGTERM",
    ):  # who stops the program stops all of its processes: leave it to the first
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    if warm_up:
        warm_up()
    with suppress(EOFError, OSError):  # the other end is gone
        while True:
            function, arguments, tells = _receive(connection)
            if tells:
                arguments = (lambda news: _send(connection, (None, news)), *arguments)
            try:
                outcome = False, function(*arguments)
            except Exception as error:  # noqa: BLE001  it is raised at the other end
                outcome = True, _picklable(error)
            del arguments
            _send(connection, outcome)
            del outcome


def _picklable(error: Exception) -> Exception:
    try:
        pickle.dumps(error)
    except Exception:  # noqa: BLE001  a library's own exception may hold anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _send(connection: "Connection[Any, Any]", message: object) -> None:
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    connection.send(([view.nbytes for view in views], head))
    for view in views:
        connection.send_bytes(view)


def _receive(connection: "Connection[Any, Any]") -> Any:  # noqa: ANN401
    sizes, head = connection.recv()
    buffers = [bytearray(size) for size in sizes]
    for buffer in buffers:
        connection.recv_bytes_into(buffer)
    return pickle.loads(head, buffers=buffers)  # noqa: S301  from ourselves
