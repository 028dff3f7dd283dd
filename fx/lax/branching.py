"""Conditionals: cond and switch.

Every branch is traced; one of them runs.  Under ``vmap`` of a batched predicate all run, and each example takes its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..api import device_put
from ..api.bodies import Traced, bind_control, converted, error, leaves_of, of_type, same_operands, trace_body
from ..config import config
from ..dtypes import bool_, int32, is_integer, promote
from ..errors import BranchTypeError, DTypeError, RefError
from ..ir import Aval
from ..mutable import Carried, carrying
from ..primitives.elementwise import clamp, convert_element_type, ne
from ..trace import aval_of, concrete_value
from ..traceback import user_frames
from ..transforms.cond import cond_p
from ..transforms.flat import argument_count_fault, argument_names, check_leaf, function_name

__all__ = ["cond", "cond_p", "switch"]

_MISSING: Any = object()


@user_frames
def cond(
    pred: Any,
    true_fun: Any = None,
    false_fun: Any = None,
    *operands: Any,
    operand: Any = _MISSING,
    linear: Any = None,
    true_operand: Any = _MISSING,
    false_operand: Any = _MISSING,
) -> Any:
    """``true_fun(*operands)`` if ``pred`` else ``false_fun(*operands)``, decided when the program runs.

    Also ``cond(pred, true_operand, true_fun, false_operand, false_fun)``, where each branch has an operand of its own.

    Args:
        pred: a scalar; a number is true unless it is zero.
        true_fun, false_fun: traced both; their results have one structure, and equal shapes and dtypes.
        operands: any pytrees.
        operand: one operand, by name.
        linear: accepted for compatibility.

    Raises:
        BranchTypeError: the branches return values of different types.

    >>> import fx
    >>> fx.lax.cond(3 > 2, lambda x: x + 1, lambda x: x - 1, 10.0)
    Array(11., dtype=float32, weak_type=True)
    """
    if not callable(true_fun) and len(operands) == 2 and callable(operands[1]):
        true_operand, true_fun, (false_operand, false_fun) = true_fun, false_fun, operands
        operands = ()
    if true_operand is not _MISSING or false_operand is not _MISSING:
        on_true, on_false = true_fun, false_fun
        return _choose(
            "cond", _truth(pred), [lambda x, y: on_false(y), lambda x, y: on_true(x)], (true_operand, false_operand),
            [function_name(on_false), function_name(on_true)],
        )  # fmt: skip
    if operand is not _MISSING:
        if operands:
            raise error(BranchTypeError, "cond: give either operands by position or operand=, not both")
        operands = (operand,)
    return _choose("cond", _truth(pred), [false_fun, true_fun], operands)


@user_frames
def switch(
    index: Any, branches: Sequence[Callable[..., Any]], *operands: Any, operand: Any = _MISSING, linear: Any = None
) -> Any:
    """``branches[index](*operands)``, with the index clamped to the branches there are.

    Args:
        index: an integer scalar.
        branches: traced all; their results have one structure, and equal shapes and dtypes.
        operand: one operand, by name.
        linear: accepted for compatibility.

    >>> import fx
    >>> fx.lax.switch(2, [lambda x: x, lambda x: -x, lambda x: x * x], 3.0)
    Array(9., dtype=float32, weak_type=True)
    """
    if callable(branches) or not isinstance(branches, Iterable):
        raise error(
            BranchTypeError, f"switch takes a list of branches, switch(index, [f, g], *operands); found {branches!r}"
        )
    branches = list(branches)
    if operand is not _MISSING:
        operands = (*operands, operand)
    if not branches:
        raise error(BranchTypeError, "switch: there is no branch to choose from")
    found = aval_of(check_leaf(index, "the index of switch"))
    if found.shape or not is_integer(found.dtype):
        raise error(DTypeError, f"switch: the index must be an integer scalar; found {found}")
    last = len(branches) - 1
    if (
        found.dtype.itemsize >= 4 and found.dtype != int32
    ):  # what would not fit int32 is clamped where it still is exact
        index = clamp(np.zeros((), found.dtype), index, np.asarray(last, found.dtype))
    return _choose("switch", of_type(index, Aval((), int32)), branches, operands)


def _truth(pred: Any) -> Any:
    """A predicate as the index of a branch."""
    if callable(pred):
        raise error(BranchTypeError, f"cond takes the predicate first, cond(pred, f, g, *operands); found {pred!r}")
    found = aval_of(check_leaf(pred, "the predicate of cond"))
    if found.shape:
        raise error(
            BranchTypeError,
            f"cond: the predicate must be a scalar; found {found}. Reduce it (any(), all()), or use where for a choice by"
            " element.",
        )
    if found.dtype != bool_:
        pred = ne(pred, np.zeros((), found.dtype))
    return convert_element_type(pred, int32)


def _choose(
    what: str,
    index: Any,
    branches: Sequence[Callable[..., Any]],
    operands: Sequence[Any],
    names: Sequence[str] | None = None,
) -> Any:
    names = names or [function_name(f) if callable(f) else "" for f in branches]
    try:
        return _chosen(what, index, branches, operands, names)
    except RefError as e:

        def run(refs: Carried, given: tuple[Any, ...]) -> Any:
            out, values = _chosen(what, index, [refs.closed(f) for f in branches], given, names)
            refs.write(values)
            return out

        return carrying(e, run, tuple(operands))


def _chosen(
    what: str, index: Any, branches: Sequence[Callable[..., Any]], operands: Sequence[Any], names: Sequence[str]
) -> Any:
    for f in branches:
        if not callable(f):
            raise error(BranchTypeError, f"{what}: every branch must be a function; found {f!r}")
        if fault := argument_count_fault(f, len(operands)):
            given = f"{len(operands) or 'no'} operand{'s' * (len(operands) != 1)}"
            raise error(
                BranchTypeError,
                f"{what} calls each branch with its {given}; {function_name(f)!r} does not fit: {fault}.",
            )
    n = concrete_value(index)
    if config.disable_jit and n is not None:
        return branches[min(max(int(n), 0), len(branches) - 1)](*device_put(tuple(operands)))
    leaves = leaves_of("operand ", tuple(operands))
    avals = [aval_of(x) for x in leaves]
    once: dict[int, Traced] = {}  # a function that is given several times is traced once
    for f, name in zip(branches, names):
        if id(f) not in once:
            once[id(f)] = trace_body(what, f, tuple(operands), avals, argument_names(f, operands, {}), name)
    traced = [once[id(f)] for f in branches]
    traced = _same_types(what, traced, names)
    consts, graphs = same_operands(traced)
    outs = bind_control(cond_p, [index, *consts, *leaves], branches=tuple(graphs))
    return tree.unflatten(traced[0].out_tree, outs)


def _same_types(what: str, traced: Sequence[Traced], names: Sequence[str]) -> list[Traced]:
    """The branches with results of equal types: weak ones take the type of the strong ones beside them."""
    first = traced[0].out_tree
    for t, name in zip(traced[1:], names[1:]):
        if t.out_tree != first:
            raise error(
                BranchTypeError,
                f"{what}: {names[0]!r} returns {first}, {name!r} returns {t.out_tree}. All branches must return one structure.",
            )
    paths = [tree.keystr(p) for p, _ in tree.leaves_with_path(tree.unflatten(first, range(first.num_leaves)))]
    joint = []
    for path, avals in zip(paths, zip(*[t.graph.out_avals for t in traced])):
        dtype, weak = promote(*[(a.dtype, a.weak) for a in avals])
        if any(a.shape != avals[0].shape or (a.dtype != dtype and not a.weak) for a in avals):
            listed = ", ".join(f"{n!r}: {a}" for n, a in zip(names, avals))
            raise error(
                BranchTypeError,
                f"{what}: the branches return different types for output{path} ({listed})."
                " Convert (astype) or broadcast the results to one type.",
            )
        joint.append(Aval(avals[0].shape, dtype, weak))
    return [t if all(a.same_type(j) for a, j in zip(t.graph.out_avals, joint)) else converted(t, joint) for t in traced]
