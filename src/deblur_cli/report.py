"""Events -> counts, failures and the exit code. It draws nothing: `console` does."""

from dataclasses import dataclass, field

from deblur_cli.errors import DeblurError, PhotoError, UsageError, WeightsError
from deblur_cli.events import Event, Failed, Finished

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_WEIGHTS = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

BARELY_CHANGED_RMS = 0.5
"""RMS change in 8-bit levels below which nobody sees a difference."""


@dataclass
class Report:
    """What has happened so far in a run."""

    finished: int = 0
    failures: list[Failed] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, Finished):
            self.finished += 1
        elif isinstance(event, Failed):
            self.failures.append(event)

    @property
    def exit_code(self) -> int:
        """0 if every photo is done; weights that cannot be used are 3, anything else that failed is 1."""
        return EXIT_FAILED if self.failures else EXIT_OK

    def summary(self) -> str:
        """One line: how many are done and how many are not."""
        return (
            _plural(self.finished, "photo")
            + " restored"
            + (f", {len(self.failures)} failed" if self.failures else "")
        )


def exit_code_of(error: DeblurError) -> int:
    """The exit code of a run that ends with this error."""
    codes = {UsageError: EXIT_USAGE, WeightsError: EXIT_WEIGHTS, PhotoError: EXIT_FAILED}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), EXIT_FAILED)


def change_in_words(event: Finished) -> str:
    """How much a photo changed, honestly: "sharper by 34 %" or that it barely changed."""
    rms, gain = event.details["rms_change"], event.details["gradient_gain"]
    if rms < BARELY_CHANGED_RMS:
        return "barely changed"
    return f"edges {gain - 1:+.0%}, changed by {rms:.1f} levels"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
