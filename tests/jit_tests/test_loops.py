"""The loop language: every operation on every type, natively = NumPy = the printed Python = Numba."""

from __future__ import annotations

import numpy as np
import pytest
from loop_harness import (
    ALL,
    FLOATS,
    HALVES,
    INTS,
    LEVELS,
    OPERATIONS,
    RANDOM_TYPES,
    SIGNED,
    Generator,
    N,
    all_operations,
    axpy,
    by_float32,
    call,
    dtype_of,
    level,
    operands,
    run_everywhere,
    run_native,
    same,
    samples,
    strided_sum,
)

from fx import dtypes
from jit import loop_runtime
from jit.llvm import native, objects
from jit.loop_builder import KernelBuilder
from jit.loop_ir import (
    Const,
    Kernel,
    Op,
    Ty,
    b1,
    bf16,
    f16,
    f32,
    f64,
    fma,
    i8,
    i16,
    i32,
    i64,
    maximum,
    minimum,
    op_,
    select,
    u8,
    u16,
    u32,
    u64,
)
from jit.loop_print import print_kernel
from jit.target import Target, host

LANES = (1, 4, 16)


def check_all_operations(ty: Ty, lanes: int, target: Target, vectorize: bool = False) -> None:
    kernel, outs = all_operations(ty, lanes, vectorize)
    ins = operands(ty)
    results = [np.zeros(N, dtype_of(t)) for _, t in outs]
    run_native(kernel, [*ins, *results], 0, N, target)
    for (name, _), got in zip(outs, results):
        args = [ins[0], ins[3] if name in ("shl", "shr", "div", "rem") and ty.kind in "iu" else ins[1], ins[2]]
        reference = OPERATIONS[name][1]
        with np.errstate(all="ignore"):
            if name == "fma" and not target.fma:
                expected = by_float32(lambda a, b, c: a * b + c)(*args)
            else:
                expected = reference(
                    *args[: reference.nin if isinstance(reference, np.ufunc) else reference.__code__.co_argcount]
                )
        np.testing.assert_array_equal(got, expected, err_msg=f"{name} on {ty} x {lanes}")


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("ty", [*FLOATS, b1, *INTS], ids=str)
def test_every_operation_is_numpys(ty: Ty, lanes: int) -> None:
    check_all_operations(ty, lanes, host())


@pytest.mark.parametrize("ty", [*FLOATS, b1, i8, i32, u16, i64], ids=str)
def test_every_operation_vectorized(ty: Ty) -> None:
    check_all_operations(ty, 1, host(), vectorize=True)


@pytest.mark.parametrize("name", LEVELS[1:])
@pytest.mark.parametrize("ty", [*FLOATS, i8, u32, i64], ids=str)
def test_every_operation_on_lesser_machines(ty: Ty, name: str) -> None:
    check_all_operations(ty, 1 if name == "scalar" else 4, level(name), vectorize=name == "scalar")


@pytest.mark.parametrize("ty", [*FLOATS, b1, i32, i64, u8], ids=str)
def test_every_operation_printed(ty: Ty) -> None:
    for lanes in (1, 4):
        kernel, outs = all_operations(ty, lanes, False)
        args = [*(a[:48] for a in operands(ty)), *(np.zeros(48, dtype_of(t)) for _, t in outs)]
        run_everywhere(kernel, args, 0, 48, numba=lanes == 1)


# ----------------------------------------------------------------------------------------- conversions


def converted(x: np.ndarray, dst: Ty) -> np.ndarray:
    """What ``cast`` documents, by NumPy's astype where that is defined and by Python elsewhere."""
    d = dtype_of(dst)
    if dst.kind == "b":
        return x != 0
    is_float = x.dtype.kind == "f" or x.dtype == dtypes.bfloat16
    if dst.kind in "iu" and is_float:
        info = np.iinfo(d)
        wide = x.astype(np.float64)
        limited = [0 if v != v else info.min if v < info.min else info.max if v > info.max else int(v) for v in wide]
        return np.array(limited, object).clip(info.min, info.max).astype(d)
    if d.itemsize == 2 and dst.is_float and not is_float:
        return x.astype(np.float32).astype(d)
    return x.astype(d)


