"""The jitted function: a call finds its program by signature, or has it made.

The structure of the arguments, each leaf's shape, dtype and weakness, and the static arguments are the signature.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

import numpy as np

from .. import tree
from ..array import Array, check_device, to_numpy
from ..backend import Executable
from ..config import config
from ..dispatch import MISS, specialise
from ..dtypes import SUPPORTED
from ..errors import NonHashableStaticError, RefError, StaticArgumentError
from ..interning import forget
from ..ir import Aval
from ..mutable import Carried, Ref
from ..nans import wanted
from ..primitives.callbacks import calls_python
from ..replay import checked
from ..trace import Tracer, aval_of, bind, state, trace_flat
from ..traceback import shorten, user_frames
from ..transforms.flat import FlatFunction, check_function, example_aval
from .arguments import Arguments, refuse_options
from .lowered import Lowered, Traced, owned
from .primitive import jit_p
from .programs import CacheInfo, Entry, Key, Programs
from .sharing import after_trace, before_trace, programs_of

__all__ = ["JitFunction", "clear_caches", "jit"]

SHORT_WAYS = 4  # signatures of a function that are tried one after another before the general way


def clear_caches() -> None:
    """Forgets every program that jitted functions and loops have traced and compiled; kernels on disk stay."""
    for programs in list(Programs.everywhere):
        programs.clear()
    forget()


def _unlock_in_child() -> None:
    """In a forked child the threads that held a lock are gone."""
    for programs in list(Programs.everywhere):
        programs.unlock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)


P = ParamSpec("P")
R = TypeVar("R")


class JitFunction(Generic[P, R]):
    """A jitted function; see ``jit``."""

    def __init__(
        self,
        fun: Callable[P, R],
        static_argnums: int | Sequence[int] | None,
        static_argnames: str | Sequence[str] | None,
        donate_argnums: int | Sequence[int] | None,
        donate_argnames: str | Sequence[str] | None,
        keep_unused: bool,
        backend: str | None,
    ) -> None:
        check_function(fun, "jit", "Write jit(f)(x), not jit(f(x)); for a decorator with options: @fx.jit(...).")
        functools.update_wrapper(self, fun, updated=())
        self.fun = fun
        self.arguments = Arguments(fun, static_argnums, static_argnames, donate_argnums, donate_argnames)
        self.name = self.arguments.name
        self.keep_unused = keep_unused
        self.backend = backend
        self._options = (static_argnums, static_argnames, donate_argnums, donate_argnames, keep_unused, backend)
        self._programs = Programs(self.arguments, backend)
        self._called = False
        self._of_refs: RefProgram | None = None
        self.carries_refs = True

    @user_frames
    def __getattr__(self, name: str) -> Any:
        """What the user hung on the function; our own attributes come first."""
        if name == "__signature__" and "arguments" in self.__dict__ and self.arguments.signature is not None:
            return self.arguments.signature
        if name.startswith("__") or "fun" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.fun, name)

    # ------------------------------------------------------------------ calling

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            programs: Any = self._programs
            ways = programs.short
            for call in ways:
                out = call(args, kwargs)
                if out is not MISS:
                    programs.hits += 1
                    if call is not ways[0]:
                        programs.prefer(call)
                    return out
            return self._call(args, kwargs)
        except BaseException as e:
            shorten(e)
            raise

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The general way: finds the program of these arguments, or makes it."""
        if config.disable_jit:  # the function may write to its arguments, which are the caller's
            args, kwargs = tree.map(lambda x: x.copy() if type(x) is np.ndarray else x, (args, kwargs))
            return self.fun(*args, **kwargs)
        if not self._called:
            self._join()
            return self(*args, **kwargs)
        try:
            return self._of_arrays(args, kwargs) if self._of_refs is None else self._of_refs(args, kwargs)
        except RefError:
            if self._of_refs is not None or not self.carries_refs:
                raise
        self._of_refs = RefProgram(self.fun, self.arguments, self.keep_unused, self.backend)
        return self._of_refs(args, kwargs)

    def _of_arrays(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        programs = self._programs
        leaves, in_tree, static, call = self.arguments.split(args, kwargs)
        traced = bool(state.absorbing)
        signature = []
        for i, x in enumerate(leaves):
            t = type(x)
            if t is Array:
                d = x._data
                signature.append((d.shape, d.dtype, x.weak_type))
            elif t is np.ndarray:
                if x.dtype not in SUPPORTED:
                    x = leaves[i] = to_numpy(x)
                signature.append((x.shape, x.dtype, False))
            else:
                traced = traced or t is Tracer
                a = aval_of(self.arguments.leaf(x, args, kwargs))
                signature.append((a.shape, a.dtype, a.weak))
        axes = tuple([(a.name, a.size) for a in state.axes]) if state.axes else ()
        context = (
            config.default_float,
            config.default_int,
            axes,
            config.backend,
            config.engine,
            config.array_api,
            config.python_dtypes,
            config.wide_dtypes,
            config.in_place,
            config.numpy_functions,
        )
        key = Key(in_tree, tuple(signature), static, context)
        try:
            found = programs.entries.get(key)
        except TypeError as e:
            raise NonHashableStaticError(
                f"the structure of the arguments of {self.name} holds static data that is not hashable ({e}): {in_tree}."
                " Make the field data (an array) where the type is registered as a pytree, or use a tuple."
            ) from None
        new = found is None or (traced and found.family is not None)  # rules of derivatives may hold sizes
        if found is None or new:
            before_trace(programs, self.fun)
            entry = programs.make(key, call, leaves, in_tree, args, kwargs, traced)
            after_trace(programs, self.fun, entry)
        else:
            entry = found
            programs.hits += 1
        entry.used = programs.hits + programs.misses
        low = entry.lowered
        if traced or entry.captured is None or entry.axes:
            outs = bind(jit_p, *leaves, *low.captures, graph=low.graph)
            return tree.unflatten(low.out_tree, outs)
        run = entry.run
        if run is None:
            run = programs.compile(entry)
        elif not (new or static or config.watching):
            self._shorten_way(leaves, entry, run)
        arrays = [
            x._data if type(x) is Array else x if type(x) is np.ndarray else to_numpy_as(x, a)
            for x, a in zip(leaves, entry.avals)
        ]
        d = None  # a donated array must have no reference but its own
        if not wanted():
            if low.donate:
                self.arguments.give_up(low.donate, leaves, arrays, args, kwargs)
            outs = run(*arrays, *entry.captured)
        else:  # what raises gives nothing up
            outs = checked(run, low.graph, low.donate)(*arrays, *entry.captured)
            self.arguments.give_up(low.donate, leaves, arrays, args, kwargs)
        return tree.unflatten(low.out_tree, [owned(o, w) for o, w in zip(outs, entry.weak)])

    def _join(self) -> None:
        """On the first call: takes the programs of the function that others have made, if they are the same."""
        options = (self.arguments.options, self.backend, config.current())
        self._programs = programs_of(self.fun, options, lambda: self._programs)
        self._called = True

    def _shorten_way(self, leaves: Sequence[Any], entry: Entry, run: Executable) -> None:
        """From the second call on: a function for exactly this signature, tried first."""
        key = entry, config.epoch, tuple(map(type, leaves))
        if key[1] != key[1] or any(c.key == key for c in self._programs.short):  # an epoch of NaN: settings of a moment
            return
        low = entry.lowered
        captured = entry.captured or ()
        call: Any = specialise(
            leaves, low.in_tree, entry.avals, low.out_tree, entry.weak, run, captured, low.donate, self.name
        )
        if call is not None:
            call.key = key
            self._programs.short = (call, *self._programs.short[: SHORT_WAYS - 1])

    def dispatch_source(self) -> str:
        """The Python that takes the latest signature's arguments apart and builds its result (after two calls)."""
        return self._programs.short[0].source if self._programs.short else ""

    # ------------------------------------------------------------------ looking

    @user_frames
    def lower(self, /, *args: Any, **kwargs: Any) -> Lowered:
        """Traces for these arguments (arrays, or anything with ``shape`` and ``dtype``) and stops before compiling."""
        leaves, in_tree, static, call = self.arguments.split(args, kwargs)
        flat = FlatFunction(call, in_tree)
        flat.name = self.name
        names = self.arguments.dynamic_names(args, kwargs)
        avals = [example_aval(x, f"{n} of the jitted function {self.name}") for x, n in zip(leaves, names)]
        graph, captures = trace_flat(flat, avals, kind="jit", name=self.name, names=names)
        assert flat.out_tree is not None
        return Lowered(
            self.name,
            lambda: graph,
            captures,
            in_tree,
            flat.out_tree,
            static,
            self.backend,
            () if calls_python(graph) else self.arguments.donated(args, kwargs),
            self.arguments,
        )

    @user_frames
    def trace(self, /, *args: Any, **kwargs: Any) -> Traced:
        """Traces for these arguments: ``.jaxpr`` is the graph, ``.lower()`` the next stage."""
        return Traced(self.lower(*args, **kwargs))

    def eval_shape(self, /, *args: Any, **kwargs: Any) -> Any:
        """The result's shapes and dtypes, without computing it."""
        return self.lower(*args, **kwargs).out_info

    def cache_info(self) -> CacheInfo:
        """Counts of calls that found their program, were traced, were compiled; through any object that shares the programs."""
        return self._programs.info()

    def _cache_size(self) -> int:
        """JAX's name of ``cache_info().size``, the number of programs."""
        return self.cache_info().size

    def clear_cache(self) -> None:
        """Forgets every program of this function, whichever ``jit`` object made it (kernels on disk stay)."""
        if not self._called:
            self._join()
        self._programs.clear()

    def explain_misses(self) -> str:
        """Why each trace happened: what differed from the signatures known before."""
        return "\n".join(map(str, tuple(self._programs.log))) or f"{self.name}: not called yet"

    def __reduce__(self) -> Any:
        """By name where it is found under its own, as what a decorator made is; else the function and the options.

        A pickler that sends functions of the main program by value (cloudpickle, and with it joblib, Dask and Ray: their
        workers have another main program) has a hook for them, and is the caller.
        """
        by_value = self.__module__ == "__main__" and hasattr(_caller(), "reducer_override")
        with contextlib.suppress(AttributeError):
            if not by_value and operator.attrgetter(self.__qualname__)(sys.modules.get(self.__module__)) is self:
                return self.__qualname__
        return JitFunction, (self.fun, *self._options)

    def __copy__(self) -> JitFunction:
        return self

    def __deepcopy__(self, memo: Any) -> JitFunction:
        return self

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Methods: ``self`` is bound as for a function."""
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<jit of {self.name}>"


class _Numbered:
    """Stands for one of the refs that are passed: no leaf of the arguments, and the same in each call."""

    def __init__(self, number: int) -> None:
        self.number = number


tree.register_pytree_node(_Numbered, lambda x: ((), x.number), lambda number, _: _Numbered(number))


class RefProgram:
    """A jitted function of refs, or of arrays beside refs that it closes over: a jitted pure function of what they hold."""

    def __init__(self, fun: Callable[..., Any], arguments: Arguments, keep_unused: bool, backend: str | None) -> None:
        self.fun, self.arguments = fun, arguments
        self.closed: list[Ref] = []  # the refs that it closes over
        nums, donated = [[i + 1 for i in n] for n in (arguments.static_argnums, arguments.donate_argnums)]
        by_name = arguments.static_argnames, arguments.donate_argnames

        def pure(held: tuple[Sequence[Any], Sequence[Any]], /, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            refs = [Ref(v) for v in held[0]]

            def given(x: Any) -> Any:
                return refs[x.number] if type(x) is _Numbered else x

            args, kwargs = tree.map(given, (args, kwargs), is_leaf=lambda x: type(x) is _Numbered)
            out, values = Carried(self.closed).pure(fun)(held[1], *args, **kwargs)
            return out, ([r.read() for r in refs], values)

        pure.__name__ = arguments.name
        self.program = JitFunction(pure, nums, by_name[0], donated, by_name[1], keep_unused, backend)
        self.program.carries_refs = False  # it holds all that it needs

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        passed: list[Ref] = []

        def numbered(x: Any) -> Any:
            if type(x) is not Ref:
                return x
            self.check_new(x, passed)
            self.check_new(x, self.closed)
            passed.append(x)
            return _Numbered(len(passed) - 1)

        fixed = {n: kwargs[n] for n in self.arguments.static_argnames if n in kwargs}
        nums = self.arguments.static_argnums
        args = tuple([a if i in nums else tree.map(numbered, a) for i, a in enumerate(args)])
        kwargs = {**tree.map(numbered, {k: v for k, v in kwargs.items() if k not in fixed}), **fixed}

        while True:
            groups = Carried(passed), Carried(self.closed)
            held = groups[0].read(), groups[1].read()
            try:
                out, after = self.program(held, *args, **kwargs)
            except RefError as e:  # one more that it closes over
                if e.ref is None or any(e.ref is r for r in self.closed):
                    raise
                self.check_new(e.ref, passed)
                self.closed = [*self.closed, e.ref]
                continue
            for g, values in zip(groups, after):
                g.write(values)
            return out

    def check_new(self, ref: Ref, known: Sequence[Ref]) -> None:
        """Raises RefError if a ref is known by another name already."""
        if any(ref is r for r in known):
            raise RefError(
                f"a ref ({ref.aval}) was passed to the jitted function {self.arguments.name} twice, or passed and closed over."
                " What is written by one name would not show by the other: pass it once."
            )


def _caller() -> Any:
    """The object whose method called the method that asks."""
    return sys._getframe(2).f_locals.get("self")


def to_numpy_as(x: Any, aval: Aval) -> np.ndarray:
    """A Python or NumPy scalar as the array that the graph was traced for."""
    return np.asarray(x, aval.dtype)


@overload
def jit(
    fun: Callable[P, R],
    *,
    static_argnums: int | Sequence[int] | None = ...,
    static_argnames: str | Sequence[str] | None = ...,
    donate_argnums: int | Sequence[int] | None = ...,
    donate_argnames: str | Sequence[str] | None = ...,
    keep_unused: bool = ...,
    device: Any = ...,
    backend: str | None = ...,
    inline: bool = ...,
    in_shardings: Any = ...,
    out_shardings: Any = ...,
    compiler_options: Any = ...,
) -> JitFunction[P, R]: ...
@overload
def jit(
    fun: None = None,
    *,
    static_argnums: int | Sequence[int] | None = ...,
    static_argnames: str | Sequence[str] | None = ...,
    donate_argnums: int | Sequence[int] | None = ...,
    donate_argnames: str | Sequence[str] | None = ...,
    keep_unused: bool = ...,
    device: Any = ...,
    backend: str | None = ...,
    inline: bool = ...,
    in_shardings: Any = ...,
    out_shardings: Any = ...,
    compiler_options: Any = ...,
) -> Callable[[Callable[P, R]], JitFunction[P, R]]: ...
@user_frames
def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Sequence[str] | None = None,
    keep_unused: bool = False,
    device: Any = None,
    backend: str | None = None,
    inline: bool = False,
    in_shardings: Any = None,
    out_shardings: Any = None,
    compiler_options: Any = None,
) -> Any:
    """Compiles a function to native loops; nothing but its time changes.

    Args:
        fun: a pure function of arrays and pytrees of arrays (without it, a decorator is returned).
        static_argnums, static_argnames: arguments that are hashable Python values, part of the program: a new value
            is traced anew.  Each may be given by the other's means; both spellings work at the call.
        donate_argnums, donate_argnames: arguments whose memory may be reused for results; their arrays cannot be
            used afterwards, and one array cannot be donated twice in a call.
        keep_unused: accepted for compatibility; an unused argument costs nothing.
        device, in_shardings, out_shardings: accepted where they name the one device, the CPU.
        backend: "native" (default; also "cpu") or "reference", which runs the same graph in NumPy.
        inline: accepted; a jitted function that is called by another is always compiled with it.
        compiler_options: None: those of XLA mean nothing here; ``fx.config`` has ours.

    Returns:
        The compiled function, with ``lower(*args)``, ``cache_info()``, ``explain_misses()``, ``clear_cache()``.  It holds
        its latest 4096 programs (``cache_info().max_size``), and shares them with all that ``jit`` makes of the same function
        with the same options: ``jit(f)(x)`` in a loop traces once, and so do methods, partials and ``jit(grad(f))``.

    Raises:
        ConcretizationError: when the function asks a traced value for its number (``if x > 0``).
        NonHashableStaticError: a static argument is not hashable.

    >>> import fx, numpy as np
    >>> fx.jit(lambda x: np.exp(x) / (1 + np.exp(x)))(np.float32([0.0, 1.0]))
    Array([0.5      , 0.7310586], dtype=float32)
    """
    if backend not in (None, "native", "cpu", "reference"):
        raise StaticArgumentError(f"backend must be 'native' (or 'cpu') or 'reference'; found {backend!r}")
    refuse_options(compiler_options)
    for what, where in (("device", device), ("in_shardings", in_shardings), ("out_shardings", out_shardings)):
        check_device(where, what)
    backend = "native" if backend == "cpu" else backend
    options = (static_argnums, static_argnames, donate_argnums, donate_argnames, keep_unused, backend)
    if fun is None:
        return lambda f: JitFunction(f, *options)
    return JitFunction(fun, *options)
