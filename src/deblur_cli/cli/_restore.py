"""`deblur PHOTO...`, and what it shares with `deblur batch`."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from deblur_cli.cli._app import DEFAULT_COMMAND, app
from deblur_cli.cli._options import (
    Device,
    Download,
    Output,
    Overlap,
    Overwrite,
    Quiet,
    Strength,
    Suffix,
    Tile,
    Verbose,
    Weights,
)
from deblur_cli.cli._perform import Emit, perform
from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    from deblur_cli.batch import Process
    from deblur_cli.console import Console
    from deblur_cli.jobs import Plan

AUTO_WEIGHTS_IN_WORDS = {
    "motion": "weights: motion; the small network of the package is --weights compact",
    "compact": "weights: compact, the small network of the package; for the published ones: deblur download-weights",
}


@dataclass(frozen=True)
class Options:
    """What every restoring command takes."""

    weights: str
    download: bool
    tile: str
    overlap: int | None
    device: str
    strength: float
    quiet: bool
    verbose: bool


@app.command(DEFAULT_COMMAND, hidden=True, no_args_is_help=True)
def run(
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO...", help="Photos to sharpen; - is standard input.")
    ],
    output: Output = None,
    weights: Weights = "auto",
    download: Download = False,
    tile: Tile = "auto",
    overlap: Overlap = None,
    device: Device = "auto",
    strength: Strength = 1.0,
    suffix: Suffix = "_sharp",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Sharpen one photo, or several."""
    from deblur_cli.jobs import Naming, plan_photos
    from deblur_cli.photo import format_of_name, output_extension

    _refuse_unknown_command(photos[0])
    naming = Naming(output, suffix, overwrite, output_extension, format_of_name)
    options = Options(weights, download, tile, overlap, device, strength, quiet, verbose)
    restore_all(plan_photos(photos, naming), options)


def restore_all(plan: "Plan", options: Options) -> NoReturn:
    """Do the planned jobs, show them, and end with the run's exit code."""
    from deblur_cli.batch import run_jobs
    from deblur_cli.console import Console
    from deblur_cli.report import Report

    report = Report(len(plan.jobs), sum(job.size_bytes for job in plan.jobs))
    console = Console(report, quiet=options.quiet, verbose=options.verbose)

    def work(emit: "Emit") -> None:
        if plan.jobs:
            run_jobs(plan.jobs, load_process(options, console), emit)

    stopped = perform(work, plan.refused, (report.add, console.draw), console)
    if stopped or len(plan.jobs) + len(plan.refused) != 1:
        console.say(("stopped: " if stopped else "") + report.summary())
    raise typer.Exit(stopped or report.exit_code)


def load_process(options: Options, console: "Console") -> "Process":
    """The network, ready for `run_jobs`."""
    from deblur_cli.api import Deblurrer
    from deblur_cli.cli._weights import fetch
    from deblur_cli.registry import find_weights
    from deblur_cli.restore import check_strength

    check_strength(options.strength)
    tile = _parse_tile(options.tile)
    if options.download:
        fetch(find_weights("motion" if options.weights == "auto" else options.weights), console)
    deblurrer = Deblurrer(options.weights, options.device, tile=tile, overlap=options.overlap)
    if options.weights == "auto":
        console.say(AUTO_WEIGHTS_IN_WORDS[deblurrer.weights])
    for name, asked, used in (
        ("tile", tile, deblurrer.tile),
        ("overlap", options.overlap, deblurrer.overlap),
    ):
        if isinstance(asked, int) and asked != used:
            console.say(f"--{name} {asked} is rounded to {used}, a multiple of 8")
    return lambda photo, progress: deblurrer.restore(photo, strength=options.strength, progress=progress)


def _parse_tile(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise UsageError(
            f"--tile {text} is no size", hint="It takes a number of pixels, auto, or 0."
        ) from None


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
