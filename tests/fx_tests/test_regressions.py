"""Bugs that were found once: each case is the smallest program that showed it."""

from __future__ import annotations

import copy
import dataclasses
import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
import fx.scipy.special
from fx import errors as e
from fx import lax, nn

X = np.array([1.0, 2.0, 3.0])
S = np.float64(2.0)
F64 = fx.ShapeDtypeStruct((), np.float64)


class Arraylike:
    """What another library's array looks like."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return X


def with_vjp(f: Any, fwd: Any, bwd: Any) -> Any:
    g = fx.custom_vjp(f)
    g.defvjp(fwd, bwd)
    return g


def with_jvp(f: Any, rule: Any) -> Any:
    g = fx.custom_jvp(f)
    g.defjvp(rule)
    return g


double = with_vjp(lambda a: a * 2, lambda a: (a * 2, None), lambda _, c: (c * 2,))
product = with_vjp(lambda a, b: a * b, lambda a, b: (a * b, (a, b)), lambda r, c: (r[1] * c, r[0] * c))
total = with_vjp(lambda a: lax.psum(a, "i"), lambda a: (lax.psum(a, "i"), None), lambda _, c: (lax.psum(c, "i"),))
place = with_jvp(
    lambda a: lax.psum(a, "i"), lambda p, t: (lax.psum(p[0], "i"), lax.psum(t[0], "i") * lax.axis_index("i"))
)


def work_buffer(x: Any) -> Any:
    w, out = np.zeros(3), 0.0
    for i in range(3):
        w[i] = i + 1  # a NumPy array of constants, changed between its uses
        out = out + (x * w).sum()
    return out


def changed(x: Any) -> Any:
    x[0] = x[1] * 2
    return (x**2).sum()


def changes_arguments_of_transforms(x: Any) -> Any:
    a, b, c = fx.jit(changed)(x), fx.grad(changed)(x), fx.vmap(changed)(x[None])
    return a + b.sum() + c.sum() + fx.checkpoint(changed)(x) + x.sum()


def changes_a_result(transform: Callable[..., Any]) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        y = transform(x)
        y[0] = 99.0
        return x

    return f


def changes_what_was_linearized(x: Any) -> Any:
    y, pull = fx.vjp(lambda v: v * v, x)
    x[0] = 100.0
    return pull(y)[0].sum() + x.sum()


def identity(v: Any) -> Any:
    return v


VALUES: list[tuple[str, Callable[[], Any], Any]] = [
    ("jit of a work buffer", lambda: fx.jit(work_buffer)(X), 20.0),
    ("grad of a work buffer", lambda: fx.grad(work_buffer)(X), [3.0, 4.0, 3.0]),
    ("vmap of a work buffer", lambda: fx.vmap(work_buffer)(X[None]), [20.0]),
    ("arguments changed in place", lambda: fx.jit(changes_arguments_of_transforms)(X), 119.0),
    ("and differentiated", lambda: fx.jit(fx.grad(changes_arguments_of_transforms))(X), [1.0, 71.0, 21.0]),
    ("residuals of what was changed", lambda: fx.jit(changes_what_was_linearized)(X), 177.0),
    *[
        (f"the result of {name} is not its argument", lambda t=t: fx.jit(changes_a_result(t))(X), X)
        for name, t in {
            "vmap": fx.vmap(identity),
            "jvp": lambda x: fx.jvp(identity, (x,), (x,))[1],
            "vjp": lambda x: fx.vjp(identity, x)[1](x)[0],
            "linearize": lambda x: fx.linearize(identity, x)[1](x),
            "linear_transpose": lambda x: fx.linear_transpose(identity, x)(x)[0],
            "device_put": fx.device_put,
            "copy": copy.copy,
            "deepcopy": copy.deepcopy,
        }.items()
    ],
    ("deepcopy of a tracer", lambda: fx.grad(lambda p: (copy.deepcopy(p)["w"] ** 2).sum())({"w": X})["w"], 2 * X),
    ("another library's array in a call", lambda: fx.grad(lambda x: fx.jit(lambda a, b: (a * b).sum())(x, Arraylike()))(X), X),
    ("psum of a constant cotangent", lambda: fx.vmap(fx.grad(lambda x: lax.psum(x**2, "i")), axis_name="i")(X), 6 * X),
    ("the same under jit", lambda: fx.jit(fx.vmap(fx.grad(lambda x: lax.psum(x**2, "i")), axis_name="i"))(X), 6 * X),
    ("psum of a known value", lambda: fx.vmap(lambda y: y * fx.grad(lambda x: lax.psum(x, "i"))(2.0), axis_name="i")(X), 3 * X),
    ("axis_index in a call without arguments", lambda: fx.vmap(fx.jit(lambda: lax.axis_index("i")), axis_name="i", axis_size=3)(), [0, 1, 2]),
    ("psum in a backward rule", lambda: fx.grad(lambda v: (fx.vmap(total, axis_name="i")(v) * X).sum())(X), [6.0, 6.0, 6.0]),
    ("and under jit", lambda: fx.vmap(fx.grad(fx.jit(total)), axis_name="i")(X), [3.0, 3.0, 3.0]),
    ("axis_index in a jvp rule", lambda: fx.jvp(fx.vmap(place, axis_name="i"), (X,), (X,))[1], [0.0, 6.0, 12.0]),
    ("no derivative behind stop_gradient", lambda: fx.grad(lambda x: fx.jit(lambda a, b: a * fx.pure_callback(lambda v: v, F64, b))(x, fx.stop_gradient(x)))(S), 2.0),
    ("second derivative through a weak argument", lambda: fx.grad(fx.grad(lambda w: fx.vmap(lambda v: product(w * w, v))(X).sum()))(2.0), 12.0),
    ("a Python number from a backward rule", lambda: fx.grad(with_vjp(lambda a: a, lambda a: (a, None), lambda _, c: (2.0,)))(S), 2.0),
    ("jacfwd of an integer output", lambda: fx.jacfwd(lambda x: fnp.floor(x).astype(np.int32))(X), np.zeros((3, 3))),
    ("jacrev of an integer input", lambda: fx.jacrev(lambda n: n * 1.5, allow_int=True)(np.arange(3)), np.zeros((3, 3))),
    ("a float0 gradient leaves jit", lambda: fx.jit(fx.grad(lambda p: p["a"] * p["n"], allow_int=True))({"a": 1.0, "n": 3})["a"], 3.0),
    ("a weakly typed tangent", lambda: fx.jvp(np.sin, (S,), (fx.grad(np.tanh)(0.0),))[1], np.cos(2.0)),
    ("an argument called self", lambda: fx.jit(lambda self: self + 1)(self=1.0), 2.0),
]  # fmt: skip


@pytest.mark.parametrize("program, want", [c[1:] for c in VALUES], ids=[c[0] for c in VALUES])
def test_value(program: Callable[[], Any], want: Any) -> None:
    np.testing.assert_allclose(program(), want)


MISTAKES: list[tuple[str, Callable[[], Any], type, str]] = [
    ("big-endian argument of jit", lambda: fx.jit(identity)(X.astype(">f8")), e.DTypeError, ">f8"),
    ("strings as argument of jit", lambda: fx.jit(identity)(np.array(["a"])), e.DTypeError, "<U1"),
    ("an int of 70 bits", lambda: fx.jit(identity)(2**70), e.DTypeError, "64 bits"),
    ("compiled for another static argument", lambda: fx.jit(lambda x, n: x * n, static_argnums=1).lower(S, 3).compile()(S, 4), e.StaticArgumentError, "1: 3.*1: 4"),
    ("compiled and traced", lambda: fx.grad(fx.jit(identity).lower(S).compile())(S), e.StaticArgumentError, "ahead of time"),
    ("dtype of a backward rule", lambda: fx.grad(lambda x: with_vjp(lambda a: a, lambda a: (a, None), lambda _, c: (c.astype(np.float32),))(x).sum())(X), e.CustomRuleError, r"f32\[3\].*f64\[3\]"),
    ("dtype of a forward rule", lambda: fx.vjp(with_vjp(lambda a: a, lambda a: (a.astype(np.float32), None), lambda _, c: (c,)), X), e.CustomRuleError, "f32.*f64"),
    ("dtype of a jvp rule", lambda: fx.jvp(with_jvp(lambda a: a, lambda p, t: (p[0], t[0].astype(np.float32))), (X,), (X,)), e.CustomRuleError, "tangent"),
    ("forward mode of a custom_vjp under jit", lambda: fx.jit(lambda x: fx.jvp(double, (x,), (x,)))(X), e.MissingRuleError, "forward-mode"),
    ("a bool as axis", lambda: fx.vmap(identity, in_axes=True), e.VmapAxisError, "True"),
    *[
        (f"written into a NumPy array under {t.__name__}", lambda t=t: t(into_numpy)(X), e.SideEffectError, "into_numpy")
        for t in (fx.jit, fx.grad)
    ],
]  # fmt: skip


def into_numpy(x: Any) -> Any:
    buffer = np.zeros(3)
    buffer[0] = x[0]
    return buffer.sum()


@pytest.mark.parametrize("program, error, pattern", [c[1:] for c in MISTAKES], ids=[c[0] for c in MISTAKES])
def test_mistake(program: Callable[[], Any], error: type[Exception], pattern: str) -> None:
    with pytest.raises(error, match=f"(?s){pattern}"):
        program()


# ------------------------------------------------------------------------------- effects happen once

NESTS: dict[str, Callable[[Any], Any]] = {
    "checkpoint": lambda f: fx.checkpoint(f)(S),
    "grad(checkpoint)": lambda f: fx.grad(fx.checkpoint(f))(S),
    "jit(grad(checkpoint))": lambda f: fx.jit(fx.grad(fx.checkpoint(f)))(S),
    "grad(jit(checkpoint))": lambda f: fx.grad(fx.jit(fx.checkpoint(f)))(S),
    "grad(grad(jit))": lambda f: fx.grad(fx.grad(fx.jit(f)))(S),
    "hessian": lambda f: fx.hessian(fx.jit(f))(S),
    "grad(jit) beside stop_gradient": lambda f: fx.grad(lambda x: fx.jit(lambda a, b: f(a) * b)(x, fx.stop_gradient(x)))(S),
    "custom_jvp": lambda f: with_jvp(f, identity)(S),
    "grad(custom_vjp)": lambda f: fx.grad(with_vjp(f, lambda x: (x * x, x), lambda x, c: (2 * x * c,)))(S),
    "a pullback used twice": lambda f: [pull(S) for pull in [fx.vjp(fx.jit(f), S)[1]] * 2],
}  # fmt: skip


@pytest.mark.parametrize("nest", NESTS.values(), ids=list(NESTS))
def test_an_effect_happens_once(nest: Callable[[Any], Any]) -> None:
    seen: list[float] = []

    def f(x: Any) -> Any:
        fx.debug.callback(lambda v: seen.append(float(v)), x)
        return x * x

    nest(f)
    assert seen == [2.0]


# ------------------------------------------------------------------------------------------- caches


@pytest.mark.parametrize("first, second", [((2,), (2.0,)), ((1,), (True,)), (0.0, -0.0), (1, True)])
def test_static_values_that_python_calls_equal_are_different_programs(first: Any, second: Any) -> None:
    def plain(x: Any, s: Any) -> Any:
        return fnp.copysign(x * (s[0] if isinstance(s, tuple) else s), s if isinstance(s, float) else 1.0)

    f = fx.jit(plain, static_argnums=1)
    for s in (first, second):
        found, want = f(fnp.asarray(np.int32(3)), s), plain(fnp.asarray(np.int32(3)), s)
        assert found.dtype == want.dtype and str(found) == str(want)
    assert f.cache_info().size == 2


@fx.tree_util.register_dataclass
@dataclasses.dataclass
class Scaled:
    x: Any
    k: Any = dataclasses.field(default=1, metadata={"static": True})


def test_static_fields_that_python_calls_equal_are_different_programs() -> None:
    f = fx.jit(lambda s: s.x * s.k)
    assert [f(Scaled(np.int32(3), k)).dtype for k in (1, 1.0, True)] == [np.int32, np.float32, np.int32]
    with pytest.raises(e.NonHashableStaticError, match="'bytearray'"):
        f(Scaled(X, bytearray(1)))
    g = fx.jit(lambda s: fnp.copysign(s.x, s.k))
    for zero in (0.0, -0.0, np.float64(0.0), np.float64(-0.0), np.float32(-0.0)):
        assert float(g(Scaled(np.float32(1), zero))) == np.copysign(1.0, zero)


def test_weak_types_survive_the_transforms() -> None:
    for transform in (identity, fx.jit, fx.checkpoint):
        value, _ = fx.value_and_grad(transform(lambda x: x * 2))(3.0)
        assert value.weak_type and (value * np.ones(1, np.float16)).dtype == np.float16
        assert fx.jvp(transform(lambda x: x * 2), (3.0,), (1.0,))[0].weak_type
        assert fx.jit(fx.value_and_grad(transform(lambda x: x * 2)))(3.0)[0].weak_type


# ------------------------------------------------------------------------------------------- memory


MEASURED: dict[str, Callable[[Any], Any]] = {
    "grad": fx.grad(lambda v: (v * v).sum()),
    "jit": fx.jit(lambda v: v.sum()),
    "vmap": fx.vmap(identity),
    "jvp": lambda x: fx.jvp(lambda v: v * v, (x,), (x,)),
}


@pytest.mark.parametrize("run", MEASURED.values(), ids=list(MEASURED))
def test_arguments_are_let_go_without_the_collector(run: Callable[[Any], Any]) -> None:
    a = fnp.asarray(X * 2)
    ref = weakref.ref(a)
    gc.disable()
    try:
        run(a)
        del a
        assert ref() is None
    finally:
        gc.enable()


def test_a_pullback_keeps_residuals_and_nothing_else() -> None:
    from fx.trace import Builder

    gc.freeze()  # what other tests left is looked at no more, which is most of the time that a collection takes
    _, pull = fx.vjp(lambda v: ((v + 1.0) * 2.0).sum(), X)
    gc.collect()
    assert not [b for b in gc.get_objects() if isinstance(b, Builder) and b.values]
    np.testing.assert_array_equal(pull(1.0)[0], [2.0, 2.0, 2.0])


def test_a_compiled_function_keeps_no_trace() -> None:
    from fx.trace import Builder

    gc.freeze()
    f = fx.jit(lambda x: double(double(x) * x).sum())
    f(X), fx.grad(f)(X), fx.vmap(f)(X[None]), fx.vmap(fx.grad(f))(X[None])
    gc.collect()
    assert not [b for b in gc.get_objects() if isinstance(b, Builder)]


def test_the_reasons_of_misses_are_bounded() -> None:
    def outer(z: Any) -> Any:
        inner = fx.jit(lambda a: a * z)  # closes over a traced value: traced at every call
        for _ in range(300):
            inner(z)
        logs.append(inner.explain_misses().count("\n"))
        return inner(z)

    logs: list[int] = []
    fx.grad(outer)(S)
    assert logs[0] < 300


@pytest.mark.parametrize(
    "same",
    [lambda x: +x, np.positive, lambda x: x.astype(np.float64), fnp.array, np.conj],
    ids=["+x", "positive", "astype", "array", "conj"],
)
def test_an_operation_that_changes_nothing_gives_a_new_array(same: Any) -> None:
    def f(x: Any) -> Any:
        y = same(x)
        y[0] = 99.0
        return x * 1.0

    np.testing.assert_array_equal(fx.jit(f)(np.arange(3.0)), np.arange(3.0))


def test_a_sequential_callback_over_an_empty_batch() -> None:
    def f(v: Any) -> Any:
        return fx.pure_callback(np.sin, fx.ShapeDtypeStruct(v.shape, v.dtype), v, vmap_method="sequential")

    assert fx.vmap(f)(np.zeros((0, 2))).shape == (0, 2)


def test_every_dtype_without_ml_dtypes() -> None:
    """The core alone: float64 is not taken for the bfloat16 that is not there."""
    code = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np, fx, fx.numpy as fnp
assert fx.dtypes.bfloat16 is None
for dtype in fx.dtypes.ALL:
    x = np.arange(5).astype(dtype)
    f = lambda x: (x + x, fnp.sum(x), x[::-1], fnp.sort(x))
    for found, wanted in zip(fx.jit(f)(x), f(x)):
        assert found.dtype == wanted.dtype, dtype
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted), err_msg=str(dtype))
assert fnp.can_cast("float32", "float64") and not fnp.can_cast("float64", "float32")
print(fx.jit(fx.grad(lambda x: fnp.sum(x @ x)))(np.eye(2)).sum())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and float(done.stdout) == 8.0, done.stderr


@pytest.mark.parametrize("extreme", [lax.argmax, lax.argmin], ids=["argmax", "argmin"])
@pytest.mark.parametrize("n", [2, 5, 300, 5000])
def test_what_is_searched_for_an_extreme_is_not_overwritten_before(extreme: Any, n: int) -> None:
    """A map and an argmax of one array made a kernel that stored the map's results in the array, then searched it."""

    def f(c: Any) -> Any:
        i = lax.reduce_window(c, -np.inf, lax.max, (2,), (2,), "VALID")
        return fnp.clip(i, -0.1, 0.1), extreme(i, 0, np.int32) + 1

    x = np.random.default_rng(n).normal(size=2 * n).astype(np.float32)
    for got, want in zip(fx.jit(f)(x), f(x), strict=True):
        np.testing.assert_array_equal(np.asarray(got), np.asarray(want))


