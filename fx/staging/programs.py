"""The programs of a jitted function, by signature: traced, or filled in where they differ in sizes alone."""

from __future__ import annotations

import itertools
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import tree
from ..array import to_numpy
from ..backend import Executable
from ..config import config
from ..dtypes import canonical
from ..errors import SideEffectWarning
from ..families import Family, Known, grow, holds_sizes, varying
from ..ir import Aval, Graph
from ..sizes import is_sized
from ..trace import Tracer, named_axes, trace_flat, user_source
from ..transforms.flat import FlatFunction, argument_names
from .arguments import Arguments, shown
from .lowered import Lowered

__all__ = ["CacheInfo", "Entry", "Key", "Programs"]

MOST_PROGRAMS = 4096  # of one jitted function; a quarter of them goes at once, so that a call need not sort them
_LOG_LENGTH = 256  # reasons of the latest traces that explain_misses() tells
_MOST_FRUITLESS = 3  # attempts at a family, after which a function that needs its sizes as numbers is left alone
_FREE_FAMILIES = 8  # guards divide the sizes into ranges with a family each; further ones must have paid
_MOST_FAMILIES = 64  # of one structure of arguments
_MOST_COMPARED = 16  # known signatures that a new one is compared with
_MOST_TOLD = (
    64  # the latest of them, among which explain_misses() looks for the nearest: what is filled in is to take no time
)


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
    captured: list[np.ndarray] | None
    weak: tuple[bool, ...]
    axes: frozenset[Any]
    run: Executable | None = None
    used: int = 0  # the number of the latest call
    filled_in: bool = False


class Key(NamedTuple):
    in_tree: tree.TreeDef
    leaves: tuple[Any, ...]
    static: tuple[Any, ...]
    context: tuple[Any, ...]

    @property
    def holds_sizes(self) -> bool:
        """Whether it is that of an inner function, called while a family is traced."""
        return holds_sizes(self.leaves) or any(is_sized(size) for _, size in self.context[2])


