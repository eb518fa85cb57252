"""What happens, as server-sent events for every page that listens."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

ALIVE_S = 15.0
"""A line that says nothing is sent so often, so that an end of the connection is noticed."""


class News:
    """`tell` may be called from any thread; it is heard in the loop."""

    def __init__(self) -> None:
        self._inboxes: set[asyncio.Queue[dict[str, Any] | None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Called in the loop before anything is told."""
        self._loop = asyncio.get_running_loop()

    def tell(self, news: dict[str, Any] | None) -> None:
        """Tell everybody who listens; None is the end."""
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, news)

    def _deliver(self, news: dict[str, Any] | None) -> None:
        for inbox in self._inboxes:
            inbox.put_nowait(news)

    async def listen(self, first: dict[str, Any]) -> AsyncIterator[str]:
        """`first`, and whatever is told from now on, as an event stream."""
        inbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._inboxes.add(inbox)
        news: dict[str, Any] | None = first
        try:
            while news is not None:
                yield f"data: {json.dumps(news)}\n\n"
                while True:
                    try:
                        news = await asyncio.wait_for(inbox.get(), ALIVE_S)
                        break
                    except TimeoutError:
                        yield ":\n\n"
        finally:
            self._inboxes.discard(inbox)
