"""`deblur info PHOTO...`: what the program sees in a file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deblur_cli.cli._app import app
from deblur_cli.cli._blur import blur_in_words, blur_of
from deblur_cli.cli._options import flag
from deblur_cli.errors import PhotoError

if TYPE_CHECKING:
    from deblur_cli.isolated import Isolated
    from deblur_cli.photo import PhotoInfo

SURE = 0.5
"""From which on a shake that was traced counts: who has seen its path knows better than who looked at edges."""


@app.command(no_args_is_help=True)
def info(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO", help="Photos to look into.")],
    as_json: Annotated[bool, flag("--json", help="One JSON object a photo, a line each.")] = False,
    no_shake: Annotated[
        bool, flag("--no-shake", help="Do not look for blur and camera shake, which takes seconds a photo.")
    ] = False,
) -> None:
    """Show what is in a photo: format, size, depth, colour profile, orientation, metadata, blur and camera shake."""
    from deblur_cli.console import Console
    from deblur_cli.isolated import Isolated

    console, decoder = Console(), Isolated()
    rows = []
    failed = False
    for name in photos:
        try:
            found = _inspect(name, decoder)
            blur = {} if no_shake else _blur_in(name, decoder)
        except PhotoError as error:
            console.error(error)
            failed = True
            continue
        if as_json:
            typer.echo(json.dumps({"photo": name, **asdict(found), **blur}))
        rows.append(
            [
                name,
                found.format,
                f"{found.width}x{found.height}",
                f"{found.mode}, {found.bits} bit",
                found.profile or "-",
                str(found.orientation),
                " ".join(found.metadata) or "-",
                *([] if no_shake else [_in_words(blur)]),
                "; ".join(found.notes),
            ]
        )
    if rows and not as_json:
        headers = ["photo", "format", "size", "pixels", "profile", "orientation", "metadata"]
        headers += [""] if no_shake else ["blur", ""]
        console.show_table(headers, rows, [])
    raise typer.Exit(1 if failed else 0)


def _inspect(name: str, decoder: "Isolated") -> "PhotoInfo":
    from deblur_cli.photo import inspect_photo

    if not name:  # which Path takes for the current folder
        raise PhotoError("an empty name is no photo")
    path = Path(name)
    if path.exists() and not path.is_file():  # a pipe would keep us waiting
        raise PhotoError(f"{name}: is {'a folder' if path.is_dir() else 'no file'}")
    return decoder.call(inspect_photo, path, photo=name)


def _blur_in(name: str, decoder: "Isolated") -> dict[str, Any]:
    """The blur and the shake that are seen in a photo, by the keys of --json; PhotoError if its pixels cannot be read."""
    import torch

    from deblur_cli.device import choose_dtype
    from deblur_cli.photo import read_photo, tone_curve_of
    from deblur_cli.restore import to_tensor
    from deblur_cli.shake import estimate

    photo = decoder.call(read_photo, Path(name), photo=name)
    blur = blur_of(photo)
    light = tone_curve_of(photo).to_linear(to_tensor(photo.pixels, photo.peak)[0].numpy())
    seen = estimate(torch.from_numpy(light), dtype=choose_dtype("auto", torch.device("cpu")))
    if seen is None:
        return {**blur, "shake_length_px": None, "shake_direction_deg": None, "shake_sure": None}
    sure = float(seen.sure.mean())
    if sure > SURE and blur["blur"] == "lens":
        blur["blur"] = "shake"
    return {
        **blur,
        "shake_length_px": round(seen.length, 1),
        "shake_direction_deg": seen.direction,
        "shake_sure": round(sure, 2),
    }


def _in_words(blur: dict[str, Any]) -> str:
    """One message: of a shake that was traced its path, and else how wide the blur is."""
    kind, length, direction, sure = (
        blur[key] for key in ("blur", "shake_length_px", "shake_direction_deg", "shake_sure")
    )
    words = blur_in_words(blur)
    if length is not None and (kind == "shake" or sure > SURE):
        words = f"{words.partition(',')[0]}, path {length:.0f} px at {direction:.0f}°, {sure:.0%} sure"
    return words if blur["sharpness"] is None else f"{words} (sharpness {blur['sharpness']:.0f})"
