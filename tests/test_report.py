from pathlib import Path

import numpy as np

from deblur_cli.errors import PhotoError
from deblur_cli.events import Failed, Finished, Preview, Progressed, Skipped, Started
from deblur_cli.jobs import Job
from deblur_cli.photo import Encoding, Photo, preview_of
from deblur_cli.report import Page, Report


def job(number: int, size_bytes: int = 100) -> Job:
    return Job(Path(f"{number}.jpg"), Path(f"{number}_sharp.jpg"), size_bytes=size_bytes)


def finished(number: int, size_bytes: int = 100, preview: Preview | None = None) -> Finished:
    details = {"rms_change": 3.0, "gradient_gain": 1.2}
    return Finished(job(number, size_bytes), details, ("a note",), 1.0, (1000, 1000), preview=preview)


def test_progress_is_told_by_bytes_and_by_tiles() -> None:
    report = Report(planned=3, planned_bytes=1000)
    assert (report.fraction, report.left_s) == (0, None)
    for event in (Skipped(job(9)), Started(job(1, 600)), Progressed(job(1, 600), 1, 2)):
        report.add(event)
    assert report.fraction == 0.3
    report.add(finished(1, 600))
    assert (report.fraction, report.not_done, report.skipped) == (0.6, 2, 1)
    assert report.left_s is not None
    assert report.summary() == "1 photo restored, 1 done before, 2 not done"


def test_what_was_refused_is_a_failure_but_was_not_planned() -> None:
    report = Report(planned=1)
    report.add(Failed(job(1), PhotoError("no")))
    assert (report.not_done, report.exit_code) == (1, 1)


def test_the_page_shows_at_most_a_hundred_photos_evenly_spread(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.html", 1000)
    report = Report(planned=1000)
    shown = []
    for number in range(1000):
        preview = Preview(b"1", b"2", b"3", (0, 0, 1, 1)) if page.wants_preview(job(number)) else None
        shown += [number] * bool(preview)
        event = finished(number, preview=preview)
        report.add(event)
        page.add(event)
    page.write(report, "done")
    assert shown == list(range(0, 1000, 10))
    text = (tmp_path / "page.html").read_text()
    assert "100 of 1,000 photos, evenly spread" in text
    assert text.count("<figure>") == 100
    assert text.count("a note") == 1000


def test_the_preview_is_where_most_has_changed() -> None:
    before = Photo(np.full((900, 1200, 3), 100, np.uint8), None, Encoding("PNG"))
    pixels = before.pixels.copy()
    pixels[600:700, 900:1000] = 200
    *jpegs, (top, left, h, w) = preview_of(before, Photo(pixels, None, Encoding("PNG")))
    assert all(jpeg.startswith(b"\xff\xd8") for jpeg in jpegs)
    assert (round(h * 900), round(w * 1200)) == (320, 480)
    assert top * 900 <= 600 < 700 <= (top + h) * 900 + 20
    assert left * 1200 <= 900 < 1000 <= (left + w) * 1200 + 20


def test_a_preview_of_any_kind_and_size() -> None:
    for shape in ((1, 1, 1), (3, 5000, 3), (2000, 2, 3), (400, 500, 1)):
        for dtype in (np.uint8, np.uint16, np.float32):
            photo = Photo(np.zeros(shape, dtype), None, Encoding("PNG"))
            before, after, whole, area = preview_of(photo, photo)
            assert before[:2] == after[:2] == whole[:2] == b"\xff\xd8"
            assert all(0 <= fraction <= 1 for fraction in area)
