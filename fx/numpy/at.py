"""``x.at[index]``: changed copies of an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .. import dtypes
from ..api.bodies import Traced, bind_control, trace_body
from ..errors import (
    ArgumentError,
    ItemAssignmentError,
)
from ..primitives import elementwise as p
from ..primitives import helpers, shaping
from ..primitives.reductions import reduce_max
from ..trace import aval_of, concrete_value
from ..traceback import shorten
from ..transforms.flat import function_name
from ..transforms.while_loop import while_p
from .binary import divide, power
from .core import Value, as_value, broadcast_value, filled
from .indexing import fit_dtype, getitem, index_repeats, setitem, whole_mask
from .unary import negative

__all__ = ["At"]


_FLAGS = frozenset(("mode", "indices_are_sorted", "unique_indices", "wrap_negative_indices"))


class At:
    """``x.at[index]``: changed copies of ``x``.

    Methods ``get set add subtract multiply divide power min max apply``; where indices repeat, ``add`` and its kin
    apply every update, in row-major order, and of several ``set`` the last one stays.

    mode: None (the default: a static int must lie inside, an array's index outside is clamped by ``get`` and its
    update dropped by the others), "clip", "fill" or "drop", "wrap", "promise_in_bounds".

    >>> import fx.numpy as fnp
    >>> fnp.zeros(3).at[1].set(5.0)
    Array([0., 5., 0.], dtype=float32)
    >>> fnp.zeros(3).at[fnp.array([0, 0, 2])].add(1.0)
    Array([2., 0., 1.], dtype=float32)
    """

    __slots__ = ("_index", "_x")

    def __init__(self, x: Value, *index: Any) -> None:
        self._x = x
        self._index = index

    def __getitem__(self, index: Any) -> At:
        return At(self._x, index)

    def __call__(self, *index: Any) -> NoReturn:
        raise TypeError("x.at takes an index in brackets: x.at[index].set(value)")

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ItemAssignmentError(
            "x.at[index] = value is not possible: arrays are immutable. Write x = x.at[index].set(value), which gives a"
            " changed copy."
        )

    def __repr__(self) -> str:
        return f"At({', '.join(map(repr, (self._x, *self._index)))})"

    def _given(self) -> Any:
        if not self._index:
            raise TypeError("x.at needs an index: write x.at[index].set(value)")
        return self._index[0]

    def _update(self, x: Value, kind: str, value: Any, flags: dict[str, Any]) -> Value:
        if not _FLAGS.issuperset(flags):
            unknown = ", ".join(sorted(set(flags) - _FLAGS))
            raise TypeError(f"x.at[index] has no option {unknown}; it has {', '.join(sorted(_FLAGS))}")
        try:
            if not flags:
                return setitem(x, self._given(), value, kind)
            options = dict(flags)
            mode, from_end = _mode(options.pop("mode", None)), options.pop("wrap_negative_indices", True)
            return setitem(x, self._given(), value, kind, mode, from_end, **options)
        except BaseException as e:
            shorten(e)
            raise

    def get(
        self, *, mode: Any = None, fill_value: Any = None, indices_are_sorted: bool = False, unique_indices: bool = False,
        wrap_negative_indices: bool = True,
    ) -> Value:  # fmt: skip
        """``x[index]``; mode "fill" (implied by ``fill_value``) reads ``fill_value`` (default NaN) outside."""
        try:
            mode = _mode(mode) or ("fill" if fill_value is not None else None)
            return getitem(self._x, self._given(), mode, fill_value, wrap_negative_indices)
        except BaseException as e:
            shorten(e)
            raise

    def set(self, value: Any, **flags: Any) -> Value:
        """``x[index] = value``."""
        return self._update(self._x, "set", value, flags)

    def add(self, value: Any, **flags: Any) -> Value:
        """``x[index] += value``."""
        return self._update(self._x, "add", value, flags)

    def subtract(self, value: Any, **flags: Any) -> Value:
        """``x[index] -= value``."""
        return self._update(self._x, "add", negative(fit_dtype(value, self._x)), flags)

    def multiply(self, value: Any, **flags: Any) -> Value:
        """``x[index] *= value``."""
        return self._update(self._x, "multiply", value, flags)

    mul = multiply

    def divide(self, value: Any, **flags: Any) -> Value:
        """``x[index] /= value``."""
        return divide(self._x, self._update(helpers.ones_like(self._x), "multiply", value, flags))

    def power(self, value: Any, **flags: Any) -> Value:
        """``x[index] **= value``."""
        return power(self._x, self._update(helpers.ones_like(self._x), "multiply", value, flags))

    def min(self, value: Any, **flags: Any) -> Value:
        """``x[index] = minimum(x[index], value)``."""
        return self._update(self._x, "min", value, flags)

    def max(self, value: Any, **flags: Any) -> Value:
        """``x[index] = maximum(x[index], value)``."""
        return self._update(self._x, "max", value, flags)

    def apply(self, ufunc: Callable[[Value], Value], **flags: Any) -> Value:
        """``x[index] = ufunc(x[index])``, as often as an element is indexed; once with ``unique_indices=True``.

        ufunc: elementwise.  Where the index is traced and elements may repeat in it, it is applied in a loop of as many
        rounds as the most frequent element asks for; a traced boolean mask selects from ``ufunc(x)``.
        """
        if (mask := whole_mask(self._given(), self._x.shape)) is not None and concrete_value(mask) is None:
            wide = shaping.broadcast_in_dim(mask, self._x.shape, tuple(range(mask.ndim)))
            return p.select(wide, fit_dtype(ufunc(self._x), self._x), self._x)
        mode, from_end = _mode(flags.get("mode")), flags.get("wrap_negative_indices", True)
        once = self.set(ufunc(getitem(self._x, self._given(), mode, None, from_end)), **flags)
        most = 1 if flags.get("unique_indices") else index_repeats(self._given(), self._x.shape)
        if most <= 1:
            return once
        times = self._update(filled(self._x.shape, 0, dtypes.int32), "add", 1, flags)
        known = concrete_value(times)
        if known is None:
            return _applied_again(ufunc, once, times, most - 1)
        for done in range(1, int(known.max(initial=0))):
            once = p.select(as_value(known > done), ufunc(once), once)
        return once


def _applied_again(ufunc: Callable[[Value], Value], x: Value, times: Value, limit: int) -> Value:
    """``ufunc`` once more on each element, for every time beyond the first: a loop of at most ``limit`` rounds."""
    start = [np.int32(1), x]
    avals = [aval_of(v) for v in start]
    if 0 in avals[1].shape:
        return x
    most = reduce_max(times, tuple(range(times.ndim)))

    def step(done: Value, y: Value) -> tuple[Value, Value]:
        more = p.gt(times, broadcast_value(done, times.shape))
        return p.add(done, np.int32(1)), p.select(more, fit_dtype(ufunc(y), y), y)

    def trace(what: Callable[..., Any]) -> Traced:
        return trace_body("apply", what, (0, 0), avals, ("round", "x"), function_name(ufunc))

    cond, body = trace(lambda done, y: p.lt(done, most)), trace(step)
    out: list[Value] = bind_control(
        while_p, [*cond.consts, *body.consts, *start],
        cond=cond.graph, body=body.graph, n_cond_consts=cond.n_consts, n_body_consts=body.n_consts, max_steps=limit,
    )  # fmt: skip
    return out[1]


def _mode(mode: Any) -> str | None:
    """A mode by its name here."""
    name = getattr(mode, "name", mode)
    name = None if name is None else str(name).lower()
    if name not in (None, "drop", "fill", "fill_or_drop", "clip", "wrap", "promise_in_bounds"):
        raise ArgumentError(f"mode must be None, 'fill', 'drop', 'clip', 'wrap' or 'promise_in_bounds'; found {mode!r}")
    return "fill" if name in ("drop", "fill_or_drop") else name
