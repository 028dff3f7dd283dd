"""Forms of calls that JAX takes, some of which NumPy has another way: each beside the answer that JAX gives."""

from __future__ import annotations

import inspect
import math
import pickle

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import dtypes, lax

NAMES = sorted(dtypes.ALL, key=str)
X = np.array([1.25, -2.5, 0.0, 3.0])


def same(got: object, want: object, dtype: str | None = None) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and (dtype is None or got.dtype == np.dtype(dtype))
    np.testing.assert_array_equal(got.astype(want.dtype), want)


@pytest.mark.parametrize("d", NAMES, ids=str)
def test_a_dtype_by_its_name_is_a_dtype_and_makes_arrays(d: np.dtype) -> None:
    kind = getattr(fnp, "bool_" if d == np.bool_ else d.name)
    assert np.dtype(kind) == d and kind == d.type and hash(kind) == hash(d.type) and fnp.zeros(2, kind).dtype == kind
    assert fnp.issubdtype(kind, d.type) and isinstance(d.type(1), kind) and pickle.loads(pickle.dumps(kind)) is kind
    want = np.asarray(X > 2, d)
    for call in (kind, fx.jit(kind), fx.vmap(kind)):
        out = call(X > 2)
        assert isinstance(out, fx.Array) and out.dtype == d and not out.weak_type
        np.testing.assert_array_equal(np.asarray(out), want)


def test_a_dtype_called_on_a_traced_value_has_its_derivative() -> None:
    assert fx.grad(lambda x: fnp.float32(x) ** 2)(3.0) == 6.0
    assert fx.jit(lambda i: fnp.int32(i) + 1)(1.7) == 2


@pytest.mark.parametrize("made", [fnp.array, fnp.asarray], ids=["array", "asarray"])
def test_ranges_are_sequences_of_integers(made: object) -> None:
    same(made(range(4)), [0, 1, 2, 3], "int32")
    same(made([range(2), range(2, 4)]), [[0, 1], [2, 3]], "int32")
    same(made(range(3), "float16"), [0, 1, 2], "float16")
    same(made(range(0)), [], "float32")


def test_shape_and_dtype_errors_are_caught_by_either_name() -> None:
    """JAX raises TypeError for some of them, ValueError for others, and so does NumPy, the other way round."""
    wrong = (
        lambda: fnp.concatenate([fnp.ones((2, 2)), fnp.ones((2, 3))]),
        lambda: fnp.matmul(fnp.ones((2, 3)), fnp.ones((4, 3))),
        lambda: fnp.clip(fnp.ones(2, "complex64")),
        lambda: fnp.hypot(1j, 2.0),
        lambda: fnp.gcd(1.5, 2),
        lambda: fnp.sin("text"),
    )
    for call in wrong:
        for error in (TypeError, ValueError):
            with pytest.raises(error):
                call()


@pytest.mark.parametrize("jit", [False, True])
def test_rounding_to_no_place_gives_integers(jit: bool) -> None:
    f = fx.jit(round, static_argnums=1) if jit else round
    same(f(fnp.array([1.7, -2.5, 2.5])), [2, -2, 2], "int32")
    same(f(fnp.array(1.234), 2), np.float32(1.23), "float32")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("places", [40, 400, 1000])
def test_rounding_to_places_that_no_number_has(dtype: str, places: int) -> None:
    x = np.array([1.5, -2.25, 0.0, np.inf, np.nan]).astype(dtype)
    if not (places == 40 and dtype == "float64"):
        same(fnp.round(x, places), x, dtype)
    same(fnp.round(np.array([1.5, -7.0, 0.0]).astype(dtype), -places), np.zeros(3, dtype), dtype)


def test_interp_goes_on_with_the_outer_lines() -> None:
    xp, fp = fnp.array([0.0, 1.0, 2.0]), fnp.array([1.0, 3.0, 4.0])
    x = fnp.array([-1.0, 0.5, 5.0])
    same(fnp.interp(x, xp, fp, left="extrapolate", right="extrapolate"), [-1.0, 2.0, 7.0])
    same(fnp.interp(x, xp, fp, left=9.0, right="extrapolate"), [9.0, 2.0, 7.0])
    same(fx.vmap(fx.grad(lambda v: fnp.interp(v, xp, fp, "extrapolate", "extrapolate")))(x), [2.0, 2.0, 1.0])
    with pytest.raises(ValueError, match="extrapolate"):
        fnp.interp(x, xp, fp, left="beyond")


