"""The functions of ``fx.numpy`` that are no ufuncs, against NumPy: every one in several forms; derivatives; errors."""

from __future__ import annotations

import inspect
import io
from typing import Any

import numpy as np
import pytest
from numpy_harness import DTYPES, REALS, C, Case, Static, check, check_derivative, close, each_function, make, same

import fx
import fx.numpy as fnp
from fx.errors import (
    AxisError,
    ConcretizationError,
    DTypeError,
    FxError,
    OutOfBoundsIndexError,
    ShapeError,
    TreeError,
)

X = make("float64", (3, 4))
Y = make("float64", (4,), seed=3)
Z = make("float64", (2, 3, 4), seed=4)
V = make("float64", (6,), seed=5)
K = make("complex128", (2, 3), seed=6)
N = np.array([3, 1, 2, 0, 3, 1])
B = make("bool", (3, 4))
E = np.zeros((0, 3))
M = np.array([[1.0, np.nan, 3.0, -2.0], [np.nan, np.nan, np.nan, np.nan], [4.0, 5.0, np.inf, 0.0]])
S = Static


def traced(f: Any, *args: Any) -> Any:
    with fx.config.using(backend="reference"):
        return fx.jit(f)(*args)


# ----------------------------------------------------------------------------------------- reductions

REDUCTIONS = [
    *[C(n, make(d, (3, 4), -2, 2)) for n in ("sum", "prod", "max", "min", "mean", "all", "any", "count_nonzero", "ptp", "argmax", "argmin") for d in REALS],
    *[C(n, x, **kw) for n in ("sum", "prod", "max", "min", "amax", "amin", "mean", "std", "var", "median", "ptp", "all", "any")
      for x, kw in [(Z, {"axis": 0}), (Z, {"axis": -1}), (Z, {"axis": (0, 2)}), (Z, {"axis": (-1, 0), "keepdims": True}),
                    (Z, {"keepdims": True}), (X[0, 0], {}), (Z, {"axis": ()} if n not in ("median", "ptp") else {})]],
    *[C(n, make(d, (3, 4))) for n in ("sum", "prod", "mean", "std", "var", "all", "any", "count_nonzero") for d in ("bool", "complex64", "complex128")],
    *[C(n, E, **kw) for n in ("sum", "prod", "all", "any", "count_nonzero") for kw in ({}, {"axis": 0}, {"axis": 1})],
    *[C(n, Z, axis=1, where=make("bool", (2, 3, 4))) for n in ("sum", "prod", "mean", "std", "var", "all", "any")],
    *[C(n, Z, axis=1, where=make("bool", (3, 1)), initial=0.5) for n in ("sum", "prod", "max", "min")],
    *[C(n, E, axis=0, initial=2.0) for n in ("max", "min", "sum")],
    C("sum", make("float32", (5,)), dtype="float64"), C("sum", make("int8", (5,)), dtype="int8"), C("prod", np.array([True, False]), dtype=bool),
    C("mean", make("int32", (5,)), dtype="float64"), C("std", Z, ddof=1, axis=1), C("var", Z, ddof=2, axis=(0, 1), keepdims=True),
    C("var", X, correction=1), C("std", X, axis=0, mean=S(X.mean(0, keepdims=True))),
    *[C(n, Z, axis=a, keepdims=k) for n in ("argmax", "argmin") for a in (None, 0, -1) for k in (False, True)],
    *[C(n, np.array([1 + 2j, 3 - 1j, 3 + 4j, 3 + 4j, -1j])) for n in ("argmax", "argmin", "max", "min")],
    C("argmax", np.array([1.0, np.nan, 5.0, np.nan])), C("argmin", np.array([[2, 1, 1], [0, 0, 5]]), axis=1),
    C("argmax", np.array([1 + 2j, complex(0, np.nan), 3.0])),
    *[C(n, M, **kw) for n in ("nansum", "nanprod", "nancumsum", "nancumprod") for kw in ({}, {"axis": 0}, {"axis": 1})],
    *[C(n, M[[0, 2]], **kw) for n in ("nanmax", "nanmin", "nanmean", "nanvar", "nanstd", "nanmedian", "nanargmax", "nanargmin")
      for kw in ({}, {"axis": 0}, {"axis": 1}, {"axis": 1, "keepdims": True})],
    *[C(n, M[[0, 2]], q, axis=1, **kw) for n, q in (("nanquantile", 0.3), ("nanpercentile", np.array([10.0, 60.0]))) for kw in ({}, {"keepdims": True})],
    C("nanmax", M[0], initial=7.0, where=np.array([True, True, False, True])), C("nansum", M, where=make("bool", (3, 4)), axis=0),
    C("nanmean", M, where=make("bool", (4,), seed=2), axis=1), C("nanmean", M[[0]], axis=1), C("nanstd", M[[0]], axis=1, ddof=1),
    C("average", X), C("average", X, axis=0), C("average", X, axis=1, weights=np.abs(Y)), C("average", X, weights=np.abs(X)),
    C("average", X, axis=1, weights=np.abs(Y), returned=True), C("average", X, axis=(0, 1), weights=np.abs(X), keepdims=True),
    C("average", np.arange(4), returned=True),
    C("cov", X), C("cov", X, rowvar=False), C("cov", Y), C("cov", X[0], X[1]), C("cov", X, ddof=0), C("cov", X, bias=True), C("cov", K),
    C("cov", X, fweights=S(np.array([1, 2, 1, 3]))), C("cov", X, aweights=S(np.abs(Y))), C("cov", X, fweights=S(np.array([1, 2, 1, 3])), aweights=S(np.abs(Y))),
    C("cov", X, aweights=S(np.abs(Y)), ddof=0), C("corrcoef", X), C("corrcoef", X, rowvar=False), C("corrcoef", X[0], X[1]), C("corrcoef", K),
    *[C(n, Z, q, axis=a, method=m) for n, q in (("quantile", 0.3), ("percentile", np.array([0.0, 35.0, 100.0])))
      for a, m in ((None, "linear"), (0, "lower"), (-1, "higher"), ((0, 2), "midpoint"), (1, "nearest"), (2, "linear"))],
    C("quantile", Z, np.array([[0.1, 0.5], [0.9, 1.0]]), axis=1, keepdims=True), C("quantile", N, 0.25), C("median", N), *[C("quantile", Z, np.array([0.0, 0.3, 0.77, 1.0]), axis=(0, 1), method=m) for m in ("hazen", "weibull", "median_unbiased", "normal_unbiased", "interpolated_inverted_cdf", "inverted_cdf")],
    C("quantile", X, 0.3, axis=1, weights=np.abs(Y), method="inverted_cdf"), C("nanquantile", M[[0, 2]], np.array([0.2, 0.9]), axis=1, method="inverted_cdf"), C("percentile", X, 30, weights=np.abs(X), method="inverted_cdf"), C("median", Z, axis=(0, 1)),
    C("median", M, axis=1), C("quantile", np.array([1.0, np.inf, 3.0]), 0.5, expected=3.0), C("median", make("float16", (5,))), C("percentile", V, 10),
    *[C(n, Z) for n in ("cumsum", "cumprod")], *[C(n, Z, axis=a) for n in ("cumsum", "cumprod") for a in (0, -1)],
    C("cumsum", make("bool", (5,))), C("cumsum", N, dtype="float32"), C("cumprod", np.zeros((0, 2)), axis=0),
    C("cumulative_sum", V), C("cumulative_sum", Z, axis=1, include_initial=True), C("cumulative_prod", Z, axis=-1, include_initial=True),
    C("cumulative_sum", make("uint8", (4,))),
    C("trace", X), C("trace", Z, 1), C("trace", Z, -1, 0, 2), C("trace", N.reshape(2, 3), dtype="float64"),
]  # fmt: skip


@each_function(REDUCTIONS)
def test_reductions(cases: list[Case]) -> None:
    for case in cases:
        check(case)


# ------------------------------------------------------------------------------------------- shapes

