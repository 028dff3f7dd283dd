"""Programs that belong to a function: shared by all ``jit`` objects that were made of it with the same options.

``fx.jit(f)(x)`` in a loop makes an object a turn, and traces once.  Which function it is says its *identity*:

* of a function that the user wrote, the object itself;
* of a bound method (or an object that is called), the instance and the function;
* of a ``functools.partial``, and of what a transformation made (``grad(f)``), that of the function inside and the values
  that stand beside it.

What the function *reads* is looked at too: the code and the defaults, the variables it closes over, the globals it names,
and the attributes of the instance.  If one of them is another object than its latest trace left there, the programs are made
anew.  What lies deeper (the globals of a function that it calls) is not seen, as JAX sees none of it.  An object made by
``jit`` goes by its own programs after its first call: there changes are seen where a new signature is traced.

The programs live in the ``__dict__`` of the function that the user wrote, so that they die with it, whatever they hold; what
else an identity names is referred to weakly, and takes its programs along.
"""

from __future__ import annotations

import functools
import gc
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..array import Array
from ..ir import Aval, Graph, subgraphs
from ..trace.source import is_library
from .arguments import typed
from .programs import Entry, Programs

__all__ = ["after_trace", "before_trace", "programs_of"]

_HOME = "__fx_programs__"
_MOST_SHARED = 64  # identities and options of one function, the latest
_MOST_READ = 512  # values that are compared; a function that reads more has programs of its own
_MOST_BYTES = 4096  # of an array that is compared by its numbers too
_MOST_SEARCHED = 2000  # objects
_ATOMS = (int, float, complex, bool, str, bytes, type(None), type(...), np.generic, np.dtype, np.ufunc)
_lock = threading.RLock()  # a handler of a signal may call what was interrupted here


def programs_of(fun: Callable[..., Any], options: tuple[Any, ...], make: Callable[[], Programs]) -> Programs:
    """The programs of ``fun`` under these options, or new ones: its own where nothing says that it is the same again."""
    try:
        look = _Look(fun)
        if look.home is None:
            return make()
        key = look.identity, options
        hash(key)
    except (_Alone, TypeError):  # TypeError: an option that is no value
        return make()
    with _lock:
        known = _home(look.home).programs
        found = known.pop(key, None)
        if found is None or found.reads != look.reads:
            found = make()
            found.share(look.reads)
            found.named = look.named
        known[key] = found  # the latest comes last
        look.dies_with.append((known, key))
        found.place = look.dies_with
        for old in list(known)[:-_MOST_SHARED]:
            known.pop(old, None)
    return found


def before_trace(programs: Programs, fun: Callable[..., Any]) -> None:
    """Ends the sharing if the function reads other things by now: the objects that have the programs keep them, with what is
    traced from here on, and further ones begin anew."""
    if programs.reads is not None and programs.reads != _reads(fun):
        programs.reads = None


def after_trace(programs: Programs, fun: Callable[..., Any], entry: Entry) -> None:
    """Notes what the function left behind where it reads: one that counts its traces has not changed.  Ends the sharing if the
    program keeps alive what the function is named by, with which it is to die: by a rule or a callback that closes over it."""
    if programs.reads is None:
        return
    programs.reads = _reads(fun)
    if (
        programs.named
        and entry.family is None
        and _reach(_callables(entry.lowered.graph), {ref.number for ref in programs.named})
    ):
        programs.reads = None
        _forget(programs.place)


def _callables(graph: Graph) -> list[Any]:
    """The functions that the equations of a graph hold, of whatever depth."""
    found = []
    for e in graph.eqns:
        found += [v for v in e.params.values() if callable(v)]
        for _, inner in subgraphs(e.params):
            found += _callables(inner)
    return found


def _reach(todo: list[Any], wanted: set[int]) -> bool:
    """Whether objects keep one of those alive whose ids are ``wanted``; true where the search is long."""
    seen: set[int] = set()
    while todo:
        x = todo.pop()
        if id(x) in wanted or len(seen) > _MOST_SEARCHED:
            return True
        if id(x) in seen or isinstance(x, (type, ModuleType, _Home, Aval, *_ATOMS)):
            continue  # of a type is remembered what the whole process does with it, and nothing that holds a function
        seen.add(id(x))
        if type(x) is FunctionType:  # not its globals
            todo += [*_cells(x), x.__defaults__, x.__kwdefaults__, *x.__dict__.values()]
        else:
            todo += gc.get_referents(x)
    return False


def _reads(fun: Callable[..., Any]) -> Any:
    try:
        return _Look(fun).reads
    except _Alone:
        return _Alone  # unlike all that is read


class _Alone(Exception):
    """There is no saying whether a function is the same again."""


class _Ref(weakref.ref):  # type: ignore[type-arg]
    """An object as itself, whatever it says of equality, not kept alive."""

    __slots__ = ("number",)
    number: int

    def __new__(cls, x: Any, gone: Any = None) -> _Ref:
        self = super().__new__(cls, x, gone)
        self.number = id(x)
        return self

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(other) is _Ref and self.number == other.number and self() is not None and self() is other()


