"""``fx.nn``: functions of neural networks, under the names of ``jax.nn``, and the layers that need no parameters.

Everything is a pure function of arrays: parameters are a pytree of your own, made with ``fx.nn.initializers``.

Not here: ``scaled_dot_general`` and its configurations, which quantise to floats of 4 and 8 bits; fx has none so small.
"""

from __future__ import annotations

from ..scipy.special import logsumexp
from . import initializers
from .activations import (
    celu,
    elu,
    gelu,
    glu,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    identity,
    leaky_relu,
    log1mexp,
    log_sigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_sign,
    softplus,
    sparse_plus,
    sparse_sigmoid,
    squareplus,
    swish,
    tanh,
)
from .attention import dot_product_attention, scaled_matmul
from .layers import avg_pool, conv, dropout, max_pool
from .normalization import log_softmax, logmeanexp, one_hot, softmax, standardize

__all__ = [
    "avg_pool", "celu", "conv", "dot_product_attention", "dropout", "elu", "gelu", "glu", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh",
    "identity", "initializers", "leaky_relu", "log1mexp", "log_sigmoid", "log_softmax", "logmeanexp", "logsumexp", "max_pool", "mish",
    "one_hot", "relu", "relu6", "scaled_matmul", "selu", "sigmoid", "silu", "soft_sign", "softmax", "softplus", "sparse_plus",
    "sparse_sigmoid", "squareplus", "standardize", "swish", "tanh",
]  # fmt: skip
