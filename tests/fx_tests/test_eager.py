"""Operations that are evaluated at once: native code does what the Python functions do, and nothing else."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
import jit.calls.eager
from fx import backend, dispatch, silence
from fx.array import Array
from fx.numpy import ufunc_class, ufunc_quick
from jit.calls import builtins

NATIVE = backend.eager()
UFUNCS = {
    u.__name__: u for u in ufunc_class.registered.values() if u.becomes is not None
}  # those that become one primitive


def python_way(u: ufunc_class.Ufunc) -> Callable[..., Any]:
    make = ufunc_quick.quick_unary if u.nin == 1 else ufunc_quick.quick_binary
    return make(*u.becomes)


def native_way(u: ufunc_class.Ufunc, fallback: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A ufunc that does what ``u`` does, and hands what native code does not take to ``fallback``."""
    return of_operation(u.operation(NATIVE, fallback or python_way(u)))


def of_operation(operation: Any) -> Callable[..., Any]:
    ufunc_quick.go_native()
    other = object.__new__(ufunc_class.Ufunc)
    other._operation = operation
    return other


def refuse(*args: Any) -> str:
    return "fallback"


OPERANDS: dict[str, Any] = {
    "vector": fnp.asarray([0.25, 0.5, 0.75]),
    "doubles": fnp.asarray(np.linspace(-2.0, 2.0, 5)),
    "0-d": fnp.asarray(np.float32(0.5)),
    "weak": fnp.asarray(0.5),
    "empty": fnp.zeros((0, 3)),
    "ints": fnp.asarray(np.int32([3, 1, 2])),
    "bytes": fnp.asarray(np.uint8([3, 1, 2])),
    "bools": fnp.asarray([True, False, True]),
    "complex": fnp.asarray(np.complex64([1 + 2j, 0.5j])),
    "special": fnp.asarray(np.float32([np.nan, np.inf, -np.inf, -0.0, 3e38])),
    "strided": Array(np.arange(12.0, dtype=np.float32).reshape(3, 4)[::-1, ::2]),
    "halves": fnp.asarray(np.float16([0.5, 2.0])),
    "numpy": np.float32([0.25, 0.5, 0.75]),
    "big endian": np.arange(3.0).astype(">f8"),
}


