"""Turns the matrices of the encoder into int8 for products with uint8 activations that have a scale for each token.

Rounding a token's channels with one scale wastes levels on the small ones when a few are large, and rounding each weight on its own adds
up errors that could cancel. Against the first, large channels are made smaller and their weights larger, which changes nothing in exact
arithmetic (SmoothQuant, Xiao et al. 2023, arXiv:2211.10438). In the inner dense layer, where a few channels are very large, those exist
several times instead, each copy with its share of the value. Against the second, the weights are rounded one input channel after the
other, and the error of each goes into those that are not yet rounded (GPTQ, Frantar et al. 2023, arXiv:2210.17323).

One thing must hold of the result: the weights of input channels 2j and 2j + 1 add up to -128..128. Processors without VNNI multiply bytes
by `vpmaddubsw`, which adds two neighbouring products in 16 bits: 255 * 128 = 32,640 still fits, so that their sums are what others get.
Seven-bit weights would ensure the same and cost half of the levels; this costs a fifth.
"""

from dataclasses import dataclass

import numpy as np

from calibration import PRODUCTS
from graph import INNER

# How much of the difference between channels goes over to the weights: 0 none, 1 all.
SMOOTHING = {"qkv": 0.6, "ctx": 0.65, "ffn1": 0.6}
# No channel is made larger than this allows, relative to the median channel: the weights of the small ones would vanish.
LEAST_SMOOTHING = 0.6

# Channels of the inner dense layer are copied until each copy is at most this many times as large as the median channel ...
COPY_ABOVE = 2.0
# ... or as many columns are added, of which there must be a multiple of `COPY_STEP` for the kernels.
MAX_COPIES = 48
COPY_STEP = 16

# Weights are within -127..127.
MAX_WEIGHT = 127
# Two neighbouring weights may add up to this, and are scaled to add up to a little less, which leaves the rounding room.
MAX_PAIR = 128
AIM_PAIR = 125

# What is added to the moments' diagonal, in means of that diagonal: much, because a few hundred texts must not be believed too far.
DAMPING = 1.0
# Input channels whose errors are handed on together. Only speed depends on it.
GPTQ_BLOCK = 64


@dataclass
class Product:
    """One product ready for the graph: `weights` int8 [inputs, outputs], `scale` float32 [outputs] by which these are multiplied, and
    `smoothing` float32 [inputs] by which the input is divided beforehand."""

    weights: np.ndarray
    scale: np.ndarray
    smoothing: np.ndarray


@dataclass
class Layer:
    """The products of a layer by name, and for each column of the inner dense layer, copies included, the published channel that it is."""

    products: dict
    inner: np.ndarray


def quantise_layer(weights, prefix, inputs):
    """Quantises the products of the layer whose tensors begin with `prefix`; `inputs` are what calibration saw, {product: Inputs}."""
    inner, times = copies(inputs["ffn2"].largest)
    products = {}
    for product, parts in PRODUCTS.items():
        seen = inputs[product]
        matrix = np.concatenate([weights[f"{prefix}{part}.weight"].T.astype(np.float64) for part in parts], axis=1)
        moments = seen.moments
        if product == "ffn2":
            smoothing, matrix, moments = times, matrix[inner], moments[np.ix_(inner, inner)]
        else:
            smoothing = smoothing_of(seen.largest, matrix, SMOOTHING[product])
            matrix = matrix * smoothing[:, None]
        scale = column_scale(matrix)
        rounded = round_weights(matrix, moments / np.outer(smoothing, smoothing), scale.astype(np.float64))
        if product == "ffn1":
            rounded, scale = rounded[:, inner], scale[inner]
        products[product] = Product(rounded, scale, smoothing.astype(np.float32))
    return Layer(products, inner)


def smoothing_of(largest, matrix, share):
    """What each input channel is divided by, float64 [inputs] that float32 holds exactly."""
    smoothing = largest**share / np.maximum(np.abs(matrix).max(axis=1), 1e-9) ** (1 - share)
    smoothing = np.clip(smoothing / np.median(smoothing), LEAST_SMOOTHING, None)
    return smoothing.astype(np.float32).astype(np.float64)


def copies(largest):
    """Copies the largest channels of the inner dense layer, whose sizes are `largest`: for each column with the copies behind the others
    the published channel that it is, and into how many columns that is divided, [columns] both."""
    wanted = np.maximum(np.ceil(largest / (COPY_ABOVE * np.median(largest))).astype(int), 1)
    by_size = np.argsort(-largest, kind="stable")
    added = []
    for channel in by_size:
        if wanted[channel] < 2 or len(added) + wanted[channel] - 1 > MAX_COPIES:
            break
        added += [channel] * (wanted[channel] - 1)
    added += [by_size[0]] * (-len(added) % COPY_STEP)
    # Shuffled like two halves of a pack of cards, because two copies of one channel in a pair would halve what their weights may be.
    half = len(added) // 2
    added = [channel for pair in zip(added[:half], added[half:]) for channel in pair]
    columns = np.concatenate([np.arange(INNER), np.array(added, int)])
    return columns, np.bincount(columns, minlength=INNER)[columns].astype(np.float64)


def column_scale(matrix):
    """The least scale of each column, float32 [outputs], with which its weights and its pairs of weights are in range."""
    single = np.abs(matrix).max(axis=0) / MAX_WEIGHT
    pair = np.abs(matrix[0::2] + matrix[1::2]).max(axis=0) / AIM_PAIR
    return np.maximum(single, pair).astype(np.float32)


def round_weights(matrix, moments, scale):
    """Rounds `matrix` [inputs, outputs] to int8 multiples of `scale` [outputs] so that the product's error is small for inputs with the
    `moments` [inputs, inputs]."""
    count = len(matrix)
    moments = moments + np.eye(count) * np.mean(np.diag(moments)) * DAMPING
    # The channels that matter most go first, while many are left to take up their errors.
    order = np.argsort(-np.diag(moments), kind="stable")
    upper = inverse_factor(moments[np.ix_(order, order)])
    left = matrix[order]
    rounded = np.zeros(matrix.shape, np.int16)
    done = np.zeros(count, bool)
    for start in range(0, count, GPTQ_BLOCK):
        end = min(start + GPTQ_BLOCK, count)
        errors = np.zeros((end - start, matrix.shape[1]))
        for place in range(start, end):
            channel = order[place]
            partner = channel ^ 1
            low, high = -MAX_WEIGHT, MAX_WEIGHT
            if done[partner]:
                low, high = np.maximum(low, -MAX_PAIR - rounded[partner]), np.minimum(high, MAX_PAIR - rounded[partner])
            rounded[channel] = np.clip(np.rint(left[place] / scale), low, high)
            done[channel] = True
            error = (left[place] - rounded[channel] * scale) / upper[place, place]
            left[place + 1 : end] -= np.outer(upper[place, place + 1 : end], error)
            errors[place - start] = error
        left[end:] -= upper[start:end, end:].T @ errors
    assert np.abs(rounded[0::2] + rounded[1::2]).max() <= MAX_PAIR, "a pair of weights could overflow 16 bits"
    return rounded.astype(np.int8)


def inverse_factor(moments):
    """The upper triangular U with transpose(U) U = inverse of `moments`."""
    inverse = np.linalg.inv(np.linalg.cholesky(moments))
    return np.linalg.cholesky(inverse.T @ inverse).T
