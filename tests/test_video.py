"""`deblur video` on clips that PyAV makes here; the engine changes nothing, unless a test says otherwise."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import psutil
import pytest
from filelock import FileLock
from PIL import Image

import identity_batch
from clips import (
    add_sound,
    add_video,
    decoded,
    make_clip,
    packets_of,
    times_of,
    write_frames,
    write_sound,
)
from deblur_cli.cli import _video, main
from deblur_cli.errors import PhotoError
from deblur_cli.photo import Photo
from deblur_cli.video import Reader, _segments, survey
from deblur_cli.video._captions import with_captions
from deblur_cli.video._encoder import SEGMENT_FRAMES, in_turn
from deblur_cli.video._flicker import Flicker, Lumas
from deblur_cli.video._planes import Colours, Layout, planes_of

SCRIPT = [sys.executable, str(Path(__file__).with_name("identity_batch.py")), "video"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


class Outcome(NamedTuple):
    code: int
    told: dict[str, Any]
    err: str


class Engine:
    """An engine for the frames, which counts them."""

    def __init__(self) -> None:
        self.frames = 0
        self.change: Callable[[int, Photo], Photo] = lambda number, photo: photo

    def __call__(self, photo: Photo, progress: Callable[[float, int], None]) -> identity_batch.Unchanged:
        progress(0, 1)
        self.frames += 1
        return identity_batch.Unchanged(self.change(self.frames - 1, photo))


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    engine = Engine()
    monkeypatch.setattr(_video, "load_restore", lambda options, console: engine)
    return engine


@pytest.fixture
def video(engine: Engine, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `deblur video ARGUMENTS --json` in a fresh folder."""

    def run(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as end:
            main(["video", *arguments, "--json"])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Outcome(int(end.value.code or 0), json.loads(out) if out else {}, err)

    return run


Video = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "worst"),
    [
        ("a.mp4", "libx264", "yuv420p", 3),
        ("a.mov", "libx264", "yuv422p10le", 3),
        ("a.mp4", "libx265", "gray", 3),
        ("a.ts", "libx264", "yuv420p", 3),
        ("a.ts", "mpeg2video", "yuv420p", 3),
        ("a.mp4", "mpeg4", "yuv420p", 3),
        ("a.mp4", "libx265", "yuv420p10le", 3),
        ("a.webm", "libvpx-vp9", "yuv420p", 3),
        ("a.webm", "libvpx", "yuv420p", 3),
        ("a.mp4", "libsvtav1", "yuv420p10le", 3),
        ("a.avi", "mpeg4", "yuv420p", 3),
        ("a.avi", "mjpeg", "yuvj420p", 3),
        ("a.mov", "prores_ks", "yuv422p10le", 1),
        ("a.mkv", "ffv1", "yuv420p", 0),
        ("a.mkv", "ffv1", "yuv444p12le", 0),
        ("a.mkv", "ffv1", "yuva420p", 0),
        ("a.mkv", "ffv1", "gray16le", 0),
        ("a.mkv", "ffv1", "bgra", 0),
        ("a.mkv", "ffv1", "gbrp10le", 0),
        ("a.nut", "utvideo", "gbrp", 0),
    ],
)
def test_a_clip_keeps_codec_pixels_and_times(
    name: str, codec: str, pixels: str, worst: int, video: Video, engine: Engine
) -> None:
    frames = SEGMENT_FRAMES + 4
    size = (96, 128) if codec == "libsvtav1" else (43, 61) if codec == "ffv1" else (48, 64)
    make_clip(name, frames, codec, pixels, size=size)
    outcome = video(name, "-o", f"out/{name}")
    assert outcome.code == 0, outcome.err
    assert (outcome.told["frames"], engine.frames) == (frames, frames)
    before, after = decoded(name), decoded(f"out/{name}")
    assert [frame.pts for frame in after] == [frame.pts for frame in before]
    assert after[0].format.name == before[0].format.name == pixels
    with av.open(name) as old, av.open(f"out/{name}") as new:
        assert new.streams.video[0].codec_context.name == old.streams.video[0].codec_context.name
        assert new.streams.video[0].time_base == old.streams.video[0].time_base
    for old_frame, new_frame in zip(before, after, strict=True):
        levels = 2 ** (max(8, old_frame.format.components[0].bits) - 8)
        for a, b in zip(_samples(old_frame), _samples(new_frame), strict=True):
            assert np.square((a.astype(float) - b) / levels).mean() ** 0.5 <= worst
    assert not list(Path("out").glob(".*"))