# Positions along an axis of 300, which int8 and uint8 do not hold, and some that no int32 and no int64 does
POSITIONS = {
    "uint8": (5, 200, 255), "int8": (5, -3, 127), "uint32": (5, 299, 2**31), "uint64": (5, 299, 2**64 - 7), "int64": (5, -299, 2**32 + 1),
}  # fmt: skip
READERS: dict[str, Any] = {
    "x[i]": (lambda x, i: x[i], lambda x, i: x.take([_inside(k, x.size) for k in i])),
    "wrap": (lambda x, i: x.at[i].get(mode="wrap"), lambda x, i: x.take([k % x.size for k in i])),
    "fill": (
        lambda x, i: fnp.take_along_axis(x, i, 0),
        lambda x, i: [x[k] if -x.size <= k < x.size else np.nan for k in i],
    ),
    "roll": (lambda x, i: fnp.roll(x, i[2]), lambda x, i: np.roll(x, i[2] % x.size)),
    "dynamic_slice": (
        lambda x, i: lax.dynamic_slice(fnp.stack([x, x], 1), (i[1], 1), (1, 1))[0],
        lambda x, i: [x[_inside(i[1], x.size)]],
    ),
    "unravel": (
        lambda x, i: fnp.stack(fnp.unravel_index(i, (150, 2)), 1),
        lambda x, i: np.stack(np.unravel_index([_inside(k, 300) for k in i], (150, 2)), 1),
    ),
    "ravel": (
        lambda x, i: fnp.ravel_multi_index((i, i % 2), (300, 2), mode="clip"),
        lambda x, i: [min(max(k, 0), 299) * 2 + k % 2 for k in i],
    ),
}