SHAPES = [
    C("reshape", X, (2, 6)), C("reshape", X, (-1, 2)), C("reshape", X, -1), C("reshape", X, 12), C("reshape", X, (4, 3), order="F"), C("reshape", E, (3, 0)),
    C("reshape", E, (0,)), C("reshape", X, (2, -1, 3), order="F"), C("ravel", Z), C("ravel", Z, order="F"), C("ravel", X[0, 0]),
    C("transpose", Z), C("transpose", Z, (1, 0, 2)), C("transpose", Z, (-1, 0, 1)), C("permute_dims", Z, (2, 0, 1)), C("matrix_transpose", Z),
    C("swapaxes", Z, 0, -1), C("moveaxis", Z, 0, -1), C("moveaxis", Z, (0, 1), (-1, 0)), C("rollaxis", Z, 2), C("rollaxis", Z, 0, 3), C("rollaxis", Z, 1, -1),
    C("expand_dims", X, 0), C("expand_dims", X, -1), C("expand_dims", X, (0, 3)), C("squeeze", X[None, :, None]), C("squeeze", X[None, :, None], 0),
    C("squeeze", X[None, :, None], axis=(0, -2)), C("broadcast_to", Y, (2, 3, 4)), C("broadcast_to", X[:, :1], (3, 4)), C("broadcast_to", Y[0], (2,)),
    C("broadcast_arrays", X, Y, X[:, :1], expected=[X, np.broadcast_to(Y, (3, 4)), np.broadcast_to(X[:, :1], (3, 4))]),
    *[C(n, x) for n in ("atleast_1d", "atleast_2d", "atleast_3d") for x in (Y[0], Y, X, Z)],
    C("concatenate", [X, X]), C("concatenate", [X, X[:, :1]], 1), C("concatenate", [X, Y], None), C("concatenate", [N, Y], 0), C("concat", [Z, Z], -1),
    C("concatenate", Z), C("concatenate", [X, X], dtype="float32"), C("concatenate", [E, E[:, :2]], 1),
    C("stack", [Y, Y]), C("stack", [Y, Y], 1), C("stack", [X, X], -1), C("stack", Z, 2), C("vstack", [Y, X]), C("hstack", [X, X[:, :2]]), C("hstack", [Y, V]),
    C("hstack", [Y[0], Y]), C("dstack", [X, X]), C("dstack", [Y, Y]), C("column_stack", [Y, X.T]), C("append", X, Y), C("append", X, X[:1], axis=0), C("append", Y, 0.1),
    C("block", [[X, X[:, :1]], [np.ones((1, 4)), np.zeros((1, 1))]]), C("block", [Y, V]), C("block", [[X], [X]]), C("block", X), C("block", [Z, Z]),
    C("split", V, 3), C("split", V, [1, 4]), C("split", X, 2, axis=1), C("split", V, [2, -1, 9]), C("array_split", V, 4), C("array_split", X, 3, axis=-1),
    C("hsplit", X, 2), C("hsplit", V, 2), C("vsplit", X, 3), C("dsplit", Z, 2), C("split", V, S(np.array([2, 5]))),
    C("unstack", Z), C("unstack", Z, axis=-1),
    C("flip", Z), C("flip", Z, 0), C("flip", Z, (0, -1)), C("flipud", X), C("fliplr", X), *[C("rot90", X, k) for k in range(-1, 5)], C("rot90", Z, 1, (1, 2)),
    C("roll", V, 2), C("roll", X, -1, 0), C("roll", X, (1, 2), (0, 1)), C("roll", X, 1, (0, 1)), C("roll", X, 7), C("roll", X, (1, 2), 0), C("roll", E, 1, 0),
    C("repeat", X, 2), C("repeat", X, 3, axis=1), C("repeat", X, S(np.array([1, 0, 2])), axis=0), C("repeat", Y, [0, 1, 2, 0]), C("repeat", Y[0], 3), C("repeat", X, 0, 1),
    C("tile", X, 2), C("tile", Y, (2, 3)), C("tile", Z, (2, 1)), C("tile", X, ()), C("tile", X, (0, 1)), C("resize", X, (2, 3)), C("resize", V, (3, 5)), C("resize", E, (2,)),
    C("delete", V, 2), C("delete", X, S(np.array([0, -1])), axis=1), C("delete", X, S(slice(0, 2)), 0), C("delete", V, [1, 1]), C("delete", V, [True, False] * 3), C("delete", V, []),
    C("insert", V, 1, 9.0), C("insert", X, 1, Y, axis=0), C("insert", X, [1, 3], X[:, :2], axis=1), C("insert", V, [0, 2, 2], np.array([7.0, 8.0, 9.0])), C("insert", X, 2, 5),
    C("insert", V, -1, 0.1), C("insert", V, S(slice(1, 4)), 5.0), C("insert", X, [2], X[:, :1], axis=1), C("insert", V, 6, 1.0),
    C("diagonal", X), C("diagonal", Z, 1, 1, 2), C("diagonal", Z, -1, 0, 2), C("diagonal", X, 9),
    *[C("pad", x, w) for x, w in ((V, 2), (V, (1, 3)), (X, ((1, 0), (2, 1))), (X, ((2,), (1,))), (X, 1), (Y[0], 0))],
    *[C("pad", X, ((2, 3), (1, 5)), m) for m in ("edge", "reflect", "symmetric", "wrap", "maximum", "minimum", "mean", "median", "linear_ramp")],
    *[C("pad", V, (9, 14), m, reflect_type=t) for m in ("reflect", "symmetric") for t in ("even", "odd")],
    C("pad", V, (9, 14), "wrap"), C("pad", N, (2, 3), "mean"), C("pad", N, (2, 3), "linear_ramp", end_values=9), C("pad", X, 2, constant_values=0.1),
    C("pad", X, 2, constant_values=((1, 2), (3, 4))), C("pad", X, 2, "linear_ramp", end_values=((1, 2), (3, 4))), C("pad", V, 3, "maximum", stat_length=2),
    C("pad", V, 3, "mean", stat_length=((2, 3),)), C("pad", X, {0: 1, -1: (0, 2)}), C("pad", V[:1], 2, "reflect"), C("pad", E, ((1, 1), (0, 0))),
    C("pad", X, [[1, 2], [3, 4]], "constant"), C("pad", B, 1), C("pad", V[:1], 3, "wrap"), C("pad", V[:1], 3, "reflect", reflect_type="odd"),
    *[C("pad", X, ((0, 2), (1, 0)), m) for m in ("edge", "reflect", "symmetric", "wrap")],
    C("shape", Z, expected=(2, 3, 4), traced=False), C("ndim", Z, expected=3, traced=False), C("size", Z, expected=24, traced=False), C("size", Z, 1, expected=3, traced=False),
    C("broadcast_shapes", (2, 1), (3,), expected=(2, 3), traced=False), C("apply_over_axes", np.sum, Z, [0, 2]), C("copy", X),
    C("trim_zeros", np.array([0, 0, 1, 0, 2, 0]), traced=False), C("trim_zeros", np.array([0, 0, 1, 0, 2, 0]), "f", traced=False), C("trim_zeros", np.zeros(3), traced=False), C("trim_zeros", np.pad(X, ((1, 0), (2, 3))), traced=False), C("trim_zeros", np.pad(X, ((1, 0), (2, 3))), axis=1, traced=False),
    C("fill_diagonal", X, 5.0, expected=np.where(np.eye(3, 4) > 0, 5.0, X)),
]  # fmt: skip


@each_function(SHAPES)
def test_shapes(cases: list[Case]) -> None:
    for case in cases:
        check(case)


def test_fill_diagonal() -> None:
    for x, kw in [
        (np.zeros((7, 3)), {"wrap": True}),
        (np.zeros((7, 3)), {}),
        (np.zeros((3, 3, 3)), {}),
        (np.zeros((2, 5)), {}),
    ]:
        for v in (4.0, np.array([1.0, 2.0])):
            want = x.copy()
            np.fill_diagonal(want, v, **kw)
            same(fnp.fill_diagonal(x, v, **kw), want)
            same(traced(lambda a, v=v, kw=kw: fnp.fill_diagonal(a, v, **kw), x), want)


def test_traced_shifts_and_repeats() -> None:
    for k in (-7, -1, 0, 2, 13):
        same(traced(fnp.roll, V, k), np.roll(V, k))
        same(traced(lambda x, s: fnp.roll(x, s, (0, 1)), X, np.array([k, 1])), np.roll(X, (k, 1), (0, 1)))
    for counts in ([1, 0, 2], [0, 0, 3], [2, 2, 0]):
        want = np.repeat(X, counts, axis=0)
        got = traced(lambda x, n: fnp.repeat(x, n, axis=0, total_repeat_length=6), X, np.array(counts))
        same(got[: len(want)], want)
        same(got, fnp.repeat(X, np.array(counts), axis=0, total_repeat_length=6))
    same(traced(lambda x, n: fnp.repeat(x, n, total_repeat_length=2), V[:3], np.array([2, 1, 1])), V[[0, 0]])


def test_pad_with_a_function() -> None:
    def frame(vector: Any, width: Any, axis: int, kwargs: Any) -> None:
        vector[: width[0]] = kwargs["value"]
        vector[vector.shape[0] - width[1] :] = kwargs["value"]

    want = np.pad(X, ((1, 2), (0, 1)), frame, value=7)
    same(fnp.pad(X, ((1, 2), (0, 1)), frame, value=7), want)
    same(traced(lambda x: fnp.pad(x, ((1, 2), (0, 1)), frame, value=7), X), want)


# ----------------------------------------------------------------------------------------- making

CREATION = [
    C("zeros", 3), C("zeros", (2, 3), "int8"), C("ones", (2, 0)), C("ones", 3, bool), C("full", (2, 3), 7), C("full", (2, 3), Y[:3]), C("full", 2, 0.1, "float64"),
    C("full", (2,), [1, 2]), C("empty", 3, expected=np.zeros(3)), C("zeros_like", X), C("ones_like", X, dtype="int32"), C("zeros_like", X, shape=(2,)), C("full_like", X, 0.1),
    C("full_like", N, 2.7), C("full_like", X, Y), C("empty_like", X, expected=np.zeros((3, 4))), C("eye", 3), C("eye", 3, 4, 1), C("eye", 3, k=-1, dtype="int8"), C("identity", 2),
    C("arange", 5), C("arange", 2, 9, 3), C("arange", 0, 1, 0.25), C("arange", 5.0), C("arange", 9, 2, -2), C("arange", 3, dtype="float16"), C("arange", 0), C("arange", 5, 2),
    C("linspace", 0, 1, 5), C("linspace", 2.0, 3.0, 4, endpoint=False), C("linspace", Y, 2 * Y, 3), C("linspace", Y, 1.0, 3, axis=1), C("linspace", 0, 10, 5, dtype=int),
    C("linspace", 0, 1, 0), C("linspace", 0, 1, 1), C("linspace", 0, 1, 3, retstep=True), C("linspace", 1j, 2.0, 3), C("linspace", np.float64(0), 0.3, 7),
    C("logspace", 0, 2, 4), C("logspace", 0, 2, 4, base=2), C("logspace", Y, 1.0, 3, False), C("geomspace", 1, 100, 5), C("geomspace", -1.0, -8.0, 4), C("geomspace", 1.0, 8.0, 3, False),
    C("geomspace", np.array([1.0, 2.0]), np.array([4.0, 16.0]), 3, axis=1), C("geomspace", 1.0, 2.0, 1),
    C("tri", 3), C("tri", 2, 4, 1, int), *[C(n, x, k) for n in ("tril", "triu") for x in (X, Z, np.ones((3, 3), bool), Y) for k in (0, 1, -1)],
    C("diag", Y), C("diag", Y, 1), C("diag", Y, -2), C("diag", X), C("diag", X, 1), C("diag", X, -1), C("diagflat", X, 1), C("diag", B[0]),
    C("tril_indices", 3), C("triu_indices", 3, 1, 4), C("tril_indices_from", X[:, :3]), C("triu_indices_from", X[:, :3], k=-1), C("diag_indices", 3), C("diag_indices", 2, 3),
    C("diag_indices_from", X[:, :3]), C("mask_indices", 3, np.triu, traced=False), C("indices", (2, 3)), C("indices", (2, 3), float), C("indices", (2, 3), sparse=True),
    C("meshgrid", Y, V, expected=list(np.meshgrid(Y, V))), C("meshgrid", Y, V, indexing="ij", expected=list(np.meshgrid(Y, V, indexing="ij"))),
    C("meshgrid", Y, V, X[0], sparse=True, expected=list(np.meshgrid(Y, V, X[0], sparse=True))), C("ix_", np.array([0, 2]), np.array([1, 3, 2])),
    C("ix_", S(np.array([True, False, True])), np.array([1])), C("vander", Y), C("vander", Y, 2), C("vander", N, 3, increasing=True), C("vander", Y, 0),
    C("fromfunction", lambda i, j: i + 10 * j, (2, 3)), C("bartlett", 5), C("blackman", 5), C("hamming", 5), C("hanning", 5), C("kaiser", 5, 8.6),
    C("array", [[1, 2], [3, 4]]), C("array", [1.5, 2]), C("array", X, ndmin=4), C("asarray", X, "float32"), C("astype", X, "int32"), C("array", []), C("array", [[], []]),
    C("astype", np.array([2.7, -2.7, 300.0]), "int16"), C("astype", N, bool), C("array", [X, X + 1]), C("array", [[X[0, 0], 1.0], [2, X[0, 1]]]),
]  # fmt: skip