def _samples(frame: av.VideoFrame) -> list[np.ndarray[Any, Any]]:
    if frame.format.name.startswith("bgra"):
        return [frame.to_ndarray(format="rgba")]
    return planes_of(frame)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root's threads become real-time ones"
)
def test_other_programs_have_their_turn_beside_svt_av1(video: Video) -> None:
    make_clip("a.mp4", 2, "libsvtav1", "yuv420p", size=(96, 128))
    assert video("a.mp4").code == 0
    assert _policies() == {os.SCHED_OTHER}
    context = av.CodecContext.create("libsvtav1", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 128, 96, "yuv420p", Fraction(1, 25)
    with in_turn():
        context.open()
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            pytest.skip("this root may not")
    assert _policies() == {os.SCHED_OTHER}


def _policies() -> set[int]:
    """By which the threads of this process come to their turn."""
    return {os.sched_getscheduler(int(thread.name)) for thread in Path("/proc/self/task").iterdir()}


def captions_of(path: str) -> list[bytes]:
    """What FFmpeg finds inside each picture."""
    return [bytes(frame.side_data.get("A53_CC", b"")) for frame in decoded(path)]


def captioned(path: str, codec: str, written: list[bytes]) -> None:
    """A clip with captions inside its pictures."""
    with av.open(path, "w") as out:
        stream = add_video(out, codec)
        for number in range(len(written) + 1):
            frame = None if number == len(written) else av.VideoFrame(64, 48, "yuv420p")
            if frame is not None:
                frame.pts, frame.time_base = number, stream.codec_context.time_base
            for packet in stream.encode(frame):
                data, name = bytes(packet), stream.codec_context.codec.canonical_name
                marked = av.Packet(
                    with_captions(data, written[packet.pts], name) if written[packet.pts] else data
                )
                marked.pts, marked.dts, marked.time_base = packet.pts, packet.dts, packet.time_base
                marked.duration, marked.is_keyframe, marked.stream = 1, packet.is_keyframe, stream
                out.mux(marked)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.ts", "libx264"),
        ("a.mkv", "libx265"),
        ("a.mp4", "libx265"),
        ("a.ts", "mpeg2video"),
    ],
)
def test_captions_inside_the_pictures_stay_with_them(name: str, codec: str, video: Video) -> None:
    written = [bytes([0xFC, 0x80 + number, 0x20, 0xF8, 0, 0]) for number in range(SEGMENT_FRAMES + 4)]
    written[2] = (
        bytes([0xFC, 0x94, 0x2C]) * 20 if codec == "mpeg2video" else bytes(60)
    )  # no start code may arise
    written[5] = b""
    captioned(name, codec, written)
    assert captions_of(name) == written
    outcome = video(name, "-o", f"out/{name}")
    assert (outcome.code, outcome.told["notes"]) == (0, [])
    assert captions_of(f"out/{name}") == written


def test_captions_that_have_no_place_are_told(video: Video) -> None:
    captioned("a.mkv", "libx264", [bytes([0xFC, 0x94, 0x2C])] * 3)
    outcome = video("a.mkv", "-o", "a.webm")
    assert outcome.code == 0
    assert "captions inside the pictures cannot be kept in vp9" in outcome.told["notes"]


def test_everything_else_is_kept_in_mp4(video: Video) -> None:
    times, tags = [0, 4500, 7503, 10506, 20000, 23003, 26006], (9, 14, 9, 2)
    with av.open("a.mp4", "w") as out:
        picture = add_video(out, tags=tags, time_base=Fraction(1, 90000), rate=Fraction(30000, 1001))
        sound, more = add_sound(out), add_sound(out)
        picture.metadata["title"], more.metadata["language"] = "the view", "deu"
        picture.codec_context.sample_aspect_ratio = Fraction(4, 3)
        out.metadata.update({"title": "A day", "comment": "by the sea", "com.apple.quicktime.make": "Ä"})
        out.set_chapters([_chapter(0, 100, "one"), _chapter(100, 250, "two")])
        picture.set_display_rotation(90, hflip=True)
        out.container_options["movflags"] = "use_metadata_tags"
        write_frames(out, picture, times)
        write_sound(out, sound)
        write_sound(out, more, 12)
    outcome = video("a.mp4")
    assert outcome.code == 0, outcome.err
    assert (outcome.told["target"], outcome.told["notes"]) == ("a_sharp.mp4", [])
    assert [frame.pts for frame in decoded("a_sharp.mp4")] == times
    with av.open("a.mp4") as old, av.open("a_sharp.mp4") as new:
        assert old.metadata["com.apple.quicktime.make"] == "Ä"
        assert dict(new.metadata) == dict(old.metadata)
        assert new.chapters() == old.chapters()
        assert [dict(stream.metadata) for stream in new.streams] == [
            dict(stream.metadata) for stream in old.streams
        ]
        assert [stream.disposition for stream in new.streams] == [
            stream.disposition for stream in old.streams
        ]
        for a, b in zip(old.streams, new.streams, strict=True):
            assert (a.type, a.time_base) == (b.type, b.time_base)
        context = new.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == tags
        assert context.sample_aspect_ratio == Fraction(4, 3)
    assert packets_of("a.mp4", 1) == packets_of("a_sharp.mp4", 1) != []
    assert packets_of("a.mp4", 2) == packets_of("a_sharp.mp4", 2) != []
    assert survey(Path("a.mp4")).display_matrix == survey(Path("a_sharp.mp4")).display_matrix
    assert decoded("a.mp4")[0].rotation == 90


