"""The primitives, one family a file: each operation's shape rule, reference, jvp, transpose and batching rule."""

from . import (
    callbacks,
    collectives,
    control_flow,
    conv,
    cumulative,
    elementwise,
    gather_scatter,
    indexing,
    linalg,
    random_bits,
    reductions,
    shaping,
    sorting,
    windows,
)

__all__ = [
    "callbacks",
    "collectives",
    "control_flow",
    "conv",
    "cumulative",
    "elementwise",
    "gather_scatter",
    "indexing",
    "linalg",
    "random_bits",
    "reductions",
    "shaping",
    "sorting",
    "windows",
]
