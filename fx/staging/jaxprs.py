"""What was traced, to look at: graphs under the names that JAX has for their parts, shapes and dtypes in place of arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import tree
from ..ir import Atom, Eqn, Graph, Source, Var
from ..trace import aval_of

__all__ = ["Jaxpr", "JaxprEqn", "ShapeDtypeStruct", "TracedGraph"]


_GRAPHS_OF = {  # the parameters of JAX's equations that hold graphs, and those that hold them here
    "cond": {"branches": "branches"},
    "custom_jvp_call": {"call_jaxpr": "graph"},
    "custom_vjp_call": {"call_jaxpr": "graph"},
    "jit": {"jaxpr": "graph"},
    "scan": {"jaxpr": "graph", "num_carry": "n_carry", "num_consts": "n_consts"},
    "while": {
        "body_jaxpr": "body", "body_nconsts": "n_body_consts", "cond_jaxpr": "cond", "cond_nconsts": "n_cond_consts",
    },
}  # fmt: skip


class EqnParams(dict[str, Any]):
    """The parameters of an equation, as ``bind`` takes them; a graph among them is also found under JAX's name, closed."""

    def __init__(self, eqn: Eqn) -> None:
        super().__init__(eqn.params)
        self._names = _GRAPHS_OF.get(eqn.prim.name, {})

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            return super().__getitem__(name)
        held = super().__getitem__(self._names[name])
        if isinstance(held, tuple):
            return tuple([TracedGraph.of(g) for g in held])
        return TracedGraph.of(held) if isinstance(held, Graph) else held

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self or name in self._names else default


@dataclass(frozen=True)
class SourceInfo:
    """Where an equation comes from: the line, and the scopes around it (``named_scope``), joined by slashes."""

    source: Source | None
    name_stack: str

    def __str__(self) -> str:
        return str(self.source)


class JaxprEqn:
    """An equation under JAX's names, and under its own (``eqn.prim``, ``eqn.inputs``, ``eqn.scope`` ...)."""

    __slots__ = ("eqn",)

    def __init__(self, eqn: Eqn) -> None:
        self.eqn = eqn

    primitive = property(lambda self: self.eqn.prim)
    params = property(lambda self: EqnParams(self.eqn))
    source_info = property(lambda self: SourceInfo(self.eqn.source, self.eqn.scope))

    @property
    def invars(self) -> list[Atom]:
        return list(self.eqn.inputs)

    @property
    def outvars(self) -> list[Var]:
        return list(self.eqn.outputs)

    @property
    def effects(self) -> frozenset[str]:
        return frozenset() if self.eqn.effect is None else frozenset((self.eqn.effect,))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.eqn, name)

    def __repr__(self) -> str:
        return f"{self.outvars} = {self.primitive}[{', '.join(self.params)}] {self.invars}"


@dataclass(frozen=True, eq=False)
class Jaxpr:
    """A graph under JAX's names: what it closes over, its last inputs, are ``constvars``."""

    graph: Graph
    n_consts: int

    @property
    def invars(self) -> list[Var]:
        return list(self.graph.inputs[: len(self.graph.inputs) - self.n_consts])

    @property
    def constvars(self) -> list[Var]:
        return list(self.graph.inputs[len(self.graph.inputs) - self.n_consts :])

    @property
    def outvars(self) -> list[Atom]:
        return list(self.graph.outputs)

    @property
    def eqns(self) -> list[JaxprEqn]:
        return [JaxprEqn(e) for e in self.graph.eqns]

    @property
    def effects(self) -> frozenset[str]:
        return self.graph.effects

    def __str__(self) -> str:
        return str(self.graph)

    __repr__ = __str__


@dataclass(frozen=True, repr=False)
class ShapeDtypeStruct:
    """Shape and dtype of an array that need not exist; ``weak_type`` as that of a Python number.

    >>> import fx
    >>> fx.ShapeDtypeStruct((2, 3), "float32")
    ShapeDtypeStruct(shape=(2, 3), dtype=float32)
    """

    shape: tuple[int, ...]
    dtype: Any
    sharding: Any = field(default=None, kw_only=True, compare=False, repr=False)
    weak_type: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if isinstance(self.dtype, (str, type, np.dtype)):  # one spelling, so that equal ones are equal
            object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @classmethod
    def like(cls, x: Any) -> ShapeDtypeStruct:
        """Shape, dtype and weakness of an array, or of a number."""
        a = aval_of(x)
        return cls(a.shape, a.dtype, weak_type=a.weak)

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self.weak_type else ""
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={getattr(self.dtype, 'name', self.dtype)}{weak})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without a dimension")
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class TracedGraph:
    """A graph with the values that its function closes over (its last inputs) and its structure."""

    graph: Graph
    consts: list[Any]
    in_tree: tree.TreeDef
    out_tree: tree.TreeDef

    @classmethod
    def of(cls, graph: Graph) -> TracedGraph:
        """A graph that closes over nothing, of flat values."""
        given, made = (tree.structure([0] * len(avals)) for avals in (graph.in_avals, graph.out_avals))
        return cls(graph, [], given, made)

    @property
    def jaxpr(self) -> Jaxpr:
        """The graph under JAX's names."""
        return Jaxpr(self.graph, len(self.consts))

    @property
    def literals(self) -> list[Any]:
        """JAX's other name of ``consts``."""
        return self.consts

    @property
    def eqns(self) -> list[JaxprEqn]:
        """The equations in order, under JAX's names and their own."""
        return self.jaxpr.eqns

    @property
    def effects(self) -> frozenset[str]:
        return self.graph.effects

    @property
    def in_avals(self) -> Any:
        return self.graph.in_avals

    @property
    def out_avals(self) -> Any:
        return self.graph.out_avals

    @property
    def out_info(self) -> Any:
        """The result, of shapes and dtypes in place of arrays."""
        found = [ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak) for a in self.graph.out_avals]
        return tree.unflatten(self.out_tree, found)

    def __str__(self) -> str:
        return str(self.graph)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.graph._repr_html_()  # type: ignore[attr-defined]