@each_function(CREATION)
def test_creation(cases: list[Case]) -> None:
    for case in cases:
        check(case)


def test_arrays_written_as_indices() -> None:
    for name, index in [
        ("mgrid", np.s_[0:3, 1:7:2]), ("mgrid", np.s_[0:3]), ("mgrid", np.s_[0:1:5j, 0:2]), ("ogrid", np.s_[0:3, 1:7:2]), ("mgrid", np.s_[2:0:-1, -1:1, 0:2]),
        ("r_", np.s_[Y, 1, 2.5]), ("r_", np.s_[0:5, 9]), ("r_", np.s_[0:1:3j]), ("r_", np.s_["0,2", [1, 2], [3, 4]]), ("r_", np.s_["1,2,0", [1, 2], [3, 4]]), ("r_", np.s_["-1", X, X]),
        ("r_", np.s_["0,2,0", 0:3, [7, 8]]), ("c_", np.s_[Y, Y]), ("c_", np.s_[X, Y[:3]]), ("c_", np.s_[0:3, X]), ("r_", np.s_["0,3,-1", Y, Y]), ("c_", np.s_[1, 2]),
    ]:  # fmt: skip
        close(
            getattr(fnp, name)[index], list(getattr(np, name)[index]) if name == "ogrid" else getattr(np, name)[index]
        )
    close(traced(lambda x: fnp.r_[x, 0:3, 0.1], Y), np.r_[Y, 0:3, 0.1])
    with pytest.raises(ValueError, match="needs an end"):
        fnp.mgrid[1:]
    with pytest.raises(ValueError, match="directive 'q'"):
        fnp.r_["q", 1]


def test_default_dtypes() -> None:
    for x, d in [
        (fnp.zeros(2), "float32"), (fnp.ones(2), "float32"), (fnp.arange(3), "int32"), (fnp.arange(3.0), "float32"), (fnp.array([1, 2]), "int32"), (fnp.array([1.0]), "float32"),
        (fnp.array(1j), "complex64"), (fnp.linspace(0, 1, 3), "float32"), (fnp.eye(2), "float32"), (fnp.full(2, 1), "int32"), (fnp.array(True), "bool"), (fnp.array(np.ones(2)), "float64"),
        (fnp.array(np.arange(2)), "int64"), (fnp.arange(np.int64(3)), "int64"), (fnp.hanning(3), "float32"), (fnp.argmax(fnp.ones(3)), "int32"), (fnp.array([]), "float32"),
        (fnp.arange(np.float16(3)), "float16"), (fnp.full((2,), np.float64(1)), "float64"), (fnp.tri(2), "float32"), (fnp.indices((2,)), "int32"), (fnp.sqrt(np.int8(4)), "float32"),
        (fnp.mean(np.arange(3)), "float64"), (fnp.mean(np.arange(3, dtype="int32")), "float32"), (fnp.nonzero(np.ones(2))[0], "int32"),
    ]:  # fmt: skip
        assert x.dtype == d, (x, d)
    with fx.config.using(default_float="float64", default_int="int64"):
        assert fnp.zeros(2).dtype == "float64" and fnp.arange(3).dtype == "int64" and fnp.array([0.1])[0] == 0.1


def test_python_numbers_take_the_dtype_beside_them_exactly() -> None:
    x = np.array([1.0, 2.0])
    for call in (
        lambda v: fnp.where(v > 1, 0.1, v), lambda v: fnp.where(v > 0, v, 0.1) * 0.1, lambda v: fnp.clip(v, 0.1, 1.1), lambda v: fnp.maximum(v, [0.1, 2.1]), lambda v: fnp.append(v, 0.1),
        lambda v: fnp.concatenate([v, [0.1]]), lambda v: fnp.hstack([v, 0.1]), lambda v: fnp.stack([v, [0.1, 0.2]]), lambda v: fnp.dot(v, [0.1, 0.2]), lambda v: v @ [0.1, 0.2],
        lambda v: fnp.outer(v, [0.1]), lambda v: fnp.convolve(v, [0.1, 0.3]), lambda v: fnp.polyval([0.1, 0.3], v), lambda v: fnp.full_like(v, 0.1), lambda v: fnp.nan_to_num(v / 0 * 0, nan=0.1),
        lambda v: fnp.pad(v, 1, constant_values=0.1), lambda v: fnp.insert(v, 0, 0.1), lambda v: fnp.diff(v, prepend=0.1), lambda v: fnp.interp(v, [0.1, 2.1], [0.1, 0.7]),
        lambda v: fnp.percentile(v, 10), lambda v: fnp.quantile(v, [0.1, 0.3]), lambda v: fnp.average(v, weights=[0.1, 0.2]), lambda v: fnp.trapezoid(v, dx=0.1), lambda v: fnp.gradient(v, 0.1),
        lambda v: fnp.select([v > 1, v < 0], [v, 0.1], 0.3), lambda v: fnp.sum(v, initial=0.1), lambda v: fnp.array([v[0], 0.1]), lambda v: fnp.einsum("i,i", v, [0.1, 0.2]), lambda v: fnp.power(0.1, v),
        lambda v: fnp.linspace(v, 0.3, 3), lambda v: fnp.kron(v, [0.1]), lambda v: fnp.isclose(v, v + 1e-9, rtol=1e-10, atol=1e-10), lambda v: fnp.heaviside(v - 1, 0.1), lambda v: fnp.vdot([0.1, 0.2], v),
    ):  # fmt: skip
        with fx.config.using(backend="reference"):
            traced = fx.jit(call)(x)
        eager = call(fnp.asarray(x))
        with fx.config.using(default_float="float64"):
            exact = call(fnp.asarray(x))
        same(eager, exact)
        same(traced, exact, 1e-15)


# ----------------------------------------------------------------------------- selecting, searching, sorting

