"""How a plan looks at files where some of them are remote: the `Files` of `jobs`."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from deblur_cli.errors import PhotoError
from deblur_cli.storage import _store
from deblur_cli.storage._path import RemotePath, path_of


class RemoteFiles:
    """Local paths as before, by `local`; remote ones by listings, one for each folder, so that no photo costs a request."""

    def __init__(self, local: Any, output: str | None) -> None:  # noqa: ANN401  a `jobs.Files`, which is not known here
        self._local = local
        self._folders: dict[str, dict[str, RemotePath]] = {}
        if output and isinstance(path := path_of(output), RemotePath):
            _store.check_output(path)

    def path_of(self, name: str | os.PathLike[str]) -> Path:
        """A name, or an entry of a listing."""
        return name if isinstance(name, RemotePath) else path_of(os.fspath(name))

    def glob(self, pattern: str) -> Iterable[Path]:
        """What matches a pattern, by a listing of the folders that it may lead to."""
        path = path_of(pattern)
        return _store.matching(path) if isinstance(path, RemotePath) else self._local.glob(pattern)

    def scan(self, folder: str, key: Callable[[str], Any]) -> list[Any]:
        """The entries of a folder, sorted by their names."""
        path = path_of(folder)
        if not isinstance(path, RemotePath):
            return self._local.scan(folder, key)  # type: ignore[no-any-return]
        return sorted(self._listed(path).values(), key=lambda entry: key(entry.name))

    def status(self, path: Path) -> os.stat_result:
        """Of a file that may be there."""
        if not isinstance(path, RemotePath):
            return path.stat()
        entry = self._listed(path.parent).get(path.name)
        if entry is None:
            raise FileNotFoundError(path)
        return entry.stat()

    def folder_problem(self, folder: Path) -> PhotoError | None:
        """Remote folders need not be made; whether anything can be written there, the journal finds out before any work."""
        problem: PhotoError | None = (
            None if isinstance(folder, RemotePath) else self._local.folder_problem(folder)
        )
        return problem

    def _listed(self, folder: RemotePath) -> dict[str, RemotePath]:
        if str(folder) not in self._folders:
            self._folders[str(folder)] = {entry.name: entry for entry in _store.entries(folder)}
        return self._folders[str(folder)]
