"""Functions on pytrees as functions on flat lists, with names for error messages."""

from __future__ import annotations

import contextlib
import functools
import reprlib
import weakref
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from .. import tree
from ..array import Array, to_numpy
from ..dtypes import canonical, float0
from ..errors import NotAFunctionError, RefError, TreeError
from ..ir import Aval, Literal
from ..mutable import Ref
from ..signatures import signature_of
from ..sizes import is_sized
from ..trace import Tracer, aval_of, is_python_scalar, user_source

__all__ = [
    "FlatFunction",
    "argument_count_fault",
    "argument_names",
    "check_function",
    "check_leaf",
    "example_aval",
    "float0",
    "function_name",
    "is_float0",
    "positional_names",
    "resolve_argnums",
]


_KIND = attrgetter("kind")


def is_float0(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == float0


class _Nothing:
    """Stands in the structure of a traced function's output for a float0 array, which is all shape and no data."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


tree.register_pytree_node(_Nothing, lambda x: ((), x.shape), lambda shape, _: np.zeros(shape, float0))


def function_name(f: Any) -> str:
    """The name of a function, or of what a partial or callable object wraps."""
    while hasattr(f, "func"):
        f = f.func
    return getattr(f, "__name__", None) or type(f).__name__


def check_function(f: Any, who: str, way_out: str = "") -> None:
    """Raises NotAFunctionError where ``who`` was given something that cannot be called."""
    if not callable(f):
        shown = f"of shape {f.shape}" if hasattr(f, "shape") else reprlib.repr(f)
        raise NotAFunctionError(
            f"{who} takes a function; found {type(f).__name__}: {shown}.{' ' * bool(way_out)}{way_out}"
        )


def check_leaf(x: Any, what: str) -> Any:
    """``x`` if it is an array, a tracer or a number.

    Raises:
        TreeError: naming ``what`` it was.
    """
    if type(x) in (Tracer, Array, np.ndarray, Literal) or is_python_scalar(x) or isinstance(x, np.generic):
        return x
    if is_sized(x):
        return x
    if hasattr(x, "__array__") or hasattr(x, "__array_interface__"):
        return to_numpy(x)
    if type(x) is Ref:
        raise RefError(f"{what} is a ref, which stands for no array here: give what it holds, ref[...]", x)
    raise TreeError(
        f"{what} is a {type(x).__name__} ({x!r}), not an array or a number. Mark it static (jit's static_argnums, or"
        " functools.partial), register its type as a pytree (fx.tree_util), or leave it out."
    )


def example_aval(x: Any, what: str) -> Aval:
    """The type of an example argument: an array, a number, or anything else with ``shape`` and ``dtype``."""
    if hasattr(x, "shape") and hasattr(x, "dtype") and not isinstance(x, (Tracer, Array, Ref, np.ndarray, np.generic)):
        return Aval(tuple(x.shape), canonical(x.dtype), bool(getattr(x, "weak_type", False)))
    return aval_of(check_leaf(x, what))


def argument_names(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> list[str]:
    """A name for every leaf of ``(args, kwargs)``: ``x``, ``params['w']``."""
    positional, rest, _ = _parameters(f)
    names = list(positional)
    if rest is not None:
        names += [f"{rest}[{i}]" for i in range(len(args) - len(names))]
    names += [f"argument {i}" for i in range(len(names), len(args))]
    out: list[str] = []
    for name, a in [*zip(names, args), *((k, kwargs[k]) for k in sorted(kwargs))]:
        if type(a) is Array or type(a) is np.ndarray:
            out.append(name)
        else:
            out += [name + tree.keystr(path) for path, _ in tree.leaves_with_path(a)]
    return out


def positional_names(f: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the positional parameters; none where there is no signature to read."""
    return _parameters(f)[0]


def argument_count_fault(f: Callable[..., Any], n: int) -> str:
    """How many positional arguments ``f`` takes, if ``n`` is not among them; else nothing."""
    names, rest, least = _parameters(f)
    if least is None or (least <= n and (rest is not None or n <= len(names))):
        return ""
    most = len(names)
    number = f"{least} or more" if rest is not None else str(most or "no") if least == most else f"{least} to {most}"
    return f"it takes {number} argument{'s' * (number != '1')}" + (f" ({', '.join(names)})" if names else "")


def _innermost(f: Any) -> Any:
    return _innermost(f.func) if isinstance(f, functools.partial) else f


_Parameters = tuple[tuple[str, ...], str | None, int | None]
_signatures: weakref.WeakKeyDictionary[Any, _Parameters] = weakref.WeakKeyDictionary()


def _parameters(f: Callable[..., Any]) -> _Parameters:
    """The names of the positional parameters, that of ``*args``, and how many have no default (None where there is no signature
    to read); kept, as reading one takes long."""
    try:
        return _signatures[f]
    except (KeyError, TypeError):  # TypeError: nothing can refer to it weakly, or it has no hash
        pass
    try:
        parameters = list(signature_of(f).parameters.values())
        readable = not hasattr(_innermost(f), "__wrapped__")  # a decorator may give arguments of its own
    except (TypeError, ValueError):
        parameters, readable = [], False
    placed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in placed) if readable else None
    rest = next((p.name for p in parameters if p.kind == p.VAR_POSITIONAL), None)
    found = tuple([p.name for p in placed]), rest, least
    with contextlib.suppress(TypeError):
        _signatures[f] = found
    return found


