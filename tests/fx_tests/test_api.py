"""The functions a person calls: their checks of arguments, and the small ones among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import errors as e
from fx import lax

X = np.arange(3.0)
C = X + 1j
F0 = np.zeros((), fx.float0)

MISTAKES: dict[str, tuple[Callable[[], Any], type, str]] = {
    "holomorphic input": (lambda: fx.grad(fnp.sum, holomorphic=True)(X), e.GradientDTypeError, "needs complex inputs; .* is float64"),
    "holomorphic output": (lambda: fx.grad(lambda x: fnp.abs(x), holomorphic=True)(1j), e.GradientDTypeError, "needs a complex output"),
    "complex output": (lambda: fx.grad(lambda x: x * 1j)(1.0), e.GradientDTypeError, "pass holomorphic=True; else return its real part"),
    "jacfwd holomorphic": (lambda: fx.jacfwd(fnp.sin, holomorphic=True)(X), e.GradientDTypeError, "jacfwd with holomorphic=True"),
    "jacfwd complex": (lambda: fx.jacfwd(fnp.abs)(C), e.GradientDTypeError, "jacfwd .*complex128 needs holomorphic=True"),
    "jacobian of int": (lambda: fx.jacrev(fnp.sin)(np.arange(3)), e.GradientDTypeError, r"'x'.*int64: a derivative needs a float input. Convert it \(x.astype\(float\)\)"),
    "jacobian output": (lambda: fx.jacrev(lambda x: fnp.argmax(x))(X), e.GradientDTypeError, "a derivative needs a float output"),
    "jvp of int": (lambda: fx.jvp(lambda n: n * 1.0, (3,), (1,)), e.DTypeError, r"n is int32; its tangent must be .*float0"),
    "jvp shape": (lambda: fx.jvp(fnp.sin, (X,), (X[:2],)), e.ShapeError, r"shape \(3,\), its tangent \(2,\)"),
    "jvp dtype": (lambda: fx.jvp(fnp.sin, (X,), (X.astype("f"),)), e.DTypeError, "is float64, its tangent float32"),
    "jvp structure": (lambda: fx.jvp(lambda p: p["a"], ({"a": X},), ({"b": X},)), e.TreeError, "must be equal"),
    "jvp arguments": (lambda: fx.jvp(fnp.sin, X, X), e.TreeError, r"primals of jvp must be a tuple.*jvp\(f, \(x,\), \(t,\)\)"),
    "vjp structure": (lambda: fx.vjp(fnp.sin, X)[1]((X,)), e.TreeError, "the cotangent given to the vjp of sin"),
    "vjp shape": (lambda: fx.vjp(fnp.sin, X)[1](X[:2]), e.ShapeError, r"has shape \(2,\); the output has \(3,\)"),
    "vjp dtype": (lambda: fx.vjp(fnp.sin, X)[1](X.astype("f")), e.DTypeError, "is float32; the output is float64"),
    "transpose of int": (lambda: fx.linear_transpose(lambda n: n * 2, 3), e.GradientDTypeError, "n is int32"),
    "vmap of no function": (lambda: fx.vmap(3), e.NotAFunctionError, "vmap takes a function; found int"),
    "in_axes prefix": (lambda: fx.vmap(lambda p: p, in_axes=({"a": 0},))({"b": X}), e.VmapAxisError, "not a prefix of the arguments"),
    "in_axes entry": (lambda: fx.vmap(lambda x: x, in_axes=("0",))(X), e.VmapAxisError, "ints or None; found '0'"),
    "out_axes prefix": (lambda: fx.vmap(lambda x: x, out_axes=(0, 0))(X), e.VmapAxisError, "not a prefix of the output"),
    "out_axes place": (lambda: fx.vmap(lambda x: x, out_axes=2)(X), e.VmapAxisError, "out_axes=2 does not fit an output .* 1 dimensions"),
    "out_axes None": (lambda: fx.vmap(lambda x: x, out_axes=None)(X), e.VmapAxisError, "does depend on the batch"),
    "aux": (lambda: fx.grad(lambda x: x, has_aux=True)(1.0), e.TreeError, "must return a pair"),
    "argnums kind": (lambda: fx.grad(lambda x: x, argnums="x")(1.0), e.GradientError, "must be an int or a sequence of ints; found 'x'"),
    "argnums twice": (lambda: fx.grad(lambda x: x, argnums=(0, -1))(1.0), e.GradientError, "names an argument twice"),
    "callback count": (lambda: fx.pure_callback(lambda x: (x, x), fx.ShapeDtypeStruct((3,), X.dtype), X), e.ShapeError, "structure"),
    "callback shape": (lambda: fx.pure_callback(lambda x: x[:2], fx.ShapeDtypeStruct((3,), X.dtype), X), e.ShapeError, r"returned shape \(2,\)"),
    "callback method": (lambda: fx.pure_callback(np.sin, X, X, vmap_method="loop"), ValueError, "vmap_method must be one of"),
    "callback vmap": (lambda: fx.vmap(lambda x: fx.pure_callback(np.sin, x, x))(X), e.MissingRuleError, "vmap_method='sequential'"),
    "unbound axis": (lambda: lax.psum(X, "i"), e.AxisNameError, "'i'"),
    "linearize tangents": (lambda: fx.linearize(fnp.sin, X)[1](X, X), e.TreeError, "linearize"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name: str) -> None:
    action, error, message = MISTAKES[name]
    with pytest.raises(error, match=message):
        action()


def test_integers_have_float0_tangents() -> None:
    f = lambda x, n: (x * n, n + 1)  # noqa: E731
    (y, m), (t, tn) = fx.jvp(f, (2.0, 3), (1.0, F0))
    assert (y, m, t) == (6, 4, 3) and tn.dtype == fx.float0
    _, pull = fx.vjp(f, 2.0, 3)
    gx, gn = pull((1.0, F0))
    assert gx == 3 and gn.dtype == fx.float0
    _, push = fx.linearize(f, 2.0, 3)
    assert push(1.0, F0)[0] == 3


def test_derivatives_of_complex_functions() -> None:
    assert fx.grad(lambda z: z**3, holomorphic=True)(1 + 2j) == pytest.approx(3 * (1 + 2j) ** 2)
    jac = fx.jacfwd(lambda z: z**2, holomorphic=True)(C)
    np.testing.assert_allclose(jac, np.diag(2 * C))
    jax = pytest.importorskip("jax")
    f = lambda m: lambda z: m.numpy.sum(m.numpy.abs(z) ** 2 * 3)  # noqa: E731
    np.testing.assert_allclose(fx.grad(f(fx))(C), jax.grad(f(jax))(C), rtol=1e-6)


def test_small_functions() -> None:
    out = fx.device_put({"a": X, "b": [1.0]})
    assert isinstance(out["a"], fx.Array) and out["b"][0].weak_type
    back = fx.device_get(out)
    assert type(back["a"]) is np.ndarray and fx.block_until_ready(out) is out
    double = fx.named_call(lambda x: fnp.sin(x) * 2, name="double")
    assert "# double" in str(fx.make_graph(double)(1.0))
    assert fx.make_graph(fx.named_call(np.sin))(1.0).eqns[0].scope == "sin"
    assert fx.vmap(lambda x, y: x + y, in_axes=[0, None])(X, 1.0).tolist() == [1, 2, 3]
    assert fx.grad(lambda x: 3.0)(2.0) == 0 and fx.value_and_grad(lambda x: 3.0)(2.0)[0] == 3


def test_all_gather_is_differentiated_and_batched() -> None:
    jax = pytest.importorskip("jax")
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)

    def f(m: Any, tiled: bool, axis: int) -> Callable[[Any], Any]:
        def example(v: Any) -> Any:
            every = m.lax.all_gather(m.numpy.sin(v), "i", axis=axis, tiled=tiled)
            return m.numpy.sum(every * m.numpy.arange(every.size).reshape(every.shape) * v[0])

        return lambda x: m.numpy.sum(m.vmap(example, axis_name="i")(x) ** 2)

    for tiled, axis in ((False, 0), (False, 1), (True, 0)):
        want = jax.jit(jax.grad(f(jax, tiled, axis)))(x)
        np.testing.assert_allclose(fx.grad(f(fx, tiled, axis))(x), want, rtol=2e-5)
        two = np.stack([x, x + 1])
        np.testing.assert_allclose(fx.vmap(fx.grad(f(fx, tiled, axis)))(two)[0], want, rtol=2e-5)
    inner = lambda m: m.vmap(lambda a: m.vmap(lambda b: m.lax.all_gather(a + b, "i"))(x[0]), axis_name="i")(x[0])  # noqa: E731
    np.testing.assert_array_equal(inner(fx), jax.jit(lambda: inner(jax))())
    same = lambda m: m.vmap(lambda a: a + m.lax.all_gather(2.0, "i").sum(), axis_name="i")(x[0])  # noqa: E731
    np.testing.assert_array_equal(same(fx), jax.jit(lambda: same(jax))())
    total = lambda m: m.vmap(lambda a: a * m.lax.all_gather(m.lax.psum(a, "i"), "i"), axis_name="i")(x[0])  # noqa: E731
    np.testing.assert_array_equal(total(fx), jax.jit(lambda: total(jax))())


def test_rules_for_each_argument() -> None:
    @fx.custom_jvp
    def f(x: Any, y: Any, n: Any) -> Any:
        return x * fnp.sin(y)

    f.defjvps(lambda t, out, x, y, n: t * fnp.sin(y), lambda t, out, x, y, n: 100 * t, None)
    assert fx.grad(f, (0, 1))(2.0, 0.5, 1.0) == (pytest.approx(np.sin(0.5)), 100)
    assert fx.grad(f, 2)(2.0, 0.5, 1.0) == 0
    assert fx.jvp(f, (2.0, 0.5, 1.0), (1.0, 1.0, 1.0))[1] == pytest.approx(100 + np.sin(0.5))


def test_functions_with_keyword_only_options_have_custom_derivatives():
    f = fx.custom_jvp(fnp.sin)
    f.defjvp(lambda p, t: (fnp.sin(p[0]), 2 * t[0]))
    g = fx.custom_vjp(fnp.sin)
    g.defvjp(lambda x: (fnp.sin(x), x), lambda x, ct: (x * ct,))
    assert f(0.0) == g(0.0) == 0 and fx.grad(f)(3.0) == 2 and fx.jit(fx.grad(g))(3.0) == 3


CUSTOM: dict[str, tuple[Callable[[], Any], str]] = {
    "keyword-only": (lambda: keyword_only(1.0, k=2), r"keyword-only arguments \['k'\]"),
    "jvp leaves": (lambda: fx.grad(ruled(lambda p, t: (p[0], (t[0], t[0]))))(1.0), "the tangent output of f's jvp rule"),
    "jvp structure": (lambda: fx.grad(ruled(lambda p, t: ((p[0],), t[0])))(1.0), "the primal output of f's jvp rule must have"),
    "jvp pair": (lambda: fx.grad(ruled(lambda p, t: t[0]))(1.0), r"must return \(out, tangent_out\)"),
    "fwd pair": (lambda: fx.grad(both(lambda x: x, lambda r, g: (g,)))(1.0), r"must return \(output, residuals\)"),
    "bwd structure": (lambda: fx.grad(both(lambda x: (x, ()), lambda r, g: ((g, g),)))(1.0), "for argument 0, whose structure is"),
    "closed over": (lambda: fx.grad(closes_over)(2.0), "with respect to a value that it closes over"),
}  # fmt: skip


def ruled(rule: Any) -> Any:
    def f(x: Any) -> Any:
        return x * 2

    g = fx.custom_jvp(f)
    g.defjvp(rule)
    return g


def both(fwd: Any, bwd: Any) -> Any:
    def f(x: Any) -> Any:
        return x * 2

    g = fx.custom_vjp(f)
    g.defvjp(fwd, bwd)
    return g


keyword_only = fx.custom_jvp(lambda x, *, k=1: x * k)
keyword_only.defjvp(lambda p, t: (p[0], t[0]))


def closes_over(y: Any) -> Any:
    f = fx.custom_jvp(lambda x: x * y)
    f.defjvp(lambda p, t: (f(*p), t[0]))
    return f(1.0)


@pytest.mark.parametrize("name", CUSTOM)
def test_mistakes_of_custom_rules_are_named(name: str) -> None:
    action, message = CUSTOM[name]
    with pytest.raises(e.CustomRuleError, match=message):
        action()
