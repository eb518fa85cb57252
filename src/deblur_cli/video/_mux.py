"""Finished segments, and every other stream of the clip as it is, into one file.

Encoders of segments each begin their count of decoding times anew, so all of them are counted here, from the times of showing.
"""

import errno
import heapq
import os
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from deblur_cli.errors import PhotoError
from deblur_cli.photo import whole_file
from deblur_cli.video._clip import (
    AS_BYTES,
    UNTOLD,
    Clip,
    Tags,
    is_cover,
    matrix_of,
    opened,
    packets_of,
    tags_of,
    video_stream,
)
from deblur_cli.video._encoder import Encoder, in_turn
from deblur_cli.video._formats import QUICKTIME
from deblur_cli.video._planes import FULL_RANGE
from deblur_cli.video._segments import Segments

CONTAINERS_OWN = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
"""Metadata that tells of the file that it is in."""
STREAMS_OWN = (
    "duration",
    "encoder",
    "_statistics_writing_app",
    "_statistics_writing_date_utc",
    "_statistics_tags",
    "bps",
    "number_of_frames",
    "number_of_bytes",
)
QUICKTIME_KEY = "com."
"""How names of metadata begin that phones write into MP4 and MOV."""
MATROSKA = ("matroska", "webm")
"""Containers that count in milliseconds, and whose covers are attached files."""
COVER_FILE = {"filename": "cover.jpg", "mimetype": "image/jpeg"}
"""What such a file is called where the clip does not say."""
DOUBTS = ("video", "audio", "attachment", "subtitle", "data")
"""Kinds of streams; those that a container is the likeliest to refuse come last."""
MUXERS_OWN = (("bin_data", "SubtitleHandler"), (None, "TimeCodeHandler"))
"""What MP4's tracks of chapters and of time codes look like, which its muxer makes itself."""


def write_clip(
    clip: Clip, segments: Segments, encoder: Encoder, target: Path, *, overwrite: bool
) -> tuple[str, ...]:
    """Write the result; what could not be kept. PhotoError, and the target is as it was."""
    try:
        with whole_file(Path(os.path.realpath(target)), overwrite=overwrite) as temporary:
            return _write(clip, segments, encoder, temporary)
    except OSError as error:  # of ours and of FFmpeg's
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else f"cannot be written: {error.strerror or error}"
        raise PhotoError(f"{target}: {reason}") from error
    except av.error.FFmpegError as error:
        raise PhotoError(f"{target}: cannot be written: {error.strerror}") from error


def _write(clip: Clip, segments: Segments, encoder: Encoder, path: Path) -> tuple[str, ...]:
    with opened(clip.path) as source:
        tracks, notes = _Tracks(clip, encoder, source, path), _rounding(clip, encoder)
        while (problem := tracks.open()) is not None:
            notes.append(problem)
        with tracks.container:
            for packet in heapq.merge(_encoded(clip, segments, tracks), _copied(source, tracks), key=_when):
                tracks.mux(packet)
        notes += tracks.refused()
        notes += _losses(clip, source, encoder.muxer, path)
    return tuple(notes)


def _losses(clip: Clip, source: Any, muxer: str, path: Path) -> Iterator[str]:  # noqa: ANN401
    """What is not in the file that was written, found by reading it."""
    with opened(path) as written:
        stream = video_stream(written, path)
        if matrix_of(next(written.decode(stream))) != clip.display_matrix:
            yield f"how it is to be turned cannot be kept in {muxer}"
        if not _same_colours(clip.tags, tags_of(stream.codec_context)):
            yield f"its colour tags cannot be kept in {muxer}"
        if sum(map(is_cover, written.streams)) != sum(map(is_cover, source.streams)):
            yield f"its cover cannot be kept in {muxer}"
        if len(written.chapters()) != len(source.chapters()):
            yield f"its chapters cannot be kept in {muxer}"
        kept = {name.lower() for name in written.metadata}
        if lost := [name for name in _without(source.metadata, CONTAINERS_OWN) if name.lower() not in kept]:
            yield f"metadata that cannot be kept in {muxer}: {', '.join(lost)}"


def _same_colours(old: Tags, new: Tags) -> bool:
    """Whether two tell the same, where the first tells anything; a range that is not told is limited."""
    told = all(a == b for a, b in zip(old[:3], new[:3], strict=True) if a not in UNTOLD)
    return told and (old[3] == FULL_RANGE) == (new[3] == FULL_RANGE)


def _rounding(clip: Clip, encoder: Encoder) -> list[str]:
    """What is lost where a container counts coarser than the clip."""
    if encoder.muxer in MATROSKA and any(time * clip.time_base * 1000 % 1 for time in clip.times):
        return [f"the times of its frames are rounded to milliseconds, as {encoder.muxer} counts"]
    return []