COND = make("bool", (3, 4), seed=9)
SORTED = np.sort(V)
SELECTION = [
    C("where", COND, X, Y), C("where", COND, X, 0), C("where", COND, 1.0, 0.0), C("where", COND[0], N[:4], X), C("where", Y, 1, 2), C("where", COND, X, E[:, :1].sum()), C("where", True, X, Y),
    C("select", [X > 1, X < 0], [X, -X]), C("select", [X > 1, X < 0], [X, Y], 7.0), C("choose", np.array([0, 1, 1, 0]), [Y, 2 * Y]), C("choose", np.array([0, 5, -1]), [V[:3], -V[:3]], mode="wrap"),
    C("choose", np.array([0, 5, -1]), [V[:3], -V[:3]], mode="clip"), C("choose", np.array([[0], [1]]), X[:2]),
    C("piecewise", X, [X < 0, X > 1], [-1.0, lambda v: v**2]), C("piecewise", X, [X < 0], [lambda v: -v, lambda v: 10 * v]), C("piecewise", Y, Y > 0, [1.0, 2.0]), C("piecewise", N, [N > 1], [lambda v: 2 * v]),
    C("take", X, np.array([0, 5, 11])), C("take", X, np.array([[0, 1], [-1, 2]]), axis=1), C("take", X, 1, axis=0), C("take", X, np.array([0, 99, -99]), mode="clip"), C("take", X, np.array([5, -7]), 0, mode="wrap"),
    C("take_along_axis", X, np.argsort(X, 1), 1), C("take_along_axis", X, np.array([[0, 2, 1, -1]]), axis=0), C("take_along_axis", V, N, None), C("take_along_axis", Z, np.zeros((1, 1, 2), int), -1),
    C("compress", np.array([True, False, True]), X, 0, traced=False), C("compress", [True, False, True, True, False], X, traced=False), C("extract", X > 0, X, traced=False),
    *[C(n, Z, axis=a) for n in ("sort", "argsort") for a in (0, 1, -1, None)], *[C("sort", make(d, (5,))) for d in DTYPES if d != "bfloat16"], C("argsort", N), C("sort_complex", K), C("sort_complex", Y),
    C("sort", np.array([np.nan, 1.0, -np.inf, np.inf, -0.0, 0.0])), C("lexsort", (N, V)), C("lexsort", X, axis=0), C("lexsort", (X[0], X[1])),
    C("searchsorted", SORTED, V), C("searchsorted", SORTED, X, side="right"), C("searchsorted", np.array([1, 1, 2]), 1), C("searchsorted", np.array([1, 1, 2]), np.array([0, 1, 2, 3]), "right"),
    C("searchsorted", np.array([1.0, 2.0, np.nan]), np.array([np.nan, 1.5, 9.0])), C("searchsorted", V, 0.5, sorter=S(np.argsort(V))), C("searchsorted", np.zeros(0), Y), C("searchsorted", SORTED, [0.1, 2]),
    C("digitize", V, np.array([-1.0, 0.0, 1.0])), C("digitize", V, np.array([1.0, 0.0, -1.0])), C("digitize", np.array([0.0, 1.0]), np.array([0.0, 1.0]), right=True), C("digitize", np.array([0.0, 1.0]), [1.0, 0.0], True),
    C("interp", Y, np.array([-2.0, 0.0, 1.0]), np.array([1.0, 3.0, 2.0])), C("interp", Y, np.array([-2.0, 0.0, 1.0]), np.array([1.0, 3.0, 2.0]), left=-5, right=7.0), C("interp", 0.5, np.array([0.0, 1.0]), np.array([3, 4])),
    C("interp", X * 9, np.array([0.5, 1.5, 3.0]), np.array([1.0, 3.0, 2.0]), period=4), C("interp", np.array([np.nan, 0.0]), np.array([1.0]), np.array([2.0]), expected=np.array([np.nan, 2.0])), C("interp", Y, np.array([-2.0, 0.0, 1.0]), np.array([1j, 3.0, 2.0])),
    C("unravel_index", np.array([0, 5, 11]), (3, 4)), C("unravel_index", 7, (2, 2, 3)), C("ravel_multi_index", (np.array([0, 2]), np.array([3, 1])), (3, 4)),
    C("ravel_multi_index", (np.array([0, 9]), np.array([3, -1])), (3, 4), mode="wrap"), C("ravel_multi_index", (np.array([0, 9]), np.array([3, -1])), (3, 4), mode="clip"),
    C("ravel_multi_index", (np.array([0, 2]), np.array([3, 1])), (3, 4), order="F"),
    C("nonzero", COND, traced=False), C("flatnonzero", N, traced=False), C("argwhere", COND, traced=False), C("nonzero", V, traced=False), C("argwhere", np.float64(3), traced=False),
    C("unique", N, traced=False), C("unique", N, True, True, True, traced=False), C("unique", N.reshape(3, 2), axis=0, traced=False), C("unique", M, traced=False),
    C("union1d", N, [9, 1], traced=False), C("intersect1d", N, [9, 1, 1, 3], traced=False), C("setdiff1d", N, [9, 1], traced=False), C("setxor1d", N, [9, 1], traced=False), C("isin", N, [1, 3]), C("isin", X, Y, invert=True),
    C("isin", N, []), C("intersect1d", N, [9, 1, 1, 3], return_indices=True, traced=False), C("setdiff1d", np.array([5, 1, 3]), [3], assume_unique=True, traced=False), C("isin", np.array([np.nan, 1]), [np.nan, 1]),
    C("bincount", N, traced=False), C("bincount", N, V, traced=False), C("bincount", N, minlength=7, traced=False), C("bincount", np.zeros(0, int), traced=False), C("bincount", make("uint8", (5,)), traced=False),
    C("histogram", V), C("histogram", V, 4), C("histogram", V, np.array([-2.0, 0.0, 1.0, 2.5])), C("histogram", V, 3, (-1, 1)), C("histogram", V, 3, weights=np.abs(V)), C("histogram", V, 4, density=True),
    C("histogram", np.ones(3), 3), C("histogram", N, [0, 1, 2, 3]), C("histogram", np.zeros(0), 3), C("histogram_bin_edges", V, 5), C("histogram2d", V, V[::-1], 3), C("histogram2d", V, N, [2, 3], density=True),
    C("histogramdd", X[:, :2], 3, expected=(np.histogramdd(X[:, :2], 3)[0], list(np.histogramdd(X[:, :2], 3)[1]))),
    C("histogramdd", X[:, :2], [2, [-3, 0, 3]], weights=S(np.array([1.0, 2.0, 3.0])), expected=(lambda h: (h[0], list(h[1])))(np.histogramdd(X[:, :2], [2, [-3, 0, 3]], weights=np.array([1.0, 2.0, 3.0])))),
    *[C(n, V, 2, expected=np.sort(V)) for n in ("partition",)], C("argpartition", V, 2, expected=np.argsort(V)),
    C("packbits", make("bool", (3, 11)), axis=1), C("packbits", make("bool", (10,)), bitorder="little"), C("packbits", N), C("packbits", make("bool", (11, 2)), 0),
    C("unpackbits", np.array([[2], [7], [23]], np.uint8), axis=1), C("unpackbits", np.array([2, 7], np.uint8), count=11), C("unpackbits", np.array([2, 7], np.uint8), bitorder="little", count=-3), C("unpackbits", np.array([[2, 7]], np.uint8), 1, 20),
]  # fmt: skip


@each_function(SELECTION)
def test_selection(cases: list[Case]) -> None:
    for case in cases:
        check(case)


@pytest.mark.parametrize("size", [0, 2, 4, 9])
def test_results_of_fixed_size(size: int) -> None:
    def padded(values: np.ndarray, fill: Any) -> np.ndarray:
        out = np.full((size, *values.shape[1:]), fill, values.dtype)
        out[: min(size, len(values))] = values[:size]
        return out

    with fx.config.using(backend="reference"):
        for got, want in [
            (fx.jit(lambda x: fnp.nonzero(x, size=size, fill_value=-1))(COND), [padded(i, -1) for i in np.nonzero(COND)]),
            (fx.jit(lambda x: fnp.where(x, size=size, fill_value=(7, 8)))(COND), [padded(i, f) for i, f in zip(np.nonzero(COND), (7, 8))]),
            (fx.jit(lambda x: fnp.flatnonzero(x, size=size))(COND), padded(np.flatnonzero(COND), 0)),
            (fx.jit(lambda x: fnp.argwhere(x, size=size, fill_value=5))(COND), padded(np.argwhere(COND), 5)),
            (fx.jit(lambda c, x: fnp.extract(c, x, size=size, fill_value=3.0))(COND, X), padded(X[COND], 3.0)),
            (fx.jit(lambda c, x: fnp.compress(c, x, 1, size=size))(COND[0], X), padded(X[:, COND[0]].T, 0).T),
            (fx.jit(lambda x: fnp.unique(x, size=size, fill_value=99))(N), padded(np.unique(N), 99)),
            (fx.jit(lambda x: fnp.unique(x, size=size))(N), padded(np.unique(N), 0)),
            (fx.jit(lambda x, y: fnp.union1d(x, y, size=size, fill_value=50))(N, N + 2), padded(np.union1d(N, N + 2), 50)),
            (fx.jit(lambda x, y: fnp.setdiff1d(x, y, size=size, fill_value=50))(N, N + 2), padded(np.setdiff1d(N, N + 2), 50)),
            (fx.jit(lambda x, y: fnp.intersect1d(x, y, size=size))(N, N + 2), padded(np.intersect1d(N, N + 2), 2)),
            (fx.jit(lambda x, y: fnp.setxor1d(x, y, size=size, fill_value=-7))(N, N + 2), padded(np.setxor1d(N, N + 2), -7)),
            (fx.jit(lambda x: fnp.bincount(x, length=size))(N), padded(np.bincount(N), 0)),
        ]:  # fmt: skip
            close(got, want)
        values, index, inverse, counts = fx.jit(lambda x: fnp.unique(x, True, True, True, size=4))(N.reshape(2, 3))
        for g, w in zip((values, index, inverse, counts), np.unique(N.reshape(2, 3), True, True, True)):
            close(g, w)


def test_what_numpy_does_not_have_is_as_in_jax_numpy() -> None:
    """The numbers are what jax.numpy 0.10 gave."""
    a, b = fnp.array([3, 1, 3, 5]), fnp.array([3, 9, 1])
    x, lost = fnp.array([1.0, 2.0, 3.0, 4.0]), np.iinfo("int32").min
    for got, want in [
        (fnp.unique(a, size=5, return_counts=True), [[1, 3, 5, 1, 1], [1, 2, 1, 0, 0]]), (fnp.unique(a, size=2), [1, 3]),
        (fnp.unique(a, size=5, return_index=True, return_inverse=True), [[1, 3, 5, 1, 1], [1, 0, 3, 1, 1], [1, 0, 1, 2]]),
        (fnp.union1d(a, b, size=6), [1, 3, 5, 9, 1, 1]), (fnp.intersect1d(a, b, size=4), [1, 3, 1, 1]), (fnp.setdiff1d(a, b, size=3), [5, 0, 0]),
        (fnp.setxor1d(a, b, size=4), [5, 9, 5, 5]), (fnp.intersect1d(a, b, return_indices=True, size=3), [[1, 3, 1], [1, 0, 4], [2, 0, 3]]),
        (fnp.nonzero(a > 2, size=5)[0], [0, 2, 3, 0, 0]), (fnp.argwhere(a > 2, size=5, fill_value=7), [[0], [2], [3], [7], [7]]),
        (fnp.extract(a > 2, a, size=4, fill_value=7), [3, 3, 5, 7]), (fnp.compress(a > 2, a, size=4), [3, 3, 5, 0]), (fnp.bincount(a, length=3), [0, 1, 0]),
        (fnp.repeat(a, fnp.array([1, 0, 2, 0]), total_repeat_length=5), [3, 3, 3, 5, 5]), (fnp.take(a, fnp.array([0, 9, -1])), [3, lost, 5]),
        (fnp.take(a, fnp.array([0, 9, -9]), mode="clip"), [3, 5, 3]), (fnp.take_along_axis(a, fnp.array([9, -1]), 0), [lost, 5]),
        (fnp.unravel_index(fnp.array([5, 99, -1, -99]), (3, 4)), [[1, 2, 2, 0], [1, 3, 3, 0]]), (fnp.polydiv(x, x[:2]), [[1, 0, 3], [0, 0, 0, -2]]),
        (fnp.nanargmax(fnp.array([np.nan, np.nan])), -1),
    ]:  # fmt: skip
        assert fx.tree.map(lambda v: v.tolist(), list(got) if isinstance(got, tuple) else got) == want


