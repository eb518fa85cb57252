"""A network in training: one step, its loss, and its state on disk. What a run is made of is in loop.py."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deblur_cli.device import choose_dtype
from deblur_cli.errors import WeightsError
from deblur_cli.loader import load_model
from deblur_cli.model import Restormer, RestormerConfig
from training import validation
from training.cpu_blocks import speed_up
from training.dice import Dice
from training.muon import Muon
from training.pairs import Mix, make_batch
from training.photos import Photos

SHARD_BYTES = 14_000_000
"""State files stay below 15 MB, so that they pass through narrow doors."""

STATE_KEYS = (("momentum",), ("step", "exp_avg", "exp_avg_sq"))
"""What Muon and AdamW keep of each parameter."""

ERROR_FLOOR = 0.03
"""Of the loss's weights: a sharp photo counts 2.3 times as much as one with a mean error of 0.04."""


@dataclass(frozen=True)
class Stage:
    """From step `start` on: batches of `batch` patches of `patch` pixels, a multiple of 16."""

    start: int
    patch: int
    batch: int


@dataclass(frozen=True)
class Settings:
    """How to train: Muon and AdamW at a constant rate after `warmup` steps; ema is the share of the average that a step keeps.

    pixels, frequency and harm make the loss, see `loss_of`.
    """

    stages: tuple[Stage, ...] = (Stage(0, 64, 16), Stage(4000, 96, 7), Stage(12000, 128, 4))
    learning_rate: float = 5e-4
    warmup: int = 300
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.999
    pixels: str = "charbonnier"
    frequency: float = 0.1
    harm: float = 0.0
    seed: int = 1

    def stage(self, step: int) -> Stage:
        """The stage of a step."""
        return max((stage for stage in self.stages if stage.start <= step), key=lambda stage: stage.start)


def new_model(config: RestormerConfig, seed: int) -> Restormer:
    """A network that returns its input: the output convolution starts at zero."""
    torch.manual_seed(seed)
    model = Restormer(config)
    nn.init.zeros_(model.output.weight)
    return model


def loss_of(output: Tensor, sharp: Tensor, blurry: Tensor, settings: Settings) -> Tensor:
    """The mean over a batch of what a photo's pixels, its spectrum and its harm cost, in proportion to how blurred the photo is.

    Pixels are the Charbonnier loss or the root mean square ("rms"), which PSNR counts. PSNR is a logarithm: halving
    the error of a nearly sharp photo is worth as much as halving that of a very blurred one. So each photo's loss is divided by its
    input's own error (plus a floor), which also makes changing a sharp photo expensive. Harm, by how much the root mean square is
    above the input's, counts `harm` times on top.
    """
    after, before = output - sharp, blurry - sharp
    pixels = {"charbonnier": _charbonnier, "rms": _rms}[settings.pixels](after)
    harm = (_rms(after) - _rms(before)).clamp_min(0)
    spectrum = torch.fft.rfft2(after, norm="ortho")
    spectra = (spectrum.real.square() + spectrum.imag.square() + 1e-6).sqrt().mean((1, 2, 3))
    weight = 1 / (_charbonnier(before) + ERROR_FLOOR)
    return ((pixels + settings.frequency * spectra + settings.harm * harm) * weight).mean()


def _charbonnier(difference: Tensor) -> Tensor:
    return (difference.square() + 1e-6).sqrt().mean((1, 2, 3))


def _rms(difference: Tensor) -> Tensor:
    return (difference.square().mean((1, 2, 3)) + 1e-6).sqrt()


