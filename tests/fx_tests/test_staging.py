"""jit: signatures, static and donated arguments, stages, the cache and its reasons."""

from __future__ import annotations

import functools
import os
import re
import threading
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
import jit
from fx import errors
from fx.staging import programs

X = np.arange(6.0, dtype=np.float32).reshape(2, 3)


def test_a_signature_is_traced_once() -> None:
    traces = []

    @fx.jit
    def f(x: Any, y: Any = 2.0) -> Any:
        traces.append(1)
        return x * y

    for _ in range(3):
        np.testing.assert_array_equal(f(X), X * 2)
    assert f.cache_info()[:3] == (2, 1, 1)
    f(X[:1])
    f(X.astype(np.float64))
    f(X, y=3.0)
    assert len(traces) == 4
    assert f.cache_info().size == 4


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda: (X[:1],), r"x: f32\[2,3\] -> f32\[1,3\]"),
        (lambda: (X.astype(np.float64),), r"x: f32\[2,3\] -> f64\[2,3\]"),
        (lambda: ((X, X),), "another structure"),
    ],
)
def test_misses_are_explained(change: Any, reason: str) -> None:
    f = fx.jit(lambda x: fx.tree.map(lambda v: v + 1, x))
    f(X)
    f(*change())
    assert __import__("re").search(reason, f.explain_misses()), f.explain_misses()


def test_explain_misses_prints_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with fx.config.using(explain_misses=True):
        fx.jit(lambda x: x)(1.0)
    assert "first call" in capsys.readouterr().err


def test_static_arguments_by_number_and_name() -> None:
    def f(x: Any, n: int, mode: str = "add") -> Any:
        for _ in range(n):
            x = x + 1 if mode == "add" else x * 2
        return x

    g = fx.jit(f, static_argnums=1, static_argnames="mode")
    assert float(g(1.0, 3)) == 4.0
    assert float(g(1.0, n=3, mode="mul")) == 8.0
    assert g.cache_info().size == 2
    h = fx.jit(f, static_argnames=("n", "mode"))
    assert float(h(1.0, 2, "mul")) == 4.0


def test_equal_static_values_of_different_types_are_different_programs() -> None:
    f = fx.jit(lambda x, s: x * (2 if s is True else 3), static_argnums=1)
    assert float(f(1.0, True)) == 2.0
    assert float(f(1.0, 1)) == 3.0
    g = fx.jit(lambda x, s: fnp.copysign(x, s), static_argnums=1)
    for zero in (0.0, -0.0, np.float64(0.0), np.float64(-0.0), np.float32(-0.0), np.float32(0.0)):
        assert float(g(1.0, zero)) == np.copysign(1.0, zero)


def test_static_arguments_that_cannot_be() -> None:
    f = fx.jit(lambda x, s: x, static_argnums=1)
    with pytest.raises(errors.NonHashableStaticError, match="'s'.*tuple"):
        f(1.0, [1, 2])
    with pytest.raises(errors.NonHashableStaticError, match="array"):
        f(1.0, X)
    with pytest.raises(errors.StaticArgumentError, match="positional argument 5"):
        fx.jit(lambda x: x, static_argnums=5)
    with pytest.raises(errors.StaticArgumentError, match="'z'"):
        fx.jit(lambda x: x, static_argnames="z")


def test_donated_arrays_cannot_be_used_again() -> None:
    f = fx.jit(lambda x, y: x + y, donate_argnums=0)
    a, b = fnp.asarray(X.copy()), fnp.asarray(X.copy())
    np.testing.assert_array_equal(f(a, b), X * 2)
    with pytest.raises(errors.DeletedArrayError, match="donate"):
        a + 1
    np.testing.assert_array_equal(b, X)
    np.testing.assert_array_equal(f(X, b), X * 2)  # a NumPy array is the caller's: it is copied, not taken


