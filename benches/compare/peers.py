"""The Python stacks that embedding is compared with, each behind `encode(texts, batch_size) -> float32 [n, 384]`.

All get the same texts, 256 tokens at most, the CPU, and the number of threads that is asked for. sentence-transformers runs the published
float32 weights; fastembed and onnxruntime run the very `model.onnx` that the node runs, onnxruntime either of the node's variants.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "index" / "models" / "all-MiniLM-L6-v2"
ROW8 = ROOT / "index" / "models" / "all-MiniLM-L6-v2-row8"
PUBLISHED = ROOT / ".venv" / "published"
MAX_TOKENS = 256
DIMENSION = 384

# Every file is here already: nothing may be looked up elsewhere, and nothing is sent. ONNX Runtime, which fastembed loads, too, reads the last one
# while it is loaded.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", ORT_DISABLE_TELEMETRY="1")

sys.path.insert(0, str(ROOT / "index" / "models" / "build"))
from published import fetch_published  # noqa: E402


def set_threads(threads):
    """Bounds the thread pools that read the environment. Must come before the libraries are imported."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"


def read_tokenizer():
    """The tokenizer of all variants of the model: no padding, at most 256 tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


class SentenceTransformers:
    """sentence-transformers with PyTorch; it sorts the texts by length itself."""

    def __init__(self, threads):
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        self.model = SentenceTransformer(str(fetch_published(PUBLISHED)), device="cpu")

    def encode(self, texts, batch_size):
        return self.model.encode(texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)


class FastEmbed:
    """fastembed; it keeps the order of arrival."""

    def __init__(self, threads):
        from fastembed import TextEmbedding

        published = fetch_published(PUBLISHED)
        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        for file in (MODEL / "model.onnx", MODEL / "tokenizer.json", published / "config.json", published / "special_tokens_map.json"):
            (folder / file.name).symlink_to(file)
        # It truncates where this file says, 512 as published; the others stop at the model card's 256.
        settings = json.loads((published / "tokenizer_config.json").read_text()) | {"model_max_length": MAX_TOKENS}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        self.model = TextEmbedding(
            "sentence-transformers/all-MiniLM-L6-v2",
            specific_model_path=str(folder),
            threads=threads,
            providers=["CPUExecutionProvider"],
        )

    def encode(self, texts, batch_size):
        import numpy

        return numpy.array(list(self.model.embed(texts, batch_size=batch_size)), dtype=numpy.float32)


class OnnxRuntime:
    """onnxruntime and tokenizers by hand, as a careful programmer would: sorted by length, padded to the longest of the batch."""

    def __init__(self, threads, model=MODEL / "model.onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.tokenizer = read_tokenizer()

    def encode(self, texts, batch_size):
        import numpy

        tokens = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))
        vectors = numpy.empty((len(tokens), DIMENSION), numpy.float32)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            width = max(len(tokens[at]) for at in batch)
            ids = numpy.zeros((len(batch), width), numpy.int64)
            mask = numpy.zeros_like(ids)
            for row, at in enumerate(batch):
                ids[row, : len(tokens[at])] = tokens[at]
                mask[row, : len(tokens[at])] = 1
            inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
            vectors[batch] = self.session.run(["sentence_embedding"], inputs)[0]
        return vectors


class OnnxRuntimeRow8(OnnxRuntime):
    """The same with the variant that multiplies integers."""

    def __init__(self, threads):
        super().__init__(threads, ROW8 / "model.onnx")


PEERS = {
    "sentence-transformers": SentenceTransformers,
    "fastembed": FastEmbed,
    "onnxruntime": OnnxRuntime,
    "onnxruntime row8": OnnxRuntimeRow8,
}
