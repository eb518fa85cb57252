"""`deblur web` without a browser: who may use it, what it takes, what it leaves behind, and what happens when something ends."""

import base64
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from deblur_cli.cli import main
from deblur_cli.web._folder import LOCK, PREFIX, sweep
from deblur_cli.web._item import shown_name
from deblur_cli.web._zip import unlike_names
from photo_files import claim, dng
from web_page import SCRIPT, Web, photo, tiny, wait_for, web  # noqa: F401  tiny is a fixture

DATA = Path(__file__).parent / "data/photos"
EXAMPLES = Path(__file__).parent.parent / "examples"

ANY, PASSWORD = "0.0.0.0", "grün:1"  # noqa: S104  that it asks for a password is what is tested


@pytest.fixture(scope="module")
def running(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """With tiny weights, and files in a folder of its own."""
    with web("--weights", tiny, temporary=tmp_path_factory.mktemp("tmp")) as it:
        yield it


@pytest.fixture
def page(running: Web) -> Web:
    """The same, without photos."""
    for told in running.photos():
        running.ask(f"photos/{told['id']}", "DELETE")
    return running


# Who may use it


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/wrong/", {}),
        ("/wrong/events", {}),
        ("/app.js", {}),
        ("", {"Host": "evil.example"}),
        ("", {"Host": "127.0.0.1.evil.example:80"}),
        ("", {"Host": ""}),
        ("events", {"Origin": "https://evil.example"}),
        ("events", {"Origin": "null"}),
        ("events", {"Origin": "http://127.0.0.1:1"}),
        ("", {"Sec-Fetch-Site": "cross-site"}),
        ("", {"Sec-Fetch-Site": "same-site"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_whoever_has_not_the_whole_address_or_comes_from_elsewhere_is_refused(
    page: Web, method: str, path: str, headers: dict[str, str]
) -> None:
    if method == "POST":
        path = path.removesuffix("events") + "photos?name=a.jpg"
    answer = page.ask(path, method, b"x" if method == "POST" else None, headers)
    assert answer.status == 403
    assert answer.data
    assert page.photos() == []


def test_this_computer_has_several_names_and_may_be_reached_through_a_tunnel(page: Web) -> None:
    for host in ("localhost:1", "127.0.0.1", "[::1]:9999"):
        answer = page.ask(
            "", headers={"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        )
        assert answer.status == 200


def test_every_answer_forbids_what_the_page_does_not_need(page: Web) -> None:
    for path in ("", "app.js", "nowhere", "/"):
        headers = page.ask(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("options", [("--host", ANY), ("--host", ANY, "--password", "")])
def test_other_computers_need_a_password(capfd: pytest.CaptureFixture[str], options: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["web", "--no-browser", *options])
    assert end.value.code == 2
    told = capfd.readouterr().err
    assert "--password" in told
    assert "encrypted" in told


def test_with_a_password_other_computers_may_use_it_by_an_address_and_not_by_a_name_of_anybody(
    tiny: str,
) -> None:
    def login(password: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}

    with web("--weights", tiny, "--host", ANY, DEBLUR_WEB_PASSWORD=PASSWORD) as it:
        answer = it.ask("")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
        assert it.ask("", headers=login("wrong")).status == 401
        assert it.ask("", headers={"Authorization": "Basic ?"}).status == 401
        assert it.ask("", headers=login(PASSWORD)).status == 200
        assert it.ask("", headers=login(PASSWORD) | {"Host": "192.0.2.7:80"}).status == 200
        assert it.ask("", headers=login(PASSWORD) | {"Host": "evil.example"}).status == 403
        assert it.ask("/", headers=login(PASSWORD)).status == 403


# What it takes


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../../tmp/evil.jpg", "evil.jpg"),
        ("..\\..\\evil.jpg", "evil.jpg"),
        ("/etc/passwd", "passwd"),
        ("..", "photo"),
        ("", "photo"),
        (".hidden.jpg", "hidden.jpg"),
        ("a\0b\n<c>.jpg", "abc.jpg"),
        ("con\u202egpj.exe.jpg", "congpj.exe.jpg"),
        ("Grüße 1.JPG", "Grüße 1.JPG"),
        ("x" * 300 + ".jpg", "x" * 196 + ".jpg"),
    ],
)
def test_of_a_name_only_what_can_be_shown_is_left(name: str, shown: str) -> None:
    assert shown_name(name) == shown


def test_a_path_as_a_name_leads_nowhere(page: Web, tmp_path: Path) -> None:
    victim = tmp_path / "victim.jpg"
    page.add(photo(tmp_path / "a.jpg"), name=f"..%2F..%2F..%2F..{victim}".replace("/", "%2F"))
    (told,) = page.settled()
    assert told["name"] == "victim.jpg"
    assert told["download"] == "victim_sharp.jpg"
    assert not victim.exists()
    inside = [path.relative_to(page.temporary) for path in page.temporary.rglob("*photo*")]
    assert [path.name for path in inside] == ["photo.jpg"]
    for path in ("..%2Fphoto.jpg", "photo.jpg", "output", "..%2f..%2flock", "%2Fetc%2Fpasswd"):
        assert page.ask(f"photos/{told['id']}/pictures/{path}").status == 404
    for path in ("../_app.py", "%2e%2e/_app.py", "photos/..%2f..%2flock", "photos/none"):
        assert page.ask(path).status in (404, 405)


def test_an_upload_beyond_the_limit_is_refused_and_nothing_of_it_stays(tiny: str, tmp_path: Path) -> None:
    with web("--weights", tiny, temporary=tmp_path, patch="web._app.MAX_UPLOAD_BYTES = 100_000") as it:
        for body in (
            b"x" * 100_001,
            iter([b"x" * 60_000, b"x" * 60_000]),
        ):  # the second says nothing of its length
            answer = it.ask("photos?name=big.jpg", "POST", body)
            assert answer.status == 413
            assert b"big.jpg: is larger than" in (told := answer.data)
            assert b"deblur 'big.jpg'" in told
        assert it.photos() == []
        assert not list(tmp_path.rglob("*photo*"))
        it.add(photo(tmp_path / "a.png"))
        assert [told["status"] for told in it.settled()] == ["done"]


def test_a_claim_of_300_megapixels_is_refused_in_our_words(page: Web, tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(claim(20_000, 15_000))
    page.add(tmp_path / "huge.png")
    (told,) = page.settled()
    assert told["status"] == "failed"
    assert told["error"] == "20000x15000 is 300 megapixels, above the limit of 200"
    assert told["hint"] == "If you trust this file: --max-megapixels 301"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "the file is empty"),
        (b"no photo at all", "not a photo of a format that we know"),
        (b"\xff\xd8\xff", "JPEG"),
    ],
)
def test_what_is_no_photo_is_told_by_its_own_name(page: Web, tmp_path: Path, data: bytes, error: str) -> None:
    (tmp_path / "odd.jpg").write_bytes(data)
    page.add(tmp_path / "odd.jpg")
    (told,) = page.settled()
    assert error in told["error"]
    assert str(page.temporary) not in told["error"] + told["hint"]
    answer = page.ask(f"photos/{told['id']}/sharpen", "POST", b"{}")
    assert answer.status == 422


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", b"no JSON"),
        ("", b"[]"),
        ("", b'{"percent": 101}'),
        ("", b'{"percent": "50"}'),
        ("", b'{"extension": ".exe"}'),
        ("", b'{"extension": "/../x.jpg"}'),
        ("/sharpen", b'{"weights": "/etc/passwd"}'),
        ("/sharpen", b'{"shake": "on"}'),
        ("/sharpen", b'{"region": [0, 0, 81, 10]}'),
        ("/sharpen", b'{"region": [0, 0, 0, 10]}'),
        ("/sharpen", b'{"region": [0, 0, 10.5, 10]}'),
        ("/sharpen", b'{"region": "all"}'),
    ],
)
def test_what_the_page_would_never_ask_is_refused_and_changes_nothing(
    page: Web, tmp_path: Path, path: str, value: bytes
) -> None:
    page.add(photo(tmp_path / "a.png"))
    (before,) = page.settled()
    answer = page.ask(f"photos/{before['id']}{path}", "POST", value)
    assert answer.status == 422
    assert b'"error"' in answer.data
    assert page.photos() == [before]