def cast_kernel(src: Ty, lanes: int, vectorize: bool = False) -> Kernel:
    b = KernelBuilder(f"casts_from_{src}")
    x = b.pointer("x", src)
    outs = [b.pointer(f"to_{t}", t) for t in ALL]
    with b.for_("i", b.lo, b.hi, step=lanes, vectorize=vectorize) as i:
        v = b.load(x, i, lanes)
        for t, o in zip(ALL, outs):
            b.store(o, i, v.cast(t.vector(lanes)))
    return b.build()


def check_casts(src: Ty, lanes: int, target: Target, vectorize: bool = False) -> None:
    x = samples(src)
    outs = [np.zeros(N, dtype_of(t)) for t in ALL]
    run_native(cast_kernel(src, lanes, vectorize), [x, *outs], 0, N, target)
    for t, got in zip(ALL, outs):
        with np.errstate(all="ignore"):
            same(got, converted(x, t))


@pytest.mark.parametrize("src", ALL, ids=str)
def test_every_cast_is_numpys(src: Ty) -> None:
    check_casts(src, 1, host())
    check_casts(src, 8, host())
    check_casts(src, 1, host(), vectorize=True)


@pytest.mark.parametrize("src", (*HALVES, f32, f64, i64, u32), ids=str)
@pytest.mark.parametrize("name", LEVELS[1:])
def test_every_cast_on_lesser_machines(name: str, src: Ty) -> None:
    check_casts(src, 1 if name == "scalar" else 4, level(name))


@pytest.mark.parametrize("src", (*HALVES, f64, b1, i64, u32), ids=str)
def test_every_cast_printed(src: Ty) -> None:
    for lanes in (1, 4):
        args = [samples(src)[:96], *(np.zeros(96, dtype_of(t)) for t in ALL)]
        run_everywhere(cast_kernel(src, lanes), args, 0, 96, numba=lanes == 1)


@pytest.mark.parametrize(
    "pair", [(f32, i32), (f32, u32), (f64, i64), (f16, u16), (bf16, i16), (i8, u8), (b1, u8)], ids=str
)
def test_bitcast_keeps_the_bits(pair: tuple[Ty, Ty]) -> None:
    if bf16 in pair and bf16 not in HALVES:
        pytest.skip("needs ml_dtypes")
    for src, dst in (pair, pair[::-1]):
        for lanes in (1, 4):
            b = KernelBuilder("bitcast")
            x, o = b.pointer("x", src), b.pointer("o", dst)
            with b.for_("i", b.lo, b.hi, step=lanes) as i:
                b.store(o, i, b.load(x, i, lanes).bitcast(dst.vector(lanes)))
            x_values = samples(src)[:96]
            if dst == b1:
                x_values = x_values & 1
            if src.is_float:
                x_values[np.isnan(x_values.astype(np.float64))] = 1  # NaNs of half precision may lose their payload
            (_, out) = run_everywhere(b.build(), [x_values, np.zeros(96, dtype_of(dst))], 0, 96, numba=lanes == 1)
            np.testing.assert_array_equal(out.view(np.uint8), x_values.view(np.uint8))


def test_bitcast_between_lanes() -> None:
    b = KernelBuilder("regroup")
    x, o, s = b.pointer("x", u32), b.pointer("o", u8), b.pointer("s", u64)
    v = b.load(x, 0, 2)
    b.store(o, 0, v.bitcast(u8.vector(8)))
    b.store(s, 0, v.bitcast(u64))
    data = np.array([0x01020304, 0xA0B0C0D0], np.uint32)
    _, o_values, s_values = run_everywhere(
        b.build(), [data, np.zeros(8, np.uint8), np.zeros(1, np.uint64)], 0, 1, numba=False
    )
    assert o_values.tobytes() == data.tobytes() == s_values.tobytes()


def test_fused_reference() -> None:
    """The fractions agree with a float64 product where that is exact, and with a known case where it is not."""
    rng = np.random.default_rng(3)
    a, b, c = (rng.standard_normal(500).astype(np.float16).astype(np.float32) for _ in range(3))
    exact = (a.astype(np.float64) * b + c).astype(np.float32)
    np.testing.assert_array_equal(loop_runtime.NAMES["fma"](a, b, c), exact)
    x = np.float64(1 + 2.0**-30)
    assert loop_runtime.NAMES["fma"](x, x, np.float64(-1)) == 2.0**-29 + 2.0**-60


