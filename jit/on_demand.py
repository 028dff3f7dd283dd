"""What is imported when it is first needed: the one place of this package that imports inside functions.

Planning and compiling are three quarters of the package.  A process whose programs all come from the store runs without them, and
begins sooner by the time that their modules take.

A fork waits for imports as it waits for LLVM: a child whose parent was importing a module on another thread would wait for that
module for ever.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .forks import compiling

__all__ = ["compiler", "llvm", "numba_engine", "resizing", "rules_given_from_outside"]


def compiler() -> Any:
    """``jit.compiler``: what makes programs of graphs."""
    return _module(".compiler")


def resizing() -> Any:
    """``jit.resize``: programs whose sizes are filled in again."""
    return _module(".resize")


def llvm() -> Any:
    """``jit.llvm.library``, and with it LLVM."""
    return _module(".llvm.library")


def numba_engine() -> Any:
    """``jit.emit_numba``, and with it Numba, which the default engine does without."""
    return _module(".emit_numba")


def rules_given_from_outside(names: set[str]) -> list[str]:
    """Those of the primitives ``names`` whose rule of lowering is not the one that this package gives.  While no lowering has been
    imported, nobody can have given another."""
    return _module(".lower").given_from_outside(names) if f"{__package__}.lower" in sys.modules else []


def _module(name: str) -> Any:
    with compiling:
        return importlib.import_module(name, __package__)