# What comes out


@pytest.mark.parametrize(
    ("kind", "percent", "extension", "region"),
    [
        ("jpg", 100, None, None),
        ("jpg", 37, None, None),
        ("jpg", 100, ".png", None),
        ("png", 70, ".tif", None),
        ("tif", 37, None, None),
        ("png", 100, None, (10, 8, 40, 30)),
        ("png", 37, ".webp", (10, 8, 40, 30)),
        ("heic", 100, None, None),
        ("dng", 50, None, None),
    ],
)
def test_what_is_saved_is_the_command_lines_file_byte_for_byte(
    page: Web,
    tiny: str,
    tmp_path: Path,
    kind: str,
    percent: int,
    extension: str | None,
    region: tuple[int, ...] | None,
) -> None:
    source = tmp_path / f"a.{kind}"
    if kind == "jpg":
        source.write_bytes((DATA / "full.jpg").read_bytes())  # with all kinds of metadata
    elif kind == "heic":
        source.write_bytes((DATA / "deep.heic").read_bytes())
    elif kind == "dng":
        source.write_bytes(dng())
    elif kind == "tif":
        samples = np.random.default_rng(0).integers(0, 65536, (50, 60, 3), np.uint16)
        from tifffile import imwrite

        imwrite(source, samples, photometric="rgb")
    else:
        photo(source)
    photo_id = page.add(source)
    page.settled()
    if region:
        page.post(f"photos/{photo_id}/sharpen", {"region": region})
    (told,) = page.settled()
    page.post(f"photos/{photo_id}", {"percent": percent, "extension": extension or told["own"]})
    (told,) = page.photos()
    page.post(f"photos/{photo_id}/save")
    answer = page.ask(f"photos/{photo_id}/result")
    assert f'filename="{told["download"]}"' in answer.headers["Content-Disposition"]
    target = tmp_path / "by_hand" / told["download"]
    options = [
        "--strength",
        str(percent / 100),
        *(["--region", ",".join(map(str, region))] if region else []),
    ]
    with pytest.raises(SystemExit) as end:
        main([str(source), "-o", str(target), "--weights", tiny, *options])
    assert end.value.code == 0
    assert answer.data == target.read_bytes()


