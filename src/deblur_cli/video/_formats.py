"""Containers by the extensions of their files."""

from pathlib import Path

from deblur_cli.errors import UsageError

MUXERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".3gp": "3gp",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".mts": "mpegts",
    ".m2ts": "mpegts",
    ".nut": "nut",
}
"""Extension -> the muxer's name."""

QUICKTIME = ("mp4", "mov", "3gp")
ANYTHING = ".mkv"
"""A container that holds nearly every stream."""


def muxer_of(target: Path) -> str:
    """The muxer for a file of this name. UsageError if there is none."""
    try:
        return MUXERS[target.suffix.lower()]
    except KeyError:
        raise UsageError(
            f"{target}: a clip cannot be written under that name",
            hint=f"Its extension decides the container: {', '.join(MUXERS)}.",
        ) from None


def default_target(source: Path, suffix: str) -> Path:
    """Beside the clip: NAME_sharp.EXT, or .mkv for one whose container cannot be written."""
    extension = source.suffix if source.suffix.lower() in MUXERS else ANYTHING
    return source.with_name(f"{source.stem}{suffix}{extension}")
