"""The public functions of products, convolutions, windows, indexing, sorting: spellings, dtypes, edges, errors."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import structured_truths as truths

from fx import api, dtypes, jit
from fx.array import to_numpy
from fx.errors import AxisError, ConcretizationError, DTypeError, MissingRuleError, OutOfBoundsIndexError, ShapeError
from fx.primitives import (
    conv,
    elementwise,
    gather_scatter,
    indexing,
    linalg,
    sorting,
    windows,
)
from fx.primitives import (
    conv_variants as variants,
)

NUMBERS = [d for d in dtypes.ALL if d != dtypes.bool_]
HALVES = [d for d in dtypes.FLOATS if d.itemsize == 2]
each_number = pytest.mark.parametrize("dtype", NUMBERS, ids=str)
each_dtype = pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)


@pytest.fixture(scope="module")
def jax():
    found = pytest.importorskip("jax")
    with found.enable_x64(True):
        yield found


def some(dtype, *shape, seed=0):
    """Small numbers that every dtype holds exactly; sums of a few of them too."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0 if dtype.kind == "u" else -3, 4, shape)
    return (x + 1j * rng.integers(-3, 4, shape)).astype(dtype) if dtype.kind == "c" else x.astype(dtype)


def equal(got, want):
    got, want = to_numpy(got), np.asarray(want)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    np.testing.assert_array_equal(wide(got), wide(want))


def wide(x):
    """The dtype in which a truth is computed."""
    return x.astype(np.float64) if dtypes.is_float(x.dtype) else x


# ------------------------------------------------------------------------------------ every dtype


@each_number
def test_products_and_convolutions_in_every_dtype(dtype):
    x, y = some(dtype, 3, 4), some(dtype, 4, 2, seed=1)
    equal(linalg.dot(x, y), (wide(x) @ wide(y)).astype(dtype))
    x, w = some(dtype, 2, 2, 5), some(dtype, 3, 2, 3, seed=1)
    spec = (0, 1, 2)
    want = truths.conv(wide(x), wide(w), (2,), ((1, 1),), (1,), (1,), spec, spec, spec, 1, 1)
    equal(variants.conv(x, w, (2,), "SAME"), want.astype(dtype))


def test_bool_products_are_or_of_and():
    x, y = some(dtypes.bool_, 3, 4), some(dtypes.bool_, 4, 2, seed=1)
    equal(linalg.dot(x, y), x @ y)


@each_number
def test_window_sums_in_every_dtype(dtype):
    x, window = some(dtype, 3, 5), ((2, 2), (1, 2), ((1, 0), (0, 1)), (1, 1), (1, 2))
    equal(windows.reduce_window_sum(x, *window), truths.reduce_window(wide(x), operator.add, 0, *window).astype(dtype))


@pytest.mark.parametrize("dtype", [d for d in dtypes.ALL if d.kind != "c"], ids=str)
def test_window_extremes_in_every_dtype(dtype):
    x, window = some(dtype, 3, 5), ((2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1))
    for fold, arg, by, better in (
        (windows.reduce_window_max, windows.reduce_window_argmax, np.maximum, operator.gt),
        (windows.reduce_window_min, windows.reduce_window_argmin, np.minimum, operator.lt),
    ):
        # every window holds an element, so any first value will do as the identity
        identity = wide(x).min() if by is np.maximum else wide(x).max()
        equal(fold(x, *window), truths.reduce_window(wide(x), by, identity, *window).astype(dtype))
        equal(arg(x, *window), truths.reduce_window_arg(x, better, *window))


ROWS = gather_scatter.GatherDimensionNumbers((1,), (0,), (0,))
WRITE_ROWS = gather_scatter.ScatterDimensionNumbers((1,), (0,), (0,))


