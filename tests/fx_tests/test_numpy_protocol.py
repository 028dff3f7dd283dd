"""NumPy's own functions on arrays and traced values: plain NumPy programs run under grad, jit and vmap."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy_harness import close, same

import fx
import fx.numpy as fnp
import fx.scipy.linalg
from fx.errors import ConcretizationError, FxError, SideEffectError, UnsupportedFunctionError

X = np.arange(1.3, 13.0).reshape(3, 4) / 7
Y = np.array([0.5, -1.0, 2.0, 1.5])


def both_ways(f: Any, *args: Any) -> None:
    """A NumPy program: on NumPy arrays, on ours, under jit, and under vmap it computes the same."""
    with np.errstate(all="ignore"):
        want = f(*[np.array(a) for a in args])
    close(f(*[fnp.asarray(a) for a in args]), want)
    with fx.config.using(backend="reference"):
        close(fx.jit(f)(*args), want)
    batched = fx.vmap(f)(*[np.stack([a, a]) for a in args])
    close(batched, fx.tree.map(lambda v: np.stack([np.asarray(v)] * 2), want))


PROGRAMS: list[Any] = [
    lambda x, y: np.sum(np.tanh(x) ** 2 + y), lambda x, y: np.dot(x, y) + x @ y, lambda x, y: np.where(x > 1, x, y * 0), lambda x, y: np.einsum("ij,j->i", x, y), lambda x, y: np.mean(x, axis=0) - np.std(y),
    lambda x, y: np.concatenate([x.ravel(), y]), lambda x, y: np.stack([x[0], y]), lambda x, y: np.maximum(x, y).max(axis=1), lambda x, y: np.clip(x, 0.2, 1.0), lambda x, y: np.linalg.norm(x, axis=1),
    lambda x, y: np.cumsum(x, axis=1) / np.prod(y), lambda x, y: np.outer(y, y), lambda x, y: np.exp(-np.abs(x)).T, lambda x, y: np.transpose(x)[::-1], lambda x, y: np.sort(y)[np.argsort(y)], lambda x, y: np.float64(2.0) * x + np.pi,
    lambda x, y: np.sqrt(x.shape[0]) * y, lambda x, y: y.reshape(2, 2).sum(axis=0), lambda x, y: np.expand_dims(y, 0) * x, lambda x, y: np.add.reduce(x, axis=1), lambda x, y: np.multiply.accumulate(y), lambda x, y: np.subtract.outer(y, y),
    lambda x, y: np.logaddexp.reduce(x, axis=None), lambda x, y: np.power(np.abs(y), 1.5), lambda x, y: np.divmod(x, 0.3), lambda x, y: np.modf(y), lambda x, y: np.interp(y, np.array([-2.0, 3.0]), np.array([1.0, 4.0])), lambda x, y: np.gradient(y),
    lambda x, y: np.diff(x, axis=0), lambda x, y: np.tensordot(x, y, 1), lambda x, y: np.trace(x[:, :3]), lambda x, y: np.vstack([x, y]), lambda x, y: np.hstack([y, y]), lambda x, y: np.tile(y, 2), lambda x, y: np.repeat(y, 2),
    lambda x, y: np.roll(x, 1, axis=1), lambda x, y: np.flip(y), lambda x, y: np.pad(y, 1, mode="edge"), lambda x, y: np.split(y, 2), lambda x, y: np.take(x, [0, 2], axis=1), lambda x, y: np.median(x), lambda x, y: np.average(x, axis=1, weights=np.abs(y)),
    lambda x, y: np.isfinite(x).all(), lambda x, y: np.argmax(x, axis=1), lambda x, y: np.searchsorted(np.sort(y), 0.7), lambda x, y: np.matmul(x, y), lambda x, y: np.kron(y, y), lambda x, y: np.convolve(y, y), lambda x, y: np.meshgrid(y, y)[0],
    lambda x, y: np.squeeze(x[None]), lambda x, y: np.broadcast_to(y, (3, 4)) + x, lambda x, y: np.zeros_like(x) + np.ones_like(y), lambda x, y: np.full_like(y, 3.0), lambda x, y: np.nan_to_num(x / (x - x[0, 0])), lambda x, y: np.ptp(y), lambda x, y: np.quantile(y, 0.3),
    lambda x, y: np.amax(x) - np.amin(y), lambda x, y: np.round(x, 1), lambda x, y: np.positive(x) - np.negative(y), lambda x, y: np.sum(x, axis=1, where=y > 0, initial=2.0), lambda x, y: np.real(x + 1j * y), lambda x, y: np.triu(x), lambda x, y: np.diag(y),
    lambda x, y: np.linalg.multi_dot([x, x.T, x]), lambda x, y: np.vander(y), lambda x, y: np.polyval(y, 2.0), lambda x, y: np.select([y > 0], [y]), lambda x, y: np.moveaxis(x, 0, 1), lambda x, y: np.atleast_2d(y), lambda x, y: np.count_nonzero(x > 1),
    lambda x, y: np.apply_along_axis(np.sum, 0, x), lambda x, y: np.sort(x, axis=None), lambda x, y: np.bitwise_and((x * 7).astype(np.int32), 3), lambda x, y: np.logical_or(x > 1, y < 0), lambda x, y: np.ldexp(x, 2), lambda x, y: np.frexp(x)[0],
    lambda x, y: np.nansum(x) + np.nanmax(y), lambda x, y: np.trapezoid(y), lambda x, y: np.unwrap(y * 4), lambda x, y: np.cross(x[:, :3], x[:, 1:]), lambda x, y: np.column_stack([y, y]), lambda x, y: np.block([[x], [x]]), lambda x, y: np.swapaxes(x, 0, 1),
    lambda x, y: np.ravel(x, order="F"), lambda x, y: np.array_equal(x, x), lambda x, y: np.shape(x)[0] * y, lambda x, y: np.ndim(x) + np.size(y) + y, lambda x, y: np.linalg.matrix_power(x[:, :3], 2), lambda x, y: np.minimum.reduce(x), lambda x, y: np.copy(x),
    lambda x, y: y - np.ones(4), lambda x, y: np.ones(4) - y, lambda x, y: np.arange(4) @ y, lambda x, y: np.eye(4) @ y, lambda x, y: [1.0, 2.0, 3.0, 4.0] * y, lambda x, y: np.arange(4) < y, lambda x, y: np.float32(2) ** y,
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(PROGRAMS)))
def test_numpy_programs(k: int) -> None:
    both_ways(PROGRAMS[k], X, Y)


# ------------------------------------------------------------------------- writing in place, functionalised


def heat(u: Any, steps: int) -> Any:
    for _ in range(steps):
        u[1:-1] += 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u


def fill_buffer(x: Any, y: Any) -> Any:
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        out[i] = x[i] * y[i]
        out[i, 0] -= 1.0
    out[:, -1] = 7
    return out


def out_arguments(x: Any, y: Any) -> Any:
    buffer = np.zeros_like(x)
    np.multiply(x, 2.0, out=buffer)
    np.add(buffer, y, buffer)
    np.sqrt(np.abs(buffer), out=buffer, where=buffer > 1)
    total = np.zeros_like(y)
    np.sum(x, axis=0, out=total)
    return buffer, total


def in_place_functions(x: Any, y: Any) -> Any:
    a, b, c, d, e, f = (np.array(x) if isinstance(x, np.ndarray) else x + 0 for _ in range(6))
    np.fill_diagonal(a, 9.0)
    np.copyto(b, y)
    np.copyto(c, -1.0, where=c > 1)
    np.place(d, d > 1, [5.0, 6.0])
    np.put(e, [0, 5], [1.5, 2.5])
    np.put_along_axis(f, np.array([[1], [0], [2]]), 8.0, 1)
    g = y + 0
    np.putmask(g, g > 0, -g)
    np.add.at(g, [0, 0, 1], 2.0)
    return a, b, c, d, e, f, g


def updates(x: Any, y: Any) -> Any:
    x = x + 0
    x[0] = y
    x[1] += 2
    x[:, 1] *= x[:, 2]
    x[x > 1.2] = 0.0
    x[[0, 2], [3, 1]] = 4
    x[..., ::2] -= 1
    return x


@pytest.mark.parametrize("f", [fill_buffer, out_arguments, in_place_functions, updates], ids=lambda f: f.__name__)
def test_in_place_programs(f: Any) -> None:
    want = f(X.copy(), Y.copy())
    with fx.config.using(backend="reference"):
        close(fx.jit(f)(X, Y), want)
    x = X.copy()
    close(fx.vmap(f)(np.stack([x, x]), np.stack([Y, Y])), fx.tree.map(lambda v: np.stack([v, v]), want))
    same(x, X)

    def loss(x: Any, y: Any) -> Any:
        return sum(np.sum(v**2) for v in fx.tree.leaves(f(x, y)))

    def plain(x: Any) -> float:
        return float(sum(np.sum(v**2) for v in fx.tree.leaves(f(x.copy(), Y.copy()))))

    direction = np.cos(np.arange(12.0)).reshape(3, 4)
    slope = (plain(X + 1e-6 * direction) - plain(X - 1e-6 * direction)) / 2e-6
    assert np.sum(np.asarray(fx.grad(loss, argnums=(0, 1))(X, Y)[0]) * direction) == pytest.approx(slope, rel=1e-5)


def test_stencil_under_grad_and_jit() -> None:
    u = np.sin(np.arange(8.0))
    want = heat(u.copy(), 3)
    close(fx.jit(lambda v: heat(v, 3))(u), want)
    g = fx.grad(lambda v: heat(v, 3)[4])(u)
    h = np.array([(heat(u + 1e-6 * e, 3)[4] - heat(u - 1e-6 * e, 3)[4]) / 2e-6 for e in np.eye(8)])
    np.testing.assert_allclose(np.asarray(g), h, atol=1e-7)
    assert u[1] == np.sin(1.0)


def test_assignment_and_in_place_addition_change_one_object() -> None:
    def f(x: Any) -> Any:
        y = x
        x[0] = 5.0
        z = x + 0.0
        z += 1.0
        y += 2.0
        return x, y, z

    x, y, z = fx.jit(f)(np.zeros(2))
    same(x, np.array([7.0, 2.0]))
    same(y, x)
    same(z, np.array([6.0, 1.0]))
    assert fx.jit(lambda n: (n.__setitem__(0, 2.7), n)[1])(np.zeros(2, np.int32)).tolist() == [2, 0]


# ------------------------------------------------------------------------------------------ derivatives


def test_grad_of_numpy_programs() -> None:
    same(fx.grad(lambda x: np.sum(np.sin(x) ** 2))(X), 2 * np.sin(X) * np.cos(X), 1e-15)
    same(fx.grad(lambda x: np.linalg.norm(x))(Y), Y / np.linalg.norm(Y), 1e-15)
    same(fx.grad(lambda x: x.dot(Y) * np.float64(2))(Y), 2 * Y)
    same(fx.grad(lambda x: np.max(x))(Y), np.array([0.0, 0.0, 1.0, 0.0]))
    same(fx.jacobian(lambda x: np.outer(x, x)[0])(Y), np.diag(np.full(4, Y[0])) + np.outer(Y, np.eye(4)[0]))
    same(fx.grad(lambda x: (np.ones(4) * x).sum() + (x * np.ones(4)).sum())(Y), np.full(4, 2.0))
    same(fx.jit(fx.grad(lambda x: np.prod(x)))(Y), np.prod(Y) / Y, 1e-15)
    same(fx.vmap(fx.grad(lambda x: np.sum(x**3)))(X), 3 * X**2, 1e-15)

    def branch(x: Any) -> Any:
        return np.sum(x) if np.sum(x) > 0 else -np.sum(x)

    same(fx.grad(branch)(-Y), np.full(4, -1.0))


# ------------------------------------------------------------------------------------ known arrays


def test_numpy_on_known_arrays() -> None:
    a = fnp.asarray(X)
    assert (
        type(np.sin(a)) is fx.Array
        and type(np.sum(a)) is fx.Array
        and type(a + np.ones(4)) is fx.Array
        and type(np.ones(4) + a) is fx.Array
    )
    out = np.zeros((3, 4))
    assert np.multiply(a, 2, out=out) is out and (out == 2 * X).all()
    np.testing.assert_allclose(a, X)
    assert np.array2string(fnp.arange(3)) == "[0 1 2]" and np.allclose(a, X) and np.shape(a) == (3, 4)
    w, _ = np.linalg.eigh(a[:, :3] @ a[:, :3].T)
    assert w.shape == (3,)
    assert np.heaviside(fnp.array([-1.0, 2.0]), 0.5).tolist() == [0, 1]
    assert a.__array_namespace__() is fnp and a.__array_namespace__(api_version="2024.12") is fnp
    with pytest.raises(ValueError, match="API version"):
        a.__array_namespace__(api_version="1999")
    assert np.asarray(a) is not a and not np.asarray(a).flags.writeable
    with pytest.raises(SideEffectError, match=r"np\.add with out= writes into an fx array"):
        np.add(a, 1, out=a)
    with pytest.raises(SideEffectError, match="immutable"):
        np.add.at(a, 0, 1.0)
    with pytest.raises(SideEffectError, match="immutable"):
        np.fill_diagonal(a, 1.0)


def test_optimizers_of_scipy_take_our_functions() -> None:
    """... for which what makes sure of a NumPy array gives one, and what is traced stays so."""
    optimize = pytest.importorskip("scipy.optimize")

    def f(x: Any) -> Any:
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def residuals(x: Any) -> Any:
        return np.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x])

    both = fx.jit(fx.value_and_grad(f), backend="reference")
    start = np.zeros(3)
    for method in ("L-BFGS-B", "BFGS", "SLSQP", "TNC"):
        found = optimize.minimize(both, start, jac=True, method=method)
        np.testing.assert_allclose(found.x, 1.0, atol=0.02)
    exact = optimize.minimize(f, start, jac=fx.grad(f), hess=fx.hessian(f), method="trust-exact")
    squares = optimize.least_squares(residuals, start, jac=fx.jacobian(residuals))
    np.testing.assert_allclose([exact.x, squares.x], 1.0, atol=1e-4)
    for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
        own = getattr(np, name)
        assert type(own(fnp.asarray(Y))) is np.ndarray
        same(fx.jit(own, backend="reference")(Y), own(Y))


def test_scipy_ufuncs_on_known_arrays() -> None:
    special = pytest.importorskip("scipy.special")
    close(special.gamma(fnp.asarray(Y)), special.gamma(Y))


# ------------------------------------------------------------------------------ what cannot be traced

UNTRACEABLE: list[tuple[Any, str]] = [
    (lambda x: np.isnat(x), r"np\.isnat cannot be traced"),
    (lambda x: np.save("/tmp/never.npy", x), "cannot be traced|NumPy array"),
    (lambda x: np.array_split(x, 2) and np.busday_count(x, x), r"np\.busday_count cannot be traced"),
]


@pytest.mark.parametrize(("f", "words"), UNTRACEABLE, ids=[w for _, w in UNTRACEABLE])
def test_what_cannot_be_traced_raises_by_name(f: Any, words: str) -> None:
    for transformed, arg in ((fx.jit(f), X), (fx.vmap(f), X[None]), (fx.grad(lambda x: np.sum(f(x))), X)):
        with pytest.raises((UnsupportedFunctionError, ConcretizationError), match=words):
            transformed(arg)


# functions of SciPy and NumPy that make plain arrays of their arguments; what to call instead
LIBRARY_CALLS: dict[str, tuple[Any, str]] = {
    "scipy.special.logsumexp": (lambda s, x: s.special.logsumexp(x), "Use fx.scipy.special.logsumexp"),
    "scipy.special.softmax": (lambda s, x: s.special.softmax(x), "Use fx.scipy.special.softmax"),
    "scipy.linalg.cho_factor": (lambda s, x: s.linalg.cho_factor(x @ x.T), "Use fx.scipy.linalg.cho_factor"),
    "scipy.stats.norm.logpdf": (lambda s, x: s.stats.norm.logpdf(x), "Use fx.scipy.stats.norm.logpdf"),
    "scipy.fft.fft": (lambda s, x: s.fft.fft(x), "Use fx.numpy.fft.fft"),
    "scipy.signal.convolve": (lambda s, x: s.signal.convolve(x, x), "Use fx.scipy.signal.convolve"),
    "scipy.ndimage.gaussian_filter": (lambda s, x: s.ndimage.gaussian_filter(x, 1.0), "fx has none of that name.*pure_callback"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIBRARY_CALLS)
def test_functions_of_scipy_are_named_with_ours(name: str) -> None:
    scipy = pytest.importorskip("scipy")
    importlib.import_module(name.rpartition(".")[0].replace(".norm", ""))
    importlib.import_module("fx.scipy.stats"), importlib.import_module("fx.scipy.signal")
    call, way = LIBRARY_CALLS[name]
    for transformed in (fx.jit(lambda x: call(scipy, x)), fx.grad(lambda x: np.sum(call(scipy, x)))):
        with pytest.raises(ConcretizationError, match=rf"^{name} cannot be traced.*{way}(.|\n)*test_numpy_protocol.py"):
            transformed(X)
    assert call(scipy, fnp.asarray(X)) is not None


def test_reduceat_needs_known_indices() -> None:
    same(fx.jit(lambda x: np.add.reduceat(x, [0, 2]))(Y), np.add.reduceat(Y, [0, 2]))
    with pytest.raises(UnsupportedFunctionError, match="reduceat needs indices"):
        fx.jit(lambda x, i: np.add.reduceat(x, i))(Y, np.array([0, 2]))


def test_writes_that_would_be_lost() -> None:
    buffer = np.zeros((3, 4))
    for f in (
        lambda x: np.add(x, 1, out=buffer),
        lambda x: np.copyto(buffer, x),
        lambda x: np.add.at(buffer, 0, x[0]),
        lambda x: np.sum(x, axis=0, out=buffer[0]),
    ):
        with pytest.raises(SideEffectError, match="the write would be lost"):
            fx.jit(f)(X)
    with pytest.raises((ConcretizationError, ValueError, TypeError)):
        fx.jit(lambda x: buffer.__setitem__(0, x[0]))(X)
    assert not buffer.any()
    for f in (np.asarray, np.array, lambda x: np.ascontiguousarray(x), lambda x: np.array([x[0], x[1]])):
        with pytest.raises((ConcretizationError, FxError), match="traced"):
            fx.jit(f)(X)
    with pytest.raises(ConcretizationError, match="plain NumPy array"):
        fx.grad(lambda x: np.asarray(x).sum())(Y)


def test_methods_of_arrays_and_tracers() -> None:
    with fx.config.using(backend="reference"):
        _check_methods()


def _check_methods() -> None:
    calls = {
        "sum": (0,), "mean": (), "prod": (1,), "max": (), "min": (0,), "std": (), "var": (), "all": (), "any": (), "argmax": (1,), "argmin": (), "argsort": (), "astype": ("int32",), "clip": (0.2, 1.0), "conj": (), "conjugate": (), "copy": (),
        "cumprod": (), "cumsum": (0,), "diagonal": (), "dot": (Y,), "flatten": (), "ptp": (), "ravel": (), "repeat": (2,), "reshape": (4, 3), "round": (1,), "sort": (), "squeeze": (), "swapaxes": (0, 1), "take": ([0, 5],), "trace": (), "transpose": (1, 0),
    }  # fmt: skip
    for name, args in calls.items():
        want = np.ptp(X) if name == "ptp" else np.sort(X) if name == "sort" else getattr(X, name)(*args)
        close(getattr(fnp.asarray(X), name)(*args), want)
        close(fx.jit(lambda x, n=name, a=args: getattr(x, n)(*a))(X), want)
    a = fnp.asarray(X)
    for v in (a, None):
        f = (lambda g: g(a)) if v is not None else (lambda g: fx.jit(g)(X))
        close(
            f(
                lambda x: (
                    x.T,
                    x.mT,
                    x.real,
                    x.imag,
                    x.flat,
                    x.reshape((2, -1)),
                    x.reshape(-1),
                    x.transpose(),
                    x.transpose((1, 0)),
                    x.view("int64"),
                )
            ),
            (X.T, X.T, X, 0 * X, X.ravel(), X.reshape(2, -1), X.ravel(), X.T, X.T, X.view("int64")),
        )
        close(f(lambda x: x.compress(np.array([True, False, True]), 0)), X[[0, 2]])
        close(f(lambda x: (x + 1j * x).view("float64")), (X + 1j * X).view("float64"))
    assert (
        a.shape == (3, 4)
        and a.ndim == 2
        and a.size == 12
        and a.nbytes == 96
        and a.itemsize == 8
        and a.device == "cpu"
        and a.to_device("cpu") is a
    )
    close(fnp.sort(Y).searchsorted(0.7), 2)
    close(a.nonzero(), X.nonzero())
    close(fnp.array([0, 1]).choose([Y[:2], Y[2:]]), np.array([Y[0], Y[3]]))
    close(a.partition(2), np.sort(X))
    with pytest.raises(TypeError):
        a.fill(3.0)
    same(fx.jit(lambda x: (x.fill(3.0), x)[1])(X), np.full((3, 4), 3.0))
    with pytest.raises(UnsupportedFunctionError, match="view of a traced"):
        fx.jit(lambda x: x.view("bool"))(X)
    same(fx.jit(lambda x: x.view("int8"))(X), X.view("int8"))
    same(a.view("int32"), X.view("int32"))
    assert "sum" in dir(a) and a.sum.__doc__


# functions of several results: NumPy gives a list or a tuple
SEVERAL: dict[str, Any] = {
    "meshgrid": lambda x: np.meshgrid(x[0], x[1]),
    "gradient": lambda x: np.gradient(x),
    "gradient of one axis": lambda x: np.gradient(x, axis=0),
    "broadcast_arrays": lambda x: np.broadcast_arrays(x, x[0]),
    "atleast_1d": lambda x: np.atleast_1d(x[0, 0], x),
    "atleast_2d": lambda x: np.atleast_2d(x[0], x),
    "atleast_3d": lambda x: np.atleast_3d(x[0], x),
    "atleast_2d of one": lambda x: np.atleast_2d(x[0]),
    "split": lambda x: np.split(x, 2, axis=1),
    "array_split": lambda x: np.array_split(x, 2),
    "hsplit": lambda x: np.hsplit(x, 2),
    "vsplit": lambda x: np.vsplit(x, 3),
    "dsplit": lambda x: np.dsplit(x[None], 2),
    "unstack": lambda x: np.unstack(x),
    "histogram": lambda x: np.histogram(x),
    "divmod": lambda x: np.divmod(x, 0.3),
    "ix_": lambda x: np.ix_(x[0], x[1]),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_results_come_in_numpy_s_container(name: str) -> None:
    want = SEVERAL[name](X)
    for got in (fx.jit(SEVERAL[name], backend="reference")(X), fx.vjp(SEVERAL[name], X)[0]):
        close(got, want)
        assert type(got) is type(want) or not isinstance(want, (list, tuple))


# functions of Hermitian matrices: NumPy and SciPy read one triangle, whatever stands in the other
OF_A_TRIANGLE: dict[str, Any] = {
    "cholesky": (np.linalg.cholesky, np.linalg.cholesky),
    "cholesky upper": (lambda a: np.linalg.cholesky(a, upper=True),) * 2,
    "eigvalsh": (np.linalg.eigvalsh,) * 2,
    "eigvalsh U": (lambda a: np.linalg.eigvalsh(a, "U"),) * 2,
    "eigh": (lambda a: np.abs(np.linalg.eigh(a)[1]),) * 2,
    "eigh U": (lambda a: np.linalg.eigh(a, UPLO="U").eigenvalues,) * 2,
    "scipy cholesky": (fx.scipy.linalg.cholesky, scipy.linalg.cholesky),
    "scipy cholesky lower": (lambda a: fx.scipy.linalg.cholesky(a, lower=True), lambda a: scipy.linalg.cholesky(a, lower=True)),
    "scipy cho_factor": (lambda a: fx.scipy.linalg.cho_factor(a)[0], lambda a: np.triu(scipy.linalg.cho_factor(a)[0])),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("name", OF_A_TRIANGLE)
def test_functions_of_one_triangle(name: str, dtype: Any) -> None:
    """The value, and the derivative along any direction, are those of NumPy's function of a matrix that need not be Hermitian."""
    ours, numpys = OF_A_TRIANGLE[name]
    rng = np.random.default_rng(3)
    a, t = (rng.normal(size=(4, 4)) + (1j * rng.normal(size=(4, 4)) if dtype is np.complex128 else 0) for _ in range(2))
    a = a * 0.3 + np.diag([3.0, 4.0, 5.5, 7.0])
    a[np.diag_indices(4)] = a[np.diag_indices(4)].real
    t[np.diag_indices(4)] = t[np.diag_indices(4)].real
    close(ours(fnp.asarray(a)), numpys(a))
    close(fx.jit(ours, backend="reference")(a), numpys(a))
    value, slope = fx.jvp(ours, (a,), (t,))
    close(value, numpys(a))
    e = 1e-6
    close(slope, (numpys(a + e * t) - numpys(a - e * t)) / (2 * e), tol=1e-6)


