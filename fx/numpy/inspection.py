"""What the namespace offers, as the array API asks: its capabilities, devices and dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..array import check_device
from ..config import config
from ..errors import (
    ArgumentError,
    DTypeError,
)

__all__ = ["DEVICE", "NamespaceInfo", "of_kind"]

DEVICE = "cpu"
"""The one device there is."""

KINDS = {
    "bool": dtypes.is_bool,
    "signed integer": lambda d: d.kind == "i",
    "unsigned integer": lambda d: d.kind == "u",
    "integral": dtypes.is_integer,
    "real floating": dtypes.is_float,
    "complex floating": dtypes.is_complex,
    "numeric": lambda d: not dtypes.is_bool(d),
}

_STANDARD = tuple([d for d in dtypes.ALL if d == dtypes.bool_ or d.itemsize > 2 or dtypes.is_integer(d)])
"""The dtypes of the standard: those that fx has, but for the floats of 16 bits."""


def of_kind(d: np.dtype, kind: Any) -> bool:
    """Whether a dtype is of a kind of the array API, or of one out of a tuple of kinds.

    Raises:
        ValueError: there is no such kind.
    """
    if isinstance(kind, tuple):
        return any(of_kind(d, k) for k in kind)
    if isinstance(kind, str) and kind in KINDS:
        return KINDS[kind](d)
    try:
        return d == dtypes.canonical(kind)
    except DTypeError:
        raise ArgumentError(f"the kind {kind!r} is none of {', '.join(KINDS)}, and no dtype") from None


class NamespaceInfo:
    """What ``__array_namespace_info__()`` returns."""

    def capabilities(self) -> dict[str, Any]:
        """What the library can do, of what the standard leaves open.

        >>> import fx.numpy as fnp
        >>> fnp.__array_namespace_info__().capabilities()
        {'boolean indexing': True, 'data-dependent shapes': True, 'max dimensions': 64}
        """
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The device of new arrays."""
        return DEVICE

    def default_dtypes(self, *, device: Any = None) -> dict[str, np.dtype]:
        """The dtypes of new arrays that name none: ``fx.config.default_float`` and ``default_int``."""
        check_device(device)
        return {
            "real floating": config.default_float,
            "complex floating": dtypes.complex_dtype(config.default_float),
            "integral": config.default_int,
            "indexing": config.default_int,
        }

    def devices(self) -> list[str]:
        """All devices."""
        return [DEVICE]

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, np.dtype]:
        """The dtypes of the standard, by name; those of a kind, or of a tuple of kinds."""
        check_device(device)
        return {d.name: d for d in _STANDARD if kind is None or of_kind(d, kind)}
