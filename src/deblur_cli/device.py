"""The device, the precision and the tile size to compute with on this machine.

Memory is what is free, never what is built in, and what a photo takes is a formula fitted to measurements
(docs/performance.md), kept on the safe side: on a CPU nobody gets an out-of-memory error, processes are killed.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from deblur_cli.errors import UsageError

if TYPE_CHECKING:
    import torch

FIRST_GPU_WITH_FAST_BFLOAT16 = (8, 0)
"""CUDA compute capability of Ampere."""

SHARE_OF_FREE_MEMORY = 0.6
"""How much of the free memory a tile may take."""

SMALLEST_TILE = 64

FIXED_NUMBERS, FRAME_CHANNELS, PHOTO_BYTES = 100_000_000, 7, 64
"""What a tile takes: numbers for the bands; a pixel, so many times dim numbers, and so many bytes in float32."""

CGROUP_FILES = {
    "memory.max": ("memory.current", "inactive_file"),
    "memory/memory.limit_in_bytes": ("memory/memory.usage_in_bytes", "total_inactive_file"),
}
"""Limit -> usage, and the statistic of what is given back on demand: version 2 of Linux's control groups, and 1."""


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


def choose_devices(names: str) -> list[str]:
    """Names between commas -> the devices that a batch works on, a worker each: cuda is all cards that there are."""
    devices = names.split(",")
    if "cuda" not in devices:
        return devices
    import torch

    cards = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    cards = cards or ["cuda"]  # which `choose_device` refuses
    return [device for name in devices for device in (cards if name == "cuda" else [name])]


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


def free_memory(device: "torch.device") -> int:
    """Bytes that can be allocated on the device now. The limits of a container count."""
    import torch

    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return min([int(psutil.virtual_memory().available), *free_in_cgroups()])


def peak_bytes(dim: float, size: tuple[int, int], itemsize: int) -> int:
    """What `stream.run` takes for a photo of that (h, w) by a Restormer of that dim (a quarter of it at half the size), beside its weights.

    At full resolution it keeps two frames of 2 dim channels, in numbers of `itemsize` bytes; the levels below, the
    shuffles and what the allocator holds back make it 7 dim. Photo and result are float32. All measured sizes and
    precisions of docs/performance.md lie below this.
    """
    h, w = size
    return FIXED_NUMBERS * itemsize + h * w * (round(FRAME_CHANNELS * dim * itemsize) + PHOTO_BYTES)


def auto_tile(dim: float, size: tuple[int, int], itemsize: int, free_bytes: int) -> int:
    """The side of the largest tile whose memory is there: 0, the whole photo, if that fits; a multiple of 8 else.

    Larger tiles are fewer and overlap less. The least is 64, whether it fits or not.
    """
    budget = SHARE_OF_FREE_MEMORY * free_bytes
    if peak_bytes(dim, size, itemsize) <= budget:
        return 0
    h, w = size
    sides = range(SMALLEST_TILE, max(h, w), 8)
    fitting = [side for side in sides if peak_bytes(dim, (min(side, h), min(side, w)), itemsize) <= budget]
    return max(fitting, default=SMALLEST_TILE)


def free_in_cgroups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """What each limit on this process's control groups leaves, in bytes; none where there are no such limits."""
    if not own.is_file():
        return []
    groups = {line.split(":", 2)[2].strip("/") for line in own.read_text().splitlines()}
    folders = {Path(parent) for group in groups for parent in (Path(group), *Path(group).parents)}
    left = []
    for limit_name, (usage_name, reclaimable_name) in CGROUP_FILES.items():
        for folder in folders:
            at = (root / limit_name).parent / folder
            limit, usage, statistics = (
                at / Path(name).name for name in (limit_name, usage_name, "memory.stat")
            )
            if limit.is_file() and usage.is_file() and (text := limit.read_text().strip()) != "max":
                counts = dict(line.split() for line in statistics.read_text().splitlines())
                left.append(int(text) - int(usage.read_text()) + int(counts.get(reclaimable_name, 0)))
    return left