class Trainer:
    """A network, its optimizer and its averaged weights at some step; where they are saved, and how they go on."""

    def __init__(
        self, config: RestormerConfig, settings: Settings, photos: Photos, device: torch.device
    ) -> None:
        self.settings, self.photos, self.device = settings, photos, device
        self.dtype = choose_dtype("auto", device)
        self.model = new_model(config, settings.seed).to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.fast = device.type == "cpu" and speed_up(self.model)
        self.parameters = dict(self.model.named_parameters())
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        matrices = [p for name, p in self.parameters.items() if _is_matrix(name, p)]
        others = [p for name, p in self.parameters.items() if not _is_matrix(name, p)]
        rate, decay = settings.learning_rate, settings.weight_decay
        self.optimizers = (
            Muon(matrices, rate, weight_decay=decay),
            torch.optim.AdamW(others, rate, settings.betas, weight_decay=decay, fused=True),
        )
        self.began = 0
        """The step at which the optimizers had nothing to go by."""
        self.step, self.seconds, self.gradient = 0, 0.0, 0.0

    # One step

    def batch(self, step: int, mix: Mix) -> tuple[Tensor, Tensor]:
        """The pairs of a step, which follow from its number and the mix alone."""
        stage = self.settings.stage(step)
        blurry, sharp = make_batch(self.photos, stage.patch, stage.batch, Dice(self.settings.seed, step), mix)
        return blurry.to(self.device), sharp.to(self.device)

    def forward(self, blurry: Tensor) -> Tensor:
        """The network in bfloat16 where that is fast, float32 in and out."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return self.model(blurry.contiguous(memory_format=torch.channels_last)).float()

    def train_step(self, blurry: Tensor, sharp: Tensor, rate: float = 1.0) -> float:
        """One step at `rate` times the learning rate, and its loss."""
        settings = self.settings
        loss = loss_of(self.forward(blurry), sharp, blurry, settings)
        self.model.zero_grad()
        loss.backward()
        self.gradient = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip).item()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = (
                    settings.learning_rate * rate * min(1.0, (self.step - self.began + 1) / settings.warmup)
                )
            optimizer.step()
        keep = min(settings.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(
            list(self.average.values()), [p.detach() for p in self.parameters.values()], 1 - keep
        )
        self.step += 1
        return loss.item()

    # Its state on disk

    def save_state(self, folder: Path) -> None:
        """Everything that the next step depends on, in files below 15 MB; the old state stays until the new one is complete."""
        tensors = {f"model.{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"average.{name}": p for name, p in self.average.items()}
        for name, p in self.parameters.items():
            for optimizer in self.optimizers:
                tensors |= {f"{key}.{name}": value for key, value in optimizer.state.get(p, {}).items()}
        new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for number, shard in enumerate(_shards(tensors)):
            save_file(shard, new / f"state-{number}.safetensors")
        about = {
            "step": self.step,
            "began": self.began,
            "seconds": self.seconds,
            "config": asdict(self.model.config),
        }
        (new / "state.json").write_text(json.dumps(about, indent=1))
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)

    def load_state(self, folder: Path) -> bool:
        """Continues exactly where `save_state` left off; False where there is no state, WeightsError where it is of another size."""
        if not folder.exists():
            folder = folder.with_name(folder.name + ".old")
        if not folder.exists():
            return False
        about = json.loads((folder / "state.json").read_text())
        self._check_size(folder, RestormerConfig(**about["config"]))
        tensors: dict[str, Tensor] = {}
        for path in sorted(folder.glob("state-*.safetensors")):
            tensors |= load_file(path, device=str(self.device))
        self.step, self.began, self.seconds = about["step"], about["began"], about["seconds"]
        for name, p in self.parameters.items():
            p.data.copy_(tensors[f"model.{name}"])
            self.average[name].copy_(tensors[f"average.{name}"])
            for optimizer, keys in zip(self.optimizers, STATE_KEYS, strict=True):
                if f"{keys[0]}.{name}" in tensors and any(
                    p is q for q in optimizer.param_groups[0]["params"]
                ):
                    optimizer.state[p] = {key: _like(p, tensors[f"{key}.{name}"]) for key in keys}
        return True

    def load_weights(self, path: Path) -> None:
        """Starts from a checkpoint alone: its weights are also the average, and the steps and hours that it tells of are counted on."""
        model = load_model(path)
        self._check_size(path, model.config)
        for name, value in model.named_parameters():
            self.parameters[name].data.copy_(value)
            self.average[name].copy_(value)
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
            self.step = self.began = int(about.get("steps", 0))
            self.seconds = 3600 * float(about.get("hours", 0))

    def _check_size(self, path: Path, config: RestormerConfig) -> None:
        if config != self.model.config:
            raise WeightsError(
                f"{path}: a network of dim {config.dim} and blocks {config.num_blocks}, not of this run's size",
                hint="Give its size by --dim and --blocks, or another --out or --weights.",
            )

    def save_weights(self, path: Path, **about: str) -> None:
        """The averaged weights as a checkpoint: safetensors in float16 under the published names, config in the metadata."""
        config = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self.model.config).items()
        }
        about |= {
            "config": json.dumps(config),
            "steps": str(self.step),
            "hours": f"{self.seconds / 3600:.2f}",
        }
        temporary = path.with_name(path.name + ".new")
        save_file({name: p.half().contiguous() for name, p in self.average.items()}, temporary, about)
        temporary.replace(path)

    # Validation

    @torch.no_grad()
    def validate(self, cases: list[validation.Case], unsharp: tuple[float, float]) -> list[validation.Row]:
        """The averaged weights on the validation set."""
        trained = {name: p.detach().clone() for name, p in self.parameters.items()}
        try:
            for name, p in self.parameters.items():
                p.copy_(self.average[name])
            return validation.evaluate(
                lambda photo: self.forward(photo.to(self.device)).cpu(), cases, unsharp
            )
        finally:
            for name, p in self.parameters.items():
                p.copy_(trained[name])


def _is_matrix(name: str, p: Tensor) -> bool:
    """Whether Muon trains it: dense convolutions within the network; AdamW trains the first, the last, depthwise ones and norms."""
    return p.dim() == 4 and p.shape[1] > 1 and not name.startswith(("patch_embed", "output"))


def _like(p: Tensor, value: Tensor) -> Tensor:
    """In p's memory layout where it has p's shape, which the fused optimizer takes for granted."""
    return torch.empty_like(p).copy_(value) if value.shape == p.shape else value


def _shards(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    room = SHARD_BYTES
    for name, tensor in tensors.items():
        if tensor.nbytes > room and shard:
            yield shard
            shard, room = {}, SHARD_BYTES
        shard[name] = tensor.contiguous()
        room -= tensor.nbytes
    yield shard
