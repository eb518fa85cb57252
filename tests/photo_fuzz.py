"""Feeds mutated photo files to `photo`: `python tests/photo_fuzz.py COUNT SEED FOLDER`.

Each must give either a photo, which can then be written, or one clear message and no output; in ten seconds
and a gigabyte. Prints what happened as JSON; exits with a traceback, or is killed, at the first fault.
"""

import faulthandler
import json
import resource
import sys
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

from deblur_cli.errors import PhotoError
from deblur_cli.photo import inspect_photo, output_extension, read_photo, write_photo
from deblur_cli.photo._formats import FORMATS
from photo_files import FULL, WRITTEN, Kind, dng, holds, stored

HANG_S = 10
MEMORY_BYTES = 1 << 30
FIXTURES = FULL.parent


def valid_files() -> list[tuple[str, bytes]]:
    """(extension, file) of every format, with all its metadata."""
    kinds = [
        Kind("uint8", 3, False),
        Kind("uint16", 3, True),
        Kind("uint8", 1, False),
        Kind("uint8", 3, True),
    ]
    made = [
        (FORMATS[name].extensions[0], stored(name, kind, orientation=6))
        for name in WRITTEN
        for kind in kinds
        if holds(name, kind)
    ]
    made += [(path.suffix, path.read_bytes()) for path in sorted(FIXTURES.glob("*.heic"))]
    return [*made, (FULL.suffix, FULL.read_bytes()), (".dng", dng())]


def mutated(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """One to four mutations of the file, most of them near its beginning, where headers are."""
    for _ in range(rng.integers(1, 5)):
        size = len(data)
        if size < 2:
            return data
        at = int(min(rng.integers(size), rng.integers(size)) if rng.random() < 0.7 else rng.integers(size))
        extreme = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, size, size + 1)
        match int(rng.integers(8)):
            case 0:
                data = data[:at] + bytes((data[at] ^ 1 << int(rng.integers(8)),)) + data[at + 1 :]
            case 1:
                data = data[:at]
            case 2:
                data = data[:at] + rng.bytes(int(rng.integers(1, 40))) + data[at:]
            case 3:
                data = data[:at] + data[at + int(rng.integers(1, 200)) :]
            case 4:
                width = int(rng.choice((1, 2, 4)))
                value = int(rng.choice(extreme)) & (1 << 8 * width) - 1
                order = "big" if rng.random() < 0.5 else "little"
                data = data[:at] + value.to_bytes(width, order) + data[at + width :]
            case 5:
                data = data[:at] + data[at : at + 100] * int(rng.integers(2, 4)) + data[at + 100 :]
            case 6:
                data = (
                    data[:at]
                    + other[int(rng.integers(len(other))) :][: int(rng.integers(1, 500))]
                    + data[at:]
                )
            case 7:
                data = data[:at] + bytes(min(size - at, int(rng.integers(1, 60)))) + data[at + 60 :]
    return data


def with_right_checksums(data: bytes) -> bytes:
    """A PNG file's chunks with the checksums of what they now hold, so that a decoder looks at that."""
    at, whole = 8, data[:8]
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        whole += data[at:end] + zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return whole


def one(path: Path) -> str:
    """What came of a file: "photo", or the message with its particulars taken out."""
    target = path.with_name(f"out{output_extension(path)}")
    try:
        inspect_photo(path)
        write_photo(read_photo(path), target)
    except PhotoError as error:
        if target.exists():
            raise AssertionError(f"{path.name} was refused, but something was written") from error
        if not error.message.startswith(f"{path}: ") or "\n" in error.message:
            raise AssertionError(f"no clear message: {error.message!r}") from error
        return error.message.removeprefix(f"{path}: ").partition("(")[0].strip()
    read_photo(target)
    target.unlink()
    return "photo"


def run(count: int, seed: int, folder: Path) -> dict[str, object]:
    """Feed so many files; the last one lies in `folder` if this process does not survive it."""
    rng = np.random.default_rng(seed)
    files = valid_files()
    outcomes: Counter[str] = Counter()
    for number in range(count):
        extension, data = files[number % len(files)]
        other_extension, other = files[int(rng.integers(len(files)))]
        name = f"{number}{other_extension if rng.random() < 0.1 else extension}"
        path = folder / name
        data = mutated(data, other, rng)
        path.write_bytes(with_right_checksums(data) if extension == ".png" and rng.random() < 0.7 else data)
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        outcomes[one(path)] += 1
        faulthandler.cancel_dump_traceback_later()
        path.unlink()
    return {"outcomes": dict(outcomes.most_common()), "left": sorted(p.name for p in folder.iterdir())}


def peak_bytes() -> int:
    """Of this program alone: what getrusage tells begins with the peak of the process that started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line)


if __name__ == "__main__":
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY_BYTES, 4 * MEMORY_BYTES))
    result = run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    result["peak_bytes"] = peak_bytes()
    print(json.dumps(result))  # noqa: T201
