"""Programs whose sizes are filled in again: a new batch size costs neither a trace nor a plan.

The graph's shapes hold ``fx.sizes.Size``s, and so do the numbers of the draft that it is lowered to: arguments of kernels,
ranges, offsets, bytes.  ``Resizable.at`` evaluates their formulas, gives the buffers new places and makes an executable
over the same kernels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from fx.filling import filler
from fx.ir import Graph
from fx.sizes import Sizes

from .assembly import assemble
from .buffers import lifetimes
from .executable import Executable, Options, compile_graph, drafted, resolved
from .load import load_kernels
from .lower.context import CallbackStep
from .plan import FusionPlan
from .program import LoopProgram

__all__ = ["Resizable", "Resized"]

_FIELDS = ("steps", "logical", "sized_consts", "outputs", "takes", "makes")


class Resized(Executable):
    """An executable of a ``Resizable``: its graph and plan are made when somebody looks at them."""

    make_graph: Callable[[], Graph]

    @functools.cached_property
    def full(self) -> Executable:
        """The same program, traced and planned for these sizes alone."""
        return compile_graph(self.make_graph(), self.options)

    @property
    def plan(self) -> FusionPlan:
        return self.full.plan

    def explain(self) -> str:
        return self.full.explain()


class Resizable:
    """The program of a graph with sizes.

    Args:
        graph: optimised; its shapes hold sizes of ``sizes``.

    Raises:
        Fixed: something needed a size as a plain number.
    """

    def __init__(self, graph: Graph, sizes: Sizes, options: Options | None = None) -> None:
        self.options = resolved(options or Options())
        draft = drafted(graph, self.options)
        if any(isinstance(s, CallbackStep) for s in draft.steps):
            sizes.fix("a call of Python")
        self.name = graph.name
        self.draft = draft
        self.loaded = load_kernels(draft.kernels, self.options.engine, self.options.target)
        numbers: dict[Any, int] = {}
        self._fill = {name: filler(getattr(draft, name), numbers) for name in _FIELDS}
        self._alive_in = lifetimes(draft.logical, draft.steps)
        self._formulas = sizes.formulas(list(numbers))

    def at(self, values: Sequence[int], graph: Callable[[], Graph]) -> Resized:
        """The executable for these values of the variables.

        Args:
            graph: makes the graph for them.
        """

        def filled() -> LoopProgram:
            numbers = self._formulas(values)
            parts = {name: fill(numbers) for name, fill in self._fill.items() if fill is not None}
            return dataclasses.replace(self.draft, **parts).finished(self._alive_in)

        made = Resized(self.draft.plan.graph, self.options, assemble(filled()), self.loaded, filled)
        made.make_graph = graph
        return made