# --------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("ty", [f16, f32, f64, i8, i32, u64], ids=str)
@pytest.mark.parametrize("lanes", [2, 8, 16])
def test_vector_operations(ty: Ty, lanes: int) -> None:
    b = KernelBuilder("vectors")
    x, o, s = b.pointer("x", ty), b.pointer("o", ty), b.pointer("s", ty)
    v = b.let("v", b.load(x, 0, lanes))
    for k, name in enumerate(("hadd", "hmax", "hmin")):
        b.store(s, k, op_(name, v))
    for k, bound in enumerate((6, 7)):
        b.store(s, 4 + k, select(op_("any", v >= bound), Const(1, ty), 0))
    b.store(s, 3, op_("extract", v, Const(lanes - 1, i64)))
    b.store(o, 0, Op("insert", (v, Const(1, i64), b.load(x, 0)), v.ty))
    b.store(o, lanes, Op("iota", (), v.ty))
    b.store(o, 2 * lanes, b.load(x, 1).splat(lanes))
    b.store(o, 3 * lanes, select(b.lo.eq(0), v, v + v))
    b.store(o, 4 * lanes, Const(3, v.ty))
    b.store(o, 5 * lanes, op_("reverse", v))
    b.store(o, 6 * lanes, op_("every_other", v, v + v))
    woven = b.let("woven", op_("interleave", v, v + v))
    b.store(o, 7 * lanes, woven)
    for k in range(2):
        b.store(o, (9 + k) * lanes, op_("half", woven, Const(k, i64)))
    for k in range(2):
        b.store(o, (11 + k) * lanes, op_("exchange", v, Const(k * (lanes - 1), i64)))
    odd = b.let("odd", (v.cast(i32.vector(lanes)) & 1).ne(0))
    for k, mask in enumerate((odd, ~odd)):
        front = Op("iota", (), v.ty) < op_("count", mask).cast(ty).splat(lanes)
        b.store(o, (13 + k) * lanes, select(front, op_("compress", v, mask), Const(0, v.ty)))
        b.store(s, 6 + k, op_("count", mask).cast(ty))
    values = np.random.default_rng(1).integers(1, 7, lanes).astype(dtype_of(ty))
    _, out, scalars = run_everywhere(
        b.build(), [values, np.zeros(15 * lanes, dtype_of(ty)), np.zeros(8, dtype_of(ty))], 0, 1, numba=False
    )
    some = [(values >= bound).any() for bound in (6, 7)]
    np.testing.assert_array_equal(
        scalars[:6], [values.sum(dtype=values.dtype), values.max(), values.min(), values[-1], *some]
    )
    first, second, third, fourth, fifth, *rest = out.reshape(15, lanes)
    np.testing.assert_array_equal(first, [values[0], values[0], *values[2:]])
    np.testing.assert_array_equal(second, np.arange(lanes))
    np.testing.assert_array_equal(third, np.full(lanes, values[1]))
    np.testing.assert_array_equal(fourth, values)
    np.testing.assert_array_equal(fifth, np.full(lanes, 3))
    double = (values + values).astype(values.dtype)
    np.testing.assert_array_equal(rest[0], values[::-1])
    np.testing.assert_array_equal(rest[1], np.concatenate([values[::2], double[1::2]]))
    np.testing.assert_array_equal(np.concatenate(rest[2:4]), np.stack([values, double], 1).ravel())
    np.testing.assert_array_equal(np.stack(rest[4:6]), np.stack(rest[2:4]))
    np.testing.assert_array_equal(np.stack(rest[6:8]), np.stack([values, values[::-1]]))
    for k, mask in enumerate((values % 2 == 1, values % 2 == 0)):
        number = np.count_nonzero(mask)
        np.testing.assert_array_equal(rest[8 + k], [*values[mask], *np.zeros(lanes - number)])
        assert scalars[6 + k] == number


def test_horizontal_sum_is_a_fixed_tree() -> None:
    b = KernelBuilder("tree")
    x, o = b.pointer("x", f32), b.pointer("o", f32)
    b.store(o, 0, op_("hadd", b.load(x, 0, 8)))
    x_values = (np.random.default_rng(0).standard_normal(8) * 10.0 ** np.arange(8)).astype(np.float32)
    _, out = run_everywhere(b.build(), [x_values, np.zeros(1, np.float32)], 0, 1, numba=False)
    t = x_values[:4] + x_values[4:]
    t = t[:2] + t[2:]
    assert out[0] == t[0] + t[1]


