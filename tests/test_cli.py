"""The commands as their users run them: most in this process, some as the installed console script."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from conftest import RestormerConfig, random_model
from deblur_cli import __version__
from deblur_cli.cli import main
from deblur_cli.shake import Shake

EXAMPLES = Path(__file__).parent.parent / "examples"

SCRIPT = str(Path(sys.executable).with_name("deblur"))


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Deblur = Callable[..., Outcome]


@pytest.fixture
def deblur(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Deblur:
    """Runs `deblur ARGUMENTS` in a fresh folder, which becomes the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return Outcome(int(end.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of weights that runs in milliseconds."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(random_model().state_dict(), path)
    return str(path)


def photo(path: str, h: int = 40, w: int = 50, mode: str = "RGB") -> Path:
    samples = np.random.default_rng(0).integers(0, 256, (h, w, len(mode)), np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(samples[..., 0] if mode == "L" else samples).save(path)
    return Path(path)


def names(folder: str | Path) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def samples(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_the_bundled_weights_sharpen_a_photo_with_no_set_up(deblur: Deblur) -> None:
    photo("a.jpg")
    outcome = deblur("a.jpg", "-o", "b.jpg")
    assert outcome.code == 0
    assert outcome.out == ""
    assert "a.jpg -> b.jpg" in outcome.err
    assert samples("b.jpg").shape == (40, 50, 3)


def test_the_result_goes_beside_the_input(deblur: Deblur, tiny: str) -> None:
    photo("sub/a.png", mode="RGBA")
    assert deblur("sub/a.png", "--weights", tiny).code == 0
    assert samples("sub/a_sharp.png").shape == (40, 50, 4)
    assert deblur("sub/a.png", "--weights", tiny, "--suffix", "-x").code == 0
    assert Path("sub/a-x.png").exists()


def test_an_existing_result_is_kept_unless_overwrite(deblur: Deblur, tiny: str) -> None:
    photo("a.png")
    Path("b.png").write_bytes(b"precious")
    outcome = deblur("a.png", "-o", "b.png", "--weights", tiny)
    assert (outcome.code, Path("b.png").read_bytes()) == (1, b"precious")
    assert "b.png: exists already" in outcome.err
    assert deblur("a.png", "-o", "b.png", "--weights", tiny, "--overwrite").code == 0
    assert samples("b.png").shape == (40, 50, 3)


def test_options_may_come_first_and_photos_may_be_many(deblur: Deblur, tiny: str) -> None:
    photo("a.png")
    photo("b.png", mode="L")
    outcome = deblur("--weights", tiny, "-o", "out", "a.png", "b.png")
    assert outcome.code == 0
    assert "2 photos restored" in outcome.err
    assert samples("out/b.png").shape == (40, 50)


def test_one_bad_photo_does_not_stop_the_others(deblur: Deblur, tiny: str) -> None:
    photo("a.png")
    Path("b.jpg").write_text("I am text")
    outcome = deblur("none.png", "b.jpg", "a.png", "-o", "out/", "--weights", tiny)
    assert outcome.code == 1
    assert "none.png: no such file" in outcome.err
    assert "b.jpg: not a photo" in outcome.err
    assert "1 photo restored, 2 failed" in outcome.err
    assert names("out") == ["a.png"]


def test_batch_goes_through_the_tree(deblur: Deblur, tiny: str) -> None:
    photo("in/a.png")
    photo("in/deep/b.jpg")
    Path("in/broken.png").write_bytes(b"")
    Path("in/notes.txt").write_text("hello")
    outcome = deblur("batch", "in", "-o", "out", "--tile", "512", "--weights", tiny)
    assert outcome.code == 1
    assert "in/broken.png: the file is empty" in outcome.err
    assert "passed over: 1 (not a photo)" in outcome.err
    assert "2 photos restored, 1 failed" in outcome.err
    assert sorted(path.as_posix() for path in Path("out").rglob("*.*")) == [
        "out/.deblur-journal.jsonl",
        "out/a.png",
        "out/deep/b.jpg",
    ]


def test_an_empty_folder_is_no_error(deblur: Deblur) -> None:
    Path("empty").mkdir()
    outcome = deblur("batch", "empty")
    assert outcome.code == 0
    assert "0 photos restored" in outcome.err


def test_a_tile_is_rounded_with_a_note_and_quiet_silences_it(deblur: Deblur, tiny: str) -> None:
    photo("a.png")
    arguments = ("a.png", "--weights", tiny, "--tile", "500", "--overwrite")
    assert "--tile 500 is rounded to 496" in deblur(*arguments).err
    assert deblur(*arguments, "--quiet") == Outcome(0, "", "")


def test_verbose_says_what_a_photo_was_made_with(deblur: Deblur, tiny: str) -> None:
    photo("a.png", 100, 150)
    err = deblur("a.png", "--weights", tiny, "--tile", "96", "--verbose").err
    for words in (
        "tiles: 4",
        "tile size: 96x72",
        "tiny.safetensors",
        "device: cpu",
        "rms change",
        "precision: ",
        "memory: ",
    ):
        assert words in err


def test_the_ensemble_says_what_it_costs_before_and_after(deblur: Deblur, tiny: str) -> None:
    photo("a.png")
    single = deblur("a.png", "-o", "one.png", "--weights", tiny, "--verbose").err
    assert "ensemble" not in single
    assert "runs: 1" in single
    outcome = deblur("a.png", "-o", "eight.png", "--weights", tiny, "--ensemble")
    before, after = outcome.err.splitlines()
    assert before == "ensemble: the mean of eight runs, which takes eight times as long as one"
    assert " s for 8 runs; " in after
    assert not np.array_equal(samples("one.png"), samples("eight.png"))


@pytest.mark.parametrize("size", [(1, 1), (3, 20_000), (9, 2)])
def test_any_size_is_restored(size: tuple[int, int], deblur: Deblur, tiny: str) -> None:
    photo("a.png", *size)
    assert deblur("a.png", "--weights", tiny).code == 0
    assert samples("a_sharp.png").shape == (*size, 3)


def test_strength_0_keeps_every_pixel(deblur: Deblur, tiny: str) -> None:
    photo("a.png")
    assert deblur("a.png", "--weights", tiny, "--strength", "0").code == 0
    np.testing.assert_array_equal(samples("a.png"), samples("a_sharp.png"))


def truncated_jpeg(path: Path) -> None:
    photo("whole.jpg", 200, 200)
    data = Path("whole.jpg").read_bytes()
    path.write_bytes(data[: len(data) // 2])


BAD_PHOTOS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.jpg": (lambda path: None, "no such file"),
    "folder.jpg": (Path.mkdir, "is a folder"),
    "empty.jpg": (Path.touch, "the file is empty"),
    "text.jpg": (lambda path: path.write_text("dear diary"), "not a photo"),
    "cut.jpg": (truncated_jpeg, "cut short"),
}


@pytest.mark.parametrize("name", BAD_PHOTOS)
def test_a_bad_photo_is_one_clear_message(name: str, deblur: Deblur) -> None:
    make, message = BAD_PHOTOS[name]
    make(Path(name))
    outcome = deblur(name, "-o", "out/x.png")
    assert outcome.code == 1
    assert outcome.err.count("error:") == 1
    assert f"{name}: " in outcome.err
    assert message in outcome.err
    assert not Path("out/x.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.png", "--weights", "nope"], 2, "no weights named 'nope'"),
        (["a.png", "--weights", "nope.pth"], 3, "nope.pth: no such weights file"),
        (["a.png", "--weights", "other.pth"], 3, "other.pth: not a Restormer: 0 of 494 names match"),
        (["a.png", "--weights", "a.png"], 3, "a.png: not a weights file"),
        (["a.png", "--weights", "dual.safetensors"], 3, "a 6-channel dual-pixel checkpoint"),
        (["a.png", "--tile", "-5"], 2, "a tile of -5 pixels is too small"),
        (["a.png", "--tile", "big"], 2, "--tile big is no size"),
        (["a.png", "--tile", "512", "--overlap", "300"], 2, "an overlap of 300 pixels does not go"),
        (["a.png", "--strength", "2"], 2, "a strength of 2.0 makes no sense"),
        (["."], 1, "is a folder"),
        (["a.png", "--max-megapixels", "nan"], 2, "--max-megapixels nan is no limit"),
        (["a.png", "--threads", "99999"], 2, "'--threads': it takes 1024 or less"),
        (["a.png", "--threads", "0"], 2, "'--threads': it takes 1 or more"),
        (["a.png", "--threads", "all"], 2, "'--threads': it takes a whole number"),
        (["a.png", "--threads", "9" * 5000], 2, "'--threads': it takes a smaller number"),
        (["a.png", "--strength", "half"], 2, "'--strength': it takes a number"),
        (["batch", "in", "--report", "a.png"], 2, "--report a.png is no page"),
        (["batch", "in", "--report", "notes.html"], 2, "--report notes.html: exists, and is no page"),
        (["info", "in"], 1, "in: is a folder"),
        (["info", ""], 1, "an empty name is no photo"),
        (["a.png", "--region", "1,2,3"], 2, "--region 1,2,3 is no region"),
        (["a.png", "--region", "1,2,-3,4"], 2, "--region 1,2,-3,4 is no region"),
        (
            ["a.png", "--region", "40,0,20,20"],
            1,
            "a.png: the region 40,0,20,20 does not lie in a photo of 50x40",
        ),
        (["a.png", "--shake", "maybe"], 2, "there is no shake 'maybe'"),
        (["a.png", "--kernel", "nope.png"], 2, "--kernel nope.png: no such file"),
        (["a.png", "--kernel", "a.png"], 2, "--kernel a.png: the kernel is no path"),
        (["a.png", "--kernel", "a.png", "--kernel-from", "1,2,9,9"], 2, "do not go together"),
        (["a.png", "--kernel-from", "1,2,3"], 2, "--kernel-from 1,2,3 is no region"),
        (["a.png", "--kernel-from", "40,0,20,20"], 1, "a.png: the area 40,0,20,20 does not lie in a photo"),
        (["a.png", "--kernel-from", "5,5,20,20"], 1, "a.png: there is no lamp"),
        (["a.png", "--save-kernel", "k.jpg"], 2, "--save-kernel k.jpg is no PNG"),
        (["a.png", "--save-kernel", "a.png"], 2, "--save-kernel a.png: exists already"),
        (["a.png", "in/b.png", "--save-kernel", "k.png"], 2, "--save-kernel takes one photo"),
        (["a.png", "--save-kernel", "k.png", "--shake", "off"], 2, "--save-kernel and --shake off do not go"),
        (["batch", "in", "--shake", "maybe"], 2, "there is no shake 'maybe'"),
        (["batch", "in", "--order", "size"], 2, "'--order': 'size' is not one of 'name', 'date', 'largest'"),
        (["a.png", "--precision", "fp16"], 2, "there is no precision 'fp16'"),
        (["a.png", "--window", "100"], 2, "a window of 100 pixels cannot be used"),
        (["a.png", "--max-megapixels", "0.001"], 1, "a.png: 50x40 is"),
        (["a.png", "--device", "cuda:77"], 2, "there is no device 'cuda:77' here"),
        (["a.png", "-o", "a.xyz"], 2, "cannot be written as .xyz"),
        (["a.png", "--suffix", "a/b"], 2, "--suffix 'a/b' cannot be used"),
        (["a.png", "--frobnicate"], 2, "No such option"),
        (["bacth", "in"], 2, "no command named 'bacth'\n       Did you mean: deblur batch"),
        (["frobnicate"], 2, "or name a photo"),
        (["batch", "missing"], 2, "missing: no such file or folder"),
        (["in"], 1, "in: is a folder\n       To restore all photos in it: deblur batch in"),
        (["a.png", "--suffix", "_taken"], 1, "a_taken.png: is a folder"),
    ],
)
def test_wrong_arguments_lead_the_user_on(
    arguments: list[str], code: int, message: str, deblur: Deblur
) -> None:
    photo("a.png")
    photo("in/b.png")
    Path("a_taken.png").mkdir()
    Path("notes.html").write_text("dear diary")
    torch.save({"conv.weight": torch.zeros(3)}, "other.pth")
    save_file(
        random_model(RestormerConfig(inp_channels=6, dual_pixel=True, dim=8)).state_dict(), "dual.safetensors"
    )
    outcome = deblur(*arguments)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert outcome.out == ""


def test_a_file_with_the_name_of_a_command(deblur: Deblur, tiny: str) -> None:
    photo("a.png").rename("batch")
    outcome = deblur("batch")
    assert (outcome.code, "deblur ./batch" in outcome.err) == (2, True)
    assert deblur("./batch", "--weights", tiny, "-o", "b.png").code == 0


@pytest.mark.parametrize("command", [[], ["sort"]], ids=str)
def test_no_arguments_show_the_help_once(command: list[str], deblur: Deblur) -> None:
    outcome = deblur(*command)
    assert (outcome.code, (outcome.out + outcome.err).count("Usage:")) == (2, 1)


def test_help_shows_the_options_of_the_default_command(deblur: Deblur) -> None:
    outcome = deblur("--help")
    assert outcome.code == 0
    for word in ("PHOTO", "--output", "--weights", "--tile", "--strength", "batch", "--version"):
        assert word in outcome.out


def test_version(deblur: Deblur) -> None:
    assert deblur("--version") == Outcome(0, f"deblur {__version__}\n", "")


def test_a_region_is_sharpened_and_the_rest_is_left_alone(deblur: Deblur, tiny: str) -> None:
    photo("a.png")
    assert deblur("a.png", "--weights", tiny, "--region", "8,16,24,20", "--threads", "1").code == 0
    changed = (samples("a.png") != samples("a_sharp.png")).any(2)
    assert changed[16:36, 8:32].any()
    changed[16:36, 8:32] = False
    assert not changed.any()


def test_quality_and_metadata_of_the_result_can_be_chosen(deblur: Deblur, tiny: str) -> None:
    photo("a.jpg", 100, 100)
    with Image.open("a.jpg") as image:
        image.save("b.jpg", comment=b"hello")
    for number, options in enumerate(((), ("--quality", "30"), ("--strip-metadata",))):
        assert deblur("b.jpg", "--weights", tiny, "-o", f"{number}.jpg", *options).code == 0
    assert Path("1.jpg").stat().st_size < 0.5 * Path("0.jpg").stat().st_size
    assert [b"hello" in Path(f"{number}.jpg").read_bytes() for number in range(3)] == [True, True, False]


def path_drawn(path: str) -> None:
    """A picture of a kernel: a level line of 9 pixels."""
    drawn = np.zeros((21, 31), np.uint8)
    drawn[10, 11:20] = 255
    Image.fromarray(drawn).save(path)


def shaken(path: str) -> None:
    """A face, blurred by that line in what is nearly linear light."""
    sharp = np.asarray(Image.open(EXAMPLES / "originals/astronaut.png").convert("RGB"))[60:170, 160:280]
    light = (sharp / 255.0) ** 2.2
    blurry = np.mean([light[:, i : i + 112] for i in range(9)], 0)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * blurry ** (1 / 2.2)).round().astype(np.uint8)).save(path)


