"""``fx.custom_derivatives``: functions with derivative rules of the user's."""

from __future__ import annotations

from .transforms.custom_rules import closure_convert, custom_gradient, custom_jvp, custom_vjp

__all__ = ["closure_convert", "custom_gradient", "custom_jvp", "custom_vjp"]
