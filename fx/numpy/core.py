"""What every function of ``fx.numpy`` does first: accept array-likes, promote dtypes, broadcast shapes.

Promotion and broadcasting become explicit equations here, so no primitive ever has to.  Where nothing is traced
there are no equations to make, and the NumPy reference is called at once (``is_eager``).

A Python number, or a list of them, is weak: it takes the dtype of the arrays beside it.  So that 0.1 beside float64
is 0.1 and not the float32 next to it, it stays ``Numbers`` until that dtype is known.
"""

from __future__ import annotations

import array
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, silence
from ..array import Array, to_numpy
from ..config import ALERT, config
from ..errors import DTypeError, ShapeError, SideEffectError, TreeError
from ..ir import Aval, Literal
from ..primitive import Primitive
from ..primitives import joining, shaping
from ..primitives.elementwise import convert_element_type, convert_element_type_p, weakened
from ..primitives.helpers import repeat_scalar, scalar_of, zeros_like
from ..silence import quiet
from ..sizes import is_sized
from ..trace import Tracer, bind, is_python_scalar, state
from ..trace import aval_of as _aval_of
from .broadcasting import broadcast_shapes, check_ranks

__all__ = [
    "COMMON", "Numbers", "Value", "apply", "as_beside", "as_type", "as_typed", "as_value", "astype_result", "at_once", "aval_of",
    "broadcast_shapes", "broadcast_value", "buffers_of", "default_dtype", "filled", "fitting_number", "inexact", "is_eager", "not_in_place", "operand", "out_of_reach",
    "position_dtype", "promote", "promote_dtype", "promote_inexact", "promote_operands", "result_dtype", "shape_of", "zero_of",
]  # fmt: skip

Value = Any  # Array | Tracer
_ARRAYS = frozenset((Array,))
_COMMON = (dtypes.float32, dtypes.float64, dtypes.complex64, dtypes.complex128)
COMMON: set[int] = set()
"""The floats and complex numbers that NumPy computes with as they are, by the identities of their dtypes; those that
``fx.config.wide_dtypes`` does not keep are left out."""


def _note_common(keep_wide: bool) -> None:
    COMMON.clear()
    COMMON.update([id(d) for d in _COMMON if d in dtypes.SUPPORTED])


dtypes.tell_of_wide(_note_common)
_convert_reference = convert_element_type_p.rule("impl")


# --------------------------------------------------------------------------------------- array-likes


class Numbers:
    """Python numbers (one, or nested lists of them) whose dtype is not decided yet.

    data: the numbers as NumPy takes them.      aval: what they are where nothing decides: weak, of the default dtype.
    """

    __slots__ = ("aval", "data")

    def __init__(self, data: np.ndarray, aval: Aval) -> None:
        self.data = data
        self.aval = aval

    def typed(self, d: np.dtype) -> np.ndarray:
        """The numbers in dtype ``d``, cast as NumPy casts (2.7 as int is 2)."""
        token = silence.off()
        try:
            return self.data.astype(d)
        finally:
            silence.back(token)

    def fitting(self, d: np.dtype) -> np.ndarray:
        """The numbers in the dtype of the array beside them.

        Raises:
            DTypeError: an integer is out of its range.
        """
        if self.data.ndim == 0:
            return np.asarray(scalar_of(self.data.item(), d))
        if dtypes.is_integer(d) and self.data.size:
            info = np.iinfo(d)
            if self.data.min() < info.min or self.data.max() > info.max:
                raise DTypeError(
                    f"a list of numbers stands beside an array of dtype {d}, which cannot hold all of them: {self.data}"
                )
        return self.typed(d)


def aval_of(x: Any) -> Aval:
    """Shape, dtype and weakness."""
    return x.aval if type(x) is Numbers else _aval_of(x)


