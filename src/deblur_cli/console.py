"""What the user sees while the program runs: messages, bars and tables, all on standard error. Only user of rich."""

import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from rich.console import Console as RichConsole
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from deblur_cli.errors import DeblurError
from deblur_cli.events import Event, Failed, Finished, Left, Progressed, Skipped, Started
from deblur_cli.report import Report, change_in_words, shake_in_words

NARROW = 100
"""On a terminal of fewer columns the bars' captions get less room."""


class Console:
    """Draws the events of a run: bars on a terminal, otherwise a line a photo.

    report: whoever counts the run; it must be told of an event first. quiet leaves only errors; verbose adds what each
    photo was made with. Use it as a context manager, so that the bars go away whatever happens.
    """

    def __init__(self, report: Report | None = None, *, quiet: bool = False, verbose: bool = False) -> None:
        self._rich = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self._report = report or Report()
        self._quiet = quiet
        self._verbose = verbose
        self._at_hand: dict[str, tuple[float, int]] = {}
        self._live = Live(console=self._rich, get_renderable=self._bars, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._rich.is_terminal and not self._quiet:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, message: str) -> None:
        """A line for the user, unless quiet."""
        if not self._quiet:
            self._print(escape(printable(message)))

    def error(self, error: DeblurError) -> None:
        """An error and, below it, what to do about it."""
        self._print(f"[bold red]error:[/] {escape(printable(error.message))}")
        for line in error.hint.splitlines():
            self._print(f"       {escape(printable(line))}")

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

    @contextmanager
    def counter(self, what: str) -> Iterator[Callable[[float, int], None]]:
        """A bar for the frames of a clip; call what it gives with those that are done and those that there are, 0 if nobody knows."""
        bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]} frames"),
            TimeRemainingColumn(compact=True),
            console=self._rich,
            transient=True,
            disable=self._quiet or not self._rich.is_terminal,
        )
        with bars:
            task = bars.add_task(printable(what), total=None, count="0")

            def show(done: float, frames: int) -> None:
                count = f"{int(done)} of {frames}" if frames else f"{int(done)}"
                bars.update(task, completed=done, total=frames or None, count=count)

            yield show

    def say_estimate(self, each_s: float, left: int) -> None:
        """How long so many frames will take, by how long one takes."""
        self.say(f"{each_s:.2f} s a frame, {left} frames: {_left(each_s * left)}")

    def say_in_detail(self, told: Mapping[str, Any]) -> None:
        """Figures, a line each, if verbose."""
        for name, value in told.items() if self._verbose else ():
            self.say(f"  {name.replace('_', ' ')}: {value}")

    def draw(self, event: Event) -> None:
        """Show one event of the run."""
        name = event.job.name
        if isinstance(event, Started):
            if self._verbose:
                self.say(f"restoring {name}")
            self._at_hand[name] = 0, 0
        elif isinstance(event, Progressed):
            self._at_hand[name] = event.done, event.tiles
        else:
            self._at_hand.pop(name, None)
            if isinstance(event, Failed):
                self.error(event.error)
            elif isinstance(event, Finished):
                self._say_finished(event)
            elif isinstance(event, Skipped) and self._verbose:
                self.say(f"done before: {name}")
            elif isinstance(event, Left) and self._verbose:
                self.say(f"left as it is: {name} ({event.reason})")

    def show_table(self, headers: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str]) -> None:
        """A table and lines below it, as a result on standard output; wrapped only where a terminal is too narrow."""
        out = RichConsole(highlight=False, width=None if sys.stdout.isatty() else 1000)
        table = Table(box=None, pad_edge=False)
        for header in headers:
            table.add_column(header, no_wrap=header == headers[0])
        for row in rows:
            table.add_row(*(escape(printable(cell)) for cell in row))
        out.print(table)
        for note in notes:
            out.print(escape(printable(note)), soft_wrap=True)

    def _say_finished(self, event: Finished) -> None:
        if self._quiet:
            return
        target = "standard output" if event.job.target is None else event.job.target
        runs = event.details.get("runs", 1)
        took = f"{event.elapsed_s:.1f} s" + (f" for {runs} runs" if runs > 1 else "")
        self._print(
            Text.assemble(
                ("✓ " if self._rich.is_terminal else "", "green"),
                printable(event.job.name),
                (
                    ""
                    if self._rich.is_terminal and self._report.planned > 1
                    else f" -> {printable(str(target))}",
                    "dim",
                ),
                (f"  ({took}; {change_in_words(event)})", "dim"),
            )
        )
        for note in event.notes:
            self.say(f"  note: {note}")
        if self._verbose:
            for line in _details_in_words(event.details):
                self.say(f"  {line}")

    def _print(self, content: RenderableType) -> None:
        with suppress(OSError):  # standard error that is full or gone must not cost a photo
            self._rich.print(content)

    def _bars(self) -> RenderableType:
        """A bar for each photo at hand, and for a batch one for all, and counts."""
        wide = self._rich.width >= NARROW
        bars = Table.grid(
            Column(width=34 if wide else 22, no_wrap=True, overflow="ellipsis"),
            Column(ratio=1),
            Column(justify="right", no_wrap=True, min_width=18),
            expand=True,
            padding=(0, 1),
        )
        report, left = self._report, _left(self._report.left_s)
        for name, (done, tiles) in list(self._at_hand.items()):
            caption = f"{int(done)}/{tiles} tiles" if tiles else "reading"
            if report.planned == 1 and left:
                caption += f" · {left}"
            bars.add_row(printable(_last_part(name)), _bar(done, tiles), caption)
        if report.planned <= 1:
            return bars
        done_photos = report.planned - report.not_done
        bars.add_row(
            Text(f"{done_photos:,} of {report.planned:,} photos", "bold"), _bar(report.fraction, 1), left
        )
        speed = f"{report.megapixels_per_s:.2f} MP/s" if report.pixels else ""
        counts = Table.grid(
            Column(ratio=1, no_wrap=True, overflow="ellipsis"), Column(justify="right"), expand=True
        )
        counts.add_row(Text("   ").join(_counts(report)), Text(speed, "dim"))
        return Padding(Group(bars, counts), (0, 4, 0, 0))  # room for the ^C that terminals echo