def test_unique_as_the_array_api_has_it() -> None:
    x = np.array([2.0, np.nan, 2.0, np.nan])
    all_, counts, inverse = fnp.unique_all(x), fnp.unique_counts(x), fnp.unique_inverse(x)
    np.testing.assert_array_equal(all_.values, [2, np.nan, np.nan])
    np.testing.assert_array_equal(all_.indices, [0, 1, 3])
    np.testing.assert_array_equal(counts.counts, [2, 1, 1])
    np.testing.assert_array_equal(np.asarray(inverse.values)[np.asarray(inverse.inverse_indices)], x)
    np.testing.assert_array_equal(fnp.unique_values(x), [2, np.nan, np.nan])


def test_put_and_place() -> None:
    for name, args in [
        ("put", (np.array([0, 5, -1]), np.array([7.0, 8.0]))), ("put", (2, 9.0)), ("place", (COND, np.array([1.0, 2.0, 3.0]))), ("put_along_axis", (np.array([[1], [0], [3]]), 5.0, 1)),
        ("put_along_axis", (np.array([[1, 2, 0, 0]]), Y[None], 0)), ("put", (np.array([99, -99]), 3.0, "clip")), ("put", (np.array([13, -1]), np.array([3.0, 4.0]), "wrap")),
    ]:  # fmt: skip
        want = X.copy()
        getattr(np, name)(want, *args)
        same(getattr(fnp, name)(X, *args), want)
        same(traced(lambda x, name=name, args=args: getattr(fnp, name)(x, *args), X), want)


# --------------------------------------------------------------------------------- products, polynomials

W = make("float64", (4, 5), seed=11)
PRODUCTS = [
    *[C("dot", a, b) for a, b in ((X, W), (Y, Y), (X, Y), (Z, W), (Z, make("float64", (2, 4, 3))), (2.0, X), (Y[0], X))],
    *[C("matmul", a, b) for a, b in ((X, W), (Y, Y), (X, Y), (Y, W), (Z, W), (X, Z.swapaxes(1, 2)), (Z[:, None], make("float64", (5, 4, 2))), (Y, Z.swapaxes(1, 2)), (Z, Y), (Z[:1], make("float64", (3, 4, 2))),
                                     (Z[:, None], make("float64", (2, 1, 4, 2))), (make("float64", (1, 3, 4)), make("float64", (1, 4, 2))), (E, np.zeros((3, 2))), (np.zeros((2, 0)), np.zeros((0, 3))))],
    *[C("matmul", make(d, (2, 3)), make(d, (3, 2), seed=1)) for d in DTYPES], C("matmul", make("int32", (2, 3)), make("float32", (3, 2))),
    C("vdot", K, K), C("vdot", X, X), C("inner", X, X), C("inner", Y, 2.0), C("inner", Z, X), C("outer", Y, V), C("outer", X, K), C("kron", X, Y), C("kron", X, Z[0, :2]), C("kron", Y, Z[0]),
    C("vecdot", Z, X), C("vecdot", K, K), C("vecdot", Z, Z, axis=0), C("matvec", Z, Y), C("vecmat", Y, Z.swapaxes(1, 2)), C("vecmat", K[0], K.T),
    C("tensordot", Z, Z.transpose(1, 2, 0)), C("tensordot", Z, W, 1), C("tensordot", X, Y, 0), C("tensordot", Z, X, ([1, 2], [0, 1])), C("tensordot", Z, X, [[1], [0]]), C("tensordot", Z, X, axes=(1, 0)),
    *[C("cross", make("float64", (2, m)), make("float64", (2, n), seed=1), expected=np.cross(np.pad(make("float64", (2, m)), ((0, 0), (0, 3 - m))), np.pad(make("float64", (2, n), seed=1), ((0, 0), (0, 3 - n))))) for m, n in ((3, 3), (2, 3), (3, 2))],
    C("cross", X[:, :3], X[:, 1:], axis=0), C("cross", X[:, :3], X[:, 1:].T, 0, -1, 0), C("cross", Y[:2], V[:2], expected=Y[0] * V[1] - Y[1] * V[0]),
    *[C("convolve", a, b, m) for a, b in ((V, Y), (Y, V), (N, [0, 1, 2]), (V, K[0])) for m in ("full", "same", "valid")], *[C("correlate", a, b, m) for a, b in ((V, Y), (Y, V), (V, K[0]), (K[0], V), (V[:5], Y)) for m in ("full", "same", "valid")],
    C("polyval", Y, X), C("polyval", [1, 2, 3], 2.0), C("polyval", X, 2.0), C("polyval", X, Z), C("polyval", Z, Y), C("polyval", np.zeros((0, 4)), X), C("polyadd", Y, V), C("polyadd", [1, 2], [3]), C("polysub", Y, V), C("polymul", Y, V), C("polyder", V), C("polyder", V, 2), C("polyder", N, 7), C("polyint", V), C("polyint", V, 2, [1, 2]), C("polyint", Y, k=3),
    C("polydiv", V, Y, trim_leading_zeros=True, expected=np.polydiv(V, Y), traced=False), C("polydiv", V, Y, expected=(np.polydiv(V, Y)[0], np.pad(np.polydiv(V, Y)[1], (3, 0)))), C("polydiv", Y[:2], Y[:1], expected=(Y[:2] / Y[0], np.zeros(2))), C("poly", Y), C("poly", np.zeros(0), expected=np.ones(1)), C("poly", K[0]),
    C("linalg.norm", X), C("linalg.norm", Z), C("linalg.norm", X, 1), C("linalg.norm", X, -1), C("linalg.norm", X, np.inf), C("linalg.norm", X, -np.inf), C("linalg.norm", X, "fro", keepdims=True), C("linalg.norm", Z, axis=1), C("linalg.norm", Z, axis=(2, 0)),
    *[C("linalg.norm", V, o) for o in (None, 0, 1, 2, 3, 0.5, -1, np.inf, -np.inf)], C("linalg.norm", Z, 1, (0, 1), True), C("linalg.norm", K), C("linalg.norm", K, 3, 0), C("linalg.vector_norm", Z, axis=(0, 1)), C("linalg.vector_norm", Z, ord=1, keepdims=True),
    C("linalg.matrix_norm", Z), C("linalg.matrix_norm", Z, ord=1, keepdims=True), C("linalg.matrix_power", X[:, :3], 0), C("linalg.matrix_power", X[:, :3], 5), C("linalg.matrix_power", make("int32", (2, 2, 2)), 3), C("linalg.multi_dot", [X, W, W.T]), C("linalg.multi_dot", [Y, W, W.T, Y]),
    C("linalg.trace", Z, offset=1), C("linalg.diagonal", Z, offset=-1), C("linalg.cross", X[:, :3], X[:, 1:]), C("linalg.outer", Y, V), C("linalg.tensordot", Z, Z.transpose(1, 2, 0)), C("linalg.vecdot", Z, X), C("linalg.matmul", X, W), C("linalg.matrix_transpose", Z),
]  # fmt: skip


@each_function(PRODUCTS)
def test_products(cases: list[Case]) -> None:
    for case in cases:
        check(case)


EINSUMS = [
    ("ij,jk->ik", X, W), ("ij,jk", X, W), ("ij->ji", X), ("ij->", X), ("ij->j", X), ("ii->i", W[:, :4]), ("ii", W[:, :4]), ("iij->j", np.ones((2, 2, 3))), ("i,i->", Y, Y), ("i,i", Y, Y), ("i,j->ij", Y, V), ("i,j", Y, V), ("bij,bjk->bik", Z, Z.swapaxes(1, 2)),
    ("bij,bjk->ik", Z, Z.swapaxes(1, 2)), ("...ij,...jk->...ik", Z, Z.swapaxes(1, 2)), ("...ij,jk->...ik", Z, W), ("...j,j", Z, Y), ("ij,kj,kl->il", X, Z[0], make("float64", (3, 2))), ("a,b,c->abc", Y, V, Y), ("abc,abc->", Z, Z), ("abc,cb->a", Z, X.T), ("ij,ij->ij", X, X), ("ab,ab,c->c", X, X, V),
    ("i->", Y), ("...->...", Z), ("i...->...", Z), ("ij,j->", X, Y), ("ij , jk -> ki", X, W), ("ijk,il->jkl", Z, make("float64", (2, 5))), ("ii,ii->i", W[:, :4], W[:, :4]), ("ij,kl->", X, W), ("bi,bj->bij", X, X), ("ij,jk,kl,lm->im", X, W, W.T, W), ("ij,ij->i", X[:, :1], X),
]  # fmt: skip


@pytest.mark.parametrize("call", EINSUMS, ids=lambda c: c[0].replace(" ", ""))
def test_einsum(call: tuple[Any, ...]) -> None:
    check(Case("einsum", call))
    check_derivative(Case("einsum", call))
    for optimize in (False, "greedy", "optimal"):
        close(fnp.einsum(*call, optimize=optimize), np.einsum(*call))


def test_einsum_in_other_forms() -> None:
    close(fnp.einsum(X, [0, 1], W, [1, 2], [0, 2]), X @ W)
    close(fnp.einsum(X, [5, 9], W, [9, 7]), X @ W)
    close(fnp.einsum(Z, [..., 0], Y, [0]), Z @ Y)
    path, text = fnp.einsum_path("ij,jk,kl->il", X, W, W.T)
    close(fnp.einsum("ij,jk,kl->il", X, W, W.T, optimize=path), X @ W @ W.T)
    assert path[0] == "einsum_path" and "contraction" in text
    assert fnp.einsum("ij,jk", make("int32", (2, 3)), make("float32", (3, 2))).dtype == "float32"
    close(fnp.einsum("ij->i", B), B.any(1))
    close(fnp.einsum("ii->i", B[:, :3]), np.diag(B[:, :3]))
    assert (
        fnp.einsum("ij,jk", X.astype("float32"), W.astype("float32"), preferred_element_type="float64").dtype
        == "float64"
    )
    for bad in [("ij,jk", X), ("ijk", X), ("i!", X), ("ij->ik", X), ("ij->ii", X), ("ij,kj", X, W), ("ii", X)]:
        with pytest.raises(ShapeError, match="einsum"):
            fnp.einsum(*bad)


# -------------------------------------------------------------------------------- along an axis, and the rest

