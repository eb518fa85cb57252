"""What is in a clip: all of it is decoded once, before any work, so that what cannot be done is known at once and not after a night."""

from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from deblur_cli.errors import PhotoError
from deblur_cli.video._planes import Colours, Layout

Tags = tuple[int, int, int, int]
"""Primaries, transfer, matrix (as H.273 numbers them) and range (1 limited, 2 full, 0 untold)."""
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
AS_BYTES = "surrogateescape"
"""How text in no valid encoding, as old clips have it, comes through unchanged."""
PICTURES = ("_pipe", "image2")
"""How the names of FFmpeg's formats of single pictures end."""
SPECIAL_SIDE_DATA = {"DOVI_METADATA": "Dolby Vision", "DYNAMIC_HDR_PLUS": "HDR10+"}
UNTOLD = (0, 2)
"""Numbers of primaries, transfers and matrices that tell nothing."""
MOST_BACK_S = 0.5
"""A frame that is to be shown before the last one by no more than this is shown just after it."""


@dataclass(frozen=True)
class Clip:
    """A clip and its first video stream.

    display_matrix: the nine numbers by which players turn it, or None. times: of each frame, in units of time_base; strictly rising.
    last_duration: of the last frame. captions: of the frames, by number, that have any inside. interlaced and HDR clips are refused, so there are none.
    """

    path: Path
    index: int
    codec: str
    muxer: str
    layout: Layout
    colours: Colours
    height: int
    width: int
    time_base: Fraction
    rate: Fraction
    tags: Tags
    pixel_aspect: Fraction | None
    display_matrix: tuple[int, ...] | None
    times: "array[int]"
    last_duration: int
    captions: Mapping[int, bytes]
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last."""
        return float((self.times[-1] + self.last_duration - self.times[0]) * self.time_base)

    def duration_of(self, number: int) -> int:
        """Of a frame, in units of time_base."""
        last = number + 1 == len(self.times)
        return self.last_duration if last else self.times[number + 1] - self.times[number]


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The clip, to read from. PhotoError if it is none."""
    try:
        container = av.open(str(path), metadata_errors=AS_BYTES)
    except FileNotFoundError as error:
        raise PhotoError(f"{path}: no such file") from error
    except av.error.InvalidDataError as error:
        raise PhotoError(
            f"{path}: is no clip, or a damaged one",
            hint="If it plays elsewhere, save it anew: ffmpeg -i CLIP -c copy NEW.mkv",
        ) from error
    except av.error.FFmpegError as error:
        raise PhotoError(f"{path}: cannot be read: {error.strerror}") from error
    with container:
        yield container


def packets_of(container: Any, *streams: Any) -> Iterator[Any]:  # noqa: ANN401
    """The packets of some streams, as far as the file makes sense. PhotoError if it can no longer be read."""
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets, None)
        except av.error.InvalidDataError:
            packet = None
        except av.error.FFmpegError as error:
            raise PhotoError(f"{container.name}: cannot be read: {error.strerror}") from error
        if packet is None:
            return
        yield packet


def video_stream(container: Any, path: Path) -> Any:  # noqa: ANN401
    """The first stream of moving pictures; covers are none. PhotoError if there is none."""
    moving = [stream for stream in container.streams.video if not is_cover(stream)]
    if moving:
        return moving[0]
    if container.streams.audio:
        raise PhotoError(f"{path}: holds sound, but no video")
    raise PhotoError(f"{path}: holds no video")