def _inside(k: int, n: int) -> int:
    return min(max(k + n if k < 0 else k, 0), n - 1)


@pytest.mark.parametrize("dtype", POSITIONS)
@pytest.mark.parametrize("name", READERS)
def test_an_index_type_need_not_hold_the_size_and_may_hold_more(name: str, dtype: str) -> None:
    f, truth = READERS[name]
    x, i = np.arange(300.0), np.array(POSITIONS[dtype], dtype)
    want = truth(x, [int(k) for k in i])
    np.testing.assert_array_equal(f(fnp.asarray(x), fnp.asarray(i)), want)
    np.testing.assert_array_equal(fx.jit(f)(x, i), want)


# Sizes and classes of a few bits, of which the function computes with more
COUNTS: dict[str, tuple[Any, Any]] = {
    "one_hot": (lambda i: nn.one_hot(i, 300), (3, 100)),
    "ragged_dot": (lambda i: lax.ragged_dot(fnp.ones((220, 2)), fnp.arange(4.0).reshape(2, 2, 1), i), (100, 120)),
    "ctc": (
        lambda i: nn.ctc(fnp.zeros((2, 90, 3)), fnp.arange(140).reshape(2, 70) % 2 + 1, label_lengths=i),
        (70, 65),
    ),
}


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_of_a_few_bits_is_a_number(name: str, dtype: str) -> None:
    f, counts = COUNTS[name]
    want = np.asarray(f(np.array(counts)))
    np.testing.assert_array_equal(f(np.array(counts, dtype)), want)
    np.testing.assert_allclose(fx.jit(f)(np.array(counts, dtype)), want, rtol=1e-6)


