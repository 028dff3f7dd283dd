"""threefry2x32: the counter-based random bits that every sampler of ``fx.random`` is built on.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; 20 rounds, the same
bits as JAX's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir import Aval
from ..primitive import Primitive
from ..trace import bind
from .checks import UINT32, check_dtype, check_same_types
from .helpers import Value, elementwise_batch

__all__ = ["threefry2x32", "threefry2x32_p"]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA

threefry2x32_p = Primitive("threefry2x32", multiple_results=True)
threefry2x32_p.def_batch(elementwise_batch(threefry2x32_p))
threefry2x32_p.no_gradient("random bits are integers")


@threefry2x32_p.def_abstract
def _threefry_abstract(*operands: Aval) -> tuple[Aval, Aval]:
    check_same_types("threefry2x32", operands)
    check_dtype("threefry2x32", operands[0], UINT32)
    return operands[0].strong(), operands[0].strong()


@threefry2x32_p.def_impl
def _threefry_impl(k0: np.ndarray, k1: np.ndarray, x0: np.ndarray, x1: np.ndarray) -> list[np.ndarray]:
    with np.errstate(over="ignore"):  # 0-d arrays warn where larger ones wrap
        keys = (k0, k1, k0 ^ k1 ^ np.uint32(PARITY))
        x0, x1 = x0 + keys[0], x1 + keys[1]
        for group in range(5):
            for r in ROTATIONS[group % 2]:
                x0 = x0 + x1
                x1 = ((x1 << np.uint32(r)) | (x1 >> np.uint32(32 - r))) ^ x0
            x0 = x0 + keys[(group + 1) % 3]
            x1 = x1 + keys[(group + 2) % 3] + np.uint32(group + 1)
    return [np.asarray(x0), np.asarray(x1)]


def threefry2x32(k0: Value, k1: Value, x0: Value, x1: Value) -> Sequence[Value]:
    """Two words of random bits for each pair of counters (x0, x1) under the key (k0, k1).

    Args:
        k0, k1, x0, x1: uint32 arrays of equal shape.

    Returns:
        Two uint32 arrays of that shape.
    """
    return bind(threefry2x32_p, k0, k1, x0, x1)