def test_a_strength_is_made_again_where_its_output_has_gone_for_want_of_room(
    page: Web, tmp_path: Path
) -> None:
    photo_id = page.add(photo(tmp_path / "a.png"))
    page.settled()
    page.post(f"photos/{photo_id}", {"percent": 50})
    first = page.ask(f"photos/{photo_id}/result").data
    (kept,) = page.temporary.rglob("output")
    kept.unlink()
    (saved,) = page.temporary.rglob("sharp-*-50.png")
    saved.unlink()
    assert page.ask(f"photos/{photo_id}/result").data == first


def test_all_as_zip_holds_every_result_under_a_name_of_its_own(page: Web, tmp_path: Path) -> None:
    assert page.ask("save", "POST", b"").status == 422
    for seed in (0, 1):
        page.add(photo(tmp_path / f"{seed}.png", seed=seed), name="same.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    page.add(tmp_path / "broken.png")
    first, second, _ = page.settled()
    page.post(f"photos/{second['id']}", {"percent": 40})
    assert page.post("save") == {"address": "sharp.zip"}
    answer = page.ask("sharp.zip")
    assert answer.headers.get("Content-Length") is None  # it is made while it is sent
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["same_sharp.png", "same_sharp-2.png"]
        for name, told in zip(archive.namelist(), (first, second), strict=True):
            assert archive.read(name) == page.ask(f"photos/{told['id']}/result").data


def test_names_that_differ_by_case_alone_are_not_alike_to_every_disk() -> None:
    names = ["a.jpg", "A.jpg", "a-2.jpg", "a.jpg"]
    assert list(unlike_names(names)) == ["a.jpg", "A-2.jpg", "a-2-2.jpg", "a-3.jpg"]


# What it leaves behind, and what it costs


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_the_photos_are_private_and_go_with_the_program_however_it_ends(
    tiny: str, tmp_path: Path, number: int, code: int
) -> None:
    with web("--weights", tiny, temporary=tmp_path) as it:
        it.add(photo(tmp_path / "a.png"))
        it.settled()
        (folder,) = tmp_path.glob(f"{PREFIX}*")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert list(folder.rglob("photo.png"))
        workers = it.workers()
        assert len(workers) == 2
        assert it.stop(number) == code
        wait_for(lambda: not folder.exists(), "the folder to be removed")
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive


def test_what_a_crash_has_left_is_swept_at_the_next_start_and_a_living_neighbours_is_not(
    page: Web, tmp_path: Path
) -> None:
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / LOCK).touch()
    (left / "photo.jpg").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    sweep(tmp_path)
    assert not left.exists()
    assert (elsewhere / LOCK).exists()
    (living,) = page.temporary.glob(f"{PREFIX}*")
    sweep(page.temporary)
    assert living.exists()


def pss_bytes(process: psutil.Process) -> int:
    return int(process.memory_full_info().pss)


def test_before_the_first_photo_it_takes_less_than_400_mb_and_the_server_never_loads_torch(
    tmp_path: Path,
) -> None:
    with web(temporary=tmp_path) as it:  # with the weights of the package
        own = psutil.Process(it.process.pid)

        def loads_torch(process: psutil.Process) -> bool:
            return any("libtorch" in part.path for part in process.memory_maps())

        (worker,) = wait_for(it.workers)
        it.ask("")
        it.photos()
        wait_for(lambda: loads_torch(worker) and worker.cpu_percent(0.3) == 0, "torch to be loaded")
        total = sum(pss_bytes(process) for process in (own, *own.children(recursive=True)))
        assert total < 400e6, [(process.cmdline()[-1][:60], pss_bytes(process)) for process in own.children()]
        it.add(photo(tmp_path / "a.png"))
        it.settled()
        assert not loads_torch(own)


