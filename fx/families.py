"""Programs of one function that differ in sizes alone.

The first call of a jitted function is traced for its shapes as they are.  A call that differs from a known one in sizes only
is traced with ``Size``s in their place; what comes of it is a *family*: for other sizes that pass its guards the program is
filled in, which takes a millisecond or two, instead of traced, planned and lowered.

A family is made only if it says of the known sizes what their own trace said.  Whatever stands in the way (a function that
needs a size as a number, a guard that fails) leads back to a trace of its own; nothing but time depends on families.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from traceback import walk_tb
from typing import Any

import numpy as np

from .backend import Executable, resizable
from .filling import graph_filler
from .interning import equal_graphs
from .ir import Aval, Graph
from .sizes import SMALLEST, Size, Sizes
from .sizes import __file__ as sizes_file
from .trace.source import is_library

__all__ = ["Family", "Known", "Place", "grow", "holds_sizes", "varying"]

MOST_VARIABLES = 4

Leaf = tuple[tuple[int, ...], np.dtype, bool]  # shape, dtype and weakness of an argument
Place = tuple[int, int]  # number of the argument, axis


def varying(old: Sequence[Leaf], new: Sequence[Leaf]) -> dict[Place, int] | None:
    """The places where two signatures have different sizes, each with the number of its variable: sizes that change from and
    to the same values are one.  None if the signatures differ in something else, or in sizes that mean something else."""
    found: dict[Place, int] = {}
    numbers: dict[tuple[int, int], int] = {}
    for k, (a, b) in enumerate(zip(old, new, strict=True)):
        if a[1:] != b[1:] or len(a[0]) != len(b[0]):
            return None
        for axis, pair in enumerate(zip(a[0], b[0])):
            if pair[0] != pair[1]:
                if min(pair) < SMALLEST:
                    return None
                found[k, axis] = numbers.setdefault(pair, len(numbers))
    return found if 0 < len(numbers) <= MOST_VARIABLES else None


@dataclass(eq=False)
class Family:
    """A program with sizes, and the places of the arguments that they are read from.

    leaves: the signature that it was traced for, with sizes.
    """

    sizes: Sizes
    leaves: tuple[Leaf, ...]
    places: dict[Place, int]
    graph: Callable[[Sequence[int]], Graph]
    captures: list[Any]
    out_tree: Any
    weak: tuple[bool, ...]
    program: Any
    test: Callable[[Sequence[int]], bool]

    def values(self, leaves: Sequence[Leaf]) -> list[int] | None:
        """The values of the variables for a signature; None if the family does not hold for it."""
        found: dict[int, int] = {}
        if len(leaves) != len(self.leaves):
            return None
        for k, (mine, theirs) in enumerate(zip(self.leaves, leaves)):
            if mine[1:] != theirs[1:] or len(mine[0]) != len(theirs[0]):
                return None
            for axis, n in enumerate(theirs[0]):
                variable = self.places.get((k, axis))
                if variable is None:
                    if mine[0][axis] != n:
                        return None
                elif found.setdefault(variable, n) != n:
                    return None
        values = [found[i] for i in range(len(found))]
        return values if self.test(values) else None

    def executable(self, values: Sequence[int]) -> Executable:
        """The program for these values."""
        made: Executable = self.program.at(values, lambda: self.graph(values))
        return made


def holds_sizes(leaves: Sequence[Leaf]) -> bool:
    """Whether the shapes of a signature hold sizes."""
    return any(type(n) is Size for shape, _, _ in leaves for n in shape)


def sized(leaves: Sequence[Leaf], places: dict[Place, int]) -> tuple[Sizes, tuple[Leaf, ...]]:
    """A signature with sizes at ``places``."""
    sizes = Sizes()
    variables: dict[int, Any] = {}
    for (k, axis), number in sorted(places.items(), key=lambda item: item[1]):
        if number not in variables:
            variables[number] = sizes.variable(leaves[k][0][axis])
    shapes = [
        tuple([variables[places[k, axis]] if (k, axis) in places else n for axis, n in enumerate(shape)])
        for k, (shape, _, _) in enumerate(leaves)
    ]
    return sizes, tuple([(shape, *leaf[1:]) for shape, leaf in zip(shapes, leaves)])


@dataclass(frozen=True)
class Known:
    """A signature that was traced for its own sizes; its graph, and what that captured."""

    leaves: Sequence[Leaf]
    graph: Graph
    captures: Sequence[Any]


def grow(
    known: Sequence[Known], leaves: Sequence[Leaf], donate: tuple[int, ...],
    trace: Callable[[Sequence[Aval]], tuple[Graph, list[Any], Any]],
) -> Family | str:  # fmt: skip
    """A family that holds for a new signature, or the reason why there is none.

    It is held against a known signature that passes its guards, or else against a trace for the new sizes alone.

    Args:
        known: the nearest first.
        trace: gives graph, captures and structure of the result for types of the arguments.
    """
    places = varying(known[0].leaves, leaves)
    if places is None:
        return "the signatures differ in more than sizes"
    sizes, with_sizes = sized(leaves, places)
    try:
        graph, captures, out_tree = trace([Aval(*leaf) for leaf in with_sizes])
        test, at = sizes.test(), graph_filler(graph, sizes)
        if sizes.fixed:
            return f"{sizes.fixed} was needed of a size, and the function went on"
        beside = [k for k in known if varying(k.leaves, leaves) == places and test(_values(k.leaves, places))]
        truth = beside[0] if beside else Known(leaves, *trace([Aval(*leaf) for leaf in leaves])[:2])
        if not equal_graphs(at(_values(truth.leaves, places)), truth.graph):
            return "the trace with sizes says something else than the one with numbers (isinstance(n, int)?)"
        if not _same_arrays(captures, truth.captures):
            return "the trace with sizes holds other arrays than the one with numbers"
        program = resizable(graph, sizes, donate)
        weak = tuple([a.weak for a in graph.out_avals])
        family = Family(sizes, with_sizes, places, at, captures, out_tree, weak, program, sizes.test())
        holds = not sizes.fixed and family.values(leaves) is not None
        return family if holds else "what was decided by the sizes does not hold for themselves"
    except Exception as e:  # whatever it is: the trace for these sizes alone meets it again, or does not
        return f"{str(e).partition(chr(10))[0]} ({_where(e)})"
    finally:
        sizes.closed = True


def _where(error: BaseException) -> str:
    """The innermost line of the user's that an error went through, and the innermost that asked."""
    frames = [(f.f_code, n) for f, n in walk_tb(error.__traceback__) if f.f_code.co_filename != sizes_file]
    lines = [f"{code.co_filename}:{n} in {code.co_name}" for code, n in frames]
    theirs = [line for line in lines if not is_library(line.partition(":")[0])]
    return ", ".join(dict.fromkeys((*theirs[-1:], *lines[-1:])))


def _values(leaves: Sequence[Leaf], places: dict[Place, int]) -> list[int]:
    found = {number: leaves[k][0][axis] for (k, axis), number in places.items()}
    return [found[i] for i in range(len(found))]


def _same_arrays(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(
        x is y or (x.dtype == y.dtype and x.shape == y.shape and np.asarray(x).tobytes() == np.asarray(y).tobytes())
        for x, y in zip(a, b)
    )
