"""How much is drawn: a part on every run, all of it with ``FX_TEST_THOROUGH=1``.

``FX_TEST_TURN``, a whole number, says which part (0 unless it is given): the same tests on any day and of any commit.  Pytest's
first lines tell it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["THOROUGH", "TURN", "part"]


THOROUGH = os.environ.get("FX_TEST_THOROUGH", "0") == "1"
TURN = int(os.environ.get("FX_TEST_TURN", "0"))
T = TypeVar("T")


def part(cases: Sequence[T], k: int, step: int) -> list[T]:
    """Every ``step``-th case from the ``k``-th on: ``step`` tests that count ``k`` meet all of them between them, and so does one
    test in as many turns."""
    return list(cases) if THOROUGH else list(cases[(k + TURN) % step :: step])
