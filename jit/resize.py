"""Programs whose sizes are filled in again: a new batch size costs neither a trace nor a plan.

The graph's shapes hold ``fx.sizes.Size``s, and so do the numbers of the draft that it is lowered to: arguments of kernels,
ranges, offsets, bytes.  They are laid out once as the cells of a ``Wiring``; ``Resizable.at`` evaluates their formulas, gives the
buffers new places and makes an executable over the same kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from fx.filling import filler
from fx.ir import Graph
from fx.sizes import Sizes

from .assembling import assembled
from .buffers import in_arena, lifetimes, place, rounded
from .build import load_kernels
from .compiler import drafted
from .executable import Executable, Options, resolved
from .lower.context import CallbackStep
from .program import Draft, with_values
from .wiring import Cells, Wiring

__all__ = ["Resizable"]


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
        self._graph = graph
        self._loaded = load_kernels(draft.kernels, self.options.engine, cast(Any, self.options.target))
        numbers: dict[Any, int] = {}
        self._wiring = Wiring(draft.steps, draft.logical, len(draft.takes), numbers, draft.workers)
        self._arena = _Arena(draft, numbers)
        self._n_cells = len(numbers)
        self._workers, self._consts = draft.workers, draft.consts
        self._parts = (draft.takes, draft.makes, draft.outputs, draft.overwritten), draft.sized_consts
        self._fill = filler(self._parts, numbers)
        self._numbers = sizes.numbers(list(numbers))

    def at(self, atoms: Sequence[Any], graph: Callable[[], Graph]) -> Executable:
        """The executable for some values of the variables.

        Args:
            atoms: what ``Sizes.test`` says of them.
            graph: makes the graph for them.
        """
        numbers = self._numbers(atoms)
        table = np.array(numbers[: self._n_cells], np.int64)
        ends, consts = self._fill(numbers) if self._fill is not None else self._parts
        assembly = assembled(
            self._wiring, self._wiring.cells.filled(table), ends, *self._arena.places(table), with_values(self._consts, consts),
            self._workers,
        )  # fmt: skip
        made = Executable(
            self._graph, self.options, assembly, self._loaded, lambda: drafted(graph(), self.options).finished()
        )
        made.origin = "filled in: a program with sizes that vary, given these"
        return made


class _Arena:
    """The places of a draft's buffers, as a function of the sizes."""

    def __init__(self, draft: Draft, numbers: dict[Any, int]) -> None:
        lives = lifetimes(draft.logical, draft.steps)
        which = in_arena(draft.logical, lives)
        buffers = [draft.logical[i] for i in which]
        self._which = np.array(which, np.int64)
        self._nbytes = Cells([b.nbytes for b in buffers], numbers)
        self._copies = np.array([draft.workers if b.per_worker else 1 for b in buffers], np.int64)
        self._blocks = np.array([(0, *lives[i]) for i in which], np.int64).reshape(-1, 3)
        self._n_buffers = len(draft.logical)

    def places(self, table: np.ndarray) -> tuple[np.ndarray, int]:
        """The offset of each buffer, and the bytes of the arena."""
        blocks, offsets = self._blocks.copy(), np.zeros(self._n_buffers, np.int64)
        blocks[:, 0] = rounded(self._nbytes.filled(table)) * self._copies
        offsets[self._which], end = place(blocks)
        return offsets, end