@pytest.mark.parametrize("name", ["host", "avx512", "avx2", "sse2", "scalar"])
@pytest.mark.parametrize("ty", [f32, f64], ids=str)
def test_lookup_in_a_table(name: str, ty: Ty) -> None:
    """By the last four bits, in vectors of every length and as a scalar."""
    table = [0.5 * k - 3 for k in range(16)]
    u = Ty("u", ty.bits)
    places = np.random.default_rng(0).integers(0, 2**31, N).astype(dtype_of(u))
    for lanes in (0, 1, 2, 4, 16, 32):  # 0: a loop that is vectorised
        b = KernelBuilder("lookup")
        source, out = b.pointer("i", u), b.pointer("out", ty)
        with b.for_("i", b.lo, b.hi, step=max(lanes, 1), vectorize=not lanes) as i:
            numbers = [Const(c, ty.vector(max(lanes, 1))) for c in table]
            b.store(out, i, op_("lookup", b.load(source, i, max(lanes, 1)), *numbers))
        args = [places, np.zeros(N, dtype_of(ty))]
        found = run_everywhere(b.build(), args, 0, N, level(name), numba=lanes < 2)[-1]
        np.testing.assert_array_equal(found, np.array(table, dtype_of(ty))[places % 16])


@pytest.mark.parametrize("name", ["host", "avx2", "scalar"])
@pytest.mark.parametrize("bound", [1.0, np.nan])
def test_maximum_with_a_constant_propagates_nan(name: str, bound: float) -> None:
    """On both sides, and whether the constant or the other operand is NaN."""
    for vectorize in (True, False):
        b = KernelBuilder("bounded")
        x, *outs = (b.pointer(p, f32) for p in ("x", "high", "low", "left"))
        with b.for_("i", b.lo, b.hi, vectorize=vectorize) as i:
            v = b.load(x, i)
            results = maximum(v, bound), minimum(v, bound), op_("max", Const(bound, f32), v)
            for out, value in zip(outs, results):
                b.store(out, i, value)
        values = np.array([0.5, 2.0, np.nan, -np.inf, np.inf, 1.0] * 8, np.float32)
        args = [values, *np.zeros((3, values.size), np.float32)]
        *_, high, low, left = run_everywhere(b.build(), args, 0, values.size, level(name))
        for found, wanted in ((high, np.maximum), (left, np.maximum), (low, np.minimum)):
            np.testing.assert_array_equal(found, wanted(values, np.float32(bound)))


