"""A photo without its shake, for known kernels: deconvolution with a sparse prior, by half-quadratic splitting.

Krishnan and Fergus, "Fast image deconvolution using hyper-Laplacian priors", 2009. What differs: the prior is weaker where
light is bright, since the eye (and the file) takes differences there for smaller; what lies beyond the border or is clipped is not known, and
is filled in, turn by turn, with what the photo at hand would give there (beside lamps, which may be much brighter than the file says, it is kept from
becoming darker than black); the frame is cut into tiles, each with a kernel of its own (Hirsch et al., "Efficient filter flow", 2010).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli import kernels as loops
from deblur_cli.shake._curve import Curve
from deblur_cli.shake._fourier import (
    divergence,
    fast_length,
    gradient_power,
    gradients,
    quotient,
    transfer,
    transfer_in_place,
    wrap,
)
from deblur_cli.shake._kernels import Shake, extent, fit_into
from deblur_cli.shake._parts import in_parts

TURNS, FIRST_COUPLING, COUPLING_GROWTH = 8, 1.0, 2.5
"""Of the splitting: its coupling of gradients to sparse gradients grows from turn to turn."""
EXPONENT = 0.75
"""Of the prior: natural photos' gradients have some 0.5 to 0.8."""
FLOOR, PER_NOISE = 0.7e-3, 0.055
"""The prior's weight: so much, and so much times the noise. Found on photos with noise of 0.3, 1 and 3 %."""
LINEAR_FLOOR, LINEAR_PER_POWER = 2e-3, 300.0
"""Of the linear filter's penalty: so much, and so much times the noise's power."""
CLIPPED = 0.9955
"""Linear light of 254.5 of 255 levels, or 254 of their values: from there on a pixel's value is not known, only that it is at least that."""
LAMP, RING = 2.2, 0.02
"""Of white: what becomes brighter than that is a lamp, and how bright it was is hardly known; and of a point's trace traced again at its middle: what counts around one."""
NOTHING = 1e-3
"""Of a kernel's sum: what lies so little outside is cut."""
SMALLEST = 8
"""Pixels a side of a frame: a smaller one has its last pixels repeated."""

_OPPONENT = torch.tensor([[1.0, 1, 1], [1, -1, 0], [1, 1, -2]])
OPPONENT = _OPPONENT / _OPPONENT.norm(dim=1, keepdim=True)
"""Brightness and two differences of colour, orthonormal: their gradients are sparser than those of red, green and blue."""


def deconvolve(light: Tensor, shake: Shake, *, progress: Callable[[float], None] | None = None) -> Tensor:
    """(c, h, w) linear light, c 1 or 3, about 0..1, blurred by `shake` -> the same without that blur; a new tensor on its device."""
    summed = shake.curve.of(light)
    weight = prior_weight(measure_noise(summed))

    def work(part: Tensor, kernel: Tensor) -> Tensor:
        return deconvolve_part(part, kernel, weight, shake.curve)

    return shake.curve.light(in_parts(summed, shake, work, light.shape[0], progress))


def prior_weight(noise: float) -> float:
    """What the prior weighs, by the standard deviation of the noise."""
    return FLOOR + PER_NOISE * noise


def deconvolve_part(summed: Tensor, kernel: Tensor, weight: float, curve: Curve) -> Tensor:
    """(c, h, w) of what adds up, without the one blur `kernel` (n, n); weight: of the prior. What is near the border is guessed from within."""
    return deconvolve_twice(summed, kernel, weight, curve)[0]


