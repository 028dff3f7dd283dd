"""Which operations give views of a traced array, as in NumPy, and how such a view is written to.

Basic indexing, transposes, ``reshape`` and ``ravel`` where NumPy needs no copy, ``squeeze``, ``expand_dims``, ``flip``,
``split``, ``real``, ``imag``, ``view`` give views; ``broadcast_to`` and ``diagonal`` read-only ones.  An array that is
no view counts as C-contiguous.  A single element (``x[0, 1]``) is a scalar, as NumPy's are: ``s = x[0]; s += 1`` leaves
``x`` alone.  The functions of ``fx.numpy`` itself return new arrays; views come from methods, indexing and NumPy's functions.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..callsite import is_an_assignment
from ..errors import (
    ArgumentError,
    DTypeError,
    SideEffectError,
)
from ..primitives import elementwise as p
from ..sizes import decided
from ..storage import View, attach, lineage, strided_like, write
from ..trace import Tracer, aval_of, is_python_scalar, user_source
from . import creation, manipulation, matrices, rearranging, stride_tricks, unary
from .axes import canonical_axis
from .core import Value, as_typed, broadcast_value
from .indexing import getitem, setitem
from .masked import Masked, is_unknown_mask, masked_assignment, selection

__all__ = [
    "assign",
    "flat_property",
    "iterate",
    "method",
    "numpy_view",
    "setter",
    "tracer_getitem",
    "tracer_setitem",
    "view",
    "view_method",
]

_slice = builtins.slice


# ---------------------------------------------------------------------------------------- basic indexing


class Part(View):
    """``base[index]`` with a basic index."""

    __slots__ = ("index",)
    name = "indexing"

    def __init__(self, base: Tracer, index: Any) -> None:
        super().__init__(base)
        self.index = index

    def read(self, base: Tracer) -> Any:
        return getitem(base, self.index)

    def write(self, base: Tracer, new: Any) -> Any:
        return setitem(base, self.index, new)

    def strided(self, base: np.ndarray) -> np.ndarray:
        items = self.index if type(self.index) is tuple else (self.index,)
        return base[tuple([0 if type(it) is Tracer else it._data if type(it) is Array else it for it in items])]


def _is_view_index(index: Any, ndim: int) -> bool:
    """True for a basic index that leaves an array: ints and traced integer scalars, slices, None, Ellipsis."""
    ints = 0
    items = index if type(index) is tuple else (index,)
    for it in items:
        t = type(it)
        if t is _slice or it is None or it is Ellipsis:
            continue
        if not (t is int or isinstance(it, np.integer)) and not (
            t in (Tracer, Array, np.ndarray) and not it.shape and it.dtype.kind in "iu"
        ):
            return False
        ints += 1
    return ints < len(items) or ints < ndim


def tracer_getitem(x: Tracer, index: Any) -> Value:
    """``x[index]``: a view for a basic index, a new array for index arrays and masks."""
    chosen = selection(x, index)
    if chosen is not None:
        return chosen
    apart = _mask_apart(x, index)
    if apart is not None and apart[2] == 0:
        return tracer_getitem(apart[0], apart[1])
    out = getitem(x, index)
    if not _is_view_index(index, len(x.shape)) or (x.view_of is not None and x.view_of.copies):
        return out.alias() if out is x else out
    return attach(out, Part(x, index))


def _mask_apart(x: Tracer, index: Any) -> tuple[Tracer, Tracer, int] | None:
    """``x[index]`` with one mask that is not known among ints and slices: the view that these give, the mask, and over
    which axis of the view it begins; None for any other index."""
    if type(index) is not tuple or len(index) < 2:
        return None
    masks = [i for i, it in enumerate(index) if is_unknown_mask(it)]
    if len(masks) != 1 or not all(type(it) in (int, _slice) for i, it in enumerate(index) if i != masks[0]):
        return None
    (i,) = masks
    mask = index[i]
    view = tracer_getitem(x, (*index[:i], *(_slice(None),) * mask.ndim, *index[i + 1 :]))
    return view, mask, sum(type(it) is _slice for it in index[:i])


def iterate(x: Tracer) -> Iterator[Value]:
    """The elements along axis 0, each read when its turn comes."""
    if not x.shape:
        raise TypeError("a 0-d array cannot be iterated")
    return (tracer_getitem(x, i) for i in range(x.shape[0]))


def tracer_setitem(x: Tracer, index: Any, value: Any) -> None:
    """``x[index] = value`` inside a traced function: ``x`` stands for the changed array from here on."""
    if type(value) is Tracer:
        view = value.view_of
        if type(view) is Part and view.base is x and _same_index(view.index, index):
            return  # the second half of ``x[index] += y``, which has written through the view
    _check_statement(sys._getframe(1))
    apart = _mask_apart(x, index)
    if apart is not None:
        view, mask, at = apart
        if at and not np.ndim(value):
            view, at = view_method("moveaxis", view, tuple(range(at, at + mask.ndim)), tuple(range(mask.ndim))), 0
        if not at:
            view[mask] = value
            return
    if type(value) is Masked:
        write(x, masked_assignment(x, index, value))
        return
    write(x, setitem(x, index, _cast(value, x.dtype)))


def _same_index(one: Any, other: Any) -> bool:
    """Whether they are one object, or slices between the same ones: ``x[a:b] += y`` makes two slices from Python 3.12 on."""
    if type(one) is slice and type(other) is slice:
        return one.start is other.start and one.stop is other.stop and one.step is other.step
    return one is other


def _check_statement(caller: FrameType) -> None:
    """Refuses a write by C code, such as ``np.random.shuffle(x)``, which moves elements by numbers drawn while tracing."""
    if not is_an_assignment(caller):
        raise SideEffectError(
            "an extension module wrote into a traced array element by element (np.random.shuffle does): what it does"
            " would happen once, while tracing. Use x[fx.random.permutation(key, len(x))], or an indexing expression."
            f"\n  at {user_source()}"
        )


def _cast(value: Any, d: np.dtype) -> Any:
    """As NumPy's item assignment, which casts to the array's dtype."""
    if is_python_scalar(value):
        if dtypes.is_inexact(d) or not isinstance(value, (float, complex)):
            return value
        return np.asarray(value).astype(d)[()]
    return as_typed(value, d, "the value to be written")


def assign(x: Tracer, value: Any, what: str, casting: Any = "same_kind") -> None:
    """All of ``x`` becomes ``value``, which is cast and broadcast to it (``out=``, ``np.copyto``, ``x += y``).

    Raises:
        DTypeError: the casting rule forbids it.
    """
    a = aval_of(value) if type(value) in (Tracer, Array) else None
    if a is not None and not a.weak and not np.can_cast(a.dtype, x.dtype, casting):
        raise DTypeError(
            f"{what}: a result of {a.dtype} cannot be written into an array of {x.dtype} (casting={casting!r})."
            f" Make the buffer {a.dtype}, or cast with .astype."
        )
    write(x, broadcast_value(as_typed(value, x.dtype), x.shape))


# ------------------------------------------------------------------------------------------ rearranged


@dataclass(frozen=True)
class _Kind:
    """An operation that gives a view: what computes it, and the array's contents once the view's are ``new``."""

    forward: Callable[..., Value]
    backward: Callable[..., Value] | None
    numpy: Callable[..., Any]


class Rearranged(View):
    """All the elements of ``base`` in another order or shape."""

    __slots__ = ("args", "kind", "kwargs", "name")

    def __init__(self, base: Tracer, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(base)
        self.name, self.args, self.kwargs, self.kind = name, args, kwargs, _KINDS[name]

    @property
    def writeable(self) -> bool:  # type: ignore[override]
        return self.kind.backward is not None

    def read(self, base: Tracer) -> Any:
        return self.kind.forward(base, *self.args, **self.kwargs)

    def write(self, base: Tracer, new: Any) -> Any:
        assert self.kind.backward is not None
        return self.kind.backward(base, new, *self.args, **self.kwargs)

    def strided(self, base: np.ndarray) -> np.ndarray:
        return self.kind.numpy(base, *self.args, **self.kwargs)


class Flat(View):
    """``base.flat``: writes go to ``base`` whatever its strides are, and what is read from it is a copy."""

    __slots__ = ()
    name = "flat"
    copies = True

    def read(self, base: Tracer) -> Any:
        return manipulation.ravel(base)

    def write(self, base: Tracer, new: Any) -> Any:
        return manipulation.reshape(new, base.shape)

    def strided(self, base: np.ndarray) -> np.ndarray:
        return np.empty(base.size, base.dtype)


class Diagonal(View):
    """``np.einsum("ii->i", base)``, the diagonal that can be written to."""

    __slots__ = ()
    name = "einsum"

    def read(self, base: Tracer) -> Any:
        return rearranging.diagonal(base)

    def write(self, base: Tracer, new: Any) -> Any:
        i = np.arange(min(base.shape), dtype=np.int32)
        return setitem(base, (i, i), new)

    def strided(self, base: np.ndarray) -> np.ndarray:
        return np.einsum("ii->i", base)


def _is_diagonal(args: tuple[Any, ...]) -> bool:
    """True for the arguments of ``np.einsum("ii->i", x)``."""
    if len(args) != 2 or type(args[0]) is not str or type(args[1]) is not Tracer:
        return False
    left, _, right = args[0].replace(" ", "").partition("->")
    return len(left) == 2 and left == right * 2 and args[1].ndim == 2 and args[1].shape[0] == args[1].shape[1]


def flat(x: Tracer) -> Value:
    """``x.flat``: the elements as a vector that can be written to."""
    return attach(manipulation.ravel(x), Flat(x))


def _set_flat(x: Tracer, values: Any) -> None:
    """``x.flat = values``, which are repeated as often as needed."""
    v = as_typed(values, x.dtype)
    write(x, rearranging.resize(v, x.shape) if v.ndim else broadcast_value(v, x.shape))


flat_property = property(flat, _set_flat, doc="The elements as a vector; writing to it writes to the array.")


def _permutation(f: Callable[..., Any], ndim: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """Which axis of the array each axis of its view is: read off the strides of a marked array."""
    marked = np.lib.stride_tricks.as_strided(np.empty(1, np.int8), (1,) * ndim, range(1, ndim + 1))
    return [s - 1 for s in f(marked, *args, **kwargs).strides]


def _transposing(forward: Callable[..., Value], numpy: Callable[..., Any]) -> _Kind:
    def backward(base: Tracer, new: Value, *args: Any, **kwargs: Any) -> Value:
        return manipulation.transpose(new, np.argsort(_permutation(numpy, len(base.shape), args, kwargs)).tolist())

    return _Kind(forward, backward, numpy)


def _reshaping(forward: Callable[..., Value], numpy: Callable[..., Any]) -> _Kind:
    def backward(base: Tracer, new: Value, *args: Any, order: str = "C", **kwargs: Any) -> Value:
        return manipulation.reshape(new, base.shape, order=order)

    return _Kind(forward, backward, numpy)


def _read_only(forward: Callable[..., Value], numpy: Callable[..., Any]) -> _Kind:
    return _Kind(forward, None, numpy)


def _flip(name: str) -> _Kind:
    f = getattr(rearranging, name)
    return _Kind(f, lambda base, new, *args, **kwargs: f(new, *args, **kwargs), getattr(np, name))


def _write_real(base: Tracer, new: Value) -> Value:
    return p.complex(new, p.imag(base)) if dtypes.is_complex(base.dtype) else new


def _write_imag(base: Tracer, new: Value) -> Value:
    return p.complex(p.real(base), new)


def _rot90(base: Tracer, new: Value, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Value:
    return rearranging.rot90(new, -k, axes)


def view(x: Value, dtype: Any = None) -> Value:
    """The same memory read as another dtype."""
    return x if dtype is None else rearranging.view(x, dtype)


def _numpy_reshape(a: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
    return np.reshape(a, *args, **kwargs, copy=False)


def _numpy_ravel(a: np.ndarray, order: Any = "C") -> np.ndarray:
    if not (a.flags.f_contiguous if order == "F" else a.flags.c_contiguous):
        raise ArgumentError("ravel copies what is not contiguous, where reshape looks for strides")
    return np.ravel(a, order)


_KINDS: dict[str, _Kind] = {
    "reshape": _reshaping(manipulation.reshape, _numpy_reshape),
    "ravel": _reshaping(manipulation.ravel, _numpy_ravel),
    "squeeze": _reshaping(manipulation.squeeze, np.squeeze),
    "expand_dims": _reshaping(manipulation.expand_dims, np.expand_dims),
    "atleast_1d": _reshaping(manipulation.atleast_1d, np.atleast_1d),
    "atleast_2d": _reshaping(manipulation.atleast_2d, np.atleast_2d),
    "atleast_3d": _reshaping(manipulation.atleast_3d, np.atleast_3d),
    "transpose": _transposing(manipulation.transpose, np.transpose),
    "permute_dims": _transposing(manipulation.transpose, np.transpose),
    "swapaxes": _transposing(manipulation.swapaxes, np.swapaxes),
    "moveaxis": _transposing(manipulation.moveaxis, np.moveaxis),
    "rollaxis": _transposing(manipulation.rollaxis, np.rollaxis),
    "matrix_transpose": _transposing(manipulation.matrix_transpose, lambda a: np.swapaxes(a, -1, -2)),
    "flip": _flip("flip"),
    "flipud": _flip("flipud"),
    "fliplr": _flip("fliplr"),
    "rot90": _Kind(rearranging.rot90, _rot90, np.rot90),
    "real": _Kind(unary.real, _write_real, np.real),
    "imag": _Kind(unary.imag, _write_imag, np.imag),
    "imag of a real array": _read_only(unary.imag, np.imag),
    "view": _Kind(view, lambda base, new, dtype=None: view(new, base.dtype), lambda a, dtype=None: a.view(dtype or a.dtype)),
    "asarray": _Kind(creation.asarray, lambda base, new, *_, **__: new, lambda a, *_, **__: a),
    "broadcast_to": _read_only(manipulation.broadcast_to, np.broadcast_to),
    "diagonal": _read_only(rearranging.diagonal, np.diagonal),
    "diag": _read_only(matrices.diag, np.diag),
    "sliding_window_view": _read_only(stride_tricks.sliding_window_view, np.lib.stride_tricks.sliding_window_view),
}  # fmt: skip
_MAY_COPY = frozenset(("reshape", "ravel"))


def _is_copy(name: str, x: Tracer, out: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True if NumPy would have to copy here."""
    if type(out) is not Tracer:
        return True
    if name == "diag":
        return len(x.shape) != 2
    if name == "asarray":
        return out.dtype != x.dtype
    if name not in _MAY_COPY or (x.view_of is None and not args[1:] and not kwargs):
        return False
    shape, d, views = lineage(x)

    def copies() -> bool:
        try:
            _KINDS[name].numpy(strided_like(shape, d, views), *args, **kwargs)
        except ValueError:
            return True
        return False

    return decided(copies, (*shape, *out.shape))


