"""Masks: the gradient of ``relu``, and of a pool behind one, read what is in memory anyway.

``s = select_n(y <= 0, y, 0)`` says itself where it was chosen: ``y <= 0`` is ``s <= 0``, NaN and both zeros included.  So
where a product or a window reads ``s`` from memory, its gradient need not keep ``y``.

A pool hands each cotangent to the element where its window has its extreme.  There ``s`` is the pool's result: a mask of what it
hands out is a mask of the cotangents, of which there are fewer, and zeros stay zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir import Atom, Aval, Eqn, Graph, Literal, Var
from ..primitive import primitive

__all__ = ["masks"]

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "le": np.less_equal, "lt": np.less, "ge": np.greater_equal, "gt": np.greater, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
_FROM_MEMORY = frozenset(
    "dot_general conv_general_dilated reduce_window_max reduce_window_min reduce_window_sum scan while cond".split()
)
_SAME_ELEMENTS = frozenset("reshape squeeze expand_dims transpose".split())
_EXTREMES = {"reduce_window_argmax": "reduce_window_max", "reduce_window_argmin": "reduce_window_min"}


def masks(g: Graph) -> Graph:
    """Reads masks off what was chosen by them, takes them to the cotangents of a pool, and sums these, not what the pool hands out.

    The bits of a sum of what a pool hands out (the gradient of a bias) may change: there are fewer terms.
    """
    if not any(e.prim.name == "select_n" for e in g.eqns):
        return g
    pass_ = _Masks(g)
    for e in g.eqns:
        pass_.visit(e)
    return g.replace(eqns=tuple(pass_.eqns))


@dataclass(frozen=True)
class _Mask:
    """``compare(x, number)``."""

    compare: str
    x: Var
    number: Atom  # a literal


@dataclass
class _Masks:
    """The equations of a graph, rewritten one after another."""

    graph: Graph
    eqns: list[Eqn] = field(default_factory=list)
    makers: dict[Var, Eqn] = field(default_factory=dict)
    readers: dict[Var, list[Eqn]] = field(default_factory=dict)
    chosen: dict[Var, Var] = field(default_factory=dict)  # a mask -> the one that is read off its choice
    pools: dict[Any, Var] = field(default_factory=dict)  # (primitive, operand, window) -> result

    def __post_init__(self) -> None:
        for e in self.graph.eqns:
            for a in e.inputs:
                if type(a) is Var:
                    self.readers.setdefault(a, []).append(e)

    def emit(self, e: Eqn) -> None:
        self.eqns.append(e)
        self.makers.update((v, e) for v in e.outputs)

    def make(self, name: str, inputs: tuple[Atom, ...], aval: Aval, params: Mapping[str, Any] = {}) -> Var:
        made = Var(aval)
        self.emit(Eqn(primitive(name), inputs, dict(params), (made,)))
        return made

    def visit(self, e: Eqn) -> None:
        if any(a in self.chosen for a in e.inputs if type(a) is Var):
            e = e.replace(inputs=tuple([self.chosen.get(a, a) if type(a) is Var else a for a in e.inputs]))
        if e.prim.name in _EXTREMES.values():
            self.pools[e.prim.name, e.inputs[0], _window(e)] = e.outputs[0]
        if e.prim.name == "reduce_sum":
            e = self.sum_of_cotangents(e) or e
        if e.prim.name == "select_n" and len(e.inputs) == 3:
            e = self.mask_of_cotangents(e) or e
            self.emit(e)
            self.read_off(e)
        else:
            self.emit(e)

    # ------------------------------------------------------------------ what an atom is

    def made(self, a: Atom, *names: str) -> Eqn | None:
        maker = self.makers.get(a) if type(a) is Var else None
        return maker if maker is not None and maker.prim.name in names else None

    def number(self, a: Atom) -> Literal | None:
        """The literal that an atom is, or repeats."""
        spread = self.made(a, "broadcast_in_dim")
        source = a if spread is None else spread.inputs[0]
        return source if type(source) is Literal and np.ndim(source.value) == 0 else None

    def mask(self, a: Atom) -> _Mask | None:
        e = self.made(a, *_COMPARISONS)
        number = e and self.number(e.inputs[1])
        if e is None or number is None or type(e.inputs[0]) is not Var:
            return None
        return _Mask(e.prim.name, e.inputs[0], number)

    def is_read_from_memory(self, v: Var) -> bool:
        return any(
            e.prim.name in _FROM_MEMORY or (e.prim.name in _SAME_ELEMENTS and self.is_read_from_memory(e.outputs[0]))
            for e in self.readers.get(v, ())
        )

    # ------------------------------------------------------------------ rewrites

    def compare(self, mask: _Mask, x: Var) -> Var:
        """The mask's comparison of another array."""
        params = {"shape": x.aval.shape, "broadcast_dimensions": ()}
        spread = self.make("broadcast_in_dim", (mask.number,), x.aval, params) if x.aval.shape else mask.number
        return self.make(mask.compare, (x, spread), Aval(x.aval.shape, np.dtype(np.bool_)))

    def read_off(self, e: Eqn) -> None:
        """Later readers of the mask get one of the result of ``e``, ``select_n(mask, ...)`` between x and a number."""
        which, *cases = e.inputs
        mask = self.mask(which)
        if mask is None or len(self.readers.get(which, ())) < 2 or sum(c is mask.x for c in cases) != 1:  # type: ignore[arg-type]
            return
        other = cases[0] is mask.x  # the mask's value where the number is chosen
        number = self.number(cases[other])
        if number is None or bool(_COMPARISONS[mask.compare](number.value, mask.number.value)) != other:  # type: ignore[union-attr]
            return
        if self.is_read_from_memory(e.outputs[0]):
            self.chosen[which] = self.compare(mask, e.outputs[0])  # type: ignore[index]

    def mask_of_cotangents(self, e: Eqn) -> Eqn | None:
        """``select_n(mask of s, scatter(ct, argmax s), 0)`` as ``scatter(select_n(mask of max s, ct, 0), argmax s)``."""
        which, *cases = e.inputs
        mask, at = self.mask(which), [self.made(c, "window_scatter_add") is not None for c in cases]
        if mask is None or sum(at) != 1:
            return None
        k = at.index(True)
        zero, scatter = self.number(cases[1 - k]), self.made(cases[k], "window_scatter_add")
        if zero is None or scatter is None or zero.value != 0 or np.signbit(zero.value):
            return None
        pool = self.pool_of(scatter, mask.x)
        if pool is None or len(self.readers[scatter.outputs[0]]) != 1 or scatter.outputs[0] in self.graph.outputs:
            return None
        ct = scatter.inputs[0]
        params = {"shape": ct.aval.shape, "broadcast_dimensions": ()}
        none = self.make("broadcast_in_dim", (zero,), ct.aval, params) if ct.aval.shape else zero
        masked = self.make("select_n", (self.compare(mask, pool), *((none, ct) if k else (ct, none))), ct.aval)
        return scatter.replace(inputs=(masked, scatter.inputs[1]), outputs=e.outputs)

    def pool_of(self, scatter: Eqn, x: Var) -> Var | None:
        """The extremes of ``x`` that stand where a scatter puts its cotangents, if these are there."""
        positions = self.made(scatter.inputs[1], *_EXTREMES)
        if positions is None or positions.inputs[0] is not x or _window(positions) != _window(scatter):
            return None
        return self.pools.get((_EXTREMES[positions.prim.name], x, _window(scatter)))

    def sum_of_cotangents(self, e: Eqn) -> Eqn | None:
        """The sum of all that a scatter hands out, each cotangent to an element, is the sum of the cotangents."""
        scatter = self.made(e.inputs[0], "window_scatter_add")
        positions = scatter and self.made(scatter.inputs[1], *_EXTREMES)
        if scatter is None or positions is None or _window(positions) != _window(scatter):
            return None
        p, axes = scatter.params, e.params["axes"]
        kept = (d for d in range(scatter.inputs[0].aval.ndim) if d not in axes)
        trivial = all((p["window_dimensions"][d], p["window_strides"][d]) == (1, 1) for d in kept)
        holes = any(pair != (0, 0) for pair in p["padding"]) or any(n != 1 for n in p["base_dilation"])
        return e.replace(inputs=scatter.inputs[:1]) if trivial and not holes else None


def _window(e: Eqn) -> Any:
    return tuple([(k, v) for k, v in sorted(e.params.items()) if k != "operand_shape"])
