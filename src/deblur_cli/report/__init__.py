"""Events -> counts, failures, the exit code, JSON and a page to look at. It draws nothing: `console` does."""

from deblur_cli.report._counts import (
    BARELY_CHANGED_RMS,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TERMINATED,
    EXIT_USAGE,
    EXIT_WEIGHTS,
    Report,
    change_in_words,
    exit_code_of,
    shake_in_words,
)
from deblur_cli.report._json import describe, describe_summary
from deblur_cli.report._page import Page

__all__ = [
    "BARELY_CHANGED_RMS",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_OK",
    "EXIT_TERMINATED",
    "EXIT_USAGE",
    "EXIT_WEIGHTS",
    "Page",
    "Report",
    "change_in_words",
    "describe",
    "describe_summary",
    "exit_code_of",
    "shake_in_words",
]
