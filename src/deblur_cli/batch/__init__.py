"""Jobs -> loop -> events. It knows no torch: it is handed `process`, which turns a photo into a restored one."""

from deblur_cli.batch._ledger import Ledger, Todo
from deblur_cli.batch._loop import DiskFullError, Process, Progress, Restored, run_jobs

__all__ = ["DiskFullError", "Ledger", "Process", "Progress", "Restored", "Todo", "run_jobs"]