# what NumPy does not let us see, of traced integers and truth values: their numbers are known under plain derivatives
OF_INTEGERS: dict[str, Any] = {
    "rows of a table": lambda x: np.eye(3)[np.argmin((x[:, None] - x[:3]) ** 2, axis=1)].T @ x,
    "an array": lambda x: x * np.asarray(np.argsort(x)) + np.array([np.argmax(x), 1])[0],
    "another dtype": lambda x: x * np.asarray(x > 0, dtype=np.float32),
    "a condition": lambda x: x[np.flatnonzero(np.asarray(x > 0))] ** 2,
    "a buffer of integers": lambda x: x * _filled_with(np.argsort(x)),
    "no view": lambda x: _written(np.asarray(np.argsort(x))) * x + np.argsort(x),
}


def _filled_with(values: Any) -> Any:
    out = np.zeros(len(values), np.int64)
    out[:] = values
    return out


def _written(a: Any) -> Any:
    a[0] = 7
    return a


@pytest.mark.parametrize("name", OF_INTEGERS)
def test_arrays_made_of_traced_integers(name: str) -> None:
    """They have no derivative that could be lost: as ``int(x)``, under plain derivatives, and refused where nothing is known."""
    f, x = OF_INTEGERS[name], np.array([0.3, -1.2, 2.0, 0.7])
    value, slope = fx.jvp(f, (x,), (np.ones(4),))
    close(value, f(x))
    close(slope, (f(x + 1e-6) - f(x - 1e-6)) / 2e-6, tol=1e-6)
    close(fx.grad(lambda v: np.sum(f(v)))(x) @ np.ones(4), np.sum(slope))
    for transform in (fx.jit, fx.vmap, lambda g: fx.jit(fx.grad(lambda v: np.sum(g(v))))):
        with pytest.raises(FxError):
            transform(f)(x if transform is not fx.vmap else x[None])


def test_numpy_s_functions_of_known_arrays_may_give_numpy_s_arrays() -> None:
    x = fnp.arange(3.0)
    calls = {
        "zeros_like": np.zeros_like, "copy": np.copy, "concatenate": lambda x: np.concatenate([x, x]), "norm": np.linalg.norm,
        "where": lambda x: np.where(x > 1, x, 0), "pad": lambda x: np.pad(x, (1, 0)), "fft": lambda x: np.fft.fft(x).real,
    }  # fmt: skip
    with fx.config.using(numpy_functions="numpy"):
        for f in calls.values():
            assert isinstance(f(x), (np.ndarray, np.generic))
            close(f(x), f(np.asarray(x)))
            close(fx.jit(f)(x), f(np.asarray(x)), tol=1e-6)
        buffer = np.zeros_like(x)
        buffer[1] = 5
        assert type(fx.jit(np.copy)(x)) is type(np.ones(3) + x) is fx.Array  # operators are the arrays' own
        close(fx.grad(lambda v: np.sum(np.concatenate([v * v, x])))(x), 2 * np.asarray(x))
    assert type(np.copy(x)) is fx.Array