@each_dtype
@pytest.mark.parametrize("index_dtype", dtypes.INTEGERS, ids=str)
def test_gather_and_scatter_in_every_dtype(dtype, index_dtype):
    x, u = some(dtype, 4, 3), some(dtype, 3, 3, seed=1)
    i = np.array([[2], [100], [2]], index_dtype)
    fill = np.nan if dtypes.is_inexact(dtype) else True if dtype.kind == "b" else np.iinfo(dtype).min
    fill = np.iinfo(dtype).max if dtype.kind == "u" else fill
    want = x[[2, 0, 2]]
    want[1] = fill
    equal(gather_scatter.gather(x, i, ROWS, (1, 3)), want)
    equal(gather_scatter.gather(x, i, ROWS, (1, 3), mode="clip"), x[[2, 3, 2]])
    want = x.copy()
    want[2] = u[2]
    equal(gather_scatter.scatter(x, i, u, WRITE_ROWS), want)
    want[2] = x[2] + u[0] + u[2]
    add = (
        gather_scatter.scatter_max if dtype.kind == "b" else gather_scatter.scatter_add
    )  # NumPy's sum of booleans is their or
    equal(add(x, i, u, WRITE_ROWS), want)


def test_an_index_beyond_int64_is_outside():
    x, i = np.arange(4.0), np.array([[2**64 - 1], [1]], np.uint64)
    numbers = gather_scatter.GatherDimensionNumbers((), (0,), (0,))
    equal(gather_scatter.gather(x, i, numbers, (1,)), np.array([np.nan, 1.0]))
    equal(gather_scatter.gather(x, i, numbers, (1,), mode="clip"), np.array([3.0, 1.0]))


@each_dtype
def test_sorting_in_every_dtype(dtype):
    x = some(dtype, 3, 9)
    equal(sorting.sort(x), np.sort(wide(x)).astype(dtype))
    if dtype.kind != "c":
        keys, order = sorting.sort_key_val(x, np.tile(np.arange(9), (3, 1)))
        equal(order, np.argsort(wide(x), kind="stable"))
        equal(keys, np.sort(wide(x)).astype(dtype))
        for got, want in zip(sorting.top_k(x, 4), truths.top_k(x, 4)):
            equal(got, want)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_floats_add_up_in_float32(dtype):
    ones = np.ones(4096, dtype)  # one by one in the dtype itself the sum stops at 2048 or 256
    equal(linalg.dot(ones, ones), np.array(4096, dtype))
    equal(windows.reduce_window_sum(ones, (4096,)), np.array([4096], dtype))
    zero = np.zeros(1, dtype)
    numbers = gather_scatter.ScatterDimensionNumbers((), (0,), (0,))
    equal(gather_scatter.scatter_add(zero, np.zeros((4096, 1), int), ones, numbers), np.array([4096], dtype))


@pytest.mark.parametrize(
    ("dtype", "preferred"),
    [("int8", "int32"), ("int8", "float32"), ("uint8", "int32"), ("float16", "float32"), ("float32", "float64")],
)
def test_preferred_element_type(dtype, preferred):
    x = np.full((2, 300), 100, dtype)
    numbers = (((1,), (1,)), ((), ()))
    wide = x.astype(preferred)
    equal(linalg.dot_general(x, x, numbers, preferred_element_type=preferred), wide @ wide.T)
    got = conv.conv_general_dilated(x[None], x[None], (1,), "VALID", preferred_element_type=preferred)
    equal(got, np.full((1, 1, 1), 100 * 100 * 600, preferred))


def test_the_gradient_of_a_widened_product_has_the_operands_dtype():
    x, y = np.ones((2, 3), np.float16), np.full((3, 2), 2, np.float16)
    _, pull = api.vjp(lambda a, b: linalg.dot(a, b, preferred_element_type=np.float32), x, y)
    ct = np.full((2, 2), 3, np.float32)
    equal(pull(ct)[0], np.full((2, 3), 12, np.float16))
    equal(pull(ct)[1], np.full((3, 2), 6, np.float16))


def test_the_gradient_of_a_widened_convolution_has_the_operands_dtype():
    x, w = np.ones((1, 1, 4), np.float16), np.full((1, 1, 2), 2, np.float16)
    wide = {"preferred_element_type": np.float32}
    _, pull = api.vjp(lambda a, b: conv.conv_general_dilated(a, b, (1,), "VALID", **wide), x, w)
    dx, dw = pull(np.ones((1, 1, 3), np.float32))
    equal(dx, np.array([[[2, 4, 4, 2]]], np.float16))
    equal(dw, np.array([[[3, 3]]], np.float16))


