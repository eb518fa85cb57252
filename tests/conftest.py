import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from deblur_cli import kernels
from deblur_cli.kernels.build import KINDS
from deblur_cli.model import Restormer, RestormerConfig

# Networks as tiny as ours gain nothing from a second thread, and lose much where other programs want the cores too.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# There is no card. It counts when Triton is imported, by whoever does that first.
os.environ["TRITON_INTERPRET"] = "1"

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees, or touches, what is installed on this computer, and none reaches a network."""
    home = tmp_path_factory.mktemp("home")
    for name in ("HF_HOME", "DEBLUR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home / name))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos are read and written in the process of the test, unless it is marked `isolated`: starting others takes half a second each time."""
    if "isolated" not in request.keywords:
        monkeypatch.setattr("deblur_cli.isolated.Isolated.start", lambda self: None)
        monkeypatch.setattr("deblur_cli.isolated.Isolated.call", called_here)


def called_here(
    self: object,
    function: Callable[..., object],
    *arguments: object,
    hear: Callable[[object], None] | None = None,
    **about: object,
) -> object:
    """As `Isolated.call`, without a process."""
    return function(hear, *arguments) if hear else function(*arguments)


TINY = RestormerConfig(
    dim=6, num_blocks=(1, 2, 1, 1), num_refinement_blocks=1, heads=(1, 2, 3, 4), ffn_expansion_factor=1.9
)
"""Small, and uneven in every number, so that a swapped level fails."""


def random_model(config: RestormerConfig = TINY, seed: int = 0) -> Restormer:
    """A Restormer whose every parameter is random, temperatures and norms too."""
    torch.manual_seed(seed)
    model = Restormer(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.ndim != 4:  # the convolutions are random already
            parameter.add_(0.3 * torch.randn_like(parameter))
        elif name.startswith("output"):
            parameter.mul_(0.1)
    return model


@pytest.fixture(scope="session")
def parity_case() -> Callable[[str], tuple[RestormerConfig, dict[str, Tensor], dict[str, Tensor]]]:
    """Name -> config, state dict, and input and outputs of the authors' implementation."""
    from safetensors.torch import load_file

    configs = json.loads((DATA / "parity/configs.json").read_text())

    def load(name: str) -> tuple[RestormerConfig, dict[str, Tensor], dict[str, Tensor]]:
        values = dict(configs[name])
        config = RestormerConfig(
            layer_norm=values.pop("LayerNorm_type"), dual_pixel=values.pop("dual_pixel_task", False), **values
        )
        tensors = load_file(DATA / f"parity/{name}.safetensors")
        state = {
            key.removeprefix("params."): tensors.pop(key).float()
            for key in list(tensors)
            if key.startswith("params.")
        }
        return config, state, tensors

    return load


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each kind of loops that this processor has."""
    monkeypatch.setenv("DEBLUR_KERNELS", request.param)
    kernels.library.cache_clear()
    loaded = kernels.library()
    if loaded is None or not loaded._name.endswith(f"{request.param}.so"):
        kernels.library.cache_clear()
        pytest.skip(f"{request.param}: not compiled, or not for this processor")
    yield
    kernels.library.cache_clear()
