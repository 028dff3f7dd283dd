"""Exported functions: what is read back computes the same bits, however it is transformed; other bytes are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from laws import graph_of, primitives_in
from op_specs import SPECS

import fx
import fx.numpy as fnp
from fx import lax
from fx.errors import ExportError
from fx.export import (
    deserialize,
    encoding,
    export,
    register_namedtuple_serialization,
    register_pytree_node_serialization,
)
from fx.interpret import run_graph
from fx.passes.inline import CALLS, inline
from fx.verify import verify_graph

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
W = fnp.asarray(np.linspace(0.5, -0.5, 6, dtype=np.float32).reshape(3, 2))
CALL_PYTHON = {"pure_callback", "io_callback", "debug_callback"}


@pytest.mark.parametrize("name", SPECS)
def test_every_primitive_can_be_written(name: str) -> None:
    spec = SPECS[name]
    for case in spec.typical[:2]:
        arrays = case.draw(spec.main)
        graph = graph_of(spec.function(case, spec.main), *arrays)
        written = encoding.Writer()
        if primitives_in(graph) & CALL_PYTHON:
            with pytest.raises(ExportError, match="calls Python"):
                written.graph(graph)
            return
        number = written.graph(graph)
        description, _ = encoding.read(encoding.write({"graphs": written.graphs}, []))
        found = verify_graph(encoding.Reader(description["graphs"]).graph(number))
        if name in CALLS:
            for x, y in zip(run_graph(inline(found), arrays), run_graph(inline(graph), arrays), strict=True):
                np.testing.assert_array_equal(x, y)
        else:
            assert str(found) == str(graph)


def network(x: Any, options: Any) -> Any:
    """Constants, loops, branches, random numbers, structure."""
    h = fnp.tanh(x @ W) * options["scale"]
    total, steps = lax.scan(lambda c, v: (c + v, c * 2), fnp.zeros(2), h)
    bits = fx.random.normal(fx.random.fold_in(fx.random.PRNGKey(3), options["step"]), (2,))
    chosen = lax.cond(total.sum() > 0, lambda t: t, lambda t: -t, total)
    return {"h": h, "rest": (steps[-1], chosen + bits, None)}, lax.while_loop(
        lambda n: n < 9, lambda n: n * 2, options["step"]
    )


OPTIONS = {"scale": np.float32(1.5), "step": np.int32(2)}


def test_what_is_read_is_what_was_written() -> None:
    f = fx.jit(network)
    exported = export(f)(fx.ShapeDtypeStruct(X.shape, X.dtype), OPTIONS)
    found = deserialize(exported.serialize())
    assert str(found.graph) == found.mlir_module() == str(exported.graph) and str(found.in_tree) == str(
        exported.in_tree
    )
    assert (found.fun_name, found.in_avals, found.out_avals) == ("network", exported.in_avals, exported.out_avals)
    want = f(X, OPTIONS)

    def same(got: Any) -> None:
        assert fx.tree.structure(got) == fx.tree.structure(want)
        for x, y in zip(fx.tree.leaves(got), fx.tree.leaves(want), strict=True):
            np.testing.assert_array_equal(x, y)

    for e in (exported, found):
        same(e.call(X, OPTIONS))
        same(fx.jit(e.call)(X, OPTIONS))
        rows = fx.vmap(lambda s, e=e: e.call(X, {**OPTIONS, "scale": s})[0]["h"])(fnp.ones(3))
        np.testing.assert_array_equal(rows[1], f(X, {**OPTIONS, "scale": np.float32(1)})[0]["h"])

        def loss(call: Callable[..., Any], x: Any) -> Any:
            return call(x, OPTIONS)[0]["h"].sum()

        np.testing.assert_array_equal(fx.grad(loss, 1)(e.call, X), fx.grad(loss, 1)(f, X))
    assert bytes(deserialize(exported.serialize()).serialize()) == bytes(exported.serialize())


def test_in_another_process(tmp_path: Any) -> None:
    (tmp_path / "f.bin").write_bytes(export(fx.jit(network))(X, OPTIONS).serialize())
    code = (
        "import sys, numpy as np, fx; e = fx.export.deserialize(open(sys.argv[1], 'rb').read());"
        "x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3);"
        "print(np.asarray(e.call(x, {'scale': np.float32(1.5), 'step': np.int32(2)})[0]['h']).tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "f.bin")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == np.asarray(fx.jit(network)(X, OPTIONS)[0]["h"]).tobytes().hex()


def test_derivatives_of_their_own() -> None:
    @fx.custom_vjp
    def f(x: Any) -> Any:
        return x * 2

    f.defvjp(lambda x: (x * 2, x), lambda x, ct: (ct * 100 * x,))
    exported = export(fx.jit(lambda x, i: (f(x).sum(), i + 1)))(X, np.int32(1))

    def gradient(e: Any) -> Any:
        return fx.grad(lambda x: e.call(x, np.int32(1))[0])(X)

    np.testing.assert_array_equal(gradient(exported), 100 * X)
    kept, bare = deserialize(exported.serialize(vjp_order=1)), deserialize(exported.serialize())
    np.testing.assert_array_equal(gradient(kept), 100 * X)
    np.testing.assert_array_equal(kept.vjp().call(X, np.int32(1), np.float32(2))[0], 200 * X)
    np.testing.assert_array_equal(
        fx.vmap(bare.call, (0, None))(X[None], np.int32(1))[0][0], bare.call(X, np.int32(1))[0]
    )
    assert kept.has_vjp() and not bare.has_vjp() and not kept.vjp().has_vjp()
    with pytest.raises(ExportError, match="vjp_order=1"):
        gradient(bare)


class Pair(NamedTuple):
    a: Any
    b: Any


@fx.tree_util.register_pytree_node_class
class Scaled:
    def __init__(self, x: Any, by: str) -> None:
        self.x, self.by = x, by

    def tree_flatten(self) -> Any:
        return (self.x,), self.by

    @classmethod
    def tree_unflatten(cls, by: str, children: Any) -> Scaled:
        return cls(children[0], by)


def test_nodes_of_the_programs_own() -> None:
    f = fx.jit(lambda p, s: Pair(s.x, Scaled(p.a + p.b, s.by + "!")))
    args = Pair(X, [X, X][0]), Scaled(fnp.asarray(X), "k")
    with pytest.raises(ExportError, match="Pair; fx.export.register_namedtuple"):
        export(f)(*args).serialize()
    register_namedtuple_serialization(Pair, serialized_name="tests.Pair")
    with pytest.raises(ExportError, match="Scaled; fx.export.register_pytree"):
        export(f)(*args).serialize()
    register_pytree_node_serialization(
        Scaled, serialized_name="tests.Scaled", serialize_auxdata=str.encode, deserialize_auxdata=bytes.decode
    )
    out = deserialize(export(f)(*args).serialize()).call(*args)
    assert type(out) is Pair and type(out.b) is Scaled and out.b.by == "k!"
    np.testing.assert_array_equal(out.b.x, X + X)
    with pytest.raises(ExportError, match="registered"):
        register_namedtuple_serialization(Pair, serialized_name="tests.Pair")
    found = deserialize(export(fx.jit(fnp.linalg.eigh))(np.eye(2)).serialize()).call(np.eye(2))
    np.testing.assert_array_equal(found.eigenvalues, [1, 1])
    draw, key = fx.jit(lambda k: (fx.random.split(k), fx.random.normal(k, (2,)))), fx.random.key(5)
    keys, drawn = deserialize(export(draw)(key).serialize()).call(key)
    np.testing.assert_array_equal(drawn, draw(key)[1])
    np.testing.assert_array_equal(fx.random.key_data(keys), fx.random.key_data(draw(key)[0]))


def test_what_is_refused() -> None:
    exported = export(fx.jit(lambda x: x * 2))(X)
    blob = exported.serialize()
    for wrong, what in (
        (b"something else", "not written by"),
        (blob[:-1], "cut off"),
        (blob[:70] + b"?" + blob[71:], "cut off"),
        (blob[:10] + b"\7" + blob[11:], "format 7; fx .* reads format 1"),
        *[(blob[:14] + bytes([blob[14] ^ bit]) + blob[15:], "cut off") for bit in (1, 8, 128)],  # how long the text is
    ):
        with pytest.raises(ExportError, match=what):
            deserialize(bytes(wrong))
    with pytest.raises(ExportError, match="takes the bytes that serialize.* gave; found NoneType"):
        deserialize(None)
    description, _ = encoding.read(blob)
    own = lambda module, name: {"out_tree": ["own", ["leaf"], module, name]}
    for change, what in (
        ({"graphs": [{}]}, "no sense"), ({"in_tree": ["node", [], "who", ""]}, "registered"), (own("fx.export.trees", "describe"), "does not know"),
        (own("fx.gone", "Gone"), "Gone of fx.gone, which fx .* does not know"), (own("subprocess", "Popen"), "does not know"),
    ):  # fmt: skip
        with pytest.raises(ExportError, match=what):
            deserialize(encoding.write({**description, **change}, []))
    description["graphs"][0]["eqns"][0][0] = "fold_space"
    with pytest.raises(ExportError, match="'fold_space', which fx .* does not know"):
        deserialize(encoding.write(description, []))
    for args in ((X[0],), (X.astype(np.float64),), (X, X), ({"x": X},)):
        with pytest.raises(ExportError, match="was exported for"):
            exported.call(*args)
    with pytest.raises(ExportError, match="jitted function"):
        export(lambda x: x)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="there is 'cpu'"):
        export(fx.jit(fnp.sin), platforms=["tpu"])
    with pytest.raises(ExportError, match="calls Python cannot be exported: pure_callback"):
        export(fx.jit(lambda x: fx.pure_callback(np.sin, fx.ShapeDtypeStruct.like(x), x)))(X).serialize()
