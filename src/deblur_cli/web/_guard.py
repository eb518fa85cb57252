"""Who may use the page: whoever has its address, by a name of this computer, and no other page in the browser.

The token in the address is as good as a password, and in every request; a page from elsewhere that guesses the port is told by Host (its own name
pointed at this computer), Origin and Sec-Fetch-Site.
"""

import asyncio
import base64
import binascii
import ipaddress
import secrets
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",  # no photo stays in the browser's cache
}
WRONG_PASSWORD_S = 1.0
"""How long a wrong password has to wait for its answer."""


class Guard:
    """Around the application. password: asked for by the browser, if there is one. host: the address that is listened at."""

    def __init__(self, app: ASGIApp, token: str, host: str, password: str | None) -> None:
        self._app, self._token, self._password = app, token, password
        self._local = host in LOCAL_NAMES
        own = socket.gethostname().lower()
        self._names = set(LOCAL_NAMES) if self._local else {*LOCAL_NAMES, host.lower(), own, f"{own}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        if problem := self._problem(headers, scope["path"]):
            answer = PlainTextResponse(problem, 403)
        elif not self._knows_password(headers):
            if "authorization" in headers:
                await asyncio.sleep(WRONG_PASSWORD_S)
            challenge = {"www-authenticate": 'Basic realm="deblur web", charset="UTF-8"'}
            answer = PlainTextResponse("The password that --password was given, please.", 401, challenge)
        else:
            await self._app(scope, receive, send_with_headers)
            return
        await answer(scope, receive, send_with_headers)

    def _problem(self, headers: Headers, path: str) -> str | None:
        """Why a request is refused, and what to do; None if it is not."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return "This computer is not called that: open the address that deblur web has printed."
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "Another page may not use this one."
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "Another page may not use this one: open the address that deblur web has printed."
        token = path.removeprefix("/").split("/")[0]
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return "This is not the whole address: open the one that deblur web has printed, which is new each time it starts."
        return None

    def _is_ours(self, host: str) -> bool:
        """A name of this computer, or, if others may use the page, a plain IP address: whoever points a name of his own at us has none."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        return name in self._names or (not self._local and _is_address(name))

    def _knows_password(self, headers: Headers) -> bool:
        if self._password is None:
            return True
        scheme, _, value = headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and secrets.compare_digest(given, self._password.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
