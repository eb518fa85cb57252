"""`deblur watch FOLDER`: a batch without an end."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._engine import EngineOptions, run
from deblur_cli.cli._made_with import made_with
from deblur_cli.cli._options import (
    BatchOutput,
    Device,
    Download,
    KeepTimes,
    Kernel,
    MaxMegapixels,
    Options,
    Overlap,
    Precision,
    Quality,
    Quiet,
    Shake,
    Strength,
    StripMetadata,
    Suffix,
    Threads,
    Tile,
    Verbose,
    Weights,
    Window,
    flag,
)
from deblur_cli.cli._perform import Emit, perform
from deblur_cli.cli._signals import first_signal_asks, raise_signal
from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    from deblur_cli.batch import Ledger
    from deblur_cli.console import Console
    from deblur_cli.events import Event
    from deblur_cli.jobs import Job, Plan
    from deblur_cli.report import Report
    from deblur_cli.watch import Arrivals


@app.command(no_args_is_help=True)
def watch(
    context: typer.Context,
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="What comes into it, and into folders in it, is sharpened."),
    ],
    output: BatchOutput = None,
    weights: Weights = "auto",
    download: Download = False,
    strength: Strength = 1.0,
    shake: Shake = "auto",
    kernel: Kernel = None,
    tile: Tile = "auto",
    overlap: Overlap = None,
    window: Window = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    quality: Quality = None,
    strip_metadata: StripMetadata = False,
    keep_times: KeepTimes = False,
    max_megapixels: MaxMegapixels = 200,
    suffix: Suffix = "_sharp",
    as_json: Annotated[bool, flag("--json", help="One JSON object a photo on standard output.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Sharpen all photos of a folder, and from then on each that comes into it, until Ctrl-C."""
    from deblur_cli.batch import Ledger
    from deblur_cli.console import Console
    from deblur_cli.jobs import Job
    from deblur_cli.report import Report, describe, describe_summary

    _check_watchdog()
    options = Options.of(context)
    place, out = _local_folder(folder), None if output is None else Path(output)
    make_plan = _planner(folder, output, suffix)
    make_plan()  # what is wrong with the names is better known now
    report = Report()
    console = Console(report, quiet=quiet, verbose=verbose)

    def print_json(event: "Event") -> None:
        if as_json and (told := describe(event)):
            print(json.dumps(told), flush=True)  # noqa: T201  it is the command's result

    with Ledger([Job(None, None, out or place)], made_with(options)) as ledger:
        console.say(f"watching {folder}; Ctrl-C ends it, after the photo at hand")
        one = _Watch(place, out, make_plan, ledger, options, report, console)
        code = perform(one.work, (), [ledger.record, report.add, console.draw, print_json], console)
    if as_json:
        print(json.dumps(describe_summary(report, code)))  # noqa: T201
    console.say(report.summary())
    raise typer.Exit(code)


@dataclass
class _Watch:
    """A watch that is on: what it needs, and the signals that have come."""

    folder: Path
    output: Path | None
    make_plan: "Callable[[], Plan]"
    ledger: "Ledger"
    options: Options
    report: "Report"
    console: "Console"
    signals: list[int] = field(default_factory=list)
    said_so: bool = False

    def work(self, emit: Emit) -> None:
        """As `perform` wants it: until a signal has come, which then is raised."""
        from deblur_cli.events import Failed, Skipped
        from deblur_cli.watch import Arrivals

        one_at_a_time = threading.Lock()

        def tell(event: "Event") -> None:
            with one_at_a_time:
                self._end_if_asked(event)
                emit(event)

        arrivals = Arrivals(
            self.folder,
            self.output,
            self.make_plan,
            self.ledger,
            max_megapixels=self.options.max_megapixels,
            on_done=lambda job: tell(Skipped(job)),
            on_refused=lambda job, error: tell(Failed(job, error)),
            on_note=self.console.say,
        )

        def ask(number: int) -> None:
            self.signals.append(number)
            arrivals.stop()

        with first_signal_asks(ask):
            try:
                run(
                    EngineOptions("local", 1, None),
                    self.options,
                    self.console,
                    self._counted(arrivals),
                    1,
                    tell,
                    None,
                )
            finally:
                arrivals.stop()
        raise_signal(self.signals[0])

    def _counted(self, arrivals: "Arrivals") -> "Iterator[Job]":
        for job in arrivals.jobs():
            self.report.planned += 1
            self.report.planned_bytes += job.size_bytes
            yield job

    def _end_if_asked(self, event: "Event") -> None:
        """After a signal, the photo at hand is the last."""
        from deblur_cli.events import Progressed, Started

        if not self.signals:
            return
        if isinstance(event, Started):
            raise_signal(self.signals[0])
        if isinstance(event, Progressed) and not self.said_so:
            self.said_so = True
            self.console.say("ends after this photo; Ctrl-C again leaves at once")


def _check_watchdog() -> None:
    """UsageError if it is not installed."""
    try:
        import deblur_cli.watch  # noqa: F401
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "watchdog":
            raise
        raise UsageError(
            "watching needs a library that is not installed",
            hint="Install it: pip install 'deblur-cli[watch]'",
        ) from error


def _local_folder(folder: str) -> Path:
    """UsageError unless it is one."""
    from deblur_cli.storage import is_url

    if is_url(folder):
        raise UsageError(
            f"{folder}: only folders of this machine can be watched", hint="To do what is there: deblur batch"
        )
    path = Path(folder)
    if not folder or not path.is_dir():
        raise UsageError(
            f"{folder}: {'is a file' if path.is_file() else 'no such folder'}",
            hint="deblur watch takes a folder.",
        )
    return path


def _planner(folder: str, output: str | None, suffix: str) -> "Callable[[], Plan]":
    """The plan of a batch of this folder, as it is whenever it is asked."""
    from deblur_cli.jobs import Naming, plan_batch
    from deblur_cli.journal import results_in
    from deblur_cli.photo import format_of_name, looks_like_photo, output_extension
    from deblur_cli.storage import is_url

    if output and is_url(output):
        raise UsageError(
            f"{output}: a watch writes to folders of this machine",
            hint="For stores: deblur batch, again and again.",
        )
    naming = Naming(output, suffix, False, output_extension, format_of_name)
    return partial(plan_batch, [folder], naming, looks_like_photo, results_in=results_in)
