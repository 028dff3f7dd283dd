"""``jax.experimental.hijax``: types of values that a program defines in JAX.  Here they can be declared, and are not used.

``flax.nnx`` declares some when it is imported, and uses them for variables with ``hijax=True`` alone (the default is False).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import UnsupportedArgumentError
from ..interpreters.ad import Zero, instantiate_zeros, is_undefined_primal
from ..ir import Aval as AbstractValue

__all__ = [
    "AbstractValue", "AvalMutableQDD", "AvalQDD", "HiPrimitive", "HiType", "MutableHiType", "Zero", "aval_method", "aval_property",
    "control_flow_allowed_effects", "instantiate_zeros", "is_undefined_primal", "register_hitype",
]  # fmt: skip


class HiType:
    """The base of types that a program defines."""


class MutableHiType(HiType):
    """The base of those whose values change."""


class AvalQDD:
    """A type with what is known of a value's contents."""


class AvalMutableQDD:
    """A type with what is known of a changing value's contents."""


class HiPrimitive:
    """An operation on such types, by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def bind(self, *_: Any, **__: Any) -> NoReturn:
        """Refuses."""
        raise UnsupportedArgumentError(
            f"{self.name}: fx has no types of values that a program defines (jax.experimental.hijax); in flax.nnx, make variables"
            " with hijax=False"
        )


class aval_property:
    """A property of a type."""

    def __init__(self, fget: Callable[[Any], Any]) -> None:
        self.fget = fget


class aval_method:
    """A method of a type."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.fun = fun


class _Effects:
    def add_type(self, kind: type) -> None:
        """Notes a kind of effects; no operation of fx has one."""


control_flow_allowed_effects = _Effects()


def register_hitype(kind: type, type_of: Callable[[Any], Any]) -> None:
    """Declares the type of a class of values."""
