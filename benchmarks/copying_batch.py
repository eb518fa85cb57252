"""`deblur batch --engine ray` by workers that copy a photo in 10 ms and neither decode nor restore it: what is left is Ray and the first process."""

import shutil
import sys
import time
from pathlib import Path

from deblur_cli import cluster
from deblur_cli.batch import FileOptions, MakeProcess
from deblur_cli.cli import _engine, main
from deblur_cli.events import Finished, Started
from deblur_cli.journal import stamp_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from identity_batch import load_identity

UNCHANGED = {"rms_change": 0.0, "gradient_gain": 1.0}


class Copier(cluster._Actor):  # noqa: SLF001  all but its work
    """Tells what a worker tells."""

    def _work(self, make_process: MakeProcess, files: FileOptions) -> None:
        for job in self._jobs():
            assert job.source
            assert job.target
            self._tell(Started(job))
            time.sleep(0.01)
            job.target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(job.source, job.target)
            self._tell(Finished(job, UNCHANGED, (), 0.01, (8, 8), stamp_of(job.source)))


if __name__ == "__main__":
    cluster._Actor = Copier  # type: ignore[misc]  # noqa: SLF001
    _engine.load_on_node = load_identity  # type: ignore[assignment]
    _engine.tile_bytes = lambda options: 100_000_000
    main()