def test_a_known_shake_is_undone_told_and_drawn(deblur: Deblur, tiny: str) -> None:
    shaken("a.png")
    path_drawn("path.png")
    outcome = deblur("a.png", "--weights", tiny, "--kernel", "path.png", "--save-kernel", "k.png", "-v")
    assert outcome.code == 0
    assert "shake of 8 px undone" in outcome.err
    assert "shake: 8 px at 0°, 100% sure; undone: by the kernel given" in outcome.err
    assert samples("k.png").tolist() == [[0] * 9] * 4 + [[255] * 9] + [[0] * 9] * 4
    assert deblur("a.png", "--weights", tiny, "--shake", "off", "-o", "plain.png").code == 0
    assert (samples("plain.png") != samples("a_sharp.png")).any()


def test_a_kernel_that_does_not_explain_the_photo_is_not_used(deblur: Deblur, tiny: str) -> None:
    photo("a.png")
    path_drawn("path.png")
    outcome = deblur("a.png", "--weights", tiny, "--kernel", "path.png", "-v")
    assert "left: the kernel given does not explain the photo, as far as can be told" in outcome.err
    assert deblur("a.png", "--weights", tiny, "--shake", "off", "-o", "plain.png").code == 0
    assert (samples("plain.png") == samples("a_sharp.png")).all()


