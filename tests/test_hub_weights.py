"""`--weights hub:OWNER/NAME`: anybody's Restormer, from a server on this computer that plays the Hub."""

import hashlib
import io
import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from conftest import random_model
from deblur_cli import Deblurrer
from deblur_cli.download import all_pinned, cache_folder, find_pinned
from deblur_cli.errors import WeightsError
from deblur_cli.model import RestormerConfig
from hub_server import HubServer, Repository
from test_cli import Deblur, deblur  # noqa: F401  (a fixture)

OTHER_SIZE = RestormerConfig(dim=8, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1, heads=(1, 1, 2, 2))
TENSORS = save(random_model(OTHER_SIZE).state_dict())
OTHER = save(random_model(OTHER_SIZE, seed=1).state_dict())


def pickled(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


class Bomb:
    """Runs code when it is unpickled by somebody careless."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("exploded",)


def one_file(data: bytes = TENSORS, name: str = "model.safetensors", **more: bytes) -> Repository:
    return Repository({"main": {"README.md": b"# A model", name: data, **more}})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A Hub with many repositories, which this process takes for the real one."""
    from huggingface_hub import constants

    several = {
        "README.md": b"",
        "a.safetensors": TENSORS,
        "more/b.pth": pickled(OrderedDict(a=torch.zeros(1))),
    }
    server = HubServer(
        ann__net=one_file(),
        ann__pickle=one_file(pickled({"params": random_model(OTHER_SIZE).state_dict()}), "net.pth"),
        ann__several=Repository({"main": several, "v2": {"only.bin": OTHER}}, licence=None),
        ann__bomb=one_file(pickled({"params": Bomb()}), "bomb.pth"),
        ann__conv=one_file(save({"conv.weight": torch.zeros(3, 3)})),
        ann__words=Repository({"main": {"README.md": b"only words", "notes.txt": b"none"}}),
        ann__nothing=Repository({"main": {}}),
        ann__private=Repository({"main": {}}, closed=401),
        ann__gated=Repository({"main": {"model.safetensors": TENSORS}}, closed=403),
        ann__escape=Repository({"main": {"../../evil.pth": TENSORS}}),
        ann__vague=Repository({"main": {"model.safetensors": TENSORS}}, tells={"sha": "main"}),
        ann__liar=Repository({"main": {"m.safetensors": TENSORS}}, exchanged={"m.safetensors": TENSORS[:-4] + b"evil"}),
    )  # fmt: skip
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    with server:
        yield server


def put_photo(name: str = "a.png") -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)).save(name)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


OPTIONS = ("--shake", "off", "--precision", "fp32", "--overwrite")


