"""Attention and block-scaled products: the values and derivatives of ``jax.nn``, and what wrong arguments say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recorded import answers

import fx
import fx.numpy as fnp
from fx import nn
from fx.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)
B, T, S, N, K, H = 2, 5, 4, 6, 3, 8


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


Q, KEYS, VALUES = draw(B, T, N, H), draw(B, S, K, H), draw(B, S, K, H)
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "scale": {"scale": 0.3},
    "bias": {"bias": draw(B, N, T, S)},
    "bias broadcast": {"bias": draw(1, 1, T, S)},
    "mask": {"mask": RNG.uniform(size=(B, 1, T, S)) < 0.7},
    "causal": {"is_causal": True},
    "window": {"local_window_size": (1, 0)},
    "window int": {"local_window_size": 1, "is_causal": True},
    "lengths": {"query_seq_lengths": np.int32([3, 5]), "key_value_seq_lengths": np.int32([4, 2])},
}


WEIGHTS = {name: draw(B, T, N, H) for name in CASES}
HALVES = [x.astype(np.float16) for x in (Q, KEYS, VALUES)]
LOG_POINTS = np.array([1e-30, 1e-5, 0.1, 0.6, 0.7, 3, 50, 800.0])


def with_residual(space: Any, name: str) -> Any:
    return lambda *x: space.dot_product_attention(*x, return_residual=True, **CASES[name])


def weighted(space: Any, name: str) -> Any:
    return lambda *x: (space.dot_product_attention(*x, **CASES[name]) * WEIGHTS[name]).sum()


@pytest.fixture(scope="module")
def jax_attention(update_golden: bool) -> dict[str, np.ndarray]:
    """What ``jax.nn`` 0.10.2 gives."""

    def compute() -> dict[str, Any]:
        jax = pytest.importorskip("jax")
        found: dict[str, Any] = {}
        for name in CASES:
            functions = with_residual(jax.nn, name), jax.grad(weighted(jax.nn, name), (0, 1, 2))
            for what, f in zip(("value", "gradient"), functions):
                found.update({f"{what} {name} {i}": y for i, y in enumerate(jax.jit(f)(Q, KEYS, VALUES))})
        # compiled, JAX refuses this one: "The precision 'F16_F16_F32' is not supported by dot_general on CPU"
        found["half 0"] = jax.nn.dot_product_attention(*HALVES)
        found["log1mexp"] = jax.nn.log1mexp(LOG_POINTS)
        found["derivative of log1mexp"] = jax.vmap(jax.grad(jax.nn.log1mexp))(LOG_POINTS)
        return found

    return answers("jax_attention", update_golden, compute)


def check(recorded: dict[str, np.ndarray], what: str, found: Any, tolerance: float = 2e-6) -> None:
    leaves = fx.tree.leaves(found)
    assert f"{what} {len(leaves)}" not in recorded
    for i, got in enumerate(leaves):
        want = recorded[f"{what} {i}"]
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(np.asarray(got), want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_attention_is_jax_s(jax_attention: dict[str, np.ndarray], name: str) -> None:
    check(jax_attention, f"value {name}", with_residual(nn, name)(Q, KEYS, VALUES))
    gradient = fx.grad(weighted(nn, name), (0, 1, 2))(Q, KEYS, VALUES)
    check(jax_attention, f"gradient {name}", gradient, tolerance=1e-5)


def test_attention_without_batch_in_other_dtypes_compiled_and_batched(jax_attention: dict[str, np.ndarray]) -> None:
    one = nn.dot_product_attention(Q[0], KEYS[0], VALUES[0], is_causal=True)
    assert one.shape == (T, N, H)
    whole = nn.dot_product_attention(Q, KEYS, VALUES, is_causal=True)
    np.testing.assert_allclose(one, whole[0], rtol=1e-6, atol=1e-6)
    batched = fx.vmap(lambda *x: nn.dot_product_attention(*x, is_causal=True))(Q, KEYS, VALUES)
    np.testing.assert_allclose(batched, whole, rtol=1e-6, atol=1e-6)
    compiled = fx.jit(lambda *x: nn.dot_product_attention(*x, is_causal=True))(Q, KEYS, VALUES)
    np.testing.assert_allclose(compiled, whole, rtol=1e-5, atol=1e-6)
    check(jax_attention, "half", nn.dot_product_attention(*HALVES), tolerance=2e-3)
    assert nn.dot_product_attention(*[x.astype(np.float64) for x in (Q, KEYS, VALUES)]).dtype == np.float64


def test_scaled_matmul_multiplies_blocks_by_their_scales() -> None:
    a, b, s, t = draw(2, 3, 8), draw(2, 4, 8), draw(2, 3, 2), draw(2, 4, 2)
    want = np.einsum("bmk,bnk->bmn", a * s.repeat(4, -1), b * t.repeat(4, -1))
    np.testing.assert_allclose(nn.scaled_matmul(a, b, s, t), want, rtol=1e-5)
    assert nn.scaled_matmul(a, b, s, t, np.float64).dtype == np.float64


def test_log1mexp(jax_attention: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(nn.log1mexp(LOG_POINTS), jax_attention["log1mexp"], rtol=1e-14)
    slopes = fx.vmap(fx.grad(nn.log1mexp))(LOG_POINTS)
    np.testing.assert_allclose(slopes, jax_attention["derivative of log1mexp"], rtol=1e-14)


def test_one_hot_along_a_named_axis() -> None:
    rows = fx.vmap(lambda _: nn.one_hot(np.array([0, 2, 5]), 4, axis="i"), axis_name="i")(np.zeros(4))
    np.testing.assert_array_equal(rows, nn.one_hot(np.array([0, 2, 5]), 4, axis=0))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: nn.dot_product_attention(Q[0, 0], KEYS, VALUES), ShapeError, "3 axes"),
        (lambda: nn.dot_product_attention(Q, KEYS, VALUES[:, :2]), ShapeError, "must be equal"),
        (lambda: nn.dot_product_attention(Q[:, :, :5], KEYS, VALUES), ShapeError, "a multiple"),
        (lambda: nn.dot_product_attention(Q, KEYS, VALUES.astype(np.float64)), DTypeError, "one float dtype"),
        (lambda: nn.dot_product_attention(Q, KEYS, VALUES, mask=Q[..., :S]), DTypeError, "bias"),
        (lambda: nn.dot_product_attention(Q, KEYS, VALUES, implementation="cudnn"), ShapeError, "GPU"),
        (lambda: nn.dot_product_attention(Q, KEYS, VALUES, query_seq_lengths=np.int32([1])), ShapeError, "(2,)"),
        (lambda: nn.scaled_matmul(Q[0], KEYS[0], Q[0], KEYS[0]), ShapeError, "(B, M, K)"),
        (lambda: nn.scaled_matmul(*[fnp.ones((1, 2, n)) for n in (4, 4, 3, 3)]), ShapeError, "divide"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)
