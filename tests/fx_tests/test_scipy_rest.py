"""``fx.scipy`` beyond special functions and statistics, beside SciPy and JAX."""

from __future__ import annotations

import importlib
import inspect
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.interpolate
import scipy.ndimage
import scipy.signal
from scipy.cluster.vq import vq as scipy_vq
from scipy.spatial.transform import Rotation as ScipyRotation
from scipy.spatial.transform import Slerp as ScipySlerp

import fx
import fx.numpy as fnp
from fx import random, tree
from fx.errors import ShapeError
from fx.scipy import cluster, integrate, interpolate, ndimage, optimize, signal, sparse
from fx.scipy.spatial.transform import Rotation, Slerp

RNG = np.random.default_rng(7)
NAMESPACES = (
    "cluster.vq", "fft", "integrate", "interpolate", "ndimage", "optimize", "signal", "sparse.linalg", "spatial.transform",
)  # fmt: skip


@pytest.fixture(autouse=True)
def numpy_runs_the_graphs() -> Iterator[None]:
    with fx.config.using(backend="reference"):
        yield


def near(got: Any, want: Any, rtol: float = 1e-12, atol: float = 1e-12) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_names_and_parameters_are_those_of_jax(namespace: str) -> None:
    pytest.importorskip("jax")
    ours, theirs = (importlib.import_module(f"{package}.scipy.{namespace}") for package in ("fx", "jax"))
    names = {n for n in dir(theirs) if not n.startswith("_")}
    assert set(ours.__all__) == names
    for name in names:
        got, want = getattr(ours, name), getattr(theirs, name)
        if inspect.isclass(want):
            for n in [v for v in vars(want) if not v.startswith("_") and inspect.isroutine(getattr(want, v))]:
                parameters = [list(inspect.signature(getattr(c, n)).parameters) for c in (got, want)]
                assert parameters[0] == parameters[1], f"{name}.{n}"
        else:
            assert list(inspect.signature(got).parameters) == list(inspect.signature(want).parameters), name


def test_namespaces_are_attributes() -> None:
    assert fx.scipy.optimize is optimize and "signal" in dir(fx.scipy)
    with pytest.raises(AttributeError, match=r"fx\.scipy"):
        _ = fx.scipy.nothing


# -------------------------------------------------------------------------------- samples and grids


def test_trapezoid() -> None:
    assert float(integrate.trapezoid(np.array([1.0, 2, 4]), dx=0.5)) == 2.25


def test_nearest_codes() -> None:
    obs, codes = RNG.normal(size=(20, 3)), RNG.normal(size=(6, 3))
    for a, b in ((obs, codes), (obs[:, 0], codes[:, 0])):
        for got, want in zip(cluster.vq.vq(a, b), scipy_vq(a, b)):
            near(got, want)
    with pytest.raises(ShapeError, match="code_book"):
        cluster.vq.vq(obs, codes[:, :2])


IMAGE = RNG.normal(size=(5, 6))
PLACES = np.stack([RNG.uniform(-7, 11, 60), RNG.uniform(-8, 13, 60)])
OUTSIDE = {
    "constant": "grid-constant",
    "nearest": "nearest",
    "wrap": "grid-wrap",
    "mirror": "mirror",
    "reflect": "reflect",
}


@pytest.mark.parametrize("mode", OUTSIDE)
@pytest.mark.parametrize("order", [0, 1])
def test_map_coordinates(mode: str, order: int) -> None:
    got = ndimage.map_coordinates(IMAGE, PLACES, order, mode, cval=0.7)
    near(got, scipy.ndimage.map_coordinates(IMAGE, PLACES, order=order, mode=OUTSIDE[mode], cval=0.7))
    whole = (IMAGE * 10).astype(np.int32)
    got = ndimage.map_coordinates(whole, PLACES, order, mode, cval=3)
    want = scipy.ndimage.map_coordinates(whole.astype(float), PLACES, order=order, mode=OUTSIDE[mode], cval=3)
    assert got.dtype == np.int32
    near(got, np.sign(want) * np.floor(np.abs(want) + 0.5))
    one = ndimage.map_coordinates(IMAGE[:1, 0], PLACES[:1], order, mode)
    near(one, scipy.ndimage.map_coordinates(IMAGE[:1, 0], PLACES[:1], order=order, mode=OUTSIDE[mode]))