def test_a_repository_is_fetched_when_the_user_says_so_and_then_works_offline(
    hub: HubServer, deblur: Deblur, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    put_photo()
    missing = deblur("a.png", "--weights", "hub:ann/net")
    assert (missing.code, hub.requests) == (3, [])
    assert "the weights hub:ann/net are not installed" in missing.err
    assert "deblur download-weights hub:ann/net, or add --download" in missing.err
    outcome = deblur("a.png", "-o", "1.png", "--weights", "hub:ann/net", "--download", "--verbose", *OPTIONS)
    assert outcome.code == 0, outcome.err
    commit = hub.repositories["ann/net"].commit("main")
    pinned = f"hub:ann/net@{commit}:model.safetensors"
    assert f"licence: mit; see {hub.address}/ann/net" in outcome.err
    assert f"weights: {pinned}\n" in outcome.err
    assert outcome.err.count(sha256(TENSORS)) == 2  # when it is installed, and with what the photo was made
    asked = len(hub.requests)
    assert deblur("a.png", "-o", "2.png", "--weights", "hub:ann/net", "--download", *OPTIONS).code == 0
    assert len(hub.requests) == asked
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert deblur("a.png", "-o", "3.png", "--weights", "hub:ann/net", *OPTIONS).code == 0
    assert deblur("a.png", "-o", "4.png", "--weights", pinned, *OPTIONS).code == 0
    assert len(hub.requests) == asked
    Path("net.safetensors").write_bytes(TENSORS)
    assert deblur("a.png", "-o", "5.png", "--weights", "net.safetensors", *OPTIONS).code == 0
    assert len({Path(f"{number}.png").read_bytes() for number in range(1, 6)}) == 1
    assert Path("1.png").read_bytes() != Path("a.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("hub:ann/pickle", None),
        ("hub:ann/several:a.safetensors", TENSORS),
        ("hub:ann/several@v2", OTHER),
        ("hub:ann/several@v2:only.bin", OTHER),
    ],
)
def test_pickles_of_tensors_revisions_and_files_that_are_chosen(
    name: str, data: bytes | None, hub: HubServer, deblur: Deblur
) -> None:
    put_photo()
    outcome = deblur("a.png", "--weights", name, "--download", *OPTIONS)
    assert outcome.code == 0, outcome.err
    pinned = find_pinned(name)
    assert pinned is not None
    if data:
        assert pinned.sha256 == sha256(data)
    deblurrer = Deblurrer(name, shake="off")
    assert (deblurrer.weights, deblurrer.window, deblurrer.model.config.dim) == (pinned.name, 384, 8)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("hub:net", 2, "'hub:net' names no weights at the Hugging Face Hub\n       The form is hub:OWNER/NAME"),
        ("hub:ann/net:../x.pth", 2, "names no weights at the Hugging Face Hub"),
        ("hub:ann/net@", 2, "names no weights at the Hugging Face Hub"),
        ("hub:ann/none", 3, "hub:ann/none: the Hub has no such repository, or it is a private one\n       Look for it at"),
        ("hub:ann/private", 3, "HF_TOKEN is the key to your private ones"),
        ("hub:ann/net@v9", 3, "hub:ann/net@v9: there is no revision 'v9' of it\n       Look for those that there are at"),
        ("hub:ann/net:no.pth", 3, "hub:ann/net:no.pth: there is no file 'no.pth' in it\n       Choose one:\n       hub:ann/net:model.safetensors"),
        ("hub:ann/several", 3, "hub:ann/several: there are 2 files of weights in it\n       Choose one:\n       hub:ann/several:a.safetensors\n       hub:ann/several:more/b.pth"),
        ("hub:ann/several@main:no.pth", 3, "\n       hub:ann/several@main:more/b.pth"),
        ("hub:ann/words", 3, "hub:ann/words: there is no file of weights in it\n       It holds: README.md, notes.txt"),
        ("hub:ann/words:x.pth", 3, "there is no file 'x.pth' in it\n       It holds: README.md, notes.txt"),
        ("hub:ann/nothing", 3, "It holds: nothing"),
        ("hub:ann/gated", 3, "the Hub answers 403 Forbidden: Access to this model is restricted."),
        ("hub:ann/escape", 3, "there is no file of weights in it"),
        ("hub:ann/vague", 3, "the Hub does not say at which commit it is"),
        ("hub:ann/liar", 3, "damaged, or another file: its SHA-256 is"),
        ("hub:ann/conv", 3, "not a Restormer: 0 of 494 names match"),
        ("hub:ann/words:README.md", 3, "README.md: not a weights file"),
        ("hub:ann/bomb", 3, "refused, because it holds more than tensors and loading it could run code"),
    ],
)  # fmt: skip
def test_what_is_wrong_at_the_hub_is_said_in_one_message(
    name: str, code: int, message: str, hub: HubServer, deblur: Deblur
) -> None:
    put_photo()
    outcome = deblur("a.png", "--weights", name, "--download")
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert message in outcome.err
    assert outcome.err.count("error:") == 1
    assert not Path("a_sharp.png").exists()
    assert not Path("exploded").exists()