LINEAR = {
    "dot": (lambda x: linalg.dot(x, some(dtypes.complex128, 4, 2, seed=1)), (3, 4)),
    "conv": (lambda x: variants.conv(x, some(dtypes.complex128, 2, 3, 2, seed=1), (1,), "SAME"), (1, 3, 5)),
    "window sum": (lambda x: windows.reduce_window_sum(x, (2, 2)), (3, 4)),
    "gather": (lambda x: gather_scatter.gather(x, np.array([[1], [1], [9]]), ROWS, (1, 3)), (2, 3)),
    "dynamic_slice": (lambda x: indexing.dynamic_slice(x, (1, 0), (1, 2)), (3, 3)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_complex_transposes_do_not_conjugate(name):
    f, shape = LINEAR[name]
    x, v = some(dtypes.complex128, *shape), some(dtypes.complex128, *shape, seed=2)
    out, tangent = api.jvp(f, (x,), (v,))
    ct = some(dtypes.complex128, *out.shape, seed=3)
    (pulled,) = api.vjp(f, x)[1](ct)
    assert np.sum(np.asarray(tangent) * ct) == pytest.approx(np.sum(v * np.asarray(pulled)))


# -------------------------------------------------------------------------------- NaN, inf, empty


def test_nan_wins_in_windows():
    x = np.array([1.0, np.nan, 3.0, -np.inf, -np.inf, np.nan, np.nan])
    equal(windows.reduce_window_max(x, (2,)), np.array([np.nan, np.nan, 3, -np.inf, np.nan, np.nan]))
    equal(windows.reduce_window_argmax(x, (2,)), np.array([1, 0, 0, 0, 1, 0], np.int32))
    equal(windows.reduce_window_argmin(x, (2,)), np.array([1, 0, 1, 0, 1, 0], np.int32))


def test_a_hole_never_wins_over_an_element():
    x = np.array([-np.inf, -np.inf])
    taps = windows.reduce_window_argmax(x, (3,), padding=((2, 2),))
    equal(taps, np.array([2, 1, 0, 0], np.int32))
    grad = api.vjp(lambda x: windows.reduce_window_max(x, (3,), padding=((2, 2),)), x)[1](np.ones(4))[0]
    equal(grad, np.array([3.0, 1.0]))


def test_windows_of_holes_alone_give_the_identity():
    x = np.zeros(1, np.int32)
    equal(windows.reduce_window_max(x, (1,), padding=((1, 0),)), np.array([np.iinfo(np.int32).min, 0], np.int32))
    equal(windows.reduce_window_sum(x, (1,), padding=((1, 0),)), np.zeros(2, np.int32))


def test_nan_sorts_last_and_zeros_are_equal():
    x = np.array([np.nan, 0.0, -1.0, -0.0, np.inf, -np.inf, np.nan])
    keys, order = sorting.sort_key_val(x, np.arange(7))
    equal(order, np.array([5, 2, 1, 3, 4, 0, 6]))
    assert np.signbit(np.asarray(keys)[2:4]).tolist() == [False, True]
    values, positions = sorting.top_k(x, 5)
    equal(positions, np.array([0, 6, 4, 1, 3], np.int32))
    equal(values, x[[0, 6, 4, 1, 3]])


def test_overflow_warns_nobody():
    big = np.full((2, 2), 60000, np.float16)
    equal(linalg.dot(big, big), np.full((2, 2), np.inf, np.float16))
    equal(windows.reduce_window_sum(big, (2, 2)), np.full((1, 1), np.inf, np.float16))
    x = np.array([[np.inf, -np.inf]])
    equal(linalg.dot(x, np.ones((2, 1))), np.array([[np.nan]]))


def test_an_empty_batch():
    x, w = np.ones((0, 1, 2, 5)), np.ones((0, 3, 2, 2))
    assert api.vmap(lambda x, w: variants.conv(x, w, (1,), "VALID"))(x, w).shape == (0, 1, 3, 4)
    i = np.zeros((0, 2, 1), int)
    assert api.vmap(lambda x, i: gather_scatter.gather(x, i, ROWS, (1, 3)))(np.ones((0, 4, 3)), i).shape == (0, 2, 3)
    assert api.vmap(sorting.sort)(np.ones((0, 4))).shape == (0, 4)


def test_gather_of_and_scatter_into_nothing():
    x, i = np.zeros((0, 3)), np.zeros((2, 1), int)
    numbers = gather_scatter.GatherDimensionNumbers((1,), (0,), (0,))
    equal(gather_scatter.gather(x, i, numbers, (0, 3)), np.full((2, 3), np.nan))
    equal(gather_scatter.scatter_add(x, i, np.ones((2, 3)), WRITE_ROWS), x)


# --------------------------------------------------------------------------------------- spellings


def test_dot_of_vectors_and_matrices():
    a, b, v = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4), np.arange(3.0)
    for x, y in ((a, b), (a, v), (v, b), (v, v)):
        equal(linalg.dot(x, y), np.dot(x, y))
    batched = np.arange(24.0).reshape(2, 3, 4)
    equal(linalg.batch_matmul(batched, batched.swapaxes(1, 2)), batched @ batched.swapaxes(1, 2))
    equal(linalg.dot_general(a, b, (((-1,), (0,)), ((), ())), precision="highest"), a @ b)


@pytest.mark.parametrize("padding", ["SAME", "same_lower", "VALID", [(1, 2), (0, 1)]])
@pytest.mark.parametrize(
    "numbers", [None, ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NHWC"), ("CWNH", "IWHO", "HCWN")]
)
def test_conv_spellings_as_in_jax(jax, padding, numbers):
    rng = np.random.default_rng(0)
    lhs, rhs = ("NCHW", "OIHW") if numbers is None else numbers[:2]
    x = rng.standard_normal([{"N": 2, "C": 3, "H": 7, "W": 6}[c] for c in lhs])
    w = rng.standard_normal([{"O": 4, "I": 3, "H": 3, "W": 2}[c] for c in rhs])
    args = ((2, 1), padding, None, (1, 2), numbers)
    np.testing.assert_allclose(
        conv.conv_general_dilated(x, w, *args), jax.lax.conv_general_dilated(x, w, *args), rtol=1e-9
    )
    args = ((2, 2), (1, 2), padding, None, (2, 1), numbers)
    f, g = variants.conv_general_dilated_patches, jax.lax.conv_general_dilated_patches
    np.testing.assert_allclose(f(x, *args), g(x, *args), rtol=1e-9)


@pytest.mark.parametrize("padding", ["SAME", "VALID", [(1, 2), (0, 1)]])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3), (4, 1)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"transpose_kernel": True},
        {"use_consistent_padding": True},
        {"rhs_dilation": (2, 1), "transpose_kernel": True},
    ],
    ids=str,
)
def test_conv_transpose_as_in_jax(jax, padding, strides, options):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 5, 3)), rng.standard_normal((3, 2, 4, 3))
    w = w.swapaxes(2, 3) if not options.get("transpose_kernel") else w
    got = variants.conv_transpose(x, w, strides, padding, **options)
    np.testing.assert_allclose(got, jax.lax.conv_transpose(x, w, strides, padding, **options), rtol=1e-9, atol=1e-12)


