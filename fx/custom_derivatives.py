"""``fx.custom_derivatives``: functions with derivative rules of the user's."""

from __future__ import annotations

from .lax.solvers import linear_call
from .transforms.custom_call import SymbolicZero, zero_from_primal
from .transforms.custom_jvp import custom_jvp
from .transforms.custom_jvp import custom_jvp_p as custom_jvp_call_p
from .transforms.custom_vjp import CustomVJPPrimal, closure_convert, custom_gradient, custom_vjp
from .transforms.custom_vjp import custom_vjp_p as custom_vjp_call_p

__all__ = [
    "CustomVJPPrimal", "SymbolicZero", "closure_convert", "custom_gradient", "custom_jvp", "custom_jvp_call_p", "custom_vjp", "custom_vjp_call_p",
    "linear_call", "zero_from_primal",
]  # fmt: skip
