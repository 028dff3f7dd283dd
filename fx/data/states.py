"""States of data sets, looked at before a pass goes on from one."""

from __future__ import annotations

from typing import Any

from ..errors import DataError

__all__ = ["check_numbers", "refuse_shorter"]


def check_numbers(state: dict[str, Any], most: int | None) -> None:
    """Raises DataError unless ``index`` and ``epoch`` count, the first to at most ``most``, if that is known."""
    for name in ("index", "epoch"):
        if name in state and (not isinstance(state[name], int) or state[name] < 0):
            raise DataError(f"the state {state!r} is none of a data set: {name!r} counts, and is an int of at least 0")
    if most is not None and state.get("index", 0) > most:
        raise DataError(
            f"the state {state!r} says that {state['index']} elements are done; there are {most}: it was saved with other data."
            " Begin without it, or with the data it was saved with."
        )


def refuse_shorter(count: int, done: int) -> None:
    """Raises DataError if a pass had fewer elements, ``count``, than a state says are done."""
    if count < done:
        raise DataError(
            f"the state says that {done} elements of the pass are done; it has {count} now: it was saved with other data, or what makes"
            " them does not give the same ones for every pass."
        )
