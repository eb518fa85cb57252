"""A clip through a function of frames, into a clip that differs from it in nothing else. The only user of PyAV.

It knows no network: it is handed `process`, which turns a photo into a restored one, as `batch` is. docs/video.md tells it to users.
"""

from deblur_cli.video._clip import Clip, survey
from deblur_cli.video._encoder import Encoder, choose_encoder
from deblur_cli.video._formats import default_target, muxer_of
from deblur_cli.video._reader import Reader
from deblur_cli.video._restore import Outcome, Work, measure, restore_clip

__all__ = [
    "Clip",
    "Encoder",
    "Outcome",
    "Reader",
    "Work",
    "choose_encoder",
    "default_target",
    "measure",
    "muxer_of",
    "restore_clip",
    "survey",
]
