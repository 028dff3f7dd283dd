"""Primitives that a program defines in JAX's way: one program, with fx and with JAX, under every transform."""

from __future__ import annotations

import enum
import functools
import importlib
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax
from fx.errors import DTypeError, MissingRuleError, RegistryError
from fx.extend import core
from fx.interpreters import ad, batching, mlir, partial_eval, xla


def multiply_add(library: str, name: str = "multiply_add") -> Any:
    """x y + z as a primitive with all rules, as JAX's documentation has it; an attribute tells how often it is lowered."""
    lib, np_ = importlib.import_module(library), importlib.import_module(f"{library}.numpy")
    importlib.import_module(f"{library}.extend.core")
    ad, batching, mlir = (importlib.import_module(f"{library}.interpreters.{m}") for m in ("ad", "batching", "mlir"))
    p = lib.extend.core.Primitive(name)

    def apply(x: Any, y: Any, z: Any) -> Any:
        return p.bind(x, y, z)

    @p.def_impl
    def impl(x: Any, y: Any, z: Any) -> Any:
        return np.add(np.multiply(np.asarray(x), np.asarray(y)), np.asarray(z))

    p.def_abstract_eval(lambda x, y, z: lib.core.ShapedArray(x.shape, x.dtype))

    def jvp(primals: Any, tangents: Any) -> Any:
        x, y, _ = primals
        xt, yt, zt = [np_.zeros_like(p) if type(t) is ad.Zero else t for p, t in zip(primals, tangents)]
        return apply(*primals), apply(xt, y, apply(x, yt, zt))

    ad.primitive_jvps[p] = jvp

    def transpose(ct: Any, x: Any, y: Any, z: Any) -> Any:
        zero = np_.zeros_like
        if ad.is_undefined_primal(x):
            return apply(ct, y, zero(y)), None, ct
        return (
            None,
            apply(x, ct, zero(x)) if ad.is_undefined_primal(y) else None,
            ct if ad.is_undefined_primal(z) else None,
        )

    ad.primitive_transposes[p] = transpose

    def batch(args: Any, dims: Any) -> Any:
        size = next(a.shape[d] for a, d in zip(args, dims) if d is not None)
        return apply(
            *[
                np_.broadcast_to(a, (size, *np_.shape(a))) if d is None else np_.moveaxis(a, d, 0)
                for a, d in zip(args, dims)
            ]
        ), 0

    batching.primitive_batchers[p] = batch

    def lowered(x: Any, y: Any, z: Any) -> Any:
        apply.lowered += 1  # type: ignore[attr-defined]
        return x * y + z

    apply.lowered = 0  # type: ignore[attr-defined]
    apply.primitive = p  # type: ignore[attr-defined]
    mlir.register_lowering(p, mlir.lower_fun(lowered, multiple_results=False))
    return apply


X = np.linspace(-1.0, 2.0, 4, dtype=np.float32)


def programs(lib: Any, apply: Any) -> list[Any]:
    """Values of the primitive under transforms, nested."""
    numpy = importlib.import_module(f"{lib.__name__}.numpy")

    def f(x: Any) -> Any:
        return apply(x, apply(x, x, numpy.sin(x)), 2 * x)

    def loop(x: Any) -> Any:
        return lib.lax.scan(lambda c, a: (apply(c, a, x), c), x, numpy.asarray(X))[0]

    transforms = [
        f, lib.jit(f), lib.grad(f), lib.jit(lib.grad(f)), lib.jacfwd(f), lib.jit(lib.grad(loop)),
        lib.grad(lib.checkpoint(f)), lib.jit(lib.grad(lambda x: lib.lax.cond(x > 0, f, lambda y: -y, x))),
    ]  # fmt: skip
    mapped = [lib.vmap(f), lib.jit(lib.vmap(lib.grad(f))), lib.vmap(lib.jit(lib.grad(loop)))]
    both = lib.vmap(lib.grad(lambda x, y: apply(x, y, x), argnums=(0, 1)), (0, None))
    return [t(np.float32(0.7)) for t in transforms] + [t(X) for t in mapped] + [*both(X, np.float32(3)), apply(X, X, X)]


def test_a_primitive_of_a_program_as_in_jax() -> None:
    ours = multiply_add("fx")
    found = programs(fx, ours)
    jax = pytest.importorskip("jax")
    wanted = programs(jax, multiply_add("jax"))
    for a, b in zip(found, wanted, strict=True):
        assert np.shape(a) == np.shape(b) and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert ours.lowered > 0 and "callback" not in fx.jit(lambda x: ours(x, x, x)).lower(X).explain()
    fx.test_util.check_grads(lambda x: ours(x, x * x, x), (np.linspace(0.5, 1, 3),), order=1)


