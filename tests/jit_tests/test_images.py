"""Images: what another process planned is what this one would plan, and nothing else is taken for it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from graph_harness import graph_of, numbers
from image_programs import image, images, training_steps

import fx
import jit
from fx import numpy as fnp
from fx.interpret import run_graph
from fx.ir import Aval, Graph, Literal
from fx.primitives import elementwise as E
from fx.primitives import linalg as L
from fx.primitives import reductions as R
from fx.primitives import shaping as S
from fx.primitives.callbacks import pure_callback_p
from fx.trace import bind
from jit import cache
from jit.executable import FROM_STORE
from jit.images import NotKept, image_key, unpack, without_images
from jit.lower.registry import POINTWISE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Callable[[], cache.KernelStore]]:
    """An empty store; called, it forgets what this process knows and gives that store to a new start."""
    old = os.environ["FX_CACHE_DIR"]
    os.environ["FX_CACHE_DIR"] = str(tmp_path / "store")

    def again() -> cache.KernelStore:
        cache.default_store.cache_clear()
        jit.load.forget()
        return cache.default_store()

    again()
    yield again
    os.environ["FX_CACHE_DIR"] = old
    again()


def layer(x, w):
    y = E.tanh(L.dot_general(x, w, (((1,), (0,)), ((), ()))))
    total = R.reduce_sum(E.mul(y, y), (1,))
    return [E.div(y, S.broadcast_in_dim(E.add(total, S.full(total.shape, 0.5, "f4")), y.shape, (0,))), total]


X, W = numbers((5, 7), "f4"), numbers((7, 3), "f4", 1)


def files(store: cache.KernelStore) -> list[Path]:
    assert store.directory is not None
    return sorted(store.directory.rglob("*.fxk"))


# ------------------------------------------------------------------------------ what an image says


def test_images_of_another_process_are_those_of_this_one():
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("image_programs.py"))], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONHASHSEED": "17", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    theirs, mine = json.loads(child.stdout), images()
    assert theirs.keys() == mine.keys()
    assert not {name: (theirs[name], mine[name]) for name in mine if theirs[name] != mine[name]}
    kept = [name for name, found in mine.items() if found[0] not in ("NotKept", "LoweringError")]
    assert len(kept) > 0.75 * len(mine)


def test_every_training_step_is_kept():
    found = {name: image(graph, donate) for name, graph, donate in training_steps()}
    assert len(found) == 7
    keys = {key for key, _ in found.values()}
    assert len(keys) == 7


def test_an_image_is_read_as_it_was_written():
    graph = graph_of(layer, X, W)
    key, data = image(graph, (0,))
    read = unpack(data, graph, key)
    assert read is not None
    assembly, kernels = read
    assert unpack(data, graph, "0" * 64) is None
    from jit.assembling import assemble
    from jit.compiler import drafted
    from jit.executable import Options, resolved

    planned = assemble(drafted(graph, resolved(Options(num_threads=2, donate=(0,)))).finished())
    for field in dataclasses.fields(planned):
        a, b = getattr(assembly, field.name), getattr(planned, field.name)
        assert np.array_equal(a, b) if isinstance(b, np.ndarray) else a == b, field.name
    assert len(kernels) == planned.steps[:, 1].max()


# --------------------------------------------------------------------------------------- the second time


def test_the_second_process_plans_nothing_and_gives_the_same_bits(store):
    graph = graph_of(layer, X, W)
    first = jit.compile(graph)
    assert "kept for the next" in first.origin and first.kernels_compiled
    want = first(X, W)
    store()
    before = jit.image_info()
    second = jit.compile(graph_of(layer, X, W))
    assert second.origin == FROM_STORE and not second.kernels_compiled and second.kernels_from_cache
    after = jit.image_info()
    assert (after.found, after.planned, after.not_kept) == (before.found + 1, before.planned, before.not_kept)
    assert [g.tobytes() for g in second(X, W)] == [w.tobytes() for w in want]


def test_what_came_from_the_store_is_looked_at_as_what_was_planned(store):
    graph = graph_of(layer, X, W)
    first = jit.compile(graph)
    store()
    second = jit.compile(graph)
    assert second.origin == FROM_STORE and second.explain().endswith(FROM_STORE)
    assert second.explain().replace(second.origin, "") == first.explain().replace(first.origin, "")
    assert (second.loops(), second.cost_analysis()) == (first.loops(), first.cost_analysis())
    assert str(second.plan) == str(first.plan) and str(second.program) == str(first.program)
    assert [name for name, _ in second.profile(X, W)] == [s.name for s in first.program.steps]
    assert second.arena_bytes == first.arena_bytes


def test_outputs_that_are_literals_inputs_or_donated(store):
    graph = graph_of(lambda x, y: [x, E.add(x, y), E.neg(y)], X, X)
    graph = graph.replace(outputs=(*graph.outputs, Literal(-0.0, Aval((), np.dtype("f4")))))
    want = [w.tobytes() for w in run_graph(graph, (X, X + 1))]
    for origin in ("planned in this process, and kept for the next", FROM_STORE):
        run = jit.compile(graph, jit.Options(donate=(1,)))
        assert run.origin == origin
        assert [o.tobytes() for o in run(X.copy(), X + 1)] == want
        store()


def test_a_jitted_training_step_in_a_second_start(store):
    def step(w, x):
        loss, g = fx.value_and_grad(lambda w: fnp.mean((fnp.tanh(x @ w)) ** 2))(w)
        return loss, w - 0.1 * g

    first = fx.jit(step, donate_argnums=0)
    want = [np.asarray(r).tobytes() for r in first(fnp.asarray(W), X)]
    store()
    before = jit.image_info()
    second = fx.jit(lambda w, x: step(w, x), donate_argnums=0)
    assert [np.asarray(r).tobytes() for r in second(fnp.asarray(W), X)] == want
    assert jit.image_info().found == before.found + 1 and jit.image_info().planned == before.planned


def test_without_a_disk_images_stay_in_this_process(store):
    os.environ["FX_CACHE_DIR"] = "off"
    assert store().directory is None
    first = jit.compile(graph_of(layer, X, W))
    second = jit.compile(graph_of(layer, X, W))
    assert first.kernels_compiled and second.origin == FROM_STORE
    assert [a.tobytes() for a in first(X, W)] == [b.tobytes() for b in second(X, W)]
    store()
    assert jit.compile(graph_of(layer, X, W)).origin != FROM_STORE


def test_threads_compile_one_graph_at_a_time_or_at_once(store):
    graph = graph_of(layer, X, W)
    want = [o.tobytes() for o in jit.compile(graph)(X, W)]
    store()
    found: list[bool] = []

    def work() -> None:
        for _ in range(5):
            run = jit.compile(graph_of(layer, X, W))
            found.append([o.tobytes() for o in run(X, W)] == want)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [True] * 20


def test_a_forked_child_takes_its_programs_from_the_store(store):
    graph = graph_of(layer, X, W)
    want = [o.tobytes() for o in jit.compile(graph)(X, W)]
    store()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        run = jit.compile(graph)
        os._exit(0 if run.origin == FROM_STORE and [o.tobytes() for o in run(X, W)] == want else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# -------------------------------------------------------------------------------------- what is no hit


def _variants() -> dict[str, tuple[Graph, dict]]:
    base = graph_of(lambda x: [E.add(E.mul(x, x), S.full(x.shape, 0.0, "f4")), R.reduce_sum(x, (0,))], X)
    same = {
        "negative zero": lambda x: [E.add(E.mul(x, x), S.full(x.shape, -0.0, "f4")), R.reduce_sum(x, (0,))],
        "another primitive": lambda x: [E.sub(E.mul(x, x), S.full(x.shape, 0.0, "f4")), R.reduce_sum(x, (0,))],
        "another parameter": lambda x: [E.add(E.mul(x, x), S.full(x.shape, 0.0, "f4")), R.reduce_sum(x, (1,))],
        "operands exchanged": lambda x: [E.add(S.full(x.shape, 0.0, "f4"), E.mul(x, x)), R.reduce_sum(x, (0,))],
        "outputs exchanged": lambda x: [R.reduce_sum(x, (0,)), E.add(E.mul(x, x), S.full(x.shape, 0.0, "f4"))],
        "one more": lambda x: [E.neg(E.add(E.mul(x, x), S.full(x.shape, 0.0, "f4"))), R.reduce_sum(x, (0,))],
    }
    found: dict[str, tuple[Graph, dict]] = {name: (graph_of(f, X), {}) for name, f in same.items()}
    plain = lambda x: [E.mul(x, x)]
    found |= {
        "base": (base, {}), "donated": (base, {"donate": (0,)}), "not fused": (base, {"fuse": False}),
        "quick": (base, {"engine": "quick"}), "smaller machine": (base, {"target": jit.target.host().restricted("scalar")}),
        "other threads": (base, {"num_threads": 3}),
        "f4": (graph_of(plain, X), {}), "f8": (graph_of(plain, X.astype("f8")), {}), "transposed": (graph_of(plain, X.T), {}),
        "i4": (graph_of(plain, X.astype("i4")), {}), "u4": (graph_of(plain, X.astype("u4")), {}),
    }  # fmt: skip
    return found


def _key(graph: Graph, options: dict) -> str:
    from jit.executable import Options, resolved

    return image_key(graph, resolved(Options(**{"num_threads": 2, **options})))


def test_what_differs_in_anything_has_a_key_of_its_own():
    variants = _variants()
    keys = {name: _key(*v) for name, v in variants.items()}
    assert len(set(keys.values())) == len(variants), keys
    assert keys == {name: _key(*v) for name, v in _variants().items()}


@pytest.mark.parametrize(
    "pair", [(1, True), (1, 1.0), (0.0, -0.0), ("1", 1), ((1, 2), (12,)), (None, "None"), (np.float32(1), 1.0)]
)
def test_parameters_that_python_calls_equal_are_not(pair):
    def keyed(value) -> str:
        graph = graph_of(lambda x: [E.neg(x)], X)
        eqns = tuple(e.replace(params={**e.params, "extra": value}) for e in graph.eqns)
        return _key(graph.replace(eqns=eqns), {})

    assert keyed(pair[0]) != keyed(pair[1]) and keyed(pair[0]) == keyed(pair[0])


def test_names_and_lines_change_nothing():
    graph = graph_of(layer, X, W)
    moved = graph.replace(
        name="other", input_names=("a", "b"), eqns=tuple(e.replace(source=None, scope="s") for e in graph.eqns)
    )
    assert _key(graph, {}) == _key(moved, {})


def test_damaged_images_are_planned_anew(store):
    graph = graph_of(layer, X, W)
    want = [o.tobytes() for o in jit.compile(graph)(X, W)]
    for k in range(len(files(store()))):
        here = store()
        path = files(here)[k]
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] + b"!" + whole[len(whole) // 2 + 1 :])
        assert [o.tobytes() for o in jit.compile(graph)(X, W)] == want
        store()
        again = jit.compile(graph)
        assert again.origin == FROM_STORE and not again.kernels_compiled


def test_an_image_of_another_graph_is_not_taken(store):
    graph, other = graph_of(layer, X, W), graph_of(lambda x, w: layer(E.neg(x), w), X, W)
    keys = [_key(g, {"num_threads": jit.num_threads()}) for g in (graph, other)]
    wants = [[o.tobytes() for o in jit.compile(g)(X, W)] for g in (graph, other)]
    here = store()
    here.put(keys[0], here.read(keys[1]))
    here = store()
    run = jit.compile(graph)
    assert run.origin != FROM_STORE and [o.tobytes() for o in run(X, W)] == wants[0]


def test_an_image_whose_kernels_are_gone_is_planned_anew(store):
    graph = graph_of(layer, X, W)
    want = [o.tobytes() for o in jit.compile(graph)(X, W)]
    key = _key(graph, {"num_threads": jit.num_threads()})
    gone = [p for p in files(store()) if p.stem != key]
    assert len(gone) < len(files(store()))
    for p in gone:
        p.unlink()
    run = jit.compile(graph)
    assert run.kernels_compiled and [o.tobytes() for o in run(X, W)] == want


# ------------------------------------------------------------------------------------ what is not kept


def test_programs_that_call_python_say_so(store):
    def f(x):
        return bind(
            pure_callback_p, E.neg(x), callback=lambda a: [a * 2], out_avals=(Aval(X.shape, X.dtype),), vmap_method=None
        )

    for _ in range(2):
        before = jit.image_info().not_kept
        run = jit.compile(graph_of(f, X))
        assert run.origin.startswith("planned in every process") and jit.image_info().not_kept == before + 1
        assert run.explain().endswith(run.origin)
        np.testing.assert_array_equal(run(X)[0], -2 * X)
        store()


def test_programs_with_an_address_of_this_process_are_not_kept():
    square = np.eye(40, dtype="f4")
    graph = fx.jit(fnp.linalg.cholesky).lower(square).graph
    with pytest.raises(NotKept, match="address"):
        image(graph)
    graph = fx.jit(fnp.fft.fft).lower(np.ones(67, "c8")).graph  # by pocketfft: 67 has no small factors
    with pytest.raises(NotKept, match="address"):
        image(graph)


def test_a_rule_from_outside_is_not_kept(store, monkeypatch):
    graph, right = graph_of(lambda x: [E.tan(x)], X), POINTWISE["tan"]
    monkeypatch.setitem(POINTWISE, "tan", lambda b, eqn, x: right(b, eqn, x) * 2)
    with pytest.raises(NotKept, match="rule of tan"):
        image_key(graph, jit.executable.resolved(jit.Options()))


def test_without_images_everything_is_planned(store):
    graph = graph_of(layer, X, W)
    jit.compile(graph)
    store()
    with without_images():
        assert jit.compile(graph).origin == "planned in every process: asked for"
    assert jit.compile(graph).origin == FROM_STORE
    assert jit.compile(graph, jit.Options(verify=True)).origin != FROM_STORE


def test_keys_hold_all_sources_of_graphs():
    """What planning imports of fx is in the digest that keys hold."""
    jit_files = Path(jit.__file__).parent.rglob("*.py")
    texts = [p.read_text() for p in jit_files]
    found = set(re.findall(r"^\s*from fx\.(\w+)", "\n".join(texts), re.M))
    for names in re.findall(r"^\s*from fx import (.+)$", "\n".join(texts), re.M):
        found |= {n.strip() for n in names.split(",")}
    assert found == {part.removesuffix(".py") for part in cache.GRAPH_SOURCES}