def is_cover(stream: Any) -> bool:  # noqa: ANN401
    """Whether a stream is a single picture that stands for the clip."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


class Frames:
    """The frames of a stream in the order in which they are shown, each with its time. broken: packets that no decoder could make sense of."""

    def __init__(self, container: Any, stream: Any) -> None:  # noqa: ANN401
        self._container, self._stream = container, stream
        self.broken = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        step = max(1, round(1 / (rate * self._stream.time_base)))
        last: int | None = None
        for frame in self._decoded():
            told = frame.pts if frame.pts is not None else frame.dts
            time = told if told is not None else (0 if last is None else last + step)
            if last is not None and (last - time) * self._stream.time_base > MOST_BACK_S:
                raise PhotoError(
                    f"{self._container.name}: the times of its frames jump back after {float(last * self._stream.time_base):.1f} s",
                    hint="It may be two clips in one file: cut it there, or save it anew: ffmpeg -i CLIP -c copy NEW.mkv",
                )
            last = time if last is None else max(time, last + 1)
            yield last, frame

    def _decoded(self) -> Iterator[Any]:
        for packet in packets_of(self._container, self._stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self.broken += 1
                continue
            yield from frames


def survey(path: Path, tell: Callable[[int, int], None] = lambda done, frames: None) -> Clip:
    """Look at every frame of a clip. tell: frames so far, and how many there will be, 0 if nobody knows.

    PhotoError for what is no clip, holds no video, or holds one that we would spoil: interlaced, HDR, of changing size.
    """
    with opened(path) as container:
        if container.format.name.endswith(PICTURES):
            raise PhotoError(f"{path}: is a picture, no clip", hint=f"To sharpen it: deblur {path}")
        stream = video_stream(container, path)
        context = stream.codec_context
        if context is None:
            raise PhotoError(f"{path}: there is no decoder for its video")
        frames, times, first, duration = Frames(container, stream), array("q"), None, 0
        captions = dict[int, bytes]()
        for time, frame in frames:
            first = first or _first(frame, path)
            _check(frame, first, path, len(times))
            if data := frame_side_data(frame).get("A53_CC"):
                captions[len(times)] = bytes(data)
            times.append(time)
            duration = frame.duration
            tell(len(times), stream.frames)
        if first is None:
            raise PhotoError(
                f"{path}: none of its frames can be decoded", hint="It is damaged, or cut short."
            )
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        notes = []
        if frames.broken:
            notes.append(f"damaged in {frames.broken} places: what cannot be decoded there is missing")
        return Clip(
            path,
            stream.index,
            context.codec.canonical_name,
            container.format.name,
            first.layout,
            Colours.of(first.layout, first.height, context.colorspace, context.color_range, path),
            first.height,
            first.width,
            stream.time_base,
            rate,
            tags_of(context),
            context.sample_aspect_ratio or None,
            first.matrix,
            times,
            duration or max(1, round(1 / (rate * stream.time_base))),
            captions,
            tuple(notes),
        )


@dataclass(frozen=True)
class _First:
    """What every frame has in common with the first."""

    layout: Layout
    height: int
    width: int
    matrix: tuple[int, ...] | None


def _first(frame: Any, path: Path) -> _First:  # noqa: ANN401
    return _First(Layout.of(frame, path), frame.height, frame.width, matrix_of(frame))


def _check(frame: Any, first: _First, path: Path, number: int) -> None:  # noqa: ANN401
    if (frame.height, frame.width, frame.format.name) != (first.height, first.width, first.layout.name):
        raise PhotoError(
            f"{path}: its pictures change from {first.width}x{first.height} {first.layout.name} to {frame.width}x{frame.height} {frame.format.name} at frame {number + 1}",
            hint="Cut it there, and restore the parts.",
        )
    if frame.interlaced_frame:
        raise PhotoError(
            f"{path}: is interlaced (frame {number + 1}): each of its pictures is two half pictures of different moments",
            hint="Make whole pictures of them first, for instance: ffmpeg -i CLIP -vf bwdif -crf 12 -c:a copy NEW.mkv",
        )
    kind = HDR_TRANSFERS.get(frame.color_trc) or next(
        (name for key, name in SPECIAL_SIDE_DATA.items() if key in frame_side_data(frame)), None
    )
    if kind:
        raise PhotoError(
            f"{path}: is HDR ({kind}), which the networks have never seen, and whose metadata would be lost",
            hint="Make an SDR clip of it first (tone mapping), and restore that.",
        )


def tags_of(context: Any) -> Tags:  # noqa: ANN401
    """Those of a decoder."""
    return context.color_primaries, context.color_trc, context.colorspace, context.color_range


def matrix_of(frame: Any) -> tuple[int, ...] | None:  # noqa: ANN401
    """By which players turn a frame."""
    data = frame_side_data(frame).get("DISPLAYMATRIX")
    return None if data is None else tuple(int(value) for value in np.frombuffer(data, np.int32))


def frame_side_data(frame: Any) -> dict[str, Any]:  # noqa: ANN401
    """What a frame tells besides its pixels, by its name in PyAV."""
    return {data.type.name: data for data in frame.side_data}
