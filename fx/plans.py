"""Functions that are made of many operations, on known arrays: the operations alone, without what finds out which they are.

``softplus(x)`` is seven operations on arrays; looking at operands, promotion, broadcasting and checks around them take ten times
as long as NumPy needs for three elements.  All that depends on types alone.  ``planned`` makes a function remember it: a
call with arguments of a kind that has been seen before is traced once (as under jit, so the function sees no values), the
graph is optimised and written out as a function of NumPy calls (``written``), and from then on a call runs that.  The
NumPy references are the same, and so are the bits.

Where an operand is traced and its value known (under plain ``grad``, ``jvp``, ``vjp``), the equations of the same trace are
recorded and evaluated again, one by one, as a recipe (``trace.Recipe``): not optimised, as derivatives are taken of them.

A *kind* is the shape, dtype and weakness of each array, and everything else (numbers, strings, shapes) as it is.  The first call
of a kind goes the long way: what is called once is not worth a trace.  So does a call that holds something else
(an object), that stands in a trace or under changed options, or whose trace fails, as it asks for values.

Only functions that do with a value the same as with a traced one may be planned.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from math import copysign
from typing import Any, TypeVar

import numpy as np

from . import silence, tree
from .array import Array
from .config import ALERT, config
from .dtypes import SUPPORTED
from .exact import begun_natively, exact_part
from .ir import Graph, aval_of_array
from .passes import dce, optimize
from .trace import Recipe, Tracer, concrete_value, operands_of, trace_flat
from .traceback import shorten
from .written import written

__all__ = ["holds_array", "planned", "replayed"]

_MOST_SEEN = 1024  # kinds of calls that one function remembers
_MOST_BYTES = 1 << 16  # of a result that is kept for calls without arrays
_MOST_PLANNED = (
    1 << 22
)  # bytes of operands and results; of larger ones the work takes longer than finding out what it is
_WORTH_COMPILING = 64  # calls
_STATIC = frozenset((int, bool, str, bytes, type(None), type(...), *(type(np.dtype(c)) for c in "?bhilqBHILQefdFD")))
_NUMPY_SCALARS = frozenset(np.dtype(c).type for c in "?bhilqBHILQefdFD")
_holders: dict[type, str] = {}  # classes around one array, and where they keep it
_ARRAYS = frozenset((Array, Tracer, np.ndarray))
_SEEN = object()
_NEVER = object()

F = TypeVar("F", bound=Callable[..., Any])


def holds_array(attribute: str) -> Callable[[type], type]:
    """Class decorator: an object is made of one array, ``cls(array)``, which it keeps in an attribute."""

    def note(cls: type) -> type:
        _holders[cls] = attribute
        return cls

    return note


def planned(f: F) -> F:
    """Decorator: calls of a kind that has been seen run what they have been planned to (see the module)."""
    plans: dict[Any, Any] = {}

    @functools.wraps(f)
    def wrapper(*args: Any, **options: Any) -> Any:
        try:
            return f(*args, **options) if ALERT else _call(f, plans, args, options)
        except BaseException as e:
            shorten(e)
            raise

    return _with_plans(wrapper, plans)


def replayed(f: F) -> F:
    """``planned``, for calls of a traced operand, one of the first two or in a list: for known ones the function has a short
    way of its own."""
    plans: dict[Any, Any] = {}

    @functools.wraps(f)
    def wrapper(*args: Any, **options: Any) -> Any:
        try:
            if args and not ALERT:
                first = type(args[0])
                listed = (first is list or first is tuple) and Tracer in map(type, args[0])
                if listed or first is Tracer or (len(args) > 1 and type(args[1]) is Tracer):
                    return _call(f, plans, args, options)
            return f(*args, **options)
        except BaseException as e:
            shorten(e)
            raise

    return _with_plans(wrapper, plans)


def _with_plans(wrapper: Any, plans: dict[Any, Any]) -> Any:
    wrapper.hides_frames = True
    wrapper.plans = plans
    return wrapper


def _call(f: Callable[..., Any], plans: dict[Any, Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    kind: list[Any] = [config.epoch]
    leaves: list[Any] = []
    if not _describe(args, kind, leaves) or (options and not _describe_options(options, kind, leaves)):
        return f(*args, **options)
    key = tuple(kind)
    run = plans.get(key)
    if run is None:
        _note(plans, key)
    elif run is not _NEVER:
        if run is _SEEN:
            run = plans[key] = _plan(f, args, options, any(type(x) is Tracer for x in leaves))
        if type(run) is _Replay:
            if run.only is not None:  # one equation of one operand, which is the traced one
                prim, params = run.only
                return leaves[0].builder.record_one(prim, leaves[0], **params)
            found = run(_arrays_of([*args, *options.values()]))
            if found is not None:
                return found
        elif run is not _NEVER:
            return run(leaves)
    return f(*args, **options)


def _note(plans: dict[Any, Any], key: Any) -> None:
    if key[0] != key[0]:  # an epoch of NaN: settings of a moment
        return
    if len(plans) >= _MOST_SEEN:
        plans.clear()
    plans[key] = _SEEN


# ----------------------------------------------------------------------------------- what a call is


def _describe(values: Sequence[Any], kind: list[Any], leaves: list[np.ndarray]) -> bool:
    """Adds to a call's kind what the values are, and to its leaves the arrays among them; False for what has no kind."""
    for x in values:
        t = type(x)
        if t is Array:
            b = x._buffer
            if b is None:
                return False
            leaves.append(b)
            kind += (t, b.shape, b.dtype, x.weak_type)
        elif t is Tracer:
            if not x.builder.is_plain:
                return False
            aval = x.variable.aval
            leaves.append(x)
            kind += (t, aval.shape, aval.dtype, aval.weak)
        elif t in _STATIC:
            kind += (t, x)
        elif t is float:
            kind += (t, x, copysign(1.0, x)) if x == 0.0 else (t, x)
        elif t is complex:
            kind += (t, repr(x))  # which shows the signs of zeros
        elif t is np.ndarray:
            if x.dtype not in SUPPORTED:
                return False
            leaves.append(x)
            kind += (t, x.shape, x.dtype)
        elif t is tuple or t is list:
            kind += (t, len(x))
            if not _describe(x, kind, leaves):
                return False
        elif t in _holders:
            kind.append(t)
            if not _describe((getattr(x, _holders[t]),), kind, leaves):
                return False
        elif t in _NUMPY_SCALARS:
            kind += (t, x.tobytes())
        elif isinstance(x, type):  # a dtype by its name: fnp.float32
            kind += (t, x)
        elif t is slice:
            kind.append(t)
            if not _describe((x.start, x.stop, x.step), kind, leaves):
                return False
        else:
            return False
    return True


