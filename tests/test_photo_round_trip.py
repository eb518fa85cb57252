"""Every format, kind of pixels and orientation, with and without metadata: written, read, and nothing lost."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from deblur_cli.photo import Metadata, Samples, read_photo
from deblur_cli.photo._formats import FORMATS
from deblur_cli.photo._photoshop import iptc_of
from photo_files import (
    DOCUMENT,
    KINDS_OF_PIXELS,
    LOSSY,
    WHITE,
    WRITTEN,
    Kind,
    again,
    holds,
    metadata_of,
    pixels_of,
    stored,
    updated,
)

CASES = [(name, kind) for name in WRITTEN for kind in KINDS_OF_PIXELS if holds(name, kind)]
TURNED = ("JPEG", "PNG", "WebP", "AVIF", "TIFF")
"""Formats that can say how the picture is to be turned."""


def seen(stored_samples: Samples, orientation: int) -> Samples:
    """EXIF 2.32, 4.6.4: which corner of what is seen the first row and column of what is stored are."""
    a = stored_samples
    return {
        1: a,
        2: np.fliplr(a),
        3: np.rot90(a, 2),
        4: np.flipud(a),
        5: np.swapaxes(a, 0, 1),
        6: np.rot90(a, -1),
        7: np.swapaxes(np.rot90(a, 2), 0, 1),
        8: np.rot90(a),
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("name", "kind"), CASES, ids=str)
def test_nothing_is_lost(name: str, kind: Kind, orientation: int) -> None:
    data = stored(name, kind, orientation)
    first, back = (read_photo(io.BytesIO(file)) for file in (data, again(data)))

    turn = orientation if name in TURNED else 1
    pixels, alpha = (None if a is None else seen(a, turn) for a in pixels_of(kind))
    assert pixels is not None
    assert back.pixels.dtype == kind.dtype
    assert back.pixels.shape == pixels.shape
    visible = np.ones(pixels.shape[:2], bool)
    if name == "GIF":
        pixels = pixels // 40 * 40
        alpha = None if alpha is None else np.where(alpha > 100, 255, 0)
        visible = visible if alpha is None else alpha > 0
    if name in LOSSY:
        np.testing.assert_allclose(back.pixels, pixels, atol=12 * WHITE[kind.dtype] / 255)
    else:
        np.testing.assert_array_equal(back.pixels[visible], pixels[visible])
        np.testing.assert_array_equal(first.pixels, back.pixels)
    if alpha is None:
        assert back.alpha is None
    else:
        twelve_bits = 8 if name == "AVIF" and kind.dtype == "uint16" else 0
        np.testing.assert_allclose(back.alpha, alpha, rtol=0, atol=twelve_bits)
    check_metadata(name, back.metadata, metadata_of(kind), turned=turn >= 5)


def check_metadata(name: str, back: Metadata, given: Metadata, turned: bool) -> None:
    kinds = FORMATS[name].metadata
    assert back.icc == (given.icc if "ICC" in kinds else None)
    if "EXIF" in kinds:
        check_exif(name, back.exif, given.exif, turned)
    if "XMP" in kinds:
        assert given.xmp
        before, _, rest = given.xmp.partition(b"<xmp:Thumbnails>")
        assert back.xmp == before + rest.partition(b"</xmp:Thumbnails>")[2]
    if "IPTC" in kinds:
        assert iptc_of(back.photoshop or b"") == iptc_of(given.photoshop or b"")
    if "comment" in kinds and name != "TIFF":  # which has it in EXIF
        assert back.comment == b"a comment"
    if "DPI" in kinds:
        assert back.dpi == pytest.approx((300, 300), abs=0.01)


def check_exif(name: str, back: bytes | None, given: bytes | None, turned: bool) -> None:
    def ifds(block: bytes | None) -> list[dict[int, object]]:
        exif = Image.Exif()
        exif.load(block or b"")
        pointers = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop)
        first = {tag: value for tag, value in exif.items() if tag not in pointers}
        children = [dict(exif.get_ifd(pointer)) for pointer in pointers]
        for child in children:
            child.pop(ExifTags.IFD.Interop, None)
        return [first, *children, dict(exif.get_ifd(ExifTags.IFD.IFD1))]

    expected, found = ifds(given), ifds(back)
    assert expected[0].pop(ExifTags.Base.Software) == "Camera 1.0"
    assert str(found[0].pop(ExifTags.Base.Software)).startswith("deblur-cli ")
    assert expected[0].pop(ExifTags.Base.Orientation) == 1
    assert found[0].pop(ExifTags.Base.Orientation, 1) == 1  # AVIF says it elsewhere
    if name == "TIFF":
        assert found[0].pop(ExifTags.Base.ImageDescription) == "a comment"
        for tag in (ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit):
            assert expected[0].pop(tag)  # TIFF has no other place for it, so that `dpi` holds it
    assert expected.pop()
    assert found.pop() == {}  # the thumbnail
    if turned:
        sizes = ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight
        expected[1][sizes[0]], expected[1][sizes[1]] = expected[1][sizes[1]], expected[1][sizes[0]]
    assert found == expected


@pytest.mark.parametrize(("name", "kind"), CASES, ids=str)
def test_without_metadata_none_is_made_up(name: str, kind: Kind) -> None:
    back = read_photo(io.BytesIO(again(stored(name, kind, metadata=False)))).metadata
    assert set(back.kinds()) <= {"EXIF"}  # Software, which names us


@pytest.mark.parametrize("name", WRITTEN)
def test_stripped_of_all_but_the_profile(name: str) -> None:
    data = again(stored(name, Kind("uint8", 3, False)), strip_metadata=True)
    kinds = read_photo(io.BytesIO(data)).metadata.kinds()
    assert kinds == (("ICC",) if "ICC" in FORMATS[name].metadata else ())
    for secret in (b"Acme", b"Photographer", b"a comment", b"blur"):
        assert secret not in data


def test_the_table_in_the_docs_is_up_to_date() -> None:
    document = DOCUMENT.read_text()
    assert document == updated(document), "run: python tests/photo_files.py"