def same(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if wanted is None:
        return
    assert (found.dtype, found.shape, found.weak_type) == (wanted.dtype, wanted.shape, wanted.weak_type)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
    assert found._owned is wanted._owned is False


@pytest.mark.parametrize("name", [n for n, u in UFUNCS.items() if u.nin == 1])
def test_one_operand(name: str) -> None:
    u = UFUNCS[name]
    native, python = native_way(u), python_way(u)
    for x in OPERANDS.values():
        same(native(x), python(x))


@pytest.mark.parametrize("name", [n for n, u in UFUNCS.items() if u.nin == 2])
def test_two_operands(name: str) -> None:
    u = UFUNCS[name]
    native, python = native_way(u), python_way(u)
    for x in OPERANDS.values():
        for y in (x, *OPERANDS.values()):
            same(native(x, y), python(x, y))


def test_what_native_code_does_not_take_goes_to_the_fallback() -> None:
    sin, add = native_way(fnp.sin, refuse), native_way(fnp.add, refuse)
    x, y = OPERANDS["vector"], OPERANDS["doubles"]
    gone = fnp.ones(3)
    gone.delete()
    for args in [
        (gone,),
        (1.0,),
        ("x",),
        (None,),
        (OPERANDS["ints"],),
        (OPERANDS["big endian"],),
        ([1.0],),
    ]:
        assert sin(*args) == "fallback"
    for args in [
        (x, y),
        (x, True),
        (x, 1j),
        (x, 1e39),
        (gone, x),
        (x, gone),
        (gone, 1.0),
        (x, fnp.ones(2)),
        (x, None),
        (1.0, 2.0),
    ]:
        assert add(*args) == "fallback"
    assert sin(x) != "fallback"
    assert type(add(x, fnp.ones((2, 1)))) is Array  # shapes that broadcast


def test_nothing_is_evaluated_where_somebody_may_be_looking() -> None:
    sin = native_way(fnp.sin, refuse)
    x = OPERANDS["vector"]
    with fx.debug_nans():
        assert sin(x) == "fallback"
    seen = []
    fx.jit(lambda y: (seen.append(sin(x)), y)[1])(1.0)
    assert seen == ["fallback"]
    assert type(sin(x)) is Array
    assert not ufunc_quick.ALERT


def test_warnings_are_off_and_come_back() -> None:
    log = native_way(fnp.log)
    before = np.geterr()
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(np.asarray(log(fnp.zeros(2))), [-np.inf] * 2)
        with pytest.raises(FloatingPointError):
            np.log(np.zeros(2))
    assert np.geterr() == before


def test_a_call_in_the_middle_of_another_takes_the_other_way() -> None:
    """The context in which the warnings are off cannot be entered twice."""
    seen = []

    def function(x: np.ndarray) -> np.ndarray:
        seen.append((outer(x), sin(OPERANDS["vector"])))
        return x

    outer = of_operation(NATIVE.operation(np.negative, refuse, 1, ufunc_quick.FLOATS))
    sin = native_way(fnp.sin)
    middle = of_operation(NATIVE.operation(function, refuse, 1, ufunc_quick.FLOATS))
    assert type(middle(OPERANDS["vector"])) is Array
    ((first, second),) = seen
    assert first == "fallback"
    np.testing.assert_array_equal(np.asarray(second), np.sin(np.float32([0.25, 0.5, 0.75])))


def test_the_fallback_within_a_context_that_is_entered() -> None:
    x = np.float32([0.0, 1.0])
    inside = silence.quiet.run(lambda: fnp.log(fnp.asarray(x)))
    np.testing.assert_array_equal(np.asarray(inside), [-np.inf, 0.0])


def test_references_are_counted_right() -> None:
    sin, add = native_way(fnp.sin, refuse), native_way(fnp.add, refuse)
    own, own_weak = NATIVE.wrapper(False), NATIVE.wrapper(True)
    data = np.float32([1.0, 2.0])
    x, scalar = Array(data), Array(np.asarray(np.float32(1.0)))
    objects = [data, x, Array, np.ndarray, data.dtype, None, True, False]

    def work() -> None:
        for _ in range(50):
            sin(x), sin(scalar), add(x, x), add(x, "y"), sin(None), own(data), own_weak(data), add(x, Array(np.ones(3)))

    work()
    gc.collect()
    before = [sys.getrefcount(o) for o in objects]
    work()
    gc.collect()
    after = [sys.getrefcount(o) for o in objects]
    assert all(abs(a - b) < 20 for a, b in zip(after, before)), (before, after)


def test_results_of_programs_own_their_memory() -> None:
    data = np.float32([1.0, 2.0])
    for weak in (False, True):
        x = NATIVE.wrapper(weak)(data)
        assert (x._buffer is data, x.weak_type, x._owned) == (True, weak, True)
        assert x.aval == fx.numpy.asarray(data).aval.with_(weak=weak)


def test_threads() -> None:
    sin = native_way(fnp.sin, refuse)
    x = fnp.asarray(np.linspace(0.0, 1.0, 20000))
    wanted = np.sin(np.linspace(0.0, 1.0, 20000))
    wrong: list[int] = []

    def work() -> None:
        for k in range(50):
            out = sin(x)  # "fallback" while another thread is in there
            if not np.array_equal(np.asarray(fnp.sin(x) if k % 2 or type(out) is not Array else out), wanted):
                wrong.append(k)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_another_layout_of_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not known where objects keep their fields, Python functions do the same."""
    for cached in (backend.eager, dispatch.wrapper):
        cached.cache_clear()
    monkeypatch.setattr(jit.calls.eager, "layout_is_known", lambda: False)
    monkeypatch.setattr("jit.calls.border.layout_is_known", lambda: False)
    try:
        assert backend.eager() is None
        ufunc_quick.go_native()
        f = fx.jit(lambda x, y: {"a": x + y, "b": 2})
        for _ in range(3):
            out = f(OPERANDS["vector"], OPERANDS["vector"])
        assert "own(r0)" in f.dispatch_source()
        assert out["a"]._owned and out["b"].weak_type
        np.testing.assert_array_equal(np.asarray(out["a"]), [0.5, 1.0, 1.5])
        with pytest.raises(fx.errors.ShapeError):
            f(OPERANDS["vector"], fnp.ones(2))
    finally:
        for cached in (backend.eager, dispatch.wrapper):
            cached.cache_clear()


FIELDS = ("COUNT", "DATA", "NDIM", "DIMS", "STRIDES", "BASE", "DESCR", "FLAGS", "ITEMS", "HEAD")


@pytest.mark.parametrize("field", FIELDS)
def test_fields_that_lie_elsewhere_are_noticed(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = builtins.layout_is_known.__wrapped__
    assert probe()
    monkeypatch.setattr(builtins, field, getattr(builtins, field) + (-8 if field in ("DATA", "HEAD", "ITEMS") else 8))
    assert not probe()


def test_without_the_global_lock_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert not builtins.layout_is_known.__wrapped__()


def test_a_class_without_the_slots_is_refused() -> None:
    class Other:
        __slots__ = ("_buffer",)

    with pytest.raises((fx.errors.BackendError, AttributeError)):
        jit.calls.eager.Eager(Other, ("_buffer", "weak_type", "_owned"), [], silence.silent_context())
    assert builtins.layout_is_known()


def test_native_code_takes_over_once_the_compiler_is_there() -> None:
    code = (
        "import sys, fx, fx.numpy as fnp\n"
        "x = fnp.ones(3)\n"
        "for _ in range(1100): y = x + x\n"
        "assert 'jit' not in sys.modules and 'llvmlite' not in sys.modules\n"
        "fx.jit(lambda v: v + 1)(x)\n"
        "for _ in range(1100): y = x + x\n"
        "assert all(type(d).__name__ == 'wrapper_descriptor' for d in (type(x).__add__, type(x).__getitem__, type(fnp.add).__call__))\n"
        "assert y.tolist() == [2, 2, 2] and (x * 2.0).tolist() == [2, 2, 2] and (x + [1, 2, 3]).tolist() == [2, 3, 4]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "one result twice": lambda x: (x * x) @ x,
    "an input": lambda x: x[0],
    "no derivative": lambda x: fnp.sum(fnp.floor(x)),
    "a stopped one": lambda x: fnp.sum(x * fx.lax.stop_gradient(x)),
    "several results": lambda x: fnp.sum(fx.lax.sort((x, x * x), num_keys=1)[1] * 2.0),
    "integers between": lambda x: fnp.sum(x[fnp.argsort(x)] * fnp.arange(3)),
    "a known array": lambda x: fnp.sum(fnp.asarray(np.float64([1.0, 2.0, 3.0])) * fnp.exp(x)),
    "a jitted part": lambda x: fnp.sum(fx.jit(fnp.sin)(x) * x),
    "a loop": lambda x: fnp.sum(fx.lax.fori_loop(0, 3, lambda i, c: c * x, x)),
    "a branch": lambda x: fnp.sum(x * 2) if x[0] > 0 else fnp.sum(x * x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_straight_back_are_those_of_the_tangent_graph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.array([0.3, -0.7, 1.1])
    straight = fx.value_and_grad(PROGRAMS[name])(x)
    monkeypatch.setattr(fx.api.traced, "pull_back", lambda *args: None)
    general = fx.value_and_grad(PROGRAMS[name])(x)
    for a, b in zip(straight, general):
        assert (a.dtype, a.shape, a.weak_type) == (b.dtype, b.shape, b.weak_type)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-15, atol=1e-15)


def test_a_buffer_that_is_changed_after_it_was_read() -> None:
    def f(x: Any) -> Any:
        w = np.ones(3)
        y = x * w
        w[:] = 5.0
        return fnp.sum(y * w)

    np.testing.assert_array_equal(np.asarray(fx.grad(f)(np.ones(3))), [5.0, 5.0, 5.0])


def test_the_gradient_of_the_identity_is_not_shared() -> None:
    first, second = fx.grad(lambda x: x)(np.float64(3.0)), fx.grad(lambda x: x)(np.float64(4.0))
    assert float(fx.jit(lambda a: a + 1, donate_argnums=0)(first)) == 2.0
    assert float(second) == float(fx.grad(lambda x: x)(np.float64(5.0))) == 1.0
