"""Jobs, plans, and what keeps a job from being done."""

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from deblur_cli.errors import PhotoError, UsageError
from deblur_cli.jobs._files import LOCAL, Files
from deblur_cli.jobs._naming import STANDARD_STREAM, Naming, folded


@dataclass(frozen=True, slots=True)
class Job:
    """One photo to restore: `source` None is standard input, `target` None is standard output.

    base: the folder whose journal tells of it; None for a job outside a batch. right: the other view of a dual-pixel pair.
    """

    source: Path | None
    target: Path | None
    base: Path | None = None
    size_bytes: int = field(default=0, compare=False)
    right: Path | None = None

    @property
    def name(self) -> str:
        """The source as the user wrote it."""
        return "standard input" if self.source is None else str(self.source)


@dataclass(frozen=True)
class Plan:
    """All jobs in order; those that cannot be done, with the reason; how many files were passed over, by reason."""

    jobs: tuple[Job, ...]
    refused: tuple[tuple[Job, PhotoError], ...]
    passed_over: dict[str, int] = field(default_factory=dict)


def in_order(jobs: Sequence[Job], order: Literal["name", "date", "largest"]) -> tuple[Job, ...]:
    """By name, as a plan has them; by the date of the file, oldest first; or the largest file first."""
    keys: dict[str, Callable[[Job], int]] = {
        "name": lambda job: 0,
        "date": _modified,
        "largest": lambda job: -job.size_bytes,
    }
    return tuple(sorted(jobs, key=keys[order]))


def _modified(job: Job) -> int:
    status = _status(job.source)
    return status.st_mtime_ns if isinstance(status, os.stat_result) else 0


def plan_photos(sources: Sequence[str], naming: Naming, right: str | None = None) -> Plan:
    """Photos named one by one -> jobs. UsageError where output and inputs do not go together. right: the other view of the one source."""
    naming.check()
    if right is not None and STANDARD_STREAM in (*sources, right):
        raise UsageError("standard input is one photo, and a pair is two", hint="Name two files.")
    if "" in (*sources, right):
        raise UsageError("the name of a photo is empty", hint="Name a file, or - for standard input.")
    output, several = naming.output, len(sources) > 1
    if several and output == STANDARD_STREAM:
        raise UsageError("several photos cannot go to standard output", hint="Give a folder: -o FOLDER/")
    if several and output is not None and Path(output).is_file():
        raise UsageError(
            f"{output} is a file, but there are {len(sources)} photos", hint="Give a folder: -o FOLDER/"
        )

    if several and output is not None and not naming.into_folder and Path(output).suffix:
        raise UsageError(f"{len(sources)} photos cannot go into one file", hint="Give a folder: -o FOLDER/")

    def target(source: str) -> Path | None:
        if source != STANDARD_STREAM and Path(source).is_dir():
            return None  # refused in a moment, and "." has no name to make a target of
        if output == STANDARD_STREAM or (source == STANDARD_STREAM and output is None):
            return None
        if output is None:
            return naming.beside(Path(source))
        if not several and not naming.into_folder:
            naming.check_target(Path(output))
            return Path(output)
        if source == STANDARD_STREAM:
            raise UsageError("standard input has no name", hint="Give a file: -o FILE")
        return Path(output, naming.own_name(Path(source)))

    view = None if right is None else Path(right)
    jobs = [
        Job(None if name == STANDARD_STREAM else Path(name), target(name), right=view) for name in sources
    ]
    jobs = list(dict.fromkeys(jobs))  # one photo named twice is one job
    _refuse_shared_targets(jobs)
    return checked(jobs, {}, keep_existing=not naming.overwrite)


def checked(
    jobs: Iterable[Job], passed_over: dict[str, int], *, keep_existing: bool, files: Files = LOCAL
) -> Plan:
    """Sort out the jobs that cannot be done, and note the size of the others' sources."""
    inputs = set[tuple[int, int]]()
    looked_at: dict[Job, PhotoError | None] = {}  # no status is kept: each takes half a kilobyte
    for job in jobs:
        status = _status(job.source)
        view = _status(job.right)
        inputs |= {(each.st_dev, each.st_ino) for each in (status, view) if isinstance(each, os.stat_result)}
        size_bytes = status.st_size if isinstance(status, os.stat_result) else 0
        problem = _source_problem(job.name, status) or _source_problem(str(job.right), view)
        looked_at[replace(job, size_bytes=size_bytes)] = problem
    folders: dict[Path, PhotoError | None] = {}
    good, refused = [], []
    for job, problem in looked_at.items():
        problem = problem or _target_problem(job, inputs, folders, keep_existing, files)
        if problem is None:
            good.append(job)
        else:
            refused.append((job, problem))
    return Plan(tuple(good), tuple(refused), passed_over)


def _refuse_shared_targets(jobs: Iterable[Job]) -> None:
    taken: dict[str, Job] = {}
    for job in jobs:
        if job.target is None:
            continue
        other = taken.setdefault(folded(os.path.abspath(job.target)), job)
        if other is not job:
            raise UsageError(
                f"{other.name} and {job.name} would both be written to {job.target}",
                hint="Restore them one by one, or into different folders.",
            )


def _status(source: Path | None) -> os.stat_result | OSError | None:
    try:
        return None if source is None else source.stat()
    except OSError as error:
        return error


def _source_problem(name: str, status: os.stat_result | OSError | None) -> PhotoError | None:
    if status is None or (isinstance(status, os.stat_result) and stat.S_ISREG(status.st_mode)):
        return None
    if isinstance(status, FileNotFoundError):
        return PhotoError(f"{name}: no such file")
    if isinstance(status, OSError):
        return PhotoError(f"{name}: cannot be read: {status.strerror}")
    if stat.S_ISDIR(status.st_mode):
        return PhotoError(f"{name}: is a folder", hint=f"To restore all photos in it: deblur batch {name}")
    return PhotoError(f"{name}: is no file")


def _target_problem(
    job: Job,
    inputs: set[tuple[int, int]],
    folders: dict[Path, PhotoError | None],
    keep_existing: bool,
    files: Files,
) -> PhotoError | None:
    target = job.target
    if target is None:
        return None
    try:
        status = files.status(target)
    except OSError:  # most targets are not there yet
        parent = target.parent
        if parent not in folders:
            folders[parent] = files.folder_problem(parent)
        problem = folders[parent]
        return problem and PhotoError(f"{target}: {problem.message}", hint=problem.hint)
    if (status.st_dev, status.st_ino) in inputs:
        return PhotoError(
            f"{target}: is itself an input, and inputs are never overwritten", hint="Choose another -o."
        )
    if stat.S_ISDIR(status.st_mode):
        return PhotoError(
            f"{target}: is a folder, so no photo can be written there", hint="Choose another -o."
        )
    if keep_existing:
        return PhotoError(
            f"{target}: exists already", hint="Choose another -o, or allow it with --overwrite."
        )
    return None
