"""The network that reads the features of a patch: how wide its blur is, how sure that is, and whether it is a shake's."""

from functools import cache
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from deblur_cli.sharpness._features import COUNT, turned

WEIGHTS = Path(__file__).with_name("meter.safetensors")


class Meter(nn.Module):
    """(n, COUNT) -> (n, 3): log2(1 + width in pixels), the log of its likely error, and the logit of a shake.

    It is asked of the patch turned by a quarter, too, and answers with the mean.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(COUNT, 128), nn.SiLU(), nn.Linear(128, 64), nn.SiLU(), nn.Linear(64, 3)
        )

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        answer: Tensor = (self.layers(features) + self.layers(features[:, turned()])) / 2
        return answer


@cache
def load_meter() -> Meter:
    """The one in the package, on the processor."""
    meter = Meter()
    meter.load_state_dict(load_file(WEIGHTS))
    return meter.eval().requires_grad_(False)
