"""HEIC, camera raw files and JPEG XL, and what happens without their libraries."""

import io
import struct
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from deblur_cli.errors import PhotoError
from deblur_cli.photo import (
    Encoding,
    Metadata,
    Photo,
    _apple_hdr,
    _cicp,
    _jxl,
    inspect_photo,
    output_extension,
    read_photo,
    write_photo,
)
from deblur_cli.photo._cicp import Cicp, profile_of
from deblur_cli.photo._errors import UnsupportedError
from deblur_cli.photo._jxl_header import head_of
from photo_files import KINDS_OF_PIXELS, Kind, again, dng, gray_profile, pixels_of
from test_photo_foreign import DEEP, IMAGE, RGB, pillow

FIXTURES = Path(__file__).parent / "data/photos"


def test_heic_is_turned_once() -> None:
    pytest.importorskip("pi_heif")
    y, x = np.mgrid[:48, :64]
    expected = np.stack([x * 3, y * 4, (x + y) * 2], -1)
    photo = read_photo(FIXTURES / "turned.heic")
    np.testing.assert_allclose(photo.pixels, expected, atol=12)
    assert photo.metadata.kinds() == ("ICC", "EXIF", "XMP", "DPI")
    file = io.BytesIO()
    write_photo(photo, file)
    with Image.open(file) as image:
        assert image.format == "JPEG"
        assert image.getexif()[0x0112] == 1
        assert image.size == (64, 48)


def test_the_main_picture_of_a_heic() -> None:
    pytest.importorskip("pi_heif")
    photo = read_photo(FIXTURES / "two.heic")
    np.testing.assert_allclose(photo.pixels[32, 32], (200, 100, 50), atol=6)
    assert photo.notes == ("only the main one of 2 pictures is restored: the others are left out",)


def test_the_gain_map_of_an_iphone_becomes_one_of_ultra_hdr() -> None:
    """The fixture's maker note says headroom 1.2 and gain 0.005: by Apple's formula 3 - 70 * 0.005 powers of two."""
    pytest.importorskip("pi_heif")
    photo = read_photo(FIXTURES / "gain_map.heic")
    assert photo.metadata.kinds() == ("EXIF", "gain map")
    assert photo.notes == ()
    assert photo.metadata.gain_map
    assert b'hdrgm:GainMapMax="2.650000"' in photo.metadata.gain_map
    y, x = np.mgrid[:32, :48]
    encoded = (3 * x + 2 * y) / 255
    light = np.where(encoded < 0.081, encoded / 4.5, ((encoded + 0.099) / 1.099) ** (1 / 0.45))
    gains = 2 ** (2.65 * np.asarray(Image.open(io.BytesIO(photo.metadata.gain_map))) / 255)
    np.testing.assert_allclose(gains, 1 + (2**2.65 - 1) * light, rtol=0.05)
    file = io.BytesIO()
    assert write_photo(photo, file) == ()
    again = read_photo(io.BytesIO(file.getvalue())).metadata
    assert again.gain_map == photo.metadata.gain_map
    assert again.xmp
    assert (
        b'Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="%d"' % len(again.gain_map) in again.xmp
    )


def test_a_gain_map_whose_headroom_is_not_told_is_left_out_and_said() -> None:
    pytest.importorskip("pi_heif")
    data = (FIXTURES / "gain_map.heic").read_bytes().replace(b"Apple iOS", b"Other iOS")
    photo = read_photo(io.BytesIO(data))
    assert photo.metadata.kinds() == ("EXIF",)
    assert photo.notes == ("the gain map is left out: how bright it makes the photo is not told",)


@pytest.mark.parametrize(
    ("headroom", "gain", "stops"),
    [(0.5, 0.005, 1.7), (0.5, 0.5, 1.5505), (1.2, 0.5, 2.1515), (0.8, None, 1.8), (None, 0.01, None)],
)
def test_the_headroom_of_a_maker_note(
    headroom: float | None, gain: float | None, stops: float | None
) -> None:
    values = {0x21: headroom, 0x30: gain}
    given = {tag: value for tag, value in values.items() if value is not None}
    note, rationals = b"Apple iOS\0\0\1MM" + struct.pack(">H", len(given)), b""
    for tag, value in given.items():
        note += struct.pack(">HHII", tag, 10, 1, 20 + 12 * len(given) + len(rationals))
        rationals += struct.pack(">ii", round(value * 10000), 10000)
    note += bytes(4) + rationals
    exif = b"MM\0*" + struct.pack(">IHHHII", 8, 1, 0x8769, 4, 1, 26) + bytes(4)
    exif += struct.pack(">HHHII", 1, 0x927C, 7, len(note), 44) + bytes(4) + note
    assert _apple_hdr.stops_of(exif) == (None if stops is None else pytest.approx(stops))


