"""How much is drawn: a part on every run, which turns from day to day; all of it with ``FX_TEST_THOROUGH=1``.

``FX_TEST_TURN`` is the turn, a whole number: the day's, unless it is given.  Pytest's first lines tell it, so that a run can be had again.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["THOROUGH", "TURN", "part"]

THOROUGH = os.environ.get("FX_TEST_THOROUGH", "0") == "1"
TURN = int(
    os.environ.setdefault("FX_TEST_TURN", str(datetime.date.today().toordinal()))
)  # that of child processes, too
T = TypeVar("T")


def part(cases: Sequence[T], k: int, step: int) -> list[T]:
    """Every ``step``-th case from the ``k``-th on: ``step`` tests that count ``k`` meet all of them between them, and so does one
    test in as many turns."""
    return list(cases) if THOROUGH else list(cases[(k + TURN) % step :: step])
