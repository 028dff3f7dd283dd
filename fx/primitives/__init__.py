"""The primitives, one family a file: each operation's shape rule, reference, jvp, transpose and batching rule."""

from . import (
    callbacks,
    collectives,
    conv,
    cumulative,
    decompositions,
    elementwise,
    gather_scatter,
    indexing,
    linalg,
    random_bits,
    reductions,
    shaping,
    solves,
    sorting,
    spectral,
    windows,
)

__all__ = [
    "callbacks",
    "collectives",
    "conv",
    "cumulative",
    "decompositions",
    "elementwise",
    "gather_scatter",
    "indexing",
    "linalg",
    "random_bits",
    "reductions",
    "shaping",
    "solves",
    "sorting",
    "spectral",
    "windows",
]
