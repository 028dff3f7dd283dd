"""``fx.interpreters.xla``: ``apply_primitive``, as an ``impl`` that a program gives, and a table of classes of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import MissingRuleError
from ..primitive import Primitive

__all__ = ["apply_primitive", "canonicalize_dtype_handlers"]

canonicalize_dtype_handlers: dict[type, Callable[[Any], np.ndarray]] = {np.ndarray: np.asarray}
"""How a value of a class becomes an array.  Whatever NumPy can read is one, whether a program enters its class here or not."""


def apply_primitive(prim: Primitive, *args: Any, **params: Any) -> Any:
    """A primitive applied to arrays by its lowering: ``p.def_impl(functools.partial(xla.apply_primitive, p))``.

    Raises:
        MissingRuleError: it has none.
    """
    lowering = getattr(prim, "given", {}).get("lowering")
    if lowering is None:
        raise MissingRuleError(
            f"primitive {prim.name!r} has no lowering: mlir.register_lowering(p, mlir.lower_fun(f)) gives it one"
        )
    return lowering(*args, **params)
