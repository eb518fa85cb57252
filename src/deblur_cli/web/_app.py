"""The application: addresses below the token -> what the queue does. Every error is answered as JSON: what is wrong, and what to do."""

import errno
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from deblur_cli.errors import DeblurError, PhotoError, UsageError
from deblur_cli.photo import photo_extensions
from deblur_cli.web._item import Item, Wish, parse_region
from deblur_cli.web._news import News
from deblur_cli.web._queue import Queue
from deblur_cli.web._zip import unlike_names, zipped

STATIC = Path(__file__).with_name("static")
MAX_UPLOAD_BYTES = 1_000_000_000
FORMATS = (".jpg", ".png", ".webp", ".avif", ".tif", *((".jxl",) if find_spec("pylibjxl") else ()))
PICTURE = re.compile(r"(before|after)-(thumb|whole|\d+-\d+)\.jpg|kernel\.png")


def make_app(queue: Queue, news: News) -> Starlette:
    """The page and all that it asks for, below /TOKEN/, whatever that is: `Guard` knows it."""
    page = _Page(queue, news)

    @asynccontextmanager
    async def while_it_runs(app: Starlette) -> AsyncIterator[None]:
        news.open()
        queue.start()
        yield

    routes = [
        Route("/events", page.events),
        Route("/photos", page.add, methods=["POST"]),
        Route("/photos/{id}", page.wish, methods=["POST"]),
        Route("/photos/{id}", page.remove, methods=["DELETE"]),
        Route("/photos/{id}/sharpen", page.sharpen, methods=["POST"]),
        Route("/photos/{id}/stop", page.stop, methods=["POST"]),
        Route("/photos/{id}/save", page.save, methods=["POST"]),
        Route("/photos/{id}/result", page.result),
        Route("/photos/{id}/pictures/{name}", page.picture),
        Route("/save", page.save_all, methods=["POST"]),
        Route("/sharp.zip", page.zip),
        Mount("/", StaticFiles(directory=STATIC, html=True)),
    ]
    handlers: Mapping[Any, Any] = {DeblurError: _told_error, HTTPException: _told_status}
    return Starlette(
        routes=[Mount("/{token}", routes=routes)], lifespan=while_it_runs, exception_handlers=handlers
    )


