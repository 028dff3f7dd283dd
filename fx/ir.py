"""The IR: closed graphs of equations between typed variables.

A ``Graph`` is *closed*: every variable that its equations read is one of its inputs or the output of an
earlier equation.  There are no constants but scalar ``Literal``s; larger ones are inputs.

    Aval      what is known of a value while tracing: shape, dtype, and whether its dtype is weak
    Var       a variable, identified by the object itself
    Literal   a scalar constant written into an equation
    Eqn       outputs = primitive[params] inputs
    Graph     inputs, equations, outputs

Everything here is immutable once built, and this module imports nothing of fx but its errors and dtypes:
``jit`` sees graphs through it.  ``printing`` gives ``Graph`` its ``__str__``, ``verify`` checks it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, Union

import numpy as np

from .dtypes import float0, is_inexact
from .errors import GraphError
from .sizes import fitting, is_sized, shown

__all__ = ["Aval", "Atom", "Eqn", "Graph", "Literal", "PrimitiveLike", "Source", "Var", "aval_of_array", "subgraphs"]


class Aval:
    """Shape and dtype of a value that may not exist yet.  ``weak``: made from Python scalars alone.

    Immutable, and hashed once: tracing looks types up all the time.
    """

    __slots__ = ("_hash", "_memo", "dtype", "shape", "weak")
    shape: tuple[int, ...]
    dtype: np.dtype
    weak: bool
    _hash: int
    _memo: dict[Any, Any]
    uncut: ClassVar[list[Callable[[int], Any]]] = []  # the sharding of n dimensions; ``platform`` puts it there

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, weak: bool = False) -> None:
        _set_shape(self, shape)
        _set_dtype(self, dtype)
        _set_weak(self, weak)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an Aval is immutable; make another: aval.with_({name}=...)")

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            _set_hash(self, hash((self.shape, self.dtype, self.weak)))
            return self._hash

    def memo(self) -> dict[Any, Any]:
        """What is remembered of values of this type; equal types need not share it."""
        try:
            return self._memo
        except AttributeError:
            _set_memo(self, {})
            return self._memo

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not Aval:
            return NotImplemented
        return bool(self.shape == other.shape and self.dtype == other.dtype and self.weak == other.weak)

    def __reduce__(self) -> Any:
        return Aval, (self.shape, self.dtype, self.weak)

    def __repr__(self) -> str:
        return f"Aval(shape={self.shape!r}, dtype={self.dtype!r}, weak={self.weak!r})"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        n = 1
        for s in self.shape:
            n *= s
        return n

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def weak_type(self) -> bool:
        """JAX's name of ``weak``."""
        return self.weak

    @property
    def sharding(self) -> Any:
        """How it lies over devices, as JAX's types tell it: cut along no axis, of a mesh without axes."""
        return self.uncut[0](self.ndim) if self.uncut else None

    def with_(self, **changes: Any) -> Aval:
        d = {"shape": self.shape, "dtype": self.dtype, "weak": self.weak, **changes}
        return Aval(**d)

    update = with_  # JAX's name

    def strong(self) -> Aval:
        return Aval(self.shape, self.dtype) if self.weak else self

    def to_tangent_aval(self) -> Aval:
        """The type of tangents: of values that are no floats and no complex numbers ``float0``, which holds nothing."""
        return self.strong() if is_inexact(self.dtype) else Aval(self.shape, float0)

    to_cotangent_aval = to_ct_aval = at_least_vspace = to_tangent_aval

    def str_short(self, short_dtypes: bool = False, mesh_axis_types: bool = False) -> str:
        """Dtype and shape alone, as ``float32[3]``, or ``f32[3]``."""
        dtype = short_dtype(self.dtype) if short_dtypes else str(self.dtype)
        return f"{dtype}[{','.join(map(shown, self.shape))}]"

    def same_type(self, other: Aval) -> bool:
        """Equal shape and dtype; weakness does not count."""
        return self.shape == other.shape and self.dtype == other.dtype

    def __str__(self) -> str:
        return f"{short_dtype(self.dtype)}[{','.join(map(shown, self.shape))}]{'*' if self.weak else ''}"


_set_shape, _set_dtype, _set_weak, _set_hash, _set_memo = (
    Aval.__dict__[name].__set__ for name in ("shape", "dtype", "weak", "_hash", "_memo")
)
_known_types: dict[Any, Aval] = {}
_MOST_KNOWN = 4096


