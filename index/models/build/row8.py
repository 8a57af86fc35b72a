"""The graph of `row8`: products of uint8 activations and int8 weights, each token's activations with a scale of their own.

A token's scale comes from its own largest value, so what stands beside a text cannot change its vector, as it does in `int8`. The sums of
the integer products are exact; they are multiplied by the scale of the token and by that of the weights' column. `quantisation.py`
makes the weights.

ONNX Runtime's own operators do what the standard ones would do in more steps: MatMulIntegerToFloat, which applies the scale of the column on
the way out, and FastGelu, which adds the bias and computes GELU by tanh. All tokens of a run are the rows of one matrix, [tokens, channels],
except within the attention.
"""

import numpy as np
from onnx import TensorProto

from calibration import PRODUCTS, product_inputs
from graph import HEADS, HEAD_WIDTH, HIDDEN, LAYERS, LAYER_NORM_EPSILON, Graph, block_rows, finish
from quantisation import quantise_layer

# QuantizeLinear with a scale for each row, LayerNormalization and Split into equal parts, in the versions that are meant.
OPSET = 20
IR_VERSION = 9
ONNX_RUNTIME = "com.microsoft"
OPSETS = {"": OPSET, ONNX_RUNTIME: 1}

# Activations of both signs: this byte stands for zero, and so many levels are on either side.
ZERO = 128
LEVELS = 127
# The least that GELU can be. So few bytes below its zero suffice, and more are left above it.
GELU_LEAST = -0.17
GELU_ZERO = 32
GELU_LEVELS = 255 - GELU_ZERO


def build_row8(weights, tokenizer_file):
    """The whole model, from the published `weights` by name and the published tokenizer."""
    inputs = product_inputs(weights, tokenizer_file)
    layers = [quantise_layer(weights, f"encoder.layer.{layer}.", inputs[layer]) for layer in range(LAYERS)]
    encoder = Encoder(weights, layers)
    tensor = encoder.embedded
    for layer in range(LAYERS):
        tensor = encoder.feed_forward(encoder.attention(tensor, layer), layer)
    hidden = encoder.hidden(tensor)
    return finish(encoder.graph, hidden, encoder.pooling(hidden), OPSETS, IR_VERSION)


