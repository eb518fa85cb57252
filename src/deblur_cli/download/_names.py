"""Names of weights -> entries: those of weights.toml, and those of anybody's repository at the Hugging Face Hub. No network.

hub:OWNER/NAME[@REVISION][:FILE] becomes an entry like those of weights.toml: a file at a full commit, with the SHA-256 of what came. That is noted in the
cache and holds until the Hub is asked anew, so that a branch that moves on, or a file that is exchanged, changes no results unasked.
"""

import hashlib
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from deblur_cli.download._installed import cache_folder, find_installed
from deblur_cli.errors import UsageError, WeightsError
from deblur_cli.registry import HUB_PREFIX, PAPER_WINDOW, HubSource, WeightsEntry, find_weights, load_registry


@dataclass(frozen=True)
class HubName:
    """A repository, and, where they were said, a revision and a file of it."""

    repository: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{HUB_PREFIX}{self.repository}{revision}" + (f":{self.file}" if self.file else "")


def choose_entry(name: str) -> WeightsEntry:
    """The entry of that name; auto is motion where it is installed, else compact. UsageError for an unknown name, WeightsError for one of the Hub that was never fetched."""
    return choose_entries(name)[0]


def choose_entries(name: str) -> tuple[WeightsEntry, ...]:
    """The same, and where auto is motion and defocus is installed too, that one after it: for photos that are out of focus."""
    if is_hub_name(name):
        pinned = find_pinned(name)
        if pinned is None:
            raise WeightsError(
                f"the weights {name} are not installed",
                hint=f"To fetch them: deblur download-weights {name}, or add --download.",
            )
        return (pinned,)
    if name != "auto":
        return (find_weights(name),)
    motion, defocus = find_weights("motion"), load_registry().get("defocus")
    if not find_installed(motion):
        return (find_weights("compact"),)
    return (motion, defocus) if defocus and find_installed(defocus) else (motion,)


def is_hub_name(name: str) -> bool:
    """Whether it means a repository of the Hub."""
    return name.startswith(HUB_PREFIX)


def parse_hub_name(text: str) -> HubName:
    """UsageError for what has another form."""
    found = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?(?::(.+))?", text, re.ASCII)
    if not found or not is_file_name(found[3] or "file"):
        raise UsageError(
            f"{text!r} names no weights at the Hugging Face Hub",
            hint="The form is hub:OWNER/NAME, with @REVISION and :FILE after it where they are needed.",
        )
    return HubName(*found.groups())


def is_file_name(path: str) -> bool:
    """Whether it can be the path of a file inside a repository, on any system, and leads nowhere else."""
    return not {"", ".", ".."} & set(path.split("/")) and not set("\\:") & set(path) and path.isprintable()


def hub_entry(
    repository: str, commit: str, file: str, size_bytes: int, licence: str, sha256: str | None = None
) -> WeightsEntry:
    """A file of a repository as an entry; deblur knows no more of it than the Hub does."""
    return WeightsEntry(
        name=str(HubName(repository, commit, file)),
        title="from the Hugging Face Hub, and unknown to deblur",
        task="deblur",
        sources=(HubSource(repository, commit, file),),
        size_bytes=size_bytes,
        sha256=sha256,
        parameters=0,
        window=PAPER_WINDOW,
        config={},
        training_set="",
        paper="",
        licence=licence,
    )


def find_pinned(name: str) -> WeightsEntry | None:
    """What a name of the Hub's stood for when it was fetched; None if it never was. UsageError for what is no such name."""
    return _read(_path(parse_hub_name(name)))


def all_pinned() -> list[WeightsEntry]:
    """Everything that was ever fetched so."""
    found = (_read(path) for path in sorted(cache_folder().glob("hub-*.pin")))
    return list({entry.name: entry for entry in found if entry}.values())


def pin(text: str, entry: WeightsEntry, sha256: str) -> WeightsEntry:
    """Note what the name stands for from now on, and so does the entry's own: this file, with this hash."""
    known = parse_hub_name(entry.name)
    noted = {
        "repository": known.repository,
        "commit": known.revision,
        "file": known.file,
        "size_bytes": entry.size_bytes,
        "licence": entry.licence,
        "sha256": sha256,
    }
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        for name in (text, entry.name):
            path = _path(parse_hub_name(name))
            scratch = path.with_suffix(f".{os.getpid()}")  # others may pin it too
            scratch.write_text(json.dumps(noted), encoding="utf-8")
            scratch.replace(path)
    except OSError as error:
        raise WeightsError(
            f"{error.filename or cache_folder()}: cannot be written: {error.strerror}",
            hint="DEBLUR_CACHE names another folder.",
        ) from error
    return replace(entry, sha256=sha256)


def _path(name: HubName) -> Path:
    return cache_folder() / f"hub-{hashlib.sha256(str(name).encode()).hexdigest()[:32]}.pin"


def _read(path: Path) -> WeightsEntry | None:
    with suppress(OSError, ValueError, TypeError):  # absent or broken: the Hub is to be asked again
        return hub_entry(**json.loads(path.read_text(encoding="utf-8")))
    return None
