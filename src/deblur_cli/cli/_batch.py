"""`deblur batch FOLDER...`."""

from typing import Annotated

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._options import (
    BatchOutput,
    Device,
    Download,
    Overlap,
    Overwrite,
    Quiet,
    Strength,
    Suffix,
    Tile,
    Verbose,
    Weights,
)
from deblur_cli.cli._restore import Options, restore_all


@app.command(no_args_is_help=True)
def batch(
    inputs: Annotated[
        list[str], typer.Argument(metavar="FOLDER...", help="Folders, with all below them, or photos.")
    ],
    output: BatchOutput = None,
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
    """Sharpen all photos of a folder and of the folders in it."""
    from deblur_cli.jobs import Naming, plan_batch
    from deblur_cli.photo import format_of_name, looks_like_photo, output_extension

    naming = Naming(output, suffix, overwrite, output_extension, format_of_name)
    options = Options(weights, download, tile, overlap, device, strength, quiet, verbose)
    restore_all(plan_batch(inputs, naming, looks_like_photo), options)