def operand(x: Any, name: str = "argument") -> Value | Numbers:
    """``as_value`` for what will be promoted: Python numbers stay ``Numbers``."""
    if type(x) is Numbers:
        return x
    if is_python_scalar(x):
        try:
            return Numbers(np.asarray(x), _aval_of(x))
        except OverflowError:
            raise DTypeError(f"{name} is an integer that no dtype holds: {x}") from None
    if is_sized(x):
        return Literal(x, _aval_of(x))  # type: ignore[return-value]
    if isinstance(x, (list, tuple)):
        leaves: list[Any] = []
        _collect(x, leaves)
        if leaves and all(is_python_scalar(v) for v in leaves):
            data = _numpy_array(x, name)
            return Numbers(data, Aval(data.shape, _fitting(data), data.dtype != dtypes.bool_))
    return as_value(x, name)


SEQUENCES = (list, tuple, range)
"""What holds the elements of an array, nested."""


def as_value(x: Any, name: str = "argument") -> Value:
    """An array-like as an Array or Tracer (Python scalars stay weak); lists may hold traced values.

    Raises:
        TreeError: for anything that is no array (a string, a dict, None).
    """
    t = type(x)
    if t is Array or t is Tracer:
        return x
    if t is np.ndarray or isinstance(x, np.generic):
        return Array(to_numpy(x))
    if is_python_scalar(x):
        n = operand(x, name)
        return Array(n.typed(n.aval.dtype), n.aval.weak)
    if is_sized(x):
        return Literal(x, _aval_of(x))  # type: ignore[return-value]
    if isinstance(x, SEQUENCES):
        return _from_sequence(x, name)
    if t is Numbers:
        return Array(x.typed(x.aval.dtype), x.aval.weak and not x.aval.shape)
    if hasattr(x, "__fx_array__"):
        return x.__fx_array__()
    if hasattr(x, "__jax_array__"):  # JAX's name for what holds a value, traced or known
        return as_value(x.__jax_array__(), name)
    if hasattr(x, "__array__") or hasattr(x, "__array_interface__"):
        return Array(to_numpy(x))
    if isinstance(x, (memoryview, bytearray, array.array)):
        return Array(to_numpy(np.asarray(x)))
    if hasattr(x, "__dlpack__"):
        return Array(to_numpy(np.from_dlpack(x)))
    kind: Any = next((k for k in (int, float, complex) if isinstance(x, k)), None)
    if kind is not None:  # a number of a kind of its own: a member of an IntEnum
        return as_value(kind(x), name)
    raise TreeError(
        f"{name} is a {t.__name__} ({x!r}), not an array. fx.numpy functions take arrays, numbers and nested lists of them."
    )


def as_beside(x: Any, d: np.dtype, name: str = "argument") -> Value:
    """An array-like in its own dtype; Python numbers in dtype ``d``, where it can hold them."""
    n = operand(x, name)
    return as_type(n, dtypes.promote((d, False), (n.aval.dtype, True))[0]) if type(n) is Numbers else n


def as_typed(x: Any, dtype: Any, name: str = "argument") -> Value:
    """An array-like in a dtype; Python numbers are cast to it at once."""
    return as_type(operand(x, name), dtype)


def fitting_number(x: Any, dtype: Any) -> Any:
    """A Python number that is to be of ``dtype``, as it is.

    Raises:
        OverflowError: a dtype of integers that does not reach so far, as NumPy does.
    """
    d = dtypes.canonical(dtype)
    if type(x) in (int, float) and dtypes.is_integer(d) and math.isfinite(x):
        info = np.iinfo(d)
        if not info.min <= int(x) <= info.max:
            raise OverflowError(f"Python {'integer' if type(x) is int else 'float'} {x} out of bounds for {d}")
    return x


def out_of_reach(x: Any, other: Any) -> bool:
    """Whether ``x`` is an integer of Python that the dtype of the array ``other``, one of integers, does not hold."""
    if type(x) is not Numbers or x.data.ndim or x.data.dtype.kind not in "iu" or type(other) is Numbers:
        return False
    d = other.dtype
    return dtypes.is_integer(d) and not np.iinfo(d).min <= x.data <= np.iinfo(d).max


