"""The formats: names, extensions, first bytes, and what each can hold. No decoder is imported here."""

import re
from dataclasses import dataclass
from pathlib import Path

from deblur_cli.errors import UsageError

KINDS = ("ICC", "CICP", "EXIF", "XMP", "IPTC", "comment", "DPI", "gain map", "video")
"""Of metadata, as docs/formats.md names them."""
_USUAL = "ICC,EXIF,XMP,IPTC,comment,DPI"


@dataclass(frozen=True)
class Format:
    """One file format.

    extensions: the first is the one for files that have none.
    magic: matches the first bytes of its files; None if those are another format's (RAW is TIFF, mostly).
    becomes: the format that results are written in: itself unless it is only read.
    depths: the sample types it is written with.
    metadata: the kinds of metadata it is written with.
    max_side: the largest height or width it can be written with.
    max_exif: bytes of the largest EXIF block it can be written with.
    """

    name: str
    extensions: tuple[str, ...]
    magic: re.Pattern[bytes] | None
    becomes: str
    depths: tuple[str, ...] = ("uint8",)
    gray: bool = True
    alpha: bool = True
    metadata: tuple[str, ...] = ()
    max_side: int = 2**31 - 1
    max_exif: int = 2**31 - 1


def _format(
    name: str, extensions: str, magic: bytes | None, metadata: str = "", becomes: str = "", **facts: object
) -> Format:
    pattern = re.compile(magic, re.DOTALL) if magic else None
    facts["metadata"] = tuple(metadata.split(",")) if metadata else ()
    return Format(name, tuple(extensions.split()), pattern, becomes or name, **facts)  # type: ignore[arg-type]


_ALL = ("uint8", "uint16", "float32")
_DEEP = ("uint8", "uint16")
_RAW = ".dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .pef .srw"
FORMATS = {
    entry.name: entry
    for entry in (
        _format(
            "JPEG",
            ".jpg .jpeg .jpe .jfif",
            rb"\xff\xd8\xff",
            f"{_USUAL},gain map,video",
            alpha=False,
            max_side=65500,
            max_exif=65527,
        ),
        _format("PNG", ".png .apng", rb"\x89PNG\r\n\x1a\n", f"{_USUAL},CICP", depths=_DEEP),
        _format("WebP", ".webp", rb"RIFF....WEBP", "ICC,EXIF,XMP,DPI", gray=False, max_side=16383),
        _format(
            "AVIF",
            ".avif",
            rb"....ftyp(avi[fs]|(mif1|msf1|miaf).{4}(.{4})*?avi[fs])",
            "ICC,CICP,EXIF,XMP,DPI",
            depths=_DEEP,
            max_side=65535,
        ),
        _format("TIFF", ".tif .tiff", rb"II[*+]\0|MM\0[*+]", _USUAL, depths=_ALL),
        _format("BMP", ".bmp .dib", rb"BM|[(l|]\0{3}.{8}\x01\0[\x01\x04\x08\x10\x18\x20]\0", "ICC,DPI"),
        _format("PPM", ".ppm .pgm .pbm .pnm", rb"P[1-6][\s#]", "comment", depths=_DEEP, alpha=False),
        _format("GIF", ".gif", rb"GIF8[79]a", "comment", max_side=65535),
        _format("JXL", ".jxl", rb"\xff\x0a|\0\0\0\x0cJXL ", "ICC,CICP,EXIF,XMP,DPI", depths=_ALL),
        _format("HEIC", ".heic .heif .hif", rb"....ftyp(hei[cmsx]|hev[cmsx]|mif1|msf1)", becomes="JPEG"),
        _format("RAW", _RAW, rb"....ftypcrx|FUJIFILMCCD-RAW|II(RO|RS|U\0)", becomes="TIFF"),
    )
}


def format_of_bytes(head: bytes, extension: str = "") -> str | None:
    """The name of the format whose files begin like this, or None.

    Most raw files are TIFF files with a small preview first, so what begins like TIFF is told by its name.
    """
    named = _format_of_extension(extension)
    for entry in FORMATS.values():
        if entry.magic and entry.magic.match(head):
            return "RAW" if entry.name == "TIFF" and named and named.name == "RAW" else entry.name
    return None


def _format_of_extension(extension: str) -> Format | None:
    for entry in FORMATS.values():
        if extension.lower() in entry.extensions:
            return entry
    return None


def looks_like_photo(path: Path) -> bool:
    """Whether a folder scan should take this file, by its name alone."""
    return _format_of_extension(path.suffix) is not None


def photo_extensions() -> list[str]:
    """All extensions that photos have, with their dots."""
    return [extension for entry in FORMATS.values() for extension in entry.extensions]


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
            hint=f"Give the target one of these extensions: {known}; or end it in / if it is to be a folder.",
        )
    return found.name
