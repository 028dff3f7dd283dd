"""Graphs and arrays as bytes, and back.

    "fx.export\\n"  format (4 bytes)  length of the description (8 bytes)  SHA-256 of all that follows (32 bytes)
    the description, JSON
    the bytes of the arrays, in C order, each at a multiple of 64 behind the description

An equation is ``[primitive, operands, parameters, types of the results, effect]``; an operand is the number of a variable, or
``[text of the number's bytes, type]`` for a literal.  A parameter is a number, a truth value, a text or None as it is, and
anything else ``{kind: value}``, of a graph its number.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import canonical
from ..errors import ExportError, RegistryError
from ..ir import Atom, Aval, Eqn, Graph, Literal, Var
from ..passes.inline import CALLS
from ..primitive import primitive
from ..version import __version__

__all__ = ["FORMAT", "Reader", "Writer", "read", "write"]

FORMAT = 1
_MAGIC = b"fx.export\n"
_HEAD = struct.Struct("<IQ32s")
_ALIGN = 64
_LEFT_OUT = {
    "custom_jvp_call": {"derivative"}, "custom_vjp_call": {"derivative"}, "custom_vmap_call": {"batching"}, "linear_call": {"derivative"},
    "linear_solve": {"derivative"},
}  # fmt: skip
_EXACT = (bool, int, str, type(None))


# -------------------------------------------------------------------------------------------- the file


def write(description: dict[str, Any], arrays: Sequence[np.ndarray]) -> bytes:
    """The bytes of a description and of arrays."""
    parts, at, places = [], 0, []
    for a in arrays:
        data = np.ascontiguousarray(a).tobytes()
        places.append([str(a.dtype), list(a.shape), at, len(data)])
        parts += [data, bytes(-len(data) % _ALIGN)]
        at += len(data) + -len(data) % _ALIGN
    text = json.dumps({**description, "fx": __version__, "arrays": places}, allow_nan=False).encode()
    body = b"".join([text, *parts])
    return _MAGIC + _HEAD.pack(FORMAT, len(text), hashlib.sha256(body).digest()) + body


def read(blob: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What ``write`` wrote.

    Raises:
        ExportError: it did not write it, in another format, or bytes are missing or changed.
    """
    blob = bytes(blob)
    start = len(_MAGIC) + _HEAD.size
    if not blob.startswith(_MAGIC) or len(blob) < start:
        raise ExportError("these bytes were not written by fx.export's serialize()")
    found, length, digest = _HEAD.unpack_from(blob, len(_MAGIC))
    if found != FORMAT:
        raise ExportError(
            f"these bytes have format {found}; fx {__version__} reads format {FORMAT}. Export the function with this version,"
            " or read them with the one that wrote them."
        )
    body = blob[start:]
    if hashlib.sha256(body).digest() != digest:
        raise ExportError("these bytes are cut off, or not those that were written")
    try:  # the length is outside of what the digest is of
        description = json.loads(body[:length])
        ends = [at + n + -n % _ALIGN for *_, at, n in description["arrays"]]
    except ValueError as e:
        raise ExportError("these bytes are cut off, or not those that were written") from e
    if length + max(ends, default=0) != len(body):
        raise ExportError("these bytes are cut off, or not those that were written")
    arrays = []
    for dtype, shape, at, n in description["arrays"]:
        arrays.append(
            np.frombuffer(body, canonical(dtype), n // max(1, canonical(dtype).itemsize), length + at).reshape(shape)
        )
    return description, [a.copy() for a in arrays]


# ---------------------------------------------------------------------------------------------- graphs


def _type(a: Aval) -> list[Any]:
    return [str(a.dtype), list(a.shape), *([True] if a.weak else [])]


def _read_type(x: Sequence[Any]) -> Aval:
    return Aval(tuple(x[1]), canonical(x[0]), len(x) > 2)


class _NotPlain(Exception):
    """A parameter that is no plain data."""


class Writer:
    """Graphs as plain data: each is written once, however many equations hold it.

    graphs: those that were written.
    left_out: what was, of functions with rules of their own: "derivative", "batching".
    """

    def __init__(self) -> None:
        self.graphs: list[Any] = []
        self.left_out: set[str] = set()
        self._known: dict[int, tuple[Graph, int]] = {}

    def graph(self, g: Graph) -> int:
        """The number under which the graph is written.

        Raises:
            ExportError: it calls Python functions.
        """
        if id(g) not in self._known:
            written = self._described(g)
            self._known[id(g)] = g, len(self.graphs)
            self.graphs.append(written)
        return self._known[id(g)][1]

    def _described(self, g: Graph) -> dict[str, Any]:
        numbers: dict[Var, int] = {}

        def new(v: Var) -> list[Any]:
            numbers[v] = len(numbers)
            return _type(v.aval)

        def atom(a: Atom) -> Any:
            return numbers[a] if isinstance(a, Var) else [np.asarray(a.value, a.dtype).tobytes().hex(), _type(a.aval)]

        inputs = [new(v) for v in g.inputs]
        eqns = []
        for e in g.eqns:
            name, params = self._plain(e)
            operands = [atom(a) for a in e.inputs]
            eqns.append([name, operands, params, [new(v) for v in e.outputs], *([e.effect] if e.effect else [])])
        names, outputs = list(g.input_names or ()), [atom(a) for a in g.outputs]
        return {"name": g.name, "inputs": inputs, "names": names, "eqns": eqns, "outputs": outputs}

    def _plain(self, e: Eqn) -> tuple[str, dict[str, Any]]:
        """The primitive of an equation and its parameters; a function with rules of its own becomes a call."""
        prim: Any = e.prim
        if prim.name in CALLS:
            self.left_out |= _LEFT_OUT.get(prim.name, set())
            return "jit", {"graph": {"graph": self.graph(e.params["graph"])}}
        if prim.has("expand"):
            self.left_out |= {"derivative", "batching"}
            return "jit", {"graph": {"graph": self.graph(prim.rule("expand")(*[a.aval for a in e.inputs], **e.params))}}
        try:
            return prim.name, {k: self._value(v) for k, v in e.params.items()}
        except _NotPlain as found:
            where = f"\n  at {e.source}" if e.source else ""
            raise ExportError(f"what calls Python cannot be exported: {prim.name} holds {found}{where}") from None

    def _value(self, v: Any) -> Any:
        if type(v) in _EXACT:
            return v
        if type(v) in (float, complex):
            return {type(v).__name__: repr(v)}
        if type(v) in (tuple, list):
            return {type(v).__name__: [self._value(x) for x in v]}
        if type(v) is Graph:
            return {"graph": self.graph(v)}
        if type(v) is Aval:
            return {"type": _type(v)}
        if isinstance(v, np.dtype):
            return {"dtype": str(v)}
        if isinstance(v, np.generic):
            return {"number": [v.tobytes().hex(), str(v.dtype)]}
        raise _NotPlain(f"a {type(v).__name__}")


def _number(data: str, dtype: str) -> Any:
    return np.frombuffer(bytes.fromhex(data), canonical(dtype))[0]


class Reader:
    """The graphs that a ``Writer`` wrote."""

    def __init__(self, graphs: Sequence[Any]) -> None:
        self._graphs = graphs
        self._read: dict[int, Graph] = {}

    def graph(self, number: int) -> Graph:
        """The graph of that number.

        Raises:
            ExportError: it holds a primitive that there is not.
        """
        if number not in self._read:
            self._read[number] = self._rebuilt(self._graphs[number])
        return self._read[number]

    def _rebuilt(self, d: Any) -> Graph:
        variables: list[Var] = []

        def new(t: Sequence[Any]) -> Var:
            variables.append(Var(_read_type(t)))
            return variables[-1]

        def atom(x: Any) -> Atom:
            return variables[x] if isinstance(x, int) else Literal(_number(x[0], x[1][0]), _read_type(x[1]))

        inputs = tuple([new(t) for t in d["inputs"]])
        eqns = []
        for name, operands, params, types, *effect in d["eqns"]:
            try:
                prim = primitive(name)
            except RegistryError:
                raise ExportError(
                    f"these bytes hold the operation {name!r}, which fx {__version__} does not know"
                ) from None
            given = tuple([atom(x) for x in operands])
            values = {k: self._value(v) for k, v in params.items()}
            eqns.append(Eqn(prim, given, values, tuple([new(t) for t in types]), effect=effect[0] if effect else None))
        return Graph(inputs, tuple(eqns), tuple([atom(x) for x in d["outputs"]]), d["name"], tuple(d["names"]) or None)

    def _value(self, x: Any) -> Any:
        if not isinstance(x, dict):
            return x
        ((kind, value),) = x.items()
        if kind in ("tuple", "list"):
            found = [self._value(v) for v in value]
            return tuple(found) if kind == "tuple" else found
        return self.graph(value) if kind == "graph" else _READ[kind](value)


_READ: dict[str, Any] = {
    "float": float, "complex": complex, "type": _read_type, "dtype": canonical, "number": lambda x: _number(*x),
}  # fmt: skip