@pytest.mark.parametrize("name", ["host", "avx512", "avx2", "sse2", "scalar"])
@pytest.mark.parametrize("ty", [f32, f64], ids=str)
def test_scale_rounds_once(name: str, ty: Ty) -> None:
    """Subnormal and infinite results included, and fractions of a power of two, in vectors of every length and as scalars."""
    target = level(name)
    dtype, rng = dtype_of(ty), np.random.default_rng(0)
    x = rng.uniform(-2, 2, N).astype(dtype)
    n = np.round(rng.uniform(*((-250, 250) if ty == f32 else (-2000, 2000)), N)).astype(dtype)
    n[::3] = np.round(rng.uniform(*((-151, -124) if ty == f32 else (-1077, -1020)), N))[::3]
    n[10::2] += rng.integers(0, 16, n[10::2].size) / 16  # which are left out
    x[:6], n[3:5] = (0.0, -0.0, np.inf, 1.5, np.nan, 1.0), (np.nan, 3.0)
    x[6:9], n[6:9] = (1.5, -1.5, 0.5), (-1e5, -1e5, -5000)
    with np.errstate(all="ignore"):
        wanted = np.where(np.isnan(n), n, np.ldexp(x, np.floor(np.nan_to_num(n)).astype(np.int32))).astype(dtype)
    for lanes in (0, 1, 2, 4, 16, 32):  # 0: a loop that is vectorised
        b = KernelBuilder("scale")
        source, power, out = (b.pointer(p, ty) for p in ("x", "n", "out"))
        with b.for_("i", b.lo, b.hi, step=max(lanes, 1), vectorize=not lanes) as i:
            b.store(out, i, op_("scale", *(b.load(p, i, max(lanes, 1)) for p in (source, power))))
        args = [x, n, np.zeros(N, dtype)]
        found = run_everywhere(b.build(), args, 0, N, target, numba=lanes < 2)[-1]
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(np.signbit(found[:2]), [False, True])


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("ty", [f32, f64])
def test_remainders_of_floats_are_exact(ty: Ty, name: str) -> None:
    """Every pair of magnitudes and special values, and numbers next to the multiples of others, where a quotient rounds to a whole number."""
    target, dtype = level(name), dtype_of(ty).type
    info, rng = np.finfo(dtype), np.random.default_rng(2)
    special = [
        0,
        -0.0,
        1,
        -3,
        np.inf,
        -np.inf,
        np.nan,
        info.max,
        info.tiny,
        info.smallest_subnormal,
        2**29,
        2**51 - 1,
        2**53,
        5 * info.tiny / 8,
    ]
    spread = rng.standard_normal(60) * 2.0 ** rng.integers(-70, 70, 60)
    x, y = (v.ravel() for v in np.meshgrid(np.array([*special, *spread], dtype), np.array([*special, *spread], dtype)))
    divisor = rng.standard_normal(4000).astype(dtype)
    multiple = divisor * rng.integers(1, 2 ** rng.integers(1, 52, 4000)).astype(dtype)
    beside = [multiple, np.nextafter(multiple, dtype(np.inf)), np.nextafter(multiple, dtype(-np.inf)), -multiple]
    x, y = np.concatenate([x, *beside]), np.concatenate([y, *[divisor] * 4])
    n, lanes = len(x) // 8 * 8, target.lanes(ty)
    b = KernelBuilder("remainders")
    left, right, out = (b.pointer(name, ty) for name in ("x", "y", "out"))
    with b.for_("i", b.lo, b.hi, step=lanes) as i:
        b.store(out, i, b.load(left, i, lanes) % b.load(right, i, lanes))
    found = np.zeros_like(x)
    run_native(b.build(), [x, y, found], 0, n, target)
    with np.errstate(all="ignore"):
        expected = np.fmod(x, y)
    np.testing.assert_array_equal(found[:n], expected[:n])
    known = ~np.isnan(expected[:n])
    np.testing.assert_array_equal(np.signbit(found[:n])[known], np.signbit(expected[:n])[known])


def test_smallest_integer_by_minus_one_does_not_trap() -> None:
    for ty in SIGNED:
        for lanes in (1, 4):
            b = KernelBuilder("edge")
            x, y, q, r = (b.pointer(n, ty) for n in ("x", "y", "q", "r"))
            with b.for_("i", b.lo, b.hi, step=lanes) as i:
                u, v = b.load(x, i, lanes), b.load(y, i, lanes)
                b.store(q, i, u / v)
                b.store(r, i, u % v)
            low = np.iinfo(dtype_of(ty)).min
            x_values = np.array([low, low, 7, -7], dtype_of(ty))
            y_values = np.array([-1, 3, -1, 2], dtype_of(ty))
            *_, q_values, r_values = run_everywhere(
                b.build(), [x_values, y_values, *np.zeros((2, 4), dtype_of(ty))], 0, 4, numba=lanes == 1 and ty == i32
            )
            assert q_values.tolist() == [low, int(low / 3) if ty != i64 else -(2**63 // 3), -7, -3]
            assert r_values.tolist() == [0, int(np.fmod(low, dtype_of(ty).type(3))), 0, -1]


# -------------------------------------------------------------------------------------- control flow


AXPY = """\
def axpy(x: "f32*", y: "f32*", n: "i64", lo, hi, worker):
    # y = 2 x + y
    for i in range(lo, hi):  # vectorize
        y[i] = x[i]*f32(2.0) + y[i]
"""


def test_printed_axpy() -> None:
    assert print_kernel(axpy()) == AXPY


def test_axpy_and_every_way_to_cut_it() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 100)).astype(np.float32)
    _, expected, _ = run_everywhere(axpy(), [x, y, 0], 0, 100)
    np.testing.assert_array_equal(expected, x * 2 + y)
    code = objects.load_object(native.compile_object([axpy()], host()), ["axpy"])
    for cut in (0, 1, 7, 8, 50, 99, 100):
        z = y.copy()
        call(code["axpy"], [x, z, 0], cut, 100)
        call(code["axpy"], [x, z, 0], 0, cut)
        np.testing.assert_array_equal(z, expected)


