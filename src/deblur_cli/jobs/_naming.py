"""The names of results."""

import os
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from deblur_cli.errors import UsageError

STANDARD_STREAM = "-"
MAX_NAME_BYTES = 255
"""Of one name, on nearly all file systems."""


@dataclass(frozen=True)
class Naming:
    """How targets are named.

    output_extension: a source -> the extension of its result. check_target: a target that the user named -> UsageError
    if no format is written under that name.
    """

    output: str | None
    suffix: str
    overwrite: bool
    output_extension: Callable[[Path], str]
    check_target: Callable[[Path], object]

    def check(self) -> None:
        """UsageError for no output at all, and for a suffix that no file name can have or that would put results onto their inputs."""
        if self.output == "":
            raise UsageError("--output is empty", hint="Give it a file or a folder.")
        if not self.suffix or any(separator in self.suffix for separator in "/\\\0"):
            raise UsageError(
                f"--suffix {self.suffix!r} cannot be used",
                hint="It is put between a photo's name and its extension, and may hold no slash.",
            )

    @property
    def into_folder(self) -> bool:
        """Whether the output is a folder: one that exists, or a name that ends in a slash."""
        output = self.output
        return output is not None and (output.endswith(("/", os.sep)) or Path(output).is_dir())

    def beside(self, source: Path) -> Path:
        """The target beside its source: NAME_sharp.EXT."""
        return source.with_name(next(self.names(source, self.suffix)))

    def own_name(self, source: Path) -> str:
        """The target's name in an output folder: the source's own."""
        return next(self.names(source, ""))

    def keeps_extension(self, source: Path) -> bool:
        """Whether the result has the source's extension, so that its name is rightfully its own."""
        return self.output_extension(source) == source.suffix

    def names(self, source: Path, suffix: str) -> Iterator[str]:
        """Names for the result, best first: IMG_1.jpg, and if that is taken IMG_1.heic.jpg, IMG_1.heic-2.jpg, ..."""
        ending = suffix + self.output_extension(source)
        yield _fitted(source.stem, ending)
        yield _fitted(source.name, ending)
        for number in count(2):
            yield _fitted(source.name, f"-{number}{ending}")


def folded(path: str) -> str:
    """Equal for names that some file system takes for one: A.jpg and a.jpg, and both spellings of an accent."""
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


def _fitted(stem: str, ending: str) -> str:
    """Both together, the stem cut so that they fit in a file name."""
    room = MAX_NAME_BYTES - len(os.fsencode(ending))
    encoded = os.fsencode(stem)
    if len(encoded) <= room:
        return stem + ending
    whole = encoded[:room]
    while whole and (encoded[len(whole)] & 0xC0) == 0x80:  # never through the middle of a UTF-8 character
        whole = whole[:-1]
    return os.fsdecode(whole) + ending
