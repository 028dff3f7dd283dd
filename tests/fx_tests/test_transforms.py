"""The transforms as a whole: they compose in every order, on pytrees, over closures and Python control flow."""

from __future__ import annotations

import collections
import dataclasses
import gc
import itertools
import tracemalloc
from typing import Any, NamedTuple

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import errors, tree
from fx.custom_derivatives import SymbolicZero

X = np.float64(1.3)
V = np.linspace(0.1, 2.0, 5)


def numeric(f: Any, x: float, h: float = 1e-5) -> float:
    return (float(f(x + h)) - float(f(x - h))) / (2 * h)


def smooth(x: Any) -> Any:
    return np.sin(x) * x * x


# ------------------------------------------------------------------------------------ composition

SCALAR_TRANSFORMS = {
    "jit": fx.jit,
    "checkpoint": fx.checkpoint,
    "vmap": lambda f: lambda x: fx.vmap(f)(fnp.stack([x, x * 2]))[0],
    "identity_custom_jvp": lambda f: _as_custom_jvp(f),
    "identity_custom_vjp": lambda f: _as_custom_vjp(f),
}


def _as_custom_jvp(f: Any) -> Any:
    g = fx.custom_jvp(f)
    g.defjvp(lambda p, t: (f(*p), fx.grad(f)(*p) * t[0]))
    return g


def _as_custom_vjp(f: Any) -> Any:
    g = fx.custom_vjp(f)
    g.defvjp(lambda x: (f(x), x), lambda x, ct: (fx.grad(f)(x) * ct,))
    return g


@pytest.mark.parametrize("order", list(itertools.permutations(SCALAR_TRANSFORMS, 2)), ids="-".join)
def test_grad_of_wrapped_functions(order: tuple[str, str]) -> None:
    f = smooth
    for name in order:
        f = SCALAR_TRANSFORMS[name](f)
    assert float(f(X)) == pytest.approx(float(smooth(X)), rel=1e-12)
    assert float(fx.grad(f)(X)) == pytest.approx(numeric(smooth, X), rel=1e-6)
    assert float(fx.jit(fx.grad(f))(X)) == pytest.approx(numeric(smooth, X), rel=1e-6)


@pytest.mark.parametrize("name", SCALAR_TRANSFORMS)
def test_second_and_third_derivatives_through_each_wrapper(name: str) -> None:
    f = SCALAR_TRANSFORMS[name](smooth)
    second = fx.grad(fx.grad(smooth))
    assert float(fx.grad(fx.grad(f))(X)) == pytest.approx(numeric(fx.grad(smooth), X), rel=1e-7)
    assert float(fx.grad(fx.grad(fx.grad(f)))(X)) == pytest.approx(numeric(second, X), rel=1e-7)


DERIVATIVES = {
    "grad(grad)": lambda f: fx.grad(fx.grad(f)),
    "jvp(grad)": lambda f: lambda x: fx.jvp(fx.grad(f), (x,), (np.ones_like(x),))[1],
    "grad(jvp)": lambda f: fx.grad(lambda x: fx.jvp(f, (x,), (np.float64(1.0),))[1]),
    "jvp(jvp)": lambda f: (
        lambda x: fx.jvp(lambda y: fx.jvp(f, (y,), (np.float64(1.0),))[1], (x,), (np.float64(1.0),))[1]
    ),
    "jacfwd(jacrev)": lambda f: fx.jacfwd(fx.jacrev(f)),
    "jacrev(jacfwd)": lambda f: fx.jacrev(fx.jacfwd(f)),
    "hessian": fx.hessian,
    "grad(vjp)": lambda f: fx.grad(lambda x: fx.vjp(f, x)[1](np.float64(1.0))[0]),
    "grad(linearize)": lambda f: fx.grad(lambda x: fx.linearize(f, x)[1](np.float64(1.0))),
}


@pytest.mark.parametrize("name", DERIVATIVES)
@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])
def test_every_way_to_a_second_derivative(name: str, jitted: bool) -> None:
    second = DERIVATIVES[name](smooth)
    second = fx.jit(second) if jitted else second
    assert float(second(X)) == pytest.approx(numeric(fx.grad(smooth), X), rel=1e-6)


