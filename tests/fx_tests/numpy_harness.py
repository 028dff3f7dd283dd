"""What the tests of ``fx.numpy`` share: a case (a call), and the laws that hold for every one of them.

* eager = NumPy, in value and shape;
* traced = eager, in value, dtype and shape: so the short ways for known arrays compute what the equations say;
* vmap = stack of the results;
* the directional derivative = the difference quotient, and reverse mode agrees with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import dtypes, tree

DTYPES = (
    "bool",
    "int8",
    "int32",
    "int64",
    "uint8",
    "uint32",
    "uint64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "complex128",
)
FLOATS = ("float16", "bfloat16", "float32", "float64")
REALS = ("int8", "int32", "uint8", "int64", *FLOATS)
NUMBERS = (*REALS, "complex64", "complex128")


def dtype_of(name: str) -> np.dtype:
    return dtypes.bfloat16 if name == "bfloat16" else np.dtype(name)


def make(dtype: str, shape: tuple[int, ...] = (3,), lo: float = -3.0, hi: float = 3.0, seed: int = 0) -> np.ndarray:
    """Random numbers of a dtype in [lo, hi] (from 0 on for unsigned ones)."""
    rng = np.random.default_rng(seed + 17 * len(shape))
    d = dtype_of(dtype)
    if d == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    if d.kind in "iu":
        return rng.integers(max(lo, 0) if d.kind == "u" else lo, hi + 1, shape).astype(d)
    x = rng.uniform(lo, hi, shape)
    return (x + 1j * rng.uniform(lo, hi, shape)).astype(d) if d.kind == "c" else x.astype(d)


@dataclass(frozen=True)
class Static:
    """An argument that is not traced."""

    value: Any


@dataclass(frozen=True)
class Case:
    """A call of ``fx.numpy.<name>``: NumPy arrays among the arguments are traced, everything else is static."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    expected: Any = None
    traced: bool = True
    vmap: bool = True
    tol: float | None = None

    def __str__(self) -> str:
        leaves = tree.leaves((self.args, self.kwargs))
        shown = ",".join(f"{x.dtype}{list(x.shape)}" if isinstance(x, np.ndarray) else str(x)[:12] for x in leaves[:3])
        return f"{self.name}-{shown}-{','.join(self.kwargs)}"

    def split(self) -> tuple[Callable[..., Any], list[np.ndarray]]:
        """The call as a function of its arrays."""
        leaves, treedef = tree.flatten((self.args, self.kwargs), is_leaf=lambda x: x is None)
        where = [i for i, x in enumerate(leaves) if isinstance(x, np.ndarray)]
        f = _lookup(fnp, self.name)

        def call(*arrays: Any) -> Any:
            full = [x.value if isinstance(x, Static) else x for x in leaves]
            for i, a in zip(where, arrays):
                full[i] = a
            args, kwargs = tree.unflatten(treedef, full)
            return f(*args, **kwargs)

        return call, [leaves[i] for i in where]


def _lookup(space: Any, name: str) -> Any:
    for part in name.split("."):
        space = getattr(space, part)
    return space


def C(
    name: str,
    *args: Any,
    expected: Any = None,
    traced: bool = True,
    vmap: bool = True,
    tol: float | None = None,
    **kwargs: Any,
) -> Any:
    """A pytest parameter that is a Case."""
    case = Case(name, args, kwargs, expected, traced, vmap, tol)
    return pytest.param(case, id=str(case).replace(" ", ""))


def each_function(cases: Iterable[Any]) -> Any:
    """A test for each function that the cases (of ``C``) call, with its ``cases``: a test for each case would take twice the time."""
    of: dict[str, list[Case]] = {}
    for case in cases:
        of.setdefault(case.values[0].name, []).append(case.values[0])
    return pytest.mark.parametrize("cases", of.values(), ids=of)


def plain(x: Any) -> Any:
    """NumPy arrays in place of ours, at every leaf."""
    return tree.map(np.asarray, x)


def tolerance(d: np.dtype, tol: float | None) -> float:
    if tol is not None:
        return tol
    if d.itemsize == 2 and d.kind in "fV":
        return 2e-2 if d.kind == "V" else 4e-3
    return 2e-5 if d in (np.float32, np.complex64) else 1e-10


def close(got: Any, want: Any, tol: float | None = None) -> None:
    """Equal shapes and close values at every leaf, NaN equal."""
    got_leaves, want_leaves = tree.leaves(plain(got)), tree.leaves(plain(want))
    assert len(got_leaves) == len(want_leaves)
    for g, w in zip(got_leaves, want_leaves):
        assert g.shape == w.shape
        t = tolerance(g.dtype, tol)
        if dtypes.is_float(g.dtype) and g.dtype.itemsize == 2:
            g = g.astype(np.float32)
        if w.dtype.kind == "V":
            w = w.astype(np.float32)
        np.testing.assert_allclose(g, w, rtol=t, atol=t)


