"""`deblur batch FOLDER...`."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._engine import Address, EngineName, EngineOptions, run
from deblur_cli.cli._made_with import made_with
from deblur_cli.cli._options import (
    BatchOutput,
    Devices,
    Download,
    Ensemble,
    KeepTimes,
    Kernel,
    MaxMegapixels,
    Options,
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
    flag,
)
from deblur_cli.cli._perform import Emit, perform
from deblur_cli.cli._weights import pinned
from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    from deblur_cli.batch import Ledger, Todo
    from deblur_cli.events import Event
    from deblur_cli.jobs import Files

STANDARD_INPUT = "-"


@app.command(no_args_is_help=True)
def batch(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER", help="Folders, with all below them, photos or globs; - is a list of them."
        ),
    ],
    output: BatchOutput = None,
    weights: Weights = "auto",
    download: Download = False,
    strength: Strength = 1.0,
    shake: Shake = "auto",
    kernel: Kernel = None,
    ensemble: Ensemble = False,
    tile: Tile = "auto",
    overlap: Overlap = None,
    window: Window = None,
    device: Devices = "auto",
    precision: Precision = "auto",
    threads: Threads = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes that share the work.", show_default="one a device"),
    ] = None,
    engine: EngineName = "local",
    address: Address = None,
    quality: Quality = None,
    strip_metadata: StripMetadata = False,
    keep_times: KeepTimes = False,
    max_megapixels: MaxMegapixels = 200,
    suffix: Suffix = "_sharp",
    overwrite: Overwrite = False,
    order: Annotated[
        Literal["name", "date", "largest"], typer.Option(help="Which photos come first.")
    ] = "name",
    only_blurred: Annotated[
        bool, flag("--only-blurred", help="Leave photos that are sharp already as they are.")
    ] = False,
    retry_failed: Annotated[
        bool, flag("--retry-failed", help="Try again the photos that have crashed the program before.")
    ] = False,
    nul: Annotated[bool, flag("--null", "-0", help="The list on standard input is NUL-separated.")] = False,
    dry_run: Annotated[bool, flag("--dry-run", help="Only show what would be done.")] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Do the I-th of N shares, the same on every machine.")
    ] = None,
    report_file: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE.html", help="Write a page with pictures and failures."),
    ] = None,
    as_json: Annotated[bool, flag("--json", help="One JSON object a photo on standard output.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Sharpen all photos of a folder and of the folders in it; run again, it does what is left."""
    from deblur_cli.batch import Ledger
    from deblur_cli.console import Console
    from deblur_cli.jobs import Naming, in_order, parse_shard, plan_batch, read_list
    from deblur_cli.journal import results_in
    from deblur_cli.photo import format_of_name, looks_like_photo, output_extension
    from deblur_cli.storage import log_of

    options = Options.of(context)
    chosen = EngineOptions(engine, workers, address)
    if report_file:
        check_report(report_file)
    if not dry_run:
        options = pinned(options, Console(quiet=quiet))
    share = parse_shard(shard) if shard else None
    listed = read_list(sys.stdin.buffer, nul=nul) if STANDARD_INPUT in inputs else []
    files = files_of([*inputs, *listed], output, keep_times=keep_times)
    plan = plan_batch(
        [name for name in inputs if name != STANDARD_INPUT],
        Naming(output, suffix, overwrite, output_extension, format_of_name),
        looks_like_photo,
        listed=listed,
        results_in=lambda folder: results_in(folder, log_of(folder)),
        shard=share,
        files=files,
    )
    plan = replace(plan, jobs=in_order(plan.jobs, order))
    ledger = Ledger(plan.jobs, made_with(options), str(share or "").replace("/", "-of-"), files.status)
    how = {"overwrite": overwrite, "retry_failed": retry_failed, "only_blurred": only_blurred}
    if dry_run:
        _show(ledger.read().sort_out(plan, **how), as_json=as_json)
    with ledger:
        todo = ledger.sort_out(plan, **how)
        _work_off(todo, ledger, options, chosen, report_file, as_json=as_json)


