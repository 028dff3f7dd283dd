"""Graphs as objects: the verifier finds what is wrong, the printer shows it, primitives are registered strictly."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx.errors import GraphError, MissingRuleError, RegistryError
from fx.ir import Aval, Eqn, Graph, Literal, Var
from fx.primitive import Primitive, primitive
from fx.staging import jit_p
from fx.verify import verify_graph

F = Aval((), np.dtype(np.float32))
X, Y, Z = Var(F), Var(F), Var(F)
SIN, ADD = primitive("sin"), primitive("add")


def eqn(prim: Any, inputs: Any, out: Var) -> Eqn:
    return Eqn(prim, tuple(inputs), {}, (out,))


BROKEN: dict[str, tuple[Graph, str]] = {
    "input twice": (Graph((X, X), (), (X,)), "stands twice in its inputs"),
    "operand": (Graph((X,), (eqn(SIN, [1.0], Y),), (Y,)), r"operand 1\.0 is neither"),
    "not defined": (
        Graph((X,), (eqn(SIN, [Y], Z),), (Z,)),
        r"equation 0 \(sin\): reads a variable \(f32\[\]\) that nothing",
    ),
    "defined twice": (Graph((X,), (eqn(SIN, [X], Y), eqn(SIN, [Y], Y)), (Y,)), "a second time"),
    "type": (
        Graph((X,), (eqn(SIN, [X], Var(Aval((2,), F.dtype))),), (X,)),
        r"has outputs \(f32\[2\]\), its rule says \(f32\[\]\)",
    ),
    "output": (Graph((X,), (), (Y,)), "output 0 .* is never defined"),
    "inside": (
        Graph((X,), (Eqn(jit_p, (X,), {"graph": Graph((X,), (), (Y,), "inner")}, (Z,)),), (Z,)),
        "graph 'inner': output 0",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_verifier_names_what_is_wrong(name: str) -> None:
    graph, message = BROKEN[name]
    with pytest.raises(GraphError, match=message):
        verify_graph(graph)


def test_a_sound_graph_is_returned() -> None:
    graph = fx.make_graph(fx.jit(lambda x: fnp.sin(x) + 1))(1.0).graph
    assert verify_graph(graph) is graph
    with fx.config.using(verify=True):
        assert fx.jit(lambda x: fnp.sin(x) * 1)(0.0) == 0


def test_variables_and_literals_show_themselves() -> None:
    assert repr(X) == "Var(f32[])"
    assert repr(Literal(2, F)) == "Literal(np.float32(2.0), f32[])"
    with pytest.raises(GraphError, match="holds a scalar, not shape"):
        Literal(np.ones(2), Aval((2,), F.dtype))
    traced = fx.make_graph(lambda x: x * 2)(np.ones(3, np.float32))
    assert [str(a) for a in (*traced.in_avals, *traced.out_avals)] == ["f32[3]", "f32[3]"]
    s = fx.ShapeDtypeStruct((2, 3), np.float32)
    assert (s.ndim, s.size) == (2, 6)


def test_the_printed_graph() -> None:
    @fx.custom_jvp
    def f(x: Any) -> Any:
        return fnp.sum(x, axis=0)

    f.defjvp(lambda p, t: (f(*p), f(*t)))
    x = np.ones((2, 3), np.float32)
    text = str(
        fx.make_graph(lambda x: (f(x), fx.lax.psum(x, ()), fx.debug.callback(functools.partial(print, 1), x)))(x)
    )
    assert "custom_jvp_call[rule=rule, n_args=1] x" in text
    assert "graph =\n" in text and "reduce_sum[axes=(0,)]" in text
    assert "!debug" in text and "callback=" in text and "0x" not in text
    empty = str(fx.make_graph(lambda: ())())
    assert empty.endswith("return nothing }")


def test_a_graph_in_a_notebook() -> None:
    traced = fx.make_graph(lambda x: fnp.sin(x) < 2)(np.float32(1))
    shown = traced._repr_html_()
    assert shown.startswith("<pre") and "test_ir.py" in shown and "sin x" in shown
    assert "&lt;lambda&gt;" in shown
    nested = fx.make_graph(fx.jit(lambda x: fnp.sin(x)))(np.float32(1))
    assert 'title=""' in nested._repr_html_() and fx.jit(lambda x: x).lower(1.0)._repr_html_().startswith("<pre")


def test_the_registry_is_strict() -> None:
    with pytest.raises(RegistryError, match="a primitive named 'sin' exists already"):
        Primitive("sin")
    with pytest.raises(RegistryError, match="'sin' already has its jvp rule"):
        SIN.def_jvp(lambda *a: None)
    with pytest.raises(RegistryError, match="no primitive named 'sine'"):
        primitive("sine")
    with pytest.raises(MissingRuleError, match="'sin' has no forward rule. Give it one with def_forward"):
        SIN.rule("forward")
    with pytest.raises(MissingRuleError, match="'sin' has no transpose rule: it is not linear"):
        SIN.rule("transpose")
    assert SIN.stated("transpose") and not SIN.has("transpose") and repr(SIN) == "sin"


def config(name: str, value: Any) -> Callable[[], Any]:
    return lambda: setattr(fx.config, name, value)


@pytest.mark.parametrize(
    "action, error, message",
    [
        (config("default_float", "int32"), ValueError, "must be float16, float32 or float64"),
        (config("default_int", "float32"), ValueError, "must be int32 or int64"),
        (config("backend", "gpu"), ValueError, "gpu"),
        (config("colour", 1), AttributeError, "no option 'colour'; it has array_api, backend"),
        (lambda: fx.config.colour, AttributeError, "no option 'colour'"),
        (lambda: fx.config.using(colour=1).__enter__(), AttributeError, "no option 'colour'"),
    ],
)
def test_options_are_checked(action: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        action()


def test_options_show_themselves() -> None:
    with fx.config.using(default_float="float64"):
        assert fnp.ones(1).dtype == np.float64
        assert "default_float" in repr(fx.config) and "float64" in repr(fx.config)
    assert fnp.ones(1).dtype == np.float32