def test_perturbation_confusion() -> None:
    inner = lambda x: fx.grad(lambda y: x + y)(np.float64(1.0))
    assert float(fx.grad(lambda x: x * inner(x))(X)) == 1.0


def test_gradient_through_a_closure_and_its_argument() -> None:
    h = lambda x: fx.grad(lambda y: np.sin(x * y) * x)(x * x)
    assert float(fx.grad(h)(X)) == pytest.approx(numeric(h, X), rel=1e-6)


def test_vmap_of_grad_of_vmap_with_closures() -> None:
    k = lambda s: fnp.sum(fx.vmap(lambda a: fx.grad(lambda b: np.sin(b * s) * a)(a))(V))
    assert float(fx.grad(k)(X)) == pytest.approx(numeric(k, X), rel=1e-6)
    assert float(fx.jit(fx.grad(fx.jit(k)))(X)) == pytest.approx(numeric(k, X), rel=1e-6)


def test_vmap_of_vmap_of_grad() -> None:
    grid = np.arange(6.0).reshape(2, 3)
    got = fx.vmap(fx.vmap(fx.grad(smooth)))(grid)
    want = [[float(fx.grad(smooth)(x)) for x in row] for row in grid]
    np.testing.assert_allclose(got, want, rtol=1e-12)


# ----------------------------------------------------------------------------- Python control flow


def dynamic(x: Any) -> Any:
    n = 0
    while x > 0.1 and n < 20:
        x = x * 0.5 + np.sin(x) * 0.1
        n += 1
    return x * x if float(x) > 0 else -x


def test_python_control_flow_under_plain_derivatives() -> None:
    assert float(fx.grad(dynamic)(X)) == pytest.approx(numeric(dynamic, X), rel=1e-6)
    assert float(fx.grad(fx.grad(dynamic))(X)) == pytest.approx(numeric(fx.grad(dynamic), X), rel=1e-6)
    assert float(fx.jvp(dynamic, (X,), (np.float64(1.0),))[1]) == pytest.approx(numeric(dynamic, X), rel=1e-6)
    assert float(fx.grad(fx.checkpoint(dynamic))(X)) == pytest.approx(numeric(dynamic, X), rel=1e-6)


@pytest.mark.parametrize("wrap", [fx.jit, lambda f: fx.jit(fx.grad(f))], ids=["jit", "jit(grad)"])
def test_python_control_flow_under_jit_names_argument_and_way_out(wrap: Any) -> None:
    with pytest.raises(errors.ConcretizationError, match=r"(?s)truth value.*'x'.*static_argnums"):
        wrap(dynamic)(X)


def test_python_control_flow_under_vmap_raises() -> None:
    with pytest.raises(errors.ConcretizationError, match="vmap"):
        fx.vmap(dynamic)(V)


def test_in_place_updates_of_traced_values_are_functionalised() -> None:
    def f(x: Any) -> Any:
        y = np.zeros_like(x)
        for i in range(5):
            y[i] = x[i] ** 2
        y[1:3] += x[0]
        y *= 2.0
        return np.sum(y * x)

    plain = f(V.copy())
    assert float(fx.jit(f)(V)) == pytest.approx(plain)
    numeric_gradient = [(f(V + d) - f(V - d)) / 2e-6 for d in np.eye(5) * 1e-6]
    np.testing.assert_allclose(fx.grad(f)(V), numeric_gradient, rtol=1e-6)
    np.testing.assert_allclose(fx.jit(fx.grad(f))(V), numeric_gradient, rtol=1e-6)


# ------------------------------------------------------------------------------------------ pytrees


class Point(NamedTuple):
    x: Any
    y: Any


@fx.tree.register_dataclass
@dataclasses.dataclass
class Layer:
    w: Any
    b: Any
    name: str = dataclasses.field(default="layer", metadata={"static": True})


TREES = [
    (V, V * 2),
    [V, [V * 2]],
    {"b": V, "a": (V * 2, None)},
    collections.OrderedDict([("z", V), ("a", V * 2)]),
    Point(V, V * 2),
    Layer(V, V * 2),
]