class _Tracks:
    """The streams of the result. A container says only when it is begun what it cannot hold: then it is begun again without that."""

    def __init__(self, clip: Clip, encoder: Encoder, source: Any, path: Path) -> None:  # noqa: ANN401
        self._clip, self._encoder, self._source, self._path = clip, encoder, source, path
        self._left_out = set[int]()
        self._refused = Counter[int]()
        self.container: Any = None
        self.video: Any = None
        self.others: dict[int, Any] = {}

    def open(self) -> str | None:
        """Begin the file. A note if that did not succeed and is worth another try."""
        options = {"movflags": "use_metadata_tags"} if self._has_quicktime_keys() else {}
        self.container = av.open(
            str(self._path),
            "w",
            format=self._encoder.muxer,
            container_options=options,
            metadata_errors=AS_BYTES,
        )
        self.container.metadata.update(_without(self._source.metadata, CONTAINERS_OWN))
        self.others = {}
        for stream in self._source.streams:
            if stream.index == self._clip.index:
                self.video = self._add_video(stream)
            elif stream.index not in self._left_out and not _is_muxers_own(stream):
                try:
                    self.others[stream.index] = self._add(stream)
                except (ValueError, av.error.FFmpegError):
                    return self._leave_out(stream)
        if chapters := self._source.chapters():
            self.container.set_chapters(chapters)
        try:
            with in_turn():
                self.container.start_encoding()
        except (ValueError, av.error.FFmpegError) as error:
            doubtful = [self._source.streams[index] for index in self.others]
            if not doubtful or isinstance(error, OSError):
                raise
            return self._leave_out(max(doubtful, key=_doubt))
        return None

    def mux(self, packet: Any) -> None:  # noqa: ANN401
        """Write a packet; one that is copied and makes no sense to the muxer is left out and counted."""
        try:
            self.container.mux(packet)
        except OSError:
            raise
        except av.error.FFmpegError:
            if packet.stream is self.video:
                raise
            self._refused[packet.stream.index] += 1

    def refused(self) -> Iterator[str]:
        """What was left out so."""
        for index, track in self.others.items():
            if count := self._refused[track.index]:
                yield f"{count} packets of its stream {index} make no sense (their times jump, perhaps) and are left out"

    def _leave_out(self, stream: Any) -> str:  # noqa: ANN401
        self._left_out.add(stream.index)
        return f"its stream {stream.index} ({stream.type}{_codec_in_words(stream)}) cannot be kept in {self._encoder.muxer}"

    def _add_video(self, like: Any) -> Any:  # noqa: ANN401
        stream = self.container.add_stream(self._encoder.name, rate=self._clip.rate)
        self._encoder.configure(stream.codec_context, self._clip)
        stream.time_base = self._clip.time_base
        if self._clip.display_matrix:
            stream.set_display_matrix(self._clip.display_matrix)
        return _dressed(stream, like)

    def _add(self, like: Any) -> Any:  # noqa: ANN401
        if like.type == "attachment":
            return self.container.add_attachment(like.name or "", like.mimetype or "", like.data)
        if is_cover(like) and self._encoder.muxer in MATROSKA:
            name, kind = (like.metadata.get(key, default) for key, default in COVER_FILE.items())
            return self.container.add_attachment(name, kind, _cover_of(self._clip.path, like.index))
        return _dressed(self.container.add_stream_from_template(like, opaque=True), like)

    def _has_quicktime_keys(self) -> bool:
        names = [*self._source.metadata]
        return self._encoder.muxer in QUICKTIME and any(name.startswith(QUICKTIME_KEY) for name in names)


def _dressed(stream: Any, like: Any) -> Any:  # noqa: ANN401
    """A stream with another's metadata and uses."""
    stream.metadata.update(_without(like.metadata, STREAMS_OWN))
    if name := like.metadata.get("name"):  # as MP4's title of a stream is called when it is read
        stream.metadata.setdefault("title", name)
    stream.disposition = like.disposition
    return stream


def _without(metadata: dict[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in metadata.items() if name.lower().partition("-")[0] not in names}


def _is_muxers_own(stream: Any) -> bool:  # noqa: ANN401
    return stream.type == "data" and (stream.name, stream.metadata.get("handler_name")) in MUXERS_OWN


def _doubt(stream: Any) -> tuple[int, int]:  # noqa: ANN401
    """Of the streams of a file that cannot be begun, which is the likeliest cause."""
    return DOUBTS.index(stream.type) if stream.type in DOUBTS else len(DOUBTS), stream.index


def _codec_in_words(stream: Any) -> str:  # noqa: ANN401
    return f", {stream.codec_context.name}" if stream.codec_context else ""


def _cover_of(path: Path, index: int) -> bytes:
    """The file that a cover is."""
    with opened(path) as source:
        return next(
            (bytes(packet) for packet in packets_of(source, source.streams[index]) if packet.size), b""
        )


def _when(packet: Any) -> float:  # noqa: ANN401
    """When a packet is wanted by who plays the file."""
    time = packet.dts if packet.dts is not None else packet.pts
    return float((time or 0) * packet.time_base)


def _copied(source: Any, tracks: _Tracks) -> Iterator[Any]:  # noqa: ANN401
    """The packets of all other streams, untouched."""
    streams = [source.streams[index] for index, track in tracks.others.items() if track.type != "attachment"]
    if not streams:
        return
    for packet in packets_of(source, *streams):
        if packet.pts is None and packet.dts is None and is_cover(packet.stream):
            packet.pts = packet.dts = 0
        if packet.size and (packet.pts is not None or packet.dts is not None):
            packet.stream = tracks.others[packet.stream_index]
            yield packet


def _encoded(clip: Clip, segments: Segments, tracks: _Tracks) -> Iterator[Any]:
    """The packets of the segments, with decoding times that rise and that no time of showing comes before."""
    late, number = _reordering(segments), 0
    first_step = clip.duration_of(0)
    for index in range(segments.count()):
        for frame in segments.read(index).frames:
            packet = av.Packet(frame.data)
            packet.time_base = clip.time_base
            packet.pts, packet.duration, packet.is_keyframe = frame.time, frame.duration, frame.is_key
            before = number - late
            packet.dts = clip.times[before] if before >= 0 else clip.times[0] + before * first_step
            packet.stream = tracks.video
            number += 1
            yield packet


def _reordering(segments: Segments) -> int:
    """By how many frames decoding is ahead of showing, at most."""
    late = 0
    for index in range(segments.count()):
        times = array("q", (frame.time for frame in segments.read(index).frames))
        rank = {time: place for place, time in enumerate(sorted(times))}
        late = max(late, *(place - rank[time] for place, time in enumerate(times)))
    return late