def test_a_long_list_of_files_is_cut(hub: HubServer, deblur: Deblur) -> None:
    hub.repositories["ann/many"] = Repository({"main": {f"{number:02}.pth": b"" for number in range(33)}})
    err = deblur("download-weights", "hub:ann/many").err
    assert "hub:ann/many:19.pth\n       ... and 13 more" in err


def test_a_moving_branch_moves_results_only_when_the_hub_is_asked_anew(
    hub: HubServer, deblur: Deblur
) -> None:
    put_photo()
    assert deblur("download-weights", "hub:ann/net").code == 0
    first = find_pinned("hub:ann/net")
    hub.repositories["ann/net"].files["main"]["model.safetensors"] = OTHER
    assert deblur("a.png", "--weights", "hub:ann/net", "--download", *OPTIONS).code == 0
    assert find_pinned("hub:ann/net") == first
    assert deblur("download-weights", "--offline", "hub:ann/net").code == 0
    assert find_pinned("hub:ann/net") == first
    outcome = deblur("download-weights", "hub:ann/net")
    assert outcome.code == 0
    assert "next: deblur photo.jpg --weights hub:ann/net" in outcome.err
    second = find_pinned("hub:ann/net")
    assert first is not None
    assert second is not None
    assert (first.sha256, second.sha256) == (sha256(TENSORS), sha256(OTHER))
    assert find_pinned(first.name) == first
    assert {entry.name for entry in all_pinned()} == {first.name, second.name}


def test_a_commit_that_was_fetched_before_cannot_become_another_file(hub: HubServer, deblur: Deblur) -> None:
    assert deblur("download-weights", "hub:ann/net").code == 0
    pinned = find_pinned("hub:ann/net")
    assert pinned is not None
    for path in Path(os.environ["HF_HOME"]).parent.rglob("model.safetensors"):
        path.unlink()
    from deblur_cli.download import find_installed

    installed = find_installed(pinned)
    assert installed is not None
    installed.path.resolve().unlink()
    installed.path.unlink(missing_ok=True)
    hub.repositories["ann/net"].exchanged["model.safetensors"] = OTHER
    outcome = deblur("download-weights", "hub:ann/net")
    assert outcome.code == 3
    assert "damaged, or another file" in outcome.err
    assert "With the file model.safetensors from elsewhere: --weights FILE" in outcome.err


