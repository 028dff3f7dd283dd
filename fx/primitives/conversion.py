"""Another dtype, the same bits read anew, and identities: what changes how a value counts, not its elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError
from ..ir import Aval
from ..primitive import Primitive
from ..trace import aval_of, bind
from . import elementwise_reference as reference
from .checks import ANY
from .elementwise_tables import unary
from .helpers import Value, def_jvp_each, def_linear, is_fx_value, quiet, unary_batch
from .special_cases import for_types

__all__ = [
    "bitcast_convert_type", "bitcast_convert_type_p", "convert_element_type", "convert_element_type_p", "copy", "copy_p",
    "optimization_barrier", "optimization_barrier_p", "stop_gradient", "stop_gradient_p", "weakened",
]  # fmt: skip

convert_element_type_p = Primitive("convert_element_type", typed_by=None)
convert_element_type_p.is_elementwise = True
convert_element_type_p.def_abstract(lambda x, *, new_dtype, weak_type=False: Aval(x.shape, new_dtype, weak_type))


@convert_element_type_p.def_impl
@quiet
@for_types(lambda operands, new_dtype, weak_type=False: reference.convert.special(operands, new_dtype))  # type: ignore[attr-defined]
def _convert_impl(x: np.ndarray, *, new_dtype: np.dtype, weak_type: bool = False) -> np.ndarray:
    return reference.convert(x, new_dtype)


convert_element_type_p.def_batch(unary_batch(convert_element_type_p))
convert_element_type_p.def_transpose(
    lambda ct, inputs, *, new_dtype, weak_type=False: (convert_element_type(ct, inputs[0].aval.dtype),)
)


def _convert_jvp(t: Value, out: Value, x: Value, *, new_dtype: np.dtype, weak_type: bool = False) -> Value | None:
    return convert_element_type(t, new_dtype) if dtypes.is_inexact(new_dtype) else None


def_jvp_each(convert_element_type_p, _convert_jvp)


def convert_element_type(x: Value, new_dtype: Any) -> Value:
    """``x`` as another dtype.

    Floats to integers truncate and saturate, NaN becomes 0; complex to real drops the imaginary part; to bool is
    x != 0.
    """
    new = dtypes.canonical(new_dtype)
    aval = aval_of(x)
    if aval.dtype == new and not aval.weak and is_fx_value(x):
        return x
    return bind(convert_element_type_p, x, new_dtype=new)


def weakened(x: Value, dtype: np.dtype | None = None) -> Value:
    """``x`` in its own or another dtype, weak: as if it were made from Python numbers alone."""
    a = aval_of(x)
    d = a.dtype if dtype is None else dtype
    if dtypes.is_bool(d) or (a.weak and a.dtype == d and is_fx_value(x)):
        return x
    return bind(convert_element_type_p, x, new_dtype=d, weak_type=True)


bitcast_convert_type_p = Primitive("bitcast_convert_type", typed_by=())
bitcast_convert_type_p.def_impl(quiet(reference.bitcast))
bitcast_convert_type_p.no_gradient("the bits of a float are not a differentiable function of it")
bitcast_convert_type_p.def_batch(unary_batch(bitcast_convert_type_p))


@bitcast_convert_type_p.def_abstract
def _bitcast_abstract(x: Aval, *, new_dtype: np.dtype) -> Aval:
    for d in (x.dtype, new_dtype):
        if dtypes.is_bool(d) or dtypes.is_complex(d):
            raise DTypeError(f"bitcast_convert_type is between integers and floats, not {d}. Use convert_element_type.")
    if x.dtype.itemsize != new_dtype.itemsize:
        raise DTypeError(
            f"bitcast_convert_type needs dtypes of one size; {x.dtype} has {x.dtype.itemsize} bytes,"
            f" {new_dtype} has {new_dtype.itemsize}."
        )
    return Aval(x.shape, new_dtype)


def bitcast_convert_type(x: Value, new_dtype: Any) -> Value:
    """The same bits read as another dtype of the same size."""
    return bind(bitcast_convert_type_p, x, new_dtype=dtypes.canonical(new_dtype))


# ---------------------------------------------------------------------------------- identities

copy_p, copy = unary("copy", ANY, np.array, None, "A copy in memory of its own.")
def_linear(copy_p, lambda ct, aval: ct)
stop_gradient_p, stop_gradient = unary(
    "stop_gradient",
    ANY,
    np.asarray,
    "stopping derivatives is its purpose",
    "x, taken as a constant by every derivative.",
)

optimization_barrier_p = Primitive("optimization_barrier", multiple_results=True)
optimization_barrier_p.def_abstract(lambda *avals: avals)
optimization_barrier_p.def_impl(lambda *arrays: list(arrays))
optimization_barrier_p.def_batch(lambda size, args, dims: (bind(optimization_barrier_p, *args), list(dims)))


def _barrier_present(values: Sequence[Value | None]) -> list[Value | None]:
    """A barrier over those values that are not symbolic zeros."""
    present = iter(bind(optimization_barrier_p, *[v for v in values if v is not None]))
    return [None if v is None else next(present) for v in values]


optimization_barrier_p.def_jvp(lambda primals, tangents, out: _barrier_present(tangents))
optimization_barrier_p.def_transpose(lambda cts, inputs: tuple(_barrier_present(cts)))


def optimization_barrier(*operands: Value) -> list[Value]:
    """The operands; no pass moves or fuses operations across."""
    return bind(optimization_barrier_p, *operands)
