"""Shaping: operations that move no data, only indices.

Each primitive here has two faces.  ``read`` answers "which element is the result's element at this index?" inside a
fused loop nest.  ``view`` answers the same for a whole strided array, where a library kernel wants an ``Operand``;
it returns None where strides cannot express the result (padding, concatenation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fx.ir import Eqn

from ..nest.index_map import ZERO, Affine, Cond, delinearize, dense_strides, linearize
from .registry import Operand

if TYPE_CHECKING:
    from ..nest.nodes import Node
    from ..nest.trace import Reader

__all__ = ["ALIASES", "SHAPING", "Shaping", "reshape_strides"]

Indices = tuple[Affine, ...]
Conds = tuple[Cond, ...]


@dataclass(frozen=True, slots=True)
class Shaping:
    """read(reader, eqn, k, index, conds) -> node: the element of result ``k`` at ``index``.
    view(eqn, k, operand) -> Operand or None: the result as strides over the operand's memory."""

    read: Callable[..., Node]
    view: Callable[[Eqn, int, Operand], Operand | None]


SHAPING: dict[str, Shaping] = {}
# primitives whose result has the elements of its operand in the same (C) order: a dense operand may lend its memory
ALIASES = frozenset({"reshape", "squeeze", "expand_dims", "copy", "name", "stop_gradient", "optimization_barrier"})


def _shaping(*names: str, view: Callable[[Eqn, int, Operand], Operand | None]) -> Callable[[Any], Any]:
    def give(read: Any) -> Any:
        for name in names:
            SHAPING[name] = Shaping(read, view)
        return read

    return give


def _no_view(eqn: Eqn, k: int, x: Operand) -> None:
    return None


def _with(x: Operand, shape: tuple[int, ...], strides: tuple[int, ...], offset: int | None = None) -> Operand:
    return Operand(x.buffer, shape, strides, x.offset if offset is None else offset, x.dtype)


# ----------------------------------------------------------------------------- the same elements


def _same_view(eqn: Eqn, k: int, x: Operand) -> Operand | None:
    return x


@_shaping("copy", "name", "stop_gradient", "optimization_barrier", view=_same_view)
def _same(t: Reader, eqn: Eqn, k: int, index: Indices, conds: Conds) -> Node:
    return t.read(eqn.inputs[k], index, conds)


