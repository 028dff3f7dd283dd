"""Calls of every function of ``jax.nn`` and ``jax.image``, as data: see ``jax_calls``.

Derivatives at special points: ``test_nn.py``; laws of resampling: ``test_image.py``.
"""

from __future__ import annotations

import numpy as np
from jax_calls import FLOAT, INT, POSITIVE, WHERE, A, Case, X

FLOATS = ("float32", "float16", "bfloat16")
HEADS, FEW_HEADS, SIDES = A((2, 5, 4, 3)), A((2, 6, 2, 3)), A((2, 6, 4, 3))

CASES = [
    Case("celu elu gelu hard_sigmoid hard_silu hard_swish leaky_relu log_sigmoid mish selu", (X,), dtypes=FLOATS),
    Case("sigmoid silu soft_sign softplus swish tanh squareplus hard_tanh sparse_plus sparse_sigmoid", (X,), dtypes=FLOATS),
    Case("relu relu6 identity", (X,), dtypes=(*FLOATS, "int32")),
    Case("celu elu gelu leaky_relu softplus", (A(lo=1, hi=4),), dtypes=INT, tol=1e-5),
    Case("celu elu", (X,), lambda f, x: f(x, 0.5), dtypes=FLOATS),
    Case("gelu", (X,), lambda f, x: f(x, approximate=False), dtypes=FLOATS),
    Case("leaky_relu squareplus", (X,), lambda f, x: f(x, 0.25)),
    Case("log1mexp", (POSITIVE,), dtypes=FLOAT, tol=1e-4),
    Case("glu", (A((2, 4)),), lambda f, x: (f(x), f(x, axis=0)), dtypes=FLOATS),
    Case("softmax log_softmax", (X,), lambda f, x: (f(x), f(x, axis=0), f(x, axis=(0, 1))), dtypes=FLOATS),
    Case("softmax log_softmax logsumexp logmeanexp", (X, WHERE), lambda f, x, w: f(x, axis=0, where=w | (x > 0))),
    Case("logsumexp logmeanexp", (X,), lambda f, x: (f(x), f(x, axis=1), f(x, axis=0, keepdims=True)), dtypes=FLOATS),
    Case("logsumexp", (X, X), lambda f, x, b: f(x, b=b, axis=1, return_sign=True)),
    Case("standardize", (X,), lambda f, x: (f(x), f(x, axis=0, epsilon=1e-3)), tol=1e-4),
    Case("standardize", (X,), lambda f, x: f(x, mean=x[:, :1], variance=x[:, :1] * 0 + 2.0)),
    Case("one_hot", (A((2, 3), -1, 4),), lambda f, i: (f(i, 4), f(i, 3, axis=0), f(i, 4, dtype="float16")), dtypes=("int32", "uint8")),
    Case("dot_product_attention", (HEADS, SIDES, SIDES), dtypes=("float32", "bfloat16"), tol=1e-4),
    Case("dot_product_attention", (HEADS, FEW_HEADS, FEW_HEADS), lambda f, q, k, v: (f(q, k, v, is_causal=True), f(q, k, v, scale=0.3)), tol=1e-4),
    Case("dot_product_attention", (HEADS, SIDES, SIDES, A((2, 1, 5, 6))), lambda f, q, k, v, b: (f(q, k, v, bias=b), f(q, k, v, mask=b > -1)), tol=1e-4),
    Case("dot_product_attention", (HEADS, SIDES, SIDES), lambda f, q, k, v: f(q, k, v, query_seq_lengths=np.int32([5, 3]), key_value_seq_lengths=np.int32([2, 6])), vmap=False, tol=1e-4),
    Case("dot_product_attention", (SIDES, SIDES, SIDES), lambda f, q, k, v: f(q, k, v, local_window_size=(1, 2)), tol=1e-4),
]  # fmt: skip

NOT_CALLED = {
    "initializers": "a module: its functions stand beside JAX's in test_nn.py",
    "scaled_matmul": "JAX does not run it on a CPU: test_nn.py has it beside a product",
}

_PICTURE = A((5, 4, 2))
_MOVES = A((2,), 0.6, 1.9), A((2,), -1.2, 0.8)
_METHODS = ("linear", "cubic", "cubic-pytorch", "lanczos3", "lanczos5", "area")

IMAGE = [
    Case("resize", (_PICTURE,), lambda f, x: [f(x, shape, m, a) for m in ("nearest", *_METHODS) for a in (True, False) for shape in ((3, 7, 2), (8, 2, 2))], dtypes=(*FLOATS, "int32", "uint8", "complex64"), tol=5e-5),
    Case("resize", (_PICTURE,), lambda f, x: (f(x, (5, 4, 3), method="bilinear"), f(x, (1, 4, 2), "bicubic"), f(x, (5, 0, 2), "triangle"), f(x, x.shape, "lanczos3")), tol=5e-5),
    Case("scale_and_translate", (_PICTURE, *_MOVES), lambda f, x, s, t: [f(x, (4, 6, 2), (0, 1), s, t, m, a) for m in _METHODS for a in (True, False)], tol=1e-4),
    Case("scale_and_translate", (_PICTURE, A((2,), 0.6, 1.9, "float32")), lambda f, x, s: (f(x, (4, 6, 2), (0, 1), s, s - 1, "cubic"), f(x, (5, 4, 3), (2,), s[:1], s[1:], "linear")), dtypes=(*FLOATS, "int32"), tol=1e-4),
    Case("ResizeMethod", (), lambda f: [m.name for m in f] + [f.from_string(n).name for n in ("linear", "trilinear", "tricubic", "cubic-pytorch")] + [int(f.CUBIC.value)], traced=False),
]  # fmt: skip

DTYPE_RULES: dict[tuple[str, str], str] = {}
