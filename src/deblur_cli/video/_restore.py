"""The loop: frames in order through `process`, segment after segment; then all of them, and everything else of the clip, into one file."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from deblur_cli.errors import PhotoError
from deblur_cli.photo import Encoding, Photo
from deblur_cli.video._captions import CODECS, with_captions
from deblur_cli.video._clip import Clip
from deblur_cli.video._encoder import SEGMENT_FRAMES, Encoder
from deblur_cli.video._flicker import Flicker, Lumas
from deblur_cli.video._mux import write_clip
from deblur_cli.video._planes import Plane, fill_planes
from deblur_cli.video._reader import Reader
from deblur_cli.video._segments import EncodedFrame, Segment, Segments

MEASURED_FRAMES = 3
"""Before these the estimate is not made; the first of them, which warms everything up, does not count."""


class Restored(Protocol):
    """What `process` returns."""

    @property
    def photo(self) -> Photo: ...
    @property
    def details(self) -> Any: ...  # noqa: ANN401


Process = Callable[[Photo, Callable[[float, int], None]], Restored]


@dataclass(frozen=True)
class Work:
    """What is asked for. made_with: whatever the frames depend on besides the clip; work that was interrupted goes on where it is the same.

    tell: frames done (a fraction inside a frame), and all of them. estimate: told once, the seconds that a frame takes, and the frames
    that are left.
    """

    target: Path
    reader: Reader
    encoder: Encoder
    process: Process
    made_with: Mapping[str, Any]
    overwrite: bool
    tell: Callable[[float, int], None]
    estimate: Callable[[float, int], None]


@dataclass(frozen=True)
class Outcome:
    """frames: of the clip. resumed: so many of them were done by a run before. told: flicker and change, as for --json."""

    frames: int
    resumed: int
    told: Mapping[str, Any]
    notes: tuple[str, ...]


def restore_clip(clip: Clip, work: Work) -> Outcome:
    """Restore a clip into a file that is there only when it is whole. PhotoError."""
    segments = Segments(work.target)
    with segments.claimed(_owner(clip, work)):
        resumed = done = _done(clip, segments)
        if done < len(clip.times):
            pace = _Pace(len(clip.times), done, work)
            frames = work.reader.frames(clip, done)
            while done < len(clip.times):
                done += _restore_segment(clip, work, done, islice(frames, SEGMENT_FRAMES), pace, segments)
        told = _told([segments.read(number).told for number in range(segments.count())])
        notes = write_clip(clip, segments, work.encoder, work.target, overwrite=work.overwrite)
        segments.remove()
    if clip.captions and work.encoder.codec not in CODECS:
        notes = (*notes, f"captions inside the pictures cannot be kept in {work.encoder.codec}")
    return Outcome(len(clip.times), resumed, told, (*clip.notes, *notes))


def measure(clip: Clip, work: Work) -> None:
    """Only tell the estimate; what a run before has done stays as it is."""
    segments = Segments(work.target)
    done = _done(clip, segments) if segments.is_of(_owner(clip, work)) else 0
    if done < len(clip.times):
        pace, segment = _Pace(len(clip.times), done, work), _Segment(clip, work, done)
        for number, planes in enumerate(islice(work.reader.frames(clip, done), MEASURED_FRAMES), done):
            segment.add(number, planes, pace)


def _owner(clip: Clip, work: Work) -> dict[str, Any]:
    """Whatever decides what a segment holds."""
    status = clip.path.stat()
    return {
        "clip": str(clip.path.absolute()),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "encoder": asdict(work.encoder),
        "segment_frames": SEGMENT_FRAMES,
        "libraries": {name: list(version) for name, version in av.library_versions.items()},
        "made_with": dict(work.made_with),
    }


def _done(clip: Clip, segments: Segments) -> int:
    """Frames that need not be done."""
    return min(len(clip.times), segments.count() * SEGMENT_FRAMES)


def _restore_segment(
    clip: Clip, work: Work, start: int, frames: Iterator[list[Plane]], pace: "_Pace", segments: Segments
) -> int:
    """One more segment; how many frames it has."""
    segment = _Segment(clip, work, start)
    for number, planes in enumerate(frames, start):
        segment.add(number, planes, pace)
    if segment.count != min(SEGMENT_FRAMES, len(clip.times) - start):
        raise PhotoError(f"{clip.path}: has changed since it was looked at", hint="Run again.")
    segments.write(start // SEGMENT_FRAMES, segment.finish())
    return segment.count


class _Pace:
    """How far the work is, and how long it will take."""

    def __init__(self, frames: int, done: int, work: Work) -> None:
        self._frames, self._work = frames, work
        self._left = frames - done
        self._times = [time.monotonic()]

    def inside(self, number: int, share: float) -> None:
        """So much of a frame is done."""
        self._work.tell(number + share, self._frames)

    def end_of_frame(self, number: int) -> None:
        """A frame is done; after a few of them it is known how long one takes."""
        self._work.tell(number + 1, self._frames)
        self._times.append(time.monotonic())
        measured = len(self._times) - 1
        if measured == min(MEASURED_FRAMES, self._left):
            times = self._times[1:] if measured > 1 else self._times
            self._work.estimate((times[-1] - times[0]) / (len(times) - 1), self._left - measured)


class _Segment:
    """A segment in the making: an encoder of its own, so that it needs no other, and no other needs it."""

    def __init__(self, clip: Clip, work: Work, start: int) -> None:
        self._clip, self._work, self._start = clip, work, start
        self._encoder = work.encoder.start(clip)
        self._packets = list[Any]()
        self._flicker = Flicker()
        self._changes = list[tuple[float, float]]()
        self._last: Lumas | None = None

    @property
    def count(self) -> int:
        """Frames so far."""
        return len(self._changes)

    def add(self, number: int, planes: list[Plane], pace: _Pace) -> None:
        """Restore a frame and hand it to the encoder."""
        before = self._clip.colours.to_rgb(planes)

        def progress(done: float, tiles: int) -> None:
            pace.inside(number, done / tiles)

        try:
            restored = self._work.process(Photo(before, None, Encoding("PNG")), progress)
        except PhotoError as error:
            raise PhotoError(
                f"{self._clip.path}, frame {number + 1}: {error.message}", hint=error.hint
            ) from error
        after = restored.photo.pixels
        self._changes.append((restored.details.rms_change, restored.details.gradient_gain))
        self._count_flicker(before, after)
        self._encode(self._clip.colours.changed(planes, after - before), number)
        pace.end_of_frame(number)

    def _count_flicker(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> None:
        now = Lumas(255 * self._clip.colours.luma(before), 255 * self._clip.colours.luma(after))
        if self._last is not None:
            self._flicker.add(self._last, now)
        self._last = now

    def _encode(self, planes: list[Plane], number: int) -> None:
        clip = self._clip
        frame = av.VideoFrame(clip.width, clip.height, clip.layout.planar)
        fill_planes(frame, planes)
        frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = clip.tags
        if self._work.encoder.pixels != clip.layout.planar:
            frame = frame.reformat(format=self._work.encoder.pixels)
        frame.pts, frame.time_base, frame.duration = number, self._encoder.time_base, 1
        self._packets += self._encoder.encode(frame)

    def finish(self) -> Segment:
        """All that the encoder has made of it."""
        self._packets += self._encoder.encode(None)
        numbers = [packet.pts for packet in self._packets]
        if sorted(numbers) != list(range(self._start, self._start + self.count)):
            raise PhotoError(f"{self._clip.path}: the encoder {self._work.encoder.name} has lost frames")
        encoded = [
            EncodedFrame(
                self._clip.times[number],
                self._clip.duration_of(number),
                packet.is_keyframe,
                self._with_captions(number, bytes(packet)),
            )
            for number, packet in zip(numbers, self._packets, strict=True)
        ]
        told = {"flicker": asdict(self._flicker), "changes": self._changes}
        return Segment(tuple(encoded), told)

    def _with_captions(self, number: int, packet: bytes) -> bytes:
        captions, codec = self._clip.captions.get(number), self._work.encoder.codec
        return with_captions(packet, captions, codec) if captions and codec in CODECS else packet


def _told(segments: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What there is to say of all segments together; of the change the median of the frames."""
    flicker = Flicker()
    for segment in segments:
        flicker += Flicker(**segment["flicker"])
    rms, gain = np.median([change for segment in segments for change in segment["changes"]], axis=0)
    return {"rms_change": round(float(rms), 3), "gradient_gain": round(float(gain), 3), **flicker.told()}
