"""NumPy's floating point warnings off for a moment: ``token = off()`` ... ``back(token)``.

``np.errstate`` builds its setting anew each time, which costs more than an operation on a few elements.  Where NumPy has
the setting in a context variable (from 2.0 on), one that was built once is put there instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["back", "off"]


def _by_errstate() -> tuple[Any, Any]:
    def off() -> Any:
        silent = np.errstate(all="ignore")
        silent.__enter__()
        return silent

    return off, lambda silent: silent.__exit__(None, None, None)


def _by_variable() -> tuple[Any, Any]:
    umath = np._core.umath  # type: ignore[attr-defined]
    variable, setting = umath._extobj_contextvar, umath._make_extobj(all="ignore")
    token = variable.set(setting)
    silent = set(np.geterr().values()) == {"ignore"}
    variable.reset(token)
    if not silent:
        raise AttributeError("this NumPy keeps its setting elsewhere")
    return lambda: variable.set(setting), variable.reset


try:
    off, back = _by_variable()
except (AttributeError, TypeError):
    off, back = _by_errstate()