def test_no_kernel_is_written_where_no_shake_is_found(deblur: Deblur, tiny: str) -> None:
    photo("a.png")
    outcome = deblur("a.png", "--weights", tiny, "--save-kernel", "k.png", "-v")
    assert outcome.code == 0
    assert "k.png: not written, since no shake was found" in outcome.err
    assert "shake: the photo is too small to see a shake in it" in outcome.err
    assert not Path("k.png").exists()


def test_a_lamp_in_the_photo_draws_the_shake(deblur: Deblur, tiny: str) -> None:
    dark = np.full((60, 80, 3), 20, np.uint8)
    dark[30, 30:43] = 220
    Image.fromarray(dark).save("night.png")
    outcome = deblur("night.png", "--weights", tiny, "--kernel-from", "20,20,40,20")
    assert outcome.code == 0
    assert "shake of 12 px undone" in outcome.err


def test_a_batch_knows_the_kernel_and_tells_of_the_shake(deblur: Deblur, tiny: str) -> None:
    shaken("in/a.png")
    path_drawn("path.png")
    arguments = ("batch", "in", "-o", "out", "--weights", tiny, "--kernel", "path.png", "--json")
    told = json.loads(deblur(*arguments, "--report", "page.html").out.splitlines()[0])
    assert told["shake"]["share"] > 0.5
    assert told["shake"] | {"kernel": "", "share": 1.0} == {
        "outcome": "undone",
        "why": "by the kernel given",
        "share": 1.0,
        "length_px": 8.0,
        "direction_deg": 0.0,
        "sure": 1.0,
        "kernel": "",
    }
    page = Path("page.html").read_text()
    assert f"data:image/png;base64,{told['shake']['kernel']}" in page
    assert "shake of 8 px undone" in page
    assert json.loads(deblur(*arguments).out.splitlines()[0])["status"] == "skipped"
    photo("path.png", 1, 9, "L")
    assert json.loads(deblur(*arguments).out.splitlines()[0])["status"] == "done", "another kernel"