def test_donation_never_touches_memory_that_others_see() -> None:
    f = fx.jit(lambda x: x * 2, donate_argnums=0)
    mine = np.ones(100000)
    f(fnp.asarray(mine))
    f(mine)
    result = f(mine)
    view = np.asarray(result)
    f(result)
    np.testing.assert_array_equal(mine, np.ones(100000))
    np.testing.assert_array_equal(view, np.full(100000, 2.0))


def test_a_numpy_view_of_a_result_survives_its_donation() -> None:
    add, double = fx.jit(lambda x: x + 1), fx.jit(lambda x: x * 2, donate_argnums=0)
    for export in (np.asarray, lambda x: np.array(x, copy=None), np.from_dlpack):
        x = add(np.zeros(10**6, np.float32))
        view = export(x)
        double(x)
        assert (view == 1.0).all()


@pytest.mark.parametrize("n", [10, 10**6])
def test_whoever_holds_memory_is_seen(n: int) -> None:
    x = fx.jit(lambda x: x + 1)(np.zeros(n))
    assert not x._is_seen()
    for hold in (lambda: x._data, lambda: x._data[:1], lambda: [x._data]):
        held = hold()
        assert x._is_seen()
        del held
        assert not x._is_seen()


def test_donated_memory_is_reused() -> None:
    f = fx.jit(lambda x: x * 2, donate_argnums=0)
    for n in (10, 10**6):  # a small array from NumPy, a large one from the pool
        x = f(np.ones(n))
        address = x._data.ctypes.data
        y = f(x)
        assert y._data.ctypes.data == address


def test_stages() -> None:
    low = fx.jit(lambda x: fnp.sum(fnp.tanh(x) * x)).lower(X)
    assert "tanh" in str(low.graph) and low.graph.in_avals[0].shape == (2, 3)
    assert "tanh" in low.loops() and "for " in low.loops()
    assert "tanh" in low.explain()
    assert "define void" in low.inspect_llvm() and ".globl" in low.inspect_asm()
    plain = fx.jit(fnp.tanh, backend="reference").lower(X)
    assert "there is no" in plain.inspect_llvm() and "there is no" in plain.inspect_asm()
    cost = low.cost_analysis()
    assert cost["flops"] > 0 and cost["bytes"] > 0
    compiled = low.compile()
    assert float(compiled(X)) == pytest.approx(float(np.sum(np.tanh(X) * X)), rel=1e-6)
    with pytest.raises(errors.StaticArgumentError, match="compiled for"):
        compiled(X[:1])
    spec = fx.jit(lambda x: x + 1).lower(fx.ShapeDtypeStruct((3,), np.float32))
    np.testing.assert_array_equal(spec.compile()(np.zeros(3, np.float32)), np.ones(3))


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_a_profile_has_the_steps_of_the_plan_and_leaves_what_is_donated(backend: str) -> None:
    shift = fnp.ones(3)
    f = fx.jit(lambda x: fnp.sort(fnp.tanh(x) + shift, axis=0) * 2, donate_argnums=0, backend=backend)
    x = fnp.array(np.ones((2000, 3), np.float32))
    low = f.lower(x)
    compiled = low.compile()
    found = compiled.profile(x)
    plan = low.explain()
    assert all(type(n) is int and n >= 0 for _, n in found)
    assert [*dict.fromkeys(name.split(" (")[0] for name, _ in found)] == (
        re.findall(r"^    -> (\w+):", plan, re.M) or ["reference"]
    )
    np.testing.assert_array_equal(x, np.ones((2000, 3)))
    with pytest.raises(errors.StaticArgumentError, match="compiled for"):
        compiled.profile(x[:1])


