"""What `training.shake.cases` has made, as the judge and the fusion learn from it."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from deblur_cli.shake._judge import Judge, opinion


@dataclass(frozen=True)
class Cases:
    """Bytes, of p photos and c kernels.

    photo, alone, truth: (p, 3, h, w); sparse, linear, there: (c, 3, h, w); rest: (c, h, w); of: (c,), the photo of each; opinions: (c, h, w), the judge's.
    there: the truth moved to where the deconvolved photo has it.
    """

    photo: Tensor
    alone: Tensor
    sparse: Tensor
    linear: Tensor
    truth: Tensor
    there: Tensor
    rest: Tensor
    of: Tensor
    opinions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.of)

    def at(self, i: int, *, untouched: bool = False) -> tuple[Tensor, Tensor]:
        """(14, h, w) as `Fusion` has them, without opinions 13, and (6, h, w), the truth and the moved one; untouched: as if the network alone had done nothing."""
        photo = self.photo[self.of[i]]
        alone = photo if untouched else self.alone[self.of[i]]
        planes = [photo, alone, self.sparse[i], self.linear[i], self.rest[i, None]]
        planes += [] if self.opinions is None else [self.opinions[i, None]]
        return torch.cat(planes), torch.cat([self.truth[self.of[i]], self.there[i]])

    def shown(self, i: int) -> Tensor:
        """(3, h, w) bytes as of `compared`."""
        grey = torch.stack([self.photo[self.of[i]], self.sparse[i]]).float().mean(1)
        return torch.cat([grey.round().byte(), self.rest[i, None]])

    @torch.no_grad()
    def judged_by(self, judge: Judge) -> "Cases":
        """The same with that judge's opinions."""
        opinions = [opinion(judge, self.shown(i).float() / 255) for i in range(len(self))]
        return replace(self, opinions=torch.stack([(each * 255).round().byte() for each in opinions]))


def read_cases(paths: list[Path]) -> Cases:
    """Of the files of that command."""
    files = [load_file(path) for path in paths]
    photos = 0
    for file in files:
        file["of"] += photos
        photos += len(file["photo"])
    names = list(files[0])  # one after the other, so that memory holds them once
    return Cases(**{name: torch.cat([file.pop(name) for file in files]) for name in names})
