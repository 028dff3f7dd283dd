"""``fx.scipy``: the functions of SciPy that are built on fx's primitives, under SciPy's names."""

from . import linalg, special

__all__ = ["linalg", "special"]
