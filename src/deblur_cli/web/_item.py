"""A photo of the page: what is known of it, and how its files are named."""

import re
import unicodedata
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from deblur_cli.errors import DeblurError, UsageError
from deblur_cli.jobs import Naming
from deblur_cli.photo import format_of_name, looks_like_photo, output_extension

if TYPE_CHECKING:
    from deblur_cli.restore import Region  # which imports torch

Status = Literal["reading", "waiting", "working", "done", "failed", "stopped"]

NAMING = Naming(None, "_sharp", False, output_extension, format_of_name)
MAX_NAME = 200


@dataclass(frozen=True)
class Wish:
    """How a photo is to be sharpened: the weights by their name in the page's list, shake auto or off, a region or all of it."""

    weights: str
    shake: str = "auto"
    region: "Region | None" = None


@dataclass
class Item:
    """One photo. folder: of its own, all of its files lie there under names of ours. version: counts the results, so that no old picture is shown for a new one.

    size: height and width. percent: the strength that is seen and saved. extension: of the format it is saved in. changed: figures of `restore.Details`.
    """

    id: str
    name: str
    folder: Path
    wish: Wish
    status: Status = "reading"
    progress: float = 0.0
    size: tuple[int, int] = (0, 0)
    version: int = 0
    percent: int = 100
    extension: str = ""
    changed: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""

    def __post_init__(self) -> None:
        self.extension = self.own_extension

    @property
    def source(self) -> Path:
        """The photo as it came. Of its name only an extension of ours is kept, since some raw files are told by it."""
        suffix = Path(self.name).suffix.lower()
        return self.folder / f"photo{suffix if looks_like_photo(Path(self.name)) else ''}"

    @property
    def kept(self) -> Path:
        """The network's output, of which every strength is mixed."""
        return self.folder / "output"

    @property
    def own_extension(self) -> str:
        """Of the result on the command line."""
        return output_extension(Path(self.name))

    def saved(self, percent: int, extension: str) -> Path:
        """Where the result of so much strength lies, in a format."""
        return self.folder / f"sharp-{self.version}-{percent}{extension.lower()}"

    def saved_name(self) -> str:
        """What the result is called when it is saved: as on the command line."""
        name = NAMING.beside(Path(self.name)).name
        return name if self.extension == self.own_extension else Path(name).stem + self.extension

    def fail(self, error: DeblurError) -> None:
        """Say what is wrong, by the photo's name and not by that of our file."""
        ours = re.compile(rf"{re.escape(str(self.folder))}/[\w.-]+")
        self.error = ours.sub(lambda _: self.name, error.message).removeprefix(f"{self.name}: ")
        self.hint = ours.sub(lambda _: self.name, error.hint)
        self.status = "failed"

    def told(self) -> dict[str, Any]:
        """All that the page needs to know, for JSON."""
        told = asdict(self)
        del told["folder"]
        return told | {"own": self.own_extension, "download": self.saved_name()}


def shown_name(name: str) -> str:
    """The last part of what a browser calls a file, without anything that cannot be shown or be part of a file's name."""
    last = re.split(r"[/\\]", name)[-1]
    clean = "".join(sign for sign in last if unicodedata.category(sign)[0] != "C" and sign not in '<>:"|?*')
    clean = clean.strip(" ").lstrip(".")
    stem, suffix = Path(clean or "photo").stem, Path(clean).suffix
    return stem[: MAX_NAME - len(suffix)] + suffix[:MAX_NAME]


def parse_region(value: object, size: tuple[int, int]) -> "Region | None":
    """[x, y, width, height] from the page, or null. UsageError unless it is an area of the photo."""
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 4 and all(type(number) is int for number in value):
        x, y, w, h = value
        if x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= size[1] and y + h <= size[0]:
            return x, y, w, h
    raise UsageError("this is no region of the photo", hint="Draw it again.")
