"""Sizes that vary: formulas, guards, and families of programs that are filled in.

The truth for arithmetic is Python's ints; for programs, a function jitted anew for the one size (same bits), and NumPy.
"""

from __future__ import annotations

import functools
import logging
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_specs import SPECS
from thorough import part

import fx
import fx.numpy as fnp
from fx import lax, sizes
from fx.examples.transformer import Transformer
from fx.families import Families, varying
from fx.sizes import Fixed, Real, Size, Sizes, as_float, largest, late, slice_indices, slice_length, smallest

SETTINGS = settings(max_examples=150, deadline=None)

# ------------------------------------------------------------------------------------ arithmetic and guards

_BINARY: list[Callable[[Any, Any], Any]] = [
    operator.add,
    operator.sub,
    operator.mul,
    lambda a, b: a // (b * b + 1),
    lambda a, b: a % (b * b + 3),
    lambda a, b: -(-a // (b * b + 2)),
    lambda a, b: largest(a, b),
    lambda a, b: smallest(a, b),
    lambda a, b: a if a > b else b + 1,
    lambda a, b: a if a == b else a + b,
    lambda a, b: late(lambda x, y: x * 7 % 5 + y, a, b, at_least=-(2**62)),
]


@st.composite
def programs(draw: st.DrawFn) -> Callable[[Any, Any], list[Any]]:
    """Straight-line programs over two sizes and small numbers, with branches; every intermediate value is a result."""
    lines = draw(
        st.lists(
            st.tuples(st.sampled_from(range(len(_BINARY))), st.integers(0, 20), st.integers(0, 20)),
            min_size=1,
            max_size=8,
        )
    )

    def run(a: Any, b: Any) -> list[Any]:
        values = [a, b, 1, 3, -2]
        for op, i, j in lines:
            values.append(_BINARY[op](values[i % len(values)], values[j % len(values)]))
        return values

    return run


_VALUE = st.integers(2, 60)


@SETTINGS
@given(programs(), _VALUE, _VALUE, st.lists(st.tuples(_VALUE, _VALUE), min_size=1, max_size=6))
def test_formulas_are_what_python_computes(
    run: Callable[..., list[Any]], a: int, b: int, others: list[tuple[int, int]]
) -> None:
    scope = Sizes()
    try:
        found = run(scope.variable(a), scope.variable(b))
    except Fixed:  # two numbers that are equal by chance: the trace ends there
        assert scope.fixed.startswith("equal to")
        return
    assert [sizes.plain(x) for x in found] == run(a, b)
    formulas, test = scope.formulas(found), scope.test()
    sized = [k for k, x in enumerate(found) if sizes.is_sized(x)]
    numbers = scope.numbers([found[k] for k in sized])
    assert test([a, b])
    for c, d in others:
        atoms = test([c, d])
        if atoms is not None:
            expect = run(c, d)
            assert formulas([c, d]) == expect, scope.guards
            assert numbers(atoms) == [expect[k] for k in sized], scope.guards


@SETTINGS
@given(
    _VALUE, st.lists(_VALUE, min_size=1), st.integers(-70, 70), st.integers(-70, 70), st.sampled_from([-3, -1, 1, 2, 5])
)
def test_slices_of_a_size(n: int, others: list[int], start: int, stop: int, step: int) -> None:
    scope = Sizes()
    s = slice(start, stop, step)
    bounds = slice_indices(s, scope.variable(n))
    found = [*bounds, slice_length(*bounds)]
    formulas, test = scope.formulas(found), scope.test()
    for m in [n, *others]:
        if test([m]):
            assert formulas([m]) == [*s.indices(m), len(range(*s.indices(m)))]
    assert test([n])


def test_reals_follow_from_sizes() -> None:
    scope = Sizes()
    n = scope.variable(6)
    found = [
        1 / n,
        n / 4,
        2.5 * n,
        as_float(n),
        (n + 1) / (2 * n),
        math.ceil(n / 4),
        math.floor(n / 4),
        largest(n / 3, 2.5),
    ]
    expect = lambda m: [
        1 / m, m / 4, 2.5 * m, float(m), (m + 1) / (2 * m), math.ceil(m / 4), math.floor(m / 4), max(m / 3, 2.5),
    ]  # fmt: skip
    formulas, test, numbers = scope.formulas(found), scope.test(), scope.numbers(found)
    for m in (6, 2, 7, 1000):
        atoms = test([m])
        assert atoms is not None
        assert formulas([m]) == numbers(atoms) == expect(m)
    assert type(found[0]) is Real and type(found[5]) is Size
    assert n / 4 > 1 and not scope.test()([4]) and scope.test()([5])


@pytest.mark.parametrize("k", [1, 2**20, 2**40, 2**61, 2**70])
def test_numbers_of_any_magnitude_are_exact(k: int) -> None:
    """Formulas beyond what a double, or a word, holds exactly."""
    sizes_of = Sizes()
    a, b = sizes_of.variable(1000), sizes_of.variable(77)
    found = [k * a + 1, a * b * k - 3, a - b, -k * a * a * b]
    assert a * k * b > k * 70 and a * 2 > b  # the guards
    test, numbers = sizes_of.test(), sizes_of.numbers(found)
    for m, n in ((1000, 77), (3, 31), (12345, 2**20 + 1)):
        atoms = test([m, n])
        assert (atoms is not None) == (m * 2 > n and m * n > 70)
        if atoms is not None:
            assert numbers(atoms) == [k * m + 1, m * n * k - 3, m - n, -k * m * m * n]


def test_what_is_known_needs_no_guard() -> None:
    scope = Sizes()
    n = scope.variable(8)
    assert (
        n > 1 and n != 1 and 784 * n > 0 and n * 10 // 10 == n and n % 1 == 0 and n - n == 0 and n <= n + 3 and n != 0
    )
    assert bool(n) and (n * 28 * 28) // n == 784 and (4 * n) % 2 == 0
    assert scope.guards == []


@pytest.mark.parametrize(
    "use",
    [
        lambda n: range(n),
        lambda n: np.zeros(n),
        lambda n: float(n),
        lambda n: int(n),
        lambda n: str(n),
        lambda n: f"{n:d}",
        lambda n: [0] * 9 and [1, 2, 3][n],
        lambda n: np.asarray(n),
        lambda n: n == 5,
        lambda n: math.sqrt(n),
        lambda n: repr((n, 3)),
    ],
)
def test_what_needs_the_number_ends_the_trace(use: Callable[[Any], Any]) -> None:
    scope = Sizes()
    with pytest.raises(Fixed):
        use(scope.variable(5))
    assert scope.fixed


def test_signatures_that_differ_in_sizes() -> None:
    f, i = np.dtype("f4"), np.dtype("i4")
    leaf = lambda *shape, d=f, weak=False: (shape, d, weak)
    assert varying([leaf(4, 3), leaf(4)], [leaf(6, 3), leaf(6)]) == {(0, 0): 0, (1, 0): 0}
    assert varying([leaf(4, 3), leaf(5)], [leaf(6, 3), leaf(6)]) == {(0, 0): 0, (1, 0): 1}
    assert varying([leaf(4, 3)], [leaf(4, 3)]) is None
    assert varying([leaf(4)], [leaf(1)]) is None and varying([leaf(0)], [leaf(5)]) is None
    assert varying([leaf(4)], [leaf(4, 1)]) is None and varying([leaf(4)], [leaf(5, d=i)]) is None
    assert varying([leaf(4)], [leaf(5, weak=True)]) is None


# ------------------------------------------------------------------------------------------------ programs

RNG = np.random.default_rng(0)
W = RNG.standard_normal((6, 5)).astype(np.float32)
K = RNG.standard_normal((3, 3, 2, 4)).astype(np.float32)


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def _attention(x: Any) -> Any:
    q = x.reshape(x.shape[0], -1, 2, 3).transpose(0, 2, 1, 3)
    weights = fx.nn.softmax(q @ q.swapaxes(-1, -2) / np.float32(np.sqrt(3)))
    return (weights @ q).transpose(0, 2, 1, 3).reshape(x.shape)


def _cell(carry: Any, x: Any) -> Any:
    h = fnp.tanh(x @ W[:, :5] + carry @ W[:5, :5])
    return h, h


def _trained(p: Any, x: Any, y: Any) -> Any:
    def loss(p: Any) -> Any:
        logits = fx.nn.relu(x.reshape(x.shape[0], -1) @ p["w"] + p["b"]) @ p["v"]
        return -fnp.mean(fnp.take_along_axis(fx.nn.log_softmax(logits), y[:, None], axis=1))

    value, g = fx.value_and_grad(loss)(p)
    return value, fx.tree.map(lambda a, b: a - 0.1 * b, p, g)


_PARAMS = {"w": array(12, 7), "b": array(7), "v": array(7, 4)}


def _conv(x: Any) -> Any:
    y = lax.conv_general_dilated(x, K, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return lax.reduce_window(y, -np.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


# name -> function, arguments for a size n
PROGRAMS: dict[str, tuple[Callable[..., Any], Callable[[int], tuple[Any, ...]]]] = {
    "elementwise": (lambda x: fnp.tanh(x) * 2 + 1, lambda n: (array(n, 3),)),
    "mean": (lambda x: (x - x.mean(0)) / x.std(0), lambda n: (array(n, 3),)),
    "sums": (lambda x: (x.sum(), x.max(1), x.argmax(0), fnp.cumsum(x, 0), fnp.prod(x)), lambda n: (array(n, 4),)),
    "both axes": (lambda x: x @ x.T, lambda n: (array(n, n),)),
    "product": (lambda x: fx.nn.relu(x @ W + 1), lambda n: (array(n, 6),)),
    "gradient of a product": (fx.grad(lambda w, x: fnp.sum(fnp.sin(x @ w)), argnums=(0, 1)), lambda n: (W, array(n, 6))),
    "mixed shapes": (lambda x, y: (x[:, None] * y[None, :]).sum(0), lambda n: (array(n), array(n + 3))),
    "slices": (lambda x: (x[1:-1] - x[:-2], x[::-1], x[::2], x[-3:], x[:, 1]), lambda n: (array(n, 3),)),
    "concatenation": (lambda x: fnp.concatenate([x, x[:2], -x]), lambda n: (array(n, 2),)),
    "padding": (lambda x: fnp.pad(x, ((1, 2), (0, 1))), lambda n: (array(n, 2),)),
    "iota": (lambda x: x * fnp.arange(x.shape[1], dtype=np.float32), lambda n: (array(n, 4),)),
    "sort": (lambda x: (fnp.sort(x, 0), fnp.argsort(x, 0)), lambda n: (array(n, 3),)),
    "gather": (lambda x, i: x[i] * 2, lambda n: (array(9, 3), (np.arange(n) % 9).astype(np.int32))),
    "scatter": (lambda x, i: fnp.zeros((9, 3), np.float32).at[i].add(x), lambda n: (array(n, 3), (np.arange(n) % 9).astype(np.int32))),
    "convolution": (_conv, lambda n: (array(n, 6, 6, 2),)),
    "gradient of a convolution": (fx.grad(lambda x: fnp.sum(_conv(x) ** 2)), lambda n: (array(n, 6, 6, 2),)),
    "attention": (_attention, lambda n: (array(n, 4, 6),)),
    "long attention": (_attention, lambda n: (array(2, n, 6),)),
    "scan over rows": (lambda x: lax.scan(_cell, fnp.zeros((x.shape[1], 5), np.float32), x)[1], lambda n: (array(4, n, 6),)),
    "longer scan": (lambda x: lax.scan(_cell, fnp.zeros((2, 5), np.float32), x), lambda n: (array(n, 2, 6),)),
    "gradient of a longer scan": (fx.grad(lambda x: fnp.sum(lax.scan(_cell, fnp.zeros((2, 5), np.float32), x)[0])), lambda n: (array(n, 2, 6),)),
    "while": (lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 2), (0, x))[1], lambda n: (array(n),)),
    "cond": (lambda x: lax.cond(x.sum() > 0, lambda v: v * 2, lambda v: v - 1, x), lambda n: (array(n),)),
    "vmap": (fx.vmap(lambda r: fnp.sin(r) @ W), lambda n: (array(n, 6),)),
    "jacobian": (fx.vmap(fx.jacrev(lambda r: fnp.sin(r @ W))), lambda n: (array(n, 6),)),
    "training step": (lambda x, y: _trained(_PARAMS, x, y), lambda n: (array(n, 3, 4), (np.arange(n) % 4).astype(np.int32))),
    "NumPy's functions": (lambda x: np.mean(np.tanh(x) ** 2, axis=0) + np.sum(x), lambda n: (array(n, 3),)),
    "writes": (lambda x: x.at[1:3].set(0).at[:, 0].add(1), lambda n: (array(n, 3),)),
    "a branch on the size": (lambda x: x * 2 if x.shape[0] > 9 else x - 1, lambda n: (array(n),)),
    "parity": (lambda x: x[: x.shape[0] // 2] if x.shape[0] % 2 == 0 else x + 1, lambda n: (array(n),)),
    "the size as a number": (lambda x: x * x.shape[0] + x.shape[0] / 3, lambda n: (array(n),)),
    "its length": (lambda x: x / len(x), lambda n: (array(n),)),
    "the size in a list": (lambda x: sum(x[i] for i in range(x.shape[0])), lambda n: (array(n),)),
    "the size in NumPy": (lambda x: x * np.linspace(0, 1, x.shape[0]).astype(np.float32), lambda n: (array(n),)),
    "complex": (lambda x: fnp.fft.fft(x * (1 + 2j)).real, lambda n: (array(n, 4),)),
    "random": (lambda x: x + fx.random.normal(fx.random.key(1), x.shape), lambda n: (array(n, 3),)),
    "einsum": (lambda x: fnp.einsum("bi,bj->ij", x, x), lambda n: (array(n, 4),)),
    "linear algebra": (lambda x: fnp.linalg.solve(x.T @ x + 9 * fnp.eye(3), x.sum(0)), lambda n: (array(n, 3),)),
}  # fmt: skip
SIZES = (4, 7, 12, 5, 31, 33, 8, 2, 1, 100, 6)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_filled_in_program_is_the_program(name: str) -> None:
    f, arguments = PROGRAMS[name]
    several = fx.jit(f)
    for n in SIZES:
        args = arguments(n)
        found, expect = (fx.tree.leaves(g(*args)) for g in (several, fx.jit(lambda *a: f(*a))))
        for a, b in zip(found, expect, strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype and a.weak_type == b.weak_type
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), (name, n)


ONE_TRACE = set(PROGRAMS) - {
    "parity", "slices", "its length", "the size in a list", "the size in NumPy", "longer scan", "gradient of a longer scan",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ONE_TRACE))
def test_further_sizes_are_filled_in(name: str) -> None:
    f, arguments = PROGRAMS[name]
    seen = []

    def counted(*args: Any) -> Any:
        seen.append(args[0].shape)
        return f(*args)

    jitted = fx.jit(counted)
    for n in (50, 54, 53, 60, 57):  # columns of one kind of register block
        jitted(*arguments(n))
    assert len(seen) == 3, (
        jitted.explain_misses()
    )  # for itself, with sizes, and to prove what the first filling-in says
    info = jitted.cache_info()
    assert (info.misses, info.traced, info.compiled) == (5, 3, 1)
    assert jitted.explain_misses().count("filled in") == 4
    assert jitted.explain_misses().count("traced and planned for sizes that vary") == 1


def test_a_decision_that_is_not_written_down_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: without its guards a family says of every size what it said of the first.  A trace for the size alone
    proves it wrong; without that the results are."""
    monkeypatch.setattr("fx.sizes.scope._signs_test", lambda signs: lambda atoms: True)
    test_a_filled_in_program_is_the_program("a branch on the size")
    monkeypatch.setattr(Families, "is_proved", lambda *_: True)
    fx.clear_caches()
    with pytest.raises(AssertionError):
        test_a_filled_in_program_is_the_program("a branch on the size")


def test_a_family_that_disagrees_with_the_first_trace_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """``type(n) is int`` tells a size from a number; what follows from it must not show."""
    f = fx.jit(lambda x: x * 2 if type(x.shape[0]) is int else x * 3)
    for n in (4, 5, 6):
        assert np.array_equal(f(np.ones(n)), np.full(n, 2.0))
    assert f.cache_info().traced == 5  # two of them in vain


@fx.tree_util.register_pytree_node_class
class Named:
    """An array, and a number that is part of the structure."""

    def __init__(self, value: Any, number: Any) -> None:
        self.value, self.number = value, number

    def tree_flatten(self) -> Any:
        return (self.value,), self.number

    @classmethod
    def tree_unflatten(cls, number: Any, children: Any) -> Named:
        return cls(*children, number)


def _tripled(n: int) -> int:
    return 3 * n


_memo = functools.lru_cache(_tripled)


def _matched(x: Any) -> Any:
    match x.shape[0]:
        case 8:
            return x * 2
        case int(n) if n > 10:
            return x * n
    return x


def _logged(x: Any) -> Any:
    logging.getLogger("fx.test").warning("shape %s", x.shape)
    return x * 2


def _forgiving(x: Any) -> Any:
    try:
        return x * x.shape[0].bit_length()
    except (AttributeError, fx.errors.FxError):
        return x


# what Python can do with a number: name -> function of a vector
USES: dict[str, Callable[[Any], Any]] = {
    "a set": lambda x: x * 2 if x.shape[0] in {8, 64} else x,
    "a table": lambda x: x * {12: 5.0}.get(x.shape[0], 7.0),
    "a set of sizes": lambda x: x * len({x.shape[0], 8}),
    "a memo": lambda x: x * _memo(x.shape[0]),
    "isinstance and larger": lambda x: x * 2 if isinstance(x.shape[0], int) and x.shape[0] > 10 else x,
    "isinstance of a quotient": lambda x: x * 2 if isinstance(x.shape[0] / 2, float) and x.shape[0] > 10 else x,
    "a pattern": _matched,
    "a caught error": _forgiving,
    "rounded down below nothing": lambda x: x * 2 if math.floor((x.shape[0] - 5) / 2) >= 0 else x,
    "rounded": lambda x: x[: round(x.shape[0] / 3)],
    "less than infinity": lambda x: x[: min(x.shape[0], math.inf)],
    "divided by what may be nothing": lambda x: x * math.ceil(1 / (x.shape[0] - 7)) if x.shape[0] != 7 else x,
    "always divided": lambda x: x / (x.shape[0] - 7),
    "odd": lambda x: x * 2 if x.shape[0] & 1 else x,
    "a power of two": lambda x: x * 2 if x.shape[0] & (x.shape[0] - 1) == 0 else x,
    "shifted": lambda x: x[: x.shape[0] >> 1] * (x.shape[0] << 2) + ~x.shape[0],
    "its root": lambda x: x / x.shape[0] ** 0.5,
    "two to it": lambda x: x / 2 ** x.shape[0],
    "a real that is doubled": lambda x: x * functools.reduce(lambda r, _: (r + r) / 2, range(40), x.shape[0] / 3),
    "a byte": lambda x: x[:2].astype(np.uint8) + x.shape[0],
    "a short": lambda x: x[:2].astype(np.int16) * x.shape[0] ** 3,
    "an int": lambda x: x[:2].astype(np.int32) * x.shape[0] ** 4,
    "a half": lambda x: x[:2].astype(np.float16) * x.shape[0] ** 2,
    "a complex number": lambda x: x[:2].astype(np.complex64) * x.shape[0],
    "a truth": lambda x: (x[:2] > 1) * x.shape[0],
    "a structure": lambda x: Named(x * 2, x.shape[0]),
    "a result": lambda x: (x.shape, x.size / 2, x),
    "a log": _logged,
    "a hash": lambda x: x * (hash(x.shape[0]) % 3),
}


def _outcome(f: Callable[..., Any], *args: Any) -> Any:
    try:
        leaves, structure = fx.tree.flatten(f(*args))
        return structure, [(a.shape, a.dtype, a.weak_type, np.asarray(a).tobytes()) for a in leaves]
    except (ArithmeticError, fx.errors.FxError) as e:
        return type(e), str(e)


@pytest.mark.parametrize("use", USES)
def test_sizes_are_numbers_to_python(use: str, capsys: pytest.CaptureFixture[str]) -> None:
    f = USES[use]
    several = fx.jit(f)
    for n in (5, 9, 12, 7, 3, 2, 16, 64, 8, 300, 4):
        x = np.arange(n, dtype=np.float32) + 1
        assert _outcome(several, x) == _outcome(fx.jit(lambda v: f(v)), x), (use, n)
    assert "Error" not in capsys.readouterr().err


def test_what_is_kept_of_a_size_is_a_number_when_the_trace_is_over() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x.shape[0])
        kept.append(x.shape[0] / 2)
        return x * 2

    jitted = fx.jit(f)
    jitted(np.ones(3)), jitted(np.ones(6))
    n, half = kept[-2:]
    assert (n, half, n + 1, n // 4, str(n), f"{half:.1f}") == (6, 3.0, 7, 1, "6", "3.0")
    assert (n % -4, 7 // -n, n**9, n << 70, n & 3, half // 2, n + half) == (-2, -2, 6**9, 6 << 70, 2, 1.0, 9.0)
    assert n in {6} and hash(n) == hash(6) and [7] * n == [7] * 6 and int(half) == 3 and n != 3 and 5 < n
    assert fnp.zeros((n, 2)).shape == (6, 2) and float(fnp.sum(fnp.ones(n) * n)) == 36.0
    g = fx.jit(lambda x: x[: n - 3] * half)
    for m in (5, 9, 12):
        assert np.array_equal(g(np.ones(m)), np.full(3, 3.0))


def test_functions_that_need_numbers_are_left_alone() -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.append(x.shape)
        return x * np.zeros(x.shape[0])

    jitted = fx.jit(f)
    for n in range(2, 12):
        jitted(np.ones(n))
    assert len(seen) == 10 + 3


def test_an_error_whose_text_is_a_size_is_met_in_the_trace_with_numbers_alone() -> None:
    """``str(KeyError(n))`` asks a size for its number, where the trace with sizes is already being given up."""

    def function(x: Any) -> Any:
        if type(x.shape[0]) is not int:
            raise KeyError(x.shape[0])
        return 2 * x

    doubled = fx.jit(function)
    for n in (3, 5, 7, 9):
        np.testing.assert_array_equal(doubled(np.ones(n)), np.full(n, 2.0))


def test_filled_in_programs_explain_themselves() -> None:
    f = fx.jit(lambda x: fnp.tanh(x) @ W)
    for n in (5, 9, 13):
        f(array(n, 6))
    entry = list(f._programs.entries.values())[-1]
    assert "13" in str(entry.lowered.graph) and "13" in entry.run.explain() and "def " in entry.run.loops()
    assert entry.run.cost_analysis()["flops"] > 0


def test_a_nan_in_a_filled_in_program_is_found() -> None:
    f = fx.jit(lambda x: fnp.log(x) * 2)
    for n in (5, 9, 13):
        f(np.ones(n, np.float32))
    with fx.debug_nans(), pytest.raises(fx.errors.NaNError, match="log"):
        f(-np.ones(13, np.float32))


def test_donated_arguments_of_filled_in_programs() -> None:
    f = fx.jit(lambda s, x: (s + x.sum(), x * 2), donate_argnums=0)
    s = fnp.zeros(())
    for n in (4, 8, 6, 10):
        s, y = f(s, np.ones(n, np.float32))
        assert y.shape == (n,)
    assert float(s) == 28.0


def test_gradients_and_inner_jits_of_filled_in_programs() -> None:
    f = fx.jit(lambda x: fnp.sum(fnp.sin(x) * x))
    for n in (4, 6, 8, 9):
        x = np.linspace(0, 1, n)
        f(x)
        np.testing.assert_allclose(fx.grad(f)(x), np.sin(x) + x * np.cos(x), rtol=1e-12)
        np.testing.assert_allclose(fx.vmap(f)(np.stack([x, x])), 2 * [np.sum(np.sin(x) * x)], rtol=1e-12)


# --------------------------------------------------------------------------------- every primitive, batched

_NUMBERS_NEEDED = {
    "scan",
    "while",
    "pure_callback",
    "debug_callback",
    "io_callback",
}  # small loops are written out, callbacks are Python's


@pytest.mark.parametrize("primitive", SPECS)
def test_a_batch_of_another_size_gives_the_same_bits(primitive: str) -> None:
    """jit(vmap(f)) for several batch sizes, mostly filled in, is jit(vmap(f)) traced for the one size."""
    spec = SPECS[primitive]
    for case in part(spec.cases[:2], list(SPECS).index(primitive), 2) or spec.cases[:1]:
        dtype = spec.main if not case.dtypes or spec.main in case.dtypes else case.dtypes[0]
        over = fx.vmap(spec.function(case, dtype))
        draws = [case.draw(dtype, seed) for seed in range(9)]
        if not draws[0]:
            continue
        several = fx.jit(over)
        for n in (3, 7, 5, 9, 4):
            args = [np.stack(operands) for operands in zip(*draws[:n])]
            for a, b in zip(fx.tree.leaves(several(*args)), fx.tree.leaves(fx.jit(lambda *x, f=over: f(*x))(*args))):
                assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), (primitive, case.name, n)
        assert primitive in _NUMBERS_NEEDED or several.cache_info().traced <= 5, several.explain_misses()


def test_the_character_model_takes_texts_of_any_length() -> None:
    """The transformer of the examples: rotary positions, causal masks, attention and norms are filled in."""
    model = Transformer(11, 32, 1, fx.random.key(0))
    f = fx.jit(lambda m, codes: m(codes)[:, -1])
    for n in (50, 62, 55, 60, 52):
        codes = (np.arange(2 * n).reshape(2, n) % 11).astype(np.int32)
        assert (
            np.asarray(f(model, codes)).tobytes()
            == np.asarray(fx.jit(lambda m, c: m(c)[:, -1])(model, codes)).tobytes()
        )
    assert f.cache_info().traced == 3, f.explain_misses()


def test_a_size_that_is_equal_to_another_number_by_chance_is_filled_in() -> None:
    """Of a buffer with as many elements as another: that it could lie in the other's memory is no reason for a trace."""
    f = fx.jit(lambda x: fnp.tanh(x).T @ x)
    for n in (40, 20, 32, 60, 25):  # so small that all lie on one side of any cache
        x = np.linspace(-1, 1, 32 * n, dtype=np.float32).reshape(n, 32)
        np.testing.assert_allclose(f(x), np.tanh(x).T @ x, rtol=1e-4, atol=1e-5)
    assert f.cache_info().traced == 3, f.explain_misses()  # two, and the one that proves it


def test_what_is_alike_needs_no_guard() -> None:
    s = Sizes()
    n, m = s.variable(6), s.variable(6)
    assert sizes.alike(2 * n, n + n) and sizes.alike(3, 3)
    assert not sizes.alike(n, m) and not sizes.alike(n, 6) and not sizes.alike(6, n) and not sizes.alike(3, 4)
    assert not s.guards and not s.fixed


def test_a_gradient_of_weights_is_one_family_of_any_batch() -> None:
    """How the sum over the batch is cut in slices decides no program."""
    f = fx.jit(lambda x, y: x.T @ y)
    for n in (1300, 900, 1150, 700, 1000):
        x, y = (np.ones((n, width), np.float32) for width in (384, 256))
        np.testing.assert_array_equal(f(x, y), np.full((384, 256), n, np.float32))
    (families,) = f._programs.families.values()
    assert len(families._all) == 1, f.explain_misses()


def test_what_keeps_sizes_from_varying_is_told() -> None:
    f = fx.jit(lambda x: x * np.zeros(x.shape[0]))
    f(np.ones(3)), f(np.ones(4))
    assert "cannot vary: a size that varies was needed as a plain number: an index" in f.explain_misses()
    assert f"{__file__}:" in f.explain_misses().partition("cannot vary")[2]


# ------------------------------------------------------------------------------- scalars that follow from sizes

SCALARS: dict[str, Callable[[Any, Any], Any]] = {
    "a gradient of a mean": lambda x, n: fx.grad(lambda y: -fnp.mean(y * y))(x),
    "minus infinity, and NaN": lambda x, n: x * fnp.log(fnp.asarray(n - 30, x.dtype)),
    "rounded on the way": lambda x, n: x + fnp.sin(fnp.asarray(n, x.dtype) / 3) * fnp.asarray(1 / n, x.dtype),
    "through integers and truths": lambda x, n: x * fnp.where(fnp.asarray(n) % 4 > 1, 0.5, fnp.sqrt(fnp.asarray(n, x.dtype))),
    "a complex number": lambda x, n: x * fnp.exp(fnp.asarray(1j / n)).real.astype(x.dtype),
    "zero without a sign": lambda x, n: x / (fnp.asarray(-0.0, x.dtype) * n),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", SCALARS)
def test_scalars_that_follow_from_sizes_are_those_of_a_trace_of_their_own(name: str, dtype: str) -> None:
    f = SCALARS[name]
    several = fx.jit(lambda x: f(x, x.shape[0]))
    for n in (40, 50, 30, 37, 20, 70):
        x = fnp.asarray(np.linspace(-2, 2, n), dtype)
        alone = fx.jit(lambda x: f(x, x.shape[0]))
        assert np.asarray(several(x)).tobytes() == np.asarray(alone(x)).tobytes(), (n, several.explain_misses())


def test_scalars_that_follow_from_sizes_need_no_kernel() -> None:
    """They are folded as the numbers of a trace of its own are."""
    several, alone = (fx.jit(lambda x: SCALARS["a gradient of a mean"](x, 0)) for _ in range(2))
    for n in (40, 50, 45):
        several(np.ones(n, np.float32))
    alone(np.ones(45, np.float32))
    *_, filled = several._programs.entries.values()
    (traced,) = alone._programs.entries.values()
    assert filled.family is not None
    assert len(filled.run.assembly.steps) == len(traced.run.assembly.steps) == 1
