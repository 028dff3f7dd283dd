"""Calls of every function of ``jax.lax``, as data: see ``jax_calls``."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax_calls import (
    ABOVE,
    COMPLEX,
    EVERY,
    EXACT,
    INDEX,
    NUMBERS,
    POSITIVE,
    REALS,
    UNIT,
    WHERE,
    A,
    Case,
    M,
    V,
    X,
)

FLOATS = ("float32", "float16", "bfloat16")
INEXACT = (*FLOATS, "complex64")
WHOLE = ("int32", "uint8", "int8")
I = A((2,), 0, 1, "int32")  # positions
CUBE, IMAGE, KERNEL = A((2, 3, 4)), A((2, 2, 5, 4)), A((4, 2, 3, 2))
ROWS, TWO_ROWS = A((4, 3)), A((2, 1), 0, 3, "int32")


def _linear_solve(lib: Any, f: Any, m: Any, b: Any) -> Any:
    """By Jacobi iteration; m is made diagonally dominant."""
    m = m + 9.0 * np.eye(3, dtype=np.float32)

    def solve(matvec: Any, b: Any) -> Any:
        step = lambda i, x: x + (b - matvec(x)) / 9.0
        return lib.lax.fori_loop(0, 60, step, b * 0.0)

    return f(lambda x: m @ x, b, solve, transpose_solve=lambda vecmat, c: solve(vecmat, c))


def _root(lib: Any, f: Any, c: Any) -> Any:
    """The square root, by Newton's method."""
    newton = lambda g, x: lib.lax.fori_loop(0, 20, lambda i, x: 0.5 * (x + c / x), x)
    return f(lambda x: x * x - c, c * 0 + 1.0, newton, lambda g, y: y / g(np.ones(y.shape, np.float32)))


def _over(lib: Any, g: Any, *xs: Any) -> Any:
    """A collective along the first axis."""
    return lib.vmap(g, axis_name="i")(*xs)


def _scatter(lib: Any, f: Any, x: Any, i: Any, u: Any) -> Any:
    """Rows of u at the rows i of x."""
    numbers = lib.lax.ScatterDimensionNumbers((1,), (0,), (0,))
    return f(x, i, u, numbers), f(x, i, u, numbers, mode="clip", indices_are_sorted=False)


def _scatter_apply(lib: Any, f: Any, x: Any, i: Any) -> Any:
    numbers = lib.lax.ScatterDimensionNumbers((1,), (0,), (0,))
    return f(x, i, lambda v: 2 * v + 1, numbers, update_shape=(2, 3))


def _gather(lib: Any, f: Any, x: Any, i: Any) -> Any:
    numbers = lib.lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
    return f(x, i, numbers, (1, 3)), f(x, i, numbers, (1, 2), mode="fill", fill_value=1)


def _ragged(lib: Any, f: Any, x: Any, w: Any) -> Any:
    return f(x, w, np.int32([1, 0, 3])), f(x, w, np.int32([2, 1, 0]))


def _ragged_general(lib: Any, f: Any, x: Any, w: Any) -> Any:
    """The three kinds: groups of rows, groups within the contraction, groups of batches."""
    of = lib.lax.RaggedDotDimensionNumbers
    sizes = np.int32([1, 3])
    rows = of((((1,), (1,)), ((), ())), [0], [0])
    contracted = of((((0,), (0,)), ((), ())), [0], [])
    batch = of((((1,), (1,)), ((0,), (0,))), [0], [])
    return f(x, w, sizes, rows), f(x, x, sizes, contracted), f(x[..., None], x[..., None], sizes, batch)


def _ints(shape: Any) -> list[int]:
    return [int(n) for n in shape]


