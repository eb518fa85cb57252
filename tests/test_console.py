import io
import time
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from deblur_cli.console import Console, printable
from deblur_cli.errors import PhotoError
from deblur_cli.events import Failed, Finished, Progressed, Skipped, Started
from deblur_cli.jobs import Job
from deblur_cli.report import Report


def job(number: int) -> Job:
    return Job(Path(f"in/sub/IMG_{number:04}.jpg"), Path(f"out/IMG_{number:04}.jpg"), size_bytes=1000)


def finished(number: int, rms: float = 3.0) -> Finished:
    return Finished(job(number), {"rms_change": rms, "gradient_gain": 1.31}, (), 1.5, (1000, 2000))


def drawn(report: Report, console: Console, width: int, terminal: bool = True) -> tuple[str, io.StringIO]:
    file = io.StringIO()
    console._rich = RichConsole(
        file=file, width=width, force_terminal=terminal, color_system=None, soft_wrap=True
    )
    for event in (
        Skipped(job(9)),
        Started(job(1)),
        finished(1),
        Started(job(2)),
        Failed(job(2), PhotoError("bad\x1b[31m", hint="do\nthis")),
        Started(job(3)),
        finished(3, rms=0.1),
        Started(job(4)),
        Progressed(job(4), 11.4, 24),
    ):
        report.add(event)
        console.draw(event)
    report._started_s = time.monotonic() - 100
    picture = io.StringIO()
    RichConsole(file=picture, width=width, color_system=None).print(console._bars())
    return picture.getvalue(), file


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_display_tells_how_far_it_is_and_fits(width: int) -> None:
    report = Report(planned=10, planned_bytes=10_000)
    picture, _ = drawn(report, Console(report), width)
    lines = picture.splitlines()
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("IMG_0004.jpg")
    assert "11/24 tiles" in lines[0]
    assert lines[1].startswith("3 of 10 photos")
    assert "3 min left" in lines[1]  # 100 s for 3 photos and half of one of ten
    for words in ("✓ 2 done", "1 done before", "✗ 1 failed", "0.04 MP/s"):
        assert words in lines[2]


def test_one_photo_has_one_bar() -> None:
    report = Report(planned=1, planned_bytes=1000)
    console = Console(report)
    for event in (Started(job(1)), Progressed(job(1), 6, 24)):
        report.add(event)
        console.draw(event)
    report._started_s = time.monotonic() - 100
    picture = io.StringIO()
    RichConsole(file=picture, width=80, color_system=None).print(console._bars())
    (line,) = picture.getvalue().splitlines()
    assert "6/24 tiles · 5 min left" in line


def test_without_a_terminal_there_is_a_line_a_photo() -> None:
    report = Report(planned=10)
    _, file = drawn(report, Console(report), 80, terminal=False)
    assert file.getvalue().splitlines() == [
        "in/sub/IMG_0001.jpg -> out/IMG_0001.jpg  (1.5 s; edges +31%, changed by 3.0 levels)",
        "error: bad\\x1b[31m",
        "       do",
        "       this",
        "in/sub/IMG_0003.jpg -> out/IMG_0003.jpg  (1.5 s; barely changed)",
    ]


def test_quiet_leaves_only_errors() -> None:
    report = Report(planned=10)
    _, file = drawn(report, Console(report, quiet=True), 80, terminal=False)
    assert file.getvalue().startswith("error: bad")
    assert len(file.getvalue().splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain.jpg", "plain.jpg"),
        ("Größe 写真 👩\u200d🚀.jpg", "Größe 写真 👩\u200d🚀.jpg"),
        ("a\nb\tc\x1b[0m", "a\\nb\\tc\\x1b[0m"),
        ("\udcff.jpg", "\\xff.jpg"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_names_cannot_disturb_the_terminal(text: str, expected: str) -> None:
    assert printable(text) == expected
    expected.encode()