@pytest.mark.parametrize("params", TREES, ids=lambda t: type(t).__name__)
def test_gradients_keep_the_structure_of_pytrees(params: Any) -> None:
    def loss(p: Any) -> Any:
        a, b = tree.leaves(p)
        return fnp.sum(fnp.sin(a) * b)

    for g in (fx.grad(loss)(params), fx.jit(fx.grad(loss))(params), fx.jacrev(loss)(params), fx.jacfwd(loss)(params)):
        assert tree.structure(g) == tree.structure(params)
        a, b = tree.leaves(params)
        ga, gb = tree.leaves(g)
        np.testing.assert_allclose(ga, np.cos(a) * b, rtol=1e-12)
        np.testing.assert_allclose(gb, np.sin(a), rtol=1e-12)


def test_jit_and_vmap_over_pytrees() -> None:
    f = lambda d: {"sum": d["a"] + d["b"][0], "none": None, "pair": (d["a"], d["b"][0] * 2)}
    data = {"a": V, "b": [V * 3]}
    for g in (fx.jit(f), fx.vmap(f)):
        out = g(data)
        assert out["none"] is None
        np.testing.assert_allclose(out["sum"], V * 4)
        np.testing.assert_allclose(out["pair"][1], V * 6)


def test_vmap_axes_as_pytrees_and_out_axes() -> None:
    f = lambda d, s: (d["a"] * s, d["b"])
    a, b = np.arange(6.0).reshape(2, 3), np.arange(3.0)
    out, same = fx.vmap(f, in_axes=({"a": 1, "b": None}, None), out_axes=(1, None))({"a": a, "b": b}, 2.0)
    np.testing.assert_allclose(out, a * 2)
    np.testing.assert_allclose(same, b)
    np.testing.assert_allclose(fx.vmap(lambda x: x.sum(), in_axes=-1)(a), a.sum(0))


def test_argnums_aux_and_kwargs() -> None:
    def f(x: Any, y: Any, *, scale: float = 1.0) -> Any:
        return scale * x * y**2, {"twice": 2 * x, "label": "aux"}

    (gx, gy), aux = fx.grad(f, argnums=(0, 1), has_aux=True)(2.0, 3.0, scale=10.0)
    assert (float(gx), float(gy)) == (90.0, 120.0)
    assert float(aux["twice"]) == 4.0 and aux["label"] == "aux"
    (value, aux), g = fx.value_and_grad(f, argnums=-1, has_aux=True)(2.0, 3.0)
    assert (float(value), float(g)) == (18.0, 12.0)


# ----------------------------------------------------------------------- vjp, linearize, transposes


def test_vjp_and_linearize_are_adjoint() -> None:
    f = lambda x, y: (fnp.tanh(x) * y, fnp.sum(x**2))
    x, y = np.arange(3.0), np.arange(3.0) + 1
    out, pull = fx.vjp(f, x, y)
    out2, push = fx.linearize(f, x, y)
    rng = np.random.default_rng(0)
    tx, ty = rng.normal(size=(2, 3))
    ct = (rng.normal(size=3), np.float64(rng.normal()))
    dout = push(tx, ty)
    gx, gy = pull(ct)
    left = float(fnp.sum(dout[0] * ct[0]) + dout[1] * ct[1])
    right = float(fnp.sum(gx * tx) + fnp.sum(gy * ty))
    assert left == pytest.approx(right, rel=1e-12)
    np.testing.assert_allclose(out[0], out2[0])


def test_linear_transpose() -> None:
    a = np.arange(6.0).reshape(2, 3)
    t = fx.linear_transpose(lambda x: fnp.dot(a, x) * 2, np.zeros(3))
    np.testing.assert_allclose(t(np.array([1.0, 2.0]))[0], a.T @ [1.0, 2.0] * 2)
    with pytest.raises(errors.MissingRuleError):
        fx.linear_transpose(lambda x: fnp.sin(x), np.zeros(3))(np.zeros(3))


def test_jacobians_of_several_inputs_and_outputs() -> None:
    f = lambda x, y: {"p": fnp.outer(x, y), "s": fnp.sum(x) * y}
    x, y = np.arange(2.0) + 1, np.arange(3.0) + 1
    fwd, rev = fx.jacfwd(f, argnums=(0, 1))(x, y), fx.jacrev(f, argnums=(0, 1))(x, y)
    for k in ("p", "s"):
        for i in (0, 1):
            np.testing.assert_allclose(fwd[k][i], rev[k][i])
    np.testing.assert_allclose(rev["s"][1], np.eye(3) * x.sum())
    assert rev["p"][0].shape == (2, 3, 2)


