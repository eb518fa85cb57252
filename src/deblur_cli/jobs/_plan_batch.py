"""`deblur batch`: everything below the inputs, each photo with a target of its own."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath

from deblur_cli.errors import UsageError
from deblur_cli.jobs._files import LOCAL, Files
from deblur_cli.jobs._find import Search, expand, identity
from deblur_cli.jobs._naming import STANDARD_STREAM, Naming, folded
from deblur_cli.jobs._plan import Job, Plan, checked
from deblur_cli.jobs._shard import Shard


@dataclass(frozen=True, slots=True)
class _Found:
    """A photo, the folder that its result gets in an output folder, and the folder that its journal is in."""

    path: Path
    folder: PurePath
    base: Path


def plan_batch(
    inputs: Sequence[str],
    naming: Naming,
    is_photo: Callable[[Path], bool],
    *,
    listed: Sequence[str] = (),
    results_in: Callable[[Path], Iterable[str]] = lambda folder: (),
    shard: Shard | None = None,
    files: Files = LOCAL,
) -> Plan:
    """Folders, searched through, photos and globs -> jobs, in natural order; under an output folder the tree is kept.

    listed: paths from a list, which keep their folders in the output folder.
    results_in: a folder with a journal -> the absolute paths of the results that it tells of.
    A target that exists is no problem here: the journal decides.
    """
    naming.check()
    if naming.output == STANDARD_STREAM:
        raise UsageError("a batch cannot go to standard output", hint="Give a folder: -o FOLDER")
    output = None if naming.output is None else files.path_of(naming.output)
    if output is not None and output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file, but a batch writes into a folder")
    named = [match for name in inputs for match in expand(name, files)]
    if output is not None and any(identity(output) == identity(path) for path in named):
        raise UsageError(f"{output}: the results would replace their inputs", hint="Choose another -o.")
    search = Search(is_photo, results_in, output, files)
    found = _find(named, [files.path_of(name) for name in listed], search, naming, output)
    jobs = _with_targets(_each_once(found), naming, output)
    if shard is not None:
        jobs = [job for job in jobs if shard.takes(_name_in_batch(job))]
    plan = checked(jobs, search.passed_over, keep_existing=False, files=files)
    problems = [(Job(folder, None), error) for folder, error in search.problems]
    return Plan(plan.jobs, (*problems, *plan.refused), plan.passed_over)


def _find(
    named: Sequence[Path], listed: Sequence[Path], search: Search, naming: Naming, output: Path | None
) -> Iterator[_Found]:
    """Named photos go into the output folder itself, a named folder's photos with the folders below it.

    If several folders are named, each goes under its own name, as with `cp -r`.
    """
    folders = {path for path in (*named, *listed) if path.is_dir()}
    photos = [path for path in (*named, *listed) if path not in folders]
    base = output or _common([path.parent.absolute() for path in photos] or [Path.cwd()])
    several = len(folders.intersection(named)) > 1
    places = [(path, Path(path.resolve().name if several and path in folders else "")) for path in named]
    kept = set(_inputs_of(photos, base, naming.suffix, search, beside=output is None))
    for path, place in [*places, *((path, _downwards(path)) for path in listed)]:
        if path in kept:
            yield _Found(path, place if path in named else place.parent, base)
        if path not in folders:
            continue
        for group in search.photos(path):
            inputs = group if output else _without_results(group, naming.suffix, search)
            folder = place / inputs[0].parent.relative_to(path) if inputs else place
            for photo in inputs:
                yield _Found(photo, folder, output or path)


def _each_once(found: Iterable[_Found]) -> list[_Found]:
    """The first of those that are found under one name."""
    by_name: dict[str, _Found] = {}
    for photo in found:
        by_name.setdefault(os.path.abspath(photo.path), photo)
    return list(by_name.values())


def _common(folders: list[Path]) -> Path:
    """The folder that holds all of these, on disk or in a store. UsageError where there is none."""
    for folder in (folders[0], *folders[0].parents):
        whole = folder.is_absolute() or len(folder.parts) > 1  # less names no store
        if whole and all(folder == other or folder in other.parents for other in folders):
            return folder
    raise UsageError("the photos lie in several stores", hint="Say where the results go: -o FOLDER.")


def _inputs_of(photos: list[Path], base: Path, suffix: str, search: Search, *, beside: bool) -> list[Path]:
    """Of photos that a glob or a list names, those that are no results: they name both, when they are used again."""
    inputs = search.without_results(photos, base)
    if not beside:
        return inputs
    folders: dict[Path, list[Path]] = {}
    for photo in inputs:
        folders.setdefault(photo.parent, []).append(photo)
    return [photo for group in folders.values() for photo in _without_results(group, suffix, search)]


def _downwards(path: Path) -> PurePath:
    """The part of a listed path that can be kept below an output folder."""
    return PurePath(*(part for part in path.parts if part not in (path.anchor, "..")))


def _without_results(photos: list[Path], suffix: str, search: Search) -> list[Path]:
    """Of the photos of one folder, those that are not beside the photo of which they are the result."""
    names = {name for photo in photos for name in (photo.stem, photo.name)}
    own = [photo for photo in photos if photo.stem.endswith(suffix) and photo.stem[: -len(suffix)] in names]
    search.count("a result of deblur", len(own))
    return [photo for photo in photos if photo not in set(own)] if own else photos


def _with_targets(found: list[_Found], naming: Naming, output: Path | None) -> list[Job]:
    """A target for each, no two the same on any file system; whoever keeps its extension has the first choice."""
    targets: dict[_Found, Path] = {}
    taken: set[str] = set()

    def take(photo: _Found, names: Iterable[str]) -> None:
        folder = photo.path.parent if output is None else output / photo.folder
        for name in names:
            key = folded(os.path.join(folder, name))
            if key not in taken:
                taken.add(key)
                targets[photo] = folder / name
                return

    suffix = naming.suffix if output is None else ""
    for photo in found:
        if naming.keeps_extension(photo.path):
            take(photo, islice(naming.names(photo.path, suffix), 1))
    for photo in found:
        if photo not in targets:
            take(photo, naming.names(photo.path, suffix))
    return [Job(photo.path, targets[photo], photo.base) for photo in found]


def _name_in_batch(job: Job) -> str:
    """The same on every machine, wherever the batch's folders are mounted."""
    return os.path.relpath(job.target or "", job.base).replace(os.sep, "/")
