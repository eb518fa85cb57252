"""Inputs -> planned jobs: which photo is written where, decided before any work and without opening a photo.

What counts as a photo and which extension its result gets is handed in, so that this module knows no formats.
"""

from deblur_cli.jobs._files import LOCAL, Files
from deblur_cli.jobs._find import natural_key, read_list
from deblur_cli.jobs._naming import STANDARD_STREAM, Naming
from deblur_cli.jobs._photos import find_photos
from deblur_cli.jobs._plan import Job, Plan, in_order, plan_photos
from deblur_cli.jobs._plan_batch import plan_batch
from deblur_cli.jobs._shard import Shard, parse_shard

__all__ = [
    "LOCAL",
    "STANDARD_STREAM",
    "Files",
    "Job",
    "Naming",
    "Plan",
    "Shard",
    "find_photos",
    "in_order",
    "natural_key",
    "parse_shard",
    "plan_batch",
    "plan_photos",
    "read_list",
]
