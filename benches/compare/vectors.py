#!/usr/bin/env python3
"""Writes the vectors of real texts for `ann.py`: float32, one row a text, as a .npy file.

    .venv/bin/python benches/compare/vectors.py --lines TEXTS --limit 20000 --out /tmp/vectors.npy

TEXTS has one text a line, plain or gzipped. The vectors come from our `embed_bench` when it is built, else from onnxruntime with the same
model. The texts are shuffled with a fixed seed, because neighbours in a file are often alike and the last rows serve as questions.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import tempfile
from pathlib import Path

import numpy

from peers import ROOT, PEERS

SEED = 20240607


def embed(texts, binary, threads):
    """The vectors of `texts` in their order, [n, 384]; says on the way who made them."""
    if not binary.exists():
        print(f"{binary} is missing; onnxruntime makes the vectors")
        return PEERS["onnxruntime"](threads).encode(texts, 8)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "texts.json", Path(folder) / "vectors.npy"
        source.write_text(json.dumps(texts))
        command = [str(binary), "--texts", str(source), "--mode", "batched", "--rounds", "1"]
        command += ["--sessions", str(threads), "--dump", str(target)]
        environment = {"ORT_DYLIB_PATH": str(ROOT / ".onnxruntime" / "libonnxruntime.so")} | os.environ
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        return numpy.load(target)


def main():
    parser = argparse.ArgumentParser(description="Writes the vectors of real texts.")
    parser.add_argument("--lines", type=Path, required=True, help="one text a line, .gz allowed")
    parser.add_argument("--limit", type=int, default=20_000, help="how many texts to take")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "embed_bench")
    arguments = parser.parse_args()
    if not arguments.lines.exists():
        raise SystemExit(f"{arguments.lines} is not there; any file with one text a line will do")
    opened = gzip.open if arguments.lines.suffix == ".gz" else open
    with opened(arguments.lines, "rt", encoding="utf-8") as file:
        texts = [line.strip() for line in file if line.strip()]
    random.Random(SEED).shuffle(texts)
    vectors = embed(texts[: arguments.limit], arguments.binary, arguments.threads)
    numpy.save(arguments.out, vectors.astype(numpy.float32))
    print(f"{arguments.out}: {vectors.shape[0]} vectors of {vectors.shape[1]}")


if __name__ == "__main__":
    main()