def test_info_tells_the_shake_unless_it_is_not_to_look(
    deblur: Deblur, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("a.png")
    none = {"shake_length_px": None, "shake_direction_deg": None, "shake_sure": None}
    assert json.loads(deblur("info", "a.png", "--json").out).items() >= none.items()
    assert "shake" not in deblur("info", "a.png", "--no-shake").out
    kernel = torch.zeros(1, 1, 11, 11)
    kernel[..., 5, 1:10] = 1 / 9
    seen = Shake(kernel, torch.full((1, 1), 0.8))
    monkeypatch.setattr("deblur_cli.shake.estimate", lambda light, **_: seen)
    assert "8 px at 0°, 80% sure" in deblur("info", "a.png").out


def test_info_shows_what_is_in_a_photo(deblur: Deblur) -> None:
    photo("a.png", mode="RGBA")
    Path("b.jpg").write_text("text")
    outcome = deblur("info", "a.png", "b.jpg")
    assert outcome.code == 1
    for words in ("a.png", "PNG", "50x40", "RGB and alpha, 8 bit"):
        assert words in outcome.out
    assert "b.jpg: not a photo" in outcome.err
    described = json.loads(deblur("info", "a.png", "--json").out)
    assert (described["photo"], described["width"], described["bits"]) == ("a.png", 50, 8)


def test_evaluate_compares_photos_with_their_sharp_originals(deblur: Deblur, tiny: str) -> None:
    for folder in ("blurry", "sharp"):
        photo(f"{folder}/a.png")
        photo(f"{folder}/sub/b.png")
    photo("blurry/alone.png")
    Path("blurry/._a.png").write_bytes(b"what a Mac leaves")
    arguments = ("evaluate", "blurry", "sharp", "--weights", tiny)
    table = deblur(*arguments)
    assert table.code == 0
    assert "passed over: 1 of 3 photos below blurry, which have no sharp one" in table.err
    assert [line.split()[0] for line in table.out.splitlines()] == [
        "photo",
        "blurry/a.png",
        "blurry/sub/b.png",
        "mean",
    ]
    rows = deblur(*arguments, "--format", "csv").out.splitlines()
    assert rows[0] == "photo,psnr_before,psnr_after,ssim_before,ssim_after"
    assert len(rows) == 4
    found = json.loads(deblur(*arguments, "--format", "json").out)
    assert found["photos"][0]["psnr_before"] is None, (
        "equal photos have an infinite PSNR, which JSON cannot say"
    )
    assert found["photos"][0]["shift_before"] == [0, 0]
    assert 0 < found["mean"]["psnr_after"] < 40


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.png", "none.png"], 2, "none.png: no such file or folder"),
        (["a.png", "in"], 2, "one is a folder and the other a file"),
        (["in", "other"], 2, "no photo below in has one of the same name below other"),
        (["a.png", "small.png"], 1, "a.png: the photo is 50x40, its sharp one 20x20"),
        (["text.png", "a.png"], 1, "text.png: not a photo"),
    ],
)
def test_what_cannot_be_evaluated(
    arguments: list[str], code: int, message: str, deblur: Deblur, tiny: str
) -> None:
    photo("a.png")
    photo("in/b.png")
    photo("other/c.png")
    photo("small.png", 20, 20)
    Path("text.png").write_text("text")
    outcome = deblur("evaluate", *arguments, "--weights", tiny)
    assert (outcome.code, message in outcome.err) == (code, True), outcome.err


