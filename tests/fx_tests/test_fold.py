"""The ``fold`` pass: what follows from numbers that are known is known, to the bit, in arrays that repeat one as in scalars."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax
from fx.dtypes import ALL, is_bool, is_complex, is_float
from fx.interpret import run_graph
from fx.passes import fold, optimize
from fx.verify import verify_graph

REAL = [0.0, -0.0, 1.0, -2.5, 0.1, 3e-8, np.inf, -np.inf, np.nan]
COMPLEX = [complex(a, b) for a, b in itertools.product([0.0, -0.0, -2.5, 0.1, np.inf, np.nan], repeat=2)]
PAIRS = "add sub mul div max min eq ne lt le gt ge".split()
ONE = "neg abs sign floor ceil round is_finite sqrt".split()
OF_COMPLEX = {"add", "sub", "neg", "eq", "ne"}
OF_FLOATS = {"floor", "ceil", "round", "is_finite", "sqrt"}


def numbers(dtype: np.dtype) -> list[Any]:
    if is_complex(dtype):
        return [np.asarray(v, dtype)[()] for v in COMPLEX]
    values = REAL if is_float(dtype) else [0, 1, 2, 7, np.iinfo(dtype).max, np.iinfo(dtype).min]
    return [np.asarray(v, dtype)[()] for v in values]


def names(graph: fx.Graph) -> list[str]:
    return [e.prim.name for e in graph.eqns]


def folded(f: Callable[..., Any], *args: Any) -> list[str]:
    """The equations left by ``fold`` and ``prune``, which change no bit of the results."""
    graph = verify_graph(fx.make_graph(f)(*args).graph)
    want, after = run_graph(graph, args), verify_graph(optimize(graph))
    for g in (verify_graph(fold(graph)), after):
        for x, y in zip(run_graph(g, args, check=True), want, strict=True):
            assert x.dtype == y.dtype and x.tobytes() == y.tobytes()
    return names(after)


@pytest.mark.parametrize("dtype", [d for d in ALL if not is_bool(d)], ids=str)
def test_arithmetic_on_arrays_of_one_number_gives_the_bits_of_the_evaluator(dtype: np.dtype) -> None:
    def fits(name: str) -> bool:
        return name in OF_COMPLEX if is_complex(dtype) else is_float(dtype) or name not in OF_FLOATS

    def results(x: Any) -> list[Any]:
        array = lambda v: lax.full((2, 19), v, dtype)  # longer than a vector, and no multiple of one
        pairs = itertools.product(numbers(dtype), repeat=2)
        two = [getattr(lax, n)(array(a), array(b)) for a, b in pairs for n in PAIRS if fits(n)]
        return two + [getattr(lax, n)(array(a)) for a in numbers(dtype) for n in ONE if fits(n)]

    with np.errstate(all="ignore"):
        assert set(folded(results, np.zeros(2))) == {"broadcast_in_dim"}


def test_what_is_rounded_otherwise_in_vectors_stays() -> None:
    """Functions of libraries, and complex products, which may be fused."""
    z = 0.1 + 0.7j
    f = lambda x: (lax.exp(lax.full_like(x, 0.3)), lax.mul(lax.full_like(x, z, complex), lax.full_like(x, z, complex)))
    assert sorted(folded(f, np.zeros(5))) == ["broadcast_in_dim", "broadcast_in_dim", "exp", "mul"]


def test_shapes_conversions_and_sizes_of_zero() -> None:
    def f(x: Any) -> Any:
        y = lax.transpose(lax.full((3, 1, 4), 2.5), (2, 0, 1))
        y = (lax.rev(lax.reshape(y, (12,)), (0,)) * 2).astype("int8").astype("float64")
        return x + y, lax.full((0, 3), 1.0) + 1

    assert sorted(folded(f, np.arange(12.0))) == ["add", "broadcast_in_dim", "broadcast_in_dim"]


@pytest.mark.parametrize("which", [False, True, -3, 0, 1, 2, 9])
def test_a_choice_that_is_known_is_its_case(which: Any) -> None:
    cases = [np.array([0.0, -0.0, np.nan]) * (k + 1) for k in range(2 if isinstance(which, bool) else 3)]
    index = np.asarray(which, bool if isinstance(which, bool) else np.int32)

    def f(*xs: Any) -> Any:
        return lax.select_n(lax.full((3,), which, index.dtype), *xs), lax.select_n(index, *[x[0] for x in xs])

    assert set(folded(f, *cases)) <= {"slice", "squeeze", "reshape"}


# ----------------------------------------------------------------------------------------- powers

POWERS = [2.5, 0.5, -0.5, 1.5, 1.0, 0.0, -0.0, 1.7, np.nan]
BASES = np.array([0.0, -0.0, 1.0, 0.3, 2.0, -1.5, np.inf, -np.inf, np.nan])


def derivative(x: np.ndarray, p: float, order: int) -> np.ndarray:
    """``p (p - 1) ... x**(p - order)``, and 0 at 0 where a factor is."""
    factor = float(np.prod([p - k for k in range(order)]))
    value = factor * np.power(x, np.full_like(x, p - order))
    return np.where(x == 0, 0.0, value) if factor == 0 else value


@pytest.mark.parametrize("p", POWERS)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_the_gradient_of_a_power_has_a_constant_exponent(p: float, order: int, dtype: str) -> None:
    first = fx.grad(lambda x: fnp.sum(x**p))
    f = first if order == 1 else fx.grad(lambda x: fnp.sum(first(x)))
    x = BASES.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    with np.errstate(all="ignore"):
        left = folded(f, x)
        want = derivative(x.astype("float64"), float(np.asarray(p, x.dtype)), order)
        if p not in (0, order - 1):  # the exponent of a constant's derivative, 0 x**-1, is another at 0
            assert set(left) <= {"broadcast_in_dim", "pow", "mul"}
        got = fx.jit(f)(x)
    assert got.dtype == x.dtype
    tolerance = {"float64": 1e-14, "float32": 1e-6, "bfloat16": 3e-2}[dtype]
    np.testing.assert_allclose(np.asarray(got).astype("float64"), want, rtol=tolerance)


def test_the_gradient_of_a_complex_power() -> None:
    f = fx.grad(lambda z: fnp.real(fnp.sum(z**2.5)))
    z = np.array([1 + 2j, -0.3 + 0.1j, 2 - 1j])
    assert "select_n" not in folded(f, z)
    np.testing.assert_allclose(np.asarray(fx.jit(f)(z)), 2.5 * z**1.5, rtol=1e-13)


def test_what_follows_from_sizes_that_vary_holds_for_all() -> None:
    @fx.jit
    def f(x: Any) -> Any:
        scale = fnp.full_like(x, 1 / x.shape[0]) * 3 - 1
        return fx.grad(lambda y: fnp.sum(y**2.5))(x) * scale + fnp.where(fnp.full_like(x, x.shape[0]) > 6, 1.0, 2.0)

    for n in (5, 6, 7, 9, 11, 6, 23):
        x = np.linspace(0.5, 2, n)
        np.testing.assert_allclose(np.asarray(f(x)), 2.5 * x**1.5 * (3 / n - 1) + (1 if n > 6 else 2), rtol=1e-13)
