"""Jobs -> loop -> events. It knows no torch: it is handed `process`, which turns a photo into a restored one."""

from deblur_cli.batch._ledger import Ledger, Todo
from deblur_cli.batch._loop import (
    DiskFullError,
    FileOptions,
    Process,
    Progress,
    Restored,
    explained,
    run_jobs,
)
from deblur_cli.batch._workers import run_workers

__all__ = [
    "DiskFullError",
    "FileOptions",
    "Ledger",
    "Process",
    "Progress",
    "Restored",
    "Todo",
    "explained",
    "run_jobs",
    "run_workers",
]