def test_integer_inputs() -> None:
    with pytest.raises(errors.GradientDTypeError, match="'n'"):
        fx.grad(lambda n: n * 1.0)(3)
    g = fx.grad(lambda n, x: n * x, argnums=(0, 1), allow_int=True)(3, 2.0)
    assert g[0].dtype == fx.float0 and float(g[1]) == 3.0


def test_holomorphic_gradient() -> None:
    z = np.complex128(0.3 + 0.7j)
    got = fx.grad(lambda z: fnp.sin(z) * z, holomorphic=True)(z)
    assert complex(got) == pytest.approx(np.cos(z) * z + np.sin(z))


def test_stop_gradient() -> None:
    assert float(fx.grad(lambda x: fx.stop_gradient(x) * x)(3.0)) == 3.0


# ------------------------------------------------------------------------------------- custom rules


@fx.custom_jvp
def scaled(x: Any, y: Any) -> Any:
    return fnp.sin(x) * y


@scaled.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x, y), (tx, ty) = primals, tangents
    return scaled(x, y), 10.0 * fnp.cos(x) * tx * y + fnp.sin(x) * ty


def test_custom_jvp_rule_is_used_everywhere() -> None:
    x, y = np.float64(0.5), np.float64(2.0)
    want = 10 * np.cos(0.5) * 2
    assert float(fx.grad(scaled)(x, y)) == pytest.approx(want)
    assert float(fx.jit(fx.grad(fx.jit(scaled)))(x, y)) == pytest.approx(want)
    assert float(fx.jvp(scaled, (x, y), (1.0, 0.0))[1]) == pytest.approx(want)
    np.testing.assert_allclose(fx.vmap(fx.grad(scaled), (0, None))(V, y), 10 * np.cos(V) * 2)
    batched = lambda s: fnp.sum(fx.vmap(scaled, (0, None))(V, s))
    assert float(fx.grad(batched)(y)) == pytest.approx(np.sin(V).sum())
    inner = lambda v: fnp.sum(fx.vmap(scaled, (0, None))(v, y))
    np.testing.assert_allclose(fx.grad(inner)(V), 10 * np.cos(V) * 2)


def test_custom_jvp_with_static_arguments_and_symbolic_zeros() -> None:
    seen = []

    @lambda f: fx.custom_jvp(f, nondiff_argnums=(0,))
    def apply(f: Any, x: Any, y: Any) -> Any:
        return f(x) + y

    def rule(f: Any, primals: Any, tangents: Any) -> Any:
        seen.append(type(tangents[1]) is SymbolicZero and tangents[1].shape == ())
        out = apply(f, *primals)
        return out, tangents[0] * 7.0

    apply.defjvp(rule, symbolic_zeros=True)
    assert float(fx.grad(lambda x: apply(np.sin, x, 1.0))(2.0)) == 7.0
    assert seen == [True]


def test_custom_vjp_rule_nondiff_and_symbolic_zeros() -> None:
    @lambda f: fx.custom_vjp(f, nondiff_argnums=(1,))
    def clip(x: Any, limit: float, other: Any) -> Any:
        return x * other

    def fwd(x: Any, limit: float, other: Any) -> Any:
        return x * other, other

    def bwd(limit: float, other: Any, ct: Any) -> Any:
        return fnp.clip(ct * other, -limit, limit), None

    clip.defvjp(fwd, bwd)
    f = lambda x: clip(x, 0.5, 3.0)
    assert float(fx.grad(f)(2.0)) == 0.5
    assert float(fx.jit(fx.grad(f))(2.0)) == 0.5
    np.testing.assert_allclose(fx.vmap(fx.grad(f))(V), np.full(5, 0.5))
    np.testing.assert_allclose(fx.grad(lambda v: fnp.sum(fx.vmap(f)(v)))(V), np.full(5, 0.5))
    with pytest.raises(errors.MissingRuleError, match="reverse mode"):
        fx.jvp(f, (2.0,), (1.0,))