REST = [
    C("diff", V), C("diff", Z, 2), C("diff", Z, axis=0), C("diff", X, prepend=0, append=9.5), C("diff", X, axis=0, prepend=X[:1]), C("diff", B[0]), C("diff", V, 0), C("diff", V, 9), C("diff", N, append=[7, 8]),
    C("ediff1d", X), C("ediff1d", V, 9.0, [1, 2]), C("gradient", V), C("gradient", X), C("gradient", Z, axis=1), C("gradient", V, 0.5), C("gradient", V, np.cumsum(np.abs(V) + 0.1)), C("gradient", X, 2.0, np.array([0.0, 1.0, 4.0, 5.0])),
    C("gradient", V, edge_order=2), C("gradient", X, 0.5, axis=0, edge_order=2), C("gradient", V, np.cumsum(np.abs(V) + 0.1), edge_order=2), C("gradient", V[:2]), C("gradient", Z, 1.0, 2.0, axis=(0, 2)),
    C("trapezoid", V), C("trapezoid", X, dx=0.1), C("trapezoid", X, np.cumsum(np.abs(Y))), C("trapezoid", X, X**2, axis=0), C("trapezoid", N),
    C("unwrap", V * 5), C("unwrap", Z * 5, axis=0), C("unwrap", V * 5, discont=4.0), C("unwrap", V * 5, period=4.0), C("unwrap", np.zeros(0)),
    C("clip", X, -1, 1), C("clip", X, None, 0.5), C("clip", X, Y, None), C("clip", N, 1, 2), C("clip", X, Y, 2 * np.abs(Y)), C("round", X * 10), C("round", X, 2), C("round", X * 100, -1), C("round", np.array([15, 25, -35]), -1), C("around", N, 1), C("round", K, 1),
    C("round", make("float16", (4,)), 2), C("nan_to_num", M), C("nan_to_num", M, nan=1.5, posinf=9, neginf=-9), C("nan_to_num", M.astype("float16")), C("angle", K), C("angle", K, deg=True), C("isclose", X, X + 1e-7), C("isclose", M, M, equal_nan=True), C("isclose", M, M),
    C("isclose", X, X * 1.01, rtol=0.1), C("allclose", X, X), C("isclose", N, N + 1), C("array_equal", X, X), C("array_equal", X, Y), C("array_equal", M, M, equal_nan=True), C("array_equiv", X, X[None]), C("array_equiv", X, V),
    C("isscalar", 3, expected=True, traced=False), C("isscalar", X, expected=False, traced=False), C("iscomplexobj", K, expected=True, traced=False), C("isrealobj", K, expected=False, traced=False), C("iterable", X, expected=True, traced=False),
    C("apply_along_axis", lambda v: v.sum(), 1, Z), C("apply_along_axis", lambda v: v[:2] * 2, 0, X), C("apply_along_axis", lambda v: np.outer(v, v), -1, X),
]  # fmt: skip


@each_function(REST)
def test_the_rest(cases: list[Case]) -> None:
    for case in cases:
        check(case)


DERIVATIVES = [
    *[C(n, Z, axis=1) for n in ("sum", "prod", "max", "min", "mean", "std", "var", "median", "cumsum", "cumprod", "ptp", "sort", "diff", "gradient", "unwrap", "nansum", "nanmean", "nanmax", "nanvar", "trapezoid")],
    C("average", X, axis=1, weights=np.abs(Y)), C("cov", X), C("corrcoef", X), C("quantile", X, np.array([0.3, 0.8]), axis=1), C("cumulative_sum", X, axis=1, include_initial=True), C("clip", X, -1.0, 1.0), C("round", X), C("take", X, np.array([0, 3, 3])),
    C("where", COND, X, Y), C("select", [X > 1, X < 0], [X**2, -X]), C("piecewise", X, [X < 0], [lambda v: -v, lambda v: v**3]), C("take_along_axis", X, np.argsort(X, 1), 1), C("interp", Y, np.array([-4.0, 0.1, 4.0]), np.array([1.0, 3.0, 2.0])),
    C("dot", X, W), C("matmul", Z, W), C("matmul", X, Z.swapaxes(1, 2)), C("vdot", K, K), C("inner", X, X), C("outer", Y, V), C("kron", X, Y), C("tensordot", Z, Z.transpose(1, 2, 0)), C("cross", X[:, :3], X[:, 1:]), C("convolve", V, Y, "same"), C("correlate", V, Y), C("polyval", Y, X),
    C("polymul", V, Y), C("polydiv", V, np.array([1.5, 0.3, 2.0])), C("poly", Y), C("pad", X, 2, "reflect", reflect_type="odd"), C("pad", X, 1, "mean"), C("pad", X, 1), C("pad", X, 1, "linear_ramp"), C("roll", X, 1), C("repeat", X, 2, 0), C("tile", X, (2, 2)), C("concatenate", [X, X]),
    C("stack", [Y, Y], 1), C("block", [[X, X[:, :1]]]), C("insert", X, 1, Y, axis=0), C("delete", X, 1, 1), C("diagonal", X), C("diag", Y, 1), C("tril", X), C("triu", X), C("linspace", Y, 2 * Y, 3), C("geomspace", np.abs(Y) + 1, 9.0, 4), C("vander", Y), C("meshgrid", Y, V),
    C("histogram", V, 3, weights=np.abs(V)), C("linalg.norm", X), C("linalg.norm", X, axis=1), C("linalg.norm", V, 3), C("linalg.matrix_power", X[:, :3], 3), C("linalg.multi_dot", [X, W, W.T]), C("vecdot", Z, X), C("trace", X), C("nan_to_num", X), C("ediff1d", V), C("flip", X, 0), C("rot90", X),
    C("transpose", Z, (1, 2, 0)), C("moveaxis", Z, 0, 2), C("reshape", X, (4, 3), order="F"), C("broadcast_to", Y, (3, 4)), C("split", V, 2), C("squeeze", X[None]), C("expand_dims", X, 1), C("choose", np.array([0, 1, 1, 0]), [Y, 2 * Y]), C("fill_diagonal", X, 5.0), C("put_along_axis", X, np.array([[1], [0], [3]]), 5.0, 1),
]  # fmt: skip


@each_function(DERIVATIVES)
def test_derivatives(cases: list[Case]) -> None:
    for case in cases:
        check_derivative(case)


# -------------------------------------------------------------------------------- functions of functions


def test_vectorize() -> None:
    f = fnp.vectorize(lambda a, b: a * b if a.ndim == 0 and b.ndim == 0 else 1 / 0)
    close(f(X, Y), X * Y)
    close(f(X[:, :1], Y), X[:, :1] * Y)
    close(f(2.0, Y), 2 * Y)
    close(traced(f, X, Y), X * Y)
    dot = fnp.vectorize(lambda u, v: fnp.dot(u, v), signature="(n),(n)->()")
    close(dot(Z, Y), Z @ Y)
    close(dot(Z, X), np.einsum("bij,ij->bi", Z, X))
    close(fnp.vectorize(lambda m, v: m @ v, signature="(m,n),(n)->(m)")(Z, Y), Z @ Y)
    close(fnp.vectorize(lambda v, k: v[k], excluded={1}, signature="(n)->()")(X, 2), X[:, 2])
    close(fx.grad(lambda x: f(x, Y).sum())(X), np.broadcast_to(Y, X.shape))
    mean, spread = fnp.vectorize(lambda v: (v.mean(), v.max() - v.min()), signature="(n)->(),()")(X)
    close([mean, spread], [X.mean(1), np.ptp(X, 1)])
    for bad in ("n,n->()", "(n)", "(n)->", "(1)->()"):
        with pytest.raises(ValueError, match="signature"):
            fnp.vectorize(lambda v: v, signature=bad)
    with pytest.raises(ShapeError, match="'n' of the signature"):
        dot(X, V)
    with pytest.raises(ShapeError, match="fewer dimensions"):
        dot(1.0, V)
    with pytest.raises(ValueError, match="2 inputs; 1"):
        dot(X)


def test_frompyfunc() -> None:
    plus = fnp.frompyfunc(lambda a, b: a + b, 2, 1, identity=0)
    close(plus(X, Y), X + Y)
    close(plus.reduce(X, 1), X.sum(1))
    close(plus.accumulate(V), np.cumsum(V))
    close(plus.outer(Y, V), np.add.outer(Y, V))
    with pytest.raises(ValueError, match="one result"):
        fnp.frompyfunc(divmod, 2, 2)


# ----------------------------------------------------------------------------------------- dtypes, files


def test_questions_about_dtypes() -> None:
    assert (
        fnp.finfo("float32").eps == np.finfo("float32").eps
        and fnp.finfo(fnp.bfloat16).bits == 16
        and fnp.finfo("complex64").max == np.finfo("float32").max
    )
    assert fnp.iinfo("int8").max == 127
    assert (
        fnp.promote_types("int32", "float16") == "float16"
        and fnp.promote_types("uint8", "int8") == "int16"
        and fnp.promote_types(int, "int8") == "int8"
    )
    assert (
        fnp.result_type(np.float16(1), 2.0) == "float16"
        and fnp.result_type(1, 2.0) == "float32"
        and fnp.result_type("int64", X.astype("float32")) == "float32"
    )
    assert (
        fnp.issubdtype(fnp.bfloat16, fnp.floating)
        and fnp.issubdtype("float32", fnp.inexact)
        and not fnp.issubdtype("int8", fnp.floating)
    )
    assert (
        fnp.isdtype("float32", "real floating")
        and fnp.isdtype(fnp.bfloat16, "numeric")
        and fnp.isdtype("int8", ("bool", "integral"))
        and fnp.isdtype("int8", fnp.int8)
    )
    assert (
        not fnp.isdtype("bool", "numeric")
        and fnp.isdtype("uint8", "unsigned integer")
        and fnp.isdtype("complex64", "complex floating")
    )
    assert (
        fnp.can_cast("int8", "int16")
        and not fnp.can_cast("int16", "int8")
        and fnp.can_cast(fnp.bfloat16, "float32")
        and not fnp.can_cast("float32", fnp.bfloat16)
    )
    with pytest.raises(ValueError, match="is none of"):
        fnp.isdtype("int8", "whole")
    with pytest.raises(DTypeError, match="not supported"):
        fnp.zeros(2, "datetime64[s]")
    with pytest.raises(ValueError, match="at least one"):
        fnp.result_type()


