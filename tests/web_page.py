"""`deblur web` as a process of its own, and a browser that looks at its page.

`python tests/web_page.py FOLDER` takes the pictures of docs/images: light, dark and narrow.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from email.message import Message
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from PIL import Image
from safetensors.torch import save_file
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from conftest import random_model

T = TypeVar("T")


class Answer(NamedTuple):
    """To a request, whole."""

    status: int
    headers: Message
    data: bytes


SCRIPT = str(Path(sys.executable).with_name("deblur"))
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE_S = 120.0
DONE = ("done", "failed", "stopped")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of weights that runs in milliseconds."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(random_model().state_dict(), path)
    return str(path)


def photo(path: Path, h: int = 60, w: int = 80, seed: int = 0) -> Path:
    """Noise, as a file."""
    samples = np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)
    Image.fromarray(samples).save(path)
    return path


def wait_for(condition: Callable[[], T], what: str = "") -> T:
    """What it returns as soon as that is true; an error if it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what or condition}")
        time.sleep(0.02)
    return result


class Web:
    """`deblur web --no-browser OPTIONS`, running. temporary: where its files lie. patch: something of `deblur_cli` that is to be another."""

    def __init__(
        self, *options: str, temporary: Path | None = None, patch: str | None = None, **environment: str
    ) -> None:
        self.temporary = temporary or Path(mkdtemp())
        home = self.temporary / "home"
        environment |= {name: str(home / name) for name in ("HF_HOME", "DEBLUR_CACHE", "XDG_CACHE_HOME")}
        environment = {
            "TMPDIR": str(self.temporary),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        } | environment
        module = patch.rpartition(" = ")[0].rpartition(".")[0] if patch else ""
        patched = (
            f"import deblur_cli.{module}; deblur_cli.{patch}; from deblur_cli.__main__ import main; main()"
        )
        self.process = subprocess.Popen(
            [*([sys.executable, "-c", patched] if patch else [SCRIPT]), "web", "--no-browser", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.process.communicate()[1]
        parts = urlsplit(self.address)
        self.host, self.path = parts.netloc, parts.path

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A request as it stands, to a path below the page's address, or to one that begins with a slash."""
        with self._asked(path, method, body, headers) as answer:
            return Answer(answer.status, answer.headers, answer.read())

    @contextmanager
    def _asked(self, path: str, *request: Any) -> Iterator[HTTPResponse]:  # noqa: ANN401
        method, *rest = request or ("GET",)
        connection = HTTPConnection("127.0.0.1", int(self.host.rpartition(":")[2]), timeout=PATIENCE_S)
        with closing(connection):
            body, headers = rest or (None, None)
            connection.request(
                method, path if path.startswith("/") else self.path + path, body, dict(headers or {})
            )
            with connection.getresponse() as answer:
                yield answer

    def photos(self) -> list[dict[str, Any]]:
        """What the program tells of all photos."""
        with self._asked("events") as answer:
            line = answer.readline()
        return json.loads(line.removeprefix(b"data: "))["photos"]

    def post(self, path: str, value: object = None) -> dict[str, Any]:
        """The answer to something that the page may ask."""
        answer = self.ask(path, "POST", json.dumps(value or {}).encode())
        return json.loads(answer.data)

    def add(self, file: Path, name: str | None = None) -> str:
        """Upload a photo; its id."""
        answer = self.ask(f"photos?name={name or file.name}", "POST", file.read_bytes())
        assert answer.status == 201
        return json.loads(answer.data)["id"]

    def settled(self) -> list[dict[str, Any]]:
        """All photos, when nothing is left to be done."""
        return wait_for(
            lambda: (photos := self.photos()) and all(photo["status"] in DONE for photo in photos) and photos,
            "all photos to be settled",
        )

    def workers(self) -> list[psutil.Process]:
        """The processes that work for it."""
        return [
            child
            for child in psutil.Process(self.process.pid).children()
            if "spawn_main" in " ".join(child.cmdline())
        ]

    def worker(self, *, torch: bool) -> psutil.Process:
        """The one that sharpens, which has loaded torch; or the one that reads and saves."""
        return wait_for(
            lambda: next(
                (it for it in self.workers() if ("libtorch" in str(it.memory_maps())) == torch), None
            ),
            "the worker",
        )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(number)
        try:
            self.process.communicate(timeout=PATIENCE_S)
        finally:
            self.process.kill()
        return self.process.returncode


@contextmanager
def web(*options: str, **about: Any) -> Iterator[Web]:  # noqa: ANN401
    """It is stopped at the end."""
    running = Web(*options, **about)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def need_browser() -> None:
    """Skip the test where there is no browser; never in CI."""
    if not (BROWSER and DRIVER):
        reason = "needs chromium and its driver: apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def browser(
    folder: Path, language: str = "en", size: tuple[int, int] = (1280, 860), *more: str
) -> Iterator["Page"]:
    """Chromium without a window; downloads go to the folder. more: options of Chromium."""
    options = ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        *more,
    ):
        options.add_argument(argument)
    options.add_argument(f"--window-size={size[0]},{size[1]}")
    options.add_argument(f"--accept-lang={language}")
    options.add_argument(f"--lang={language}")
    options.add_experimental_option(
        "prefs", {"intl.accept_languages": language, "download.default_directory": str(folder)}
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(DRIVER))
    try:
        driver.set_window_size(*size)
        yield Page(driver, folder)
    finally:
        driver.quit()


