"""``fx.interpreters.mlir``: what takes the place of a primitive of a program's own in compiled programs.

``register_lowering(p, lower_fun(f))``: the function ``f(*operands, **params)`` of other operations.  There is no MLIR here: a
rule that writes it is left aside, and compiled programs call what ``p.def_impl`` was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import RegistryError
from ..primitive import Primitive
from ..transforms.custom_primitive import CustomPrimitive

__all__ = ["LoweredFunction", "lower_fun", "register_lowering"]


@dataclass(frozen=True)
class LoweredFunction:
    """A function of operands and parameters that stands for a primitive; ``multiple_results``: it returns a list."""

    fun: Callable[..., Any]
    multiple_results: bool = True


def lower_fun(fun: Callable[..., Any], multiple_results: bool = True) -> LoweredFunction:
    """``fun`` as a lowering, for ``register_lowering``."""
    return LoweredFunction(fun, multiple_results)


def register_lowering(prim: Primitive, rule: Any, platform: str | None = None, **_: Any) -> None:
    """Says what is compiled in the place of a primitive.

    Args:
        rule: what ``lower_fun`` returns; others are left aside, as they write MLIR.
        platform: those for others than "cpu" are left aside.

    Raises:
        RegistryError: it is a primitive of fx, whose lowering stands in ``jit/lower``.
    """
    if not issubclass(type(prim), CustomPrimitive):
        raise RegistryError(f"{prim!r} is a primitive of fx, which has its lowering")
    if platform not in (None, "cpu") or not isinstance(rule, LoweredFunction):
        return
    several, fun = prim.multiple_results, rule.fun
    if rule.multiple_results == several:
        prim.given["lowering"] = fun  # type: ignore[attr-defined]
    elif several:
        prim.given["lowering"] = lambda *xs, **params: [fun(*xs, **params)]  # type: ignore[attr-defined]
    else:
        prim.given["lowering"] = lambda *xs, **params: fun(*xs, **params)[0]  # type: ignore[attr-defined]
