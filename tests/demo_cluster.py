"""`make demo-cluster`: a store and a cluster of three nodes on this machine; one node is killed in the middle, and nothing is lost.

The network is the real one, the photos are details of those in examples/.
"""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

from nodes import running_nodes
from stores import Store, running_store, until

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
SIDE = 160
ROWS, COLUMNS = 3, 4


def details() -> dict[str, bytes]:
    """Parts of the example photos, as PNG."""
    found = {}
    for path in sorted(EXAMPLES.glob("*.jpg"))[:3]:
        with Image.open(path) as photo:
            for row in range(ROWS):
                for column in range(COLUMNS):
                    left = (photo.width - SIDE) * column // (COLUMNS - 1)
                    top = (photo.height - SIDE) * row // (ROWS - 1)
                    file = io.BytesIO()
                    photo.crop((left, top, left + SIDE, top + SIDE)).save(file, "PNG")
                    found[f"{path.stem}/{row}{column}.png"] = file.getvalue()
    return found


def say(text: str) -> None:
    print(f"\n{time.strftime('%X')}  {text}", flush=True)


def main() -> None:
    with running_store() as store:
        photos = details()
        store.bucket("photos", photos)
        store.bucket("sharp")
        say(f"A store holds {len(photos)} photos in s3://photos. Three nodes of one core each start ...")
        environment = {**os.environ, **store.environment, "RAY_USAGE_STATS_ENABLED": "0"}
        with running_nodes(environment, 1, 1, 1) as nodes:
            deblur = [
                sys.executable,
                "-m",
                "deblur_cli",
                "batch",
                "s3://photos",
                "-o",
                "s3://sharp",
                "--engine",
                "ray",
            ]
            deblur += ["--address", nodes.address, "--threads", "1", "--shake", "off", "--tile", "256"]
            say(f"The cluster answers at {nodes.address}. deblur {' '.join(deblur[3:])}")
            with subprocess.Popen(deblur, env=environment) as run:
                until(lambda: len(results(store)) >= len(photos) // 4 or run.poll() is not None, "results")
                say("One of three nodes loses its power.")
                nodes.ask("kill 2")
            say(f"{len(results(store))} of {len(photos)} photos are in s3://sharp. The same command again:")
            again = subprocess.run(
                [*deblur, "--quiet", "--json"], env=environment, stdout=subprocess.PIPE, check=False
            )
            print(again.stdout.decode().splitlines()[-1])
        assert set(results(store)) == set(photos)
        assert (run.returncode, again.returncode) == (0, 0)


def results(store: Store) -> list[str]:
    return [key for key in store.keys("sharp") if not key.startswith(".")]


if __name__ == "__main__":
    main()