def test_arguments_that_are_not_differentiated_by_name() -> None:
    f = fx.custom_jvp(lambda x, n, m=2: x**n * m, nondiff_argnums=(1,), nondiff_argnames=("m",))
    f.defjvp(lambda n, m, primals, tangents: (f(*primals, n, m), tangents[0] * n * m))
    assert float(fx.grad(lambda x: f(x, m=3, n=5))(2.0)) == 15
    g = fx.custom_vjp(lambda x, how: x if how == "same" else -x, nondiff_argnames=["how"])
    g.defvjp(lambda x, how: (g(x, how), None), lambda how, _, ct: (ct * len(how),))
    assert float(fx.jit(fx.grad(lambda x: g(x, "same")))(2.0)) == 4
    with pytest.raises(errors.CustomRuleError, match="names 'z'; the arguments of .* are x, y"):
        fx.custom_jvp(lambda x, y: x, nondiff_argnames=("z",))
    h = fx.checkpoint(lambda x, n, *, how: x**n if how == "power" else x, static_argnums=1, static_argnames="how")
    for args, names in (((2.0, 3), {"how": "power"}), ((2.0,), {"n": 3, "how": "power"})):
        assert float(fx.jit(fx.grad(lambda x, args=args, names=names: h(x, *args[1:], **names)))(2.0)) == 12


def test_custom_rules_that_do_not_fit_are_named() -> None:
    g = fx.custom_vjp(lambda x, y: x * y)
    with pytest.raises(errors.CustomRuleError, match="defvjp"):
        g(1.0, 2.0)
    g.defvjp(lambda x, y: (x * y, None), lambda r, ct: (ct,))
    with pytest.raises(errors.CustomRuleError, match="2 arguments"):
        fx.grad(g)(1.0, 2.0)
    h = fx.custom_jvp(lambda x: x)
    h.defjvp(lambda p, t: p[0])
    with pytest.raises(errors.CustomRuleError, match="tangent_out"):
        fx.grad(h)(1.0)


def test_custom_rule_and_closed_over_tracer() -> None:
    def f(w: Any) -> Any:
        @fx.custom_vjp
        def g(x: Any) -> Any:
            return x * w

        g.defvjp(lambda x: (g(x), x), lambda x, ct: (ct,))
        return g(2.0)

    with pytest.raises(errors.CustomRuleError, match="closes over"):
        fx.grad(f)(3.0)


def test_custom_gradient_and_closure_convert() -> None:
    @fx.custom_gradient
    def f(x: Any) -> Any:
        return x**2, lambda ct: (ct * 100.0 * x,)

    assert float(fx.grad(f)(3.0)) == 300.0
    assert float(fx.jit(fx.grad(f))(3.0)) == 300.0

    def outer(w: Any) -> Any:
        converted, consts = fx.closure_convert(lambda x: x * w, 1.0)
        assert len(consts) == 1
        return converted(2.0, *consts)

    assert float(fx.grad(outer)(5.0)) == 2.0


# ---------------------------------------------------------------------------------------- checkpoint


def test_checkpoint_keeps_only_its_inputs() -> None:
    f = lambda x: fnp.sin(fnp.sin(fnp.sin(x)))
    _, push = fx.linearize(fx.checkpoint(f), X)
    graph = fx.make_graph(lambda x: fx.vjp(fx.checkpoint(f), x)[1](1.0)[0])(X)
    kinds = [e.prim.name for e in graph.eqns]
    assert kinds.count("checkpoint") == 2 and "sin" not in kinds
    assert float(push(np.float64(1.0))) == pytest.approx(numeric(f, X), rel=1e-6)


def _second_pass(policy: Any) -> list[str]:
    w = np.eye(3)
    f = fx.checkpoint(lambda x: fnp.sum(fnp.sin(fx.checkpoint_name(w @ fnp.sin(x), "mid"))), policy=policy)
    graph = fx.make_graph(fx.grad(f))(np.arange(3.0))
    backward = [e for e in graph.eqns if e.prim.name == "checkpoint"][-1]
    return [e.prim.name for e in backward.params["graph"].eqns]


def test_checkpoint_policies_choose_what_is_recomputed() -> None:
    policies = fx.checkpoint_policies
    nothing = _second_pass(None)
    dots = _second_pass(policies.dots_saveable)
    assert nothing.count("dot_general") == dots.count("dot_general") + 1
    named = _second_pass(policies.save_only_these_names("mid"))
    assert named.count("dot_general") == dots.count("dot_general")
    everything = _second_pass(policies.everything_saveable)
    assert len(everything) < len(nothing)


