"""Random numbers for one training batch: all of them follow from a seed and the number of the step."""

import math
from typing import TypeVar

import torch
from torch import Tensor

K = TypeVar("K")


class Dice:
    """Draws that repeat: the same `numbers` give the same draws, so a resumed run sees the batches it would have seen."""

    def __init__(self, *numbers: int) -> None:
        seed = 0
        for number in numbers:  # mixed as in splitmix64, so that neighbouring steps share nothing
            seed = (seed + number + 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9 % 2**64
            seed ^= seed >> 31
        self.generator = torch.Generator().manual_seed(seed % 2**63)

    def uniform(self, low: float, high: float) -> float:
        """A number between low and high."""
        return low + (high - low) * torch.rand((), generator=self.generator, dtype=torch.float64).item()

    def log_uniform(self, low: float, high: float) -> float:
        """A number between low and high, each doubling equally likely."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def integer(self, low: int, high: int) -> int:
        """One of low, ..., high."""
        return int(torch.randint(low, high + 1, (), generator=self.generator).item())

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform(0, 1) < probability

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float32 on the CPU."""
        return torch.randn(shape, generator=self.generator)

    def pick(self, shares: dict[K, float]) -> K:
        """One key, in proportion to its value."""
        point = self.uniform(0, sum(shares.values()))
        for key, share in shares.items():
            point -= share
            if point < 0:
                return key
        return key
