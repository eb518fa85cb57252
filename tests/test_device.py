import pytest
import torch

from deblur_cli.device import choose_device, choose_dtype, has_fast_bfloat16
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
