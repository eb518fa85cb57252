import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from conftest import DATA, TINY, random_model
from deblur_cli.errors import WeightsError
from deblur_cli.loader import infer_config, load_model
from deblur_cli.model import Restormer, RestormerConfig


def same(first: Restormer, second: Restormer) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("layout", ["params.pth", "bare.pt", "bare.safetensors", "legacy.pth"])
def test_every_layout_loads_to_the_same_model(layout: str, tmp_path: Path) -> None:
    model = random_model()
    path = tmp_path / layout
    if layout == "bare.safetensors":
        save_file(model.state_dict(), path)
    else:
        state = {"params": model.state_dict()} if layout == "params.pth" else model.state_dict()
        torch.save(state, path, _use_new_zipfile_serialization=layout != "legacy.pth")
    loaded = load_model(path)
    assert same(model, loaded)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_our_own_files_bring_their_config_and_load_as_float32(tmp_path: Path) -> None:
    config = RestormerConfig(**{**TINY.__dict__, "ffn_expansion_factor": 1.95})
    path = tmp_path / "own.safetensors"
    half = {name: tensor.half() for name, tensor in random_model(config).state_dict().items()}
    save_file(half, path, {"config": json.dumps(config.__dict__)})
    loaded = load_model(path)
    assert loaded.config == config
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    "config",
    [
        RestormerConfig(),
        RestormerConfig(dim=16, num_blocks=(1, 2, 2, 4), num_refinement_blocks=1, layer_norm="BiasFree"),
        RestormerConfig(inp_channels=6, dual_pixel=True, dim=8, bias=True),
        RestormerConfig(unshuffle=2, dim=32, num_blocks=(1, 2, 2, 4)),
        RestormerConfig(inp_channels=1, out_channels=1, unshuffle=2),
        RestormerConfig(inp_channels=1, out_channels=1, dim=24, ffn_expansion_factor=2.0, heads=(1, 1, 2, 3)),
    ],
)
def test_the_config_is_read_off_names_and_shapes(config: RestormerConfig) -> None:
    with torch.device("meta"):
        assert infer_config(Restormer(config).state_dict()) == config


@pytest.mark.parametrize("factor", [1.0, 1.1, 2.0, 2.66, 2.67, 3.14159, 0.3])
def test_a_factor_is_found_that_gives_the_same_widths(factor: float) -> None:
    config = RestormerConfig(dim=22, heads=(1, 2, 4, 8), ffn_expansion_factor=factor)
    with torch.device("meta"):
        state = Restormer(config).state_dict()
        found = Restormer(infer_config(state)).state_dict()
    assert {name: tensor.shape for name, tensor in state.items()} == {
        name: t.shape for name, t in found.items()
    }


def test_a_full_size_checkpoint_in_the_official_layout_loads_and_runs(tmp_path: Path) -> None:
    path = tmp_path / "motion.pth"
    torch.save({"params": random_model(RestormerConfig()).state_dict()}, path)
    assert 104_000_000 < path.stat().st_size < 106_000_000
    model = load_model(path)
    assert model.config == RestormerConfig()
    assert torch.isfinite(model(torch.rand(1, 3, 16, 24))).all()


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    for name, save in (
        ("zip.pth", torch.save),
        ("bare.pth", lambda value, path: path.write_bytes(pickle.dumps(value))),
    ):
        save({"params": Bomb(tmp_path / "ran")}, tmp_path / name)
        with pytest.raises(
            WeightsError, match=r"refused, because it holds more than tensors(.|\n)*safetensors"
        ):
            load_model(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def full_state() -> dict[str, torch.Tensor]:
    return dict(random_model().state_dict())


def without(name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in full_state().items() if key != name}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"conv1.weight": torch.zeros(3)}, "not a Restormer: 0 of 494 names match"),
        (without("encoder_level1.0.attn.temperature"), r"not a Restormer: \d+ of 494 names match"),
        (
            without("encoder_level2.1.ffn.dwconv.weight"),
            "almost a Restormer, but encoder_level2.1.ffn.dwconv.weight is missing",
        ),
        (full_state() | {"extra": torch.zeros(1)}, "almost a Restormer, but extra is unknown"),
        (full_state() | {"latent.0.norm1.body.weight": torch.zeros(3)}, r"is \(3,\) instead of \(48,\)"),
        (
            full_state() | {"latent.0.ffn.project_out.weight": torch.zeros(48, 7, 1, 1)},
            "are no common multiple",
        ),
        ({"epoch": 3, "state_dict": full_state()}, "not a state dict: it holds epoch, state_dict"),
        ({}, "not a state dict: it holds nothing"),
        ([1, 2], "not a state dict: it holds list"),
    ],
)
def test_anything_else_is_named(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_model(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a weights file"),
        (b"Hello, I am a text file.\n", "not a weights file"),
        (b"PK\3\4 and then nothing", "not a weights file"),
        (b"\x10\0\0\0\0\0\0\0{ no json here ", "a damaged safetensors file"),
        (b"\xff\xd8\xff\xe0 a photo", "not a weights file"),
    ],
)
def test_a_file_that_is_no_checkpoint_says_so(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_model(path)


@pytest.mark.parametrize(
    "tensor",
    [torch.full((6,), torch.nan), torch.zeros(6, dtype=torch.int8), torch.zeros(6, dtype=torch.complex64)],
)
def test_numbers_that_are_none_say_so(tensor: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save(full_state() | {"encoder_level1.0.norm1.body.weight": tensor}, path)
    with pytest.raises(WeightsError, match=r"encoder_level1.0.norm1.body.weight holds no finite numbers"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"<!doctype html>"])
def test_any_file_may_be_called_safetensors(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a weights file"):
        load_model(path)


def test_a_cut_checkpoint_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    torch.save(full_state(), path)
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(WeightsError, match="not a weights file, or a damaged one"):
        load_model(path)


@pytest.mark.parametrize("config", ["{", "[]", '{"dims": 3}', '{"dim": 7}', '{"dim": "x"}'])
def test_a_broken_config_in_the_metadata_says_so(config: str, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_file(full_state(), path, {"config": config})
    with pytest.raises(WeightsError, match="config"):
        load_model(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        load_model(tmp_path / "none.pth")


def test_the_parity_files_are_no_state_dict_of_ours() -> None:
    with pytest.raises(WeightsError, match="not a Restormer: 0 of 494"):
        load_model(DATA / "parity/rgb_withbias.safetensors")
