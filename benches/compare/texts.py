#!/usr/bin/env python3
"""The texts of the embedding comparison, made from the sample notes of this repository: the same every time, no file from elsewhere needed.

    .venv/bin/python benches/compare/texts.py --out /tmp/texts.json

The file is an object of named sets, as `embed_bench --texts` reads it.
"""

import argparse
import json
import random
import re
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "index" / "models" / "all-MiniLM-L6-v2" / "tokenizer.json"
NOTES = ROOT / "deploy" / "sample-notes"
SEED = 20240607

# How many texts each set has. Few enough that the slowest peer gets through a set in seconds, and more than one batch.
SIZES = {"short": 64, "mid": 64, "long": 24, "mixed": 64}


def sample_notes():
    """The paragraphs of the sample notes, in the order of their files."""
    paragraphs = []
    for file in sorted(NOTES.glob("*.md")):
        blocks = file.read_text(encoding="utf-8").split("\n\n")
        # A note is a heading line and the paragraph that follows it in the same block.
        paragraphs += [block.split("\n", 1)[1] for block in blocks if block.startswith("## ")]
    return [" ".join(paragraph.split()) for paragraph in paragraphs]


def shuffled_sentences(source, notes):
    """The sentences of the notes in an order that `source` decides."""
    sentences = [sentence for note in notes for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", note)]
    source.shuffle(sentences)
    return sentences


def token_counter():
    """A function that tells how many tokens a text has, the special ones included."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text).ids)


def texts_near(tokens, count):
    """`count` texts of `tokens` tokens, a tenth more or less: sentences of the sample notes, joined until they are long enough."""
    length = token_counter()
    texts, joined = [], ""
    for sentence in shuffled_sentences(random.Random(SEED), sample_notes()):
        joined = f"{joined} {sentence}".strip()
        if length(joined) < 0.9 * tokens:
            continue
        if length(joined) <= 1.1 * tokens:
            texts.append(joined)
        joined = ""
    if len(texts) < count:
        raise SystemExit(f"the sample notes give only {len(texts)} texts of about {tokens} tokens, {count} are needed")
    return texts[:count]


def text_sets():
    """Named sets of texts: `short` (up to 15 tokens), `mid` (16 to 32), `long` (180 to 256) and `mixed` (all lengths, shuffled)."""
    length = token_counter()
    source = random.Random(SEED)
    notes = sample_notes()
    sentences = shuffled_sentences(source, notes)
    short = [sentence for sentence in sentences if length(sentence) <= 15]
    mid = [sentence for sentence in sentences if 16 <= length(sentence) <= 32]
    source.shuffle(notes)
    joined, long = "", []
    for note in notes:
        if length(f"{joined} {note}") > 256:
            long.append(joined)
            joined = ""
        joined = f"{joined} {note}".strip()
    quarter = SIZES["mixed"] // 4
    mixed = short[-quarter:] + mid[-quarter:] + notes[:quarter] + long[-quarter:]
    source.shuffle(mixed)
    sets = {"short": short, "mid": mid, "long": [text for text in long if length(text) >= 180], "mixed": mixed}
    for name, texts in sets.items():
        if len(texts) < SIZES[name]:
            raise SystemExit(f"the sample notes give only {len(texts)} texts for the set {name}, {SIZES[name]} are needed")
    return {name: texts[: SIZES[name]] for name, texts in sets.items()}


def main():
    parser = argparse.ArgumentParser(description="Writes the texts of the embedding comparison.")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    sets = text_sets()
    arguments.out.write_text(json.dumps(sets, ensure_ascii=False))
    print(", ".join(f"{name}: {len(texts)} texts, {sum(map(len, texts)) // len(texts)} characters on average" for name, texts in sets.items()))


if __name__ == "__main__":
    main()
