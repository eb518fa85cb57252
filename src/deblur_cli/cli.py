"""The commands. They parse, wire the modules together and choose the exit code; the only user of typer.

Anything that imports torch, numpy or rich is imported inside a command: `--help` and `--version` answer at once.
"""

import copy
import difflib
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from deblur_cli import __version__
from deblur_cli.errors import DeblurError, UsageError

if TYPE_CHECKING:
    from deblur_cli.batch import Process
    from deblur_cli.console import Console
    from deblur_cli.events import Event
    from deblur_cli.jobs import Plan

DEFAULT_COMMAND = "run"


class Terminated(BaseException):
    """SIGTERM: ends the run as Ctrl-C does, through every cleanup."""


class DefaultCommandGroup(TyperGroup):
    """`deblur PHOTO` is `deblur run PHOTO`, and the program's help shows the options of `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401, D102
        if len(args) == 1 and args[0] in self.commands and Path(args[0]).is_file():
            raise UsageError(
                f"{args[0]!r} is a command", hint=f"For the file of that name: deblur ./{args[0]}"
            )
        own_options = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if args and args[0] not in self.commands and args[0] not in own_options:
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, D102
        shown = copy.copy(self)
        shown.params = [*self.commands[DEFAULT_COMMAND].params, *self.params]
        TyperGroup.format_help(shown, ctx, formatter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401, D102
        return ["PHOTO... [-o OUT]", "or", "deblur COMMAND ..."]


app = typer.Typer(
    cls=DefaultCommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"deblur {__version__}")
        raise typer.Exit


@app.callback(help="Sharpen blurred photos: [bold]deblur photo.jpg -o sharp.jpg[/]")
def _program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave."),
    ] = False,
) -> None:
    pass


Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="OUT", help="A file, a folder (ends in / or exists), or - for standard output. "
        "Default: beside the input as NAME_sharp.EXT.",
    ),
]  # fmt: skip
BatchOutput = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="Keep the tree there. Default: beside the inputs."),
]
Weights = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE", help="Which network: a name, or a .pth, .pt or .safetensors of a Restormer."
    ),
]
Tile = Annotated[
    str,
    typer.Option(
        "--tile", metavar="N|auto|0", help="Work in tiles of N pixels a side; 0 takes the photo whole."
    ),
]
Overlap = Annotated[int | None, typer.Option(help="Pixels that neighbouring tiles share.", show_default="64")]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]|mps", help="Where to compute.")]
Strength = Annotated[
    float,
    typer.Option(metavar="0..1", help="How much of the result to mix with the input: 0 is the input."),
]
Suffix = Annotated[str, typer.Option(help="Put after the name of results that go beside their inputs.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist already.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what each photo was made with.")]


@dataclass(frozen=True)
class Options:
    """What every restoring command takes."""

    weights: str
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
    options = Options(weights, tile, overlap, device, strength, quiet, verbose)
    _restore_all(plan_photos(photos, naming), options)


@app.command(no_args_is_help=True)
def batch(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FOLDER...", help="Folders, with all below them, or photos.")
    ],
    output: BatchOutput = None,
    weights: Weights = "auto",
    tile: Tile = "auto",
    overlap: Overlap = None,
    device: Device = "auto",
    strength: Strength = 1.0,
    suffix: Suffix = "_sharp",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Sharpen all photos of a folder and of the folders in it."""
    from deblur_cli.jobs import Naming, plan_batch
    from deblur_cli.photo import format_of_name, looks_like_photo, output_extension

    naming = Naming(output, suffix, overwrite, output_extension, format_of_name)
    options = Options(weights, tile, overlap, device, strength, quiet, verbose)
    _restore_all(plan_batch(inputs, naming, looks_like_photo), options)


def _restore_all(plan: "Plan", options: Options) -> NoReturn:
    """Do the planned jobs, show them, and end with the run's exit code."""
    from deblur_cli.batch import run_jobs
    from deblur_cli.console import Console
    from deblur_cli.events import Failed
    from deblur_cli.report import EXIT_INTERRUPTED, EXIT_TERMINATED, Report

    console = Console(len(plan.jobs), quiet=options.quiet, verbose=options.verbose)
    report = Report()

    def emit(event: "Event") -> None:
        report.add(event)
        console.draw(event)

    for reason, count in plan.passed_over.items():
        console.say(f"passed over: {count} ({reason})")
    for job, error in plan.refused:
        emit(Failed(job, error))
    interrupted = None
    try:
        if plan.jobs:
            process = _load_process(options, console)
            with console:
                run_jobs(plan.jobs, process, emit)
    except KeyboardInterrupt:
        interrupted = EXIT_INTERRUPTED
    except Terminated:
        interrupted = EXIT_TERMINATED
    if interrupted:
        console.say(f"stopped: {report.summary()}; the photo at hand was left as it was")
    elif len(plan.jobs) + len(plan.refused) != 1:
        console.say(report.summary())
    raise typer.Exit(interrupted or report.exit_code)


def _load_process(options: Options, console: "Console") -> "Process":
    """The network, ready for `run_jobs`."""
    from deblur_cli.api import Deblurrer
    from deblur_cli.restore import check_strength

    check_strength(options.strength)
    tile = _parse_tile(options.tile)
    deblurrer = Deblurrer(options.weights, options.device, tile, options.overlap)
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


def main(args: list[str] | None = None) -> NoReturn:
    """Run the program and exit; every error that a user can meet ends as a message and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app(sys.argv[1:] if args is None else args, prog_name="deblur")
    except DeblurError as error:
        from deblur_cli.console import Console
        from deblur_cli.report import exit_code_of

        Console().error(error)
        sys.exit(exit_code_of(error))
    except Terminated:
        sys.exit(143)
    sys.exit()


def _terminate(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