def reshape_strides(shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides of the reshaped view, or None if the elements do not lie at fixed distances (as NumPy's reshape)."""
    if 0 in new:
        return dense_strides(new)
    old = [(s, st) for s, st in zip(shape, strides) if s != 1]
    result: list[int] = []
    i = len(old) - 1
    left, stride = old[i] if old else (1, 1)
    for n in reversed(new):
        if n == 1:
            result.append(left * stride if old else 1)
            continue
        while left == 1:
            i -= 1
            left, stride = old[i]
        while left < n or left % n:  # join the next dimension to the left, if it continues this one
            if i == 0 or old[i - 1][1] != old[i][0] * old[i][1] or left != old[i][0]:
                return None
            i -= 1
            left *= old[i][0]
            old[i] = (left, stride)
        result.append(stride)
        stride *= n
        left //= n
    return tuple(reversed(result))


def _reshape_view(eqn: Eqn, k: int, x: Operand) -> Operand | None:
    new = eqn.outputs[0].aval.shape
    strides = reshape_strides(x.shape, x.strides, new)
    return None if strides is None else _with(x, new, strides)


@_shaping("reshape", view=_reshape_view)
def _reshape(t: Reader, eqn: Eqn, k: int, index: Indices, conds: Conds) -> Node:
    old, new = eqn.inputs[0].aval.shape, eqn.outputs[0].aval.shape
    if tuple(s for s in old if s != 1) == tuple(s for s in new if s != 1):  # only unit dimensions come or go
        it = iter([i for i, s in zip(index, new) if s != 1])
        return t.read(eqn.inputs[0], tuple(ZERO if s == 1 else next(it) for s in old), conds)
    at = linearize(index, dense_strides(new))
    return t.read(eqn.inputs[0], delinearize(at, old, t.sizes), conds)


@_shaping("squeeze", "expand_dims", view=_reshape_view)
def _unit_dims(t: Reader, eqn: Eqn, k: int, index: Indices, conds: Conds) -> Node:
    return _reshape(t, eqn, k, index, conds)


# ----------------------------------------------------------------------------- other orders


def _transpose_view(eqn: Eqn, k: int, x: Operand) -> Operand:
    perm = eqn.params["permutation"]
    return _with(x, tuple(x.shape[p] for p in perm), tuple(x.strides[p] for p in perm))


@_shaping("transpose", view=_transpose_view)
def _transpose(t: Reader, eqn: Eqn, k: int, index: Indices, conds: Conds) -> Node:
    inner = [ZERO] * len(index)
    for i, p in zip(index, eqn.params["permutation"]):
        inner[p] = i
    return t.read(eqn.inputs[0], tuple(inner), conds)


def _rev_view(eqn: Eqn, k: int, x: Operand) -> Operand:
    dims = eqn.params["dimensions"]
    offset = x.offset + sum((x.shape[d] - 1) * x.strides[d] for d in dims if x.shape[d])
    return _with(x, x.shape, tuple(-s if d in dims else s for d, s in enumerate(x.strides)), offset)


@_shaping("rev", view=_rev_view)
def _rev(t: Reader, eqn: Eqn, k: int, index: Indices, conds: Conds) -> Node:
    shape, dims = eqn.inputs[0].aval.shape, eqn.params["dimensions"]
    flipped = tuple(i.scale(-1).shift(shape[d] - 1) if d in dims else i for d, i in enumerate(index))
    return t.read(eqn.inputs[0], flipped, conds)


# ----------------------------------------------------------------------------- fewer or more elements


def _slice_params(eqn: Eqn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    starts = tuple(eqn.params["start_indices"])
    return starts, tuple(eqn.params.get("strides") or (1,) * len(starts))


def _slice_view(eqn: Eqn, k: int, x: Operand) -> Operand:
    starts, steps = _slice_params(eqn)
    offset = x.offset + sum(a * st for a, st in zip(starts, x.strides))
    return _with(x, eqn.outputs[0].aval.shape, tuple(st * s for st, s in zip(x.strides, steps)), offset)


@_shaping("slice", view=_slice_view)
def _slice(t: Reader, eqn: Eqn, k: int, index: Indices, conds: Conds) -> Node:
    starts, steps = _slice_params(eqn)
    return t.read(eqn.inputs[0], tuple(i.scale(s).shift(a) for i, s, a in zip(index, steps, starts)), conds)


def _broadcast_view(eqn: Eqn, k: int, x: Operand) -> Operand:
    shape = eqn.outputs[0].aval.shape
    strides = [0] * len(shape)
    for i, d in enumerate(eqn.params["broadcast_dimensions"]):
        strides[d] = x.strides[i] if x.shape[i] == shape[d] and shape[d] != 1 else 0
    return _with(x, shape, tuple(strides))


@_shaping("broadcast_in_dim", view=_broadcast_view)
def _broadcast_in_dim(t: Reader, eqn: Eqn, k: int, index: Indices, conds: Conds) -> Node:
    x = eqn.inputs[0]
    dims = eqn.params["broadcast_dimensions"]
    return t.read(x, tuple(ZERO if n == 1 else index[d] for n, d in zip(x.aval.shape, dims)), conds)


@_shaping("iota", view=_no_view)
def _iota(t: Reader, eqn: Eqn, k: int, index: Indices, conds: Conds) -> Node:
    return t.index(index[eqn.params["dimension"]], eqn.outputs[0].aval.dtype)


def _pad_view(eqn: Eqn, k: int, x: Operand) -> Operand | None:
    """Padding that only crops is a slice."""
    config = eqn.params["padding_config"]
    if any(lo > 0 or hi > 0 or interior for lo, hi, interior in config):
        return None
    return _with(x, eqn.outputs[0].aval.shape, x.strides, x.offset - sum(c[0] * s for c, s in zip(config, x.strides)))


@_shaping("pad", view=_pad_view)
def _pad(t: Reader, eqn: Eqn, k: int, index: Indices, conds: Conds) -> Node:
    x, value = eqn.inputs
    inner, guards = [], []
    for i, n, (lo, _, interior) in zip(index, x.aval.shape, eqn.params["padding_config"]):
        if n == 0:
            return t.read(value, (), conds)
        at, step = i.shift(-lo), interior + 1
        guards.append(Cond.of(at, (n - 1) * step + 1, 1 if n == 1 else step))
        inner.append(ZERO if n == 1 else at.divide(step))
    return t.choose(guards, lambda left: t.read(x, tuple(inner), conds + left), lambda: t.read(value, (), conds))


@_shaping("concatenate", view=_no_view)
def _concatenate(t: Reader, eqn: Eqn, k: int, index: Indices, conds: Conds) -> Node:
    d = eqn.params["dimension"]
    parts, start = [], 0
    for x in eqn.inputs:
        n = x.aval.shape[d]
        if n:
            at = index[d].shift(-start)
            parts.append((x, (*index[:d], ZERO if n == 1 else at, *index[d + 1 :]), Cond.of(at, n)))
        start += n

    def pick(j: int) -> Node:
        x, inner, cond = parts[j]
        if j == len(parts) - 1:
            known = t.holds(cond)
            return t.read(x, inner, conds if known else (*conds, cond))
        return t.choose([cond], lambda left: t.read(x, inner, conds + left), lambda: pick(j + 1))

    return pick(0)
