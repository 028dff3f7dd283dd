"""``fx.scipy``: the functions of SciPy that are built on fx's primitives, under SciPy's names."""

from . import special

__all__ = ["special"]
