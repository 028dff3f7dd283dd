"""Parts that nobody reads: a product, a convolution or a window computes no more of its result than is read.

``(x @ w)[-1]`` is a product of one row, and a pool that leaves out the last row and column of an odd image leaves them out of the
convolution before it.  Backwards through the graph each value learns the box of it that somebody reads; forwards, values that are
dear to compute, and what is computed from them element by element, take that box's shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ir import Atom, Eqn, Graph, Var
from ..primitive import primitive
from .rewrite import Substitution, are_plain

__all__ = ["narrow"]

Range = tuple[int, int] | None  # of an axis; None: all of it
Box = tuple[Range, ...]

_WORTH = 7 / 8  # of what a dear operation computed: more than this is left whole


def narrow(g: Graph) -> Graph:
    """Narrows what is dear to compute to the parts of it that are read."""
    names = {e.prim.name for e in g.eqns}
    if names.isdisjoint(_CUTS) or names.isdisjoint(_DEAR):
        return g
    return _Unread(g).rewritten()


# ------------------------------------------------------------------------------------------ boxes


def _box(ranges: Sequence[Range], shape: Sequence[Any]) -> Box:
    """With None where a range is all of an axis."""
    return tuple([None if r is None or r == (0, n) else r for r, n in zip(ranges, shape)])


def _whole(x: Atom) -> Box:
    return (None,) * len(x.aval.shape)


def _union(a: Box, b: Box) -> Box:
    return tuple([None if r is None or s is None else (min(r[0], s[0]), max(r[1], s[1])) for r, s in zip(a, b)])


def _shape(box: Box, shape: Sequence[Any]) -> tuple[Any, ...]:
    return tuple([n if r is None else r[1] - r[0] for r, n in zip(box, shape)])


def _relative(inner: Range, outer: Range) -> Range:
    """A range in an axis of which ``outer`` is there."""
    return inner if inner is None or outer is None else (inner[0] - outer[0], inner[1] - outer[0])


# ------------------------------------------------------------------- what an operand's box follows from


@dataclass(frozen=True)
class _Rule:
    """How an equation reads its operands.

    reads: the boxes of the operands that a box of the result needs.
    params: the parameters that give a box of the result from boxes of the operands.
    finds: the axes of the first operand along which ``params`` says where the needed range lies, whatever is there.  Along others,
        and in other operands, there must be that range and no more.
    fixed: the axes of the result of which all is computed.
    """

    reads: Callable[[Eqn, Box], list[Box]]
    params: Callable[[Eqn, Box, Sequence[Box]], Mapping[str, Any]] = lambda e, box, there: e.params
    finds: Callable[[Eqn], Collection[int]] = lambda e: ()
    fixed: Callable[[Eqn], Collection[int]] = lambda e: ()


def _elementwise(e: Eqn, box: Box) -> list[Box]:
    return [box if a.aval.ndim == len(box) else _whole(a) for a in e.inputs]


def _transpose(e: Eqn, box: Box) -> list[Box]:
    found: list[Range] = [None] * len(box)
    for r, axis in zip(box, e.params["permutation"]):
        found[axis] = r
    return [tuple(found)]


def _expand_dims(e: Eqn, box: Box) -> list[Box]:
    return [tuple([r for axis, r in enumerate(box) if axis not in e.params["dimensions"]])]


def _squeeze(e: Eqn, box: Box) -> list[Box]:
    left = iter(box)
    gone = e.params["dimensions"]
    return [tuple([None if axis in gone else next(left) for axis in range(e.inputs[0].aval.ndim)])]


def _broadcast(e: Eqn, box: Box) -> list[Box]:
    to = e.params["broadcast_dimensions"]
    return [tuple([box[d] if are_plain(n) and n != 1 else None for n, d in zip(e.inputs[0].aval.shape, to)])]


def _broadcast_params(e: Eqn, box: Box, there: Sequence[Box]) -> Mapping[str, Any]:
    return {**e.params, "shape": _shape(box, e.params["shape"])}


def _slice(e: Eqn, box: Box) -> list[Box]:
    p, shape = e.params, e.inputs[0].aval.shape
    found: list[Range] = []
    for r, n, start, limit, stride in zip(box, shape, p["start_indices"], p["limit_indices"], p["strides"]):
        if not are_plain(n, start, limit, stride) or limit <= start:
            found.append(None)
            continue
        lo, hi = r or (0, -(-(limit - start) // stride))
        found.append((start + lo * stride, start + (hi - 1) * stride + 1))
    return [_box(found, shape)]


def _slice_params(e: Eqn, box: Box, there: Sequence[Box]) -> Mapping[str, Any]:
    p, (wanted,), (have,) = e.params, _slice(e, box), there
    starts, limits = list(p["start_indices"]), list(p["limit_indices"])
    for axis, r in enumerate(wanted):
        if r is not None:
            starts[axis], limits[axis] = _relative(r, have[axis])  # type: ignore[misc]
    return {**p, "start_indices": tuple(starts), "limit_indices": tuple(limits)}


def _dot(e: Eqn, box: Box) -> list[Box]:
    left = iter(box)
    (contracting, batch) = e.params["dimension_numbers"]
    found: list[list[Range]] = [[None] * a.aval.ndim for a in e.inputs]
    for i, j in zip(*batch):
        found[0][i] = found[1][j] = next(left)
    for ranges, summed, shared in zip(found, contracting, batch):
        for axis in range(len(ranges)):
            if axis not in summed and axis not in shared:
                ranges[axis] = next(left)
    return [tuple(r) for r in found]


def _conv(e: Eqn, box: Box) -> list[Box]:
    """The operand: examples, and what windows reach where it is not dilated.  The kernel: features of the result."""
    p, (x, w) = e.params, e.inputs
    found: list[Range] = [None] * x.aval.ndim
    features: list[Range] = [None] * w.aval.ndim
    found[p["lhs_spec"][0]], features[p["rhs_spec"][0]] = box[p["out_spec"][0]], box[p["out_spec"][1]]
    for k, axis in enumerate(p["lhs_spec"][2:]):
        found[axis] = _reach(box[p["out_spec"][2 + k]], e, k)
    return [_box(found, x.aval.shape), tuple(features)]


def _grouped(e: Eqn) -> Collection[int]:
    """The examples and features of a convolution of groups: those of the result follow from few of the operands'."""
    p = e.params
    examples, features, *_ = p["out_spec"]
    if p["batch_group_count"] > 1:
        return (examples, features)
    return (features,) if p["feature_group_count"] > 1 else ()


