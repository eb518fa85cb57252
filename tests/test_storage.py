"""Remote folders, with an S3 server on this machine."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import paramiko
import pytest

from deblur_cli.errors import UsageError
from deblur_cli.journal import Journal
from deblur_cli.storage import RemotePath, _store, content, is_remote, log_of, path_of, sweep, write
from stores import (
    HERE,
    SECRET,
    Result,
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
)

PHOTOS = 40


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    with running_store() as store:
        yield store


@pytest.fixture
def store(server: Store) -> Iterator[Store]:
    server.faults()
    yield server
    server.faults()


@pytest.fixture(scope="module")
def originals() -> dict[str, bytes]:
    return photos(PHOTOS)


@pytest.fixture(scope="module")
def expected(originals: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return results_of_local_run(originals, tmp_path_factory.mktemp("local"))


def run_in_store(store: Store, code: str) -> str:
    """Python of its own, since a library's warnings are no failures of ours."""
    environment = {**store.environment, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_from_bucket_to_bucket_is_as_on_disk_at_a_request_each_way(
    store: Store, originals: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    store.bucket("photos-plain", originals)
    store.bucket("sharp-plain")
    store.faults()
    first = batch("s3://photos-plain/in", "-o", "s3://sharp-plain/a/b", store=store)
    counts = store.counts()
    assert (first.code, first.counts()) == (0, (PHOTOS, 0, 0, 0))
    assert store.objects("sharp-plain") == {f"a/b/{name}": data for name, data in expected.items()}
    assert_clean(store, "sharp-plain")
    assert counts["GET photos-plain"] == PHOTOS
    assert PHOTOS < counts["PUT sharp-plain"] <= PHOTOS + 5 + first.summary["elapsed_s"]  # and the journal
    assert counts["LIST photos-plain"] <= 12
    store.faults()
    again = batch("s3://photos-plain/in", "-o", "s3://sharp-plain/a/b", store=store)
    assert (again.code, again.counts()) == (0, (0, PHOTOS, 0, 0))
    assert "GET photos-plain" not in store.counts()
    finished = [line["target"] for line in store.journal("sharp-plain") if "target" in line]
    assert sorted(finished) == sorted(expected)


def test_what_has_changed_is_done_again_and_what_is_not_ours_is_left(store: Store) -> None:
    store.bucket("changing", {f"in/{number}.png": png(number) for number in range(4)})
    assert batch("s3://changing/in", "-o", "s3://changing/out", store=store).counts() == (4, 0, 0, 0)
    store.put("changing/in/1.png", png(11))
    store.put("changing/in/new.png", png(5))
    store.put("changing/out/new.png", b"somebody's own")
    store.ask("DELETE", "changing/out/2.png")
    again = batch("s3://changing/in", "-o", "s3://changing/out", store=store)
    assert (again.code, again.counts()) == (1, (2, 2, 1, 0))
    assert "new.png: exists already, and this batch did not make it" in again.err
    assert store.ask("GET", "changing/out/new.png") == b"somebody's own"


def test_beside_the_inputs_and_from_there_to_disk(store: Store, tmp_path: Path) -> None:
    store.bucket("beside", {"a.png": png(1), "sub/b.png": png(2)})
    assert batch("s3://beside", store=store).counts() == (2, 0, 0, 0)
    assert sorted(store.objects("beside")) == ["a.png", "a_sharp.png", "sub/b.png", "sub/b_sharp.png"]
    assert batch("s3://beside", store=store).counts() == (0, 2, 0, 0)
    assert batch("s3://beside", "-o", tmp_path, store=store).counts() == (2, 0, 0, 0)
    assert (tmp_path / "sub/b.png").exists()
    assert batch("s3://beside", "-o", tmp_path, store=store).counts() == (0, 2, 0, 0)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/c.png").write_bytes(png(3))
    assert batch(tmp_path / "own", "-o", "s3://beside/back", store=store).counts() == (1, 0, 0, 0)
    assert batch(tmp_path / "own", "-o", "s3://beside/back", store=store).counts() == (0, 1, 0, 0)


def test_globs_as_on_disk(store: Store, tmp_path: Path) -> None:
    names = ["in/a1.png", "in/a2.png", "in/b.png", "in/sub/a3.png", "in/x[1].png"]
    store.bucket("globs", {name: png(number) for number, name in enumerate(names)})
    for pattern, found in {
        "in/a*.png": ["a1.png", "a2.png"],
        "in/[!a]*.png": ["b.png", "x[1].png"],
        "in/**/a*.png": ["a1.png", "a2.png", "a3.png"],
        "in/s*": ["a3.png"],
        "in/x[1].png": ["x[1].png"],
    }.items():
        out = tmp_path / pattern.replace("/", "-")
        result = batch(f"s3://globs/{pattern}", "-o", out, store=store)
        assert (result.code, sorted(path.name for path in out.rglob("*.png"))) == (0, found), pattern
    result = batch("s3://globs/in/a[12].png", store=store)
    assert (result.code, result.counts()) == (0, (2, 0, 0, 0))
    assert "in/a1_sharp.png" in store.keys("globs")
    assert any(line.get("target") == "a1_sharp.png" for line in store.journal("globs"))
    again = batch("s3://globs/in/a[12].png", store=store)
    assert (again.code, again.counts()) == (0, (0, 2, 0, 0))
    store.bucket("elsewhere", {"q.png": png(1)})
    refused = batch("s3://globs/in/a*.png", "s3://elsewhere/*.png", store=store)
    assert (refused.code, "the photos lie in several stores" in refused.err) == (2, True)
    refused = batch("s3://globs/in/z*.png", "-o", tmp_path / "none", store=store)
    assert (refused.code, "s3://globs/in/z*.png: no such file or folder" in refused.err) == (2, True)


def test_killed_and_run_again_it_ends_as_if_nothing_had_happened(
    store: Store, originals: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    store.bucket("photos-killed", originals)
    store.bucket("sharp-killed")
    process = start(
        "s3://photos-killed/in", "-o", "s3://sharp-killed", store=store, DEBLUR_TEST_PAUSE_S="0.05"
    )
    until(
        lambda: any("target" in line for line in store.journal("sharp-killed")), "the journal's first lines"
    )
    kill(process)
    assert 0 < len(store.objects("sharp-killed")) < PHOTOS
    again = batch("s3://photos-killed/in", "-o", "s3://sharp-killed", store=store)
    done, skipped, failed, not_done = again.counts()
    assert (done + skipped, failed, not_done) == (PHOTOS, 0, 0)
    assert skipped > 0
    assert store.objects("sharp-killed") == expected
    assert_clean(store, "sharp-killed")


def test_an_object_that_vanishes_fails_alone(store: Store) -> None:
    store.bucket("vanishing", {f"in/{number}.png": png(number) for number in range(9)})
    process = start("s3://vanishing/in", "-o", "s3://vanishing/out", store=store, DEBLUR_TEST_PAUSE_S="0.3")
    until(lambda: "out/0.png" in store.keys("vanishing"), "the first result")
    store.ask("DELETE", "vanishing/in/8.png")
    result = Result(process)
    assert (result.code, result.counts()) == (1, (8, 0, 1, 0))
    assert "s3://vanishing/in/8.png: cannot be read: no such file" in result.err


def test_a_store_that_is_busy_and_cuts_connections(
    store: Store, originals: dict[str, bytes], expected: dict[str, bytes]
) -> None:
    store.bucket("photos-busy", originals)
    store.bucket("sharp-busy")
    store.faults(busy=0.1, cut=0.05)
    result = batch("s3://photos-busy/in", "-o", "s3://sharp-busy", store=store)
    store.faults()
    assert (result.code, result.counts()) == (0, (PHOTOS, 0, 0, 0))
    assert store.objects("sharp-busy") == expected
    assert_clean(store, "sharp-busy")


def test_no_permission_is_known_before_any_work(store: Store) -> None:
    store.bucket("locked", {"in/a.png": png(1)})
    store.faults(denied=["locked"])
    result = batch("s3://locked/in", "-o", "s3://locked/out", store=store)
    assert (result.code, result.photos) == (1, [])
    assert "s3://locked/out/.deblur-journal: the journal cannot be written: access is denied" in result.err
    assert "GET locked" not in store.counts()


def test_a_full_quota_stops_the_run_which_goes_on_later(store: Store, expected: dict[str, bytes]) -> None:
    originals = photos(PHOTOS)
    store.bucket("photos-full", originals)
    store.bucket("sharp-full")
    store.faults(quota={"sharp-full": 60_000})
    result = batch("s3://photos-full/in", "-o", "s3://sharp-full", store=store)
    done, _, failed, not_done = result.counts()
    assert (result.code, failed, done + not_done) == (1, 0, PHOTOS)
    assert not_done > 0
    assert "the disk is full" in result.err
    store.faults()
    again = batch("s3://photos-full/in", "-o", "s3://sharp-full", store=store)
    assert again.code == 0
    assert store.objects("sharp-full") == expected
    assert_clean(store, "sharp-full")


def test_parts_of_uploads_do_not_stay(store: Store) -> None:
    """A large object goes up in parts: aborted if one is refused, completed else; of a killed run, swept by the next."""
    store.bucket("parts", {"in/a.png": png(1), "in/b.png": png(2)})
    code = (
        "from deblur_cli.storage import path_of, write\n"
        "try: write(path_of('s3://parts/large'), bytes(101 << 20))\n"
        "except OSError as error: print(error.strerror)\n"
    )
    store.faults(denied_parts=["parts"])
    assert run_in_store(store, code) == "access is denied\n"
    assert store.counts()["DELETE parts"] == 1
    assert not store.uploads("parts")
    assert "large" not in store.keys("parts")
    store.faults()
    assert run_in_store(store, code) == ""
    assert "large" in store.keys("parts")
    process = start("s3://parts/in", "-o", "s3://parts/out", store=store, DEBLUR_TEST_PAUSE_S="60")
    until(lambda: store.journal("parts"), "claims")
    kill(process)
    store.ask("POST", "parts/out/a.png?uploads")
    store.ask("POST", "parts/somebody-elses?uploads")
    assert batch("s3://parts/in", "-o", "s3://parts/out", store=store).code == 0
    assert store.uploads("parts") == ["somebody-elses"]


def test_credentials_are_never_told(store: Store, tmp_path: Path) -> None:
    store.bucket("secret", {"in/a.png": png(1), "in/broken.png": b"no photo"})
    store.faults(busy=0.1)
    page = tmp_path / "page.html"
    result = batch("s3://secret/in", "-o", "s3://secret/out", "--report", page, "--verbose", store=store)
    store.faults()
    assert result.counts() == (1, 0, 1, 0)
    everything = result.out + result.err + page.read_text() + str(store.journal("secret"))
    assert SECRET not in everything
    assert store.environment["AWS_ACCESS_KEY_ID"] + '"' not in everything
    for url in ("s3://deblur:hunter2@secret/in", "https://example.org/in?X-Amz-Signature=hunter2"):
        refused = batch(url, "-o", tmp_path / "out", store=store)
        assert refused.code == 2
        assert "a name may hold no password" in refused.err
        assert "hunter2" not in refused.err


def test_a_listing_streams_page_by_page(store: Store) -> None:
    store.bucket("many", {f"in/{number:04}.png": b"x" for number in range(1100)})
    store.faults()
    code = (
        "from deblur_cli.storage import path_of, _store\n"
        "import os, urllib.request\n"
        "def lists(): return urllib.request.urlopen(os.environ['AWS_ENDPOINT_URL'] + '/_counts').read().decode()\n"
        "names = _store.entries(path_of('s3://many/in'))\n"
        "first = next(names)\n"
        "print(first, first.stat().st_size, lists())\n"
        "print(sum(1 for _ in names), lists())\n"
    )
    assert run_in_store(store, code).splitlines() == [
        's3://many/in/0000.png 1 {"LIST many": 1}',
        '1099 {"LIST many": 2}',
    ]


def test_the_journal_of_many_photos_is_few_objects() -> None:
    folder = path_of("memory://many")
    targets = [folder / f"{number}.png" for number in range(2500)]

    def journal() -> Journal:
        return Journal(folder, log=log_of(folder))

    def objects() -> list[str]:
        return [path.name for path in _store.entries(path_of("memory://many/.deblur-journal"))]

    for part in (targets[:2400], targets[2400:], []):
        with journal() as open_one:
            open_one.claim(part)
            for target in part:
                open_one.add(path_of("memory://in") / target.name, (1, 2), target, {}, 3)
    # One for each thousand lines of a run, and none of a run that had nothing to say.
    assert len(objects()) == 3 + 1
    assert all(map(journal().read().entry, targets))


def test_photos_from_a_web_server(store: Store, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    for number in range(2):
        (tmp_path / f"site/{number}.png").write_bytes(png(number))
    command = [
        sys.executable,
        "-u",
        "-m",
        "http.server",
        "0",
        "--bind",
        "127.0.0.1",
        "--directory",
        tmp_path / "site",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        url = f"http://127.0.0.1:{server.stdout.readline().split(' port ')[1].split()[0]}"
        try:
            assert batch(url, "-o", tmp_path / "out", store=store).counts() == (2, 0, 0, 0)
            assert batch(url, "-o", tmp_path / "out", store=store).counts() == (0, 2, 0, 0)
            assert batch(f"{url}/1.png", "-o", tmp_path / "one", store=store).counts() == (1, 0, 0, 0)
            assert batch(f"{url}/0*.png", "-o", tmp_path / "some", store=store).counts() == (1, 0, 0, 0)
            refused = batch(tmp_path / "out", "-o", url, store=store)
        finally:
            server.kill()
    assert refused.code == 2
    assert "can only be read" in refused.err
    assert sorted(path.name for path in (tmp_path / "one").glob("*.png")) == ["1.png"]


@contextmanager
def running_sftp(folder: Path, home: Path) -> Iterator[str]:
    """A server on a folder, whom only the owner of this home may use, and its URL."""
    key = paramiko.RSAKey.generate(2048)
    (home / ".ssh").mkdir(parents=True)
    key.write_private_key_file(str(home / ".ssh/id_rsa"))
    command = [sys.executable, HERE / "sftp_server.py", folder, home / ".ssh/id_rsa"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        port = server.stdout.readline().strip()
        (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
        try:
            yield f"sftp://me@127.0.0.1:{port}"
        finally:
            server.kill()


def test_by_sftp_from_folder_to_folder_on_a_server_that_is_known(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "server"
    (folder / "in/sub").mkdir(parents=True)
    for number in range(6):
        (folder / f"in/sub/IMG {number}.png").write_bytes(png(number))
    with running_sftp(folder, home) as url:
        arguments = [f"{url}/in", "-o", f"{url}/out/a"]
        assert batch(*arguments, HOME=str(home)).counts() == (6, 0, 0, 0)
        (folder / "in/sub/IMG 0.png").write_bytes(png(0, (40, 40)))
        assert batch(*arguments, HOME=str(home)).counts() == (1, 5, 0, 0)
        assert batch(*arguments, HOME=str(home)).counts() == (0, 6, 0, 0)  # of two journals
        assert sorted(path.name for path in (folder / "out/a/sub").iterdir()) == [
            f"IMG {number}.png" for number in range(6)
        ]
        assert batch(f"{url}/in/*/*[45].png", "-o", tmp_path, HOME=str(home)).counts() == (2, 0, 0, 0)
        known = (home / ".ssh/known_hosts").read_text()
        (home / ".ssh/known_hosts").write_text("")
        refused = batch(f"{url}/in", "-o", tmp_path / "out", HOME=str(home))
        assert (refused.code, refused.photos) == (2, [])
        assert "the server is not the one that known_hosts tells of, or not in it" in refused.err
        (home / ".ssh/known_hosts").write_text(known)
        paramiko.RSAKey.generate(2048).write_private_key_file(str(home / ".ssh/id_rsa"))
        refused = batch(f"{url}/in", "-o", tmp_path / "out", HOME=str(home))
        assert refused.photos == []
        assert "access is denied" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gs://photos", "-o", "out"], "gs:// needs the package gcsfs"),
        (["az://photos", "-o", "out"], "az:// needs the package adlfs"),
        (["smb://host/photos", "-o", "out"], "smb:// needs the package smbprotocol"),
        (["nowhere://photos", "-o", "out"], "nowhere:// is no protocol"),
        (["s3://nothing-here/in", "-o", "out"], "s3://nothing-here/in: no such file or folder"),
        (["memory://a", "-o", "s3://b/c", "--keep-times"], "--keep-times and -o s3://b/c do not go together"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(arguments: list[str], message: str, store: Store) -> None:
    result = batch(*arguments, store=store)
    assert result.code == 2
    assert message in result.err


def test_a_remote_path_is_computed_with_as_a_path() -> None:
    path = path_of("s3://bucket/in//sub/IMG 1.jpg")
    assert is_remote(path)
    assert (str(path), path.name, path.suffix) == ("s3://bucket/in/sub/IMG 1.jpg", "IMG 1.jpg", ".jpg")
    assert str(path.parent / "x.png") == "s3://bucket/in/sub/x.png"
    assert str(path.relative_to(RemotePath("s3://bucket/in"))) == "sub/IMG 1.jpg"
    assert not is_remote(path_of("s3:/bucket"))
    with pytest.raises(UsageError):
        path_of("sftp://me:secret@host/in")
    assert str(path_of("sftp://me@host/in")) == "sftp://me@host/in"


def test_where_files_are_renamed_no_temporary_name_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = path_of(f"file://{tmp_path}/sub/a.jpg")
    write(target, b"old")
    assert content(target) == b"old"
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.mv", _refuse)
    with pytest.raises(PermissionError, match="access is denied"):
        write(target, b"new")
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.jpg"]
    assert content(target) == b"old"
    left = tmp_path / "sub/.a.jpg.deblur-tmp"
    left.write_bytes(b"half")
    (tmp_path / "sub/.b.jpg.deblur-tmp").write_bytes(b"another's")
    sweep([target])
    assert not left.exists()
    assert (tmp_path / "sub/.b.jpg.deblur-tmp").exists()


def _refuse(*arguments: object, **options: object) -> None:
    raise PermissionError


def test_pauses_between_tries_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_file", _fail)
    with pytest.raises(OSError, match=r"the store fails: reset by peer, secret=\.\.\."):
        content(path_of("memory://a/b"))
    assert len(pauses) == 5
    assert all(late > early / 2 for early, late in pairwise(pauses))
    assert pauses[-1] > 4 * pauses[0]


def _fail(*arguments: object, **options: object) -> None:
    raise ConnectionError("reset by peer, secret=hunter2")
