"""The methods of NumPy's ufuncs on traced arrays: ``reduce``, ``accumulate``, ``reduceat``, ``outer``, ``at``, ``where=``, ``out=``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy_harness import close, same

import fx
from fx.errors import DTypeError, FxError, ShapeError, SideEffectError, UnsupportedFunctionError

X = np.arange(1.3, 13.0).reshape(3, 4) / 7
Y = np.array([0.5, 1.0, 2.0, 1.5])
N = np.arange(1, 13).reshape(3, 4)
M = np.array([1, 2, 1, 3])

FLOAT = (
    "add subtract multiply divide floor_divide remainder fmod power float_power arctan2 hypot logaddexp logaddexp2 maximum minimum fmax fmin"
    " copysign heaviside nextafter logical_and logical_or logical_xor"
).split()
INTEGER = (
    "add subtract multiply floor_divide remainder maximum minimum bitwise_and bitwise_or bitwise_xor left_shift gcd logical_or"
).split()

# what is done with a ufunc u, x of shape (3, 4) and y of shape (4,)
CALLS: dict[str, Any] = {
    "call": lambda u, x, y: u(x, y),
    "where and out": lambda u, x, y: u(x, y, where=y > 1, out=np.ones_like(x, dtype=u(x, y).dtype)),
    "outer": lambda u, x, y: u.outer(y, x[0]),
    "reduce": lambda u, x, y: (u.reduce(x), u.reduce(x, 1), u.reduce(x, axis=-1, keepdims=True)),
    "reduce with initial": lambda u, x, y: u.reduce(x, axis=1, initial=2),
    "reduce with where": lambda u, x, y: u.reduce(x, axis=1, initial=2, where=x > 1),
    "reduce with out": lambda u, x, y: [u.reduce(x, axis=0, out=o) is o and o for o in [np.ones_like(y, dtype=u(y, y).dtype)]][0],
    "accumulate": lambda u, x, y: (u.accumulate(x), u.accumulate(x, axis=1)),
    "reduceat": lambda u, x, y: (u.reduceat(x, [0, 2, 1]), u.reduceat(x, [0, 2], axis=1)),
    "at": lambda u, x, y: (u.at(x, [0, 0, 2], y), x)[1],
    "at pairs": lambda u, x, y: (u.at(x, ([0, 0, 2, 0], [1, 1, 0, 1]), y), x)[1],
    "at columns": lambda u, x, y: (u.at(x, (slice(None), [1, 1, 0]), y[:3]), x)[1],
}  # fmt: skip


def _truth(name: str, call: str, x: np.ndarray, y: np.ndarray) -> Any:
    """NumPy's results; those of two reductions, which AVX-512 machines get wrong along the last axis, number by number."""
    u = getattr(np, name)
    if name in ("power", "arctan2") and call in ("reduce", "reduce with initial", "reduce with where"):
        found = CALLS[call](np.frompyfunc(u, 2, 1), x, y)
        return tuple(v.astype(float) for v in found) if isinstance(found, tuple) else found.astype(float)
    return CALLS[call](u, x, y)


@pytest.mark.parametrize("name", [*FLOAT, *(f"{n} of int" for n in INTEGER)])
def test_ufunc_methods(name: str) -> None:
    u = getattr(np, name.split()[0])
    x, y = (N, M) if name.endswith("of int") else (X, Y)
    for call, method in CALLS.items():
        want = _truth(name.split()[0], call, x.copy(), y.copy())
        with fx.config.using(backend="reference"):
            got = fx.jit(lambda a, b, method=method: method(u, a, b))(x, y)
        close(got, want, 1e-9)


def test_derivatives_of_ufunc_methods() -> None:
    def f(x: Any, y: Any) -> Any:
        buffer = np.zeros_like(y)
        np.add.at(buffer, [0, 0, 3], x[:, 0])
        np.multiply.at(x, (slice(None), [1, 1]), y[:2])
        np.power.at(x[0], [2, 2], 1.5)
        np.logaddexp.reduce(x, axis=0, out=buffer, where=x > 0.5, initial=-1.0)
        total = np.hypot.reduce(x, axis=1).sum() + np.divide.accumulate(x, axis=1)[:, -1].sum()
        return total + np.sum(buffer * y) + np.maximum.outer(y, x[1]).sum() + np.arctan2.reduceat(y, [0, 2]).sum()

    direction = np.cos(np.arange(12.0)).reshape(3, 4)
    plain = [float(f(X + h * direction, Y.copy())) for h in (1e-6, -1e-6)]
    slope = np.sum(np.asarray(fx.grad(f, argnums=(0, 1))(X, Y)[0]) * direction)
    assert slope == pytest.approx((plain[0] - plain[1]) / 2e-6, rel=1e-6)
    close(fx.vmap(f)(X[None], Y[None]), np.array([f(X.copy(), Y.copy())]))


