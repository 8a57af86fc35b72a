#!/usr/bin/env python3
"""Builds the tiny ONNX graphs beside this script, with which tests try what they need no real model for.

    python tests/models/make_models.py        # with onnx as pinned in index/models/build/requirements.txt

Each has the interface of a BERT-like model: int64 `input_ids` and `attention_mask` [batch, sequence] give float32 `last_hidden_state`
[batch, sequence, 16]. `sines` gives token number t the vector sin(t * f) for 16 frequencies f, so texts with common words lie close. `nan`
gives no numbers at all, and `picky` is `sines` but for the word "zebra", for which it gives none.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DIMENSION = 16
OPSET = 14
IR_VERSION = 8
# The number of "zebra" in the vocabulary of BERT's uncased models.
ZEBRA = 29145


def model(name, nodes, constants):
    """A model of these nodes, of which the last gives `last_hidden_state`."""
    shape = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(i, TensorProto.INT64, shape) for i in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, DIMENSION])]
    tensors = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, producer_name="synapsenet-tests", ir_version=IR_VERSION)
    onnx.checker.check_model(made)
    return made


def angles():
    """Nodes that give t * f as `angles`, and what they need."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["tokens"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["tokens", "last"], ["column"]),
        helper.make_node("Mul", ["column", "frequencies"], ["angles"]),
    ]
    # Golden ratio steps: no two tokens of a vocabulary get the same vector.
    frequencies = np.modf(np.arange(1, DIMENSION + 1) * 0.6180339887)[0].astype(np.float32) * np.float32(3)
    return nodes, {"last": np.array([2], np.int64), "frequencies": frequencies}


def main():
    folder = Path(__file__).parent
    nodes, constants = angles()
    sines = [*nodes, helper.make_node("Sin", ["angles"], ["last_hidden_state"])]
    onnx.save(model("sines", sines, constants), folder / "sines.onnx")
    # The logarithm of what is below zero.
    below = {"minus_one": np.array(-1, np.float32)}
    nan = [
        *nodes,
        helper.make_node("Abs", ["angles"], ["sizes"]),
        helper.make_node("Sub", ["minus_one", "sizes"], ["below"]),
        helper.make_node("Log", ["below"], ["last_hidden_state"]),
    ]
    onnx.save(model("nan", nan, constants | below), folder / "nan.onnx")
    odd = {"zebra": np.array(ZEBRA, np.int64), "no_number": np.array(np.nan, np.float32)}
    picky = [
        *nodes,
        helper.make_node("Sin", ["angles"], ["sines"]),
        helper.make_node("Equal", ["input_ids", "zebra"], ["is_zebra"]),
        helper.make_node("Unsqueeze", ["is_zebra", "last"], ["is_zebra_column"]),
        helper.make_node("Where", ["is_zebra_column", "no_number", "sines"], ["last_hidden_state"]),
    ]
    onnx.save(model("picky", picky, constants | odd), folder / "picky.onnx")


if __name__ == "__main__":
    main()
