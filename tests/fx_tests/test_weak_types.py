"""Weak types, those of values made from Python numbers alone: kept where JAX keeps them, eagerly, compiled and batched."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx

jax = pytest.importorskip("jax")

B = lambda n: n.broadcast_to(2.0, (3,))  # noqa: E731  # a weak array
S = np.float32(1.0)
I = np.arange(3, dtype=np.int32)

# functions of (library, its numpy, a weak scalar)
CASES: dict[str, Callable[[Any, Any, Any], Any]] = {
    **{u: lambda m, n, x, u=u: getattr(n, u)(x) for u in (
        "sin", "exp", "log", "sqrt", "abs", "negative", "square", "tanh", "sign", "floor", "rint", "sum", "mean", "prod", "ravel",
        "squeeze", "atleast_1d", "atleast_2d", "reciprocal", "positive", "conj", "real", "std", "var", "median", "asarray", "copy",
        "expm1", "deg2rad", "sinc", "cbrt", "i0", "average", "nansum", "argmax", "count_nonzero", "exp2",
    )},
    **{b: lambda m, n, x, b=b: getattr(n, b)(x, 3.0) for b in (
        "add", "multiply", "divide", "floor_divide", "power", "maximum", "minimum", "arctan2", "mod", "remainder", "hypot", "logaddexp",
        "heaviside", "copysign", "fmax", "float_power", "outer", "dot",
    )},
    **{b + " int": lambda m, n, x, b=b: getattr(n, b)(x, 2) for b in ("add", "divide", "power", "maximum", "mod", "hypot")},
    **{b + " strong": lambda m, n, x, b=b: getattr(n, b)(x, S) for b in ("add", "maximum", "hypot", "mod", "logaddexp", "arctan2")},
    **{b + " of an int array": lambda m, n, x, b=b: getattr(n, b)(I, x) for b in (
        "add", "multiply", "divide", "power", "maximum", "mod", "arctan2", "logaddexp", "floor_divide", "float_power", "clip",
    )},
    "operators of an int array": lambda m, n, x: 2.5 - n.asarray(I) * x,
    "int array and int": lambda m, n, x: n.asarray(I) * 2 / 3,
    "bool array and int": lambda m, n, x: n.asarray(I > 1) + 1,
    "bool array and float": lambda m, n, x: n.asarray(I > 1) * x,
    "int array and complex": lambda m, n, x: n.asarray(I) * 1j,
    "where of an int array": lambda m, n, x: n.where(I > 1, n.asarray(I), x),
    "stack of an int array": lambda m, n, x: n.stack([n.asarray(I), n.asarray(I) * x]),
    "int array, float, float16": lambda m, n, x: n.asarray(I) * x + np.ones(3, np.float16),
    "compiled int array and float": lambda m, n, x: m.jit(lambda i: i * 0.5)(I),
    "batched int array and float": lambda m, n, x: m.vmap(lambda i: i * x)(I),
    "sin of an int": lambda m, n, x: n.sin(2),
    "mean of an int": lambda m, n, x: n.mean(2),
    "broadcast_to": lambda m, n, x: n.broadcast_to(x, (3,)),
    "broadcast_arrays": lambda m, n, x: n.broadcast_arrays(x, np.zeros(3, np.float32))[0],
    **{f: lambda m, n, x, f=f: getattr(n, f)(B(n) * x) for f in ("zeros_like", "ones_like", "empty_like", "diag")},
    **{f + " compiled": lambda m, n, x, f=f: m.jit(getattr(n, f))(B(n)) for f in ("zeros_like", "ones_like", "diag")},
    **{f: lambda m, n, x, f=f: getattr(n, f)(n.broadcast_to(x, (3, 3))) for f in ("tril", "triu")},
    "zeros_like of a number": lambda m, n, x: n.zeros_like(x),
    "ones_like with a dtype": lambda m, n, x: n.ones_like(B(n), n.float32),
    "full_like": lambda m, n, x: n.full_like(B(n), 2),
    "full_like of a strong array": lambda m, n, x: n.full_like(n.ones(3), 2),
    "full_like in a loop": lambda m, n, x: m.lax.fori_loop(0, 2, lambda i, c: n.full_like(c, 2) + c, B(n)),
    "pad": lambda m, n, x: n.pad(B(n), 1),
    "pad with a value": lambda m, n, x: n.pad(B(n), 1, constant_values=3),
    "top_k": lambda m, n, x: m.lax.top_k(B(n), 2)[0],
    "lax.full": lambda m, n, x: m.lax.full((3,), 0.5),
    "lax.full of a weak array": lambda m, n, x: m.lax.full((3,), x),
    "lax.full with a dtype": lambda m, n, x: m.lax.full((3,), x, n.float32),
    "lax.full_like": lambda m, n, x: m.lax.full_like(B(n), 2),
    "lax.full_like with a dtype": lambda m, n, x: m.lax.full_like(B(n), 2, n.float32),
    "lax.full_like of a strong array": lambda m, n, x: m.lax.full_like(n.ones(3), 2.0),
    "full": lambda m, n, x: n.full((3,), 0.5),
    "full int": lambda m, n, x: n.full((3,), 2),
    "full bool": lambda m, n, x: n.full((3,), True),
    "full weak": lambda m, n, x: n.full((3,), x),
    "full strong": lambda m, n, x: n.full((3,), S),
    "full dtype": lambda m, n, x: n.full((3,), 0.5, n.float32),
    "full beside float16": lambda m, n, x: n.full((3,), 0.5) * np.float16([1, 2, 3]),
    "stack": lambda m, n, x: n.stack([x, x]),
    "concatenate": lambda m, n, x: n.concatenate([B(n), B(n)]),
    "concatenate strong": lambda m, n, x: n.concatenate([B(n), np.ones(1, np.float32)]),
    "reshape": lambda m, n, x: n.reshape(x, (1,)),
    "expand_dims": lambda m, n, x: n.expand_dims(x, 0),
    "tile": lambda m, n, x: n.tile(x, 2),
    "repeat": lambda m, n, x: n.repeat(x, 2),
    **{f"{r} of an array": lambda m, n, x, r=r: getattr(n, r)(B(n) * x) for r in ("sum", "max", "mean", "prod", "std", "cumsum", "ptp")},
    "sort": lambda m, n, x: n.sort(B(n) * x),
    "flip": lambda m, n, x: n.flip(B(n) * x),
    "roll": lambda m, n, x: n.roll(B(n) * x, 1),
    "diff": lambda m, n, x: n.diff(B(n) * x),
    "matmul": lambda m, n, x: n.matmul(B(n) * x, B(n)),
    "matmul strong": lambda m, n, x: n.matmul(B(n) * x, np.ones(3, np.float32)),
    "einsum": lambda m, n, x: n.einsum("i,i->i", B(n) * x, B(n)),
    "clip": lambda m, n, x: n.clip(x, 0.0, 1.0),
    "where": lambda m, n, x: n.where(True, x, 2.0),
    "where array": lambda m, n, x: n.where(np.array([True, False]), x, 2.0),
    "where strong": lambda m, n, x: n.where(True, x, S),
    "select": lambda m, n, x: n.select([n.asarray(True)], [x], 0.0),
    "index": lambda m, n, x: (B(n) * x)[0],
    "index slice": lambda m, n, x: (B(n) * x)[1:],
    "index array": lambda m, n, x: (B(n) * x)[np.array([0, 1])],
    "take": lambda m, n, x: n.take(B(n) * x, 0),
    "at set": lambda m, n, x: (B(n) * x).at[0].set(1.0),
    "at set strong": lambda m, n, x: (B(n) * x).at[0].set(S),
    "astype": lambda m, n, x: n.asarray(x).astype(n.float32),
    "operators": lambda m, n, x: (n.asarray(x) + 1) ** 2 / 3.0,
    "arange": lambda m, n, x: n.arange(3),
    "lax add": lambda m, n, x: m.lax.add(x, 2.0),
    "lax select": lambda m, n, x: m.lax.select(n.asarray(True), x, 2.0),
    "lax convert": lambda m, n, x: m.lax.convert_element_type(x, n.float32),
    "lax broadcast": lambda m, n, x: m.lax.broadcast(x, (2,)),
    "relu": lambda m, n, x: m.nn.relu(x),
    "sigmoid": lambda m, n, x: m.nn.sigmoid(x),
    "softmax": lambda m, n, x: m.nn.softmax(B(n) * x),
    "jit": lambda m, n, x: m.jit(lambda v: v * v)(x),
    "jit of a constant": lambda m, n, x: m.jit(lambda v: 2.0)(x),
    "jit strong": lambda m, n, x: m.jit(lambda v: v + S)(x),
    "grad": lambda m, n, x: m.grad(lambda v: v * v)(x),
    "grad of jit": lambda m, n, x: m.grad(m.jit(lambda v: v * v))(x),
    "grad of grad": lambda m, n, x: m.grad(m.grad(lambda v: v**3))(x),
    "grad of a broadcast": lambda m, n, x: m.grad(lambda v: n.broadcast_to(v, (3,)).sum())(x),
    "grad of checkpoint": lambda m, n, x: m.grad(m.checkpoint(lambda v: v * v))(x),
    "vjp": lambda m, n, x: m.vjp(m.jit(lambda v: v * v), x)[1](1.0)[0],
    "jvp": lambda m, n, x: m.jvp(m.jit(lambda v: v * v), (x,), (1.0,))[1],
    "linearize": lambda m, n, x: m.linearize(lambda v: v * v, x)[1](1.0),
    "value of value_and_grad": lambda m, n, x: m.value_and_grad(m.jit(lambda v: v * v))(x)[0],
    "hessian": lambda m, n, x: m.hessian(lambda v: v * v * v)(x),
    "jacfwd": lambda m, n, x: m.jacfwd(lambda v: v * v)(x),
    "jacrev": lambda m, n, x: m.jacrev(lambda v: v * v)(x),
    "scan of a weak carry": lambda m, n, x: m.lax.scan(lambda c, _: (c * S, c), x, None, length=2)[0],
    "what a scan of a weak carry sees": lambda m, n, x: m.lax.scan(lambda c, _: (c * S, c), x, None, length=2)[1],
    "scan to a weak carry": lambda m, n, x: m.lax.scan(lambda c, _: (x, None), n.asarray(S), None, length=2)[0],
    "scan of an int": lambda m, n, x: m.lax.scan(lambda c, _: (c + S, c), 0, None, length=2)[0],
    "fori_loop of a weak carry": lambda m, n, x: m.jit(lambda k: m.lax.fori_loop(0, k, lambda i, c: c * S, x))(3),
    "while_loop of a weak carry": lambda m, n, x: m.lax.while_loop(lambda c: c < 9, lambda c: c * S + 1, x),
    "vmap of a while_loop of a weak carry": lambda m, n, x: m.vmap(lambda v: m.lax.while_loop(lambda c: c < 9, lambda c: c * S + 1, v))(B(n)),
    "vmap": lambda m, n, x: m.vmap(lambda v: v * x)(B(n)),
    "vmap unchanged": lambda m, n, x: m.vmap(lambda v: v)(B(n) * x),
    "vmap of a constant": lambda m, n, x: m.vmap(lambda v: 2.0)(B(n)),
    "vmap of grad": lambda m, n, x: m.vmap(m.grad(lambda v: v * v), axis_size=3, in_axes=None)(x),
    "vmap strong": lambda m, n, x: m.vmap(lambda v: v * x)(np.ones(3, np.float32)),
}  # fmt: skip


def kind(out: Any) -> tuple[str, bool]:
    return str(out.dtype), bool(out.weak_type)


@pytest.fixture(autouse=True)
def _32_bits() -> Any:
    """Where 64-bit types are on, JAX's Python numbers are 64 bits wide; ours are ``config.default_float``."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("name", CASES)