def test_options_of_ufunc_calls() -> None:
    def f(x: Any, y: Any) -> Any:
        whole, part = np.zeros_like(x), np.ones_like(x)
        np.divmod(x, 0.3, out=(whole, part), where=x > 1)
        a, b = np.modf(x, where=x > 1, out=(np.zeros_like(x), np.zeros_like(x)))
        np.add(x, y, out=part[:], casting="unsafe")
        n = np.zeros_like(x, dtype=np.int32)
        np.multiply(x, 3, out=n, casting="unsafe")
        return whole, part, a, b, n, np.add(x, 1, dtype=np.float32), np.sum(x, axis=(0, 1), dtype=np.float32)

    with fx.config.using(backend="reference"):
        close(fx.jit(f)(X, Y), f(X.copy(), Y.copy()), 1e-6)


def test_what_ufuncs_refuse() -> None:
    def both(f: Any, *errors: type[Exception]) -> None:
        with pytest.raises((ValueError, TypeError, IndexError)):
            f(X.copy(), Y.copy())
        for g in (fx.jit(f), lambda x, y: fx.grad(lambda v: np.sum(f(v, y)))(x)):
            with pytest.raises(errors):
                g(X, Y)

    both(lambda x, y: np.add(x, y, out=np.zeros_like(x, dtype=np.int32)), DTypeError)
    both(lambda x, y: np.multiply(x, x, out=np.zeros_like(x[0])), ShapeError)
    both(lambda x, y: np.divide.reduce(x, axis=None), ShapeError)
    both(lambda x, y: np.less.reduce(x), DTypeError)
    both(lambda x, y: np.bitwise_and.reduce(x), DTypeError)
    both(lambda x, y: np.sin.reduce(x), ValueError)
    both(lambda x, y: np.add.reduceat(x, [0, 9]), FxError)
    both(lambda x, y: np.add.reduce(x, axis=5), FxError)
    for f, words in (
        (lambda x, y: np.matmul(x, x, axes=[(0, 1), (1, 0), (0, 1)]), "matmul cannot be traced with these arguments"),
        (
            lambda x, i: np.hypot.at(x, (np.argmax(i) + np.zeros_like(i, dtype=int)) % 3, 1.0),
            "hypot.at needs indices that are known",
        ),
    ):
        with pytest.raises(UnsupportedFunctionError, match=words):
            fx.jit(f)(X, Y)


def test_casting_is_numpy_s() -> None:
    def f(x: Any) -> Any:
        x += np.float64(1.5)
        x *= np.arange(4)
        return x

    x = np.ones(4, np.float32)
    want = f(x.copy())
    same(fx.jit(f, backend="reference")(x), want)
    same(fx.vmap(f)(x[None]), want[None])


def test_out_of_functions_and_methods() -> None:
    def f(x: Any, y: Any) -> Any:
        a, b, c, d = np.zeros_like(y), np.zeros_like(x), np.zeros_like(y), np.zeros_like(x[:, 0])
        x.sum(axis=0, out=a)
        x.cumsum(1, None, b)
        np.mean(x, 0, None, c)
        x.dot(y, out=d)
        np.concatenate([x[:1], x[1:]], out=x)
        x.clip(0.2, 1.0, out=b[:])
        np.einsum("ij,j->i", x, y, out=d)
        x[0].max(out=a[1, ...])
        np.take(y, [3, 2, 1, 0], out=y)
        return a, b, c, d, x, y

    with fx.config.using(backend="reference"):
        close(fx.jit(f)(X, Y), f(X.copy(), Y.copy()))
    buffer = np.zeros(4)
    assert fx.numpy.sum(X, axis=0, out=buffer) is buffer and (buffer == X.sum(0)).all()
    with pytest.raises(SideEffectError, match="immutable"):
        fx.numpy.sum(X, axis=0, out=fx.numpy.zeros(4))


# --------------------------------------------------------------------------------- scipy.special

SPECIAL: dict[str, tuple[np.ndarray, ...]] = {
    "erf": (X,), "erfc": (X,), "erfinv": (X / 3,), "expit": (X,), "logit": (X / 3,), "gammaln": (X,), "psi": (X,), "xlogy": (X, X), "xlog1py": (X, X),
    "entr": (X,), "rel_entr": (X, X + 1), "kl_div": (X, X + 1), "ndtr": (X,), "ndtri": (X / 3,), "log_ndtr": (X,), "gamma": (X,), "betaln": (X, X + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
def test_ufuncs_of_scipy_special(name: str) -> None:
    f, args = getattr(pytest.importorskip("scipy.special"), name), SPECIAL[name]
    want = f(*args)
    close(fx.jit(f, backend="reference")(*args), want, 1e-9)
    close(f(*map(fx.numpy.asarray, args)), want, 1e-9)
    buffer = fx.jit(lambda *xs: f(*xs, out=np.zeros_like(xs[0]), where=xs[0] > 0.8), backend="reference")(*args)
    close(buffer, f(*args, out=np.zeros_like(args[0]), where=args[0] > 0.8), 1e-9)
    slope = fx.grad(lambda x: np.sum(f(x, *args[1:])))(args[0])
    h = 1e-6
    np.testing.assert_allclose(
        np.asarray(slope), (f(args[0] + h, *args[1:]) - f(args[0] - h, *args[1:])) / (2 * h), rtol=1e-5, atol=1e-7
    )


def test_special_functions_that_are_not_there_say_so() -> None:
    special = pytest.importorskip("scipy.special")
    with pytest.raises(UnsupportedFunctionError, match="kelvin cannot be traced"):
        fx.jit(special.kelvin)(X)
