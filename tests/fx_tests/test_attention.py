"""Attention and block-scaled products: the values and derivatives of ``jax.nn``, and what wrong arguments say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import nn
from fx.errors import DTypeError, ShapeError

jax = pytest.importorskip("jax")
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


def both(f: Any, g: Any, *args: Any, tolerance: float = 2e-6, compiled: bool = True) -> None:
    for a, b in zip(fx.tree.leaves(f(*args)), jax.tree.leaves((jax.jit(g) if compiled else g)(*args))):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_attention_is_jax_s(name: str) -> None:
    options = CASES[name]
    both(
        lambda *x: nn.dot_product_attention(*x, return_residual=True, **options),
        lambda *x: jax.nn.dot_product_attention(*x, return_residual=True, **options),
        Q,
        KEYS,
        VALUES,
    )
    weights = draw(B, T, N, H)
    both(
        fx.grad(lambda *x: (nn.dot_product_attention(*x, **options) * weights).sum(), (0, 1, 2)),
        jax.grad(lambda *x: (jax.nn.dot_product_attention(*x, **options) * weights).sum(), (0, 1, 2)),
        Q,
        KEYS,
        VALUES,
        tolerance=1e-5,
    )


def test_attention_without_batch_in_other_dtypes_compiled_and_batched() -> None:
    one = nn.dot_product_attention(Q[0], KEYS[0], VALUES[0], is_causal=True)
    assert one.shape == (T, N, H)
    whole = nn.dot_product_attention(Q, KEYS, VALUES, is_causal=True)
    np.testing.assert_allclose(one, whole[0], rtol=1e-6, atol=1e-6)
    batched = fx.vmap(lambda *x: nn.dot_product_attention(*x, is_causal=True))(Q, KEYS, VALUES)
    np.testing.assert_allclose(batched, whole, rtol=1e-6, atol=1e-6)
    compiled = fx.jit(lambda *x: nn.dot_product_attention(*x, is_causal=True))(Q, KEYS, VALUES)
    np.testing.assert_allclose(compiled, whole, rtol=1e-5, atol=1e-6)
    half = [x.astype(np.float16) for x in (Q, KEYS, VALUES)]
    # compiled, JAX refuses this one: "The precision 'F16_F16_F32' is not supported by dot_general on CPU"
    both(nn.dot_product_attention, jax.nn.dot_product_attention, *half, tolerance=2e-3, compiled=False)
    assert nn.dot_product_attention(*[x.astype(np.float64) for x in (Q, KEYS, VALUES)]).dtype == np.float64


def test_scaled_matmul_multiplies_blocks_by_their_scales() -> None:
    a, b, s, t = draw(2, 3, 8), draw(2, 4, 8), draw(2, 3, 2), draw(2, 4, 2)
    want = np.einsum("bmk,bnk->bmn", a * s.repeat(4, -1), b * t.repeat(4, -1))
    np.testing.assert_allclose(nn.scaled_matmul(a, b, s, t), want, rtol=1e-5)
    assert nn.scaled_matmul(a, b, s, t, np.float64).dtype == np.float64


def test_log1mexp() -> None:
    x = np.array([1e-30, 1e-5, 0.1, 0.6, 0.7, 3, 50, 800.0])
    with jax.enable_x64(True):
        want = [np.asarray(jax.jit(f)(x)) for f in (jax.nn.log1mexp, jax.vmap(jax.grad(jax.nn.log1mexp)))]
    np.testing.assert_allclose(nn.log1mexp(x), want[0], rtol=1e-14)
    np.testing.assert_allclose(fx.vmap(fx.grad(nn.log1mexp))(x), want[1], rtol=1e-14)


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
