"""Ray nodes on this machine, as many as wanted: python tests/ray_cluster.py CORES... has a node of so many cores for each number.

It prints the address for processes of this machine and that for those of others, and obeys lines on its standard input: `add CORES`;
`kill N`, the N-th node from 0, which ends as if its machine had lost power; `drain N`, which is taken back by its cloud: it gets no new
work, and two seconds later it is told to end; `retire N`, the first from there on that nothing lives on, as an autoscaler does it, and
waits for. Each is answered by a line when it is done. At the end of its input it ends all nodes.
"""

import os
import socket
import sys
import time
from contextlib import suppress
from itertools import cycle
from typing import Any

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # with Ray's 15 they stand still beside anything else
    "RAY_memory_monitor_refresh_ms": "0",  # it would kill workers for what other programs of this machine take
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}

import ray
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

LEAST: dict[str, Any] = {"object_store_memory": 78_643_200, "memory": 4e9, "include_log_monitor": False}
"""Of a node: the smallest store that Ray allows, and no process that nobody asks."""

STARTS = 3
"""A node gives up when its agents have not said their ports within 15 s, which a busy machine may not manage, and which no option changes."""


def answering(port: int, within_s: float = 60) -> None:
    """Wait until somebody listens there: Ray starts its server for clients and does not wait for it."""
    ends = time.monotonic() + within_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)
        else:
            return


def main(cores: list[float]) -> None:
    cluster = Cluster()
    nodes: list[ray._private.node.Node] = []

    def add(number: float, **more: object) -> int:
        """The port for clients, another one for each start: what is left of one that failed may hold its own."""
        for start in range(STARTS):
            with suppress(*[Exception] * (start < STARTS - 1)):
                with socket.create_server(("127.0.0.1", 0)) as free:
                    port = free.getsockname()[1]
                nodes.append(cluster.add_node(num_cpus=number, ray_client_server_port=port, **LEAST, **more))
                return port
        raise AssertionError

    def drain(which: ray._private.node.Node, reason: str, deadline_s: float = 0) -> bool:
        """Whether the cluster lets the node go."""
        client = ray._raylet.GcsClient(address=cluster.address)
        until_ms = int((time.time() + deadline_s) * 1000)
        accepted, _ = client.drain_node(which.node_id, DrainNodeReason.Value(reason), "", until_ms)
        return bool(accepted)

    try:
        port = add(cores[0], include_dashboard=False, no_monitor=True)
        for number in cores[1:]:
            add(number)
        answering(port)
        print(cluster.address, f"ray://127.0.0.1:{port}", flush=True)
        for line in sys.stdin:
            word, number = line.split()
            if word == "add":
                add(float(number))
            elif word == "kill":
                cluster.remove_node(nodes[int(number)], allow_graceful=False)
            elif word == "drain":
                drain(nodes[int(number)], "DRAIN_NODE_REASON_PREEMPTION", 2)
                time.sleep(2)
                cluster.remove_node(nodes[int(number)])
            else:
                some = cycle(nodes[int(number) :])
                while not drain(idle := next(some), "DRAIN_NODE_REASON_IDLE_TERMINATION"):
                    time.sleep(0.2)
                cluster.remove_node(idle)
            print("done", flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main([float(number) for number in sys.argv[1:]])
