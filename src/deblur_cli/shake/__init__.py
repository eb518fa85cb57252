"""Camera shake: found in a photo, undone, and judged. Light in, light out: `(c, h, w)` float32, linear, about 0..1.

One shake of a camera is one kernel, or one that changes slowly over the frame. `estimate` finds it, `deconvolve` undoes it; `undo` does both, and a
network then finishes the result and says where it is nearer to the truth than the photo was. Everything is by FFT on parts of the frame, on the light's
device, in float32, and gives the same result each time. It knows no files, and of tone curves that a blur may add up in light or in values; docs/shake.md has the ideas and the figures.
"""

from deblur_cli.shake._curve import Curve
from deblur_cli.shake._deconvolve import deconvolve
from deblur_cli.shake._kernels import LARGEST, Shake, as_kernel, kernel_from_lamp
from deblur_cli.shake._undo import Undone, estimate, undo

__all__ = [
    "LARGEST",
    "Curve",
    "Shake",
    "Undone",
    "as_kernel",
    "deconvolve",
    "estimate",
    "kernel_from_lamp",
    "undo",
]