def deconvolve_twice(summed: Tensor, kernel: Tensor, weight: float, curve: Curve) -> tuple[Tensor, Tensor]:
    """As `deconvolve_part`; and with no more than a linear filter at the end, which keeps more of the detail and more of the noise."""
    c, h, w = summed.shape
    kernel = fit_into(kernel, extent(kernel, beyond=NOTHING))  # its reach counts around the border
    least = max(kernel.shape[-1], SMALLEST) + 1
    if min(h, w) < least:
        larger = F.pad(summed[None], (0, max(0, least - w), 0, max(0, least - h)), "replicate")[0]
        both = deconvolve_twice(larger, kernel, weight, curve)
        return both[0][:, :h, :w], both[1][:, :h, :w]
    margins = []
    for length in (w, h):
        missing = fast_length(length + kernel.shape[-1]) - length
        missing = min(missing, 2 * (length - 1))
        margins += [missing // 2, missing - missing // 2]
    left, _, top, _ = margins
    framed = wrap(summed, (margins[0], margins[1], margins[2], margins[3]))
    size = (framed.shape[-2], framed.shape[-1])
    known = torch.zeros(1, *size, dtype=torch.bool, device=summed.device)
    known[:, top : top + h, left : left + w] = True
    clipped = (framed >= CLIPPED) & known
    lamps = bool(clipped.any())
    colours = OPPONENT.to(summed.device) if c == 3 else torch.eye(c, device=summed.device)

    kernel_ft = transfer_in_place(kernel, size)
    data, smoothness = kernel_ft.abs().square(), gradient_power(size, summed.device)
    strength = _visibility(framed) if curve is Curve.LIGHT else torch.ones_like(framed[:1])
    photo = _mixed(framed, colours)

    def filled(blurred: Tensor) -> Tensor:
        """The photo, and where it is unknown the sharp one blurred: both in the mixed colours."""
        if not lamps:
            return torch.where(known, photo, blurred)
        there = _mixed(blurred, colours.T)
        there = torch.where(clipped, torch.maximum(there, framed), torch.where(known, framed, there))
        return _mixed(there, colours)

    sharp, photo_ft = photo, torch.fft.rfft2(photo)
    coupling = FIRST_COUPLING
    for turn in range(TURNS):
        pull = torch.fft.rfft2(_of_sparse(sharp, strength / coupling))
        spectrum = quotient(kernel_ft.conj() * photo_ft, pull, data, smoothness, weight * coupling)
        sharp = torch.fft.irfft2(spectrum, size)
        if turn < TURNS - 1:
            if lamps:
                sharp = _mixed(_mixed(sharp, colours.T).clamp_min(0), colours)
                spectrum = torch.fft.rfft2(sharp)
            photo_ft = torch.fft.rfft2(filled(torch.fft.irfft2(kernel_ft * spectrum, size)))
        coupling *= COUPLING_GROWTH
    linear = torch.fft.irfft2(kernel_ft.conj() * photo_ft / (data + _faint(weight) * smoothness), size)
    inside = (..., slice(top, top + h), slice(left, left + w))
    both = _mixed(sharp, colours.T)[inside], _mixed(linear, colours.T)[inside]
    if not lamps:
        return both
    kept = _around(both[0], kernel)
    return torch.lerp(both[0], summed, kept), torch.lerp(both[1], summed, kept)


def _around(sharp: Tensor, kernel: Tensor) -> Tensor:
    """(c, h, w) without its blur -> (1, h, w) in 0..1: 1 around lamps, wherever what is not known of them rings, which is where their traces would be traced again."""
    bright = (sharp.amax(0, keepdim=True) > LAMP).float()
    n = kernel.shape[-1]
    if not bright.any() or min(sharp.shape[-2:]) <= n:
        return torch.zeros_like(bright)
    framed = F.pad(bright, (n, n, n, n))
    size = (framed.shape[-2], framed.shape[-1])
    reached = torch.fft.irfft2(torch.fft.rfft2(framed) * transfer(kernel, size).abs().square(), size)
    inside = (..., slice(n, -n), slice(n, -n))
    zone = (reached[inside] > RING * float(kernel.square().sum())).float()
    return F.avg_pool2d(F.max_pool2d(zone, 7, 1, 3), 5, 1, 2, count_include_pad=False)


def _faint(weight: float) -> float:
    """The penalty of the linear filter on gradients, by the prior's weight, and so by the noise: half of what would be best against that alone."""
    noise = (weight - FLOOR) / PER_NOISE
    return LINEAR_FLOOR + LINEAR_PER_POWER * noise**2


def measure_noise(light: Tensor) -> float:
    """Standard deviation of the noise of (c, h, w) linear light, in the middle of all places and channels.

    By the median of what a second difference along both axes leaves, which blur and smooth surfaces do not reach (Immerkaer 1996,
    with Donoho's median): 6 is the root of the sum of its squared weights, 0.6745 the median of |N(0, 1)|.
    """
    step = max(1, round((light[0].numel() / 1e6) ** 0.5))
    rows = light[:, : light.shape[1] // step * step]
    if min(light.shape[-2:]) < 3:
        return 0.0
    bands = rows.unfold(1, 3, 3 * step) if rows.shape[1] >= 3 * step else rows.unfold(1, 3, 3)
    twice = bands[..., 0] - 2 * bands[..., 1] + bands[..., 2]  # (c, bands, w)
    both = twice[..., :-2] - 2 * twice[..., 1:-1] + twice[..., 2:]
    return float(both.abs().median()) / (6 * 0.6745)


def _visibility(light: Tensor) -> Tensor:
    """(1, h, w): how strongly the prior holds, by the square root of how fast sRGB rises there, 1 at middle grey."""
    brightness = F.avg_pool2d(F.pad(light.mean(0)[None, None], (4,) * 4, "reflect"), 9, 1)[0]
    return (brightness.clamp_min(0.004) / 0.2) ** (0.5 * (1 / 2.4 - 1))


def _mixed(light: Tensor, colours: Tensor) -> Tensor:
    return (colours @ light.flatten(1)).view_as(light)


def _of_sparse(light: Tensor, threshold: Tensor) -> Tensor:
    """(c, h, w) -> the divergence of its gradients, each of them `_shrunk`."""
    if loops.fits_frames(light):
        return loops.sparse_gradients(light, EXPONENT * threshold[0])
    return divergence(*(_shrunk(gradient, threshold) for gradient in gradients(light)))


def _shrunk(gradient: Tensor, threshold: Tensor) -> Tensor:
    """Near argmin over u of threshold |u|^EXPONENT + (u - gradient)^2 / 2: one step of reweighting. size^(EXPONENT - 1) is 1 / sqrt(sqrt(size))."""
    size = gradient.abs()
    steps = size.clamp_min(1e-4).sqrt_().rsqrt_().mul_(EXPONENT * threshold)
    return size.sub_(steps).clamp_min_(0).copysign_(gradient)
