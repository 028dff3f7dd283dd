"""Native functions in the slots of a class: where CPython looks for what ``x + y`` or ``x[i]`` do.

An operator that is defined in Python is looked up by its name and called as a Python function.  Types written in C have a
pointer to a function in a slot instead, and a *slot wrapper* in their dictionary, which makes the same function callable
from Python.  A class that is given such a wrapper has CPython put the function into its slot: ``fill`` makes wrappers for a
class, after the model of NumPy's.
"""

from __future__ import annotations

import ctypes
import functools
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from fx.errors import BackendError

from .builtins import HEAD

__all__ = ["fill", "kind_of"]

_TYPE, _KIND = HEAD, HEAD + 24  # of a slot wrapper: its class, and the kind of slot that it is for
_WrapperDescriptor = type(np.ndarray.__add__)


def fill(cls: type, functions: Mapping[str, int]) -> None:
    """Gives a class operators, ``{"__add__": address of a binaryfunc, ...}``; methods of the same names are replaced.

    Raises:
        BackendError: slot wrappers cannot be made here.
    """
    wrappers = {name: _new_wrapper()(cls, kind_of(name), address) for name, address in functions.items()}
    for name, wrapper in wrappers.items():
        setattr(cls, name, wrapper)


@functools.cache
def _new_wrapper() -> Any:
    if not hasattr(ctypes.pythonapi, "PyDescr_NewWrapper"):
        raise BackendError("this interpreter does not let operators of a class be native functions")
    types_of = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p)
    return types_of(("PyDescr_NewWrapper", ctypes.pythonapi))


def kind_of(name: str) -> int:
    """CPython's description of the slot behind a special method.

    Raises:
        BackendError: it cannot be found.
    """
    _new_wrapper()
    model: Any = vars(types.FunctionType if name == "__call__" else np.ndarray)[name]
    if type(model) is not _WrapperDescriptor or _word(model, _TYPE) != id(getattr(model, "__objclass__", None)):
        raise BackendError(f"where slot wrappers keep the kind of slot is not known ({name})")
    return _word(model, _KIND)


def _word(x: Any, offset: int) -> int:
    return ctypes.c_int64.from_address(id(x) + offset).value
