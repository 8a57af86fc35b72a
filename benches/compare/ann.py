#!/usr/bin/env python3
"""Nearest-neighbour search of the node's index beside hnswlib, faiss and usearch, on real vectors, at equal recall.

    .venv/bin/python benches/compare/vectors.py --lines TEXTS --out /tmp/vectors.npy
    .venv/bin/python benches/compare/ann.py --vectors /tmp/vectors.npy

The last rows of the file are the questions and are not searched; the truth is the exact inner product in float32. Each library builds its
graph with M = 16 and ef_construction = 200 on one thread, in one order. Then each is given the smallest ef of a ladder that reaches the wanted
recall@10, and the times at that ef are compared: one question a call, the libraries taking turns. The Python libraries pay some microseconds
for crossing from Python, which is in their figures; ours pays for rescoring its candidates with the stored vectors, which is in ours.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path

import numpy

ROOT = Path(__file__).resolve().parents[2]
M = 16
EF_CONSTRUCTION = 200
LADDER = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
# Questions that the ladder is climbed with.
PROBES = 500


class Hnswlib:
    """hnswlib, float32."""

    def __init__(self, vectors):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        self.index.init_index(max_elements=len(vectors), M=M, ef_construction=EF_CONSTRUCTION, random_seed=1)
        self.index.set_num_threads(1)
        self.index.add_items(vectors, num_threads=1)

    def set_ef(self, ef):
        self.index.set_ef(ef)

    def search(self, question, k):
        return self.index.knn_query(question, k=k, num_threads=1)[0][0]


class Faiss:
    """faiss IndexHNSWFlat, float32."""

    def __init__(self, vectors):
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.IndexHNSWFlat(vectors.shape[1], M, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION
        self.index.add(vectors)

    def set_ef(self, ef):
        self.index.hnsw.efSearch = ef

    def search(self, question, k):
        return self.index.search(question[None], k)[1][0]


class Usearch:
    """usearch through its own Python, with the given precision."""

    precision = "f32"

    def __init__(self, vectors):
        from usearch.index import Index

        self.index = Index(
            ndim=vectors.shape[1], metric="ip", dtype=self.precision, connectivity=M, expansion_add=EF_CONSTRUCTION
        )
        self.index.add(numpy.arange(len(vectors)), vectors, threads=1)

    def set_ef(self, ef):
        self.index.expansion_search = ef

    def search(self, question, k):
        return self.index.search(question, k, threads=1).keys


class UsearchHalf(Usearch):
    """usearch with half precision vectors."""

    precision = "f16"


class UsearchBfloat(Usearch):
    """usearch with bfloat16 vectors."""

    precision = "bf16"


LIBRARIES = {"hnswlib": Hnswlib, "faiss": Faiss, "usearch": Usearch, "usearch-f16": UsearchHalf, "usearch-bf16": UsearchBfloat}


def exact_neighbours(vectors, questions, k):
    """The row numbers of the `k` best of each question, [questions, k]."""
    best = []
    for start in range(0, len(questions), 256):
        scores = questions[start : start + 256] @ vectors.T
        best.append(numpy.argpartition(-scores, k, axis=1)[:, :k])
    return numpy.concatenate(best)


def recall_of(library, questions, truth, k):
    """The share of the true neighbours that the library finds."""
    found = sum(len(set(library.search(question, k)) & set(right)) for question, right in zip(questions, truth))
    return found / (len(questions) * k)


def climb(library, questions, truth, k, wanted):
    """Sets the smallest ef of the ladder that reaches the wanted recall on the probes, and returns it; the largest if none does."""
    for ef in LADDER:
        library.set_ef(ef)
        if recall_of(library, questions[:PROBES], truth[:PROBES], k) >= wanted:
            return ef
    return LADDER[-1]


def time_questions(library, questions, k):
    """Microseconds that each question took."""
    micros = []
    for question in questions:
        start = time.perf_counter_ns()
        library.search(question, k)
        micros.append((time.perf_counter_ns() - start) / 1e3)
    return micros


def build(names, vectors):
    """Builds the libraries one after another; returns {name: library} and {name: seconds}."""
    libraries, seconds = {}, {}
    for name in names:
        start = time.perf_counter()
        libraries[name] = LIBRARIES[name](vectors)
        seconds[name] = time.perf_counter() - start
        print(f"{name}: {len(vectors)} vectors in {seconds[name]:.1f} s", flush=True)
    return libraries, seconds


def measure_peers(names, vectors, questions, k, wanted, rounds):
    """One result for each library, at the wanted recall."""
    truth = exact_neighbours(vectors, questions, k)
    libraries, seconds = build(names, vectors)
    efs = {name: climb(library, questions, truth, k, wanted) for name, library in libraries.items()}
    micros = {name: [] for name in names}
    for _ in range(rounds):
        for name, library in libraries.items():
            micros[name].append(time_questions(library, questions, k))
    results = []
    for name, library in libraries.items():
        # Of all rounds the least for each question: what the search takes when nothing else disturbs it.
        least = numpy.min(micros[name], axis=0)
        results.append(
            {
                "library": name,
                "ef": efs[name],
                "recall": recall_of(library, questions, truth, k),
                "p50_us": float(numpy.percentile(least, 50)),
                "p99_us": float(numpy.percentile(least, 99)),
                # As a single pass measures it, which is how ours is measured.
                "p50_us_one_pass": float(numpy.median([numpy.percentile(once, 50) for once in micros[name]])),
                "p99_us_one_pass": float(numpy.median([numpy.percentile(once, 99) for once in micros[name]])),
                "build_s": seconds[name],
            }
        )
    return results


def measure_ours(binary, file, queries, k, wanted):
    """Our result at the wanted recall, by `ann_bench`, which climbs the same ladder."""
    command = [str(binary), "--vectors", str(file), "--queries", str(queries), "--k", str(k)]
    command += ["--ef", ",".join(map(str, LADDER))]
    environment = {"ORT_DYLIB_PATH": str(ROOT / ".onnxruntime" / "libonnxruntime.so")} | os.environ
    lines = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    row = next((row for row in rows if row["recall"] >= wanted), rows[-1])
    return {"library": "ours", **row, "p50_us_one_pass": row["p50_us"], "p99_us_one_pass": row["p99_us"]}


def main():
    parser = argparse.ArgumentParser(description="Compares nearest-neighbour search at equal recall.")
    parser.add_argument("--vectors", type=Path, required=True, help=".npy file of float32 unit vectors, see vectors.py")
    parser.add_argument("--queries", type=int, default=1000, help="rows at the end of the file that are questions")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--libraries", default=",".join(LIBRARIES))
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "ann_bench")
    arguments = parser.parse_args()
    # Exact search may use every core, the libraries are held to one thread each.
    rows = numpy.ascontiguousarray(numpy.load(arguments.vectors), dtype=numpy.float32)
    if len(rows) <= arguments.queries:
        raise SystemExit(f"{arguments.vectors} has {len(rows)} rows, more than --queries {arguments.queries} are needed")
    vectors, questions = rows[: -arguments.queries], rows[-arguments.queries :]
    results = []
    if arguments.binary.exists():
        results.append(measure_ours(arguments.binary, arguments.vectors, arguments.queries, arguments.k, arguments.recall))
    else:
        print(f"{arguments.binary} is missing, only the others are measured: cargo build --release --workspace --bins")
    names = [name for name in arguments.libraries.split(",") if name]
    results += measure_peers(names, vectors, questions, arguments.k, arguments.recall, arguments.rounds)

    print(f"\n{len(vectors)} vectors, {len(questions)} questions, M {M}, ef_construction {EF_CONSTRUCTION}, one thread, recall@{arguments.k} >= {arguments.recall}\n")
    print("| library | ef | recall | p50 us, one pass | p99 us, one pass | p50 us, least of rounds | p99 us, least of rounds | build s |")
    print("|---|---|---|---|---|---|---|---|")
    for row in results:
        times = " | ".join(f"{row[key]:.0f}" for key in ("p50_us_one_pass", "p99_us_one_pass", "p50_us", "p99_us"))
        print(f"| {row['library']} | {row['ef']} | {row['recall']:.4f} | {times} | {row['build_s']:.1f} |")


if __name__ == "__main__":
    main()
