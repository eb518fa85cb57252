"""What Ray costs a photo, and what the first process and Ray's head need: python benchmarks/cluster.py [PHOTOS [copied]] prints rows of Markdown.

Photos of 8x8 pixels on disk that take 10 ms each (and in a second round no time), by an engine that changes nothing; one worker
here, one in a cluster, then all that the cluster has room for. With `copied`, one round by workers of
`copying_batch.py`: for many photos, which are read and written by nobody.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from PIL import Image

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from nodes import Nodes, running_nodes  # noqa: E402  beside the tests

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
    "RAY_USAGE_STATS_ENABLED": "0",
}

SHARES = {"a first photo": 0, "a tenth": 0.1, "half": 0.5, "all": 1}
"""After so much of the photos memory is looked at."""


def make(folder: Path, count: int) -> None:
    """`count` names of one file, a thousand in a folder."""
    for number in range(count):
        path = folder / str(number // 1000) / f"{number}.png"
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
            Image.new("RGB", (8, 8), (number // 1000 % 256, 9, 9)).save(path)
        else:
            os.link(path.with_name(f"{number // 1000 * 1000}.png"), path)


def run(
    nodes: Nodes, script: Path, folder: Path, out: Path, count: int, pause_s: float, *options: str
) -> tuple[float, float, list[str]]:
    """Seconds from the first photo to the last, processor seconds of the first process, and after each of SHARES the MiB of it and of the head."""
    command = [
        sys.executable,
        str(script),
        "batch",
        str(folder),
        "-o",
        str(out),
        "--json",
        "--quiet",
        *options,
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started, settled, memory = 0.0, 0, []
    due = [max(1, int(count * share)) for share in SHARES.values()]
    environment = {**ENVIRONMENT, "DEBLUR_TEST_PAUSE_S": str(pause_s)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        for _ in process.stdout or ():
            started = started or time.monotonic()
            settled += 1
            if settled in due:
                ended = time.monotonic()
                memory.append(f"{resident_mib(process.pid):.0f}, {head_mib(nodes):.0f}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 0
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return ended - started, processor_s, memory


def resident_mib(pid: int) -> float:
    """The memory of a process."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def head_mib(nodes: Nodes) -> float:
    """The memory of the process that knows all of the cluster."""
    started = psutil.Process(nodes.pid).children(recursive=True)
    return next(resident_mib(each.pid) for each in started if each.name() == "gcs_server")


def main(count: int, *, copied: bool) -> None:
    """Measure, and print."""
    columns = ["photos", "each takes", "by", "s", "ms a photo", "processor ms a photo, first process"]
    columns += [f"its MiB and those of Ray's head after {share}" for share in SHARES]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "in")
        make(folder, count)
        with running_nodes({}, 1, 1, 1) as nodes:
            ray = ["--engine", "ray", "--address", nodes.address, "--threads", "1"]
            identity = TESTS / "identity_batch.py"
            ways = [
                (0.01, "this process", identity, []),
                (0.01, "Ray, 1 worker", identity, [*ray, "--workers", "1"]),
                (0.01, "Ray, 3 workers", identity, ray),
            ]
            ways += [(0.0, *way) for _, *way in ways]
            if copied:
                ways = [(0.01, "Ray, 3 workers that copy", Path(__file__).with_name("copying_batch.py"), ray)]
            for pause_s, by, script, options in ways:
                out = Path(root, f"{by} {pause_s}")
                took_s, processor_s, memory = run(nodes, script, folder, out, count, pause_s, *options)
                row = [
                    f"{count:,}",
                    f"{pause_s * 1000:.0f} ms",
                    by,
                    f"{took_s:.1f}",
                    f"{took_s / count * 1000:.2f}",
                ]
                row.append(f"{processor_s / count * 1000:.2f}")
                row += memory
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000, copied=sys.argv[2:] == ["copied"])
