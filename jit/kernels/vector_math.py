"""Elementary and special functions of float32 and float64 for vectorised loops.

Every function is ``f(b, x) -> value``: it writes what it must name to the ``KernelBuilder`` and returns an
expression of ``x``'s type, for any number of lanes.  It is branch-free (but for lanes that are ``unless``), so the loop
around it vectorises, and correct in the whole range: subnormal numbers, infinities and NaN included.  Some have forms
of fewer instructions for machines whose ``Arithmetic`` has more, and for arguments of which ``b.ranges`` knows an interval.

Greatest errors in units of the last place, asserted in ``tests/jit_tests/test_vector_math.py`` for each form, with and
without fma:

    function   float32  float64
    acos          0.9      0.9
    acosh         2.0      2.0
    asin          1.0      0.9
    asinh         2.0      1.9
    atan          1.7      1.8
    atan2         1.9      2.0
    atanh         2.0      1.8
    cbrt          0.9      0.9
    cos           2.0      1.8
    cosh          1.6      1.6
    digamma       0.6      1.5   (a)
    erf           1.5      1.4
    erf_inv       2.0      2.0
    erfc          0.6      1.9
    exp           1.1      1.2
    exp2          1.2      1.1   exact for whole numbers
    expm1         1.3      1.7
    hypot         0.6      1.3
    lgamma        0.6      1.6   (a)
    log           1.3      0.9
    log1p         1.6      1.5
    log2          1.6      1.2   exact for powers of two
    logistic      2.0      2.0
    pow           0.6      1.9   exact for exact powers of two
    sin           2.0      1.7
    sinh          1.7      1.7
    tan           0.9      1.5
    tanh          1.8      1.9   never beyond 1

(a) of negative numbers in units of the last place of the value, or of 1 where that is larger: between the poles these functions
have zeros, where larger terms cancel.

Where they come from: polynomials and rational functions are minimax fits (Remez's exchange, in 200 bits and
more; coefficients rounded one after the other, the rest fitted again), written for these intervals.  The formulas are
Cody and Waite's reductions, fdlibm's logarithm of two words (pow), Payne and Hanek's reduction (sin, cos, tan),
Kahan's cube root, and the classics of Abramowitz and Stegun for Gamma.
"""

from __future__ import annotations

from .vector_math_exp import exp, exp2, expm1, log, log1p, log2, logistic
from .vector_math_gamma import digamma, lgamma
from .vector_math_hyperbolic import acosh, asinh, atanh, cosh, sinh, tanh
from .vector_math_pow import cbrt, hypot, pow
from .vector_math_special import erf, erf_inv, erfc
from .vector_math_trig import acos, asin, atan, atan2, cos, sin, tan

__all__ = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "digamma", "erf", "erf_inv", "erfc",
    "exp", "exp2", "expm1", "hypot", "lgamma", "log", "log1p", "log2", "logistic", "pow", "sin", "sinh", "tan", "tanh",
]  # fmt: skip
