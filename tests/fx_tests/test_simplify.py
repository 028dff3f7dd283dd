"""The ``simplify`` pass: what changes no bit goes, what could change one stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
from fx import lax
from fx.dtypes import ALL, is_bool, is_complex
from fx.interpret import run_graph
from fx.passes import optimize, simplify

SPECIAL = [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan]


def filled(x: Any, value: float) -> Any:
    return lax.full_like(x, x.dtype.type(value))


GONE: dict[str, Callable[[Any], Any]] = {
    "x * 1": lambda x: lax.mul(x, filled(x, 1)),
    "1 * x": lambda x: lax.mul(filled(x, 1), x),
    "x / 1": lambda x: lax.div(x, filled(x, 1)),
    "x + -0.0": lambda x: lax.add(x, filled(x, -0.0)),
    "-0.0 + x": lambda x: lax.add(filled(x, -0.0), x),
    "x - 0.0": lambda x: lax.sub(x, filled(x, 0.0)),
    "x ** 1": lambda x: lax.integer_pow(x, 1),
}
STAYS: dict[str, Callable[[Any], Any]] = {
    "x + 0.0": lambda x: lax.add(x, filled(x, 0.0)),
    "x - -0.0": lambda x: lax.sub(x, filled(x, -0.0)),
    "0.0 - x": lambda x: lax.sub(filled(x, 0.0), x),
    "1 / x": lambda x: lax.div(filled(x, 1), x),
    "x * -1": lambda x: lax.mul(x, filled(x, -1)),
    "x ** 2": lambda x: lax.integer_pow(x, 2),
}


def operations(f: Callable[[Any], Any], x: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    graph = fx.make_graph(f)(x).graph
    simple = simplify(graph)
    (before,), (after,) = run_graph(graph, [x]), run_graph(simple, [x])
    return [e.prim.name for e in simple.eqns if e.prim.name != "broadcast_in_dim"], before, after


@pytest.mark.parametrize("name", GONE)
@pytest.mark.parametrize("dtype", [d for d in ALL if not is_bool(d) and not is_complex(d)], ids=str)
@pytest.mark.parametrize("shape", [(7,), ()])
def test_arithmetic_with_a_neutral_element_goes(name: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    values = SPECIAL if dtype.kind in "fV" else [0, 1, 2, 3, 4, 5, 6]
    for x in [np.array(values).astype(dtype)] if shape else [np.array(v).astype(dtype) for v in values]:
        left, before, after = operations(GONE[name], x)
        assert left == []
        assert before.tobytes() == after.tobytes() == x.tobytes()


@pytest.mark.parametrize("name", STAYS)
def test_what_can_change_a_bit_stays(name: str) -> None:
    left, before, after = operations(STAYS[name], np.array(SPECIAL))
    assert len(left) == 1
    assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize("name", [n for n in GONE if n != "x ** 1"])
def test_complex_arithmetic_stays(name: str) -> None:
    x = np.array([complex(np.inf, 0), complex(-0.0, -0.0), 1 + 2j])
    left, before, after = operations(GONE[name], x)
    assert len(left) == 1
    assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize("dtype", [d for d in ALL if not is_bool(d)], ids=str)
def test_a_magnitude_forgets_a_change_of_sign(dtype: np.dtype) -> None:
    """But for unsigned integers, whose negatives wrap, and complex arithmetic."""
    values = SPECIAL if dtype.kind in "fV" else [0, 1, 2, 3, 100]
    x = np.array(values).astype(dtype)
    if dtype.kind == "i":
        x = np.append(x, [np.iinfo(dtype).min, -1]).astype(dtype)
    graph = fx.make_graph(lambda x: lax.abs(lax.neg(x)))(x).graph
    simple = optimize(graph)
    assert [e.prim.name for e in simple.eqns] == (["neg", "abs"] if dtype.kind in "uc" else ["abs"])
    (before,), (after,) = run_graph(graph, [x]), run_graph(simple, [x])
    assert before.tobytes() == after.tobytes()


def test_sigmoids_of_both_signs_share_their_exponential() -> None:
    f = lambda x: fx.nn.log_sigmoid(x) + fx.nn.log_sigmoid(-x)
    names = [e.prim.name for e in optimize(fx.make_graph(f)(np.ones(3, np.float32)).graph).eqns]
    assert names.count("exp") == names.count("log1p") == 1