# ---------------------------------------------------------------------------------------- collectives


def test_collectives_over_a_named_axis() -> None:
    lax = fx.lax
    np.testing.assert_allclose(fx.vmap(lambda x: x / lax.psum(x, "i"), axis_name="i")(V), V / V.sum())
    np.testing.assert_allclose(fx.vmap(lambda x: lax.pmean(x, "i"), axis_name="i")(V), np.full(5, V.mean()))
    np.testing.assert_allclose(
        fx.vmap(lambda x: lax.pmax(x, "i") - lax.pmin(x, "i"), axis_name="i")(V), np.full(5, np.ptp(V))
    )
    np.testing.assert_allclose(fx.vmap(lambda x: lax.axis_index("i") * x, axis_name="i")(V), np.arange(5) * V)
    np.testing.assert_allclose(fx.vmap(lambda x: lax.all_gather(x, "i"), axis_name="i")(V), np.tile(V, (5, 1)))
    assert fx.vmap(lambda x: lax.psum(1, "i") * x, axis_name="i")(V)[1] == 5 * V[1]
    np.testing.assert_allclose(
        fx.vmap(fx.jit(lambda x: lax.psum(x * x, "i")), axis_name="i")(V), np.full(5, (V**2).sum())
    )
    g = fx.grad(lambda v: fnp.sum(fx.vmap(lambda x: lax.psum(x, "i") * x, axis_name="i")(v)))(V)
    np.testing.assert_allclose(g, np.full(5, 2 * V.sum()))
    two = fx.vmap(fx.vmap(lambda x: lax.psum(x, ("i", "j")), axis_name="i"), axis_name="j")(np.ones((2, 3)))
    np.testing.assert_allclose(two, np.full((2, 3), 6.0))
    with pytest.raises(errors.AxisNameError, match="'k'"):
        fx.vmap(lambda x: lax.psum(x, "k"), axis_name="i")(V)


# ------------------------------------------------------------------------------------ effects, callbacks


def test_debug_print_runs_once_and_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    def f(x: Any) -> Any:
        fx.debug.print("first {}", x)
        y = x * 2
        fx.debug.print("second {y}", y=y)
        return y

    for g in (f, fx.jit(f), fx.grad(f), fx.jit(fx.grad(f)), fx.grad(fx.jit(f))):
        g(3.0)
        lines = capsys.readouterr().out.split("\n")
        assert [line.split()[0] for line in lines if line] == ["first", "second"]
    fx.vmap(f)(np.arange(2.0))
    assert capsys.readouterr().out.count("first") == 2


def test_pure_callback_under_transforms() -> None:
    def host(x: Any) -> Any:
        return np.asarray(x) ** 3

    shape = fx.ShapeDtypeStruct((), np.float64)
    f = lambda x: fx.pure_callback(host, shape, x, vmap_method="sequential")
    assert float(fx.jit(f)(X)) == pytest.approx(X**3)
    np.testing.assert_allclose(fx.vmap(f)(V), V**3)
    np.testing.assert_allclose(fx.jit(fx.vmap(lambda x: f(x) + x))(V), V**3 + V)
    with pytest.raises(errors.MissingRuleError, match="custom_jvp"):
        fx.grad(f)(X)


@pytest.mark.parametrize("how", ["eager", "jit", "vmap"])
def test_what_a_callback_returns_has_the_announced_dtype(how: str) -> None:
    """... or twice its bits, as JAX has it where 64 bits are off; nothing else is converted."""

    def call(result: Any, announced: Any) -> Any:
        f = lambda x: fx.pure_callback(
            lambda x: result, fx.ShapeDtypeStruct((), announced), x, vmap_method="sequential"
        )
        return {"eager": f, "jit": fx.jit(f), "vmap": fx.vmap(f)}[how](np.ones(2) if how == "vmap" else 1.0)

    for result, announced in ((2.5, "float32"), (np.int64(3), "int32"), (2j, "complex64"), (True, "bool")):
        out = call(result, announced)
        assert out.dtype == announced and (np.asarray(out) == result).all()
    for result, announced in ((3, "float32"), (2.5, "float16"), (2.5, "int32"), (np.float32(1), "float64"), (1j, "float32"), (300, "int16")):  # fmt: skip
        with pytest.raises(errors.DTypeError, match=f"the callback returned .*announces {announced}"):
            call(result, announced)


