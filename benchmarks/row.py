"""What a row of the table is: work as every library writes it, and the goals it is held to.

A *setting* is a library, or a library in one of its ways of working: ``"jax"``, ``"jax:NCHW"``, ``"torch:compile"``.  What
stands before the colon names the process that runs it.  The best setting of a peer counts as that peer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Data", "Goal", "Prepared", "Result", "Row", "Write", "f32", "f64", "leaves"]

Data = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """Work that lies ready.  ``run()`` does it once and waits; ``show`` brings its result to the form all libraries share.

    ``bind``: the same compiled function on other data, where there is one.
    """

    run: Callable[[], Any]
    show: Callable[[Any], Any] = lambda result: result
    bind: Callable[[Data], Prepared] | None = None


Write = Callable[[Data], Prepared]


@dataclass(frozen=True)
class Goal:
    """``value <= limit``, where the value is in seconds (or MB), or fx over ``against`` if that is given.

    ``against``: a setting, or ``"peers"`` for the best of them; ``"fx/threads"`` asks for the gain of all threads over one.
    """

    limit: float
    against: str = "peers"

    def value(self, best: Mapping[str, float]) -> float:
        """What is held against the limit; NaN where something was not measured."""
        if self.against == "absolute":
            return best.get("fx", math.nan)
        if self.against == "peers":
            peers = [v for setting, v in best.items() if is_peer(setting)]
            return over(best.get("fx", math.nan), min(peers, default=math.nan))
        return over(best.get("fx", math.nan), best.get(self.against, math.nan))

    def met(self, best: Mapping[str, float]) -> bool | None:
        """None where it cannot be told."""
        value = self.value(best)
        return None if math.isnan(value) else value <= self.limit


def over(a: float, b: float) -> float:
    """``a / b``; NaN where there is nothing to divide by."""
    return a / b if b else math.nan


def is_peer(setting: str) -> bool:
    """Whether a setting is a library's own way to do the same work (``NumPy's copy`` of the same bytes is not)."""
    return setting.partition(":")[0] not in ("fx", "fx1", "copy")


@dataclass(frozen=True)
class Row:
    """One row of the table.

    ``tolerance``: allowed difference between two libraries' results, relative to the largest magnitude in each array.
    ``compare``: "values", "moments" (two random draws: mean and deviation) or "nothing".  ``flops``, ``nbytes``: what the
    work needs at least, for the roofline.
    """

    name: str
    data: Callable[[np.random.Generator], Data]
    writes: Mapping[str, Write]
    goals: tuple[Goal, ...]
    tolerance: float = 1e-3
    flops: float = 0.0
    nbytes: float = 0.0
    compare: str = "values"
    scales: bool = True  # held to the gain of more threads when it is long enough
    unit: str = field(default="us", init=False)


@dataclass
class Result:
    """Samples (seconds or bytes) per setting of one row; ``notes`` says what could not be measured and why."""

    name: str
    unit: str
    goals: tuple[Goal, ...]
    samples: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    flops: float = 0.0
    nbytes: float = 0.0
    wrong: bool = False

    @property
    def median(self) -> dict[str, float]:
        return {k: float(np.median(v)) for k, v in self.samples.items()}

    @property
    def minimum(self) -> dict[str, float]:
        return {k: min(v) for k, v in self.samples.items()}

    @property
    def spread(self) -> dict[str, float]:
        """Interquartile range over median; NaN where that is nothing (what a first call takes more than the next one may be)."""
        quartiles = {k: np.quantile(v, (0.25, 0.75)) for k, v in self.samples.items()}
        return {k: over(float(q[1] - q[0]), self.median[k]) for k, q in quartiles.items()}


def leaves(x: Any) -> list[np.ndarray]:
    """The arrays of a result in a fixed order, as NumPy's; dicts by key."""
    if isinstance(x, Mapping):
        return [a for k in sorted(x) for a in leaves(x[k])]
    if isinstance(x, (list, tuple)):
        return [a for v in x for a in leaves(v)]
    return [np.asarray(x.detach() if hasattr(x, "detach") else x)]


def f32(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def f64(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape)