def test_weak_where_jax_is(name: str) -> None:
    f = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (want,) = jax.make_jaxpr(lambda: f(jax, jax.numpy, 1.5))().out_avals
        (want_traced,) = jax.make_jaxpr(lambda x: f(jax, jax.numpy, x))(1.5).out_avals
    assert kind(f(fx, fx.numpy, 1.5)) == kind(want)
    aval = fx.jit(lambda x: f(fx, fx.numpy, x)).lower(1.5).out_info
    assert (str(aval.dtype), aval.weak_type) == kind(want_traced)


def test_a_compiled_function_returns_weak_values() -> None:
    assert fx.jit(lambda x: fx.numpy.broadcast_to(x, (3,)) * 2)(1.5).weak_type
    assert not fx.jit(lambda x: x * S)(1.5).weak_type


def test_what_is_weak_takes_the_dtype_of_what_is_not() -> None:
    half, weak = np.ones(3, np.float16), fx.numpy.broadcast_to(2.0, (3,))
    for f in (lambda x, w: x * w, lambda x, w: fx.numpy.hypot(x, w), lambda x, w: x + fx.numpy.sort(w)):
        assert f(fx.numpy.asarray(half), weak).dtype == np.float16
        assert fx.jit(f)(half, weak).dtype == np.float16
        assert fx.vmap(f, in_axes=(0, None))(half[None], weak).dtype == np.float16
    assert not (fx.numpy.asarray(half) * weak).weak_type


