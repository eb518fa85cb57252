"""What adds up while a shutter is open, and the curve that the networks see it through: sRGB's, whatever the photo's own is (IEC 61966-2-1)."""

from enum import Enum

import torch
from torch import Tensor


class Curve(Enum):
    """In which a blur is a convolution: light, as in a camera; or the values of the file, as where a program has blurred it, or a camera wrote down values that were no sRGB."""

    LIGHT = "light"
    VALUES = "values"

    def of(self, light: Tensor) -> Tensor:
        """Linear light -> what adds up."""
        return light if self is Curve.LIGHT else to_srgb(light)

    def srgb(self, summed: Tensor) -> Tensor:
        """What adds up -> sRGB 0..1; what is darker or brighter is clipped."""
        return to_srgb(summed) if self is Curve.LIGHT else summed.clamp(0, 1)

    def light(self, summed: Tensor) -> Tensor:
        """What adds up -> linear light; of values what is darker or brighter is clipped."""
        return summed if self is Curve.LIGHT else to_light(self.srgb(summed))


def to_srgb(light: Tensor) -> Tensor:
    """Linear light -> sRGB 0..1; what is darker or brighter is clipped."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light.clamp_min(1e-4) ** (1 / 2.4) - 0.055)


def to_light(srgb: Tensor) -> Tensor:
    """sRGB 0..1 -> linear light."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