def _chapter(start: int, end: int, title: str) -> dict[str, Any]:
    return {
        "id": start,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


def test_everything_else_is_kept_in_matroska(video: Video) -> None:
    with av.open("a.mkv", "w") as out:
        picture = add_video(out, tags=(1, 1, 1, 1), time_base=Fraction(1, 1000))
        sound = add_sound(out, "libopus")
        words: Any = out.add_mux_stream("subrip")
        words.time_base, words.metadata["language"] = Fraction(1, 1000), "deu"
        words.disposition = 0x40
        out.add_attachment("letters.ttf", "font/ttf", b"a font")
        out.metadata["title"] = "A day"
        out.set_chapters([_chapter(0, 100, "one")])
        write_frames(out, picture, [0, 40, 90, 123, 400])
        write_sound(out, sound)
        for start in (10, 300):
            packet = av.Packet(f"Said at {start}".encode())
            packet.stream, packet.time_base = words, Fraction(1, 1000)
            packet.pts, packet.dts, packet.duration = start, start, 50
            out.mux(packet)
    outcome = video("a.mkv", "-o", "b.mkv")
    assert outcome.code == 0, outcome.err
    assert times_of("b.mkv") == times_of("a.mkv")
    assert packets_of("b.mkv", 1) == packets_of("a.mkv", 1) != []
    assert packets_of("b.mkv", 2) == packets_of("a.mkv", 2)
    assert [packet[3] for packet in packets_of("b.mkv", 2)] == [b"Said at 10", b"Said at 300"]
    with av.open("a.mkv") as old, av.open("b.mkv") as new:
        assert new.metadata["title"] == "A day"
        assert [chapter["metadata"] for chapter in new.chapters()] == [{"title": "one"}]
        assert [stream.type for stream in new.streams] == ["video", "audio", "subtitle", "attachment"]
        assert new.streams[2].metadata["language"] == "deu"
        assert new.streams[2].disposition == old.streams[2].disposition == av.stream.Disposition.forced
        assert new.streams[3].data == b"a font"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "notes"), [("b.mp4", []), ("b.mkv", []), ("b.ts", ["its cover cannot be kept in mpegts"])]
)
@pytest.mark.parametrize("source", ["a.mp4", "a.mkv"])
def test_a_cover_stays_one(source: str, name: str, notes: list[str], video: Video) -> None:
    Image.new("RGB", (16, 16), "red").save("cover.jpg")
    data = Path("cover.jpg").read_bytes()
    with av.open(source, "w") as out:
        picture = add_video(out, time_base=Fraction(1, 1000))
        if source == "a.mkv":
            out.add_attachment("cover.jpg", "image/jpeg", data)
        else:
            cover: Any = out.add_mux_stream("mjpeg", width=16, height=16)
            cover.disposition = av.stream.Disposition.attached_pic
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts = cover, 0, 0
            out.start_encoding()
            out.mux(packet)
        write_frames(out, picture, [0, 40, 80])
    outcome = video(source, "-o", name)
    assert outcome.code == 0, outcome.err
    assert [note for note in outcome.told["notes"] if "cover" in note] == notes
    if not notes:
        with av.open(name) as new:
            assert [int(stream.disposition) & 0x400 for stream in new.streams.video] == [0, 0x400]
        assert packets_of(name, 1)[0][3] == data