class Programs:
    """What a jitted function has traced and compiled.

    Args:
        arguments: how it takes its arguments.
        backend: as ``jit`` takes it.
    """

    def __init__(self, arguments: Arguments, backend: str | None) -> None:
        self.arguments = arguments
        self.name = arguments.name
        self.backend = backend
        self.entries: dict[Key, Entry] = {}
        self.families: dict[Any, list[Family]] = {}
        self.fruitless = 0  # times that no family came of two signatures that differ in sizes
        self.repaid = 0  # times that a family was there already
        self.hits = self.misses = self.traced = self.compiled = 0
        self.log: deque[str] = deque(maxlen=_LOG_LENGTH)
        self.short: tuple[Any, ...] = ()  # functions for the latest signatures, which are tried before the general way
        self.lock = threading.RLock()

    def info(self) -> CacheInfo:
        return CacheInfo(self.hits, self.misses, len(self.entries), self.traced, self.compiled, MOST_PROGRAMS)

    def clear(self) -> None:
        self.entries.clear()
        self.families.clear()
        self.fruitless = self.repaid = 0
        self.short = ()

    def make(
        self, key: Key, call: Callable[..., Any], leaves: Sequence[Any], in_tree: tree.TreeDef, args: Any, kwargs: Any,
        traced: bool,
    ) -> Entry:  # fmt: skip
        """The program of a new signature: filled in, where it differs in sizes alone, or traced."""
        for x in leaves:
            if type(x) is np.ndarray:
                canonical(x.dtype)
        with self.lock:
            self.misses += 1
            difference = "sizes that vary" if key.holds_sizes else self._difference(key, args, kwargs)
        names = (
            argument_names(self.arguments.fun, args, kwargs)
            if not key.static
            else self.arguments.dynamic_names(args, kwargs)
        )
        donated = self.arguments.donated(args, kwargs)

        def trace(avals: Sequence[Aval]) -> tuple[Graph, list[Any], Any]:
            with self.lock:
                self.traced += 1
            flat = FlatFunction(call, in_tree)
            flat.name = self.name
            with _watch_random(self.name):
                graph, captures = trace_flat(flat, avals, kind="jit", name=self.name, names=names)
            return graph, captures, flat.out_tree

        may_vary = not (traced or key.context[2] or config.watching or config.check_tracer_leaks)
        found = self._family_for(key, donated, trace) if may_vary and self._is_native() else ""
        if isinstance(found, tuple):
            self._explain_miss("filled in", difference)
            return self._filled_in(key, *found, donated)
        if found:
            difference += f"; its sizes cannot vary: {found}"
        self._explain_miss("traced", difference)
        avals = [Aval(*s) for s in key.leaves]
        graph, captures, out_tree = trace(avals)
        concrete = not any(type(c) is Tracer for c in captures)
        low = Lowered(
            self.name,
            lambda: graph,
            captures,
            in_tree,
            out_tree,
            key.static,
            self.backend,
            donated,
            self.arguments.split,
        )
        weak = tuple(a.weak for a in graph.out_avals)
        axes = named_axes({"graph": graph})
        entry = Entry(low, avals, [to_numpy(c) for c in captures] if concrete else None, weak, axes)
        if concrete and not key.holds_sizes:
            self._remember(key, entry)
        return entry

    def _remember(self, key: Key, entry: Entry) -> None:
        with self.lock:
            self._make_room()
            self.entries[key] = entry

    def _is_native(self) -> bool:
        return (self.backend or config.backend) == "native"

    def _family_for(
        self, key: Key, donated: tuple[int, ...], trace: Callable[..., Any]
    ) -> tuple[Family, list[int]] | str:
        """A family that holds for a signature, with the values of its sizes; made now if there can be one.  Otherwise the
        reason, if that was found out now."""
        group = key.in_tree, key.static, key.context
        families = self.families.get(group, [])
        for family in reversed(families):
            values = family.values(key.leaves)
            if values is not None:
                self.repaid += 1
                return family, values
        if self.fruitless >= _MOST_FRUITLESS or len(families) >= min(_FREE_FAMILIES + self.repaid, _MOST_FAMILIES):
            return ""
        near: list[tuple[int, Known]] = []
        for k, e in list(itertools.islice(reversed(self.entries.items()), _MOST_COMPARED)):
            if (k.in_tree, k.static, k.context) == group and e.captured is not None and not e.axes and not e.filled_in:
                places = varying(k.leaves, key.leaves)
                if places is not None:
                    near.append((len(places), Known(k.leaves, e.lowered.graph, e.lowered.captures, e.lowered.out_tree)))
        if not near:
            return ""
        near.sort(key=lambda n: n[0])
        grown = grow([k for _, k in near], key.leaves, donated, trace)
        if isinstance(grown, str):
            self.fruitless += 1
            return grown
        with self.lock:
            self.families[group] = [*families, grown]
        values = grown.values(key.leaves)
        return "" if values is None else (grown, values)

    def _filled_in(self, key: Key, family: Family, values: list[int], donated: tuple[int, ...]) -> Entry:
        low = Lowered(
            self.name, lambda: family.graph(values), family.captures, key.in_tree, family.out_tree, key.static, self.backend,
            donated, self.arguments.split,
        )  # fmt: skip
        captured = [to_numpy(c) for c in family.captures]
        entry = Entry(low, [Aval(*s) for s in key.leaves], captured, family.weak, frozenset(), filled_in=True)
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

    def _explain_miss(self, what: str, difference: str) -> None:
        text = f"{self.name}: {what} at {user_source()}: {difference}"
        self.log.append(text)
        if config.explain_misses:
            print(text, file=sys.stderr)

    def _difference(self, key: Key, args: Any, kwargs: Any) -> str:
        if not self.entries:
            return "first call"
        names = self.arguments.dynamic_names(args, kwargs)

        def reasons(old: Key) -> list[str]:
            if old.in_tree != key.in_tree:
                return [f"the arguments have another structure: {old.in_tree} -> {key.in_tree}"]
            out = []
            for name, a, b in zip(names, old.leaves, key.leaves):
                if a != b:
                    out.append(f"{name}: {Aval(*a)} -> {Aval(*b)}")
            for a, b in zip(old.static, key.static):
                if a != b:
                    out.append(f"static {a[0]!r}: {shown(a[1])} -> {shown(b[1])}")
            if old.context != key.context:
                out.append("other settings (default dtypes, backend, engine or named axes)")
            return out

        latest = itertools.islice(reversed(self.entries), _MOST_TOLD)
        return "; ".join(min(map(reasons, latest), key=len)) + " (nearest known signature -> this one)"


@contextmanager
def _watch_random(name: str) -> Iterator[None]:
    """Warns if NumPy's own random numbers are drawn inside: the compiled program would repeat them."""
    before = _random_state()
    yield
    if before != _random_state():
        at = user_source()
        warnings.warn_explicit(
            f"np.random was used while jit traced {name!r}: the numbers were drawn once, and every call of the compiled"
            " function repeats them. Draw them outside and pass them in, or use fx.random with a key.",
            SideEffectWarning,
            at.file if at else name,
            at.line if at else 0,
        )


def _random_state() -> bytes:
    if "numpy.random" not in sys.modules:
        return b""
    state = np.random.get_state(legacy=False)
    return repr((state["state"]["pos"], state["has_gauss"])).encode() + state["state"]["key"].tobytes()  # type: ignore[call-overload]
