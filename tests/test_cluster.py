"""A Ray cluster of three nodes on this machine, between two buckets. `make test` runs a few photos and cases; `make soak` 500, and all."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from identity_batch import KILLER
from nodes import Nodes, running_nodes
from stores import (
    Result,
    Run,
    Store,
    assert_clean,
    batch,
    kill,
    photos,
    png,
    results_of_local_run,
    running_store,
    start,
    until,
)  # fmt: skip

FULL = os.environ.get("DEBLUR_SOAK") == "1"
PHOTOS = 500 if FULL else 40
soak = pytest.mark.skipif(not FULL, reason="make soak")


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store() as server:
        yield server


@pytest.fixture(scope="module")
def nodes(store: Store) -> Iterator[Nodes]:
    with running_nodes(store.environment, 2, 2, 2) as three:
        yield three


@pytest.fixture(scope="module")
def originals() -> dict[str, bytes]:
    return photos(PHOTOS)


@pytest.fixture(scope="module")
def expected(originals: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return results_of_local_run(originals, tmp_path_factory.mktemp("local"))


class Buckets:
    """A bucket of photos and an empty one, of a test of its own."""

    def __init__(self, store: Store, address: str, name: str, originals: dict[str, bytes]) -> None:
        self.store, self.sharp = store, store.bucket(f"sharp-{name}")
        photos = store.bucket(f"photos-{name}", originals)
        self.arguments = [
            f"s3://{photos}/in", "-o", f"s3://{self.sharp}/x", "--engine", "ray", "--address", address, "--threads", "2",
        ]  # fmt: skip

    def start(self, **environment: str) -> Run:
        return start(*self.arguments, store=self.store, **environment)

    def run(self, **environment: str) -> Result:
        return batch(*self.arguments, store=self.store, **environment)

    def results(self) -> dict[str, bytes]:
        return {key.removeprefix("x/"): data for key, data in self.store.objects(self.sharp).items()}

    def finished(self) -> list[str]:
        """As the journal tells it."""
        return [line["target"] for line in self.store.journal(self.sharp) if "target" in line]


def until_done(run: Run, share: float) -> None:
    until(lambda: run.told() > share * PHOTOS or run.poll() is not None, f"{share:.0%} of the results")


@pytest.mark.parametrize("address", ["address", "client"])
def test_a_photo_that_kills_three_workers_is_named_and_left(address: str, store: Store, nodes: Nodes) -> None:
    originals = {**{f"in/{number}.png": png(number) for number in range(8)}, "in/4.png": png(4, KILLER[:2])}
    buckets = Buckets(store, getattr(nodes, address), f"killer-{address}", originals)
    first = buckets.run()
    assert (first.code, first.counts()) == (1, (7, 0, 1, 0))
    (failed,) = [told for told in first.photos if told["status"] == "failed"]
    assert failed["error"].endswith("/in/4.png: 3 workers have died on it, one after the other")
    assert sorted(buckets.results()) == sorted(f"{number}.png" for number in range(8) if number != 4)
    again = buckets.run()
    assert (again.code, again.counts()) == (1, (0, 7, 1, 0))
    assert "is not tried again" in again.err


def test_ctrl_c_stops_cleanly_and_a_second_run_goes_on(
    store: Store, nodes: Nodes, originals: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    buckets = Buckets(store, nodes.address, "stopped", originals)
    process = buckets.start(DEBLUR_TEST_PAUSE_S="0.1")
    until_done(process, 0.1)
    process.send_signal(signal.SIGINT)
    stopped = Result(process)
    done, _, failed, not_done = stopped.counts()
    assert (stopped.code, failed, done + not_done) == (130, 0, PHOTOS)
    assert not_done > 0
    results = buckets.results()
    assert sorted(buckets.finished()) == sorted(results)  # whoever was writing has finished, and told of it
    assert len(results) == done
    again = buckets.run()
    assert (again.code, again.counts()) == (0, (PHOTOS - done, done, 0, 0))
    assert buckets.results() == expected
    assert sorted(buckets.finished()) == sorted(expected)
    assert_clean(store, buckets.sharp)


def test_told_to_end_it_says_what_is_done_as_a_local_run_does(store: Store, nodes: Nodes) -> None:
    process = Buckets(store, nodes.address, "ended", photos(12)).start(DEBLUR_TEST_PAUSE_S="1")
    until(process.told, "the first result")
    process.send_signal(signal.SIGTERM)
    ended = Result(process)
    done, _, failed, not_done = ended.counts()
    assert (ended.code, failed, done + not_done) == (143, 0, 12)
    assert not_done > 0
    assert "SIGTERM" not in ended.err  # as Ray's own handler says


def test_a_node_dies_and_its_photos_are_done_by_others(
    store: Store, nodes: Nodes, originals: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    buckets = Buckets(store, nodes.address, "node", originals)
    process = buckets.start(DEBLUR_TEST_PAUSE_S="0.1")
    until_done(process, 0.2)
    nodes.ask("kill 2")
    result = Result(process)
    nodes.ask("add 2")
    assert (result.code, result.counts()) == (0, (PHOTOS, 0, 0, 0))
    assert [told["status"] for told in result.photos] == ["done"] * PHOTOS
    assert buckets.results() == expected
    assert sorted(buckets.finished()) == sorted(expected)
    assert_clean(store, buckets.sharp)


def test_the_head_of_the_cluster_remembers_no_photos(store: Store, nodes: Nodes) -> None:
    buckets = Buckets(store, nodes.address, "remembered", photos(12))
    result = buckets.run(DEBLUR_TEST_PAUSE_S="0.3")  # takes over a second: the head is told once in one
    assert result.counts() == (12, 0, 0, 0)
    code = f"import ray; ray.init('{nodes.address}', log_to_driver=False); print(ray.timeline())"
    seen = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "exchange" not in seen


@soak
def test_the_first_process_is_killed_and_a_second_run_goes_on(
    store: Store, nodes: Nodes, originals: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    buckets = Buckets(store, nodes.address, "driver", originals)
    process = buckets.start(DEBLUR_TEST_PAUSE_S="0.1")
    until(lambda: len(buckets.finished()) > 0.3 * PHOTOS, "some results in the journal")
    kill(process)
    again = buckets.run()
    done, skipped, failed, not_done = again.counts()
    assert (again.code, done + skipped, failed, not_done) == (0, PHOTOS, 0, 0)
    assert skipped > 0.3 * PHOTOS
    assert buckets.results() == expected
    assert sorted(buckets.finished()) == sorted(expected)
    assert_clean(store, buckets.sharp)


@soak
def test_a_store_that_is_busy_and_cuts_connections(
    store: Store, nodes: Nodes, originals: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    buckets = Buckets(store, nodes.address, "busy", originals)
    store.faults(busy=0.1, cut=0.05)
    result = buckets.run()
    store.faults()
    assert (result.code, result.counts()) == (0, (PHOTOS, 0, 0, 0))
    assert buckets.results() == expected
    assert_clean(store, buckets.sharp)


@soak
def test_an_object_that_vanishes_fails_alone(store: Store, nodes: Nodes, originals: dict[str, bytes]) -> None:
    buckets = Buckets(store, nodes.address, "vanishing", originals)
    process = buckets.start(DEBLUR_TEST_PAUSE_S="0.1")
    until_done(process, 0.1)
    last = max(key for key in originals if key.startswith("in/day 2/"))
    store.ask("DELETE", f"photos-vanishing/{last.replace(' ', '%20')}")
    result = Result(process)
    assert (result.code, result.counts()) == (1, (PHOTOS - 1, 0, 1, 0))
    assert "cannot be read: no such file" in result.err


@soak
@pytest.mark.parametrize("fault", ["denied", "quota"])
def test_no_permission_and_a_full_quota_stop_the_run(
    fault: str, store: Store, nodes: Nodes, originals: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    buckets = Buckets(store, nodes.address, fault, originals)
    store.faults(
        **({"denied": [buckets.sharp]} if fault == "denied" else {"quota": {buckets.sharp: 100_000}})
    )
    stopped = buckets.run()
    store.faults()
    assert stopped.code == 1
    assert ("access is denied" if fault == "denied" else "the disk is full") in stopped.err
    assert not [told for told in stopped.photos if told["status"] == "failed"]
    assert buckets.run().code == 0
    assert buckets.results() == expected
    assert_clean(store, buckets.sharp)


@soak
def test_a_cluster_that_grows_is_used(store: Store) -> None:
    with running_nodes(store.environment, 0) as nodes:
        buckets = Buckets(store, nodes.address, "growing", photos(6))
        process = buckets.start()
        assert process.stderr
        assert "no node has room for a worker yet: it takes 2 cores" in process.stderr.readline()
        assert process.poll() is None
        nodes.ask("add 2")
        result = Result(process)
        assert (result.code, result.counts()) == (0, (6, 0, 0, 0))


@soak
def test_nodes_come_and_go_and_every_photo_is_done_once(
    store: Store, originals: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    with running_nodes(store.environment, 0, 2) as nodes:
        buckets = Buckets(store, nodes.address, "changing-nodes", originals)
        process = buckets.start(DEBLUR_TEST_PAUSE_S="0.1")
        until_done(process, 0.1)
        nodes.ask("add 2")
        nodes.ask("add 2")
        until_done(process, 0.3)
        nodes.ask("drain 1")
        until_done(process, 0.6)
        nodes.ask("kill 2")
        result = Result(process)
    assert (result.code, result.counts()) == (0, (PHOTOS, 0, 0, 0))
    assert [told["status"] for told in result.photos] == ["done"] * PHOTOS
    assert buckets.results() == expected
    assert sorted(buckets.finished()) == sorted(expected)
    assert_clean(store, buckets.sharp)


@soak
def test_a_node_without_a_photo_may_go_before_the_last_is_done(store: Store) -> None:
    with running_nodes(store.environment, 0, 2, 2) as nodes:
        buckets = Buckets(
            store, nodes.address, "shrinking", photos(2)
        )  # both for the worker that is ready first
        process = buckets.start(DEBLUR_TEST_PAUSE_S="20")
        until(buckets.finished, "the first photo")  # by then both workers have come
        nodes.ask("retire 1")
        assert len(buckets.finished()) == 1
        result = Result(process)
    assert (result.code, result.counts()) == (0, (2, 0, 0, 0))


def test_a_cluster_of_another_version_is_refused(nodes: Nodes) -> None:
    for address in nodes.address, nodes.client:
        code = f"import ray; ray.__version__ = '1.0'; from deblur_cli.cluster import connect; connect('{address}')"
        refused = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)
        assert (
            f"UsageError: --address {address}: Version mismatch: The cluster was started with: Ray: {version('ray')} "
            in refused.stderr
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "auto"], "--address is that of a Ray cluster"),
        (["--engine", "ray", "--address", "127.0.0.1:1"], "no Ray cluster answers there"),
        (["--engine", "ray", "--address", "ray://127.0.0.1"], "no Ray cluster answers there"),
    ],
)
def test_without_a_cluster_it_says_what_to_do(options: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    result = batch(tmp_path, *options)
    assert (result.code, result.photos) == (2, [])
    assert message in result.err
