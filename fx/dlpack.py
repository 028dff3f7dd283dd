"""``fx.dlpack``: arrays of other libraries without a copy."""

from __future__ import annotations

from typing import Any

from . import dtypes
from .numpy import from_dlpack

__all__ = ["from_dlpack", "is_supported_dtype"]


def is_supported_dtype(dtype: Any) -> bool:
    """Whether arrays of that dtype can be handed over: all that fx has but bfloat16.

    >>> is_supported_dtype("float32"), is_supported_dtype("bfloat16")
    (True, False)
    """
    return dtypes.canonical(dtype).kind in "biufc"