def _describe_options(options: dict[str, Any], kind: list[Any], leaves: list[np.ndarray]) -> bool:
    kind += options
    return _describe(tuple(options.values()), kind, leaves)


def _replaced(x: Any, arrays: Any) -> Any:
    """An argument with other arrays in place of those that ``_describe`` found, in its order."""
    t = type(x)
    if t in _ARRAYS:
        return next(arrays)
    if t is tuple or t is list:
        return t([_replaced(v, arrays) for v in x])
    if t in _holders:
        return t(_replaced(getattr(x, _holders[t]), arrays))
    if t is slice:
        return slice(*[_replaced(v, arrays) for v in (x.start, x.stop, x.step)])
    return x


# --------------------------------------------------------------------------------------- the plan


def _arrays_of(x: Any) -> list[Any]:
    t = type(x)
    if t in _ARRAYS:
        return [x]
    if t is tuple or t is list:
        return [a for v in x for a in _arrays_of(v)]
    if t in _holders:
        return _arrays_of(getattr(x, _holders[t]))
    return _arrays_of((x.start, x.stop, x.step)) if t is slice else []


class _Replay:
    """What records the equations of a graph again, in the builder of the traced operands."""

    def __init__(self, graph: Graph, captures: Sequence[Any], out_tree: tree.TreeDef) -> None:
        self.recipe = Recipe(graph)
        self.captures = captures
        self.out_tree = None if out_tree is tree.LEAF else out_tree
        step = graph.eqns[0] if self.recipe.known and len(graph.eqns) == 1 and self.out_tree is None else None
        alone = step is not None and step.inputs == tuple(graph.inputs) and len(step.inputs) == 1 and not captures
        self.only = (step.prim, step.params) if step is not None and alone else None

    def __call__(self, arrays: list[Any]) -> Any:
        """The result; None where the operands are not all known, or are traced by several builders."""
        first = arrays[0]
        builder = first.builder if type(first) is Tracer else next(x.builder for x in arrays if type(x) is Tracer)
        found = operands_of(builder, [*arrays, *self.captures] if self.captures else arrays)
        if found is None:
            return None
        outs = self.recipe.follow(builder, *found)
        return outs[0] if self.out_tree is None else tree.unflatten(self.out_tree, outs)