def test_strided_sum() -> None:
    x = np.random.default_rng(0).standard_normal((7, 5))
    out = np.zeros(5)
    _, result, *_ = run_everywhere(strided_sum(), [x.ravel(), out, 0, 1, 5, 7], 0, 5)
    np.testing.assert_allclose(result, x.sum(0), rtol=1e-14)


def test_negative_strides_reach_before_the_pointer() -> None:
    x, out = np.arange(6.0), np.zeros(6)
    run_native(strided_sum(), [x[5:], out, 0, -1, 0, 1], 0, 6)
    np.testing.assert_array_equal(out, x[::-1])
    again = np.zeros(6)
    loop_runtime.run(print_kernel(strided_sum()), [loop_runtime.Pointer(x, 5), again, 0, -1, 0, 1], 0, 6)
    np.testing.assert_array_equal(again, out)


def test_plain_python_finds_an_index_out_of_bounds() -> None:
    with pytest.raises(IndexError, match="outside an array of 6"):
        loop_runtime.run(print_kernel(strided_sum()), [np.arange(6.0), np.zeros(7), 0, 1, 0, 1], 0, 7)


def test_two_level_nest() -> None:
    """Transpose and add a row, with an empty inner range as well."""
    b = KernelBuilder("nest")
    x, row, out = b.pointer("x", i32), b.pointer("row", i32), b.pointer("out", i32)
    m, n = b.integer("m"), b.integer("n")
    with b.for_("i", b.lo, b.hi) as i, b.for_("j", 0, m) as j:
        b.store(out, i * m + j, b.load(x, j * n + i) + b.load(row, i))
    kernel = b.build()
    x_values = np.arange(12, dtype=np.int32).reshape(3, 4)
    row_values = np.array([100, 200, 300, 400], np.int32)
    args = [x_values.ravel(), row_values, np.zeros(12, np.int32), 3, 4]
    out_values = run_everywhere(kernel, args, 0, 4)[2]
    np.testing.assert_array_equal(out_values.reshape(4, 3), (x_values + row_values).T)
    untouched = run_everywhere(kernel, [args[0], args[1], np.zeros(12, np.int32), 0, 4], 0, 4)[2]
    assert not untouched.any()


def test_while_gcd() -> None:
    b = KernelBuilder("gcd")
    x, y, out = (b.pointer(n, u32) for n in ("x", "y", "out"))
    with b.for_("i", b.lo, b.hi) as i:
        u, v = b.var("u", b.load(x, i)), b.var("v", b.load(y, i))
        with b.while_(v.ne(0)):
            t = b.let("t", u % v)
            b.assign(u, v)
            b.assign(v, t)
        b.store(out, i, u)
    rng = np.random.default_rng(0)
    x_values, y_values = rng.integers(0, 10**6, (2, 50)).astype(np.uint32)
    *_, out_values = run_everywhere(b.build(), [x_values, y_values, np.zeros(50, np.uint32)], 0, 50)
    np.testing.assert_array_equal(out_values, np.gcd(x_values, y_values))


def test_branches_that_assign() -> None:
    b = KernelBuilder("branches")
    x, out = b.pointer("x", i64), b.pointer("out", i64)
    best, count = b.var("best", Const(-1, i64)), b.var("count", Const(0, i64))
    with b.for_("i", b.lo, b.hi) as i:
        v = b.let("v", b.load(x, i))
        with b.if_(v > best):
            b.assign(best, v)
            b.assign(count, count + 1)
        with b.else_():
            with b.if_(v.eq(best)):
                b.assign(count, count * 10)
    b.store(out, 0, best)
    b.store(out, 1, count)
    kernel = b.build()
    for values, expected in (([3, 5, 5, 2, 9, 9], [9, 210]), ([], [-1, 0])):
        data = np.array(values or [0], np.int64)
        _, result = run_everywhere(kernel, [data, np.zeros(2, np.int64)], 0, len(values))
        assert result.tolist() == expected