def test_deep_heic_has_white_at_the_top() -> None:
    pytest.importorskip("pi_heif")
    y, x = np.mgrid[:48, :64]
    expected = np.stack([x * 1000, y * 1300, (x + y) * 500], -1)
    photo = read_photo(FIXTURES / "deep.heic")
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_allclose(photo.pixels, expected, atol=2500)


def test_raw_is_developed_to_16_bits(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    path = tmp_path / "a.dng"
    path.write_bytes(dng())
    assert output_extension(path) == ".tif"
    info = inspect_photo(path)
    photo = read_photo(path)
    assert (info.format, info.bits) == ("RAW", 16)
    assert photo.pixels.shape == (info.height, info.width, 3) == (64, 96, 3)
    assert photo.pixels.dtype == np.uint16
    brightness = photo.pixels.mean((0, 2))
    assert (np.diff(brightness[4:-4]) > 0).all(), "the ramp is a ramp"
    assert "developed" in photo.notes[0]
    write_photo(photo, tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        exif = image.getexif()
        assert exif[271] == "Acme"
        assert not {33421, 50706, 50721} & set(exif), "it is no raw file any more"
        assert image.info["xmp"] == b"<x:xmpmeta/>"


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [("pi_heif", "turned.heic", "heic"), ("rawpy", "a.dng", "raw"), ("pylibjxl", "a.jxl", "jxl")],
)
def test_missing_extra_is_named(
    module: str, name: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / name
    contents = {
        "raw": dng,
        "jxl": lambda: imagecodecs.jpegxl_encode(RGB),
        "heic": (FIXTURES / "turned.heic").read_bytes,
    }
    path.write_bytes(contents[extra]())
    with pytest.raises(PhotoError, match=f"{name}: [A-Z]+ needs a library") as caught:
        read_photo(path)
    assert caught.value.hint == f"Install it: pip install 'deblur-cli[{extra}]'"


def test_writing_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylibjxl", None)
    photo = read_photo(io.BytesIO(pillow(IMAGE, "PNG")))
    with pytest.raises(PhotoError, match=r"a\.jxl: JXL needs a library") as caught:
        write_photo(photo, tmp_path / "a.jxl", quality=90)
    assert caught.value.hint == "Install it: pip install 'deblur-cli[jxl]'"
    assert not list(tmp_path.iterdir())


def test_jxl_above_its_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pylibjxl")
    monkeypatch.setattr(_jxl, "_MAX_PIXELS", 24 * 16 - 1)
    with pytest.raises(
        PhotoError, match=r"^standard input: a JPEG XL file of 24x16 pixels is not supported$"
    ):
        read_photo(io.BytesIO(imagecodecs.jpegxl_encode(RGB)))


P3, PQ = Cicp(12, 13), Cicp(9, 16)
PROFILES = {1: gray_profile(), 3: profile_of(P3)}


@pytest.mark.parametrize("kind", KINDS_OF_PIXELS, ids=str)
@pytest.mark.parametrize(
    "colours", [None, P3, PQ, Cicp(9, 18), Cicp(11, 4), Cicp(1, 5), Cicp(1, 8), "profile"]
)
def test_jxl_keeps_depth_and_colours(kind: Kind, colours: Cicp | str | None) -> None:
    """libjxl itself, asked by imagecodecs and pylibjxl, agrees on what our head says."""
    pylibjxl = pytest.importorskip("pylibjxl")
    pixels, alpha = pixels_of(kind)
    cicp = colours if isinstance(colours, Cicp) else None
    icc = PROFILES[kind.channels] if colours == "profile" else None
    file = io.BytesIO()
    photo = Photo(pixels, alpha, Encoding("JXL"), Metadata(icc=icc, cicp=cicp))
    assert write_photo(photo, file) == ()
    _, found = pylibjxl.decode(file.getvalue(), metadata=True)
    assert found.get("icc") == icc
    file.seek(0)
    back = read_photo(file)
    np.testing.assert_array_equal(back.pixels, pixels)
    np.testing.assert_array_equal(back.alpha, alpha)
    assert back.metadata.icc == icc
    if not icc:
        primaries, transfer, _ = cicp or Cicp(1, 13)
        assert back.metadata.cicp == Cicp(1 if kind.channels == 1 else primaries, transfer)


@pytest.mark.parametrize("maker", [b"APPL", b"MSFT", b"SGI ", b"SUNW", b"none"])
@pytest.mark.parametrize("size", [300, 4096 - 200, 70_000])
def test_any_profile_goes_into_jxl_by_the_byte(maker: bytes, size: int) -> None:
    """The head of a profile is told by what differs from a guess, its size in two ways; libjxl undoes both."""
    pylibjxl = pytest.importorskip("pylibjxl")
    icc = bytearray(PROFILES[3].ljust(len(PROFILES[3]) + size, b"\x85"))
    icc[:4], icc[4:8], icc[40:44] = struct.pack(">I", len(icc)), b"lcms", maker
    file = io.BytesIO()
    write_photo(Photo(DEEP, None, Encoding("JXL"), Metadata(icc=bytes(icc))), file)
    assert pylibjxl.decode(file.getvalue(), metadata=True)[1]["icc"] == icc


@pytest.mark.parametrize("bits", [3, 8, 10, 12, 14])
def test_white_of_a_jxl_is_at_the_top_and_its_depth_comes_back(bits: int) -> None:
    pylibjxl = pytest.importorskip("pylibjxl")
    top = (1 << bits) - 1
    samples = (
        np.linspace(0, top, 24 * 16 * 3).reshape(16, 24, 3).round().astype(f"uint{8 if bits <= 8 else 16}")
    )
    data = imagecodecs.jpegxl_encode(samples, lossless=True, bitspersample=bits)
    photo = read_photo(io.BytesIO(data))
    assert photo.pixels.max() == np.iinfo(samples.dtype).max
    np.testing.assert_allclose(photo.pixels * (top / np.iinfo(samples.dtype).max), samples, atol=0.51)
    written = again(bytes(data))
    assert pylibjxl.probe(written)["bits_per_sample"] == {3: 8, 14: 16}.get(bits, bits)
    np.testing.assert_array_equal(read_photo(io.BytesIO(written)).pixels, photo.pixels)


@pytest.mark.parametrize(
    ("name", "cicp", "profile"),
    [
        ("p3", P3, None),
        ("pq", PQ, None),
        ("moving_p3", P3, None),
        ("dci", None, ((0.314, 0.351), (0.680, 0.320, 0.265, 0.690, 0.150, 0.060), 2.6)),
        ("gray", None, ((0.3127, 0.329), None, 2)),
    ],
)
def test_colours_that_libjxl_tells(
    name: str, cicp: Cicp | None, profile: tuple[tuple[float, float], tuple[float, ...] | None, float] | None
) -> None:
    """Files by cjxl, among them lossy and animated ones."""
    pytest.importorskip("pylibjxl")
    photo = read_photo(FIXTURES / f"{name}.jxl")
    assert photo.metadata.cicp == cicp
    white, primaries, power = profile or ((0, 0), None, 1)
    expected = profile and _cicp.profile("JPEG XL", white, primaries, _cicp.powers(power))
    assert photo.metadata.icc == expected
    y, x = np.mgrid[:40, :56]
    pixels = np.stack([100 + x, 120 + y, 80 + x], -1)[..., : photo.pixels.shape[2]]
    np.testing.assert_allclose(photo.pixels, pixels, atol=25 if "moving" in name else 6)  # a GIF is dithered


@pytest.mark.parametrize("name", ["odd", "adobe"])
def test_a_lossy_jxl_with_a_profile_is_converted_and_said(name: str) -> None:
    """libjxl decodes it to linear sRGB, whatever the profile."""
    pylibjxl = pytest.importorskip("pylibjxl")
    path = FIXTURES / f"{name}.jxl"
    photo = read_photo(path)
    assert photo.notes == ("colours are converted to sRGB: those outside of it are cut off",)
    assert photo.metadata.icc is None
    assert photo.pixels.dtype == np.uint8
    y, x = np.mgrid[:40, :56]
    stored = Image.fromarray(np.stack([100 + x, 120 + y, 80 + x], -1).astype(np.uint8))
    icc = pylibjxl.decode(path.read_bytes(), metadata=True)[1]["icc"]
    srgb = ImageCms.createProfile("sRGB")
    seen = ImageCms.profileToProfile(
        stored, io.BytesIO(icc), srgb, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    np.testing.assert_allclose(photo.pixels, np.asarray(seen), atol=5)


def test_heads_that_are_refused() -> None:
    """Written by hand: nothing makes them."""

    def head(*bits: tuple[int, int]) -> bytes:
        value, at = 0x0AFF, 16
        for number, count in ((1, 1), (0, 5), (1, 3), (0, 1), *bits):  # 8x8 pixels
            value |= number << at
            at += count
        return value.to_bytes(99, "little")

    with pytest.raises(UnsupportedError, match="a JPEG XL file with a preview"):
        head_of(head((1, 1), (0, 3), (0, 1), (1, 1)))
    with pytest.raises(UnsupportedError, match="a JPEG XL file in CMYK"):
        head_of(head((0, 1), (0, 3), (1, 1), (1, 2), (0, 1), (2, 2), (2, 4)))


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 5, 6, 7])
def test_further_channels_of_a_jxl_do_not_hide_its_colours(kind: int) -> None:
    """Heads by hand again: depth, spot colours, a colour filter, heat and others, with names, before alpha."""
    more = {0: [(1, 1)], 2: [(0xFFFF, 64)], 5: [(1, 2), (3, 2)]}.get(kind, [])
    number = [(kind, 2)] if kind < 2 else [(2, 2), (kind - 2, 4)]
    channel = [(0, 1), *number, (1, 1), (0, 2), (7, 4), (1, 2), (1, 2), (3, 4), (0xABCDEF, 24), *more]
    bits = [(0, 1), (0, 2), (511, 9), (1, 3), (0, 1), (0, 1), (0, 1), (1, 2), (1, 1)]
    bits += [(2, 2), (0, 4), *channel, (1, 1)]  # two channels
    bits += [(1, 1), (0, 1), (0, 1), (0, 2), (1, 2), (2, 2), (9, 4), (0, 1), (2, 2), (11, 4), (0, 2)]
    value, at = 0x0AFF, 16
    for number_, count in bits:
        value |= number_ << at
        at += count
    found = head_of(value.to_bytes(99, "little"))
    assert (found.cicp, found.xyb, found.premultiplied) == (P3, True, kind == 0)


@pytest.mark.parametrize(("cicp", "by_numbers"), [(PQ, True), (P3, False)])
def test_of_numbers_and_a_profile_jxl_holds_what_says_more(cicp: Cicp, by_numbers: bool) -> None:
    """A profile cannot say that colours are HDR; else it is the more exact of the two."""
    pytest.importorskip("pylibjxl")
    file = io.BytesIO()
    write_photo(Photo(DEEP, None, Encoding("JXL"), Metadata(icc=PROFILES[3], cicp=cicp)), file)
    file.seek(0)
    back = read_photo(file).metadata
    assert (back.cicp, back.icc) == ((cicp, None) if by_numbers else (None, PROFILES[3]))


def test_premultiplied_colours_of_a_jxl_are_divided_by_its_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pylibjxl")
    pixels, alpha = pixels_of(Kind("uint8", 3, True))
    assert alpha is not None
    file = io.BytesIO()
    multiplied = (pixels * (alpha[..., None] / 255)).round().astype(np.uint8)
    write_photo(Photo(multiplied, alpha, Encoding("JXL")), file)
    monkeypatch.setattr(_jxl, "head_of", lambda codestream: head_of(codestream)._replace(premultiplied=True))
    photo = read_photo(io.BytesIO(file.getvalue()))
    monkeypatch.undo()
    file = io.BytesIO()
    write_photo(photo, file)
    seen = alpha > 127
    np.testing.assert_allclose(read_photo(io.BytesIO(file.getvalue())).pixels[seen], pixels[seen], atol=1)


def test_jxl_of_colours_that_it_cannot_tell() -> None:
    file = io.BytesIO()
    photo = Photo(DEEP, None, Encoding("PNG"), Metadata(cicp=Cicp(10, 13)))
    notes = write_photo(photo, file, format="JXL")
    assert notes == ("JXL cannot tell of colours by the numbers 10 and 13: left out",)


def test_deep_jxl_of_a_quality_says_its_depth() -> None:
    pytest.importorskip("pylibjxl")
    file = io.BytesIO()
    deep, _ = pixels_of(Kind("uint16", 3, False))
    photo = Photo(deep, None, Encoding("PNG"), Metadata(cicp=P3))
    notes = write_photo(photo, file, format="JXL", quality=95)
    assert notes == ("JXL of quality 95 holds 8 bits: 16 bits are reduced to them",)
    back = read_photo(io.BytesIO(file.getvalue()))
    assert back.metadata.icc == PROFILES[3]
    assert np.abs(back.pixels - deep / 257).mean() < 8


def test_jxl_of_a_quality(tmp_path: Path) -> None:
    pytest.importorskip("pylibjxl")
    photo = read_photo(io.BytesIO(pillow(IMAGE, "PNG")))
    sizes = []
    for quality in (None, 90, 20):
        write_photo(photo, tmp_path / "a.jxl", quality=quality)
        sizes.append((tmp_path / "a.jxl").stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[2]
