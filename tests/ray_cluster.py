"""Ray nodes on this machine, as many as wanted: python tests/ray_cluster.py CORES... has a node of so many cores for each number.

It prints the address, and obeys lines on its standard input: `add CORES` and `kill N`, the N-th node from 0, which ends as if its
machine had lost power. Each is answered by a line when it is done. At the end of its input it ends all nodes.
"""

import os
import sys

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # it would kill workers for what other programs of this machine take
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}

import ray
from ray.cluster_utils import Cluster

STORE_BYTES = 78_643_200
"""The least that Ray allows."""


def main(cores: list[float]) -> None:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": cores[0],
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
            "memory": 4e9,
        },
    )
    nodes = [cluster.head_node]

    def add(number: float) -> None:
        nodes.append(cluster.add_node(num_cpus=number, object_store_memory=STORE_BYTES, memory=4e9))

    try:
        for number in cores[1:]:
            add(number)
        print(cluster.address, flush=True)
        for line in sys.stdin:
            word, number = line.split()
            if word == "add":
                add(float(number))
            else:
                cluster.remove_node(nodes[int(number)], allow_graceful=False)
            print("done", flush=True)
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main([float(number) for number in sys.argv[1:]])
