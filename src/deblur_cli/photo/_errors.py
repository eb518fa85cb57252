"""What the decoders of this package say of a file before `_read` puts the file's name to it."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from deblur_cli.errors import PhotoError

for library in ("imagecodecs", "tifffile"):  # what they log about a broken file would reach the terminal
    logging.getLogger(library).addHandler(logging.NullHandler())


class CutShortError(Exception):
    """The file ends before its pixels do."""


class UnsupportedError(Exception):
    """A valid file of a kind that we do not read; the message says which kind."""


class MissingExtraError(Exception):
    """A format whose library is not installed; the message is the name of the extra that brings it."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without Python's warnings: Pillow's about a file are not for users of ours. What matters is raised or noted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around the import of a library that comes with the extra `name`."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(name) from error


def missing_extra(name: str, file_format: str, error: MissingExtraError) -> PhotoError:
    """The same for the user, with the file's name."""
    return PhotoError(
        f"{name}: {file_format} needs a library that is not installed",
        hint=f"Install it: pip install 'deblur-cli[{error}]'",
    )