# ------------------------------------------------------------------------------------ looking at graphs


def test_eval_shape_and_make_graph() -> None:
    out = fx.eval_shape(lambda x: {"y": x @ x.T}, fx.ShapeDtypeStruct((3, 4), np.float32))
    assert out["y"].shape == (3, 3) and out["y"].dtype == np.float32
    text = str(fx.make_graph(lambda x: fnp.sin(x) * 2)(np.float32(1)))
    assert "sin x" in text and text.startswith("{ <lambda>(x: f32[])")


def test_named_scope_is_kept_in_graphs() -> None:
    def f(x: Any) -> Any:
        with fx.named_scope("outer"):
            with fx.named_scope("inner"):
                return fnp.sin(x)

    (eqn,) = fx.make_graph(f)(1.0).eqns
    assert eqn.scope == "outer/inner"
    assert all(e.scope == "outer/inner" for e in fx.make_graph(fx.grad(f))(1.0).eqns if e.prim.name == "cos")


def test_disable_jit_runs_python() -> None:
    seen = []

    @fx.jit
    def f(x: Any) -> Any:
        seen.append(type(x))
        return x + 1

    with fx.disable_jit():
        f(1.0)
        f(1.0)
    assert seen == [float, float]


def test_custom_rules_get_no_tangent_for_integers_and_booleans() -> None:
    seen = []

    @fx.custom_jvp
    def f(x: Any, flag: Any, n: Any) -> Any:
        return fnp.where(flag, x * n, x)

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        x, flag, n = primals
        seen.append([t.dtype for t in tangents])
        return f(x, flag, n), fnp.where(flag, n * tangents[0], tangents[0])

    assert fx.grad(f)(2.0, np.bool_(True), 3) == 3
    assert fx.grad(fx.jit(f))(2.0, np.bool_(False), 3) == 1
    assert seen[0][1:] == [fx.float0, fx.float0]
    batched = fx.vmap(fx.grad(f), in_axes=(0, 0, None))(fnp.ones(2), np.array([True, False]), 3)
    np.testing.assert_array_equal(batched, [3, 1])

    g = fx.custom_vjp(lambda x, flag: fnp.where(flag, x, 0.0))
    g.defvjp(lambda x, flag: (g(x, flag), flag), lambda flag, ct: (fnp.where(flag, 5 * ct, ct), None))
    assert fx.grad(g)(2.0, True) == 5


@pytest.mark.parametrize(
    "f, second",
    [
        (lambda x, y: fnp.logaddexp(x, y), 0.25),
        (lambda x, y: fnp.logaddexp2(x, y), np.log(2) / 4),
        (lambda x, y: fnp.hypot(x, y), 2**-1.5),
        (lambda x, y: fnp.hypot(x - 1, y), 1.0),
        (lambda x, y: fnp.hypot(y, x - 1), 1.0),
        (lambda x, y: fx.nn.softplus(x - y), 0.25),
        (lambda x, y: fx.scipy.special.logsumexp(fnp.stack([x, y])), 0.25),
    ],
)
def test_second_derivatives_where_the_formula_has_a_kink(f: Any, second: float) -> None:
    one = np.float64(1)
    for d2 in (fx.grad(fx.grad(f)), fx.jacfwd(fx.grad(f)), fx.grad(fx.jit(fx.grad(f)))):
        np.testing.assert_allclose(d2(one, one), second, rtol=1e-12)


def _memory(f: Any, x: np.ndarray) -> tuple[float, float]:
    """(peak of a vjp of ``f`` at ``x`` with its backward pass, what its forward pass keeps), in arrays like ``x``."""
    gc.collect()
    tracemalloc.start()
    try:
        _, pull = fx.vjp(f, x)
        kept = tracemalloc.get_traced_memory()[0]
        pull(np.float64(1))
        return tracemalloc.get_traced_memory()[1] / x.nbytes, kept / x.nbytes
    finally:
        tracemalloc.stop()


