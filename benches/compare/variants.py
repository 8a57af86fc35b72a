#!/usr/bin/env python3
"""The renderings of all-MiniLM-L6-v2 that `index/models/build/build_model.py` makes, side by side: what each costs and what each is worth.

    python3 -m venv /tmp/model-build
    /tmp/model-build/bin/pip install --require-hashes -r index/models/build/requirements.txt
    /tmp/model-build/bin/python index/models/build/build_model.py --variant all --out /tmp/model-build/out
    benches/compare/setup
    .venv/bin/python benches/compare/variants.py --models /tmp/model-build/out --data FOLDER

Every session has no arena, no memory pattern and one thread, and batches are twice as long as the node's (`index/src/onnx.rs`,
`index/src/provider.rs`), so rates are some percent below the node's for all alike. Texts are cut at 256 tokens, and tokenizing is part of every
time but that of loading.

For load, memory and speed each variant has a fresh process, and the variants take turns, round by round, so that a busy machine slows all of
them alike; the best of all rounds counts, by the clock and by CPU time, which other work on the machine disturbs less. Memory is what the
session adds to a process that has imported everything. `batched` means sorted by length, in batches of at most 512 tokens with the padding
counted.

nDCG@10 is that of `quality.py` on its collections, when `--data` names their folder: every text alone, every document compared. The vectors
of documents are kept in `--cache`. Fidelity compares the sample notes, each alone, with `fp32`. The last rows tell how much the vector of a
sample note changes at most when it does not stand alone: among 32 of like length, and beside one of 256 tokens.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy

from peers import ROOT, OnnxRuntime, read_tokenizer, set_threads
from published import sha256_of
from quality import collection_folders, encoder_rankings, mean_ndcg, read_collection
from texts import sample_notes, texts_near

VARIANTS = ("fp32", "fp16", "w8", "int8", "nbits8", "row8")
# What the others are compared with.
EXACT = "fp32"
# Tokens of a question, and how many questions are asked.
QUESTION_TOKENS = 12
QUESTIONS = 40
# How many texts of which length in tokens are embedded for the rates.
RATE_TEXTS = {40: 64, 120: 32}
# The most tokens of one run, padding counted.
MAX_RUN_TOKENS = 512
# The run after which memory is measured: texts and tokens.
MEMORY_RUN = (8, 128)
# Token ids from here to the end of the vocabulary are no special or unused ones.
FIRST_WORD_ID = 999
VOCABULARY = 30_522
SEED = 20240607
# Notes of like length that stand together to see what company does.
LIKE_LENGTH_BATCH = 32
THREADS = 1


class Variant(OnnxRuntime):
    """One ONNX file in a session of one thread. Notes on the way what loading and a first run cost."""

    def __init__(self, path):
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read while it is loaded
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 3
        resident = resident_mb()
        wall, cpu = time.perf_counter(), time.process_time()
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.costs = {"load_ms": (time.perf_counter() - wall) * 1e3, "load_cpu_ms": (time.process_time() - cpu) * 1e3}
        self.costs["load_mb"] = resident_mb() - resident
        ids = numpy.random.default_rng(SEED).integers(FIRST_WORD_ID, VOCABULARY, MEMORY_RUN)
        inputs = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
        self.session.run(["sentence_embedding"], inputs)
        self.costs["run_mb"] = resident_mb() - resident
        self.tokenizer = read_tokenizer()


def resident_mb():
    """Resident memory of this process now, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def timed(call):
    """Seconds by the clock and of CPU time that a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure_process(path):
    """The inside of a fresh process: costs of loading, milliseconds for a question, texts a second. Prints one JSON line."""
    variant = Variant(path)
    result = variant.costs
    times = [timed(lambda: variant.encode([text], 1)) for text in texts_near(QUESTION_TOKENS, QUESTIONS)]
    result["question_ms"], result["question_cpu_ms"] = (numpy.median(times, axis=0) * 1e3).tolist()
    for tokens, count in RATE_TEXTS.items():
        texts = texts_near(tokens, count)
        longest = max(len(encoding.ids) for encoding in variant.tokenizer.encode_batch(texts))
        for mode, batch_size in (("alone", 1), ("batched", MAX_RUN_TOKENS // longest)):
            wall, cpu = timed(lambda: variant.encode(texts, batch_size))
            result |= {f"{mode}_{tokens}": len(texts) / wall, f"{mode}_{tokens}_cpu": len(texts) / cpu}
    print(json.dumps(result))


def measure_costs(paths, rounds):
    """Lets the variants take turns, each time in a fresh process: {variant: {measure: best of all rounds}}."""
    results = {name: [] for name in paths}
    names = list(paths)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            command = [sys.executable, __file__, "--process", str(paths[name])]
            results[name].append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    return {name: best_of(turns) for name, turns in results.items()}


def best_of(results):
    """The most texts a second, the least milliseconds and megabytes."""
    return {key: (max if key.startswith(("alone", "batched")) else min)(result[key] for result in results) for key in results[0]}


def measure_quality(variant, path, data, cache):
    """nDCG@10 in each collection, {collection: value}; every text is embedded alone."""
    # The vectors are those of one file, not of one name.
    sha256 = sha256_of(path)
    values = {}
    for folder in collection_folders(data):
        documents, queries, grades = read_collection(folder)
        file = cache / f"{folder.name}-{len(documents)}-{sha256[:16]}.npy"
        values[folder.name] = mean_ndcg(encoder_rankings(variant, 1, documents, queries, file), grades)
    return values


def measure_company(variant, notes, alone):
    """How much the vectors of the notes, `alone` [n, 384], change at most in company: the largest component, and one minus the cosine."""
    # Cut at 256 tokens by the tokenizer.
    long = " ".join(notes)
    paired = numpy.stack([variant.encode([note, long], 2)[0] for note in notes])
    company = numpy.concatenate([variant.encode(notes, LIKE_LENGTH_BATCH), paired])
    alone = numpy.concatenate([alone, alone])
    return float(numpy.abs(company - alone).max()), float(1 - cosines(company, alone).min())


def cosines(left, right):
    """The cosine of each row of one matrix with that row of the other, in float64, [n]."""
    left, right = left.astype(numpy.float64), right.astype(numpy.float64)
    return (left * right).sum(axis=1) / (numpy.linalg.norm(left, axis=1) * numpy.linalg.norm(right, axis=1))


def measure_worths(paths, data, cache):
    """What the vectors of each variant are worth, {variant: {measure: value}}; `paths` begins with `EXACT`."""
    notes = sample_notes()
    worths, exact = {}, None
    for name, path in paths.items():
        variant = Variant(path)
        alone = variant.encode(notes, 1)
        exact = alone if exact is None else exact
        fidelity = cosines(alone, exact)
        change, turn = measure_company(variant, notes, alone)
        worth = {"cosine_mean": float(fidelity.mean()), "cosine_min": float(fidelity.min()), "change": change, "turn": turn}
        worths[name] = worth | {"ndcg": measure_quality(variant, path, data, cache) if data else {}}
    return worths


def print_table(paths, costs, worths):
    """One table in Markdown, a column for each variant."""
    print("| | " + " | ".join(paths) + " |")
    print("|---" * (len(paths) + 1) + "|")

    def row(label, cell):
        print(f"| {label} | " + " | ".join(cell(name) for name in paths) + " |")

    row("file, bytes", lambda name: f"{paths[name].stat().st_size:,}")
    row("load, ms (CPU ms)", lambda name: f"{costs[name]['load_ms']:.0f} ({costs[name]['load_cpu_ms']:.0f})")
    row("memory after load, MB", lambda name: f"{costs[name]['load_mb']:.0f}")
    row(f"after a run of {' x '.join(map(str, MEMORY_RUN))} tokens, MB", lambda name: f"{costs[name]['run_mb']:.0f}")
    row(
        f"a text of {QUESTION_TOKENS} tokens, p50 ms (CPU ms)",
        lambda name: f"{costs[name]['question_ms']:.2f} ({costs[name]['question_cpu_ms']:.2f})",
    )
    for tokens in RATE_TEXTS:
        for mode in ("alone", "batched"):
            key = f"{mode}_{tokens}"
            row(f"{tokens} tokens, {mode}, texts/s (per CPU s)", lambda name: f"{costs[name][key]:.0f} ({costs[name][f'{key}_cpu']:.0f})")
    for collection in worths[EXACT]["ndcg"]:
        row(f"nDCG@10 {collection}", lambda name: f"{worths[name]['ndcg'][collection]:.4f}")
    row(f"cosine to {EXACT}, mean / least", lambda name: f"{worths[name]['cosine_mean']:.5f} / {worths[name]['cosine_min']:.5f}")
    row("largest change in company, of a component", lambda name: f"{worths[name]['change']:.1e}")
    row("largest change in company, 1 - cosine", lambda name: f"{worths[name]['turn']:.1e}")


def main():
    parser = argparse.ArgumentParser(description="Compares the renderings of the model.")
    parser.add_argument("--models", type=Path, help="folder that build_model.py --variant all wrote")
    parser.add_argument("--data", type=Path, help="folder of judged collections, as for quality.py (default: no nDCG)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=ROOT / ".venv" / "quality", help="where the vectors of the collections are kept")
    parser.add_argument("--process", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    set_threads(THREADS)
    if arguments.process:
        measure_process(arguments.process)
        return
    if not arguments.models:
        parser.error("--models is needed")
    paths = {name: arguments.models / f"all-MiniLM-L6-v2-{name}.onnx" for name in VARIANTS}
    missing = [str(path) for path in paths.values() if not path.exists()]
    if missing:
        raise SystemExit(f"{', '.join(missing)} missing: run index/models/build/build_model.py --variant all")
    costs = measure_costs(paths, arguments.rounds)
    print_table(paths, costs, measure_worths(paths, arguments.data, arguments.cache))


if __name__ == "__main__":
    main()