def test_fromfunction_gives_the_function_single_numbers() -> None:
    same(fnp.fromfunction(lambda i: fnp.arange(3) + i, (2,)), [[0, 1, 2], [1, 2, 3]], "float32")
    same(fnp.fromfunction(lambda i, j: i + j + i.ndim, (2, 3), dtype="int32"), [[0, 1, 2], [1, 2, 3]], "int32")
    same(fnp.fromfunction(lambda i, j, k: 3 * i + j + k, (2, 2), k=1), [[1, 2], [4, 5]])
    assert fnp.fromfunction(fnp.multiply, (0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("function", "arrays", "size", "want"),
    [
        (fnp.setdiff1d, ([1, 2, 3, 4], [3, 4, 5]), 4, [1, 2, 9, 9]),
        (fnp.union1d, ([1, 2, 3, 4], [3, 4, 5]), 7, [1, 2, 3, 4, 5, 9, 9]),
        (fnp.compress, ([0, 1, 0, 1], [5, 6, 7, 8]), 3, [6, 8, 9]),
        (fnp.extract, ([0, 1, 0, 1], [5, 6, 7, 8]), 1, [6]),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_the_value_that_fills_up_may_be_traced(function: object, arrays: object, size: int, want: list[int]) -> None:
    found = fx.jit(lambda a, b, fill: function(a, b, size=size, fill_value=fill))(*map(np.int32, arrays), 9)
    same(found, want, "int32")


def test_a_traced_filling_value_along_an_axis() -> None:
    f = fx.jit(lambda c, x, fill: fnp.compress(c, x, axis=1, size=3, fill_value=fill))
    same(f(np.array([0, 1]), np.array([[1, 2], [3, 4]], "int32"), 7), [[2, 7, 7], [4, 7, 7]], "int32")


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolutions_of_integers_are_floats(mode: str) -> None:
    a, v = np.array([1, 2, 3, 2, 1]), np.array([4, 1, 2])
    for name in ("convolve", "correlate"):
        want = getattr(np, name)(a, v, mode)
        same(getattr(fnp, name)(a.astype("int32"), v.astype("int32"), mode), want, "float32")


def test_sums_of_polynomials_with_arrays_as_coefficients() -> None:
    a, b = np.array([[1, 2, 3]]), np.array([[4, 5, 6], [1, 1, 1]])
    same(fnp.polyadd(a, b), [[4, 5, 6], [2, 3, 4]])
    same(fnp.polysub(b, a), [[4, 5, 6], [0, -1, -2]])
    same(fnp.polyadd(3, [1, 2]), [1, 5])
    same(fnp.poly(2.0), [1, -2])


def test_rows_and_columns_of_vectors() -> None:
    a, b = fnp.array([1, 2]), fnp.array([3, 4])
    same(fnp.r_["r", a, b], [[1, 2, 3, 4]])
    same(fnp.r_["c", a, b], [[1], [2], [3], [4]])
    same(fnp.c_["r", a, b], [[1, 3], [2, 4]])


def test_unwrapped_integers_stay_integers() -> None:
    for period in (3, 4, 5):
        x = np.array([0, 1, 5, 12, 10, 3, 1, -2])
        same(fnp.unwrap(x.astype("int32"), period=period), np.unwrap(x, period=period), "int32")


@pytest.mark.parametrize("bins", [1, 5, 7, 10, 25])
def test_edges_at_whole_numbers_are_whole(bins: int) -> None:
    """An edge that lies a little above an integer would put that integer into the bin before."""
    x = np.arange(0, 5 * bins + 1, dtype="int32")
    counts, edges = fnp.histogram(x, bins=bins, range=(0, 5 * bins))
    same(edges, np.arange(bins + 1) * 5.0, "float32")
    same(counts, np.histogram(x, bins=bins, range=(0, 5 * bins))[0])
    both, _ = fnp.histogramdd(np.stack([x, x], 1), bins=[bins, 2])
    assert both.dtype == np.int32 and both.sum() == x.size
    parts, _ = fnp.histogramdd(np.stack([x, x], 1).astype(np.float64), bins=[bins, 2], density=True)
    assert parts.dtype == np.float64


def test_broadcast_in_dim_to_axes_in_any_order() -> None:
    x = np.arange(6.0).reshape(2, 3)
    same(lax.broadcast_in_dim(x, (3, 2), (1, 0)), x.T)
    same(lax.broadcast_in_dim(x, (3, 4, 2), (2, 0)), np.broadcast_to(x.T[:, None], (3, 4, 2)))
    ct = fx.grad(lambda v: fnp.sum(lax.broadcast_in_dim(v, (3, 4, 2), (2, 0)) * np.arange(24.0).reshape(3, 4, 2)))(x)
    same(ct, np.arange(24.0).reshape(3, 4, 2).sum(1).T)
    with pytest.raises(ValueError):
        lax.broadcast_in_dim(x, (3, 2), (0, 0))


def test_device_get_leaves_python_numbers_alone() -> None:
    got = fx.device_get({"a": 1, "b": fnp.ones(2), "c": math.pi})
    assert type(got["a"]) is int and type(got["c"]) is float and type(got["b"]) is np.ndarray


def test_shapes_with_dtypes_are_equal_whatever_the_spelling() -> None:
    spelled = [
        fx.ShapeDtypeStruct(s, d)
        for s in ((2, 3), [2, 3])
        for d in ("float32", np.float32, fnp.float32, np.dtype("float32"))
    ]
    assert len(set(spelled)) == 1 and len(spelled[0]) == 2 and spelled[0].dtype.itemsize == 4
    with pytest.raises(TypeError):
        len(fx.ShapeDtypeStruct((), "float32"))


def test_errors_of_transformations_have_the_classes_that_jax_gives_them() -> None:
    with pytest.raises(TypeError):
        fx.vmap(fnp.sin, in_axes="a")(np.ones(2))
    with pytest.raises(ValueError):
        fx.grad(lambda x: lax.while_loop(lambda v: v < 5, lambda v: v + 1, x))(1.0)


def test_loops_between_floats_count_as_a_while_loop_does() -> None:
    def run(low: object, high: object) -> object:
        return lax.fori_loop(low, high, lambda i, c: (c[0] + i, c[1] + 1), (0.0, 0))

    for low, high, total, n in ((0.0, 3.0, 3.0, 3), (0.5, 3.1, 4.5, 3), (2.0, 1.0, 0.0, 0), (0.0, 2.5, 3.0, 3)):
        for f in (run, fx.jit(run)):
            found = f(low, high)
            assert (float(found[0]), int(found[1])) == (total, n)
    with pytest.raises(TypeError, match="both float"):
        run(0, 2.5)


def test_axes_and_shapes_may_be_ranges() -> None:
    x = fnp.ones((2, 3, 4))
    assert x.sum(range(2)).shape == (4,) and fnp.zeros(range(2, 4)).shape == (2, 3)
    assert fx.jit(lambda x: fnp.max(x, axis=range(1, 3)))(x).shape == (2,)


def test_options_of_jax_can_be_read_by_their_names() -> None:
    assert fx.config.jax_numpy_rank_promotion == "allow" and fx.config.jax_debug_nans is fx.config.debug_nans
    assert fx.config.jax_enable_x64 == fx.config.x64_enabled
    with pytest.raises(AttributeError, match="no option 'jax_nothing'"):
        fx.config.jax_nothing  # noqa: B018


def test_operands_of_different_ranks_may_be_forbidden() -> None:
    x, y = fnp.ones((3, 2)), fnp.ones(2)
    forms = (
        lambda: x + y, lambda: x * 2.0 + y, lambda: fnp.where(x > 0, x, y), lambda: np.add(np.ones(2), x), lambda: x > y,
        lambda: fx.jit(lambda x, y: x - y)(x, y), lambda: fx.grad(lambda x: (x * y).sum())(x), lambda: fx.jit(lambda x: fnp.where(x > 0, x, y))(x),
    )  # fmt: skip
    want = [np.asarray(f()) for f in forms]  # compiled and traced before
    for f in forms:
        with pytest.raises(ValueError, match="different numbers of dimensions"), fx.numpy_rank_promotion("raise"):
            f()
        with pytest.warns(fx.errors.RankPromotionWarning, match="test_jax_forms"), fx.numpy_rank_promotion("warn"):
            f()
    with fx.numpy_rank_promotion("raise"):
        same = [
            x + x,
            x + y[None],
            x + 1.0,
            x + fnp.float32(2),
            fx.jit(lambda x: x + fnp.ones(()))(x),
            x @ y,
            x[:, 0] + x[0, 0],
        ]
        fx.vmap(lambda row: row + y)(x)
    assert len(same) == 7
    for f, w in zip(forms, want):
        np.testing.assert_array_equal(f(), w)
    try:
        fx.config.update("jax_numpy_rank_promotion", "raise")
        with pytest.raises(ValueError, match="different numbers"):
            x + y
    finally:
        fx.config.update("jax_numpy_rank_promotion", "allow")
    np.testing.assert_array_equal(x + y, want[0])
    assert not fx.config.alert


def test_keys_are_arrays_to_isinstance_as_in_jax() -> None:
    assert isinstance(fx.random.key(0), fx.Array) and isinstance(fx.random.split(fx.random.key(0)), fnp.ndarray)


def test_a_function_with_a_derivative_rule_may_ask_for_numbers() -> None:
    """... as one that calls SciPy's solvers does: its derivative is the rule, and cannot be lost."""

    @fx.custom_vjp
    def root(x: object) -> object:
        return np.sqrt(np.asarray(x)).astype("float64")

    root.defvjp(lambda x: (fnp.sqrt(x), x), lambda x, ct: (0.5 * ct / fnp.sqrt(x),))
    np.testing.assert_array_equal(root(X[:1]), np.sqrt(X[:1]))
    np.testing.assert_allclose(fx.grad(lambda x: root(x)[0])(X[:1]), 0.5 / np.sqrt(X[:1]))
    hessian = fx.jacrev(fx.jacrev(root))
    np.testing.assert_allclose(hessian(X[:1])[0], -0.25 * X[:1, None] ** -1.5)
    w = fnp.ones(1)

    def closing(w: object) -> object:
        f = fx.custom_vjp(lambda x: np.asarray(x * w) + 0.0)
        f.defvjp(lambda x: (f(x), None), lambda _, ct: (ct,))
        return f(X[:1])[0]

    with pytest.raises(TypeError, match="closes over"):
        fx.grad(closing)(w)
    with pytest.raises(TypeError, match="numpy_program"):
        fx.jit(root)(X[:1])
    with pytest.raises(TypeError, match="derivative would silently be lost"):
        fx.grad(lambda x: np.asarray(x).sum())(X)


def test_vmap_hands_on_what_is_no_array_and_not_batched() -> None:
    """... a function, a string, an object, as JAX's does; what is batched is an array."""

    def call(f: object, x: object, how: str) -> object:
        return f(x) if how == "apply" else x

    for run in (
        fx.vmap(call, (None, 0, None)),
        lambda *a: fx.jit(lambda x: fx.vmap(call, (None, 0, None))(a[0], x, a[2]))(a[1]),
    ):
        np.testing.assert_allclose(run(fnp.sin, X, "apply"), np.sin(X), rtol=1e-15)
        np.testing.assert_array_equal(run(fnp.sin, X, "no"), X)
    with pytest.raises(TypeError, match="x of .* is a str"):
        fx.vmap(lambda x: x)("x")
    with pytest.raises(ValueError, match="at least one batched argument"):
        fx.vmap(call, None)(fnp.sin, X, "no")


def test_what_c_code_of_scipy_takes_as_a_number_does_not_lose_a_derivative() -> None:
    quad = pytest.importorskip("scipy.integrate").quad
    with pytest.raises(TypeError, match=r"scipy.integrate.quad took the plain number .*derivative") as e:
        fx.grad(lambda a: quad(lambda t: np.exp(-a * t), 0, 1)[0])(1.5)
    assert __file__ in str(e.value)
    got = fx.grad(lambda a: a * quad(lambda t: np.exp(-float(a) * t), 0, 1)[0])(1.5)  # which says that it is meant
    np.testing.assert_allclose(got, (1 - math.exp(-1.5)) / 1.5, rtol=1e-6)
    assert abs(quad(lambda t: fnp.float32(t), 0, 1)[0] - 0.5) < 1e-6


def test_the_limits_of_a_dtype_are_numbers_of_it() -> None:
    jnp = pytest.importorskip("jax.numpy")
    for name in ("float32", "bfloat16"):
        for limit in ("eps", "max", "tiny"):
            got, want = getattr(fnp.finfo(name), limit), getattr(jnp.finfo(name), limit)
            assert type(got) is type(want) and got == want
            assert (fnp.ones(2, "bfloat16") * got).dtype == (jnp.ones(2, "bfloat16") * want).dtype
    with fx.config.using(array_api=True):
        assert type(fnp.finfo("float32").eps) is float


def test_windows_of_several_arrays_are_reduced_together() -> None:
    """The largest value of each window, and where it stands; what is beyond the border is never taken."""
    jax = pytest.importorskip("jax")
    x = np.sin(np.arange(30.0, dtype=np.float32) ** 2).reshape(6, 5)
    at = np.arange(30, dtype=np.int32).reshape(6, 5)

    def largest(xp: object, window: object, x: object, at: object, *how: object) -> object:
        def merge(a: object, b: object) -> object:
            keep = a[0] >= b[0]
            return xp.where(keep, a[0], b[0]), xp.where(keep, a[1], b[1])

        return window((x, at), (np.float32(-np.inf), np.int32(0)), merge, *how)

    for how in (((2, 2), (2, 2), "VALID"), ((3, 2), (1, 2), "SAME"), ((2, 2), (1, 1), "SAME", None, (2, 1))):
        want = largest(jax.numpy, jax.lax.reduce_window, jax.numpy.asarray(x), jax.numpy.asarray(at), *how)

        def f(x: object, how: object = how) -> object:
            return largest(fnp, lax.reduce_window, x, at, *how)

        for got in (f(x), fx.jit(f)(x), fx.tree.map(lambda a: a[1], fx.vmap(f)(np.stack([-x, x])))):
            for a, b in zip(got, want, strict=True):
                same(a, b, b.dtype)
        (tangent, _) = fx.jvp(f, (x,), (np.ones_like(x),))[1]
        same(tangent, np.ones(tangent.shape))  # each window passes one element's derivative on
    with pytest.raises(ValueError, match="one init_value for each"):
        lax.reduce_window((x, at[0]), (0.0, 0), lambda a, b: a, (2, 2))


def test_products_of_two_dtypes_are_those_of_the_wider_one() -> None:
    jax = pytest.importorskip("jax")
    numbers = (((1,), (0,)), ((), ()))
    for p, q in (("int8", "bfloat16"), ("float32", "int32"), ("bool", "float32"), ("int8", "int32")):
        x, y = (np.arange(-3, 3).reshape(2, 3) + 1).astype(p), (np.arange(6).reshape(3, 2) - 2).astype(q)
        for preferred in (None, "float32"):
            want = jax.lax.dot_general(jax.numpy.asarray(x), jax.numpy.asarray(y), numbers, None, preferred)
            same(lax.dot_general(x, y, numbers, None, preferred), want, want.dtype)
    with pytest.raises(TypeError, match="operands of one dtype"):
        lax.dot_general(np.ones((2, 3), "float16"), np.ones((3, 2), fnp.bfloat16.dtype), numbers)


def test_a_class_that_is_made_and_read_like_a_dataclass_is_registered_by_its_fields() -> None:
    class Line:
        def __init__(self, slope: object, name: str) -> None:
            self.slope, self.name = slope, name

    with pytest.raises(TypeError, match="data_fields and meta_fields"):
        fx.tree_util.register_dataclass(Line)
    fx.tree_util.register_dataclass(Line, data_fields=["slope"], meta_fields=["name"])
    out = fx.jit(fx.grad(lambda line: line.slope**2))(Line(3.0, "a"))
    assert out.slope == 6.0 and out.name == "a"


def test_forms_of_text_and_shards() -> None:
    (shard,) = fnp.ones((2, 3)).addressable_shards
    assert shard.data.shape == (2, 3) and shard.index == (slice(None),) * 2 and shard.device == fx.devices()[0]
    assert repr(fx.ShapeDtypeStruct((2,), float, weak_type=True)).endswith(
        "(shape=(2,), dtype=float64, weak_type=True)"
    )
    with pytest.raises(TypeError, match="unsupported format string"):
        f"{fnp.ones(3):.2f}"


class Holder:
    """What a package's variable is: it holds a value, traced or known, and NumPy could ask for it too."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __jax_array__(self) -> object:
        return self.value

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return np.asarray(self.value)


def test_what_holds_a_value_is_taken_for_it() -> None:
    x = np.arange(3.0)
    f = lambda x: fnp.sum(fnp.sin(Holder(x)) * fnp.asarray(Holder(x)))
    for g in (fx.grad(f), fx.jit(fx.grad(f)), lambda x: fx.vmap(fx.grad(f))(x[None])[0]):
        same(g(x), np.sin(x) + x * np.cos(x))


def test_classes_given_by_numbers_that_are_floats() -> None:
    same(
        fx.nn.one_hot(np.float32([0, 1.5, 2, np.nan, -1]), 3),
        np.float32([[1, 0, 0], [0] * 3, [0, 0, 1], [0] * 3, [0] * 3]),
    )
    with pytest.raises(TypeError, match="one_hot takes integers"):
        fx.nn.one_hot(np.ones(2, complex), 3)


def test_axes_of_einsum_may_be_named_by_digits() -> None:
    a, b = np.arange(24.0).reshape(2, 3, 1, 4), np.arange(3.0)
    same(fnp.einsum("kh1d,h->k1d", a, b), np.einsum("khxd,h->kxd", a, b))
    with pytest.raises(ValueError, match="'!' is not a letter"):
        fnp.einsum("i!->i", a[0, :, 0])


def test_the_dtype_of_a_dtype() -> None:
    assert lax.dtype(np.dtype("int32")) == np.int32 and lax.dtype(np.float16) == np.float16 and lax.dtype(1) == np.int32


def test_a_graph_of_what_names_axes_that_are_not_there() -> None:
    f = lambda x: lax.psum(x, "i") * lax.axis_size("j")
    graph = fx.make_jaxpr(f, axis_env=[("i", 4), ("j", 3)])(np.ones(2))
    assert [e.params["axis_name"] for e in graph.eqns if e.prim.name == "psum"] == ["i"]
    (eqn,) = fx.make_jaxpr(fx.named_scope("outer")(lambda x: lax.neg(x)))(np.ones(2)).jaxpr.eqns
    assert eqn.source_info.name_stack == "outer" and "test_jax_forms.py" in str(eqn.source_info)
    with pytest.raises(NameError, match="no surrounding vmap has an axis named 'i'"):
        fx.make_jaxpr(f, axis_env=[("j", 3)])(np.ones(2))
    with pytest.raises(NameError):
        fx.make_jaxpr(f)(np.ones(2))


def test_jitted_functions_have_the_signature_of_their_function() -> None:
    def f(a: int, *, b: int = 1) -> int:
        return a + b

    for follow in (True, False):
        assert inspect.signature(fx.jit(f), follow_wrapped=follow) == inspect.signature(f)
    with pytest.raises(ValueError, match="no signature found"):
        inspect.signature(fx.jit(max))


def test_errors_say_what_programs_look_for() -> None:
    with pytest.raises(ValueError, match="Incompatible shapes for broadcasting"):
        fnp.ones(3) + fnp.ones(4)
    with pytest.raises(ValueError, match="Incompatible shapes for broadcasting"):
        lax.broadcast_shapes((2,), (3,))
    with pytest.raises(
        ValueError, match=r"Dict key mismatch: .* at \['b'\]: a dict with \('c',\) expected, found \('d',\)"
    ):
        fx.tree.map(lambda x, y: x, {"b": {"c": 1}}, {"b": {"d": 1}})
    q = np.ones((1, 4, 5, 8), np.float32)
    with pytest.raises(ValueError, match="must be a multiple of"):
        fx.nn.dot_product_attention(q, q[:, :, :2], q[:, :, :2])


def test_a_branch_that_is_given_twice_is_traced_once() -> None:
    seen: list[str] = []

    def double(x: object) -> object:
        seen.append("double")
        return x * 2

    def negated(x: object) -> object:
        seen.append("negated")
        return -x

    f = fx.jit(lambda i, x: lax.switch(i, [double, negated, double, negated], x))
    same([f(i, 3.0) for i in range(4)], [6, -3, 6, -3])
    assert sorted(seen) == ["double", "negated"]


def test_one_number_for_all_segments() -> None:
    ids = np.array([0, 2, 2, 0])
    same(fx.ops.segment_sum(3.0, ids, 3), [6, 0, 6])
    same(fx.ops.segment_max(np.float32([[1, 2]]), ids, 3), np.float32([[1, 2], [-np.inf] * 2, [1, 2]]))
    same(fx.grad(lambda x: fx.ops.segment_sum(x, ids, 3)[2])(1.5), 2)
    with pytest.raises(ValueError, match="must be a leading part"):
        fx.ops.segment_sum(np.ones(3), ids, 3)


def test_keys_are_close_where_they_are_equal() -> None:
    keys, other = fx.random.split(fx.random.key(0), 3), fx.random.key(1)
    same(fnp.isclose(keys, keys.at[1].set(other)), [True, False, True])
    assert fnp.allclose(keys, keys) and not fnp.allclose(keys[0], other)
    assert fnp.array_equal(keys, keys) and not fnp.array_equal(keys, other) and not fnp.array_equal(keys[:1], keys)
    assert (
        fx.device_get({"keys": keys})["keys"] is keys
        and fnp.shape(keys) == (3,)
        and fnp.result_type(keys) == keys.dtype
    )
    normals = lambda **batches: fx.lax.map(lambda k: fx.random.bits(k), keys, **batches)
    same(normals(batch_size=2), normals())
    same(fx.random.key_data(fnp.select([np.array([True, False, True])], [keys], fnp.full_like(keys, other)))[1], [0, 1])
    with pytest.raises(TypeError, match="keys .* are no numbers"):
        fnp.allclose(keys, 1.0)


def test_small_things_that_packages_ask_for() -> None:
    assert fx.config.read("jax_enable_x64") == (fx.config.default_float == np.float64)
    key_dtype = fx.random.key(0).dtype
    assert dtypes.canonicalize_dtype(key_dtype, allow_extended_dtype=True) is key_dtype
    assert dtypes.canonicalize_dtype("float32") == np.float32
    with pytest.raises(TypeError):
        dtypes.canonicalize_dtype(key_dtype)
    assert fx.typeof(np.ones((2, 3))).str_short() == "float64[2,3]" and fx.typeof(1).str_short(True) == "i32[]"
    assert fx.typeof(1.5).at_least_vspace() == fx.typeof(np.float32(1)) and not lax.sin_p.call_primitive
    assert fx.api_util.safe_map(max, [1, 5], [3, 2]) == [3, 5] and fx.api_util.safe_zip([1], [2]) == [(1, 2)]
    with pytest.raises(ValueError):
        fx.api_util.safe_map(max, [1], [1, 2])

    @fx.numpy_rank_promotion("allow")
    def decorated() -> np.dtype:
        return fnp.result_type(Stands())

    assert decorated() == np.float16


class Stands:
    """What stands for an array, and tells its dtype."""

    dtype = np.dtype("float16")
    shape = (2,)
