"""What the graphs of all variants share: the architecture, a graph under construction, word rows in blocks of int8, and the interface."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# The architecture, as in the published config.json.
HIDDEN = 384
HEADS = 12
HEAD_WIDTH = HIDDEN // HEADS
LAYERS = 6
INNER = 1536
MAX_POSITIONS = 512
LAYER_NORM_EPSILON = 1e-12

# Weights that share one int8 scale. 32 keeps the cosine to the published model above 0.999 and costs two bytes in 32.
INT8_BLOCK = 32


class Graph:
    """An ONNX graph under construction: nodes and constants in the order in which they were asked for.

    Names are made from that order, so equal calls give equal bytes. `domain` is written into each node that names no other; None
    writes nothing, which also means ONNX's own operators.
    """

    def __init__(self, domain=None):
        self.domain = domain
        self.nodes = []
        self.constants = {}

    def constant(self, name, array):
        """Names a constant tensor; the first value given under a name stays."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name

    def integers(self, name, values):
        """Names an int64 constant."""
        return self.constant(name, np.array(values, np.int64))

    def number(self, name, value):
        """Names a float32 scalar."""
        return self.constant(name, np.array(value, np.float32))

    def add(self, operator, inputs, output=None, domain=None, **attributes):
        """Appends one node and returns the name of its only output."""
        label = f"{operator}_{len(self.nodes) + 1}"
        output = output or label
        self._append(operator, inputs, [output], label, domain, attributes)
        return output

    def split(self, tensor, parts, axis):
        """Cuts a tensor into equal parts and returns their names."""
        label = f"Split_{len(self.nodes) + 1}"
        outputs = [f"{label}_{part}" for part in range(parts)]
        self._append("Split", [tensor], outputs, label, None, {"axis": axis, "num_outputs": parts})
        return outputs

    def _append(self, operator, inputs, outputs, label, domain, attributes):
        domain = self.domain if domain is None else domain
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=f"{label}_n", domain=domain, **attributes))


def quantise_blocks(blocks, axis):
    """Splits float blocks into int8 values in -127..127 and the float16 scale of each block along `axis`."""
    scale = (np.abs(blocks).max(axis, keepdims=True) / 127).astype(np.float16)
    # The rounding is done against the scale that will be stored, not against the exact one.
    divisor = np.maximum(scale.astype(np.float32), 1e-12)
    return np.clip(np.rint(blocks / divisor), -127, 127).astype(np.int8), scale


def block_rows(graph, name, table, indices, shape_name):
    """The float32 rows of `table` that `indices` names, stored in blocks of int8. The constant `shape_name` joins a row's blocks."""
    height, width = table.shape
    quantised, scale = quantise_blocks(table.reshape(height, width // INT8_BLOCK, INT8_BLOCK), axis=2)
    picked = graph.add("Gather", [graph.constant(f"{name}.q", quantised), indices], axis=0)
    values = graph.add("Cast", [picked], to=TensorProto.FLOAT)
    picked = graph.add("Gather", [graph.constant(f"{name}.s", scale), indices], axis=0)
    scales = graph.add("Cast", [picked], to=TensorProto.FLOAT)
    blocks = graph.add("Mul", [values, scales])
    return graph.add("Reshape", [blocks, graph.integers(shape_name, [0, 0, width])])


def finish(graph, hidden, pooled, opsets, ir_version):
    """The checked model: the graph with the interface that every variant has. `opsets` gives the version of each operator domain."""
    token_shape = ["batch_size", "sequence_length"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, token_shape)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    outputs = [
        helper.make_tensor_value_info(hidden, TensorProto.FLOAT, [*token_shape, HIDDEN]),
        helper.make_tensor_value_info(pooled, TensorProto.FLOAT, ["batch_size", HIDDEN]),
    ]
    body = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, outputs, list(graph.constants.values()))
    opsets = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(body, opset_imports=opsets, producer_name="minilm-build", ir_version=ir_version)
    onnx.checker.check_model(model)
    return model
