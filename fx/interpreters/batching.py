"""``fx.interpreters.batching``: how primitives act on batches, in JAX's form.

``primitive_batchers[p] = rule`` with ``rule(args, dims, **params) -> (out, dim)``: ``dims[i]`` is the batch axis of
``args[i]``, or None (``not_mapped``), and ``dim`` that of the result.  With ``multiple_results`` both are lists.
``fancy_primitive_batchers`` take rules that get the axis first (``axis.size``, ``axis.name``), ``axis_primitive_batchers``
those that get its size, its name and None.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..primitive import Primitive
from ..primitives.helpers import align_batch, elementwise_batch
from ..transforms.custom_call import to_front
from ..transforms.custom_primitive import RuleTable, batchers

__all__ = [
    "axis_primitive_batchers", "bdim_at_front", "broadcast", "defbroadcasting", "defreducer", "defvectorized", "fancy_primitive_batchers",
    "moveaxis", "not_mapped", "primitive_batchers",
]  # fmt: skip

not_mapped = None
fancy_primitive_batchers = batchers
Rule = Callable[..., Any]


class _WithoutAxis:
    """A rule that does not ask for the axis, as one that is given it first."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __call__(self, axis: Any, args: Sequence[Any], dims: Sequence[int | None], /, **params: Any) -> Any:
        return self.rule(args, dims, **params)


class _Batchers(RuleTable):
    """``primitive_batchers``: rules are read in the form in which they are given."""

    def __getitem__(self, prim: Primitive) -> Rule:
        rule = super().__getitem__(prim)
        return rule.rule if isinstance(rule, _WithoutAxis) else functools.partial(_with_axis_of, rule)


class _Axis:
    """What is known of the axis outside of a vmap: its size."""

    name = None

    def __init__(self, size: int) -> None:
        self.size = size


def _with_axis_of(rule: Rule, args: Sequence[Any], dims: Sequence[int | None], /, **params: Any) -> Any:
    size = next(x.shape[d] for x, d in zip(args, dims) if d is not None)
    return rule(_Axis(size), args, dims, **params)


primitive_batchers = _Batchers("batch", batchers._of_native, _WithoutAxis)
axis_primitive_batchers = RuleTable(
    "batch",
    batchers._of_native,
    lambda rule: lambda axis, args, dims, /, **params: rule(axis.size, axis.name, None, args, dims, **params),
)


def broadcast(x: Any, size: int, axis: int, mesh_axis: Any = None) -> Any:
    """``x`` repeated along a new axis."""
    return align_batch(size, [x], [None], axis)[0]


def moveaxis(x: Any, src: int, dst: int) -> Any:
    """``x`` with an axis at another place."""
    return align_batch(x.shape[src], [x], [src], dst)[0]


def bdim_at_front(x: Any, bdim: int | None, size: int, mesh_axis: Any = None) -> Any:
    """``x`` with its batch axis in front, repeated if it has none."""
    return to_front(x, bdim, size)


def defvectorized(prim: Primitive) -> None:
    """Says that a primitive of one operand acts on each of its elements."""
    primitive_batchers[prim] = lambda args, dims, **params: (prim.bind(*args, **params), dims[0])


def defbroadcasting(prim: Primitive) -> None:
    """Says that a primitive acts on the elements of operands of equal shapes."""
    rule = elementwise_batch(prim)
    batchers[prim] = lambda axis, args, dims, /, **params: rule(axis.size, args, dims, **params)


def defreducer(prim: Primitive) -> None:
    """Says that a primitive reduces its one operand over ``axes``."""

    def rule(args: Sequence[Any], dims: Sequence[Any], /, *, axes: Sequence[int], **params: Any) -> tuple[Any, int]:
        (x,), (d,) = args, dims
        moved = tuple([a + (a >= d) for a in axes])
        return prim.bind(x, axes=moved, **params), d - sum(a < d for a in moved)

    primitive_batchers[prim] = rule