def same(got: Any, want: Any, tol: float = 0.0) -> None:
    """Equal types, and equal values (up to rounding, with ``tol``), at every leaf."""
    got_leaves, want_leaves = tree.leaves(got), tree.leaves(want)
    assert len(got_leaves) == len(want_leaves)
    for g, w in zip(got_leaves, want_leaves):
        if not hasattr(w, "dtype"):
            assert g == w
            continue
        assert (g.dtype, g.shape) == (w.dtype, w.shape)
        g, w = np.asarray(g), np.asarray(w)
        if g.dtype.kind == "V":
            g, w = g.astype(np.float32), w.astype(np.float32)
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol)


def widened(x: Any) -> Any:
    """bfloat16 arguments as float32, for NumPy."""
    return tree.map(lambda v: v.astype(np.float32) if isinstance(v, np.ndarray) and v.dtype.kind == "V" else v, x)


def by_numpy(case: Case, got: Any) -> Any:
    """What NumPy computes; where it takes small integers as float16 and we do not, from float32."""
    args, kwargs = tree.map(
        lambda v: v.value if isinstance(v, Static) else v,
        widened((case.args, case.kwargs)),
        is_leaf=lambda x: x is None,
    )
    f = _lookup(np, case.name)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of empty slices and the like
        want = f(*args, **kwargs)
        pairs = zip(tree.leaves(got), tree.leaves(want))
        if any(getattr(w, "dtype", None) == np.float16 != g.dtype for g, w in pairs):
            args = tree.map(
                lambda v: v.astype(np.float32) if isinstance(v, np.ndarray) and v.dtype.kind in "iub" else v, args
            )
            want = f(*args, **kwargs)
    return want


def check(case: Case) -> None:
    """The laws, the derivatives aside."""
    call, arrays = case.split()
    got = call(*[fnp.asarray(a) for a in arrays])
    want = by_numpy(case, got) if case.expected is None else case.expected
    close(got, want, case.tol)
    same(call(*arrays), got)
    if not case.traced:
        return
    with fx.config.using(backend="reference"):
        same(fx.jit(call)(*arrays), got, 1e-6 if _rounds(got) else 0.0)
    if case.vmap and arrays:
        batched = fx.vmap(call)(*[np.stack([a, a]) for a in arrays])
        same(
            batched,
            tree.map(lambda v: np.stack([np.asarray(v)] * 2), got),
            3e-3 if _half(got) else 1e-5 if _rounds(got) else 0.0,
        )


def _rounds(got: Any) -> bool:
    return any(hasattr(v, "dtype") and dtypes.is_inexact(v.dtype) for v in tree.leaves(got))


def _half(got: Any) -> bool:
    return any(hasattr(v, "dtype") and dtypes.is_float(v.dtype) and v.dtype.itemsize == 2 for v in tree.leaves(got))


def check_derivative(case: Case, eps: float = 1e-6, tol: float = 1e-5) -> None:
    """jvp against the central difference, and <ct, J t> = <J^T ct, t>, in float64."""
    call, arrays = case.split()
    wrt = [i for i, a in enumerate(arrays) if a.dtype.kind in "fc"]
    rng = np.random.default_rng(1)

    def f(*xs: Any) -> Any:
        full = list(arrays)
        for i, x in zip(wrt, xs):
            full[i] = x
        return [y for y in tree.leaves(call(*full)) if dtypes.is_inexact(y.dtype)]

    def noise(like: np.ndarray) -> np.ndarray:
        re = rng.normal(size=like.shape)
        return re + 1j * rng.normal(size=like.shape) if like.dtype.kind == "c" else re

    primals = [arrays[i] for i in wrt]
    tangents = [noise(x) for x in primals]
    outs, t_outs = fx.jvp(f, primals, tangents)
    ahead = f(*[x + eps * t for x, t in zip(primals, tangents)])
    behind = f(*[x - eps * t for x, t in zip(primals, tangents)])
    for t, a, b in zip(t_outs, ahead, behind):
        np.testing.assert_allclose(np.asarray(t), (np.asarray(a) - np.asarray(b)) / (2 * eps), rtol=tol, atol=tol)
    _, pull = fx.vjp(f, *primals)
    cts = [noise(np.asarray(o)) for o in outs]
    gradients = pull(cts)
    forward = sum(np.sum(c * np.asarray(t)).real for c, t in zip(cts, t_outs))
    backward = sum(np.sum(np.asarray(g) * t).real for g, t in zip(gradients, tangents))
    np.testing.assert_allclose(forward, backward, rtol=1e-8, atol=1e-8)
