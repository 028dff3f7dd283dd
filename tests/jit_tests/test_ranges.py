"""Intervals of a kernel's values: that they hold what the values are, and the formulas that are chosen by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from loop_eval import run_pointwise
from pointwise_native import NativeRules
from test_vector_math import MACHINES, Array, any_numbers, check, documented, sample, truth, wide_enough

from jit.arithmetic import Arithmetic
from jit.kernels import vector_math as vm
from jit.loop_builder import KernelBuilder
from jit.loop_ir import Expr, Ref, f32, f64, fma, lift, op_, select
from jit.ranges import ANY, Range

INF = np.inf
TYPES = {"float32": f32, "float64": f64}
Rule = Callable[[KernelBuilder, Expr], Expr]


def fraction(b: KernelBuilder, x: Expr) -> Expr:
    """Into [0, 1]; NaN stays."""
    return b.let("fraction", op_("minnum", lift(1.0, x.ty), op_("maxnum", lift(0.0, x.ty), x)))


# What a formula sees, and the interval that is known of it
ARGUMENTS: dict[str, tuple[Rule, Callable[[Array], Array], Range]] = {
    "-|x|": (lambda b, x: b.let("n", -op_("abs", x)), lambda x: -np.abs(x), Range(-INF, 0.0)),
    "-x*x": (lambda b, x: b.let("n", b.let("m", -x) * x), lambda x: -x * x, Range(-INF, 0.0)),
    "x*x+1": (lambda b, x: b.let("n", x * x + 1.0), lambda x: x * x + x.dtype.type(1), Range(1.0, INF)),
    "fraction": (fraction, lambda x: np.clip(x, x.dtype.type(0), x.dtype.type(1)), Range(0.0, 1.0)),
}
# The functions with a form for such an argument
CHOSEN = [
    ("exp", "-|x|"),
    ("exp", "-x*x"),
    ("log", "x*x+1"),
    ("log1p", "fraction"),
    ("sin", "fraction"),
    ("cos", "fraction"),
]


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=wide_enough)])
@pytest.mark.parametrize(("name", "argument"), CHOSEN)
def test_forms_for_an_interval_are_as_accurate(name: str, argument: str, dtype: str) -> None:
    """Natively and on every machine; what is infinite or NaN included."""
    of, of_numpy, _ = ARGUMENTS[argument]

    def rule(b: KernelBuilder, x: Expr) -> Expr:
        return getattr(vm, name)(b, of(b, x))

    x = np.concatenate([sample(name, dtype, 10_000), np.linspace(-1, 1, 20_001).astype(dtype)])
    with np.errstate(all="ignore"):
        at = of_numpy(x)
        wanted = truth(name, at)
        limit = documented()[name][dtype]
        check(name, at, NativeRules({name: (rule, (np.dtype(dtype),))}).run(name, x), wanted, limit)
        for form in (Arithmetic(), *MACHINES):
            check(name, at, run_pointwise(rule, x, fused=form.fused, arithmetic=form), wanted, limit)


@pytest.mark.parametrize("dtype", TYPES)
def test_chosen_forms_keep_zeros_and_ends(dtype: str) -> None:
    d = np.dtype(dtype)
    rules: dict[str, tuple[Any, tuple[np.dtype, ...]]] = {
        "exp": (lambda b, x: vm.exp(b, ARGUMENTS["-|x|"][0](b, x)), (d,)),
        "log1p": (lambda b, x: vm.log1p(b, fraction(b, x)), (d,)),
    }
    run = NativeRules(rules).run
    at = np.array([0.0, INF, np.nan, np.finfo(d).max, np.finfo(d).smallest_subnormal], d)
    np.testing.assert_array_equal(run("exp", at), np.array([1, 0, np.nan, 0, 1], d))
    least = np.log(np.finfo(d).smallest_subnormal.astype(np.float64))
    np.testing.assert_array_equal(run("exp", np.array([least, 2 * least, 3 * least], d)) > 0, [True, False, False])
    ends = run("log1p", np.array([0.0, 1.0, np.nan], d))
    np.testing.assert_array_equal(ends, np.log1p(np.array([0.0, 1.0, np.nan], d)))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_intervals_of_arguments(argument: str, dtype: str) -> None:
    b = KernelBuilder("k")
    of, _, expected = ARGUMENTS[argument]
    assert b.ranges.of(of(b, Ref("x", TYPES[dtype]))) == expected


# Expressions of two operands, for which intervals are held against values
EXPRESSIONS: dict[str, Callable[[KernelBuilder, Expr, Expr], Expr]] = {
    "x + y": lambda b, x, y: x + y,
    "x - y": lambda b, x, y: x - y,
    "x * y": lambda b, x, y: x * y,
    "x * x": lambda b, x, y: x * x,
    "(-x) * x": lambda b, x, y: (-x) * x,
    "x / (y * y + 1)": lambda b, x, y: x / b.let("d", y * y + 1.0),
    "1 / (1 + exp x)": lambda b, x, y: 1.0 / (1.0 + vm.exp(b, x)),
    "|x|": lambda b, x, y: op_("abs", x),
    "sqrt |x|": lambda b, x, y: op_("sqrt", op_("abs", x)),
    "min(x, y)": lambda b, x, y: op_("min", x, y),
    "max(x, y)": lambda b, x, y: op_("max", x, y),
    "minnum(1, x)": lambda b, x, y: op_("minnum", lift(1.0, x.ty), x),
    "x < y ? x : y": lambda b, x, y: select(x < y, x, y),
    "tanh(x) * y": lambda b, x, y: b.let("t", vm.tanh(b, x)) * y,
    "exp(-|x|) - logistic(y)": lambda b, x, y: vm.exp(b, b.let("n", -op_("abs", x))) - vm.logistic(b, y),
    "fma(x, y, x)": lambda b, x, y: fma(x, y, x),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("bounds", [(-INF, INF), (-2.0, 3.0), (0.0, 1.0), (0.0, INF), (-INF, -0.1), (1e30, INF)])
def test_values_lie_in_their_interval(expression: str, bounds: tuple[float, float], dtype: str) -> None:
    rng = np.random.default_rng(7)
    low, high = (float(np.dtype(dtype).type(v)) for v in bounds)
    found: list[Range] = []

    def rule(b: KernelBuilder, x: Expr, y: Expr) -> Expr:
        x, y = (b.let("v", op_("min", lift(high, v.ty), op_("max", lift(low, v.ty), v))) for v in (x, y))
        value = EXPRESSIONS[expression](b, x, y)
        found.append(b.ranges.of(value))
        return value

    edges = np.array([0.0, -0.0, 1.0, -1.0, INF, -INF, low, high], dtype)
    x = np.concatenate(
        [any_numbers(dtype, 4000, rng), rng.normal(size=4000).astype(dtype), np.repeat(edges, len(edges))]
    )
    y = np.concatenate([any_numbers(dtype, 4000, rng), rng.normal(size=4000).astype(dtype), np.tile(edges, len(edges))])
    with np.errstate(all="ignore"):
        value = run_pointwise(rule, x, y)
    numbers = value[~np.isnan(value)]
    assert found[0].low <= numbers.min() and numbers.max() <= found[0].high, found[0]


def test_what_comes_from_memory_or_changes_is_unknown() -> None:
    b = KernelBuilder("k")
    p = b.pointer("p", f32)
    assert b.ranges.of(b.let("v", b.load(p, 0))) == ANY
    changing = b.var("c", lift(1.0, f32))
    b.assign(changing, b.load(p, 1))
    assert b.ranges.of(changing) == ANY
    assert b.ranges.of(b.let("copy", changing)) == ANY


def test_products_of_different_values_are_no_squares() -> None:
    b = KernelBuilder("k")
    p = b.pointer("p", f32)
    x, y = b.let("x", b.load(p, 0)), b.let("y", b.load(p, 1))
    assert b.ranges.of(x * y) == ANY
    assert b.ranges.of(b.let("z", -x) * b.let("w", -x)) == Range(0.0, INF)


def test_copies_of_a_local_that_changes_in_between_are_different_values() -> None:
    b = KernelBuilder("k")
    changing = b.var("c", b.load(b.pointer("p", f32), 0))
    before, negated = b.let("before", changing), b.let("negated", -changing)
    b.assign(changing, lift(-1.0, f32))
    after = b.let("after", changing)
    assert b.ranges.of(before * after) == b.ranges.of(negated * after) == b.ranges.of(negated * changing) == ANY
    assert b.ranges.of(after * after) == b.ranges.of(after * -after).__neg__() == Range(0.0, INF)