def test_map_coordinates_has_derivatives() -> None:
    f = lambda image, place: fnp.sum(ndimage.map_coordinates(image, place, 1) ** 2)  # noqa: E731
    inner = np.stack([RNG.uniform(0.1, 3.9, 7), RNG.uniform(0.1, 4.9, 7)])
    gradients = fx.grad(f, (0, 1))(IMAGE, inner)
    for i, (x, g) in enumerate(zip((IMAGE, inner), gradients)):
        v = RNG.normal(size=x.shape)
        at = lambda h: float(f(*[(y + h * v if i == j else y) for j, y in enumerate((IMAGE, inner))]))  # noqa: B023, E731
        near(np.sum(np.asarray(g) * v), (at(1e-6) - at(-1e-6)) / 2e-6, 1e-6)
    with pytest.raises(NotImplementedError, match="order=3"):
        ndimage.map_coordinates(IMAGE, PLACES, 3)
    with pytest.raises(ShapeError, match="as many coordinates"):
        ndimage.map_coordinates(IMAGE, PLACES[:1], 1)


@pytest.mark.parametrize("method", ["linear", "nearest"])
@pytest.mark.parametrize("fill", [np.nan, 3.0, None])
def test_interpolation_on_a_grid(method: str, fill: float | None) -> None:
    grid = (np.array([0.0, 1.0, 3.0, 4.0]), np.array([5.0, 3.0, 1.0]), np.array([-1.0, 0.5, 1.0, 2.0, 7.0]))
    values, xi = RNG.normal(size=(4, 3, 5, 2)), RNG.uniform(-2, 8, (9, 4, 3))
    ours = interpolate.RegularGridInterpolator(grid, values, method, fill_value=fill)
    theirs = scipy.interpolate.RegularGridInterpolator(grid, values, method, False, fill)
    near(ours(xi), theirs(xi), 1e-11)
    near(ours(xi[0], "nearest"), theirs(xi[0], "nearest"), 1e-11)
    near(ours((xi[..., 0], 2.0, xi[..., 2])), theirs((xi[..., 0], np.full((9, 4), 2.0), xi[..., 2])), 1e-11)
    inner = np.array([[0.4, 2.2, 0.9], [3.3, 1.1, 3.0]])
    slope = fx.jvp(ours, (inner,), (np.ones_like(inner),))[1]
    near(slope, (np.asarray(ours(inner + 1e-6)) - np.asarray(ours(inner - 1e-6))) / 2e-6, 1e-6, 1e-7)


def test_interpolation_says_what_it_cannot() -> None:
    line = (np.arange(3.0),)
    assert interpolate.RegularGridInterpolator(line, np.arange(3.0))(np.array([0.5, 2.5])).tolist()[0] == 0.5
    with pytest.raises(ValueError, match="strictly rise"):
        interpolate.RegularGridInterpolator((np.array([0.0, 2, 1]),), np.zeros(3))
    with pytest.raises(ValueError, match="method"):
        interpolate.RegularGridInterpolator(line, np.zeros(3), "cubic")
    with pytest.raises(ShapeError):
        interpolate.RegularGridInterpolator(line, np.zeros(4))
    with pytest.raises(NotImplementedError, match="bounds_error"):
        interpolate.RegularGridInterpolator(line, np.zeros(3), bounds_error=True)


# ---------------------------------------------------------------------------------------- rotations

QUATERNIONS = np.concatenate([RNG.normal(size=(6, 4)), [[0, 0, 0, 1], [1, 0, 0, 0], [1e-9, 0, 0, -1]]])
SEQUENCES = [s for s in map("".join, itertools.product("xyz", repeat=3)) if s[0] != s[1] != s[2]]