def test_without_a_lowering_a_compiled_program_calls_impl() -> None:
    p = core.Primitive("sorted_pair")
    p.multiple_results = True
    calls: list[Any] = []

    @p.def_impl
    def impl(x: Any, *, down: bool) -> Any:
        calls.append(type(x))
        order = np.argsort(np.asarray(x))[:: -1 if down else 1]
        return [np.asarray(x)[order], order.astype(np.int32)]

    assert [o.tolist() for o in p.bind(fnp.array([3.0, 1.0, 2.0]), down=True)] == [
        [3, 2, 1],
        [0, 2, 1],
    ]  # impl is enough
    p.def_abstract_eval(lambda x, *, down: [x, fx.core.ShapedArray(x.shape, fnp.int32)])
    f = fx.jit(lambda x: (p.bind(2 * x, down=False)[0] + 1, p.bind(x, down=True)[1]))
    values, order = f(X)
    np.testing.assert_array_equal(values, 2 * X + 1)
    assert order.tolist() == [3, 2, 1, 0] and set(calls) == {fx.Array}
    assert "returns to Python 2 times" in f.lower(X).explain()
    for transform, rule in ((fx.vmap, "batch"), (fx.jacfwd, "jvp")):
        with pytest.raises(MissingRuleError, match=f"'sorted_pair' has no {rule} rule"):
            fx.jit(transform(lambda x: p.bind(x, down=True)[0]))(np.stack([X, X]))


def test_what_impl_and_abstract_eval_say_must_agree() -> None:
    p = core.Primitive("liar")
    p.def_impl(lambda x: x.astype(int))
    p.def_abstract_eval(lambda x: x)
    with pytest.raises(DTypeError, match=r"'liar' returned i64\[4\]; its abstract_eval rule says f32\[4\]"):
        fx.jit(p.bind)(X)


def test_linear_and_bilinear_primitives() -> None:
    double, product = core.Primitive("double"), core.Primitive("product")
    for p, fun in ((double, lambda x: 2 * x), (product, lambda x, y: x * y)):
        p.def_impl(functools.partial(xla.apply_primitive, p))
        p.def_abstract_eval(lambda x, *_: x)
        mlir.register_lowering(p, mlir.lower_fun(fun, multiple_results=False))
    ad.deflinear2(double, lambda ct, x: [double.bind(ct)])
    batching.defvectorized(double)
    ad.defbilinear(product, lambda ct, x, y: product.bind(ct, y), lambda ct, x, y: product.bind(x, ct))
    batching.defbroadcasting(product)

    def f(x: Any) -> Any:
        return fnp.sum(product.bind(double.bind(x), fnp.sin(x)))

    for transform in (lambda g: g, fx.jit):
        np.testing.assert_allclose(transform(fx.grad(f))(X), 2 * np.sin(X) + 2 * X * np.cos(X), rtol=1e-5)
        np.testing.assert_allclose(transform(fx.vmap(fx.grad(f)))(X[:, None])[:, 0], fx.grad(f)(X), rtol=1e-6)


def test_lowerings_hold_arrays_and_names_may_be_taken() -> None:
    """A lowering closes over an array; the primitive has the name of one that fx inlines."""
    p = core.Primitive("jit")
    p.multiple_results = True
    table = np.arange(4.0, dtype=np.float32)
    p.def_abstract_eval(lambda x, *, n: [x] * n)
    mlir.register_lowering(p, mlir.lower_fun(lambda x, *, n: [x + k * table for k in range(n)]))
    mlir.register_lowering(p, mlir.lower_fun(lambda x, *, n: [0 * x]), platform="cuda")
    for f in (p.bind, fx.jit(p.bind, static_argnames="n")):
        for k, out in enumerate(f(X, n=3)):
            np.testing.assert_array_equal(out, X + k * table)
    assert p.name == "jit_" and "jit_[n=2]" in str(fx.make_graph(lambda x: p.bind(x, n=2))(X))
    assert len(fx.jit(lambda x: p.bind(x, n=1)).lower(fx.ShapeDtypeStruct((4,), "float32")).graph.eqns) == 1


def test_rules_of_the_library_are_read_in_the_same_form() -> None:
    out, t = ad.primitive_jvps[lax.sin_p]((X,), (X,))
    np.testing.assert_allclose(t, X * np.cos(X), rtol=1e-6)
    out, t = ad.primitive_jvps[lax.mul_p]((X, X), (ad.Zero(fx.typeof(X)), ad.Zero(fx.typeof(X))))
    assert type(t) is ad.Zero and np.array_equal(out, X * X)
    ct = ad.primitive_transposes[lax.neg_p](X, ad.UndefinedPrimal(fx.typeof(X)))
    np.testing.assert_array_equal(ct[0], -X)
    out, d = batching.primitive_batchers[lax.reduce_sum_p]((np.ones((4, 3), np.float32),), (1,), axes=(0,))
    assert out.tolist() == [4, 4, 4] and d == 0
    assert lax.sin_p in ad.primitive_jvps and lax.sin_p not in ad.primitive_transposes
    for table in (ad.primitive_jvps, ad.primitive_transposes, batching.primitive_batchers):
        with pytest.raises(RegistryError, match="of fx has its (jvp|transpose|batch) rule"):
            table[lax.neg_p] = lambda *_: None
    assert isinstance(lax.sin_p, core.Primitive)


