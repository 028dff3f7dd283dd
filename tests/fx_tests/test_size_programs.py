"""Random programs over sizes, called at many sizes in turn: what is filled in is what a trace of its own gives, bit for bit.

The truth is a function jitted anew for the one size, and the same program evaluated eagerly.  ``FX_TEST_THOROUGH=1`` draws
more programs; a failure prints the program and the lengths, which ``Program`` and ``compare`` take again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from op_specs import THOROUGH
from size_programs import OPERATIONS, Program, draw_lengths, draw_program

import fx
import fx.numpy as fnp
from fx.sizes import Sizes


def outcome(f: Any, args: Sequence[np.ndarray]) -> list[Any] | str:
    """Shape, dtype, weakness and bytes of each result; or the class of the error."""
    try:
        leaves = fx.tree.leaves(f(*[fnp.asarray(a.copy()) for a in args]))
    except (ArithmeticError, ValueError, IndexError, TypeError, fx.errors.FxError) as e:
        return type(e).__name__
    return [(a.shape, a.dtype, a.weak_type, np.asarray(a).tobytes()) for a in leaves]


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


def test_guards_that_are_left_out_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: comparisons of sizes are not written down."""
    monkeypatch.setattr(Sizes, "decide", lambda self, condition, outcome: outcome)
    with pytest.raises(AssertionError):
        compare(
            Program((("threshold", 0, 1, 1),), ((0,), (1,)), "float32", False), [(12, 7), (10, 7), (11, 7), (16, 7)]
        )
