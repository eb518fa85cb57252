"""`deblur export`: a network as an ONNX file, for programs in other languages."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deblur_cli import __version__
from deblur_cli.cli._app import app
from deblur_cli.cli._options import Download, Overwrite, Quiet, Weights
from deblur_cli.errors import DeblurError, UsageError

if TYPE_CHECKING:
    from deblur_cli.registry import WeightsEntry

CHECKED_UNITS = ((6, 9), (4, 3))
"""Height and width of the pictures by which a file for any size is checked, in units of its size multiple."""


@app.command(no_args_is_help=True)
def export(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE.onnx", help="The file to write.", show_default=False),
    ],
    weights: Weights = "auto",
    download: Download = False,
    precision: Annotated[
        Literal["fp32", "fp16"], typer.Option(help="fp16 is half as large, and meant for graphics cards.")
    ] = "fp32",
    size: Annotated[
        str,
        typer.Option(
            metavar="dynamic|N",
            help="dynamic takes any height and width; N takes N by N pixels only, as some chips want it.",
        ),
    ] = "dynamic",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write a network as an ONNX file, and check it by onnxruntime."""
    from deblur_cli.api import find_weights_file
    from deblur_cli.cli._weights import fetched
    from deblur_cli.console import Console
    from deblur_cli.loader import load_model
    from deblur_cli.photo import replace_file

    if output.suffix != ".onnx":
        raise UsageError(f"-o {output}: an ONNX file is named FILE.onnx")
    if output.exists() and not overwrite:
        raise DeblurError(
            f"{output}: exists already", hint="Choose another -o, or allow it with --overwrite."
        )
    try:
        from deblur_cli.export import check, needed_bytes, write_onnx
    except ImportError as error:
        if not (error.name or "").startswith("onnx"):
            raise
        raise UsageError(
            "ONNX files need libraries that are not installed",
            hint="Install them: pip install 'deblur-cli[onnx]'",
        ) from error

    console = Console(quiet=quiet)
    path, entry = find_weights_file(fetched(weights, console) if download else weights)
    model = load_model(path)
    unit = model.config.size_multiple
    side = _parse_size(size, unit)
    sizes = [(side, side)] if side else [(h * unit, w * unit) for h, w in CHECKED_UNITS]
    _refuse_what_memory_cannot_hold(needed_bytes(model.config, sizes[0]), size)
    data = write_onnx(model, precision=precision, size=side, about=_about(path, entry))
    worst = max(check(data, model, each, precision) for each in sizes)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DeblurError(
            f"{output.parent}: the folder cannot be made: {error.strerror}", hint="Choose another -o."
        ) from error
    replace_file(output, data, overwrite=overwrite)
    what = f"{entry.name if entry else path}, {precision}, {f'{side}x{side} pixels' if side else 'any size'}"
    console.say(
        f"{output}: {what}, {len(data) / 1e6:.1f} MB; checked, largest difference {worst:.1e} (pixels are 0 to 1)"
    )


def _parse_size(text: str, unit: int) -> int | None:
    """The value of --size."""
    if text == "dynamic":
        return None
    if not text.isdecimal() or not int(text) or int(text) % unit:
        raise UsageError(
            f"--size {text} is no size", hint=f"It takes dynamic, or a multiple of {unit} in pixels."
        )
    return int(text)


def _refuse_what_memory_cannot_hold(needed: int, size: str) -> None:
    import torch

    from deblur_cli.device import free_memory

    free = free_memory(torch.device("cpu"))
    if needed > free:
        raise DeblurError(
            f"--size {size}: to check the file takes about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free",
            hint="A smaller size will do, for photos in tiles.",
        )


def _about(path: Path, entry: "WeightsEntry | None") -> dict[str, str]:
    """What the file's metadata say of the weights."""
    about = {"deblur": __version__, "weights": entry.name if entry else path.name}
    return about | ({"licence": entry.licence, "window": str(entry.window)} if entry else {})