def _numpy_array(x: Sequence[Any], name: str) -> np.ndarray:
    try:
        a = np.asarray(_plain(x))
    except ValueError as e:
        raise ShapeError(f"{name} is a nested list whose rows have different shapes: {e}") from None
    if a.dtype.kind in "OUSmM":
        raise TreeError(f"{name} is a list that holds something other than numbers and arrays: {x!r}")
    return a


def _from_sequence(x: Sequence[Any], name: str) -> Value:
    leaves: list[Any] = []
    _collect(x, leaves)
    if any(type(v) is Tracer for v in leaves):
        return _stacked(x, name)
    a = _numpy_array(x, name)
    if not leaves:
        return Array(a.astype(config.default_float))
    if all(is_python_scalar(v) for v in leaves):
        return Array(a.astype(_fitting(a)))
    d = dtypes.canonical(dtypes.promote(*[(v.dtype, v.weak) for v in map(_aval_of, leaves)])[0])
    return Array(a.astype(d, copy=False))


def _plain(x: Any) -> Any:
    """Nested lists with NumPy arrays in place of ours."""
    return [_plain(v) for v in x] if isinstance(x, SEQUENCES) else x._data if type(x) is Array else x


def _collect(x: Any, out: list[Any]) -> None:
    for v in x:
        if isinstance(v, SEQUENCES):
            _collect(v, out)
        else:
            out.append(v)


def _stacked(x: Sequence[Any], name: str) -> Value:
    rows = [operand(v, name) for v in x]
    shapes = {shape_of(r) for r in rows}
    if len(shapes) > 1:
        raise ShapeError(
            f"{name} is a list of arrays of different shapes {sorted(shapes)}; they must be equal to be stacked"
        )
    return joining.concatenate([shaping.expand_dims(r, (0,)) for r in promote(*rows)], 0)


def default_dtype(d: np.dtype) -> np.dtype:
    """The dtype of a new array made from Python numbers that NumPy would make a ``d``."""
    d = dtypes.canonical(d)
    if dtypes.is_integer(d):
        return config.default_int if d == dtypes.int64 else d
    if dtypes.is_float(d):
        return config.default_float
    if dtypes.is_complex(d):
        return dtypes.complex_dtype(config.default_float)
    return d


def position_dtype(n: int) -> np.dtype:
    """The dtype of positions among ``n`` elements: ``default_int``, or int64 where that is too small."""
    return config.default_int if np.iinfo(config.default_int).max >= n else dtypes.int64


def _fitting(a: np.ndarray) -> np.dtype:
    """``default_dtype``, but wide enough for the integers in ``a``."""
    d = default_dtype(a.dtype)
    if dtypes.is_integer(d) and d.itemsize < a.dtype.itemsize and a.size:
        info = np.iinfo(d)
        return d if info.min <= a.min() and a.max() <= info.max else a.dtype
    return d


def shape_of(x: Any) -> tuple[int, ...]:
    return aval_of(x).shape


# -------------------------------------------------------------------------------------------- eager


def is_eager(*xs: Any) -> bool:
    """True if nothing would be recorded, or checked: no operand is traced and no absorbing builder is open."""
    return not ALERT and _ARRAYS.issuperset(map(type, xs))


def at_once(x: Any, f: Callable[..., np.ndarray], *args: Any) -> Value | None:
    """What a function of the shape alone gives for a known array; None where something would be recorded, or where NumPy
    refuses: the long way says what is wrong."""
    if type(x) is not Array or ALERT or x._buffer is None:
        return None
    try:
        out = f(x._buffer, *args)
    except (ValueError, TypeError, IndexError):
        return None
    return Array(out if type(out) is np.ndarray else np.asarray(out), x.weak_type)


