"""The laws of kernels over one table that has every family of them: bits, odd sizes, smaller machines.

The families are programs in ``fx.numpy`` and ``fx.lax`` of one size; the reference evaluator says what they compute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from graph_harness import agree
from laws import primitives_in
from thorough import THOROUGH, part

import fx
import fx.numpy as fnp
import jit
from fx import lax
from fx.array import to_numpy
from fx.ir import Aval
from fx.passes import optimize
from fx.trace import trace_flat
from jit.lower.reductions import REDUCTIONS
from jit.lower.registry import LOWERINGS, Step
from jit.lower.shaping import SHAPING
from jit.target import host

Arrays = Sequence[np.ndarray]
Program = Callable[..., Any]
FAMILIES: dict[str, Family] = {}
SIZES = range(1, 68)
LEVELS = ["avx2", "sse4", "scalar"]


@dataclasses.dataclass(frozen=True)
class Family:
    """``program(x, y, w, i)``: arrays ``x`` and ``y`` of (n, m) numbers, ``w`` of (m, 5), ``i`` of n places in [0, n).

    width: m as a function of n.
    wide: an n at which threads share the work.
    scale: of the tolerance.
    """

    program: Program
    width: Callable[[int], int]
    wide: int
    scale: float

    def draw(self, n: int, dtype: str = "float32") -> list[np.ndarray]:
        m = self.width(n)
        rng = np.random.default_rng(1000 * n + m)
        x, y, w = (rng.uniform(-1, 1, s).astype(dtype) for s in ((n, m), (n, m), (m, 5)))
        return [x, y, w, rng.integers(0, n, n).astype(np.int32)]

    def reference(self, arrays: Arrays) -> list[np.ndarray]:
        with fx.config.using(backend="reference"):
            return [to_numpy(o) for o in fx.tree.leaves(self.program(*map(fnp.asarray, arrays)))]


def family(width: int | None = None, wide: int = 600, scale: float = 10.0) -> Callable[[Program], Program]:
    """``width``: of the arrays; as long as high, if none is given."""

    def add(f: Program) -> Program:
        name = f.__name__.strip("_")
        FAMILIES[name] = Family(f, (lambda n: n) if width is None else (lambda n: width), wide, scale)
        return f

    return add


# ------------------------------------------------------------------------------------------------ nests


@family()
def _maps(x: Any, y: Any, w: Any, i: Any) -> Any:
    return fnp.tanh(x) * y + fnp.exp(x), x.T - y, x > y, (x * y).astype(np.float64)


@family()
def _views(x: Any, y: Any, w: Any, i: Any) -> Any:
    """Padded, shifted, joined, turned; every second element; numbers that count."""
    second = fnp.concatenate([y, x], 1)[:, ::2]
    return fnp.pad(x, ((1, 2), (0, 1))), fnp.roll(x, 1, 0) + x, second, x[::-1] * fnp.arange(x.shape[1])


@family()
def _rows(x: Any, y: Any, w: Any, i: Any) -> Any:
    e = fnp.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True), fnp.argmin(y, 1), (x * y).sum(1), fnp.prod(1 + x / 8, 1)


@family()
def _columns(x: Any, y: Any, w: Any, i: Any) -> Any:
    return x.sum(0), y.max(0), fnp.argmax(x, 0), (x - x.mean(0)) * y, (x > 0).any(0), (y > -1).all(0)


@family(wide=900)
def _whole(x: Any, y: Any, w: Any, i: Any) -> Any:
    return x.sum(), (x * y).sum(), y.min(), fnp.argmax(x)


@family(width=5, wide=200_000)
def _narrow(x: Any, y: Any, w: Any, i: Any) -> Any:
    """Rows of five numbers, which are written out."""
    return fx.nn.softmax(x), x.sum(0), (x * y).sum(1), x + y


@family(wide=700)
def _complex(x: Any, y: Any, w: Any, i: Any) -> Any:
    z = lax.complex(x, y)
    return fnp.exp(z) * z, z.sum(1), z.sum(0), z @ z.T / z.shape[0]


# ----------------------------------------------------------------------------- products, images, windows


@family(wide=300)
def _products(x: Any, y: Any, w: Any, i: Any) -> Any:
    return x @ y, x.T @ y, x @ y.T, x @ w, x @ w[:, 0], fnp.maximum(x @ y + y[0], 0)


@family(width=12, wide=20_000)
def _tall_products(x: Any, y: Any, w: Any, i: Any) -> Any:
    return x @ w, x.T @ y, (x @ w).sum(0), (x.astype(np.float64) @ w.astype(np.float64))


@family(width=12, wide=9000)
def _batched_products(x: Any, y: Any, w: Any, i: Any) -> Any:
    a, b = x.reshape(-1, 3, 4), y.reshape(-1, 4, 3)
    return (
        a @ b,
        fnp.einsum("bij,bkj->bik", a, a),
        fnp.round(a * 8).astype(np.int32) @ fnp.round(b * 8).astype(np.int32),
    )


@family(width=16, wide=500)
def _attention(x: Any, y: Any, w: Any, i: Any) -> Any:
    def attend(x: Any) -> Any:
        q, k = (v.reshape(-1, 2, 8).transpose(1, 0, 2) for v in (x, y))
        return fx.nn.softmax(q @ k.transpose(0, 2, 1)) @ k

    return attend(x), fx.grad(lambda x: (attend(x) ** 2).sum())(x)


def _images(x: Any, channels: int) -> Any:
    return fnp.stack([x * (k + 1) / channels for k in range(channels)], -1)[None]


CONVOLUTIONS: dict[str, tuple[int, int, int, dict[str, Any]]] = {  # channels in, channels out, window, parameters
    "3x3": (4, 6, 3, {}), "first": (1, 9, 5, {}), "1x1": (6, 3, 1, {}), "strided": (3, 8, 3, {"window_strides": (2, 2)}),
    "dilated": (2, 4, 3, {"rhs_dilation": (2, 2)}), "depthwise": (6, 6, 3, {"feature_group_count": 6}),
    "spread": (3, 4, 3, {"lhs_dilation": (2, 2)}),
}  # fmt: skip


def _convolution(channels: int, features: int, k: int, params: dict[str, Any]) -> Program:
    def f(x: Any, y: Any, w: Any, i: Any) -> Any:
        inputs = channels // params.get("feature_group_count", 1)
        taps = fnp.cos(fnp.arange(k * k * inputs * features, dtype=x.dtype)).reshape(k, k, inputs, features)

        def conv(image: Any, taps: Any) -> Any:
            given = {"window_strides": (1, 1), **params}
            return lax.conv_general_dilated(
                image, taps, padding=[(k // 2, k // 2)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"), **given
            )

        image = _images(x, channels)
        return conv(image, taps), fx.grad(lambda a, b: (conv(a, b) ** 2).sum() / x.size, (0, 1))(image, taps)

    return f


for _name, _case in CONVOLUTIONS.items():
    FAMILIES[f"convolution {_name}"] = Family(_convolution(*_case), lambda n: n, 90, 30.0)


@family(wide=300)
def _windows(x: Any, y: Any, w: Any, i: Any) -> Any:
    def pool(x: Any) -> Any:
        return lax.reduce_window(x, -np.inf, lax.max, (2, 3), (2, 1), "SAME")

    def mean(x: Any) -> Any:
        return lax.reduce_window(x, 0.0, lax.add, (3, 3), (1, 2), "SAME")

    total = lambda x: (pool(x) * x[:1, :1]).sum() + (mean(x) ** 2).sum()  # noqa: E731

    def low(x: Any) -> Any:
        return lax.reduce_window(x, np.inf, lax.min, (3, 1), (1, 1), "SAME")

    return pool(x), mean(x), fx.grad(total)(x), fx.jvp(pool, (x,), (y,)), fx.value_and_grad(lambda y: low(y).sum())(y)


# -------------------------------------------------------------------------------- indices, order, prefixes


@family(width=24, wide=12_000)
def _indexing(x: Any, y: Any, w: Any, i: Any) -> Any:
    moved = lax.dynamic_update_slice_in_dim(x, y[:1] * 2, i[0], 0)
    return x[i], fnp.tanh(x[i * 7 % x.shape[0]]) * y, moved, lax.dynamic_slice_in_dim(x, i[-1], 1, 0), x[:, 0][i] + 1


@family(width=24, wide=12_000)
def _scattering(x: Any, y: Any, w: Any, i: Any) -> Any:
    apart = fnp.arange(x.shape[0])[::-1]
    found = [x.at[i].add(y), x.at[i].max(y), x.at[i].min(y), x.at[i].multiply(y), x.at[apart].set(y)]
    return *found, fx.grad(lambda x: (x[i] ** 2).sum())(x), fnp.bincount(i, length=x.shape[0])


@family(wide=300)
def _order(x: Any, y: Any, w: Any, i: Any) -> Any:
    keys = fnp.round(x * 4)
    by_key = lax.sort((keys, y), dimension=1, num_keys=1)
    return (
        fnp.sort(x, 1),
        fnp.sort(y, 0),
        fnp.argsort(keys, 1),
        by_key[1],
        lax.top_k(keys, 1),
        fnp.sort(x.ravel()),
        fnp.argsort(i),
        fnp.median(x, 1),
        fnp.flatnonzero(keys > 0, size=x.size // 2),
    )


@family(wide=300)
def _prefixes(x: Any, y: Any, w: Any, i: Any) -> Any:
    return *(f(x, axis) for f in (lax.cumsum, lax.cummax, lax.cummin, lax.cumlogsumexp) for axis in (0, 1)), *fx.jvp(
        lambda x: lax.cumprod(1 + x / 16, 1), (x,), (y,)
    )


@family(wide=500)
def _random(x: Any, y: Any, w: Any, i: Any) -> Any:
    key = fx.random.key(7)
    return fx.random.bits(key, x.shape), fx.random.uniform(key, x.shape), fx.random.normal(key, (x.shape[0],))


# --------------------------------------------------------------------------- transforms, matrices, loops


@family(wide=330)
def _spectra(x: Any, y: Any, w: Any, i: Any) -> Any:
    z = lax.complex(x, y)
    return fnp.fft.fft(z, axis=1), fnp.fft.ifft(z, axis=0), fnp.fft.rfft(x), fnp.fft.irfft(z, n=x.shape[1])


def _systems(x: Any, k: int) -> Any:
    """Well-conditioned symmetric matrices of k rows, one for each row of x."""
    a = x[:, : k * k].reshape(-1, k, k) / 4
    return a + a.transpose(0, 2, 1) + 3 * fnp.eye(k, dtype=x.dtype)


@family(width=16, wide=6000, scale=100)
def _small_matrices(x: Any, y: Any, w: Any, i: Any) -> Any:
    a = _systems(x, 4)
    return fnp.linalg.cholesky(a), fnp.linalg.solve(a, y[:, :4, None]), fnp.linalg.inv(a), fnp.linalg.det(a)


@family(scale=100, wide=0)
def _matrices(x: Any, y: Any, w: Any, i: Any) -> Any:
    n = x.shape[0]
    a = (x + x.T) / (4 * n) + fnp.diag(1 + fnp.arange(n, dtype=x.dtype) / n)
    lower, (q, r) = fnp.linalg.cholesky(a), fnp.linalg.qr(x + 2 * fnp.eye(n))
    values, vectors = fnp.linalg.eigh(a)
    u, s, v = fnp.linalg.svd(a)
    t, z = fx.scipy.linalg.schur(a)
    h = fx.scipy.linalg.hessenberg(a, calc_q=False)
    found = [lower, q @ r, values, (vectors * values) @ vectors.T, (u * s) @ v, z @ t @ z.T, fnp.trace(h)]
    found += [lax.linalg.geqrf(a)[0], lax.linalg.triangular_sylvester(fnp.triu(a), fnp.triu(a), x)]
    found += [
        fnp.linalg.solve(a, y),
        fnp.sort(fnp.linalg.eigvals(a).real),
        lax.linalg.triangular_solve(lower, y, left_side=True, lower=True),
    ]
    one = fnp.ones(n, x.dtype)
    return *found, lax.linalg.tridiagonal_solve(one.at[0].set(0), 4 * one, one.at[-1].set(0), y)


@family(width=24, wide=4000)
def _loops(x: Any, y: Any, w: Any, i: Any) -> Any:
    """A carried row, rows that go through a loop by themselves, written out numbers, a loop until something holds."""

    def step(c: Any, row: Any) -> Any:
        return fnp.tanh(c / 2 + row), c * row

    def settle(row: Any) -> Any:
        return lax.while_loop(lambda c: (fnp.abs(c) > 0.1).any(), lambda c: c * 0.7, row)

    last = lax.scan(lambda c, k: (0.5 * c + fnp.sin(c + k), c), fnp.float32(0), x[:, 0])
    branch = lax.cond(i[0] % 2 == 0, lambda x: x * 2, lambda x: fnp.exp(x), x)
    return (
        lax.scan(step, y[0], x[:40]),
        fx.vmap(settle)(x),
        last,
        branch,
        lax.fori_loop(0, 3, lambda _, c: fnp.sin(c) + x, y),
    )


CASES = [pytest.param(name, k, id=name) for k, name in enumerate(FAMILIES)]


# ------------------------------------------------------------------------------------------------- laws


def executable(name: str, arrays: Arrays, **options: Any) -> tuple[jit.Executable, list[np.ndarray]]:
    """The compiled program of these arrays, and what it takes: the arrays, and the numbers that it has of its own."""
    avals = [Aval(a.shape, a.dtype) for a in arrays]
    graph, own = trace_flat(lambda *xs: fx.tree.leaves(FAMILIES[name].program(*xs)), avals, kind="jit")
    return jit.compile(optimize(graph), jit.Options(engine="llvm" if THOROUGH else "quick", **options)), [
        *arrays,
        *map(to_numpy, own),
    ]


@pytest.mark.parametrize(("name", "k"), [c for c in CASES if FAMILIES[c.values[0]].wide])  # type: ignore[index]
def test_the_same_bits_whatever_the_threads(name: str, k: int) -> None:
    """... also where no cache holds an array; and threads share the work, or else this would say nothing."""
    arrays = FAMILIES[name].draw(FAMILIES[name].wide)
    for target in part([host(), dataclasses.replace(host(), l3_bytes=4)], k, 2):
        found = []
        for threads in (1, 2, 3, 7):
            with jit.using_threads(threads):
                run, given = executable(name, arrays, num_threads=threads, target=target)
                found.append([o.tobytes() for o in run(*given)])
        assert all(f == found[0] for f in found[1:])
        assert any(step.total > step.chunk for step in run.program.steps if isinstance(step, Step))


@pytest.mark.parametrize(("name", "k"), part(CASES, 0, 2))
def test_odd_sizes_of_strided_operands(name: str, k: int) -> None:
    """One compiled function meets the sizes; its operands lie two elements apart, the other way round."""
    f = FAMILIES[name]
    compiled = fx.jit(lambda x, y, *rest: f.program(x[:, ::-2], y[:, ::-2], *rest))
    for n in part(SIZES, k, 13):
        arrays = f.draw(n)
        x, y = (np.repeat(a[:, ::-1], 2, 1) for a in arrays[:2])
        found = [to_numpy(o) for o in fx.tree.leaves(compiled(x, y, *arrays[2:]))]
        for j, (got, want) in enumerate(zip(found, f.reference(arrays), strict=True)):
            agree(got, want, f"result {j} of {name} at {n}", f.scale)


@pytest.mark.parametrize(("name", "k"), part(CASES, 1, 2))
def test_smaller_machines(name: str, k: int) -> None:
    if host().arch != "x86_64":
        pytest.skip("levels of x86-64")
    arrays = FAMILIES[name].draw(19 + k)
    for level in part(LEVELS, k, 3):
        run, given = executable(name, arrays, target=host().restricted(level), verify=True)
        for j, (got, want) in enumerate(zip(run(*given), FAMILIES[name].reference(arrays), strict=True)):
            agree(got, want, f"result {j} of {name} on {level}", FAMILIES[name].scale)


# What no program here has: nothing is computed, or only at the borders of the other laws (``op_specs`` has all of them).
ELSEWHERE = {"name", "optimization_barrier", "stop_gradient", "copy"}


def test_the_table_has_every_family() -> None:
    met = set[str]()
    for f in FAMILIES.values():
        met |= primitives_in(fx.jit(f.program).lower(*f.draw(9)).graph)
    assert {*LOWERINGS, *REDUCTIONS, *SHAPING} - met <= ELSEWHERE
