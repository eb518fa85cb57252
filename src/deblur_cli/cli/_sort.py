"""`deblur sort FOLDER...`: which photos are the sharpest."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._blur import Blur, blur_in_words, blur_of_file, take_one_thread
from deblur_cli.cli._options import MaxMegapixels, flag
from deblur_cli.cli._signals import Terminated, second_signal_leaves
from deblur_cli.errors import PhotoError

if TYPE_CHECKING:
    from deblur_cli.console import Console
    from deblur_cli.isolated import Isolated
    from deblur_cli.jobs import Files

MOST_WORKERS = 4
"""Processes that look at photos side by side; each holds one in memory."""


@app.command(no_args_is_help=True)
def sort(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FOLDER", help="Folders, with all below them, photos or globs.")
    ],
    as_json: Annotated[bool, flag("--json", help="One JSON object a photo, a line each.")] = False,
    max_megapixels: MaxMegapixels = 200,
) -> None:
    """Print photos sharpest first, such as those of a burst, of which you keep the best."""
    from deblur_cli.cli._batch import files_of
    from deblur_cli.console import Console
    from deblur_cli.jobs import find_photos
    from deblur_cli.photo import looks_like_photo
    from deblur_cli.report import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TERMINATED

    console = Console()
    files = files_of(inputs, None, keep_times=False)
    photos, problems = find_photos(inputs, looks_like_photo, files)
    for problem in problems:
        console.error(problem)
    if not photos:
        console.say("there are no photos")
    seen: list[tuple[Path, Blur]] = []
    try:
        with second_signal_leaves():
            for photo, found in _looked_at(photos, files, max_megapixels, console):
                if isinstance(found, PhotoError):
                    problems.append(found)
                    console.error(found)
                else:
                    seen.append((photo, found))
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except Terminated:
        raise typer.Exit(EXIT_TERMINATED) from None
    seen.sort(key=lambda each: (-(each[1]["sharpness"] or 0), photos.index(each[0])))
    if as_json:
        for photo, blur in seen:
            typer.echo(json.dumps({"photo": str(photo), **blur}))
    elif seen:
        rows = [[str(photo), f"{blur['sharpness'] or 0:.0f}", blur_in_words(blur)] for photo, blur in seen]
        console.show_table(["photo", "sharpness", ""], rows, [])
    raise typer.Exit(EXIT_FAILED if problems else 0)


def _looked_at(
    photos: list[Path], files: "Files", max_megapixels: float, console: "Console"
) -> Iterator[tuple[Path, Blur | PhotoError]]:
    """Each photo as soon as it is measured, by processes that may crash."""
    from deblur_cli.isolated import Isolated

    number_of = max(1, min(MOST_WORKERS, os.cpu_count() or 1, len(photos)))
    idle: SimpleQueue[Isolated] = SimpleQueue()
    decoders = [Isolated(take_one_thread) for _ in range(number_of)]
    for decoder in decoders:
        idle.put(decoder)
    sizes = {photo: _size_of(photo, files) for photo in photos}
    waiting, running, arrived = iter(photos), dict[Future[Blur], Path](), 0
    pool = ThreadPoolExecutor(number_of)
    try:
        with console.transfer("looking at photos") as show:
            while True:
                for photo in islice(waiting, number_of - len(running)):
                    running[pool.submit(_look_at, photo, max_megapixels, idle)] = photo
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    photo = running.pop(future)
                    arrived += sizes[photo]
                    show(arrived, sum(sizes.values()))
                    error = future.exception()
                    if error and not isinstance(error, PhotoError):
                        raise error
                    yield photo, error if isinstance(error, PhotoError) else future.result()
    finally:
        for decoder in decoders:
            decoder.end()
        pool.shutdown(wait=False, cancel_futures=True)


def _look_at(photo: Path, max_megapixels: float, idle: "SimpleQueue[Isolated]") -> Blur:
    from deblur_cli import storage

    decoder = idle.get()
    try:
        data = storage.content(photo)
        return decoder.call(blur_of_file, photo, data, max_megapixels, photo=str(photo))
    except OSError as error:
        raise PhotoError(f"{photo}: cannot be read: {error.strerror}") from error
    finally:
        idle.put(decoder)


def _size_of(photo: Path, files: "Files") -> int:
    try:
        return files.status(photo).st_size
    except OSError:
        return 0
