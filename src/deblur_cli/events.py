"""What happens to a job, as values: `batch` emits them, `report` counts them, `console` draws them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deblur_cli.errors import DeblurError
from deblur_cli.jobs import Job


@dataclass(frozen=True)
class Started:
    """A photo is about to be read."""

    job: Job


@dataclass(frozen=True)
class Progressed:
    """Of the photo at hand so many tiles are done (a fraction inside a tile), out of so many."""

    job: Job
    done: float
    tiles: int


@dataclass(frozen=True)
class Preview:
    """What a report shows of a photo, as JPEG files: the detail that changed most, before and after, and the whole.

    area: where the detail is: top, left, height and width as fractions of the photo's.
    """

    before: bytes
    after: bytes
    whole: bytes
    area: tuple[float, float, float, float]


@dataclass(frozen=True)
class Finished:
    """A photo is whole and synced under its final name.

    details: `restore.Details` as a mapping. notes: what the user should know. size: height and width of the result.
    stamp: size and time of modification (ns) of the input as it was read. target_size: of the result in bytes, where it is known.
    """

    job: Job
    details: Mapping[str, Any]
    notes: tuple[str, ...]
    elapsed_s: float
    size: tuple[int, int] = (0, 0)
    stamp: tuple[int, int] | None = None
    preview: Preview | None = None
    target_size: int | None = None


@dataclass(frozen=True)
class Skipped:
    """A photo was done already, and neither it nor its result has changed since."""

    job: Job


@dataclass(frozen=True)
class Left:
    """A photo needs nothing, and is left as it is. reason: in words. stamp: as of `Finished`."""

    job: Job
    reason: str
    stamp: tuple[int, int] | None = None


@dataclass(frozen=True)
class Failed:
    """A photo could not be read, restored or written; nothing of it is left behind."""

    job: Job
    error: DeblurError


Event = Started | Progressed | Finished | Skipped | Left | Failed