def _plan(f: Callable[..., Any], args: Sequence[Any], options: dict[str, Any], traced: bool) -> Any:
    """``run(leaves)`` for calls of this kind, or a ``_Replay`` where an operand is traced; ``_NEVER`` if there can be none."""
    given = [*args, *options.values()]
    arrays = _arrays_of(given)
    if not arrays:
        return _remembered(*tree.flatten(f(*args, **options)))
    avals = [aval_of_array(a.shape, a.dtype, type(a) is not np.ndarray and a.weak_type) for a in arrays]
    structure: list[tree.TreeDef] = []

    def flat(*tracers: Any) -> list[Any]:
        xs = iter(tracers)
        replaced = [_replaced(v, xs) for v in given]
        out = f(*replaced[: len(args)], **dict(zip(options, replaced[len(args) :])))
        leaves, treedef = tree.flatten(out)
        if not all(type(x) is Tracer for x in leaves):
            raise TypeError("a result that no operation gives")
        structure.append(treedef)
        return leaves

    try:
        graph, captures = trace_flat(flat, avals, kind="plan", name=getattr(f, "__name__", "function"))
    except Exception:  # the long way says what is wrong, if anything is: a function may ask for values
        return _NEVER
    if any(type(c) is Tracer for c in captures) or graph.effects:
        return _NEVER
    if sum(a.nbytes for a in (*graph.in_avals, *graph.out_avals)) > _MOST_PLANNED:
        return _NEVER
    if traced:
        replay = _Replay(dce(graph), captures, structure[0])
        return replay if replay.recipe.known else _NEVER
    weak = [a.weak for a in graph.out_avals]  # an optimised graph may give an operand of another weakness
    run = _Run(optimize(graph), captures, structure[0], weak)
    operands = [a if type(a) is np.ndarray else a._data for a in arrays]
    shared = _shared(run(operands), operands)
    if shared != _shared(f(*args, **options), operands):
        # NumPy's arrays may be written to: which results would change with them must not depend on the call
        return _NEVER
    run.may_begin_natively = not any(shared)
    return run


def _shared(results: Any, operands: Sequence[np.ndarray]) -> list[bool]:
    """Which results lie in the memory of which operands."""
    return [np.may_share_memory(concrete_value(out), a) for out in tree.leaves(results) for a in operands]


def _remembered(leaves: Sequence[Any], out_tree: tree.TreeDef) -> Any:
    """What a call without arrays gives, which is always the same: a copy, if it is small."""
    if not all(type(x) is Array for x in leaves) or sum(x.nbytes for x in leaves) > _MOST_BYTES:
        return _NEVER
    kept = [(np.array(x._data), x.weak_type) for x in leaves]
    if out_tree is tree.LEAF:
        ((data, weak),) = kept
        return lambda leaves: Array(data.copy(), weak)
    return lambda leaves: tree.unflatten(out_tree, [Array(d.copy(), w) for d, w in kept])


class _Run:
    """The operations of a plan, on the leaves of a call.

    Where a good part of them is exact, native code does that part once it has been called often (``exact``).
    """

    __slots__ = ("calls", "constants", "graph", "may_begin_natively", "out_tree", "part", "run", "weak")

    def __init__(self, graph: Graph, captures: Sequence[Any], out_tree: tree.TreeDef, weak: Sequence[bool]) -> None:
        n = len(graph.inputs) - len(captures)
        self.graph, self.weak = graph, weak
        self.out_tree = None if out_tree is tree.LEAF else out_tree
        self.constants: dict[Any, Any] = dict(zip(graph.inputs[n:], map(concrete_value, captures)))
        self.run = written(graph, ("leaves",), [f"leaves[{k}]" for k in range(n)], self.constants)
        self.part = exact_part(graph)
        self.calls = 0
        self.may_begin_natively = False  # not where a result lies in the memory of an operand

    def __call__(self, leaves: Sequence[np.ndarray]) -> Any:
        if self.part is not None:
            self._count()
        token = silence.off()
        try:
            outs = self.run(leaves)
        finally:
            silence.back(token)
        if self.out_tree is None:
            (out,) = outs
            return Array(out if type(out) is np.ndarray else np.asarray(out), self.weak[0])
        return tree.unflatten(self.out_tree, [Array(np.asarray(o), w) for o, w in zip(outs, self.weak)])

    def _count(self) -> None:
        self.calls += 1
        if self.calls >= _WORTH_COMPILING and self.may_begin_natively and "jit" in sys.modules:
            part, self.part = self.part, None
            if part is not None:
                self.run = begun_natively(self.graph, part, self.constants) or self.run
