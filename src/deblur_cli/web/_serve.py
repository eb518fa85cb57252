"""From the options of `deblur web` to a page that is open, and to the end of it."""

import ipaddress
import secrets
import socket
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import FrameType

import uvicorn

from deblur_cli.download import choose_entry, find_installed
from deblur_cli.errors import UsageError, WeightsError
from deblur_cli.registry import load_registry
from deblur_cli.web._app import make_app
from deblur_cli.web._folder import private_folder
from deblur_cli.web._guard import LOCAL_NAMES, Guard
from deblur_cli.web._news import News
from deblur_cli.web._queue import Queue

PATIENCE_S = 1
"""How long what is being sent may take when the program is ended."""


@dataclass(frozen=True)
class Settings:
    """port 0: any that is free. host: the address to listen at. password: asked for by the browser. weights: a name or a file."""

    host: str = "127.0.0.1"
    port: int = 0
    password: str | None = None
    weights: str = "auto"
    max_megapixels: float = 200
    open_browser: bool = True


def serve(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve the page until the program is ended. say: is given the page's address. UsageError, WeightsError before anything is served."""
    if settings.host not in LOCAL_NAMES and not settings.password:
        raise UsageError(
            f"--host {settings.host} lets other computers use this page, which needs a password",
            hint="Add --password; nothing is encrypted on the way, so do this only in a network that you trust.",
        )
    weights = installed_weights(settings.weights)
    news, token = News(), secrets.token_urlsafe(24)
    with _listening(settings.host, settings.port) as listener, private_folder() as folder:
        queue = Queue(folder, weights, settings.max_megapixels, news.tell)
        app = Guard(make_app(queue, news), token, settings.host, settings.password)
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=PATIENCE_S,
        )
        address = f"http://{_shown_host(settings.host)}:{listener.getsockname()[1]}/{token}/"
        say(address)
        if settings.open_browser:
            Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        try:
            _Server(config, news).run(sockets=[listener])
        finally:
            queue.close()


class _Server(uvicorn.Server):
    """Ends the streams of news when it is told to end, which would keep it waiting."""

    def __init__(self, config: uvicorn.Config, news: News) -> None:
        super().__init__(config)
        self._news = news

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._news.tell(None)
        super().handle_exit(sig, frame)


def installed_weights(wanted: str) -> dict[str, str]:
    """Names for the page's list -> names or files of weights that are on this computer, the wanted one first."""
    names = {}
    for name, entry in load_registry().items():
        with suppress(WeightsError):  # damaged ones are not offered
            if not entry.dual_pixel and find_installed(entry):
                names[name] = name
    if Path(wanted).is_file():
        return {Path(wanted).name: str(Path(wanted).resolve()), **names}
    entry = choose_entry(wanted)
    default = entry.name
    if default not in names and not find_installed(entry):
        raise WeightsError(
            f"the weights {default} are not installed",
            hint=f"To fetch them: deblur download-weights {default}",
        )
    return {default: default, **names}


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket at which whoever connects waits until the server runs."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise UsageError(
            f"nothing can be served at {host} port {port}: {error.strerror}",
            hint="Give another --port, or none for one that is free.",
        ) from error
    with listener:
        yield listener


def _shown_host(host: str) -> str:
    """What to type into a browser: this computer's name where it listens at all of its addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return socket.gethostname()
    return f"[{host}]" if address.version == 6 else host
