"""What is imported when it is first needed: the one place of this package that imports inside functions.

Planning and compiling are three quarters of the package.  A process whose programs all come from the store runs without them, and
begins sooner by the time that their modules take.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

__all__ = ["compiler", "llvm", "numba_engine", "resizing", "rules_given_from_outside"]


def compiler() -> Any:
    """``jit.compiler``: what makes programs of graphs."""
    return importlib.import_module(".compiler", __package__)


def resizing() -> Any:
    """``jit.resize``: programs whose sizes are filled in again."""
    return importlib.import_module(".resize", __package__)


def llvm() -> Any:
    """``jit.llvm.library``, and with it LLVM."""
    return importlib.import_module(".llvm.library", __package__)


def numba_engine() -> Any:
    """``jit.emit_numba``, and with it Numba, which the default engine does without."""
    return importlib.import_module(".emit_numba", __package__)


def rules_given_from_outside(names: set[str]) -> list[str]:
    """Those of the primitives ``names`` whose rule of lowering is not the one that this package gives.  While no lowering has been
    imported, nobody can have given another."""
    lower = f"{__package__}.lower"
    return importlib.import_module(lower).given_from_outside(names) if lower in sys.modules else []
