"""Constant folding: of scalars, and of arrays that repeat one.

An array all of whose elements are one number is known by that number: what arithmetic makes of such arrays is again one, the
``broadcast_in_dim`` of a literal.  So the exponent of a power's gradient, ``y - 1`` and 1 where that would be ``0 * x**-1``, is a
number where ``y`` is, and kernels for constant exponents serve gradients too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import is_complex, is_float
from ..filling import filler
from ..ir import Atom, Aval, Eqn, Graph, Literal, Var, subgraphs
from ..primitive import primitive
from ..sizes import is_sized, late_float
from ..trace import evaluate
from .rewrite import Substitution, copied

__all__ = ["fold"]

_STAY = ("pure_callback", "io_callback", "optimization_barrier")

# Each element of their results is one of their operand.
_SAME_ELEMENTS = frozenset("broadcast_in_dim reshape squeeze expand_dims transpose rev slice".split())
# Of one operation, rounded correctly: a scalar gives the bits that a vector gives, which libraries do not promise of functions.
_BY_PARTS = frozenset("add sub neg eq ne select_n convert_element_type".split())  # of complex numbers, too
_EXACT = _BY_PARTS | frozenset(
    "mul div abs sign floor ceil round is_finite sqrt lt le gt ge max min and or not xor complex".split()
)


def fold(g: Graph) -> Graph:
    """Evaluates equations of literals with scalar results, and elementwise ones of arrays that repeat a literal; takes the
    branch of a ``cond`` and the case of a ``select_n`` whose index is known.

    What follows from sizes that vary becomes a formula, so that it is known before a call as it is in a trace of its own.
    An array is written as the broadcast of its number, never as a constant with elements.  Loops are not run.
    """
    sub, out = Substitution(), []
    repeated: dict[Atom, Literal] = {}  # arrays, with the number that their elements are
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
        if e.prim.name == "select_n" and (case := _case(e, repeated)) is not None:
            sub.map[e.outputs[0]] = case
        elif _foldable(e):
            sub.map.update((v, Literal(x, v.aval)) for v, x in zip(e.outputs, _results(e)))
        elif (number := _element(e, repeated)) is not None:
            repeated[e.outputs[0]] = number
            out.append(_spread(e, number))
        else:
            out.append(e)
    return sub.finish(g, out)


def _case(e: Eqn, repeated: dict[Atom, Literal]) -> Atom | None:
    """The case of a ``select_n`` whose index is one known number, or None."""
    which = repeated.get(e.inputs[0], e.inputs[0])
    if type(which) is not Literal or is_sized(which.value):
        return None
    cases = e.inputs[1:]
    case = cases[min(max(int(which.value), 0), len(cases) - 1)]
    return case if case.aval.same_type(e.outputs[0].aval) else None


def _element(e: Eqn, repeated: dict[Atom, Literal]) -> Literal | None:
    """The number that all elements of an array are, or None."""
    if (e.prim.name not in _SAME_ELEMENTS and e.prim.name not in _EXACT) or not e.outputs[0].aval.shape:
        return None
    operands = tuple([repeated.get(a, a) for a in e.inputs])
    if not all(type(a) is Literal for a in operands):
        return None
    if e.prim.name in _SAME_ELEMENTS:
        return operands[0]  # type: ignore[return-value]
    if e.prim.name not in _BY_PARTS and any(is_complex(a.aval.dtype) for a in operands):
        return None
    array = e.outputs[0].aval
    scalar = e.replace(inputs=operands, outputs=(Var(Aval((), array.dtype, array.weak)),))
    return Literal(_results(scalar)[0], scalar.outputs[0].aval) if _foldable(scalar) else None


def _spread(e: Eqn, number: Literal) -> Eqn:
    """The equation whose result repeats ``number``."""
    if e.prim.name == "broadcast_in_dim" and e.inputs[0] is number:
        return e
    params = {"shape": e.outputs[0].aval.shape, "broadcast_dimensions": ()}
    return e.replace(prim=primitive("broadcast_in_dim"), inputs=(number,), params=params)


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