class Encoder:
    """Writes the graph, and begins with the embeddings, `embedded`. Tensors between its methods are float32 [tokens, channels], with the
    tokens of all texts one after the other."""

    def __init__(self, weights, layers):
        self.weights = weights
        self.layers = layers
        # The nodes are of two domains, so each names its own.
        self.graph = graph = Graph(domain="")
        shape = graph.add("Shape", ["input_ids"])
        zero, one, two = graph.integers("zero", [0]), graph.integers("one", [1]), graph.integers("two", [2])
        self.batch = graph.add("Slice", [shape, zero, one])
        self.sequence = graph.add("Slice", [shape, one, two])
        total = self.embeddings()
        self.flat, self.last, self.unit = graph.integers("flat", [-1, HIDDEN]), graph.integers("last", [-1]), graph.number("unit", 1.0)
        self.embedded = self.layer_norm(graph.add("Reshape", [total, self.flat]), "embeddings.LayerNorm")
        tokens = graph.add("Mul", [self.batch, self.sequence])
        self.zero = {zero: graph.constant(f"zero{zero}", np.array(zero, np.uint8)) for zero in (ZERO, GELU_ZERO)}
        # Quantising row by row asks for a zero point for each row.
        self.zeros = {zero: graph.add("Expand", [graph.constant(f"zeros{zero}", np.array([zero], np.uint8)), tokens]) for zero in self.zero}
        self.bias = self.attention_bias()
        # Nothing reads this one, and it is dropped when the file is loaded. It stays because the file that was measured has it.
        graph.add("Concat", [self.batch, self.sequence, graph.integers("heads", [HEADS, HEAD_WIDTH])], axis=0)
        self.heads = graph.add("Concat", [self.batch, self.sequence, graph.integers("heads3", [3 * HEADS, HEAD_WIDTH])], axis=0)

    def embeddings(self):
        """Word, type and position embeddings, summed: [batch, sequence, 384]."""
        graph = self.graph
        words, places, types = (self.weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
        zero = graph.integers("zero", [0])
        places = graph.add("Slice", [graph.constant("positions", places), zero, self.sequence, zero])
        # Only the word embeddings are stored as int8: the other two take 0.8 MB.
        types = graph.add("Gather", [graph.constant("types", types), "token_type_ids"], axis=0)
        words = block_rows(graph, "word", words, "input_ids", "rows")
        return graph.add("Add", [graph.add("Add", [words, types]), places])

    def attention_bias(self):
        """What is added to the attention scores: 0 where there is a token, -10000 where there is padding."""
        mask = self.graph.add("Unsqueeze", ["attention_mask", self.graph.integers("middle", [1, 2])])
        absent = self.graph.add("Sub", [self.unit, self.graph.add("Cast", [mask], to=TensorProto.FLOAT)])
        return self.graph.add("Mul", [absent, self.graph.number("absent", -10000.0)])

    def layer_norm(self, tensor, prefix):
        gain = self.graph.constant(f"{prefix}.w", self.weights[f"{prefix}.weight"])
        bias = self.graph.constant(f"{prefix}.b", self.weights[f"{prefix}.bias"])
        return self.graph.add("LayerNormalization", [tensor, gain, bias], axis=-1, epsilon=LAYER_NORM_EPSILON)

    def smooth(self, tensor, product, layer):
        """Divides each channel of a product's input by its smoothing."""
        factor = (1 / self.layers[layer].products[product].smoothing).astype(np.float32)
        return self.graph.add("Mul", [tensor, self.graph.constant(f"{product}{layer}.smooth", factor)])

    def quantise(self, tensor):
        """Bytes of values of both signs: their name, that of each row's scale as a column, and the zero point's."""
        largest = self.graph.add("ReduceMax", [self.graph.add("Abs", [tensor]), self.last], keepdims=0)
        scale = self.graph.add("Mul", [largest, self.graph.number("levels", 1 / LEVELS)])
        return self.to_bytes(tensor, scale, ZERO)

    def quantise_gelu(self, tensor):
        """The same for what GELU gives. Rows with small values alone are scaled for the least that GELU can be."""
        largest = self.graph.add("ReduceMax", [tensor, self.last], keepdims=0)
        scale = self.graph.add("Mul", [largest, self.graph.number("top", 1 / GELU_LEVELS)])
        scale = self.graph.add("Max", [scale, self.graph.number("least", -GELU_LEAST / GELU_ZERO)])
        return self.to_bytes(tensor, scale, GELU_ZERO)

    def to_bytes(self, tensor, scale, zero):
        quantised = self.graph.add("QuantizeLinear", [tensor, scale, self.zeros[zero]], axis=0)
        return quantised, self.graph.add("Unsqueeze", [scale, self.last]), self.zero[zero]

    def product(self, quantised, name, weights, scale):
        """The product of bytes, as `quantise` gives them, and int8 `weights` [inputs, outputs] with `scale` [outputs], in float32."""
        values, row_scale, zero = quantised
        constants = self.graph.constant(f"{name}.q", weights), self.unit, self.graph.constant(f"{name}.s", scale)
        sums = self.graph.add("MatMulIntegerToFloat", [values, *constants, zero], domain=ONNX_RUNTIME)
        return self.graph.add("Mul", [sums, row_scale])

    def join(self, tensor, residual, dense, norm):
        """Adds the bias of `dense` and what went round the block, and normalises."""
        bias = self.graph.constant(f"{dense}.bias", self.weights[f"{dense}.bias"])
        return self.layer_norm(self.graph.add("Add", [self.graph.add("Add", [tensor, bias]), residual]), norm)

    def attention(self, tensor, layer):
        """Self attention of one layer with what follows it: output projection, residual, normalisation."""
        graph, prefix, products = self.graph, f"encoder.layer.{layer}.", self.layers[layer].products
        quantised = self.quantise(self.smooth(tensor, "qkv", layer))
        # The division of the scores goes into the queries and the smoothing of the context into the values, for nothing.
        parts = [np.full(HIDDEN, 1 / np.sqrt(HEAD_WIDTH)), np.ones(HIDDEN), 1 / products["ctx"].smoothing]
        folded = np.concatenate(parts).astype(np.float32)
        bias = np.concatenate([self.weights[f"{prefix}{part}.bias"] for part in PRODUCTS["qkv"]]) * folded
        flat = self.product(quantised, f"qkv{layer}", products["qkv"].weights, products["qkv"].scale * folded)
        flat = graph.add("Add", [flat, graph.constant(f"qkv{layer}.b", bias)])
        heads = graph.add("Transpose", [graph.add("Reshape", [flat, self.heads])], perm=[0, 2, 1, 3])
        query, key, value = graph.split(heads, 3, axis=1)
        scores = graph.add("MatMul", [query, graph.add("Transpose", [key], perm=[0, 1, 3, 2])])
        shares = graph.add("Softmax", [graph.add("Add", [scores, self.bias])], axis=3)
        context = graph.add("Transpose", [graph.add("MatMul", [shares, value])], perm=[0, 2, 1, 3])
        quantised = self.quantise(graph.add("Reshape", [context, self.flat]))
        attended = self.product(quantised, f"out{layer}", products["ctx"].weights, products["ctx"].scale)
        return self.join(attended, tensor, f"{prefix}attention.output.dense", f"{prefix}attention.output.LayerNorm")

    def feed_forward(self, tensor, layer):
        """The two dense layers of one encoder layer, residual and normalisation included."""
        graph, prefix, products = self.graph, f"encoder.layer.{layer}.", self.layers[layer].products
        quantised = self.quantise(self.smooth(tensor, "ffn1", layer))
        inner = self.product(quantised, f"inner{layer}", products["ffn1"].weights, products["ffn1"].scale)
        bias = self.weights[f"{prefix}intermediate.dense.bias"][self.layers[layer].inner]
        inner = graph.add("FastGelu", [inner, graph.constant(f"inner{layer}.b", bias)], domain=ONNX_RUNTIME)
        quantised = self.quantise_gelu(self.smooth(inner, "ffn2", layer))
        fed = self.product(quantised, f"outer{layer}", products["ffn2"].weights, products["ffn2"].scale)
        return self.join(fed, tensor, f"{prefix}output.dense", f"{prefix}output.LayerNorm")

    def hidden(self, tensor):
        """The matrix in the shape of the interface, [batch, sequence, 384]."""
        shape = self.graph.add("Concat", [self.batch, self.sequence, self.graph.integers("hidden", [HIDDEN])], axis=0)
        return self.graph.add("Reshape", [tensor, shape], "last_hidden_state")

    def pooling(self, hidden):
        """The mean over the tokens that the mask keeps, scaled to unit length."""
        graph, one = self.graph, self.graph.integers("one", [1])
        mask = graph.add("Cast", ["attention_mask"], to=TensorProto.FLOAT)
        wide = graph.add("Unsqueeze", [mask, self.last])
        total = graph.add("ReduceSum", [graph.add("Mul", [hidden, wide]), one], keepdims=0)
        count = graph.add("ReduceSum", [mask, one], keepdims=1)
        mean = graph.add("Div", [total, graph.add("Max", [count, graph.number("some", 1e-9)])])
        norm = graph.add("ReduceL2", [mean, self.last], keepdims=1)
        return graph.add("Div", [mean, graph.add("Max", [norm, graph.number("tiny", 1e-12)])], "sentence_embedding")
