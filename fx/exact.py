"""The exact beginning of a graph in native code: what is made of whole numbers, and of floats by operations that round once.

A function that is evaluated at once gives the same bits however often it has been called.  Native code has functions of its
own for ``exp`` and the like, which differ from NumPy's in the last bit; but where every operation is exact, or is rounded as IEEE 754 says,
there is one result.  Random bits are such a graph, of a hundred operations on a few numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .backend import compile_graph
from .config import config
from .errors import BackendError
from .ir import Eqn, Graph, Var
from .passes import dce
from .written import written

__all__ = ["begun_natively", "exact_part"]

_MOVING = frozenset(
    ("broadcast_in_dim", "reshape", "transpose", "slice", "concatenate", "expand_dims", "squeeze", "rev", "iota", "bitcast_convert_type", "select_n")
)  # fmt: skip
_OF_WHOLE_NUMBERS = _MOVING | frozenset(
    (
        "add",
        "sub",
        "mul",
        "div",
        "rem",
        "neg",
        "max",
        "min",
        "clamp",
        "and",
        "or",
        "xor",
        "not",
        "shift_left",
        "shift_right_logical",
    )
    + (
        "shift_right_arithmetic",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "population_count",
        "clz",
        "gcd",
        "pow",
        "threefry2x32",
        "convert_element_type",
    )
)
_OF_FLOATS = _MOVING | frozenset(("add", "sub", "mul", "div", "neg", "abs", "eq", "ne", "lt", "le", "gt", "ge"))
_COST = {"threefry2x32": 100}  # in operations of NumPy's
_WORTH_COMPILING = 10

Run = Callable[[Sequence[np.ndarray]], Sequence[Any]]


def _is_exact(e: Eqn) -> bool:
    dtypes = [a.aval.dtype for a in (*e.inputs, *e.outputs)]
    name = e.prim.name
    if all(d.kind in "iub" for d in dtypes):
        return name in _OF_WHOLE_NUMBERS
    plain = all(d.kind in "iub" or (d.kind == "f" and d.itemsize >= 4) for d in dtypes)
    if name == "convert_element_type":
        return plain and dtypes[1].kind == "f"
    return plain and name in _OF_FLOATS


def _constant(graph: Graph) -> set[Eqn]:
    """The equations that depend on no input: each part of a graph makes what it reads of them by itself."""
    found: set[Var] = set()
    eqns = set()
    for e in graph.eqns:
        if e.prim.name in _MOVING and all(a in found for a in e.inputs if isinstance(a, Var)):
            eqns.add(e)
            found.update(e.outputs)
    return eqns


def exact_part(graph: Graph) -> Graph | None:
    """The equations that follow from the inputs by exact operations alone; None where they are too few."""
    constant = _constant(graph)
    found: set[Var] = set(graph.inputs)
    eqns: list[Eqn] = []
    for e in graph.eqns:
        if _is_exact(e) and all(a in found for a in e.inputs if isinstance(a, Var)):
            eqns.append(e)
            found.update(e.outputs)
    if sum(_COST.get(e.prim.name, e.prim.name not in _MOVING) for e in eqns) < _WORTH_COMPILING:
        return None
    own = {v for e in eqns if e not in constant for v in e.outputs}
    rest = [e for e in graph.eqns if not own.issuperset(e.outputs) and e not in constant]
    wanted = dict.fromkeys(a for e in rest for a in e.inputs if isinstance(a, Var) and a in own)
    wanted |= dict.fromkeys(a for a in graph.outputs if isinstance(a, Var) and a in own)
    return dce(Graph(graph.inputs, tuple(eqns), tuple(wanted), graph.name)) if wanted else None


def begun_natively(graph: Graph, part: Graph, constants: Mapping[Var, np.ndarray]) -> Run | None:
    """``run(leaves)`` of a graph, whose exact part is a native program; None where there is none.

    Args:
        constants: the values of the last inputs.
    """
    if config.backend != "native" or "jit" not in sys.modules:
        return None
    try:
        program = compile_graph(part)
    except BackendError:
        return None
    fixed = [constants[v] for v in graph.inputs if v in constants]
    n = len(graph.inputs) - len(fixed)
    own, constant = set(part.eqns), _constant(graph)
    eqns = tuple(e for e in graph.eqns if e not in own or e in constant)
    rest = dce(Graph((*graph.inputs[:n], *part.outputs, *graph.inputs[n:]), eqns, graph.outputs, graph.name))  # type: ignore[arg-type]
    if not rest.eqns and set(part.outputs) == set(graph.outputs) and len(part.outputs) == len(graph.outputs):
        order = [part.outputs.index(a) for a in graph.outputs]

        def whole(leaves: Sequence[np.ndarray]) -> Sequence[Any]:
            outs = program(*leaves, *fixed)
            return [outs[k] for k in order]

        return whole
    places = [f"leaves[{k}]" for k in range(n)] + [f"made[{k}]" for k in range(len(part.outputs))]
    end: Any = written(rest, ("leaves", "made"), places, constants)
    return lambda leaves: end(leaves, program(*leaves, *fixed))