class _Page:
    """What the page asks for, a method each."""

    def __init__(self, queue: Queue, news: News) -> None:
        self._queue, self._news = queue, news

    async def events(self, request: Request) -> Response:
        """All there is, and then whatever changes."""
        state = {
            "photos": [item.told() for item in self._queue.items.values()],
            "weights": list(self._queue.weights),
            "formats": FORMATS,
            "extensions": photo_extensions(),
            "maxBytes": MAX_UPLOAD_BYTES,
        }
        return StreamingResponse(self._news.listen(state), media_type="text/event-stream")

    async def add(self, request: Request) -> Response:
        """A photo, as the body; ?name= is what it is called."""
        item = self._queue.new(request.query_params.get("name", ""))
        try:
            await self._receive(request, item)
        except BaseException:
            shutil.rmtree(item.folder, ignore_errors=True)
            raise
        self._queue.add(item)
        return JSONResponse(item.told(), 201)

    async def _receive(self, request: Request, item: Item) -> None:
        """Into its file, and never more than is allowed, whatever the request says of its length."""
        size = 0
        try:
            with item.source.open("xb") as file:
                async for part in request.stream():
                    size += len(part)
                    if size > MAX_UPLOAD_BYTES:
                        raise _TooLargeError(
                            f"{item.name}: is larger than {MAX_UPLOAD_BYTES / 1e9:g} GB, the most that the page takes",
                            hint=f"On the command line there is no such limit: deblur '{item.name}'",
                        )
                    file.write(part)
        except ClientDisconnect as error:
            raise PhotoError(f"{item.name}: did not arrive whole") from error
        except OSError as error:
            full = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            raise PhotoError(
                f"{item.name}: cannot be kept: {full}",
                hint="Free some space, or remove photos from the page.",
            ) from error

    async def wish(self, request: Request) -> Response:
        """The strength and the format of the result: {"percent": 0..100, "extension": ".jpg"}."""
        item, wish = self._item(request), await _json(request)
        percent, extension = wish.get("percent", item.percent), wish.get("extension", item.extension)
        if type(percent) is not int or not 0 <= percent <= 100:
            raise UsageError("this is no strength", hint="It takes 0 to 100 percent.")
        if extension not in (*FORMATS, item.own_extension):
            raise UsageError("this is no format", hint=f"It takes one of {', '.join(FORMATS)}.")
        self._queue.wish_result(item, percent, extension)
        return JSONResponse(item.told())

    async def sharpen(self, request: Request) -> Response:
        """Again, and how: {"weights": NAME, "shake": "auto" | "off", "region": [x, y, width, height] | null}."""
        item, wish = self._item(request), await _json(request)
        weights, shake = wish.get("weights", item.wish.weights), wish.get("shake", item.wish.shake)
        if weights not in self._queue.weights or shake not in ("auto", "off"):
            raise UsageError("there are no such weights", hint="Choose those of the list.")
        region = parse_region(wish.get("region"), item.size)
        self._queue.sharpen(item, Wish(weights, shake, region))
        return JSONResponse(item.told())

    async def stop(self, request: Request) -> Response:
        """Sharpen it no further."""
        self._queue.stop(item := self._item(request))
        return JSONResponse(item.told())

    async def remove(self, request: Request) -> Response:
        """Forget a photo."""
        self._queue.remove(self._item(request))
        return Response(status_code=204)

    async def save(self, request: Request) -> Response:
        """Make the file that `result` gives, so that what goes wrong is told to the page and not found in a download."""
        item = self._item(request)
        await run_in_threadpool(self._queue.save, item)
        return JSONResponse({"address": f"photos/{item.id}/result"})

    async def result(self, request: Request) -> Response:
        """The photo, sharpened: a file to keep."""
        item = self._item(request)
        path = await run_in_threadpool(self._queue.save, item)
        return FileResponse(path, filename=item.saved_name(), media_type="application/octet-stream")

    async def save_all(self, request: Request) -> Response:
        """Make all files that `zip` gives."""
        await run_in_threadpool(self._saved)
        return JSONResponse({"address": "sharp.zip"})

    async def zip(self, request: Request) -> Response:
        """All results."""
        saved = await run_in_threadpool(self._saved)
        names = unlike_names(name for name, _ in saved)
        parts = zipped(zip(names, (path for _, path in saved), strict=True))
        headers = {"content-disposition": 'attachment; filename="sharp.zip"'}
        return StreamingResponse(parts, media_type="application/zip", headers=headers)

    async def picture(self, request: Request) -> Response:
        """What the page shows of a photo."""
        item, name = self._item(request), request.path_params["name"]
        if not PICTURE.fullmatch(name) or not (path := item.folder / name).is_file():
            raise HTTPException(404)
        return FileResponse(path)

    def _saved(self) -> list[tuple[str, Path]]:
        done = [item for item in list(self._queue.items.values()) if item.status == "done"]
        if not done:
            raise PhotoError("no photo is sharpened yet", hint="Wait until one is.")
        return [(item.saved_name(), self._queue.save(item)) for item in done]

    def _item(self, request: Request) -> Item:
        item = self._queue.items.get(request.path_params["id"])
        if item is None:
            raise HTTPException(404)
        return item


class _TooLargeError(PhotoError):
    """An upload beyond the limit."""


async def _json(request: Request) -> dict[str, Any]:
    """A small JSON object; UsageError for anything else."""
    try:
        value = await request.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UsageError("the page has sent something that makes no sense", hint="Reload it.")
    return value


async def _told_error(request: Request, error: DeblurError) -> Response:
    code = 413 if isinstance(error, _TooLargeError) else 422
    return JSONResponse({"error": error.message, "hint": error.hint}, code)


async def _told_status(request: Request, error: HTTPException) -> Response:
    return JSONResponse(
        {"error": "there is no such thing here", "hint": "Reload the page."}, error.status_code
    )
