"""``fx.lax``, ``fx.tree_util`` and ``fx.debug``: the names of their JAX namesakes, and the operations made of others."""

from __future__ import annotations

import inspect
import operator
from typing import Any

import numpy as np
import pytest
from numpy_harness import close, same

import fx
import fx.numpy as fnp
from fx import lax, tree_util
from fx.errors import DTypeError, ShapeError, TreeError

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_parameters_of_lax() -> None:
    jax = pytest.importorskip("jax")
    ignored = {"accuracy", "out_sharding", "sharding", "out_dtype"}
    known = {"bitcast_convert_type", "convert_element_type", "nextafter", "scatter_sub"}  # named x, y; or passed on

    def parameters(f: Any) -> set[str]:
        return {
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        }

    for name in sorted(set(lax.__all__) - known):
        ours, theirs = getattr(lax, name), getattr(jax.lax, name, None)
        if inspect.isfunction(ours) and callable(theirs):
            assert parameters(theirs) - ignored <= parameters(ours), name


def test_what_is_public_is_there() -> None:
    assert all(hasattr(lax, n) for n in lax.__all__)
    assert all(hasattr(tree_util, n) for n in tree_util.__all__)
    assert set(fx.debug.__all__) == {"breakpoint", "callback", "log", "print"}


# ------------------------------------------------------------------------------------ composed operations


def both(f: Any, *args: Any) -> Any:
    """The result, checked to be the same when traced."""
    got = f(*args)
    with fx.config.using(backend="reference"):
        same(fx.jit(f)(*args), got, 1e-6)
    return got


def test_shapes() -> None:
    close(both(lambda x: lax.broadcast_to_rank(x, 5), X), X[None, None])
    close(both(lambda x: lax.collapse(x, 1), X), X.reshape(2, 12))
    close(both(lambda x: lax.collapse(x, 0, 2), X), X.reshape(6, 4))
    close(both(lambda x: lax.index_in_dim(x, -1, 1), X), X[:, -1:])
    close(both(lambda x: lax.index_in_dim(x, 1, 2, keepdims=False), X), X[..., 1])
    close(both(lambda x: lax.split(x, (1, 0, 2), 1), X), [X[:, :1], X[:, 1:1], X[:, 1:]])
    close(both(lambda x: lax.stack([x, x], -1), X), np.stack([X, X], -1))
    close(both(lambda x: lax.unstack(x, 1), X), tuple(X.swapaxes(0, 1)))
    close(both(lambda x: lax.tile(x, (2, 1, 3)), X), np.tile(X, (2, 1, 3)))
    close(both(lambda x: lax.broadcast_like(x[0], x), X), np.broadcast_to(X[0], X.shape))
    assert (
        lax.broadcast_shapes((2, 1), (3,)) == (2, 3)
        and lax.dtype(X) == "float32"
        and lax.shape_as_value((2, 3)).tolist() == [2, 3]
    )
    close(lax.empty((2, 3), "int32"), np.zeros((2, 3)))
    close(lax.reciprocal(np.float32([2, 4])), np.array([0.5, 0.25]))
    for bad in (
        lambda: lax.broadcast_to_rank(X, 2), lambda: lax.split(X, (1, 1), 1), lambda: lax.tile(X, (2,)), lambda: lax.stack([]), lambda: lax.collapse(X, 2, 1),
        lambda: lax.broadcast_shapes((2,), (3,)), lambda: lax.broadcast_like(X, X[0]), lambda: lax.add(X, X[0]),
    ):  # fmt: skip
        with pytest.raises(ShapeError):
            bad()
    with pytest.raises(IndexError, match="index 3 is out of bounds for axis 1 of size 3"):
        lax.index_in_dim(X, 3, 1)


def test_operations_are_strict_but_take_python_numbers() -> None:
    close(both(lambda x: lax.max(lax.mul(x, 2.0), 5), X), np.maximum(X * 2, 5))
    close(lax.clamp(1, X, 7), np.clip(X, 1, 7))
    close(lax.select(X > 3, X, lax.full_like(X, 0)), np.where(X > 3, X, 0))
    close(lax.rsqrt(X + 1), 1 / np.sqrt(X + 1))
    close(lax.iota("int32", 3), np.arange(3))
    close(lax.round(np.float32([0.5, 1.5]), lax.RoundingMethod.TO_NEAREST_EVEN), np.array([0, 2]))
    close(lax.dot(X[0], X[0].T, precision=lax.Precision.HIGHEST), X[0] @ X[0].T)
    with pytest.raises(DTypeError):
        lax.add(X, X.astype(np.int32))
    assert lax.add(1, 2) == 3


