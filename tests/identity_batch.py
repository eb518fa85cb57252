"""`deblur batch`, `watch` and `video` with an engine that changes nothing, and needs no torch: python tests/identity_batch.py ARGUMENTS.

DEBLUR_TEST_PAUSE_S makes each photo take that long, and DEBLUR_TEST_STUBBORN as long again after an interrupt; with
DEBLUR_TEST_NO_WEIGHTS there are no weights; DEBLUR_TEST_BEGUN is a file that is made when a photo is at hand; a photo of KILLER pixels kills its process.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from deblur_cli.batch import Process, Progress
from deblur_cli.cli import _engine, _video, main
from deblur_cli.errors import WeightsError
from deblur_cli.photo import Photo

KILLER = (13, 17, 3)
ASKED = {name: value for name, value in os.environ.items() if name.startswith("DEBLUR_TEST_")}
"""Taken along to the nodes of a cluster, whose environment is their own."""


@dataclass(frozen=True)
class Details:
    rms_change: float = 0.0
    gradient_gain: float = 1.0


@dataclass(frozen=True)
class Unchanged:
    photo: Photo
    details: Details = Details()


def identity(photo: Photo, progress: Progress) -> Unchanged:
    progress(0, 1)
    if begun := ASKED.get("DEBLUR_TEST_BEGUN"):
        Path(begun).touch()
    if photo.pixels.shape == KILLER:
        os.kill(os.getpid(), signal.SIGKILL)
    pause_s = float(ASKED.get("DEBLUR_TEST_PAUSE_S", "0"))
    try:
        time.sleep(pause_s)
    finally:
        if ASKED.get("DEBLUR_TEST_STUBBORN"):
            time.sleep(pause_s)
    return Unchanged(photo)


def load_identity(options: object, console: object) -> Process:
    if ASKED.get("DEBLUR_TEST_NO_WEIGHTS"):
        raise WeightsError("no weights here")
    return identity


if __name__ in ("__main__", "__mp_main__"):  # the latter in worker processes
    _engine.load_process = load_identity  # type: ignore[assignment]
    _video.load_restore = load_identity  # type: ignore[assignment]
    _engine.load_on_node = load_identity  # type: ignore[assignment]
    _engine.tile_bytes = lambda options: 100_000_000
if __name__ == "__main__":
    try:
        main()
    finally:
        assert "torch" not in sys.modules
        if "ray" not in sys.argv and not any("://" in argument for argument in sys.argv):
            assert not {"ray", "fsspec"} & set(sys.modules), "a local batch needs neither"