def test_the_derivative_of_a_power_is_weak_like_the_others() -> None:
    """Of ``x**2.5`` alone JAX's is not: its rule converts x to the dtype that it has."""
    assert not jax.grad(lambda v: v**2.5)(2.0).weak_type and jax.grad(lambda v: v**2)(2.0).weak_type
    for f in (lambda v: v**2.5, lambda v: v**2):
        assert fx.grad(f)(2.0).weak_type and fx.jit(fx.grad(f))(2.0).weak_type
        assert (fx.grad(f)(2.0) * fx.numpy.ones(2, "float16")).dtype == np.float16


def test_booleans_are_never_weak() -> None:
    for out in (fx.numpy.equal(1.0, 2.0), fx.numpy.asarray(True), fx.jit(lambda x: x > 1)(2.0), fx.numpy.isnan(1.0)):
        assert out.dtype == np.bool_ and not out.weak_type


@pytest.mark.parametrize("library", [fx, jax])
def test_a_loop_whose_carry_is_weak_alone_is_traced_once(library: Any) -> None:
    """Nested loops would be traced as often as a power of two."""
    seen = []

    def body(c: Any, _: Any) -> tuple[Any, None]:
        seen.append(1)
        return c * S, None

    def nested(c: Any, _: Any) -> tuple[Any, None]:
        return library.lax.scan(body, 1.0, None, length=2)[0] * c, None

    library.jit(lambda: library.lax.scan(nested, 1.0, None, length=2))()
    assert len(seen) == 1