def files_of(inputs: list[str], output: str | None, *, keep_times: bool) -> "Files":
    """How to look at these files; for local ones nothing is imported."""
    from deblur_cli.jobs import LOCAL
    from deblur_cli.storage import is_url

    if output and is_url(output) and keep_times:
        raise UsageError(
            f"--keep-times and -o {output} do not go together",
            hint="A store gives every object its own time.",
        )
    if not any(map(is_url, [*inputs, output or ""])):
        return LOCAL
    from deblur_cli.storage.files import RemoteFiles

    return RemoteFiles(LOCAL, output)


def check_report(path: Path) -> None:
    """UsageError for a report that would be written over something that is none: a photo, above all."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"--report {path} is no page", hint="It takes the name of a file that ends in .html."
        )
    if path.is_file():
        with path.open("rb") as file:
            if not file.read(15).lower().startswith(b"<!doctype html>"):
                raise UsageError(f"--report {path}: exists, and is no page", hint="Give it another name.")


def _work_off(
    todo: "Todo",
    ledger: "Ledger",
    options: Options,
    engine: EngineOptions,
    report_file: Path | None,
    *,
    as_json: bool,
) -> NoReturn:
    """Do what is left, tell of it in all the ways that were asked for, and end with the run's exit code."""
    from deblur_cli.console import Console
    from deblur_cli.events import Left, Skipped
    from deblur_cli.report import Page, Report, describe, describe_summary

    jobs = todo.plan.jobs
    report = Report(len(jobs), sum(job.size_bytes for job in jobs), passed_over=todo.plan.passed_over)
    console = Console(report, quiet=options.quiet, verbose=options.verbose)
    page = Page(report_file, len(jobs)) if report_file else None
    if page:
        page.write(report, "running")  # that it cannot be written is better known now

    def print_json(event: "Event") -> None:
        if as_json and (told := describe(event)):
            print(json.dumps(told), flush=True)  # noqa: T201  it is the command's result

    def work(emit: Emit) -> None:
        for job in todo.done:
            emit(Skipped(job))
        for job, reason in todo.left.items():
            emit(Left(job, reason))
        if jobs:
            run(
                engine,
                options,
                console,
                ledger.claimed(jobs),
                len(jobs),
                emit,
                page.wants_preview if page else None,
            )

    for reason, count in todo.plan.passed_over.items():
        console.say(f"passed over: {count} ({reason})")
    listeners: list[Emit] = [ledger.record, report.add, console.draw, print_json]
    if page:
        listeners.append(page.add)
    stopped = perform(work, todo.plan.refused, listeners, console)
    code = stopped or report.exit_code
    outcome = ("stopped: " if stopped else "") + report.summary()
    if page:
        page.write(report, outcome)
    if as_json:
        print(json.dumps(describe_summary(report, code)))  # noqa: T201
    console.say(outcome)
    raise typer.Exit(code)


def _show(todo: "Todo", *, as_json: bool) -> NoReturn:
    """The plan as a table, or as JSON with a line for each photo."""
    from deblur_cli.console import Console

    rows = [[job.name, str(job.target), reason] for job, reason in todo.reasons.items()]
    rows += [
        [job.name, str(job.target or ""), f"refused: {error.message}"] for job, error in todo.plan.refused
    ]
    notes = [f"to do: {len(todo.reasons)}, done before: {len(todo.done)}, refused: {len(todo.plan.refused)}"]
    notes += [f"sharp, as an earlier run has found: {len(todo.left)}"] if todo.left else []
    notes += [f"passed over: {count} ({reason})" for reason, count in todo.plan.passed_over.items()]
    headers = ["photo", "result", "why"]
    if as_json:
        for row in rows:
            print(json.dumps(dict(zip(headers, row, strict=True))))  # noqa: T201  it is the command's result
    else:
        Console().show_table(headers, rows, notes)
    raise typer.Exit(1 if todo.plan.refused else 0)
