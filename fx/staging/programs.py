"""The programs of a jitted function, by signature: traced, or filled in where they differ in sizes alone."""

from __future__ import annotations

import itertools
import sys
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import tree
from ..array import to_numpy
from ..backend import Executable
from ..config import config
from ..dtypes import canonical
from ..errors import SideEffectWarning
from ..families import Families, Family, Known, holds_sizes
from ..ir import Aval, Graph
from ..primitives.callbacks import calls_python
from ..sizes import is_sized
from ..trace import Tracer, named_axes, trace_flat, user_source
from ..transforms.flat import FlatFunction, argument_names
from .arguments import Arguments, shown
from .lowered import Lowered

__all__ = ["CacheInfo", "Entry", "Key", "Programs"]

MOST_PROGRAMS = 4096  # of one jitted function; a quarter of them goes at once, so that a call need not sort them
_LOG_LENGTH = 256  # reasons of the latest traces that explain_misses() tells
_MOST_TOLD = 16  # the latest programs, among which explain_misses() looks for the nearest


def _as_kernels_take(captures: Sequence[Any]) -> list[np.ndarray]:
    """The arrays that a program closes over, dense and aligned: copied once, where every call would have to."""
    return [np.require(a, np.dtype(a.dtype.type), ["C", "A"]) for a in map(to_numpy, captures)]


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
class Entry:
    lowered: Lowered
    avals: Sequence[Aval]
    captured: list[np.ndarray] | None  # as kernels take them
    weak: tuple[bool, ...]
    axes: frozenset[Any]
    run: Executable | None = None
    used: int = 0  # the number of the latest call
    family: Family | None = None  # that it was filled in from


class Key(NamedTuple):
    in_tree: tree.TreeDef
    leaves: tuple[Any, ...]
    static: tuple[Any, ...]
    context: tuple[Any, ...]

    @property
    def holds_sizes(self) -> bool:
        """Whether it is that of an inner function, called while a family is traced."""
        return holds_sizes(self.leaves) or any(is_sized(size) for _, size in self.context[2]) or _sized(self.static)

    @property
    def structure(self) -> tuple[Any, ...]:
        """What signatures that differ in the arrays alone have in common."""
        return self.in_tree, self.static, self.context

    def distance(self, other: Key) -> int:
        """In how many things a signature of the same structure differs; of another structure, in more than all."""
        if other.in_tree != self.in_tree:
            return len(self.leaves) + len(self.static) + 2
        pairs = (*zip(self.leaves, other.leaves), *zip(self.static, other.static), (self.context, other.context))
        return sum([a != b for a, b in pairs])


@dataclass(frozen=True)
class Miss:
    """A call that found no program.  Its text is made when somebody reads it, as that takes longer than to fill a program in.

    what: what was done.  known: the latest programs, among which the nearest is looked for.  names: of the leaves.
    note: what else there is to say.
    """

    function: str
    what: str
    at: Any
    key: Key
    known: tuple[Key, ...]
    names: Sequence[str]
    note: str

    def __str__(self) -> str:
        return f"{self.function}: {self.what} at {self.at}: {self._difference()}{self.note}"

    def _difference(self) -> str:
        """What tells the signature from the nearest of those that were known."""
        key = self.key
        if key.holds_sizes:
            return "sizes that vary"
        nearest = min(self.known, key=key.distance, default=None)
        if nearest is None:
            return "first call"
        if nearest.in_tree != key.in_tree:
            out = [f"the arguments have another structure: {nearest.in_tree} -> {key.in_tree}"]
        else:
            leaves, static = zip(self.names, nearest.leaves, key.leaves), zip(nearest.static, key.static)
            out = [f"{name}: {Aval(*a)} -> {Aval(*b)}" for name, a, b in leaves if a != b]
            out += [f"static {a[0]!r}: {shown(a[1])} -> {shown(b[1])}" for a, b in static if a != b]
            if nearest.context != key.context:
                out.append("other settings (default dtypes, backend, engine or named axes)")
        return "; ".join(out) + " (nearest known signature -> this one)"


def _sized(static: Any) -> bool:
    """Whether static arguments hold sizes."""
    return any(map(_sized, static)) if isinstance(static, (tuple, frozenset)) else is_sized(static)


