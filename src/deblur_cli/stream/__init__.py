"""Restormer run fast and in little memory: the numbers of `model`, several times faster.

Pixels are rows of matrices (channels last), the attention is folded into its projection, local statistics are
sums over cells, and the widest tensors exist for a band of rows only: docs/performance.md has the formulas and
what each idea brings. Inference only; it does not pad, tile, clamp, or choose a device or precision.
"""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from deblur_cli.model import Restormer
from deblur_cli.stream.engine import Engine, Progress, lay_out

__all__ = ["give_up_recordings", "run"]


def run(
    model: Restormer,
    x: Tensor,
    *,
    window: int = 0,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
    redone: Callable[[], None] | None = None,
) -> Tensor:
    """(b, c, h, w) float 0..1 on the model's device -> (b, c', h, w) float32 there, about 0..1, not clamped.

    h, w and window are multiples of the config's `size_multiple` (ValueError otherwise). window: side of the local attention's windows at
    full resolution in pixels; 0: statistics of the whole frame, as in training. dtype: of everything but the
    first convolution and the statistics; float32 equals the plain forward to 1e-5. progress is told the share
    done after each block. A photo whose result is not finite is redone in float32, and `redone` is called.
    """
    (h, w), multiple = x.shape[-2:], model.config.size_multiple
    if h % multiple or w % multiple or window % multiple or window < 0:
        raise ValueError(f"height, width and window must be multiples of {multiple}, not {h}, {w}, {window}")
    results = []
    with torch.no_grad():
        for index, photo in enumerate(x):

            def tell(share: float, index: int = index) -> None:
                if progress:
                    progress((index + share) / len(x))

            result = prepare(model, dtype).run(photo, window, tell)
            if dtype != torch.float32 and not result.isfinite().all():
                result = prepare(model, torch.float32).run(photo, window, tell)
                if redone:
                    redone()
            results.append(result)
    return torch.stack(results)


_engines: WeakKeyDictionary[Restormer, dict[torch.dtype, tuple[object, Engine]]] = WeakKeyDictionary()


def prepare(model: Restormer, dtype: torch.dtype) -> Engine:
    """The engine of a model, made at the first call and again when the model's weights have changed or moved."""
    state = [(p.data_ptr(), p._version) for p in model.parameters()]  # noqa: SLF001 - it has no public name
    engines = _engines.setdefault(model, {})
    if dtype not in engines or engines[dtype][0] != state:
        engines[dtype] = (state, lay_out(model, dtype))
    return engines[dtype][1]


def give_up_recordings() -> bool:
    """Gives back what engines keep of a card's memory to be quicker at sizes that are repeated, for good; whether there was any."""
    engines = [engine for of_model in list(_engines.values()) for _, engine in list(of_model.values())]
    return sum(engine.graphs.give_up() for engine in engines) > 0  # of all, not only of the first
