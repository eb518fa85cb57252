"""Muon: steps along the orthogonalised momentum, for the weights that are matrices.

Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. The gradient of a matrix is mostly a few strong
directions; a step of equal length in all directions also learns the weak ones. Steps are scaled to the size that AdamW's have
(Liu et al., "Muon is scalable for LLM training", 2025), so that one learning rate serves both.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from deblur_cli.device import choose_dtype

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Jordan's coefficients: five rounds bring singular values from 0.003..1 to about 0.7..1.2."""


def orthogonalise(matrices: Tensor) -> Tensor:
    """(n, rows, columns), each with its singular values brought near 1, by five Newton-Schulz rounds, in bfloat16 where that is fast."""
    x = matrices.to(choose_dtype("auto", matrices.device))
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT.contiguous()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    a, b, c = QUINTIC
    for _ in range(5):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay. A convolution (out, in, h, w) is a matrix of `out` rows."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, *, momentum: float = 0.95, weight_decay: float = 1e-4
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; matrices of one shape go through `orthogonalise` together."""
        for group in self.param_groups:
            same_shape: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    same_shape[p.shape[0], p[0].numel()].append(p)
            for (rows, columns), parameters in same_shape.items():
                gradients = torch.stack([p.grad.flatten(1) for p in parameters if p.grad is not None])
                averages = [
                    self.state[p].setdefault("momentum", torch.zeros_like(gradients[0])) for p in parameters
                ]
                keep = group["momentum"]
                torch._foreach_lerp_(averages, list(gradients), 1 - keep)
                update = orthogonalise(gradients.lerp(torch.stack(averages), keep))
                size = 0.2 * max(rows, columns) ** 0.5
                for p, change in zip(parameters, update, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(change.view(p.shape), alpha=group["lr"] * size)
