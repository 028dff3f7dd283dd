"""The stages of a compilation, and what JAX's documents do with arguments, numbers and callbacks, beside JAX."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx.errors import NonHashableStaticError, StaticArgumentError

jax = pytest.importorskip("jax")
jnp = jax.numpy


def _said(jit: Any, aot_numpy: Any, sds: Any) -> list[Any]:
    """What a program of JAX's chapter on stages reads."""
    f = jit(lambda x, y: 2 * x + y["b"], donate_argnums=0)
    traced = f.trace(sds((3,), "float32"), {"b": np.float32(4)})
    lowered = traced.lower()
    compiled = lowered.compile()
    out: list[Any] = [traced.fun_name, len(traced.jaxpr.eqns), lowered.donate_argnums, str(compiled.out_tree)[-2:]]
    for stage in (traced, lowered, compiled):
        (x, y), kw = stage.args_info
        out += [x.shape, x.dtype, x.donated, y["b"].donated, kw]
    out += [lowered.out_info.shape, lowered.out_info.dtype]
    stats = compiled.memory_analysis()
    out += [stats.argument_size_in_bytes, stats.output_size_in_bytes]
    return [*out, np.asarray(compiled(aot_numpy.ones(3, "float32"), {"b": np.float32(4)})).tolist()]


def test_stages_say_what_those_of_jax_say() -> None:
    ours, theirs = _said(fx.jit, fnp, fx.ShapeDtypeStruct), _said(jax.jit, jnp, jax.ShapeDtypeStruct)
    assert ours[:1] + ours[2:3] + ours[4:] == theirs[:1] + theirs[2:3] + theirs[4:]


def test_shapes_of_a_jitted_function() -> None:
    found = fx.jit(lambda x: {"a": x * 2}).eval_shape(fx.ShapeDtypeStruct((2,), "int32"))
    assert found == {"a": fx.ShapeDtypeStruct((2,), "int32")}
    assert fx.ShapeDtypeStruct.like(1.0) == fx.eval_shape(lambda: 1.0)


def test_what_was_compiled_for_other_types_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"compiled for i32\[\] as x; called with i32\[3\]") as caught:
        fx.jit(lambda x: x).trace(fx.ShapeDtypeStruct((), "int32")).lower().compile()(fnp.arange(3))
    assert isinstance(caught.value, StaticArgumentError)


# ------------------------------------------------------------------------------- static data that can change


class Model:
    """Strategy 3 of JAX's chapter on methods: static data in a dict."""

    def __init__(self, x: Any, static: Any) -> None:
        self.x, self.static = x, static

    @fx.jit
    def calc(self, y: Any) -> Any:
        return self.x * y if self.static["mul"] else y


fx.tree_util.register_pytree_node(Model, lambda m: ((m.x,), m.static), lambda static, c: Model(*c, static))


def test_static_data_of_a_node_may_be_a_dict() -> None:
    m = Model(2.0, {"mul": True, "names": ["a", {1}]})
    assert [float(m.calc(3.0)) for _ in range(3)] == [6.0] * 3
    m.static["mul"] = False  # the very dict that the programs were found by
    assert [float(m.calc(3.0)) for _ in range(3)] == [3.0] * 3
    m.static["mul"] = True
    assert float(m.calc(3.0)) == 6.0 and Model.calc.cache_info().misses == 2
    assert fx.tree.structure(Model(1, {"k": 1})) != fx.tree.structure(Model(1, {"k": True}))
    assert hash(fx.tree.structure(Model(1, {"k": 1, "l": 2}))) == hash(fx.tree.structure(Model(1, {"l": 2, "k": 1})))
    with pytest.raises(NonHashableStaticError):
        Model(1.0, {"mul": np.ones(2)}).calc(3.0)


