"""An ONNX graph that grows node by node. It knows operators and numbers, and nothing of networks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Shape = Sequence[int | str]

OPSET = 13
"""The oldest whose softmax is over one axis. No operator that is written here needs a newer one."""

IR_VERSION = 7
"""Of the files of that opset: what reads the one reads the other."""


class Graph:
    """Nodes and constants in the order in which they are added; a value is known by its name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[bytes, str, tuple[int, ...]], onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401  as onnx has it
        """A node; the name of its value."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, values: Array) -> str:
        """The name of these numbers, which are kept once however often they are asked for."""
        key = (values.tobytes(), str(values.dtype), values.shape)
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return self._constants[key].name

    def shape(self, *sizes: int) -> str:
        """A constant for Reshape: 0 keeps a size, -1 is what is left."""
        return self.constant(np.array(sizes, np.int64))

    def model(
        self, inputs: Mapping[str, Shape], output: tuple[str, Shape], metadata: Mapping[str, str]
    ) -> bytes:
        """The file: names and shapes of the inputs, and of the output, which is the value that was added last. All are float32."""
        name, shape = output
        self._nodes[-1].output[0] = name
        graph = helper.make_graph(
            self._nodes,
            "restormer",
            [helper.make_tensor_value_info(*each) for each in _floats(inputs)],
            [helper.make_tensor_value_info(*each) for each in _floats({name: shape})],
            list(self._constants.values()),
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="deblur")
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString()
        return data


def _floats(values: Mapping[str, Shape]) -> list[tuple[str, int, Shape]]:
    return [(name, TensorProto.FLOAT, shape) for name, shape in values.items()]
