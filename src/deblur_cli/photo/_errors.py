"""What the decoders of this package say of a file before `_read` puts the file's name to it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

for library in ("imagecodecs", "tifffile"):  # what they log about a broken file would reach the terminal
    logging.getLogger(library).addHandler(logging.NullHandler())


class CutShortError(Exception):
    """The file ends before its pixels do."""


class UnsupportedError(Exception):
    """A valid file of a kind that we do not read; the message says which kind."""


class MissingExtraError(Exception):
    """A format whose library is not installed; the message is the name of the extra that brings it."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around the import of a library that comes with the extra `name`."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(name) from error