def test_a_second_video_stream_is_copied(video: Video, engine: Engine) -> None:
    with av.open("a.mkv", "w") as out:
        first, second = add_video(out), add_video(out, "mpeg4", size=(32, 48))
        for number in range(5):
            for stream in (first, second):
                frame = av.VideoFrame(stream.width, stream.height, "yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                out.mux(stream.encode(frame))
        for stream in (first, second):
            out.mux(stream.encode())
    assert video("a.mkv", "-o", "b.mkv").code == 0
    assert packets_of("b.mkv", 1) == packets_of("a.mkv", 1) != []
    assert engine.frames == 5


# Colours


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("pixels", ["yuv444p", "yuv420p", "yuv422p10le", "gbrp", "yuv410p"])
def test_colours_are_those_of_another_converter(pixels: str, matrix: int, full: bool) -> None:
    colours = np.random.default_rng(3).integers(0, 256, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    how = {"dst_colorspace": matrix, "dst_color_range": 2 if full else 1} if pixels != "gbrp" else {}
    frame = av.VideoFrame.from_ndarray(colours, format="rgb24").reformat(format=pixels, **how)
    layout = Layout.of(frame, Path("a"))
    ours = Colours.of(layout, 48, matrix, 2 if full else 1, Path("a")).to_rgb(planes_of(frame))
    middle = (slice(8, None, 16), slice(8, None, 16))  # of each square, where chroma is not mixed
    assert np.abs(255 * ours[middle] - colours[middle]).max() < 3


def test_what_rgb_cannot_say_stays_where_nothing_changes(video: Video, engine: Engine) -> None:
    make_clip("a.mkv", 2, "ffv1", "yuv420p")
    with av.open("b.mkv", "w") as out:
        stream = add_video(out, "ffv1")
        frame = av.VideoFrame(64, 48, "yuv420p")
        for plane, value in zip(
            frame.planes, (250, 20, 240), strict=True
        ):  # brighter than white, and no colour
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        out.mux([*stream.encode(frame), *stream.encode()])
    assert video("b.mkv", "-o", "c.mkv").code == 0
    assert [int(plane.max()) for plane in planes_of(decoded("c.mkv")[0])] == [250, 20, 240]


def test_a_change_of_light_changes_luma_alone(video: Video, engine: Engine) -> None:
    make_clip("a.mkv", 2, "ffv1", "yuv420p", tags=(1, 1, 1, 1))
    engine.change = lambda number, photo: replace(photo, pixels=photo.pixels + np.float32(10 / 219))
    assert video("a.mkv", "-o", "b.mkv").code == 0
    for old, new in zip(decoded("a.mkv"), decoded("b.mkv"), strict=True):
        luma, *chroma = (b.astype(int) - a for a, b in zip(planes_of(old), planes_of(new), strict=True))
        assert set(luma.flat) == {10}
        assert not any(plane.any() for plane in chroma)


# Going on after an end


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_an_interrupted_clip_goes_on_and_comes_out_as_if_nothing_had_happened(
    name: str, video: Video, engine: Engine
) -> None:
    frames = 2 * SEGMENT_FRAMES + 5
    make_clip(name, frames, tags=(1, 1, 1, 1))
    assert video(name, "-o", f"whole{name}").code == 0
    engine.frames = 0

    def interrupt(number: int, photo: Photo) -> Photo:
        if number == SEGMENT_FRAMES + 7:
            raise KeyboardInterrupt
        return photo

    engine.change = interrupt
    stopped = video(name)
    sharp = Path(name.replace(".", "_sharp."))
    assert (stopped.code, stopped.told["status"], sharp.exists()) == (130, "stopped", False)
    assert "the same command goes on" in stopped.err
    engine.frames, engine.change = 0, lambda number, photo: photo
    outcome = video(name)
    assert (outcome.code, engine.frames, outcome.told["resumed_frames"]) == (
        0,
        frames - SEGMENT_FRAMES,
        SEGMENT_FRAMES,
    )
    assert packets_of(sharp, 0) == packets_of(f"whole{name}", 0)
    if name.endswith("mp4"):  # Matroska puts dice into its files
        assert sharp.read_bytes() == Path(f"whole{name}").read_bytes()
    assert not list(Path().glob(".*"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=str
)
def test_a_killed_one_goes_on(number: int, code: int, tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", 3 * SEGMENT_FRAMES)
    process = subprocess.Popen(
        [*SCRIPT, "a.mp4"],
        cwd=tmp_path,
        env={**ENVIRONMENT, "DEBLUR_TEST_PAUSE_S": "0.06"},
        stderr=subprocess.DEVNULL,
    )
    folder = tmp_path / ".a_sharp.mp4.deblur-video"
    deadline = time.monotonic() + 60
    while not list(folder.glob("*.segment")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(30) == code
    assert not (tmp_path / "a_sharp.mp4").exists()
    again = subprocess.run(
        [*SCRIPT, "a.mp4", "--json"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, check=True
    )
    assert json.loads(again.stdout)["resumed_frames"] in (SEGMENT_FRAMES, 2 * SEGMENT_FRAMES)
    assert len(decoded(tmp_path / "a_sharp.mp4")) == 3 * SEGMENT_FRAMES
    assert not list(tmp_path.glob(".*"))


def test_another_machine_goes_on_with_the_same_bytes(video: Video, engine: Engine) -> None:
    """Of more cores: x264 would cut pictures as large as these into slices for its threads."""
    make_clip("a.mp4", SEGMENT_FRAMES + 3, size=(144, 176))
    assert video("a.mp4", "-o", "whole.mp4").code == 0

    def interrupt(number: int, photo: Photo) -> Photo:
        if number == SEGMENT_FRAMES + 1:
            raise KeyboardInterrupt
        return photo

    engine.frames, engine.change = 0, interrupt
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        assert video("a.mp4").code == 130
    finally:
        os.sched_setaffinity(0, cores)
    engine.change = lambda number, photo: photo
    assert video("a.mp4").told["resumed_frames"] == SEGMENT_FRAMES
    assert Path("a_sharp.mp4").read_bytes() == Path("whole.mp4").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc fills memory as it is told")
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_the_bytes_do_not_depend_on_what_was_in_memory(codec: str, tmp_path: Path) -> None:
    """x264's loops for AVX-512 do; where a processor has none, they cannot be tested."""
    blocks = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = add_video(out, codec, size=(160, 160))
        for number in range(24):
            moved = np.ascontiguousarray(blocks[number // 3 :, number:][:160, :160])
            frame = av.VideoFrame.from_ndarray(moved, format="rgb24").reformat(format="yuv420p")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    for name, filling in (("1.mp4", "17"), ("2.mp4", "170")):
        environment = {**ENVIRONMENT, "MALLOC_PERTURB_": filling, "SVT_LOG": "1"}
        command = [*SCRIPT, "a.mkv", "-o", name, "--quiet"]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=60)
    assert packets_of(tmp_path / "1.mp4", 0) == packets_of(tmp_path / "2.mp4", 0)


@pytest.mark.isolated
def test_a_decoder_that_crashes_is_an_error_and_the_work_goes_on(tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", SEGMENT_FRAMES + 8)
    slow = {**ENVIRONMENT, "DEBLUR_TEST_PAUSE_S": "0.06"}
    process = subprocess.Popen([*SCRIPT, "a.mp4"], cwd=tmp_path, env=slow, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / ".a_sharp.mp4.deblur-video"
    deadline = time.monotonic() + 60
    while not list(folder.glob("*.segment")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (decoder,) = [
        child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())
    ]
    decoder.send_signal(signal.SIGSEGV)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert re.search(r"error: a.mp4: the process that read it (crashed \(SIGSEGV\)|has ended)", err)
    again = subprocess.run(
        [*SCRIPT, "a.mp4", "--json"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, check=True
    )
    assert json.loads(again.stdout)["resumed_frames"] == SEGMENT_FRAMES


@pytest.mark.isolated
def test_a_clip_that_crashes_its_decoder_at_the_first_look_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deblur_cli.video._reader._survey", crash)
    with Reader() as reader, pytest.raises(PhotoError, match=r"a\.mp4: the process that read it crashed"):
        reader.survey(Path("a.mp4"))


@pytest.mark.isolated
def test_a_decoder_that_ends_between_two_frames_is_an_error(tmp_path: Path) -> None:
    clip = survey(make_clip(tmp_path / "a.mp4", 3))
    with Reader() as reader:
        frames = reader.frames(clip, 1)
        next(frames)
        process, _ = reader._process.start()
        process.kill()
        process.join()
        with pytest.raises(PhotoError, match=r"a\.mp4: the process that read it has ended"):
            next(frames)


def crash(tell: object, path: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize("what", ["options", "clip"])
def test_work_on_something_else_begins_anew(what: str, video: Video, engine: Engine) -> None:
    make_clip("a.mp4", SEGMENT_FRAMES + 8)

    def interrupt(number: int, photo: Photo) -> Photo:
        if number == SEGMENT_FRAMES + 2:
            raise KeyboardInterrupt
        return photo

    engine.change = interrupt
    assert video("a.mp4").code == 130
    if what == "clip":
        os.utime("a.mp4", (1, 1))
    engine.frames, engine.change = 0, lambda number, photo: photo
    outcome = video("a.mp4", *(["--strength", "0.5"] if what == "options" else []))
    assert (outcome.code, engine.frames, outcome.told["resumed_frames"]) == (0, SEGMENT_FRAMES + 8, 0)


def test_two_at_the_same_result_do_not_get_along(video: Video) -> None:
    make_clip("a.mp4")
    folder = Path(".a_sharp.mp4.deblur-video")
    folder.mkdir()
    with FileLock(folder / _segments.LOCK):
        outcome = video("a.mp4")
    assert outcome.code == 1
    assert "another deblur is at work on the same result" in outcome.err


def test_a_full_disk_leaves_what_is_done(video: Video, tmp_path: Path, engine: Engine) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=140k", "tmpfs", small], check=False).returncode
    ):
        pytest.skip("no small disk here")
    try:
        with av.open("a.mkv", "w") as out:
            picture, sound = add_video(out), add_sound(out, "pcm_f32le")
            write_frames(out, picture, range(10))
            write_sound(out, sound, 50)
        outcome = video("a.mkv", "-o", "small/b.mkv")
        assert outcome.code == 1
        assert "small/b.mkv: the disk is full" in outcome.err
        assert sorted(path.name for path in small.iterdir()) == [".b.mkv.deblur-video"]
        (small / "filling").write_bytes(bytes(shutil.disk_usage(small).free))
        again = video("a.mkv", "-o", "small/c.mkv")
        assert again.code == 1
        assert "the disk is full" in again.err
        (small / "filling").unlink()
        subprocess.run(["mount", "-o", "remount,size=2m", small], check=True)
        engine.frames = 0
        assert video("a.mkv", "-o", "small/b.mkv").code == 0
        assert engine.frames == 0
    finally:
        subprocess.run(["umount", small], check=True)


# What is said before, and after


def test_the_estimate_comes_before_the_work_and_a_dry_run_is_that_alone(video: Video, engine: Engine) -> None:
    make_clip("a.mp4", 10)
    engine.change = lambda number, photo: time.sleep(0.05) or photo
    estimated = video("a.mp4", "--dry-run")
    assert (estimated.code, estimated.told["status"], engine.frames) == (0, "estimated", 3)
    assert estimated.told["seconds_per_frame"] >= 0.05
    assert estimated.told["estimated_s"] == pytest.approx(7 * estimated.told["seconds_per_frame"], abs=0.1)
    assert re.search(r"\d\.\d\d s a frame, 7 frames: \d+ s left", estimated.err)
    assert [path.name for path in Path().iterdir()] == ["a.mp4"]
    done = video("a.mp4")
    assert done.err.index("s a frame") < done.err.index("a.mp4 -> a_sharp.mp4")


def test_a_single_frame_is_a_clip(video: Video) -> None:
    make_clip("a.mp4", 1)
    assert video("a.mp4").told["frames"] == 1
    assert len(decoded("a_sharp.mp4")) == 1


def test_flicker_is_told(video: Video, engine: Engine) -> None:
    make_clip("a.mkv", 8, "ffv1", "yuv444p")
    told = video("a.mkv", "-o", "b.mkv").told
    assert told["flicker_before"] == told["flicker_after"] < 0.1

    def flicker(number: int, photo: Photo) -> Photo:
        return replace(photo, pixels=photo.pixels + np.float32(number % 2 * 4 / 255))

    engine.frames, engine.change = 0, flicker
    outcome = video("a.mkv", "-o", "c.mkv", "--verbose")
    assert outcome.told["flicker_before"] == told["flicker_before"]
    assert outcome.told["flicker_after"] == pytest.approx(4, abs=0.1)
    assert 0.5 < outcome.told["still_share"] < 1
    assert f"flicker after: {outcome.told['flicker_after']}" in outcome.err


def test_flicker_counts_only_what_stands_still() -> None:
    before = np.full((2, 16, 24), 100, np.float32)
    before[1, :8, :8] += 5  # a place that moves
    before[1, 8:, 16:] += np.float32(0.5)
    after = before.copy()
    after[1, :, 8:16] += 2
    flicker = Flicker()
    flicker.add(Lumas(before[0], after[0]), Lumas(before[1], after[1]))
    assert (flicker.still, flicker.pixels) == (5 * 64, 6 * 64)
    told = flicker.told()
    assert told["flicker_before"] == pytest.approx((0.25 / 5) ** 0.5, abs=1e-3)
    assert told["flicker_after"] == pytest.approx(((0.25 + 2 * 4) / 5) ** 0.5, abs=1e-3)
    assert Flicker().told() == {}


def test_memory_holds_few_frames(video: Video, engine: Engine) -> None:
    make_clip("a.mp4", 2 * SEGMENT_FRAMES)
    frames = list[weakref.ref[Any]]()
    alive = list[int]()

    def count(number: int, photo: Photo) -> Photo:
        frames.append(weakref.ref(photo.pixels))
        alive.append(sum(frame() is not None for frame in frames))
        return photo

    engine.change = count
    assert video("a.mp4").code == 0
    assert 1 <= max(alive) <= 3


# Other codecs, other containers


def test_a_codec_that_cannot_be_written_becomes_another_and_it_is_said(video: Video) -> None:
    make_clip("a.mp4", 4)
    outcome = video("a.mp4", "-o", "b.webm")
    assert outcome.code == 0
    assert outcome.told["codec"] == "vp9"
    assert "written as vp9, since h264 with these pixels cannot be written into webm here" in outcome.err


def test_streams_that_a_container_cannot_hold_are_named(video: Video) -> None:
    with av.open("a.mkv", "w") as out:
        picture, sound = add_video(out, time_base=Fraction(1, 1000)), add_sound(out, "flac")
        out.add_attachment("letters.ttf", "font/ttf", b"a font")
        write_frames(out, picture, [0, 40, 80])
        write_sound(out, sound)
    outcome = video("a.mkv", "-o", "b.mp4")
    assert outcome.code == 0, outcome.err
    assert outcome.told["notes"] == ["its stream 2 (attachment) cannot be kept in mp4"]
    assert packets_of("b.mp4", 1)
    assert times_of("b.mp4") == times_of("a.mkv")
    without_sound = video("a.mkv", "-o", "b.webm")
    assert "its stream 1 (audio, flac) cannot be kept in webm" in without_sound.told["notes"]


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("b.mov", []),
        ("b.mkv", []),
        ("b.nut", ["how it is to be turned cannot be kept in nut"]),
        (
            "b.ts",
            [
                "how it is to be turned cannot be kept in mpegts",
                "its chapters cannot be kept in mpegts",
                "metadata that cannot be kept in mpegts: title",
            ],
        ),
    ],
)
def test_what_is_lost_in_another_container_is_told(name: str, lost: list[str], video: Video) -> None:
    with av.open("a.mp4", "w") as out:
        picture = add_video(out, tags=(1, 1, 1, 1), time_base=Fraction(1, 1000))
        picture.set_display_rotation(180)
        out.metadata["title"] = "A day"
        out.set_chapters([_chapter(0, 100, "one")])
        write_frames(out, picture, [0, 40, 80])
    outcome = video("a.mp4", "-o", name)
    assert outcome.code == 0, outcome.err
    assert outcome.told["notes"] == lost


def test_a_frame_that_cannot_be_restored_is_named(video: Video, engine: Engine) -> None:
    make_clip("a.mp4", 4)

    def fail(number: int, photo: Photo) -> Photo:
        if number == 2:
            raise PhotoError("the network's output is not a number", hint="Try something else.")
        return photo

    engine.change = fail
    outcome = video("a.mp4")
    assert (outcome.code, outcome.told["error"]) == (
        1,
        "a.mp4, frame 3: the network's output is not a number",
    )
    assert not Path("a_sharp.mp4").exists()


def test_a_fault_of_ours_is_no_traceback(video: Video, engine: Engine) -> None:
    make_clip("a.mp4", 4)
    engine.change = lambda number, photo: photo.nothing  # type: ignore[attr-defined]
    outcome = video("a.mp4")
    assert outcome.code == 1
    assert "a.mp4: failed unexpectedly: AttributeError" in outcome.err


def test_times_that_are_rounded_are_told(video: Video) -> None:
    make_clip("a.mp4", 4, time_base=Fraction(1, 30000), rate=Fraction(30))
    assert "rounded to milliseconds" in video("a.mp4", "-o", "b.mkv").err


# What is refused


def sound_alone(path: str) -> None:
    with av.open(path, "w") as out:
        write_sound(out, add_sound(out))


def of_two_clips(path: str) -> None:
    data = make_clip("one.ts", 30, "mpeg2video").read_bytes()
    Path(path).write_bytes(data + data)


def of_two_sizes(path: str) -> None:
    make_clip("one.ts", 4, "mpeg2video")
    make_clip("two.ts", 4, "mpeg2video", size=(64, 96))
    Path(path).write_bytes(Path("one.ts").read_bytes() + Path("two.ts").read_bytes())


def cut_short(path: str) -> None:
    data = make_clip("whole.mp4", 20).read_bytes()
    Path(path).write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("no.mp4", lambda path: None, "no.mp4: no such file"),
        ("a.mp4", lambda path: Path(path).mkdir(), "a.mp4: is a folder"),
        ("a.mp4", lambda path: Path(path).write_text("no clip"), "a.mp4: is no clip, or a damaged one"),
        ("a.mp4", lambda path: Path(path).touch(), "a.mp4: is no clip, or a damaged one"),
        ("a.mp4", cut_short, "a.mp4: is no clip, or a damaged one"),
        ("a.mp4", sound_alone, "a.mp4: holds sound, but no video"),
        ("a.png", lambda path: Image.new("RGB", (20, 20)).save(path), "a.png: is a picture, no clip"),
        ("a.ts", of_two_clips, "a.ts: the times of its frames jump back after"),
        ("a.ts", of_two_sizes, "a.ts: its pictures change from 64x48 yuv420p to 96x64 yuv420p at frame 4"),
        (
            "a.mp4",
            lambda path: make_clip(path, options={"x264-params": "tff=1"}),
            "a.mp4: is interlaced (frame 1)",
        ),
        (
            "a.mp4",
            lambda path: make_clip(path, pixels="yuv420p10le", tags=(9, 16, 9, 1)),
            "a.mp4: is HDR (PQ)",
        ),
        (
            "a.mp4",
            lambda path: make_clip(path, pixels="yuv420p10le", tags=(9, 18, 9, 1)),
            "a.mp4: is HDR (HLG)",
        ),
        (
            "a.mp4",
            lambda path: make_clip(path, tags=(9, 1, 10, 1)),
            "a.mp4: its colours are told by matrix 10 of H.273",
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    name: str, make: Callable[[str], object], message: str, video: Video, engine: Engine
) -> None:
    make(name)
    outcome = video(name, "-o", "b.mkv")
    assert (outcome.code, outcome.told["status"], engine.frames) == (1, "failed", 0)
    assert f"error: {message}" in outcome.err
    assert message in outcome.told["error"]
    assert not Path("b.mkv").exists()
    assert not list(Path().glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.mp4", "-o", "a.mp4", "--overwrite"], 1, "a.mp4: is itself the input"),
        (["a.mp4", "-o", "same.mp4", "--overwrite"], 1, "same.mp4: is itself the input"),
        (["a.mp4", "-o", "b.mkv"], 1, "b.mkv: exists already"),
        (["a.mp4", "-o", "b.jpg"], 2, "b.jpg: a clip cannot be written under that name"),
        (["a.mp4", "-o", "b.avi"], 1, "a.mp4: AVI cannot tell when a frame is shown"),
        (["a.mp4", "-o", ""], 2, "--output is empty"),
        (
            ["a.mp4", "-o", "b.mkv/c.mkv"],
            1,
            "b.mkv/.c.mkv.deblur-video: the folder cannot be made: Not a directory",
        ),
        (["alpha.mkv", "-o", "c.webm"], 1, "alpha.mkv: no encoder here writes its pixels (gbrp10le)"),
    ],
)
def test_wrong_usage(arguments: list[str], code: int, message: str, video: Video) -> None:
    make_clip("a.mp4", 3)
    make_clip("alpha.mkv", 3, "ffv1", "gbrp10le")
    os.link("a.mp4", "same.mp4")
    Path("b.mkv").write_text("mine")
    outcome = video(*arguments)
    assert outcome.code == code, outcome.err
    assert f"error: {message}" in outcome.err
    assert Path("b.mkv").read_text() == "mine"


def test_overwrite_replaces_and_a_folder_is_one(video: Video) -> None:
    make_clip("a.mp4", 3)
    Path("b.mkv").write_text("old")
    Path("out").mkdir()
    assert video("a.mp4", "-o", "b.mkv", "--overwrite").code == 0
    assert len(decoded("b.mkv")) == 3
    assert video("a.mp4", "-o", "out").told["target"] == "out/a.mp4"


def test_a_damaged_clip_comes_back_without_what_cannot_be_decoded(video: Video) -> None:
    data = bytearray(make_clip("a.mkv", 40, "ffv1", "yuv420p", options={"slicecrc": "1"}).read_bytes())
    middle = len(data) // 2
    del data[middle : middle + 3000]
    Path("b.mkv").write_bytes(data)
    outcome = video("b.mkv", "-o", "c.mkv")
    assert outcome.code == 0, outcome.err
    assert 10 < len(decoded("c.mkv")) < 40
    assert times_of("c.mkv") == sorted(times_of("c.mkv"))


def test_packets_that_make_no_sense_are_left_out_and_told(video: Video) -> None:
    for name, start in ("one.ts", 0), ("two.ts", 25):
        with av.open(name, "w") as out:
            picture, sound = add_video(out, "mpeg2video"), add_sound(out)
            write_frames(out, picture, range(start, start + 25))
            write_sound(out, sound, 40)
    Path("a.ts").write_bytes(Path("one.ts").read_bytes() + Path("two.ts").read_bytes())
    outcome = video("a.ts", "-o", "b.mkv")
    assert outcome.code == 0, outcome.err
    assert re.search(r"\d+ packets of its stream 1 make no sense", outcome.err)
    assert len(decoded("b.mkv")) == len(decoded("a.ts"))


def test_titles_in_no_valid_encoding_stay_as_they_are(video: Video) -> None:
    with av.open("a.avi", "w", metadata_errors="surrogateescape") as out:
        picture = add_video(out, "mpeg4")
        out.metadata["title"] = "M\udcfcnchen"  # Latin-1
        write_frames(out, picture, range(3))
    assert b"M\xfcnchen" in Path("a.avi").read_bytes()
    assert video("a.avi").code == 0
    assert b"M\xfcnchen" in Path("a_sharp.avi").read_bytes()


def test_a_list_of_clips_asks_no_network(video: Video) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        Path("a.m3u8").write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n"
        )
        assert video("a.m3u8").code == 1
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_timecode_stays(video: Video) -> None:
    with av.open("a.mov", "w") as out:
        picture = add_video(out, "prores_ks", "yuv422p10le")
        picture.metadata["timecode"] = "01:02:03:04"
        write_frames(out, picture, range(3))
    outcome = video("a.mov")
    assert outcome.code == 0, outcome.err
    with av.open("a.mov") as old, av.open("a_sharp.mov") as new:
        assert new.streams.video[0].metadata["timecode"] == "01:02:03:04"
        assert [stream.type for stream in new.streams] == [stream.type for stream in old.streams]
    assert outcome.told["notes"] == []


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv"])
def test_damage_ends_in_a_result_or_in_words(name: str, video: Video) -> None:
    codec = "mpeg4" if name == "a.mp4" else "mpeg2video" if name == "a.ts" else "libx264"
    data = make_clip(name, 12, codec).read_bytes()
    dice = random.Random(5)
    for number in range(12):
        damaged = bytearray(data)
        start = dice.randrange(len(data))
        if number % 3 == 0:
            del damaged[start : start + dice.randrange(1000)]
        elif number % 3 == 1:
            damaged[start : start + 200] = dice.randbytes(200)
        else:
            for _ in range(20):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        Path(name).write_bytes(damaged)
        outcome = video(name, "-o", "b.mkv", "--overwrite")
        assert outcome.code in (0, 1)
        assert "failed unexpectedly" not in outcome.err
        if outcome.code == 0:
            assert len(decoded("b.mkv")) == outcome.told["frames"]


def test_without_pyav_it_says_how_to_install_it(
    video: Video, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("deblur_cli.video")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    outcome = video("a.mp4")
    assert outcome.code == 2
    assert "pip install 'deblur-cli[video]'" in outcome.err


def test_the_network_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip("a.mkv", 2, "ffv1", "yuv420p", tags=(1, 1, 1, 1))
    for strength, name in ("1", "b.mkv"), ("0", "c.mkv"):
        with pytest.raises(SystemExit) as end:
            main(
                [
                    "video",
                    "a.mkv",
                    "-o",
                    name,
                    "--strength",
                    strength,
                    "--weights",
                    "compact",
                    "--threads",
                    "1",
                ]
            )
        assert end.value.code == 0, capfd.readouterr().err
    same = [
        np.abs(a.astype(int) - b).max() for a, b in zip(*map(_all_samples, ("a.mkv", "c.mkv")), strict=True)
    ]
    changed = [
        np.abs(a.astype(int) - b).max() for a, b in zip(*map(_all_samples, ("a.mkv", "b.mkv")), strict=True)
    ]
    assert max(same) == 0
    assert changed[0] > 3


def _all_samples(path: str) -> list[Any]:
    return [plane for frame in decoded(path) for plane in planes_of(frame)]


def test_a_clip_that_changes_at_work_is_refused(engine: Engine, video: Video) -> None:
    make_clip("a.mp4", 6)

    clip = survey(Path("a.mp4"))
    make_clip("a.mp4", 4)
    from deblur_cli.video import Work, choose_encoder, restore_clip

    work = Work(
        Path("b.mp4"),
        Reader(),
        choose_encoder(clip, "mp4"),
        engine,
        {},
        False,
        lambda done, frames: None,
        lambda each, left: None,
    )
    with pytest.raises(PhotoError, match="has changed since it was looked at"):
        restore_clip(clip, work)