# What ends


def at_work(it: Web) -> str:
    """The id of a photo, when the network is at it."""
    photo_id = it.add(EXAMPLES / "astronaut.jpg")
    wait_for(lambda: it.photos()[0]["status"] == "working", "the network to begin")
    return photo_id


def test_a_worker_that_dies_takes_its_photo_along_and_nothing_else(tmp_path: Path) -> None:
    with web(temporary=tmp_path) as it:
        at_work(it)
        it.add(photo(tmp_path / "b.png"))
        wait_for(lambda: it.photos()[1]["status"] == "waiting")
        it.worker(torch=True).kill()
        told, other = it.settled()
        assert told["status"] == "failed"
        assert "was killed (SIGKILL)" in told["error"]
        assert "memory" in told["hint"]
        assert other["status"] == "done"
        it.post(f"photos/{told['id']}/sharpen", {"region": [0, 0, 16, 16], "shake": "off"})
        assert [told["status"] for told in it.settled()] == ["done", "done"]
        reader = it.worker(torch=False)
        reader.kill()
        wait_for(lambda: not reader.is_running() or reader.status() == psutil.STATUS_ZOMBIE)
        it.add(photo(tmp_path / "c.png"))
        assert it.settled()[2]["status"] == "done"


def test_a_photo_may_be_stopped_sharpened_after_all_and_removed(tmp_path: Path) -> None:
    with web(temporary=tmp_path) as it:
        photo_id = at_work(it)
        assert it.ask(f"photos/{photo_id}/sharpen", "POST", b"{}").status == 422  # it is at it
        assert it.ask(f"photos/{photo_id}/result").status == 422
        it.post(f"photos/{photo_id}/stop")
        (told,) = it.settled()
        assert (told["status"], told["error"]) == ("stopped", "")
        how = b'{"region": [0, 0, 16, 16], "shake": "off"}'
        wait_for(lambda: it.ask(f"photos/{photo_id}/sharpen", "POST", how).status == 200)
        assert it.settled()[0]["status"] == "done"
        other_id = it.add(EXAMPLES / "astronaut.jpg")
        wait_for(lambda: it.photos()[1]["status"] == "working")
        for gone in (photo_id, other_id):
            assert it.ask(f"photos/{gone}", "DELETE").status == 204
        assert it.photos() == []
        wait_for(lambda: not list(tmp_path.rglob("photo.jpg")), "the files to be removed")
        assert it.ask(f"photos/{photo_id}/result").status == 404


# How it is begun


def test_a_port_that_is_taken_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as end:
        main(["web", "--no-browser", "--port", str(taken.getsockname()[1])])
    assert end.value.code == 2
    told = capfd.readouterr().err
    assert "nothing can be served at 127.0.0.1 port" in told
    assert "--port" in told


def test_a_limit_that_is_none_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["web", "--no-browser", "--max-megapixels", "0"])
    assert end.value.code == 2
    assert "--max-megapixels 0.0 is no limit" in capfd.readouterr().err


@pytest.mark.parametrize(("weights", "code"), [("nonsense", 2), ("motion", 3), ("gone.pth", 2)])
def test_weights_that_are_not_there_are_told_before_anything_is_served(
    capfd: pytest.CaptureFixture[str], weights: str, code: int
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["web", "--no-browser", "--weights", weights])
    assert end.value.code == code
    told = capfd.readouterr()
    assert weights in told.err
    assert told.out == ""


def test_without_its_libraries_it_says_how_to_get_them() -> None:
    code = "import sys; sys.modules['starlette'] = None; from deblur_cli.cli import main; main(['web', '--no-browser'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "pip install 'deblur-cli[web]'" in result.stderr


def test_it_opens_the_browser_unless_told_not_to(tiny: str, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened.part && mv {tmp_path}/opened.part {tmp_path}/opened\n'
    )
    browser.chmod(0o755)
    process = subprocess.Popen(
        [SCRIPT, "web", "--weights", tiny],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"BROWSER": str(browser)},
    )
    try:
        assert process.stdout
        address = process.stdout.readline().strip()
        wait_for((tmp_path / "opened").exists, "the browser to be opened")
        assert (tmp_path / "opened").read_text() == address
    finally:
        process.terminate()
        process.communicate()
