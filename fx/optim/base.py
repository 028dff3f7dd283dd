"""The protocol of optimizers: a pair of pure functions over pytrees, and how pairs are put together.

``init(params) -> state`` and ``update(updates, state, params=None, **extra) -> (updates, state)``, where ``updates`` has
the structure of the parameters and is at first their gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import dtypes, lax, tree
from .. import numpy as fnp
from ..config import config
from ..errors import ArgumentError, ShapeError, TreeError
from ..primitives.elementwise import weakened
from ..signatures import signature_of

__all__ = [
    "EmptyState", "GradientTransformation", "GradientTransformationExtraArgs", "Schedule", "apply_updates", "chain",
    "identity", "incremental_update", "named_chain", "periodic_update", "set_to_zero", "stateless",
    "stateless_with_tree_map", "tree_get", "with_extra_args_support",
]  # fmt: skip

Tree = Any
Schedule = Callable[[Any], Any]
"""From the number of steps taken, an int32, to a factor. Beside float64 updates its Python numbers are float64 too."""


class GradientTransformation(NamedTuple):
    """``init(params) -> state``; ``update(updates, state, params=None) -> (updates, state)``."""

    init: Callable[[Tree], Tree]
    update: Callable[..., tuple[Tree, Tree]]


class GradientTransformationExtraArgs(GradientTransformation):
    """A transformation whose ``update`` takes further named arguments too (``value=loss``) and ignores what it has no
    use for."""


class EmptyState(NamedTuple):
    """The state of a transformation that keeps none."""


def with_extra_args_support(tx: GradientTransformation) -> GradientTransformationExtraArgs:
    """The same transformation, which ignores named arguments that it does not know."""
    if isinstance(tx, GradientTransformationExtraArgs):
        return tx
    if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
        hint = ": call it first, optim.adam(1e-3)" if callable(tx) else ""
        raise ArgumentError(f"an optimizer, or a part of one, has init and update; found {tx!r}{hint}")

    def update(updates: Tree, state: Tree, params: Tree = None, **extra: Any) -> tuple[Tree, Tree]:
        return tx.update(updates, state, params)

    return GradientTransformationExtraArgs(tx.init, update)


def required(params: Tree, who: str) -> Tree:
    """The parameters, or an error that says how to pass them."""
    if params is None:
        raise TreeError(f"{who} needs the parameters: call optimizer.update(gradient, state, params)")
    return params


def new_count() -> Any:
    return fnp.zeros((), "int32")


def incremented(count: Any) -> Any:
    """``count + 1``; at the end of the range of its dtype it stays."""
    return fnp.where(count < fnp.iinfo(count.dtype).max, count + 1, count)


def exact(number: Any) -> Any:
    """A count or a number as a weak float64, an array of floats as it is.

    What is computed from it is rounded once, when it meets an array, and takes that array's dtype, as 0.1 does.
    """
    if isinstance(number, (int, float)):
        return weakened(fnp.asarray(number, "float64"), dtypes.float64)
    x = fnp.asarray(number)
    return x if dtypes.is_inexact(x.dtype) and not x.weak_type else weakened(x, dtypes.float64)


def scheduled(schedule: Schedule, count: Any, values: Tree) -> Any:
    """``schedule(count)``, to be multiplied with values: where one of these is of 64 bits, so are new floats within."""
    if config.default_float != dtypes.float64 and any(_is_double(v) for v in tree.leaves(values)):
        with config.using(default_float=dtypes.float64):
            return schedule(count)
    return schedule(count)


def _is_double(x: Any) -> bool:
    return bool(fnp.asarray(x).real.dtype == dtypes.float64)


def chosen(condition: Any, x: Tree, y: Tree) -> Tree:
    """``where(condition, x, y)`` for every leaf, in the dtype of ``y``."""
    return tree.map(lambda a, b: fnp.where(condition, a, b).astype(fnp.asarray(b).dtype), x, y)


# ------------------------------------------------------------------------------------- without a state


def stateless(f: Callable[[Tree, Tree], Tree]) -> GradientTransformation:
    """A transformation without state, from ``f(updates, params) -> updates``."""
    return GradientTransformation(
        lambda params: EmptyState(), lambda updates, state, params=None: (f(updates, params), EmptyState())
    )


def stateless_with_tree_map(f: Callable[[Any, Any], Any]) -> GradientTransformation:
    """A transformation without state, from ``f(update, parameter) -> update`` of one leaf (parameter None if not given)."""

    def whole(updates: Tree, params: Tree) -> Tree:
        return tree.map(lambda u: f(u, None), updates) if params is None else tree.map(f, updates, params)

    return stateless(whole)


def identity() -> GradientTransformation:
    """Leaves the updates as they are."""
    return stateless(lambda updates, params: updates)


def set_to_zero() -> GradientTransformation:
    """Updates of zero: the parameters stay."""
    return stateless(lambda updates, params: tree.map(fnp.zeros_like, updates))


# ------------------------------------------------------------------------------------------- together


def own_state(state: Tree, kind: Any, who: str) -> Any:
    """``state``, if it is what ``who`` keeps.

    Raises:
        TreeError: it is that of another transformation.
    """
    if not isinstance(state, kind):
        raise _foreign(who, state, _told(kind))
    return state


def _foreign(who: str, state: Tree, expected: str) -> TreeError:
    error = TreeError(f"{who} keeps {expected}; found {_told(state)}, the state of another optimizer")
    error.add_note(
        "update takes what the init(params) of the same optimizer, or the update before, returned; train.Trainer goes on with another"
        " optimizer from fit.model"
    )
    return error


def _told(state: Any) -> str:
    """What a state is: its kind, and what stands in it."""
    kind = state if isinstance(state, type) else type(state)
    if (names := getattr(kind, "_fields", None)) is not None:
        return f"{kind.__name__}({', '.join(names)})"
    if isinstance(state, (tuple, list, dict)):
        parts = state.values() if isinstance(state, dict) else state
        return f"{kind.__name__} of {len(state)} ({', '.join(_told(s) for s in parts)})"
    return kind.__name__


def _check_state(state: Tree, names: tuple[Any, ...], found: Any, who: str) -> None:
    if not isinstance(state, (tuple, dict)) or tuple(found) != names:
        raise _foreign(who, state, f"{len(names)} states, one for each of its transformations")


def chain(*transformations: GradientTransformation) -> GradientTransformationExtraArgs:
    """One transformation after the other; the state is the tuple of their states.

    >>> optimizer = chain(stateless(lambda g, p: [2 * x for x in g]), stateless(lambda g, p: [x + 1 for x in g]))
    >>> optimizer.update([fnp.ones(1)], optimizer.init([fnp.zeros(1)]))[0]
    [Array([3.], dtype=float32)]
    """
    parts = [with_extra_args_support(t) for t in transformations]

    def update(updates: Tree, state: Tree, params: Tree = None, **extra: Any) -> tuple[Tree, Tree]:
        _check_state(state, tuple(range(len(parts))), range(len(state)) if isinstance(state, tuple) else (), "chain")
        given, new_state = updates, list[Tree]()
        try:
            for t, s in zip(parts, state):
                updates, new = _updated(t, updates, s, params, extra, f"part {len(new_state)} of a chain")
                new_state.append(new)
        except (TreeError, ShapeError) as error:
            _tell_what_was_given(error, given, params)
            raise
        return updates, tuple(new_state)

    return GradientTransformationExtraArgs(lambda params: tuple(t.init(params) for t in parts), update)


def _updated(
    t: GradientTransformation, updates: Tree, state: Tree, params: Tree, extra: dict[str, Any], who: str
) -> tuple[Tree, Tree]:
    """``t.update``, whose new state is of the kind of the old one.

    Raises:
        TreeError: the state is that of another transformation.
    """
    try:
        updates, new = t.update(updates, state, params, **extra)
    except AttributeError:
        own = t.init(updates if params is None else params)
        if type(own) is type(state):
            raise
        raise _foreign(who, state, _told(own)) from None
    if hasattr(type(state), "_fields") and type(new) is not type(state):
        raise _foreign(who, state, _told(new))
    return updates, new


def _tell_what_was_given(error: Exception, gradient: Tree, params: Tree) -> None:
    """Adds to an error, once, what ``update`` was called with: most often it is the tree of other parameters."""
    if getattr(error, "__notes__", None):
        return
    told = f"a gradient of {_shapes(gradient)}" + ("" if params is None else f", parameters of {_shapes(params)}")
    error.add_note(
        f"in the update of an optimizer, with {told}. Both have the structure and shapes of the parameters that its state was"
        " made for, optimizer.init(params)."
    )


def _shapes(values: Tree) -> str:
    leaves = [f"{tree.keystr(p)} {list(fnp.shape(x))}".strip() for p, x in tree.leaves_with_path(values)]
    return ", ".join(leaves[:6]) + ", ..." * (len(leaves) > 6) or "no leaf"


def named_chain(*transformations: tuple[str, GradientTransformation]) -> GradientTransformationExtraArgs:
    """``chain`` whose state is a dict by the names given.

    Raises:
        TreeError: a name stands twice.
    """
    parts = {name: with_extra_args_support(t) for name, t in transformations}
    if len(parts) != len(transformations):
        raise TreeError(f"named_chain takes a name once; found {[name for name, _ in transformations]}")

    def update(updates: Tree, state: Tree, params: Tree = None, **extra: Any) -> tuple[Tree, Tree]:
        names = tuple(sorted(parts))
        _check_state(state, names, sorted(state) if isinstance(state, dict) else (), "named_chain")
        new_state = {}
        for name, t in parts.items():
            updates, new_state[name] = _updated(t, updates, state[name], params, extra, f"{name!r} of a named_chain")
        return updates, new_state

    return GradientTransformationExtraArgs(lambda params: {name: t.init(params) for name, t in parts.items()}, update)


# ------------------------------------------------------------------------------------- new parameters


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """``params + updates``, each in the dtype of its parameter.

    Raises:
        TreeError, ShapeError: both are not of one structure, or of the same shapes.

    >>> apply_updates({"w": fnp.asarray([1.0, 2.0])}, {"w": fnp.asarray([0.5, -1.0])})
    {'w': Array([1.5, 1. ], dtype=float32)}
    """
    try:
        return tree.map_with_path(_moved, params, updates)
    except (TreeError, ShapeError) as fault:
        fault.add_note(
            f"in optim.apply_updates(params, updates), with parameters of {_shapes(params)} and updates of {_shapes(updates)}."
            " The updates are what optimizer.update made for these parameters."
        )
        raise


def _moved(path: Any, p: Any, u: Any) -> Any:
    if fnp.shape(p) != fnp.shape(u):
        raise ShapeError(f"the update of params{tree.keystr(path)}, of shape {fnp.shape(p)}, has shape {fnp.shape(u)}")
    return (p + u).astype(fnp.asarray(p).dtype)


def incremental_update(new_tensors: Tree, old_tensors: Tree, step_size: Any) -> Tree:
    """``step_size * new + (1 - step_size) * old``: a running mean of weights, target networks (Polyak averaging)."""
    return tree.map(lambda new, old: step_size * new + (1.0 - step_size) * old, new_tensors, old_tensors)


def periodic_update(new_tensors: Tree, old_tensors: Tree, steps: Any, update_period: Any) -> Tree:
    """The new values at every ``update_period``-th step, the old ones otherwise."""
    return lax.cond(steps % update_period == 0, lambda: new_tensors, lambda: old_tensors)


# ------------------------------------------------------------------------------------- looking into states


def tree_get(state: Tree, name: str, default: Any = None) -> Any:
    """The one field, or dict entry, of that name anywhere in the state of an optimizer.

    Args:
        state: what ``init`` or ``update`` returned.
        name: such as ``"count"``, ``"learning_rate"``, ``"mu"``.
        default: returned if nothing has the name.

    Raises:
        TreeError: several entries have the name; the message says where they stand.

    >>> from fx import optim
    >>> tree_get(optim.inject_hyperparams(optim.sgd)(learning_rate=0.5).init(fnp.ones(2)), "learning_rate")
    Array(0.5, dtype=float32)
    """
    found = list(_named(state, name, ()))
    if len(found) > 1:
        places = ", ".join(tree.keystr(path) for path, _ in found)
        raise TreeError(f"{name!r} stands at several places of the state: {places}; take the one you mean by hand")
    return found[0][1] if found else default


def _named(node: Tree, name: str, path: tuple[Any, ...]) -> Any:
    if not tree.is_tree_node(type(node)):
        return
    for key, child in tree.flatten_one_level_with_keys(node)[0]:
        if getattr(key, "name", getattr(key, "key", None)) == name:
            yield (*path, key), child
        else:
            yield from _named(child, name, (*path, key))


def accepted_by(function: Callable[..., Any], extra: dict[str, Any], who: str) -> dict[str, Any]:
    """The named arguments, all of which ``function`` must take.

    Raises:
        TreeError: it does not take one of them.
    """
    parameters = signature_of(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return extra
    if unknown := sorted(set(extra) - set(parameters)):
        raise TreeError(
            f"{who}: the named arguments {unknown} of update are none of value_fn's ({', '.join(parameters)});"
            " value_fn must take what is passed on to it"
        )
    return extra
