"""``fx.numpy`` beside ``jax.numpy``: which parameters there are, and the rules for dtypes and shapes."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from numpy_harness import dtype_of

import fx
import fx.numpy as fnp

jax = pytest.importorskip("jax")
jnp = jax.numpy

# parameters of jax.numpy that mean nothing here
IGNORED = {"sharding", "out_sharding", "_dot_general", "like", "casting", "kwargs"}


def _parameters(f: Any) -> list[str]:
    return [
        p.name for p in inspect.signature(f).parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]


def test_parameter_names() -> None:
    """Every keyword of jax.numpy's functions is one of ours (positional-only ones and those of jax alone aside)."""
    missing = {}
    for name in fnp.__all__:
        ours, theirs = getattr(fnp, name), getattr(jnp, name, None)
        if not inspect.isfunction(ours) or theirs is None or not callable(theirs):
            continue
        if any(p.kind == p.VAR_KEYWORD for p in inspect.signature(ours).parameters.values()):
            continue
        lacking = [p for p in _parameters(theirs) if p not in _parameters(ours) and p not in IGNORED]
        if lacking:
            missing[name] = lacking
    assert missing == {}


# -------------------------------------------------------------------------------- dtypes and shapes

DTYPES = ("bool", "int8", "uint8", "int32", "uint32", "float16", "bfloat16", "float32", "complex64")
PAIRS = [(d, d) for d in DTYPES] + [
    ("int32", "float32"),
    ("uint8", "int8"),
    ("bool", "int8"),
    ("int32", "float16"),
    ("float32", "complex64"),
    ("float16", "bfloat16"),
]
WIDE = [
    ("int64", "float32"),
    ("float64", "float32"),
    ("int64", "float64"),
    ("complex128", "float64"),
    ("complex64", "float64"),
    ("int64", "uint8"),
    ("float64", "float64"),
]

ONE = [n for n in dir(jnp) if isinstance(getattr(np, n, None), np.ufunc) and getattr(np, n).nin == 1] + (
    "sinc i0 nan_to_num angle real imag isneginf isposinf iscomplex isreal sum prod max min mean var std cumsum cumprod argmax any all median ptp count_nonzero sort argsort"
    " nansum nanmean nanmax nanstd nanmedian nancumsum trapezoid nanargmin cumulative_sum cumulative_prod average cov corrcoef gradient unwrap sort_complex linalg.norm nanprod"
    " zeros_like ones_like diff flip ravel tril vander poly polyder polyint linalg.vector_norm"
).split()
TWO = [n for n in dir(jnp) if isinstance(getattr(np, n, None), np.ufunc) and getattr(np, n).nin == 2] + (
    "dot vdot inner outer tensordot append isclose polymul searchsorted isin setdiff1d polysub hstack concatenate2 interp3"
).split()

# (name, dtype) -> why the dtype differs; where jax.numpy refuses, ours may go on
DIFFERENT: dict[tuple[str, str], str] = {
    **{(n, "complex64"): "the angle of complex numbers is not defined" for n in ("arctan2", "atan2")},
    **{
        ("cumulative_prod", d): "small integers become the default int, as in cumulative_sum and the array API"
        for d in ("bool", "int8", "uint8")
    },
}


def _call(space: Any, name: str) -> Any:
    if name == "concatenate2":
        return lambda a, b: space.concatenate([a, b])
    if name == "interp3":
        return lambda a, b: space.interp(a, b, b)
    for part in name.split("."):
        space = getattr(space, part)
    return space


def _outcome(f: Any, *args: Any) -> Any:
    """Dtypes and shapes of the results, or "refused"."""
    try:
        out = f(*args)
    except (TypeError, ValueError, NotImplementedError):
        return "refused"
    return [
        (str(x.dtype), tuple(x.shape)) for x in fx.tree.leaves(tuple(out) if isinstance(out, (list, tuple)) else out)
    ]


def _compare(name: str, *dtypes: str) -> None:
    args = [np.ones((3,), dtype_of(d)) for d in dtypes]
    theirs = _outcome(lambda *a: jax.eval_shape(_call(jnp, name), *a), *args)
    ours = _outcome(_call(fnp, name), *args)
    if theirs != "refused" and ours != theirs and not any((name, d) in DIFFERENT for d in dtypes):
        raise AssertionError(f"{name} of {dtypes}: {ours}; jax.numpy has {theirs}")


@pytest.mark.parametrize("name", ONE)
def test_dtype_of_functions_of_one_array(name: str) -> None:
    with jax.enable_x64(False):
        for d in DTYPES:
            _compare(name, d)


@pytest.mark.parametrize("name", TWO)
def test_dtype_of_functions_of_two_arrays(name: str) -> None:
    with jax.enable_x64(False):
        for pair in PAIRS:
            _compare(name, *pair)


@pytest.mark.parametrize(
    "name", ["add", "multiply", "divide", "maximum", "power", "less", "dot", "append", "hypot", "floor_divide"]
)
def test_dtype_of_wide_arrays(name: str) -> None:
    with jax.enable_x64(True):
        for pair in WIDE:
            if name in ("hypot", "floor_divide") and "complex" in "".join(pair):
                continue
            _compare(name, *pair)


SCALARS = [
    lambda m, x: m.where(x > 0, 1.0, x), lambda m, x: m.clip(x, 0, 1), lambda m, x: m.arange(3), lambda m, x: m.linspace(0, 1, 3), lambda m, x: m.full((2,), 3), lambda m, x: m.array([1.0, 2]), lambda m, x: m.pad(x, 1),
    lambda m, x: x * 2, lambda m, x: x + 2.5, lambda m, x: x / 2, lambda m, x: 2**x if x.dtype.kind != "b" else x, lambda m, x: x * True, lambda m, x: m.maximum(x, 1), lambda m, x: m.sum(x, axis=0, keepdims=True), lambda m, x: m.quantile(x.real * 1.0, 0.5),
    lambda m, x: m.eye(2), lambda m, x: m.tri(3), lambda m, x: m.bincount(m.array([0, 1]), length=3), lambda m, x: m.histogram(x.real, 3), lambda m, x: m.nonzero(x, size=2), lambda m, x: m.unique(x, size=2), lambda m, x: m.take(x, m.array([0, 1])),
    lambda m, x: m.round(x * 1.0, 1), lambda m, x: m.interp(x.real, x.real, x.real), lambda m, x: m.asarray(1.0), lambda m, x: m.meshgrid(x, x), lambda m, x: m.select([x > 0], [x]), lambda m, x: m.stack([x, x]), lambda m, x: m.geomspace(1.0, 2.0, 3),
]  # fmt: skip


@pytest.mark.parametrize("k", range(len(SCALARS)))
def test_dtype_beside_python_numbers(k: int) -> None:
    with jax.enable_x64(False):
        for d in DTYPES:
            if d == "complex64" and k in (0, 1, 12, 26):
                continue
            x = np.ones((3,), dtype_of(d))
            ours = _outcome(lambda a: SCALARS[k](fnp, a), fnp.asarray(x))
            theirs = _outcome(lambda a: jax.eval_shape(lambda b: SCALARS[k](jnp, b), a), x)
            assert ours == theirs or "refused" in (ours, theirs), (k, d, ours, theirs)
