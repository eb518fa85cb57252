"""Clips are decoded in a process of their own, which a broken one may crash: FFmpeg's decoders are C, and meet clips of anybody.

A frame is asked for when it is wanted, so there is one of them at a time.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Self

from deblur_cli.errors import PhotoError
from deblur_cli.isolated import Isolated
from deblur_cli.video._clip import Clip, Frames, opened, survey
from deblur_cli.video._planes import Plane, planes_of


class Reader:
    """The process. `with` it, so that it ends."""

    def __init__(self) -> None:
        self._process = Isolated()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.end()
        self._process.close()

    def survey(self, path: Path, tell: Callable[[int, int], None] = lambda done, frames: None) -> Clip:
        """As `survey`, and PhotoError too for a clip that crashes its decoder."""
        return self._process.call(_survey, path, photo=str(path), hear=lambda news: tell(*news))

    def frames(self, clip: Clip, start: int) -> Iterator[list[Plane]]:
        """The planes of the frames from number `start` on. Those before are decoded again and left, which takes little and is right for every clip."""
        self._process.call(_begin, clip, start, photo=str(clip.path))
        while (planes := self._process.call(_next, clip.path, photo=str(clip.path))) is not None:
            yield planes


# In the process

_frames: Iterator[list[Plane]] | None = None


def _survey(tell: Callable[[tuple[int, int]], None], path: Path) -> Clip:
    return survey(path, lambda done, frames: tell((done, frames)))


def _begin(clip: Clip, start: int) -> None:
    global _frames  # it stays here from one call to the next
    _frames = _decoded(clip, start)


def _next(path: Path) -> list[Plane] | None:
    if _frames is None:  # another process than the one that began
        raise PhotoError(f"{path}: the process that read it has ended", hint="Run again: it goes on.")
    return next(_frames, None)


def _decoded(clip: Clip, start: int) -> Iterator[list[Plane]]:
    with opened(clip.path) as container:
        for _, frame in islice(Frames(container, container.streams[clip.index]), start, None):
            yield planes_of(_planar(frame, clip))


def _planar(frame: Any, clip: Clip) -> Any:  # noqa: ANN401
    return frame if frame.format.name == clip.layout.planar else frame.reformat(format=clip.layout.planar)
