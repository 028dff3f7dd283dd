"""What the rules of every family share: constants, symbolic zeros, batching, and tables of derivatives.

The families are each other's derivatives and transposes (``broadcast_in_dim`` and ``reduce_sum``, ``pad`` and
``slice``), so this module, on which all of them stand, reaches ``broadcast_in_dim``, ``transpose`` and ``add``
through the registry by name when a rule runs; importing the families here would close a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes, silence
from ..array import Array
from ..errors import DTypeError, ShapeError
from ..ir import Aval, Literal
from ..primitive import Primitive, primitive
from ..sizes import is_sized
from ..trace import Tracer, aval_of, bind, is_python_scalar, state

__all__ = [
    "align_batch",
    "axes_after_batch",
    "batch_dim_after_reduction",
    "broadcast_batch",
    "bind_named",
    "def_jvp_each",
    "bind_stretched",
    "def_linear",
    "elementwise_batch",
    "full",
    "full_like",
    "instantiate",
    "is_fx_value",
    "match_scalars",
    "move_batch",
    "ones_like",
    "quiet",
    "repeat_scalar",
    "scalar_of",
    "unary_batch",
    "unchanged",
    "zeros_like",
]

Value = Any  # Array | Tracer | np.ndarray | NumPy scalar
Shape = tuple[int, ...]


def bind_named(name: str, *args: Value, **params: Any) -> Any:
    """``bind`` of the primitive registered under ``name``."""
    return bind(primitive(name), *args, **params)


def is_fx_value(x: Any) -> bool:
    """True for an Array or a tracer: what a function that has nothing to do may return as it is."""
    return type(x) is Array or type(x) is Tracer


def unchanged(x: Any) -> Any:
    """The result of a function that has nothing to do: an array that may be written to by itself."""
    return x.alias() if is_fx_value(x) else x


# ------------------------------------------------------------------------------------ constants


def scalar_of(value: Any, dtype: np.dtype) -> np.generic | Literal:
    """``value`` as a NumPy scalar of ``dtype``.

    Raises:
        DTypeError: the Python number's kind is above the dtype's (2.5 as int32, 1j as float32), or it is out of range.
    """
    if is_sized(value):
        return Literal(value, Aval((), dtype))
    kind = type(value)
    if (
        (kind is complex and not dtypes.is_complex(dtype))
        or (kind is float and not dtypes.is_inexact(dtype))
        or (kind is int and dtypes.is_bool(dtype))
    ):
        raise DTypeError(
            f"the Python scalar {value!r} stands beside an array of dtype {dtype}, which cannot hold it."
            " Convert the array first: convert_element_type(x, new_dtype)."
        )
    token = silence.off()
    try:
        scalar: Any = np.asarray(value, dtype)[()]
        return scalar
    except OverflowError:
        raise DTypeError(
            f"the Python scalar {value!r} is out of range for dtype {dtype} of the array beside it."
            " Convert the array to a wider dtype first."
        ) from None
    finally:
        silence.back(token)


def repeat_scalar(x: np.ndarray, shape: Shape) -> np.ndarray:
    """A 0-d array as a read-only view of that shape with stride 0 (np.broadcast_to costs five times as much)."""
    view: np.ndarray = np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
    view.setflags(write=False)
    return view


def full(shape: Sequence[int], value: Any, dtype: np.dtype, weak: bool = False) -> Value:
    """An array of that shape filled with a scalar: an explicit ``broadcast_in_dim`` of a literal.

    With shape () it is the NumPy scalar itself (an Array if it is weak), which becomes a literal of the equation that
    reads it.
    """
    scalar: Any = scalar_of(value, dtype)
    shape = tuple(shape)
    if not shape and is_sized(value):
        return Literal(value, Aval((), dtype, weak))
    if not shape:
        return Array(np.asarray(scalar), True) if weak else scalar
    if not state.absorbing:  # nothing records it, so bind would only evaluate it, at ten times the cost
        return Array(repeat_scalar(np.asarray(scalar), shape), weak)
    if weak:
        scalar = Literal(value, Aval((), dtype, True)) if is_sized(value) else Array(np.asarray(scalar), True)
    return bind_named("broadcast_in_dim", scalar, shape=shape, broadcast_dimensions=())


def full_like(x: Value | Aval, value: Any, dtype: np.dtype | None = None, shape: Sequence[int] | None = None) -> Value:
    """``full`` with the shape and dtype of ``x`` (an array, a tracer or an Aval) where they are not given; weak as ``x``."""
    aval = x if isinstance(x, Aval) else aval_of(x)
    weak = aval.weak and dtype is None
    return full(aval.shape if shape is None else shape, value, aval.dtype if dtype is None else dtype, weak)


def zeros_like(x: Value | Aval) -> Value:
    aval = x if isinstance(x, Aval) else aval_of(x)
    return full_like(aval, aval.dtype.type(0))


def ones_like(x: Value | Aval) -> Value:
    return full_like(x, 1)


def instantiate(ct: Value | None, aval: Value | Aval) -> Value:
    """The tangent or cotangent itself, or zeros of that type if it is a symbolic zero (None)."""
    return zeros_like(aval) if ct is None else ct


def match_scalars(*xs: Any) -> tuple[Any, ...]:
    """Gives Python scalars the dtype and shape of the first array beside them.

    If all are Python scalars they take the highest kind among them, and stay weak.
    """
    scalars = [is_python_scalar(x) for x in xs]
    if not any(scalars):
        return xs
    if not all(scalars):
        beside = aval_of(xs[scalars.index(False)])
        return tuple([full_like(beside, x) if s else x for x, s in zip(xs, scalars)])
    for kind in (complex, float, int):
        if any(type(x) is kind for x in xs):
            return tuple([kind(x) for x in xs])
    return xs


def bind_stretched(prim: Primitive, x: Value, y: Value) -> Value:
    """``bind`` of two arrays in one shape; one without dimensions, and sizes of 1 in arrays of equal rank, are stretched."""
    try:
        return bind(prim, x, y)
    except ShapeError:
        pair = _stretched(x, y)
        if pair is None:
            raise
    return bind(prim, *pair)


def _stretched(x: Value, y: Value) -> list[Value] | None:
    a, b = aval_of(x).shape, aval_of(y).shape
    if a and b and len(a) != len(b):
        return None
    shape = tuple([n if m == 1 else m for m, n in zip(a, b)]) if a and b else a or b
    if any(n not in (1, m) for s in (a, b) if s for n, m in zip(s, shape)):
        return None
    return [
        bind_named("broadcast_in_dim", v, shape=shape, broadcast_dimensions=tuple(range(len(s))))
        for v, s in ((x, a), (y, b))
    ]


# ------------------------------------------------------------------------------------- batching


def move_batch(x: Value, src: int, dst: int) -> Value:
    """``x`` with axis ``src`` moved to ``dst``; the other axes keep their order."""
    if src == dst:
        return x
    rest = [i for i in range(len(x.shape)) if i != src]
    rest.insert(dst, src)
    return bind_named("transpose", x, permutation=tuple(rest))


def broadcast_batch(x: Value, size: int, dim_position: int) -> Value:
    """An unbatched ``x`` with a batch axis of ``size`` added at ``dim_position``."""
    shape = aval_of(x).shape
    return bind_named(
        "broadcast_in_dim",
        x,
        shape=(*shape[:dim_position], size, *shape[dim_position:]),
        broadcast_dimensions=tuple(i + (i >= dim_position) for i in range(len(shape))),
    )


def align_batch(size: int, args: Sequence[Value], dims: Sequence[int | None], at: int = 0) -> list[Value]:
    """Every operand batched, at axis ``at``: batched ones are moved there, the others broadcast."""
    return [broadcast_batch(x, size, at) if d is None else move_batch(x, d, at) for x, d in zip(args, dims)]


def elementwise_batch(prim: Primitive) -> Callable[..., Any]:
    """The batch rule of a primitive whose operands and results all have one shape.

    The batch axis stays where the first batched operand has it, so the usual case moves nothing.
    """

    def batch(size: int, args: Sequence[Value], dims: Sequence[int | None], **params: Any) -> Any:
        at = next(d for d in dims if d is not None)
        out = bind(prim, *align_batch(size, args, dims, at), **params)
        return (out, [at] * len(out)) if prim.multiple_results else (out, at)

    return batch


def unary_batch(prim: Primitive) -> Callable[..., Any]:
    """The batch rule of a primitive with one operand that acts on each element alone."""
    return lambda size, args, dims, **params: (bind(prim, args[0], **params), dims[0])


def axes_after_batch(axes: Sequence[int], bdim: int) -> tuple[int, ...]:
    """Where the axes of one example lie in the array that has a batch axis at ``bdim``.

    >>> axes_after_batch((0, 2), 1)
    (0, 3)
    """
    return tuple(a + (a >= bdim) for a in axes)


def batch_dim_after_reduction(axes: Sequence[int], bdim: int) -> int:
    """Where the batch axis ``bdim`` lies once the example's ``axes`` are gone.

    >>> batch_dim_after_reduction((0, 2), 1)
    0
    """
    return bdim - sum(a < bdim for a in axes)


# ------------------------------------------------------------------------ derivatives as tables


def _sum_of(terms: Sequence[Value]) -> Value:
    total = terms[0]
    for term in terms[1:]:
        total = bind_named("add", total, term)
    return total


def def_jvp_each(prim: Primitive, *rules: Callable[..., Any] | None) -> None:
    """The jvp rule as one function for each operand: ``rule(t, out, *primals, **params) -> contribution``.

    A contribution must be linear in ``t``; None as a rule or as a contribution means zero.
    """

    def jvp(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value, **params: Any) -> Value | None:
        terms = [r(t, out, *primals, **params) for r, t in zip(rules, tangents) if r is not None and t is not None]
        terms = [t for t in terms if t is not None]
        return _sum_of(terms) if terms else None

    prim.def_jvp(jvp)


def def_linear(prim: Primitive, transpose: Callable[..., Any]) -> None:
    """Jvp and transpose rules of a primitive that is linear in its one operand.

    ``transpose(ct, aval, **params)`` gives the cotangent of the operand, whose type is ``aval``.
    """
    prim.def_jvp(lambda primals, tangents, out, **params: bind(prim, tangents[0], **params))
    prim.def_transpose(lambda ct, inputs, **params: (transpose(ct, inputs[0].aval, **params),))


# ----------------------------------------------------------------------------- NumPy references


def quiet(f: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """The NumPy reference ``f`` with its floating point warnings off, and an ndarray (never a scalar) as its result."""

    def impl(*args: np.ndarray, **params: Any) -> np.ndarray:
        try:
            out = silence.quiet.run(f, *args, **params)
        except RuntimeError:  # called in the middle of another call
            token = silence.off()
            try:
                out = f(*args, **params)
            finally:
                silence.back(token)
        return out if type(out) is np.ndarray else np.asarray(out)

    impl.loud = f  # type: ignore[attr-defined]  # for callers that have turned the warnings off already
    return impl
