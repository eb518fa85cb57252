"""A file of the Hugging Face Hub: fetched by the Hub's own client into its own cache, and checked by us.

The client honours HF_HOME, HF_ENDPOINT, HF_TOKEN and proxies. It checks the size of what arrives and not its SHA-256.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from deblur_cli import __version__
from deblur_cli.download._installed import (
    Installed,
    check_hash,
    check_size,
    expected_hash,
    hash_file,
    hub_cache_folder,
    note_installed,
)
from deblur_cli.download._names import HubName, find_pinned, hub_entry, is_file_name, parse_hub_name
from deblur_cli.download._url import TIMEOUT_S, Progress, is_allowed, require_space
from deblur_cli.errors import WeightsError
from deblur_cli.registry import HubSource, WeightsEntry

LIBRARY = "deblur-cli"
WEIGHTS_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
"""Of files that may be meant where none is named; one that is named may be called as it likes."""

SHOWN = 20
"""So many files of a repository are listed, and no more."""


def hub_url(source: HubSource) -> str:
    """Where the file is, at the Hub or at the mirror that HF_ENDPOINT names."""
    from huggingface_hub import hf_hub_url

    return hf_hub_url(source.hub, source.file, revision=source.revision)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def ask_hub(name: str) -> WeightsEntry:
    """What hub:OWNER/NAME[@REVISION][:FILE] stands for today: one file at a full commit. WeightsError says what is wrong with it, or keeps the Hub away."""
    try:
        entry = _ask(parse_hub_name(name))
    except WeightsError as error:
        otherwise = (
            f"What was fetched before needs no network: --weights {name}"
            if find_pinned(name)
            else "A mirror of the Hub: set HF_ENDPOINT. With a file from elsewhere: --weights FILE"
        )
        raise WeightsError(f"{name}: {error.message}", hint=error.hint or otherwise) from error
    return find_pinned(entry.name) or entry  # what was fetched before must be the same again


def _ask(asked: HubName) -> WeightsEntry:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if is_offline():
        raise WeightsError("HF_HUB_OFFLINE forbids to ask the Hub")
    if not is_allowed(constants.ENDPOINT):
        raise WeightsError("only https is trusted; see HF_ENDPOINT")
    page = f"{constants.ENDPOINT}/{asked.repository}"
    api = HfApi(library_name=LIBRARY, library_version=__version__)
    with _explained_errors():
        try:
            found = api.model_info(
                asked.repository, revision=asked.revision, files_metadata=True, timeout=TIMEOUT_S
            )
        except RevisionNotFoundError as error:
            raise WeightsError(
                f"there is no revision {asked.revision!r} of it",
                hint=f"Look for those that there are at {page}",
            ) from error
        except RepositoryNotFoundError as error:
            raise WeightsError(
                "the Hub has no such repository, or it is a private one",
                hint=f"Look for it at {page}; HF_TOKEN is the key to your private ones.",
            ) from error
    sizes = {each.rfilename: each.size for each in found.siblings or [] if is_file_name(each.rfilename)}
    file = _file_of(asked, list(sizes))
    commit, size_bytes = found.sha or "", sizes[file]
    if not size_bytes or not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise WeightsError("the Hub does not say at which commit it is, or how large the file is")
    licence = found.card_data.get("license") if found.card_data else None
    return hub_entry(asked.repository, commit, file, size_bytes, f"{licence or 'none stated'}; see {page}")


def _file_of(asked: HubName, files: list[str]) -> str:
    """The file that was asked for, or the only one that may hold weights. WeightsError if there is none, or a choice."""
    candidates = sorted(name for name in files if name.endswith(WEIGHTS_ENDINGS))
    if asked.file and asked.file in files:
        return asked.file
    if not asked.file and len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise WeightsError(
            f"there is no file {asked.file!r} in it" if asked.file else "there is no file of weights in it",
            hint=f"It holds: {', '.join(sorted(files)[:SHOWN]) or 'nothing'}",
        )
    more = [f"... and {len(candidates) - SHOWN} more"] if len(candidates) > SHOWN else []
    names = [str(replace(asked, file=name)) for name in candidates[:SHOWN]]
    raise WeightsError(
        f"there is no file {asked.file!r} in it"
        if asked.file
        else f"there are {len(candidates)} files of weights in it",
        hint="\n".join(["Choose one:", *names, *more]),
    )


def fetch_from_hub(source: HubSource, entry: WeightsEntry, progress: Progress) -> Installed:
    """Fetch, check and note the file, replacing what the Hub's cache holds. WeightsError says what went wrong."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download

    url = hub_url(source)
    if not is_allowed(url):
        raise WeightsError("only https is trusted; see HF_ENDPOINT")
    with _explained_errors():
        offered = get_hf_file_metadata(url, library_name=LIBRARY, library_version=__version__)
    hub_hash = offered.etag if re.fullmatch(r"[0-9a-f]{64}", offered.etag or "") else None
    expected, checked = expected_hash(entry, hub_hash)
    if offered.size not in (None, entry.size_bytes):
        raise WeightsError(f"the Hub offers {offered.size} bytes instead of {entry.size_bytes}")
    if hub_hash and hub_hash != expected:
        raise WeightsError(f"the Hub offers a file with the SHA-256 {hub_hash} instead of {expected}")
    with _explained_errors():
        hub_cache_folder().mkdir(parents=True, exist_ok=True)
        require_space(hub_cache_folder(), entry.size_bytes)
        path = Path(
            hf_hub_download(
                source.hub,
                source.file,
                revision=source.revision,
                force_download=True,  # what is there, if anything, is damaged
                tqdm_class=_bar_class(progress, entry.size_bytes),
                library_name=LIBRARY,
                library_version=__version__,
            )
        )
    try:
        check_size(entry, path.stat().st_size)
        found = hash_file(path).hexdigest()
        check_hash(found, expected)
    except WeightsError:
        path.resolve().unlink(missing_ok=True)  # what the cache's link points to
        path.unlink(missing_ok=True)
        raise
    return note_installed(entry, path, "Hub cache", found, checked)


@contextmanager
def _explained_errors() -> Iterator[None]:
    """Whatever the client raises as WeightsError, and its log kept quiet meanwhile.

    Its errors come from four libraries (the Hub's, its HTTP client, hf_xet, the standard library), which change with
    its version; here each of them means the same: this source failed.
    """
    from huggingface_hub.utils import logging as hub_logging

    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity(max(verbosity, logging.ERROR))
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(_in_words(error)) from error
    finally:
        hub_logging.set_verbosity(verbosity)


def _in_words(error: BaseException) -> str:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and error.__cause__:  # it wraps whatever kept the Hub away
        return _in_words(error.__cause__)
    if isinstance(error, HfHubHTTPError):
        details = f": {error.server_message}" if error.server_message else ""
        return f"the Hub answers {error.response.status_code} {error.response.reason_phrase}{details}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _bar_class(progress: Progress, size_bytes: int) -> Any:  # noqa: ANN401  # the client wants a tqdm, or its like
    """A class that the client takes for tqdm, and that only reports bytes.

    The client makes one bar, or, with Xet, one for what came over the wire and one for what is on the disk.
    """
    furthest = 0

    class Bar:
        def __init__(self, *_: object, total: float | None = None, initial: float = 0, **__: object) -> None:
            self.total, self.n = total, initial

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            return lambda *_, **__: None  # everything else that tqdm can do is about drawing

        def update(self, amount: float | None = 1) -> None:
            nonlocal furthest
            self.n += amount or 0
            furthest = max(furthest, int(self.n))
            progress(min(furthest, size_bytes), size_bytes)

    return Bar
