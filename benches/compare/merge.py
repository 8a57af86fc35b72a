#!/usr/bin/env python3
"""What a search is worth while the model is being changed: nDCG@10 when some documents are held by one model and the rest by another.

    benches/compare/setup
    .venv/bin/python benches/compare/merge.py --data FOLDER --other MODEL_FOLDER

The folder of judged collections is that of `quality.py`; `static_model.py` writes another model. A part of the documents, drawn at random, is
held by the new model, the others by the former one; each question is read by both. Of several ways to make one ranking of the two kinds of
scores each is measured:

    raw      the cosines as they are
    shifted  those of the former model moved, so that their mean over the anchors is that of the new one
    stretch  distances (1 - cosine) of the former model multiplied, so that their mean over the anchors is that of the new one: the node's way
    scaled   moved and multiplied, so that mean and deviation over the anchors are those of the new one
    ranks    reciprocal ranks in the two lists (60 + rank), as when search engines are merged

Anchors are up to 128 documents with vectors of both models, those that were embedded anew last. `between` is the nDCG of the two models alone,
mixed in the same proportion: no way can be expected to give much more. The node's own code for it is `Anchors` in `node/src/memory/spaces/anchors.rs`.
"""

import argparse
import json
import os
import subprocess
import tempfile
import tomllib
from pathlib import Path

import numpy

from peers import ROOT
from quality import DEPTH, collection_folders, mean_ndcg, read_collection

ANCHORS = 128
# Parts of the documents that the new model holds, and draws for each.
PARTS = (0.1, 0.5, 0.9)
DRAWS = 5
SEED = 20240607
# Of reciprocal rank fusion, as in the paper that introduced it.
RANK_OFFSET = 60
HIDDEN = -9.0


def vectors(texts, binary, model):
    """The vectors of `texts` by our embedder with the built-in model, or with that of a folder."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "texts.json", Path(folder) / "vectors.npy"
        source.write_text(json.dumps(texts))
        command = [str(binary), "--texts", str(source), "--mode", "batched", "--rounds", "1", "--dump", str(target)]
        command += ["--model", str(model)] if model else []
        environment = {"ORT_DYLIB_PATH": str(ROOT / ".onnxruntime" / "libonnxruntime.so")} | os.environ
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        return numpy.load(target)


def ranks(scores):
    """The rank of each document for each question, from 0."""
    return numpy.argsort(numpy.argsort(-scores, axis=1, kind="stable"), axis=1)


def merges(new, former, is_new, anchors):
    """The scores of every document by each way, [questions, documents]."""
    here, there = new[:, anchors], former[:, anchors]
    mean_here, mean_there = here.mean(1, keepdims=True), there.mean(1, keepdims=True)
    stretched = 1 - (1 - former) * (1 - mean_here) / (1 - mean_there)
    scaled = mean_here + (former - mean_there) * here.std(1, keepdims=True) / there.std(1, keepdims=True)
    rank_here, rank_there = ranks(numpy.where(is_new, new, HIDDEN)), ranks(numpy.where(is_new, HIDDEN, former))
    return {
        "raw": numpy.where(is_new, new, former),
        "shifted": numpy.where(is_new, new, former + mean_here - mean_there),
        "stretch": numpy.where(is_new, new, stretched),
        "scaled": numpy.where(is_new, new, scaled),
        "ranks": 1 / (RANK_OFFSET + numpy.where(is_new, rank_here, rank_there)),
    }


def ndcg(scores, documents, queries, grades):
    """nDCG@10 of scores, [questions, documents]."""
    names = list(documents)
    order = numpy.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    return mean_ndcg({query: [names[at] for at in row] for query, row in zip(queries, order)}, grades)


def main():
    parser = argparse.ArgumentParser(description="Measures searches over the vectors of two models.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--other", type=Path, required=True, help="the folder of another model than the built-in one")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "embed_bench")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"merge: skipped, {arguments.data} is not there (judged collections are not part of the repository)")
        return
    if not arguments.binary.exists():
        raise SystemExit(f"{arguments.binary} is missing: cargo build --release --locked --workspace --bins")
    description = tomllib.loads((arguments.other / "model.toml").read_text(encoding="utf-8"))
    if description["question_prefix"] != description["document_prefix"]:
        raise SystemExit("embed_bench reads every text as a document; this model wants another prefix for questions")
    source, rows = numpy.random.default_rng(SEED), []
    print("| collection | from, to | held by the new one | between | raw | shifted | stretch | scaled | ranks |\n|" + "---|" * 9)
    for folder in collection_folders(arguments.data):
        documents, queries, grades = read_collection(folder)
        texts, cosines = [*documents.values(), *queries.values()], {}
        for name, model in (("built-in", None), ("other", arguments.other)):
            found = vectors(texts, arguments.binary, model)
            cosines[name] = found[len(documents) :] @ found[: len(documents)].T
        for former, new in (("other", "built-in"), ("built-in", "other")):
            alone = {name: ndcg(cosines[name], documents, queries, grades) for name in (former, new)}
            for part in PARTS:
                results, count = {}, int(part * len(documents))
                for _ in range(DRAWS):
                    order = source.permutation(len(documents))
                    is_new = numpy.zeros(len(documents), bool)
                    is_new[order[:count]] = True
                    merged = merges(cosines[new], cosines[former], is_new, order[max(0, count - ANCHORS) : count])
                    for way, scores in merged.items():
                        results.setdefault(way, []).append(ndcg(scores, documents, queries, grades))
                between = part * alone[new] + (1 - part) * alone[former]
                means = [float(numpy.mean(values)) for values in results.values()]
                rows.append([mean / between for mean in means])
                cells = [folder.name, f"{former}, {new}", f"{part:.0%}", f"{between:.4f}", *(f"{mean:.4f}" for mean in means)]
                print("| " + " | ".join(cells) + " |", flush=True)
    print("| all | | mean of the ratio | 1 | " + " | ".join(f"{value:.3f}" for value in numpy.mean(rows, axis=0)) + " |")
    print("| all | | least ratio | 1 | " + " | ".join(f"{value:.3f}" for value in numpy.min(rows, axis=0)) + " |")


if __name__ == "__main__":
    main()
