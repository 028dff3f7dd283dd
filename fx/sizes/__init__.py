"""Sizes that may vary: numbers that know how they follow from the sizes of the arguments.

A ``Size`` stands in a shape where an ``int`` would.  It has a value, so whatever asks it something gets an answer; what was
asked is written down as a *guard*, a condition under which the answer is the same.  What is computed from sizes
(``batch * 784``, ``n // 2``, ``1 / n``) is kept as a formula.  A program that was traced and planned with sizes therefore
holds for all arguments that pass its guards, and what it says of numbers is found for them by its formulas.

What needs the plain number (an index, a range, a NumPy array of that shape, its text) *fixes* the size: then the program
holds for this value alone, and ``Fixed`` ends the trace.  (Source: concolic execution, Godefroid, Klarlund and Sen,
"DART", PLDI 2005.)  To ``isinstance`` a size is an ``int``; ``type(n) is int`` alone can tell it from one.

When the trace is over, a size that somebody kept is the number that it was.

    formula     polynomials in variables and in rests, quotients and extremes of such; Python functions that evaluate them
    scope       Sizes: the variables of one trace, and the guards
    number      what sizes and reals share
    size        Size: an integer that is a polynomial
    real        Real: a quotient of sizes, or what floating-point arithmetic made of one
    uses        what is done with numbers that may be sizes: conversions, extremes, slices, decisions
"""

from .formula import SMALLEST
from .number import is_sized, plain, shown
from .real import Real
from .scope import Fixed, Sizes
from .size import Size
from .uses import (
    about_at_most,
    alike,
    as_float,
    as_int,
    as_size,
    broadcast_shapes,
    decided,
    fitting,
    largest,
    late,
    late_float,
    near,
    slice_indices,
    slice_length,
    smallest,
)

__all__ = [
    "SMALLEST",
    "Fixed",
    "Real",
    "Size",
    "Sizes",
    "about_at_most",
    "alike",
    "as_float",
    "as_int",
    "as_size",
    "broadcast_shapes",
    "decided",
    "fitting",
    "is_sized",
    "largest",
    "late",
    "late_float",
    "near",
    "plain",
    "shown",
    "slice_indices",
    "slice_length",
    "smallest",
]