def test_what_is_lowered_gives_away_what_the_function_gives_away() -> None:
    f = fx.jit(lambda w, g: w - 0.5 * g, donate_argnums=0)
    w, g = fnp.full((64, 64), 2.0), fnp.ones((64, 64))
    low = f.lower(w, g)
    assert low.donate == (0,) and "that is not read again" in low.explain()
    compiled = low.compile()
    assert compiled.profile(w, g)
    w = f(w, g)
    address = w._data.ctypes.data
    out = compiled(w, g)
    assert out._data.ctypes.data == address
    np.testing.assert_array_equal(out, np.full((64, 64), 1.0))
    with pytest.raises(errors.DeletedArrayError):
        np.asarray(w)
    mine = np.full((64, 64), 2.0, np.float32)  # NumPy's arrays are copied
    compiled(mine, g)
    assert (mine == 2).all()
    twice = fx.jit(lambda a, b: (a + b, a - b), donate_argnums=(0, 1)).lower(out, out).compile()
    with pytest.raises(errors.StaticArgumentError, match="both\\s+donated"):
        twice(out, out)


def test_a_new_batch_size_compiles_no_kernel() -> None:
    f = fx.jit(lambda w, x: fnp.sum(fnp.tanh(x @ w), axis=1))
    w = np.ones((3, 4), np.float32)
    f(w, np.ones((8, 3), np.float32))
    low = f.lower(w, np.ones((11, 3), np.float32))
    assert low.executable.kernels_compiled == 0


_ROWS = np.array([2, 0, 1, 2])

