"""The page of `deblur web` in a real browser: what a person does with it, by mouse, finger and keyboard."""

import errno
import io
import json
import re
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from deblur_cli.batch import explained
from deblur_cli.cli import main
from deblur_cli.isolated import death_of
from deblur_cli.jobs import Job
from deblur_cli.photo._errors import MissingExtraError, missing_extra
from photo_files import claim, dng
from servers import Answer, Server
from web_page import Page, Web, browser, need_browser, photo, tiny, wait_for, web  # noqa: F401  tiny is a fixture

DATA = Path(__file__).parent / "data"
EXAMPLES = Path(__file__).parent.parent / "examples"
STATIC = Path(__file__).parent.parent / "src/deblur_cli/web/static"


@pytest.fixture(scope="module", autouse=True)
def _browser_there() -> None:
    need_browser()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("downloads")) as page:
        yield page


@pytest.fixture(scope="module")
def running(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """With weights that take no time."""
    with web("--weights", tiny, temporary=tmp_path_factory.mktemp("tmp")) as it:
        yield it


@pytest.fixture(scope="module")
def in_earnest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """With the weights of the package, which take seconds."""
    with web(temporary=tmp_path_factory.mktemp("tmp")) as it:
        yield it


def emptied(chromium: Page, it: Web) -> Page:
    chromium.driver.get("about:blank")
    for told in it.photos():
        it.ask(f"photos/{told['id']}", "DELETE")
    chromium.complaints()  # those of another test
    return chromium.open(it.address)


@pytest.fixture
def page(chromium: Page, running: Web) -> Iterator[Page]:
    """Without photos; at the end it may have complained of nothing."""
    page = emptied(chromium, running)
    yield page
    assert page.complaints() == []


@pytest.fixture
def slow_page(chromium: Page, in_earnest: Web) -> Page:
    return emptied(chromium, in_earnest)


def blurred(path: Path, size: tuple[int, int] = (320, 90), **options: object) -> Path:
    """Part of a photo, small, so that it is soon done."""
    with Image.open(EXAMPLES / "astronaut.jpg") as image:
        left, top = 150, 20
        image.crop((left, top, left + size[0], top + size[1])).filter(ImageFilter.GaussianBlur(1)).save(
            path, **options
        )
    return path


def by_hand(source: Path, target: Path, *options: str) -> bytes:
    """What the command line makes of it."""
    with pytest.raises(SystemExit) as end:
        main([str(source), "-o", str(target), *options])
    assert end.value.code == 0
    return target.read_bytes()


def one_done(page: Page, source: Path) -> None:
    page.drop([source])
    assert page.wait_settled(1) == ["done"]


def sheets(page: Page) -> list[list[float]]:
    """Left, top, width and height of both sides, in px of the window."""
    return page.run(
        """return [...document.querySelectorAll(".sheet")].map((sheet) => {
             const {left, top, width, height} = sheet.getBoundingClientRect();
             return [left, top, width, height]; })"""
    )


def aligned(page: Page) -> list[float]:
    """Where both sides are, which is the same place."""
    before, after = sheets(page)
    assert before == after
    return before


def cut_px(page: Page) -> float:
    """Where the side after begins."""
    clip = page.run("return document.querySelector('.side.after').style.clipPath")
    return float(re.findall(r"[\d.]+", clip)[-1])


# The whole way


def test_a_person_who_knows_two_words_gets_a_sharp_photo_saved(slow_page: Page, tmp_path: Path) -> None:
    page, source = slow_page, blurred(tmp_path / "dear.jpg", quality=95)
    assert page.shown("#welcome")
    assert page.get("#choose").text == "Choose photos"
    page.get("#files").send_keys(str(source))  # as the picker that "Choose photos" opens
    seen = []

    def watched() -> bool:
        seen.append(
            page.run(
                "const bar = document.querySelector('#working-progress'); return bar.parentElement.hidden ? 2 : bar.value"
            )
        )
        return page.statuses() == ["done"]

    wait_for(watched, "the photo to be done")
    between = [share for share in seen if 0 < share < 1]
    assert len(set(between)) >= 2
    assert between == sorted(between)
    assert page.shown("#divider")
    assert re.search(r"\d+ of 255 levels", page.get("#told").text)
    page.click("#save")
    saved = page.downloaded("dear_sharp.jpg")
    assert saved == by_hand(source, tmp_path / "by_hand.jpg", "--weights", "compact")
    assert page.complaints() == []


def test_two_photos_dropped_one_broken(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(blurred(tmp_path / "a.jpg").read_bytes()[:-1000])
    page.drop([blurred(tmp_path / "good.png"), tmp_path / "broken.jpg"])
    assert page.wait_settled(2) == ["done", "failed"]
    assert page.get("#name").text == "good.png"
    page.all("#strip button")[1].click()
    assert not page.shown("#stage")
    assert page.get("#problem").text.split("\n") == ["Not sharpened", "The JPEG file is cut short."]
    assert not page.shown("#save")
    page.all("#strip button")[0].click()
    assert page.shown("#save")
    page.click("#remove")
    wait_for(lambda: page.statuses() == ["failed"])
    page.click("#remove")
    wait_for(lambda: page.shown("#welcome"))


def test_a_photo_may_be_pasted_or_come_with_a_folder(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    photo(folder / "10.png")
    photo(folder / "inner" / "9.png")
    (folder / "notes.txt").write_text("no photo")
    page.get("#folder").send_keys(str(folder))
    page.wait_settled(2)
    assert [name.text for name in page.all("#strip .name")] == ["9.png", "10.png"]
    page.run(
        """const [bytes] = arguments, transfer = new DataTransfer();
           transfer.items.add(new File([Uint8Array.from(bytes)], "pasted.png", {type: "image/png"}));
           document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: transfer}))""",
        list(photo(tmp_path / "a.png").read_bytes()),
    )
    assert page.wait_settled(3) == ["done"] * 3


def test_a_folder_is_dropped_from_the_disk_and_what_is_in_it_found(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    (folder / "inner/most").mkdir(parents=True)
    for number in range(101):  # the browser lists a hundred at a time
        (folder / f"{number}.png").write_bytes(b"")
    photo(folder / "inner/most/103.png")
    for name in (".hidden.png", "notes.txt"):
        (folder / name).write_bytes(b"no photo")
    alone = photo(tmp_path / "102.png")
    for kind in ("dragEnter", "dragOver"):
        page.drag(kind, folder, alone)
    assert page.shown("#dropping")
    page.drag("drop", folder, alone)
    statuses = page.wait_settled(103)
    assert not page.shown("#dropping")
    assert statuses == ["failed"] * 101 + ["done"] * 2
    assert [name.text for name in page.all("#strip .name")] == [f"{number}.png" for number in range(101)] + [
        "102.png",
        "103.png",
    ]
    (tmp_path / "empty").mkdir()
    page.drag("dragEnter", tmp_path / "empty")
    page.drag("drop", tmp_path / "empty")
    assert page.wait_settled(103)


def test_the_shake_is_told_with_its_picture(page: Page, tiny: str, tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    with Image.open(EXAMPLES / "astronaut.jpg") as image:
        image.crop((100, 0, 292, 192)).save(source)
    one_done(page, source)
    assert re.match(r"A camera shake of \d+ pixels was undone", page.get("#told").text)
    assert page.shown("#kernel")
    assert page.get("#kernel").accessible_name == "The path of the camera"
    wait_for(lambda: page.run("return document.querySelector('#kernel').naturalWidth"), "the picture")
    shown = page.run(
        """return fetch(document.querySelector("#kernel").src)
                    .then((answer) => answer.arrayBuffer()).then((data) => [...new Uint8Array(data)])"""
    )
    by_hand(source, tmp_path / "b.png", "--weights", tiny, "--save-kernel", str(tmp_path / "kernel.png"))
    assert bytes(shown) == (tmp_path / "kernel.png").read_bytes()
    Select(page.get("#shake")).select_by_value("off")
    wait_for(lambda: page.statuses() == ["done"] and not page.shown("#kernel"), "the photo without its shake")
    assert "shake" not in page.get("#told").text


# Both sliders


def test_the_divider_goes_by_mouse_and_keyboard(page: Page, tmp_path: Path) -> None:
    one_done(page, blurred(tmp_path / "a.png"))
    left, _, width, _ = aligned(page)
    stage = page.get("#stage")
    at = stage.location["x"]
    assert cut_px(page) == pytest.approx(left - at + width / 2, abs=1)
    handle = page.get("#divider span")
    ActionChains(page.driver).drag_and_drop_by_offset(handle, -100, 0).perform()
    assert cut_px(page) == pytest.approx(left - at + width / 2 - 100, abs=4)
    before = cut_px(page)
    ActionChains(page.driver).send_keys(Keys.ARROW_RIGHT * 4).perform()  # it has the focus
    assert cut_px(page) == pytest.approx(before + 4 * width * 0.005, abs=1)
    ActionChains(page.driver).send_keys(Keys.HOME).perform()
    assert cut_px(page) == pytest.approx(left - at, abs=1)


def finger(page: Page, kind: str, *points: tuple[float, float]) -> None:
    page.driver.execute_cdp_cmd(
        "Input.dispatchTouchEvent",
        {"type": kind, "touchPoints": [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]},
    )


def test_fingers_move_the_divider_zoom_and_move_the_photo(page: Page, tmp_path: Path) -> None:
    one_done(page, blurred(tmp_path / "a.png"))
    left, top, width, height = aligned(page)
    x, y, at = left + width / 2, top + height / 2, page.get("#stage").location["x"]
    finger(page, "touchStart", (x, y))
    finger(page, "touchMove", (x + 80, y + 10))
    finger(page, "touchEnd")
    assert cut_px(page) == pytest.approx(x + 80 - at, abs=4)
    finger(page, "touchStart", (x - 50, y), (x + 50, y))
    finger(page, "touchMove", (x - 100, y), (x + 100, y))
    finger(page, "touchEnd")
    zoomed = aligned(page)
    assert zoomed[2] == pytest.approx(2 * width, rel=0.05)
    finger(page, "touchStart", (x - 200, y))
    finger(page, "touchMove", (x - 230, y - 20))
    finger(page, "touchEnd")
    assert aligned(page)[0] == pytest.approx(zoomed[0] - 30, abs=2)


def test_what_is_seen_at_a_strength_is_what_is_saved(page: Page, tiny: str, tmp_path: Path) -> None:
    source = blurred(tmp_path / "a.png")
    one_done(page, source)
    strength = page.get("#strength")
    strength.send_keys(Keys.ARROW_LEFT * 40)
    assert page.get("#controls output").text == "60 %"
    assert float(page.run("return document.querySelector('.after .sheet').style.opacity")) == 0.6
    page.click("#save")
    saved = page.downloaded("a_sharp.png")
    assert saved == by_hand(source, tmp_path / "b.png", "--weights", tiny, "--strength", "0.6")
    page.click("[data-zoom='1']")
    page.run("const slider = document.querySelector('#divider input'); slider.value = 0; slider.oninput()")
    page.run(
        "for (const one of document.querySelectorAll('.tag, #divider, #zoom, #status')) one.style.visibility = 'hidden'"
    )
    left, top, width, height = map(round, aligned(page))
    with (
        Image.open(io.BytesIO(page.driver.get_screenshot_as_png())) as shot,
        Image.open(io.BytesIO(saved)) as image,
    ):
        seen = np.asarray(shot.convert("RGB").crop((left, top, left + width, top + height)), np.float32)
        kept = np.asarray(image, np.float32)
    with Image.open(source) as image:
        blurry = np.asarray(image, np.float32)
    assert np.abs(seen - kept).mean() < 1.5  # pictures for the screen are JPEG
    assert np.abs(seen - kept).mean() < 0.5 * np.abs(seen - blurry).mean()


def test_another_format_and_all_as_zip(page: Page, tiny: str, tmp_path: Path) -> None:
    sources = [blurred(tmp_path / "one.png"), blurred(tmp_path / "two.jpg")]
    page.drop(sources)
    page.wait_settled(2)
    Select(page.get("#format")).select_by_visible_text("TIFF")
    page.click("#save")
    assert page.downloaded("one_sharp.tif") == by_hand(sources[0], tmp_path / "b.tif", "--weights", tiny)
    page.click("#save-all")
    with zipfile.ZipFile(io.BytesIO(page.downloaded("sharp.zip"))) as archive:
        assert archive.namelist() == ["one_sharp.tif", "two_sharp.jpg"]
        assert archive.read("two_sharp.jpg") == by_hand(sources[1], tmp_path / "b.jpg", "--weights", tiny)


# Looking closely


def test_it_zooms_at_the_pointer_and_both_sides_stay_aligned(page: Page, tmp_path: Path) -> None:
    one_done(page, blurred(tmp_path / "a.png"))
    left, top, width, height = aligned(page)
    x, y = round(left + width / 4), round(top + height / 2)
    for ticks in (3, 2, -1):
        before = aligned(page)
        page.driver.execute_cdp_cmd(
            "Input.dispatchMouseEvent",
            {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": -120 * ticks},
        )
        wait_for(lambda before=before: sheets(page)[0] != before)
        now = aligned(page)
        assert ((x - now[0]) / now[2], (y - now[1]) / now[3]) == pytest.approx(
            ((x - before[0]) / before[2], (y - before[1]) / before[3]), abs=0.004
        )
    page.click("[data-zoom='1']")
    assert aligned(page)[2:] == [320, 90]
    page.click("[data-zoom='4']")
    assert aligned(page)[2:] == [1280, 360]
    assert (
        page.run("return getComputedStyle(document.querySelector('.after img')).imageRendering")
        == "pixelated"
    )
    before = aligned(page)
    ActionChains(page.driver).move_to_element_with_offset(
        page.get("#stage"), -300, 0
    ).click_and_hold().move_by_offset(-7, -5).release().perform()
    assert aligned(page)[0] == before[0] - 7
    page.get("#stage").send_keys("0")
    assert aligned(page) == [left, top, width, height]
    page.get("#stage").send_keys("1")
    assert aligned(page)[2] == 320
    page.get("#stage").send_keys("+")
    assert aligned(page)[2] == pytest.approx(400, abs=1)
    ActionChains(page.driver).double_click(page.get("#stage")).perform()
    assert aligned(page) == [left, top, width, height]


def test_a_large_photo_is_looked_at_in_tiles_of_both_sides(page: Page, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 256, (70, 2100, 3), np.uint8)
    Image.fromarray(samples).save(tmp_path / "wide.png")
    one_done(page, tmp_path / "wide.png")

    def names() -> list[str]:
        return sorted(
            page.run("return [...document.querySelectorAll('.sheet img')].map((image) => image.dataset.name)")
        )

    assert names() == ["after-whole", "before-whole"]
    page.click("[data-zoom='1']")
    wait_for(lambda: {"after-0-0", "before-0-0", "after-0-1", "before-0-1"} <= set(names()))
    page.get("#stage").send_keys(Keys.ARROW_RIGHT * 20)
    wait_for(lambda: "after-0-2" in names())
    loaded = "return [...document.querySelectorAll('.sheet img')].every((image) => image.complete && image.naturalWidth)"
    wait_for(lambda: page.run(loaded), "the tiles to be loaded")
    sizes = page.run(
        "return [...document.querySelectorAll('.sheet img')].map((image) => [image.dataset.name, image.naturalWidth])"
    )
    assert dict(sizes)["after-0-0"] == 1024
    assert dict(sizes)["after-0-2"] == 2100 - 2048
    aligned(page)


def test_photos_that_no_browser_reads_are_shown_in_their_colours(page: Page, tmp_path: Path) -> None:
    from tifffile import imwrite

    (tmp_path / "raw.dng").write_bytes(dng())
    (tmp_path / "deep.heic").write_bytes((DATA / "photos/deep.heic").read_bytes())
    imwrite(tmp_path / "deep.tif", np.full((40, 60, 3), [65535, 32768, 0], np.uint16), photometric="rgb")
    page.drop([tmp_path / name for name in ("raw.dng", "deep.heic", "deep.tif")])
    assert page.wait_settled(3) == ["done"] * 3
    for button in page.all("#strip button"):
        button.click()
        wait_for(
            lambda: page.run(
                "const image = document.querySelector('.before img'); return image.complete && image.naturalWidth"
            )
        )
    colour = page.run(
        """const canvas = document.createElement("canvas").getContext("2d");
           canvas.drawImage(document.querySelector(".before img"), 0, 0);
           return [...canvas.getImageData(20, 20, 1, 1).data]"""
    )
    assert colour == pytest.approx([255, 128, 0, 255], abs=3)


# Regions


def test_only_the_part_that_is_drawn_is_sharpened(page: Page, tiny: str, tmp_path: Path) -> None:
    source = blurred(tmp_path / "a.png")
    one_done(page, source)
    page.click("[data-zoom='1']")
    page.click("#draw")
    left, top, _, _ = aligned(page)
    stage = page.get("#stage")
    middle = (stage.location["x"] + stage.size["width"] / 2, stage.location["y"] + stage.size["height"] / 2)
    (
        ActionChains(page.driver)
        .move_to_element_with_offset(stage, round(left + 40 - middle[0]), round(top + 30 - middle[1]))
        .click_and_hold()
        .move_by_offset(60, 40)
        .release()
        .perform()
    )
    box = page.get("#region").rect
    assert [box["width"], box["height"]] == pytest.approx([60, 40], abs=2)
    page.click("#sharpen-region")
    wait_for(lambda: page.statuses() == ["done"] and page.shown("#whole"), "the region to be sharpened")
    assert "Only the part" in page.get("#told").text
    region = page.run(
        "return fetch(location.href + 'events').then(async (answer) => { const reader = answer.body.getReader(); const {value} = await reader.read(); await reader.cancel(); return JSON.parse(new TextDecoder().decode(value).slice(6)).photos[0].wish.region })"
    )
    assert region == pytest.approx([40, 30, 60, 40], abs=2)
    page.click("#save")
    by_line = by_hand(source, tmp_path / "b.png", "--weights", tiny, "--region", ",".join(map(str, region)))
    assert page.downloaded("a_sharp.png") == by_line
    page.click("#whole")
    wait_for(lambda: page.statuses() == ["done"] and not page.shown("#whole"), "all of it to be sharpened")


def test_a_region_is_moved_by_the_keyboard(page: Page, tmp_path: Path) -> None:
    one_done(page, blurred(tmp_path / "a.png"))
    page.get("#draw").send_keys(Keys.ENTER)
    before = page.get("#region").rect
    ActionChains(page.driver).send_keys(Keys.ARROW_RIGHT * 2, Keys.ARROW_UP).perform()  # it has the focus
    moved = page.get("#region").rect
    assert moved["x"] > before["x"]
    assert moved["y"] < before["y"]
    assert [moved["width"], moved["height"]] == pytest.approx([before["width"], before["height"]], abs=1)
    ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_LEFT).key_up(Keys.SHIFT).perform()
    assert page.get("#region").rect["width"] < moved["width"]
    page.click("#undraw")
    assert not page.shown("#region")


# What survives


def test_a_reload_in_mid_work_loses_nothing_and_a_second_tab_sees_the_same(
    slow_page: Page, in_earnest: Web, tmp_path: Path
) -> None:
    page = slow_page
    page.drop([blurred(tmp_path / f"{number}.png", (200, 200)) for number in range(3)])
    wait_for(lambda: "working" in page.statuses() and len(page.statuses()) == 3)
    page.all("#strip button")[1].click()
    page.driver.refresh()
    wait_for(lambda: len(page.statuses()) == 3)
    assert page.get("#name").text == "1.png"
    assert "done" not in page.statuses() or "waiting" in page.statuses()  # it was in mid-work
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    try:
        page.open(in_earnest.address)
        assert [name.text for name in page.all("#strip .name")] == ["0.png", "1.png", "2.png"]
        page.all("#strip button")[2].click()
        page.click("#stop")
        wait_for(lambda: page.statuses()[2] == "stopped")
        page.click("#remove")
        wait_for(lambda: len(page.statuses()) == 2)
    finally:
        page.driver.close()
        page.driver.switch_to.window(first)
    assert page.wait_settled(2) == ["done", "done"]
    assert page.complaints() == []


def test_a_crash_of_the_worker_is_told_and_the_page_goes_on(
    slow_page: Page, in_earnest: Web, tmp_path: Path
) -> None:
    page = slow_page
    page.drop([EXAMPLES / "astronaut.jpg", blurred(tmp_path / "b.png", (64, 64))])
    wait_for(lambda: page.statuses()[:1] == ["working"])
    wait_for(lambda: page.statuses()[1:] == ["waiting"])
    in_earnest.worker(torch=True).kill()
    assert serious(page) == []  # while it works
    assert page.wait_settled(2) == ["failed", "done"]
    assert "was killed (SIGKILL)" in page.get("#problem").text
    assert page.shown("#again")
    assert not page.shown("#ended")


def test_when_the_program_has_ended_the_page_says_how_to_start_it(
    chromium: Page, tiny: str, tmp_path: Path
) -> None:
    with web("--weights", tiny, temporary=tmp_path) as it:
        chromium.open(it.address)
        assert not chromium.shown("#ended")
    wait_for(lambda: chromium.shown("#ended"))
    assert "deblur web" in chromium.get("#ended").text
    assert serious(chromium) == []


def test_200_photos_dropped_at_once(page: Page, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(200)]
    page.drop([photo(tmp_path / "a.png", 16, 16)] * 200, names)
    assert page.wait_settled(200) == ["done"] * 200
    wait_for(lambda: not page.get("#status").text.startswith("Adding"))
    page.click("#save-all")
    with zipfile.ZipFile(io.BytesIO(page.downloaded("sharp.zip"))) as archive:
        assert sorted(archive.namelist()) == sorted(f"{number}_sharp.png" for number in range(200))


# Who may not


def test_another_page_in_the_same_browser_can_do_nothing(chromium: Page, running: Web) -> None:
    emptied(chromium, running)
    with Server(Answer(b"<!doctype html><title>evil</title>", headers={"Content-Type": "text/html"})) as evil:
        chromium.driver.get(evil.address)
        outcomes = chromium.driver.execute_async_script(
            """const [address, finish] = arguments, image = new Image();
               const asked = [fetch(address + "photos?name=a.jpg", {method: "POST", mode: "no-cors", body: "x"}),
                              fetch(address + "events"), fetch(address, {credentials: "include"})];
               const shown = new Promise((resolve) => { image.onload = () => resolve("shown"); image.onerror = () => resolve("hidden"); });
               image.src = address + "icon.svg";
               const frame = document.createElement("iframe");
               frame.src = address;
               document.body.append(frame);
               Promise.allSettled([...asked.slice(1), shown]).then((all) => finish(all.map((one) => one.value ?? "refused")))""",
            running.address,
        )
    assert outcomes == ["refused", "refused", "hidden"]
    assert running.photos() == []
    chromium.complaints()


def test_without_the_whole_address_or_by_a_name_of_somebody_else_nobody_gets_in(
    running: Web, tmp_path: Path
) -> None:
    with browser(tmp_path, "en", (800, 600), "--host-resolver-rules=MAP evil.example 127.0.0.1") as page:
        for address, told in (
            (f"http://{running.host}/", "This is not the whole address"),
            (running.address.replace("127.0.0.1", "evil.example"), "This computer is not called that"),
        ):
            page.driver.get(address)
            assert page.get("body").text.startswith(told)
        page.driver.get(running.address)
        assert page.get("h1").text == "deblur"


def test_a_path_as_a_name_is_only_shown_and_no_path(page: Page, tmp_path: Path) -> None:
    page.drop([photo(tmp_path / "a.png")], [f"../..{tmp_path}/evil.png"])
    assert page.wait_settled(1) == ["done"]
    assert page.get("#name").text.endswith("evil.png")
    assert "/" not in page.get("#name").text
    assert not (tmp_path / "evil.png").exists()


# For everybody


def test_it_is_usable_within_a_second(page: Page, running: Web) -> None:
    def load_ms() -> float:
        page.open(running.address)
        return page.run("return performance.getEntriesByType('navigation')[0].loadEventEnd")

    assert min(load_ms() for _ in range(3)) < 1000


@pytest.mark.parametrize(
    ("language", "tag", "choose"),
    [
        ("de-AT", "de", "Fotos auswählen"),
        ("zh-CN", "zh-Hans", "选择照片"),
        ("en-GB", "en", "Choose photos"),
        ("fr", "en", "Choose photos"),
    ],
)
def test_it_speaks_the_browsers_language(
    running: Web, tmp_path: Path, language: str, tag: str, choose: str
) -> None:
    with browser(tmp_path, language) as page:
        page.open(running.address)
        assert page.run("return document.documentElement.lang") == tag
        assert page.run("return document.querySelector('#choose').textContent") == choose
        assert "undefined" not in page.run("return document.body.innerHTML")


def test_reasons_are_told_in_the_readers_language(running: Web, tmp_path: Path) -> None:
    job = Job(tmp_path / "a.jpg", tmp_path / "b.jpg")
    errors = [
        missing_extra("a.heic", "HEIC", MissingExtraError("heic")),
        explained(job, MemoryError()),
        death_of("a.jpg", "worked on", -signal.SIGKILL),
        death_of("a.jpg", "read", -signal.SIGSEGV),
        explained(job, OSError(errno.ENOSPC, "")),
    ]
    (tmp_path / "broken.jpg").write_bytes(blurred(tmp_path / "a.jpg").read_bytes()[:-1000])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.jpg").write_text("no photo at all")
    (tmp_path / "huge.png").write_bytes(claim(20_000, 15_000))
    with browser(tmp_path, "de") as page:
        emptied(page, running).drop(
            [tmp_path / name for name in ("broken.jpg", "empty.jpg", "notes.jpg", "huge.png")]
        )
        page.wait_settled(4)
        told = {}
        for button in page.all("#strip button"):
            button.click()
            told[page.get("#name").text] = page.get("#problem").text.split("\n")
        assert told["broken.jpg"] == ["Nicht geschärft", "Die JPEG-Datei ist beschädigt oder unvollständig."]
        assert told["empty.jpg"][1] == "Die Datei ist leer."
        assert told["notes.jpg"][1].startswith("Das ist kein Foto")
        assert told["huge.png"][1].startswith("Das Foto hat 300 Megapixel; mehr als 200 nimmt")
        for error in errors:
            message = (
                error.message.removeprefix("a.jpg: ").removeprefix(f"{job.name}: ").removeprefix("a.heic: ")
            )
            known = page.driver.execute_async_script(
                "const [error, hint, finish] = arguments; import(location.href + 'words.js').then((words) => finish(words.translated(error, hint)))",
                message,
                error.hint,
            )
            assert known, message
            assert "{" not in known
        assert page.run("return document.querySelector('#problem p:nth-child(2)').lang") == "de"


def test_every_language_has_every_sentence_that_is_used() -> None:
    source = (STATIC / "words.js").read_text(encoding="utf-8")
    reasons = re.findall(r"^  \[/.+/, \{ (.+) \}\],$", source, flags=re.MULTILINE)
    assert [re.findall(r"\b(\w+): \"", reason) for reason in reasons] == [["de", "zh"]] * 8
    tables = re.split(r"^  (\w+): \{$", source, flags=re.MULTILINE)[1:]
    sentences = {
        language: dict(re.findall(r'(\w+): "((?:[^"\\]|\\.)*)"', table.split("\n  },")[0]))
        for language, table in zip(tables[::2], tables[1::2], strict=True)
    }
    assert sentences.keys() == {"en", "de", "zh"}
    for language, table in sentences.items():
        assert table.keys() == sentences["en"].keys(), language
        for name, sentence in table.items():
            assert sorted(re.findall(r"\{\w+\}", sentence)) == sorted(
                re.findall(r"\{\w+\}", sentences["en"][name])
            ), name
    used = re.findall(r'data-(?:word|label|alt)="(\w+)"', (STATIC / "index.html").read_text(encoding="utf-8"))
    for script in STATIC.glob("*.js"):
        used += re.findall(r'\bsay\("(\w+)"', script.read_text(encoding="utf-8"))
    assert set(used) <= sentences["en"].keys()


def test_nothing_of_the_page_comes_from_elsewhere_or_is_inline() -> None:
    for file in STATIC.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|\bon\w+=\"|style=\"|<style|javascript:|\beval\(", text), file.name
    assert re.findall(r"<script[^>]*>(.*?)</script>", (STATIC / "index.html").read_text()) == [""]


def serious(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds of that weight or above, in the page as it is."""
    page.run((DATA / "axe/axe.min.js").read_text(encoding="utf-8"))
    found = page.driver.execute_async_script("axe.run().then(arguments[0])")
    assert len(found["passes"]) > 10
    return [
        (rule["id"], [node["html"] for node in rule["nodes"]])
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Page, tmp_path: Path, scheme: str) -> None:
    page.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )

    try:
        assert page.run("return matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
        assert serious(page) == []  # without photos
        (tmp_path / "broken.jpg").write_bytes(b"broken")
        page.drop([blurred(tmp_path / "a.png"), tmp_path / "broken.jpg"])
        page.wait_settled(2)
        wait_for(lambda: page.run("return [...document.images].every((image) => image.complete)"))
        assert serious(page) == []  # one is done
        page.click("#draw")
        assert serious(page) == []  # while a region is drawn
        page.all("#strip button")[1].click()
        assert serious(page) == []  # one has failed
        page.drag("dragEnter", tmp_path)
        assert page.shown("#dropping")
        assert serious(page) == []  # while something is dragged over it
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_narrow_screen_shows_all_of_it_without_scrolling_sideways(page: Page, tmp_path: Path) -> None:
    one_done(page, blurred(tmp_path / "a_photo_with_a_rather_long_name_that_does_not_fit.png"))
    page.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 720, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        assert wait_for(lambda: page.run("return innerWidth") == 360)
        assert page.run("return document.scrollingElement.scrollWidth") == 360
        left, _, width, _ = aligned(page)
        assert (left, left + width) == pytest.approx((0, 360), abs=1)
        (tmp_path / "broken.jpg").write_bytes(b"broken")
        page.drop([tmp_path / "broken.jpg"])
        page.run("document.querySelector('#status').textContent = 'Saved: a.png'")
        assert (
            page.get("#status").location["y"]
            > page.get("#strip").location["y"] + page.get("#strip").size["height"]
        )
        page.wait_settled(2)
        assert page.all("#strip .state")[1].text == "Failed"
        assert page.run(
            "return [...document.querySelectorAll('.state')].every((one) => one.scrollWidth <= one.clientWidth)"
        )
        page.click("[data-zoom='1']")
        assert aligned(page)[2] == 160  # a pixel of the photo is one of the screen's
        page.driver.execute_script("arguments[0].scrollIntoView()", page.get("#save"))
        assert page.get("#save").is_displayed()
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_all_of_it_is_reached_by_the_tab_key(page: Page, tmp_path: Path) -> None:
    one_done(page, blurred(tmp_path / "a.png"))
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(20):
        page.driver.find_element(By.TAG_NAME, "body") and ActionChains(page.driver).send_keys(
            Keys.TAB
        ).perform()
        reached.append(
            page.run("const at = document.activeElement; return at.id || at.closest('[id]')?.id || ''")
        )
    wanted = [
        "add",
        "add-folder",
        "stage",
        "divider",
        "zoom",
        "strength",
        "draw",
        "weights",
        "shake",
        "format",
        "save",
        "remove",
        "strip",
    ]
    assert [name for name in wanted if name not in reached] == [], json.dumps(reached)
