"""Custom derivative rules that are told what is zero: the results, and what the rules are told, are JAX's."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from recorded import answers
from symbolic_zero_programs import programs

import fx
import fx.numpy as fnp
from fx.custom_derivatives import SymbolicZero, zero_from_primal

NAMES = list(programs(fx, fnp, SymbolicZero, fx.float0, []))


def _jax() -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    told: list[Any] = []
    found: dict[str, Any] = {}
    table = programs(jax, jnp, jax.custom_derivatives.SymbolicZero, jax.dtypes.float0, told)
    for name, program in table.items():
        told.clear()
        leaves = [np.asarray(x) for x in jax.tree.leaves(program())]
        found[f"{name} told"] = np.array(json.dumps(sorted(set(map(str, told)))))
        found |= {f"{name} {i}": x for i, x in enumerate(leaves)}
    return found


@pytest.fixture(scope="module")
def theirs(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    return answers("jax_symbolic_zeros", request.config.getoption("--update-golden"), _jax)


@pytest.mark.parametrize("name", NAMES)
def test_results_and_what_the_rules_are_told_are_those_of_jax(name: str, theirs: dict[str, np.ndarray]) -> None:
    told: list[Any] = []
    leaves = fx.tree.leaves(programs(fx, fnp, SymbolicZero, fx.float0, told)[name]())
    assert json.dumps(sorted(set(map(str, told)))) == str(theirs[f"{name} told"])
    want = [
        theirs[f"{name} {i}"]
        for i in range(sum(k.startswith(name + " ") and k[len(name) + 1 :].isdigit() for k in theirs))
    ]
    assert len(leaves) == len(want)
    for x, w in zip(leaves, want):
        np.testing.assert_allclose(np.asarray(x), w, rtol=2e-6)
        assert x.dtype == w.dtype


def test_the_zero_of_a_value() -> None:
    zero = zero_from_primal(np.ones((2, 3)), symbolic_zeros=True)
    assert type(zero) is SymbolicZero and (zero.shape, zero.dtype, zero.ndim) == ((2, 3), np.float64, 2)
    np.testing.assert_array_equal(zero.instantiate(), np.zeros((2, 3)))
    np.testing.assert_array_equal(zero_from_primal(np.float32(2)), np.float32(0))
    assert zero_from_primal(3).dtype == fx.float0