def method(name: str) -> Callable[..., Value]:
    """``view_method`` of one operation as a method."""

    def call(self: Tracer, *args: Any, **kwargs: Any) -> Value:
        return view_method(name, self, *args, **kwargs)

    call.__doc__ = _KINDS[name].forward.__doc__
    return call


def setter(name: str) -> Callable[[Tracer, Any], None]:
    """``x.real = value``."""
    return lambda self, value: assign(view_method(name, self), value, name, "unsafe")


def view_method(name: str, x: Tracer, *args: Any, **kwargs: Any) -> Value:
    """An operation of ``_KINDS`` on a traced array."""
    copy = kwargs.pop("copy", None)
    if name == "imag" and not dtypes.is_complex(x.dtype):
        name = "imag of a real array"
    out = _KINDS[name].forward(x, *args, **kwargs)
    if copy or _is_copy(name, x, out, args, kwargs):
        if copy is False:
            raise ArgumentError(f"{name} of this array, a view of shape {x.shape}, is not possible without a copy")
        return out.alias() if out is x else out
    return attach(out, Rearranged(x, name, args, kwargs))


# ------------------------------------------------------------------------------- NumPy's own functions


def _pieces(x: Tracer, cut: Any, axis: int) -> list[Value]:
    """``array_split``: parts along an axis."""
    i = canonical_axis(axis, len(x.shape))
    places = manipulation.split_bounds(x.shape[i], cut)
    return [tracer_getitem(x, (_slice(None),) * i + (_slice(a, b),)) for a, b in places]


