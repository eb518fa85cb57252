"""An ONNX file, run by onnxruntime on the processor, against the engine."""

import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor

from deblur_cli import stream
from deblur_cli.errors import WeightsError
from deblur_cli.export._restormer import INPUT, OUTPUT, Precision
from deblur_cli.model import Restormer, RestormerConfig

TOLERANCES: dict[Precision, float] = {"fp32": 1e-4, "fp16": 1 / 255}
"""By how much a pixel in 0..1 may differ from the engine's; in float16, by one level of a photo with 8 bits."""

BYTES_PER_CHANNEL = 220
"""Of memory that onnxruntime takes on the processor for each pixel and each of `dim` channels, on the safe side."""


def check(data: bytes, model: Restormer, size: tuple[int, int], precision: Precision) -> float:
    """The largest difference between the file's result and `stream`'s in float32, of a picture of that (h, w) in 0..1.

    WeightsError for more than the tolerance of the file's precision, and for a result that is not finite.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    picture = _picture(model.config.inp_channels, size)
    (result,) = session.run([OUTPUT], {INPUT: picture.numpy()})
    largest = float((torch.from_numpy(result) - stream.run(model, picture)).abs().max())
    if not largest <= TOLERANCES[precision]:
        raise WeightsError(
            f"as {precision} ONNX the weights give another result than the engine: a pixel differs by {largest:.1e} of 1",
            hint=f"Allowed are {TOLERANCES[precision]:.0e}; no file was written."
            + (" Try it without --precision fp16." if precision == "fp16" else ""),
        )
    return largest


def needed_bytes(config: RestormerConfig, size: tuple[int, int]) -> int:
    """Memory that a check with a picture of that (h, w) takes."""
    h, w = size
    return round(BYTES_PER_CHANNEL * config.dim_per_pixel * h * w)


def _picture(channels: int, size: tuple[int, int]) -> Tensor:
    """Soft shapes with some noise, always the same: (1, channels, h, w) float32 0..1."""
    random = torch.Generator().manual_seed(24)
    coarse = torch.rand(1, channels, size[0] // 8 + 1, size[1] // 8 + 1, generator=random)
    soft = F.interpolate(coarse, size, mode="bilinear")
    return (soft + 0.05 * torch.randn(1, channels, *size, generator=random)).clamp(0, 1)
