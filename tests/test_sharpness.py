"""The measure of blur, on the one sharp photo that is here: alone, through `deblur info`, `sort` and `batch --only-blurred`."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from deblur_cli.api import sharpness_of
from deblur_cli.journal import Journal, stamp_of
from deblur_cli.photo import Encoding, Photo
from deblur_cli.shake import Shake
from deblur_cli.sharpness import Sharpness, measure
from test_cli import Deblur, deblur, photo, tiny  # noqa: F401  fixtures

EXAMPLES = Path(__file__).parent.parent / "examples"
SHARP = EXAMPLES / "originals/astronaut.png"


def portrait() -> Tensor:
    """(512, 512) of 0..1."""
    return torch.from_numpy(np.array(Image.open(SHARP).convert("L"), np.float32) / 255)


def disc(width: float) -> Tensor:
    axis = torch.arange(-16, 17.0)
    kernel = (width / 2 + 0.5 - torch.hypot(axis[:, None], axis)).clamp(0, 1)
    return kernel / kernel.sum()


def line(length: int) -> Tensor:
    return torch.eye(length) / length


def blurred(luma: Tensor, kernel: Tensor | None, noise: float = 0.0) -> Tensor:
    """As a lens or a hand blurs it, in about linear light, with noise in 8 bits."""
    light = luma**2.2
    if kernel is not None:
        before, after = len(kernel) // 2, (len(kernel) - 1) // 2
        padded = F.pad(light[None, None], (before, after, before, after), "reflect")
        light = F.conv2d(padded, kernel[None, None])[0, 0]
    grain = noise * torch.randn(light.shape, generator=torch.Generator().manual_seed(0))
    return ((light.clamp(0, 1) ** (1 / 2.2) + grain) * 255).round().clamp(0, 255) / 255


def seen(luma: Tensor) -> Sharpness:
    found = measure(luma)
    assert found is not None
    return found


def save(name: str, luma: Tensor, **options: object) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((luma * 255).byte().numpy()).save(name, **options)


def through_jpeg(luma: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray((luma * 255).byte().numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file), np.float32) / 255)


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [(None, "none"), (disc(8), "lens"), (disc(14), "lens"), (line(9), "shake"), (line(16), "shake")],
    ids=["sharp", "lens 8", "lens 14", "shake 9", "shake 16"],
)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_kinds_are_told_apart_with_noise_and_without(kernel: Tensor | None, kind: str, noise: float) -> None:
    assert seen(blurred(portrait(), kernel, noise)).kind == kind


def test_the_wider_the_blur_the_wider_it_is_told_to_be_and_the_less_sharp() -> None:
    found = [seen(blurred(portrait(), disc(width))) for width in (0.5, 2, 4, 8, 16)]
    assert [each.width for each in found] == sorted(each.width for each in found)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    for width, each in zip((4, 8, 16), found[2:], strict=True):
        assert width / 1.6 < each.width < width * 1.6


def test_at_the_limit_the_sharpness_is_50_and_large_photos_may_be_softer() -> None:
    assert Sharpness(3, 3, "lens").score == 50
    small, large = seen(portrait()), seen(portrait().repeat(8, 8))
    assert small.limit == 2.5
    assert large.limit == pytest.approx(4096 * math.sqrt(2) / 1500)


def test_neither_noise_nor_jpeg_makes_a_blurred_photo_sharp_nor_a_sharp_one_blurred() -> None:
    for kernel, is_sharp in ((None, True), (disc(8), False)):
        for noise in (0.0, 0.05):
            for quality in (40, 95):
                file = through_jpeg(blurred(portrait(), kernel, noise), quality)
                assert (seen(file).kind == "none") == is_sharp, (noise, quality)


def test_a_sharp_subject_before_a_soft_background_is_sharp() -> None:
    luma = portrait()
    soft = blurred(luma, disc(14))
    soft[40:240, 130:330] = luma[40:240, 130:330]
    assert seen(soft).kind == "none"


def test_an_enlarged_photo_is_not_called_blurred_for_that() -> None:
    larger = F.interpolate(portrait()[None, None], scale_factor=1.6, mode="bicubic")[0, 0].clamp(0, 1)
    assert seen(larger).kind == "none"


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (20, 20), (97, 33)])
def test_any_size_is_measured(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    found = measure(torch.rand(size))
    assert found is None or found.width >= 0


@pytest.mark.parametrize("luma", [torch.full((200, 300), 0.5), torch.full((200, 300), math.nan)])
def test_where_nothing_tells_nothing_is_told(luma: Tensor) -> None:
    assert measure(luma) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_depth_and_transparency_make_no_difference(dtype: type) -> None:
    peak = 1 if dtype is np.float32 else np.iinfo(dtype).max
    values = blurred(portrait(), disc(8)).numpy()[..., None].repeat(3, 2)
    pixels = (values * peak).round().astype(dtype) if peak > 1 else values
    alpha = np.full(pixels.shape[:2], peak, dtype)
    found = sharpness_of(Photo(pixels, alpha, Encoding("PNG")))
    assert found is not None
    assert found.width == pytest.approx(seen(blurred(portrait(), disc(8))).width, rel=0.1)


# deblur info


def shake_of(sure: float) -> Shake:
    kernel = torch.zeros(1, 1, 11, 11)
    kernel[..., 5, 1:10] = 1 / 9
    return Shake(kernel, torch.full((1, 1), sure))


@pytest.mark.parametrize(
    ("kernel", "traced", "kind", "words"),
    [
        (None, None, "none", "sharp (sharpness "),
        (disc(8), None, "lens", "out of focus, "),
        (disc(8), shake_of(0.3), "lens", "out of focus, "),
        (disc(8), shake_of(0.8), "shake", "shake, path 8 px at 0°, 80% sure"),
        (line(16), None, "shake", "shake, "),
        (line(16), shake_of(0.3), "shake", "shake, path 8 px at 0°, 30% sure"),
        (None, shake_of(0.3), "none", "sharp (sharpness "),
        (None, shake_of(0.8), "none", "sharp, path 8 px at 0°, 80% sure"),
    ],
)
def test_info_tells_of_blur_and_shake_in_one_message(
    kernel: Tensor | None,
    traced: Shake | None,
    kind: str,
    words: str,
    deblur: Deblur,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deblur_cli.shake.estimate", lambda light, **_: traced)
    save("a.png", blurred(portrait(), kernel))
    told = json.loads(deblur("info", "a.png", "--json").out)
    assert told["blur"] == kind
    assert (told["sharpness"] > 50) == (kind == "none")
    assert told["shake_sure"] == (traced and round(float(traced.sure.mean()), 2))
    message = deblur("info", "a.png").out.splitlines()[1]
    assert words in message
    assert ("path" in message) == ("path" in words)


# deblur sort


@pytest.mark.isolated
def test_the_best_of_a_burst_comes_first(deblur: Deblur) -> None:  # noqa: F811
    burst = {"4.jpg": line(12), "2.jpg": line(3), "3.jpg": line(6), "1.jpg": None}
    for number, (name, kernel) in enumerate(burst.items()):
        framed = portrait().roll(3 * number, 1)
        save(f"burst/{name}", blurred(framed, kernel, 0.005 * (4 - number)), quality=90)
    Path("burst/5.jpg").write_bytes(Path("burst/1.jpg").read_bytes()[:3000])
    Path("burst/notes.txt").write_text("no photo")
    outcome = deblur("sort", "burst")
    assert outcome.code == 1, "one is broken"
    assert "burst/5.jpg: the JPEG file is cut short" in outcome.err
    first = [text.split()[0] for text in outcome.out.splitlines()[1:]]
    assert first == [f"burst/{number}.jpg" for number in (1, 2, 3, 4)]
    told = [json.loads(text) for text in deblur("sort", "burst", "--json").out.splitlines()]
    assert [each["photo"] for each in told] == first
    assert told[0]["blur"] == "none"
    assert told[3]["blur"] == "shake"
    assert told[0]["sharpness"] > told[1]["sharpness"] > told[2]["sharpness"] > told[3]["sharpness"]


def test_sort_takes_photos_and_globs_each_once(deblur: Deblur) -> None:  # noqa: F811
    save("in/a.png", portrait())
    save("in/sub/b.tif", blurred(portrait(), disc(6)))
    Image.new("RGB", (40, 40)).save("in/c.png")
    outcome = deblur("sort", "in/*.png", "in", "in/a.png")
    assert outcome.code == 0
    names = [text.split()[0] for text in outcome.out.splitlines()[1:]]
    assert names == ["in/a.png", "in/sub/b.tif", "in/c.png"]
    assert "nothing tells" in outcome.out.splitlines()[3]
    last = json.loads(deblur("sort", "in", "--json").out.splitlines()[2])
    assert last == {"photo": "in/c.png", "sharpness": None, "blur": None, "blur_px": None}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none"], 2, "none: no such file or folder"),
        (["in", "--max-megapixels", "0.001"], 1, "in/a.png: 50x40 is 0 megapixels, above the limit of 0.001"),
        (["in/a.txt"], 1, "in/a.txt: not a photo"),
    ],
)
def test_sort_says_what_is_wrong(
    arguments: list[str],
    code: int,
    message: str,
    deblur: Deblur,  # noqa: F811
) -> None:
    photo("in/a.png")
    Path("in/a.txt").write_text("text")
    outcome = deblur("sort", *arguments)
    assert outcome.code == code
    assert message in outcome.err
    assert outcome.out == ""


# deblur batch --only-blurred


def test_only_blurred_photos_are_restored_and_the_others_counted(
    deblur: Deblur,  # noqa: F811
    tiny: str,  # noqa: F811
) -> None:
    save("in/sharp.png", portrait()[:256, :256])
    save("in/soft.png", blurred(portrait(), disc(10))[:256, :256])
    arguments = ["batch", "in", "-o", "out", "--weights", tiny, "--shake", "off"]
    outcome = deblur(*arguments, "--only-blurred", "--json", "--report", "page.html", "--verbose")
    assert outcome.code == 0
    assert [path.name for path in Path("out").glob("*.png")] == ["soft.png"]
    left, done, summary = sorted(
        map(json.loads, outcome.out.splitlines()), key=lambda told: told.get("photo", "z")
    )
    assert (left["status"], done["status"]) == ("left", "done")
    assert left["reason"].startswith("its blur is ")
    assert (summary["summary"]["done"], summary["summary"]["left"], summary["summary"]["not_done"]) == (
        1,
        1,
        0,
    )
    assert "1 sharp and left as they are" in outcome.err
    assert "left as it is: in/sharp.png (its blur is " in outcome.err
    page = Path("page.html").read_text()
    assert "<b>1</b> sharp and left" in page
    assert "in/sharp.png" in page

    again = deblur(*arguments, "--only-blurred", "--json")
    *photos, summary = map(json.loads, again.out.splitlines())
    assert {each["photo"]: each["status"] for each in photos} == {
        "in/sharp.png": "left",
        "in/soft.png": "skipped",
    }
    assert "sharp, as an earlier run has found: 1" in deblur(*arguments, "--only-blurred", "--dry-run").out

    assert deblur(*arguments).code == 0
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["sharp.png", "soft.png"]


def test_the_journal_tells_what_was_left_until_it_changes(tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "out/a.png"
    source.write_bytes(b"sharp")
    target.parent.mkdir()
    with Journal(tmp_path / "out") as journal:
        journal.claim([target])
        journal.add_left(source, stamp_of(source), target, "why")
    journal = Journal(tmp_path / "out").read()
    assert journal.left(source, stamp_of(source)) == "why"
    assert not journal.claimed(target)
    assert journal.unfinished() == []
    source.write_bytes(b"another")
    assert journal.left(source, stamp_of(source)) is None