def test_a_primitive_of_the_library_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lax.stop_gradient_p, "_rules", {**lax.stop_gradient_p._rules})
    assert lax.stop_gradient_p not in ad.primitive_transposes
    ad.primitive_transposes[lax.stop_gradient_p] = lambda ct, x: (ct,)
    (ct,) = fx.linear_transpose(lambda x: 2 * lax.stop_gradient(x), X)(X)
    np.testing.assert_array_equal(ct, 2 * X)
    with pytest.raises(RegistryError, match="whose rules stay"):
        del ad.primitive_transposes[lax.stop_gradient_p]


# --------------------------------------------------------- what packages that define primitives ask beside them


def test_rules_of_functions_see_what_the_caller_gave() -> None:
    """Numbers as residuals stay numbers, a number that is differentiated is an array, None may stand in a structure."""
    seen: list[Any] = []

    @fx.custom_vjp
    def f(tree: Any) -> Any:
        return tree

    def fwd(tree: Any) -> Any:
        return tree, (True, 3, tree["x"])

    def bwd(residuals: Any, ct: Any) -> Any:
        seen.append(residuals)
        return ({"none": None, "x": ct["x"] * residuals[1]},)

    f.defvjp(fwd, bwd)
    for transform in (lambda g: g, fx.jit, lambda g: lambda x: fx.vmap(g)(X + x)[0]):
        assert transform(fx.grad(lambda x: f({"none": None, "x": x})["x"]))(2.0) == 3
        assert seen[-1][0] is True and type(seen[-1][1]) is int and isinstance(seen[-1][2], fx.Array)

    @fx.custom_jvp
    def g(tree: Any) -> Any:
        return tree

    g.defjvp(lambda p, t: (p[0], {"none": None, "x": 5 * t[0]["x"]}))
    assert fx.grad(lambda x: g({"none": None, "x": x})["x"])(2.0) == 5
    (ct,) = fx.linear_transpose(lambda x: g({"none": None, "x": 2 * x})["x"], 1.0)(1.0)  # g itself is linear
    assert ct == 2
    zeros = fx.custom_derivatives.zero_from_primal({"a": X, "b": 1}, symbolic_zeros=True)
    assert zeros["a"].dtype == np.float32 and zeros["b"].dtype == fx.float0


