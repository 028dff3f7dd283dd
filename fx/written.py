"""A graph written out as a Python function of NumPy calls: what runs again and again where every value is known.

The interpreter (``interpret``) looks each equation's operands up; here they are local variables, and the calls are those of the
same NumPy references, in the same order: the same bits.  A caller turns NumPy's warnings off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import silence
from .ir import Atom, Graph, Literal, Var, subgraphs
from .trace import reference_of

__all__ = ["written"]

# elementwise operations whose NumPy reference takes a scalar in place of an array full of it
_BROADCASTING = frozenset(
    (
        "add",
        "sub",
        "mul",
        "div",
        "pow",
        "max",
        "min",
        "and",
        "or",
        "xor",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "select_n",
    )
    + ("shift_left", "shift_right_logical", "shift_right_arithmetic")
)

_MOST_BYTES = 1 << 16  # of arrays that a function keeps


def written(
    graph: Graph, parameters: Sequence[str], inputs: Sequence[str], constants: Mapping[Var, Any]
) -> Callable[..., Sequence[Any]]:
    """The function; it returns a tuple.  Values are let go behind the equation that is the last to read them.

    Args:
        parameters: names of the function's parameters.
        inputs: for the graph's inputs, expressions of the parameters.
        constants: the values of its last inputs, which the function keeps.
    """
    return _Writer(graph, constants).function(parameters, inputs)


class _Writer:
    def __init__(self, graph: Graph, constants: Mapping[Var, Any]) -> None:
        self.graph = graph
        self.scope: dict[str, Any] = {"asarray": np.asarray}
        self.names: dict[Var, str] = {v: f"x{k}" for k, v in enumerate(graph.inputs)}
        self.scalars: dict[Atom, Atom] = {}  # what is a literal, repeated
        self.fixed: set[str] = set()  # names of arrays that are always the same
        self.bytes = 0  # that those hold
        for v, value in constants.items():
            self.scope[self.names[v]] = value

    def name(self, a: Atom) -> str:
        if isinstance(a, Literal):
            self.scope.setdefault(f"c{id(a)}", np.asarray(a.value, a.aval.dtype))
            return f"c{id(a)}"
        return self.names[a]

    def function(self, parameters: Sequence[str], inputs: Sequence[str]) -> Callable[..., Sequence[Any]]:
        graph = self.graph
        calls = [line for k in range(len(graph.eqns)) if (line := self.call(k))]
        result = f"    return ({' '.join(self.name(a) + ',' for a in graph.outputs)})"
        given = [f"    {self.names[v]} = {where}" for v, where in zip(graph.inputs, inputs)]
        lines = [f"def run({', '.join(parameters)}):", *_kept(given, calls, result), result]
        exec(compile("\n".join(lines), f"{__file__} (written for {graph.name})", "exec"), self.scope)
        run: Callable[..., Sequence[Any]] = self.scope["run"]
        return run

    def call(self, k: int) -> str:
        """The line of an equation; nothing, for one that only repeats a scalar."""
        e = self.graph.eqns[k]
        operands: list[Atom] = list(e.inputs)
        literals = [self.scalars.get(a, a) for a in operands]
        if e.prim.name == "broadcast_in_dim" and isinstance(literals[0], Literal):
            self.scalars[e.outputs[0]] = literals[0]
            if e.outputs[0] not in self.graph.outputs:
                return self.repeated(k, literals[0])
        if e.prim.name in _BROADCASTING and not all(isinstance(a, Literal) for a in literals):
            operands = literals
        types = [a if isinstance(a, Literal) else a.aval for a in operands]
        f = reference_of(e.prim, types, e.params)  # type: ignore[arg-type]
        if self.folds(k, operands):
            return self.folded(k, f, operands)
        self.scope[f"f{k}"] = f
        for j, v in enumerate(e.outputs):
            self.names[v] = f"v{k}_{j}"
        results = ", ".join(self.names[v] for v in e.outputs)
        call = f"f{k}({', '.join(map(self.name, operands))})"
        if e.prim.multiple_results:  # type: ignore[attr-defined]
            return f"    {results}, = {call}"
        if not e.outputs[0].aval.shape:
            call = f"asarray({call})"  # NumPy gives scalars, which references do not take
        return f"    {results} = {call}"

    def folds(self, k: int, operands: Sequence[Atom]) -> bool:
        """Whether an equation gives always the same small array, which is no result of the graph."""
        e = self.graph.eqns[k]
        known = all(isinstance(a, Literal) or self.names[a] in self.fixed for a in operands)
        small = sum(v.aval.nbytes for v in e.outputs) <= _MOST_BYTES - self.bytes
        own = not any(v in self.graph.outputs for v in e.outputs)
        return known and small and own and e.effect is None and not subgraphs(e.params)

    def folded(self, k: int, f: Callable[..., Any], operands: Sequence[Atom]) -> str:
        e = self.graph.eqns[k]
        token = silence.off()
        try:
            made = f(*[self.scope[self.name(a)] for a in operands])
        finally:
            silence.back(token)
        for j, (v, value) in enumerate(zip(e.outputs, made if e.prim.multiple_results else (made,))):  # type: ignore[attr-defined]
            name = self.names[v] = f"r{k}_{j}"
            self.scope[name] = np.asarray(value)
            self.fixed.add(name)
            self.bytes += v.aval.nbytes
        return ""

    def repeated(self, k: int, scalar: Literal) -> str:
        """A scalar of the text, repeated: a view that takes no memory, made now."""
        (v,) = self.graph.eqns[k].outputs
        self.names[v] = f"r{k}"
        value = np.asarray(scalar.value, scalar.aval.dtype)
        self.scope[f"r{k}"] = np.broadcast_to(value, v.aval.shape)
        self.fixed.add(f"r{k}")
        return ""


def _kept(given: list[str], calls: list[str], result: str) -> list[str]:
    """The lines whose results are read (not so: arguments, scalars that were passed as they are), each followed by one that
    lets go what nobody reads any more."""
    kept: list[str] = []
    read = _names_in(result)
    for line in reversed(given + calls):
        targets, expression = line.split(" = ", 1)
        made = _names_in(targets)
        if len(made) == 1 and not made & read:
            continue
        last = sorted(n for n in (_names_in(expression) | made) - read if n[0] == "v")
        kept += [f"    del {', '.join(last)}"] if last else []
        kept.append(line)
        read |= _names_in(expression)
    return kept[::-1]


def _names_in(line: str) -> frozenset[str]:
    return frozenset(line.replace("(", " ").replace(")", " ").replace(",", " ").split())