def test_conv_transpose_is_the_transpose_of_conv():
    """With the kernel transposed and the forward padding, <conv(x), y> = <x, conv_transpose(y)>."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 9, 3)), rng.standard_normal((3, 3, 4))
    forward = conv.conv_general_dilated(x, w, (2,), [(1, 1)], dimension_numbers=("NHC", "HIO", "NHC"))
    y = rng.standard_normal(forward.shape)
    back = variants.conv_transpose(y, w, (2,), [(1, 1)], transpose_kernel=True, use_consistent_padding=True)
    assert np.sum(np.asarray(forward) * y) == pytest.approx(np.sum(x * np.asarray(back)))


WINDOW = ((2, 3), (1, 2), ((1, 0), (0, 2)), (1, 2), (2, 1))


@pytest.mark.parametrize(
    ("name", "init"),
    [("add", 0.0), ("add", 0.5), ("max", -np.inf), ("max", 0.25), ("min", np.inf), ("mul", 1.0), ("mul", 2.0)],
)
def test_reduce_window_by_function_and_by_name(jax, name, init):
    x = np.random.default_rng(0).standard_normal((4, 5))
    want = jax.lax.reduce_window(x, init, getattr(jax.lax, name), *WINDOW)
    for computation in (getattr(elementwise, name), name, lambda x, y: getattr(elementwise, name)(y, x)):
        got = windows.reduce_window(x, init, computation, *WINDOW)
        np.testing.assert_allclose(got, want, rtol=1e-12)
    batched = api.vmap(lambda x: windows.reduce_window(x, init, name, *WINDOW))(x[None])
    np.testing.assert_allclose(np.asarray(batched)[0], want, rtol=1e-12)


def test_reduce_window_with_max_is_one_equation():
    f = api.make_graph(lambda x: windows.reduce_window(x, -np.inf, elementwise.max, (2, 2), (2, 2), "SAME"))
    assert [e.prim.name for e in f(np.ones((4, 4))).eqns] == ["reduce_window_max"]
    f = api.make_graph(lambda x: windows.reduce_window(x, np.float32(-np.inf), max, (2, 2), (2, 2), "SAME"))
    assert [e.prim.name for e in f(np.ones((4, 4), np.float32)).eqns] == ["reduce_window_max"]


def test_dynamic_functions_along_one_axis():
    x = np.arange(12.0).reshape(3, 4)
    equal(indexing.dynamic_slice_in_dim(x, 2, 2, axis=-1), x[:, 2:])
    equal(indexing.dynamic_slice_in_dim(x, -3, 2, axis=1), x[:, 1:3])
    equal(indexing.dynamic_index_in_dim(x, np.int8(-1)), x[-1:])
    equal(indexing.dynamic_index_in_dim(x, 1, 1, keepdims=False), x[:, 1])
    want = x.copy()
    want[:, 3] = -1
    equal(indexing.dynamic_update_index_in_dim(x, -np.ones(3), 3, 1), want)
    equal(indexing.dynamic_update_slice_in_dim(x, -np.ones((3, 1)), np.uint8(200), 1), want)
    want = x.copy()
    want[0, 0] = 7
    equal(indexing.dynamic_update_slice(x, np.array([[7.0]]), (0, np.int64(-9))), want)


def test_starts_of_several_dtypes_are_promoted():
    x = np.arange(6.0).reshape(2, 3)
    f = api.make_graph(lambda i, j: indexing.dynamic_slice(x, (i, j), (1, 1)))
    (eqn,) = [e for e in f(np.int8(1), np.int32(1)).eqns if e.prim.name == "dynamic_slice"]
    assert [a.aval.dtype for a in eqn.inputs[1:]] == [np.int32, np.int32]


def test_index_take_and_take_along():
    x = np.random.default_rng(0).standard_normal((4, 3, 5))
    i, j = np.array([0, -1, 6]), np.array([1, 4, -5])
    equal(indexing.index_take(x, (i, j), (0, 2)), x[i % 4, :, j % 5])
    k = np.argsort(x, axis=1)
    equal(gather_scatter.take_along(x, k, 1), np.take_along_axis(x, k, 1))
    equal(sorting.argsort(x, 1, index_dtype=np.int64), k)


def test_top_k_along_another_axis():
    x = np.random.default_rng(0).permutation(24).reshape(2, 4, 3)
    values, positions = sorting.top_k(x, 2, axis=1)
    equal(values, -np.sort(-x, axis=1)[:, :2])
    equal(positions, np.argsort(-x, axis=1)[:, :2].astype(np.int32))


def test_scatter_sub_and_gather_modes():
    x = np.arange(4.0)
    numbers = gather_scatter.ScatterDimensionNumbers((), (0,), (0,))
    equal(gather_scatter.scatter_sub(x, np.array([[1], [1]]), np.ones(2), numbers), np.array([0.0, -1, 2, 3]))
    mode = gather_scatter.GatherScatterMode
    assert mode.from_any(None) is mode.from_any("drop") is mode.FILL_OR_DROP
    assert mode.from_any(mode.CLIP) is mode.CLIP


def test_the_derivative_of_scatter_follows_the_last_writer():
    numbers = gather_scatter.ScatterDimensionNumbers((), (0,), (0,))
    i = np.array([[1], [1], [0], [9]])
    f = lambda x, u: gather_scatter.scatter(x, i, u, numbers)  # noqa: E731
    dx, du = api.vjp(f, np.zeros(3), np.ones(4))[1](np.array([10.0, 20.0, 30.0]))
    equal(dx, np.array([0.0, 0.0, 30.0]))
    equal(du, np.array([0.0, 20.0, 10.0, 0.0]))


def test_equal_winners_share_the_derivative_of_scatter_max(jax):
    lax = jax.lax
    x, u, i = np.array([2.0, 1.0, 5.0]), np.array([2.0, 3.0, 3.0, 2.0]), np.array([[0], [1], [1], [0]])
    numbers = gather_scatter.ScatterDimensionNumbers((), (0,), (0,))
    t = (np.array([1.0, 2.0, 4.0]), np.array([8.0, 16.0, 32.0, 64.0]))
    _, got = api.jvp(lambda x, u: gather_scatter.scatter_max(x, i, u, numbers), (x, u), t)
    equal(got, np.array([(1 + 8 + 64) / 3, (16 + 32) / 2, 4.0]))
    on_jax = lambda x, u: lax.scatter_max(x, i, u, lax.ScatterDimensionNumbers(*numbers))  # noqa: E731
    np.testing.assert_allclose(got, jax.jvp(on_jax, (x, u), t)[1], rtol=1e-12)


# ------------------------------------------------------------------------------------------ errors

A, B = np.ones((2, 3)), np.ones((4, 5))
IMAGE, KERNEL = np.ones((1, 3, 8, 8)), np.ones((4, 2, 3, 3))
I1, TAPS = np.zeros((2, 1), int), np.zeros((2, 2), np.int32)

ERRORS = {
    "dot sizes": (lambda: linalg.dot(A, B), ShapeError, "contracting dimension 1 of lhs .*size 3.*size 4"),
    "dot dtypes": (lambda: linalg.dot(A.astype(np.int8), np.ones((3, 2), np.uint8)), DTypeError, "one dtype"),
    "dot ranks": (lambda: linalg.dot(np.float64(1), A), ShapeError, "vectors and matrices"),
    "dot axis": (lambda: linalg.dot_general(A, A, (((5,), (0,)), ((), ()))), AxisError, "axis 5"),
    "dot twice": (lambda: linalg.dot_general(A, A, (((1, 1), (1, 1)), ((), ()))), AxisError, "twice"),
    "dot pairs": (lambda: linalg.dot_general(A, A, (((1,), ()), ((), ()))), ShapeError, "in pairs"),
    "dot narrow": (lambda: linalg.dot(A, A.T, preferred_element_type="float32"), DTypeError, "no narrower"),
    "dot precision": (lambda: linalg.dot(A, A.T, precision="sloppy"), DTypeError, "sloppy"),
    "conv features": (lambda: variants.conv(IMAGE, KERNEL, (1, 1), "SAME"), ShapeError, "3 features .*takes 2"),
    "conv bool": (lambda: variants.conv(IMAGE > 0, KERNEL > 0, (1, 1), "SAME"), DTypeError, "bool"),
    "conv strides": (lambda: variants.conv(IMAGE, KERNEL, (1,), "SAME"), ShapeError, "window_strides=.1,. has 1"),
    "conv stride": (lambda: variants.conv(IMAGE, KERNEL, 1, "SAME"), ShapeError, "window_strides takes 2 integers, .* found 1"),
    "conv padding of a number": (lambda: variants.conv_with_general_padding(IMAGE, KERNEL, (1, 1), 1, None, None), ShapeError, "2 pairs .* found 1"),
    "traced stride": (lambda: jit(lambda n: variants.conv(IMAGE, KERNEL, (n, n), "SAME"))(1), ConcretizationError, "static_argnums"),
    "conv stride 0": (lambda: variants.conv(IMAGE, KERNEL, (1, 0), "SAME"), ShapeError, "below 1"),
    "conv padding": (lambda: variants.conv(IMAGE, KERNEL, (1, 1), "FULL"), ShapeError, "'FULL' is not known"),
    "conv pairs": (lambda: variants.conv(IMAGE, KERNEL, (1, 1), [(1, 1)]), ShapeError, "2 pairs"),
    "conv letters": (
        lambda: conv.conv_general_dilated(IMAGE, KERNEL, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHCX")),
        ShapeError,
        "'NHCX' must hold",
    ),
    "conv groups": (
        lambda: conv.conv_general_dilated(IMAGE, np.ones((4, 1, 3, 3)), (1, 1), "SAME", feature_group_count=3),
        ShapeError,
        "multiple of feature_group_count=3",
    ),
    "conv SAME dilated": (
        lambda: conv.conv_general_dilated(IMAGE, KERNEL, (1, 1), "SAME", (2, 2)), ShapeError, "conv_transpose"
    ),
    "window entries": (lambda: windows.reduce_window_sum(A, (2,)), ShapeError, "window_dimensions"),
    "window 0": (lambda: windows.reduce_window_sum(A, (2, 0)), ShapeError, "below 1"),
    "window bool": (lambda: windows.reduce_window_sum(A > 0, (2, 2)), DTypeError, "bool"),
    "window complex": (lambda: windows.reduce_window_max(A + 0j, (2, 2)), DTypeError, "no order"),
    "window taps": (lambda: windows.window_select(A, np.zeros((1, 2)), (2, 2)), DTypeError, "int32"),
    "window taps shape": (lambda: windows.window_select(A, TAPS, (2, 2)), ShapeError, r"\(1, 2\)"),
    "gather vectors": (lambda: gather_scatter.gather(A, np.zeros((2, 2), int), ROWS, (1, 3)), ShapeError, "have 2 entries"),
    "gather float": (lambda: gather_scatter.gather(A, np.zeros((2, 1)), ROWS, (1, 3)), DTypeError, "integer"),
    "gather sizes": (lambda: gather_scatter.gather(A, I1, ROWS, (1, 4)), ShapeError, "asks for 4 of the 3"),
    "gather collapsed": (lambda: gather_scatter.gather(A, I1, ROWS, (2, 3)), ShapeError, "must be 0 or 1 along dimension 0"),
    "gather mode": (lambda: gather_scatter.gather(A, I1, ROWS, (1, 3), mode="wrap"), ShapeError, "'wrap'"),
    "gather fill": (lambda: gather_scatter.gather(I1, I1, ROWS, (1, 1), fill_value=0.5), DTypeError, "0.5"),
    "gather offsets": (
        lambda: gather_scatter.gather(A, I1, gather_scatter.GatherDimensionNumbers((), (0,), (0,)), (1, 3)), ShapeError, "offset"
    ),
    "gather order": (
        lambda: gather_scatter.gather(A, I1, gather_scatter.GatherDimensionNumbers((2, 1), (), (0,)), (1, 3)), AxisError, "rising"
    ),
    "scatter dtype": (
        lambda: gather_scatter.scatter_add(A, I1, np.ones((2, 3), np.float32), WRITE_ROWS), DTypeError, "differ in dtype"
    ),
    "scatter outer": (lambda: gather_scatter.scatter_add(A, I1, np.ones((4, 3)), WRITE_ROWS), ShapeError, r"\(4,\).*\(2,\)"),
    "scatter window": (lambda: gather_scatter.scatter_add(A, I1, np.ones((2, 4)), WRITE_ROWS), ShapeError, "have 4 elements"),
    "slice starts": (lambda: indexing.dynamic_slice(A, (0,), (1, 1)), ShapeError, "1 start indices"),
    "slice float": (lambda: indexing.dynamic_slice(A, (np.float32(0), 0), (1, 1)), DTypeError, "must be an integer"),
    "slice size": (lambda: indexing.dynamic_slice(A, (0, 0), (1, 4)), ShapeError, "4 elements along dimension 1"),
    "slice negative": (
        lambda: indexing.dynamic_slice(A, (0, -1), (1, 1), allow_negative_indices=False), OutOfBoundsIndexError, "-1"
    ),
    "slice vector": (lambda: indexing.dynamic_slice(A, (np.zeros(1, int), 0), (1, 1)), ShapeError, "scalar"),
    "update rank": (lambda: indexing.dynamic_update_slice(A, np.ones(3), (0, 0)), ShapeError, "as many dimensions"),
    "sort 0-d": (lambda: sorting.sort(np.float64(1)), AxisError, "0-d"),
    "sort shapes": (lambda: sorting.sort((A, B)), ShapeError, "one shape"),
    "sort keys": (lambda: sorting.sort((A, A), num_keys=3), ShapeError, "num_keys=3"),
    "sort nothing": (lambda: sorting.sort([], 0), ShapeError, "nothing"),
    "top_k k": (lambda: sorting.top_k(A, 4), ShapeError, "k=4"),
    "top_k complex": (lambda: sorting.top_k(A + 0j, 1), DTypeError, "no order"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_was_found(name):
    f, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        f()


def test_scatter_mul_of_repeated_indices_says_why_it_has_no_derivative():
    numbers = gather_scatter.ScatterDimensionNumbers((), (0,), (0,))
    with pytest.raises(MissingRuleError, match="unique_indices=True"):
        api.vjp(lambda u: gather_scatter.scatter_mul(np.ones(1), np.zeros((2, 1), int), u, numbers), np.ones(2))