def test_vmap_leaves_numbers_that_are_not_mapped() -> None:
    assert fx.vmap(lambda x, n: x[: n // 2] if n % 2 == 0 else x, (0, None))(np.ones((3, 4)), 4).shape == (3, 2)


def test_types_stand_for_arrays() -> None:
    t = fx.ShapeDtypeStruct((2,), "complex64")
    assert fx.eval_shape(lambda x: {"x": x, "t": t}, X)["t"] == t
    assert fnp.result_type(t, 1.0) == np.complex64 and fnp.iscomplexobj(t)
    assert fx.typeof(X).to_tangent_aval() == fx.typeof(X).update(weak=False)


def test_structures_whose_nodes_keep_what_has_no_hash() -> None:
    class Box:
        def __init__(self, x: Any, options: Any) -> None:
            self.x, self.options = x, options

    fx.tree_util.register_pytree_node(Box, lambda b: ((b.x,), b.options), lambda options, xs: Box(xs[0], options))
    one, two, other = (fx.tree.structure(Box(1, o)) for o in ({"a": 1}, {"a": 1}, {"a": 2}))
    assert hash(one) == hash(two) and one == two != other
    f = fx.jit(lambda structure, x: fx.tree.unflatten(structure, [x]).options["a"] * x, static_argnums=0)
    assert f(one, 3.0) == 3 and f(other, 3.0) == 6


def test_keys_are_chosen_and_joined() -> None:
    a, b = fx.random.key(1), fx.random.key(2)
    for f in (lambda c: fnp.where(c, a, b), fx.jit(lambda c: fnp.where(c, a, b))):
        assert f(True) == a and f(fnp.array([False, True])).shape == (2,)
    keys = fnp.stack([a, b])
    assert keys.shape == (2,) and fnp.concatenate([keys, keys]).shape == (4,) and fnp.concatenate([keys, keys])[3] == b
    with pytest.raises(DTypeError, match="two arrays of keys"):
        fnp.where(True, a, 1.0)


def test_what_has_a_tangent_is_told() -> None:
    def f(x: Any, y: Any) -> Any:
        trace = core.find_top_trace((x, y))
        assert x._trace.main is trace.main and isinstance(x, ad.JVPTracer)
        assert not isinstance(fnp.sign(y), ad.JVPTracer)
        return x * y

    assert core.find_top_trace() is None
    assert fx.jvp(lambda x: f(x, fnp.asarray(2.0)), (3.0,), (1.0,))[1] == 2


def test_python_s_types_as_dtypes() -> None:
    """64 bits as in NumPy, or the defaults as in JAX, which are compiled anew."""

    def f(x: Any) -> Any:
        return (
            fnp.asarray(x).astype(float),
            fnp.zeros(2, int),
            fnp.sum(x, dtype=complex),
            fnp.asarray([1, 2], float),
            fnp.arange(3, dtype=int),
        )

    def names(f: Any) -> list[str]:
        return [o.dtype.name for o in f(X)]

    jitted = fx.jit(f)
    for g in (f, jitted):
        assert names(g) == ["float64", "int64", "complex128", "float64", "int64"]
        with fx.config.using(python_dtypes="default"):
            assert names(g) == ["float32", "int32", "complex64", "float32", "int32"]
            assert fnp.zeros(1, "float64").dtype == np.float64 and fnp.zeros(1, np.int64).dtype == np.int64
            with fx.config.using(default_float="float64", default_int="int64"):
                assert names(g) == ["float64", "int64", "complex128", "float64", "int64"]
    assert names(jitted) == ["float64", "int64", "complex128", "float64", "int64"]


def test_a_function_of_known_and_unknown_arguments() -> None:
    """``partial_eval``: what follows from known arguments is computed, the rest is a graph."""
    called: list[Any] = []

    def f(args: Any, *, scale: float) -> Any:
        called.append(args)
        known, unknown = args["known"], args["unknown"]
        return {"known": scale * known, "both": known + unknown, "number": 3}

    leaves, in_tree = fx.tree.flatten((({"known": X, "unknown": X},), {"scale": 2.0}))
    flat, out_tree = fx.api_util.flatten_fun(fx.extend.linear_util.wrap_init(f), in_tree)
    value = partial_eval.PartialVal
    pvals = [value.known(leaves[0]), value.unknown(fx.typeof(X)), value.known(2.0)]
    jaxpr, outs, consts = partial_eval.trace_to_jaxpr_nounits(flat, pvals)
    out = fx.tree.unflatten(out_tree(), outs)
    np.testing.assert_array_equal(out["known"].const, 2 * X)
    assert (
        out["both"].aval == fx.typeof(X)
        and out["number"] == (None, 3)
        and not out["both"].is_known()
        and len(called) == 1
    )
    np.testing.assert_array_equal(
        core.jaxpr_as_fun(fx.make_jaxpr(lambda x: fx.core.eval_jaxpr(jaxpr, consts, x))(X))(10 * X)[0], 11 * X
    )
    _, outs, _ = partial_eval.trace_to_jaxpr_nounits(flat, pvals, instantiate=True)
    assert all(not o.is_known() for o in outs)


def test_a_graph_of_the_outputs_that_are_used() -> None:
    def f(x: Any, y: Any, z: Any) -> Any:
        (a, b), ys = fx.lax.scan(lambda c, v: ((c[0] + v, c[1] * z), c[0]), (x, y), fnp.arange(3.0))
        return a, b, ys, y * 2

    whole = fx.make_jaxpr(f)(1.0, 2.0, 3.0)
    for use, inputs in (
        ([True, False, False, False], [True, False, False]),
        ([False, True, False, True], [False, True, True]),
    ):
        small, used = partial_eval.dce_jaxpr(whole.jaxpr, use)
        assert used == inputs and len(small.invars) == sum(inputs)
        args = [v for v, u in zip((1.0, 2.0, 3.0), used) if u]
        want = [v for v, u in zip(f(1.0, 2.0, 3.0), use) if u]
        assert fx.tree.map(float, fx.core.eval_jaxpr(small, whole.consts, *args)) == fx.tree.map(float, want)
    assert partial_eval.dce_jaxpr(whole.jaxpr, False, [False, True, False])[1] == [False, True, False]


def test_keys_have_a_type() -> None:
    found = fx.typeof(fx.random.split(fx.random.key(0), 3))
    assert found.shape == (3,) and found.dtype == fx.random.key(0).dtype and str(found) == "key<fry>[3]"


def test_members_of_an_int_enum_are_numbers() -> None:
    code = enum.IntEnum("code", {"full": 4})
    for dtype in (None, np.uint8):
        a = fnp.array(code.full, dtype=dtype)
        assert a == 4 and a.dtype == (dtype or np.int32)
