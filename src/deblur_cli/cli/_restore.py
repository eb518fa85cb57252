"""`deblur PHOTO...`, and what it shares with `deblur batch`."""

import base64
import difflib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from deblur_cli.cli._app import DEFAULT_COMMAND, app
from deblur_cli.cli._collector import resume
from deblur_cli.cli._options import (
    Device,
    Download,
    Ensemble,
    KeepTimes,
    Kernel,
    MaxMegapixels,
    Options,
    Output,
    Overlap,
    Overwrite,
    Precision,
    Quality,
    Quiet,
    Shake,
    Strength,
    StripMetadata,
    Suffix,
    Threads,
    Tile,
    Verbose,
    Weights,
    Window,
    checked_limit,
    parse_region,
    parse_tile,
)
from deblur_cli.cli._perform import Emit, perform
from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    from deblur_cli.batch import FileOptions, Process, Progress, Restored
    from deblur_cli.console import Console
    from deblur_cli.events import Event
    from deblur_cli.jobs import Plan
    from deblur_cli.photo import Photo

AUTO_WEIGHTS_IN_WORDS = {
    "motion or defocus": "weights: motion, and defocus for photos that are out of focus; the small network of the package is --weights compact",
    "motion": "weights: motion; the small network of the package is --weights compact",
    "compact": "weights: compact, the small network of the package; for the published ones: deblur download-weights",
}


@app.command(DEFAULT_COMMAND, hidden=True, no_args_is_help=True)
def run(
    context: typer.Context,
    photos: Annotated[
        list[str] | None, typer.Argument(metavar="PHOTO", help="Photos to sharpen; - is standard input.")
    ] = None,
    output: Output = None,
    weights: Weights = "auto",
    download: Download = False,
    strength: Strength = 1.0,
    left: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Instead of a photo: the left view of a dual-pixel pair, and"),
    ] = None,
    right: Annotated[str | None, typer.Option(metavar="FILE", help="its right view.")] = None,
    region: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="Sharpen only this part; the rest stays as it is."),
    ] = None,
    shake: Shake = "auto",
    kernel: Kernel = None,
    kernel_from: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="The shake is what a lamp has drawn in this area of the photo."),
    ] = None,
    save_kernel: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write the shake that was found as a picture.")
    ] = None,
    ensemble: Ensemble = False,
    tile: Tile = "auto",
    overlap: Overlap = None,
    window: Window = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    quality: Quality = None,
    strip_metadata: StripMetadata = False,
    keep_times: KeepTimes = False,
    max_megapixels: MaxMegapixels = 200,
    suffix: Suffix = "_sharp",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Sharpen one photo, or several."""
    from deblur_cli.jobs import Naming, plan_photos
    from deblur_cli.photo import format_of_name, output_extension

    photos = _named_photos(photos, left, right)
    naming = Naming(output, suffix, overwrite, output_extension, format_of_name)
    options = Options.of(context)
    if save_kernel:
        check_kernel_file(save_kernel, photos, options.shake, overwrite=overwrite)
    restore_all(plan_photos(photos, naming, right), options, save_kernel, overwrite=overwrite)


def _named_photos(photos: list[str] | None, left: str | None, right: str | None) -> list[str]:
    """The photos, or the left view of a pair. UsageError if neither or both are named, or one view only."""
    if left is None and right is None:
        if not photos:
            raise UsageError("no photo is named", hint="For example: deblur photo.jpg")
        _refuse_unknown_command(photos[0])
        return photos
    if photos:
        raise UsageError("photos and a pair do not go together", hint="Run it once for each.")
    if left is None or right is None:
        raise UsageError("a pair has two views", hint="For example: deblur --left L.png --right R.png")
    if left == right or _are_one_file(left, right):
        raise UsageError(f"{left} cannot be both views of a pair", hint="Name two files.")
    return [left]


def _are_one_file(left: str, right: str) -> bool:
    """Under two names, too; not if one is missing, of which more is said later."""
    try:
        return Path(left).samefile(right)
    except OSError:
        return False


def check_kernel_file(path: Path, photos: list[str], shake: str, *, overwrite: bool) -> None:
    """UsageError unless one kernel can be found and written there."""
    if shake == "off":
        raise UsageError("--save-kernel and --shake off do not go together", hint="Leave one of them out.")
    if len(photos) > 1:
        raise UsageError("--save-kernel takes one photo", hint="For several, run it once for each.")
    if path.suffix.lower() != ".png":
        raise UsageError(
            f"--save-kernel {path} is no PNG", hint="It takes the name of a file that ends in .png."
        )
    if path.exists() and not overwrite:
        raise UsageError(f"--save-kernel {path}: exists already", hint="To replace it: --overwrite")


def restore_all(
    plan: "Plan", options: Options, save_kernel: Path | None = None, *, overwrite: bool
) -> NoReturn:
    """Do the planned jobs, show them, and end with the run's exit code."""
    from deblur_cli.batch import run_jobs
    from deblur_cli.console import Console
    from deblur_cli.events import Finished
    from deblur_cli.photo import replace_file
    from deblur_cli.report import Report

    report = Report(len(plan.jobs), sum(job.size_bytes for job in plan.jobs))
    console = Console(report, quiet=options.quiet, verbose=options.verbose)

    def work(emit: "Emit") -> None:
        if plan.jobs:
            files = replace(file_options(options), overwrite=overwrite)
            run_jobs(plan.jobs, lambda: load_process(options, console), emit, files=files)

    def keep_kernel(event: "Event") -> None:
        if save_kernel and isinstance(event, Finished):
            if picture := event.details["shake"].get("kernel"):
                replace_file(save_kernel, base64.b64decode(picture), overwrite=overwrite)
            else:
                console.say(f"{save_kernel}: not written, since no shake was found")

    stopped = perform(work, plan.refused, (report.add, console.draw, keep_kernel), console)
    if stopped or len(plan.jobs) + len(plan.refused) != 1:
        console.say(("stopped: " if stopped else "") + report.summary())
    raise typer.Exit(stopped or report.exit_code)