def _conv_window(e: Eqn, k: int) -> tuple[Any, ...]:
    """Along spatial axis k: elements, results, taps, stride, padding in front, holes, distance of taps."""
    p, (x, w) = e.params, e.inputs
    return (
        x.aval.shape[p["lhs_spec"][2 + k]], e.outputs[0].aval.shape[p["out_spec"][2 + k]], w.aval.shape[p["rhs_spec"][2 + k]],
        p["window_strides"][k], p["padding"][k][0], p["lhs_dilation"][k], p["rhs_dilation"][k],
    )  # fmt: skip


def _pool_window(e: Eqn, k: int) -> tuple[Any, ...]:
    p, x = e.params, e.inputs[0]
    return (
        x.aval.shape[k], e.outputs[0].aval.shape[k], p["window_dimensions"][k], p["window_strides"][k], p["padding"][k][0],
        p["base_dilation"][k], p["window_dilation"][k],
    )  # fmt: skip


def _window(e: Eqn, k: int) -> tuple[Any, ...]:
    return (_conv_window if e.prim.name == "conv_general_dilated" else _pool_window)(e, k)


def _reach(r: Range, e: Eqn, k: int) -> Range:
    """The elements along an axis that windows of the range ``r`` meet."""
    n, count, taps, stride, low, holes, apart = _window(e, k)
    if holes != 1 or not are_plain(n, count, taps, low) or count <= 0 or taps <= 0:
        return None
    first, past = r or (0, count)
    begin = max(first * stride - low, 0)
    end = min((past - 1) * stride - low + (taps - 1) * apart + 1, n)
    return (begin, end) if begin < end else None


