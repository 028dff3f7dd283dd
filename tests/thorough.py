"""How much is drawn: a part on every run, which turns from commit to commit; all of it with ``FX_TEST_THOROUGH=1``.

``FX_TEST_TURN`` is the turn, a whole number: unless it is given, it follows from the commit that is checked out (0 where there is
none), so that one commit has the same tests on any day.  Pytest's first lines tell it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

__all__ = ["THOROUGH", "TURN", "part"]


def _turn() -> int:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=7", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return int(found.stdout, 16) if found.returncode == 0 else 0


THOROUGH = os.environ.get("FX_TEST_THOROUGH", "0") == "1"
if "FX_TEST_TURN" not in os.environ:
    os.environ["FX_TEST_TURN"] = str(_turn())  # that of child processes, too
TURN = int(os.environ["FX_TEST_TURN"])
T = TypeVar("T")


def part(cases: Sequence[T], k: int, step: int) -> list[T]:
    """Every ``step``-th case from the ``k``-th on: ``step`` tests that count ``k`` meet all of them between them, and so does one
    test in as many turns."""
    return list(cases) if THOROUGH else list(cases[(k + TURN) % step :: step])