def test_a_start_that_is_known_is_not_cut_to_the_type_of_one_that_is_not() -> None:
    x = np.arange(600).reshape(2, 300)
    assert fx.jit(lambda x, i: lax.dynamic_slice(x, (i, 299), (1, 1)))(x, np.uint8(1)).item() == 599


def test_a_scalar_is_repeated_along_an_axis_of_its_own() -> None:
    f = lambda x: fnp.repeat(x, 2, axis=-1)
    assert f(fnp.float32(3)).tolist() == f(np.float32(3)).tolist() == fx.jit(f)(np.float32(3)).tolist() == [3, 3]
    with pytest.raises(e.AxisError):
        fx.jit(lambda x: fnp.repeat(x, 2, axis=1))(np.float32(3))


def test_floor_divide_is_constant_in_pieces() -> None:
    slopes = fx.vmap(fx.grad(fnp.floor_divide, argnums=(0, 1)))(
        np.array([1.0, np.inf, 2.0, 5.0, -0.0]), np.array([0.0, 2.0, np.inf, 2.0, np.nan])
    )
    np.testing.assert_array_equal(slopes, np.zeros((2, 5)))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_the_complex_logistic_does_not_overflow(dtype: str) -> None:
    z = np.array([-1000 + 3j, complex(-np.inf, 1), -90 + 0.5j, -3 - 2j, 2 + 1j, 1000 + 1j], dtype)
    w = np.exp(-np.abs(z[2:].real) + 1j * np.where(z[2:].real < 0, 1, -1) * z[2:].imag, dtype="complex128")
    want = np.concatenate([[0, 0], np.where(z[2:].real < 0, w, 1) / (1 + w)])
    for f in (lax.logistic, fx.jit(lax.logistic)):
        np.testing.assert_allclose(f(z), want, rtol=16 * np.finfo(dtype).eps, atol=0)


