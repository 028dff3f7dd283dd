"""``fx.interpreters.xla``: ``apply_primitive``, as an ``impl`` that a program gives."""

from __future__ import annotations

from typing import Any

from ..errors import MissingRuleError
from ..primitive import Primitive

__all__ = ["apply_primitive"]


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
