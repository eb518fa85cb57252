import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from conftest import DATA, TINY, random_model
from deblur_cli.errors import WeightsError
from deblur_cli.model import Restormer, RestormerConfig

PARITY = ("rgb_withbias", "rgb_biasfree", "gray_biasfree", "dualpixel_withbias")
OFFICIAL = {
    "motion": RestormerConfig(),
    "denoise-color": RestormerConfig(layer_norm="BiasFree"),
    "denoise-gray": RestormerConfig(inp_channels=1, out_channels=1, layer_norm="BiasFree"),
    "defocus-dual-pixel": RestormerConfig(inp_channels=6, dual_pixel=True),
}


@pytest.mark.parametrize("name", PARITY)
def test_outputs_equal_the_authors_implementation(name: str, parity_case: Callable) -> None:
    config, state, tensors = parity_case(name)
    model = Restormer(config).eval()
    model.load_state_dict(state)
    with torch.inference_mode():
        torch.testing.assert_close(model(tensors["input"]), tensors["output"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OFFICIAL)
def test_names_and_shapes_are_those_of_the_published_checkpoints(name: str) -> None:
    published = json.loads((DATA / "state_dict_shapes.json").read_text())[name]
    with torch.device("meta"):
        model = Restormer(OFFICIAL[name])
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == published["shapes"]
    assert sum(parameter.numel() for parameter in model.parameters()) == published["parameters"]


@pytest.mark.parametrize("size", [(12, 16), (16, 20), (7, 8)])
def test_a_size_that_is_no_multiple_of_8_is_an_error(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        random_model()(torch.zeros(1, 3, *size))


def test_an_unshuffled_network_takes_multiples_of_16_and_starts_from_any_of_the_four_pixels() -> None:
    model = random_model(replace(TINY, unshuffle=2))
    with pytest.raises(ValueError, match="multiples of 16"):
        model(torch.zeros(1, 3, 16, 24))
    photo = torch.rand(1, 3, 16, 32)
    assert model(photo).shape == photo.shape
    for pixel in ((0, 0), (0, 1), (1, 0), (1, 1)):
        changed = photo.clone()
        changed[..., 8 + pixel[0], 8 + pixel[1]] += 0.5
        assert (model(changed) - model(photo)).abs().max() > 0.1


def test_photos_of_a_batch_do_not_mix() -> None:
    model = random_model()
    photos = torch.rand(2, 3, 16, 24)
    torch.testing.assert_close(model(photos)[1:], model(photos[1:]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 0}, "dim must be positive"),
        ({"dim": 7}, "dim must be even"),
        ({"num_blocks": (1, 2, 3)}, "num_blocks must be four positive numbers"),
        ({"heads": (1, 2, 4, 0)}, "heads must be four positive numbers"),
        ({"heads": (5, 2, 4, 8)}, "5 heads do not divide the 48 channels of level 1"),
        ({"ffn_expansion_factor": 0.001}, "ffn_expansion_factor is too small"),
        ({"layer_norm": "Batch"}, "layer_norm is WithBias or BiasFree"),
        ({"unshuffle": 3}, "unshuffle is 1 or 2"),
        ({"inp_channels": 6}, "only a dual-pixel network may differ"),
    ],
)
def test_a_config_that_makes_no_sense_says_why(change: dict, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        RestormerConfig(**change)


def test_bias_adds_a_bias_to_every_convolution_of_the_blocks() -> None:
    config = RestormerConfig(**{**TINY.__dict__, "bias": True})
    assert "encoder_level1.0.attn.qkv.bias" in Restormer(config).state_dict()