def _split(x: Tracer, indices_or_sections: Any, axis: int = 0) -> list[Value]:
    manipulation.check_equal_sections(x.shape, indices_or_sections, axis)
    return _pieces(x, indices_or_sections, axis)


_SPLITS: dict[str, Callable[..., Any]] = {
    "split": _split,
    "array_split": lambda x, indices_or_sections, axis=0: _pieces(x, indices_or_sections, axis),
    "vsplit": lambda x, indices_or_sections: _split(x, indices_or_sections, 0),
    "hsplit": lambda x, indices_or_sections: _split(x, indices_or_sections, 1 if len(x.shape) > 1 else 0),
    "dsplit": lambda x, indices_or_sections: _split(x, indices_or_sections, 2),
    "unstack": lambda x, axis=0: tuple([tracer_getitem(x, (_slice(None),) * canonical_axis(axis, len(x.shape)) + (i,)) for i in range(x.shape[axis])]),
    "broadcast_arrays": lambda *xs, subok=False: tuple([view_method("broadcast_to", x, np.broadcast_shapes(*[np.shape(v) for v in xs])) if type(x) is Tracer else creation.asarray(x) for x in xs]),
}  # fmt: skip


def numpy_view(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What ``np.name(*args, **kwargs)`` is on a traced array, for a function that gives views; else NotImplemented."""
    if name == "einsum" and not kwargs and _is_diagonal(args):
        return attach(rearranging.diagonal(args[1]), Diagonal(args[1]))
    if not args or type(args[0]) is not Tracer:
        return NotImplemented
    if name in _SPLITS:
        return _SPLITS[name](*args, **kwargs)
    if name not in _KINDS or (name.startswith("atleast") and len(args) > 1):
        return NotImplemented
    return view_method(name, *args, **kwargs)
