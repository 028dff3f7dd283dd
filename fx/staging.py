"""``jit``: the signature cache, the jit primitive, and the stages that can be looked at.

A call finds its compiled program by *signature*: the structure of the arguments, each leaf's shape, dtype and
weakness, and the static arguments.  A new signature is traced into a Graph and compiled; one that differs from a known
one in sizes alone becomes a *family* (``families``), whose other members are filled in instead.

The jit primitive holds the traced graph.  Its derivative is a jit of the primal graph (residuals as extra
outputs) and a jit of the tangent graph; its transpose and its batched form are jits too.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
import os
import sys
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from . import tree
from .array import Array, to_numpy
from .backend import Executable, compile_graph
from .config import config
from .dispatch import MISS, specialise
from .dtypes import canonical
from .errors import NonHashableStaticError, SideEffectWarning, StaticArgumentError, TreeError
from .families import Family, Known, grow, holds_sizes, varying
from .interning import forget
from .ir import Aval, Graph
from .nans import wanted
from .primitive import Linear, Primitive
from .primitives.helpers import instantiate
from .replay import checked
from .sizes import is_sized
from .trace import Tracer, aval_of, bind, bind_known, named_axes, state, trace_flat, user_source
from .traceback import shorten, user_frames
from .transforms.calls import batch_closed, jvp_closed, linearize_closed, transpose_closed
from .transforms.flat import (
    FlatFunction,
    argument_names,
    check_function,
    check_leaf,
    example_aval,
    function_name,
    resolve_argnums,
)
from .transforms.jvp import are_linear

__all__ = ["Compiled", "JitFunction", "Lowered", "jit", "jit_p"]

_MOST_FRUITLESS = 3  # attempts at a family, after which a function that needs its sizes as numbers is left alone
_MOST_FAMILIES = 8  # of one structure of arguments: guards divide the sizes into ranges
_MOST_COMPARED = 16  # known signatures that a new one is compared with
SHORT_WAYS = 4  # signatures of a function that are tried one after another before the general way
_LOG_LENGTH = 256  # reasons of the latest traces that explain_misses() tells
_MOST_PROGRAMS = 4096  # of one jitted function; a quarter of them goes at once, so that a call need not sort them

# ----------------------------------------------------------------------------------- the primitive

jit_p = Primitive("jit", multiple_results=True)
jit_p.def_abstract(lambda *avals, graph: graph.out_avals)


def executable_of(graph: Graph, backend: str | None = None, donate: tuple[int, ...] = ()) -> Executable:
    """The compiled graph, made once per graph, backend and engine."""
    key = ("executable", backend or config.backend, config.engine, donate)
    return graph.memo(key, lambda: compile_graph(graph, backend=backend, donate=donate))


@jit_p.def_impl
def _jit_impl(*args: Any, graph: Graph) -> Sequence[np.ndarray]:
    return checked(executable_of(graph), graph)(*[to_numpy(a) for a in args])


@jit_p.def_forward
def _jit_forward(arrays: Sequence[Any], wrt: tuple[bool, ...], *, graph: Graph) -> tuple[Sequence[Any], Any]:
    """Runs the primal graph with its residuals, so that the derivative need not run it again."""
    lin = linearize_closed(graph, wrt)
    run = checked(executable_of(lin.primal), lin.primal)
    results = run(*[to_numpy(a) for a in (*arrays, *lin.captures)])
    return results[: len(graph.outputs)], (wrt, lin, results)


@jit_p.def_jvp_call
def _jit_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, graph: Graph, resume: Any = None
) -> tuple[list[Any], list[Any]]:
    wrt = tuple(t is not None for t in tangents)
    if resume is None and not are_linear(tangents):  # forward mode: one program, and no residuals to keep
        joint, captures, nonzero = jvp_closed(graph, wrt)
        given = [t for t in tangents if t is not None]
        outs = bind(jit_p, *primals, *given, *captures, graph=joint)
        n = len(graph.outputs)
        t_outs = iter(outs[n:])
        return outs[:n], [next(t_outs) if nz else None for nz in nonzero]
    if resume is not None and all(r or not w for w, r in zip(wrt, resume[0])):
        wrt, lin, results = resume  # what was guessed to have a tangent while tracing, and may have a zero one
        outs = bind_known(jit_p, [*primals, *lin.captures], {"graph": lin.primal}, results, lin.primal.out_avals)
    else:
        lin = linearize_closed(graph, wrt)
        outs = bind(jit_p, *primals, *lin.captures, graph=lin.primal)
    ts = [instantiate(t, aval_of(x).strong()) for t, x, w in zip(tangents, primals, wrt) if w]
    t_out = iter(bind(jit_p, *ts, *lin.residual_values(primals, outs), graph=lin.linear))
    return outs[: len(graph.outputs)], [next(t_out) if nz else None for nz in lin.nonzero]


@jit_p.def_transpose
def _jit_transpose(cts: Sequence[Any], inputs: Sequence[Any], *, graph: Graph) -> list[Any]:
    linear = [isinstance(x, Linear) for x in inputs]
    transposed, captures, nonzero = transpose_closed(graph, linear, [c is not None for c in cts])
    others = [x for x in inputs if not isinstance(x, Linear)]
    out = iter(bind(jit_p, *others, *(c for c in cts if c is not None), *captures, graph=transposed))
    per_linear = iter([next(out) if nz else None for nz in nonzero])
    return [next(per_linear) if is_lin else None for is_lin in linear]


@jit_p.def_batch
def _jit_batch(size: int, args: Sequence[Any], dims: Sequence[int | None], *, graph: Graph) -> Any:
    batched, captures, out_dims = batch_closed(graph, dims, state.mapped[-1])
    return bind(jit_p, *args, *captures, graph=batched), list(out_dims)


# -------------------------------------------------------------------------------------- the stages


@dataclass(frozen=True)
class Lowered:
    """A traced function: the stage between Python and native code."""

    name: str
    make_graph: Callable[[], Graph] = field(repr=False)
    captures: list[Any]
    in_tree: tree.TreeDef
    out_tree: tree.TreeDef
    static: tuple[Any, ...]
    backend: str | None
    donate: tuple[int, ...]
    split: Callable[..., Any]

    @functools.cached_property
    def graph(self) -> Graph:
        return self.make_graph()

    @property
    def executable(self) -> Executable:
        return executable_of(self.graph, self.backend, self.donate)

    def explain(self) -> str:
        """Each kernel of the compiled program: its equations, the reason for each fusion decision, flops, bytes."""
        return self.executable.explain()

    def loops(self) -> str:
        """The compiled loops as Python."""
        return self.executable.loops()

    def cost_analysis(self) -> dict[str, Any]:
        """Flops, bytes read and written, and memory of the program."""
        return self.executable.cost_analysis()

    def compile(self) -> Compiled:
        """Native code for exactly this signature."""
        return Compiled(self, self.executable)

    def as_text(self) -> str:
        return str(self.graph)

    def leaf_name(self, i: int) -> str:
        names = self.graph.input_names
        return names[i] if names and names[i] else f"argument leaf {i}"

    @property
    def out_info(self) -> Any:
        return tree.unflatten(self.out_tree, list(self.graph.out_avals))

    def __str__(self) -> str:
        return str(self.graph)

    def _repr_html_(self) -> str:
        return self.graph._repr_html_()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Compiled:
    """A compiled function for one signature; calling it never traces or compiles.

    It takes the arguments it was lowered for; the static ones may be left out, as in JAX.
    """

    lowered: Lowered
    executable: Executable

    @user_frames
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        low = self.lowered
        leaves, in_tree = tree.flatten((args, kwargs))
        if low.static and in_tree != low.in_tree:
            leaves, in_tree, static, _ = low.split(args, kwargs)
            if static != low.static:
                found, want = (", ".join(f"{which!r}: {_shown(k)}" for which, k in s) for s in (static, low.static))
                raise StaticArgumentError(
                    f"{low.name} was compiled for the static arguments {want}; called with {found or 'none'}"
                )
        if in_tree != low.in_tree:
            raise StaticArgumentError(f"{low.name} was compiled for arguments {low.in_tree}; called with {in_tree}")
        for i, (x, a) in enumerate(zip(leaves, low.graph.in_avals)):
            check_leaf(x, low.leaf_name(i))
            if not aval_of(x).same_type(a):
                raise StaticArgumentError(
                    f"{low.name} was compiled for {a} as {low.leaf_name(i)}; called with {aval_of(x)}"
                )
            if type(x) is Tracer:
                raise StaticArgumentError(
                    f"{low.name} was lowered and compiled ahead of time; it cannot be called on traced values, which"
                    f" {x.builder.kind} of {x.builder.name!r} gives it. Call the jitted function itself."
                )
        arrays = [to_numpy(x).astype(a.dtype, copy=False) for x, a in zip([*leaves, *low.captures], low.graph.in_avals)]
        run = checked(self.executable, low.graph)
        outs = zip(run(*arrays), low.graph.out_avals)
        return tree.unflatten(low.out_tree, [_result(o, a.weak) for o, a in outs])

    def cost_analysis(self) -> dict[str, Any]:
        return self.executable.cost_analysis()

    def as_text(self) -> str:
        return self.executable.loops()


# ------------------------------------------------------------------------------------- the wrapper


class CacheInfo(NamedTuple):
    """hits: calls that found their program; misses: calls that were traced; size: programs held; max_size: the most
    that are held, beyond which those go that have not been called for longest."""

    hits: int
    misses: int
    size: int
    traced: int
    compiled: int
    max_size: int


@dataclass
class _Entry:
    lowered: Lowered
    avals: Sequence[Aval]
    captured: list[np.ndarray] | None
    weak: tuple[bool, ...]
    axes: frozenset[Any]
    run: Executable | None = None
    used: int = 0  # the number of the latest call
    filled_in: bool = False


class _Key(NamedTuple):
    in_tree: tree.TreeDef
    leaves: tuple[Any, ...]
    static: tuple[Any, ...]
    context: tuple[Any, ...]

    @property
    def holds_sizes(self) -> bool:
        """Whether it is that of an inner function, called while a family is traced."""
        return holds_sizes(self.leaves) or any(is_sized(size) for _, size in self.context[2])


_functions: weakref.WeakSet[JitFunction] = weakref.WeakSet()


def clear_caches() -> None:
    """Forgets every program that jitted functions and loops have traced and compiled; kernels on disk stay."""
    for f in list(_functions):
        f.clear_cache()
    forget()


def _unlock_in_child() -> None:
    """In a forked child the threads that held a lock are gone, and would never release it."""
    for f in list(_functions):
        f._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_in_child)


class JitFunction:
    """A jitted function; see ``jit``."""

    def __init__(
        self,
        fun: Callable[..., Any],
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
        self.name = function_name(fun)
        self.keep_unused = keep_unused
        self.backend = backend
        try:
            self.signature: inspect.Signature | None = inspect.signature(fun)
        except (TypeError, ValueError):
            self.signature = None
        self.static_argnums, self.static_argnames = self._positions(static_argnums, static_argnames, "static")
        self.donate_argnums, self.donate_argnames = self._positions(donate_argnums, donate_argnames, "donate")
        both = set(self.static_argnames) & set(self.donate_argnames)
        if both or set(self.static_argnums) & set(self.donate_argnums):
            raise StaticArgumentError(
                f"an argument of {self.name} is both static and donated: {sorted(both) or self.static_argnums}"
            )
        self._options = (static_argnums, static_argnames, donate_argnums, donate_argnames, keep_unused, backend)
        self._entries: dict[_Key, _Entry] = {}
        self._families: dict[Any, list[Family]] = {}
        self._fruitless = 0  # times that no family came of two signatures that differ in sizes
        self._short: tuple[Any, ...] = ()
        self._hits = self._misses = self._traced = self._compiled = 0
        self._log: deque[str] = deque(maxlen=_LOG_LENGTH)
        self._lock = threading.RLock()
        _functions.add(self)

    def __getattr__(self, name: str) -> Any:
        """What the user hung on the function; our own attributes come first."""
        if name.startswith("__") or "fun" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.fun, name)

    # ------------------------------------------------------------------ which arguments are static

    def _positions(self, nums: Any, names: Any, what: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """argnums and argnames, each completed from the other by the function's signature."""
        nums = (
            () if nums is None else tuple(nums) if isinstance(nums, (tuple, list, set, frozenset, range)) else (nums,)
        )
        if not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in nums):
            raise StaticArgumentError(
                f"{what}_argnums must be an int or a sequence of ints; found {nums}. Names go to {what}_argnames."
            )
        names = () if names is None else tuple(names) if isinstance(names, (tuple, list, set, frozenset)) else (names,)
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

    def _split(
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
            self._check_static(which, value)
        static = tuple([(which, _typed(value)) for which, value in chosen])
        dyn_args = tuple(a for i, a in enumerate(args) if i not in nums)
        dyn_kwargs = {k: v for k, v in kwargs.items() if k not in names}
        n = len(args)

        def call(*dynamic: Any, **dynamic_kw: Any) -> Any:
            it = iter(dynamic)
            full = [args[i] if i in nums else next(it) for i in range(n)]
            return self.fun(*full, **dynamic_kw, **{k: kwargs[k] for k in names})

        leaves, in_tree = tree.flatten((dyn_args, dyn_kwargs))
        return leaves, in_tree, static, call

    def _check_static(self, which: int | str, value: Any) -> None:
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

    # ------------------------------------------------------------------ calling

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        try:
            for call in self._short:
                out = call(args, kwargs)
                if out is not MISS:
                    self._hits += 1
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
        leaves, in_tree, static, call = self._split(args, kwargs)
        traced = bool(state.absorbing)
        signature = []
        for x in leaves:
            t = type(x)
            if t is Array:
                d = x._data
                signature.append((d.shape, d.dtype, x.weak_type))
            elif t is np.ndarray:
                signature.append((x.shape, x.dtype, False))
            else:
                traced = traced or t is Tracer
                a = aval_of(self._leaf(x, args, kwargs))
                signature.append((a.shape, a.dtype, a.weak))
        axes = tuple([(a.name, a.size) for a in state.axes]) if state.axes else ()
        context = (config.default_float, config.default_int, axes, config.backend, config.engine)
        key = _Key(in_tree, tuple(signature), static, context)
        try:
            entry = self._entries.get(key)
        except TypeError as e:
            raise NonHashableStaticError(
                f"the structure of the arguments of {self.name} holds static data that is not hashable ({e}): {in_tree}."
                " Make the field data (an array) where the type is registered as a pytree, or use a tuple."
            ) from None
        if entry is None:
            entry = self._make(key, call, leaves, in_tree, args, kwargs, traced)
        elif (
            traced and entry.filled_in
        ):  # rules of derivatives may hold sizes, which only a trace of its own has as numbers
            entry = self._make(key, call, leaves, in_tree, args, kwargs, traced)
        else:
            self._hits += 1
        entry.used = self._hits + self._misses
        low = entry.lowered
        if traced or entry.captured is None or entry.axes:
            outs = bind(jit_p, *leaves, *low.captures, graph=low.graph)
            return tree.unflatten(low.out_tree, outs)
        run = entry.run
        if run is None:
            run = self._compile(entry)
        elif not static and not config.watching:
            self._shorten_way(leaves, entry, run)
        arrays = [
            x._data if type(x) is Array else x if type(x) is np.ndarray else to_numpy_as(x, a)
            for x, a in zip(leaves, entry.avals)
        ]
        d = None  # a donated array must have no reference but its own
        if low.donate:
            self._check_donated(low.donate, leaves, args, kwargs)
        for i in low.donate:
            arrays[i] = 0  # type: ignore[call-overload]  # no reference but the array's own
            arrays[i] = leaves[i]._give_up() if type(leaves[i]) is Array else np.array(leaves[i])
        if wanted():
            run = checked(run, low.graph, low.donate)
        outs = run(*arrays, *entry.captured)
        return tree.unflatten(low.out_tree, [_result(o, w) for o, w in zip(outs, entry.weak)])

    def _shorten_way(self, leaves: Sequence[Any], entry: _Entry, run: Executable) -> None:
        """From the second call on: a function for exactly this signature, tried first."""
        key = entry, config.epoch, tuple(map(type, leaves))
        if key[1] != key[1] or any(c.key == key for c in self._short):  # an epoch of NaN: settings of a moment
            return
        low = entry.lowered
        captured = entry.captured or ()
        call: Any = specialise(
            leaves, low.in_tree, entry.avals, low.out_tree, entry.weak, run, captured, low.donate, self.name
        )
        if call is not None:
            call.key = key
            self._short = (call, *self._short[: SHORT_WAYS - 1])

    def dispatch_source(self) -> str:
        """The Python that takes the latest signature's arguments apart and builds its result (after two calls)."""
        return self._short[0].source if self._short else ""

    def _leaf(self, x: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with contextlib.suppress(TreeError):
            return check_leaf(x, "")
        names = argument_names(self.fun, args, kwargs)
        values = tree.leaves((args, kwargs))
        name = next((n for n, v in zip(names, values) if v is x), "an argument")
        return check_leaf(x, f"{name} of the jitted function {self.name}")

    def _make(
        self, key: _Key, call: Callable[..., Any], leaves: Sequence[Any], in_tree: tree.TreeDef, args: Any, kwargs: Any,
        traced: bool,
    ) -> _Entry:  # fmt: skip
        """The program of a new signature: filled in, where it differs in sizes alone, or traced."""
        for x in leaves:
            if type(x) is np.ndarray:
                canonical(x.dtype)
        with self._lock:
            self._misses += 1
            difference = "sizes that vary" if key.holds_sizes else self._difference(key, args, kwargs)
        names = argument_names(self.fun, args, kwargs) if not key.static else self._dynamic_names(args, kwargs)
        donated = self._donated(args, kwargs)

        def trace(avals: Sequence[Aval]) -> tuple[Graph, list[Any], Any]:
            with self._lock:
                self._traced += 1
            flat = FlatFunction(call, in_tree)
            flat.name = self.name
            with _watch_random(self.name):
                graph, captures = trace_flat(flat, avals, kind="jit", name=self.name, names=names)
            return graph, captures, flat.out_tree

        may_vary = not (traced or key.context[2] or config.watching or config.check_tracer_leaks)
        found = self._family_for(key, donated, trace) if may_vary and self._is_native() else None
        if found is not None:
            self._explain_miss("filled in", difference)
            return self._filled_in(key, *found, donated)
        self._explain_miss("traced", difference)
        avals = [Aval(*s) for s in key.leaves]
        graph, captures, out_tree = trace(avals)
        concrete = not any(type(c) is Tracer for c in captures)
        low = Lowered(
            self.name, lambda: graph, captures, in_tree, out_tree, key.static, self.backend, donated, self._split
        )
        weak = tuple(a.weak for a in graph.out_avals)
        axes = named_axes({"graph": graph})
        entry = _Entry(low, avals, [to_numpy(c) for c in captures] if concrete else None, weak, axes)
        if concrete and not key.holds_sizes:
            self._remember(key, entry)
        return entry

    def _remember(self, key: _Key, entry: _Entry) -> None:
        with self._lock:
            self._make_room()
            self._entries[key] = entry

    # ------------------------------------------------------------------ programs that differ in sizes

    def _is_native(self) -> bool:
        return (self.backend or config.backend) == "native"

    def _family_for(
        self, key: _Key, donated: tuple[int, ...], trace: Callable[..., Any]
    ) -> tuple[Family, list[int]] | None:
        """A family that holds for a signature, with the values of its sizes; made now if there can be one."""
        group = key.in_tree, key.static, key.context
        families = self._families.get(group, [])
        for family in reversed(families):
            values = family.values(key.leaves)
            if values is not None:
                return family, values
        if self._fruitless >= _MOST_FRUITLESS or len(families) >= _MOST_FAMILIES:
            return None
        near: list[tuple[int, Known]] = []
        for k, e in reversed(list(self._entries.items())[-_MOST_COMPARED:]):
            if (k.in_tree, k.static, k.context) == group and e.captured is not None and not e.axes and not e.filled_in:
                places = varying(k.leaves, key.leaves)
                if places is not None:
                    near.append((len(places), Known(k.leaves, e.lowered.graph, e.lowered.captures)))
        if not near:
            return None
        near.sort(key=lambda n: n[0])
        grown = grow([k for _, k in near], key.leaves, donated, trace)
        if grown is None:
            self._fruitless += 1
            return None
        with self._lock:
            self._families[group] = [*families, grown]
        values = grown.values(key.leaves)
        return None if values is None else (grown, values)

    def _filled_in(self, key: _Key, family: Family, values: list[int], donated: tuple[int, ...]) -> _Entry:
        low = Lowered(
            self.name, lambda: family.graph(values), family.captures, key.in_tree, family.out_tree, key.static, self.backend,
            donated, self._split,
        )  # fmt: skip
        captured = [to_numpy(c) for c in family.captures]
        entry = _Entry(low, [Aval(*s) for s in key.leaves], captured, family.weak, frozenset(), filled_in=True)
        entry.run = family.executable(values)
        self._remember(key, entry)
        return entry

    def _make_room(self) -> None:
        """Lets the programs go that have not been called for longest, if the most are held."""
        if len(self._entries) >= _MOST_PROGRAMS:
            for call in self._short:
                call.key[0].used = self._hits + self._misses
            latest = sorted(self._entries.items(), key=lambda item: item[1].used)[_MOST_PROGRAMS // 4 :]
            self._entries = dict(latest)

    def _compile(self, entry: _Entry) -> Executable:
        with self._lock:
            if entry.run is None:
                entry.run = entry.lowered.executable
                self._compiled += 1
            return entry.run

    def _dynamic_names(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        masked = tuple(None if i in self.static_argnums else a for i, a in enumerate(args))
        kw = {k: v for k, v in kwargs.items() if k not in self.static_argnames}
        return argument_names(self.fun, masked, kw)

    def _donated(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
        """Positions of the donated leaves among the dynamic ones."""
        if not self.donate_argnums and not self.donate_argnames:
            return ()
        resolve_argnums(
            [i for i in self.donate_argnums if i < len(args)], len(args), "donate_argnums", StaticArgumentError
        )
        out, position = [], 0
        dynamic = [(i in self.donate_argnums, a) for i, a in enumerate(args) if i not in self.static_argnums]
        dynamic += [(k in self.donate_argnames, kwargs[k]) for k in sorted(kwargs) if k not in self.static_argnames]
        for donated, a in dynamic:
            n = len(tree.leaves(a))
            if donated:
                out += range(position, position + n)
            position += n
        return tuple(out)

    def _check_donated(self, donate: Sequence[int], leaves: Sequence[Any], args: Any, kwargs: Any) -> None:
        """One memory cannot be given away twice."""
        first: dict[int, int] = {}
        for i in donate:
            if type(leaves[i]) is Array and first.setdefault(id(leaves[i]), i) != i:
                names = self._dynamic_names(args, kwargs)
                raise StaticArgumentError(
                    f"{self.name} was called with one array as {names[first[id(leaves[i])]]} and as {names[i]}, which are both"
                    " donated; its memory can be given away once. Donate one of them, or pass a copy: fx.numpy.copy(x)."
                )

    # ------------------------------------------------------------------ looking

    @user_frames
    def lower(self, /, *args: Any, **kwargs: Any) -> Lowered:
        """Traces for these arguments (arrays, or anything with ``shape`` and ``dtype``) and stops before compiling."""
        leaves, in_tree, static, call = self._split(args, kwargs)
        flat = FlatFunction(call, in_tree)
        flat.name = self.name
        names = self._dynamic_names(args, kwargs)
        avals = [example_aval(x, f"{n} of the jitted function {self.name}") for x, n in zip(leaves, names)]
        graph, captures = trace_flat(flat, avals, kind="jit", name=self.name, names=names)
        assert flat.out_tree is not None
        return Lowered(
            self.name, lambda: graph, captures, in_tree, flat.out_tree, static, self.backend, (), self._split
        )

    def eval_shape(self, /, *args: Any, **kwargs: Any) -> Any:
        """The result's shapes and dtypes, without computing it."""
        return self.lower(*args, **kwargs).out_info

    def cache_info(self) -> CacheInfo:
        """Counts of calls that found their program, were traced, were compiled."""
        return CacheInfo(self._hits, self._misses, len(self._entries), self._traced, self._compiled, _MOST_PROGRAMS)

    def clear_cache(self) -> None:
        """Forgets every program of this function (kernels on disk stay)."""
        self._entries.clear()
        self._families.clear()
        self._fruitless = 0
        self._short = ()

    def explain_misses(self) -> str:
        """Why each trace happened: what differed from the signatures known before."""
        return "\n".join(self._log) or f"{self.name}: not called yet"

    def _explain_miss(self, what: str, difference: str) -> None:
        text = f"{self.name}: {what} at {user_source()}: {difference}"
        self._log.append(text)
        if config.explain_misses:
            print(text, file=sys.stderr)

    def _difference(self, key: _Key, args: Any, kwargs: Any) -> str:
        if not self._entries:
            return "first call"
        names = self._dynamic_names(args, kwargs)

        def reasons(old: _Key) -> list[str]:
            if old.in_tree != key.in_tree:
                return [f"the arguments have another structure: {old.in_tree} -> {key.in_tree}"]
            out = []
            for name, a, b in zip(names, old.leaves, key.leaves):
                if a != b:
                    out.append(f"{name}: {Aval(*a)} -> {Aval(*b)}")
            for a, b in zip(old.static, key.static):
                if a != b:
                    out.append(f"static {a[0]!r}: {_shown(a[1])} -> {_shown(b[1])}")
            if old.context != key.context:
                out.append("other settings (default dtypes, backend, engine or named axes)")
            return out

        return "; ".join(min((reasons(k) for k in self._entries), key=len)) + " (nearest known signature -> this one)"

    def __reduce__(self) -> Any:
        """By name where it is found under its own, as what a decorator made is; else the function and the options."""
        named = operator.attrgetter(self.__qualname__) if "<" not in getattr(self, "__qualname__", "<") else None
        with contextlib.suppress(AttributeError):
            if named is not None and named(sys.modules.get(self.__module__)) is self:
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


def _typed(value: Any) -> tuple[type, Any]:
    """A static value as part of a cache key that tells apart what Python calls equal: 1, 1.0 and True; 0.0 and -0.0."""
    t = type(value)
    if t in (float, complex):
        return t, repr(value)
    if isinstance(value, tuple):
        return t, tuple([_typed(v) for v in value])
    if t is frozenset:
        return t, frozenset([_typed(v) for v in value])
    return t, value


def _shown(key: tuple[type, Any]) -> str:
    """The static value behind a key, for messages."""
    t, v = key
    if t in (float, complex):
        return str(v)
    if issubclass(t, (tuple, frozenset)):
        return f"({', '.join(map(_shown, v))})"
    return repr(v)


@contextlib.contextmanager
def _watch_random(name: str) -> Iterator[None]:
    """Warns if NumPy's own random numbers are drawn inside: the compiled program would repeat them."""
    before = _random_state()
    yield
    if before != _random_state():
        warnings.warn(
            f"np.random was used while jit traced {name!r}: the numbers were drawn once, and every call of the compiled"
            " function repeats them. Draw them outside and pass them in, or use fx.random with a key.",
            SideEffectWarning,
            stacklevel=4,
        )


def _random_state() -> bytes:
    if "numpy.random" not in sys.modules:
        return b""
    state = np.random.get_state(legacy=False)
    return repr((state["state"]["pos"], state["has_gauss"])).encode() + state["state"]["key"].tobytes()  # type: ignore[call-overload]


def _result(data: np.ndarray, weak: bool) -> Array:
    x = Array(data, weak)
    x._owned = True
    return x


def to_numpy_as(x: Any, aval: Aval) -> np.ndarray:
    """A Python or NumPy scalar as the array that the graph was traced for."""
    return np.asarray(x, aval.dtype)


@user_frames
def jit(
    fun: Callable[..., Any] | None = None,
    *,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Sequence[str] | None = None,
    keep_unused: bool = False,
    backend: str | None = None,
) -> Any:
    """Compiles a function to native loops; nothing but its time changes.

    Args:
        fun: a pure function of arrays and pytrees of arrays (without it, a decorator is returned).
        static_argnums, static_argnames: arguments that are hashable Python values, part of the program: a new value
            is traced anew.  Each may be given by the other's means; both spellings work at the call.
        donate_argnums, donate_argnames: arguments whose memory may be reused for results; their arrays cannot be
            used afterwards, and one array cannot be donated twice in a call.
        keep_unused: accepted for compatibility; an unused argument costs nothing.
        backend: "native" (default) or "reference", which runs the same graph in NumPy.

    Returns:
        The compiled function, with ``lower(*args)``, ``cache_info()``, ``explain_misses()``, ``clear_cache()``.  It holds
        its latest 4096 programs (``cache_info().max_size``).

    Raises:
        ConcretizationError: when the function asks a traced value for its number (``if x > 0``).
        NonHashableStaticError: a static argument is not hashable.

    >>> import fx, numpy as np
    >>> fx.jit(lambda x: np.sin(x) ** 2 + np.cos(x) ** 2)(np.float32([0.0, 1.0]))
    Array([1., 1.], dtype=float32)
    """
    if backend not in (None, "native", "reference"):
        raise StaticArgumentError(f"backend must be 'native' or 'reference'; found {backend!r}")
    options = (static_argnums, static_argnames, donate_argnums, donate_argnames, keep_unused, backend)
    if fun is None:
        return lambda f: JitFunction(f, *options)
    return JitFunction(fun, *options)
