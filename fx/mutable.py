"""Refs: places that hold an array, which traced functions too read and write.

A ref belongs to the trace that it was made in (or to none).  A function that a transform traces and that uses a ref from
outside stops with a ``RefError`` that names it; the transform then traces the function anew as a pure one, which takes what the
ref holds and returns what it holds at the end (``Carried``).  The transform reads the ref before and writes it after; where it stands
in a trace itself, reading is refused there again, and so on outwards.  What is traced stays a closed graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from . import tree
from .dtypes import is_bool, is_complex, is_integer
from .errors import DTypeError, RefError
from .ir import Aval
from .trace import aval_of, state

__all__ = ["Carried", "Indexed", "Ref", "carrying", "refuse_refs"]

T = TypeVar("T")


def _here() -> int:
    """The trace whose function is running."""
    return 0 if state.current is None else state.current.level


class Indexed:
    """What is read and written by an index: a ref, or a part of one."""

    __slots__ = ()

    @property
    def aval(self) -> Aval:
        """The type of what it holds."""
        raise NotImplementedError

    def read(self) -> Any:
        """What it holds; later writes do not show in it."""
        raise NotImplementedError

    def write(self, index: Any, value: Any, how: str = "set") -> None:
        """Changes what it holds at ``index``; ``how`` is a method of ``x.at[index]``."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        return self.aval.ndim

    @property
    def size(self) -> int:
        return self.aval.size

    def __len__(self) -> int:
        return len(self.read())

    def __getitem__(self, index: Any) -> Any:
        return self.read()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self.write(index, value)

    def addupdate(self, value: Any, index: Any = ...) -> None:
        """``self[index] += value``; where indices repeat, every value is added."""
        self.write(index, value, "add")

    @property
    def at(self) -> Parts:
        """``ref.at[index]`` is a part of the ref, which is read and written as a ref is."""
        return Parts(self)


class Ref(Indexed):
    """A place that holds an array of one shape and dtype: ``ref[i]`` reads, ``ref[i] = v`` writes; see ``fx.ref.new_ref``."""

    __slots__ = ("__weakref__", "_held", "_home")

    def __init__(self, held: Any) -> None:
        self._held = held
        self._home = _here()

    @property
    def aval(self) -> Aval:
        return aval_of(self._held)

    def read(self) -> Any:
        """What it holds; later writes to the ref do not show in it.

        Raises:
            RefError: the ref belongs to another trace than the one that is running.
        """
        if self._home != _here():
            b = state.current
            if b is None:
                raise RefError(
                    f"a ref ({self.aval}) was used after the trace that it was made in had ended. Return what it holds."
                )
            raise RefError(
                f"a ref ({self.aval}) of outside was used where {b.kind} traces {b.name!r}. jit, vmap, grad, jvp, vjp, linearize,"
                " checkpoint, scan, map, while_loop, fori_loop, cond and switch carry the refs of their surroundings, others do not.",
                self,
            )
        return self._held.alias()

    def write(self, index: Any, value: Any, how: str = "set") -> None:
        """Changes what it holds at ``index``.

        Args:
            value: broadcast to the shape that is there; its dtype is the ref's, or weak and of no higher kind.
            how: a method of ``x.at[index]``.
        """
        held, a = self.read(), aval_of(value)
        if a.dtype != held.dtype and not (a.weak and _kind(a.dtype) <= _kind(held.dtype)):
            raise DTypeError(f"a ref of {held.dtype} cannot take {a}; convert it: value.astype(ref.dtype)")
        self._held = getattr(held.at[index], how)(value)

    def __repr__(self) -> str:
        return f"Ref{repr(self._held).removeprefix('Array')}"


def _kind(d: np.dtype) -> int:
    """Truth values, integers, floats, complexes."""
    return 0 if is_bool(d) else 1 if is_integer(d) else 3 if is_complex(d) else 2


class Parts:
    """``ref.at``."""

    __slots__ = ("_of",)

    def __init__(self, of: Indexed) -> None:
        self._of = of

    def __getitem__(self, index: Any) -> RefView:
        return RefView(self._of, index)