# ----------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("value", "dtype"), [(200, "int8"), (-1, "uint8"), (3e9, "int32"), (2**32, "uint32"), (2**63, "int64")]
)
def test_a_number_that_its_dtype_does_not_hold_is_an_error(value: Any, dtype: str) -> None:
    for make in (fnp.array, fnp.asarray):
        with pytest.raises(OverflowError, match=f"{value} out of bounds for {dtype}"):
            make(value, dtype)
    with pytest.raises(OverflowError):
        getattr(fnp, dtype)(value)


@pytest.mark.parametrize("name", ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"])
def test_comparisons_with_any_integer(name: str) -> None:
    x = np.array([0, 7, 255], np.uint8)
    for n in (256, -1, 300, 7):
        for args in ((x, n), (n, x)):
            want = getattr(np, name)(*args)
            f, ours = getattr(fnp, name), [fnp.asarray(a) if a is x else a for a in args]
            np.testing.assert_array_equal(f(*ours), want)
            np.testing.assert_array_equal(
                fx.jit(lambda a, f=f, args=args: f(*[a if b is x else b for b in args]))(x), want
            )
    assert (fnp.asarray(x) < 300).all() and not (fnp.asarray(x) == -1).any()


@pytest.mark.parametrize("c", [[0, 1, 2], [0, 0, 0], [0, 1, -3, 2, 0], [0, 0, 5], [3], [1, -6, 11, -6]])
def test_roots_without_stripping_zeros(c: list[int]) -> None:
    c32 = np.array(c, np.float32)
    want = np.sort(np.asarray(jnp.roots(c32, strip_zeros=False)))
    for found in (fnp.roots(c32, strip_zeros=False), fx.jit(lambda c: fnp.roots(c, strip_zeros=False))(c32)):
        assert found.dtype == want.dtype
        np.testing.assert_allclose(np.sort(np.asarray(found)), want, atol=1e-4)


def test_empty_arrays_show_their_shape() -> None:
    for shape in ((0,), (1, 0), (0, 3)):
        assert repr(fnp.zeros(shape, "int16")) == repr(np.zeros(shape, "int16")).replace("array", "Array")


def test_bfloat16_is_read_back() -> None:
    file = io.BytesIO()
    fnp.save(file, fnp.ones(3, fnp.bfloat16))
    file.seek(0)
    assert fnp.load(file).dtype == fnp.bfloat16


# ------------------------------------------------------------------------------ callbacks, rules, solvers


def test_a_callback_gets_what_is_not_mapped_with_an_axis_of_one() -> None:
    seen = []

    def host(x: Any, y: Any) -> Any:
        seen.append((x.shape, y.shape))
        return np.asarray(x + y)

    def f(x: Any, y: Any) -> Any:
        return fx.pure_callback(host, fx.ShapeDtypeStruct.like(x), x, y, vmap_method="expand_dims")

    for y in (1.0, np.float32(1)):
        np.testing.assert_array_equal(fx.vmap(f, in_axes=(0, None))(fnp.arange(3.0), y), [1, 2, 3])
    assert set(seen) == {((3,), (1,))}


def test_a_custom_vjp_over_a_custom_vmap_takes_the_batching_rule() -> None:
    @fx.custom_vjp
    @fx.custom_batching.custom_vmap
    def f(x: Any, y: Any) -> Any:
        return fnp.sin(x) * y

    @f.def_vmap
    def rule(size: int, batched: Any, xs: Any, ys: Any) -> Any:
        return fnp.cos(xs) * ys, True

    f.defvjp(lambda x, y: (f(x, y), (x, y)), lambda r, g: (g * fnp.cos(r[0]) * r[1], g * fnp.sin(r[0])))
    np.testing.assert_array_equal(fx.vmap(f)(fnp.zeros(3), fnp.ones(3)), [1, 1, 1])
    assert float(fx.grad(f)(0.0, 1.0)) == 1.0
    with pytest.raises(AttributeError):
        f.no_such_name  # noqa: B018


def test_minimize_takes_the_bits_of_the_data() -> None:
    y = np.arange(4.0)
    found = fx.scipy.optimize.minimize(lambda x: fnp.sum((x - y) ** 2), fnp.zeros(4), method="BFGS").x
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, y, atol=1e-6)
