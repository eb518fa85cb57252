"""Which kernel makes a sharp photo's gradients a blurred one's: regularised least squares, by conjugate gradients in the Fourier domain."""

from collections.abc import Callable

import torch
from torch import Tensor

from deblur_cli.shake._fourier import fast_length

ITERATIONS = 20
"""Steps of the solution."""


def correlations(sharp: Tensor, blurred: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The normal equations of kernels of side n: (r, 2n-1, 2n-1) of `sharp` with itself, (r, n, n) with `blurred`; both (r, 2, h, w)."""
    size = (sharp.shape[-2], sharp.shape[-1])
    sharp_ft, blurred_ft = torch.fft.rfft2(sharp), torch.fft.rfft2(blurred)
    cross = torch.fft.irfft2((sharp_ft.conj() * blurred_ft).sum(1), size)
    auto = torch.fft.irfft2(sharp_ft.abs().square().sum(1), size)
    cross = cross.roll((n // 2, n // 2), (-2, -1))[:, :n, :n]
    return auto.roll((n - 1, n - 1), (-2, -1))[:, : 2 * n - 1, : 2 * n - 1], cross


class NormalEquations:
    """What (k, n, n) kernels are multiplied by: (k, 2n-1, 2n-1) as of `correlations`, and a ridge of that share, or (k, 1, 1) shares, of their energies."""

    def __init__(self, auto: Tensor, ridge: float | Tensor) -> None:
        self.n = (auto.shape[-1] + 1) // 2
        side = fast_length(3 * self.n)
        self.size = (side, side)
        self.auto_ft = torch.fft.rfft2(auto, self.size)
        self.ridges = ridge * auto[:, self.n - 1, self.n - 1, None, None]

    def __call__(self, kernels: Tensor) -> Tensor:
        """(k, n, n) -> same."""
        product = torch.fft.irfft2(torch.fft.rfft2(kernels, self.size) * self.auto_ft, self.size)
        inside = slice(self.n - 1, 2 * self.n - 1)
        return product[:, inside, inside] + self.ridges * kernels


def least_squares(
    auto: Tensor,
    cross: Tensor,
    ridge: float | Tensor,
    iterations: int = ITERATIONS,
    room: Tensor | None = None,
) -> Tensor:
    """(k, 2n-1, 2n-1) and (k, n, n) -> the (k, n, n) kernels that solve them with a ridge; room: as of `fit`."""
    equations = NormalEquations(auto, ridge)
    if room is None:
        return conjugate_gradients(equations, cross, (1, 2), iterations)
    return conjugate_gradients(lambda kernels: equations(kernels) * room, cross * room, (1, 2), iterations)


def conjugate_gradients(
    times: Callable[[Tensor], Tensor], right: Tensor, axes: tuple[int, ...], iterations: int
) -> Tensor:
    """x with times(x) near `right`, a product with a positive definite matrix. axes: those of one system, where there are several."""

    def energy(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(axes, keepdim=True)

    found, rest = torch.zeros_like(right), right
    direction, size_of_rest = rest.clone(), energy(rest, rest)
    for _ in range(iterations):
        image = times(direction)
        step = size_of_rest / energy(direction, image).clamp_min(1e-20)
        found, rest = found + step * direction, rest - step * image
        left = energy(rest, rest)
        direction, size_of_rest = rest + left / size_of_rest.clamp_min(1e-30) * direction, left
    return found