# functions that make the same array more than once -> how many arrays their graph takes beside x
EQUAL_CONSTANTS: dict[str, tuple[Any, int]] = {
    "index vectors": (lambda x: x[_ROWS].sum() + x[_ROWS].max(), 1),
    "index vectors made anew": (lambda x: x[np.arange(2)].sum() + x[np.arange(2)].max(), 1),
    "arrays of NumPy": (lambda x: np.eye(3) @ x + np.eye(3) * x, 1),
    "arrays of ours": (lambda x: fnp.asarray(np.eye(3)) @ x + np.eye(3) * x, 1),
    "a derivative beside the value": (lambda x: fx.grad(lambda x: fnp.sum(x[_ROWS] ** 2))(x) + x[_ROWS].sum(), 1),
    "other contents": (lambda x: np.eye(3) @ x + np.ones((3, 3)) * x, 2),
    "another dtype": (lambda x: np.eye(3) @ x + np.eye(3, dtype=np.float32) * x, 2),
    "another shape": (lambda x: np.ones((3, 3)) @ x + np.ones((9,)).sum() + np.ones((1, 9)).reshape(3, 3) * x + np.ones(9)[:3] * x, 2),
    "signs of zeros": (lambda x: x / np.zeros(3) + x / -np.zeros(3), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", EQUAL_CONSTANTS)
def test_equal_arrays_that_are_closed_over_are_one_input(name: str) -> None:
    f, count = EQUAL_CONSTANTS[name]
    x = np.linspace(-1.0, 1.0, 9).reshape(3, 3)
    assert len(fx.make_graph(f)(x).graph.inputs) == 1 + count
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_allclose(fx.jit(f, backend="reference")(x), np.asarray(f(fnp.asarray(x))), rtol=1e-14)


def test_what_a_loop_closes_over_twice_is_read_once() -> None:
    def f(x: Any) -> Any:
        def step(c: Any, _: Any) -> Any:
            return c + c[np.arange(2)].sum() * c[np.arange(2)].max(), None

        return fx.lax.scan(step, x, None, length=3)[0]

    body = next(e for e in fx.make_graph(f)(X.ravel()).graph.eqns if e.prim.name == "scan")
    assert sum(a.aval.dtype == np.int32 and a.aval.shape == (2, 1) for a in body.inputs) == 1


@pytest.mark.parametrize("seed", range(20))
def test_arrays_that_change_while_they_are_traced_keep_what_was_read(seed: int) -> None:
    """Buffers that are written to between reads, beside new arrays of the same contents: each read is of what stood there."""
    choices = np.random.default_rng(seed).integers(0, 3, (12, 2))

    def f(x: Any) -> Any:
        buffers, read = [np.zeros(3) for _ in range(2)], []
        for k, (what, value) in enumerate(choices):
            buffer = buffers[k % 2]
            if what == 0:
                buffer[:] = value
            read.append(x * (np.full(3, float(value)) if what == 1 else buffer))
        return read

    x = np.arange(1.0, 4.0)
    np.testing.assert_array_equal(np.asarray(fx.jit(f, backend="reference")(x)), f(x))


def test_constants_closed_over_are_inputs() -> None:
    table = np.arange(10000.0)
    f = fx.jit(lambda i: fnp.asarray(table)[i])
    assert float(f(77)) == 77.0
    low = f.lower(3)
    assert len(low.captures) == 1 and len(low.graph.inputs) == 2


@pytest.mark.parametrize(
    "scalar", [np.float32(2), np.asarray(np.float32(np.inf)), np.float32(np.nan), fnp.asarray(np.float32(-0.0))]
)
def test_scalars_closed_over_are_literals(scalar: Any) -> None:
    def f(x: Any) -> Any:
        return fnp.maximum(fnp.max(x, initial=scalar), scalar) * scalar

    traced = fx.make_graph(f)(X)
    assert len(traced.graph.inputs) == 1 and not traced.consts
    assert "f32[]" not in str(fx.make_graph(lambda x: x + scalar)(X)).splitlines()[0]
    np.testing.assert_array_equal(fx.jit(f)(X), f(X))


def test_a_scalar_that_changes_after_it_was_read_keeps_its_value() -> None:
    w = np.array(2.0)

    def f(x: Any) -> Any:
        y = x * w
        w[()] = 5.0
        return y * w

    assert fx.grad(f)(3.0) == 10
    w[()] = 2.0
    assert fx.jit(f)(3.0) == 30


def test_creation_functions_are_recorded_not_folded() -> None:
    low = fx.jit(lambda x: x + fnp.arange(1000) + fnp.ones(1000)).lower(np.float32(1))
    assert not low.captures and "iota" in [e.prim.name for e in low.graph.eqns]


def test_leaked_tracer_is_named() -> None:
    box = []

    @fx.jit
    def f(x: Any) -> Any:
        box.append(x * 2)
        return x

    f(1.0)
    with pytest.raises(errors.LeakedTracerError, match=r"(?s)'f'.*'mul'.*test_staging"):
        box[0] + 1


def test_results_that_are_inputs_or_constants() -> None:
    f = fx.jit(lambda x: (x, 3, x, fnp.zeros(2), None))
    a, three, b, zeros, none = f(X)
    np.testing.assert_array_equal(a, X)
    np.testing.assert_array_equal(b, X)
    assert int(three) == 3 and none is None
    np.testing.assert_array_equal(zeros, [0, 0])
    assert not np.shares_memory(np.asarray(a), X)


def test_methods_and_partials_can_be_jitted() -> None:
    class Model:
        def __init__(self) -> None:
            self.k = 3.0

        @fx.jit
        def double(x: Any) -> Any:
            return x * 2

    import functools

    assert float(fx.jit(functools.partial(lambda a, b: a * b, 3.0))(2.0)) == 6.0
    assert float(Model.double(2.0)) == 4.0


def test_jit_in_jit_and_jit_of_grad_of_jit() -> None:
    inner = fx.jit(lambda x: fnp.sin(x) * x)
    outer = fx.jit(lambda x: inner(x) + inner(x * 2))
    x = np.float64(0.7)
    assert float(outer(x)) == pytest.approx(np.sin(0.7) * 0.7 + np.sin(1.4) * 1.4)
    assert float(fx.jit(fx.grad(outer))(x)) == pytest.approx(
        np.cos(0.7) * 0.7 + np.sin(0.7) + 2 * (np.cos(1.4) * 1.4 + np.sin(1.4))
    )


def test_calls_from_many_threads_agree() -> None:
    f = fx.jit(lambda x: fnp.sum(fnp.tanh(x) @ x.T))
    want = float(f(X))
    results: list[float] = []

    def work() -> None:
        for _ in range(50):
            results.append(float(f(X)))

    threads = [threading.Thread(target=work) for _ in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(results) == 300 and set(results) == {want}


def test_reference_backend_agrees() -> None:
    f = lambda x: fnp.log(fnp.sum(fnp.exp(x), axis=-1))
    np.testing.assert_allclose(fx.jit(f)(X), fx.jit(f, backend="reference")(X), rtol=1e-6)
    assert "reference" in fx.jit(f, backend="reference").lower(X).explain()


def test_options_are_checked() -> None:
    with pytest.raises(AttributeError, match="default_float"):
        fx.config.defualt_float = "float64"
    with pytest.raises(ValueError):
        fx.config.backend = "gpu"
    with fx.config.using(default_float="float64"):
        assert fnp.ones(2).dtype == np.float64
    assert fnp.ones(2).dtype == np.float32


def test_one_array_cannot_be_donated_twice() -> None:
    x = fx.jit(lambda: fnp.ones(3) * 2)()
    f = fx.jit(lambda a, b: a + b["w"], donate_argnums=(0, 1))
    with pytest.raises(errors.StaticArgumentError, match=r"as a and as b\['w'\], which are both\s+donated"):
        f(x, {"w": x})
    np.testing.assert_array_equal(x, [2, 2, 2])  # the array is as it was
    for _ in range(3):
        np.testing.assert_array_equal(f(fnp.copy(x), {"w": fnp.copy(x)}), [4, 4, 4])
    with pytest.raises(errors.StaticArgumentError, match="both"):  # also in the way written for the signature
        f(x, {"w": x})


@pytest.mark.parametrize("donate", [(5,), (-1,), ("x",)])
def test_donation_of_an_input_that_is_not_there(donate: Any) -> None:
    graph = fx.make_graph(lambda x: x * 2)(X).graph
    with pytest.raises(errors.BackendError, match="<lambda> has 1 inputs"):
        jit.compile(graph, jit.Options(donate=donate))


def test_programs_that_are_not_called_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "MOST_PROGRAMS", 8)
    traced = []

    @functools.partial(fx.jit, static_argnums=1)
    def f(x: Any, n: int) -> Any:
        traced.append(n)
        return x + n

    for n in range(20):
        assert f(1, n) == n + 1
        assert f(1, 0) == 1
        assert f.cache_info().size <= f.cache_info().max_size == 8
    assert traced == list(range(20))  # the program that is called all the time is never dropped
    f(1, 19)
    f(1, 1)
    assert traced[20:] == [1]


def test_a_program_that_is_called_the_short_way_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "MOST_PROGRAMS", 8)
    traced = []

    @fx.jit
    def f(x: Any) -> Any:
        traced.append(x.shape)
        return x + 1

    f(X), f(X)
    for n in range(20):
        f(X), f(np.ones(n))
    f._programs.short = ()
    f(X)
    assert traced.count(X.shape) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_fork_while_another_thread_compiles() -> None:
    f = fx.jit(lambda x: x + 1)
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with f._programs.lock:
            taken.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(20)
    pid = os.fork()
    if pid == 0:
        threading.Timer(5, os._exit, [1]).start()
        code = 2
        try:
            code = 0 if f._programs.lock.acquire(timeout=3) and f(np.float64(1)) == 2 else 3
        finally:
            os._exit(code)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_attributes_of_the_function_stay_its_own() -> None:
    def f(x: Any) -> Any:
        return x + 1

    f.units, f._split = "m", "not a method"  # type: ignore[attr-defined]
    jitted = fx.jit(f)
    assert jitted.units == "m" and float(jitted(1.0)) == 2.0
    with pytest.raises(AttributeError, match="volume"):
        jitted.volume  # noqa: B018
