"""What the shape rules of every family check, and how they say what is wrong.

A message has three parts: what was written, what was found, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import dtypes
from ..errors import AxisError, DTypeError, ShapeError
from ..ir import Aval

__all__ = [
    "ANY",
    "BITS",
    "BOOL",
    "COMPLEX",
    "FLOAT",
    "INEXACT",
    "INTEGER",
    "NUMBER",
    "ORDERED",
    "REAL",
    "UINT32",
    "DTypeClass",
    "canonical_axes",
    "canonical_axis",
    "check_axes",
    "check_dtype",
    "check_length",
    "check_same_dtypes",
    "check_same_types",
]


@dataclass(frozen=True, slots=True)
class DTypeClass:
    """The dtypes that an operand may have, and what to do about any other."""

    name: str
    members: frozenset[np.dtype]
    way_out: str


_BOOL = (dtypes.bool_,)
ANY = DTypeClass("any", frozenset(dtypes.ALL), "")
NUMBER = DTypeClass(
    "a number (integer, float or complex)",
    frozenset(dtypes.INTEGERS + dtypes.FLOATS + dtypes.COMPLEXES),
    "Convert it: convert_element_type(x, 'int32'). For logic there are bitwise_and, bitwise_or, bitwise_not.",
)
REAL = DTypeClass(
    "an integer or float", frozenset(dtypes.INTEGERS + dtypes.FLOATS), "Convert it, or take real(x) or abs(x)."
)
ORDERED = DTypeClass(
    "bool, integer or float",
    frozenset(_BOOL + dtypes.INTEGERS + dtypes.FLOATS),
    "Complex numbers have no order: compare real(x), imag(x) or abs(x).",
)
INEXACT = DTypeClass(
    "float or complex",
    frozenset(dtypes.FLOATS + dtypes.COMPLEXES),
    "Convert it first: convert_element_type(x, 'float32').",
)
FLOAT = DTypeClass("float", frozenset(dtypes.FLOATS), "Convert it first: convert_element_type(x, 'float32').")
COMPLEX = DTypeClass("complex", frozenset(dtypes.COMPLEXES), "Convert it first: convert_element_type(x, 'complex64').")
INTEGER = DTypeClass("an integer", frozenset(dtypes.INTEGERS), "Convert it first: convert_element_type(x, 'int32').")
BITS = DTypeClass(
    "bool or an integer",
    frozenset(_BOOL + dtypes.INTEGERS),
    "Convert it first, with convert_element_type(x, 'int32') or, for its bits, bitcast_convert_type(x, 'int32').",
)
BOOL = DTypeClass("bool", frozenset(_BOOL), "Compare it first, with ne(x, 0).")
UINT32 = DTypeClass("uint32", frozenset({dtypes.uint32}), "Convert it first: convert_element_type(x, 'uint32').")


def check_dtype(name: str, aval: Aval, allowed: DTypeClass) -> None:
    """Raises DTypeError unless the operand's dtype belongs to the class."""
    if aval.dtype not in allowed.members:
        raise DTypeError(f"{name} takes {allowed.name}; its operand has dtype {aval.dtype}. {allowed.way_out}")


def check_same_dtypes(name: str, avals: Sequence[Aval]) -> None:
    """Raises DTypeError unless all operands have one dtype."""
    if any(a.dtype != avals[0].dtype for a in avals):
        found = ", ".join(str(a.dtype) for a in avals)
        raise DTypeError(
            f"{name} takes operands of one dtype; they have {found}."
            " Convert with convert_element_type, or use fx.numpy, which promotes."
        )


def check_same_types(name: str, avals: Sequence[Aval]) -> None:
    """Raises unless all operands have one shape and one dtype."""
    if any(a.shape != avals[0].shape for a in avals):
        found = ", ".join(str(a.shape) for a in avals)
        raise ShapeError(
            f"{name} takes operands of one shape; they have {found}."
            " Broadcast with broadcast_in_dim, or use fx.numpy, which broadcasts."
        )
    check_same_dtypes(name, avals)


def check_length(name: str, param: str, value: Sequence[object], ndim: int) -> None:
    """Raises ShapeError unless ``value`` has one entry for each dimension."""
    if len(value) != ndim:
        raise ShapeError(
            f"{name}: {param}={tuple(value)} has {len(value)} entries, the operand has {ndim} dimensions."
            " Give one entry for each dimension."
        )


def check_axes(name: str, param: str, axes: Sequence[int], ndim: int) -> None:
    """Raises AxisError unless every axis lies in [0, ndim) and none is given twice."""
    for a in axes:
        if not 0 <= a < ndim:
            raise AxisError(
                f"{name}: {param}={tuple(axes)} holds axis {a}, but the array has {ndim} dimensions."
                f" {f'Axes lie between 0 and {ndim - 1} here.' if ndim else 'A 0-d array has no axes.'}"
            )
    if len(set(axes)) != len(axes):
        raise AxisError(f"{name}: {param}={tuple(axes)} names an axis twice. Give each axis once.")


def canonical_axis(name: str, axis: int, ndim: int) -> int:
    """``axis`` counted from the front; a negative one counts from the end."""
    if not -ndim <= axis < ndim:
        raise AxisError(
            f"{name}: axis {axis} is out of range for an array with {ndim} dimensions."
            f" {f'Give an axis between {-ndim} and {ndim - 1}.' if ndim else 'A 0-d array has no axes.'}"
        )
    return int(axis) + ndim if axis < 0 else int(axis)


def canonical_axes(name: str, axes: Sequence[int], ndim: int) -> tuple[int, ...]:
    """The axes counted from the front, in rising order.

    Raises:
        AxisError: one is out of range or given twice.
    """
    found = sorted(canonical_axis(name, a, ndim) for a in axes)
    if len(set(found)) != len(found):
        raise AxisError(f"{name}: axes {tuple(axes)} name an axis twice. Give each axis once.")
    return tuple(found)
