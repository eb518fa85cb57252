"""The network inside the estimation: it guesses the gradients of the sharp photo from the blurred one and a kernel that is nearly right.

A small convolutional network of our own (training/shake, docs/shake.md). Hand-made priors (few gradients, strong edges) lose their way in noise:
they turn it into edges, and the kernel that explains those edges is a point.
"""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from deblur_cli.shake._fourier import gradient_power, gradients, transfer, wrap
from deblur_cli.shake._networks import UNet, loaded

WEIGHTS = Path(__file__).with_name("predictor.safetensors")
MULTIPLE = 16
"""Height and width of its input: it works at half the size and three times half of that."""
CHANNELS = (24, 48, 64, 96)
MARGIN = 32
STRONG, WEAK = 3e-2, 3e-3
"""Of the two inverse filters that it is shown: one that rings little and one that is sharp."""


class Predictor(UNet):
    """(b, 3, h, w): a grey photo and its two inverse filterings, as of `inverse_filters` -> (b, 2, h, w): gradients right and down.

    h and w are multiples of 16. The light is linear, with 1 for nearly the brightest that there is.
    """

    def __init__(self) -> None:
        super().__init__(3, 4, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """How much of the gradients of the less sharp filtering holds, and what is to be added."""
        gate, more = super().forward(x).chunk(2, 1)
        return 1.2 * gate.sigmoid() * torch.stack(gradients(x[:, 1]), 1) + 0.3 * more


@cache
def load_predictor(device: torch.device, path: Path = WEIGHTS) -> Predictor:
    """The network of the package, ready to be used."""
    return loaded(Predictor(), path, device)


def inverse_filters(light: Tensor, kernels: Tensor) -> Tensor:
    """(r, h, w) grey and (r, n, n) -> (r, 3, h, w): what `Predictor` looks at."""
    margin = min(MARGIN, min(light.shape[-2:]) - 1)
    framed = wrap(light, (margin,) * 4)
    size = (framed.shape[-2], framed.shape[-1])
    kernel_ft, spectrum = transfer(kernels, size), torch.fft.rfft2(framed)
    up, down = kernel_ft.conj() * spectrum, kernel_ft.abs().square()
    penalty = gradient_power(size, light.device) + 0.05
    inside = (..., slice(margin, -margin), slice(margin, -margin))
    filtered = [torch.fft.irfft2(up / (down + share * penalty), size)[inside] for share in (STRONG, WEAK)]
    return torch.stack([light, *filtered], 1)
