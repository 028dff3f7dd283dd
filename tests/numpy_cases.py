"""Calls of every function of ``jax.numpy``, as data: names, argument makers, how they are called.

A ``Case`` stands for all functions that are called the same way.  ``arrays`` are drawn at random; they are what is
traced, differentiated and batched.  The first of ``dtypes`` gets all the laws, the others values and dtypes only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

FLOAT, INT, BOOL, COMPLEX = ("float32",), ("int32",), ("bool",), ("complex64",)
NUMBERS = ("float32", "int32", "uint8", "float16", "bfloat16", "complex64")
REALS = ("float32", "int32", "uint8", "float16", "bfloat16")
EVERY = ("float32", "bool", "int32", "uint8", "float16", "bfloat16", "complex64")
EXACT = ("int32", "bool", "uint8", "int8")


@dataclass(frozen=True)
class A:
    """Random numbers in [lo, hi]; of the dtype of the case, or of one of its own."""

    shape: tuple[int, ...] = (2, 3)
    lo: float = -2.0
    hi: float = 3.0
    dtype: str = ""

    def draw(self, dtype: str, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed + 11 * len(self.shape))
        name = self.dtype or dtype
        d = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
        if d == np.bool_:
            return rng.integers(0, 2, self.shape).astype(bool)
        if d.kind in "iu":
            lo = max(int(np.floor(self.lo)), 0) if d.kind == "u" else int(np.floor(self.lo))
            return rng.integers(lo, max(int(np.ceil(self.hi)), lo + 1), self.shape, endpoint=True).astype(d)
        x = rng.uniform(self.lo, self.hi, self.shape)
        return (x + 1j * rng.uniform(self.lo, self.hi, self.shape)).astype(d) if d.kind == "c" else x.astype(d)


@dataclass(frozen=True)
class Case:
    """``call(f, *arrays)`` for each function f of ``names``.

    Args:
        traced: the call may stand in a traced function; else it is made on known arrays only.
        grad: the derivative is compared as well.
        vmap: ... and the batched call.
        tol: the tolerance of values, relative to their size.
    """

    names: str
    arrays: tuple[A, ...] = ()
    call: Callable[..., Any] = lambda f, *xs: f(*xs)
    dtypes: tuple[str, ...] = FLOAT
    traced: bool = True
    grad: bool = True
    vmap: bool = True
    tol: float = 2e-5


X, V, M = A(), A((3,)), A((3, 3))  # a matrix, a vector, a square
POSITIVE, UNIT, ABOVE = A(lo=0.5, hi=3), A(lo=0.2, hi=0.9), A(lo=1.2, hi=3)
INDEX, WHERE, FLAGS = A((2, 3), 0, 2, "int32"), A((2, 3), dtype="bool"), A((3,), dtype="bool")
COUNT = A((5,), 0, 3, "int32")


def _three(f: Any, x: Any) -> Any:
    """A reduction, its axis and its keepdims."""
    return f(x), f(x, axis=1), f(x, axis=0, keepdims=True)


CASES = [
    # ------------------------------------------------------------------------------ elementwise, of one
    Case("acos arccos asin arcsin atanh arctanh asinh arcsinh atan arctan", (UNIT,), dtypes=("float32", "complex64", "float16", "bfloat16")),
    Case("cos cosh exp exp2 expm1 sin sinh tan tanh log log10 log1p log2 sqrt square reciprocal", (POSITIVE,), dtypes=NUMBERS),
    Case("acosh arccosh", (ABOVE,), dtypes=("float32", "complex64", "float16", "bfloat16")),
    Case("abs absolute negative positive conj conjugate real imag sign angle nan_to_num sinc", (POSITIVE,), dtypes=NUMBERS),
    Case("cbrt deg2rad degrees rad2deg radians fabs", (POSITIVE,), dtypes=REALS),
    Case("i0", (X,), dtypes=("float32", "int32"), tol=1e-4),
    Case("ceil floor trunc rint round around signbit isneginf isposinf", (X,), dtypes=REALS),
    Case("isfinite isinf isnan isreal iscomplex logical_not", (X,), dtypes=EVERY),
    Case("round around", (A(lo=-99, hi=99),), lambda f, x: (f(x, 1), f(x, decimals=-1)), dtypes=FLOAT, grad=False),
    Case("frexp modf spacing", (X,), dtypes=("float32",), grad=False),
    Case("bitwise_invert bitwise_not invert bitwise_count", (X,), dtypes=EXACT),
    # ------------------------------------------------------------------------------ elementwise, of two
    Case("add subtract multiply divide true_divide maximum minimum fmax fmin", (POSITIVE, A((3,), 0.5, 3)), dtypes=NUMBERS),
    Case("arctan2 atan2 hypot logaddexp logaddexp2 copysign float_power", (POSITIVE, A((3,), 0.5, 3)), dtypes=("float32", "float16", "bfloat16")),
    Case("power pow", (POSITIVE, A((3,), 0.5, 3)), dtypes=NUMBERS, tol=5e-5),
    Case("heaviside nextafter", (X, A((3,), -2, 3)), grad=False),
    Case("fmod mod remainder floor_divide divmod", (A(lo=-9, hi=9), A((3,), 0.6, 3.3)), dtypes=("float32", "int32", "uint8")),
    Case("equal not_equal greater greater_equal less less_equal logical_and logical_or logical_xor", (X, V), dtypes=EVERY),
    Case("isclose allclose array_equal array_equiv", (X, X), dtypes=("float32", "int32", "float16", "complex64")),
    Case("bitwise_and bitwise_or bitwise_xor", (X, V), dtypes=EXACT),
    Case("bitwise_left_shift bitwise_right_shift left_shift right_shift", (A(lo=0, hi=60), A((3,), 0, 3)), dtypes=("int32", "uint8", "int8")),
    Case("gcd lcm", (A(lo=0, hi=12), A((3,), 0, 12)), dtypes=("int32", "uint8")),
    Case("ldexp", (X, A((3,), -3, 3, "int32"))),
    Case("clip", (X, A((3,), -1, 0), A((3,), 1, 2)), lambda f, x, a, b: (f(x, a, b), f(x, min=0), f(x, max=b)), dtypes=REALS),
    # ---------------------------------------------------------------------------------- reductions
    Case("all any", (X,), _three, dtypes=EVERY),
    Case("sum prod max amax min amin", (X,), _three, dtypes=EVERY),
    Case("nansum nanprod nanmax nanmin", (X,), _three, dtypes=("float32", "int32")),
    Case("mean", (X,), _three, dtypes=EVERY),
    Case("var std nanvar nanstd", (X,), lambda f, x: (*_three(f, x), f(x, axis=1, ddof=1)), dtypes=("float32", "int32", "float16", "complex64"), tol=1e-4),
    Case("nanmean median nanmedian", (X,), _three, dtypes=("float32", "int32")),
    Case("ptp", (X,), _three, dtypes=("float32", "int32", "complex64")),
    Case("count_nonzero", (X,), _three, dtypes=EVERY),
    Case("argmax argmin nanargmax nanargmin", (X,), _three, dtypes=("float32", "int32", "uint8", "float16", "bool")),
    Case("sum prod max min", (X, WHERE), lambda f, x, w: f(x, axis=0, where=w, initial=1), dtypes=("float32", "int32")),
    Case("mean var std", (X, WHERE), lambda f, x, w: f(x, axis=1, where=w | (x == x))),
    Case("average", (X, A((3,), 0.5, 1)), lambda f, x, w: (f(x), f(x, axis=1, weights=w), f(x, axis=-1, weights=w, returned=True))),
    Case("quantile nanquantile", (X,), lambda f, x: (f(x, 0.3), f(x, np.float32([0.2, 0.7]), axis=1), f(x, 0.5, axis=0, keepdims=True, method="lower"))),
    Case("percentile nanpercentile", (X,), lambda f, x: (f(x, 30), f(x, np.float32([20, 70]), axis=1), f(x, 50, axis=0, method="midpoint")), tol=1e-4),
    Case("cumsum cumprod nancumsum nancumprod", (X,), lambda f, x: (f(x), f(x, axis=1)), dtypes=("float32", "int32", "bool", "complex64")),
    Case("cumulative_sum cumulative_prod", (X,), lambda f, x: (f(x, axis=1), f(x, axis=0, include_initial=True)), dtypes=("float32", "int32")),
    Case("cov corrcoef", (A((3, 5)),), lambda f, x: (f(x), f(x.T, rowvar=False)), tol=1e-4),
    Case("histogram", (A((12,)),), lambda f, x: f(x, bins=4, range=(-2.0, 3.0)), grad=False, vmap=False),
    Case("histogram_bin_edges", (A((6,)),), lambda f, x: f(x, bins=4), grad=False, vmap=False),
    Case("histogram2d", (A((9,)), A((9,))), lambda f, x, y: f(x, y, bins=3, range=[[-2.0, 3.0], [-2.0, 3.0]]), grad=False, vmap=False),
    Case("histogramdd", (A((9, 2)),), lambda f, x: f(x, bins=3, range=[(-2.0, 3.0), (-2.0, 3.0)]), grad=False, vmap=False),
    Case("bincount", (COUNT,), lambda f, i: f(i, length=4), dtypes=INT),
    # ------------------------------------------------------------------------------- sorting, searching
    Case("sort argsort sort_complex", (X,), dtypes=("float32", "int32", "uint8", "complex64")),
    Case("sort argsort", (X,), lambda f, x: (f(x, axis=0, descending=True), f(x, axis=None)), dtypes=("float32", "int32")),
    Case("partition", (X,), lambda f, x: f(x, 1)[..., 1], dtypes=("float32", "int32")),
    Case("argpartition", (X,), lambda f, x: f(x, 1)[..., 1]),
    Case("lexsort", (A((5,), 0, 2, "int32"), A((5,))), lambda f, i, x: f((x, i)), grad=False),
    Case("searchsorted", (A((4,)), X), lambda f, x, q: (f(x.sort(), q), f(x.sort(), q, side="right")), dtypes=("float32", "int32")),
    Case("digitize", (X,), lambda f, x: (f(x, np.float32([-1, 0, 2])), f(x, np.float32([2, 0, -1]), right=True))),
    Case("interp", (X, A((4,))), lambda f, x, y: f(x, np.float32([-2, -1, 1, 3]), y)),
    Case("nonzero flatnonzero argwhere", (X,), lambda f, x: f(x, size=4, fill_value=-1), dtypes=("int32", "float32", "bool"), grad=False),
    Case("nonzero flatnonzero argwhere", (X,), dtypes=("int32", "bool"), traced=False),
    Case("where", (WHERE, X, V), lambda f, c, x, y: (f(c, x, y), f(x > 0, x, 0))),
    Case("where", (X,), lambda f, x: (*f(x > 0, size=3), *f(x, size=6, fill_value=9)), grad=False),
    Case("isin", (A((2, 3), 0, 5), A((4,), 0, 5)), dtypes=("int32", "float32")),
    Case("unique", (A((6,), 0, 3),), lambda f, x: (f(x, size=5), *f(x, True, True, True, size=6, fill_value=7)), dtypes=("int32", "float32"), grad=False),
    Case("unique", (A((6,), 0, 3),), lambda f, x: f(x, True, True, True), dtypes=("int32", "bool"), traced=False),
    Case("unique", (A((4, 2), 0, 1),), lambda f, x: (*f(x, True, True, True, axis=0, size=3), f(x, axis=1, size=4, fill_value=5)), dtypes=INT),
    Case("unique", (A((4, 2), 0, 1),), lambda f, x: (*f(x, True, True, True, axis=0), f(x, axis=1)), dtypes=("int32", "bool"), traced=False),
    Case("unique_all unique_counts unique_inverse unique_values", (A((6,), 0, 3),), lambda f, x: _list(f(x, size=6)), dtypes=INT),
    Case("union1d setxor1d intersect1d setdiff1d", (A((5,), 0, 4), A((4,), 0, 4)), lambda f, x, y: f(x, y, size=6, fill_value=9), dtypes=INT),
    Case("union1d setxor1d intersect1d setdiff1d", (A((5,), 0, 4), A((4,), 0, 4)), dtypes=INT, traced=False),
    Case("compress extract", (FLAGS, V), lambda f, c, x: f(c, x, size=2, fill_value=5), grad=False),
    Case("compress extract", (FLAGS, V), dtypes=("float32", "int32"), traced=False),
    # -------------------------------------------------------------------------------------- shapes
    Case("ravel transpose matrix_transpose fliplr flipud flip copy array asarray atleast_1d atleast_2d atleast_3d", (X,), dtypes=EVERY),
    Case("array", (X,), lambda f, x: (f([x, x]), f(x, ndmin=4), f(x, dtype="float32"))),
    Case("asarray", (X,), lambda f, x: (f([[x[0], x[1]]]), f(x, dtype="int32"), f(x, copy=True))),
    Case("astype", (X,), lambda f, x: (f(x, "float16"), f(x, "int32"), f(x, "bool"), f(x, "complex64")), dtypes=("float32", "int32", "bool"), tol=1e-3),
    Case("reshape", (X,), lambda f, x: (f(x, (3, 2)), f(x, -1), f(x, (3, -1), order="F")), dtypes=("float32", "bool")),
    Case("ravel", (X,), lambda f, x: f(x, order="F")),
    Case("permute_dims transpose", (A((2, 3, 2)),), lambda f, x: f(x, (2, 0, 1))),
    Case("swapaxes moveaxis", (A((2, 3, 1)),), lambda f, x: f(x, 0, 2)),
    Case("moveaxis", (A((2, 3, 1)),), lambda f, x: f(x, (0, 1), (-1, 0))),
    Case("rollaxis", (A((2, 3, 1)),), lambda f, x: (f(x, 2), f(x, 0, 3))),
    Case("expand_dims", (X,), lambda f, x: (f(x, 1), f(x, (0, -1)))),
    Case("squeeze", (A((1, 2, 1)),), lambda f, x: (f(x), f(x, axis=2))),
    Case("flip", (X,), lambda f, x: (f(x, 0), f(x, axis=(0, 1)))),
    Case("rot90", (X,), lambda f, x: (f(x), f(x, k=2), f(x, k=-1, axes=(1, 0)))),
    Case("roll", (X,), lambda f, x: (f(x, 2), f(x, 1, axis=1), f(x, (1, -1), axis=(0, 1)))),
    Case("repeat", (X,), lambda f, x: (f(x, 2), f(x, 3, axis=1), f(x, np.array([1, 2]), axis=0, total_repeat_length=4))),
    Case("tile", (X,), lambda f, x: (f(x, 2), f(x, (2, 1, 2)))),
    Case("resize", (X,), lambda f, x: (f(x, (2, 5)), f(x, (2, 2)))),
    Case("broadcast_to", (V,), lambda f, x: f(x, (2, 3))),
    Case("broadcast_arrays meshgrid", (V, A((1,)))),
    Case("meshgrid", (V, A((2,))), lambda f, x, y: (f(x, y), f(x, y, indexing="ij", sparse=True))),
    Case("diagonal diag trace tril triu", (M,), lambda f, x: (f(x), f(x, 1)), dtypes=("float32", "int32")),
    Case("diag diagflat", (V,), lambda f, x: (f(x), f(x, k=-1))),
    Case("vander", (V,), lambda f, x: (f(x), f(x, 4, increasing=True))),
    Case("concatenate concat stack vstack hstack dstack column_stack", (X, X), lambda f, x, y: f([x, y]), dtypes=EVERY),
    Case("concatenate stack", (X, X), lambda f, x, y: f((x, y), axis=1)),
    Case("append", (X, V), lambda f, x, y: (f(x, y), f(x, y[None], axis=0))),
    Case("block", (X, X), lambda f, x, y: f([[x, y], [y, x]])),
    Case("split array_split hsplit", (A((2, 4)),), lambda f, x: f(x, 2)),
    Case("split array_split", (A((5, 2)),), lambda f, x: f(x, [1, 3], axis=0)),
    Case("vsplit", (A((4, 2)),), lambda f, x: f(x, 2)),
    Case("dsplit", (A((1, 2, 4)),), lambda f, x: f(x, (1, 3))),
    Case("unstack", (X,), lambda f, x: (*f(x), *f(x, axis=1))),
    Case("delete", (X,), lambda f, x: (f(x, 1), f(x, 0, axis=1), f(x, np.array([0, 2]), axis=1))),
    Case("insert", (X,), lambda f, x: (f(x, 1, 5.0), f(x, 1, 9.0, axis=1))),
    Case("delete", (A((2, 5)), A((2,), 0, 0, "int32")), lambda f, x, i: f(x, i + np.int32([1, 3]), axis=1, assume_unique_indices=True)),
    Case("insert", (X, A((2,), -1, 2, "int32")), lambda f, x, i: (f(x, i, 5.0, axis=1), f(x, i, x[:, :2], axis=1), f(x, i[0], x[0], axis=0))),
    Case("trim_zeros", (A((5,), 0, 1, "int32"),), dtypes=INT, traced=False),
    Case("pad", (X,), lambda f, x: (f(x, 1), f(x, ((1, 0), (0, 2)), constant_values=3.0), f(x, 2, mode="edge"), f(x, (1, 1), mode="reflect"))),
    Case("pad", (X,), lambda f, x: (f(x, 3, mode="wrap"), f(x, 2, mode="symmetric"), f(x, 1, mode="linear_ramp"), f(x, 1, mode="mean")), tol=1e-4),
    Case("fill_diagonal", (M,), lambda f, x: f(x, 7.0, inplace=False)),
    # ------------------------------------------------------------------------------------- indexing
    Case("take", (X, INDEX), lambda f, x, i: (f(x, i), f(x, i, axis=1), f(x, i + 5, axis=1, mode="clip"), f(x, i + 2, axis=1, mode="wrap"))),
    Case("take", (X, INDEX), lambda f, x, i: f(x, i + 1, axis=1, mode="fill", fill_value=-1.0)),
    Case("take_along_axis", (X, INDEX), lambda f, x, i: (f(x, i, axis=1), f(x, i[:, :1] - 1, 1), f(x, i, 1, wrap_negative_indices=True))),
    Case("choose", (A((3,), 0, 1, "int32"), V, V), lambda f, i, x, y: (f(i, [x, y], mode="clip"), f(i + 3, [x, y], mode="wrap"))),
    Case("select", (X,), lambda f, x: f([x > 1, x > 0], [x, 2 * x], default=9.0)),
    Case("piecewise", (X,), lambda f, x: f(x, [x < 0, x > 1], [lambda v: -v, 3.0, lambda v: v * v])),
    Case("put", (X, A((2,), 0, 5, "int32")), lambda f, x, i: f(x, i, 7.0, inplace=False)),
    Case("place", (X, WHERE), lambda f, x, m: f(x, m, np.float32([8.0, 9.0]), inplace=False)),
    Case("put_along_axis", (X, A((2, 1), 0, 2, "int32")), lambda f, x, i: f(x, i, 7.0, axis=1, inplace=False)),
    Case("ravel_multi_index", (A((4,), 0, 1, "int32"), A((4,), 0, 2, "int32")), lambda f, i, j: (f((i, j), (2, 3), mode="clip"), f((i, j), (2, 3), mode="wrap", order="F"))),
    Case("unravel_index", (A((4,), 0, 5, "int32"),), lambda f, i: f(i, (2, 3)), dtypes=INT),
    Case("c_ r_", (V, V), lambda f, x, y: (f[x, y], f[x, 1.0, 2.0] if f[x].ndim == 1 else f[x])),
    # ------------------------------------------------------------------------------------- products
    Case("dot matmul inner vdot vecdot", (M, M), dtypes=("float32", "int32", "complex64"), tol=1e-4),
    Case("dot matmul inner vdot vecdot outer kron", (V, V), dtypes=("float32", "int32", "complex64"), tol=1e-4),
    Case("outer kron tensordot", (X, X), lambda f, x, y: f(x, y) if f.__name__ != "tensordot" else f(x, y, ((1,), (1,))), tol=1e-4),
    Case("tensordot", (A((2, 3, 2)), X), lambda f, x, y: (f(x, y, 1), f(x, y, axes=[[0, 1], [0, 1]])), tol=1e-4),
    Case("matvec", (X, V), tol=1e-4),
    Case("vecmat", (A((2,)), X), dtypes=("float32", "complex64"), tol=1e-4),
    Case("cross", (X, V), dtypes=("float32", "int32"), tol=1e-4),
    Case("einsum", (X, X, V), lambda f, x, y, v: (f("ij,kj->ik", x, y), f("ij,kj,j", x, y, v), f("...j->j...", x), f(x, [0, 1], v, [1], [0])), tol=1e-4),
    # ------------------------------------------------------------------------ polynomials and signals
    Case("poly", (V,), tol=1e-4),
    Case("roots", (A((4,), 0.5, 2),), lambda f, p: np.sort_complex(np.asarray(f(p))), traced=False, tol=1e-4),
    Case("polyfit", (A((6,)), A((6,))), lambda f, x, y: f(x, y, 2), tol=1e-3),
    Case("polyadd polysub polymul", (A((4,)), V), tol=1e-4),
    Case("polyder polyint", (A((4,)),), lambda f, p: (f(p), f(p, 2))),
    Case("polyval", (V, X), tol=1e-4),
    Case("polydiv", (A((4,), 0.5, 2), A((2,), 0.5, 2)), lambda f, u, v: f(u, v), tol=1e-3),
    Case("convolve correlate", (A((5,)), V), lambda f, x, y: (f(x, y), f(x, y, mode="same"), f(x, y, "valid")), dtypes=("float32", "int32"), tol=1e-4),
    Case("diff", (A((2, 4)),), lambda f, x: (f(x), f(x, n=2), f(x, axis=0, prepend=x[:1])), dtypes=("float32", "int32")),
    Case("ediff1d", (A((5,)),), lambda f, x: (f(x), f(x, to_begin=np.float32([1]), to_end=np.float32([2, 3])))),
    Case("gradient", (A((3, 4)),), lambda f, x: (*f(x), f(x, 2.0, axis=1))),
    Case("trapezoid", (X,), lambda f, x: (f(x), f(x, dx=0.5, axis=0), f(x, x=np.float32([0, 1, 3])))),
    Case("unwrap", (A((6,), -9, 9),), tol=1e-4),
    Case("packbits", (A((10,), dtype="bool"),), lambda f, x: (f(x), f(x, bitorder="little"))),
    Case("unpackbits", (A((2, 2), 0, 255, "uint8"),), lambda f, x: (f(x), f(x, axis=1, count=5))),
    # --------------------------------------------------------------------------- functions of functions
    Case("apply_along_axis", (X,), lambda f, x: f(lambda v: v * v.sum(), 1, x), tol=1e-4),
    Case("apply_over_axes", (X,), lambda f, x: f(lambda v, axis: v.sum(axis=axis, keepdims=True), x, [0, 1])),
    Case("vectorize", (X, V), lambda f, x, y: (f(lambda a, b: a * b + 1)(x, y), f(lambda a, b: a * b.sum(), signature="(),(n)->()")(x, y)), tol=1e-4),
    Case("frompyfunc", (X,), lambda f, x: f(lambda a, b: a + 2 * b, 2, 1)(x, x)),
    # -------------------------------------------------------------------------------------- creation
    Case("zeros_like ones_like empty_like", (X,), lambda f, x: (f(x), f(x, dtype="int32"), f(x, shape=(2,))), dtypes=EVERY),
    Case("full_like", (X,), lambda f, x: (f(x, 2), f(x, 2.5, dtype="float16"), f(x, 1, shape=(0, 2))), dtypes=("float32", "int32")),
    Case("full", (V,), lambda f, x: (f((2, 3), x), f(2, 1.5), f((), 3, dtype="int8"))),
    Case("zeros ones empty", (), lambda f: (f(3), f((2, 0)), f((2,), dtype="int8"))),
    Case("eye tri", (), lambda f: (f(3), f(2, 4, 1), f(3, 2, k=-1, dtype="int32"))),
    Case("identity", (), lambda f: (f(3), f(2, dtype="int32"))),
    Case("arange", (), lambda f: (f(5), f(1, 2, 0.25), f(5, 0, -2), f(3.0), f(3, dtype="float16"))),
    Case("linspace", (V,), lambda f, x: (f(x, 2.0, 4), f(0, 1, 5, endpoint=False), f(0, 9, 4, dtype="int32"), f(0.0, 1.0, 3, retstep=True), f(x, x + 1, 3, axis=1))),
    Case("logspace", (), lambda f: (f(0, 2, 3), f(0.0, 1.0, 4, base=2.0, endpoint=False)), tol=1e-4),
    Case("geomspace", (), lambda f: (f(1, 8, 4), f(1.0, 100.0, 3, endpoint=False)), tol=1e-4),
    Case("bartlett blackman hamming hanning", (), lambda f: (f(5), f(1), f(6)), tol=1e-4),
    Case("kaiser", (), lambda f: (f(5, 2.0), f(6, 14.0)), tol=1e-4),
    Case("indices", (), lambda f: (f((2, 3)), *f((2, 2), sparse=True))),
    Case("mgrid ogrid", (), lambda f: (f[0:2, 0:3], f[0:1:3j], f[1:7:2])),
    Case("tril_indices triu_indices", (), lambda f: (*f(3), *f(3, 1, 4))),
    Case("tril_indices_from triu_indices_from", (M,), lambda f, x: f(x, k=1)),
    Case("diag_indices", (), lambda f: f(3, 2)),
    Case("diag_indices_from", (M,)),
    Case("mask_indices", (), lambda f: f(3, np.triu, 1), traced=False),
    Case("ix_", (A((2,), 0, 1, "int32"), A((3,), 0, 2, "int32")), dtypes=INT),
    Case("fromfunction", (), lambda f: f(lambda i, j: i + 2 * j, (2, 3))),
    Case("frombuffer", (), lambda f: (f(np.arange(4, dtype="float32").tobytes(), dtype="float32"), f(b"abcd", "uint8", 2, 1)), traced=False),
    Case("fromstring", (), lambda f: f("1 2 3", dtype="int32", sep=" "), traced=False),
    Case("from_dlpack", (), lambda f: f(np.arange(3, dtype="float32")), traced=False),
    # ----------------------------------------------------------------------- answers that are no arrays
    Case("ndim shape size iscomplexobj isrealobj isscalar iterable", (X,), dtypes=("float32", "complex64")),
    Case("size", (X,), lambda f, x: f(x, 1)),
    Case("broadcast_shapes", (), lambda f: f((2, 1), (3,), (1, 3))),
    Case("can_cast", (), lambda f: (f("int8", "int32"), f("float32", "int32"), f("int32", "float32", "same_kind"))),
    Case("isdtype", (), lambda f: (f("int8", "integral"), f("float32", ("bool", "real floating")), f("int8", "int16"))),
    Case("issubdtype", (), lambda f: (f("int8", np.integer), f(np.float32, np.inexact), f("complex64", np.floating))),
    Case("promote_types", (), lambda f: [str(f(*p)) for p in (("int8", "uint8"), ("int32", "float16"), ("bool", "int8"), ("float16", "complex64"))]),
    Case("result_type", (X,), lambda f, x: [str(f(*p)) for p in ((x, 1.0), (x, 1j), (np.dtype("int8"), 3), (x, np.dtype("complex64")))], dtypes=("float32", "int32", "float16"), vmap=False),
    Case("finfo", (), lambda f: [float(getattr(f("float32"), n)) for n in ("eps", "max", "min", "tiny")]),
    Case("iinfo", (), lambda f: [int(getattr(f("int8"), n)) for n in ("bits", "max", "min")]),
    Case("dtype", (), lambda f: str(f("float32"))),
    Case("index_exp s_", (), lambda f: (f[1:2, ..., None], f[3])),
    Case("einsum_path", (X, M), lambda f, x, y: f("ij,jk->ik", x, y, optimize="greedy")[0][-1:], traced=False),
]  # fmt: skip


def _list(values: Any) -> list[Any]:
    """The fields of a named tuple; an array alone."""
    return list(values) if isinstance(values, tuple) else [values]


# What there is no call of, and why.
NOT_CALLED = {
    **dict.fromkeys("array_repr array_str".split(), "the text names the class"),
    **dict.fromkeys("get_printoptions set_printoptions printoptions ComplexWarning".split(), "NumPy's own object"),
    "fromiter": "JAX refuses it: a test of its own in test_surface.py",
    **dict.fromkeys("load save savez fromfile".split(), "files: a round trip stands in test_surface.py"),
    **dict.fromkeys("ndarray ufunc linalg fft".split(), "a class or a module"),
}

# (name, dtype) -> why the dtype of the result differs from JAX's
DTYPE_RULES = {
    ("convolve", "int32"): "integers stay integers, as in NumPy", ("correlate", "int32"): "integers stay integers, as in NumPy",
    **dict.fromkeys((("histogram2d", "float32"), ("histogramdd", "float32")), "counts are floats, as in NumPy and in histogram"),
}  # fmt: skip
