"""Files that are no photo, or not a whole one: one clear message that names the file, and never a wrong picture."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from deblur_cli.errors import PhotoError
from deblur_cli.photo import inspect_photo, read_photo, write_photo
from deblur_cli.photo._tiff_tags import Tags
from photo_files import Kind, dng, metadata_of, stored

TESTS = Path(__file__).parent


def refusal(path: Path) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        read_photo(path)
    assert caught.value.message.startswith(f"{path}: ")
    return caught.value


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"hello, this is text", "not a photo of a format that we know"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a photo of a format that we know"),
        (b"\xff\xd8\xff", "the JPEG file is damaged (its header makes no sense)"),
        (b"\x89PNG\r\n\x1a\n", "the PNG file is cut short"),
        (b"RIFF\x10\0\0\0WEBP", "the WebP file is cut short"),
        (b"II*\0\x10\0\0\0", "the TIFF file is damaged (not a TIFF structure)"),
        (b"P6 5", "the PPM file is cut short"),
        (b"P6 5 5", "the PPM file is cut short"),
        (b"P5 5 5 0 aaaaa", "the PPM file is damaged (a largest value of 0)"),
        (b"P5 0 5 255 aaaaa", "the PPM file is damaged (a size of 0x5)"),
        (b"GIF89a", "the GIF file is cut short"),
        (b"\0\0\0\x04ftypavif", "the AVIF file is damaged (a box of 4 bytes)"),
        (b"\0\0\0\x1cftypavif", "the AVIF file is cut short"),
    ],
)
def test_what_is_no_photo(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert refusal(tmp_path / "a.jpg").message == f"{tmp_path / 'a.jpg'}: {words}"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.jpg").message == f"{tmp_path / 'a.jpg'}: no such file"


def test_a_folder(tmp_path: Path) -> None:
    error = refusal(tmp_path)
    assert error.message == f"{tmp_path}: a folder, not a photo"
    assert error.hint == f"For a folder: deblur batch {tmp_path}"


def test_a_file_that_cannot_be_read() -> None:
    path = Path("/proc/self/mem")
    if not path.exists():
        pytest.skip("needs a file whose first byte cannot be read")
    assert refusal(path).message == f"{path}: cannot be read: Input/output error"


def noisy(height: int = 120, width: int = 160) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    noisy().save(file, file_format, **options)
    return file.getvalue()


def tiled_tiff() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(noisy()), tile=(64, 64), compression="lzw", photometric="rgb")
    return file.getvalue()


WHOLE: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved("JPEG"),
    "progressive JPEG": lambda: saved("JPEG", progressive=True),
    "PNG": lambda: saved("PNG"),
    "lossy WebP": lambda: saved("WEBP"),
    "lossless WebP": lambda: saved("WEBP", lossless=True),
    "AVIF": lambda: saved("AVIF"),
    "TIFF": lambda: saved("TIFF"),
    "deflated TIFF": lambda: saved("TIFF", compression="tiff_adobe_deflate"),
    "tiled TIFF": tiled_tiff,
    "BMP": lambda: saved("BMP"),
    "PPM": lambda: saved("PPM"),
    "GIF": lambda: saved("GIF"),
    "JXL": lambda: stored("JXL", Kind("uint8", 3, False)),
    "RAW": dng,
    "HEIC": lambda: (TESTS / "data/photos/turned.heic").read_bytes(),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_cut_short_is_refused_and_never_half_read(tmp_path: Path, name: str) -> None:
    for needed in {"HEIC": ["pi_heif"], "JXL": ["pylibjxl"], "RAW": ["rawpy"]}.get(name, []):
        pytest.importorskip(needed)
    data = WHOLE[name]()
    path = tmp_path / ("a.dng" if name == "RAW" else "a.photo")
    path.write_bytes(data)
    pixels = read_photo(path).pixels
    lengths = [len(data) * share // 40 for share in range(1, 40)] + [len(data) - cut for cut in range(1, 20)]
    refusals = []
    for length in lengths:
        path.write_bytes(data[:length])
        try:
            photo = read_photo(path)
        except PhotoError as error:
            refusals.append(error.message)
        else:  # what is missing was no pixel
            np.testing.assert_array_equal(photo.pixels, pixels)
            assert length > len(data) - 20
    assert len(refusals) >= 39
    assert {message.partition(": ")[2] for message in refusals} == {
        f"the {name.split()[-1]} file is cut short"
    }


def bomb_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(10000))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bomb_tiff(width: int, height: int) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((4, 4), np.uint8), metadata=None)
    data = bytearray(file.getvalue())
    tags = Tags.parse(bytes(data))
    for tag, value in ((256, width), (257, height)):
        at = tags.entries(tags.first)[tag]
        data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        bomb_png(20000, 15000),
        bomb_tiff(20000, 15000),
        b"P5 20000 15000 255 " + bytes(50),
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 20000, 15000, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(50),
        saved("GIF")[:6] + struct.pack("<HH", 20000, 15000) + saved("GIF")[10:],
    ],
    ids=["PNG", "TIFF", "PPM", "BMP", "GIF"],
)
def test_bombs_are_refused_by_their_header(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.photo"
    path.write_bytes(data)
    refusal(path)


def test_the_limit_and_how_to_raise_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noisy(1000, 1500).save(path)
    with pytest.raises(PhotoError) as caught:
        read_photo(path, max_megapixels=1)
    assert caught.value.message == f"{path}: 1500x1000 is 2 megapixels, above the limit of 1"
    assert caught.value.hint == "If you trust this file: --max-megapixels 2"
    assert read_photo(path, max_megapixels=2).pixels.shape == (1000, 1500, 3)
    assert inspect_photo(path).width == 1500


def test_a_gif_whose_frame_is_a_bomb(tmp_path: Path) -> None:
    data = bytearray(saved("GIF"))
    at = data.index(b"," + bytes(4)) + 5
    data[at : at + 4] = struct.pack("<HH", 60000, 60000)
    (tmp_path / "a.gif").write_bytes(data)
    assert refusal(tmp_path / "a.gif").message.endswith(
        "the GIF file claims to have more pixels than any photo"
    )


def test_a_palette_that_is_too_short() -> None:
    file = io.BytesIO()
    palette = {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}
    tifffile.imwrite(file, np.full((16, 24), 200, np.uint8), **palette)
    data = bytearray(file.getvalue())
    tags = Tags.parse(bytes(data))
    struct.pack_into("<I", data, tags.entries(tags.first)[320] + 4, 300)
    with pytest.raises(PhotoError, match=r"the TIFF file is damaged \(its palette is too short\)$"):
        read_photo(io.BytesIO(data))


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (MemoryError(), "not enough memory for this photo"),
        (
            np.zeros((2, 3, 3), np.uint8),
            r"the PNG file is damaged \(3x2 pixels where the header says 160x120\)",
        ),
        (RuntimeError(), r"the PNG file is damaged \(RuntimeError\)"),
    ],
)
def test_what_a_decoder_may_do(outcome: object, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(_: bytes) -> object:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(imagecodecs, "png_decode", decode)
    with pytest.raises(PhotoError, match=f"^standard input: {words}$"):
        read_photo(io.BytesIO(saved("PNG")))


def test_damaged_exif_is_left_out_and_said() -> None:
    data = stored("PNG", Kind("uint8", 3, False))
    exif = Tags.parse(metadata_of(Kind("uint8", 3, False)).exif or b"").data
    at = data.index(exif[:4], data.index(b"eXIf"))
    data = data[:at] + b"??" + data[at + 2 :]
    photo = read_photo(io.BytesIO(data))
    assert photo.metadata.exif is None
    assert photo.notes == ("the EXIF data is damaged: it is left out",)
    write_photo(photo, io.BytesIO())


def test_mutated_files_give_a_photo_or_a_message(tmp_path: Path) -> None:
    """200 of them; `make soak` sets DEBLUR_FUZZ_FILES to 2000."""
    count = os.environ.get("DEBLUR_FUZZ_FILES", "200")
    seed = os.environ.get("DEBLUR_FUZZ_SEED", "0")
    folder = tmp_path / "mutated"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(TESTS / "photo_fuzz.py"), count, seed, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{sorted(folder.iterdir())}\n{done.stderr[-3000:]}"
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert sum(result["outcomes"].values()) == int(count)
    assert result["outcomes"]["photo"] > int(count) // 10
    assert result["left"] == []
    assert result["peak_bytes"] < 1 << 30
