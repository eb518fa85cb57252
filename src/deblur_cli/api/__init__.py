"""Weights, device, precision, tile and shake -> a `Deblurrer`: what the command line and the Python API share."""

from deblur_cli.api._deblurrer import Deblurrer, deblur
from deblur_cli.api._sharpness import sharpness_of
from deblur_cli.api._weights import find_weights_file

__all__ = ["Deblurrer", "deblur", "find_weights_file", "sharpness_of"]