def test_representations_of_rotations() -> None:
    ours, theirs = Rotation.from_quat(QUATERNIONS), ScipyRotation.from_quat(QUATERNIONS)
    for name in ("as_quat", "as_matrix", "as_rotvec", "as_mrp", "magnitude"):
        near(getattr(ours, name)(), getattr(theirs, name)(), atol=1e-15)
    near(ours.as_quat(True, True), theirs.as_quat(True, scalar_first=True))
    near(ours.as_rotvec(degrees=True), theirs.as_rotvec(degrees=True))
    for name in ("matrix", "rotvec", "mrp"):
        form = getattr(theirs, f"as_{name}")()
        near(getattr(Rotation, f"from_{name}")(form).as_matrix(), theirs.as_matrix(), atol=1e-14)
        near(getattr(Rotation, f"from_{name}")(form[0]).as_matrix(), theirs[0].as_matrix(), atol=1e-14)


@pytest.mark.parametrize("seq", [*SEQUENCES, *map(str.upper, SEQUENCES)])
def test_euler_angles(seq: str) -> None:
    right = np.pi / 2 if seq[0] != seq[2] else np.pi
    ours, theirs = Rotation.from_quat(QUATERNIONS[:6]), ScipyRotation.from_quat(QUATERNIONS[:6])
    near(ours.as_euler(seq, degrees=True), theirs.as_euler(seq, degrees=True), atol=1e-9)
    angles = np.array([[0.3, 0.0, 0.4], [0.3, right, 0.5], [-0.2, -right, 0.5], [1.0, 0.7, -2.0]])
    locked = ScipyRotation.from_euler(seq, angles)
    near(Rotation.from_euler(seq, angles).as_matrix(), locked.as_matrix(), atol=1e-14)
    again = Rotation.from_euler(seq, Rotation.from_matrix(locked.as_matrix()).as_euler(seq))
    near(again.as_matrix(), locked.as_matrix(), atol=1e-7)


def test_computing_with_rotations() -> None:
    a, b = Rotation.from_quat(QUATERNIONS[:4]), Rotation.from_quat(QUATERNIONS[2:6])
    s, t = ScipyRotation.from_quat(QUATERNIONS[:4]), ScipyRotation.from_quat(QUATERNIONS[2:6])
    v = RNG.normal(size=(4, 3))
    near((a * b).as_matrix(), (s * t).as_matrix())
    near((a[0] * b).as_matrix(), (s[0] * t).as_matrix())
    near(a.inv().as_matrix(), s.inv().as_matrix())
    for inverse in (False, True):
        near(a.apply(v, inverse), s.apply(v, inverse))
        near(a[1].apply(v, inverse), s[1].apply(v, inverse))
        near(a.apply(v[0], inverse), s.apply(v[0], inverse))
    near(Rotation.concatenate([a, b[0]]).as_quat(), ScipyRotation.concatenate([s, t[0]]).as_quat())
    near(Rotation.identity(3).as_matrix(), np.stack([np.eye(3)] * 3))
    assert a[0].single and len(b) == 4 and Rotation.identity().single
    near(
        Rotation.from_euler("z", [10.0, 20.0], degrees=True).as_matrix(),
        ScipyRotation.from_euler("z", [[10], [20]], degrees=True).as_matrix(),
        1e-6,
        1e-7,
    )
    assert Rotation.from_euler("z", 0.3).single
    draw = Rotation.random(random.key(0), 500)
    near(np.linalg.norm(np.asarray(draw.quat), axis=1), np.ones(500), 1e-6)
    assert np.abs(np.asarray(draw.as_matrix()).mean(0)).max() < 0.1
    gradient = fx.grad(lambda x: fnp.sum(Rotation.from_rotvec(x).apply(v[0]) ** 3))(np.zeros(3))
    near(gradient, np.cross(v[0], 3 * v[0] ** 2))
    back = fx.jit(lambda r, v: (r * r).apply(v))(a, v)
    near(back, (s * s).apply(v))
    assert np.isfinite(np.asarray(fx.grad(lambda q: fnp.sum(Rotation(q).as_rotvec()))(np.array([0.0, 0, 0, 1])))).all()


