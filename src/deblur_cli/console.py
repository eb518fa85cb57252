"""What the user sees while the program runs: messages, bars and tables, all on standard error. Only user of rich."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from deblur_cli.errors import DeblurError
from deblur_cli.events import Event, Failed, Finished, Progressed, Started
from deblur_cli.report import change_in_words


class Console:
    """Draws the events of a run of `total` photos: bars on a terminal, otherwise a line a photo.

    quiet leaves only errors; verbose adds what each photo was made with. Use it as a context manager, so that the
    bars go away whatever happens.
    """

    def __init__(self, total: int = 0, *, quiet: bool = False, verbose: bool = False) -> None:
        self._rich = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._verbose = verbose
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TextColumn("·"),
            TimeRemainingColumn(compact=True),
            console=self._rich,
            transient=True,
            disable=quiet or not self._rich.is_terminal,
        )
        self._total = total
        self._photos: TaskID | None = None
        self._tiles: TaskID | None = None
        self._done = 0

    def __enter__(self) -> Self:
        self._bars.start()
        if self._total > 1:
            self._photos = self._bars.add_task("all photos", total=self._total, count=f"0/{self._total}")
        self._tiles = self._bars.add_task("", total=None, count="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, message: str) -> None:
        """A line for the user, unless quiet."""
        if not self._quiet:
            self._rich.print(escape(message))

    def error(self, error: DeblurError) -> None:
        """An error and, below it, what to do about it."""
        self._rich.print(f"[bold red]error:[/] {escape(error.message)}")
        for line in error.hint.splitlines():
            self._rich.print(f"       {escape(line)}")

    def show_table(self, headers: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str]) -> None:
        """A table and lines below it, as a result on standard output; wrapped only where a terminal is too narrow."""
        out = RichConsole(highlight=False, width=None if sys.stdout.isatty() else 1000)
        table = Table(box=None, pad_edge=False)
        for header in headers:
            table.add_column(header, no_wrap=header == headers[0])
        for row in rows:
            table.add_row(*map(escape, row))
        out.print(table)
        for note in notes:
            out.print(escape(note), soft_wrap=True)

    @contextmanager
    def transfer(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar with size, speed and time left; call what it gives with the bytes that are there and that there will be."""
        bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TextColumn("·"),
            TimeRemainingColumn(compact=True),
            console=self._rich,
            transient=True,
            disable=self._quiet or not self._rich.is_terminal,
        )
        task: TaskID | None = None

        def show(arrived: int, size_bytes: int) -> None:
            nonlocal task
            if task is None:  # until then an empty bar would leave an empty line
                bars.start()
                task = bars.add_task(what, total=size_bytes)
            bars.update(task, completed=arrived)

        try:
            yield show
        finally:
            bars.stop()

    def draw(self, event: Event) -> None:
        """Show one event of the run."""
        if isinstance(event, Started):
            if self._verbose:
                self.say(f"restoring {event.job.name}")
            self._update_tiles(event.job.name, 0, None)
        elif isinstance(event, Progressed):
            self._update_tiles(event.job.name, event.done, event.tiles)
        elif isinstance(event, Failed):
            self.error(event.error)
            self._advance()
        elif isinstance(event, Finished):
            self._say_finished(event)
            self._advance()

    def _say_finished(self, event: Finished) -> None:
        target = "standard output" if event.job.target is None else event.job.target
        self.say(f"{event.job.name} -> {target}  ({event.elapsed_s:.1f} s; {change_in_words(event)})")
        for note in event.notes:
            self.say(f"  note: {note}")
        if self._verbose:
            for name, value in event.details.items():
                self.say(f"  {name}: {value}")

    def _update_tiles(self, name: str, done: float, tiles: int | None) -> None:
        if self._tiles is not None:
            count = "" if tiles is None else f"{int(done)}/{tiles} tiles"
            self._bars.update(self._tiles, description=name, completed=done, total=tiles, count=count)

    def _advance(self) -> None:
        self._done += 1
        if self._photos is not None:
            self._bars.update(self._photos, completed=self._done, count=f"{self._done}/{self._total}")
