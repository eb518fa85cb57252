"""Google's and Azure's stores, by their emulators on this machine. They are no part of the environment: `make soak` installs them where it can."""

import os
import re
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
        [
            azurite,
            "--blobPort",
            "0",
            "--inMemoryPersistence",
            "--silent",
            "--skipApiVersionCheck",
            "--disableTelemetry",
        ],
        {"AZURE_STORAGE_CONNECTION_STRING": AZURE},
    )


def served(command: list[str], told: dict[str, str]) -> Iterator[dict[str, str]]:
    """What `deblur` needs to reach a server, which says its port last in the first line that has one."""
    environment = {"PYTHONPATH": os.pathsep.join([*sys.path, str(CLOUDS)])}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as server:
        assert server.stdout
        try:
            port = next(
                found[1] for line in server.stdout if (found := re.search(r"\b([1-9]\d{3,4})$", line))
            )
            yield environment | {name: value.format(port) for name, value in told.items()}
        finally:
            server.kill()


def ask_store(protocol: str, code: str, environment: dict[str, str]) -> None:
    code = f"import fsspec\nfrom pathlib import Path\nfs = fsspec.filesystem('{protocol}')\n{code}"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=True)


@pytest.mark.skipif(os.environ.get("DEBLUR_SOAK") != "1", reason="make soak")
@pytest.mark.parametrize(("protocol", "cloud"), [("gs", google), ("az", azure)])
def test_from_bucket_to_bucket_to_disk_and_back(
    protocol: str, cloud: Callable[[], AbstractContextManager[dict[str, str]]], tmp_path: Path
) -> None:
    names = [f"day {number % 2}/IMG {number}.png" for number in range(6)]
    for number, name in enumerate(names):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(png(number))
    photos, sharp = f"{protocol}://photos/in", f"{protocol}://sharp"
    with cloud() as environment:
        code = "for bucket in 'photos', 'sharp': fs.mkdir(bucket)\n"
        code += f"for name in {names}: fs.pipe_file('photos/in/' + name, Path('{tmp_path}/in', name).read_bytes())"
        ask_store(protocol, code, environment)
        ways = [(photos, f"{sharp}/a/b"), (photos, tmp_path / "c"), (tmp_path / "in", f"{sharp}/d")]
        for source, target in ways:
            first = batch(source, "-o", target, **environment)
            assert (first.code, first.counts()) == (0, (6, 0, 0, 0)), first.err
            assert batch(source, "-o", target, **environment).counts() == (0, 6, 0, 0)
        nothing = batch(f"{protocol}://photos/nothing", "-o", tmp_path / "none", **environment)
        assert (nothing.code, nothing.photos) == (2, [])
        assert "no such file or folder" in nothing.err
        code = f"for part in 'a/b', 'd': fs.get('sharp/' + part, '{tmp_path}/' + part, recursive=True)"
        ask_store(protocol, code, environment)
    assert batch(tmp_path / "in", "-o", tmp_path / "local").code == 0
    for folder in ("a/b", "c", "d"):
        for name in names:
            assert (tmp_path / folder / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
