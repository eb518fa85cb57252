"""Jobs -> loop -> events. It knows no torch: it is handed `process`, which turns a photo into a restored one."""

from deblur_cli.batch._engine import (
    PATIENCE_S,
    STOPPING,
    Died,
    Engine,
    Worker,
    interruptible,
    run_workers,
    uninterrupted,
)
from deblur_cli.batch._failures import DiskFullError, explained
from deblur_cli.batch._ledger import Ledger, Todo
from deblur_cli.batch._loop import FileOptions, Process, Progress, Restored, run_jobs
from deblur_cli.batch._processes import MakeProcess, Processes
from deblur_cli.batch._sweep import sweep

__all__ = [
    "PATIENCE_S",
    "STOPPING",
    "Died",
    "DiskFullError",
    "Engine",
    "FileOptions",
    "Ledger",
    "MakeProcess",
    "Process",
    "Processes",
    "Progress",
    "Restored",
    "Todo",
    "Worker",
    "explained",
    "interruptible",
    "run_jobs",
    "run_workers",
    "sweep",
    "uninterrupted",
]