def test_the_mean_of_rotations() -> None:
    near(
        fnp.abs(Rotation.from_quat(QUATERNIONS[:4]).mean([1, 2, 3, 4.0]).as_quat()),
        np.abs(ScipyRotation.from_quat(QUATERNIONS[:4]).mean([1, 2, 3, 4.0]).as_quat()),
        1e-9,
    )


def test_rotations_say_what_does_not_fit() -> None:
    a = Rotation.from_quat(QUATERNIONS[:4])
    for seq in ("xyzx", "xx", "xYz", "w"):
        with pytest.raises(ValueError, match="seq"):
            Rotation.from_euler(seq, [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="three letters"):
        a.as_euler("xy")
    for call in (
        lambda: Rotation.from_quat(np.zeros(3)),
        lambda: Rotation.from_matrix(np.zeros((3, 2))),
        lambda: Rotation.from_euler("xy", [0.1]),
    ):
        with pytest.raises(ShapeError):
            call()
    with pytest.raises(TypeError, match="single"):
        len(a[0])


def test_rotations_in_between() -> None:
    times, at = np.array([0.0, 1, 3, 4]), np.array([0.0, 0.3, 1.0, 2.9, 4.0])
    ours, theirs = (
        Slerp.init(times, Rotation.from_quat(QUATERNIONS[:4])),
        ScipySlerp(times, ScipyRotation.from_quat(QUATERNIONS[:4])),
    )
    near(ours(at).as_matrix(), theirs(at).as_matrix())
    near(ours(0.5).as_matrix(), theirs(0.5).as_matrix(), 1e-6, 1e-7)
    leaves, structure = tree.flatten(ours)
    near(tree.unflatten(structure, leaves)(at).as_matrix(), theirs(at).as_matrix())
    with pytest.raises(ValueError, match="rising"):
        Slerp.init(times[::-1], Rotation.from_quat(QUATERNIONS[:4]))
    with pytest.raises(ShapeError):
        Slerp.init(times[:3], Rotation.from_quat(QUATERNIONS[:4]))


# --------------------------------------------------------------------------------- minimisation


def rosenbrock(x: Any) -> Any:
    return fnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


METHODS = ("BFGS", "l-bfgs-experimental-do-not-rely-on-this")


@pytest.mark.parametrize("method", METHODS)
def test_minimize(method: str) -> None:
    r = optimize.minimize(rosenbrock, np.full(6, -1.0), method=method, tol=1e-7)
    assert isinstance(r, optimize.OptimizeResults) and bool(r.success)
    near(r.x, np.ones(6), 1e-5)
    near(r.jac, fx.grad(rosenbrock)(r.x))
    assert int(r.nfev) < 150 and int(r.nit) < 100 and float(r.fun) < 1e-10
    valley = lambda x, a: fnp.sum((x - a) ** 4) + fnp.sum(x * x)  # noqa: E731
    a = np.array([1.0, -2.0, 3.0])
    r = optimize.minimize(valley, np.zeros(3), (a,), method=method, tol=1e-9)
    near(4 * (np.asarray(r.x) - a) ** 3 + 2 * np.asarray(r.x), np.zeros(3), atol=1e-4)
    r = fx.jit(lambda x: optimize.minimize(rosenbrock, x, method=method, options={"gtol": 1e-3}))(
        np.float32([-1.2, 1.0])
    )
    assert r.x.dtype == np.float32 and bool(r.success)
    near(r.x, np.ones(2), 1e-2)


def test_what_minimize_knows_of_the_hessian() -> None:
    m = RNG.normal(size=(4, 4))
    m = m @ m.T + np.eye(4)
    r = optimize.minimize(lambda x: 0.5 * x @ m @ x - fnp.sum(x), np.zeros(4), method="BFGS", tol=1e-10)
    near(r.x, np.linalg.solve(m, np.ones(4)), 1e-8)
    near(r.hess_inv, np.linalg.inv(m), 1e-3, 1e-4)
    assert optimize.minimize(rosenbrock, np.zeros(2), method=METHODS[1]).hess_inv is None


def test_when_minimize_ends() -> None:
    r = optimize.minimize(rosenbrock, np.full(4, -1.0), method="BFGS", options={"maxiter": 3})
    assert (int(r.status), bool(r.success), int(r.nit)) == (1, False, 3)
    r = optimize.minimize(rosenbrock, np.full(4, -1.0), method=METHODS[1], options={"maxfun": 5})
    assert int(r.status) == 5
    r = optimize.minimize(rosenbrock, np.ones(4), method="BFGS")
    assert (int(r.status), int(r.nit), int(r.nfev)) == (0, 0, 1)
    r = optimize.minimize(lambda x: -fnp.sum(x), np.zeros(2), method="BFGS", options={"maxiter": 5})
    assert not bool(r.success)
    r = optimize.minimize(lambda x: fnp.sum(fnp.abs(x)), np.array([1.0, -0.3]), method="BFGS")
    assert int(r.status) == 3 and float(r.fun) < 0.1
    with pytest.raises(ValueError, match="method"):
        optimize.minimize(rosenbrock, np.ones(4), method="newton")
    with pytest.raises(ShapeError, match="vector"):
        optimize.minimize(rosenbrock, np.ones((2, 2)), method="BFGS")
    with pytest.raises(TypeError, match="args"):
        optimize.minimize(rosenbrock, np.ones(2), [1], method="BFGS")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="nonsense"):
        optimize.minimize(rosenbrock, np.ones(2), method="BFGS", options={"nonsense": 1})


