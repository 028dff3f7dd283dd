"""Functions as graphs: how the loops and conditionals of ``fx.lax`` trace what they are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import tree
from ..array import Array
from ..dtypes import promote
from ..errors import CarryTypeError, FxError
from ..interning import interned
from ..ir import Aval, Graph, Var
from ..primitive import Primitive
from ..primitives.elementwise import convert_element_type
from ..staging import jit_p
from ..trace import Tracer, aval_of, bind, eval_graph, is_python_scalar, locate, trace_flat, user_source, values_known
from ..transforms.flat import FlatFunction, check_leaf

__all__ = [
    "Traced",
    "bind_control",
    "converted",
    "error",
    "leaves_of",
    "of_type",
    "same_operands",
    "settle_carry",
    "trace_body",
]


@dataclass(frozen=True)
class Traced:
    """A function as a graph: inputs are its ``consts``, then the leaves of its arguments."""

    graph: Graph
    consts: list[Any]
    out_tree: tree.TreeDef

    @property
    def n_consts(self) -> int:
        return len(self.consts)


def trace_body(
    kind: str, fun: Callable[..., Any], args: tuple[Any, ...], avals: Sequence[Aval], names: Sequence[str], name: str
) -> Traced:
    """Traces ``fun`` for arguments of the structure of ``args`` and of types ``avals``."""
    flat = FlatFunction(fun, tree.structure((args, {})))
    flat.name = name
    graph, consts = trace_flat(flat, avals, kind=kind, name=name, names=names)
    assert flat.out_tree is not None
    n = len(avals)
    assert graph.input_names is not None
    order = (*range(n, len(graph.inputs)), *range(n))
    graph = graph.replace(
        inputs=tuple([graph.inputs[i] for i in order]), input_names=tuple([graph.input_names[i] for i in order])
    )
    return Traced(graph, consts, flat.out_tree)


def bind_control(prim: Primitive, args: Sequence[Any], **params: Any) -> list[Any]:
    """Binds the equation; within a jit of its own where operations are evaluated."""
    if not values_known():
        outs: list[Any] = bind(prim, *args, **params)
        return outs
    avals = [aval_of(a) for a in args]
    graph, _ = trace_flat(lambda *xs: bind(prim, *xs, **params), avals, kind="jit", name=prim.name)
    outs = bind(jit_p, *args, graph=interned(graph))
    return outs


def leaves_of(what: str, x: Any) -> list[Any]:
    return [check_leaf(v, what + tree.keystr(path)) for path, v in tree.leaves_with_path(x)]


def error(kind: type[FxError], message: str) -> FxError:
    return locate(kind(message), user_source())


def converted(t: Traced, avals: Sequence[Aval]) -> Traced:
    """The same with results of these types."""

    def f(*args: Any) -> list[Any]:
        return [of_type(o, a) for o, a in zip(eval_graph(t.graph, args), avals)]

    graph, _ = trace_flat(f, t.graph.in_avals, kind="cond", name=t.graph.name, names=t.graph.input_names)
    return Traced(graph, t.consts, t.out_tree)


# ------------------------------------------------------------------------------------- carries


def of_type(x: Any, aval: Aval) -> Any:
    """``x`` in the dtype and weakness of ``aval``."""
    have = aval_of(x)
    if have.dtype == aval.dtype and have.weak == aval.weak:
        return x
    return np.asarray(x, aval.dtype) if is_python_scalar(x) else convert_element_type(x, aval.dtype)


def settle_carry(
    what: str,
    init: Sequence[Any],
    init_tree: tree.TreeDef,
    names: Sequence[str],
    trace: Callable[[Sequence[Aval]], tuple[Traced, tree.TreeDef]],
) -> tuple[Traced, list[Any]]:
    """Traces a loop's body until its carry keeps its type; what is weak takes the type that the body gives it.

    Where that is its own dtype, the body is not traced again: it sees a weak carry, as in JAX.

    Args:
        names: what each leaf of the carry is called, for messages.
        trace: the body's graph for carries of these types, and the structure of the carry that it returns.

    Returns:
        The body and the initial carry in its final type.
    """
    avals = [aval_of(x) for x in init]
    while True:
        body, out_tree = trace(avals)
        if out_tree != init_tree:
            raise _structure_error(what, init_tree, out_tree)
        outs = body.graph.out_avals[: len(avals)]
        new = [_promoted(a, o) for a, o in zip(avals, outs)]
        settled, avals = all(a.same_type(n) for a, n in zip(avals, new)), new
        if settled:
            break
    wrong = [f"{n} comes in as {a} and goes out as {o}" for n, a, o in zip(names, avals, outs) if not a.same_type(o)]
    if wrong:
        raise error(
            CarryTypeError,
            f"{what} changes the type of its carry: {'; '.join(wrong)}. Every iteration must return the carry with the shape"
            " and dtype that it got: convert the result (astype, reshape), or the initial value.",
        )
    return body, [of_type(x, a) for x, a in zip(init, avals)]


def _promoted(a: Aval, out: Aval) -> Aval:
    """The type of a carry that begins as ``a`` and is returned as ``out``: a weak one gives way."""
    if not a.weak or (out.weak and out.dtype == a.dtype):
        return a
    return Aval(a.shape, *promote((a.dtype, True), (out.dtype, out.weak)))


def _structure_error(what: str, want: tree.TreeDef, found: tree.TreeDef) -> FxError:
    def paths(d: tree.TreeDef) -> dict[str, None]:
        example = tree.unflatten(d, range(d.num_leaves))
        return dict.fromkeys(f"carry{tree.keystr(path)}" for path, _ in tree.leaves_with_path(example))

    lost, more = [[p for p in paths(x) if p not in paths(y)] for x, y in ((want, found), (found, want))]
    text = "".join(f"; {say}: {', '.join(which)}" for say, which in (("missing", lost), ("too many", more)) if which)
    return error(
        CarryTypeError,
        f"{what} changes the structure of its carry: it got {want} and returned {found}{text}."
        " Return the carry in the structure of the initial value.",
    )


def same_operands(traced: Sequence[Traced]) -> tuple[list[Any], list[Graph]]:
    """What any of the functions closes over, once; and the functions as graphs of all of it and their arguments."""
    position: dict[Any, int] = {}
    consts: list[Any] = []
    for t in traced:
        for c in t.consts:
            if position.setdefault(_identity(c), len(consts)) == len(consts):
                consts.append(c)
    graphs = []
    for t in traced:
        own = dict(zip([position[_identity(c)] for c in t.consts], range(t.n_consts)))
        args = t.graph.inputs[t.n_consts :]
        unused = [t.graph.inputs[own[i]] if i in own else Var(aval_of(c)) for i, c in enumerate(consts)]
        graphs.append(t.graph.replace(inputs=(*unused, *args), input_names=None))
    return consts, graphs


def _identity(x: Any) -> Any:
    return x.variable if type(x) is Tracer else id(x._data) if type(x) is Array else id(x)
