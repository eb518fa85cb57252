"""Work that outlasts a kill: a hidden folder beside the result, in which each finished segment of the clip is a file.

It belongs to one clip and one way of restoring it; anything else begins anew. A segment is written whole or not at all.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from deblur_cli.errors import PhotoError
from deblur_cli.photo import replace_file, sweep_temporaries

OWNER, LOCK = "clip.json", "lock"


@dataclass(frozen=True)
class EncodedFrame:
    """A packet of the encoder: its time of showing and its duration in units of the clip's time base."""

    time: int
    duration: int
    is_key: bool
    data: bytes


@dataclass(frozen=True)
class Segment:
    """Encoded frames in the order of decoding, and what there is to say of them (a mapping that JSON can hold)."""

    frames: tuple[EncodedFrame, ...]
    told: Mapping[str, Any]


class Segments:
    """The folder of one result."""

    def __init__(self, target: Path) -> None:
        self.folder = target.with_name(f".{target.name}.deblur-video")

    @contextmanager
    def claimed(self, owner: Mapping[str, Any]) -> Iterator[None]:
        """Inside, the folder is ours alone, and holds work of this owner or none. PhotoError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PhotoError(
                f"{self.folder}: the folder cannot be made: {error.strerror}", hint="Choose another -o."
            ) from error
        try:
            with FileLock(self.folder / LOCK, blocking=False):
                if not self.is_of(owner):
                    for old in self.folder.iterdir():
                        if old.name != LOCK:
                            old.unlink()
                    replace_file(self.folder / OWNER, _line(owner))
                sweep_temporaries([self.folder / OWNER, self._path(self.count())])
                yield
        except Timeout as error:
            raise PhotoError(
                f"{self.folder}: another deblur is at work on the same result",
                hint="Wait until it has ended.",
            ) from error

    def is_of(self, owner: Mapping[str, Any]) -> bool:
        """Whether what is there was begun with the same clip and options."""
        path = self.folder / OWNER
        return path.is_file() and path.read_bytes() == _line(owner)

    def count(self) -> int:
        """How many segments there are, from the first on without a gap."""
        number = 0
        while self._path(number).is_file():
            number += 1
        return number

    def write(self, number: int, segment: Segment) -> None:
        """Keep a segment. PhotoError if there is no room for it."""
        index = [[frame.time, frame.duration, frame.is_key, len(frame.data)] for frame in segment.frames]
        head = json.dumps({"frames": index, "told": segment.told}).encode() + b"\n"
        replace_file(self._path(number), head + b"".join(frame.data for frame in segment.frames))

    def read(self, number: int) -> Segment:
        """A segment that is there."""
        head, _, data = self._path(number).read_bytes().partition(b"\n")
        values, frames, start = json.loads(head), [], 0
        for time, duration, is_key, size in values["frames"]:
            frames.append(EncodedFrame(time, duration, is_key, data[start : start + size]))
            start += size
        return Segment(tuple(frames), values["told"])

    def remove(self) -> None:
        """The result is whole: none of this is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.segment"


def _line(owner: Mapping[str, Any]) -> bytes:
    return json.dumps(owner, sort_keys=True).encode() + b"\n"