def test_a_prefetch_changes_nothing_wherever_it_points() -> None:
    b = KernelBuilder("prefetch")
    x, y = b.pointer("x", f32), b.pointer("y", f32)
    ahead = b.let("ahead", Const(1 << 20, i64))  # a name that folding takes away
    with b.for_("i", b.lo, b.hi) as i:
        b.prefetch(x, i * ahead)
        with b.if_(i < 0):
            b.prefetch(x, i)
        b.store(y, i, b.load(x, i) * 2.0)
    kernel = b.build()
    assert "# prefetch x[i*ahead]" in print_kernel(kernel)
    assert "prefetch" in native.assembly([kernel], host())
    _, found = run_everywhere(kernel, [np.arange(8, dtype=np.float32), np.zeros(8, np.float32)], 0, 8)
    np.testing.assert_array_equal(found, 2.0 * np.arange(8))


def test_scratch_array() -> None:
    """Reverses each row through a scratch array, so no load may move across a store."""
    b = KernelBuilder("reverse_rows")
    x = b.pointer("x", f32)
    with b.for_("r", b.lo, b.hi) as r:
        tmp = b.alloc("tmp", f32, 8)
        with b.for_("i", 0, 8) as i:
            b.store(tmp, i, b.load(x, r * 8 + i))
        with b.for_("j", 0, 8) as j:
            b.store(x, r * 8 + j, b.load(tmp, 7 - j) + b.load(tmp, 0))
    x_values = np.arange(24, dtype=np.float32)
    (result,) = run_everywhere(b.build(), [x_values], 0, 3)
    rows = x_values.reshape(3, 8)
    np.testing.assert_array_equal(result.reshape(3, 8), rows[:, ::-1] + rows[:, :1])


def test_boolean_and_half_scratch_arrays() -> None:
    b = KernelBuilder("typed_scratch")
    x, out = b.pointer("x", f32), b.pointer("out", f32)
    flags, halves = b.alloc("flags", b1, 4), b.alloc("halves", f16, 4)
    with b.for_("i", 0, 4) as i:
        b.store(flags, i, b.load(x, i) > 0.0)
        b.store(halves, i, b.load(x, i).cast(f16))
    with b.for_("j", 0, 4) as j:
        b.store(out, j, select(b.load(flags, j), b.load(halves, j).cast(f32), 0.0))
    x_values = np.array([1.0003, -2, 3.0001, 0], np.float32)
    _, result = run_everywhere(b.build(), [x_values, np.zeros(4, np.float32)], 0, 1)
    np.testing.assert_array_equal(result, np.maximum(x_values.astype(np.float16), 0))


def test_a_store_between_two_uses_of_one_load() -> None:
    """The same Load object means "read now", so it is read again after the store."""
    b = KernelBuilder("reread")
    x, y = b.pointer("x", i32), b.pointer("y", i32)
    v = b.load(x, 0) + 1
    b.store(x, 0, v * v)
    b.store(y, 0, v)
    x_values, y_values = run_everywhere(b.build(), [np.array([4], np.int32), np.zeros(1, np.int32)], 0, 1)
    assert (x_values[0], y_values[0]) == (25, 26)


def test_a_loop_that_accumulates_in_memory() -> None:
    b = KernelBuilder("histogram")
    x, out = b.pointer("x", i32), b.pointer("out", i32)
    with b.for_("i", b.lo, b.hi) as i:
        b.store(out, 0, b.load(out, 0) + b.load(x, i))
        with b.for_("j", 0, 2) as j:
            b.store(out, 1, b.load(out, 0) + b.load(out, 1) * j.cast(i32))
    _, result = run_everywhere(b.build(), [np.arange(1, 6, dtype=np.int32), np.zeros(2, np.int32)], 0, 5)
    assert result.tolist() == [15, 30]


@pytest.mark.parametrize("ty", [f32, i32, u8, u64], ids=str)
def test_parentheses(ty: Ty) -> None:
    """Every pair of infix operations, nested to the left and to the right."""
    names = ["add", "sub", "mul", "div"] if ty.is_float else ["add", "sub", "mul", "and", "or", "xor", "shl", "shr"]
    b = KernelBuilder("nested")
    x, out = b.pointer("x", ty), b.pointer("out", ty)
    u, v, w = (b.load(x, k) for k in range(3))
    count = 0
    for outer in names:
        for inner in names:
            if inner not in ("shl", "shr"):
                y = op_(inner, v, w)
                if outer in ("shl", "shr"):
                    y = y & 7
                b.store(out, count, op_(outer, u, y))
                count += 1
            b.store(out, count, op_(outer, op_(inner, u, v), -v if outer not in ("shl", "shr") else w))
            count += 1
    args = [np.array([200, 3, 5], dtype_of(ty)), np.zeros(count, dtype_of(ty))]
    run_everywhere(b.build(), args, 0, 1, numba=False)  # which reads the same text as Python does