class Programs:
    """What a jitted function has traced and compiled.

    Args:
        arguments: how it takes its arguments.
        backend: as ``jit`` takes it.

    Attributes:
        reads: what the function read when the latest was traced, while further objects may share them (``sharing``).
        named, place: what they are to die with, and where further objects find them.
    """

    everywhere: ClassVar[weakref.WeakSet[Programs]] = weakref.WeakSet()

    def __init__(self, arguments: Arguments, backend: str | None) -> None:
        self.arguments = arguments
        self.reads: Any = None
        self.named: Any = ()
        self.place: Any = ()
        self.name = arguments.name
        self.backend = backend
        self.entries: dict[Key, Entry] = {}
        self.families: dict[Any, Families] = {}  # by structure
        self.hits = self.misses = self.traced = self.compiled = 0
        self.log: deque[Miss | str] = deque(maxlen=_LOG_LENGTH)
        self._latest_names: tuple[Any, Sequence[str]] = None, ()
        self.short: tuple[Any, ...] = ()  # functions for the latest signatures, which are tried before the general way
        self._repeated: tuple[Any, int] = (None, 0)  # the latest call that was not the first of them, and the hits then
        self.lock = threading.RLock()
        Programs.everywhere.add(self)

    def share(self, reads: Any) -> None:
        """Lets go of the function, which others may outlive or be outlived by."""
        self.arguments, self.reads = self.arguments.without_function(), reads

    def info(self) -> CacheInfo:
        return CacheInfo(self.hits, self.misses, len(self.entries), self.traced, self.compiled, MOST_PROGRAMS)

    def clear(self) -> None:
        with self.lock:
            self.entries, self.families, self.short, self._latest_names = {}, {}, (), (None, ())
            self._repeated = None, 0

    def prefer(self, call: Any) -> None:
        """Puts a signature that is called again and again in front of the others: a last, smaller batch must not stay there.
        Those that take turns stay where they are."""
        if self._repeated == (call, self.hits - 1):
            with self.lock:
                if call in self.short:
                    self.short = (call, *(c for c in self.short if c is not call))
        self._repeated = call, self.hits

    def unlock(self) -> None:
        """In a forked child the threads that held a lock are gone, and would never release it."""
        self.lock = threading.RLock()
        for families in self.families.values():
            families.unlock()

    def make(
        self, key: Key, call: Callable[..., Any], leaves: Sequence[Any], in_tree: tree.TreeDef, args: Any, kwargs: Any,
        traced: bool,
    ) -> Entry:  # fmt: skip
        """The program of a new signature: filled in, where it differs in sizes alone, or traced."""
        for x in leaves:
            if type(x) is np.ndarray:
                canonical(x.dtype)
        names = self._names(key, args, kwargs)
        with self.lock:
            self.misses += 1
            known = tuple(itertools.islice(reversed(self.entries), _MOST_TOLD))
        donated = self.arguments.donated(args, kwargs)

        def trace(avals: Sequence[Aval]) -> tuple[Graph, list[Any], Any]:
            with self.lock:
                self.traced += 1
            flat = FlatFunction(call, in_tree)
            flat.name = self.name
            before = _random_state()
            graph, captures = trace_flat(flat, avals, kind="jit", name=self.name, names=names)
            _check_random(self.name, before)
            return graph, captures, flat.out_tree

        families, proof = None, None
        there: Any = None
        found: Any = ""
        if not (traced or key.context[2] or config.watching or config.check_tracer_leaks) and self._is_native():
            families = self._families_of(key)
            there = families.find(key.leaves)
            found = there or families.grow(key.leaves, donated, trace)
        if isinstance(found, tuple):
            family, values = found
            assert families is not None
            wrong, proof = self._proved(families, family, values, key, trace)
            if not wrong:
                note = (
                    ""
                    if there
                    else "; traced and planned for sizes that vary before, as the first in this range of them"
                )
                self._explain("filled in", key, known, names, note)
                return self._filled_in(key, family, values)
            found = wrong
        self._explain("traced", key, known, names, f"; its sizes cannot vary: {found}" if found else "")
        avals = [Aval(*s) for s in key.leaves]
        graph, captures, out_tree = proof or trace(avals)
        concrete = not any(type(c) is Tracer for c in captures)
        low = Lowered(
            self.name,
            lambda: graph,
            captures,
            in_tree,
            out_tree,
            key.static,
            self.backend,
            () if calls_python(graph) else donated,
            self.arguments,
        )
        weak = tuple(a.weak for a in graph.out_avals)
        axes = named_axes({"graph": graph})
        entry = Entry(low, avals, _as_kernels_take(captures) if concrete else None, weak, axes)
        if concrete and not key.holds_sizes:
            self._remember(key, entry)
            if families is not None and not axes:
                families.learn(Known(key.leaves, graph, captures, out_tree))
        return entry

    def _remember(self, key: Key, entry: Entry) -> None:
        with self.lock:
            self._make_room()
            self.entries[key] = entry

    def _is_native(self) -> bool:
        return (self.backend or config.backend) == "native"

    def _families_of(self, key: Key) -> Families:
        with self.lock:
            return self.families.setdefault(key.structure, Families())

    def _proved(
        self, families: Families, family: Family, values: list[int], key: Key, trace: Callable[..., Any]
    ) -> tuple[str, Any]:
        """Whether a family can be believed for a signature: what it says wrong, or "", and the trace that told."""
        if families.is_proved(family, values):
            return "", None
        proof = trace([Aval(*s) for s in key.leaves])
        wrong = families.prove(family, values, Known(key.leaves, *proof))
        if wrong:
            with self.lock:  # what was filled in before may be wrong too
                kept = [(k, e) for k, e in self.entries.items() if e.family is None or k.structure != key.structure]
                self.entries, self.short = dict(kept), ()
        return wrong, proof

    def _filled_in(self, key: Key, family: Family, values: list[int]) -> Entry:
        low = Lowered(
            self.name, lambda: family.graph(values), family.captures, key.in_tree, family.out_tree, key.static, self.backend,
            family.donate, self.arguments,
        )  # fmt: skip
        captured = _as_kernels_take(family.captures)
        entry = Entry(low, [Aval(*s) for s in key.leaves], captured, family.weak, frozenset(), family=family)
        entry.run = family.executable(values)
        self._remember(key, entry)
        return entry

    def _make_room(self) -> None:
        """Lets the programs go that have not been called for longest, if the most are held."""
        if len(self.entries) >= MOST_PROGRAMS:
            for call in self.short:
                call.key[0].used = self.hits + self.misses
            latest = sorted(self.entries.items(), key=lambda item: item[1].used)[MOST_PROGRAMS // 4 :]
            self.entries = dict(latest)

    def compile(self, entry: Entry) -> Executable:
        with self.lock:
            if entry.run is None:
                entry.run = entry.lowered.executable
                self.compiled += 1
            return entry.run

    def _explain(self, what: str, key: Key, known: tuple[Key, ...], names: Sequence[str], note: str = "") -> None:
        miss = Miss(self.name, what, user_source(), key, known, names, note)
        self.log.append(miss)
        if config.explain_misses or key.holds_sizes:  # sizes are numbers when their trace is over
            self.log[-1] = text = str(miss)
            if config.explain_misses:
                print(text, file=sys.stderr)

    def _names(self, key: Key, args: Any, kwargs: Any) -> Sequence[str]:
        """The names of the leaves; the next call of a new signature often has the same structure."""
        known, names = self._latest_names
        if known == key.in_tree and not key.static:
            return names
        if key.static:  # which may be sizes, and say where the leaves stand
            return self.arguments.dynamic_names(args, kwargs)
        names = argument_names(self.arguments.fun, args, kwargs)
        self._latest_names = key.in_tree, names
        return names


def _check_random(name: str, before: bytes) -> None:
    """Warns if NumPy's own random numbers were drawn since ``before``: the compiled program would repeat them."""
    after = _random_state()
    if after != before and (before or not _untouched()):
        at = user_source()
        warnings.warn_explicit(
            f"np.random was used while jit traced {name!r}: the numbers were drawn once, and every call of the compiled"
            " function repeats them. Draw them outside and pass them in, or use fx.random with a key.",
            SideEffectWarning,
            at.file if at else name,
            at.line if at else 0,
        )


def _untouched() -> bool:
    """Whether nothing was drawn since ``numpy.random`` was loaded, which what only names it does."""
    state = np.random.get_state(legacy=False)
    return state["state"]["pos"] == 623 and not state["has_gauss"]  # type: ignore[call-overload, no-any-return]


def _random_state() -> bytes:
    if "numpy.random" not in sys.modules:
        return b""
    state = np.random.get_state(legacy=False)
    return repr((state["state"]["pos"], state["has_gauss"])).encode() + state["state"]["key"].tobytes()  # type: ignore[call-overload]
