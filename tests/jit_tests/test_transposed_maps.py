"""Maps that read across memory: tiles are turned in registers where vectors fit, element by element elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from graph_harness import check, numbers

import fx
import fx.numpy as fnp
import jit
from fx.primitives import elementwise as E
from fx.primitives import shaping as S
from jit.target import host

SHAPES = [(64, 64), (16, 300), (300, 16), (37, 145), (129, 1003), (8, 8), (33, 32), (200, 9)]


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int32", "uint64", "float16", "uint8", "int16", "bool", "complex64"]
)
def test_every_dtype(dtype):
    for k, shape in enumerate(SHAPES):
        x, y = numbers(shape, dtype, k), numbers(shape[::-1], dtype, k + 1)

        def f(x, y):
            across = S.transpose(x, (1, 0))
            both = across if x.dtype.kind in "bc" else E.max(across, y)
            return [both, S.rev(S.transpose(x, (1, 0)), (0,))]

        check(f, x, y)


@pytest.mark.parametrize("level", ["avx2", "sse4", "scalar"])
def test_other_machines(level):
    for dtype in ("float32", "float64", "int32", "uint8", "float16"):
        x = numbers((5, 70, 47), dtype)
        axes = [(0, 2, 1), (2, 0, 1), (1, 0, 2), (2, 1, 0)]
        check(lambda x: [E.neg(S.transpose(x, a)) for a in axes], x, target=host().restricted(level))


def test_the_same_bits_whatever_the_threads_and_the_sizes():
    f = fx.jit(lambda x: fnp.transpose(x, (0, 2, 1)) * 2 + 1)
    rng = np.random.default_rng(0)
    for shape in [(3, 64, 48), (3, 65, 47), (2, 300, 16), (7, 16, 300), (1, 1000, 1001), (4, 8, 8), (3, 640, 480)]:
        x = rng.random(shape, np.float32)
        for n in (1, 2, 3):
            with jit.using_threads(n):
                assert np.array_equal(f(x), x.transpose(0, 2, 1) * 2 + 1)