def test_the_power_zero_is_differentiated_by_base_and_exponent() -> None:
    """The mixed derivative of x**y at y = 0 is 1/x in either order; by the base the derivative is 0, at 0 and infinity too."""
    f = lambda v: v[0] ** v[1]
    at = np.array([2.0, 0.0])
    want = [[0.0, 0.5], [0.5, np.log(2.0) ** 2]]
    for hessian in (fx.hessian(f), fx.jacrev(fx.jacfwd(f)), fx.jit(fx.hessian(f))):
        np.testing.assert_allclose(hessian(at), want, rtol=1e-14)
    slope = fx.vmap(fx.grad(fnp.power))
    assert slope(np.array([0.0, np.inf, -np.inf]), np.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "f", [lambda x: fnp.einsum("ij,ij->i", x, x), lambda x: fnp.einsum("ij,ij->i", x[:, :5], x[:, 1:6])]
)
def test_small_products_are_summed_alike_at_sizes_that_vary(f: Any) -> None:
    kept = fx.jit(lambda x: f(x))
    for shape in [(100, 270), (129, 129), (256, 18), (300, 12), (311, 12)]:
        x = np.random.default_rng(0).normal(size=shape)
        assert np.asarray(kept(x)).tobytes() == np.asarray(fx.jit(lambda x: f(x))(x)).tobytes(), shape


