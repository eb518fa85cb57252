"""A Restormer as an ONNX file that every runtime takes: the only user of onnx and onnxruntime.

The graph is written node by node (docs/decisions/0068): plain operators of opset 13, no control flow. It neither
finds weights nor writes to disk; `check` runs what was written by onnxruntime against `stream`.
"""

from deblur_cli.export._check import check, needed_bytes
from deblur_cli.export._restormer import INPUT, OUTPUT, Precision, write_onnx

__all__ = ["INPUT", "OUTPUT", "Precision", "check", "needed_bytes", "write_onnx"]
