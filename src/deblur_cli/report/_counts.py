"""What has happened so far in a run, in numbers."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deblur_cli.errors import DeblurError, PhotoError, UsageError, WeightsError
from deblur_cli.events import Event, Failed, Finished, Left, Progressed, Skipped, Started
from deblur_cli.jobs import Job

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_WEIGHTS = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

ALL_OF_IT = 0.95
"""Of the frame: what is undone in so much of it is told without a share."""

BARELY_CHANGED_RMS = 0.5
"""RMS change in 8-bit levels below which nobody sees a difference."""


@dataclass
class Report:
    """Counts of a run of `planned` photos that are to be restored, `planned_bytes` long together as files.

    Time left is told by bytes: nobody knows the pixels of a photo before it is opened, but its size everybody.
    """

    planned: int = 0
    planned_bytes: int = 0
    finished: int = 0
    skipped: int = 0
    left: int = 0
    barely_changed: int = 0
    pixels: int = 0
    passed_over: Mapping[str, int] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)
    _settled: int = 0
    _settled_bytes: int = 0
    _at_hand: dict[Job, float] = field(default_factory=dict)
    _started_s: float | None = None

    def add(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, Started):
            self._started_s = self._started_s or time.monotonic()
            self._at_hand[event.job] = 0.0
        elif isinstance(event, Progressed):
            self._at_hand[event.job] = event.done / event.tiles
        elif isinstance(event, Skipped):
            self.skipped += 1
        else:
            if isinstance(event, Finished):
                self.finished += 1
                self.pixels += event.size[0] * event.size[1]
                self.barely_changed += barely_changed(event)
            elif isinstance(event, Left):
                self.left += 1
            else:
                self.failures.append(event)
            if self._at_hand.pop(event.job, None) is not None:
                self._settled += 1
                self._settled_bytes += event.job.size_bytes

    @property
    def exit_code(self) -> int:
        """0 if every photo is done, 1 if some failed."""
        return EXIT_FAILED if self.failures else EXIT_OK

    @property
    def not_done(self) -> int:
        """Photos that the run has not come to, or was at when it was stopped."""
        return self.planned - self._settled

    @property
    def elapsed_s(self) -> float:
        """Since the first photo was begun."""
        return time.monotonic() - self._started_s if self._started_s else 0.0

    @property
    def megapixels_per_s(self) -> float:
        """Of the photos that are finished."""
        return self.pixels / 1e6 / self.elapsed_s if self._started_s else 0.0

    @property
    def fraction(self) -> float:
        """How much of the work is done, 0 to 1."""
        if not self.planned_bytes:
            return self._settled / self.planned if self.planned else 0.0
        at_hand = sum(job.size_bytes * done for job, done in self._at_hand.items())
        return min(1.0, (self._settled_bytes + at_hand) / self.planned_bytes)

    @property
    def left_s(self) -> float | None:
        """Time left, as far as it can be told."""
        return self.elapsed_s * (1 / self.fraction - 1) if self.fraction > 0 else None

    def summary(self) -> str:
        """One line: how many are done and how many are not."""
        parts = [_plural(self.finished, "photo") + " restored"]
        if self.barely_changed:
            parts[0] += f" ({self.barely_changed} barely changed)"
        if self.skipped:
            parts.append(f"{self.skipped} done before")
        if self.left:
            parts.append(f"{self.left} sharp and left as they are")
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        if self.not_done:
            parts.append(f"{self.not_done} not done")
        return ", ".join(parts)


def exit_code_of(error: DeblurError) -> int:
    """The exit code of a run that ends with this error."""
    codes = {UsageError: EXIT_USAGE, WeightsError: EXIT_WEIGHTS, PhotoError: EXIT_FAILED}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), EXIT_FAILED)


def barely_changed(event: Finished) -> bool:
    """Whether nobody will see a difference."""
    return bool(event.details["rms_change"] < BARELY_CHANGED_RMS)


def change_in_words(event: Finished) -> str:
    """How much a photo changed, honestly: "edges +34%, changed by 4.1 levels", or that it barely changed."""
    if barely_changed(event):
        return "barely changed"
    rms, gain = event.details["rms_change"], event.details["gradient_gain"]
    changed = f"edges {gain - 1:+.0%}, changed by {rms:.1f} levels"
    shake = event.details.get("shake", {})
    if shake.get("outcome") != "undone":
        return changed
    part = "" if shake["share"] > ALL_OF_IT else f" in {shake['share']:.0%} of the frame"
    return f"shake of {shake['length_px']:.0f} px undone{part}; {changed}"


def shake_in_words(shake: Mapping[str, Any]) -> str:
    """What was seen of it and what became of it, in a line; empty where it was not looked for."""
    if not shake:
        return ""
    if "length_px" not in shake:
        return str(shake["why"])
    seen = f"{shake['length_px']:.0f} px at {shake['direction_deg']:.0f}°, {shake['sure']:.0%} sure"
    return f"{seen}; {shake['outcome']}: {shake['why']}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
