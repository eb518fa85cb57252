"""The device and the precision to compute with on this machine."""

from typing import TYPE_CHECKING

from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    import torch

FIRST_GPU_WITH_FAST_BFLOAT16 = (8, 0)
"""CUDA compute capability of Ampere."""


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


def choose_dtype(precision: str, device: "torch.device") -> "torch.dtype":
    """fp32, bf16, or auto: bfloat16 where the device is fast at it, else float32. UsageError for any other word."""
    import torch

    choices = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if precision == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if precision not in choices:
        raise UsageError(f"there is no precision {precision!r}", hint="--precision takes auto, fp32 or bf16.")
    return choices[precision]


def has_fast_bfloat16(device: "torch.device") -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware: AMX or AVX512-BF16 on a CPU, Ampere on a GPU."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= FIRST_GPU_WITH_FAST_BFLOAT16
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # torch 2.6 and later
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False
