"""Weights file -> ready Restormer. It reads a path that is already there; it never fetches and never runs code from it."""

import json
import math
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from deblur_cli.errors import WeightsError
from deblur_cli.model import Restormer, RestormerConfig

PAPER_FFN_FACTOR = 2.66
UNSHUFFLED = (4, 12)
"""Input channels of networks that work at half the size, on gray and on colour: no photo has so many."""
LEVELS = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")


def load_model(path: Path | str, *, device: torch.device | str = "cpu") -> Restormer:
    """The Restormer in a .pth, .pt or .safetensors file: float32, eval mode, no gradients, every tensor accounted for.

    The file holds a state dict, bare or under `params`. The config is the JSON under `config` in a safetensors
    file's metadata, else it is read off names and shapes. WeightsError says what was found instead.
    """
    path = Path(path)
    try:
        state, metadata = _read_safetensors(path) if _is_safetensors(path) else (_read_pickle(path), {})
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    state = _unwrap(path, state)
    for name, tensor in state.items():
        if tensor.is_meta or not tensor.is_floating_point() or not tensor.float().isfinite().all():
            raise WeightsError(
                f"{path}: {name} holds no finite numbers", hint="The file is damaged; fetch it again."
            )
    try:
        config = _config_from_json(metadata["config"]) if "config" in metadata else infer_config(state)
        with torch.device("meta"):  # the shapes only: memory holds the weights once
            model = Restormer(config)
        _check_shapes(state, model.state_dict())
    except WeightsError as error:
        raise WeightsError(f"{path}: {error.message}", hint=error.hint) from error
    model.load_state_dict(state, assign=True)
    return model.to(device, torch.float32).eval().requires_grad_(False)


def infer_config(state: Mapping[str, Tensor]) -> RestormerConfig:
    """The config of a Restormer's state dict, read off its names and shapes. WeightsError if it is none."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}

    def shape(name: str, length: int) -> tuple[int, ...]:
        if len(shapes.get(name, ())) != length:
            raise _not_a_restormer(state)
        return shapes[name]

    def count_blocks(stage: str) -> int:
        indices = {name.split(".")[1] for name in shapes if name.startswith(f"{stage}.")}
        return max(1, len(indices))

    dim, inp_channels = shape("patch_embed.proj.weight", 4)[:2]
    num_blocks = tuple(count_blocks(stage) for stage in LEVELS)
    heads = tuple(shape(f"{stage}.0.attn.temperature", 3)[0] for stage in LEVELS)
    hidden = tuple(shape(f"{stage}.0.ffn.project_out.weight", 4)[1] for stage in LEVELS)
    unshuffle = 2 if inp_channels in UNSHUFFLED else 1
    return RestormerConfig(
        inp_channels=inp_channels // unshuffle**2,
        out_channels=shape("output.weight", 4)[0] // unshuffle**2,
        dim=dim,
        num_blocks=num_blocks,  # type: ignore[arg-type]  # four stages, four numbers
        num_refinement_blocks=count_blocks("refinement"),
        heads=heads,  # type: ignore[arg-type]
        ffn_expansion_factor=_ffn_factor(dim, hidden),
        bias="encoder_level1.0.attn.qkv.bias" in shapes,
        layer_norm="WithBias" if "encoder_level1.0.norm1.body.bias" in shapes else "BiasFree",
        dual_pixel="skip_conv.weight" in shapes,
        unshuffle=unshuffle,
    )


def _ffn_factor(dim: int, hidden: tuple[int, ...]) -> float:
    """A factor f with int(f * dim * 2**level) == hidden at each level: the paper's if it fits, else the roundest."""
    dims = [dim << level for level in range(len(hidden))]

    def fits(factor: float) -> bool:
        return all(int(width * factor) == size for width, size in zip(dims, hidden, strict=True))

    lowest = max(size / width for width, size in zip(dims, hidden, strict=True))
    rounded = [math.ceil(lowest * scale) / scale for scale in (1, 10, 100, 1e3, 1e4, 1e5)]
    for factor in (PAPER_FFN_FACTOR, *rounded, lowest):
        if fits(factor):
            return factor
    raise WeightsError(
        f"a Restormer whose feed-forward widths {hidden} are no common multiple of its dims {tuple(dims)}"
    )


def _check_shapes(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Every name there and no other, every shape right; otherwise WeightsError with the first few that are not."""
    wrong = [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    wrong += [f"{name} is missing" for name in expected if name not in state]
    wrong += [f"{name} is unknown" for name in state if name not in expected]
    if not wrong:
        return
    if not any(name in state for name in expected):
        raise _not_a_restormer(state)
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    raise WeightsError(
        f"almost a Restormer, but {'; '.join(wrong[:3])}{more}",
        hint="It may be a variant of the network that deblur does not know, or a damaged file.",
    )


def _not_a_restormer(state: Mapping[str, Tensor]) -> WeightsError:
    with torch.device("meta"):
        names = Restormer().state_dict().keys()
    matches = sum(name in state for name in names)
    return WeightsError(
        f"not a Restormer: {matches} of {len(names)} names match",
        hint="deblur runs Restormer networks only; `deblur download-weights --list` shows the published ones.",
    )


def _config_from_json(text: str) -> RestormerConfig:
    try:
        values = json.loads(text)
        known = {field.name for field in fields(RestormerConfig)}
        if not isinstance(values, dict) or not values.keys() <= known:
            raise WeightsError(f"its metadata holds no Restormer config but {text[:80]!r}")
        return RestormerConfig(**values)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"its metadata holds a broken config: {error}") from error


def _is_safetensors(path: Path) -> bool:
    """By content: a safetensors file begins with the length of its JSON header, 8 bytes, and the header's brace."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise WeightsError(f"{path}: a damaged safetensors file: {error}", hint="Fetch it again.") from error


def _read_pickle(path: Path) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's advice on odd pickles is not for our users
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if path.stat().st_size and _is_pickle(path):
            raise WeightsError(
                f"{path}: refused, because it holds more than tensors and loading it could run code",
                hint="Ask whoever made it for a .safetensors file, or for a state dict saved by torch.save.",
            ) from error
        raise _not_weights(path) from error
    except (EOFError, RuntimeError, ValueError, LookupError, safetensors.SafetensorError) as error:
        raise _not_weights(path) from error


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2)[:1] in (b"\x80", b"P")  # a bare pickle, or the zip file that torch.save writes


def _not_weights(path: Path) -> WeightsError:
    return WeightsError(
        f"{path}: not a weights file, or a damaged one",
        hint="A .pth, .pt or .safetensors file of a Restormer is needed; if it was downloaded, fetch it again.",
    )


def _unwrap(path: Path, found: object) -> dict[str, Tensor]:
    """The state dict itself: what was found, or what is under `params`."""
    state = found.get("params", found) if isinstance(found, dict) else found
    if isinstance(state, dict) and state and all(isinstance(value, Tensor) for value in state.values()):
        return dict(state)
    held = f"{', '.join(map(str, list(state)[:5]))}" if isinstance(state, dict) else type(state).__name__
    raise WeightsError(
        f"{path}: not a state dict: it holds {held or 'nothing'}",
        hint="Expected are the tensors of a Restormer by name, bare or under `params`.",
    )