def test_a_hub_that_is_away_costs_one_message_and_what_is_there_still_works(
    hub: HubServer, deblur: Deblur, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    put_photo()
    assert deblur("download-weights", "hub:ann/net").code == 0
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    outcome = deblur("download-weights", "hub:ann/net")
    assert outcome.code == 3
    assert "hub:ann/net: ConnectError" in outcome.err
    assert "What was fetched before needs no network: --weights hub:ann/net" in outcome.err
    assert deblur("a.png", "--weights", "hub:ann/net").code == 0
    first = deblur("a.png", "--weights", "hub:ann/pickle", "--download", "--overwrite")
    assert (first.code, "With a file from elsewhere: --weights FILE" in first.err) == (3, True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://example.org")
    assert "only https is trusted; see HF_ENDPOINT" in deblur("download-weights", "hub:ann/net").err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids to ask the Hub" in deblur("download-weights", "hub:ann/net").err
    offline = deblur("download-weights", "--offline", "hub:ann/pickle")
    assert (offline.code, "the weights hub:ann/pickle are not installed" in offline.err) == (3, True)


def test_list_and_check_know_what_was_fetched(hub: HubServer, deblur: Deblur) -> None:
    assert deblur("download-weights", "hub:ann/net").code == 0
    pinned = find_pinned("hub:ann/net")
    assert pinned is not None
    row = next(line for line in deblur("download-weights", "--list").out.splitlines() if "hub:" in line)
    assert row.split()[0] == pinned.name
    assert row.split()[-1] == "cache"
    listed = json.loads(deblur("download-weights", "--list", "--json", "hub:ann/net").out)
    assert [(each["name"], each["sha256"]) for each in listed] == [(pinned.name, sha256(TENSORS))]
    checked = deblur("download-weights", "--check", "hub:ann/net").err
    assert "good: " in checked
    assert "(its SHA-256 is the one that it had when it was fetched)" in checked  # nobody has published it
    damaged = Path(listed[0]["path"])
    damaged.write_bytes(OTHER)
    assert "damaged, or another file" in deblur("download-weights", "--check", "hub:ann/net").err
    assert deblur("download-weights", "--check", "hub:ann/words").code == 3
    refused = deblur("download-weights", "--from", "x.pth", "hub:ann/net")
    assert (refused.code, "The file itself: --weights x.pth" in refused.err) == (2, True)


def test_a_batch_is_pinned_to_the_hash_in_its_journal_and_its_reports(hub: HubServer, deblur: Deblur) -> None:
    put_photo("in/a.png")
    run = ("batch", "in", "-o", "out", "--weights", "hub:ann/net", "--shake", "off", "--json")
    missing = deblur(*run)
    assert (missing.code, "the weights hub:ann/net are not installed" in missing.err) == (3, True)
    planned = deblur(*run, "--download", "--dry-run")
    assert (planned.code, hub.requests) == (0, [])
    outcome = deblur(*run, "--download", "--report", "report.html")
    assert outcome.code == 0, outcome.err
    made_with = json.loads(outcome.out.splitlines()[0])["made_with"]
    commit = hub.repositories["ann/net"].commit("main")
    assert made_with["weights"] == f"hub:ann/net@{commit}:model.safetensors"
    assert made_with["weights sha256"] == sha256(TENSORS)
    assert sha256(TENSORS) in Path("report.html").read_text()
    lines = [json.loads(line) for line in Path("out/.deblur-journal.jsonl").read_text().splitlines()]
    assert [line["made_with"]["weights"] for line in lines if "made_with" in line] == [sha256(TENSORS)[:16]]
    again = json.loads(deblur(*run).out.splitlines()[-1])["summary"]
    assert (again["done"], again["skipped"]) == (0, 1)
    hub.repositories["ann/net"].files["main"]["model.safetensors"] = OTHER
    assert deblur("download-weights", "hub:ann/net").code == 0
    renewed = json.loads(deblur(*run).out.splitlines()[-1])["summary"]
    assert (renewed["done"], renewed["skipped"]) == (1, 0)


def test_the_web_page_offers_what_was_fetched(hub: HubServer, deblur: Deblur) -> None:
    from deblur_cli.web._serve import installed_weights

    with pytest.raises(WeightsError, match="the weights hub:ann/net are not installed"):
        installed_weights("hub:ann/net")
    assert deblur("download-weights", "hub:ann/net").code == 0
    pinned = find_pinned("hub:ann/net")
    assert pinned is not None
    assert next(iter(installed_weights("hub:ann/net").items())) == (pinned.name, pinned.name)


def test_a_cache_that_cannot_be_written_is_said(
    hub: HubServer, deblur: Deblur, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("in the way")
    monkeypatch.setenv("DEBLUR_CACHE", "file/cache")
    outcome = deblur("download-weights", "hub:ann/net")
    assert (outcome.code, "DEBLUR_CACHE names another folder" in outcome.err) == (3, True)


def test_the_installed_program_asks_where_hf_endpoint_says(hub: HubServer, tmp_path: Path) -> None:
    environment = os.environ | {
        "HF_ENDPOINT": hub.address,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "home"),
        "DEBLUR_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "deblur_cli", "download-weights", "hub:ann/net"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"SHA-256: {sha256(TENSORS)}" in done.stderr
    assert len(list((tmp_path / "cache").glob("hub-*.pin"))) == 2
    assert not list(cache_folder().glob("*"))
