"""The formats: their names, extensions and first bytes. No decoder is imported here."""

import re
from dataclasses import dataclass
from pathlib import Path

from deblur_cli.errors import UsageError


@dataclass(frozen=True)
class Format:
    """One file format.

    extensions: the first is the one for files that have none.
    becomes: the format that its results are written in; itself unless it is only read.
    magic: matches the first bytes of its files, or None if another format's bytes come first (RAW in TIFF).
    """

    name: str
    extensions: tuple[str, ...]
    becomes: str
    magic: re.Pattern[bytes] | None


def _format(name: str, extensions: str, magic: bytes | None, becomes: str | None = None) -> Format:
    pattern = re.compile(magic, re.DOTALL) if magic else None
    return Format(name, tuple(extensions.split()), becomes or name, pattern)


FORMATS = {
    entry.name: entry
    for entry in (
        _format("JPEG", ".jpg .jpeg .jpe .jfif", rb"\xff\xd8\xff"),
        _format("PNG", ".png", rb"\x89PNG\r\n\x1a\n"),
        _format("WebP", ".webp", rb"RIFF....WEBP"),
        _format("AVIF", ".avif", rb"....ftyp(avif|avis)"),
        _format("TIFF", ".tif .tiff", rb"II[*+]\0|MM\0[*+]"),
        _format("BMP", ".bmp .dib", rb"BM"),
        _format("PPM", ".ppm .pgm .pbm .pnm", rb"P[1-6][\s#]"),
        _format("GIF", ".gif", rb"GIF8[79]a"),
    )
}


def format_of_bytes(head: bytes) -> str | None:
    """The name of the format whose files begin like this, or None."""
    for entry in FORMATS.values():
        if entry.magic and entry.magic.match(head):
            return entry.name
    return None


def _format_of_extension(extension: str) -> Format | None:
    for entry in FORMATS.values():
        if extension.lower() in entry.extensions:
            return entry
    return None


def looks_like_photo(path: Path) -> bool:
    """Whether a folder scan should take this file, by its name alone."""
    return _format_of_extension(path.suffix) is not None


def output_extension(path: Path) -> str:
    """The extension of the result of this input if its user names no target.

    Its own where that format can be written, else that of the format it becomes; PNG's for an extension
    that is none of ours.
    """
    found = _format_of_extension(path.suffix)
    if found is None:
        return ".png"
    return path.suffix if found.becomes == found.name else FORMATS[found.becomes].extensions[0]


def format_of_name(path: Path) -> str:
    """The name of the format that a target of this name is written in. UsageError if there is none."""
    found = _format_of_extension(path.suffix)
    if found is None or found.becomes != found.name:
        known = " ".join(f.extensions[0] for f in FORMATS.values() if f.becomes == f.name)
        raise UsageError(
            f"{path}: a photo cannot be written as {path.suffix or 'a file without an extension'}",
            hint=f"Give the target one of these extensions: {known}",
        )
    return found.name
