"""Random programs over sizes, called at many sizes in turn: what is filled in is what a trace of its own gives, bit for bit.

The truth is a function jitted anew for the one size, and the same program evaluated eagerly.  ``FX_TEST_THOROUGH=1`` draws
more programs; a failure prints the program and the lengths, which ``Program`` and ``compare`` take again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from size_programs import OPERATIONS, Program, draw_lengths, draw_program
from thorough import THOROUGH

import fx
import fx.numpy as fnp
from fx.sizes import Sizes
from jit.wiring import Cells


def outcome(f: Any, args: Sequence[np.ndarray]) -> list[Any] | str:
    """Shape, dtype, weakness and bytes of each result; or the class of the error."""
    try:
        leaves = fx.tree.leaves(f(*[fnp.asarray(a.copy()) for a in args]))
    except (ArithmeticError, ValueError, IndexError, TypeError, fx.errors.FxError) as e:
        return type(e).__name__
    return [(a.shape, a.dtype, a.weak_type, np.asarray(a).tobytes()) for a in leaves]


def different_numbers(filled: Any, traced: Any) -> list[str]:
    """In what an executable that was filled in is not, number for number, the one that was traced for its sizes."""
    a, b = filled.assembly, traced.assembly
    return [name for name in _NUMBERS if not np.array_equal(getattr(a, name), getattr(b, name))] + [
        name
        for name in ("takes", "makes", "consts", "arena_bytes", "release_gil")
        if getattr(a, name) != getattr(b, name)
    ]


_NUMBERS = ("words", "relative", "in_arena", "in_consts", "patches", "steps", "addressed")


def compare(program: Program, lengths: Sequence[tuple[int, ...]]) -> fx.jit:
    """Calls one jitted function at these lengths, and holds each result against one that was traced for itself."""
    donate = 0 if program.donate else None
    several = fx.jit(lambda *a: program(*a), donate_argnums=donate)
    for k, n in enumerate(lengths):
        args = program.arguments(n, k)
        found = outcome(several, args)
        alone = outcome(fx.jit(lambda *a: program(*a), donate_argnums=donate), args)
        assert found == alone, (program, lengths, k)
        eager = outcome(program, args)
        if isinstance(eager, str) or isinstance(found, str):
            assert found == eager, (program, lengths, k)
        else:
            assert [o[:3] for o in found] == [o[:3] for o in eager], (program, lengths, k)
    return several


_LENGTHS = [
    (12, 7, 5),
    (17, 9, 5),
    (13, 13, 4),
    (3, 2, 5),
    (31, 6, 6),
    (12, 12, 12),
    (1, 4, 0),
    (0, 3, 2),
    (2, 2, 2),
    (70, 40, 9),
]


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_operation(name: str) -> None:
    """Every other one on vectors, the rest on matrices; all on both, thoroughly."""
    for k, axes in enumerate([((0,), (1,)), ((0, "3"), (1, "3"))]):
        if THOROUGH or list(OPERATIONS).index(name) % 2 == k:
            program = Program(((name, 0, 1, k + 1),), axes, "float32", False)
            compare(program, _LENGTHS if THOROUGH else _LENGTHS[:6])


@pytest.mark.parametrize("seed", range(400 if THOROUGH else 6))
def test_random_programs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = draw_program(rng)
    lengths = draw_lengths(rng, 10 if THOROUGH else 4)
    compare(program, [*lengths, lengths[0]])


_W = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def _recurrent(x: Any) -> Any:
    cell = lambda c, row: (fnp.tanh(c + row), c.sum())
    return fx.lax.scan(cell, fnp.zeros(4, np.float32), x @ _W)


PLANNED_ALIKE: dict[str, Any] = {  # nothing is decided by how many rows there are
    "running sums": lambda x: fnp.cumsum(fnp.tanh(x @ _W), 0) / x.shape[0],
    "a gradient": fx.grad(lambda x: fnp.sum(fx.nn.softmax(x @ _W) ** 2)),
    "sorted": lambda x: fnp.sort(x, axis=0) + fnp.argsort(x[:, 0])[:, None],
    "a scan over rows": _recurrent,
    "a loop over few": lambda x: fx.lax.fori_loop(0, 5, lambda k, y: y * 0.5 + k, x),
}


def filled_and_traced(f: Any, *lengths: int) -> tuple[Any, Any]:
    """What makes the executable of the last length: filled in, and traced for it."""
    several, once = fx.jit(lambda x: f(x)), fx.jit(lambda x: f(x))
    for n in lengths:
        several(np.ones((n, 3), np.float32))
    once(np.ones((lengths[-1], 3), np.float32))
    (families,), (entry,) = several._programs.families.values(), once._programs.entries.values()
    (family,) = families._all
    return (lambda: family.executable(lengths[-1:])), lambda: entry.run


@pytest.mark.parametrize("name", PLANNED_ALIKE)
def test_the_numbers_filled_in_are_those_of_a_plan_of_its_own(name: str) -> None:
    filled, traced = filled_and_traced(PLANNED_ALIKE[name], 30, 40, 70)
    assert not different_numbers(filled(), traced())


def test_numbers_that_are_off_by_one_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault in what is filled in; it is not run."""
    make, traced = filled_and_traced(PLANNED_ALIKE["running sums"], 30, 40, 70)
    filled = Cells.filled
    monkeypatch.setattr(Cells, "filled", lambda cells, table=None: filled(cells, table + (table == 70)))
    assert different_numbers(make(), traced())


