#!/usr/bin/env python3
"""Writes what the published float32 weights make of some texts, by sentence-transformers (see `published.py`), one at a time.

    benches/compare/setup
    .venv/bin/python index/models/build/make_golden.py

`golden.json` in `index/models` is what the tests compare with; of a long text it holds the vector of the first 256 tokens.
`reference.json` in the folder of the built-in model holds a few of the same: every variant of the space has to give their vectors, within
what it promises, when it is loaded.
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


# The texts that a variant is held against when it is loaded: of all kinds, and few tokens together.
REFERENCE_TEXTS = [TEXTS[at] for at in (2, 8, 11, 13, 15, 21, 22)]


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


def write_vectors(path, header, entries):
    """Writes the header and one text with its vector a line."""
    lines = ",\n".join(json.dumps(entry, ensure_ascii=True, separators=(",", ":")) for entry in entries)
    path.write_text(f'{{"header":{json.dumps(header)},\n"texts":[\n{lines}\n]}}\n')
    print(f"{path}: {len(entries)} texts, {path.stat().st_size} bytes, sha256 {sha256_of(path)}")


def main():
    parser = argparse.ArgumentParser(description="Writes the reference vectors.")
    parser.add_argument("--published", type=Path, default=ROOT / ".venv" / "published", help="folder of the published files")
    parser.add_argument("--out", type=Path, default=MODELS, help="folder for golden.json and all-MiniLM-L6-v2/reference.json")
    arguments = parser.parse_args()
    published = fetch_published(arguments.published)
    entries = [
        {"text": text, "token_ids": ids, "vector": [round(float(value), 6) for value in vector]}
        for text, (ids, vector) in zip(TEXTS, reference_vectors(published), strict=True)
    ]
    header = {
        "model": "all-MiniLM-L6-v2, float32",
        "weights_sha256": PUBLISHED_SHA256["model.safetensors"],
        "made_by": "index/models/build/make_golden.py",
        "made_with": {name: version(name) for name in ("sentence-transformers", "transformers", "tokenizers", "torch")},
        "max_tokens": MAX_TOKENS,
        "note": "token_ids include [CLS] and [SEP] and are cut at max_tokens; vectors have unit length and six decimals",
    }
    write_vectors(arguments.out / "golden.json", header, entries)
    write_reference(arguments.out, header, entries)


def write_reference(out, header, entries):
    """Writes `reference.json` from what is in `golden.json`."""
    few = [{"text": entry["text"], "vector": entry["vector"]} for entry in entries if entry["text"] in REFERENCE_TEXTS]
    write_vectors(out / "all-MiniLM-L6-v2" / "reference.json", header | {"note": "vectors have unit length and six decimals"}, few)


if __name__ == "__main__":
    main()
