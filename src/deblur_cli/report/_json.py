"""Events as mappings for `--json`; docs/batch.md describes them."""

from typing import Any

from deblur_cli.events import Event, Failed, Finished, Left, Skipped
from deblur_cli.report._counts import Report, barely_changed


def describe(event: Event) -> dict[str, Any] | None:
    """What is told of a photo when it is settled; None while it is not."""
    if isinstance(event, Finished):
        outcome: dict[str, Any] = {
            "status": "done",
            "height": event.size[0],
            "width": event.size[1],
            "elapsed_s": round(event.elapsed_s, 3),
            "barely_changed": barely_changed(event),
            **event.details,
            "notes": event.notes,
        }
    elif isinstance(event, Skipped):
        outcome = {"status": "skipped"}
    elif isinstance(event, Left):
        outcome = {"status": "left", "reason": event.reason}
    elif isinstance(event, Failed):
        outcome = {"status": "failed", "error": event.error.message, "hint": event.error.hint}
    else:
        return None
    target = event.job.target
    return {"photo": event.job.name, "target": None if target is None else str(target), **outcome}


def describe_summary(report: Report, exit_code: int) -> dict[str, Any]:
    """The last line of `--json`."""
    return {
        "summary": {
            "done": report.finished,
            "skipped": report.skipped,
            "left": report.left,
            "failed": len(report.failures),
            "not_done": report.not_done,
            "barely_changed": report.barely_changed,
            "passed_over": report.passed_over,
            "megapixels": round(report.pixels / 1e6, 3),
            "elapsed_s": round(report.elapsed_s, 3),
            "exit_code": exit_code,
        }
    }
