"""By which encoder a clip's frames are written: that of its own codec where there is one here, else a near one, and it is said."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.format import ContainerFormat

from deblur_cli.errors import PhotoError
from deblur_cli.video._clip import Clip
from deblur_cli.video._formats import ANYTHING, QUICKTIME
from deblur_cli.video._planes import Layout

SEGMENT_FRAMES = 32
"""Frames that are encoded together, beginning with one that needs no other: at most so many are done again after a kill."""

OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "16", "x264-params": "sliced-threads=0"},
    "libx264rgb": {"crf": "16", "x264-params": "sliced-threads=0"},
    "libx265": {"crf": "17", "x265-params": "log-level=none"},
    "libsvtav1": {"crf": "20", "preset": "7"},
    "libvpx-vp9": {"crf": "18", "cpu-used": "4", "row-mt": "1"},
    "libvpx": {"crf": "6", "cpu-used": "3", "b": "40M"},
    "prores_ks": {"vendor": "apl0"},
    "ffv1": {"level": "3"},
}
"""So fine that nobody sees a difference to the frames as they were restored."""
X264_BELOW_AVX512 = "asm=AVX2"
"""x264's loops for AVX-512 read memory that nobody has written: by what is in it, the bytes were these or those. The others agree among themselves."""
THREADS = 4
"""Of an encoder. The bytes that x264, x265, VP8 and others write depend on it, so it is the same on every machine: a clip may go on elsewhere."""
QP_TO_LAMBDA = 118
"""FFmpeg's unit of such a scale."""
BY_SCALE = (
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "mjpeg",
    "msmpeg4v2",
    "msmpeg4",
    "flv",
    "wmv1",
    "wmv2",
    "h263p",
)
"""Encoders of the older kind, whose fineness is a scale from 1 on. They are quick, and several threads would cut their pictures in slices."""
ENCODERS = {
    "h264": ("libx264", "libx264rgb"),
    "hevc": ("libx265",),
    "av1": ("libsvtav1",),
    "vp9": ("libvpx-vp9",),
    "vp8": ("libvpx",),
    "prores": ("prores_ks",),
    "msmpeg4v3": ("msmpeg4",),
}
"""Of codecs whose encoders have names of their own."""
GLOBAL_HEADER = 0x40
"""FFmpeg's flag of containers that want what a decoder must know in their header (AVFMT_GLOBALHEADER)."""
MPEG_TS = {"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video"}
"""What MPEG-TS holds, which FFmpeg does not say."""
OTHERWISE = ("libx264", "libx265", "libvpx-vp9", "libsvtav1", "ffv1")
"""What is tried, in this order, for a codec that cannot be encoded here."""


@dataclass(frozen=True)
class Encoder:
    """name: PyAV's. codec: what it makes. pixels: the format of the frames that it is given. muxer: of the container.

    It is told the number of each frame for its time: many encoders know no clock as fine as a container's, and none of variable times.
    """

    name: str
    codec: str
    pixels: str
    muxer: str

    def configure(self, context: Any, clip: Clip) -> None:  # noqa: ANN401
        """Make a codec context, which may be a stream's, one for this clip: always the same one."""
        context.width, context.height, context.pix_fmt = clip.width, clip.height, self.pixels
        rate = _whole_clock(clip.rate)
        context.time_base, context.framerate = 1 / rate, rate
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = clip.tags
        if clip.pixel_aspect:
            context.sample_aspect_ratio = clip.pixel_aspect
        context.gop_size, context.thread_count = SEGMENT_FRAMES, THREADS
        context.options = self._options()
        if self.name in BY_SCALE:
            context.thread_count = 1
            context.flags |= av.codec.context.Flags.qscale
            context.global_quality = 2 * QP_TO_LAMBDA
        if self.muxer == "avi":  # which tells no times, so the order of showing must be that of the file
            context.max_b_frames = 0
        if self.codec == "hevc" and self.muxer in QUICKTIME:
            context.codec_tag = "hvc1"  # without which Apple's players show nothing
        if _wants_global_header(self.muxer):
            context.flags |= av.codec.context.Flags.global_header

    def _options(self) -> dict[str, str]:
        options = dict(OPTIONS.get(self.name, {}))
        if "x264-params" in options and _has_avx512():
            options["x264-params"] += f":{X264_BELOW_AVX512}"
        return options

    def start(self, clip: Clip) -> Any:  # noqa: ANN401
        """An encoder of its own, open."""
        context = av.CodecContext.create(self.name, "w")
        self.configure(context, clip)
        with in_turn():
            context.open()
        return context


@contextmanager
def in_turn() -> Iterator[None]:
    """SVT-AV1, where root runs it, makes itself and whoever opens it real-time threads, beside which other programs hardly come to their turn: they become again what this one was."""
    if sys.platform != "linux":
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # it has ended
                os.sched_setscheduler(int(thread.name), policy, priority)


def _has_avx512() -> bool:
    """As NumPy has found; its names are those of single extensions, or of the levels of x86-64."""
    told: Any = np.show_config(mode="dicts")
    return bool({"AVX512F", "AVX512_SKX", "X86_V4"} & {*told["SIMD Extensions"].get("found", ())})


def _whole_clock(rate: Fraction) -> Fraction:
    """A rate that every encoder can count in: of at most 16 bits above and below the line."""
    near = rate.limit_denominator(1001)
    return near if 0 < near.numerator < 1 << 16 else Fraction(max(1, round(rate)))


def choose_encoder(clip: Clip, muxer: str) -> Encoder:
    """The encoder for a clip in a container. PhotoError if there is none that keeps its pixels as they are."""
    os.environ.setdefault("SVT_LOG", "1")  # else SVT-AV1 talks on standard error
    if muxer == "avi" != clip.muxer:
        raise PhotoError(
            f"{clip.path}: AVI cannot tell when a frame is shown",
            hint=f"Give it another name: -o NAME{ANYTHING}",
        )
    held = _codecs_of(muxer)
    for name in dict.fromkeys((*ENCODERS.get(clip.codec, (clip.codec,)), *OTHERWISE)):
        try:
            codec = av.Codec(name, "w")
        except ValueError:  # not in this build
            continue
        formats = [entry.name for entry in codec.video_formats or ()]
        if codec.canonical_name in held and (pixels := _pixels(clip.layout, formats)):
            encoder = Encoder(name, codec.canonical_name, pixels, muxer)
            if _opens(encoder, clip):
                return encoder
    raise PhotoError(
        f"{clip.path}: no encoder here writes its pixels ({clip.layout.name}) into this kind of file ({muxer})",
        hint=f"Give it another name: -o NAME{ANYTHING}",
    )


def _opens(encoder: Encoder, clip: Clip) -> bool:
    """Whether it takes frames of this size and rate."""
    try:
        encoder.start(clip)
    except av.error.FFmpegError:
        return False
    return True


def _pixels(layout: Layout, formats: list[str]) -> str | None:
    """The first format of an encoder that loses nothing: the clip's own, the planar one that we work in, or the same of full range."""
    wanted = (layout.name, layout.planar, layout.planar.replace("yuvj", "yuv"))
    return next((name for name in wanted if name in formats), None)


def _codecs_of(muxer: str) -> set[str]:
    if muxer == "mpegts":
        return MPEG_TS
    with av.open(io.BytesIO(), "w", format=muxer) as container:
        return set(container.supported_codecs)


def _wants_global_header(muxer: str) -> bool:
    return bool(ContainerFormat(muxer, "w").flags & GLOBAL_HEADER)
