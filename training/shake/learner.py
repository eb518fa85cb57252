"""What training the small networks of `shake` has in common: optimizers, a rate that falls to nothing, averaged weights, files."""

import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deblur_cli.device import choose_dtype
from training.muon import Muon

WARMUP = 50


class Learner:
    """Trains a network for so many minutes with Muon and AdamW; the rate is constant, and falls to nothing over the last `falling` of the time."""

    def __init__(
        self,
        network: nn.Module,
        path: Path,
        *,
        minutes: float,
        rate: float,
        falling: float = 0.5,
        keep: float = 0.995,
        weights: Path | None = None,
    ) -> None:
        if weights:
            network.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network, self.path, self.seconds, self.rate = network, path, 60 * minutes, rate
        self.falling, self.keep, self.started, self.steps = falling, keep, time.thread_time(), 0
        inside = {
            name: p
            for name, p in network.named_parameters()
            if p.dim() == 4 and not name.startswith(("inp", "out"))
        }
        others = [p for name, p in network.named_parameters() if name not in inside]
        self.optimizers = (Muon(list(inside.values()), rate), torch.optim.AdamW(others, rate))
        self.average = {name: p.detach().clone() for name, p in network.named_parameters()}
        self.told: list[Tensor] = []
        self.half = choose_dtype("auto", torch.device("cpu")) == torch.bfloat16

    def quickly(self) -> torch.autocast:
        """Where bfloat16 is fast, convolutions within are made in it."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.half)

    @property
    def share(self) -> float:
        """Of the time that is over; a process that is stopped loses none."""
        return (time.thread_time() - self.started) / self.seconds

    def step(self, loss: Tensor, **figures: Tensor) -> None:
        """One step down, none where the gradient is not finite; every 100 steps the means of the figures are printed and the averaged weights saved."""
        self.network.zero_grad()
        loss.backward()
        if not nn.utils.clip_grad_norm_(self.network.parameters(), 1.0).isfinite():
            return
        rate = self.rate * min(1.0, (self.steps + 1) / WARMUP) * min(1.0, (1 - self.share) / self.falling)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = max(rate, 0.0)
            optimizer.step()
        self.steps += 1
        keep = min(self.keep, self.steps / (9 + self.steps))
        for name, p in self.network.named_parameters():
            self.average[name].lerp_(p.detach(), 1 - keep)
        self.told.append(torch.stack(list(figures.values())).detach())
        if self.steps % 100 == 0:
            means = torch.stack(self.told).mean(0).tolist()
            print(
                f"{self.steps}:",
                ", ".join(f"{name} {mean:.3f}" for name, mean in zip(figures, means, strict=True)),
                flush=True,
            )
            self.told.clear()
            self.save()

    def save(self) -> None:
        """The averaged weights as the package has them: float16."""
        temporary = self.path.with_name(self.path.name + ".new")
        save_file({name: value.half().contiguous() for name, value in self.average.items()}, temporary)
        temporary.replace(self.path)