# ---------------------------------------------------------------------------------- linear systems

GENERAL = RNG.normal(size=(10, 10)) + 5 * np.eye(10)
DEFINITE = GENERAL @ GENERAL.T
SOLVERS = {"cg": DEFINITE, "bicgstab": GENERAL, "gmres": GENERAL}


@pytest.mark.parametrize("name", SOLVERS)
def test_iterative_solution(name: str) -> None:
    solve, a, b = getattr(sparse.linalg, name), SOLVERS[name], RNG.normal(size=10)
    want = np.linalg.solve(a, b)
    diagonal = np.diag(1 / np.diag(a))
    for how in (
        {}, {"x0": RNG.normal(size=10)}, {"M": diagonal}, {"M": lambda v: v / np.diag(a)}, {"tol": 0.0, "atol": 1e-10},
        *([{"restart": 4, "maxiter": 300}, {"solve_method": "incremental"}] if name == "gmres" else []),
    ):  # fmt: skip
        x, info = solve(a, b, **{"tol": 1e-12, **how})
        assert info is None
        near(x, want, 1e-7, 1e-8)
    near(solve(lambda v: a @ v, b, tol=1e-12)[0], want, 1e-8)
    near(solve(a, want * 0)[0], want * 0)
    pair = solve(
        lambda v: {"p": 2.0 * v["p"], "q": (3.0 * v["q"][0] + 1.0 * v["q"][0][::-1],)},
        {"p": b[:2], "q": (b[2:6],)},
        tol=1e-12,
    )[0]
    near(pair["p"], b[:2] / 2)
    c = a + 1j * RNG.normal(size=(10, 10))
    c = c @ c.conj().T if name == "cg" else c
    near(solve(c, b + 1j, tol=1e-13, maxiter=200)[0], np.linalg.solve(c, b + 1j), 1e-6, 1e-8)
    assert solve(a.astype(np.float32), b.astype(np.float32))[0].dtype == np.float32
    for bad in (lambda: solve(a[:, :4], b), lambda: solve(a, b, x0=b[:3])):
        with pytest.raises(ShapeError):
            bad()