class Page:
    """The page, as a person sees it."""

    def __init__(self, driver: Chrome, folder: Path) -> None:
        self.driver, self.folder = driver, folder

    def open(self, address: str) -> "Page":
        self.driver.get(address)
        wait_for(
            lambda: self.run("return document.querySelector('#weights').length"),
            "the page to know its choices",
        )
        return self

    def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401
        return self.driver.execute_script(script, *arguments)

    def get(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def shown(self, selector: str) -> bool:
        return any(element.is_displayed() for element in self.all(selector))

    def click(self, selector: str) -> None:
        wait_for(lambda: self.shown(selector), selector)
        self.get(selector).click()

    def drop(self, files: Sequence[Path], names: Sequence[str] | None = None) -> None:
        """Drop files on the page, as a file manager would."""
        contents = [base64.b64encode(file.read_bytes()).decode() for file in files]
        self.run(
            """
            const transfer = new DataTransfer(), [contents, names] = arguments;
            names.forEach((name, number) => transfer.items.add(new File(
              [Uint8Array.from(atob(contents[number]), (sign) => sign.charCodeAt())], name)));
            for (const kind of ["dragenter", "dragover", "drop"])
              document.body.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: transfer}));
            """,
            contents,
            list(names or [file.name for file in files]),
        )

    def drag(self, kind: str, *paths: Path) -> None:
        """Files and folders of the disk come over the page (dragEnter, dragOver), or are let go there (drop)."""
        data = {"items": [], "files": list(map(str, paths)), "dragOperationsMask": 1}
        where = {"x": 300, "y": 300}
        self.driver.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, **where, "data": data})

    def statuses(self) -> list[str]:
        return self.run(
            "return [...document.querySelectorAll('#strip button')].map((button) => button.dataset.status)"
        )

    def wait_settled(self, count: int) -> list[str]:
        return wait_for(
            lambda: (
                len(statuses := self.statuses()) == count
                and all(status in DONE for status in statuses)
                and statuses
            ),
            f"{count} photos to be settled",
        )

    def downloaded(self, name: str) -> bytes:
        """A file that the browser has saved; it is taken away."""
        path = self.folder / name
        wait_for(lambda: path.is_file() and not list(self.folder.glob("*.crdownload")), name)
        data = path.read_bytes()
        path.unlink()
        return data

    def complaints(self) -> list[str]:
        """What the browser has complained of: scripts that fail, what the policy forbids."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


def take_pictures(folder: Path) -> None:
    """Of the page with the photos of examples/."""
    examples = Path(__file__).parent.parent / "examples"
    with Image.open(examples / "astronaut.jpg") as image:
        image.crop((160, 0, 400, 180)).save(folder / "portrait.png")
    with web() as running:
        for file in (examples / "astronaut.jpg", folder / "portrait.png"):
            running.add(file)
        running.settled()
        for name, size, scheme in (
            ("web_light", (1280, 860), "light"),
            ("web_dark", (1280, 860), "dark"),
            ("web_narrow", (390, 844), "light"),
        ):
            with browser(folder, size=size) as page:
                page.driver.execute_cdp_cmd(
                    "Emulation.setEmulatedMedia",
                    {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
                )
                page.driver.execute_cdp_cmd(
                    "Emulation.setDeviceMetricsOverride",
                    {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 500},
                )
                page.open(running.address).wait_settled(2)
                wait_for(
                    lambda page=page: page.run("return [...document.images].every((image) => image.complete)")
                )
                (folder / f"{name}.png").write_bytes(page.driver.get_screenshot_as_png())


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]))