def test_waiting_threads_spin_for_a_moment_only(deblur: Deblur, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    deblur("--version")
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    deblur("--version")
    assert os.environ["GOMP_SPINCOUNT"] == "5"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    deblur("--version")
    assert "GOMP_SPINCOUNT" not in os.environ


# The installed console script


def test_pipes_carry_a_photo_in_and_out(tiny: str, tmp_path: Path) -> None:
    data = photo(str(tmp_path / "a.png")).read_bytes()
    result = subprocess.run(
        [SCRIPT, "-", "-o", "-", "--weights", tiny], input=data, capture_output=True, check=True
    )
    assert result.stdout.startswith(b"\x89PNG")
    assert b"standard input -> standard output" in result.stderr


def test_python_m_is_the_same_program() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "deblur_cli", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"deblur {__version__}\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_nothing_half_written(number: int, code: int, tmp_path: Path) -> None:
    photo(str(tmp_path / "a.png"), 1500, 1500)
    process = subprocess.Popen(
        [SCRIPT, "a.png", "--tile", "64"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    time.sleep(6)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "stopped: 0 photos restored" in err
    assert "Traceback" not in err
    assert names(tmp_path) == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_a_read_only_target_fails_cleanly(deblur: Deblur, tiny: str, tmp_path: Path) -> None:
    photo("a.png")
    mount = tmp_path / "disk"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", mount], check=False).returncode:
        pytest.skip("no mounts here")
    try:
        outcome = deblur("a.png", "-o", "disk/b.png", "--weights", tiny)
        assert outcome.code == 1
        assert "disk/b.png" in outcome.err
        assert "Read-only file system" in outcome.err
    finally:
        subprocess.run(["umount", mount], check=True)


def test_an_interrupt_while_libraries_are_imported_is_quiet(tmp_path: Path) -> None:
    for delay_s in (0.08, 0.15, 0.3, 0.6, 1.2):
        process = subprocess.Popen([SCRIPT, "a.png"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        if process.returncode == -signal.SIGINT:  # before the first line of ours
            continue
        assert process.returncode in (1, 130)  # 1: it had found already that there is no such file
        assert "Traceback" not in err


@pytest.mark.parametrize(
    "command", [["info", "a.png"], ["evaluate", "a.png", "a.png"]], ids=lambda words: words[0]
)
def test_a_broken_photo_is_told_and_the_program_ends(command: list[str], tmp_path: Path) -> None:
    whole = photo(str(tmp_path / "a.png")).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    result = subprocess.run(
        [SCRIPT, *command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: a.png: the PNG file is cut short")
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("info a.png >/dev/full", 1, "error: standard output: No space left on device"),
        ("--help >/dev/full", 1, "error: standard output: No space left on device"),
        ("info a.png >&-", 1, "error: standard output: Bad file descriptor"),
        ("- -o b.png --weights WEIGHTS <&-", 1, "the file is empty"),
        ("a.png -o - --weights WEIGHTS >&-", 1, "cannot be written: Bad file descriptor"),
        ("info a.png", 1, "error: the folder you are in cannot be used"),
    ],
)
def test_a_closed_or_full_stream_is_an_error_in_words(
    command: str, code: int, message: str, tiny: str, tmp_path: Path
) -> None:
    photo(str(tmp_path / "a.png"))
    leave = "mkdir gone && cd gone && rmdir ../gone && " if "folder" in message else ""
    result = subprocess.run(
        f"{leave}{SCRIPT} {command.replace('WEIGHTS', tiny)}",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, message in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("place", ["2>/dev/full", "2>&-"])
def test_messages_that_cannot_be_printed_cost_no_photo(place: str, tiny: str, tmp_path: Path) -> None:
    photo(str(tmp_path / "a.png"))
    command = f"{SCRIPT} a.png --weights {tiny} --verbose {place}"
    assert subprocess.run(command, shell=True, cwd=tmp_path, check=False).returncode == 0
    assert names(tmp_path) == ["a.png", "a_sharp.png"]


def test_of_two_processes_with_one_new_target_the_second_is_refused(tiny: str, tmp_path: Path) -> None:
    colours = ("red", "blue")
    for colour in colours:
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{colour}.png")
    commands = [[SCRIPT, f"{colour}.png", "-o", "one.png", "--weights", tiny] for colour in colours]
    both = [
        subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for command in commands
    ]
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert any("exists already" in err for err in errors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png", "-o", ""), "--output is empty"),
        (("batch", ".", "-o", ""), "--output is empty"),
        (("batch", ".", "-o", "-"), "a batch cannot go to standard output"),
        (("",), "the name of a photo is empty"),
    ],
)
def test_empty_and_impossible_names(deblur: Deblur, arguments: tuple[str, ...], message: str) -> None:
    photo("a.png")
    outcome = deblur(*arguments)
    assert (outcome.code, message in outcome.err) == (2, True), outcome.err