def _padding(r: Range, have: Range, e: Eqn, k: int) -> tuple[Any, Any] | None:
    """The padding under which windows over ``have`` are those of the range ``r``; None: as it is."""
    n, count, taps, stride, low, holes, apart = _window(e, k)
    if r is None and have is None:
        return None
    first, past = r or (0, count)
    begin, end = have or (0, n)
    before = low - first * stride + begin * holes
    return before, (past - first - 1) * stride + (taps - 1) * apart + 1 - before - ((end - begin - 1) * holes + 1)


def _conv_params(e: Eqn, box: Box, there: Sequence[Box]) -> Mapping[str, Any]:
    p, have = e.params, there[0]
    pads = [
        _padding(box[p["out_spec"][2 + k]], have[p["lhs_spec"][2 + k]], e, k) or pad
        for k, pad in enumerate(p["padding"])
    ]
    return {**p, "padding": tuple(pads)}


def _pool(e: Eqn, box: Box) -> list[Box]:
    x, *positions = e.inputs
    found = [_reach(r, e, k) for k, r in enumerate(box)]
    return [_box(found, x.aval.shape), *[box for _ in positions]]


def _slid_along(e: Eqn) -> list[int]:
    p = e.params
    each = zip(p["window_dimensions"], p["window_strides"], p["padding"], p["base_dilation"])
    return [k for k, window in enumerate(each) if window != (1, 1, (0, 0), 1)]


def _pool_params(e: Eqn, box: Box, there: Sequence[Box]) -> Mapping[str, Any]:
    pads = [_padding(r, there[0][k], e, k) or pad for k, (r, pad) in enumerate(zip(box, e.params["padding"]))]
    return {**e.params, "padding": tuple(pads)}


_DEAR = {
    "dot_general": _Rule(_dot),
    "conv_general_dilated": _Rule(_conv, _conv_params, lambda e: e.params["lhs_spec"][2:], _grouped),
    **{
        name: _Rule(_pool, _pool_params, _slid_along)
        for name in ("reduce_window_max", "reduce_window_min", "reduce_window_sum", "reduce_window_argmax",
                     "reduce_window_argmin", "window_select")
    },
}  # fmt: skip
_CHEAP = {
    "slice": _Rule(_slice, _slice_params, lambda e: range(e.inputs[0].aval.ndim)),
    "transpose": _Rule(_transpose),
    "expand_dims": _Rule(_expand_dims),
    "squeeze": _Rule(_squeeze),
    "broadcast_in_dim": _Rule(_broadcast, _broadcast_params),
}
_CUTS = frozenset(
    ("slice", *(_DEAR.keys() - {"dot_general"}))
)  # what may read less than all when all of its result is read
_MADE_SMALLER = _DEAR.keys() | {"broadcast_in_dim"}
_ELEMENTWISE = _Rule(_elementwise)


def _rule(e: Eqn) -> _Rule | None:
    if len(e.outputs) != 1:
        return None
    return _DEAR.get(e.prim.name) or _CHEAP.get(e.prim.name) or (_ELEMENTWISE if e.prim.is_elementwise else None)


# ------------------------------------------------------------------------------------------ unread parts