# A function, arguments, and its derivative by the first of them
SLOPES: dict[str, tuple[Any, tuple[Any, ...], float]] = {
    "sinc near 0": (fnp.sinc, (np.float32(1e-8),), -3.289868e-08),  # -pi**2 x / 3
    "sinc far out": (fnp.sinc, (np.float32(1e20),), 0.0),
    "angle of a small number": (fnp.angle, (np.float32(1e-30),), 0.0),
    "fmod by what fits 8 times": (lambda y, x: fnp.fmod(x, y), (np.float32(0.1), np.float32(0.9)), -8.0),
    "log_ndtr far left": (fx.scipy.special.log_ndtr, (np.float32(-1e5),), 1e5),
    "gammainc far out": (lambda x: fx.scipy.special.gammainc(np.float32(5), x) * x, (np.float32(5e9),), 1.0),
    "half atan2": (fnp.arctan2, (np.float16(300), np.float16(300)), 1 / 600),
    "half asinh": (fnp.arcsinh, (np.float16(300),), 1 / 300),
    "half gelu": (fx.nn.gelu, (np.float16(300),), 1.0),
    "the mantissa of a number": (lambda x: fnp.frexp(x)[0], (np.float32(-100),), 1 / 128),
    "the mantissa of a small number": (lambda x: fnp.frexp(x)[0], (np.float32(2.0**-126),), 2.0**125),
    "the slope of log2": (fnp.log2, (np.float32(8),), 1 / (8 * np.log(2))),
    "half squareplus": (fx.nn.squareplus, (np.float16(300),), 1.0),
}


