"""Google's and Azure's stores, by their emulators on this machine. They are no part of the environment: `make soak` installs them where it can."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from stores import batch, png

CLOUDS = Path(sys.prefix, "clouds")
"""Packages beside the environment, in which other tests want those of the clouds to be missing."""

AZURE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;BlobEndpoint=http://127.0.0.1:{}/devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""Of the account that every Azurite has."""

GOOGLE = (
    "from gcp_storage_emulator.server import create_server\n"
    "server = create_server('127.0.0.1', 0, in_memory=True)\n"
    "server.start()\n"
    "print(server._api._httpd.server_address[1], flush=True)\n"
    "input()\n"
)


@contextmanager
def google() -> Iterator[dict[str, str]]:
    if not (CLOUDS / "gcp_storage_emulator").is_dir():
        pytest.skip("gcp-storage-emulator is not installed")
    yield from served(
        [sys.executable, "-c", GOOGLE],
        {
            "STORAGE_EMULATOR_HOST": "http://127.0.0.1:{}",
            "FSSPEC_GS_TOKEN": "anon",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it would ask Google itself of what kind a bucket is
        },
    )


@contextmanager
def azure() -> Iterator[dict[str, str]]:
    azurite = shutil.which("azurite-blob", path=CLOUDS / "node_modules/.bin")
    if not azurite or not (CLOUDS / "adlfs").is_dir():
        pytest.skip("azurite is not installed")
    yield from served(
        [azurite, "--blobPort", "0", "--inMemoryPersistence", "--silent", "--skipApiVersionCheck"],
        {"AZURE_STORAGE_CONNECTION_STRING": AZURE},
    )


def served(command: list[str], told: dict[str, str]) -> Iterator[dict[str, str]]:
    """What `deblur` needs to reach a server that says its port last in its first line."""
    environment = {"PYTHONPATH": os.pathsep.join([*sys.path, str(CLOUDS)])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as server:
        assert server.stdout
        try:
            port = server.stdout.readline().strip().rpartition(":")[2]
            yield environment | {name: value.format(port) for name, value in told.items()}
        finally:
            server.kill()


@pytest.mark.skipif(os.environ.get("DEBLUR_SOAK") != "1", reason="make soak")
@pytest.mark.parametrize(("protocol", "cloud"), [("gs", google), ("az", azure)])
def test_from_disk_to_a_bucket_to_a_bucket_to_disk(
    protocol: str, cloud: Callable[[], AbstractContextManager[dict[str, str]]], tmp_path: Path
) -> None:
    for number in range(6):
        (tmp_path / f"in/day {number % 2}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"in/day {number % 2}/IMG {number}.png").write_bytes(png(number))
    photos, sharp = f"{protocol}://photos/in", f"{protocol}://sharp/a/b"
    with cloud() as environment:
        make = f"import fsspec\nfor name in 'photos', 'sharp': fsspec.filesystem('{protocol}').mkdir(name)"
        subprocess.run([sys.executable, "-c", make], env={**os.environ, **environment}, check=True)
        for source, target in ((tmp_path / "in", photos), (photos, sharp), (sharp, tmp_path / "out")):
            first = batch(source, "-o", target, **environment)
            assert (first.code, first.counts()) == (0, (6, 0, 0, 0)), first.err
            assert batch(source, "-o", target, **environment).counts() == (0, 6, 0, 0)
        nothing = batch(f"{protocol}://photos/nothing", "-o", tmp_path / "none", **environment)
        assert (nothing.code, nothing.photos) == (2, [])
        assert "no such file or folder" in nothing.err
    assert batch(tmp_path / "in", "-o", tmp_path / "local").code == 0
    names = [path.relative_to(tmp_path / "local") for path in (tmp_path / "local").rglob("*.png")]
    assert len(names) == 6
    assert all(
        (tmp_path / "out" / name).read_bytes() == (tmp_path / "local" / name).read_bytes() for name in names
    )