@dataclass
class _Unread:
    """A graph, with what is read of each value."""

    graph: Graph
    read: dict[Var, Box] = field(default_factory=dict)  # of values that an equation makes
    there: dict[Var, tuple[Var, Box]] = field(default_factory=dict)  # what stands for a value: one of its box
    eqns: list[Eqn] = field(default_factory=list)
    sub: Substitution = field(default_factory=Substitution)

    def rewritten(self) -> Graph:
        for a in self.graph.outputs:
            self.reads(a, _whole(a))
        live = []
        for e in reversed(self.graph.eqns):
            if not e.effect and not any(v in self.read for v in e.outputs):
                continue
            live.append(e)
            box, rule = self.box_of(e), _rule(e)
            for a, r in zip(e.inputs, map(_whole, e.inputs) if rule is None else rule.reads(e, box)):
                self.reads(a, r)
        if not any(e.prim.name in _DEAR and any(self.box_of(e)) for e in live):
            return self.graph
        for e in reversed(live):
            self.visit(e)
        return self.sub.finish(self.graph, self.eqns)

    def reads(self, a: Atom, box: Box) -> None:
        if type(a) is Var:
            old = self.read.get(a)
            self.read[a] = box if old is None else _union(old, box)

    def box_of(self, e: Eqn) -> Box:
        """The part of an equation's result that is computed, if any is left out."""
        if len(e.outputs) != 1:
            return ()
        v, rule = e.outputs[0], _rule(e)
        box = _whole(v)
        if rule is not None and v in self.read:
            fixed = rule.fixed(e)
            box = _box([None if axis in fixed else r for axis, r in enumerate(self.read[v])], v.aval.shape)
            part = math.prod([(r[1] - r[0]) / n for r, n in zip(box, v.aval.shape) if r is not None])
            if e.prim.name in _DEAR and part > _WORTH:
                box = _whole(v)
        self.read[v] = box
        return box

    def visit(self, e: Eqn) -> None:
        """Emits an equation, for the part of its result that is read if that spares something dear."""
        rule = _rule(e)
        moved = any(type(a) is Var and a in self.there for a in e.inputs)
        box = self.box_of(e)
        if rule is None or not (moved or (any(box) and e.prim.name in _MADE_SMALLER)):
            self.eqns.append(self.sub.apply(e))
            return
        found = frozenset(rule.finds(e))
        inputs, boxes = [], []
        for n, (a, wanted) in enumerate(zip(e.inputs, rule.reads(e, box))):
            x, have = self.there.get(a, (a, _whole(a))) if type(a) is Var else (a, _whole(a))
            if n == 0:
                wanted = tuple([have[axis] if axis in found else r for axis, r in enumerate(wanted)])
            inputs.append(self.part(x, have, wanted))
            boxes.append(wanted)
        v, params = e.outputs[0], rule.params(e, box, boxes)
        if e.prim.name == "slice" and _takes_all(params, inputs[0].aval.shape):
            self.sub.map[v] = self.sub(inputs[0])
            return
        out = v
        if any(box):
            out = Var(v.aval.with_(shape=_shape(box, v.aval.shape)))
            self.there[v] = out, box
        self.eqns.append(self.sub.apply(e.replace(inputs=tuple(inputs), params=dict(params), outputs=(out,))))

    def part(self, x: Atom, have: Box, wanted: Box) -> Atom:
        """A box of a value of which one is there."""
        inside = tuple([_relative(r, h) for r, h in zip(wanted, have)])
        shape = x.aval.shape
        if not any(_box(inside, shape)):
            return x
        ranges = [(0, n) if r is None else r for r, n in zip(inside, shape)]
        out = Var(x.aval.with_(shape=_shape(inside, shape)))
        params = {
            "start_indices": tuple(r[0] for r in ranges),
            "limit_indices": tuple(r[1] for r in ranges),
            "strides": (1,) * len(shape),
        }
        self.eqns.append(Eqn(primitive("slice"), (self.sub(x),), params, (out,)))
        return out


def _takes_all(params: Mapping[str, Any], shape: Sequence[Any]) -> bool:
    """Whether a slice is its operand."""
    return (
        not any(params["start_indices"]) and tuple(params["limit_indices"]) == shape and set(params["strides"]) <= {1}
    )
