"""Arrays as text: printed, and read from and written to files."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Array, to_numpy
from ..config import config
from .core import as_value

__all__ = ["array2string", "array_repr", "array_str", "genfromtxt", "loadtxt", "savetxt"]


def _options(max_line_width: int | None, precision: int | None, suppress_small: bool | None) -> Any:
    """NumPy's print options for a while; what is None stays."""
    given: dict[str, Any] = {"linewidth": max_line_width, "precision": precision, "suppress": suppress_small}
    return np.printoptions(**{k: v for k, v in given.items() if v is not None})


def array_repr(
    arr: Any, max_line_width: int | None = None, precision: int | None = None, suppress_small: bool | None = None
) -> str:
    """``repr`` of an array.

    >>> import fx.numpy as fnp
    >>> fnp.array_repr(fnp.array([1 / 3, 2.0]), precision=2)
    'Array([0.33, 2.  ], dtype=float32)'
    """
    with _options(max_line_width, precision, suppress_small):
        return repr(as_value(arr))


def array_str(
    a: Any, max_line_width: int | None = None, precision: int | None = None, suppress_small: bool | None = None
) -> str:
    """``str`` of an array: its numbers."""
    with _options(max_line_width, precision, suppress_small):
        return str(as_value(a))


def array2string(a: Any, *args: Any, **kwargs: Any) -> str:
    """The numbers of a known array as text, with the options of ``numpy.array2string``."""
    return np.array2string(np.asarray(a), *args, **kwargs)


def loadtxt(fname: Any, dtype: Any = None, **kwargs: Any) -> Any:
    """The numbers of a text file, with the options of ``numpy.loadtxt``; of the default float dtype."""
    return _arrays(np.loadtxt(fname, dtype or config.default_float, **kwargs))


def genfromtxt(fname: Any, dtype: Any = None, **kwargs: Any) -> Any:
    """The numbers of a text file with missing values, with the options of ``numpy.genfromtxt``."""
    return _arrays(np.genfromtxt(fname, dtype or config.default_float, **kwargs))


def savetxt(fname: Any, X: Any, **kwargs: Any) -> None:
    """Writes a known array to a text file, with the options of ``numpy.savetxt``."""
    np.savetxt(fname, np.asarray(X), **kwargs)


def _arrays(read: Any) -> Any:
    return [Array(to_numpy(a)) for a in read] if isinstance(read, (list, tuple)) else Array(to_numpy(read))