class FlatFunction:
    """``f(*args, **kwargs)`` as a function of the flat leaves of ``(args, kwargs)`` to flat leaves.

    After a call ``out_tree`` holds the structure of the result.
    """

    def __init__(self, f: Callable[..., Any], in_tree: tree.TreeDef, name: str = "") -> None:
        self.f = f
        self.in_tree = in_tree
        self.out_tree: tree.TreeDef | None = None
        self.name = name or function_name(f)

    def __call__(self, *given: Any) -> list[Any]:
        in_tree = self.in_tree
        positional, named = in_tree.subtrees
        if in_tree is tree.ONE_ARGUMENT or (not named.subtrees and not any(map(_KIND, positional.subtrees))):
            out = self.f(*given)
        else:
            args, kwargs = tree.unflatten(self.in_tree, given)
            out = self.f(*args, **kwargs)
        leaves, self.out_tree = flat_result(out, self.name)
        return leaves


def flat_result(out: Any, name: str) -> tuple[list[Any], tree.TreeDef]:
    """The leaves and the structure of what a traced function returned."""
    if type(out) is Tracer:
        return [out], tree.LEAF
    leaves, structure = tree.flatten(out)
    if any(map(is_float0, leaves)):
        out = tree.unflatten(structure, [_Nothing(x.shape) if is_float0(x) else x for x in leaves])
    pairs, out_tree = tree.flatten_with_path(out)
    if refs := [f"output{tree.keystr(path)}" for path, x in pairs if type(x) is Ref]:
        raise RefError(f"{refs[0]} of {name} is a ref; a traced function returns what it holds, ref[...]")
    return [check_leaf(x, f"output{tree.keystr(path)} of {name}") for path, x in pairs], out_tree


def resolve_argnums(argnums: int | Sequence[int], n: int, what: str, error: type[Exception]) -> tuple[int, ...]:
    """Non-negative positions, checked against the number of positional arguments."""
    if type(argnums) is int and 0 <= argnums < n:  # the common case
        return (argnums,)
    given = (argnums,) if not isinstance(argnums, Iterable) else tuple(argnums)
    out = []
    for i in given:
        if not isinstance(i, (int, np.integer)) or isinstance(i, bool):
            raise error(f"{what} must be an int or a sequence of ints; found {argnums!r}")
        if not -n <= i < n:
            raise error(
                f"{what}={argnums!r} names positional argument {i}, but the function was called with {n} positional"
                f" argument{'s' * (n != 1)} (at {user_source()}). Keyword arguments cannot be named by number."
            )
        out.append(int(i) % n)
    if len(set(out)) != len(out):
        raise error(f"{what}={argnums!r} names an argument twice")
    return tuple(out)
