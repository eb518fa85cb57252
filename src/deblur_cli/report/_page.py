"""`--report FILE.html`: one page that needs nothing else, with counts, failures and pictures before and after."""

import base64
import html
from pathlib import Path
from string import Template

from deblur_cli.errors import UsageError
from deblur_cli.events import Event, Failed, Finished, Left, Preview
from deblur_cli.jobs import Job
from deblur_cli.report._counts import Report, change_in_words

MAX_PREVIEWS = 100
"""Of more photos, evenly spread ones are shown, so that the page opens quickly: a photo takes some 60 kB of it."""

COLUMNS = ("photo", "result", "size", "time", "what changed", "weights")

TEMPLATE = Path(__file__).with_name("page.html")


class Page:
    """Gathers what the page shows. `planned`: how many photos are to be restored."""

    def __init__(self, path: Path, planned: int) -> None:
        self._path = path
        self._every = max(1, -(-planned // MAX_PREVIEWS))
        self._asked = 0
        self._figures: list[str] = []
        self._rows: list[str] = []
        self._notes: list[str] = []
        self._weights: dict[str, None] = {}
        self._left: list[str] = []

    def wants_preview(self, job: Job) -> bool:
        """Whether this photo, of all that are restored one after the other, is to be shown."""
        self._asked += 1
        return (self._asked - 1) % self._every == 0

    def add(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, Left):
            self._left.append(_row(event.job.name, event.reason))
        if isinstance(event, Finished):
            change = change_in_words(event)
            target = "" if event.job.target is None else str(event.job.target)
            self._weights[_weights_of(event)] = None
            size = f"{event.size[1]} x {event.size[0]}"
            weights = event.details.get("made_with", {}).get("weights", "")
            cells = event.job.name, target, size, f"{event.elapsed_s:.1f} s", change, weights
            self._rows.append(_row(*cells))
            self._notes += [_row(event.job.name, note) for note in event.notes]
            if event.preview:
                kernel = event.details.get("shake", {}).get("kernel", "")
                self._figures.append(_figure(event.job.name, change, event.preview, kernel))

    def write(self, report: Report, outcome: str) -> None:
        """Write the page as things stand. UsageError if it cannot be written."""
        failed = [_row(failure.job.name, _reason(failure)) for failure in report.failures]
        counts = {
            "restored": report.finished,
            "barely changed": report.barely_changed,
            "done before": report.skipped,
            "sharp and left": report.left,
            "failed": len(report.failures),
            "not done": report.not_done,
            "passed over": sum(report.passed_over.values()),
        }
        tiles = "".join(
            f'<li class="{name.replace(" ", "-")}"><b>{count:,}</b> {name}</li>'
            for name, count in counts.items()
            if count or name == "restored"
        )
        speed = f"{report.pixels / 1e6:,.1f} megapixels in {_duration(report.elapsed_s)}"
        page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
            outcome=html.escape(outcome),
            counts=tiles,
            speed=html.escape(". ".join([speed, *filter(None, self._weights)])),
            failures=_section("Failed", failed, ("photo", "reason")),
            left=_section("Left as they are", self._left, ("photo", "reason")),
            figures="\n".join(self._figures),
            shown=self._shown(report),
            photos=_section("Restored", self._rows, COLUMNS),
            notes=_section("Notes", self._notes, ("photo", "note")),
        )
        temporary = self._path.with_name(self._path.name + ".tmp")
        try:
            temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
            temporary.replace(self._path)
        except OSError as error:
            raise UsageError(
                f"{self._path}: the report cannot be written: {error.strerror}",
                hint="Give --report a file in a folder that exists.",
            ) from error

    def _shown(self, report: Report) -> str:
        if len(self._figures) < report.finished:
            return f"{len(self._figures)} of {report.finished:,} photos, evenly spread. "
        return ""


def _weights_of(event: Finished) -> str:
    """Which weights a photo was made with, pinned by their hash where it is known."""
    made_with = event.details.get("made_with", {})
    sha256 = made_with.get("weights sha256")
    pinned = f" (SHA-256 {sha256})" if sha256 else ""
    return f"Weights: {made_with['weights']}{pinned}" if "weights" in made_with else ""


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _section(title: str, rows: list[str], columns: tuple[str, ...]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{column}</th>" for column in columns)
    return (
        f"<details {'open' if title == 'Failed' else ''}><summary>{title} <span>{len(rows):,}</span></summary>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></details>"
    )


def _reason(failure: Failed) -> str:
    message = failure.error.message.removeprefix(f"{failure.job.name}: ")
    return f"{message}. {failure.error.hint}" if failure.error.hint else message


def _figure(name: str, change: str, preview: Preview, kernel: str) -> str:
    shake = f'<img class="kernel" alt="the shake" src="data:image/png;base64,{kernel}">' if kernel else ""
    top, left, height, width = (f"{fraction:.2%}" for fraction in preview.area)
    return f"""<figure>
<div class="pair" style="--at: 50%">
<img alt="after" src="{_data(preview.after)}"><img alt="before" class="before" src="{_data(preview.before)}">
<span class="tag">before</span><span class="tag right">after</span>
<input type="range" min="0" max="100" step="0.1" value="50" aria-label="before and after">
</div>
<figcaption><div class="whole"><img alt="" src="{_data(preview.whole)}">
<i style="top:{top};left:{left};height:{height};width:{width}"></i></div>
<div><b>{html.escape(Path(name).name)}</b><br>{html.escape(change)}</div>{shake}</figcaption>
</figure>"""


def _data(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
