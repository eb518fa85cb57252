"""Inputs -> planned jobs: which photo is written where, decided before any work and without opening a file.

What counts as a photo and which extension its result gets is handed in, so that this module knows no formats.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deblur_cli.errors import PhotoError, UsageError

DEFAULT_SUFFIX = "_sharp"
STANDARD_STREAM = "-"


@dataclass(frozen=True)
class Job:
    """One photo to restore: `source` None is standard input, `target` None is standard output."""

    source: Path | None
    target: Path | None

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
        """UsageError if the suffix cannot be part of a file name, or would put results onto their inputs."""
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
        return source.with_name(f"{source.stem}{self.suffix}{self.output_extension(source)}")

    def own_name(self, source: Path) -> str:
        """The target's name in an output folder: the source's own."""
        return source.stem + self.output_extension(source)


def plan_photos(sources: Sequence[str], naming: Naming) -> Plan:
    """Photos named one by one -> jobs. UsageError where output and inputs do not go together."""
    naming.check()
    output, several = naming.output, len(sources) > 1
    if several and output == STANDARD_STREAM:
        raise UsageError("several photos cannot go to standard output", hint="Give a folder: -o FOLDER/")
    if several and output is not None and Path(output).is_file():
        raise UsageError(
            f"{output} is a file, but there are {len(sources)} photos", hint="Give a folder: -o FOLDER/"
        )

    def target(source: str) -> Path | None:
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

    jobs = [Job(None if name == STANDARD_STREAM else Path(name), target(name)) for name in sources]
    return _checked(jobs, naming.overwrite, {})


def plan_batch(roots: Sequence[str], naming: Naming, is_photo: Callable[[Path], bool]) -> Plan:
    """Folders, searched through, and photos -> jobs, in natural order; under an output folder the tree is kept."""
    naming.check()
    output = None if naming.output is None else Path(naming.output)
    if output is not None and output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file, but a batch writes into a folder")
    passed_over: dict[str, int] = {}
    jobs = []
    for root in map(Path, roots):
        if not root.exists():
            raise UsageError(f"{root}: no such file or folder")
        found = list(_walk(root, skip=output)) if root.is_dir() else [root]
        photos = [path for path in found if is_photo(path)]
        stems = {(path.parent, path.stem) for path in photos}
        _count(passed_over, "not a photo", len(found) - len(photos))
        for path in photos:
            stem = path.stem.removesuffix(naming.suffix)
            if output is None and stem != path.stem and (path.parent, stem) in stems:
                _count(passed_over, "a result of deblur", 1)
                continue
            inside = path.relative_to(root) if root.is_dir() else Path(path.name)
            target = (
                naming.beside(path) if output is None else output / inside.with_name(naming.own_name(path))
            )
            jobs.append(Job(path, target))
    return _checked(jobs, naming.overwrite, passed_over)


def _checked(jobs: Iterable[Job], overwrite: bool, passed_over: dict[str, int]) -> Plan:
    """Sort out the jobs that cannot be done. UsageError if two of them share a target; one photo named twice is one job."""
    jobs = list(dict.fromkeys(jobs))
    inputs = {_identity(job.source) for job in jobs if job.source is not None}
    taken: dict[str, Job] = {}
    good, refused = [], []
    for job in jobs:
        if job.target is not None:
            key = str(job.target.absolute()).casefold()  # some file systems do not tell A.jpg from a.jpg
            if key in taken:
                raise UsageError(
                    f"{taken[key].name} and {job.name} would both be written to {job.target}",
                    hint="Restore them one by one, or into different folders.",
                )
            taken[key] = job
        problem = _source_problem(job) or _target_problem(job, inputs, overwrite)
        if problem is None:
            good.append(job)
        else:
            refused.append((job, problem))
    return Plan(tuple(good), tuple(refused), passed_over)


def _source_problem(job: Job) -> PhotoError | None:
    source = job.source
    if source is None or source.is_file():
        return None
    if source.is_dir():
        return PhotoError(
            f"{source}: is a folder", hint=f"To restore all photos in it: deblur batch {source}"
        )
    return PhotoError(f"{source}: {'is no file' if source.exists() else 'no such file'}")


def _target_problem(job: Job, inputs: set[object], overwrite: bool) -> PhotoError | None:
    target = job.target
    if target is None:
        return None
    if _identity(target) in inputs:
        return PhotoError(
            f"{target}: is itself an input, and inputs are never overwritten", hint="Choose another -o."
        )
    if target.is_dir():
        return PhotoError(
            f"{target}: is a folder, so no photo can be written there", hint="Choose another -o."
        )
    if target.exists() and not overwrite:
        return PhotoError(
            f"{target}: exists already", hint="Choose another -o, or allow it with --overwrite."
        )
    return None


def _identity(path: Path) -> object:
    """Equal for two names of one file, also through links; the absolute name where there is no file yet."""
    try:
        status = path.stat()
    except OSError:
        return str(path.absolute())
    return status.st_dev, status.st_ino


def _walk(folder: Path, skip: Path | None) -> Iterator[Path]:
    """All visible files below a folder in natural order, but for the folder `skip`; each folder once (links may loop)."""
    seen = {_identity(skip)} if skip is not None and _identity(skip) != _identity(folder) else set()
    pending = [folder]
    while pending:
        current = pending.pop()
        if _identity(current) in seen:
            continue
        seen.add(_identity(current))
        entries = sorted(
            (entry for entry in current.iterdir() if entry.name[0] != "."), key=lambda e: natural_key(e.name)
        )
        yield from (entry for entry in entries if not entry.is_dir())
        pending += [entry for entry in reversed(entries) if entry.is_dir()]


def _count(counts: dict[str, int], key: str, number: int) -> None:
    if number:
        counts[key] = counts.get(key, 0) + number


def natural_key(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """A sort key under which photo2 comes before photo10, whatever the case of the letters."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], name
