"""The curve that the networks see light through, whatever the photo's own is: IEC 61966-2-1."""

import torch
from torch import Tensor


def to_srgb(light: Tensor) -> Tensor:
    """Linear light -> sRGB 0..1; what is darker or brighter is clipped."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-4) ** (1 / 2.4) - 0.055)


def to_light(srgb: Tensor) -> Tensor:
    """sRGB 0..1 -> linear light."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
