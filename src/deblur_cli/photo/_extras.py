"""HEIC and camera RAW files, read through libraries that are installed as extras."""

import io
from dataclasses import replace

import numpy as np

from deblur_cli.photo import _tiff_tags as tt
from deblur_cli.photo._apple_hdr import URN, ultra_hdr
from deblur_cli.photo._boxes import check_boxes, colours_in
from deblur_cli.photo._errors import CutShortError, extra
from deblur_cli.photo._exif import metadata_of_tiff
from deblur_cli.photo._photo import Encoding, Metadata, Opened, Samples


def open_heic(data: bytes) -> Opened:
    """The header of a HEIC file. Its turns and mirrorings are applied by libheif, whatever EXIF says."""
    with extra("heic"):
        import pi_heif  # type: ignore[import-untyped]

    check_boxes(data)
    file = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    image = file[file.primary_index]
    notes = []
    if len(file) > 1:
        notes.append(f"only the main one of {len(file)} pictures is restored: the others are left out")
    exif = (image.info.get("exif") or b"").removeprefix(b"Exif\0\0") or None
    gain_map = None
    for number in image.info.get("aux", {}).get(URN, []):
        found = image.get_aux_image(number)
        if (
            found.mode == "L"
            and abs(found.size[0] * image.size[1] / (found.size[1] * image.size[0]) - 1) < 0.03
        ):
            gain_map = ultra_hdr(np.array(found), exif)
        if not gain_map:
            notes.append("the gain map is left out: how bright it makes the photo is not told")
    metadata = Metadata(
        image.info.get("icc_profile"), exif, image.info.get("xmp"), cicp=colours_in(data), gain_map=gain_map
    )
    kind, _, deep = image.mode.partition(";")
    mode = {
        "L": "gray",
        "LA": "gray and alpha",
        "RGB": "RGB",
        "RGBA": "RGB and alpha",
        "RGBa": "RGB and alpha",
    }[kind]
    width, height = image.size

    bits = image.info.get("bit_depth", 16 if deep else 8)

    def decode() -> Samples:
        samples: Samples = np.array(image)  # a copy: pi_heif frees what a view would show
        return samples | samples >> bits if deep else samples  # pi_heif leaves the low bits of white empty

    encoding = Encoding("HEIC", lossless=False, premultiplied=kind == "RGBa")
    return Opened(height, width, mode, bits, encoding, metadata, decode, notes=tuple(notes))


def open_raw(data: bytes) -> Opened:
    """The header of a camera's raw file. It is developed to 16-bit sRGB with the camera's white balance."""
    with extra("raw"):
        import rawpy

    metadata = Metadata()
    try:
        tags = tt.Tags.parse(data)
        if tags.end_of_pixels() > len(data):  # LibRaw would make a picture of what there is
            raise CutShortError
        metadata = replace(metadata_of_tiff(tags), icc=None, dpi=None)  # which are about the preview
    except tt.TagsCutShortError:
        raise
    except tt.TagsError:
        pass  # one of the few that are no TIFF structure
    raw = rawpy.imread(io.BytesIO(data))
    sizes = raw.sizes
    height, width = (sizes.iwidth, sizes.iheight) if sizes.flip in (5, 6) else (sizes.iheight, sizes.iwidth)

    def decode() -> Samples:
        return raw.postprocess(output_bps=16, use_camera_wb=True)

    note = "developed from the camera's raw data with its white balance, to 16-bit sRGB"
    encoding = Encoding("RAW", compression="adobe_deflate")
    return Opened(height, width, "RGB", 16, encoding, metadata, decode, notes=(note,))
