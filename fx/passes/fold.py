"""Constant folding of scalars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import is_complex, is_float
from ..filling import filler
from ..ir import Atom, Eqn, Graph, Literal, Var, subgraphs
from ..sizes import is_sized, late_float
from ..trace import evaluate
from .rewrite import Substitution, copied

__all__ = ["fold"]

_STAY = ("pure_callback", "io_callback", "optimization_barrier")


def fold(g: Graph) -> Graph:
    """Evaluates equations whose operands are all literals and whose results are all scalars; takes the branch of a
    ``cond`` whose index is a literal.

    What follows from sizes that vary becomes a formula, so that it is known before a call as it is in a trace of its own.
    Arrays are never folded: a constant of any size beyond a scalar is computed where it is used.  Loops are not run.
    """
    sub, out = Substitution(), []
    todo: list[Eqn | tuple[tuple[Var, ...], list[Atom]]] = list(reversed(g.eqns))
    while todo:
        e = todo.pop()
        if not isinstance(e, Eqn):  # the end of a branch: its results stand for those of the cond
            sub.map.update(zip(e[0], sub.atoms(e[1])))
            continue
        e = sub.apply(e)
        if e.prim.name == "cond" and type(e.inputs[0]) is Literal and not is_sized(e.inputs[0].value):
            branches = e.params["branches"]
            eqns, results = copied(branches[min(max(int(e.inputs[0].value), 0), len(branches) - 1)], e.inputs[1:])
            todo += [(e.outputs, results), *reversed(eqns)]
            continue
        if not _foldable(e):
            out.append(e)
            continue
        sub.map.update((v, Literal(x, v.aval)) for v, x in zip(e.outputs, _results(e)))
    return sub.finish(g, out)


def _foldable(e: Eqn) -> bool:
    if e.effect or not e.inputs or e.prim.name in _STAY or subgraphs(e.params):
        return False
    if not all(type(a) is Literal for a in e.inputs) or not all(v.aval.shape == () for v in e.outputs):
        return False
    return not _sized(e) or _has_formula(e)


def _has_formula(e: Eqn) -> bool:
    """Whether the result can be asked for again as a Python float."""
    return (
        len(e.outputs) == 1
        and is_float(e.outputs[0].aval.dtype)
        and not any(is_complex(a.aval.dtype) for a in e.inputs)
        and filler(e.params, {}) is None
    )


def _sized(e: Eqn) -> list[Any]:
    """The operands that follow from sizes which vary."""
    return [a.value for a in e.inputs if is_sized(a.value)]  # type: ignore[union-attr]


def _results(e: Eqn) -> Sequence[Any]:
    """What the reference says; where an operand follows from sizes, a formula that asks it again."""
    operands: Any = e.inputs
    if not _sized(e):
        return evaluate(e.prim, [np.asarray(a.value) for a in operands], e.params)  # type: ignore[arg-type]

    def at(*values: Any) -> float:
        with np.errstate(all="ignore"):
            arrays = [np.asarray(x, a.dtype) for x, a in zip(values, operands)]
            return float(evaluate(e.prim, arrays, e.params)[0])  # type: ignore[arg-type]

    return [late_float(at, *[a.value if is_sized(a.value) else a.value.item() for a in operands])]
