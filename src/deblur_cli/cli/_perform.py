"""Doing the work of a run: everybody who wants to know is told, and whatever stops it becomes an exit code."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from deblur_cli.cli._signals import Terminated, second_signal_leaves
from deblur_cli.errors import PhotoError

if TYPE_CHECKING:
    from deblur_cli.console import Console
    from deblur_cli.events import Event
    from deblur_cli.jobs import Job

Emit = Callable[["Event"], None]


def perform(
    work: Callable[[Emit], None],
    refused: "Iterable[tuple[Job, PhotoError]]",
    listeners: Sequence[Emit],
    console: "Console",
) -> int:
    """Call `work` with an `emit` that tells every listener, after what was refused; the exit code if it was stopped, else 0."""
    from deblur_cli.batch import DiskFullError
    from deblur_cli.events import Failed
    from deblur_cli.report import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TERMINATED

    def emit(event: "Event") -> None:
        for listener in listeners:
            listener(event)

    for job, error in refused:
        emit(Failed(job, error))
    try:
        with second_signal_leaves(), console:
            work(emit)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Terminated:
        return EXIT_TERMINATED
    except DiskFullError as error:
        console.error(error)
        return EXIT_FAILED
    return 0
