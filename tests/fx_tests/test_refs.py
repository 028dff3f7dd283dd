"""Refs: arrays that are written in place, by what every transform traces."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax
from fx.errors import DTypeError, RefError, VmapAxisError


def held(ref):
    return np.asarray(ref[...]).tolist()


def test_reads_and_writes_are_those_of_numpy():
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    ref = fx.new_ref(a)
    for where, value in ((0, 5), ((1, slice(1, 3)), np.float32([7, 8])), ((..., -1), 2.5), (a[:, 0] > 3, 1)):
        a[where] = value
        ref[where] = value
        assert np.array_equal(ref[where], a[where])
    ref[0, :2] += 3
    a[0, :2] += 3
    ref.addupdate(1, (np.array([1, 1, 2]), 0))
    np.add.at(a, (np.array([1, 1, 2]), 0), 1)
    assert np.array_equal(ref[...], a)
    assert (ref.shape, ref.dtype, ref.ndim, ref.size, len(ref)) == ((3, 4), np.float32, 2, 12, 3)


def test_what_was_read_stays():
    ref = fx.new_ref(fnp.zeros(2))
    before = ref[...]
    ref[0] = 1
    assert np.array_equal(before, [0, 0])

    @fx.jit
    def f(x):
        ref = fx.new_ref(x)
        before = ref[...]
        ref[0] = 5
        before += 1  # in place, and not in the ref
        return before, ref[...]

    assert [np.asarray(x).tolist() for x in f(fnp.zeros(2))] == [[1, 1], [5, 0]]


def test_names_of_jax():
    ref = fx.new_ref(fnp.arange(3))
    assert int(fx.ref.get(ref, 2)) == 2 and int(fx.ref.swap(ref, 2, 9)) == 2
    fx.ref.set(ref, None, 4)
    fx.ref.addupdate(ref, 0, 1)
    part = ref.at[1:]
    part[0] = 7
    part.addupdate(1, 0)
    assert held(ref) == [5, 8, 4] and part.shape == (2,) and repr(ref) == "Ref([5, 8, 4], dtype=int32)"
    assert held(fx.empty_ref(fx.ShapeDtypeStruct((2,), np.float32))) == [0, 0]
    assert np.array_equal(fx.freeze(ref), [5, 8, 4])


@pytest.mark.parametrize("value", [1.5, np.int64(3), np.float32(1)])
def test_a_ref_keeps_its_dtype(value):
    ref = fx.new_ref(fnp.zeros(2, np.int32))
    with pytest.raises(DTypeError, match="int32 cannot take"):
        ref[0] = value


def test_jit_of_refs_that_are_passed():
    @fx.jit
    def f(ref, x, *, k):
        ref[...] = ref[...] * 2 + x
        return ref[0] + k

    a, b = fx.new_ref(fnp.ones(3)), fx.new_ref(fnp.arange(3.0))
    assert [float(f(a, 1.0, k=1)), float(f(b, 2.0, k=1)), float(f(a, 1.0, k=1))] == [4, 3, 8]
    assert (held(a), held(b)) == ([7, 7, 7], [2, 4, 6])


def test_jit_of_refs_that_are_closed_over():
    ref = fx.new_ref(0.0)

    @fx.jit
    def inner(x):
        ref[...] += x
        return ref[...] * 10

    @fx.jit
    def outer(x):
        y = inner(x)
        ref[...] *= 2
        return y + inner(x)

    assert [float(outer(1.0)), float(outer(1.0)), float(inner(5.0))] == [40, 130, 140] and held(ref) == 14


def test_options_of_jit():
    def f(ref, n, x, *, flag):
        ref[0] = x * len(n) + (1 if flag else 2)

    ref, x = fx.new_ref(fnp.zeros(2)), fnp.array(2.0)
    fx.jit(f, static_argnums=1, static_argnames="flag", donate_argnums=2)(ref, "abc", x, flag=True)
    assert held(ref) == [7, 0] and x.is_deleted()


def test_refs_in_structures():
    @fx.tree_util.register_dataclass
    @dataclasses.dataclass
    class Model:
        w: object
        count: object

    @fx.jit
    def step(m, x):
        m.count[...] += 1
        return fnp.sum(m.w * x)

    m = Model(fnp.ones(2), fx.new_ref(0))
    assert float(step(m, 3.0)) == 6 and held(m.count) == 1
    value, slope = fx.value_and_grad(lambda x: step(m, x))(2.0)
    assert (float(value), float(slope), held(m.count)) == (4, 2, 2)
    assert fx.eval_shape(step, m, 2.0).shape == () and held(m.count) == 2


def prefix_sums(x):
    """0, x, 3x, written row by row; the sum of their squares is 10 x²."""
    ref = fx.new_ref(fnp.zeros(3))

    def body(i, carry):
        ref[i] = x * i + ref[i - 1]
        return carry

    lax.fori_loop(1, 3, body, 0)
    return fnp.sum(ref[...] ** 2)


def test_derivatives_go_through_what_is_written():
    for f in (prefix_sums, fx.jit(prefix_sums), fx.checkpoint(prefix_sums)):
        assert float(fx.grad(f)(2.0)) == float(fx.jit(fx.grad(f))(2.0)) == 40
        assert np.allclose(fx.vmap(fx.grad(f))(fnp.arange(3.0)), [0, 20, 40])
        assert float(fx.hessian(f)(2.0)) == 20


@pytest.mark.parametrize("passed", [True, False])
def test_transforms_write_the_refs_of_outside(passed):
    ref = fx.new_ref(0.0)

    def g(x, r):
        r[...] = 2 * x
        return r[...] * x

    def run(transform):
        ref[...] = 0
        out = transform(g)(3.0, ref) if passed else transform(lambda x: g(x, ref))(3.0)
        assert held(ref) == 6
        return fx.tree.map(float, out)

    assert run(fx.grad) == 12 and run(fx.value_and_grad) == (18, 12) and run(fx.checkpoint) == 18 and run(fx.jit) == 18
    assert run(lambda f: lambda *a: fx.vjp(lambda x: f(x, *a[1:]), a[0])[1](1.0)) == (12,)
    assert run(lambda f: lambda *a: fx.jvp(lambda x: f(x, *a[1:]), a[:1], (1.0,))) == (18, 12)
    assert run(lambda f: lambda *a: fx.linearize(lambda x: f(x, *a[1:]), a[0])[1](1.0)) == 12
    assert run(lambda f: lambda *a: lax.cond(a[0] > 0, f, lambda *a: 0.0, *a)) == 18
    assert run(lambda f: lambda *a: lax.switch(1, [lambda *a: 0.0, f], *a)) == 18
    aux = fx.grad(lambda x: (g(x, ref), x), has_aux=True)(3.0)
    assert fx.tree.map(float, aux) == (12, 3)


def test_loops_carry_refs():
    ref = fx.new_ref(0.0)

    def add(x):
        ref[...] += x
        return x

    def run():
        lax.scan(lambda c, x: (c, add(x)), 0, fnp.arange(4.0))
        lax.fori_loop(0, 3, lambda i, c: (add(1.0), c)[1], 0)
        lax.map(add, fnp.arange(3.0))
        return lax.while_loop(lambda n: ref[...] < 20, lambda n: n + add(1.0), 0.0)

    assert float(run()) == 8 and held(ref) == 20
    assert float(fx.jit(run)()) == 0 and held(ref) == 32
    with fx.disable_jit():
        assert float(run()) == 0 and held(ref) == 44


def test_scan_over_a_ref_writes_its_rows():
    def body(carry, row):
        i, r = row
        r[...] += i * carry
        return carry, r[...] * 10

    for scan in (lax.scan, fx.jit(lax.scan, static_argnums=0)):
        ref = fx.new_ref(fnp.arange(4.0))
        _, ys = scan(body, 2.0, (fnp.arange(4.0), ref))
        assert held(ref) == [0, 3, 6, 9] and np.array_equal(ys, [0, 30, 60, 90])


def test_vmap_of_refs():
    def f(x, ref):
        ref[0] += x
        return ref[...] * 2

    ref = fx.new_ref(fnp.arange(6.0).reshape(2, 3))
    out = fx.vmap(f, in_axes=(0, 1), out_axes=1)(fnp.ones(3), ref)
    assert held(ref) == [[1, 2, 3], [3, 4, 5]] and np.array_equal(out, [[2, 4, 6], [6, 8, 10]])
    one = fx.new_ref(1.0)
    assert np.array_equal(fx.vmap(lambda x: x + one[...])(fnp.arange(2.0)), [1, 2])
    with pytest.raises(VmapAxisError):
        fx.vmap(lambda x: one.addupdate(x))(fnp.arange(2.0))


def test_python_decides_by_what_a_ref_holds():
    def f(x):
        ref = fx.new_ref(x)
        while ref[...] < 10:
            ref[...] *= 2
        return ref[...]

    assert float(fx.grad(f)(3.0)) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: fx.jit(lambda x: {"hi": fx.new_ref(x)})(1.0), r"output\[0\]\['hi'\] of <lambda> is a ref"),
        (lambda r: fx.jit(lambda r: r)(r), "is a ref"),
        (lambda r: fx.jit(lambda: r)(), "is a ref"),
        (lambda r: fx.jit(lambda a, b: a[...] + b[...])(r, r), "pass it once"),
        (lambda r: fx.jit(lambda a: a[...] + r[...])(r), "pass it once"),
        (lambda r: lax.scan(lambda c, _: (c, c), r, None, length=2), "the carry of scan"),
        (lambda r: fx.grad(lambda r: r[0])(r), "a derivative takes no ref"),
        (lambda r: fx.new_ref(r), "not a ref"),
        (lambda r: fx.linear_transpose(lambda x: r[0] * x, 1.0)(1.0), "linear_transpose traces"),
    ],
)
def test_where_a_ref_cannot_be(call, message):
    with pytest.raises(RefError, match=message):
        call(fx.new_ref(fnp.zeros(2)))


def test_a_ref_does_not_outlive_its_trace():
    kept = []
    fx.jit(lambda x: kept.append(fx.new_ref(x)))(1.0)
    with pytest.raises(RefError, match="had ended"):
        kept[0][...]