def test_files_and_buffers(tmp_path: Any) -> None:
    fnp.save(tmp_path / "x.npy", fnp.asarray(X))
    same(fnp.load(tmp_path / "x.npy"), X)
    fnp.savez(tmp_path / "x.npz", fnp.asarray(X), y=fnp.asarray(Y))
    with fnp.load(tmp_path / "x.npz") as f:
        np.testing.assert_array_equal(f["y"], Y)
    X.tofile(tmp_path / "x.bin")
    same(fnp.fromfile(tmp_path / "x.bin", float), X.ravel())
    same(fnp.frombuffer(X.tobytes(), "float64"), X.ravel())
    same(fnp.fromiter((i * i for i in range(4)), int), np.array([0, 1, 4, 9]))
    same(fnp.fromstring("1 2 3", sep=" "), np.array([1, 2, 3], np.float32))
    same(fnp.from_dlpack(X.copy()), X)
    stream = io.BytesIO()
    fnp.save(stream, fnp.arange(3))
    stream.seek(0)
    same(fnp.load(stream), np.arange(3, dtype=np.int32))


def test_copies() -> None:
    a = np.ones(3)
    b, c = fnp.array(a), fnp.asarray(a)
    a[0] = 5
    assert b[0] == 1 and fnp.copy(c) is not c
    with pytest.raises(ValueError, match="without a copy"):
        fnp.asarray(a, "float32", copy=False)
    assert fnp.asarray(c) is c


# ---------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("random", r"has no attribute 'random'. .*fx.random.normal\(fx.random.key\(0\)"),
        ("Concatenate", "It is numpy.concatenate"),
        ("nothing_of_that_kind", "has no attribute 'nothing_of_that_kind'$"),
    ],
)
def test_names_that_are_not_there_are_told(name: str, says: str) -> None:
    with pytest.raises(AttributeError, match=says):
        getattr(fnp, name)


ERRORS: list[tuple[Any, type, str]] = [
    (lambda: fnp.sum(X, axis=2), AxisError, "axis 2 is out of range for an array with 2 dimensions; it lies between -2 and 1"),
    (lambda: fnp.sum(X, axis=(0, 0)), AxisError, "twice"),
    (lambda: fnp.sum(X, axis="a"), DTypeError, "axis must be an int; found 'a'"),
    (lambda: fnp.sum(X, axis=1.0), DTypeError, "axis must be an int"),
    (lambda: fnp.max(E), ShapeError, "max of an empty axis has no value"),
    (lambda: fnp.max(X, where=COND), ValueError, "initial="),
    (lambda: fnp.argmin(E, axis=0), ShapeError, "argmin of an empty axis"),
    (lambda: fnp.quantile(E, 0.5), ShapeError, "empty axis"),
    (lambda: fnp.quantile(X, 0.5, method="best"), ValueError, "method must be"),
    (lambda: fnp.quantile(K, 0.5), DTypeError, "complex"),
    (lambda: fnp.quantile(X, 0.5, weights=np.abs(X)), ValueError, "inverted_cdf"),
    (lambda: fnp.quantile(X, 0.5, axis=0, weights=Y, method="inverted_cdf"), ShapeError, "weights of shape"),
    (lambda: fnp.reshape(X, (5, 2)), ShapeError, r"cannot reshape array of shape \(3, 4\), which has 12 elements, to \(5, 2\)"),
    (lambda: fnp.reshape(X, (-1, -1)), ShapeError, "cannot reshape array"),
    (lambda: fnp.reshape(X, 1.5), ShapeError, "a shape must be an int or a sequence of ints"),
    (lambda: fnp.reshape(X, (12,), order="Z"), ValueError, "order must be"),
    (lambda: fnp.zeros(-1), ShapeError, "negative"),
    (lambda: fnp.transpose(X, (0, 0)), AxisError, "each of the 2 axes"),
    (lambda: fnp.squeeze(X, 0), ShapeError, "axis 0 of shape"),
    (lambda: fnp.moveaxis(X, (0, 1), (0, 0)), AxisError, "moveaxis"),
    (lambda: fnp.matrix_transpose(Y), ShapeError, "at least 2 dimensions"),
    (lambda: fnp.broadcast_to(X, (4, 4)), ShapeError, "cannot be broadcast to shape"),
    (lambda: fnp.concatenate([X, Y]), ShapeError, "array 1 has shape"),
    (lambda: fnp.concatenate([]), ShapeError, "at least one array"),
    (lambda: fnp.concatenate([1.0, 2.0]), ShapeError, "scalars cannot be concatenated"),
    (lambda: fnp.stack([X, Y]), ShapeError, "stack needs arrays of one shape"),
    (lambda: fnp.split(V, 4), ShapeError, "use array_split"),
    (lambda: fnp.array_split(V, 0), ValueError, "must be positive"),
    (lambda: fnp.block([[X], X]), ShapeError, "nested equally deep"),
    (lambda: fnp.concatenate([X, X], dtype="int8", casting="same_kind"), DTypeError, "array 0 of dtype .* cannot become int8"),
    (lambda: fnp.stack([X.astype("int32"), X], casting="no"), DTypeError, "array 0 of dtype int32 cannot become"),
    (lambda: fnp.hstack([X, X], dtype="int8", casting="safe"), DTypeError, "cannot become int8 with casting='safe'"),
    (lambda: fnp.vstack([X, X], dtype="int8", casting="safe"), DTypeError, "cannot become int8 with casting='safe'"),
    (lambda: fnp.rot90(X, axes=(0, 0)), AxisError, "two different axes"),
    (lambda: fnp.roll(X, (1, 2, 3), (0, 1)), ShapeError, "3 shifts for 2 axes"),
    (lambda: fnp.repeat(X, np.array([1, 2]), axis=0), ShapeError, "2 numbers for axis 0 of size 3"),
    (lambda: fnp.diagonal(Y), ShapeError, "diagonal needs"),
    (lambda: fnp.insert(V, 9, 1.0), IndexError, "position 9 is out of bounds"),
    (lambda: fnp.pad(X, -1), ShapeError, "cannot be negative"),
    (lambda: fnp.pad(X, 1, "mirror"), ValueError, "no mode 'mirror'"),
    (lambda: fnp.pad(X, 1, "edge", constant_values=1), ValueError, "no option constant_values"),
    (lambda: fnp.pad(E, 1, "edge"), ShapeError, "cannot extend the empty axis"),
    (lambda: fnp.pad(X, ((1, 2), (3, 4), (5, 6))), ShapeError, "pad_width"),
    (lambda: fnp.linspace(0, 1, 2.5), DTypeError, "integer number of samples"),
    (lambda: fx.jit(lambda n: fnp.linspace(0, 1, n))(5), DTypeError, "integer number of samples.*static_argnums"),
    (lambda: fnp.sum(1.0, axis=0), AxisError, "0 dimensions, which has no axes"),
    (lambda: fnp.zeros(3, 4), DTypeError, r"4 is not a dtype.*a tuple: zeros\(\(2, 3\)\)"),
    (lambda: fnp.ones(3).at(0), TypeError, r"x.at\[index\].set\(value\)"),
    (lambda: fnp.linspace(0, 1, -1), ShapeError, "non-negative"),
    (lambda: fnp.arange(0, 1, 0), ValueError, "step"),
    (lambda: fnp.arange(X), ShapeError, "must be scalars"),
    (lambda: fnp.meshgrid(X), ShapeError, "meshgrid takes vectors"),
    (lambda: fnp.meshgrid(Y, indexing="yx"), ValueError, "indexing"),
    (lambda: fnp.diag(Z), ShapeError, "diag takes"),
    (lambda: fnp.where(COND, X), TypeError, "both branches"),
    (lambda: fnp.select([X], [X]), DTypeError, "must be boolean"),
    (lambda: fnp.select([COND], []), ValueError, "as many conditions"),
    (lambda: fnp.choose(np.array([5]), [Y, Y]), OutOfBoundsIndexError, "there are 2 choices"),
    (lambda: fnp.take_along_axis(X, Y, 1), DTypeError, "indices must be integers"),
    (lambda: fnp.take_along_axis(X, N, 1), ShapeError, "as many dimensions"),
    (lambda: fnp.searchsorted(X, 1.0), ShapeError, "sorted vector"),
    (lambda: fnp.searchsorted(V, 1.0, side="up"), ValueError, "side"),
    (lambda: fnp.partition(V, 9), ValueError, "kth=9"),
    (lambda: fnp.sort(V, kind="bogus"), ValueError, "sort: kind must be 'quicksort'.*found 'bogus'"),
    (lambda: fnp.argsort(V, kind="quick"), ValueError, "argsort: kind must be"),
    (lambda: fnp.partition(V, 1, kind="heapsort"), ValueError, "partition: kind must be 'introselect'"),
    (lambda: fnp.argpartition(V, 1, kind="bogus"), ValueError, "argpartition: kind must be"),
    (lambda: fx.jit(lambda x: np.sort(x, kind="bogus"))(V), ValueError, "sort: kind must be"),
    (lambda: fnp.sort(V, order="f0"), ValueError, "names fields"),
    (lambda: fnp.bincount(V), DTypeError, "bincount needs integers"),
    (lambda: fnp.bincount(np.array([-1])), ValueError, "non-negative"),
    (lambda: fnp.interp(1.0, X, X), ShapeError, "interp needs"),
    (lambda: fnp.dot(X, X), ShapeError, "axis 1 of the first has size 4, axis 0 of the second 3"),
    (lambda: fnp.matmul(X, 2.0), ShapeError, r"Use \* for scalars"),
    (lambda: X @ fnp.asarray(X), ShapeError, "matmul of shapes"),
    (lambda: fnp.matmul(Z, make("float64", (3, 4, 2))), ShapeError, "batch shapes"),
    (lambda: fnp.tensordot(X, X, 3), ShapeError, "tensordot over 3 axes"),
    (lambda: fnp.tensordot(X, X, [[0], [1]]), ShapeError, "sizes must be equal"),
    (lambda: fnp.cross(X, X), ShapeError, "size 2 or 3"),
    (lambda: fnp.convolve(X, Y), ShapeError, "non-empty vectors"),
    (lambda: fnp.convolve(V, Y, "half"), ValueError, "mode must be"),
    (lambda: fnp.cov(Z), ShapeError, "at most 2"),
    (lambda: fnp.average(X, weights=Y), ShapeError, "weights of shape"),
    (lambda: fnp.diff(1.0), ShapeError, "at least one dimension"),
    (lambda: fnp.diff(V, -1), ValueError, "n >= 0"),
    (lambda: fnp.gradient(V[:1]), ShapeError, "at least 2 points"),
    (lambda: fnp.gradient(V, edge_order=3), ValueError, "edge_order"),
    (lambda: fnp.cumulative_sum(X), AxisError, "axis must be given"),
    (lambda: fnp.histogram(V, "auto"), ValueError, "number of bins"),
    (lambda: fnp.unpackbits(N), DTypeError, "uint8"),
    (lambda: fnp.packbits(V), DTypeError, "integers or booleans"),
    (lambda: fnp.ravel_multi_index((np.array([9]),), (3,)), OutOfBoundsIndexError, "leave the size 3"),
    (lambda: fnp.linalg.norm(X, "best"), ValueError, "no norm"),
    (lambda: fnp.linalg.matrix_power(X, 2), ShapeError, "square"),
    (lambda: fnp.array({"a": 1}), TreeError, "dict"),
    (lambda: fnp.array([1, "a"]), TreeError, "something other than numbers"),
    (lambda: fnp.array([[1, 2], [3]]), ShapeError, "different shapes"),
    (lambda: fnp.compress(np.array([True] * 5), V[:3]), ShapeError, "beyond axis"),
    (lambda: fnp.vander(X), ShapeError, "vander takes a vector"),
    (lambda: fnp.polyval(X, V), ShapeError, "broadcast"), (lambda: fnp.polyder(X), ShapeError, "vector of coefficients"),
    (lambda: fnp.fill_diagonal(Y, 1), ShapeError, "fill_diagonal needs"),
    (lambda: fnp.piecewise(X, [X > 0], [1, 2, 3]), ValueError, "needs 1 or 2 functions; found 3"),
    (lambda: fnp.take(X, N, mode="drop"), ValueError, "mode must be"),
    (lambda: fnp.put_along_axis(X, N, 1.0, 0), ShapeError, "put_along_axis"),
    (lambda: fnp.place(X, V > 0, 1.0), ShapeError, "as many elements"),
    (lambda: fnp.place(X, X > 0, []), ValueError, "no value to write"),
    (lambda: fnp.choose(V, [V]), DTypeError, "must be integer"),
    (lambda: fnp.ravel_multi_index((N, N), (3,)), ShapeError, "2 index arrays for 1"),
    (lambda: fnp.lexsort([]), ShapeError, "at least one key"),
    (lambda: fnp.interp(1j, Y, Y), DTypeError, "must be real"),
    (lambda: fnp.digitize(V, X), ShapeError, "vector of bins"),
    (lambda: fnp.linalg.matrix_norm(Y), ShapeError, "needs matrices"),
    (lambda: fnp.linalg.norm(Z, 2, axis=(0, 0)), AxisError, "two different ones"),
    (lambda: fnp.linalg.norm(V, "fro"), ValueError, "vectors have no norm"),
    (lambda: fnp.linalg.matrix_power(X[:, :3], 1.5), DTypeError, "integer exponent"),
    (lambda: fnp.linalg.multi_dot([X]), ValueError, "at least two"),
    (lambda: fnp.linalg.multi_dot([X, Z, X]), ShapeError, "vectors at the ends"),
    (lambda: fnp.linalg.cross(Y, Y), ShapeError, "size 3"),
    (lambda: fnp.linalg.outer(X, Y), ShapeError, "takes vectors"),
    (lambda: fnp.histogram(V, 3, weights=Y), ShapeError, "the weights have shape"),
    (lambda: fnp.histogramdd(Z), ShapeError, "points as rows"),
    (lambda: fnp.histogramdd(X, [1, 2]), ShapeError, "4 coordinates"),
    (lambda: fnp.polyder(Y, -1), ValueError, "order m >= 0"),
    (lambda: fnp.polyint(Y, -1), ValueError, "order m >= 0"),
    (lambda: fnp.poly(X), ShapeError, "square matrices"),
    (lambda: fnp.ix_(X), ShapeError, "ix_ takes vectors"),
    (lambda: fnp.diag_indices_from(X), ShapeError, "one size"),
    (lambda: fnp.packbits(N, bitorder="middle"), ValueError, "bitorder"),
    (lambda: fnp.gradient(V, 1.0, 2.0), TypeError, "gradient takes no spacing"),
    (lambda: fnp.gradient(V, np.ones(2)), ShapeError, "coordinates along axis 0"),
    (lambda: fnp.cov(X, fweights=np.ones(4)), DTypeError, "count observations"),
    (lambda: fnp.cov(X, aweights=np.ones(3)), ShapeError, "there are 4 observations"),
    (lambda: fnp.maximum.accumulate(K), DTypeError, "complex"),
    (lambda: fnp.apply_over_axes(lambda v, a: v.sum(), X, [0]), ShapeError, "apply_over_axes"),
]  # fmt: skip


