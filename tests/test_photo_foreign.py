"""Files as other programs write them: every kind is read as what it shows."""

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from deblur_cli.errors import PhotoError
from deblur_cli.photo import PhotoInfo, inspect_photo, read_photo, write_photo
from deblur_cli.photo._boxes import box, colours_in
from deblur_cli.photo._formats import format_of_bytes
from photo_files import again

FIXTURES = Path(__file__).parent / "data/photos"
RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (16, 24), dtype=np.uint8)
RGB = RNG.integers(0, 256, (16, 24, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (16, 24, 3), dtype=np.uint16)
FLOAT = (RNG.random((16, 24, 3)) * 5 - 1).astype(np.float32)
IMAGE = Image.fromarray(RGB)
BITFIELDS = struct.pack("<IiiHHIIiiII3I", 40, 24, 16, 1, 16, 3, 0, 0, 0, 0, 0, 0x7C00, 0x3E0, 0x1F)
BITFIELDS += (RGB[::-1].astype("<u2") // 8 @ np.array([1024, 32, 1], "<u2")).tobytes()
PALETTE = IMAGE.quantize(16)
PALETTE_RGB = np.asarray(PALETTE.convert("RGB"))
BILEVEL = Image.fromarray(GRAY).convert("1")
BILEVEL_GRAY = np.asarray(BILEVEL.convert("L"))


def pillow(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def tiff(samples: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **({"photometric": "rgb"} | options))
    return file.getvalue()


def plain_netpbm(kind: bytes, numbers: np.ndarray, maximum: bytes) -> bytes:
    lines = b"\n".join(b" ".join(b"%d" % number for number in row.ravel()) for row in numbers)
    return kind + b"\n# made by hand\n24\t16\n" + maximum + lines + b"\n"


def interlaced_png() -> bytes:
    """Adam7: seven pictures, each of every so manieth pixel, one after the other."""
    import struct
    import zlib

    starts = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    rows = b"".join(
        b"\0" + row.tobytes() for y, x, down, right in starts for row in DEEP.astype(">u2")[y::down, x::right]
    )

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 24, 16, 16, 2, 0, 0, 1)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


EXACT: dict[str, tuple[Callable[[], bytes], np.ndarray, str, int]] = {
    "PNG palette": (lambda: pillow(PALETTE, "PNG"), PALETTE_RGB, "palette", 4),
    "PNG 1 bit": (lambda: pillow(BILEVEL, "PNG"), BILEVEL_GRAY, "gray", 1),
    "PNG gray": (lambda: pillow(Image.fromarray(GRAY), "PNG"), GRAY, "gray", 8),
    "PNG gray 16 bit": (lambda: pillow(Image.fromarray(DEEP[..., 0]), "PNG"), DEEP[..., 0], "gray", 16),
    "PNG 16 bit": (lambda: imagecodecs.png_encode(DEEP), DEEP, "RGB", 16),
    "PNG interlaced": (interlaced_png, DEEP, "RGB", 16),
    "TIFF 1 bit": (lambda: pillow(BILEVEL, "TIFF"), BILEVEL_GRAY, "gray", 1),
    "TIFF fax": (lambda: pillow(BILEVEL, "TIFF", compression="group4"), BILEVEL_GRAY, "gray", 1),
    "TIFF palette": (lambda: pillow(PALETTE, "TIFF"), PALETTE_RGB, "palette", 8),
    "TIFF white is 0": (lambda: tiff(255 - GRAY, photometric="miniswhite"), GRAY, "gray", 8),
    "TIFF LZW": (lambda: pillow(IMAGE, "TIFF", compression="tiff_lzw"), RGB, "RGB", 8),
    "TIFF deflate": (lambda: pillow(IMAGE, "TIFF", compression="tiff_adobe_deflate"), RGB, "RGB", 8),
    "TIFF packbits": (lambda: pillow(IMAGE, "TIFF", compression="packbits"), RGB, "RGB", 8),
    "TIFF 16 bit": (lambda: tiff(DEEP), DEEP, "RGB", 16),
    "TIFF big-endian": (lambda: tiff(DEEP, byteorder=">"), DEEP, "RGB", 16),
    "BigTIFF": (lambda: tiff(DEEP, bigtiff=True), DEEP, "RGB", 16),
    "TIFF tiles": (lambda: tiff(DEEP, tile=(16, 16), compression="lzw", predictor=True), DEEP, "RGB", 16),
    "TIFF planes": (lambda: tiff(np.moveaxis(DEEP, -1, 0), planarconfig="separate"), DEEP, "RGB", 16),
    "TIFF float": (lambda: tiff(FLOAT, compression="deflate", predictor=3), FLOAT, "RGB", 32),
    "TIFF half": (
        lambda: tiff(FLOAT.astype(np.float16)),
        FLOAT.astype(np.float16).astype(np.float32),
        "RGB",
        16,
    ),
    "TIFF double": (lambda: tiff(FLOAT.astype(np.float64)), FLOAT, "RGB", 64),
    "BMP": (lambda: pillow(IMAGE, "BMP"), RGB, "RGB", 8),
    "BMP palette": (lambda: pillow(PALETTE, "BMP"), PALETTE_RGB, "palette", 8),
    "BMP 1 bit": (lambda: pillow(BILEVEL, "BMP"), BILEVEL_GRAY, "gray", 8),
    "DIB": (lambda: pillow(IMAGE, "BMP")[14:], RGB, "RGB", 8),
    "DIB palette": (lambda: pillow(PALETTE, "BMP")[14:], PALETTE_RGB, "palette", 8),
    "DIB 1 bit": (lambda: pillow(BILEVEL, "BMP")[14:], BILEVEL_GRAY, "gray", 8),
    "DIB masks": (lambda: BITFIELDS, (RGB // 8 * (255 / 31)).astype(np.uint8), "RGB", 8),
    "GIF": (lambda: pillow(PALETTE, "GIF"), PALETTE_RGB, "palette", 8),
    "PBM": (lambda: pillow(BILEVEL, "PPM"), BILEVEL_GRAY, "gray", 1),
    "PGM": (lambda: pillow(Image.fromarray(GRAY), "PPM"), GRAY, "gray", 8),
    "PPM": (lambda: pillow(IMAGE, "PPM"), RGB, "RGB", 8),
    "plain PPM": (lambda: plain_netpbm(b"P3", DEEP, b"65535\n"), DEEP, "RGB", 16),
    "plain PGM": (lambda: plain_netpbm(b"P2", GRAY // 85, b"3\n"), GRAY // 85 * 85, "gray", 2),
    "plain PBM": (lambda: plain_netpbm(b"P1", BILEVEL_GRAY == 0, b""), BILEVEL_GRAY, "gray", 1),
    "WebP lossless": (lambda: pillow(IMAGE, "WEBP", lossless=True), RGB, "RGB", 8),
}


@pytest.mark.parametrize("name", EXACT)
def test_reads_what_others_write(name: str) -> None:
    made, expected, mode, bits = EXACT[name]
    photo, info = read_photo(io.BytesIO(made())), inspect_photo(io.BytesIO(made()))
    assert photo.pixels.dtype == expected.dtype
    np.testing.assert_array_equal(photo.pixels, expected.reshape(16, 24, -1))
    assert photo.alpha is None
    assert photo.notes == (("64 bits are reduced to 32",) if bits == 64 else ())
    assert (info.height, info.width, info.mode, info.bits) == (16, 24, mode, bits)


def test_transparent_colour_of_a_palette() -> None:
    photo = read_photo(io.BytesIO(pillow(PALETTE, "PNG", transparency=3)))
    np.testing.assert_array_equal(photo.alpha, np.where(np.asarray(PALETTE) == 3, 0, 255))


def test_associated_alpha_stays_associated_in_tiff_and_is_divided_out_elsewhere() -> None:
    colours = np.full((16, 24, 3), 100, np.uint8)
    data = tiff(np.dstack([colours, np.full((16, 24), 200, np.uint8)]), extrasamples=["assocalpha"])
    photo, file = read_photo(io.BytesIO(data)), io.BytesIO()
    write_photo(photo, file)
    file.seek(0)
    with tifffile.TiffFile(file) as back:
        assert back.pages.first.extrasamples == (1,)
        np.testing.assert_array_equal(back.asarray()[..., :3], colours)
    file = io.BytesIO()
    write_photo(photo, file, format="PNG")
    np.testing.assert_array_equal(Image.open(file), np.dstack([np.full((16, 24, 3), 128), photo.alpha]))


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_of_several_pictures_the_first_is_read_and_the_rest_mentioned(file_format: str) -> None:
    others = [Image.fromarray(RGB[::-1].copy()), Image.fromarray(255 - RGB)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = pillow(IMAGE, file_format, save_all=True, append_images=others, **options)
    photo = read_photo(io.BytesIO(data))
    assert photo.pixels.shape == RGB.shape
    assert "only the first of 3" in photo.notes[0]
    if file_format in ("WEBP", "PNG", "TIFF"):
        np.testing.assert_array_equal(photo.pixels, RGB)


def test_a_second_picture_in_a_jpeg_is_mentioned() -> None:
    file = io.BytesIO()
    IMAGE.save(file, "MPO", save_all=True, append_images=[IMAGE])
    file.seek(0)
    photo = read_photo(file)
    assert photo.pixels.shape == RGB.shape
    assert "more pictures" in photo.notes[0]
    out = io.BytesIO()
    write_photo(photo, out)
    assert b"MPF\0" not in out.getvalue()


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_and_says_so(file_format: str) -> None:
    flat = Image.new("CMYK", (24, 16), (200, 30, 0, 20))
    photo = read_photo(io.BytesIO(pillow(flat, file_format)))
    assert photo.pixels.shape == (16, 24, 3)
    np.testing.assert_allclose(photo.pixels, np.asarray(flat.convert("RGB")), atol=3)
    assert "CMYK without a usable profile" in photo.notes[0]


def test_cmyk_goes_through_its_profile() -> None:
    profile = cmyk_profile()
    flat = Image.new("CMYK", (24, 16), (0, 0, 0, 0))
    photo = read_photo(io.BytesIO(pillow(flat, "TIFF", icc_profile=profile)))
    assert photo.notes == ("CMYK is converted to sRGB",)
    assert photo.metadata.icc
    assert ImageCms.ImageCmsProfile(io.BytesIO(photo.metadata.icc)).profile.xcolor_space.strip() == "RGB"
    assert photo.pixels.min() > 200, "no ink is white"


def cmyk_profile() -> bytes:
    """The smallest CMYK profile: a table of 2**4 colours in Lab, where only black and no ink differ."""
    import struct

    levels = [(255, 128, 128) if cmyk == 0 else (0, 128, 128) for cmyk in range(16)]
    table = struct.pack(">4sIBBBx9i", b"mft1", 0, 4, 3, 2, *(65536 * (i % 4 == 0) for i in range(9)))
    table += (
        bytes(range(256)) * 4 + bytes(value for level in levels for value in level) + bytes(range(256)) * 3
    )
    description = b"desc" + struct.pack(">II", 0, 5) + b"CMYK\0" + bytes(79)
    white = b"XYZ " + struct.pack(">I3i", 0, 0xF6D6, 0x10000, 0xD32D)
    tags, body, place = b"", b"", 128 + 4 + 3 * 12
    for name, value in ((b"desc", description), (b"wtpt", white), (b"A2B0", table)):
        tags += name + struct.pack(">II", place + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"", 0x02100000, b"prtr", b"CMYK", b"Lab ")
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I", 3) + tags + body


def test_exif_of_old_pngs_is_found() -> None:
    from PIL.PngImagePlugin import PngInfo

    exif, info = Image.Exif(), PngInfo()
    exif[0x0112] = 6
    block = exif.tobytes()
    for name in ("exif", "APP1"):
        info.add_text(f"Raw profile type {name}", f"\n{name}\n{len(block):8}\n{block.hex()}\n", zip=True)
    photo = read_photo(io.BytesIO(pillow(IMAGE, "PNG", pnginfo=info)))
    np.testing.assert_array_equal(photo.pixels, np.rot90(RGB, -1))


@pytest.mark.parametrize(("primaries", "transfer", "matrix"), [(1, 13, 6), (12, 13, 1), (9, 16, 9)])
def test_colours_told_by_numbers_come_back(primaries: int, transfer: int, matrix: int) -> None:
    data = imagecodecs.avif_encode(RGB, primaries=primaries, transfer=transfer, matrix=matrix)
    photo = read_photo(io.BytesIO(data))
    assert photo.metadata.cicp == (primaries, transfer, matrix)
    assert photo.notes == ()
    for name in ("AVIF", "PNG", "JXL"):
        file = io.BytesIO()
        assert write_photo(photo, file, format=name) == ()
        file.seek(0)
        back = read_photo(file).metadata
        assert back.cicp is not None
        assert back.cicp[:2] == (primaries, transfer)
        assert back.icc is None
    file = io.BytesIO()
    notes = write_photo(photo, file, format="JPEG")
    file.seek(0)
    icc = read_photo(file).metadata.icc
    assert (icc is None) == ((primaries, transfer) == (1, 13))
    hdr = "its PQ colours are told by a profile, which not every program shows as HDR"
    assert notes == ((hdr,) if transfer == 16 else ())


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif_that_is_rgb_comes_back_by_the_bit(bits: int) -> None:
    samples = RGB if bits == 8 else (DEEP >> 16 - bits)
    with_alpha = np.dstack([samples, samples[..., 0]])
    for picture in (samples, with_alpha):
        data = bytes(
            imagecodecs.avif_encode(picture, level=100, bitspersample=bits, pixelformat="444", matrix=0)
        )
        result = again(data)
        np.testing.assert_array_equal(imagecodecs.avif_decode(result, index=0), picture)
        assert colours_in(result) == colours_in(data)
    smaller = again(data, quality=92)
    assert len(smaller) < len(result)
    assert colours_in(smaller) == colours_in(data)._replace(matrix=6)


def test_of_a_deep_avif_film_without_a_still_8_bits_are_read() -> None:
    frames = np.stack([np.full((24, 32, 3), level, np.uint16) for level in (300, 500, 700)])
    data = bytes(imagecodecs.avif_encode(frames, bitspersample=10, level=95)).replace(b"pitm", b"free")
    photo = read_photo(io.BytesIO(data))
    np.testing.assert_allclose(photo.pixels, 300 / 1023 * 255, atol=2)
    assert photo.pixels.dtype == np.uint8
    frames_left = "only the first of 3 frames is restored: the others are left out"
    assert photo.notes == (frames_left, "10 bits are reduced to 8")


def test_the_gain_map_of_an_avif_is_left_out_and_said() -> None:
    told = b"infe" + struct.pack(">IHH", 2 << 24, 3, 0) + b"tmap\0"
    data = bytes(imagecodecs.avif_encode(RGB)) + box(b"free", told)
    assert read_photo(io.BytesIO(data)).notes == ("the gain map is left out",)


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 8, 9, 12])
def test_an_avif_looks_the_same_whatever_its_matrix_was(matrix: int) -> None:
    """As Pillow's libavif shows it, which is not the one that wrote it."""
    data = imagecodecs.avif_encode(
        np.asarray(SMOOTH), level=100, pixelformat="444", primaries=9, transfer=16, matrix=matrix
    )
    result = again(bytes(data))
    np.testing.assert_allclose(np.asarray(Image.open(io.BytesIO(result))), np.asarray(SMOOTH), atol=8)
    assert colours_in(result) == (9, 16, matrix if matrix in (1, 5, 6, 9) else 6)


def test_deep_avif_is_read_whole() -> None:
    ramp = np.linspace(0, 1023, 16 * 24).reshape(16, 24, 1).repeat(3, 2).astype(np.uint16)
    data = imagecodecs.avif_encode(ramp, bitspersample=10, level=95)
    photo = read_photo(io.BytesIO(data))
    np.testing.assert_allclose(photo.pixels, ramp / 1023 * 65535, atol=600)
    assert inspect_photo(io.BytesIO(data)).bits == 10


@pytest.mark.parametrize("bits", [10, 12])
def test_of_a_deep_avif_sequence_the_first_picture_is_read(bits: int) -> None:
    levels = [level << bits - 10 for level in (300, 500, 700)]
    frames = np.stack([np.full((24, 32, 3), level, np.uint16) for level in levels])
    photo = read_photo(io.BytesIO(imagecodecs.avif_encode(frames, bitspersample=bits, level=95)))
    assert photo.pixels.shape == (24, 32, 3)
    np.testing.assert_allclose(photo.pixels, 300 / 1023 * 65535, atol=300)
    assert photo.alpha is None, "the decoder adds one"
    assert photo.notes == ("only the first of 3 frames is restored: the others are left out",)


@pytest.mark.parametrize(
    ("samples", "options", "kind"),
    [
        (DEEP.astype(np.int64), {}, "a TIFF with 64-bit int64 samples"),
        (RGB, {"photometric": "itulab"}, "a TIFF of the kind ITULAB with NONE compression"),
        (FLOAT, {"photometric": "cielab"}, "a TIFF of the kind CIELAB with 32-bit float32 samples"),
        (
            DEEP.astype(np.uint32),
            {"photometric": "icclab"},
            "a TIFF of the kind ICCLAB with 32-bit uint32 samples",
        ),
        (FLOAT, {"photometric": "ycbcr"}, "a TIFF of the kind YCBCR with 32-bit float32 samples"),
        (
            RGB[..., :2],
            {"photometric": "minisblack", "volumetric": True, "tile": (1, 16, 16)},
            "a TIFF of a volume of 16 slices",
        ),
        (
            np.zeros((16, 24, 17), np.uint8),
            {"extrasamples": [0] * 14, "planarconfig": "contig"},
            "a TIFF with 17 channels",
        ),
    ],
)
def test_unsupported_tiff_says_which(samples: np.ndarray, options: dict[str, object], kind: str) -> None:
    with pytest.raises(PhotoError, match=f"^standard input: {kind} is not supported$"):
        read_photo(io.BytesIO(tiff(samples, **options)))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("signed", [False, True])
def test_integers_of_all_sizes(bits: int, signed: bool, planar: str) -> None:
    levels = (DEEP.astype(np.uint64) << 16) + 9 >> 32 - bits
    samples = (levels.astype(np.int64) - (1 << bits - 1)).astype(f"int{bits}") if signed else levels
    samples = samples if signed else samples.astype(f"uint{bits}")
    stored = samples if planar == "contig" else np.moveaxis(samples, -1, 0)
    photo = read_photo(io.BytesIO(tiff(stored, planarconfig=planar)))
    np.testing.assert_array_equal(photo.pixels, DEEP >> 8 if bits == 8 else DEEP)
    notes = ("32 bits are reduced to 16",) if bits == 32 else ()
    dark = ("samples below 0 are taken for dark ones: the least that they hold is black",)
    assert photo.notes == notes + (dark if signed else ())


@pytest.mark.parametrize("kind", ["cielab", "icclab"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cielab(kind: str, dtype: type) -> None:
    """Red, green and blue of sRGB and a middle gray, by the numbers of other programs for D50."""
    lab = np.array([[54.29, 80.81, 69.89], [87.82, -79.27, 80.99], [29.57, 68.30, -112.03], [53.39, 0, 0]])
    white, scale = np.iinfo(dtype).max, (np.iinfo(dtype).max + 1) // 256
    zero = 0 if kind == "cielab" else 128
    samples = np.rint(np.stack([lab[:, 0] / 100 * white, *((lab[:, 1:] + zero) * scale).T], 1))
    data = tiff(samples.astype(np.int64).astype(dtype)[None].repeat(2, 0), photometric=kind)
    photo = read_photo(io.BytesIO(data))
    expected = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [127, 127, 127]]) / 255 * white
    np.testing.assert_allclose(photo.pixels[0], expected, atol=(12 if dtype == np.uint8 else 1) * white / 255)
    assert photo.notes == ("CIELAB is converted to sRGB",)


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_cielab_by_the_white_that_the_file_tells(dtype: type) -> None:
    """Green of sRGB, by its formulas for D65, in samples that say they have signs."""
    bits = np.iinfo(dtype).bits
    lab = np.array([87.73 / 100 * (2**bits - 1), -86.18 * 2 ** (bits - 8), 83.18 * 2 ** (bits - 8)])
    samples = np.rint(lab).astype(np.int64).astype(dtype)
    white = (318, 5, 2, (3127, 10000, 3290, 10000), True)
    data = tiff(samples[None, None].repeat(2, 0).repeat(3, 1), photometric="cielab", extratags=[white])
    pixels = read_photo(io.BytesIO(data)).pixels / (2**bits - 1) * 255
    np.testing.assert_allclose(pixels[0, 0], [0, 255, 0], atol=12 if bits == 8 else 1)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(("bits", "alpha"), [(8, True), (16, False), (16, True)])
def test_ycbcr_that_libtiff_does_not_convert(bits: int, alpha: bool, planar: str) -> None:
    scale = 2**bits // 256
    samples = np.asarray(SMOOTH.convert("YCbCr")).astype(f"uint{bits}") * scale
    if alpha:
        samples = np.dstack([samples, GRAY.astype(samples.dtype)])
    stored = np.moveaxis(samples, -1, 0) if planar == "separate" else samples
    more = {"extrasamples": ["unassalpha"]} if alpha else {}
    photo = read_photo(io.BytesIO(tiff(stored, photometric="ycbcr", planarconfig=planar, **more)))
    assert photo.pixels.dtype == samples.dtype
    np.testing.assert_allclose(photo.pixels / scale, np.asarray(SMOOTH), atol=3)
    assert (photo.alpha is not None) == alpha
    if photo.alpha is not None:
        np.testing.assert_array_equal(photo.alpha, GRAY)


def tiff_by_hand(payload: bytes, **more: int) -> bytes:
    """A TIFF of YCbCr of 24x16 pixels, with two colours a 2x2 pixels, in one strip."""
    tags = {
        256: 24,
        257: 16,
        258: (8, 8, 8),
        259: 1,
        262: 6,
        273: 0,
        277: 3,
        278: 16,
        279: len(payload),
        530: (2, 2),
    }
    tags |= {int(tag): value for tag, value in more.items()}
    start = 8 + 2 + 12 * len(tags) + 4
    body = struct.pack("<3H", 8, 8, 8)
    entries = b""
    for tag, value in sorted(tags.items()):
        if tag == 258:
            entries += struct.pack("<HHII", tag, 3, 3, start)
        elif tag == 530:
            entries += struct.pack("<HHIHH", tag, 3, 2, 2, 2)
        else:
            entries += struct.pack("<HHII", tag, 4, 1, start + len(body) if tag in (273, 513) else value)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + body + payload


SMOOTH = IMAGE.resize((3, 2)).resize((24, 16), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("old_jpeg", [False, True])
def test_tiff_of_ycbcr_and_of_old_jpeg(old_jpeg: bool, orientation: int) -> None:
    ycc = np.asarray(SMOOTH.convert("YCbCr"))
    brightness = ycc[..., 0].reshape(8, 2, 12, 2).transpose(0, 2, 1, 3).reshape(8, 12, 4)
    colours = ycc[..., 1:].reshape(8, 2, 12, 2, 2).mean((1, 3)).astype(np.uint8)
    data = tiff_by_hand(np.concatenate([brightness, colours], 2).tobytes(), **{"274": orientation})
    if old_jpeg:
        jpeg = pillow(SMOOTH, "JPEG", quality=95)
        more = {"259": 6, "274": orientation, "512": 1, "513": 0, "514": len(jpeg)}
        data = tiff_by_hand(jpeg, **more)
    turned = {1: SMOOTH, 3: SMOOTH.rotate(180), 6: SMOOTH.rotate(-90, expand=True)}[orientation]
    photo = read_photo(io.BytesIO(data))
    np.testing.assert_allclose(photo.pixels, np.asarray(turned), atol=30)
    assert np.abs(photo.pixels.astype(int) - np.asarray(turned)).mean() < 5


@pytest.mark.parametrize("kind", [8, 9])
def test_cielab_in_jpeg(kind: int) -> None:
    """As libtiff writes it: three parts of which JPEG does not know that they are L, a and b."""
    y, x = np.mgrid[:16, :24]
    lab = np.stack([60 + x * 4, 128 + (y - 8) * 3, 128 + (x - 12) * 3], -1).astype(np.uint8)
    stored = lab ^ np.array([0, 128, 128], np.uint8) if kind == 8 else lab
    jpeg = imagecodecs.jpeg_encode(
        stored, 100, colorspace="unspecified", outcolorspace="unspecified", subsampling="444"
    )
    photo = read_photo(io.BytesIO(tiff_by_hand(bytes(jpeg), **{"259": 7, "262": kind})))
    plain = read_photo(io.BytesIO(tiff(stored, photometric="cielab" if kind == 8 else "icclab")))
    assert np.abs(photo.pixels.astype(int) - plain.pixels).mean() < 4
    assert plain.notes == photo.notes == ("CIELAB is converted to sRGB",)


def test_tiff_palette_of_two_colours() -> None:
    bits = np.asarray(BILEVEL)
    colormap = np.array([[65535, 0], [1000, 20000], [0, 65535]], np.uint16)
    extra = [(320, 3, 6, tuple(map(int, colormap.ravel())), True)]
    data = tiff(bits, photometric="minisblack", extratags=extra)
    gray, palette = (struct.pack("<HHIHH", 262, 3, 1, kind, 0) for kind in (1, 3))
    assert gray in data
    photo = read_photo(io.BytesIO(data.replace(gray, palette)))
    np.testing.assert_array_equal(photo.pixels, (colormap >> 8).T[bits.astype(int)])


def test_channels_beyond_alpha_are_left_out_and_said() -> None:
    samples = np.dstack([RGB, RGB[..., :2]])
    photo = read_photo(io.BytesIO(tiff(samples, extrasamples=["unassalpha", "unspecified"])))
    np.testing.assert_array_equal(np.dstack([photo.pixels, photo.alpha]), samples[..., :4])
    assert photo.notes == ("1 extra channel is left out",)


def test_inspecting_says_what_there_is() -> None:
    assert inspect_photo(FIXTURES / "full.jpg") == PhotoInfo(
        format="JPEG",
        height=16,
        width=24,
        mode="RGB",
        bits=8,
        size_bytes=8322,
        orientation=1,
        profile="sRGB built-in",
        metadata=("ICC", "EXIF", "XMP", "IPTC", "comment", "DPI"),
        notes=(),
    )


def test_importing_it_imports_no_decoder() -> None:
    code = "import sys, deblur_cli.photo; print(*sorted({'PIL', 'imagecodecs', 'tifffile', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_descriptions_of_pages_go_with_the_pages() -> None:
    for options in ({}, {"imagej": True}, {"ome": True}):
        file = io.BytesIO()
        pages = np.stack([RGB[..., 0]] * 3)
        tifffile.imwrite(file, pages, photometric="minisblack", **options)
        out = io.BytesIO()
        write_photo(read_photo(io.BytesIO(file.getvalue())), out)
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(out.getvalue())), RGB[..., 0])


def test_the_description_of_a_single_page_stays() -> None:
    out = io.BytesIO()
    write_photo(read_photo(io.BytesIO(tiff(RGB, description="A cat", metadata=None))), out)
    assert tifffile.TiffFile(io.BytesIO(out.getvalue())).pages.first.description == "A cat"


def test_photoshops_layers_are_left_out_and_said() -> None:
    layers = (37724, 7, 10, b"Adobe Phot", True)
    photo = read_photo(io.BytesIO(tiff(RGB, extratags=[layers])))
    assert photo.notes == ("the photo is restored as a whole: Photoshop's layers are left out",)
    out = io.BytesIO()
    write_photo(photo, out)
    assert b"Adobe Phot" not in out.getvalue()


def test_a_raw_file_under_another_name_is_not_its_preview() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(RGB, photometric="rgb", subfiletype=1, subifds=1)  # the preview first, as cameras do
        writer.write(GRAY.repeat(4, 0).repeat(4, 1), photometric=32803)
    with pytest.raises(PhotoError, match="a camera's raw file under a name that does not end as one's does"):
        read_photo(io.BytesIO(file.getvalue()))


def test_cmyk_of_more_than_it_can_hold() -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (16, 24, 5), np.uint16)
    photo = read_photo(io.BytesIO(tiff(samples, photometric="separated", extrasamples=["unassalpha"])))
    assert photo.notes[:2] == ("1 extra channel is left out", "16 bits are reduced to 8")


def test_two_pictures_in_a_ppm_are_mentioned() -> None:
    one = pillow(IMAGE, "PPM")
    assert read_photo(io.BytesIO(one + b"\n")).notes == ()
    assert read_photo(io.BytesIO(one * 2)).notes == (
        "only the first picture is restored: the others are left out",
    )


def test_avif_by_its_compatible_brands() -> None:
    assert format_of_bytes(b"\0\0\0\x20ftypmif1\0\0\0\0miafavifMA1B", ".avif") == "AVIF"
    assert format_of_bytes(b"\0\0\0\x20ftypmif1\0\0\0\0miafheicxxxx", ".heic") == "HEIC"
