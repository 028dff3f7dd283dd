"""``x[mask]`` where the mask is not known while tracing: a selection whose length nobody knows.

It is kept as the whole array beside its mask.  So ``x[x < 0] *= 2``, ``a[m] = np.log(b[m])`` and ``x[m].sum()`` need no
length and compile; what does need it (``len``, indexing, joining with other arrays) raises and names ``np.where``.
Elements outside the mask are computed with 1 in their place, so no derivative passes through them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..dtypes import bool_
from ..errors import ConcretizationError
from ..primitives import elementwise as p
from ..primitives import shaping
from ..storage import same_value
from ..trace import Tracer, is_python_scalar, user_source
from . import reductions, statistics
from .core import Value, as_type, as_value, broadcast_value, filled
from .ufunc_class import registered

__all__ = ["Masked", "is_unknown_mask", "masked_assignment", "selection"]


def is_unknown_mask(mask: Any) -> bool:
    """True for a traced boolean array whose values are not known."""
    return type(mask) is Tracer and mask.dtype == bool_ and mask.value is None and bool(mask.shape)


def selection(x: Tracer, index: Any) -> Masked | None:
    """``x[index]`` if the index is a mask that is not known, over the first axes of ``x``; else None."""
    mask = index[0] if type(index) is tuple and len(index) == 1 else index
    if not is_unknown_mask(mask):
        return None
    if mask.shape != x.shape[: mask.ndim]:
        return None
    return Masked(_inside(x, mask), mask.alias())


def _over(mask: Value, shape: tuple[int, ...]) -> Value:
    """The mask over a whole array."""
    return shaping.broadcast_in_dim(mask, shape, tuple(range(mask.ndim)))


def _inside(x: Value, mask: Value, other: Any = 1) -> Value:
    """``x`` with a number in place of what lies outside the mask."""
    return p.select(_over(mask, x.shape), x, filled(x.shape, other, x.dtype))


def masked_assignment(x: Tracer, index: Any, value: Masked) -> Value:
    """``x`` with ``x[index] = value``.

    Raises:
        ConcretizationError: the index is another mask than the one that made the selection.
    """
    mask = index[0] if type(index) is tuple and len(index) == 1 else index
    if type(mask) is not Tracer or not same_value(mask, value.mask):
        raise ConcretizationError(
            "a selection by a traced mask was written through another index: how many elements it has is not known while"
            f" tracing. Write a[m] = f(b[m]) with one mask m, or use np.where(m, f(b), a).\n  at {user_source()}"
        )
    new = broadcast_value(as_type(value.whole, x.dtype), x.shape)
    return p.select(_over(mask, x.shape), new, x)


class Masked:
    """The elements of an array where a traced mask holds: elementwise functions of it, reductions, and ``a[mask] = ...``.

    whole: an array of which only the elements inside the mask count.      mask: over its first axes.
    """

    __slots__ = ("mask", "whole")
    __array_priority__ = 300
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, whole: Value, mask: Tracer) -> None:
        self.whole = whole
        self.mask = mask

    @property
    def dtype(self) -> np.dtype:
        return self.whole.dtype

    @property
    def ndim(self) -> int:
        return self.whole.ndim - self.mask.ndim + 1

    @property
    def size(self) -> Value:
        """How many elements there are, as a traced integer."""
        rest = int(np.prod(self.whole.shape[self.mask.ndim :]))
        return reductions.sum(self.mask) * rest

    def __repr__(self) -> str:
        return f"Masked<{self.dtype} elements of an array of shape {self.whole.shape} inside a traced mask>"

    # ------------------------------------------------------------------ elementwise

    def _elementwise(self, f: Callable[..., Any], args: tuple[Any, ...], **options: Any) -> Any:
        out = f(*[self._operand(a) for a in args], **options)
        return tuple([Masked(o, self.mask) for o in out]) if isinstance(out, tuple) else Masked(out, self.mask)

    def _operand(self, a: Any) -> Any:
        """Another operand over the whole array: a number, a row as long as the rest of the shape, the same selection."""
        if is_python_scalar(a):
            return a
        if type(a) is Masked:
            if a.mask is not self.mask and not same_value(a.mask, self.mask):
                self._refuse("an operation with a selection by another mask")
            return a.whole
        v, rest = as_value(a), self.whole.shape[self.mask.ndim :]
        if v.ndim > len(rest) or any(n not in (1, m) for n, m in zip(v.shape[::-1], rest[::-1])):
            self._refuse(f"an operation with an array of shape {v.shape}")
        return _inside(broadcast_value(v, self.whole.shape), self.mask) if type(v) is Tracer else v

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        f = registered.get(ufunc.__name__)
        if f is None or method != "__call__" or kwargs.keys() - {"dtype"}:
            self._refuse(f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else ""))
        return self._elementwise(f, inputs, **kwargs)

    def astype(self, dtype: Any, copy: bool = True) -> Masked:
        return Masked(as_type(self.whole, dtype), self.mask)

    def copy(self) -> Masked:
        return self

    # ------------------------------------------------------------------ reductions

    def _reduce(self, name: str, axis: Any = None, **options: Any) -> Value:
        """A reduction over all elements, or (``axis=0``) over the selected rows."""
        last = self.whole.ndim - self.mask.ndim
        if (
            axis not in (None, 0)
            or options.keys() - {"dtype", "initial", "keepdims", "ddof"}
            or options.get("keepdims")
        ):
            self._refuse(f"{name} with axis={axis}")
        axes = None if axis is None or not last else tuple(range(self.mask.ndim))
        f = getattr(statistics if name in ("mean", "var", "std") else reductions, name)
        if name in ("max", "min") and "initial" not in options:
            d = self.dtype
            info = np.finfo(d) if d.kind == "f" else np.iinfo(d) if d.kind in "iu" else None
            if info is None:
                self._refuse(name)
            extreme = info.min if name == "max" else info.max
            options["initial"] = (-np.inf if name == "max" else np.inf) if d.kind == "f" else extreme
        return f(self.whole, axis=axes, where=_over(self.mask, self.whole.shape), **options)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = {"amax": "max", "amin": "min"}.get(func.__name__, func.__name__)
        if name in _REDUCTIONS and args and type(args[0]) is Masked:
            return args[0]._reduce(name, *args[1:], **{k: v for k, v in kwargs.items() if v is not np._NoValue})
        if name == "size" and type(args[0]) is Masked:
            return args[0].size
        if name in ("real", "imag", "nan_to_num", "clip", "round", "around", "abs"):
            return self._elementwise(_function(name), args, **kwargs)
        self._refuse(f"np.{func.__name__}")

    # ------------------------------------------------------------------ what needs the length

    def _refuse(self, what: str) -> NoReturn:
        raise ConcretizationError(
            f"{what} of x[mask] with a traced boolean mask of shape {self.mask.shape}: how many elements it has is not known"
            " while tracing. Elementwise functions of it, a[mask] = ..., and sum, mean, min, max, prod, any, all, var, std are"
            " possible; otherwise use np.where(mask, x, other), or compute the mask outside the traced function."
            f"\n  at {user_source()}"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        self._refuse("the shape")

    def __len__(self) -> int:
        self._refuse("the length")

    def __iter__(self) -> Any:
        self._refuse("a loop over the elements")

    def __getitem__(self, index: Any) -> Any:
        self._refuse("indexing")

    def __setitem__(self, index: Any, value: Any) -> None:
        self._refuse("an assignment to elements")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        self._refuse("a NumPy array")

    def __bool__(self) -> bool:
        self._refuse("the truth value")

    def __float__(self) -> float:
        self._refuse("a number")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse(f"the attribute {name!r}")


_REDUCTIONS = ("sum", "mean", "max", "min", "prod", "any", "all", "var", "std")


def _function(name: str) -> Callable[..., Any]:
    return registered[name]


def _install() -> None:
    binary = {
        "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide", "mod": "remainder",
        "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
    }  # fmt: skip
    compare = {
        "eq": "equal",
        "ne": "not_equal",
        "lt": "less",
        "le": "less_equal",
        "gt": "greater",
        "ge": "greater_equal",
    }
    for op, name in {**binary, **compare}.items():
        f = registered[name]
        setattr(Masked, f"__{op}__", lambda self, other, f=f: self._elementwise(f, (self, other)))
        if op in binary:
            setattr(Masked, f"__r{op}__", lambda self, other, f=f: self._elementwise(f, (other, self)))
    for op, name in {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}.items():
        setattr(Masked, f"__{op}__", lambda self, f=registered[name]: self._elementwise(f, (self,)))
    for name in _REDUCTIONS:
        setattr(Masked, name, lambda self, axis=None, name=name, **options: self._reduce(name, axis, **options))


_install()
