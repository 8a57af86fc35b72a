#!/usr/bin/env python3
"""Retrieval quality on collections with human judgments: nDCG@10 of sentence-transformers, of our embedder, and of a whole node.

    .venv/bin/python benches/compare/quality.py --data FOLDER
    .venv/bin/python benches/compare/quality.py --data FOLDER --node --modes hybrid,meaning,words
    python3 benches/compare/quality.py --data FOLDER --only-node      # needs no package but numpy

FOLDER holds a folder for each collection (such as cranfield, cisi and cacm) with `docs.jsonl.gz` and `queries.jsonl` ({"id", "text"} a line) and
`qrels.tsv` (query, doc, grade, with a heading line). When it is absent, nothing is measured and the exit code is 0.

`reference` is sentence-transformers with the published float32 weights, texts cut at 256 tokens, every document compared. `ours` is the same
with the vectors of `embed_bench`. `node` starts `synapsenet run` on an empty folder, adds every document as a file, and asks through the
command line, in each of the modes side by side: so it has splitting of long documents, storage, both indexes and the ranking in it, and a
document counts by its best part.

nDCG@10 takes the grades as gains and divides by log2(rank + 1), averaged over the questions that have a judgment.
"""

import argparse
import csv
import gzip
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy

from peers import PEERS, ROOT, set_threads
from vectors import embed

DEPTH = 10
# Texts that sentence-transformers embeds at once: its own default.
REFERENCE_BATCH = 32
# Parts of one document take several places, so more hits are asked for than documents are wanted.
NODE_HITS = 50
MAX_START_SECONDS = 60
MAX_INDEXING_SECONDS = 3600


def collection_folders(data):
    """The folders of the judged collections in `data`, by name."""
    return sorted(folder for folder in data.iterdir() if (folder / "qrels.tsv").exists())


