"""What a ufunc is: an elementwise function with NumPy's methods ``reduce``, ``accumulate``, ``reduceat``, ``outer``, ``at``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import (
    ArgumentError,
    ConcretizationError,
    DTypeError,
    OutOfBoundsIndexError,
    RegistryError,
    ShapeError,
    UnsupportedFunctionError,
)
from ..plans import planned
from ..primitives import elementwise as p
from ..primitives import joining, shaping
from ..trace import Tracer, concrete_value
from ..traceback import shorten
from .axes import canonical_axes, canonical_axis
from .core import (
    Value,
    as_type,
    as_typed,
    as_value,
    broadcast_shapes,
    broadcast_value,
    filled,
    operand,
)
from .folding import fold_halves
from .ufunc_quick import (
    Becomes,
    Quick,
    function_of,
    quick_binary,
    quick_unary,
    when_native,
)

__all__ = ["Ufunc", "define", "registered"]

_OPTIONS = frozenset(("out", "where", "dtype"))
registered: dict[str, Ufunc] = {}


def _in_python(u: Ufunc) -> Callable[..., Value]:
    """The call in Python for the right number of operands and no options; traced ones are what comes most often."""
    quick, general = u.quick, partial(Ufunc.call_in_python, u)

    def of_one(x: Any) -> Value:
        try:
            found = quick(x)
            return general(x) if found is None else found
        except BaseException as e:
            shorten(e)
            raise

    def of_two(x: Any, y: Any) -> Value:
        try:
            found = quick(x, y)
            return general(x, y) if found is None else found
        except BaseException as e:
            shorten(e)
            raise

    return of_one if u.nin == 1 else of_two


def _with_options(u: Ufunc, args: tuple[Any, ...], options: dict[str, Any] | None) -> Value:
    try:
        return u.call_in_python(*args, **(options or {}))
    except BaseException as e:
        shorten(e)
        raise


@when_native
def _call_natively(native: Any) -> None:
    for u in registered.values():
        if u.nin <= 2:
            u._operation = u.operation(native)
    native.callable(Ufunc, "_operation", _with_options)


def _signature(nin: int) -> inspect.Signature:
    """(x, /, *, out=None, where=True, dtype=None), for ``help``."""
    names = ["x"] if nin == 1 else [f"x{i + 1}" for i in range(nin)]
    arrays = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in names]
    options = (("out", None), ("where", True), ("dtype", None))
    return inspect.Signature(
        arrays + [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d) for n, d in options]
    )


class Ufunc:
    """An elementwise function of ``nin`` arrays.

    Called, it promotes and broadcasts its operands.  ``where``: a boolean array; elements where it is False are 0.
    """

    _operation: Any  # how native code does it
    __slots__ = ("__dict__", "__weakref__", "_operation")
    nout = 1

    def __init__(
        self, name: str, nin: int, f: Callable[..., Value], doc: str, identity: Any = None, eager: Becomes | None = None
    ) -> None:  # fmt: skip
        self.__name__ = self.__qualname__ = name
        self.__module__ = "fx.numpy"
        self.__doc__ = doc
        self.nin, self.nargs, self.identity = nin, nin + 1, identity
        self.__signature__ = _signature(nin)
        self.__wrapped__ = self._f = f
        self.becomes = eager
        self.quick: Quick = lambda *args: None
        if eager is not None:
            self.quick = (quick_unary if nin == 1 else quick_binary)(*eager)
        self._planned: Callable[..., Value] = self._apply
        self._reducer: Callable[..., Value] | None = None
        self._scanner: Callable[..., Value] | None = None

    def __repr__(self) -> str:
        return f"<fx.numpy ufunc {self.__name__!r}>"

    def __reduce__(self) -> Any:
        """By name, as NumPy's; what ``frompyfunc`` made holds a function."""
        return self.__name__ if registered.get(self.__name__) is self else object.__reduce_ex__(self, 2)

    def call_in_python(self, *args: Any, **options: Any) -> Value:
        """What a call does that native code does not take."""
        try:
            if len(args) != self.nin:
                raise TypeError(f"{self.__name__} takes {self.nin} array{'s' * (self.nin > 1)}; {len(args)} given")
            if not options and (result := self.quick(*args)) is not None:
                return result
            if not _OPTIONS.issuperset(options):
                unknown = ", ".join(sorted(options.keys() - _OPTIONS))
                raise TypeError(f"{self.__name__} has no option {unknown}; it has {', '.join(sorted(_OPTIONS))}")
            return self._planned(*args, **options)
        except BaseException as e:
            shorten(e)
            raise

    __call__ = call_in_python

    def operation(self, native: Any, fallback: Callable[..., Any] | None = None) -> Any:
        """How native code does it; what that does not take goes to ``fallback``, the call in Python."""
        function, takes = (None, ()) if self.becomes is None else (function_of(self.becomes, self.nin), self.becomes[1])
        return native.operation(function, fallback or _in_python(self), self.nin, takes)

    def _apply(self, *args: Any, out: Any = None, where: Any = True, dtype: Any = None) -> Value:
        """The general way."""
        self._refuse(out=out)
        accept = operand if self.nin > 1 else as_value
        xs = [a if type(a) is Tracer else accept(a, f"argument {i + 1} of {self.__name__}") for i, a in enumerate(args)]
        if dtype is not None:
            xs = [as_type(x, dtype) for x in xs]
        result = self._f(*xs)
        if any(result is a for a in args):
            result = result.alias()  # an operation that changed nothing is a new array all the same
        if where is not True:
            w = as_type(as_value(where), np.bool_)
            shape = broadcast_shapes(result.shape, w.shape)
            result = broadcast_value(result, shape)
            result = p.select(broadcast_value(w, shape), result, filled(shape, False, result.dtype))
        return result

    def _refuse(self, **unsupported: Any) -> None:
        for name, value in unsupported.items():
            if value is not None:
                raise UnsupportedFunctionError(
                    f"fx.numpy.{self.__name__} has no {name}=: arrays are immutable. Use the returned array"
                    " (NumPy's own functions accept out= with a traced array and rebind it)."
                )

    # ------------------------------------------------------------------------------ NumPy's ufunc methods

    def def_reduce(self, f: Callable[..., Value]) -> None:
        """Names the reduction that ``reduce`` is: ``f(x, axis=, keepdims=, initial=, where=)``."""
        if self._reducer is not None:
            raise RegistryError(f"{self.__name__}.reduce is defined already")
        self._reducer = f

    def def_accumulate(self, f: Callable[..., Value]) -> None:
        """Names the scan that ``accumulate`` is: ``f(x, axis)``."""
        if self._scanner is not None:
            raise RegistryError(f"{self.__name__}.accumulate is defined already")
        self._scanner = f

    def _binary_only(self, method: str) -> None:
        if self.nin != 2:
            raise ArgumentError(f"{self.__name__}.{method}: only functions of two operands have this method")

    def outer(self, a: Any, b: Any, /) -> Value:
        """``self(a[i], b[j])`` for all pairs of indices i, j."""
        self._binary_only("outer")
        a, b = as_value(a), as_value(b)
        return self(shaping.reshape(a, a.shape + (1,) * b.ndim), b)

    def reduce(
        self,
        a: Any,
        axis: Any = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = None,
    ) -> Value:
        """Combines the elements along ``axis`` with the function (``add.reduce`` is sum).

        A function without a reduction of its own is folded: in pairs if it is associative, else from the left, one
        equation for each element.

        Raises:
            ShapeError: an empty axis, and neither an identity nor ``initial``.
        """
        self._refuse(out=out)
        self._binary_only("reduce")
        x = as_value(a) if dtype is None else as_type(as_value(a), dtype)
        if self._reducer is not None:
            logical = self.__name__.startswith("logical")
            given = {k: v for k, v in (("initial", initial), ("where", where)) if v is not None}
            given.pop("initial" if logical else "", None)
            y = self._reducer(x, axis=axis, keepdims=keepdims, **given)
            return self(y, initial) if logical and initial is not None else y
        if where is not None and self.identity is None and initial is None:
            raise ArgumentError(f"{self.__name__}.reduce with where= needs initial=, as the function has no identity")
        x = self._operands(x)
        axes = canonical_axes(axis, x.ndim)
        if len(axes) > 1 and self.identity is None:
            raise ShapeError(
                f"{self.__name__}.reduce over axes {axes}: the result would depend on their order; give one"
            )
        w = None if where is None or where is True else broadcast_value(as_type(as_value(where), np.bool_), x.shape)
        for i in reversed(axes):
            start = self.identity if w is not None or x.shape[i] == 0 else None
            y = self._fold(x, i, start if initial is None else initial, w)
            x = shaping.expand_dims(y, (i,)) if keepdims else y
            w, initial = None, None
        return x

    def _operands(self, x: Value) -> Value:
        """``x`` in the dtype that combining its elements gives.

        Raises:
            DTypeError: that is another kind of thing (``less.reduce`` of numbers).
        """
        one = Array(np.ones(1, x.dtype))
        d = self(one, one).dtype
        if d == dtypes.bool_ and x.dtype != d and not self.__name__.startswith("logical"):
            raise DTypeError(
                f"{self.__name__} of {x.dtype} numbers is no number: there is no reduction of an array with it"
            )
        return as_type(x, d)

    def _fold(self, x: Value, i: int, initial: Any, where: Value | None = None) -> Value:
        kept = x.shape[:i] + x.shape[i + 1 :]
        start = [] if initial is None else [broadcast_value(as_typed(initial, x.dtype), kept)]
        if not start and x.shape[i] == 0:
            raise ShapeError(
                f"{self.__name__}.reduce of an empty axis has no value (shape {x.shape}, axis {i}); pass initial="
            )

        def rows_of(v: Value) -> list[Value]:
            return [shaping.squeeze(joining.slice_in_dim(v, j, j + 1, axis=i), (i,)) for j in range(v.shape[i])]

        if self.identity is not None and x.shape[i] > 1 and where is None:
            first = shaping.transpose(x, (i, *[j for j in range(x.ndim) if j != i]))
            (folded,) = fold_halves([first], lambda u, v: [self(u[0], v[0])])
            rows = [shaping.squeeze(folded, (0,))]
        else:
            rows = rows_of(x)
        acc, *rest = start + rows
        masks = [None] * len(rest) if where is None else rows_of(where)
        for row, mask in zip(rest, masks):
            new = self(acc, row)
            acc = new if mask is None else p.select(mask, new, acc)
        return acc

    def accumulate(self, a: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Value:
        """All partial reductions along ``axis`` (``add.accumulate`` is cumsum)."""
        self._refuse(out=out)
        self._binary_only("accumulate")
        x = as_value(a) if dtype is None else as_type(as_value(a), dtype)
        i = canonical_axis(axis, x.ndim)
        if self._scanner is not None and (x.dtype != dtypes.bool_ or self.__name__ in ("add", "multiply")):
            return self._scanner(x, i)
        x = self._operands(x)
        rows = [joining.slice_in_dim(x, j, j + 1, axis=i) for j in range(x.shape[i])]
        for j in range(1, len(rows)):
            rows[j] = self(rows[j - 1], rows[j])
        return joining.concatenate(rows, i) if rows else x

    def reduceat(self, a: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Value:
        """The reductions of ``a[indices[j]:indices[j + 1]]`` (of one element where the bounds do not rise).

        The indices must be known while tracing.
        """
        self._refuse(out=out)
        self._binary_only("reduceat")
        x = as_value(a) if dtype is None else as_type(as_value(a), dtype)
        i = canonical_axis(axis, x.ndim)
        cuts = concrete_value(as_value(indices))
        if cuts is None:
            raise UnsupportedFunctionError(
                f"{self.__name__}.reduceat needs indices that are known while tracing; use x.at[i].add instead"
            )
        for c in cuts.tolist():
            if not 0 <= c < x.shape[i]:
                raise OutOfBoundsIndexError(
                    f"{self.__name__}.reduceat: index {c} is out of bounds for axis {i} with size {x.shape[i]}"
                )
        stops = [*cuts.tolist()[1:], x.shape[i]]
        parts = [joining.slice_in_dim(x, b, e if e > b else b + 1, axis=i) for b, e in zip(cuts.tolist(), stops)]
        done = [self.reduce(part, axis=i, keepdims=True) for part in parts]
        return joining.concatenate(done, i) if done else joining.slice_in_dim(x, 0, 0, axis=i)

    def at(self, a: Any, indices: Any, b: Any = None, /, *, inplace: bool = True) -> Value:
        """``a`` with the function applied at ``indices``, repeatedly where they repeat; returns the new array."""
        x = as_value(a)
        if self.nin == 1:
            return x.at[indices].apply(lambda v: as_type(self(v), x.dtype))
        scatters = {"minimum": "min", "maximum": "max", "add": "add", "subtract": "subtract"}
        if self.__name__ in scatters:
            return getattr(x.at[indices], scatters[self.__name__])(b)
        try:
            index = _known_index(indices)
        except ConcretizationError:
            if self.__name__ in ("multiply", "divide") and dtypes.is_inexact(x.dtype):
                return getattr(x.at[indices], self.__name__)(b)
            raise UnsupportedFunctionError(
                f"{self.__name__}.at needs indices that are known while tracing; x.at[i] has set, add, subtract, multiply,"
                " divide, power, min, max and apply, which take traced ones"
            ) from None
        return self._at_in_turn(x, index, b)

    def _at_in_turn(self, x: Value, index: Any, b: Any) -> Value:
        """``at`` where the updates of one element must follow each other: those that do not collide are done together."""
        where = np.arange(x.size).reshape(x.shape)[index]
        values = shaping.reshape(broadcast_value(as_value(b), where.shape), (where.size,))
        flat, where = shaping.reshape(x, (x.size,)), where.ravel()
        order = np.argsort(where, kind="stable")
        ordered = where[order]
        new = np.r_[True, ordered[1:] != ordered[:-1]][: where.size]
        turn = np.empty(where.size, np.int64)  # how many updates of the same element come before
        turn[order] = np.arange(where.size) - np.maximum.accumulate(np.where(new, np.arange(where.size), 0))
        for k in range(int(turn.max(initial=-1)) + 1):
            (mine,) = np.nonzero(turn == k)
            places = where[mine]
            done = self(flat.at[places].get(), values.at[mine].get())
            flat = flat.at[places].set(as_type(done, x.dtype), unique_indices=True)
        return shaping.reshape(flat, x.shape)


def _known_index(index: Any) -> Any:
    """An index with NumPy arrays in place of known values.

    Raises:
        ConcretizationError: one of them is traced and not known.
    """
    if isinstance(index, tuple):
        return tuple([_known_index(i) for i in index])
    if type(index) not in (Tracer, Array):
        return index
    known = concrete_value(index)
    if known is None:
        raise ConcretizationError("a traced index")
    return known


def define(
    name: str, nin: int, f: Callable[..., Value], doc: str, identity: Any = None, *,
    eager: Becomes | None = None, aliases: Sequence[str] = (),
) -> Ufunc:  # fmt: skip
    """Makes and registers a ufunc.

    Args:
        f: takes Arrays and Tracers, promotes and broadcasts them, and computes.
        eager: what ``f`` becomes for operands of one dtype out of a set.
    """
    u = Ufunc(name, nin, f, doc, identity, eager)
    u._planned = planned(u._apply)
    for n in (name, *aliases):
        if n in registered:
            raise RegistryError(f"the ufunc {n!r} is defined already")
        registered[n] = u
    return u
