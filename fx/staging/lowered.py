"""The stages that can be looked at: a function that was traced, and one that was compiled for one signature."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import tree
from ..array import Array, to_numpy
from ..backend import Executable
from ..errors import StaticArgumentError
from ..ir import Graph
from ..nans import wanted
from ..replay import checked
from ..trace import Tracer, aval_of
from ..traceback import user_frames
from ..transforms.flat import check_leaf
from .arguments import Arguments, refuse_options, shown
from .jaxprs import TracedGraph
from .primitive import executable_of

__all__ = ["ArgInfo", "Compiled", "Lowered", "MemoryStats", "Traced", "owned"]


@dataclass(frozen=True)
class ArgInfo:
    """An array among the arguments: its type, and whether the call gives its memory away."""

    shape: tuple[int, ...]
    dtype: np.dtype
    donated: bool


@dataclass(frozen=True)
class MemoryStats:
    """The memory of a call in bytes, under JAX's names: its arguments and results, and what it works with in between
    (``alias``: how much of the results may lie in memory that arguments gave away)."""

    argument_size_in_bytes: int
    output_size_in_bytes: int
    temp_size_in_bytes: int
    alias_size_in_bytes: int


class _Stage:
    """What all stages say of the function."""

    _lowered: Lowered

    in_tree = property(lambda self: self._lowered.in_tree)
    out_tree = property(lambda self: self._lowered.out_tree)
    out_info = property(lambda self: self._lowered.out_info)
    args_info = property(lambda self: self._lowered.args_info)
    donate_argnums = property(lambda self: self._lowered.donate)
    fun_name = property(lambda self: self._lowered.name)


@dataclass(frozen=True, repr=False)
class Traced(_Stage):
    """A traced function, before anything is decided about native code: ``jit(f).trace(...)``."""

    _lowered: Lowered

    @property
    def jaxpr(self) -> TracedGraph:
        """The graph, with what the function closes over."""
        low = self._lowered
        return TracedGraph(low.graph, low.captures, low.in_tree, low.out_tree)

    def lower(self, **_: Any) -> Lowered:
        """The next stage; options that speak of other platforms are accepted."""
        return self._lowered

    def __repr__(self) -> str:
        return f"<{self._lowered._summary()}, traced>"


@dataclass(frozen=True, repr=False)
class Lowered:
    """A traced function: the stage between Python and native code."""

    name: str
    make_graph: Callable[[], Graph]
    captures: list[Any]
    in_tree: tree.TreeDef
    out_tree: tree.TreeDef
    static: tuple[Any, ...]
    backend: str | None
    donate: tuple[int, ...]
    arguments: Arguments

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

    def inspect_llvm(self) -> str:
        """The LLVM IR that the loops become, after LLVM's own passes."""
        return self.executable.inspect_llvm()

    def inspect_asm(self) -> str:
        """The assembly of the compiled loops, for this machine (or what ``FX_ISA`` restricts it to).

        >>> import fx, fx.numpy as np
        >>> "tanh" in fx.jit(lambda x: np.tanh(x) * 2.0).lower(np.ones(8)).inspect_asm()
        True
        """
        return self.executable.inspect_asm()

    def cost_analysis(self) -> dict[str, Any]:
        """Flops, bytes read and written, and memory of the program."""
        return self.executable.cost_analysis()

    def compile(self, compiler_options: Any = None) -> Compiled:
        """Native code for exactly this signature."""
        refuse_options(compiler_options)
        return Compiled(self, self.executable)

    def as_text(self, dialect: str | None = None, *, debug_info: bool = False) -> str:
        """The graph as text, whatever the dialect that is asked for: there is no other one."""
        return str(self.graph)

    def leaf_name(self, i: int) -> str:
        """What the user calls an input: ``x``, ``params['w']``."""
        names = self.graph.input_names
        return names[i] if names and names[i] else f"argument leaf {i}"

    @property
    def out_info(self) -> Any:
        """The result, of shapes and dtypes in place of arrays."""
        return TracedGraph(self.graph, self.captures, self.in_tree, self.out_tree).out_info

    @property
    def args_info(self) -> Any:
        """The arguments (a tuple, and a dict of those given by name), with an ``ArgInfo`` in place of each array."""
        avals = self.graph.in_avals[: self.in_tree.num_leaves]
        return tree.unflatten(self.in_tree, [ArgInfo(a.shape, a.dtype, i in self.donate) for i, a in enumerate(avals)])

    @property
    def donate_argnums(self) -> tuple[int, ...]:
        return self.donate

    @property
    def fun_name(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{self._summary()}, lowered>"

    def _summary(self) -> str:
        """A line, however many arguments and equations there are."""
        g = self.graph
        given, made = len(g.in_avals) - len(self.captures), len(g.out_avals)
        return f"jit of {self.name}: {given} inputs, {len(g.eqns)} equations, {made} outputs"

    def __str__(self) -> str:
        return str(self.graph)

    def _repr_html_(self) -> str:
        return self.graph._repr_html_()  # type: ignore[attr-defined]


@dataclass(frozen=True, repr=False)
class Compiled(_Stage):
    """A compiled function for one signature; calling it never traces or compiles.

    It takes the arguments it was lowered for; the static ones may be left out, as in JAX.
    """

    lowered: Lowered
    executable: Executable

    def __repr__(self) -> str:
        return f"<{self.lowered._summary()}, compiled>"

    @user_frames
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        low = self.lowered
        leaves, arrays = self._given(args, kwargs)
        if not wanted():
            if low.donate:
                low.arguments.give_up(low.donate, leaves, arrays, args, kwargs)
            outs = self.executable(*arrays)
        else:  # what raises gives nothing up
            outs = checked(self.executable, low.graph, low.donate)(*arrays)
            low.arguments.give_up(low.donate, leaves, arrays, args, kwargs)
        return tree.unflatten(low.out_tree, [owned(o, a.weak) for o, a in zip(outs, low.graph.out_avals)])

    @user_frames
    def profile(self, *args: Any, **kwargs: Any) -> list[tuple[str, int]]:
        """Runs once: the name of every native step, in order, and its nanoseconds.

        A name is that of a kernel in ``explain()``, with a part in brackets where that takes several steps.

        A single run is noisy, and the first one is cold: run it some times and take the least. What is donated stays as it is.

        >>> import fx, numpy as np
        >>> x = np.ones(1000)
        >>> [name for name, nanoseconds in fx.jit(lambda x: np.tanh(x) * x).lower(x).compile().profile(x)]
        ['map_tanh_mul']
        """
        _, arrays = self._given(args, kwargs)
        for i in self.lowered.donate:
            arrays[i] = arrays[i].copy()
        return self.executable.profile(*arrays)

    def _given(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], list[np.ndarray]]:
        """The leaves of a call; their arrays, and those that the function closes over."""
        low = self.lowered
        leaves, in_tree = tree.flatten((args, kwargs))
        if low.static and in_tree != low.in_tree:
            leaves, in_tree, static, _ = low.arguments.split(args, kwargs)
            if static != low.static:
                found, want = (", ".join(f"{which!r}: {shown(k)}" for which, k in s) for s in (static, low.static))
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
        given = zip([*leaves, *low.captures], low.graph.in_avals)
        return leaves, [to_numpy(x).astype(a.dtype, copy=False) for x, a in given]

    @property
    def _lowered(self) -> Lowered:  # type: ignore[override]
        return self.lowered

    def cost_analysis(self) -> dict[str, Any]:
        """Flops, bytes read and written, and memory of the program."""
        return self.executable.cost_analysis()

    def memory_analysis(self) -> MemoryStats:
        """Bytes of a call's arguments, results and working memory."""
        g = self.lowered.graph
        size = [a.nbytes for a in g.in_avals]
        given, made = sum(size), sum(a.nbytes for a in g.out_avals)
        alias = min(made, sum(size[i] for i in self.lowered.donate))
        return MemoryStats(given, made, self.executable.cost_analysis()["arena_bytes"], alias)

    def as_text(self) -> str:
        """The compiled loops as Python."""
        return self.executable.loops()


def owned(data: np.ndarray, weak: bool) -> Array:
    """An array of a result, whose memory nobody else has."""
    x = Array(data, weak)
    x._owned = True
    return x
