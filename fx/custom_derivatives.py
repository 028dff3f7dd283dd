"""``fx.custom_derivatives``: functions with derivative rules of the user's."""

from __future__ import annotations

from .transforms.custom_call import SymbolicZero, zero_from_primal
from .transforms.custom_jvp import custom_jvp
from .transforms.custom_vjp import CustomVJPPrimal, closure_convert, custom_gradient, custom_vjp

__all__ = [
    "CustomVJPPrimal", "SymbolicZero", "closure_convert", "custom_gradient", "custom_jvp", "custom_vjp", "zero_from_primal",
]  # fmt: skip
