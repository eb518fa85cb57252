"""`deblur batch` with an engine that changes nothing, and needs no torch: python tests/identity_batch.py ARGUMENTS.

DEBLUR_TEST_PAUSE_S makes each photo take that long; a photo whose name begins with "killer" kills its process.
"""

import os
import sys
import time
from dataclasses import dataclass

from deblur_cli.batch import Progress
from deblur_cli.cli import _batch, main
from deblur_cli.photo import Photo


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
    time.sleep(float(os.environ.get("DEBLUR_TEST_PAUSE_S", "0")))
    return Unchanged(photo)


if __name__ == "__main__":
    _batch.load_process = lambda options, console: identity  # type: ignore[assignment]
    try:
        main()
    finally:
        assert "torch" not in sys.modules
