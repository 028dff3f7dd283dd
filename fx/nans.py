"""Where a NaN comes from: checks of results while ``config.debug_nans`` or ``config.debug_infs`` is on.

A NaN is reported where it is *born*: by an operation none of whose operands holds one.  So NaNs that come in with the
arguments, or are written as constants, are nobody's fault.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .config import config
from .errors import NaNError
from .ir import Aval, Source

__all__ = ["born", "check_results", "describe", "holds", "unchecked", "wanted"]

_local = threading.local()


@contextmanager
def unchecked() -> Iterator[None]:
    """Nothing is checked inside, in this thread."""
    old, _local.off = getattr(_local, "off", False), True
    try:
        yield
    finally:
        _local.off = old


def wanted() -> tuple[str, ...]:
    """What is looked for here and now: "NaN", "inf"."""
    if not config.watching or getattr(_local, "off", False):
        return ()
    return (("NaN",) if config.debug_nans else ()) + (("inf",) if config.debug_infs else ())


def holds(kind: str, x: Any) -> np.ndarray:
    """Which elements are NaN (or infinite)."""
    a = np.asarray(x)
    if a.dtype.kind not in "fcV":
        return np.zeros(a.shape, bool)
    return np.isnan(a) if kind == "NaN" else np.isinf(a)


def born(kinds: Sequence[str], operands: Sequence[Any], results: Sequence[Any]) -> tuple[str, int] | None:
    """Which kind appears in which result that is in no operand."""
    for kind in kinds:
        for i, r in enumerate(results):
            if holds(kind, r).any() and not any(holds(kind, x).any() for x in operands):
                return kind, i
    return None


def check_results(name: str, operands: Sequence[Any], results: Sequence[Any], source: Source | None) -> None:
    """Raises if an operation has given birth to a NaN (or infinity) that is looked for."""
    found = born(wanted(), operands, results)
    if found is not None:
        raise NaNError(describe(found[0], name, operands, results[found[1]], source))


def describe(
    kind: str, name: str, operands: Sequence[Any], result: Any, source: Source | None, where: str = "", text: str = ""
) -> str:
    """The message: the operation, the first element that is bad, the operands there and as a whole.

    Args:
        where: in which program.      text: the equation, where there is one.
    """
    result = np.asarray(result)
    place = tuple(int(i) for i in np.argwhere(holds(kind, result))[0])
    lines = [
        f"{kind} appeared{where}: {name!r} gave {result[place]} at index {place} of {Aval(result.shape, result.dtype)}"
    ]
    if text:
        lines.append(f"  equation {text}")
    for i, x in enumerate(map(np.asarray, operands)):
        there = f", {x[place]} there" if x.shape == result.shape and x.ndim else ""
        shown = np.array2string(x, threshold=8, edgeitems=2, separator=", ").replace("\n", "")
        lines.append(f"  operand {i}: {Aval(x.shape, x.dtype)}{there}: {shown}")
    if source is not None:
        lines.append(f"  at {source}")
    return "\n".join(lines)