@pytest.mark.parametrize("case", ERRORS, ids=lambda c: c[2][:40])
def test_errors(case: tuple[Any, type, str]) -> None:
    call, error, words = case
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    ("f", "arg", "words"),
    [
        (fnp.nonzero, N, "size="), (fnp.unique, N, "size="), (fnp.flatnonzero, N, "size="), (fnp.argwhere, N, "size="), (fnp.bincount, N, "length="), (fnp.trim_zeros, N, "trim_zeros"),
        (lambda n: fnp.repeat(V, n), N, "total_repeat_length="), (lambda n: fnp.zeros(n), 3, "static_argnums"), (lambda n: fnp.arange(n), 3, "static_argnums"), (lambda n: fnp.reshape(V, (n, -1)), 2, "static_argnums"),
        (lambda n: fnp.delete(V, n), N, "delete at traced positions"), (lambda n: fnp.sum(X, axis=n), 1, "static_argnums"), (lambda n: V[:n], 2, "dynamic_slice"), (fnp.setdiff1d, None, "size="),
    ],
)  # fmt: skip
def test_what_depends_on_traced_values_says_so(f: Any, arg: Any, words: str) -> None:
    args = (N, N) if arg is None else (arg,)
    with pytest.raises(ConcretizationError, match=words):
        fx.jit(f)(*args)


def test_every_function_has_a_docstring_and_every_error_is_one_of_ours() -> None:
    for name in fnp.__all__:
        v = getattr(fnp, name)
        if inspect.isfunction(v) or isinstance(v, fnp.ufunc):
            assert v.__doc__, name
    assert all(issubclass(e, (FxError, ValueError, TypeError, IndexError)) for _, e, _ in ERRORS if isinstance(e, type))


@pytest.mark.parametrize(
    "spaced",
    [
        lambda m, d: m.linspace(0.1, 0.7, 7, dtype=d), lambda m, d: m.linspace(0, 2**40 + 1, 5, dtype=d), lambda m, d: m.logspace(0.1, 3, 5, dtype=d),
        lambda m, d: m.logspace(0, 3, 4, base=2.3, dtype=d), lambda m, d: m.geomspace(0.1, 1000, 5, dtype=d), lambda m, d: m.linspace(0.1, 1e300, 3, dtype=d),
        lambda m, d: m.linspace(0.1, 0.3, 3, retstep=True, dtype=d)[1],
    ],
)  # fmt: skip
def test_spaced_values_are_computed_in_the_dtype_asked_for(spaced: Any) -> None:
    """Of Python numbers, too, which alone would be float32."""
    for run in (lambda: spaced(fnp, "float64"), fx.jit(lambda: spaced(fnp, "float64"))):
        got = run()
        assert got.dtype == "float64"
        np.testing.assert_allclose(np.asarray(got), spaced(np, "float64"), rtol=1e-14)


def test_spaced_integers_are_exact() -> None:
    for d in ("int32", "int64", "uint8"):
        top = min(np.iinfo(d).max, 2**52) - 3
        np.testing.assert_array_equal(np.asarray(fnp.linspace(0, top, 5, dtype=d)), np.linspace(0, top, 5, dtype=d))


@pytest.mark.parametrize("k", [2**31 - 1, 2**31, 2**40, -(2**31), -(2**40)])
def test_diagonals_far_outside(k: int) -> None:
    for f in (
        lambda m: m.eye(3, 2, k=k), lambda m: m.tri(3, k=k), lambda m: m.tril(m.ones((2, 3)), k), lambda m: m.triu(m.ones((2, 3)), k),
    ):  # fmt: skip
        np.testing.assert_array_equal(np.asarray(f(fnp)), f(np))
    assert fnp.diagonal(fnp.ones((2, 3)), k).shape == (0,) and float(fnp.trace(fnp.ones((2, 3)), k)) == 0


@pytest.mark.parametrize("way", [lambda f: f, fx.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_the_sign_of_zero(way: Any, dtype: str) -> None:
    """NumPy's has none; that of ``lax``, as JAX's, keeps it, and has no gradient there."""
    x = np.array([-0.0, 0.0, -3, 2, np.nan], dtype)
    for f, at in ((fnp.sign, 0.0), (fx.lax.sign, -0.0)):
        got = np.asarray(way(f)(x))
        np.testing.assert_array_equal(
            got, np.array([at, 0, -1, 1, complex(np.nan, np.nan) if dtype == "complex64" else np.nan], dtype)
        )
        assert np.signbit(got.real)[:2].tolist() == [bool(np.signbit(at)), False]
    if dtype == "float32":
        assert np.asarray(way(fx.grad(lambda v: fx.lax.sign(v).sum()))(x)).tolist() == [0.0] * 5
