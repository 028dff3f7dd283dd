"""What custom_jvp and custom_vjp share: the call of a function that has derivative rules of the user's.

The function is traced into a closed graph; the equation that calls it carries the rules.  Where nobody differentiates,
the graph is inlined.  Under jvp and linearize the rule is called with tracers as everywhere, so what it computes is
differentiated, batched and compiled like anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import tree
from ..array import Array
from ..dtypes import is_inexact
from ..errors import CustomRuleError
from ..ir import Aval, Graph
from ..primitive import Primitive
from ..primitives.elementwise import convert_element_type
from ..primitives.helpers import broadcast_batch, instantiate, move_batch
from ..signatures import signature_of
from ..trace import Builder, NamedAxis, Tracer, aval_of, concrete_value, is_python_scalar, state
from .checkpoint import trace_call
from .flat import FlatFunction, argument_names, check_leaf, float0, function_name, resolve_argnums
from .vmap import batch_graph

__all__ = [
    "FlatRule", "SymbolicZero", "attribute_of", "bind_arguments", "call_with_rules", "closed_over_error", "mapped_axis", "nondiff_positions", "of_type", "on_examples",
    "own", "present", "same_structure", "split_static", "tangent_or_zero", "zero_from_primal",
]  # fmt: skip

FlatRule = Callable[..., Any]


def attribute_of(wrapper: Any, name: str) -> Any:
    """An attribute of the function that ``wrapper`` gives derivative rules to, which the wrapper does not have."""
    if name.startswith("__") or "fun" not in wrapper.__dict__:
        raise AttributeError(f"{type(wrapper).__name__} has no attribute {name!r}")
    return getattr(wrapper.fun, name)


# --------------------------------------------------------------------------------- symbolic zeros


@dataclass(frozen=True, eq=False)
class SymbolicZero:
    """A tangent or cotangent that is zero, known without a computation, and not made an array.

    ``aval`` is the type it would have; ``shape``, ``dtype`` and ``ndim`` are those of the type.  A rule may return it.
    """

    aval: Aval

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return len(self.aval.shape)

    def instantiate(self) -> Any:
        """The zeros."""
        return np.zeros(self.shape, float0) if self.dtype == float0 else instantiate(None, self.aval)


def tangent_type(a: Aval) -> Aval:
    """The type of the tangents of values of type ``a``: integers and booleans have ``float0``, which holds no data."""
    return a.to_tangent_aval()


def tangent_or_zero(t: Any, a: Aval, symbolic: bool) -> Any:
    """A tangent (None: zero) of a value of type ``a`` as a rule gets it."""
    if t is not None:
        return t
    zero = SymbolicZero(tangent_type(a))
    return zero if symbolic else zero.instantiate()


def present(t: Any) -> Any:
    """A tangent, or None where it is a symbolic zero."""
    return None if type(t) is SymbolicZero else t


def zero_from_primal(val: Any, symbolic_zeros: bool = False) -> Any:
    """The zero tangent of every leaf: an array (of dtype ``float0`` for integers and booleans), or a SymbolicZero."""
    return tree.map(lambda x: tangent_or_zero(None, aval_of(x), symbolic_zeros), val)


# ------------------------------------------------------------------------------------- the call


def bind_arguments(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Keyword arguments and defaults as positional ones, which the rules count by."""
    if not kwargs:
        try:
            signature = signature_of(f)
        except (TypeError, ValueError):
            return tuple(args)
    else:
        signature = signature_of(f)
    bound = signature.bind(*args, **kwargs)
    if bound.kwargs:
        raise CustomRuleError(
            f"{function_name(f)} has a custom derivative and keyword-only arguments {sorted(bound.kwargs)}:"
            " pass them by position, so that the rule can name them by number."
        )
    bound.apply_defaults()  # those that are keyword-only stay what they are
    return bound.args


def nondiff_positions(f: Callable[..., Any], argnums: Sequence[int], argnames: Sequence[str]) -> tuple[int, ...]:
    """The positions of the arguments that are named by number or by name.

    Raises:
        CustomRuleError: a name is not that of an argument of ``f``.
    """
    if not argnames:
        return tuple(argnums)
    parameters = list(signature_of(f).parameters)
    wrong = [n for n in argnames if n not in parameters]
    if wrong:
        raise CustomRuleError(
            f"nondiff_argnames={argnames!r} names {wrong[0]!r}; the arguments of {function_name(f)} are {', '.join(parameters)}"
        )
    return tuple(sorted({*argnums, *[parameters.index(n) for n in argnames]}))


