"""`deblur download-weights`: fetch, list, check and install the published weights."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._options import Quiet, flag
from deblur_cli.errors import UsageError, WeightsError
from deblur_cli.registry import WeightsEntry, find_weights, load_registry

if TYPE_CHECKING:
    from deblur_cli.console import Console

NEWCOMERS_CHOICE = ("motion", "defocus")


@app.command("download-weights")
def download_weights(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Which ones. Default: motion and defocus.")
    ] = None,
    everything: Annotated[bool, flag("--all", help="All of them.")] = False,
    listing: Annotated[
        bool, flag("--list", help="Show what there is, with licences, and what is installed.")
    ] = False,
    as_json: Annotated[bool, flag("--json", help="With --list: as JSON.")] = False,
    check: Annotated[bool, flag("--check", help="Read what is installed again, and verify it.")] = False,
    file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Install this file as NAME, if that is what it is."),
    ] = None,
    offline: Annotated[bool, flag("--offline", help="Use no network.")] = False,
    quiet: Quiet = False,
) -> None:
    """Fetch the published Restormer weights and verify them."""
    from deblur_cli.console import Console
    from deblur_cli.report import EXIT_WEIGHTS

    names = names or []
    _refuse_nonsense(names, everything, listing, as_json, check, file)
    console = Console(quiet=quiet)
    registry = list(load_registry().values())
    entries = [find_weights(name) for name in dict.fromkeys(names)]
    if listing:
        _list(entries or registry, console, as_json)
        return
    if check:
        failed = _each(entries or registry, lambda entry: _check(entry, console, bool(names)), console)
    elif file:
        failed = _each(entries, lambda entry: _install(entry, file, console), console)
    else:
        if everything:
            entries = [entry for entry in registry if not entry.bundled]
        entries = entries or [find_weights(name) for name in NEWCOMERS_CHOICE]
        try:
            failed = _each(entries, lambda entry: fetch(entry, console, offline=offline), console)
        except SystemExit:  # Ctrl-C or SIGTERM
            console.say("stopped; the same command goes on with what is missing")
            raise
        _say_next([entry for entry in entries if entry not in failed], console)
    if failed:
        raise typer.Exit(EXIT_WEIGHTS)


def fetch(entry: WeightsEntry, console: "Console", *, offline: bool = False) -> None:
    """Have the entry's file installed, and tell the user what it is, its licence, how far it is, and where."""
    from deblur_cli.download import fetch_weights

    console.say(
        f"{entry.name}: {entry.title}; {_megabytes(entry.size_bytes)}, trained on {entry.training_set}"
    )
    console.say(f"  licence: {entry.licence}")
    with console.transfer(entry.name) as progress:
        installed = fetch_weights(
            entry, offline=offline, say=lambda line: console.say(f"  {line}"), progress=progress
        )
    console.say(f"  installed: {installed.path} ({installed.checked})")


def _install(entry: WeightsEntry, file: Path, console: "Console") -> None:
    from deblur_cli.download import install_file

    installed = install_file(entry, file, say=console.say)
    console.say(f"{entry.name}: installed: {installed.path} ({installed.checked})")
    console.say(f"  licence: {entry.licence}")


def _check(entry: WeightsEntry, console: "Console", required: bool) -> None:
    """Verify what is installed; entries that are not are an error only if they were asked for by name."""
    from deblur_cli.download import find_installed

    installed = find_installed(entry, rehash=True)
    if installed:
        console.say(f"{entry.name}: good: {installed.path} ({installed.checked})")
    elif required:
        raise WeightsError(
            f"{entry.name}: not installed", hint=f"To fetch it: deblur download-weights {entry.name}"
        )


def _list(entries: Iterable[WeightsEntry], console: "Console", as_json: bool) -> None:
    """On standard output, for people or, as JSON, for programs."""
    from deblur_cli.download import cache_folder, hub_cache_folder

    described = [_describe(entry) for entry in entries]
    if as_json:
        typer.echo(json.dumps(described, indent=2, ensure_ascii=False))
        return
    licences = list(dict.fromkeys(entry["licence"] for entry in described))
    rows = [
        (
            entry["name"],
            entry["title"],
            f"{entry['parameters'] / 1e6:.1f} M",
            _megabytes(entry["size_bytes"]),
            f"[{licences.index(entry['licence']) + 1}]",
            "damaged" if entry["problem"] else entry["place"] or "-",
        )
        for entry in described
    ]
    notes = [f"[{number}] {licence}" for number, licence in enumerate(licences, 1)]
    folders = [f"cache: {cache_folder()}", f"Hub cache: {hub_cache_folder()}"]
    headers = ("name", "what for", "parameters", "size", "licence", "installed")
    console.show_table(headers, rows, ["", *notes, *folders])


def _describe(entry: WeightsEntry) -> dict[str, Any]:
    from deblur_cli.download import find_installed

    installed, problem = None, None
    try:
        installed = find_installed(entry)
    except WeightsError as error:
        problem = error.message
    described = asdict(entry)
    del described["config"]
    place = (
        {"path": str(installed.path), "place": installed.place}
        if installed
        else {"path": None, "place": None}
    )
    return described | place | {"problem": problem}


def _say_next(fetched: Iterable[WeightsEntry], console: "Console") -> None:
    for entry in fetched:
        if entry.name == "motion":
            console.say("next: deblur photo.jpg (takes motion from now on)")
        elif entry.dual_pixel:
            console.say("next: deblur --left L.png --right R.png (takes it from now on)")
        else:
            console.say(f"next: deblur photo.jpg --weights {entry.name}")


def _each(
    entries: Iterable[WeightsEntry], action: Callable[[WeightsEntry], None], console: "Console"
) -> list[WeightsEntry]:
    """Do it to each, showing what fails; those that failed."""
    failed = []
    for entry in entries:
        try:
            action(entry)
        except WeightsError as error:
            console.error(error)
            failed.append(entry)
    return failed


def _refuse_nonsense(
    names: list[str], everything: bool, listing: bool, as_json: bool, check: bool, file: Path | None
) -> None:
    """UsageError for options that do not go together."""
    modes = {"--list": listing, "--check": check, "--from": file is not None, "--all": everything}
    chosen = [mode for mode, asked in modes.items() if asked]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} do not go together")
    if as_json and not listing:
        raise UsageError("--json goes with --list")
    if everything and names:
        raise UsageError("--all and names do not go together")
    if file is not None and len(names) != 1:
        raise UsageError(
            "--from FILE needs one name", hint="For example: --from motion_deblurring.pth motion"
        )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