class RefView(Indexed):
    """A part of a ref."""

    __slots__ = ("_index", "_of")

    def __init__(self, of: Indexed, index: Any) -> None:
        self._of, self._index = of, index

    @property
    def aval(self) -> Aval:
        return aval_of(self.read())

    def read(self) -> Any:
        return self._of.read()[self._index]

    def write(self, index: Any, value: Any, how: str = "set") -> None:
        self._of.write(self._index, getattr(self.read().at[index], how)(value))


# ---------------------------------------------------------------------------------- how transforms carry them


class _Absent:
    """Stands in the arguments of a transform for a ref: no leaf, and the ref again where the function gets it."""

    def __init__(self, ref: Ref) -> None:
        self.ref = ref


tree.register_pytree_node(_Absent, lambda x: ((), x.ref), lambda ref, _: ref)


class Carried:
    """The refs that a function uses, and the function as a pure one."""

    def __init__(self, refs: Sequence[Ref]) -> None:
        self.refs = refs

    def read(self) -> list[Any]:
        return [r.read() for r in self.refs]

    def write(self, values: Sequence[Any]) -> None:
        """What the refs hold from now on."""
        for r, v in zip(self.refs, values, strict=True):
            r._held = v

    def pure(self, fun: Callable[..., Any]) -> Callable[..., tuple[Any, list[Any]]]:
        """``(values, *args) -> (fun(*args), values)`` of what the refs hold."""

        def call(values: Sequence[Any], *args: Any, **kwargs: Any) -> tuple[Any, list[Any]]:
            args, kwargs = tree.map(lambda x: x, (args, kwargs))  # with the refs that were absent
            with bound(self.refs, values):
                return fun(*args, **kwargs), [r._held for r in self.refs]

        return call

    def closed(self, fun: Callable[..., Any]) -> Callable[..., tuple[Any, list[Any]]]:
        """``pure`` of what they hold now."""
        values, call = self.read(), self.pure(fun)
        return lambda *args, **kwargs: call(values, *args, **kwargs)

    def with_aux(self, fun: Callable[..., Any], has_aux: bool) -> Callable[..., tuple[Any, Any]]:
        """A function with aux, for transforms that have that: aux of ``fun``, and what the refs hold."""
        call = self.closed(fun)

        def main(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
            out, values = call(*args, **kwargs)
            result, aux = out if has_aux else (out, None)
            return result, (aux, values)

        return main

    def without_values(self, aux: tuple[Any, Sequence[Any]]) -> Any:
        """The aux of ``fun``, from that of ``with_aux``; the refs are written."""
        self.write(aux[1])
        return aux[0]


@contextlib.contextmanager
def bound(refs: Sequence[Ref], values: Sequence[Any]) -> Iterator[None]:
    """In the block the refs belong to the trace that is running, and hold ``values``."""
    before = [(r._held, r._home) for r in refs]
    try:
        for r, v in zip(refs, values, strict=True):
            r._held, r._home = v, _here()
        yield
    finally:
        for r, (held, home) in zip(refs, before):
            r._held, r._home = held, home


def carrying(error: RefError, run: Callable[[Carried, Any], T], args: Any = ()) -> T:
    """A transform that was refused a ref, again: ``run(carried, args)`` for all refs that it turns out to need.

    Args:
        error: the refusal.
        args: arguments of the function, a pytree; ``run`` gets them without refs.

    Raises:
        RefError: what is refused is carried already, or nothing that could be.
    """
    refs: list[Ref] = []

    def taken(x: Any) -> Any:
        if type(x) is not Ref:
            return x
        if all(x is not r for r in refs):
            refs.append(x)
        return _Absent(x)

    args = tree.map(taken, args)
    again = False
    while True:
        if all(error.ref is not r for r in refs):
            if error.ref is None:
                raise error
            refs.append(error.ref)
        elif again:
            raise error
        try:
            return run(Carried(refs), args)
        except RefError as e:
            error, again = e, True


def refuse_refs(what: str, args: Any) -> None:
    """Raises RefError where ``args`` hold a ref."""
    if any(type(x) is Ref for x in tree.leaves(args)):
        raise RefError(f"{what} takes no ref: pass what it holds, ref[...]")
