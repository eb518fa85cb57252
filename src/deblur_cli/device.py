"""The device of this machine to compute on."""

from typing import TYPE_CHECKING

from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> "torch.device":
    """auto (CUDA, else MPS, else the CPU), cpu, cuda, cuda:N or mps -> a device that is there; UsageError otherwise."""
    import torch

    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    available = [f"cuda:{index}" for index in range(torch.cuda.device_count())] + available
    if name == "auto":
        return torch.device(available[0])
    chosen = "cuda:0" if name == "cuda" else name
    if chosen not in available:
        raise UsageError(f"there is no device {name!r} here", hint=f"Available: auto, {', '.join(available)}")
    return torch.device(chosen)
