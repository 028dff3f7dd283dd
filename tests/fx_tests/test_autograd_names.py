"""The differential operators of autograd, beside autograd's own and in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.autograd as ours
from fx.errors import CustomRuleError

X, V, M = np.array([0.3, -1.2, 2.0]), np.array([1.0, 0.5, -2.0]), np.arange(6.0).reshape(2, 3) - 2.5

# name -> (its call with the operators and NumPy of either library, the result in closed form)
CALLS: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "grad": (lambda ag, xp: ag.grad(lambda a, b: xp.sum(xp.sin(a) * b), 1)(X, V), np.sin(X)),
    "grad of several": (lambda ag, xp: ag.grad(lambda a, b: xp.sum(a * b), argnum=(0, 1))(X, V), (V, X)),
    "value_and_grad": (lambda ag, xp: ag.value_and_grad(lambda a: xp.sum(a**3))(X), (np.sum(X**3), 3 * X**2)),
    "holomorphic_grad": (lambda ag, xp: ag.holomorphic_grad(lambda z: z**2 * 1j)(1.0 + 2.0j), 2j * (1.0 + 2.0j)),
    "grad_named": (lambda ag, xp: ag.grad_named(lambda a, b: xp.sum(a * b**2), "b")(X, V), 2 * X * V),
    "grad_and_aux": (lambda ag, xp: ag.grad_and_aux(lambda a: (xp.sum(a**2), 2 * X))(X), (2 * X, 2 * X)),
    "multigrad_dict": (lambda ag, xp: sorted(ag.multigrad_dict(lambda a, b: xp.sum(a * b))(X, V).items()), [("a", V), ("b", X)]),
    "elementwise_grad": (lambda ag, xp: ag.elementwise_grad(ag.elementwise_grad(xp.tanh))(X), -2 * np.tanh(X) / np.cosh(X) ** 2),
    "elementwise_grad of a matrix": (lambda ag, xp: ag.elementwise_grad(lambda a: xp.dot(M, a))(X), M.sum(0)),
    "deriv": (lambda ag, xp: ag.deriv(lambda t: xp.sin(t * X))(0.5), X * np.cos(0.5 * X)),
    "jacobian": (lambda ag, xp: ag.jacobian(lambda a: xp.dot(M, a**2))(X), 2 * M * X),
    "hessian": (lambda ag, xp: ag.hessian(lambda a: xp.sum(a**3))(X), np.diag(6 * X)),
    "make_vjp": (lambda ag, xp: [f(np.ones(2)) if callable(f) else f for f in ag.make_vjp(lambda a: xp.dot(M, a**2))(X)], [2 * M.sum(0) * X, M @ X**2]),
    "make_jvp": (lambda ag, xp: ag.make_jvp(lambda a: xp.dot(M, a**2))(X)(V), (M @ X**2, 2 * M @ (X * V))),
    "make_hvp": (lambda ag, xp: ag.make_hvp(lambda a: xp.sum(a**3))(X)[0](V), 6 * X * V),
    "make_ggnvp": (lambda ag, xp: ag.make_ggnvp(lambda a: xp.dot(M, a**2))(X)(V), 2 * X * (M.T @ (M @ (2 * X * V)))),
    "hessian_tensor_product": (lambda ag, xp: ag.hessian_tensor_product(lambda a: xp.sum(a**3))(X, V), 6 * X * V),
    "hessian_vector_product": (lambda ag, xp: ag.hessian_vector_product(lambda b, a: xp.sum(a**3), 1)(V, X, V), 6 * X * V),
    "tensor_jacobian_product": (lambda ag, xp: ag.tensor_jacobian_product(lambda a: xp.dot(M, a**2))(X, np.array([2.0, 1.0])), np.array([2.0, 1.0]) @ M * 2 * X),
    "tensor_jacobian_product of some axes": (lambda ag, xp: ag.tensor_jacobian_product(lambda a: xp.outer(V, a))(X, V), np.sum(V**2) * np.eye(3)),
    "vector_jacobian_product": (lambda ag, xp: ag.vector_jacobian_product(lambda a: a**2)(X, V), 2 * X * V),
    "checkpoint": (lambda ag, xp: ag.grad(ag.checkpoint(lambda a: xp.sum(xp.sin(a))))(X), np.cos(X)),
}  # fmt: skip


def _close(got: Any, want: Any) -> None:
    for g, w in zip(fx.tree.leaves(got), fx.tree.leaves(want), strict=True):
        if isinstance(w, str):
            assert g == w
        else:
            np.testing.assert_allclose(np.asarray(g), w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CALLS)
def test_operators(name: str) -> None:
    call, want = CALLS[name]
    _close(call(ours, np), want)


def test_every_operator_is_called() -> None:
    assert {name.split()[0] for name in CALLS} | {"primitive", "defvjp"} == set(ours.__all__)


@pytest.mark.parametrize("name", CALLS)
def test_operators_beside_autograd(name: str) -> None:
    autograd = pytest.importorskip("autograd")
    if name == "multigrad_dict":
        pytest.importorskip("funcsigs")  # without which autograd's own does not run
    _close(CALLS[name][0](ours, np), CALLS[name][0](autograd, autograd.numpy))


def test_primitives_of_the_user() -> None:
    called = []

    @ours.primitive
    def scaled(a: Any, b: Any) -> Any:
        return np.sum(a) * b

    def slope(ans: Any, a: Any, b: Any) -> Any:
        called.append(1)
        return lambda g: g * b * np.ones_like(a)

    ours.defvjp(scaled, slope, None)
    _close(ours.grad(scaled, (0, 1))(X, np.float64(2.0)), (2.0 * np.ones(3), 0.0))
    _close(
        fx.jit(fx.vmap(ours.grad(scaled)), backend="reference")(np.stack([X, V]), np.array([2.0, 3.0])),
        np.array([[2.0] * 3, [3.0] * 3]),
    )
    ours.defvjp(scaled, lambda ans, a, b: lambda g: g * ans / b, argnums=(1,))
    _close(ours.grad(scaled, 1)(X, np.float64(2.0)), X.sum())
    assert called
    with pytest.raises(CustomRuleError, match="primitive"):
        ours.defvjp(np.sin, slope)


# operators on Python numbers, which autograd takes for float64, and on functions whose result is an array of one element
NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "grad": lambda ag, xp: ag.grad(ag.grad(lambda x: x**3 / 3))(0.1),
    "grad of several": lambda ag, xp: ag.grad(lambda x, y: xp.sin(x) * y, (0, 1))(0.1, 0.7),
    "grad of a structure": lambda ag, xp: ag.grad(lambda p: p[0] * xp.tanh(p[1]["a"]))([0.3, {"a": 0.1}]),
    "grad of the last": lambda ag, xp: ag.grad(lambda x, y: xp.exp(x * y), 1)(2, 0.1),
    "value_and_grad": lambda ag, xp: ag.value_and_grad(lambda x: xp.sin(x) / 3)(0.1),
    "holomorphic_grad": lambda ag, xp: ag.holomorphic_grad(lambda z: xp.exp(z))(0.1 + 0.7j),
    "grad_and_aux": lambda ag, xp: ag.grad_and_aux(lambda x: (xp.sin(x), 1.5))(0.1),
    "elementwise_grad": lambda ag, xp: ag.elementwise_grad(xp.tanh)(0.1),
    "deriv": lambda ag, xp: ag.deriv(xp.tanh)(0.1),
    "jacobian": lambda ag, xp: ag.jacobian(lambda x: x * V)(0.1),
    "make_vjp": lambda ag, xp: ag.make_vjp(xp.tanh)(0.1)[0](0.3),
    "make_jvp": lambda ag, xp: ag.make_jvp(xp.tanh)(0.1)(0.3),
    "make_hvp": lambda ag, xp: ag.make_hvp(xp.tanh)(0.1)[0](0.3),
    "hessian_vector_product": lambda ag, xp: ag.hessian_vector_product(xp.tanh)(0.1, 0.3),
    "one element": lambda ag, xp: ag.grad(lambda x: xp.sum(x**2, axis=0, keepdims=True))(X),
    "one element of two axes": lambda ag, xp: ag.grad(lambda x: xp.dot(xp.reshape(x, (1, -1)), xp.reshape(x, (-1, 1))))(X),
    "one element, with its value": lambda ag, xp: ag.value_and_grad(lambda x: xp.sum(x**2, keepdims=True))(X),
    "one element, with more": lambda ag, xp: ag.grad_and_aux(lambda x: (xp.sum(x**2, keepdims=True), 2 * V))(X),
    "one element, second": lambda ag, xp: ag.hessian_vector_product(lambda x: xp.sum(x**3, keepdims=True))(X, V),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_and_single_elements_beside_autograd(name: str) -> None:
    autograd = pytest.importorskip("autograd")
    got, want = NUMBERS[name](ours, np), NUMBERS[name](autograd, autograd.numpy)
    _close(got, want)
    for g, w in zip(fx.tree.leaves(got), fx.tree.leaves(want), strict=True):
        assert (np.shape(g), np.asarray(g).dtype) == (np.shape(w), np.asarray(w).dtype)


def test_more_than_one_element_has_no_gradient() -> None:
    for f in (ours.grad(lambda x: x), ours.value_and_grad(lambda x: x[:, None]), ours.grad_and_aux(lambda x: (x, x))):
        with pytest.raises(TypeError, match="scalar"):
            f(X)
