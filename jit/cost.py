"""How much arithmetic an equation is: the numbers behind fusion decisions, chunk sizes and ``cost_analysis``.

Units are additions of one element.  Transcendentals count as what their polynomial costs in a vectorised loop.
"""

from __future__ import annotations

import math

import numpy as np

from fx.ir import Eqn
from fx.sizes import largest, late

__all__ = [
    "CHEAP",
    "FEW_ROWS",
    "SPLIT_NS",
    "chunk_for",
    "flops_per_element",
    "halvings",
    "nanoseconds",
    "nanoseconds_of",
]

CHEAP = 4  # an expression of at most this many flops is recomputed rather than stored
SPLIT_NS = 100_000.0  # a reduction of fewer than FEW_ROWS rows with more work than this is cut into partial results
FEW_ROWS = 16
PIECE_NS = 10_000.0  # of a piece of work whose time is a guess

_FREE = {"copy", "stop_gradient", "optimization_barrier", "real", "imag", "complex", "bitcast_convert_type"}
_COST = {
    "exp": 14, "exp2": 12, "log": 18, "log1p": 22, "log2": 18, "expm1": 20, "sin": 40, "cos": 40, "tan": 50, "asin": 24, "acos": 24,
    "atan": 24, "sinh": 24, "cosh": 22, "tanh": 18, "asinh": 30, "acosh": 30, "atanh": 30, "sqrt": 6, "rsqrt": 8, "cbrt": 30,
    "logistic": 18, "erf": 24, "erfc": 28, "erf_inv": 40, "lgamma": 80, "digamma": 80, "pow": 44, "gcd": 200, "atan2": 36, "div": 5,
    "rem": 20, "nextafter": 8, "gather": 24, "threefry2x32": 110, "population_count": 4, "clz": 4, "round": 2, "sign": 2,
}  # fmt: skip


def flops_per_element(eqn: Eqn) -> int:
    """Approximate additions that one element of the equation's result costs (complex arithmetic counts fourfold)."""
    name = eqn.prim.name
    if name in _FREE:
        return 0
    if name == "integer_pow":
        y = abs(int(eqn.params["y"]))
        n = max(1, y.bit_length() + y.bit_count() - 2) + (5 if eqn.params["y"] < 0 else 0)
    else:
        n = _COST.get(name, 1)
    if name in ("div", "rem") and eqn.outputs[0].aval.dtype.kind in "iu":
        n = 20
    return 4 * n if eqn.outputs[0].aval.dtype.kind == "c" else n


def halvings(n: int) -> int:
    """The logarithm to base 2, rounded up, at least 1."""
    return late(_halvings, n)


def _halvings(n: int) -> int:
    return max(n - 1, 1).bit_length()


def nanoseconds(flops: float, nbytes: float) -> float:
    """A guess at the time of vectorised work on one core, good to a factor of three.

    AVX2 does 30 (float64) to 70 (float32) additions a nanosecond and AVX-512 twice as many.  Pieces that were cut by a guess
    of 12 took a tenth more time, as each fills and drains the pipeline.
    """
    return largest(flops / 48.0, nbytes / 10.0)


def nanoseconds_of(flops: np.ndarray, nbytes: np.ndarray) -> np.ndarray:
    """``nanoseconds`` of many."""
    return np.maximum(flops / 12.0, nbytes / 10.0)


def chunk_for(total: int, ns_per_item: float, align: int = 1, least: float = PIECE_NS) -> int:
    """Items per piece: at least ``least`` ns of work a piece and at most 64 pieces.  A function of shapes only.

    Few pieces are an even number, more a multiple of four: they are shared out among threads of which there are as many.
    """
    return late(_chunk, total, ns_per_item, align, least)


def _chunk(total: int, ns_per_item: float, align: int, least: float) -> int:
    if total <= 0:
        return 1
    pieces = min(64, total // math.ceil(least / max(ns_per_item, 1e-3)))
    if pieces < 2:
        return total
    if pieces == total:
        return min(total, align)
    pieces -= pieces % (2 if pieces < 8 else 4)
    return min(total, math.ceil(total / pieces / align) * align)
