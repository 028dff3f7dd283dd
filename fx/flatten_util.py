"""``fx.flatten_util``: a pytree of arrays as one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import dtypes, tree
from . import numpy as fnp
from .errors import DTypeError, ShapeError
from .numpy.core import as_type, as_value

__all__ = ["ravel_pytree"]


def ravel_pytree(pytree: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The elements of a pytree of arrays as one vector, and the function that turns such a vector back into the pytree.

    Args:
        pytree: of arrays and numbers; the vector has the dtype that they promote to (float32 if there is no leaf).

    Returns:
        ``(vector, unravel)``; ``unravel`` gives every leaf its shape and dtype.

    Raises:
        ShapeError, DTypeError: by ``unravel``, of a vector of another length or dtype.

    >>> vector, unravel = ravel_pytree({"w": fnp.ones((2, 2)), "b": fnp.zeros(3)})
    >>> vector
    Array([0., 0., 0., 1., 1., 1., 1.], dtype=float32)
    >>> unravel(2 * vector)["w"]
    Array([[2., 2.],
           [2., 2.]], dtype=float32)
    """
    leaves, treedef = tree.flatten(pytree)
    values = [as_value(x, "a leaf of the tree given to ravel_pytree") for x in leaves]
    types = [v.aval.strong() for v in values]
    d = dtypes.promote(*[(v.dtype, v.weak_type) for v in values])[0] if values else dtypes.float32
    parts = [fnp.reshape(as_type(v, d), -1) for v in values]
    vector = fnp.concatenate(parts) if parts else fnp.zeros(0, d)
    stops = np.cumsum([a.size for a in types])

    def unravel(vector: Any) -> Any:
        vector = as_value(vector, "the vector given to unravel")
        total = int(stops[-1]) if len(stops) else 0
        if vector.shape != (total,):
            raise ShapeError(f"unravel takes a vector of shape ({total},), as ravel_pytree made; found {vector.shape}")
        if vector.dtype != d:
            raise DTypeError(f"unravel takes a vector of {d}, as ravel_pytree made; found {vector.dtype}")
        pieces = [vector[stop - a.size : stop] for a, stop in zip(types, stops)]
        real = [
            fnp.real(x) if dtypes.is_complex(d) and not dtypes.is_complex(a.dtype) else x for x, a in zip(pieces, types)
        ]
        return tree.unflatten(treedef, [as_type(fnp.reshape(x, a.shape), a.dtype) for x, a in zip(real, types)])

    return vector, unravel