def aval_of_array(shape: tuple[int, ...], dtype: np.dtype, weak: bool = False) -> Aval:
    """The type of an array in memory: equal ones are one object, so that what is remembered of a type is found again."""
    key = shape, dtype, weak
    found = _known_types.get(key)
    if found is None:
        if len(_known_types) >= _MOST_KNOWN:
            _known_types.clear()
        found = _known_types[key] = Aval(shape, dtype, weak)
    return found


_SHORT = {"float": "f", "int": "i", "uint": "u", "complex": "c", "bfloat": "bf"}


def short_dtype(d: np.dtype) -> str:
    """``f32`` for float32, ``b1`` for bool."""
    if not isinstance(d, np.dtype):  # of keys
        return str(d)
    if d.kind == "b":
        return "b1"
    name = d.name.rstrip("0123456789")
    return _SHORT[name] + d.name[len(name) :]


class Var:
    """A variable.  Two variables are the same only if they are the same object."""

    __slots__ = ("aval",)

    def __init__(self, aval: Aval) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return f"Var({self.aval})"


class Literal:
    """A scalar constant: a 0-d value written into the equation itself."""

    __slots__ = ("aval", "value")

    def __init__(self, value: Any, aval: Aval) -> None:
        if aval.shape != ():
            raise GraphError(f"a Literal holds a scalar, not shape {aval.shape}; larger constants are graph inputs")
        self.value = fitting(value, aval.dtype) if is_sized(value) else np.asarray(value, aval.dtype)[()]
        self.aval = aval

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    ndim = 0
    size = 1

    @property
    def dtype(self) -> np.dtype:
        return self.aval.dtype

    @property
    def weak_type(self) -> bool:
        return self.aval.weak

    @property
    def val(self) -> Any:
        """JAX's name of ``value``."""
        return self.value

    @property
    def bits(self) -> Any:
        """What tells it from other literals of its dtype: 0.0 and -0.0 are not the same."""
        return self.value if is_sized(self.value) else self.value.tobytes()

    def __repr__(self) -> str:
        return f"Literal({self.value!r}, {self.aval})"


Atom = Union[Var, Literal]


class PrimitiveLike(Protocol):
    """What the IR and its passes need to know of a primitive."""

    name: str
    is_elementwise: bool


@dataclass(frozen=True, slots=True)
class Source:
    """Where the user wrote the operation."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class _EqnFields(NamedTuple):
    prim: PrimitiveLike
    inputs: tuple[Atom, ...]
    params: dict[str, Any]
    outputs: tuple[Var, ...]
    source: Source | None = None
    scope: str = ""
    effect: str | None = None


class Eqn(_EqnFields):
    """``outputs = prim[params] inputs``.  Two equations are the same only if they are the same object.

    effect: None for a pure equation; otherwise its name.  Equations with an effect are never dropped,
    duplicated or reordered among themselves.
    """

    __slots__ = ()
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__

    def replace(self, **changes: Any) -> Eqn:
        return self._replace(**changes)


@dataclass(frozen=True, eq=False)
class Graph:
    """A closed function on arrays: ``inputs`` (distinct variables), ``eqns`` in order, ``outputs`` (atoms)."""

    inputs: tuple[Var, ...]
    eqns: tuple[Eqn, ...]
    outputs: tuple[Atom, ...]
    name: str = "graph"
    input_names: tuple[str, ...] | None = None
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def in_avals(self) -> tuple[Aval, ...]:
        return tuple(v.aval for v in self.inputs)

    @property
    def out_avals(self) -> tuple[Aval, ...]:
        return tuple(a.aval for a in self.outputs)

    @property
    def effects(self) -> frozenset[str]:
        return frozenset(e.effect for e in self.eqns if e.effect)

    def replace(self, **changes: Any) -> Graph:
        names = ("inputs", "eqns", "outputs", "name", "input_names")
        return Graph(**{**{n: getattr(self, n) for n in names}, **changes})

    def memo(self, key: Any, make: Any) -> Any:
        """A value derived from this graph (a transform of it, an executable), made once and kept with it."""
        if key not in self._memo:
            self._memo.setdefault(key, make())  # outside any handler, so that an error of make() stands alone
        return self._memo[key]


def subgraphs(params: dict[str, Any]) -> list[tuple[str, Graph]]:
    """The graphs that an equation holds in its parameters, with the name of each."""
    found: list[tuple[str, Graph]] = []
    for key, value in params.items():
        if isinstance(value, Graph):
            found.append((key, value))
        elif isinstance(value, tuple):
            found += [(f"{key}[{i}]", g) for i, g in enumerate(value) if isinstance(g, Graph)]
    return found
