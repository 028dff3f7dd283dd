"""Executables: what a call promises, whatever is computed."""

from __future__ import annotations

import ctypes
import sys
import threading
import weakref

import numpy as np
import pytest
from graph_harness import agree, check, graph_of, numbers
from hypothesis import given, settings
from hypothesis import strategies as st

import fx
import fx.numpy as fnp
import jit
from fx.errors import BackendError, LoweringError
from fx.interpret import run_graph
from fx.ir import Aval, Eqn, Graph, Literal, Source, Var
from fx.primitives import elementwise as E
from fx.primitives import joining as J
from fx.primitives import reductions as R
from fx.primitives import shaping as S
from fx.primitives.callbacks import debug_callback_p, pure_callback_p
from fx.trace import bind
from jit import memory
from jit.calls import border, result_pool, results
from jit.calls.builtins import address_in_python
from jit.calls.result_pool import allocator, clear_pool, pooled_bytes
from jit.cost import chunk_for
from jit.memory import ALIAS, ALIGN, BYTE, PADDED_FROM


def affine(x, y):
    return [E.add(E.mul(x, y), x)]


# ------------------------------------------------------------------------------- shaping primitives

SHAPING = {
    "transpose": (lambda x: S.transpose(x, (2, 0, 1)), (3, 4, 5)),
    "transpose of one long axis": (lambda x: S.transpose(x, (1, 0)), (70, 90)),
    "reshape": (lambda x: S.reshape(x, (6, 10)), (3, 4, 5)),
    "reshape that does not factor": (lambda x: E.neg(S.reshape(S.transpose(x, (1, 0)), (3, 2))), (3, 2)),
    "broadcast": (lambda x: S.broadcast_in_dim(x, (2, 3, 4, 5), (1, 3)), (3, 5)),
    "broadcast of ones": (lambda x: S.broadcast_in_dim(x, (4, 5), (0, 1)), (4, 1)),
    "slice": (lambda x: J.slice(x, (1, 0, 2), (3, 4, 5), (1, 2, 1)), (3, 4, 5)),
    "rev": (lambda x: S.rev(x, (0, 2)), (3, 4, 5)),
    "pad": (lambda x: J.pad(x, 3, [(1, 2, 0), (0, 0, 2)]), (3, 4)),
    "negative pad": (lambda x: J.pad(x, 3, [(-1, 2, 0), (0, -2, 0)]), (3, 4)),
    "pad of a pad": (lambda x: J.pad(J.pad(x, 1, [(2, 1, 1)]), 5, [(1, 1, 2)]), (4,)),
    "squeeze": (lambda x: S.squeeze(x, (1,)), (3, 1, 4)),
    "expand_dims": (lambda x: S.expand_dims(x, (0, 3)), (3, 4)),
    "concatenate": (lambda x: J.concatenate([x, E.neg(x), x], 1), (3, 4)),
    "long concatenate": (lambda x: J.concatenate([E.neg(x), S.rev(x, (0,)), x], 0), (3000,)),
    "long concatenate inside": (lambda x: E.mul(J.concatenate([x, E.neg(x)], 1), J.concatenate([x, x], 1)), (300, 17)),
    "iota": (lambda x: E.add(x, E.convert_element_type(S.iota(np.dtype("int32"), 12), x.dtype)), (12,)),
    "scalar": (lambda x: S.broadcast_in_dim(x, (3,), ()), ()),
    "nothing": (lambda x: J.concatenate([x, x], 0), (0, 3)),
    "padding of nothing": (lambda x: J.pad(x, 2, [(1, 1, 0), (0, 0, 0)]), (0, 3)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "int16", "complex128", "float16", "bfloat16"])
