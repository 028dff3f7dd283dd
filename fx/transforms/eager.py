"""Reverse mode of what has been evaluated: from an output straight back to the inputs, equation by equation.

Where every value is known (plain ``grad``, nothing traced around it) no tangent graph of the whole program is needed.  For
each kind of equation - primitive, types, parameters, which operands have a derivative - its jvp rule is linearized and
transposed once into a small graph

    (operands, results, cotangents of the results) -> cotangents of the operands

which is written out as a Python function of NumPy calls and kept.  The backward pass calls these functions.  The rules
are the same jvp and transpose rules as everywhere; cotangents are added in the same order, last use first.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import numpy as np

from .. import silence
from ..ir import Atom, Eqn, Graph, Var
from ..passes import optimize
from ..primitive import Primitive
from ..trace import (
    Applied,
    Builder,
    TapeEntry,
    Tracer,
    concrete_value,
    source_override,
    state,
    trace_flat,
)
from ..written import written
from .transpose import transpose_graph

__all__ = ["pull_back"]

PullBack = tuple[Callable[..., Sequence[Any]], tuple[int, ...]]  # and the operands that it gives cotangents of


def pull_back(
    tape: list[TapeEntry] | None, known: MutableMapping[Var, np.ndarray], wrt: Sequence[Var], output: Atom, seed: np.ndarray
) -> list[np.ndarray | None] | None:  # fmt: skip
    """Cotangents of the variables ``wrt`` (None: zero), for the cotangent ``seed`` of ``output``.

    Values are let go when the walk is past them: ``tape`` and ``known`` are empty afterwards.  Returns None, and has done
    nothing, where the general way is needed: there is no tape, as a value is not known or an operation holds a function.
    """
    if tape is None:
        return None
    known.clear()
    cts: dict[Any, Any] = {output: seed}
    take, add = cts.pop, np.add
    token = silence.off()
    try:
        while tape:
            e, applied, mask, values, results = tape.pop()
            outputs = e[3]
            if len(outputs) == 1:  # the common case
                arrived = (take(outputs[0], None),)
                if arrived[0] is None:
                    continue
                found = applied.pulls.get(mask) or _of_equation(e, applied, mask, (True,))  # type: ignore[union-attr]
            else:
                given = tuple([v in cts for v in outputs])
                if True not in given:
                    continue
                arrived = tuple([take(v) for v in outputs if v in cts])
                found = applied.pulls.get((mask, given)) or _of_equation(e, applied, mask, given)  # type: ignore[union-attr]
            back, operands = found
            inputs = e[1]
            for k, c in zip(operands, back(values, results, arrived)):
                a = inputs[k]
                cts[a] = add(cts[a], c) if a in cts else c
    finally:
        silence.back(token)
    return [_settled(cts[v], v.aval.dtype) if v in cts else None for v in wrt]


def _settled(ct: Any, dtype: np.dtype) -> np.ndarray:
    return ct if type(ct) is np.ndarray and ct.dtype is dtype else np.asarray(ct, dtype)


def _of_equation(e: Eqn, applied: Applied, mask: tuple[bool, ...], given: tuple[bool, ...]) -> PullBack:
    """Made once for each kind of equation, and kept with what else is known of it by its types."""
    old = state.scope
    state.scope = e.scope or old
    try:
        with source_override(e.source):
            graph, nonzero, captures = _transposed(e, mask, given)
    finally:
        state.scope = old
    operands = [k for k, m in enumerate(mask) if m]
    where = [f"operands[{k}]" for k in range(len(e.inputs))] + [f"results[{k}]" for k in range(len(e.outputs))]
    n = len(graph.inputs) - len(captures)
    where += [f"cts[{k}]" for k in range(n - len(where))]
    constants = dict(zip(graph.inputs[n:], map(concrete_value, captures)))
    back = (
        written(graph, ("operands", "results", "cts"), where, constants),
        tuple([k for k, nz in zip(operands, nonzero) if nz]),
    )
    assert applied.pulls is not None
    applied.pulls[mask if len(given) == 1 else (mask, given)] = back
    return back


def _transposed(e: Eqn, mask: tuple[bool, ...], given: tuple[bool, ...]) -> tuple[Graph, list[bool], list[Any]]:
    """The graph of the module docstring, which operands it has a cotangent for, and the values of its captures."""
    prim: Primitive = e.prim  # type: ignore[assignment]
    n, m = len(e.inputs), len(e.outputs)
    avals = [a.aval for a in (*e.inputs, *e.outputs)]
    avals += [v.aval.strong() for v, g in zip(e.outputs, given) if g]
    nonzero: list[bool] = []

    def f(*args: Any) -> list[Any]:
        primals, outs, cts = args[:n], args[n : n + m], iter(args[n + m :])
        t = Builder("linearize", prim.name)
        tangents = [t.input(a.aval.strong()) if w else None for a, w in zip(e.inputs, mask)]
        t_out = prim.rule("jvp")(primals, tuple(tangents), outs if prim.multiple_results else outs[0], **e.params)
        t_out = t_out if prim.multiple_results else (t_out,)
        used = [next(cts) if g else None for g in given]
        pairs = [(x, c) for x, c in zip(t_out, used) if x is not None and c is not None]
        linear, residuals = t.close([x for x, _ in pairs])
        k = sum(mask)
        found = transpose_graph(linear, [i < k for i in range(len(linear.inputs))], residuals, [c for _, c in pairs])
        nonzero.extend(c is not None for c in found)
        return [c for c in found if c is not None]

    graph, captures = trace_flat(f, avals, kind="transpose", name=prim.name)
    assert not any(type(c) is Tracer for c in captures)
    return optimize(graph), nonzero, captures