@pytest.mark.parametrize("name", SOLVERS)
def test_iterative_solutions_have_derivatives(name: str) -> None:
    solve, a, b = getattr(sparse.linalg, name), SOLVERS[name], RNG.normal(size=10)
    m = np.diag(RNG.uniform(0.1, 0.2, 10)) if name == "cg" else np.linalg.inv(a) + 0.01 * RNG.normal(size=(10, 10))
    f = lambda a, b: fnp.sum(solve(a, b, tol=1e-13, M=m)[0] ** 2)  # noqa: E731
    x = np.linalg.solve(a, b)
    adjoint = np.linalg.solve(a.T, 2 * x)
    grad_a, grad_b = fx.grad(f, (0, 1))(a, b)
    near(grad_b, adjoint, 1e-7, 1e-9)
    near(grad_a, -np.outer(adjoint, x), 1e-7, 1e-9)
    tangent = fx.jvp(lambda b: solve(a, b, tol=1e-13)[0], (b,), (x,))[1]
    near(tangent, np.linalg.solve(a, x), 1e-8, 1e-10)


def test_iterative_solution_compiled_and_mapped() -> None:
    b = RNG.normal(size=(3, 10))
    f = lambda b: sparse.linalg.gmres(GENERAL, b, tol=1e-10)[0]  # noqa: E731
    near(fx.jit(f, backend="native")(b[0]), np.linalg.solve(GENERAL, b[0]), 1e-8)
    near(fx.vmap(f)(b), np.linalg.solve(GENERAL, b.T).T, 1e-8)


# ---------------------------------------------------------------------------------------- signals

SHAPES = [((8,), (3,)), ((3,), (8,)), ((6, 5), (3, 4)), ((4, 5, 3), (2, 2, 3)), ((5,), (5,))]


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("kind", [float, complex, np.int32])
def test_convolution(mode: str, kind: Any) -> None:
    for shapes in SHAPES:
        x, y = ((RNG.normal(size=s) * 9).astype(kind) for s in shapes)
        if kind is complex:
            x, y = x + 1j * RNG.normal(size=x.shape), y * (1 - 2j)
        near(
            signal.convolve(x, y, mode),
            scipy.signal.convolve(x, y, mode, "direct"),
            1e-6 if kind is np.int32 else 1e-12,
        )
        near(
            signal.correlate(x, y, mode),
            scipy.signal.correlate(x, y, mode, "direct"),
            1e-6 if kind is np.int32 else 1e-12,
        )
        if x.ndim == 2:
            near(signal.convolve2d(x, y, mode), scipy.signal.convolve2d(x, y, mode), 1e-6)
            near(signal.correlate2d(x, y, mode), scipy.signal.correlate2d(x, y, mode), 1e-6)


def test_convolution_says_what_does_not_fit() -> None:
    x = np.ones((3, 4))
    for call in (
        lambda: signal.convolve(x, x[0]), lambda: signal.convolve(x, np.ones((4, 3)), "valid"), lambda: signal.convolve2d(x[0], x[0]),
        lambda: signal.convolve(x, x[:0]),
    ):  # fmt: skip
        with pytest.raises(ShapeError):
            call()
    for call in (lambda: signal.convolve(x, x, "some"), lambda: signal.convolve(x, x, method="slow")):
        with pytest.raises(ValueError, match="is not one of"):
            call()
    with pytest.raises(NotImplementedError, match="boundary"):
        signal.convolve2d(x, x, boundary="wrap")


def test_detrend() -> None:
    x = RNG.normal(size=(3, 12)) + np.arange(12) * 2.0
    for how in ({}, {"type": "constant"}, {"axis": 0}, {"bp": [4, 9]}, {"bp": 5, "axis": 1}):
        near(signal.detrend(x, **how), scipy.signal.detrend(x, **how), 1e-10, 1e-11)
    with pytest.raises(ValueError, match="type"):
        signal.detrend(x, type="square")
    with pytest.raises(ValueError, match="breakpoints"):
        signal.detrend(x, bp=20)
    with pytest.raises(NotImplementedError, match="overwrite_data"):
        signal.detrend(x, overwrite_data=True)  # type: ignore[arg-type]