@pytest.mark.parametrize("name", SLOPES)
def test_derivatives_where_squares_overflow_and_differences_cancel(name: str) -> None:
    f, args, want = SLOPES[name]
    eps = float(np.finfo(args[0].dtype).eps)
    for g in (fx.grad(f), fx.jit(fx.grad(f))):
        np.testing.assert_allclose(np.float64(g(*args)), want, rtol=8 * eps, atol=1e-18)


def test_the_slope_of_log2_at_complex_zero_is_infinite() -> None:
    for f in (fnp.log2, fx.jit(fnp.log2)):
        (slope,) = fx.vjp(f, np.complex64(0))[1](np.complex64(1 + 2j))
        assert np.isinf(slope.real) and np.isinf(slope.imag)


def test_put_outside_goes_to_the_nearest_element() -> None:
    def put(where: Any, **how: Any) -> list[int]:
        return np.asarray(fnp.put(fnp.arange(5), np.array(where), -1, inplace=False, **how)).tolist()

    assert put([0, 9]) == [-1, 1, 2, 3, -1] and put([-2, -9]) == [-1, 1, 2, -1, 4]
    assert put([-2, 9], mode="clip") == [-1, 1, 2, 3, -1] and put([5, -1], mode="wrap") == [-1, 1, 2, 3, -1]


def test_a_number_viewed_as_another_dtype_is_one() -> None:
    assert fnp.float32(1).view("int32").shape == fx.jit(lambda x: x.view("int32"))(np.float32(1)).shape == ()