def test_a_shift_count_wraps_before_it_is_used() -> None:
    b = KernelBuilder("count")
    x, out = b.pointer("x", u8), b.pointer("out", u8)
    b.store(out, 0, b.load(x, 0) << (b.load(x, 1) + b.load(x, 2)))
    _, result = run_everywhere(b.build(), [np.array([3, 250, 8], np.uint8), np.zeros(1, np.uint8)], 0, 1)
    assert result[0] == 12


def test_comparisons_do_not_chain() -> None:
    b = KernelBuilder("chain")
    x, out = b.pointer("x", f32), b.pointer("out", b1)
    u, v = b.load(x, 0), b.load(x, 1)
    b.store(out, 0, (u < v).eq(v < u))
    b.store(out, 1, ~(u < v) | (u.eq(v)))
    b.store(out, 2, ~((u < v) & (v > u)))
    _, result = run_everywhere(b.build(), [np.array([1, 2], np.float32), np.ones(3, bool)], 0, 1)
    assert result.tolist() == [False, False, False]


def test_an_expression_of_a_variable_follows_it() -> None:
    b = KernelBuilder("follow")
    out = b.pointer("out", i64)
    v = b.var("v", Const(1, i64))
    double = v * 2
    with b.for_("i", 0, 3) as i:
        b.store(out, i, double)
        b.assign(v, double + 1)
    b.store(out, 3, double)
    (result,) = run_everywhere(b.build(), [np.zeros(4, np.int64)], 0, 1)
    assert result.tolist() == [2, 6, 14, 30]


def test_what_a_loop_does_not_change_may_move_but_not_trap() -> None:
    """Loads and divisions stay inside a loop that does not run, and inside a branch that is not taken."""
    b = KernelBuilder("careful")
    x, out, n, d = b.pointer("x", i64), b.pointer("out", i64), b.integer("n"), b.integer("d")
    with b.for_("i", b.lo, b.hi) as i:
        with b.for_("j", 0, n) as j:
            b.store(out, j, b.load(x, 1 << 40) + n / d)
        with b.if_(d.ne(0)):
            b.store(out, i, b.load(x, d - 1) + n / d)
    kernel = b.build()
    for d_value, expected in ((0, 0), (1, 7)):
        _, result, *_ = run_everywhere(kernel, [np.array([7]), np.zeros(2, np.int64), 0, d_value], 0, 2)
        assert result.tolist() == [expected, expected]


def test_names_that_python_needs_itself() -> None:
    b = KernelBuilder("fma")
    x, out = b.pointer("lambda", f32), b.pointer("select", f32)
    a = b.let("f32", b.load(x, 0))
    c = b.var("range", fma(a, a, 1.0))
    with b.for_("in", 0, 2) as i:
        b.store(out, i, c)
    _, result = run_everywhere(b.build(), [np.array([3], np.float32), np.zeros(2, np.float32)], 0, 1)
    assert result.tolist() == [10, 10]


def test_shared_expressions_are_computed_and_printed_once() -> None:
    """x^(2^40) by squaring: a tree of 2^40 nodes, a graph of 40."""
    b = KernelBuilder("power")
    x, out = b.pointer("x", u32), b.pointer("out", u32)
    v = b.load(x, 0)
    for _ in range(40):
        v = v * v
    b.store(out, 0, v)
    kernel = b.build()
    assert len(print_kernel(kernel).splitlines()) < 50
    _, result = run_everywhere(kernel, [np.array([3], np.uint32), np.zeros(1, np.uint32)], 0, 1)
    assert result[0] == pow(3, 2**40, 2**32)


@pytest.mark.parametrize("seed", range(40))
def test_random_kernels_agree(seed: int) -> None:
    numba = seed < 4  # whose type inference takes seconds where branches nest
    kernel = Generator(seed).kernel(depth=1 if numba else 2)
    ins = [samples(t, seed)[:12] for t in RANDOM_TYPES]
    outs = [np.zeros(12, dtype_of(t)) for t in RANDOM_TYPES]
    run_everywhere(kernel, [*ins, *outs], 0, 12, numba=numba)
