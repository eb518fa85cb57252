"""The nodes of `ray_cluster.py`, started and told what to do: for tests, the demonstration and the benchmark."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class Nodes:
    """address: of the cluster. client: for who is on none of its machines. pid: of the process that started them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin
        assert process.stdout
        self._in, self._out, self.pid = process.stdin, process.stdout, process.pid
        self.address, self.client = self._out.readline().split()

    def ask(self, line: str) -> None:
        """`add CORES`, `kill N`, `drain N` or `retire N`, and wait until it is done."""
        self._in.write(line + "\n")
        self._in.flush()
        assert self._out.readline() == "done\n"


@contextmanager
def running_nodes(environment: Mapping[str, str], *cores: int) -> Iterator[Nodes]:
    """A node of so many cores for each number. environment: what their workers need beside that of this process."""
    path = os.pathsep.join(sys.path)  # workers unpickle what is defined in tests
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("ray_cluster.py")), *map(str, cores)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **environment},
    ) as process:
        yield Nodes(process)
        assert process.stdin
        process.stdin.close()
        process.wait(60)
