"""A photo file in, a `Photo` in memory, a photo file out, and nothing lost on the way.

The only module that knows Pillow or any other decoder; all of them are imported inside the functions that
need them, so that importing this costs little. It knows nothing of networks, tiles or jobs.
"""

from deblur_cli.photo._alpha import fill_transparent
from deblur_cli.photo._atomic import replace_file, sweep_temporaries, whole_file
from deblur_cli.photo._formats import format_of_name, looks_like_photo, output_extension, photo_extensions
from deblur_cli.photo._image import image_from_photo, photo_from_image
from deblur_cli.photo._pair import pair_of, read_pair
from deblur_cli.photo._photo import Encoding, Metadata, Photo, Samples
from deblur_cli.photo._preview import gray_png, preview_of
from deblur_cli.photo._read import PhotoInfo, import_codecs, inspect_photo, read_photo
from deblur_cli.photo._screen import screen_pictures
from deblur_cli.photo._tone import ToneCurve, tone_curve_of
from deblur_cli.photo._write import write_photo

__all__ = [
    "Encoding",
    "Metadata",
    "Photo",
    "PhotoInfo",
    "Samples",
    "ToneCurve",
    "fill_transparent",
    "format_of_name",
    "gray_png",
    "image_from_photo",
    "import_codecs",
    "inspect_photo",
    "looks_like_photo",
    "output_extension",
    "pair_of",
    "photo_extensions",
    "photo_from_image",
    "preview_of",
    "read_pair",
    "read_photo",
    "replace_file",
    "screen_pictures",
    "sweep_temporaries",
    "tone_curve_of",
    "whole_file",
    "write_photo",
]