def test_guards_that_are_left_out_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: comparisons of sizes are not written down."""
    monkeypatch.setattr(Sizes, "decide_sign", lambda self, terms, op, outcome: outcome)
    with pytest.raises(AssertionError):
        compare(
            Program((("threshold", 0, 1, 1),), ((0,), (1,)), "float32", False), [(12, 7), (10, 7), (11, 7), (16, 7)]
        )


_LAYER = np.linspace(-1, 1, 100 * 128, dtype=np.float32).reshape(100, 128)
_LONG = np.linspace(-1, 1, 5000 * 48, dtype=np.float32).reshape(5000, 48)
BOTH_SIDES: dict[str, Any] = {  # function, length of a row, lengths on both sides of a limit of the planner
    "a reduction that is cut, by columns": (lambda x: fnp.tanh(fnp.sum(x * x, 0)), 512, (1600, 1800, 2080, 3200, 1200)),
    "columns that are shared out": (lambda x: fnp.tanh(fnp.sum(x * x, 0)), 530, (400, 450, 520, 800, 30)),
    "a reduction that is cut, of all": (lambda x: fnp.sum(x * x) + x.shape[0], 512, (400, 450, 520, 800, 300)),
    "a position that is sought in parts": (lambda x: fnp.argmax(x, 0), 512, (400, 450, 520, 800, 300)),
    "ten long rows": (lambda x: fnp.sum(x.reshape(x.shape[0] // 10, 10, -1), (0, 2)), 512, (300, 400, 800, 1500)),
    "narrow columns": (lambda x: fnp.sum(x, 0), 3, (70_000, 80_000, 90_000, 200_000)),
    "long rows times a vector": (lambda x: x.reshape(23, -1) @ x.reshape(-1)[: x.shape[0]], 23, (200, 300, 500, 900)),
    "partial products": (lambda x: x @ _LONG + 1, 5000, (70, 150, 400, 800)),
    "an operand on both sides of the second-level cache": (lambda x: x.T @ (x + 1), 512, (700, 800, 600, 1100, 1500)),
    "a product that leaves B in place": (lambda x: fnp.tanh(x @ _LAYER), 100, (40, 60, 70, 200, 300)),
}


@pytest.mark.parametrize("name", BOTH_SIDES)
def test_one_family_serves_both_sides_of_a_limit(name: str) -> None:
    f, width, lengths = BOTH_SIDES[name]
    several = fx.jit(lambda x: f(x))
    for n in lengths:
        x = np.random.default_rng(n).standard_normal((n, width), dtype=np.float32)
        assert outcome(several, [x]) == outcome(fx.jit(lambda x: f(x)), [x]), n
    (families,) = several._programs.families.values()
    assert len(families._all) == 1


QUOTIENTS: dict[str, Any] = {  # sums of what is computed from quotients of integers and a length
    "remainders": lambda x, i: (x * (i % x.shape[1]).astype(np.float32)).sum(1),
    "quotients beside a function": lambda x, i: (fnp.tanh(x) * (i // x.shape[1]).astype(np.float32)).sum(1),
    "of 64 bits": lambda x, i: (x * (i.astype(np.int64) % x.shape[1]).astype(np.float32)).sum(1),
    "places that wrap": lambda x, i: fnp.take(x[0], i, mode="wrap").sum(1),
}


@pytest.mark.parametrize("name", QUOTIENTS)
def test_sums_have_the_same_accumulators_whether_or_not_the_code_holds_a_divisor(name: str) -> None:
    several = fx.jit(lambda x, i: QUOTIENTS[name](x, i))
    for n in (100, 101, 500, 501, 64):
        rng = np.random.default_rng(n)
        arrays = [rng.standard_normal((9, n), dtype=np.float32), rng.integers(0, 999, (9, n), dtype=np.int32)]
        assert outcome(several, arrays) == outcome(fx.jit(lambda x, i: QUOTIENTS[name](x, i)), arrays), n