CASES = [
    # ------------------------------------------------------------------------------ elementwise, of one
    Case("asin acos atanh", (UNIT,), dtypes=INEXACT),
    Case("acosh", (ABOVE,), dtypes=INEXACT),
    Case("asinh atan cos cosh sin sinh tan tanh exp exp2 expm1 log log1p sqrt rsqrt logistic reciprocal", (POSITIVE,), dtypes=INEXACT),
    Case("cbrt erf erfc lgamma digamma bessel_i0e bessel_i1e", (POSITIVE,), dtypes=FLOATS),
    Case("erf_inv", (A(lo=-0.9, hi=0.9),), dtypes=FLOATS),
    Case("neg sign square", (X,), dtypes=NUMBERS),
    Case("abs", (X,), dtypes=("float32", "int32", "float16", "bfloat16", "complex64")),
    Case("floor ceil round is_finite", (X,), dtypes=FLOATS),
    Case("bitwise_not", (X,), dtypes=EXACT),
    Case("population_count clz", (A(lo=0, hi=100),), dtypes=WHOLE),
    Case("real imag", (X,), dtypes=COMPLEX),
    Case("conj", (X,), dtypes=("float32", "complex64")),
    Case("reduce_precision", (X,), lambda f, x: (f(x, 5, 7), f(x, 8, 3)), dtypes=FLOATS, grad=False),
    Case("integer_pow", (POSITIVE,), lambda f, x: (f(x, 3), f(x, 0)), dtypes=NUMBERS),
    Case("integer_pow", (POSITIVE,), lambda f, x: f(x, -2), dtypes=INEXACT),
    Case("convert_element_type", (X,), lambda f, x: (f(x, np.int32), f(x, "float16"), f(x, np.bool_), f(x, np.complex64)), dtypes=("float32", "int32", "bool", "bfloat16"), tol=1e-3),
    Case("bitcast_convert_type", (X,), lambda f, x: (f(x, np.int32), f(x, np.uint8)), grad=False),
    Case("bitcast_convert_type", (A((3, 4), dtype="uint8"),), lambda f, x: f(x, np.float32).shape, grad=False, vmap=False),
    Case("stop_gradient optimization_barrier", (X,), dtypes=EVERY),
    # ------------------------------------------------------------------------------ elementwise, of more
    Case("add sub mul", (X, X), dtypes=NUMBERS),
    Case("add mul", (X,), lambda f, x: (f(x, 2.0), f(3.0, x))),
    Case("div rem", (X, POSITIVE), dtypes=("float32", "float16", "bfloat16")),
    Case("div rem", (A(lo=-9, hi=9), A(lo=1, hi=4)), dtypes=("int32", "uint8")),
    Case("div", (X, POSITIVE), dtypes=COMPLEX),
    Case("max min", (X, X), dtypes=REALS),
    Case("pow", (POSITIVE, X), dtypes=("float32", "complex64")),
    Case("pow", (POSITIVE, A(lo=-2, hi=3, dtype="int32")), dtypes=INEXACT, tol=1e-4),
    Case("atan2", (X, X), dtypes=FLOATS),
    Case("nextafter", (X, X), grad=False),
    Case("eq ne", (X, X), dtypes=EVERY),
    Case("lt le gt ge", (X, X), dtypes=(*REALS, "bool")),
    Case("bitwise_and bitwise_or bitwise_xor", (X, X), dtypes=EXACT),
    Case("shift_left shift_right_logical shift_right_arithmetic", (A(lo=-100, hi=100), A(lo=0, hi=3)), dtypes=WHOLE),
    Case("mulhi", (A(lo=-100, hi=100), A(lo=0, hi=100)), dtypes=WHOLE),
    Case("complex", (X, X)),
    Case("igamma igammac", (POSITIVE, POSITIVE), dtypes=FLOATS, tol=1e-4),
    Case("igamma_grad_a random_gamma_grad", (POSITIVE, POSITIVE), grad=False, tol=1e-4),
    Case("betainc", (UNIT,), lambda f, x: f(np.full(x.shape, 1.5, x.dtype), np.full(x.shape, 0.7, x.dtype), x), dtypes=FLOATS, tol=1e-4),
    Case("polygamma", (ABOVE,), lambda f, x: f(np.full(x.shape, 2, x.dtype), x), tol=1e-4),
    Case("zeta", (ABOVE,), lambda f, x: f(np.full(x.shape, 2, x.dtype), x), grad=False, tol=1e-4),
    Case("clamp", (X, V), lambda f, x, v: f(x[0], v, x[1]), dtypes=REALS),
    Case("clamp", (X, V), lambda f, x, v: f(v[0], x, v[0] + v[0]), grad=False, vmap=False),
    Case("select", (WHERE, X, X), dtypes=EVERY),
    Case("select_n", (WHERE, X, X), dtypes=EVERY),
    Case("select_n", (INDEX, X, X, X), dtypes=("float32", "int32")),
    # -------------------------------------------------------------------------------------- shapes
    Case("reshape", (X,), lambda f, x: (f(x, (3, 2)), f(x, (6,))), dtypes=EVERY),
    Case("rev", (X,), lambda f, x: (f(x, (0,)), f(x, (0, 1))), dtypes=EVERY),
    Case("transpose", (CUBE,), lambda f, x: f(x, (2, 0, 1)), dtypes=EVERY),
    Case("squeeze", (A((1, 2, 1)),), lambda f, x: (f(x, (0,)), f(x, (0, -1)))),
    Case("expand_dims", (X,), lambda f, x: (f(x, (0,)), f(x, (0, 3)))),
    Case("broadcast", (V,), lambda f, x: f(x, (2, 1))),
    Case("broadcast_in_dim", (X,), lambda f, x: f(x, (2, 4, 3), (0, 2)), dtypes=EVERY),
    Case("broadcast_to_rank", (V,), lambda f, x: f(x, 3)),
    Case("broadcast_like", (V, X)),
    Case("collapse", (CUBE,), lambda f, x: (f(x, 1), f(x, 0, 2))),
    Case("concatenate", (X, X), lambda f, x, y: (f([x, y], 0), f((y, x, y), 1)), dtypes=EVERY),
    Case("stack", (X, X), lambda f, x, y: (f([x, y]), f([x, y], axis=2))),
    Case("unstack", (X,), lambda f, x: (*f(x), *f(x, 1))),
    Case("split", (CUBE,), lambda f, x: f(x, (1, 2), 1)),
    Case("tile", (X,), lambda f, x: f(x, (2, 1))),
    Case("pad", (X,), lambda f, x: (f(x, x[0, 0], ((1, 0, 1), (-1, 2, 0))), f(x, x[0, 0], ((0, 0, 0), (0, -1, 2)))), dtypes=EVERY),
    Case("slice", (ROWS,), lambda f, x: (f(x, (1, 0), (4, 2), (2, 1)), f(x, (0, 1), (2, 3))), dtypes=EVERY),
    Case("slice_in_dim", (ROWS,), lambda f, x: (f(x, 1, 3), f(x, 0, None, 2, axis=1), f(x, -2, None))),
    Case("index_in_dim", (X,), lambda f, x: (f(x, -1, 1), f(x, 0, keepdims=False))),
    Case("full", (V,), lambda f, v: (f((2,), 3.5), f((2, 2), v[0]), f((), 1, "int8"))),
    Case("full_like", (X,), lambda f, x: (f(x, 2), f(x, 1, np.int32), f(x, 0.5, shape=(3,))), dtypes=("float32", "int32", "bfloat16")),
    Case("iota", (), lambda f: (f(np.int32, 4), f(np.float32, 3))),
    Case("broadcasted_iota", (), lambda f: f(np.int32, (2, 3), 1)),
    Case("empty", (), lambda f: f((2, 0), np.float32)),
    # ------------------------------------------------------------------------------------- indexing
    Case("dynamic_slice", (ROWS, I), lambda f, x, i: (f(x, (i[0], i[1]), (2, 2)), f(x, (i[0] + 5, -i[1]), (2, 1)), f(x, i, (1, 2))), dtypes=EVERY),
    Case("dynamic_slice_in_dim", (ROWS, I), lambda f, x, i: (f(x, i[0], 2), f(x, i[1], 1, axis=1))),
    Case("dynamic_index_in_dim", (ROWS, I), lambda f, x, i: (f(x, i[0]), f(x, i[1] - 1, 1, keepdims=False))),
    Case("dynamic_update_slice", (ROWS, X, I), lambda f, x, u, i: f(x, u, (i[0], 0)), dtypes=EVERY),
    Case("dynamic_update_slice_in_dim", (ROWS, X, I), lambda f, x, u, i: f(x, u, i[0], 0)),
    Case("dynamic_update_index_in_dim", (ROWS, V, I), lambda f, x, u, i: f(x, u, i[0], 0)),
    Case("index_take", (ROWS, TWO_ROWS), lambda f, x, i: f(x, (i[:, 0],), (0,))),
    Case("gather", (ROWS, TWO_ROWS), _gather, dtypes=NUMBERS, lib=True),
    Case("scatter", (ROWS, A((2, 1), 2, 2, "int32"), X), lambda lib, f, x, i, u: _scatter(lib, f, x, i - np.int32([[0], [1]]), u), dtypes=EVERY, lib=True),
    Case("scatter_add scatter_sub", (ROWS, TWO_ROWS, X), _scatter, dtypes=NUMBERS, lib=True, tol=1e-2),
    Case("scatter_min scatter_max", (ROWS, TWO_ROWS, X), _scatter, dtypes=REALS, lib=True),
    Case("scatter_mul", (ROWS, TWO_ROWS, X), _scatter, dtypes=("float32", "int32"), grad=False, lib=True),
    Case("scatter_apply", (ROWS, TWO_ROWS), _scatter_apply, dtypes=("float32", "int32"), grad=False, lib=True),
    # ----------------------------------------------------------------------------------- reductions
    Case("reduce_sum reduce_prod", (X,), lambda f, x: (f(x, (1,)), f(x, (0, 1))), dtypes=NUMBERS, tol=1e-4),
    Case("reduce_max reduce_min", (X,), lambda f, x: (f(x, (1,)), f(x, (0, 1))), dtypes=(*REALS, "bool")),
    Case("reduce_and reduce_or reduce_xor", (X,), lambda f, x: (f(x, (1,)), f(x, (0, 1))), dtypes=("bool", "int32", "uint8")),
    Case("argmax argmin", (X,), lambda f, x: (f(x, 1, np.int32), f(x, 0, np.uint8)), dtypes=(*REALS, "bool")),
    Case("reduce", (X,), lambda lib, f, x: (f(x, np.float32(1), lib.lax.add, (0,)), f(x, np.float32(-9), lib.lax.max, (0, 1))), lib=True),
    Case("reduce_window", (IMAGE,), lambda lib, f, x: f(x, np.float32(0), lib.lax.add, (1, 1, 2, 2), (1, 1, 2, 1), "VALID"), lib=True),
    Case("reduce_window", (X,), lambda lib, f, x: f(x, -np.inf, lib.lax.max, (1, 2), (1, 1), "SAME"), lib=True),
    Case("reduce_window", (X,), lambda lib, f, x: f(x, np.inf, lib.lax.min, (2, 2), (1, 1), ((1, 0), (0, 1)), None, (1, 2)), grad=False, lib=True),
    Case("cumsum cumprod", (X,), lambda f, x: (f(x, 1), f(x, axis=0, reverse=True)), dtypes=NUMBERS, tol=1e-4),
    Case("cummax cummin", (X,), lambda f, x: (f(x, 1), f(x, axis=0, reverse=True)), dtypes=REALS),
    Case("cumlogsumexp", (X,), lambda f, x: (f(x, 1), f(x, axis=0, reverse=True)), dtypes=FLOATS),
    Case("sort", (X,), lambda f, x: (f(x), f(x, dimension=0), f(x, is_stable=False)), dtypes=(*REALS, "bool")),
    Case("sort", (A((6,), 0, 2), A((6,))), lambda f, x, y: (*f((x, y), num_keys=2), *f([x, y])), dtypes=("float32", "int32")),
    Case("sort_key_val", (A((6,), 0, 3), A((6,)))),
    Case("top_k approx_max_k", (X,), lambda f, x: f(x, 2), dtypes=("float32", "bfloat16")),
    Case("top_k", (X,), lambda f, x: f(x, 2), dtypes=("int32", "uint8", "float16")),
    Case("approx_min_k", (X,), lambda f, x: f(x, 2)),
    # ------------------------------------------------------------------------------------- products
    Case("dot", (X, M), lambda f, x, m: (f(x, m), f(m, x[0]), f(x[0], x[1])), dtypes=NUMBERS, tol=1e-4),
    Case("dot_general", (CUBE, A((2, 4, 3))), lambda f, x, y: (f(x, y, (((2,), (1,)), ((0,), (0,)))), f(x, y, (((0, 1), (0, 2)), ((), ())))), dtypes=NUMBERS, tol=1e-4),
    Case("dot_general", (X, M), lambda f, x, m: f(x, m, (((1,), (0,)), ((), ())), preferred_element_type=np.float32), dtypes=("float32", "bfloat16", "float16"), tol=1e-4),
    Case("batch_matmul", (CUBE, A((2, 4, 3))), tol=1e-4),
    Case("conv", (IMAGE, KERNEL), lambda f, x, w: (f(x, w, (1, 1), "SAME"), f(x, w, (2, 1), "VALID")), dtypes=("float32", "bfloat16"), tol=1e-4),
    Case("conv_with_general_padding", (IMAGE, KERNEL), lambda f, x, w: f(x, w, (1, 2), ((1, 0), (2, 1)), (2, 1), (1, 2)), tol=1e-4),
    Case("conv_general_dilated", (IMAGE, A((4, 1, 3, 2))), lambda f, x, w: f(x, w, (1, 1), "SAME", feature_group_count=2), tol=1e-4),
    Case("conv_general_dilated", (A((2, 5, 4, 2)), A((3, 2, 2, 4))), lambda f, x, w: f(x, w, (2, 1), ((1, 1), (0, 0)), (1, 2), (1, 1), ("NHWC", "HWIO", "NHWC")), dtypes=("float32", "float16", "int32"), tol=1e-4),
    Case("conv_transpose", (A((2, 4, 3, 2)), A((3, 2, 2, 4))), lambda f, x, w: (f(x, w, (2, 1), "SAME"), f(x, w, (2, 2), "VALID", transpose_kernel=False)), tol=1e-4),
    Case("conv_general_dilated_patches", (IMAGE,), lambda f, x: f(x, (2, 3), (1, 2), "SAME")),
    Case("conv_general_dilated_local", (IMAGE, A((4, 12, 3, 3))), lambda f, x, w: f(x, w, (1, 1), "VALID", (3, 2)), tol=1e-4),
    Case("ragged_dot", (ROWS, A((3, 3, 2))), _ragged, dtypes=("float32", "bfloat16"), vmap=False, lib=True, tol=1e-4),
    Case("ragged_dot_general", (ROWS, A((2, 3, 2))), _ragged_general, grad=False, vmap=False, lib=True, tol=1e-4),
    Case("scaled_dot", (CUBE, A((2, 4, 5)), A((2, 3, 2)), A((2, 1, 5))), lambda f, x, y, a, b: f(x, y, lhs_scale=a, rhs_scale=b, dimension_numbers=(((2,), (1,)), ((0,), (0,))), preferred_element_type=np.float32), grad=False, tol=2e-2),
    Case("fft", (A((2, 4)),), lambda f, x: (f(x, "fft", (4,)), f(x, "ifft", (2, 4))), dtypes=COMPLEX),
    Case("fft", (A((2, 4)),), lambda f, x: f(x, "rfft", (4,)), tol=1e-4),
    # ------------------------------------------------------------------------------------- control flow
    Case("cond", (V, V), lambda lib, f, x, y: (f(x[0] > 0, lib.numpy.sin, lib.numpy.cos, y), f(True, lambda: x, lambda: y)), lib=True),
    Case("switch", (V, A((2,), 0, 2, "int32")), lambda lib, f, x, i: f(i[0], [lib.numpy.sin, lib.numpy.cos, lambda v: v * v], x), lib=True),
    Case("fori_loop", (V,), lambda lib, f, x: (f(0, 3, lambda i, v: lib.numpy.sin(v) * (i + 1), x), f(2, 2, lambda i, v: v * 2, x)), lib=True),
    Case("while_loop", (V,), lambda f, x: f(lambda s: s[0] < 4, lambda s: (s[0] + 1, s[1] * 0.5 + s[0]), (0, x)), grad=False),
    Case("scan", (V, ROWS), lambda lib, f, c, xs: f(lambda c, x: (lib.numpy.sin(c) + x, c * x), c, xs, reverse=True), lib=True),
    Case("scan", (V,), lambda f, c: f(lambda c, _: (c * 0.5, (c, c[0])), c, None, length=3, unroll=2)),
    Case("map", (ROWS,), lambda f, x: (f(lambda r: r * r.sum(), x), f(lambda r: r * r.sum(), x, batch_size=3))),
    Case("associative_scan", (ROWS,), lambda lib, f, x: (f(lib.numpy.add, x), f(lambda a, b: a * b, x, reverse=True, axis=1)), lib=True),
    Case("custom_linear_solve", (M, V), _linear_solve, lib=True, tol=1e-4),
    Case("custom_root", (POSITIVE,), _root, lib=True, tol=1e-4),
    Case("platform_dependent", (V,), lambda f, x: f(x, cpu=lambda v: v + 1, default=lambda v: v)),
    Case("composite", (V, V), lambda lib, f, x, y: f(lambda a, b, *, k: a * k + lib.numpy.sin(b), name="fx.test")(x, y, k=2.0), grad=False, vmap=False, lib=True),
    # -------------------------------------------------------------------------------------- collectives
    Case("psum pmean", (X,), lambda lib, f, x: _over(lib, lambda v: (f(v, "i"), f({"a": v[0]}, "i")["a"]), x), lib=True),
    Case("pmax pmin", (X,), lambda lib, f, x: _over(lib, lambda v: f(v, "i"), x), grad=False, lib=True),
    Case("all_gather", (X,), lambda lib, f, x: _over(lib, lambda v: (f(v, "i"), f(v, "i", axis=1), f(v, "i", tiled=True)), x), lib=True),
    Case("psum_scatter", (M,), lambda lib, f, x: _over(lib, lambda v: f(v, "i"), x), lib=True),
    Case("all_to_all", (M,), lambda lib, f, x: _over(lib, lambda v: f(v, "i", 0, 0), x), lib=True),
    Case("ppermute", (X,), lambda lib, f, x: _over(lib, lambda v: f(v, "i", [(0, 1), (1, 0)]), x), lib=True),
    Case("pshuffle", (X,), lambda lib, f, x: _over(lib, lambda v: f(v, "i", [1, 0]), x), lib=True),
    Case("pswapaxes", (M,), lambda lib, f, x: _over(lib, lambda v: f(v, "i", 0), x), lib=True),
    Case("axis_index", (X,), lambda lib, f, x: _over(lib, lambda v: v * f("i"), x), lib=True),
    Case("axis_size", (X,), lambda lib, f, x: _over(lib, lambda v: v * f("i"), x), lib=True),
    # ----------------------------------------------------------------------- answers that are no arrays
    Case("dtype", (X,), lambda f, x: str(f(x)), dtypes=("float32", "int32"), vmap=False),
    Case("broadcast_shapes", (), lambda f: f((2, 1), (3,))),
    Case("shape_as_value", (), lambda f: f((2, 3))),
    Case("padtype_to_pads", (), lambda f: [_ints(p) for p in f((7, 7), (3, 2), (2, 2), "SAME")]),
    Case("reduce_window_shape_tuple", (), lambda f: _ints(f((8, 9), (2, 3), (2, 2), ((0, 0), (1, 1))))),
    Case("conv_shape_tuple", (), lambda f: _ints(f((2, 3, 8, 8), (5, 3, 3, 3), (1, 2), ((0, 0), (0, 0))))),
    Case("conv_general_shape_tuple conv_transpose_shape_tuple", (), lambda f: _ints(f((2, 8, 8, 3), (3, 3, 3, 5) if "transpose" not in f.__name__ else (3, 3, 5, 3), (2, 1), "SAME", ("NHWC", "HWIO", "NHWC")))),
    Case("conv_general_permutations", (), lambda f: [_ints(p) for p in f(("NHWC", "HWIO", "NHWC"))]),
    Case("conv_dimension_numbers", (), lambda f: [_ints(p) for p in f((2, 8, 8, 3), (3, 3, 3, 5), ("NHWC", "HWIO", "NHWC"))]),
]  # fmt: skip

NOT_CALLED = {
    "RandomAlgorithm": "a type",
    "rng_bit_generator": "stands beside JAX's in test_lax_names.py",
    **dict.fromkeys("ConvDimensionNumbers ConvGeneralDilatedDimensionNumbers DotDimensionNumbers FftType Precision PrecisionLike RoundingMethod".split(), "a type"),
    **dict.fromkeys("GatherDimensionNumbers GatherScatterMode RaggedDotDimensionNumbers ScatterDimensionNumbers".split(), "a type, used by the calls"),
    "pbroadcast": "JAX has no rule for it under vmap: test_lax_names.py",
    "pcast": "takes part in shard_map: test_sharding.py",
    "with_sharding_constraint": "needs a mesh: test_sharding.py",
    "linalg": "a module: its functions stand beside JAX's in test_linalg.py",
}  # fmt: skip

DTYPE_RULES: dict[tuple[str, str], str] = {}