def split_static(
    f: Callable[..., Any], args: Sequence[Any], nondiff: Sequence[int]
) -> tuple[list[Any], list[Any], Callable[..., Any]]:
    """(static arguments, other arguments, function of the other arguments alone)."""
    which = set(resolve_argnums(nondiff, len(args), "nondiff_argnums", CustomRuleError))
    static = {i: a for i, a in enumerate(args) if i in which}
    dynamic = [a for i, a in enumerate(args) if i not in which]
    n = len(args)  # rules live as long as the graph they are in: they must not hold the arguments

    def call(*dyn: Any) -> Any:
        it = iter(dyn)
        return f(*[static[i] if i in static else next(it) for i in range(n)])

    return list(static.values()), dynamic, call


def own(xs: Sequence[Any]) -> list[Any]:
    """Arrays that a rule may have for itself: traced ones it may write to, the caller's NumPy arrays it may not; a number that
    the caller gave is an array to it, as it is to the function."""
    return [_own(x) for x in xs]


def _own(x: Any) -> Any:
    if type(x) is Tracer:
        return x.alias()
    if is_python_scalar(x):
        return Array(np.asarray(concrete_value(x)), True)
    return Array(x) if type(x) is np.ndarray and x.dtype != float0 else x


def mapped_axis() -> NamedAxis:
    """The axis that vmap pushes through, without its builder: batched rules are kept with the graph and outlive it."""
    return NamedAxis(state.mapped[-1].name, state.mapped[-1].size)


def trace_example(axis: NamedAxis, f: Callable[..., Any], avals: Sequence[Aval]) -> tuple[Graph, list[Any]]:
    """Traces a rule on one example of a mapped axis, to which its collectives may refer although the vmap is over."""
    b = Builder("vmap")
    state.axes.append(NamedAxis(axis.name, axis.size, b))
    try:
        with b:
            return b.close(f(*[b.input(a) for a in avals]))
    finally:
        state.axes.pop()


def closed_over_error(name: str, kind: str) -> CustomRuleError:
    return CustomRuleError(
        f"{name} (a {kind} function) is being differentiated with respect to a value that it closes over; its rule"
        " cannot know of it. Make the value an argument, or use fx.closure_convert."
    )


def of_type(x: Any, a: Aval, what: str, of: str) -> Any:
    """What a rule returned for a value of type ``a``; Python numbers and weakly typed values take its dtype.

    Raises:
        CustomRuleError: it has another shape or dtype.
    """
    b = aval_of(check_leaf(x, f"what {what} returned for the {of}"))
    if b.same_type(a):
        return x
    if b.shape == a.shape and (b.weak or a.weak) and (is_inexact(a.dtype) or not is_inexact(b.dtype)):
        return convert_element_type(x, a.dtype)
    raise CustomRuleError(f"{what} returned {b} for the {of}, which is {a}; shape and dtype must be equal")


def same_structure(found: Any, want: tree.TreeDef, what: str) -> list[Any]:
    leaves, d = tree.flatten(found)
    if d != want:
        raise CustomRuleError(f"{what} must have the structure {want}; found {d}")
    return leaves


def call_with_rules(
    prim: Primitive,
    kind: str,
    fun: Callable[..., Any],
    nondiff: Sequence[int],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    flat_rules: Callable[..., dict[str, FlatRule]],
) -> Any:
    """Calls a function with derivative rules: an equation that holds its graph and the rules on flat lists.

    ``flat_rules(args, static, in_tree, out_tree, name, out_avals)`` makes them, once the output is known.
    """
    args = bind_arguments(fun, args, kwargs)
    static, dynamic, call = split_static(fun, args, nondiff)
    leaves, in_tree = tree.flatten((tuple(dynamic), {}))
    flat = FlatFunction(call, in_tree)
    flat.name = function_name(fun)
    names = argument_names(fun, args, {}) if not static else None

    def params(graph: Graph) -> dict[str, Any]:
        rules = flat_rules(args, static, in_tree, flat.out_tree, flat.name, graph.out_avals)
        return {**rules, "n_args": len(leaves)}

    outs = trace_call(prim, flat, leaves, kind, names, params)
    assert flat.out_tree is not None
    return tree.unflatten(flat.out_tree, outs)


# -------------------------------------------------------------------------------------- vmap


def on_examples(
    axis: NamedAxis,
    f: Callable[..., Sequence[Any]],
    avals: Sequence[Aval],
    args: Sequence[Any],
    dims: Sequence[int | None],
) -> tuple[list[Any], list[int | None]]:
    """A rule that is written for one example, on a batch: its outputs, and where their batch axes are.

    Args:
        f: takes flat values of types ``avals``; returns flat values.
        args, dims: the batch, and its axis in each.
    """
    graph, captures = trace_example(axis, f, avals)
    return batch_graph(graph, [*args, *captures], [*dims, *[None] * len(captures)], axis)


def to_front(x: Any, d: int | None, size: int) -> Any:
    """``x`` with its batch axis in front, repeated if it has none."""
    return broadcast_batch(x, size, 0) if d is None else move_batch(x, d, 0)
