"""The options that commands share: each is declared once."""

import math
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

import typer

from deblur_cli.errors import UsageError


def flag(*names: str, help: str) -> Any:  # noqa: A002, ANN401  as typer's own
    """An option that takes no value; typer would show one, <bool>."""
    return typer.Option(*names, metavar="", help=help)


def complete_weights(incomplete: str) -> list[str]:
    """The names of weights that begin so; where there are none, a shell completes files."""
    from deblur_cli.registry import load_registry

    return [name for name in load_registry() if name.startswith(incomplete)]


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
        metavar="NAME|FILE|hub:...",
        help="Which network: a name, a .pth, .pt or .safetensors of a Restormer, or hub:OWNER/NAME of the Hugging Face Hub.",
        autocompletion=complete_weights,
    ),
]
Download = Annotated[bool, flag("--download", help="Fetch the weights first if they are missing.")]
Tile = Annotated[
    str,
    typer.Option(
        "--tile", metavar="N|auto|0", help="Work in tiles of N pixels a side; 0 takes the photo whole."
    ),
]
Overlap = Annotated[
    int | None, typer.Option(metavar="N", help="Pixels that neighbouring tiles share.", show_default="64")
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]|mps", help="Where to compute.")]
Precision = Annotated[
    str,
    typer.Option(metavar="auto|fp32|bf16", help="auto computes in bfloat16 where the device is fast at it."),
]
Window = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Attention statistics over windows of N pixels; 0: over the whole tile.",
        show_default="as the weights were trained",
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda[:N]|mps",
        help="Where to compute; cuda: on all cards; several: cuda:0,cuda:1.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, max=1024, metavar="N", help="Processor threads to use.", show_default="all"),
]
Quality = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100,
        metavar="1..100",
        help="Of JPEG, WebP and AVIF.",
        show_default="92, or a finer JPEG's own",
    ),
]
StripMetadata = Annotated[bool, flag("--strip-metadata", help="Leave out EXIF, XMP, IPTC and comments.")]
KeepTimes = Annotated[bool, flag("--keep-times", help="Results get the modification time of their photos.")]
MaxMegapixels = Annotated[float, typer.Option(metavar="N", help="Refuse photos that claim to be larger.")]
Strength = Annotated[
    float,
    typer.Option(metavar="0..1", help="How much of the result to mix with the input: 0 is the input."),
]
Shake = Annotated[
    str,
    typer.Option(
        metavar="auto|off",
        help="auto finds camera shake and undoes it where it believes that helps; off leaves it.",
    ),
]
Kernel = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="The shake is known: a picture of its path, bright on black.",
        show_default="none",
    ),
]
Ensemble = Annotated[
    bool,
    flag(
        "--ensemble",
        help="Mean of eight runs, over the photo turned and mirrored: a little better, in eight times the time.",
    ),
]
Suffix = Annotated[
    str, typer.Option(metavar="TEXT", help="Put after the name of results that go beside their inputs.")
]
Overwrite = Annotated[bool, flag("--overwrite", help="Replace results that exist already.")]
Quiet = Annotated[bool, flag("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[bool, flag("--verbose", "-v", help="Say what each photo was made with.")]


@dataclass(frozen=True)
class Options:
    """What every restoring command takes; `run` alone: a region, and the right view of a pair; a worker: its part of the memory."""

    weights: str
    download: bool
    tile: str
    overlap: int | None
    window: int | None
    device: str
    precision: str
    strength: float
    threads: int | None
    quiet: bool
    verbose: bool
    quality: int | None = None
    strip_metadata: bool = False
    max_megapixels: float = 200
    shake: str = "auto"
    kernel: str | None = None
    ensemble: bool = False
    keep_times: bool = False
    kernel_from: str | None = None
    region: str | None = None
    right: str | None = None
    memory_share: float = 1.0
    only_blurred: bool = False

    @classmethod
    def of(cls, context: typer.Context) -> "Options":
        """Those of the command that is running; weights for a pair, or that are to be downloaded, are told by their name."""
        names = {field.name for field in fields(cls)}
        options = cls(**{name: value for name, value in context.params.items() if name in names})
        if options.weights == "auto" and options.right is not None:
            return replace(options, weights="defocus-dual-pixel")
        if options.weights == "auto" and options.download:
            return replace(options, weights="motion")
        return options


def parse_region(text: str, option: str = "--region") -> tuple[int, int, int, int]:
    """The value of --region, or of another option that takes an area."""
    try:
        x, y, w, h = map(int, text.split(","))
    except ValueError:
        x = y = w = h = -1
    if min(x, y) < 0 or min(w, h) < 1:
        raise UsageError(
            f"{option} {text} is no region",
            hint="It takes X,Y,W,H: left and top edge, width and height, in pixels of the upright photo.",
        )
    return x, y, w, h


def parse_tile(text: str) -> int | Literal["auto"]:
    """The value of --tile."""
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise UsageError(
            f"--tile {text} is no size", hint="It takes a number of pixels, auto, or 0."
        ) from None


def checked_limit(megapixels: float) -> float:
    """The value of --max-megapixels."""
    if not 0 < megapixels < math.inf:
        raise UsageError(f"--max-megapixels {megapixels} is no limit", hint="It takes a number above 0.")
    return megapixels
