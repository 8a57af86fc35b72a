#!/usr/bin/env python3
"""Writes what others make of some texts, for the tests to compare with: `golden.json` and `golden-int8.json` in `index/models`.

    benches/compare/setup
    .venv/bin/python index/models/build/make_golden.py

The first is by the reference: sentence-transformers with the published float32 weights (see `published.py`). Vectors of int8 products differ
from it by more than a test should forgive, so the second is by ONNX Runtime with the built-in int8 model, pooled here: it shows that
the program runs the file rightly. Both take one text at a time, at most 256 tokens of it.
"""

import argparse
import json
import os
from importlib.metadata import version
from pathlib import Path

from published import PUBLISHED_SHA256, fetch_published, sha256_of

# The folder is complete: nothing may be looked up elsewhere.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")

ROOT = Path(__file__).resolve().parents[3]
MODELS = ROOT / "index" / "models"
INT8_ONNX = MODELS / "all-MiniLM-L6-v2-int8" / "model.onnx"
# Both built-in models read texts with the same file.
TOKENIZER = MODELS / "all-MiniLM-L6-v2" / "tokenizer.json"
MAX_TOKENS = 256

PARAGRAPH = (
    "A mirror is not a backup: what is deleted or encrypted on one disk is gone from the other a moment later. "
    "Keep three copies of what matters, on two kinds of media, and one of them in another house. "
    "Once a quarter, restore something from the oldest copy and look at it, because a backup that was never read is a hope. "
)

TEXTS = [
    "hello",
    "a",
    "How do I keep the server cool?",
    "The fan at the back of the rack blows warm air out; keep its filter free of dust.",
    "HOW DO I KEEP THE SERVER COOL?",
    "how   do\tI\nkeep   the server cool ?",
    "Restart the service with systemctl restart nginx.service and read its log with journalctl -u nginx -e.",
    "for (int i = 0; i < n; ++i) { sum += a[i] * b[i]; }  // dot product",
    "fn main() -> Result<(), Box<dyn std::error::Error>> { println!(\"{}\", 1 << 10); Ok(()) }",
    "SELECT name, count(*) FROM grains WHERE topic = 'commons' GROUP BY name HAVING count(*) > 1;",
    "192.168.178.1/24 fe80::1%eth0 a8:bb:cf:00:11:22 user@example.org https://example.org/a?b=c&d=%20",
    "!?!... --- ;:,.() [] {} #@$%^&*",
    "Zażółć gęślą jaźń; Größe, naïve café, El Niño, Ærøskøbing.",
    "如何备份家庭服务器上的照片？",
    "サーバーの温度を下げるには、ファンの埃を取り除いてください。",
    "Как сделать резервную копию сервера?",
    "كيف أحافظ على برودة الخادم؟",
    "🔥 the server is on fire 🔥🚒 call 112! 👩‍🚒",
    "cafe\u0301 and caf\u00e9 \u200b\ufeff\u00a0end",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "x" * 150,
    "0.1 + 0.2 = 0.30000000000000004; 1,000,000; 3/4; 1e-12; 50 %; −5 °C",
    PARAGRAPH,
    # Short of the limit, beyond it in the last sentence, and far beyond it.
    PARAGRAPH * 3,
    PARAGRAPH * 4,
    PARAGRAPH * 12,
    "word " * 254,
    "word " * 255,
]


def reference_vectors(published):
    """What sentence-transformers makes of each text: pairs of token ids and a unit vector of float32, [384]."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    model = SentenceTransformer(str(published), device="cpu")
    assert model.max_seq_length == MAX_TOKENS, f"the published configuration says {model.max_seq_length} tokens"
    for text in TEXTS:
        ids = model.tokenizer(text, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        yield list(ids), model.encode([text], batch_size=1, normalize_embeddings=True, show_progress_bar=False)[0]


def int8_vectors():
    """What ONNX Runtime and the int8 model make of each text: pairs of token ids and a unit vector of float32, [384]."""
    import numpy
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read while it is loaded
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(INT8_ONNX), options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        tokens = numpy.array([ids], numpy.int64)
        inputs = {"input_ids": tokens, "attention_mask": numpy.ones_like(tokens), "token_type_ids": numpy.zeros_like(tokens)}
        (hidden,) = session.run(["last_hidden_state"], inputs)
        # One text has no padding, so every token is within the mask.
        mean = hidden[0].mean(axis=0)
        yield ids, mean / numpy.linalg.norm(mean)


def write_golden(path, vectors, weights, packages):
    """Writes the pairs that `vectors` gives for the texts. `weights` tells in the header which weights, `packages` names what ran them."""
    entries = [
        {"text": text, "token_ids": ids, "vector": [round(float(value), 6) for value in vector]}
        for text, (ids, vector) in zip(TEXTS, vectors, strict=True)
    ]
    header = weights | {
        "made_by": "index/models/build/make_golden.py",
        "made_with": {name: version(name) for name in packages},
        "max_tokens": MAX_TOKENS,
        "note": "token_ids include [CLS] and [SEP] and are cut at max_tokens; vectors have unit length and six decimals",
    }
    lines = ",\n".join(json.dumps(entry, ensure_ascii=True, separators=(",", ":")) for entry in entries)
    path.write_text(f'{{"header":{json.dumps(header)},\n"texts":[\n{lines}\n]}}\n')
    print(f"{path}: {len(entries)} texts, {path.stat().st_size} bytes, {header['made_with']}")


def main():
    parser = argparse.ArgumentParser(description="Writes the reference vectors.")
    parser.add_argument("--published", type=Path, default=ROOT / ".venv" / "published", help="folder of the published files")
    parser.add_argument("--out", type=Path, default=MODELS, help="folder for golden.json and golden-int8.json")
    arguments = parser.parse_args()
    published = fetch_published(arguments.published)
    weights = {"model": "all-MiniLM-L6-v2, float32", "weights_sha256": PUBLISHED_SHA256["model.safetensors"]}
    packages = ("sentence-transformers", "transformers", "tokenizers", "torch")
    write_golden(arguments.out / "golden.json", reference_vectors(published), weights, packages)
    weights = {"model": "all-MiniLM-L6-v2, int8", "weights_sha256": sha256_of(INT8_ONNX)}
    write_golden(arguments.out / "golden-int8.json", int8_vectors(), weights, ("onnxruntime", "tokenizers"))


if __name__ == "__main__":
    main()