def test_mulhi() -> None:
    for d in ("int8", "uint8", "int32", "uint32"):
        info = np.iinfo(d)
        x = np.array([info.max, info.min, 7, info.max // 3, info.min // 3], d)
        y = np.array([info.max, info.max, 100, info.max // 5, 11], d)
        want = [(int(a) * int(b)) >> (8 * x.dtype.itemsize) for a, b in zip(x, y)]
        assert both(lax.mulhi, x, y).tolist() == want
    with pytest.raises(DTypeError, match="32 bits"):
        lax.mulhi(np.ones(2, np.int64), np.ones(2, np.int64))


@pytest.mark.parametrize("axes", [(0,), (1, -1), (0, 1, 2), ()])
def test_reduce(axes: tuple[int, ...]) -> None:
    n = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    plus = tuple(a % 3 for a in axes)
    for f in (lax.add, operator.add, np.add, lambda a, b: a + b):
        close(both(lambda x, f=f: lax.reduce(x, np.float32(1), f, axes), X), X.sum(plus) + 1)
    close(lax.reduce(X, 0.0, lax.max, axes), X.max(plus))
    close(lax.reduce(n, 0, lax.bitwise_or, axes), np.bitwise_or.reduce(n, plus))
    close(both(lambda x: lax.reduce_xor(x, axes), n), np.bitwise_xor.reduce(n, plus))
    close(both(lambda x: lax.reduce_xor(x, axes), n > 4), np.logical_xor.reduce(n > 4, plus))

    def argmax(a: Any, b: Any) -> Any:
        first = a[0] >= b[0]
        return lax.select(first, a[0], b[0]), lax.select(first, a[1], b[1])

    values, places = both(lambda x, i: lax.reduce((x, i), (np.float32(-np.inf), np.int32(0)), argmax, axes), X, n)
    close((values, places), (X.max(plus), n.max(plus)))
    close(fx.grad(lambda x: lax.reduce(x, 0.0, lambda a, b: a + b, (0, 1, 2)))(X), np.ones_like(X))


def test_reduce_of_nothing_and_errors() -> None:
    close(lax.reduce(X[:0], 5.0, lambda a, b: a * b, (0,)), np.full((3, 4), 5.0))
    with pytest.raises(ShapeError, match="one shape"):
        lax.reduce((X, X[0]), (0.0, 0.0), lambda a, b: a, (0,))
    with pytest.raises(TreeError):
        lax.reduce((X, X), 0.0, lambda a, b: a, (0,))


def test_top_k_by_approximation_is_exact() -> None:
    x = np.float32([[3, 1, 2], [5, 9, 7]])
    v, i = lax.approx_max_k(x, 2)
    assert v.tolist() == [[3, 2], [9, 7]] and i.tolist() == [[0, 2], [1, 2]]
    v, i = lax.approx_min_k(x, 1, reduction_dimension=0)
    assert v.tolist() == [[3, 1, 2]] and i.tolist() == [[0, 0, 0]]


def test_shapes_of_windows_and_convolutions() -> None:
    assert lax.padtype_to_pads((7, 7), (3, 2), (2, 2), "SAME") == [(1, 1), (0, 1)]
    assert lax.reduce_window_shape_tuple((8, 9), (2, 3), (2, 2), ((0, 0), (1, 1))) == (4, 5)
    assert lax.conv_shape_tuple((2, 3, 8, 8), (5, 3, 3, 3), (1, 2), "VALID") == (2, 5, 6, 3)
    numbers = ("NHWC", "HWIO", "NHWC")
    shape = lax.conv_general_shape_tuple((2, 8, 8, 3), (3, 3, 3, 5), (2, 1), "SAME", numbers)
    out = lax.conv_general_dilated(
        np.ones((2, 8, 8, 3), "float32"), np.ones((3, 3, 3, 5), "float32"), (2, 1), "SAME", dimension_numbers=numbers
    )
    assert out.shape == shape == (2, 4, 8, 5)
    assert lax.conv_transpose_shape_tuple((2, 4, 4, 3), (3, 3, 5, 3), (2, 2), "VALID", numbers) == (2, 9, 9, 3)
    assert lax.conv_general_permutations(numbers) == [(0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)]


def test_convolution_with_a_kernel_of_its_own_at_every_position() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 6, 5)), rng.normal(size=(4, 3 * 3 * 2, 4, 4))
    got = both(lambda a, b: lax.conv_general_dilated_local(a, b, (1, 1), "VALID", (3, 2)), x, w)
    patches = (
        np.lib.stride_tricks.sliding_window_view(x, (3, 2), (2, 3)).transpose(0, 1, 4, 5, 2, 3).reshape(2, 18, 4, 4)
    )
    close(got, np.einsum("ochw,nchw->nohw", w, patches))
    same_kernel = np.broadcast_to(w[:, :, :1, :1], w.shape)
    want = lax.conv_general_dilated(x, w[:, :, 0, 0].reshape(4, 3, 3, 2), (1, 1), "VALID")
    close(lax.conv_general_dilated_local(x, same_kernel, (1, 1), "VALID", (3, 2)), want)


def test_barriers_gradients_platforms() -> None:
    tree = {"a": X, "b": (X[0], 2.0)}
    close(lax.optimization_barrier(tree)["b"][1], 2.0)
    g = fx.make_graph(lambda t: lax.optimization_barrier(t))(tree)
    assert [e.prim.name for e in g.eqns] == ["optimization_barrier"]
    assert fx.grad(lambda x: (lax.stop_gradient({"x": x})["x"] * x).sum())(X).tolist() == X.tolist()
    assert (
        lax.platform_dependent(2.0, cpu=lambda x: x + 1, default=lambda x: x) == 3
        and lax.platform_dependent(2.0, tpu=lambda x: x, default=lambda x: x * 2) == 4
    )
    with pytest.raises(NotImplementedError, match="cpu= or default="):
        lax.platform_dependent(1.0, tpu=lambda x: x)


# ------------------------------------------------------------------------------------------ collectives


def over(f: Any, *args: Any) -> Any:
    out = fx.vmap(f, axis_name="i")(*args)
    with fx.config.using(backend="reference"):
        same(fx.jit(fx.vmap(f, axis_name="i"))(*args), out)
    return out


def test_permutations_over_a_named_axis() -> None:
    x = np.arange(12.0).reshape(4, 3)
    close(over(lambda v: lax.ppermute(v, "i", [(k, (k + 1) % 4) for k in range(4)]), x), np.roll(x, 1, 0))
    close(over(lambda v: lax.ppermute(v, "i", [(0, 3), (2, 1)]), x), np.stack([0 * x[0], x[2], 0 * x[0], x[0]]))
    close(over(lambda v: lax.pshuffle(v, "i", [3, 1, 0, 2]), x), x[[3, 1, 0, 2]])
    close(over(lambda v: lax.pbroadcast(v, "i", 2), x), np.stack([x[2]] * 4))
    close(over(lambda v: lax.ppermute({"a": v}, "i", [(1, 0)])["a"], x), np.stack([x[1], 0 * x[0], 0 * x[0], 0 * x[0]]))
    g = fx.grad(lambda y: (fx.vmap(lambda v: lax.ppermute(v, "i", [(0, 3), (2, 1)]), axis_name="i")(y) * x).sum())(x)
    close(g, np.stack([x[3], 0 * x[0], x[1], 0 * x[0]]))
    for perm in ([(0, 1), (0, 2)], [(0, 1), (2, 1)], [(0, 4)]):
        with pytest.raises(ShapeError, match="ppermute"):
            over(lambda v, perm=perm: lax.ppermute(v, "i", perm), x)


def test_shares_over_a_named_axis() -> None:
    x = np.arange(4 * 4 * 3.0).reshape(4, 4, 3)
    close(over(lambda v: lax.psum_scatter(v, "i"), x), x.sum(0))
    close(
        over(lambda v: lax.psum_scatter(v, "i", scatter_dimension=0, tiled=True), x[:, :, :2].reshape(4, 8)),
        x[:, :, :2].reshape(4, 8).sum(0).reshape(4, 2),
    )
    close(over(lambda v: lax.all_to_all(v, "i", 0, 0), x), x.swapaxes(0, 1))
    close(over(lambda v: lax.all_to_all(v, "i", 0, 1), x), x.transpose(1, 2, 0))
    close(over(lambda v: lax.pswapaxes(v, "i", 0), x), x.swapaxes(0, 1))
    y = np.arange(4 * 8.0).reshape(4, 8)
    close(over(lambda v: lax.all_to_all(v, "i", 0, 0, tiled=True), y), y.reshape(4, 4, 2).swapaxes(0, 1).reshape(4, 8))
    for f in (
        lambda v: lax.all_to_all(v, "i", 1, 0),
        lambda v: lax.psum_scatter(v, "i", scatter_dimension=1),
        lambda v: lax.psum_scatter(v, "i", scatter_dimension=1, tiled=True),
    ):
        with pytest.raises(ShapeError, match="axis 1"):
            over(f, x)


def test_collectives_beside_jax() -> None:
    jax = pytest.importorskip("jax")
    x = np.arange(4 * 4 * 2.0).reshape(4, 4, 2)
    for f in (lambda m, v: m.all_to_all(v, "i", 0, 1), lambda m, v: m.all_to_all(v, "i", 0, 1, tiled=True)):
        theirs = jax.vmap(lambda v, f=f: f(jax.lax, v), axis_name="i")(x)
        close(fx.vmap(lambda v, f=f: f(lax, v), axis_name="i")(x), np.asarray(theirs))


@pytest.mark.parametrize("unique", [False, True])
def test_scatter_apply_has_derivatives(unique: bool) -> None:
    """JAX's has none; the function is as often differentiated as it is applied, and nowhere else."""
    numbers = lax.ScatterDimensionNumbers(update_window_dims=(), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,))  # fmt: skip
    places = np.array([[0], [2]] if unique else [[0], [2], [0]])

    def f(x: Any) -> Any:
        return lax.scatter_apply(
            x, places, lax.sqrt, numbers, update_shape=(len(places),), unique_indices=unique
        )  # fmt: skip

    x = np.array([0.3, 0.7, 1.1, 0.0])
    root = np.sqrt(x)
    want = np.array([root[0] if unique else np.sqrt(root[0]), x[1], root[2], 0])
    slope = np.array([0.5 / root[0] if unique else 0.25 / (root[0] * want[0]), 1, 0.5 / root[2], 1])
    for transformed in (lambda g: g, fx.jit):
        np.testing.assert_allclose(transformed(f)(x), want)
        np.testing.assert_allclose(transformed(fx.grad(lambda x: f(x).sum()))(x), slope)
        rows = transformed(fx.vmap(fx.grad(lambda x: f(x).sum())))(np.stack([x, x]))
        np.testing.assert_allclose(rows, np.stack([slope, slope]))
        np.testing.assert_allclose(transformed(lambda x: fx.jvp(f, (x,), (np.ones(4),))[1])(x), slope)


# ---------------------------------------------------------------------------------------- tree_util, debug


def test_tree_util() -> None:
    t = {"b": [1, 2], "a": (3, None)}
    leaves, d = tree_util.tree_flatten(t)
    assert leaves == [3, 1, 2] and tree_util.tree_unflatten(d, leaves) == t and tree_util.tree_structure(t) == d
    assert tree_util.tree_broadcast((1, {"x": 2}), ([0, 0], {"x": (0, 0)})) == ([1, 1], {"x": (2, 2)})
    assert tree_util.tree_reduce_associative(operator.add, [1, (2, 3), {"a": 4, "b": 5}]) == 15
    assert tree_util.tree_reduce_associative(lambda a, b: f"({a}{b})", list("abcde")) == "((ab)(c(de)))"
    assert tree_util.tree_reduce_associative(operator.add, [], identity=7) == 7
    with pytest.raises(TypeError, match="identity="):
        tree_util.tree_reduce_associative(operator.add, [])
    children = tree_util.treedef_children(d)
    assert (
        [c.num_leaves for c in children] == [1, 2]
        and tree_util.treedef_is_leaf(tree_util.tree_structure(1))
        and not tree_util.treedef_is_leaf(d)
    )
    assert tree_util.treedef_tuple(children) == tree_util.tree_structure(((3, None), [1, 2]))

    @tree_util.register_pytree_with_keys_class
    class Pair:
        def __init__(self, a: Any, b: Any) -> None:
            self.a, self.b = a, b

        def tree_flatten_with_keys(self) -> Any:
            return [(tree_util.GetAttrKey("a"), self.a), (tree_util.GetAttrKey("b"), self.b)], None

        @classmethod
        def tree_unflatten(cls, aux: Any, children: Any) -> Any:
            return cls(*children)

    doubled = tree_util.tree_map(lambda v: 2 * v, Pair(1, 2))
    assert (doubled.a, doubled.b) == (2, 4)
    assert [tree_util.keystr(path) for path, _ in tree_util.tree_flatten_with_path(Pair(1, 2))[0]] == [".a", ".b"]


def test_debug(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[float] = []

    def f(x: Any) -> Any:
        fx.debug.print("x = {}", x)
        fx.debug.callback(lambda v: seen.append(float(v)), x + 1)
        return x * 2

    with fx.config.using(backend="reference"):
        assert fx.jit(f)(3.0) == 6
    assert capsys.readouterr().out == "x = 3.0\n" and seen == [4.0]


def test_scalars_and_sizes_of_one_are_stretched() -> None:
    """As in jax.lax: arrays of equal rank, or one without dimensions; other ranks and other dtypes are errors."""
    one, row, rows = fnp.float32(2), np.ones((1, 3), np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    pairs = {
        lax.add: np.add,
        lax.max: np.maximum,
        lax.atan2: np.arctan2,
        lax.lt: np.less,
        lax.pow: np.power,
        lax.sub: np.subtract,
    }
    for f, np_f in pairs.items():
        for x, y in ((one, rows), (rows, one), (row, rows), (rows, row), (rows[:, :1], row)):
            for call in (f, fx.jit(f)):
                np.testing.assert_allclose(call(x, y), np_f(np.asarray(x), np.asarray(y)), rtol=1e-6)
    np.testing.assert_array_equal(fx.grad(lambda c: lax.mul(c, rows).sum())(np.float32(2)), rows.sum())
    np.testing.assert_array_equal(fx.vmap(lambda c: lax.sub(rows, c))(rows[0])[2], rows - 2)
    with pytest.raises(ShapeError):
        lax.add(rows[0], rows)
    with pytest.raises(DTypeError):
        lax.add(fnp.int32(1), rows)


def test_random_bits_from_a_state_are_jax_s() -> None:
    jax = pytest.importorskip("jax")
    narrow, wide = np.uint32([7, 8, 2**32 - 1, 10]), np.uint64([2**33 + 5, 2**64 - 2])
    shapes = ((5,), (2, 3), (3, 4), (3, 5), (5, 3), (7, 1, 7), (), (3, 0))
    cases = [(narrow, s, "uint32") for s in shapes] + [
        (wide, (3, 2), d) for d in ("uint8", "uint16", "uint32", "uint64")
    ]
    with jax.enable_x64(True):
        for state, shape, dtype in cases:
            want = jax.lax.rng_bit_generator(state, shape, dtype, algorithm=jax.lax.RandomAlgorithm.RNG_THREE_FRY)
            for g, w in zip(lax.rng_bit_generator(state, shape, dtype), want):
                assert g.dtype == w.dtype
                np.testing.assert_array_equal(g, w)
    rows = np.stack([narrow, narrow + np.uint32(1)])
    each = [lax.rng_bit_generator(k, (3, 5)) for k in rows]
    for f in (
        fx.vmap(lambda k: lax.rng_bit_generator(k, (3, 5))),
        fx.jit(fx.vmap(lambda k: lax.rng_bit_generator(k, (3, 5)))),
    ):
        for g, w in zip(f(rows), zip(*each)):
            np.testing.assert_array_equal(g, np.stack(w))


def test_a_state_of_another_kind_is_refused() -> None:
    with pytest.raises(fx.errors.DTypeError, match=r"found uint32\[2\]"):
        lax.rng_bit_generator(np.uint32([1, 2]), (3,))
    with pytest.raises(ValueError, match="no Philox"):
        lax.rng_bit_generator(np.uint32([1, 2, 3, 4]), (3,), algorithm=lax.RandomAlgorithm.RNG_PHILOX)