def _counts(report: Report) -> Iterator[Text]:
    yield Text(f"✓ {report.finished:,} done", "green")
    if report.skipped:
        yield Text(f"{report.skipped:,} done before", "dim")
    if report.left:
        yield Text(f"{report.left:,} sharp", "dim")
    if report.failures:
        yield Text(f"✗ {len(report.failures):,} failed", "red")
    if report.barely_changed:
        yield Text(f"{report.barely_changed:,} barely changed", "dim")


def _bar(done: float, total: float) -> ProgressBar:
    return ProgressBar(total=total or 1, completed=done, complete_style="cyan", finished_style="cyan")


def _left(seconds: float | None) -> str:
    """Time left, as exactly as anybody can tell it: 3 h 20 min left, 4 min left, 12 s left."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s left"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min left" if minutes >= 60 else f"{minutes} min left"


def _last_part(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _details_in_words(details: Mapping[str, Any]) -> Iterator[str]:
    """What a photo was made with, a line each; sizes as width x height."""
    h, w = details.get("tile_size", (0, 0))
    told = {**details, "tile_size": f"{w}x{h}", "shake": shake_in_words(details.get("shake", {}))}
    for name, value in (told | details.get("made_with", {})).items():
        if name != "made_with" and value != "":
            yield f"{name.replace('_', ' ')}: {round(value, 2) if isinstance(value, float) else value}"


def printable(text: str) -> str:
    """The text with whatever would disturb a terminal, or is in no encoding, written as an escape such as \\n or \\xff."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(letter) if _disturbs(letter) else letter for letter in text)


def _disturbs(letter: str) -> bool:
    kind = unicodedata.category(letter)
    return kind in ("Cc", "Cs", "Zl", "Zp") or letter in "\u202a\u202b\u202d\u202e\u2066\u2067\u2068"


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is no valid UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("unicode_escape", "surrogatepass").decode()
