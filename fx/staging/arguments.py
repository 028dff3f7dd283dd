"""How a jitted function takes its arguments: which are static, which are donated, what they are called."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..array import Array
from ..errors import NonHashableStaticError, StaticArgumentError, TreeError, UnsupportedArgumentError
from ..signatures import signature_of
from ..trace import Tracer, aval_of
from ..transforms.flat import argument_names, check_leaf, function_name, resolve_argnums

__all__ = ["Arguments", "refuse_options", "shown", "typed"]

_SEVERAL = (tuple, list, set, frozenset, range)


class Arguments:
    """The options of ``jit`` that speak of arguments, held against the function's signature.

    Args:
        static_argnums, static_argnames, donate_argnums, donate_argnames: as ``jit`` takes them.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        static_argnums: Any,
        static_argnames: Any,
        donate_argnums: Any,
        donate_argnames: Any,
    ) -> None:
        self.fun: Callable[..., Any] = fun
        self.name = function_name(fun)
        try:
            self.signature: inspect.Signature | None = signature_of(fun)
        except (TypeError, ValueError):
            self.signature = None
        self.static_argnums, self.static_argnames = self.positions(static_argnums, static_argnames, "static")
        self.donate_argnums, self.donate_argnames = self.positions(donate_argnums, donate_argnames, "donate")
        both = set(self.static_argnames) & set(self.donate_argnames)
        if both or set(self.static_argnums) & set(self.donate_argnums):
            raise StaticArgumentError(
                f"an argument of {self.name} is both static and donated: {sorted(both) or self.static_argnums}"
            )

    @property
    def options(self) -> tuple[Any, ...]:
        """What was asked for, whichever way: equal for arguments that are taken alike."""
        return self.static_argnums, self.static_argnames, self.donate_argnums, self.donate_argnames

    def without_function(self) -> Arguments:
        """A copy that knows the function's parameters, and keeps neither it nor its defaults alive."""
        if self.signature is None:
            return self
        out = copy.copy(self)
        bare = [p.replace(default=p.empty, annotation=p.empty) for p in self.signature.parameters.values()]
        out.signature = inspect.Signature(bare)
        out.fun = _Bare(out.signature)
        return out

    def positions(self, nums: Any, names: Any, what: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """argnums and argnames, each completed from the other by the function's signature."""
        if nums is None and names is None:
            return (), ()
        nums = () if nums is None else tuple(nums) if isinstance(nums, _SEVERAL) else (nums,)
        if not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in nums):
            raise StaticArgumentError(
                f"{what}_argnums must be an int or a sequence of ints; found {nums}. Names go to {what}_argnames."
            )
        names = () if names is None else tuple(names) if isinstance(names, _SEVERAL) else (names,)
        if not all(isinstance(n, str) for n in names):
            raise StaticArgumentError(f"{what}_argnames must be a string or a sequence of strings; found {names}")
        if self.signature is None:
            return nums, names
        params = list(self.signature.parameters.values())
        by_position = [p.name for p in params if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        variadic = any(p.kind == p.VAR_POSITIONAL for p in params)
        keywords = any(p.kind == p.VAR_KEYWORD for p in params)
        for i in nums:
            if not variadic and not -len(by_position) <= i < len(by_position):
                raise StaticArgumentError(
                    f"{what}_argnums={nums} names positional argument {i}; {self.name}{self.signature} has {len(by_position)}"
                )
        for n in names:
            if n not in self.signature.parameters and not keywords:
                raise StaticArgumentError(
                    f"{what}_argnames={names} names {n!r}, which {self.name}{self.signature} does not have"
                )
        nums = tuple(i + len(by_position) if i < 0 else i for i in nums)
        all_names = {*names, *(by_position[i] for i in nums if i < len(by_position))}
        all_nums = {*nums, *(by_position.index(n) for n in names if n in by_position)}
        return tuple(sorted(all_nums)), tuple(sorted(all_names))

    def split(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], tree.TreeDef, tuple[Any, ...], Callable[..., Any]]:
        """(dynamic leaves, their structure, static arguments, function of the dynamic arguments)."""
        if not self.static_argnums and not self.static_argnames:
            leaves, in_tree = tree.flatten((args, kwargs))
            return leaves, in_tree, (), self.fun
        nums = {i for i in self.static_argnums if i < len(args)}
        names = {n for n in self.static_argnames if n in kwargs}
        chosen = [(i, args[i]) for i in sorted(nums)] + [(n, kwargs[n]) for n in sorted(names)]
        for which, value in chosen:
            self.check_static(which, value)
        static = tuple([(which, typed(value)) for which, value in chosen])
        dyn_args = tuple(a for i, a in enumerate(args) if i not in nums)
        dyn_kwargs = {k: v for k, v in kwargs.items() if k not in names}
        n = len(args)

        def call(*dynamic: Any, **dynamic_kw: Any) -> Any:
            it = iter(dynamic)
            full = [args[i] if i in nums else next(it) for i in range(n)]
            return self.fun(*full, **dynamic_kw, **{k: kwargs[k] for k in names})

        leaves, in_tree = tree.flatten((dyn_args, dyn_kwargs))
        return leaves, in_tree, static, call

    def check_static(self, which: int | str, value: Any) -> None:
        name = repr(which)
        if isinstance(which, int) and self.signature is not None:
            names = list(self.signature.parameters)
            name = f"{which} ({names[which]!r})" if which < len(names) else name
        if isinstance(value, (Tracer, Array, np.ndarray)):
            raise NonHashableStaticError(
                f"static argument {name} of {self.name} is an array ({aval_of(value)}); a static argument is part of the"
                " program and must be a hashable Python value. Pass it as an ordinary argument."
            )
        try:
            hash(value)
        except TypeError:
            raise NonHashableStaticError(
                f"static argument {name} of {self.name} is a {type(value).__name__} ({value!r}), which is not hashable."
                " Use a tuple for a list, a frozenset for a set, or a frozen dataclass."
            ) from None

    def leaf(self, x: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with contextlib.suppress(TreeError):
            return check_leaf(x, "")
        names = argument_names(self.fun, args, kwargs)
        values = tree.leaves((args, kwargs))
        name = next((n for n, v in zip(names, values) if v is x), "an argument")
        return check_leaf(x, f"{name} of the jitted function {self.name}")

    def dynamic_names(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        masked = tuple(None if i in self.static_argnums else a for i, a in enumerate(args))
        kw = {k: v for k, v in kwargs.items() if k not in self.static_argnames}
        return argument_names(self.fun, masked, kw)

    def donated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
        """Positions of the donated leaves among the dynamic ones."""
        if not self.donate_argnums and not self.donate_argnames:
            return ()
        resolve_argnums(
            [i for i in self.donate_argnums if i < len(args)], len(args), "donate_argnums", StaticArgumentError
        )
        out: list[int] = []
        position = 0
        dynamic = [(i in self.donate_argnums, a) for i, a in enumerate(args) if i not in self.static_argnums]
        dynamic += [(k in self.donate_argnames, kwargs[k]) for k in sorted(kwargs) if k not in self.static_argnames]
        for donated, a in dynamic:
            n = len(tree.leaves(a))
            if donated:
                out += range(position, position + n)
            position += n
        return tuple(out)

    def give_up(self, donate: Sequence[int], leaves: Sequence[Any], arrays: list[Any], args: Any, kwargs: Any) -> None:
        """Puts what the donated leaves give up into ``arrays``, where nothing else refers to it.

        Raises:
            StaticArgumentError: one memory would be given away twice.
        """
        first: dict[int, int] = {}
        for i in donate:
            if type(leaves[i]) is Array and first.setdefault(id(leaves[i]), i) != i:
                names = self.dynamic_names(args, kwargs)
                raise StaticArgumentError(
                    f"{self.name} was called with one array as {names[first[id(leaves[i])]]} and as {names[i]}, which are both"
                    " donated; its memory can be given away once. Donate one of them, or pass a copy: fx.numpy.copy(x)."
                )
        for i in donate:
            arrays[i] = None  # no reference but the array's own
            arrays[i] = leaves[i]._give_up() if type(leaves[i]) is Array else np.array(leaves[i])


class _Bare:
    """Stands for a function where its parameters are asked for."""

    def __init__(self, signature: inspect.Signature) -> None:
        self.__signature__ = signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a function that is known by its parameters alone was called")


def refuse_options(compiler_options: Any) -> None:
    """Raises for options of XLA: nothing here knows what they mean."""
    if compiler_options:
        raise UnsupportedArgumentError(f"compiler_options={compiler_options!r} are XLA's; set those of fx.config")


def typed(value: Any) -> tuple[type, Any]:
    """A static value as part of a cache key that tells apart what Python calls equal: 1, 1.0 and True; 0.0 and -0.0."""
    t = type(value)
    if t in (float, complex) or isinstance(value, np.inexact):
        return t, repr(value)
    if isinstance(value, tuple):
        return t, tuple([typed(v) for v in value])
    if t is frozenset:
        return t, frozenset([typed(v) for v in value])
    return t, value


def shown(key: tuple[type, Any]) -> str:
    """The static value behind a key, for messages."""
    t, v = key
    if t in (float, complex) or issubclass(t, np.inexact):
        return str(v)
    if issubclass(t, (tuple, frozenset)):
        return f"({', '.join(map(shown, v))})"
    return repr(v)
