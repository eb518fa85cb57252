"""Small clips, made by PyAV: a pattern that stands still, over which a square moves."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer

from deblur_cli.video._encoder import in_turn

QUIET = {"libx265": {"x265-params": "log-level=none"}}


def picture(number: int, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """(h, w, 3) uint8."""
    h, w = size
    blocks = np.random.default_rng(0).integers(0, 256, (h // 8 + 1, w // 8 + 1, 3), np.uint8)
    pixels = blocks.repeat(8, 0).repeat(8, 1)[:h, :w].copy()
    left = 2 * number % max(1, w - 12)
    pixels[4:16, left : left + 12] = 255 - pixels[4:16, left : left + 12]
    return pixels


def add_video(
    out: OutputContainer,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    size: tuple[int, int] = (48, 64),
    time_base: Fraction = Fraction(1, 25),
    rate: Fraction = Fraction(25),
    tags: Sequence[int] = (),
    options: dict[str, str] | None = None,
) -> av.VideoStream:
    """A video stream; tags: primaries, transfer, matrix, range."""
    stream = out.add_stream(codec, rate=rate, options={**QUIET.get(codec, {}), **(options or {})})
    stream.height, stream.width = size
    context = stream.codec_context
    context.pix_fmt, context.time_base, stream.time_base = pixels, time_base, time_base
    if tags:
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = tags
    return stream


def write_frames(out: OutputContainer, stream: av.VideoStream, times: Sequence[int]) -> None:
    """As many frames as there are times."""
    context = stream.codec_context
    for number, time in enumerate(times):
        rgb = av.VideoFrame.from_ndarray(picture(number, (stream.height, stream.width)), format="rgb24")
        frame = rgb.reformat(format=context.pix_fmt)
        frame.pts, frame.time_base = time, context.time_base
        with in_turn():
            packets = stream.encode(frame)
        out.mux(packets)
    out.mux(stream.encode())


def add_sound(out: OutputContainer, codec: str = "aac") -> av.AudioStream:
    """An audio stream."""
    return out.add_stream(codec, rate=48000, layout="mono")


def write_sound(out: OutputContainer, stream: av.AudioStream, blocks: int = 20) -> None:
    """Blocks of 1024 samples of a tone."""
    for number in range(blocks):
        tone = np.sin(np.arange(1024) * 0.05 + number).astype(np.float32)[None] / 4
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.rate, frame.pts, frame.time_base = 48000, 1024 * number, Fraction(1, 48000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode())


def make_clip(
    path: str | Path, frames: int = 10, codec: str = "libx264", pixels: str = "yuv420p", **how: object
) -> Path:
    """A clip of one stream."""
    with av.open(str(path), "w") as out:
        stream = add_video(out, codec, pixels, **how)
        write_frames(out, stream, range(frames))
    return Path(path)


def decoded(path: str | Path) -> list[av.VideoFrame]:
    """All frames of a clip's first video."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times_of(path: str | Path) -> list[Fraction]:
    """When its frames are shown, in seconds."""
    return [frame.pts * frame.time_base for frame in decoded(path)]


def packets_of(path: str | Path, index: int) -> list[tuple[Any, ...]]:
    """All that a stream's packets hold."""
    with av.open(str(path)) as container:
        stream = container.streams[index]
        return [
            (packet.pts, packet.dts, packet.duration, bytes(packet))
            for packet in container.demux(stream)
            if packet.size
        ]
