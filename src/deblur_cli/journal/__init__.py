"""What is done: a journal beside the results, to which a batch appends one line for each finished photo, and for each that crashed.

docs/batch.md describes the lines. Nothing is ever rewritten: of two lines on one target the later one holds. Paths are
relative to the journal's folder, so that the whole may be moved. Where the lines lie is a `Log`'s business.
"""

from deblur_cli.journal._file import BusyError, FileLog
from deblur_cli.journal._journal import Entry, Journal, Log, Stamp, results_in, stamp_of

__all__ = ["BusyError", "Entry", "FileLog", "Journal", "Log", "Stamp", "results_in", "stamp_of"]
