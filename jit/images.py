"""Images: what planning made of a graph, kept in the store for the next process.

An image is an ``Assembly`` and the store's keys of its kernels.  A process that has the same graph, options and machine before it
binds the image: no fusion, no lowering, no kernels but their code.  It is found by the graph itself (``image_key``): variables by
number, primitives by name, parameters, literals and types, in a text that no two different graphs share.  Names of variables and
the places where equations were written are not in it; they change nothing that runs.

Not every program is kept.  One that calls Python, or holds an address of this process (LAPACK), one with a parameter that has no
faithful text (a function), and one with a rule of lowering that was given from outside this package are planned in every
process; ``Executable.origin``, which ``explain()`` ends with, says so, and ``image_info`` counts them.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from fx.ir import Atom, Aval, Graph, Literal, Var

from .assembly import Assembly, made
from .cache import default_store, environment_digest
from .load import Loaded, Stored, load_stored
from .on_demand import rules_given_from_outside

__all__ = ["ImageInfo", "NotKept", "Place", "image_info", "image_key", "pack", "place", "unpack", "without_images"]


class NotKept(Exception):
    """A program that is planned in every process; the message says why."""


@dataclass
class ImageInfo:
    """How many programs of this process came from the store, were planned and kept, and were planned and cannot be kept."""

    found: int = 0
    planned: int = 0
    not_kept: int = 0

    def __str__(self) -> str:
        return f"{self.found} programs from the store, {self.planned} planned and kept, {self.not_kept} that cannot be kept"


_info = ImageInfo()
_off = 0  # how many ask for programs that are planned anew


def image_info() -> ImageInfo:
    """What this process has done so far; a copy."""
    return ImageInfo(*astuple(_info))


@contextlib.contextmanager
def without_images() -> Iterator[None]:
    """Inside, every program is planned, and none is kept: for those who change how planning works while it runs."""
    global _off
    _off += 1
    try:
        yield
    finally:
        _off -= 1


# ------------------------------------------------------------------------------------------------ keys


def image_key(graph: Graph, options: Any) -> str:
    """The store's key of a graph's image; ``options``: resolved.

    Raises:
        NotKept: the program depends on what no text tells.
    """
    out: list[str] = []
    names: set[str] = set()
    _graph(graph, out, names)
    for name in rules_given_from_outside(names):
        raise NotKept(f"the rule of {name} was given from outside")
    environment = environment_digest(options.target.digest(), of_graphs=True)
    head = ("image", environment, options.engine, options.num_threads, options.donate, options.fuse)
    return hashlib.sha256(f"{head!r}\n{' '.join(out)}".encode()).hexdigest()


def _graph(graph: Graph, out: list[str], names: set[str]) -> None:
    """Appends the text of a graph.  Its parts are Python literals, so each tells where it ends."""
    number: dict[Var, int] = {v: i for i, v in enumerate(graph.inputs)}

    def atoms(given: tuple[Atom, ...]) -> str:
        return ",".join([_literal(a) if isinstance(a, Literal) else str(number[a]) for a in given])

    out.append(f"graph[{' '.join([_type(v.aval) for v in graph.inputs])}]")
    for e in graph.eqns:
        names.add(e.prim.name)
        out.append(f"{e.prim.name!r}({atoms(e.inputs)})")
        for key in sorted(e.params):
            out.append(f"{key!r}=")
            _parameter(e.params[key], key, out, names)
        out.append(f"->[{' '.join([_type(v.aval) for v in e.outputs])}]{e.effect!r};")
        for v in e.outputs:
            number[v] = len(number)
    out.append(f"return({atoms(graph.outputs)})")


def _type(aval: Aval) -> str:
    for n in aval.shape:
        if type(n) is not int:
            raise NotKept(f"the size {n!r} is not a plain number")
    return f"{_dtype(aval.dtype)}{aval.shape}{aval.weak!r}"


def _dtype(dtype: np.dtype) -> str:
    return f"{dtype.str}{dtype.name!r}"


def _literal(a: Literal) -> str:
    bits = a.bits
    if not isinstance(bits, bytes):
        raise NotKept(f"the literal {a.value!r} is not a plain number")
    return f"{bits!r}:{_type(a.aval)}"


def _parameter(v: Any, key: str, out: list[str], names: set[str]) -> None:
    """Appends a parameter by its value, and by its kind: Python calls 0.0 and -0.0, and 1, 1.0 and True, equal."""
    kind = type(v)
    if v is None or kind in (int, bool, str, bytes):
        out.append(repr(v))
    elif kind in (float, complex):
        out.append(f"{kind.__name__}{np.array(v).tobytes()!r}")
    elif kind is Graph:
        _graph(v, out, names)
    elif isinstance(v, tuple):
        out.append(f"{kind.__module__}.{kind.__qualname__}(")
        for x in v:
            _parameter(x, key, out, names)
            out.append(",")
        out.append(")")
    elif isinstance(v, np.dtype):
        out.append(_dtype(v))
    elif isinstance(v, np.generic):
        out.append(f"scalar{_dtype(v.dtype)}{v.tobytes()!r}")
    else:
        raise NotKept(f"{key}={v!r} has no faithful text")


# ---------------------------------------------------------------------------------------------- images


@dataclass(frozen=True)
class Place:
    """Where the image of a graph is kept: under ``key``, or nowhere ("") for a ``reason``."""

    key: str
    reason: str = ""

    def find(self, graph: Graph) -> tuple[Assembly, Loaded] | None:
        """The image, if there is one, with its kernels loaded."""
        data = default_store().read(self.key) if self.key else None
        image = None if data is None else unpack(data, graph, self.key)
        loaded = None if image is None else load_stored(image[1])
        if image is None or loaded is None:
            return None
        _info.found += 1
        return image[0], loaded

    def keep(self, assembly: Assembly, kernels: tuple[Stored, ...]) -> str:
        """Stores what was planned, if it can be kept; what became of it."""
        try:
            if not self.key:
                raise NotKept(self.reason)
            default_store().put(self.key, pack(assembly, kernels, self.key))
        except NotKept as e:
            _info.not_kept += 1
            return f"planned in every process: {e}"
        _info.planned += 1
        return "planned in this process, and kept for the next"


def place(graph: Graph, options: Any) -> Place:
    """Where the image of a graph is; ``options``: resolved."""
    if options.engine == "numba":
        return Place("", "the engine numba compiles in every process")
    if _off or options.verify:
        return Place("", "asked for" if _off else "its plan was to be verified")
    try:
        return Place(image_key(graph, options))
    except NotKept as e:
        return Place("", str(e))


_NUMBERS = ("words", "relative", "in_arena", "in_consts", "in_code", "patches", "steps", "addressed")


def pack(assembly: Assembly, kernels: tuple[Stored, ...], key: str) -> bytes:
    """An image as bytes.  Arguments, results and literals are not in it: they are those of the graph.

    Raises:
        NotKept: it says something that holds in this process alone.
    """
    if assembly.callbacks:
        raise NotKept("it calls Python")
    if not assembly.portable:
        raise NotKept("it holds an address of this process")
    a = assembly
    outputs = tuple([(kind, None if kind == "literal" else what) for kind, what in a.outputs])
    numbers = tuple([(getattr(a, name).shape, getattr(a, name).tobytes()) for name in _NUMBERS])
    text: Any = (kernels, outputs, a.overwritten, a.arena_bytes, a.consts, a.release_gil, numbers)
    return _head(key) + marshal.dumps(text)


def _head(key: str) -> bytes:
    return b"fximage\x01" + key.encode()


def unpack(data: bytes, graph: Graph, key: str) -> tuple[Assembly, tuple[Stored, ...]] | None:
    """The image of a graph: its assembly, and its kernels in the order of their numbers.  None if it is not that of the key."""
    head = _head(key)
    if not data.startswith(head):
        return None
    kernels, kinds, overwritten, arena_bytes, consts, release_gil, numbers = marshal.loads(
        memoryview(data)[len(head) :]
    )
    outputs = tuple([(kind, a if kind == "literal" else what) for (kind, what), a in zip(kinds, graph.outputs)])
    arrays: dict[str, Any] = {
        name: np.frombuffer(b, np.int64).reshape(shape) for name, (shape, b) in zip(_NUMBERS, numbers, strict=True)
    }
    takes = tuple([(v.aval.shape, v.aval.dtype) for v in graph.inputs])
    assembly = Assembly(
        takes, made(graph, outputs), outputs, overwritten, arena_bytes, consts, release_gil=release_gil, **arrays
    )
    return assembly, kernels
