"""`deblur batch` with an engine that changes nothing, and needs no torch: python tests/identity_batch.py ARGUMENTS.

DEBLUR_TEST_PAUSE_S makes each photo take that long; a photo of KILLER pixels kills its process.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass

from deblur_cli.batch import Progress
from deblur_cli.cli import _batch, main
from deblur_cli.photo import Photo

KILLER = (13, 17, 3)


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
    if photo.pixels.shape == KILLER:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(float(os.environ.get("DEBLUR_TEST_PAUSE_S", "0")))
    return Unchanged(photo)


_batch.load_process = lambda options, console: identity  # type: ignore[assignment]  # in worker processes too
if __name__ == "__main__":
    try:
        main()
    finally:
        assert "torch" not in sys.modules
