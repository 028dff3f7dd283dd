"""Programs of one function that differ in sizes alone.

The first call of a jitted function is traced for its shapes as they are.  A call that differs from a known one in sizes only
is traced with ``Size``s in their place; what comes of it is a *family*: for other sizes that pass its guards the program is
filled in, which takes a millisecond or a few, instead of traced, planned and lowered.

A family is made only if it says of the known sizes what their own trace said.  What a function does with a number that no
size can see (``type(n) is int``) may show at other sizes alone: so a family is *proved* on further ones, by a trace of their
own, the first time that it is filled in and whenever a size is less than half, or more than twice, of those it was proved on.
Whatever stands in the way (a function that needs a size as a number, a guard that fails) leads back to a trace of its own;
nothing but time depends on families.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from traceback import walk_tb
from typing import Any

import numpy as np

from .backend import Executable, resizable
from .filling import graph_filler
from .interning import equal_graphs
from .ir import Aval, Graph
from .passes import optimize
from .primitives.callbacks import calls_python
from .sizes import SMALLEST, Fixed, Size, Sizes
from .sizes import __path__ as sizes_path
from .trace.source import is_library

__all__ = ["Families", "Family", "Known", "Place", "grow", "holds_sizes", "varying"]

MOST_VARIABLES = 4
_MOST_FRUITLESS = 3  # attempts, after which a function that needs its sizes as numbers is left alone
_MOST_LOCAL = 12  # attempts that failed for a reason that other sizes need not have
_FREE_FAMILIES = 8  # guards divide the sizes into ranges with a family each; further ones must have paid
_MOST_FAMILIES = 64
_MOST_KNOWN = 16  # traced signatures that a new one is compared with
_REACH = 2  # how far beyond the sizes that it was proved on a family is believed, as a factor

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


@dataclass(frozen=True)
class Known:
    """A signature that was traced for its own sizes; its graph, and what that captured."""

    leaves: Sequence[Leaf]
    graph: Graph
    captures: Sequence[Any]
    out_tree: Any


Trace = Callable[[Sequence[Aval]], tuple[Graph, list[Any], Any]]  # graph, captures and structure of the result


@dataclass(eq=False)
class Family:
    """A program with sizes, and the places of the arguments that they are read from.

    leaves: the signature that it was traced for, with sizes.  traced: their values there.
    held_against: the values for which it was found to say what a trace with numbers does.
    """

    sizes: Sizes
    leaves: tuple[Leaf, ...]
    places: dict[Place, int]
    graph: Callable[[Sequence[int]], Graph]
    captures: list[Any]
    out_tree: Any
    traced: list[int]
    held_against: list[int] = field(default_factory=list)
    weak: tuple[bool, ...] = ()
    donate: tuple[int, ...] = ()
    program: Any = None
    test: Callable[[Sequence[int]], list[Any] | None] = lambda values: None
    _latest: tuple[list[int], list[Any]] = field(
        default_factory=lambda: ([], [])
    )  # values that passed, and the atoms' for them

    @property
    def where(self) -> Any:
        """The places, as a key."""
        return tuple(self.places.items())

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
        atoms = self.test(values)
        if atoms is None:
            return None
        self._latest = values, atoms
        return values

    def executable(self, values: list[int]) -> Executable:
        """The program for these values, which ``values`` has found to pass."""
        latest = self._latest
        atoms = latest[1] if latest[0] == values else self.test(values)
        made: Executable = self.program.at(atoms, lambda: optimize(self.graph(values)))
        return made

    def differs(self, known: Known, values: list[int]) -> str:
        """Holds the family against a trace for the sizes alone: the difference, or "" if there is none."""
        if not equal_graphs(self.graph(values), known.graph):
            return "the trace with sizes says something else than the one with numbers (type(n) is int?)"
        if not _same_arrays(self.captures, known.captures):
            return "the trace with sizes holds other arrays than the one with numbers"
        if self.out_tree != known.out_tree:
            return "the structure of the result holds sizes, or differs between traces"
        return ""


@dataclass(frozen=True)
class Refusal:
    """Why there is no family.  local: other sizes may have one, as a size was equal to another number by chance, or what is
    small is planned for its sizes alone."""

    reason: str
    local: bool = False


class Families:
    """The families of one structure of arguments, and the signatures that further ones are held against."""

    def __init__(self) -> None:
        self._all: list[Family] = []
        self._latest: Any = None  # the one that was found last
        self._known: deque[Known] = deque(maxlen=_MOST_KNOWN)
        self._proofs: dict[Any, list[list[int]]] = {}  # by places: values for which a family said what a trace did
        self._fruitless = self._local = 0  # attempts that no family came of
        self._repaid = 0  # times that a family was there already
        self._growing = threading.Lock()  # what one thread is about others need not do too

    def unlock(self) -> None:
        """In a forked child the thread that was about to grow one is gone."""
        self._growing = threading.Lock()

    def find(self, leaves: Sequence[Leaf]) -> tuple[Family, list[int]] | None:
        """A family that holds for a signature, with the values of its sizes."""
        families = self._all[::-1]
        if self._latest in families:  # the next sizes are likely to be like these
            families.insert(0, self._latest)
        for family in families:
            values = family.values(leaves)
            if values is not None:
                self._repaid += 1
                self._latest = family
                return family, values
        return None

    def learn(self, known: Known) -> None:
        """A signature that was traced for itself, by which families can be measured."""
        self._known.append(known)

    def is_proved(self, family: Family, values: list[int]) -> bool:
        """Whether a family can be believed for these values: they are those of its own trace, or not far from some that the
        families with sizes at these places were proved on."""
        proofs = self._proofs.get(family.where, ())
        return values == family.traced or (
            len(proofs) > 1
            and all(n * _REACH >= min(seen) and n <= _REACH * max(seen) for n, *seen in zip(values, *proofs))
        )

    def prove(self, family: Family, values: list[int], known: Known) -> str:
        """Holds a family against a trace for the sizes alone: the difference, or "" if there is none.  If there is one, what
        the function does with sizes cannot be seen, and no family of it is believed any more."""
        wrong = family.differs(known, values)
        if wrong:
            self._all, self._fruitless = [], _MOST_FRUITLESS
        else:
            self._note_proof(family, values)
        return wrong

    def _note_proof(self, family: Family, values: list[int]) -> None:
        proofs = [*self._proofs.get(family.where, ()), values]
        if len(proofs) > 2:  # the least and the largest say it all
            proofs = [[min(n) for n in zip(*proofs)], [max(n) for n in zip(*proofs)]]
        self._proofs[family.where] = proofs

    def grow(self, leaves: Sequence[Leaf], donate: tuple[int, ...], trace: Trace) -> tuple[Family, list[int]] | str:
        """A new family that holds for a signature, or the reason why there is none; "" if none was tried."""
        if self._fruitless >= _MOST_FRUITLESS or self._local >= _MOST_LOCAL:
            return ""
        if len(self._all) >= min(_FREE_FAMILIES + self._repaid, _MOST_FAMILIES):
            return ""
        near = [(len(places), k) for k in reversed(tuple(self._known)) if (places := varying(k.leaves, leaves))]
        if not near or not self._growing.acquire(blocking=False):
            return ""
        try:
            near.sort(key=lambda n: n[0])
            grown = grow([k for _, k in near], leaves, donate, trace)
        finally:
            self._growing.release()
        if isinstance(grown, Refusal):
            if grown.local:
                self._local += 1
            else:
                self._fruitless += 1
            return grown.reason
        self._note_proof(grown, grown.held_against)
        self._all = [*self._all, grown]
        return grown, grown.traced


def holds_sizes(leaves: Sequence[Leaf]) -> bool:
    """Whether the shapes of a signature hold sizes."""
    return any(isinstance(n, Size) for shape, _, _ in leaves for n in shape)


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


def grow(known: Sequence[Known], leaves: Sequence[Leaf], donate: tuple[int, ...], trace: Trace) -> Family | Refusal:
    """A family that holds for a new signature, or the reason why there is none.

    It is held against a known signature that passes its guards, or else against a trace for the new sizes alone.

    Args:
        known: the nearest first.
    """
    places = varying(known[0].leaves, leaves)
    if places is None:
        return Refusal("the signatures differ in more than sizes")
    sizes, with_sizes = sized(leaves, places)
    planning = False
    try:
        graph, captures, out_tree = trace([Aval(*leaf) for leaf in with_sizes])
        if sizes.fixed:
            return Refusal(f"{sizes.fixed} was needed of a size, and the function went on")
        test, at = sizes.test(), graph_filler(graph, sizes)
        family = Family(sizes, with_sizes, places, at, captures, out_tree, _values(leaves, places))
        beside = [
            k for k in known if varying(k.leaves, leaves) == places and test(_values(k.leaves, places)) is not None
        ]
        truth = beside[0] if beside else Known(leaves, *trace([Aval(*leaf) for leaf in leaves]))
        family.held_against = _values(truth.leaves, places)
        difference = family.differs(truth, family.held_against)
        if difference:
            return Refusal(difference)
        planning = True
        family.weak = tuple([a.weak for a in graph.out_avals])
        family.donate = () if calls_python(graph) else donate
        family.program = resizable(graph, sizes, family.donate)
        family.test = sizes.test()
        holds = not sizes.fixed and family.values(leaves) is not None
        return family if holds else Refusal("what was decided by the sizes does not hold for themselves")
    except (Exception, Fixed) as e:  # whatever it is: the trace for these sizes alone meets it again, or does not
        return Refusal(f"{_said(e)} ({_where(e)})", planning or sizes.by_chance)
    finally:
        sizes.closed = True


def _said(error: BaseException) -> str:
    """The first line of an error's text; what kind it is where the text needs a size as a plain number."""
    try:
        return str(error).partition("\n")[0]
    except Fixed:
        return type(error).__name__


def _where(error: BaseException) -> str:
    """The innermost line of the user's that an error went through, and the innermost that asked."""
    frames = [
        (f.f_code, n) for f, n in walk_tb(error.__traceback__) if not f.f_code.co_filename.startswith(sizes_path[0])
    ]
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
