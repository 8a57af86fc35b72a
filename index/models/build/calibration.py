"""What goes into the products of the encoder when ordinary texts go through it: the ground on which `row8` is quantised.

A layer has four products, the matrices that read the same tensor being one: `PRODUCTS`. The published network is run here, in float64 and
with numpy alone, over the sample notes and some texts unlike them, and of what goes into each of the 24 products is kept what
quantisation asks for: how large each channel becomes, and how the channels move together.
"""

import hashlib
import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from graph import HEADS, HEAD_WIDTH, HIDDEN, LAYERS, LAYER_NORM_EPSILON

NOTES = Path(__file__).resolve().parents[3] / "deploy" / "sample-notes"
MAX_TOKENS = 256
SEED = 1

# The sha256 of all calibration texts, one a line. Other texts give other weights.
TEXTS_SHA256 = "2af80a832d997ad3a620ca6013a0c958ad63a988754d68e31a7e89f1e7ac202a"

# The products of a layer and the published matrices, below `encoder.layer.N.`, that each consists of.
PRODUCTS = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "ctx": ("attention.output.dense",),
    "ffn1": ("intermediate.dense",),
    "ffn2": ("output.dense",),
}

# Every how many paragraphs of the notes one stands alone, gives its first sentence, or begins a longer text of this many paragraphs.
ALONE_EVERY = 3
LONG_EVERY = 24
LONG_PARAGRAPHS = 6
LONG_CHARACTERS = 1400
# Lengths of texts of words drawn from the vocabulary, which meet channels that the notes leave alone.
DRAWN_WORDS = (1, 2, 3, 5, 8, 13, 20, 30, 40, 60, 80, 100, 120, 140, 150)
# Texts with hardly any content: their vectors suffer most.
ODD_TEXTS = ("dog", "she", "7", "the dog lay on the rug.", "; ;", "-- --", "of ; , . " * 30, "7 8 7 8 " * 40, "")

# The error function between -6 and 6, read off in steps of 1/4096: within 1e-8, and the same on every machine.
ERF_POINTS = np.arange(-6 * 4096, 6 * 4096 + 1) / 4096
ERF_VALUES = np.array([math.erf(point) for point in ERF_POINTS])


@dataclass
class Inputs:
    """What one product was given: `largest` [channels], the largest magnitude of each channel over all tokens, and `moments`
    [channels, channels], the mean over the tokens of the product of each two channels."""

    largest: np.ndarray
    moments: np.ndarray


class InputsUnderWay:
    """Sums up the inputs of one product, text by text."""

    def __init__(self):
        self.tokens = 0
        self.largest = 0.0
        self.sums = 0.0

    def add(self, tensor):
        """Takes the input that one text gives, [tokens, channels]."""
        self.tokens += len(tensor)
        self.largest = np.maximum(self.largest, np.abs(tensor).max(axis=0))
        self.sums = self.sums + tensor.T @ tensor

    def finish(self):
        return Inputs(self.largest, self.sums / self.tokens)


def calibration_texts(tokenizer):
    """Paragraphs of the sample notes, alone, in company and in part, words drawn from the vocabulary, and odd texts."""
    paragraphs = []
    for file in sorted(NOTES.glob("*.md")):
        blocks = file.read_text(encoding="utf-8").split("\n\n")
        # A note is a heading line and the paragraph that follows it in the same block.
        paragraphs += [" ".join(block.split("\n", 1)[1].split()) for block in blocks if block.startswith("## ")]
    texts = paragraphs[::ALONE_EVERY]
    starts = range(0, len(paragraphs), LONG_EVERY)
    texts += [" ".join(paragraphs[start : start + LONG_PARAGRAPHS])[:LONG_CHARACTERS] for start in starts]
    texts += [paragraph.split(". ")[0] + "." for paragraph in paragraphs[1::ALONE_EVERY]]
    # Neither pieces of words nor the special tokens.
    words = sorted(word for word in tokenizer.get_vocab() if not word.startswith(("[", "##")))
    source = random.Random(SEED)
    texts += [" ".join(source.sample(words, count)) for count in DRAWN_WORDS]
    texts += ODD_TEXTS
    if hashlib.sha256("\n".join(texts).encode()).hexdigest() != TEXTS_SHA256:
        print("the calibration texts are no longer those of the recorded file: deploy/sample-notes has changed", file=sys.stderr)
    return texts


def gelu(tensor):
    """The exact (erf) GELU, but for what the table lacks."""
    return 0.5 * tensor * (1 + np.interp(tensor / np.sqrt(2), ERF_POINTS, ERF_VALUES))


class Network:
    """The published network in float64, one text at a time."""

    def __init__(self, weights):
        """`weights` are the published tensors by name."""
        self.weights = {name: tensor.astype(np.float64) for name, tensor in weights.items() if tensor.dtype.kind == "f"}

    def linear(self, tensor, prefix):
        return tensor @ self.weights[f"{prefix}.weight"].T + self.weights[f"{prefix}.bias"]

    def layer_norm(self, tensor, prefix):
        centred = tensor - tensor.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        return centred / np.sqrt(variance + LAYER_NORM_EPSILON) * self.weights[f"{prefix}.weight"] + self.weights[f"{prefix}.bias"]

    def attention(self, tensor, prefix):
        """The context of each token, [tokens, 384], before the output projection."""
        query, key, value = (
            self.linear(tensor, f"{prefix}{part}").reshape(len(tensor), HEADS, HEAD_WIDTH).transpose(1, 0, 2) for part in PRODUCTS["qkv"]
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(HEAD_WIDTH)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        return (shares @ value).transpose(1, 0, 2).reshape(len(tensor), HIDDEN)

    def run(self, ids):
        """Runs one text, given by its token ids, and yields (layer, product, input [tokens, channels]) for each product on the way."""
        words, places, types = (self.weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
        tensor = self.layer_norm(words[ids] + places[: len(ids)] + types[0], "embeddings.LayerNorm")
        for layer in range(LAYERS):
            prefix = f"encoder.layer.{layer}."
            yield layer, "qkv", tensor
            context = self.attention(tensor, prefix)
            yield layer, "ctx", context
            attended = self.linear(context, f"{prefix}attention.output.dense")
            tensor = self.layer_norm(attended + tensor, f"{prefix}attention.output.LayerNorm")
            yield layer, "ffn1", tensor
            inner = gelu(self.linear(tensor, f"{prefix}intermediate.dense"))
            yield layer, "ffn2", inner
            tensor = self.layer_norm(self.linear(inner, f"{prefix}output.dense") + tensor, f"{prefix}output.LayerNorm")


def product_inputs(weights, tokenizer_file):
    """Runs the calibration texts through the published `weights`: a list with {product: Inputs} for each layer."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    network = Network(weights)
    under_way = [{product: InputsUnderWay() for product in PRODUCTS} for _ in range(LAYERS)]
    for encoding in tokenizer.encode_batch(calibration_texts(tokenizer)):
        for layer, product, tensor in network.run(encoding.ids):
            under_way[layer][product].add(tensor)
    return [{product: inputs.finish() for product, inputs in layer.items()} for layer in under_way]
