"""Elementary and special functions of float32 and float64 for vectorised loops.

Every function is ``f(b, x) -> value``: it writes what it must name to the ``KernelBuilder`` and returns an
expression.  It is branch-free and table-free and has no limits on its argument.

PLACEHOLDER
"""

from __future__ import annotations

from .vector_math_exp import acosh, asinh, atanh, cosh, exp, exp2, expm1, log, log1p, log2, logistic, sinh, tanh
from .vector_math_pow import cbrt, hypot, pow
from .vector_math_special import digamma, erf, erf_inv, erfc, lgamma
from .vector_math_trig import acos, asin, atan, atan2, cos, sin, tan

__all__ = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "digamma", "erf", "erf_inv", "erfc",
    "exp", "exp2", "expm1", "hypot", "lgamma", "log", "log1p", "log2", "logistic", "pow", "sin", "sinh", "tan", "tanh",
]  # fmt: skip
