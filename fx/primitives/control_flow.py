"""Control flow: scan, while and cond, each one equation that holds closed graphs.

    scan    graph: (consts, carry, x) -> (carry, y), ``length`` times
    while   cond: (cond consts, carry) -> bool,  body: (body consts, carry) -> carry
    cond    branches: operands -> outputs, one of which runs

A graph's free variables are operands of its equation (*consts*).  What stands here are types and the NumPy reference;
the derivatives and batched forms, which are transforms of the graphs, stand in ``fx.transforms.scan``, ``while_loop``
and ``cond``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..dtypes import is_integer
from ..errors import GraphError
from ..interpret import run_graph
from ..ir import Aval, Graph
from ..primitive import Primitive

__all__ = ["cond_p", "scan_p", "while_p"]

scan_p = Primitive("scan", multiple_results=True)
while_p = Primitive("while", multiple_results=True)
cond_p = Primitive("cond", multiple_results=True)


def _check(name: str, what: str, found: Sequence[Aval], want: Sequence[Aval]) -> None:
    if len(found) != len(want) or not all(f.same_type(w) for f, w in zip(found, want)):
        listed = [", ".join(map(str, avals)) for avals in (found, want)]
        raise GraphError(f"{name}: its {what} are ({listed[0]}), its graph says ({listed[1]})")


# -------------------------------------------------------------------------------------------- scan


@scan_p.def_abstract
def _scan_abstract(
    *avals: Aval, graph: Graph, n_consts: int, n_carry: int, length: int, reverse: bool, unroll: int
) -> tuple[Aval, ...]:
    n = n_consts + n_carry
    slices = [a.with_(shape=(length, *a.shape)) for a in graph.in_avals[n:]]
    _check("scan", "operands", avals, [*graph.in_avals[:n], *slices])
    carry = graph.out_avals[:n_carry]  # weak as it goes out
    _check("scan", "carries", carry, graph.in_avals[n_consts:n])
    return (*carry, *(a.with_(shape=(length, *a.shape)) for a in graph.out_avals[n_carry:]))


@scan_p.def_impl
def _scan_impl(
    *args: np.ndarray, graph: Graph, n_consts: int, n_carry: int, length: int, reverse: bool, unroll: int
) -> list[np.ndarray]:
    consts, carry, xs = args[:n_consts], list(args[n_consts : n_consts + n_carry]), args[n_consts + n_carry :]
    ys = [np.empty((length, *a.shape), a.dtype) for a in graph.out_avals[n_carry:]]
    for i in range(length - 1, -1, -1) if reverse else range(length):
        outs = run_graph(graph, [*consts, *carry, *(np.asarray(x[i]) for x in xs)])
        carry = outs[:n_carry]
        for y, o in zip(ys, outs[n_carry:]):
            y[i] = o
    return [*carry, *ys]


# ------------------------------------------------------------------------------------------- while


@while_p.def_abstract
def _while_abstract(
    *avals: Aval, cond: Graph, body: Graph, n_cond_consts: int, n_body_consts: int, max_steps: int | None
) -> tuple[Aval, ...]:
    n = n_cond_consts + n_body_consts
    carry = body.in_avals[n_body_consts:]
    _check("while", "operands", avals, [*cond.in_avals[:n_cond_consts], *body.in_avals])
    _check("while", "carries", avals[n:], cond.in_avals[n_cond_consts:])
    _check("while", "carries", body.out_avals, carry)
    _check("while", "predicates", cond.out_avals, [Aval((), np.dtype(bool))])
    return body.out_avals  # weak as they go out


@while_p.def_impl
def _while_impl(
    *args: np.ndarray, cond: Graph, body: Graph, n_cond_consts: int, n_body_consts: int, max_steps: int | None
) -> list[np.ndarray]:
    n = n_cond_consts + n_body_consts
    cond_consts, body_consts, carry = args[:n_cond_consts], args[n_cond_consts:n], list(args[n:])
    while run_graph(cond, [*cond_consts, *carry])[0]:
        carry = run_graph(body, [*body_consts, *carry])
    return carry


# -------------------------------------------------------------------------------------------- cond


@cond_p.def_abstract
def _cond_abstract(index: Aval, *avals: Aval, branches: tuple[Graph, ...]) -> tuple[Aval, ...]:
    if index.shape or not is_integer(index.dtype):
        raise GraphError(f"cond: its index is {index}; it must be an integer scalar")
    outputs = [branch.out_avals for branch in branches]
    for branch, out in zip(branches, outputs):
        _check("cond", "operands", avals, branch.in_avals)
        _check("cond", "outputs", outputs[0], out)
    return tuple([same[0].with_(weak=all(a.weak for a in same)) for same in zip(*outputs)])


@cond_p.def_impl
def _cond_impl(index: np.ndarray, *args: np.ndarray, branches: tuple[Graph, ...]) -> list[np.ndarray]:
    return run_graph(branches[min(max(int(index), 0), len(branches) - 1)], args)
