"""Folders, globs and photos -> the photos they name, results of ours among them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from deblur_cli.errors import PhotoError
from deblur_cli.jobs._files import Files
from deblur_cli.jobs._find import Search, expand


def find_photos(
    names: Sequence[str], is_photo: Callable[[Path], bool], files: Files
) -> tuple[list[Path], list[PhotoError]]:
    """Each once, in the order of a batch; and what cannot be read of the folders. UsageError for a name that is nothing."""
    search = Search(is_photo, lambda folder: (), None, files)
    found: dict[str, Path] = {}
    for path in (match for name in names for match in expand(name, files)):
        for group in search.photos(path) if path.is_dir() else [[path]]:
            found |= {os.path.abspath(photo): photo for photo in group}
    return list(found.values()), [error for _, error in search.problems]
