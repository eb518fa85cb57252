"""`deblur video CLIP`."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._made_with import made_with
from deblur_cli.cli._options import (
    Device,
    Download,
    Options,
    Overlap,
    Overwrite,
    Precision,
    Quiet,
    Strength,
    Suffix,
    Threads,
    Tile,
    Verbose,
    Weights,
    Window,
    flag,
)
from deblur_cli.cli._restore import load_restore
from deblur_cli.cli._signals import Terminated, second_signal_leaves
from deblur_cli.errors import PhotoError, UsageError

if TYPE_CHECKING:
    from deblur_cli.console import Console
    from deblur_cli.video import Clip, Encoder, Outcome


@app.command(no_args_is_help=True)
def video(
    context: typer.Context,
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="The clip to sharpen.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The extension decides the container. Default: beside the clip as NAME_sharp.EXT.",
        ),
    ] = None,
    weights: Weights = "auto",
    download: Download = False,
    strength: Strength = 1.0,
    shake: Annotated[
        str,
        typer.Option(
            metavar="off|auto", help="auto looks for camera shake in each frame by itself, which flickers."
        ),
    ] = "off",
    tile: Tile = "auto",
    overlap: Overlap = None,
    window: Window = None,
    device: Device = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    suffix: Suffix = "_sharp",
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, flag("--dry-run", help="Only say how long it would take, from a few frames.")
    ] = False,
    as_json: Annotated[bool, flag("--json", help="One JSON object on standard output.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Sharpen a clip, frame by frame; stopped and run again, it goes on."""
    from deblur_cli.batch import explained
    from deblur_cli.console import Console
    from deblur_cli.jobs import Job
    from deblur_cli.report import exit_code_of

    options = Options.of(context)
    console = Console(quiet=quiet, verbose=verbose)
    source = Path(clip)
    run = _Run(source, console)
    try:
        _import_video()
        target = target_of(source, output, suffix, overwrite=overwrite)
        run.target = target
        code = run.restore(target, options, overwrite=overwrite, dry_run=dry_run)
    except Exception as error:  # noqa: BLE001  whatever a clip provokes is told; errors of usage go on their way
        failure = explained(Job(source, run.target), error)
        console.error(failure)
        run.told |= {"status": "failed", "error": failure.message, "hint": failure.hint}
        code = exit_code_of(failure)
    if as_json:
        print(json.dumps({"clip": clip, "target": run.target and str(run.target), **run.told}))  # noqa: T201  it is the command's result
    raise typer.Exit(code)


def _import_video() -> None:
    """UsageError if PyAV is not installed."""
    try:
        import deblur_cli.video  # noqa: F401
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "av":
            raise
        raise UsageError(
            "clips need a library that is not installed", hint="Install it: pip install 'deblur-cli[video]'"
        ) from error


def target_of(source: Path, output: str | None, suffix: str, *, overwrite: bool) -> Path:
    """Where the result goes. PhotoError, UsageError for where it may not."""
    from deblur_cli.video import default_target, muxer_of

    if not source.is_file():
        kind = "is a folder" if source.is_dir() else "is no file" if source.exists() else "no such file"
        raise PhotoError(f"{source}: {kind}", hint="deblur video takes one clip." if source.is_dir() else "")
    if output == "":
        raise UsageError("--output is empty", hint="Give it a file.")
    target = Path(output) if output else default_target(source, suffix)
    if output and (target.is_dir() or output.endswith("/")):
        target /= default_target(source, "").name
    muxer_of(target)
    if target.exists():
        if target.samefile(source):
            raise PhotoError(
                f"{target}: is itself the input, and inputs are never overwritten", hint="Choose another -o."
            )
        if not overwrite:
            raise PhotoError(
                f"{target}: exists already", hint="Choose another -o, or allow it with --overwrite."
            )
    return target


class _Run:
    """One clip, and what is told of it. told: for --json."""

    def __init__(self, source: Path, console: "Console") -> None:
        self.source, self.console = source, console
        self.target: Path | None = None
        self.told: dict[str, Any] = {}

    def restore(self, target: Path, options: Options, *, overwrite: bool, dry_run: bool) -> int:
        """Do it; the exit code."""
        from deblur_cli.report import EXIT_INTERRUPTED, EXIT_TERMINATED

        try:
            with second_signal_leaves():
                self._restore(target, options, overwrite=overwrite, dry_run=dry_run)
        except (KeyboardInterrupt, Terminated) as stop:
            self.told |= {"status": "stopped"}
            self.console.say("stopped; the same command goes on with what is done")
            return EXIT_INTERRUPTED if isinstance(stop, KeyboardInterrupt) else EXIT_TERMINATED
        return 0

    def _restore(self, target: Path, options: Options, *, overwrite: bool, dry_run: bool) -> None:
        from deblur_cli.video import Reader, Work, choose_encoder, measure, muxer_of, restore_clip

        process = load_restore(options, self.console)  # what is wrong with the options is better known now
        started, how = time.monotonic(), made_with(options)
        with Reader() as reader:
            with self.console.counter(f"looking at {self.source.name}") as tell:
                clip = reader.survey(self.source, tell)
            encoder = choose_encoder(clip, muxer_of(target))
            self._say_what(clip, encoder)
            with self.console.counter(self.source.name) as tell:
                work = Work(target, reader, encoder, process, how, overwrite, tell, self._say_estimate)
                if dry_run:
                    measure(clip, work)
                    self.told["status"] = "estimated"
                    return
                outcome = restore_clip(clip, work)
        self._say_done(clip, outcome, target, time.monotonic() - started)

    def _say_what(self, clip: "Clip", encoder: "Encoder") -> None:
        self.told |= {
            "frames": len(clip.times),
            "height": clip.height,
            "width": clip.width,
            "duration_s": round(clip.duration_s, 3),
            "codec": encoder.codec,
            "encoder": encoder.name,
            "pixels": encoder.pixels,
        }
        self.console.say(
            f"{clip.path}: {len(clip.times)} frames of {clip.width}x{clip.height}, {clip.duration_s:.1f} s, {clip.codec}"
        )
        if encoder.codec != clip.codec:
            self.console.say(
                f"  note: written as {encoder.codec}, since {clip.codec} with these pixels cannot be written into {encoder.muxer} here"
            )

    def _say_estimate(self, each_s: float, left: int) -> None:
        self.told |= {"seconds_per_frame": round(each_s, 3), "estimated_s": round(each_s * left, 1)}
        self.console.say_estimate(each_s, left)

    def _say_done(self, clip: "Clip", outcome: "Outcome", target: Path, elapsed_s: float) -> None:
        self.told |= {
            "status": "done",
            "resumed_frames": outcome.resumed,
            "elapsed_s": round(elapsed_s, 1),
            **outcome.told,
            "notes": outcome.notes,
        }
        before = f", {outcome.resumed} of them done before" if outcome.resumed else ""
        self.console.say(f"{clip.path} -> {target}  ({len(clip.times)} frames{before}; {elapsed_s:.1f} s)")
        for note in outcome.notes:
            self.console.say(f"  note: {note}")
        self.console.say_in_detail(outcome.told)