def test_memory_of_plain_and_checkpointed_reverse_mode() -> None:
    """Plain: the values of the forward pass, of which the residuals stay.  Checkpointed: one layer's values at a time,
    of which its input stays."""
    layers, steps = 8, 6

    def layer(x: Any) -> Any:
        for _ in range(steps):
            x = fnp.sin(x) * 1.5
        return x

    def net(layer: Any) -> Any:
        def f(x: Any) -> Any:
            for _ in range(layers):
                x = layer(x)
            return fnp.sum(x)

        return f

    x = np.ones(10_000)
    peak, kept = _memory(net(layer), x)
    assert kept == pytest.approx(layers * steps, rel=0.1)  # cos(x) of every step
    assert peak < 2.2 * layers * steps  # the values of the forward pass; residuals take their place
    peak, kept = _memory(net(fx.checkpoint(layer)), x)
    assert kept < 1.5 * layers
    assert peak < 1.5 * layers + 2.5 * steps


def test_a_constant_beside_an_array_is_not_written_out() -> None:
    x = np.ones(10_000)

    def f(x: Any) -> Any:
        for _ in range(20):
            x = x * 1.5
        return fnp.sum(x)

    peak, kept = _memory(f, x)
    assert kept < 2 and peak < 24


# --------------------------------------------------------------------------- linear maps as values


def layer_of(x: Any, w: Any) -> Any:
    return fnp.tanh(x @ w["a"] + w["b"])


LAYER = np.linspace(-1, 1, 6).reshape(2, 3), {"a": np.linspace(0, 1, 6).reshape(3, 2), "b": np.float64(0.5)}


@pytest.mark.parametrize("way", ["out of jit", "into jit", "both", "through scan"])
def test_the_maps_of_vjp_and_linearize_are_pytrees(way: str) -> None:
    y, pull = fx.vjp(layer_of, *LAYER)
    _, push = fx.linearize(layer_of, *LAYER)
    want, moved = pull(y), push(*LAYER)
    if way != "into jit":
        (_, pull), (_, push) = fx.jit(lambda *a: (fx.vjp(layer_of, *a), fx.linearize(layer_of, *a)))(*LAYER)
    if way == "through scan":
        add = lambda total, ct: (tree.map(np.add, total, pull(ct)), None)
        got, along = fx.lax.scan(add, tree.map(np.zeros_like, want), np.stack([y * 0.25, y * 0.75]))[0], push(*LAYER)
    elif way == "out of jit":
        got, along = pull(y), push(*LAYER)
    else:
        apply = fx.jit(lambda f, *a: f(*a))
        got, along = apply(pull, y), apply(push, *LAYER)
        again = fx.vjp(layer_of, *LAYER)[1]  # another trace of the same equations is the same program
        apply(fx.vjp(layer_of, *LAYER)[1], y)
        known = apply.cache_info().traced
        apply(again, y)
        assert apply.cache_info().traced == known
    for g, w in zip(tree.leaves((got, along)), tree.leaves((want, moved))):
        np.testing.assert_allclose(g, w, rtol=1e-12)


def test_the_two_passes_as_two_functions() -> None:
    for argnums in (1, (0, 1), -1):
        fwd, bwd = fx.fwd_and_bwd(layer_of, argnums)
        for scale in (1.0, 2.0):
            args = LAYER[0] * scale, LAYER[1]
            y, pull = fwd(*args)
            want = fx.vjp(layer_of, *args)[1](y)
            want = want[argnums] if isinstance(argnums, int) else want
            for g, w in zip(tree.leaves(bwd(pull, y)), tree.leaves(want), strict=True):
                np.testing.assert_allclose(g, w, rtol=1e-12)
        assert fwd.cache_info().traced == bwd.cache_info().traced == 1
    fwd, bwd = fx.fwd_and_bwd(lambda x: (x * x, {"seen": x}), 0, has_aux=True, jitted=False)
    y, pull, aux = fwd(3.0)
    assert (float(y), float(bwd(pull, 1.0)), float(aux["seen"])) == (9, 6, 3)
    with pytest.raises(errors.GradientError, match="argnums"):
        fx.fwd_and_bwd(layer_of, 2)[0](*LAYER)


def test_a_constant_result_stays_weak() -> None:
    f = lambda x: fnp.asarray(2.0) * 1.0
    assert fx.value_and_grad(f)(X)[0].weak_type and fx.vjp(f, X)[0].weak_type and f(X).weak_type
