"""A photo's shake by how likely it is, whatever the sharp photo was: no network, no choice of edges.

Where others look for the sharp photo and the kernel that fit best together, which a kernel that is a point often does, this asks of each gradient how sure it is, and a kernel counts by
all the gradients that it may come with: variational Bayes (Levin et al., "Efficient marginal likelihood optimization in blind deconvolution", 2011; Wipf and
Zhang, "Revisiting Bayesian blind deconvolution", 2014, whose updates these are). Slower than edges for what it is, but it loses its way elsewhere.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from deblur_cli.shake._edges import fit_edges, from_coarse, thinned
from deblur_cli.shake._estimate import Frame, Kernels
from deblur_cli.shake._fourier import fast_length, gradients, transfer
from deblur_cli.shake._least_squares import conjugate_gradients, correlations, least_squares

ROUNDS, STEPS = 25, 6
"""At each scale; and of the solution of each for the gradients."""
FALLING = 0.95
"""What is taken for noise is at first as much as there are gradients, and so much less from round to round: far above the photo's own noise all the time."""
BEFORE = 0.1
"""Of the gradients' power in the mean: what each is taken to vary by before the first round, beside its own."""
TURNS_OF_EDGES = 3
"""In the end, which make the kernel thinner."""


def kernels_by_bayes(frames: Sequence[Frame]) -> Kernels:
    """The kernels (k, n, n), n as of `kernels_of_edges`, of k small frames of one size."""
    light = torch.stack([frame.light for frame in frames])
    return fit_edges(from_coarse(frames, fit_bayes), light, TURNS_OF_EDGES)


def fit_bayes(kernels: Kernels, light: Tensor) -> Kernels:
    """(k, n, n) made to fit (k, h, w), as of `Frame`."""
    n, (h, w) = kernels.shape[-1], light.shape[-2:]
    size, half = (fast_length(h + n - 1), fast_length(w + n - 1)), n // 2
    inside = (..., slice(half, half + h - 1), slice(half, half + w - 1))
    known = torch.zeros(size, device=light.device)
    known[inside] = 1
    blurred = torch.zeros(len(light), 2, *size, device=light.device)
    blurred[inside] = torch.stack(gradients(light), 1)[..., :-1, :-1]
    power = blurred[inside].square().mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
    sharp, varies, noise = blurred, blurred.square().mean(1, keepdim=True) + BEFORE * power, power
    for _ in range(ROUNDS):
        sharp, unsure, again = _sharpened(sharp, blurred, known, kernels, varies, noise)
        varies = sharp.square().mean(1, keepdim=True) + unsure
        auto, cross = correlations(sharp, torch.where(known > 0, blurred, again), n)
        ridges = 2 * unsure.sum((1, 2, 3)) / auto[:, n - 1, n - 1].clamp_min(1e-12)
        kernels = thinned(least_squares(auto, cross, ridges[:, None, None]))
        noise = FALLING * noise
    return kernels


def _sharpened(
    sharp: Tensor, blurred: Tensor, known: Tensor, kernels: Kernels, varies: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(k, 2, h, w) gradients so far -> the likeliest, (k, 1, h, w) how unsure they are, their variances, and what they are when blurred.

    varies: (k, 1, h, w), the variance of each gradient before the photo is seen. noise: (k, 1, 1, 1), the variance of that. known: (h, w), 1 where `blurred` is.
    """
    size = (blurred.shape[-2], blurred.shape[-1])
    kernel_ft = transfer(kernels, size)[:, None]
    precision = kernels.square().sum((1, 2))[:, None, None, None] / noise + 1 / varies
    scale = precision.rsqrt()  # of the unknowns: then all of them are equally sure, and few steps are enough

    def blur(x: Tensor) -> Tensor:
        return torch.fft.irfft2(kernel_ft * torch.fft.rfft2(x), size)

    def back(x: Tensor) -> Tensor:
        return torch.fft.irfft2(kernel_ft.conj() * torch.fft.rfft2(x), size)

    def times(scaled: Tensor) -> Tensor:
        there = scale * scaled
        return scale * (back(known * blur(there)) / noise + there / varies)

    before = sharp / scale
    missing = scale * back(blurred) / noise - times(before)
    sharp = scale * (before + conjugate_gradients(times, missing, (1, 2, 3), STEPS))
    return sharp, 1 / precision, blur(sharp)