def buffers_of(*xs: Any) -> list[np.ndarray] | None:
    """The buffers of known arrays of one of the common dtypes, none of them weak, where nothing is recorded; else None."""
    if ALERT:
        return None
    found: list[np.ndarray] = []
    for x in xs:
        t = type(x)
        b = x._buffer if t is Array and not x.weak_type else x if t is np.ndarray else None
        if b is None:
            return None
        found.append(b)
    dtype = found[0].dtype
    if id(dtype) not in COMMON:
        return None
    for b in found:
        if b.dtype is not dtype:
            return None
    return found


def apply(prim: Primitive, *xs: Value, **params: Any) -> Value:
    """``bind`` for operands and parameters that the caller has checked.

    Where nothing is traced the shape rule, which would only check again, is left out.
    """
    if type(xs[0]) is not Tracer and is_eager(*xs):
        out = prim.rule("impl")(*[x._data for x in xs], **params)
        weak = xs[0].weak_type and out.dtype != dtypes.bool_ and prim.is_weak([x.weak_type for x in xs])
        return Array(out, weak)
    return bind(prim, *xs, **params)


def not_in_place(name: str, inplace: bool) -> None:
    """Raises SideEffectError for ``inplace=True``."""
    if inplace:
        raise SideEffectError(
            f"fx.numpy.{name} cannot write into its argument: arrays are immutable. Leave inplace= out and use the"
            " returned array."
        )


def filled(shape: tuple[int, ...], value: Any, dtype: np.dtype) -> Value:
    """An array of a plain number; always an Array or Tracer."""
    if state.absorbing:
        return shaping.full(shape, scalar_of(value, dtype), dtype)
    return Array(repeat_scalar(np.asarray(scalar_of(value, dtype)), shape))


def zero_of(x: Value) -> Value:
    """The scalar 0 in the dtype of ``x``, weak as ``x``."""
    return zeros_like(aval_of(x).with_(shape=()))


# -------------------------------------------------------------------------------------- promotion


def as_type(x: Value | Numbers, dtype: Any) -> Value:
    """``x`` converted to ``dtype``, unless it is that already and strong."""
    if type(x) is Tracer and x.dtype is dtype and not x.weak_type:  # the common case
        return x
    d = dtypes.canonical(dtype)
    if type(x) is Array and not state.absorbing:
        data = x._data
        if data.dtype == d:
            return Array(data) if x.weak_type else x
        if d.kind == "f" and data.dtype.kind in "fiu":  # the common case
            with contextlib.suppress(RuntimeError):  # called in the middle of another call
                return Array(quiet.run(data.astype, d))
        return Array(_convert_reference(data, new_dtype=d))
    if type(x) is Numbers:
        return Array(x.typed(d))
    if type(x) is Literal:
        return Literal(x.value, Aval((), d))  # type: ignore[return-value]
    a = _aval_of(x)
    if a.dtype == d and not a.weak:
        return x
    return convert_element_type(x, d)


def result_dtype(*xs: Any) -> np.dtype:
    """The dtype that an operation on these arrays has."""
    return dtypes.promote(*[(a.dtype, a.weak) for a in map(aval_of, xs)])[0]


def inexact(d: np.dtype) -> np.dtype:
    """The dtype itself if float or complex; float64 for 64-bit integers, else the default float."""
    if dtypes.is_inexact(d):
        return d
    return dtypes.float64 if d.itemsize == 8 else config.default_float


def _joint(xs: Sequence[Any], to_float: bool) -> tuple[list[Aval], np.dtype, bool]:
    """What the operands are, their joint dtype, and whether it is weak: an integer array beside a Python float is."""
    avals = [aval_of(x) for x in xs]
    d, weak = dtypes.promote(*[(a.dtype, a.weak) for a in avals])
    joint = inexact(d) if to_float else d
    return avals, joint, weak and (joint == d or all(a.weak for a in avals))