def read_collection(folder):
    """Returns ({doc id: text}, {query id: text}, {query id: {doc id: grade}}), judged queries only."""
    with gzip.open(folder / "docs.jsonl.gz", "rt", encoding="utf-8") as file:
        documents = {entry["id"]: entry["text"] for entry in map(json.loads, file)}
    with open(folder / "queries.jsonl", encoding="utf-8") as file:
        queries = {entry["id"]: entry["text"] for entry in map(json.loads, file)}
    grades = {}
    with open(folder / "qrels.tsv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            grades.setdefault(row["query"], {})[row["doc"]] = float(row["grade"])
    queries = {query: text for query, text in queries.items() if any(grade > 0 for grade in grades.get(query, {}).values())}
    return documents, queries, grades


def gain(grades):
    """Discounted cumulative gain of grades in their order."""
    return sum(grade / numpy.log2(rank + 2) for rank, grade in enumerate(grades[:DEPTH]))


def mean_ndcg(rankings, grades):
    """nDCG@10 over {query id: [doc id, best first]}."""
    scores = []
    for query, ranking in rankings.items():
        judged = grades[query]
        best = gain(sorted(judged.values(), reverse=True))
        scores.append(gain([judged.get(document, 0.0) for document in ranking]) / best)
    return float(numpy.mean(scores))


def rank_exactly(document_vectors, query_vectors, documents, queries):
    """Every document compared with every question."""
    names = list(documents)
    order = numpy.argsort(-(query_vectors @ document_vectors.T), axis=1, kind="stable")[:, :DEPTH]
    return {query: [names[at] for at in row] for query, row in zip(queries, order)}


def encoder_rankings(encoder, batch_size, documents, queries, cache):
    """The rankings by the vectors of an encoder of `peers.py`; those of the documents are kept in `cache`, because they take minutes."""
    if cache.exists():
        document_vectors = numpy.load(cache)
    else:
        document_vectors = encoder.encode(list(documents.values()), batch_size)
        cache.parent.mkdir(parents=True, exist_ok=True)
        numpy.save(cache, document_vectors)
    return rank_exactly(document_vectors, encoder.encode(list(queries.values()), batch_size), documents, queries)


def our_rankings(binary, threads, documents, queries):
    """The rankings by the vectors of `embed_bench`."""
    vectors = embed([*documents.values(), *queries.values()], binary, threads)
    return rank_exactly(vectors[: len(documents)], vectors[len(documents) :], documents, queries)


class RunningNode:
    """A node of our own on an empty folder, for as long as the `with` block lasts."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.environment = {"ORT_DYLIB_PATH": str(ROOT / ".onnxruntime" / "libonnxruntime.so")} | os.environ

    def __enter__(self):
        command = [self.binary, "run", "--data-dir", self.folder, "--metrics-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"]
        self.log = open(self.folder / "node.log", "w", encoding="utf-8")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=self.environment)
        deadline = time.monotonic() + MAX_START_SECONDS
        while self.call("status", check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(f"the node did not start: {Path(self.log.name).read_text()}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.log.close()

    def call(self, *arguments, check=True):
        command = [self.binary, *arguments[:1], "--json", "--data-dir", self.folder, *arguments[1:]]
        return subprocess.run(command, check=check, capture_output=True, text=True, env=self.environment)

    def add(self, folder):
        """Adds every file of a folder, and waits until all of it can be found."""
        self.call("add", folder)
        deadline = time.monotonic() + MAX_INDEXING_SECONDS
        while json.loads(self.call("status").stdout)["pending"] > 0:
            if time.monotonic() > deadline:
                raise SystemExit("the node did not finish indexing in time")
            time.sleep(0.5)

    def search(self, text, mode):
        """The hits for a question, best first."""
        lines = self.call("search", "--limit", str(NODE_HITS), "--mode", mode, "--", text).stdout.splitlines()
        return [hit for hit in map(json.loads, lines) if "score" in hit]


def node_rankings(binary, documents, queries, modes):
    """The rankings by a node that holds the documents as files: {mode: {query: [document]}}."""
    with tempfile.TemporaryDirectory() as scratch:
        data, files = Path(scratch) / "data", Path(scratch) / "files"
        data.mkdir(mode=0o700)
        files.mkdir()
        for name, text in documents.items():
            (files / f"{name}.txt").write_text(text, encoding="utf-8")
        with RunningNode(binary, data) as node:
            node.add(files)
            rankings = {mode: {} for mode in modes}
            for query, text in queries.items():
                for mode in modes:
                    names = [Path(hit["source"]["uri"]).stem for hit in node.search(text, mode)]
                    rankings[mode][query] = list(dict.fromkeys(names))[:DEPTH]
        return rankings


def main():
    parser = argparse.ArgumentParser(description="Compares retrieval quality on judged collections.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--collections", default="", help="comma-separated names (default: every folder)")
    parser.add_argument("--node", action="store_true", help="also through a running node")
    parser.add_argument("--only-node", action="store_true", help="nothing but a running node")
    parser.add_argument("--modes", default="hybrid,meaning,words", help="in which modes the node is asked (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "embed_bench")
    parser.add_argument("--synapsenet", type=Path, default=ROOT / "target" / "release" / "synapsenet")
    parser.add_argument("--cache", type=Path, default=ROOT / ".venv" / "quality", help="where the reference's vectors are kept")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"quality: skipped, {arguments.data} is not there (judged collections are not part of the repository)")
        return
    set_threads(arguments.threads)
    folders = collection_folders(arguments.data)
    if arguments.collections:
        folders = [folder for folder in folders if folder.name in arguments.collections.split(",")]
    modes = arguments.modes.split(",") if arguments.node or arguments.only_node else []
    ours_name = "ours" if arguments.binary.exists() else "onnxruntime, our model"
    encoder = None if arguments.only_node else PEERS["sentence-transformers"](arguments.threads)
    names = ["collection", "documents", "questions"]
    names += ["reference", ours_name, "ratio to reference"] if encoder else []
    names += [f"node, {mode}" for mode in modes]
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|", flush=True)
    for folder in folders:
        documents, queries, grades = read_collection(folder)
        cells = [folder.name, str(len(documents)), str(len(queries))]
        if encoder:
            cache = arguments.cache / f"{folder.name}-{len(documents)}.npy"
            reference = mean_ndcg(encoder_rankings(encoder, REFERENCE_BATCH, documents, queries, cache), grades)
            ours = mean_ndcg(our_rankings(arguments.binary, arguments.threads, documents, queries), grades)
            cells += [f"{reference:.4f}", f"{ours:.4f}", f"{ours / reference:.4f}"]
        if modes:
            rankings = node_rankings(arguments.synapsenet, documents, queries, modes)
            cells += [f"{mean_ndcg(rankings[mode], grades):.4f}" for mode in modes]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
