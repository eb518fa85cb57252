"""What is done in processes of their own: looking at a photo, sharpening it, saving it. Reading, restoring and writing are the command line's."""

import base64
import os
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblur_cli.batch import explained
from deblur_cli.jobs import Job
from deblur_cli.photo import Photo, import_codecs, read_photo, screen_pictures, write_photo
from deblur_cli.report import BARELY_CHANGED_RMS

if TYPE_CHECKING:
    from deblur_cli.api import Deblurrer
    from deblur_cli.restore import Output, Region

Tell = Callable[[float], None]


@dataclass(frozen=True)
class Work:
    """Sharpen `source` and write it as `target`, a result that is `percent` strong. kept: where the network's output lies, or will."""

    source: Path
    target: Path
    kept: Path
    weights: str
    shake: str
    region: "Region | None"
    percent: int
    max_megapixels: float


def warm_up(folder: Path) -> None:
    """In the process that sharpens: load what takes long, and watch over the folder, so that it goes even if the first process is killed."""
    threading.Thread(target=_end_with_parent, args=(folder,)).start()  # no daemon: the process waits for it
    import_codecs()
    from deblur_cli import api

    del api


def _end_with_parent(folder: Path) -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def look(source: Path, folder: Path, max_megapixels: float) -> tuple[int, int]:
    """Read a photo and make the pictures of it that the page shows; its height and width."""
    with _explaining(source):
        photo = read_photo(source, max_megapixels=max_megapixels)
        _save_pictures(photo, folder, "before")
    height, width = photo.pixels.shape[:2]
    return height, width


def sharpen(tell: Tell, work: Work) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Sharpen, write and show a photo; what was changed in figures, and notes. tell: is given the share done."""
    from deblur_cli.restore import mix

    with _explaining(work.source, work.target):
        photo = read_photo(work.source, max_megapixels=work.max_megapixels)
        output = _output(work, photo, tell)
        restored = mix(photo, output, 1.0)
        notes = write_photo(restored.photo, work.target)
        _save_pictures(restored.photo, work.target.parent, "after")
        work.kept.write_bytes(pickle.dumps(output, protocol=5))
    details = restored.details
    shake = dict(details.shake)
    if picture := shake.pop("kernel", None):
        (work.target.parent / "kernel.png").write_bytes(base64.b64decode(picture))
    changed = {
        "rms": details.rms_change,
        "gain": details.gradient_gain,
        "barely": details.rms_change < BARELY_CHANGED_RMS,
        "shake": shake,
    }
    return changed, (*restored.photo.notes, *notes)


def save(work: Work) -> None:
    """Write a result of another strength or format: mixed from what was kept, or made again where that has gone for want of room."""
    from deblur_cli.restore import mix

    with _explaining(work.source, work.target):
        photo = read_photo(work.source, max_megapixels=work.max_megapixels)
        if work.kept.is_file():
            output = pickle.loads(work.kept.read_bytes())  # noqa: S301  from ourselves
        else:
            output = _output(work, photo, lambda share: None)
        write_photo(mix(photo, output, work.percent / 100).photo, work.target)


def _output(work: Work, photo: Photo, tell: Tell) -> "Output":
    deblurrer = _deblurrer(work.weights, work.shake)
    return deblurrer.output(
        photo, region=work.region, progress=lambda done, tiles: tell(min(1.0, done / tiles))
    )


@lru_cache(1)
def _deblurrer(weights: str, shake: str) -> "Deblurrer":
    from deblur_cli.api import Deblurrer

    return Deblurrer(weights, shake=shake)


def _save_pictures(photo: Photo, folder: Path, side: str) -> None:
    for name, jpeg in screen_pictures(photo):
        (folder / f"{side}-{name}.jpg").write_bytes(jpeg)


@contextmanager
def _explaining(source: Path, target: Path | None = None) -> Iterator[None]:
    """Whatever a photo provokes is raised as an error that says what to do."""
    try:
        yield
    except Exception as error:
        raise explained(Job(source, target), error) from error
