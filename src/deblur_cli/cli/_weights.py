"""`deblur download-weights`: fetch, list, check and install the published weights."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._options import Quiet, flag
from deblur_cli.errors import UsageError, WeightsError
from deblur_cli.registry import HUB_PREFIX, WeightsEntry, find_weights, load_registry

if TYPE_CHECKING:
    from deblur_cli.cli._options import Options
    from deblur_cli.console import Console

T = TypeVar("T")

NEWCOMERS_CHOICE = ("motion", "defocus")


@app.command("download-weights")
def download_weights(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Which ones, or hub:OWNER/NAME[@REVISION][:FILE]. Default: motion and defocus.",
        ),
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
    from deblur_cli.download import all_pinned, choose_entry, find_pinned, is_hub_name
    from deblur_cli.report import EXIT_WEIGHTS

    names = names or []
    _refuse_nonsense(names, everything, listing, as_json, check, file)
    console = Console(quiet=quiet)
    registry = list(load_registry().values())
    names = list(dict.fromkeys(names))
    if listing or check:
        entries = [choose_entry(name) if is_hub_name(name) else find_weights(name) for name in names]
        entries = entries or [*registry, *all_pinned()]
        if listing:
            _list(entries, console, as_json)
            return
        failures = len(_each(entries, lambda entry: _check(entry, console, bool(names)), console))
    elif file:
        entry = find_weights(names[0])
        failures = len(_each([entry], lambda entry: _install(entry, file, console), console))
    else:
        if everything:
            names = [entry.name for entry in registry if not entry.bundled]
        names = names or list(NEWCOMERS_CHOICE)
        for name in names:  # one that is wrong is better known before the first is fetched
            find_pinned(name) if is_hub_name(name) else find_weights(name)
        try:
            failed = _each(names, lambda name: fetch(name, console, offline=offline, anew=True), console)
        except SystemExit:  # Ctrl-C or SIGTERM
            console.say("stopped; the same command goes on with what is missing")
            raise
        _say_next([name for name in names if name not in failed], console)
        failures = len(failed)
    if failures:
        raise typer.Exit(EXIT_WEIGHTS)


def pinned(options: "Options", console: "Console") -> "Options":
    """The options with a name of the Hub's told by the one file that it stands for, fetched first if that was asked for: then all workers take the same."""
    from deblur_cli.download import find_pinned, is_hub_name

    if not is_hub_name(options.weights):
        return options
    entry = fetch(options.weights, console) if options.download else find_pinned(options.weights)
    return replace(options, weights=entry.name) if entry else options


def fetched(weights: str, console: "Console") -> str:
    """What --download makes of the value of --weights: the same, or motion for auto, and installed."""
    if Path(weights).is_file():
        return weights
    name = "motion" if weights == "auto" else weights
    fetch(name, console)
    return name


def fetch(name: str, console: "Console", *, offline: bool = False, anew: bool = False) -> WeightsEntry:
    """Have the weights of that name installed, and tell the user what they are, their licence, how far it is, and where; their entry.

    anew: ask the Hub what a name of its own stands for now, although that was fetched before.
    """
    from deblur_cli.download import ask_hub, choose_entry, fetch_weights, find_pinned, is_hub_name, pin

    asks = is_hub_name(name) and not offline and (anew or not find_pinned(name))
    if asks:
        console.say(f"{name}: asking the Hub")
        entry = ask_hub(name)
    else:
        entry = choose_entry(name)
    trained_on = f", trained on {entry.training_set}" if entry.training_set else ""
    console.say(f"{entry.name}: {entry.title}; {_megabytes(entry.size_bytes)}{trained_on}")
    console.say(f"  licence: {entry.licence}")
    with console.transfer(entry.name) as progress:
        installed = fetch_weights(
            entry, offline=offline, say=lambda line: console.say(f"  {line}"), progress=progress
        )
    console.say(f"  installed: {installed.path} ({installed.checked})")
    if not asks:
        return entry
    console.say(f"  SHA-256: {installed.sha256}")
    return pin(name, entry, installed.sha256)


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
            f"{entry['parameters'] / 1e6:.1f} M" if entry["parameters"] else "-",
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


def _say_next(fetched: Iterable[str], console: "Console") -> None:
    registry = load_registry()
    for name in fetched:
        if name == "motion":
            console.say("next: deblur photo.jpg (takes motion from now on)")
        elif name in registry and registry[name].dual_pixel:
            console.say("next: deblur --left L.png --right R.png (takes it from now on)")
        else:
            console.say(f"next: deblur photo.jpg --weights {name}")


def _each(things: Iterable[T], action: Callable[[T], object], console: "Console") -> list[T]:
    """Do it to each, showing what fails; those that failed."""
    failed = []
    for thing in things:
        try:
            action(thing)
        except WeightsError as error:
            console.error(error)
            failed.append(thing)
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
    if file is not None and names and names[0].startswith(HUB_PREFIX):
        raise UsageError("--from is for the names of --list", hint=f"The file itself: --weights {file}")
    if file is not None and len(names) != 1:
        raise UsageError(
            "--from FILE needs one name", hint="For example: --from motion_deblurring.pth motion"
        )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
