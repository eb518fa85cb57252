from pathlib import Path

import psutil
import pytest
import torch

from deblur_cli import device
from deblur_cli.device import (
    auto_tile,
    choose_device,
    choose_devices,
    choose_dtype,
    free_in_cgroups,
    free_memory,
    has_fast_bfloat16,
    peak_bytes,
)
from deblur_cli.errors import UsageError

CPU = torch.device("cpu")


def test_auto_takes_the_first_gpu_and_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == CPU


@pytest.mark.parametrize("name", ["cuda:9", "tpu", ""])
def test_a_device_that_is_not_there_says_what_is(name: str) -> None:
    with pytest.raises(UsageError, match=rf"no device {name!r} here(.|\n)*auto.*cpu"):
        choose_device(name)


@pytest.mark.parametrize(
    ("names", "cards", "expected"),
    [
        ("auto", 2, ["auto"]),
        ("cuda", 3, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cpu,cuda", 2, ["cpu", "cuda:0", "cuda:1"]),
        ("cuda:1,cuda:0", 4, ["cuda:1", "cuda:0"]),
        ("cuda", 0, ["cuda"]),
    ],
)
def test_cuda_is_every_card(
    names: str, cards: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    assert choose_devices(names) == expected


def test_precision_is_what_was_asked_for_or_what_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_dtype("fp32", CPU) == torch.float32
    assert choose_dtype("bf16", CPU) == torch.bfloat16
    for capabilities, expected in (
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx2": True}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert choose_dtype("auto", CPU) == expected


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_are_fast_from_ampere_on(capability: tuple, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert has_fast_bfloat16(torch.device("cuda:0")) is fast
    assert not has_fast_bfloat16(torch.device("mps"))


def test_another_precision_says_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"no precision 'fp16'(.|\n)*auto, fp32 or bf16"):
        choose_dtype("fp16", CPU)


OFFICIAL, COMPACT = 48, 16
MEASURED = [  # dim, (h, w), bytes a number, bytes: the rise of the process's peak during `run`, docs/performance.md
    (OFFICIAL, (512, 512), 2, 388e6),
    (OFFICIAL, (1024, 1024), 2, 933e6),
    (OFFICIAL, (512, 512), 4, 554e6),
    (OFFICIAL, (1024, 1024), 4, 1428e6),
    (COMPACT, (1024, 1024), 2, 440e6),
    (COMPACT, (2048, 2048), 2, 1292e6),
    (COMPACT, (3000, 4000), 2, 2618e6),
]


@pytest.mark.parametrize(("dim", "size", "itemsize", "measured"), MEASURED)
def test_the_memory_model_is_on_the_safe_side_of_what_was_measured(
    dim: int, size: tuple[int, int], itemsize: int, measured: float
) -> None:
    assert measured < peak_bytes(dim, size, itemsize) < 1.5 * measured


def test_a_photo_that_fits_is_one_tile() -> None:
    needed = peak_bytes(COMPACT, (3000, 4000), 2)
    assert auto_tile(COMPACT, (3000, 4000), 2, int(needed / 0.6) + 1) == 0
    assert auto_tile(COMPACT, (3000, 4000), 2, int(needed / 0.6) - 1) > 0


@pytest.mark.parametrize("gigabytes", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(3000, 4000), (4000, 3000), (800, 9000)])
def test_a_tile_is_the_largest_that_fits(size: tuple[int, int], gigabytes: int) -> None:
    free = gigabytes * 10**9
    tile = auto_tile(OFFICIAL, size, 4, free)
    assert tile % 8 == 0
    assert 64 <= tile < max(size)
    larger = tile + 8
    assert peak_bytes(OFFICIAL, (min(larger, size[0]), min(larger, size[1])), 4) > 0.6 * free
    if tile > 64:
        assert peak_bytes(OFFICIAL, (min(tile, size[0]), min(tile, size[1])), 4) <= 0.6 * free


def test_free_memory_is_less_than_there_is() -> None:
    assert 0 < free_memory(CPU) <= psutil.virtual_memory().total


def test_free_memory_of_gpus_counts_what_torch_holds_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2)
    assert free_memory(torch.device("cuda:0")) == 6
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 9)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 2)
    assert free_memory(torch.device("mps")) == 7


def write_group(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def test_limits_of_containers_count(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    assert free_in_cgroups(tmp_path, own) == []
    own.write_text("0::/pod/one\n")
    statistics = "anon 500\ninactive_file 100"
    write_group(
        tmp_path / "pod/one", {"memory.max": "1000", "memory.current": "700", "memory.stat": statistics}
    )
    write_group(tmp_path / "pod", {"memory.max": "900", "memory.current": "800", "memory.stat": statistics})
    write_group(tmp_path, {"memory.max": "max", "memory.current": "1", "memory.stat": statistics})
    assert sorted(free_in_cgroups(tmp_path, own)) == [200, 400]


def test_limits_of_the_older_control_groups_count(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("8:pids:/\n4:memory:/pod\n0::/\n")
    files = {"memory.limit_in_bytes": "1000", "memory.usage_in_bytes": "900"}
    write_group(tmp_path / "memory/pod", {**files, "memory.stat": "inactive_file 1\ntotal_inactive_file 250"})
    assert free_in_cgroups(tmp_path, own) == [350]


def test_a_small_container_makes_free_memory_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "free_in_cgroups", lambda: [123])
    assert free_memory(CPU) == 123
