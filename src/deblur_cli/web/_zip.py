"""A ZIP file that is sent while it is made, so that it never lies on the disk, nor in memory, as a whole."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

CHUNK_BYTES = 1 << 20


class _Pipe:
    """What is written to it is taken away again by `take`; it cannot go back, which `zipfile` knows how to live with."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def zipped(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """The parts of a ZIP file of these files under these names; not compressed, since photos are."""
    pipe = _Pipe()
    with ZipFile(pipe, "w", ZIP_STORED) as archive:  # type: ignore[call-overload]  # it asks for no more of a file
        for name, path in files:
            info = ZipInfo.from_file(path, name)
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while data := source.read(CHUNK_BYTES):
                    target.write(data)
                    yield pipe.take()
            yield pipe.take()
    yield pipe.take()


def unlike_names(names: Iterable[str]) -> Iterator[str]:
    """The names again, those that came before with a number: a.jpg, a-2.jpg. Names that differ by case alone count as equal."""
    taken: set[str] = set()
    for name in names:
        path, number, unlike = Path(name), 1, name
        while unlike.casefold() in taken:
            number += 1
            unlike = f"{path.stem}-{number}{path.suffix}"
        taken.add(unlike.casefold())
        yield unlike