def load_process(options: Options, console: "Console") -> "Process":
    """The network, ready for `run_jobs`: it leaves sharp photos if only blurred ones are wanted."""
    restore = load_restore(options, console)
    if not options.only_blurred:
        return restore
    from deblur_cli.api import sharpness_of

    def process(photo: "Photo", progress: "Progress") -> "Restored | str":
        if (seen := sharpness_of(photo)) and seen.kind == "none":
            return f"its blur is {seen.width:.1f} px wide, and from {seen.limit:.1f} px on it would count as blurred"
        return restore(photo, progress)

    return process


def load_restore(options: Options, console: "Console") -> "Callable[[Photo, Progress], Restored]":
    """The network, ready for any photo."""
    region = None if options.region is None else parse_region(options.region)
    lamp = None if options.kernel_from is None else parse_region(options.kernel_from, "--kernel-from")
    tile = parse_tile(options.tile)

    import torch  # after what needs no torch: its import takes a second or two

    from deblur_cli.api import Deblurrer
    from deblur_cli.cli._weights import fetch
    from deblur_cli.restore import check_strength

    check_strength(options.strength)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.download and not Path(options.weights).is_file():
        fetch(options.weights, console)
    deblurrer = Deblurrer(
        options.weights,
        options.device,
        options.precision,
        tile,
        options.window,
        overlap=options.overlap,
        memory_share=options.memory_share,
        shake=options.shake,
        kernel=options.kernel,
        kernel_from=lamp,
        ensemble=options.ensemble,
    )
    deblurrer.check_views(1 if options.right is None else 2)
    if options.weights == "auto":
        console.say(AUTO_WEIGHTS_IN_WORDS["motion or defocus" if deblurrer.for_lens else deblurrer.weights])
    if options.ensemble:
        console.say("ensemble: the mean of eight runs, which takes eight times as long as one")
    for name, asked, used in (
        ("tile", tile, deblurrer.tile),
        ("overlap", options.overlap, deblurrer.overlap),
    ):
        if isinstance(asked, int) and asked != used:
            console.say(f"--{name} {asked} is rounded to {used}, a multiple of 8")

    def restore(photo: "Photo", progress: "Progress") -> "Restored":
        return deblurrer.restore(photo, strength=options.strength, region=region, progress=progress)

    resume()
    return restore


def file_options(options: Options) -> "FileOptions":
    """How the photos are read and written."""
    from deblur_cli.batch import FileOptions

    limit = checked_limit(options.max_megapixels)
    return FileOptions(limit, options.quality, options.strip_metadata, keep_times=options.keep_times)


def _refuse_unknown_command(word: str) -> None:
    """UsageError for a first word that can only be a mistyped command, since a photo would have an extension."""
    if word == "-" or any(sign in word for sign in "./\\") or Path(word).exists():
        return
    commands = [name for name in _commands() if name != DEFAULT_COMMAND]
    close = difflib.get_close_matches(word, commands)
    hint = (
        f"Did you mean: deblur {close[0]} ..."
        if close
        else f"Commands: {', '.join(commands)}; or name a photo."
    )
    raise UsageError(f"there is no file and no command named {word!r}", hint=hint)


def _commands() -> list[str]:
    return [info.name or info.callback.__name__ for info in app.registered_commands if info.callback]