@pytest.mark.parametrize("name", SHAPING)
def test_shaping(name, dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    f, shape = SHAPING[name]
    check(lambda x: [f(x)], numbers(shape, dtype))


def test_booleans_are_bytes():
    x = numbers((5, 7), bool)
    check(lambda x: [S.transpose(x, (1, 0)), J.pad(x, True, [(1, 1, 0), (0, 0, 0)]), E.bitwise_not(x)], x)


# ------------------------------------------------------------------------------------ the border


def layouts() -> dict[str, np.ndarray]:
    base = np.arange(48, dtype="f4").reshape(6, 8)
    raw = np.zeros(48 * 4 + 1, np.uint8)
    unaligned = raw[1:].view("f4").reshape(6, 8)
    unaligned[...] = base
    return {
        "dense": base, "transposed": np.asfortranarray(base), "sliced": np.repeat(base, 2, 1)[:, ::2],
        "reversed": base[::-1, ::-1], "broadcast": np.broadcast_to(base[:1], (6, 8)), "big endian": base.astype(">f4"),
        "unaligned": unaligned, "read-only": np.frombuffer(base.tobytes(), "f4").reshape(6, 8),
    }  # fmt: skip


@pytest.mark.parametrize("name", layouts())
def test_inputs_of_any_layout(name):
    x = layouts()[name]
    dense = np.ascontiguousarray(x, "f4")
    e = jit.compile(graph_of(affine, dense, dense))
    agree(e(x, dense)[0], dense * dense + dense)


def test_wrong_arguments_are_refused():
    x = numbers((3, 4), "f4")
    e = jit.compile(graph_of(affine, x, x))
    with pytest.raises(BackendError, match="takes 2 arrays"):
        e(x)
    with pytest.raises(BackendError, match=r"argument 1 is float32\[4, 3\]"):
        e(x, x.T)
    with pytest.raises(BackendError, match="argument 0 is float64"):
        e(x.astype("f8"), x)


def test_outputs_that_are_inputs_literals_or_doubles():
    x = numbers((3, 4), "f4")

    def f(x):
        y = E.neg(x)
        return [x, y, y, S.reshape(x, (12,)), S.reshape(y, (2, 6)), x, S.transpose(x, (1, 0))]

    graph = graph_of(f, x)
    graph = graph.replace(outputs=(*graph.outputs, Literal(2.5, Aval((), np.dtype("f4")))))
    found = jit.compile(graph, jit.Options(verify=True))(x)
    for o, w in zip(found, run_graph(graph, (x,)), strict=True):
        agree(o, w)
    arrays = [x, *found]
    assert not any(np.shares_memory(a, b) for k, a in enumerate(arrays) for b in arrays[:k])


def test_results_belong_to_the_caller():
    x = numbers((300, 400), "f4")
    e = jit.compile(graph_of(lambda x: [E.neg(x)], x))
    first = e(x)[0]
    kept = first.copy()
    e(x + 1)
    np.testing.assert_array_equal(first, kept)
    first[...] = 0  # writable


def test_zero_sizes_everywhere():
    x = np.zeros((0, 5), "f4")
    check(lambda x: [E.neg(x), R.reduce_sum(x, (0,)), R.reduce_sum(x, (1,)), S.transpose(x, (1, 0))], x)


# ---------------------------------------------------------------------------------- new shapes


def softmax(x):
    m = R.reduce_max(x, (1,))
    e = E.exp(E.sub(x, S.broadcast_in_dim(m, x.shape, (0,))))
    return [E.div(e, S.broadcast_in_dim(R.reduce_sum(e, (1,)), x.shape, (0,)))]


def mean_and_scaled(x):
    total, n = R.reduce_sum(x, (0,)), float(x.shape[0])
    return [E.div(total, S.full(total.shape, n, "f4")), E.mul(x, S.full(x.shape, 1 / n, "f4"))]


@pytest.mark.parametrize("f", [lambda x: affine(x, x), softmax, mean_and_scaled], ids=["affine", "softmax", "mean"])
def test_a_new_batch_size_compiles_nothing(f):
    jit.compile(graph_of(f, numbers((32, 50), "f4")))
    for shape in [(48, 50), (17, 70)]:
        x = numbers(shape, "f4")
        e = check(f, x)
        assert e.kernels_compiled == 0 and e.kernels_from_cache == 0, e.loops()


def test_kernel_text_holds_no_sizes():
    texts = {jit.compile(graph_of(softmax, numbers(s, "f4"))).loops() for s in [(30, 50), (41, 77)]}
    assert len(texts) == 1


# ------------------------------------------------------------------------------- threads and callbacks


def test_concurrent_calls_do_not_meet():
    x = numbers((64, 300), "f4")
    e = jit.compile(graph_of(lambda x: softmax(E.add(x, x)), x))
    inputs = [x + k for k in range(8)]
    wanted = [e(a)[0] for a in inputs]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(50):
            if not np.array_equal(e(inputs[k])[0], wanted[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def call_python(callback, *xs, out_avals):
    return bind(pure_callback_p, *xs, callback=callback, out_avals=tuple(out_avals), vmap_method=None)


def test_callbacks_run_between_native_steps():
    x = numbers((4, 5), "f4")

    def f(x):
        y = E.neg(x)
        (z,) = call_python(lambda a: [a.T.copy()], S.transpose(y, (1, 0)), out_avals=[Aval((4, 5), np.dtype("f4"))])
        return [E.add(z, x)]

    e = check(f, x)
    assert "pure_callback" in e.explain() and e.cost_analysis()["callbacks"] == 1


def test_effects_keep_their_order_and_are_never_dropped():
    seen: list[float] = []

    def f(x):
        for k in range(3):
            bind(debug_callback_p, E.add(x, float(k)), callback=lambda a: seen.append(float(a)))
        return [x]

    x = np.float32(10).reshape(())
    jit.compile(graph_of(f, x))(x)
    assert seen == [10.0, 11.0, 12.0]


def test_an_executable_may_call_itself():
    x = numbers((3,), "f4")
    depth: list[int] = []

    def again(a: np.ndarray) -> list[np.ndarray]:
        depth.append(len(depth))
        return [executable(a + 1)[0] if len(depth) < 4 else a]

    def f(x):
        y = E.mul(x, 2.0)
        (z,) = call_python(again, y, out_avals=[Aval((3,), np.dtype("f4"))])
        return [E.add(z, y)]

    executable = jit.compile(graph_of(f, x))

    def reference(a: np.ndarray, left: int) -> np.ndarray:
        return 2 * a + (reference(2 * a + 1, left - 1) if left else 2 * a)

    agree(executable(x)[0], reference(x, 3))


def test_a_callback_that_breaks_its_word_is_named():
    x = numbers((3,), "f4")
    e = jit.compile(
        graph_of(lambda x: list(call_python(lambda a: [a[:2]], x, out_avals=[Aval((3,), np.dtype("f4"))])), x)
    )
    with pytest.raises(ValueError, match="returned shape"):
        e(x)


# ------------------------------------------------------------------------------ memory


def test_donated_inputs_become_outputs():
    x, y = numbers((50, 60), "f4"), numbers((50, 60), "f4", 1)
    e = jit.compile(graph_of(affine, x, y), jit.Options(donate=(0,), verify=True))
    given = x.copy()
    (out,) = e(given, y)
    assert np.shares_memory(out, given)
    agree(out, x * y + x)


PASSED_ON = {  # of donated a, b of one type and c of another: what comes back, whose memory the first result has, is anything computed
    "as they are": (lambda a, b, c: (a, b, c), 0, False),
    "in another order": (lambda a, b, c: (c, b, a), 2, False),
    "read by others": (lambda a, b, c: (a, b @ a.T, c + fnp.sum(a)), 0, True),
    "beside what is computed": (lambda a, b, c: (a * 2 + b, b, c), 0, True),
    "twice": (lambda a, b, c: (a, a, c), 0, True),
    "transposed": (lambda a, b, c: (a.T, b, c), None, True),
    "in another shape": (lambda a, b, c: (a.reshape(-1), b, c), None, True),
    "computed, in another shape": (lambda a, b, c: ((a * 2).reshape(4, -1), (b + 1)[None], c), None, True),
    "and its reverse": (lambda a, b, c: (a, a[::-1], c), None, True),
}


@pytest.mark.parametrize("case", PASSED_ON)
def test_donated_inputs_that_come_back_are_not_copied(case):
    f, heir, computes = PASSED_ON[case]
    given = [numbers((40, 40), "f4", 1), numbers((40, 40), "f4", 2), numbers((7,), "f4", 3)]
    want = [np.asarray(x) for x in f(*map(fnp.asarray, given))]
    e = jit.compile(graph_of(f, *given), jit.Options(donate=(0, 1, 2), verify=True))
    out = e(*(held := [x.copy() for x in given]))
    for found, wanted in zip(out, want, strict=True):
        agree(found, wanted)
    assert [np.shares_memory(out[0], x) for x in held] == [k == heir for k in range(3)]
    assert bool(e.profile(*given)) == computes


def test_donated_inputs_that_must_not_be_written_are_copied():
    x = numbers((50, 60), "f4")
    e = jit.compile(graph_of(affine, x, x), jit.Options(donate=(0,)))
    given = x.copy()
    agree(e(given, given)[0], x * x + x)
    both = np.concatenate([x, x])
    agree(e(both[:50], both[20:70])[0], x * both[20:70] + x)
    given.flags.writeable = False
    agree(e(given, x)[0], x * x + x)
    np.testing.assert_array_equal(given, x)


def native_empty(shape, dtype):
    """A large result as native code makes it."""
    (a,) = results.maker([(shape, dtype)])()
    return a


def python_empty(shape, dtype):
    """... and where the layout of objects is not known."""
    return allocator(shape, dtype)(shape, dtype)


pools = pytest.mark.parametrize("empty", [native_empty, python_empty])


@pools
def test_memory_of_large_results_is_used_again(empty):
    clear_pool()
    shape, dtype = (1000, 1000), np.dtype("f4")
    a = empty(shape, dtype)
    assert (a.shape, a.dtype, a.flags.carray, type(a)) == (shape, dtype, True, np.ndarray)
    address = a.ctypes.data
    view = a[10:20].T
    del a
    assert pooled_bytes() == 0  # a view still lives
    del view
    assert pooled_bytes() == 4 * 1000 * 1000 + ALIAS
    other = empty((1000, 1001), dtype)
    assert other.ctypes.data != address
    again = empty((500, 2000), dtype)
    assert again.ctypes.data == address and address % ALIAS == 0 and pooled_bytes() == 0
    assert not np.shares_memory(again, empty(shape, dtype))
    assert allocator((3,), dtype) is np.empty


@pools
def test_waiting_memory_is_bounded(empty, monkeypatch):
    clear_pool()
    monkeypatch.setattr(result_pool, "POOL_BYTES", 10 << 20)
    limit = result_pool._word(result_pool.Word.LIMIT)
    usual, limit.value = limit.value, 10 << 20
    dtype = np.dtype("f4")
    held = [empty((n, 1024), dtype) for n in (1000, 3000, 1100, 1200, 1200)]
    while held:
        held.pop(0)
        assert pooled_bytes() <= 10 << 20
    assert pooled_bytes() >= 1200 * 4096  # the latest stay
    clear_pool()
    limit.value = usual
    assert pooled_bytes() == 0


def test_waiting_blocks_are_bounded_too():
    """The native pool looks at each: it holds the latest few hundred, and what it lets go of is freed."""
    clear_pool()
    before = sys.getrefcount(BYTE)
    n = result_pool._ENTRIES + 20
    held = [native_empty(((1 << 16) + k,), np.dtype("f4")) for k in range(n)]
    first, last = held[0].ctypes.data, held[-1].ctypes.data
    while held:
        held.pop(0)
    assert pooled_bytes() == sum(4 * ((1 << 16) + k) + ALIAS for k in range(20, n))
    assert native_empty(((1 << 16) + n - 1,), np.dtype("f4")).ctypes.data == last != first
    clear_pool()
    assert sys.getrefcount(BYTE) == before


def test_threads_share_the_pool():
    """Blocks are never in two hands."""
    wrong = []

    def work(k):
        for n in range(300):
            a = native_empty(((1 << 16) + n % 3,), np.dtype("i8"))
            a[:] = k
            b = a[5:]
            del a
            wrong.extend([n] * bool((b != k).any()))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_clearing_the_caches_of_the_process(monkeypatch):
    store, cleared = jit.cache.default_store(), []
    now = store.stats()
    monkeypatch.setattr(store, "stats", lambda: now)  # other processes may be filling the same folder
    assert jit.cache_info() == now
    monkeypatch.setattr(store, "clear", lambda: cleared.append("disk"))
    monkeypatch.setattr(jit, "forget", lambda: cleared.append("process"))
    for empty in (native_empty, python_empty):
        empty((1000, 1000), np.dtype("f4"))  # dropped at once: it waits for reuse
    assert pooled_bytes() > 8_000_000
    jit.clear_cache()
    assert cleared == ["disk", "process"] and pooled_bytes() == 0


def test_native_and_python_checks_of_the_border_agree():
    """``apart``: what is overwritten is writeable and overlaps no other."""
    rng = np.random.default_rng(0)
    memory = np.zeros(64, np.uint8)
    answers = set()
    for _ in range(300):
        n = int(rng.integers(1, 6))
        starts, sizes = rng.integers(0, 40, n), rng.choice([0, 1, 4, 9], n)
        arrays = [memory[a : a + s] for a, s in zip(starts, sizes)]
        for a in arrays:
            a.flags.writeable = bool(rng.integers(0, 6))
        overwritten = tuple(int(k) for k in np.flatnonzero(rng.integers(0, 2, n)))
        wanted = all(
            arrays[k].flags.writeable
            and not any(j != k and np.shares_memory(a, arrays[k]) for j, a in enumerate(arrays))
            for k in overwritten
        )
        found = [
            border.separation([a.nbytes for a in arrays], overwritten)(*arrays),
            border._apart_in_python(overwritten, *arrays),
        ]
        if 0 in sizes:  # nothing that lies inside something may count as shared
            assert found == [False, False] or wanted
        else:
            assert found == [wanted, wanted]
        answers.add(wanted)
    assert answers == {False, True}


def test_arena_memory_is_shared_by_values_that_do_not_meet():
    x = numbers((200, 300), "f4")

    def f(x):
        for _ in range(6):
            x = S.rev(_stored(x), (0,))
        return [x]

    e = check(f, x, scale=10)
    assert e.program.buffers.arena_bytes <= 3 * x.nbytes, str(e.program.buffers)


def _stored(x):
    """Dear to compute and read at two places of another kernel, so that it must be stored."""
    y = E.exp(E.mul(x, 1e-3))
    return E.sub(y, S.rev(y, (1,)))


# -------------------------------------------------------------------------------------- errors


class Unknown:
    name = "no_such_primitive"


def test_a_primitive_without_lowering_is_named():
    v, w = Var(Aval((3,), np.dtype("f4"))), Var(Aval((3,), np.dtype("f4")))
    eqn = Eqn(Unknown(), (v,), {}, (w,), Source("model.py", 12, "loss"))
    with pytest.raises(LoweringError, match="'no_such_primitive' at model.py:12 in loss"):
        jit.compile(Graph((v,), (eqn,), (w,)))


def test_dead_equations_are_not_compiled():
    v, w = Var(Aval((3,), np.dtype("f4"))), Var(Aval((3,), np.dtype("f4")))
    x = numbers((3,), "f4")
    np.testing.assert_array_equal(jit.compile(Graph((v,), (Eqn(Unknown(), (v,), {}, (w,)),), (v,)))(x)[0], x)


# ---------------------------------------------------------------------------------- explanations


def test_everything_can_be_read():
    x = numbers((40, 50), "f4")
    e = jit.compile(graph_of(softmax, x), jit.Options(verify=True))
    text = e.explain()
    for word in ("reduce_max", "exp", "joins", "flops", "arena", "in softmax"):
        assert word in text
    assert "def rows_" in e.loops() and "for " in e.loops()
    cost = e.cost_analysis()
    assert cost["flops"] > 40 * 50 * 10 and cost["bytes"] >= 2 * x.nbytes and cost["kernels"] == 1
    assert str(e.plan) and str(e.program)
    assert [name for name, _ in e.profile(x)] == [s.name for s in e.program.steps]


def test_the_quick_engine_gives_the_same_bits():
    """Without LLVM's optimisations: what they change is the order of sums, and there is none here."""
    x = np.random.default_rng(0).standard_normal((9, 70)).astype("f4")
    graph = graph_of(
        lambda x: [E.tanh(E.mul(x, E.exp(x))), S.transpose(E.sin(x), (1, 0)), S.rev(E.sqrt(E.abs(x)), (0,))], x
    )
    made = [jit.compile(graph, jit.Options(engine=engine, verify=True)) for engine in ("quick", "llvm")]
    for q, w in zip(*[run(x) for run in made]):
        assert q.tobytes() == w.tobytes()
    assert made[0].loops() == made[1].loops()


def test_the_numba_engine_runs_the_printed_loops():
    pytest.importorskip("numba")
    x = np.random.default_rng(0).standard_normal((9, 70)).astype("f4")
    graph = graph_of(lambda x: [*softmax(x), R.reduce_sum(x, (0,)), S.transpose(x, (1, 0))], x)
    for o, w in zip(jit.compile(graph, jit.Options(engine="numba"))(x), run_graph(graph, (x,))):
        agree(o, w)


# ------------------------------------------------------------------------------ shapes at random


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 3, 5, 8]), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_chains_of_shaping_operations(shape, random):
    x = numbers(shape, "i4")

    def f(x):
        for _ in range(4):
            perm = list(range(len(x.shape)))
            random.shuffle(perm)
            x = S.transpose(x, tuple(perm))
            x = S.rev(x, (random.randrange(len(perm)),))
            x = S.reshape(x, (x.size,)) if random.random() < 0.2 else x
            x = J.pad(x, 7, [(random.randint(0, 1), 0, random.randint(0, 1)) for _ in x.shape]) if x.size < 500 else x
        return [x, E.add(x, x)]

    check(f, x)


@pytest.mark.parametrize("align", [1, 64])
def test_pieces_can_be_shared_out_evenly(align: int) -> None:
    for total in (1, 1999, 2000, 2001, 3100, 5000, 7333, 12345, 10**6, 10**9):
        chunk = chunk_for(total, 10.0, align)
        pieces = -(-total // chunk)
        assert chunk * pieces >= total and 1 <= pieces <= 64
        assert pieces == 1 or chunk * 10.0 >= 10_000
        if align == 1:
            assert pieces == 1 or pieces % (2 if pieces < 8 else 4) == 0
    assert chunk_for(0, 10.0, align) == 1
    assert chunk_for(1999, 10.0) == 1999
    assert chunk_for(2000, 10.0) == 1000


RESULTS = [
    ((3, 2), np.dtype("f4")),
    ((), np.dtype("f8")),
    ((0, 3), np.dtype("i4")),
    ((5,), np.dtype(bool)),
    ((2, 1, 4), np.dtype("c16")),
]


@pytest.mark.parametrize("known", [True, False])
def test_fresh_arrays_for_results(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not known:
        monkeypatch.setattr(results, "new_from_descr", lambda: 0)
    make = results.maker(RESULTS)
    assert (type(make).__name__ == "builtin_function_or_method") is known
    first, second = make(), make()
    for a, b, (shape, dtype) in zip(first, second, RESULTS, strict=True):
        assert (type(a), a.shape, a.dtype, a.base) == (np.ndarray, shape, dtype, None)
        assert a.dtype is dtype and a.flags.carray and a.flags.owndata
        assert a is not b and not np.shares_memory(a, b)
    assert results.maker([])() == []


def test_results_of_some_size_lie_at_the_start_of_a_cache_line() -> None:
    """Made natively beside others; their memory lives as long as they do, and no longer."""
    shapes = [
        ((3,), np.dtype("f4")),
        ((64, 64), np.dtype("f4")),
        ((1, 2049), np.dtype("c8")),
        ((5, 1001, 3), np.dtype("f8")),
    ]
    make = results.maker(shapes)
    held = [make() for _ in range(4)]
    memory = [weakref.ref(a.base) for arrays in held for a in arrays if a.base is not None]
    before = sys.getrefcount(BYTE)
    another = np.empty(1, BYTE)
    of_each = sys.getrefcount(BYTE) - before  # none where NumPy's dtypes are immortal
    del another
    for n, arrays in enumerate(held):
        for a, (shape, dtype) in zip(arrays, shapes, strict=True):
            assert (type(a), a.shape, a.strides) == (np.ndarray, shape, np.empty(shape, dtype).strides)
            assert a.dtype is dtype and a.flags.carray
            assert a.nbytes < PADDED_FROM or (a.ctypes.data % ALIGN == 0 and a.base.nbytes >= a.nbytes)
            a[...] = n
    assert all((a == n).all() for n, arrays in enumerate(held) for a in arrays)
    del a, arrays, held
    assert len(memory) == 4 * 3 and all(m() is None for m in memory)
    assert sys.getrefcount(BYTE) == before - 4 * 3 * of_each


def test_a_launched_program_aligns_its_results() -> None:
    f = fx.jit(lambda x: (x + 1, x @ x, x[0] * 2))
    x = fnp.array(np.arange(10000.0, dtype=np.float32).reshape(100, 100) / 5000)
    rounds = [f(x) for _ in range(6)]  # the first are called in another way
    for sums, product, row in rounds:
        assert sums.__array_interface__["data"][0] % ALIGN == 0 == product.__array_interface__["data"][0] % ALIGN
        assert np.array_equal(sums, np.asarray(x) + 1) and np.array_equal(row, np.asarray(x)[0] * 2)
        assert np.array_equal(product, rounds[0][1])
    before = sys.getrefcount(BYTE)
    for _ in range(100):
        f(x)
    assert sys.getrefcount(BYTE) == before


def test_without_the_layout_of_objects_results_are_made_in_python(monkeypatch) -> None:
    clear_pool()
    monkeypatch.setattr(results, "new_from_descr", lambda: 0)
    shapes = [((3,), np.dtype("f4")), ((1 << 17,), np.dtype("f8"))]
    make = results.maker(shapes)
    arrays = make()
    assert [(a.shape, a.dtype, a.flags.carray) for a in arrays] == [(*s, True) for s in shapes]
    address = arrays[1].ctypes.data
    del arrays
    assert pooled_bytes() == (1 << 20) + ALIAS
    assert make()[1].ctypes.data == address


def test_a_launched_program_takes_large_results_from_the_pool() -> None:
    f = fx.jit(lambda x: (x + 1, x * 2))
    x = fnp.array(np.arange(1e5, dtype=np.float32))
    for _ in range(4):  # the first are called in another way
        made = f(x)
    places = {y.__array_interface__["data"][0] for y in made}
    waiting = pooled_bytes()
    del made
    assert pooled_bytes() == waiting + 2 * (400_000 + ALIAS)
    made = f(x)
    assert {y.__array_interface__["data"][0] for y in made} == places and pooled_bytes() == waiting
    assert np.array_equal(made[0], np.asarray(x) + 1) and np.array_equal(made[1], np.asarray(x) * 2)


def test_a_lease_that_cannot_be_made_loses_nothing() -> None:
    """A capsule without memory for it: the exception is Python's, and the block is freed."""
    clear_pool()
    word = result_pool._word(result_pool.Word.NEW_CAPSULE)
    usual, before = word.value, sys.getrefcount(BYTE)
    word.value = address_in_python("PyErr_NoMemory")
    try:
        with pytest.raises(MemoryError):
            native_empty((1 << 17,), np.dtype("f4"))
    finally:
        word.value = usual
    assert sys.getrefcount(BYTE) == before and pooled_bytes() == 0
    assert native_empty((1 << 17,), np.dtype("f4")).flags.carray


def test_references_of_fresh_arrays_are_counted() -> None:
    make = results.maker(RESULTS)
    make()
    before = [sys.getrefcount(d) for _, d in RESULTS]
    for _ in range(100):
        make()
    after = [sys.getrefcount(d) for _, d in RESULTS]
    assert all(abs(a - b) < 20 for a, b in zip(after, before)), (before, after)


def test_working_memory_grows_and_keeps_its_pages():
    """What lay in a block lies in the larger one; the larger one is there to its last byte."""
    arena = memory.Arena(3 * 4096)
    words = (ctypes.c_int64 * 1024).from_address(arena.address)
    words[:] = range(1024)
    arena.grow(1 << 20)
    assert arena.nbytes >= 1 << 20 and arena.address % 4096 == 0
    assert list((ctypes.c_int64 * 1024).from_address(arena.address)) == list(range(1024))
    last = ctypes.c_char.from_address(arena.address + arena.nbytes - 1)
    last.value = b"x"
    assert last.value == b"x"


def test_a_block_of_working_memory_has_one_owner():
    memory.clear_arenas()
    first, second = memory.take_arena(4 * 4096), memory.take_arena(100)
    assert first.address != second.address
    memory.give_arena(first), memory.give_arena(second)
    assert memory.take_arena(1 << 16) is first  # the largest; it has grown
    assert memory.take_arena(50) is second
