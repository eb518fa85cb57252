"""Writing is atomic, and says what is wrong with a target."""

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deblur_cli.errors import PhotoError, UsageError
from deblur_cli.photo import (
    Encoding,
    Photo,
    _atomic,
    format_of_name,
    looks_like_photo,
    output_extension,
    read_photo,
    write_photo,
)

PHOTO = Photo(np.full((16, 24, 3), 77, np.uint8), None, Encoding("PNG"))


def test_a_stream_gets_the_format_of_the_input_or_the_one_asked_for() -> None:
    for asked, expected in ((None, "PNG"), ("JPEG", "JPEG")):
        stream = io.BytesIO()
        write_photo(PHOTO, stream, format=asked)
        stream.seek(0)
        assert read_photo(stream).encoding.format == expected


@pytest.mark.parametrize("links", [True, False])
def test_without_overwrite_the_target_must_be_new(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:

        def refuse(*_: object) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    write_photo(PHOTO, tmp_path / "a.png", overwrite=False)
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(PhotoError, match=r"a\.png: cannot be written: it exists already"):
        write_photo(PHOTO, tmp_path / "a.png", overwrite=False)
    assert (tmp_path / "a.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_new_file_gets_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_photo(PHOTO, tmp_path / "a.png")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o640


def test_an_overwritten_file_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    target.chmod(0o604)
    write_photo(PHOTO, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o604
    assert read_photo(target).pixels.shape == (16, 24, 3)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/real.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to("folder/real.png")
    write_photo(PHOTO, tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert read_photo(tmp_path / "folder/real.png").pixels.shape == (16, 24, 3)


def test_a_link_to_itself_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(PhotoError, match="it is a link to itself"):
        write_photo(PHOTO, tmp_path / "loop.png")
    assert (tmp_path / "loop.png").is_symlink()


@pytest.mark.parametrize("name", ["a" * 251 + ".png", "ä" * 125 + ".png", " .png", "50%[1]\n.png"])
def test_names_up_to_the_longest(tmp_path: Path, name: str) -> None:
    write_photo(PHOTO, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")

    def fail(_: int) -> None:
        assert len(list(tmp_path.glob(".a.png.*.deblur-tmp"))) == 1, "the documented name"
        raise error

    monkeypatch.setattr(_atomic.os, "fsync", fail)
    with pytest.raises(error):
        write_photo(PHOTO, target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["folder", "pipe", "missing folder", "folder that is a file"])
def test_targets_that_cannot_be_written(tmp_path: Path, kind: str) -> None:
    target, words = {
        "folder": (tmp_path / "a.png", "it is a folder"),
        "pipe": (tmp_path / "a.png", "it is not a regular file"),
        "missing folder": (tmp_path / "no/a.png", "No such file or directory"),
        "folder that is a file": (tmp_path / "file/a.png", "Not a directory"),
    }[kind]
    (tmp_path / "file").write_bytes(b"")
    if kind == "folder":
        target.mkdir()
    if kind == "pipe":
        os.mkfifo(target)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PhotoError) as caught:
        write_photo(PHOTO, target)
    assert str(caught.value) == f"{target}: cannot be written: {words}"
    assert sorted(tmp_path.rglob("*")) == before


WITHOUT_PRIVILEGES = """
import io, os, sys
from pathlib import Path
import numpy as np
from deblur_cli.errors import PhotoError
from deblur_cli.photo import Encoding, Photo, write_photo
photo = Photo(np.zeros((2, 2, 3), np.uint8), None, Encoding("PNG"))
write_photo(photo, io.BytesIO())  # imports what is imported late
os.setgid(65534)
os.setuid(65534)
try:
    write_photo(photo, Path(sys.argv[1]))
except PhotoError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="drops the privileges of root")
@pytest.mark.parametrize(("mode", "words"), [(0o755, "Permission denied"), (0o777, "it is write-protected")])
def test_targets_that_the_user_may_not_write(tmp_path: Path, mode: int, words: str) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o755)
    tmp_path.chmod(mode)
    target = tmp_path / "a.png"
    if words == "it is write-protected":
        target.write_bytes(b"old")
        target.chmod(0o444)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PRIVILEGES, str(target)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{target}: cannot be written: {words}\n"
    assert [path.name for path in tmp_path.iterdir()] == (["a.png"] if "protected" in words else [])


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a small file system can be mounted only by root")
    try:
        target = small / "a.png"
        target.write_bytes(b"old")
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
        with pytest.raises(PhotoError) as caught:
            write_photo(Photo(noise, None, Encoding("PNG")), target)
        assert str(caught.value) == f"{target}: the disk is full: 0.27 MB are needed, and 0.06 MB are free"
        assert target.read_bytes() == b"old"
        assert list(small.iterdir()) == [target]
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(("extension", "side"), [(".jpg", 65501), (".webp", 16384), (".gif", 65536)])
def test_too_large_for_the_format(tmp_path: Path, extension: str, side: int) -> None:
    photo = Photo(np.zeros((1, side, 1), np.uint8), None, Encoding("PNG"))
    with pytest.raises(PhotoError, match=rf"a{extension}: \w+ holds at most {side - 1} pixels a side"):
        write_photo(photo, tmp_path / f"a{extension}")
    assert not list(tmp_path.iterdir())


def test_a_photo_that_no_encoder_takes(tmp_path: Path) -> None:
    photo = Photo(np.zeros((0, 3, 3), np.uint8), None, Encoding("PNG"))
    with pytest.raises(PhotoError, match=r"a\.jpg: cannot be encoded as JPEG"):
        write_photo(photo, tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


def test_names_of_outputs() -> None:
    for name, extension in (
        ("a.JPG", ".JPG"),
        ("a.heic", ".jpg"),
        ("a.HIF", ".jpg"),
        ("a.dng", ".tif"),
        ("a.bak", ".png"),
        ("a", ".png"),
        ("a.b.tiff", ".tiff"),
    ):
        assert output_extension(Path(name)) == extension
    assert format_of_name(Path("x/a.JPEG")) == "JPEG"
    assert looks_like_photo(Path("a.NEF"))
    assert not looks_like_photo(Path("a.txt"))
    assert not looks_like_photo(Path(".a.png.0123abcd.deblur-tmp"))


@pytest.mark.parametrize("name", ["a.txt", "a.heic", "a.dng", "a"])
def test_names_that_cannot_be_written(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        format_of_name(Path(name))
    assert caught.value.message.startswith(f"{name}: a photo cannot be written as ")
    assert ".jpg .png .webp .avif .tif .bmp .ppm .gif .jxl" in caught.value.hint