class _Home:
    """In a function's ``__dict__``: its programs by identity and options.  Copies (``functools.wraps``) and pickles are empty."""

    def __init__(self, owner: Any = None) -> None:
        self.owner: Callable[[], Any] = weakref.ref(owner) if owner is not None else lambda: None
        self.programs: dict[Any, Programs] = {}

    def __reduce__(self) -> Any:
        return _Home, ()


def _home(f: FunctionType) -> _Home:
    home = f.__dict__.get(_HOME)
    if home is None or home.owner() is not f:
        home = f.__dict__[_HOME] = _Home(f)
    return home


class _Look:
    """What a function is, and what it reads.

    identity: equal for what is the same function.  home: the function that the user wrote.  reads: its values, in order.
    named: what the identity names beside the function that the user wrote.  dies_with: the dictionaries and keys from which the programs go when something that the identity names is gone.
    """

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.home: FunctionType | None = None
        self.reads: list[Any] = []
        self.named: list[_Ref] = []
        self.dies_with: list[tuple[dict[Any, Programs], Any]] = []
        self._left = _MOST_READ
        self._gone = functools.partial(_forget, self.dies_with)
        self.identity = self._function(fun)

    def _function(self, f: Any) -> Any:
        if type(f) is FunctionType:
            return self._written(f)
        if type(f) is MethodType:
            return self._method(f.__self__, f.__func__)
        if type(f) is functools.partial:
            return functools.partial, self._function(f.func), self._part(f.args), self._part(f.keywords)
        return self._method(f, _call_of(f))

    def _written(self, f: FunctionType) -> Any:
        """A function of the user's is itself; one of the library's, what it holds."""
        if is_library(f.__code__.co_filename) and f.__closure__:
            parts = [self._part(v) for v in (*_cells(f), f.__defaults__, f.__kwdefaults__)]
            return _Ref(f.__code__), tuple(parts)
        if self.home is None:
            self.home = f
        self.reads.append(_Ref(f.__code__))
        self.reads += map(self._value, (*_cells(f), f.__defaults__, f.__kwdefaults__, *_globals(f)))
        return _Ref(f, self._gone) if f is self.home else self._ref(f)

    def _method(self, instance: Any, function: Any) -> Any:
        if type(function) is not FunctionType:
            raise _Alone
        inner = getattr(instance, "__dict__", {}).get("__wrapped__")
        if (
            type(inner) is FunctionType and self.home is None
        ):  # made of a function, as by ``custom_jvp``: one goes with the other
            self.home = inner
            return _Ref(instance, self._gone), self._function(inner)
        if self.home is None:
            self.home = function
        what = self._function(function)
        if isinstance(instance, tuple):
            return self._part(instance), what
        if not isinstance(instance, type):
            self.reads.append(self._value(getattr(instance, "__dict__", None)))
        return self._ref(instance), what

    def _part(self, x: Any) -> Any:
        """A value of which the function was made.  Arrays would be kept alive by the programs that hold them."""
        if isinstance(x, (np.ndarray, Array)):
            raise _Alone
        if type(x) in (FunctionType, MethodType, functools.partial) or type(_call_of(x)) is FunctionType:
            self._count()
            return self._function(x)
        return self._value(x, self._part, self._ref)

    def _value(self, x: Any, each: Any = None, ref: Any = _Ref) -> Any:
        """A value by what it is: numbers and strings, containers by what they hold, the rest by identity."""
        self._count()
        t, each = type(x), each or self._value
        if issubclass(t, _ATOMS):
            return typed(x)
        if issubclass(t, (tuple, list)):
            return t, tuple([each(v) for v in tuple(x)])
        if issubclass(t, dict):
            return t, tuple([(each(k), each(v)) for k, v in tuple(dict.items(x))])
        if issubclass(t, (set, frozenset)):
            return t, frozenset([each(v) for v in tuple(x)])
        if issubclass(t, np.ndarray) and x.nbytes <= _MOST_BYTES and not x.dtype.hasobject:
            return ref(x), x.dtype, x.shape, x.tobytes()  # it may be written to
        if t is MethodType:
            return ref(x.__self__), ref(x.__func__)
        try:
            return ref(x)
        except TypeError:
            raise _Alone from None

    def _ref(self, x: Any) -> _Ref:
        try:
            self.named.append(_Ref(x, self._gone))
        except TypeError:
            raise _Alone from None
        return self.named[-1]

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _Alone


def _call_of(x: Any) -> Any:
    """The function that a call of an object runs."""
    return next((vars(t)["__call__"] for t in type(x).__mro__ if "__call__" in vars(t)), None)


def _forget(where: list[tuple[dict[Any, Programs], Any]], _: Any = None) -> None:
    for known, key in where:
        known.pop(key, None)


def _cells(f: FunctionType) -> list[Any]:
    """What a function closes over; an empty cell stands for itself."""
    out = []
    for cell in f.__closure__ or ():
        try:
            out.append(cell.cell_contents)
        except ValueError:
            out.append(...)
    return out


def _globals(f: FunctionType) -> Iterator[Any]:
    """The globals that a function, and those written inside it, may name."""
    scope = f.__globals__
    return (scope[name] for name in _names(f.__code__) if name in scope)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if type(inner) is CodeType:
            yield from _names(inner)


def _after_fork() -> None:
    """The thread of the parent that held the lock is gone."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
