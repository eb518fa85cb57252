"""The photos of a page, in order, and the two processes that work on them: one sharpens, one photo at a time; one reads and saves.

Whatever happens to a photo is told to `tell`, which is called from several threads.
"""

import secrets
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from deblur_cli.errors import DeblurError, PhotoError
from deblur_cli.isolated import Isolated
from deblur_cli.photo import import_codecs
from deblur_cli.web._item import Item, Status, Wish, shown_name
from deblur_cli.web._tasks import Work, look, save, sharpen, warm_up

KEPT_BYTES = 4_000_000_000
"""Of networks' outputs, 12 bytes a pixel; beyond it those of the photos done longest ago go, and another strength of them takes the network again."""

PROGRESS_STEP = 0.005
"""Progress is told in steps of this share."""


class Queue:
    """folder: where the photos lie. weights: the names in the page's list -> a name or a file of weights; the first is the default."""

    def __init__(
        self,
        folder: Path,
        weights: Mapping[str, str],
        max_megapixels: float,
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        self.items: dict[str, Item] = {}
        self.weights = weights
        self._folder, self._max_megapixels, self._tell = folder, max_megapixels, tell
        self._changed = threading.Condition()
        self._closed = False
        self._at_hand: Item | None = None
        self._network = Isolated(partial(warm_up, folder))
        self._files, self._files_lock = Isolated(import_codecs), threading.Lock()
        self._lanes = [
            threading.Thread(target=self._lane, args=lane, daemon=True)
            for lane in (("reading", self._look, None), ("waiting", self._sharpen, self._network))
        ]

    def start(self) -> None:
        """Begin to work, and to load the network's libraries."""
        for lane in self._lanes:
            lane.start()

    def close(self) -> None:
        """End both processes, whatever they are doing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for process in (self._network, self._files):
            process.end()
        for lane in self._lanes:
            if lane.is_alive():
                lane.join()
        for process in (self._network, self._files):
            process.close()

    def new(self, name: str) -> Item:
        """A photo of this name, with a folder for its files, which is not yet in the queue."""
        item_id = secrets.token_hex(8)
        folder = self._folder / item_id
        folder.mkdir(mode=0o700)
        return Item(item_id, shown_name(name), folder, Wish(next(iter(self.weights))))

    def add(self, item: Item) -> None:
        """Put a photo whose file is whole at the end of the queue."""
        with self._changed:
            self.items[item.id] = item
        self._set(item, "reading")

    def sharpen(self, item: Item, wish: Wish) -> None:
        """Sharpen it, again if it has been; not while it is being worked on."""
        with self._changed:
            if item.status in ("reading", "waiting", "working") or item is self._at_hand:
                raise PhotoError("the photo is being worked on", hint="Stop it first.")
            if not item.size[0]:
                raise PhotoError("the photo cannot be read", hint="Choose another file.")
            item.wish, item.version, item.progress = wish, item.version + 1, 0.0
            item.error = item.hint = ""
            item.changed, item.notes = {}, ()
            for path in (item.kept, *item.folder.glob("sharp-*")):
                path.unlink(missing_ok=True)
        self._set(item, "waiting")

    def stop(self, item: Item) -> None:
        """Sharpen it no further. What cannot be interrupted, a step of the network, ends with its process."""
        with self._changed:
            if item.status not in ("waiting", "working"):
                return
            item.status = "stopped"
            if item is self._at_hand:
                self._network.kill()
        self._tell({"photo": item.told()})

    def remove(self, item: Item) -> None:
        """Forget it and delete its files."""
        self.stop(item)
        with self._changed:
            self.items.pop(item.id, None)
            if item is not self._at_hand:
                shutil.rmtree(item.folder, ignore_errors=True)
        self._tell({"removed": item.id})

    def wish_result(self, item: Item, percent: int, extension: str) -> None:
        """The strength and the format in which it is to be saved."""
        if (item.percent, item.extension) != (percent, extension):
            item.percent, item.extension = percent, extension
            self._tell({"photo": item.told()})

    def save(self, item: Item) -> Path:
        """The file of the result in the strength and format that are wished; made if it is not there. DeblurError if it cannot be."""
        target = item.saved(item.percent, item.extension)
        if item.status != "done":
            raise PhotoError(f"{item.name}: is not sharpened yet", hint="Wait until it is.")
        with self._files_lock:
            if not target.is_file():
                self._files.call(save, self._work(item), photo=item.name, doing="wrote")
        return target

    def _lane(self, status: Status, action: Callable[[Item], None], process: Isolated | None) -> None:
        """Do one photo after the other that has this status."""
        while True:
            with self._changed:
                while not self._closed and not self._next(status):
                    if process:
                        process.start()
                    self._changed.wait()
                if self._closed or (item := self._next(status)) is None:
                    return
            try:
                action(item)
            except DeblurError as error:
                self._fail(item, error)
            except Exception as error:  # noqa: BLE001  whatever a photo provokes, the others go on
                self._fail(item, PhotoError(f"failed unexpectedly: {error}", hint="Please report it."))

    def _next(self, status: Status) -> Item | None:
        return next((item for item in self.items.values() if item.status == status), None)

    def _look(self, item: Item) -> None:
        with self._files_lock:
            size = self._files.call(look, item.source, item.folder, self._max_megapixels, photo=item.name)
        item.size = size
        self._set(item, "waiting")

    def _sharpen(self, item: Item) -> None:
        with self._changed:
            if item.status != "waiting":
                return
            self._at_hand, item.status, item.progress = item, "working", 0.0
        self._tell({"photo": item.told()})

        def hear(share: float) -> None:
            if share >= item.progress + PROGRESS_STEP:
                item.progress = share
                self._tell({"progress": [item.id, share]})

        try:
            work = replace(self._work(item), percent=100, target=item.saved(100, item.own_extension))
            result = self._network.call(sharpen, work, photo=item.name, doing="worked on", hear=hear)
        finally:
            with self._changed:
                self._at_hand = None
                if item.id not in self.items:
                    shutil.rmtree(item.folder, ignore_errors=True)
        item.changed, item.notes = result
        self._drop_oldest()
        self._set(item, "done", "working")

    def _set(self, item: Item, status: Status, before: Status | None = None) -> None:
        """Change the status, unless somebody has changed it meanwhile, and tell of it."""
        with self._changed:
            if before in (None, item.status):
                item.status = status
            self._changed.notify_all()
        if item.id in self.items:
            self._tell({"photo": item.told()})

    def _fail(self, item: Item, error: DeblurError) -> None:
        with self._changed:
            if item.status != "stopped":  # its process was ended on purpose
                item.fail(error)
        if item.id in self.items and not self._closed:
            self._tell({"photo": item.told()})

    def _work(self, item: Item) -> Work:
        wish = item.wish
        return Work(
            item.source,
            item.saved(item.percent, item.extension),
            item.kept,
            self.weights[wish.weights],
            wish.shake,
            wish.region,
            item.percent,
            self._max_megapixels,
        )

    def _drop_oldest(self) -> None:
        kept = sorted(
            (path.stat().st_mtime_ns, path.stat().st_size, path) for path in self._folder.glob("*/output")
        )
        total = sum(size for _, size, _ in kept)
        for _, size, path in kept:
            if total <= KEPT_BYTES:
                break
            path.unlink(missing_ok=True)
            total -= size
