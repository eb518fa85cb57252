"""`deblur evaluate BLURRY SHARP`: how much closer to the sharp photos the restored ones are."""

import csv
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._options import (
    Device,
    Download,
    Precision,
    Quiet,
    Shake,
    Tile,
    Weights,
    Window,
    flag,
    parse_tile,
)
from deblur_cli.errors import PhotoError, UsageError

if TYPE_CHECKING:
    from deblur_cli.console import Console
    from deblur_cli.evaluate import Scores


@dataclass(frozen=True)
class Row:
    """One photo's scores, before and after."""

    name: str
    before: "Scores"
    after: "Scores"

    def figures(self) -> dict[str, float]:
        """psnr_before, psnr_after, ssim_before, ... without those that were not asked for."""
        scores = {
            f"{figure}_{when}": getattr(score, figure)
            for figure in ("psnr", "ssim", "lpips")
            for when, score in (("before", self.before), ("after", self.after))
        }
        return {name: value for name, value in scores.items() if value is not None}


@app.command(no_args_is_help=True)
def evaluate(
    blurry: Annotated[Path, typer.Argument(metavar="BLURRY", help="A photo, or a folder of them.")],
    sharp: Annotated[
        Path, typer.Argument(metavar="SHARP", help="Its sharp original, or a folder with the same names.")
    ],
    weights: Weights = "auto",
    download: Download = False,
    shake: Shake = "off",
    tile: Tile = "auto",
    window: Window = None,
    device: Device = "auto",
    precision: Precision = "auto",
    lpips: Annotated[bool, flag("--lpips", help="LPIPS as well; needs the extra of that name.")] = False,
    output: Annotated[
        Literal["table", "csv", "json"], typer.Option("--format", help="How the figures are printed.")
    ] = "table",
    quiet: Quiet = False,
) -> None:
    """Measure PSNR and SSIM against sharp originals, before and after.

    Each at the best whole-pixel shift within 3 pixels, in sRGB as the photos are saved.
    """
    from deblur_cli.api import Deblurrer
    from deblur_cli.cli._weights import fetched
    from deblur_cli.console import Console
    from deblur_cli.evaluate import evaluate_photo
    from deblur_cli.isolated import Isolated
    from deblur_cli.photo import read_photo

    console = Console(quiet=quiet)
    pairs = pair_photos(blurry, sharp, console)
    decoder = Isolated()
    weights = fetched(weights, console) if download else weights
    deblurrer = Deblurrer(weights, device, precision, parse_tile(tile), window, shake=shake)
    rows = []
    failed = 0
    for path, original in pairs:
        try:
            photo, reference = (decoder.call(read_photo, each, photo=str(each)) for each in (path, original))
            before = evaluate_photo(photo, reference, name=str(path), lpips=lpips)
            after = evaluate_photo(deblurrer.restore(photo).photo, reference, name=str(path), lpips=lpips)
        except PhotoError as error:
            console.error(error)
            failed += 1
            continue
        rows.append(Row(str(path), before, after))
        console.say(f"{path}: {before.psnr:.2f} -> {after.psnr:.2f} dB")
    if rows:
        _PRINTERS[output](rows, console)
    raise typer.Exit(1 if failed else 0)


def pair_photos(blurry: Path, sharp: Path, console: "Console") -> list[tuple[Path, Path]]:
    """Two photos, or each photo below a folder with that of the same name (whatever its extension) below the other."""
    from deblur_cli.jobs import natural_key
    from deblur_cli.photo import looks_like_photo

    for path in (blurry, sharp):
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
    if not blurry.is_dir() and not sharp.is_dir():
        return [(blurry, sharp)]
    if not (blurry.is_dir() and sharp.is_dir()):
        raise UsageError("one is a folder and the other a file", hint="Give two photos or two folders.")

    def found(folder: Path) -> dict[Path, Path]:
        return {
            path.relative_to(folder).with_suffix(""): path
            for path in sorted(folder.rglob("*"))
            if looks_like_photo(path) and not path.name.startswith(".")
        }

    photos, originals = found(blurry), found(sharp)
    pairs = [(photos[name], originals[name]) for name in photos if name in originals]
    if not pairs:
        raise UsageError(f"no photo below {blurry} has one of the same name below {sharp}")
    if alone := len(photos) - len(pairs):
        console.say(f"passed over: {alone} of {len(photos)} photos below {blurry}, which have no sharp one")
    return sorted(pairs, key=lambda pair: natural_key(str(pair[0])))


def _mean(rows: list[Row]) -> dict[str, float]:
    return {name: fmean(row.figures()[name] for row in rows) for name in rows[0].figures()}


def _print_table(rows: list[Row], console: "Console") -> None:
    lines = [(row.name, row.figures()) for row in rows] + ([("mean", _mean(rows))] if len(rows) > 1 else [])
    headers = ["photo", *(name.replace("_", " ") for name in lines[0][1])]
    cells = [
        [name, *(f"{x:.2f}" if x > 1 else f"{x:.4f}" for x in figures.values())] for name, figures in lines
    ]
    console.show_table(headers, cells, [])


def _print_csv(rows: list[Row], console: "Console") -> None:
    from deblur_cli.console import printable

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["photo", *rows[0].figures()])
    for row in rows:
        writer.writerow([printable(row.name), *row.figures().values()])
    writer.writerow(["mean", *_mean(rows).values()])


def _print_json(rows: list[Row], console: "Console") -> None:
    photos = [
        {"photo": row.name, **row.figures(), "shift_before": row.before.shift, "shift_after": row.after.shift}
        for row in rows
    ]
    typer.echo(
        json.dumps({"photos": [_finite(photo) for photo in photos], "mean": _finite(_mean(rows))}, indent=2)
    )


def _finite(figures: Mapping[str, object]) -> dict[str, object]:
    """JSON has no infinity, which is the PSNR of a photo to itself."""
    return {name: None if value == math.inf else value for name, value in figures.items()}


_PRINTERS = {"table": _print_table, "csv": _print_csv, "json": _print_json}
