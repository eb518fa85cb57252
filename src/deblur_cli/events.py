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
class Finished:
    """A photo is whole under its final name. details: `restore.Details` as a mapping; notes: what the user should know."""

    job: Job
    details: Mapping[str, Any]
    notes: tuple[str, ...]
    elapsed_s: float


@dataclass(frozen=True)
class Failed:
    """A photo could not be read, restored or written; nothing of it is left behind."""

    job: Job
    error: DeblurError


Event = Started | Progressed | Finished | Failed
