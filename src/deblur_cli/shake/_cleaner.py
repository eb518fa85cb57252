"""What a path looks like: a small network takes from a kernel what no hand has drawn.

The least squares leave a kernel ragged, cut into dots and surrounded by noise, and clearing it by rules (`_kernels.tidied`) cuts off what is faint. The network has seen
many kernels as they were found, and the paths that they should have been (training/shake/cleaner.py). It is good at the end of a search, and bad within one: from turn to turn its
paths become thicker.
"""

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli.shake import _estimate as search
from deblur_cli.shake._kernels import centred, centring, cleared, fit_into
from deblur_cli.shake._networks import UNet, loaded
from deblur_cli.shake._predictor import Predictor

WEIGHTS = Path(__file__).with_name("cleaner.safetensors")
CHANNELS = (32, 64, 96)
SIDE = search.LARGEST
"""Of the kernels that it sees: smaller ones are surrounded by zeros."""
FRAMED = 48
"""The next multiple of 8."""
LEAST_NOISE, USUAL_NOISE = 1e-4, -6.0
"""Standard deviation of the noise against white: the least that is told apart, and the logarithm of a usual one."""
MORE = 0.3
"""How much smaller than the kernel's largest value what is added to it is."""


class Cleaner(UNet):
    """(b, n, n) kernels as the least squares leave them and as they are cleared by rules, n = SIDE, (b,) the noise -> (b, n, n), none negative, of sum 1."""

    def __init__(self) -> None:
        super().__init__(3, 1, CHANNELS)

    def clean(self, found: Tensor, tidy: Tensor, noise: Tensor) -> Tensor:
        """The second, and something more."""
        n = found.shape[-1]
        largest = found.amax((1, 2), keepdim=True).clamp_min(1e-8)
        level = (noise.clamp(LEAST_NOISE, 0.1).log() - USUAL_NOISE) / 2
        shown = torch.stack([found / largest, tidy / largest, level[:, None, None].expand_as(found)], 1)
        before, after = (FRAMED - n) // 2, FRAMED - n - (FRAMED - n) // 2
        more = self(F.pad(shown, (before, after, before, after)))[
            :, 0, before : before + n, before : before + n
        ]
        kernels = (tidy / largest + MORE * more).clamp_min(0)
        return kernels / kernels.sum((1, 2), keepdim=True).clamp_min(1e-6)


@cache
def load_cleaner(device: torch.device, path: Path = WEIGHTS) -> Cleaner:
    """The network of the package, ready to be used."""
    return loaded(Cleaner(), path, device)


def cleaned(kernels: search.Kernels, frame: search.Frame, predictor: Predictor) -> search.Kernels:
    """(1, n, n) that fit the frame -> (1, n, n): fitted once more, and cleaned; as they are if nothing is left of them."""
    n, regions = kernels.shape[-1], search.telling_regions(frame)
    together = torch.ones(1, len(regions.light), device=kernels.device)
    (found,) = search.solved(kernels, regions, predictor, together)
    tidy = cleared(found)
    place = centring(tidy)
    seen, rest = (surrounded(each.roll(place, (0, 1)))[None] for each in (found, tidy))
    noise = torch.tensor([frame.noise / frame.white], device=kernels.device)
    (result,) = load_cleaner(kernels.device).clean(seen, rest, noise)
    if not result.sum() > 0.5:
        return kernels
    return fit_into(centred(result)[None], n)


def surrounded(kernel: Tensor) -> Tensor:
    """(n, n) with zeros around it, (SIDE, SIDE)."""
    return F.pad(kernel, ((SIDE - kernel.shape[-1]) // 2,) * 4)
