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
from ..replay import checked
from ..trace import Tracer, aval_of
from ..traceback import user_frames
from ..transforms.flat import check_leaf
from .arguments import Arguments, shown
from .primitive import executable_of

__all__ = ["Compiled", "Lowered", "owned"]


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

    def cost_analysis(self) -> dict[str, Any]:
        """Flops, bytes read and written, and memory of the program."""
        return self.executable.cost_analysis()

    def compile(self) -> Compiled:
        """Native code for exactly this signature."""
        return Compiled(self, self.executable)

    def as_text(self) -> str:
        return str(self.graph)

    def leaf_name(self, i: int) -> str:
        """What the user calls an input: ``x``, ``params['w']``."""
        names = self.graph.input_names
        return names[i] if names and names[i] else f"argument leaf {i}"

    @property
    def out_info(self) -> Any:
        return tree.unflatten(self.out_tree, list(self.graph.out_avals))

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
class Compiled:
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
        if low.donate:
            low.arguments.give_up(low.donate, leaves, arrays, args, kwargs)
        outs = checked(self.executable, low.graph, low.donate)(*arrays)
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

    def cost_analysis(self) -> dict[str, Any]:
        return self.executable.cost_analysis()

    def as_text(self) -> str:
        return self.executable.loops()


def owned(data: np.ndarray, weak: bool) -> Array:
    """An array of a result, whose memory nobody else has."""
    x = Array(data, weak)
    x._owned = True
    return x