def _settled(x: Any, a: Aval, d: np.dtype, weak: bool) -> Value:
    """An operand in the joint dtype, which may be weak."""
    if type(x) is Numbers:
        return Array(x.fitting(d), weak and not a.shape)
    if type(x) is Literal:
        return Literal(x.value, Aval((), d, weak))  # type: ignore[return-value]
    if a.dtype == d:
        return x
    if not weak:
        return as_type(x, d)
    if type(x) is Array and not state.absorbing:
        return Array(_convert_reference(x._data, new_dtype=d), True)
    return weakened(x, d)


def promote_dtype(*xs: Any, to_float: bool = False) -> list[Value]:
    """Operands of one dtype (with ``to_float`` an inexact one), shapes untouched."""
    avals, d, weak = _joint(xs, to_float)
    return [_settled(x, a, d, weak) for x, a in zip(xs, avals)]


def promote(*xs: Any) -> list[Value]:
    """Operands of one dtype and one shape."""
    return _broadcast_all(promote_dtype(*xs))


def promote_inexact(*xs: Any) -> list[Value]:
    """As ``promote``, and integers and booleans become floats."""
    return _broadcast_all(promote_dtype(*xs, to_float=True))


def promote_operands(*xs: Any, to_float: bool = False) -> list[Any]:
    """``promote`` for operands of a primitive: numbers beside traced values stay literals of the equation."""
    if len(xs) == 2 and type(xs[0]) is type(xs[1]) is Tracer:  # the common case while tracing: there is nothing to do
        a, b = xs[0].aval, xs[1].aval
        if a.dtype == b.dtype and a.shape == b.shape and (not to_float or dtypes.is_inexact(a.dtype)):
            return list(xs)
    avals, d, weak = _joint(xs, to_float)
    traced = any(type(x) is Tracer for x in xs) or bool(state.absorbing)
    out = [
        _literal(x, d, weak) if traced and type(x) is Numbers and not a.shape else _settled(x, a, d, weak)
        for x, a in zip(xs, avals)
    ]
    return _broadcast_all(out)


def _literal(x: Numbers, d: np.dtype, weak: bool) -> Any:
    """A number as a NumPy scalar; as a Python number or a weak literal, if it is to stay weak."""
    scalar = x.fitting(d)[()]
    if not weak:
        return scalar
    number = scalar.item()
    return number if _aval_of(number).dtype == d else Literal(scalar, Aval((), d, True))


def astype_result(x: Value, dtype: Any) -> Value:
    """For functions with a ``dtype=`` argument."""
    return x if dtype is None else as_type(x, dtype)


# ------------------------------------------------------------------------------------- broadcasting


def _broadcast_all(xs: list[Any]) -> list[Any]:
    shapes = [shape_of(x) for x in xs]
    first = shapes[0]
    if all(len(s) == len(first) and s == first for s in shapes):
        return xs
    if config.numpy_rank_promotion != "allow":
        check_ranks(*shapes)
    shape = broadcast_shapes(*shapes)
    return [broadcast_value(x, shape) for x in xs]


def broadcast_value(x: Value, shape: tuple[int, ...]) -> Value:
    """``x`` broadcast to ``shape`` by NumPy's rules.

    Raises:
        ShapeError: it does not fit.
    """
    have = shape_of(x)
    lead = len(shape) - len(have)
    if not lead and have == shape:
        return x
    if lead < 0 or any(n not in (1, shape[lead + i]) for i, n in enumerate(have)):
        raise ShapeError(f"an array of shape {have} cannot be broadcast to shape {shape}")
    if is_eager(x):
        return Array(np.broadcast_to(x._data, shape) if have else repeat_scalar(x._data, shape), x.weak_type)
    dropped = tuple([i for i, n in enumerate(have) if n != shape[lead + i]])
    x = shaping.squeeze(x, dropped) if dropped else x
    return shaping.broadcast_in_dim(x, shape, tuple([lead + i for i in range(len(have)) if i not in dropped]))
