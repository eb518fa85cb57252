"""`deblur info PHOTO...`: what the program sees in a file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._options import flag
from deblur_cli.errors import PhotoError

if TYPE_CHECKING:
    from deblur_cli.photo import PhotoInfo


@app.command(no_args_is_help=True)
def info(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO", help="Photos to look into.")],
    as_json: Annotated[bool, flag("--json", help="One JSON object a photo, a line each.")] = False,
) -> None:
    """Show what is in a photo: format, size, depth, colour profile, orientation, metadata."""
    from deblur_cli.console import Console

    console = Console()
    rows = []
    failed = False
    for name in photos:
        try:
            found = _inspect(name)
        except PhotoError as error:
            console.error(error)
            failed = True
            continue
        if as_json:
            typer.echo(json.dumps({"photo": name, **asdict(found)}))
        rows.append(
            [
                name,
                found.format,
                f"{found.width}x{found.height}",
                f"{found.mode}, {found.bits} bit",
                found.profile or "-",
                str(found.orientation),
                " ".join(found.metadata) or "-",
                "; ".join(found.notes),
            ]
        )
    if rows and not as_json:
        headers = ["photo", "format", "size", "pixels", "profile", "orientation", "metadata", ""]
        console.show_table(headers, rows, [])
    raise typer.Exit(1 if failed else 0)


def _inspect(name: str) -> "PhotoInfo":
    from deblur_cli.photo import inspect_photo

    if not name:  # which Path takes for the current folder
        raise PhotoError("an empty name is no photo")
    path = Path(name)
    if path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise PhotoError(f"{name}: is {'a folder' if path.is_dir() else 'no file'}")
    return inspect_photo(path)
